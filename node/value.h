/*
 * Values as people write them in the configuration and on the command line: sizes, durations,
 * addresses, cluster ids. Pure functions, any thread. All refuse trailing text; on failure the
 * result is untouched.
 */
#ifndef LKS_NODE_VALUE_H
#define LKS_NODE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_ADDRESS_TEXT_MAX 64u
#define LKS_CLUSTER_ID_TEXT 37u /* 36 characters and the zero */

/* "4096", "64K", "64M", "1G" (powers of 1024; "MiB" and "MB" mean the same). -EINVAL, -ERANGE. */
int lks_value_size(const char *text, uint64_t *bytes);

/* "500ns", "20us", "5ms", "2s"; a unit is needed but for 0. -EINVAL, -ERANGE. */
int lks_value_duration(const char *text, uint64_t *ns);

/* A plain decimal number. -EINVAL, -ERANGE. */
int lks_value_count(const char *text, uint64_t *count);

/* "yes", "no", "true", "false", "on", "off". -EINVAL. */
int lks_value_boolean(const char *text, bool *value);

/* "127.0.0.1:7001" or "[::1]:7001": a numeric address. -EINVAL: not of that form; -ERANGE: the
 * port is not 1..65535; -EADDRNOTAVAIL: the address is not numeric. */
int lks_value_address(const char *text, char address[LKS_ADDRESS_TEXT_MAX], uint16_t *port);

/* Where the first character begins that a path in a configuration must not hold, or -1: what does
 * not print (control characters, line and paragraph separators, a byte order mark) and bytes that
 * are no UTF-8. A file with it could not be written and read back as the same. */
int lks_value_unprintable(const char *text);

/* 32 hexadecimal digits, dashes allowed. -EINVAL. */
int lks_value_cluster_id(const char *text, uint8_t id[16]);

/* Writes 8-4-4-4-12 digits. */
void lks_value_cluster_id_text(const uint8_t id[16], char text[LKS_CLUSTER_ID_TEXT]);

/* Writes "64M", "1000": the shortest form that lks_value_size reads back as the same
 * number. Returns text. */
const char *lks_value_size_text(uint64_t bytes, char *text, size_t text_bytes);

/* Writes "25ms", "20us"; a form that lks_value_duration reads back. Returns text. */
const char *lks_value_duration_text(uint64_t ns, char *text, size_t text_bytes);

#endif
