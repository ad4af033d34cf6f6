/*
 * Asks one replica for INFO over its client port, with a time limit for the whole exchange.
 * Blocking, on the caller's thread; nothing that comes back is trusted.
 */
#ifndef LKS_CLIENT_ASK_H
#define LKS_CLIENT_ASK_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_ASK_TEXT_MAX 16384u

/*
 * Sends INFO section and writes its text, zero-terminated. -ETIMEDOUT, -ECONNREFUSED, -EBADMSG
 * (not a RESP bulk string, or longer than LKS_ASK_TEXT_MAX), errno; err has a short sentence.
 */
int lks_ask_info(const char *address, uint16_t port, const char *section, uint64_t timeout_ns,
                 char text[LKS_ASK_TEXT_MAX], struct lks_error *err);

/*
 * Sends a command (`args`, ended by NULL, at most LKS_ASK_ARGS_MAX) and writes its answer: the
 * text of a bulk or simple string, or of an error, without its sign. 0; -EPROTO: the answer was an
 * error; otherwise as lks_ask_info.
 */
#define LKS_ASK_ARGS_MAX 8u
int lks_ask_command(const char *address, uint16_t port, const char *const *args,
                    uint64_t timeout_ns, char text[LKS_ASK_TEXT_MAX], struct lks_error *err);

/* The value of "key:value" in an INFO text. False, and an empty value, if it is not there. */
bool lks_ask_value(const char *text, const char *key, char *value, size_t value_bytes);

/* The same as a number; 0 if it is not there or no number. */
uint64_t lks_ask_number(const char *text, const char *key);

#endif
