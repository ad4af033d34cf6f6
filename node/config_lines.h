/*
 * Line numbers of a YAML text by key path, so that an error in a value can point at it. Used by
 * config.c alone. Also the first check of the text: it must be one well-formed document.
 */
#ifndef LKS_NODE_CONFIG_LINES_H
#define LKS_NODE_CONFIG_LINES_H

#include "base/error.h"

#include <stddef.h>

struct lks_config_lines;

/* Reads the text. -LKS_ECONFIG: not well-formed; err names file and line. -ENOMEM. */
int lks_config_lines_new(struct lks_config_lines **lines, const char *text, size_t bytes,
                         const char *file, struct lks_error *err);
void lks_config_lines_free(struct lks_config_lines *lines);

/* The line, from 1, of "replicas[1].listen" or of the innermost part of that path that exists. */
unsigned lks_config_lines_find(struct lks_config_lines *lines, const char *path);

#endif
