/*
 * Reads commands from a stream of bytes: RESP arrays of bulk strings, and inline commands (a
 * line of words). One parser a connection; it is called on the port's thread with all bytes that
 * are not consumed yet, and remembers how far it has looked, so that a command that arrives byte
 * by byte costs no more than twice its length.
 *
 * A command longer than the limit is not kept: its bytes are consumed as they come, and the
 * parser is in step again behind it.
 */
#ifndef LKS_SERVER_PARSER_H
#define LKS_SERVER_PARSER_H

#include "lockstep/argument.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_PARSER_ARGUMENTS_MAX (1024 * 1024)
#define LKS_PARSER_BULK_BYTES_MAX (INT64_C(512) << 20)
#define LKS_PARSER_INLINE_BYTES_MAX (64u << 10)

/* The arguments of one command, reused for every command of a port. Zeroed: empty. */
struct lks_arguments {
    struct lks_argument *items;
    size_t count;
    size_t capacity;
    size_t bytes; /* of all arguments together */
    char *text;   /* words of an inline command, unquoted */
};

void lks_arguments_fini(struct lks_arguments *args);

/* Zeroed but for the limit: between two commands. */
struct lks_parser {
    size_t command_bytes_max; /* all arguments of a command together, with one byte for each */
    size_t position;          /* bytes of this command that have been looked at */
    uint32_t args_left;       /* arguments not read yet; 0: the command has not begun */
    bool in_bulk;             /* the length of the next argument is known */
    bool oversize;            /* this command is being skipped */
    size_t bulk_left;         /* bytes of that argument, its CRLF included */
    uint64_t cost;            /* of this command so far, against command_bytes_max */
    uint64_t value_bytes_max; /* longest argument of this command so far */
    const char *error;        /* after LKS_PARSE_ERROR: an error reply's text */
    char error_text[64];
};

enum lks_parse {
    LKS_PARSE_MORE,    /* no whole command is there */
    LKS_PARSE_COMMAND, /* args holds one; its bytes lie in data or in args->text */
    LKS_PARSE_TOO_BIG, /* a command beyond the limit ends here */
    LKS_PARSE_ERROR    /* not the protocol; nothing behind this can be read */
};

/*
 * Looks for the next command in data. consumed: how many bytes at its beginning are done with
 * (for a command: all of its bytes, though args still points at them); the next call begins
 * behind them. A command that cannot be carried out now may be given once more, as long as nothing
 * of it was taken away. Errors of memory come as LKS_PARSE_ERROR.
 */
enum lks_parse lks_parser_next(struct lks_parser *parser, struct lks_arguments *args,
                               const char *data, size_t bytes, size_t *consumed);

/* Bytes that the buffer needs so that the present argument fits; 0: unknown. */
size_t lks_parser_needed(const struct lks_parser *parser);

#endif
