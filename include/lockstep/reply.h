/*
 * The reply to a command: a growable buffer of RESP3. Services build it with the functions below;
 * the server sends it as it is, or turns it into RESP2 for older clients. Used on the thread that
 * executes the command; the buffer belongs to whoever initialised it and is reused.
 */
#ifndef LOCKSTEP_REPLY_H
#define LOCKSTEP_REPLY_H

#include <stddef.h>
#include <stdint.h>

struct lks_reply {
    char *data;      /* RESP3 bytes; NULL while empty */
    size_t bytes;
    size_t capacity;
};

/* Zeroes reply. */
void lks_reply_init(struct lks_reply *reply);
/* Frees the buffer; accepts a zeroed reply. */
void lks_reply_fini(struct lks_reply *reply);
/* Empties it, keeps the buffer (gives an oversized one back). */
void lks_reply_clear(struct lks_reply *reply);

/* Each appends one RESP value. Text must hold neither CR nor LF (replaced by spaces). Memory
 * exhaustion ends the process: a replica that cannot hold a reply cannot stay equal to others. */
void lks_reply_status(struct lks_reply *reply, const char *text);               /* +OK */
void lks_reply_error(struct lks_reply *reply, const char *format, ...)          /* -ERR ... */
    __attribute__((format(printf, 2, 3)));
void lks_reply_integer(struct lks_reply *reply, int64_t value);                 /* :1 */
void lks_reply_bulk(struct lks_reply *reply, const void *data, size_t bytes);   /* $3 */
void lks_reply_null(struct lks_reply *reply);                                   /* _ */
void lks_reply_array(struct lks_reply *reply, size_t count); /* *n, followed by n values */
void lks_reply_map(struct lks_reply *reply, size_t pairs);   /* %n, followed by 2n values */

/* Appends the values of another reply, which stays as it is. */
void lks_reply_append(struct lks_reply *reply, const struct lks_reply *values);

#endif
