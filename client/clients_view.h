/*
 * The clients on the fabric that are attached to one replica, read from its INFO text and shown as
 * lines or as JSON; used by `status`. Main thread; nothing in the text is trusted.
 */
#ifndef LKS_CLIENT_CLIENTS_VIEW_H
#define LKS_CLIENT_CLIENTS_VIEW_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a line of INFO, of so many bytes, is about one of them. */
bool lks_clients_view_is_line(const char *line, size_t bytes);

/* Nothing where there are none; else how many, and a line each; indented. */
void lks_clients_view_print(const char *info);

/* `[{"lane":1,"pid":7,"session":42,...},...]`: empty without clients. */
void lks_clients_view_print_json(const char *info);

#endif
