/*
 * What the files of the client port share: the port, its connections, and which file does what.
 * server.c listens, accepts and shares out the turns; connection.c reads, parses and answers;
 * commands.c is the one table of commands; local.c and info.c answer what concerns the
 * connection or the port alone. Port's thread only.
 */
#ifndef LKS_SERVER_INTERNAL_H
#define LKS_SERVER_INTERNAL_H

#include "base/error.h"
#include "lockstep/reply.h"
#include "server/held.h"
#include "server/output.h"
#include "server/parser.h"
#include "server/server.h"

#include <stdbool.h>
#include <stdint.h>

/* A cookie: slot 20 bits, generation 24, sequence 19, and whether the reply may be large. */
#define LKS_SERVER_SLOT_BITS 20
#define LKS_SERVER_GENERATION_BITS 24
#define LKS_SERVER_SEQUENCE_BITS 19
#define LKS_SERVER_CONNECTIONS_MAX (1u << LKS_SERVER_SLOT_BITS)

/* Bounds of one connection: reading stops there until the client or the backend has caught up. */
#define LKS_SERVER_PENDING_MAX 1024u       /* commands without an answer */
#define LKS_SERVER_PENDING_LARGE_MAX 64u   /* of them those whose reply may be a whole value */
#define LKS_SERVER_OUTPUT_BYTES_MAX (1u << 20) /* reading goes on below half of it */
#define LKS_SERVER_COMMANDS_TURN_MAX 1024u /* then it is the others' turn */

/* Bounds of one turn, and of the port: the connection that would go beyond is closed. */
#define LKS_SERVER_TURN_COMMANDS_MAX 4096u
#define LKS_SERVER_TURN_EVENTS_MAX 64
#define LKS_SERVER_BUFFERS_BYTES_MIN (256u << 20)
#define LKS_SERVER_BUFFERS_COMMANDS 128u /* or this many of the longest commands, if more */

/* What clients that know Redis are told. */
#define LKS_SERVER_REDIS_VERSION "7.0.0"

#define LKS_SERVER_READ_BYTES (64u << 10)
#define LKS_SERVER_NAME_BYTES_MAX 1024u

_Static_assert(LKS_SERVER_SLOT_BITS + LKS_SERVER_GENERATION_BITS + LKS_SERVER_SEQUENCE_BITS == 63,
               "one bit of a cookie is left for large replies");
_Static_assert(LKS_SERVER_PENDING_MAX < 1u << LKS_SERVER_SEQUENCE_BITS,
               "sequences of pending commands differ");

/* What CLIENT SETNAME and SETINFO have set; NULL: nothing. */
struct lks_connection_names {
    char *name;
    char *library;
    char *library_version;
};

struct lks_connection {
    int fd; /* -1: this slot is free */
    uint32_t generation;
    uint64_t id;
    int protocol;      /* 2 or 3 */
    bool closing;      /* no more commands: answer what is pending, send it, close */
    bool stalled;      /* not reading on: a bound has been reached, or `waiting` */
    bool waiting;      /* the next command needs all earlier ones answered first */
    bool too_big;      /* ... and was too long: only its refusal is left */
    bool deaf;         /* not watched for input */
    bool watch_output; /* the socket was full */
    bool in_dirty;     /* the slot is in the list; these two outlive the connection */
    bool in_resume;
    uint32_t submitted; /* commands given to the backend, and answered; both wrap */
    uint32_t answered;
    uint32_t last_ordered; /* commands submitted when the last one was no free read: what comes
                              while that is unanswered has to come after it */
    uint32_t pending_large;
    uint32_t next_free; /* slot, while free */
    char *in;           /* bytes not consumed yet; NULL while there are none */
    size_t in_bytes;
    size_t in_capacity;
    struct lks_parser parser;
    struct lks_output out;
    struct lks_held held; /* answers that came before an earlier one's */
    struct lks_connection_names *names;
    const char *last_command;
    uint64_t opened_ns;
    uint64_t active_ns;
};

struct lks_server_stats {
    uint64_t accepted;
    uint64_t rejected; /* connections beyond the limit */
    uint64_t commands;
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint64_t errors;   /* connections closed for an error of the protocol */
    uint64_t overruns; /* connections closed because the port's buffers were full */
};

/* Slots with something to do; each is in a list once. */
struct lks_slot_list {
    uint32_t *slots;
    uint32_t count;
};

struct lks_server {
    struct lks_server_options options;
    int epoll_fd;
    int listen_fd;
    int resume_fd; /* readable while the resume list must be looked at */
    int timer_fd;  /* after an accept that failed */
    int spare_fd;  /* given up to refuse a client when descriptors have run out */
    uint16_t port;
    bool draining;
    bool resume_armed;
    struct lks_connection *connections; /* connections_max of them */
    uint32_t connections_count;
    uint32_t free_first; /* free slots, oldest first; connections_max: none */
    uint32_t free_last;
    uint64_t next_id;
    struct lks_slot_list dirty;  /* output to be sent */
    struct lks_slot_list resume; /* may read on */
    struct lks_slot_list resuming; /* those of the turn under way */
    struct lks_output_pool pool;
    size_t input_bytes;  /* room in all input buffers */
    size_t held_bytes;   /* in answers that wait for earlier ones */
    size_t buffers_max;  /* for input, output and held answers together */
    char *read_buffer;
    struct lks_arguments args;
    uint8_t *encoded;
    size_t encoded_capacity;
    struct lks_reply reply; /* of local commands */
    uint64_t burn_rounds_per_us; /* 0: no DEBUG commands */
    uint64_t now_ns;        /* at the beginning of this turn */
    uint64_t started_ns;
    uint32_t turn_commands;
    struct lks_server_stats stats;
};

/* A command that is answered here: appends exactly one value to server->reply. */
typedef void (*lks_local_handler)(struct lks_server *server, struct lks_connection *connection,
                                  const struct lks_argument *args, size_t count);

/* server.c */
/* Makes the slot appear in the lists; idempotent. */
void lks_server_mark_dirty(struct lks_server *server, struct lks_connection *connection);
void lks_server_mark_resume(struct lks_server *server, struct lks_connection *connection);
/* Closes at once; what is pending will be ignored when it is answered. */
void lks_server_close(struct lks_server *server, struct lks_connection *connection);
/* Sets what the socket is watched for from deaf and watch_output. */
void lks_server_watch(struct lks_server *server, struct lks_connection *connection);

/* documentation.c */
/* Appends text that is shown as it is ("txt:" in RESP3). */
void lks_server_reply_verbatim(struct lks_reply *reply, const char *text, size_t bytes);

/* connection.c */
/* The socket can be read. Returns pieces of work. */
int lks_connection_readable(struct lks_server *server, struct lks_connection *connection);
/* Goes on with bytes that were read before. */
int lks_connection_resume(struct lks_server *server, struct lks_connection *connection);
/* Sends what waits; closes when that was the last. */
void lks_connection_send(struct lks_server *server, struct lks_connection *connection);
/* Adds one value to the output; may close the connection. */
void lks_connection_answer(struct lks_server *server, struct lks_connection *connection,
                           const void *reply, size_t bytes);

static inline uint32_t lks_connection_slot(const struct lks_server *server,
                                           const struct lks_connection *connection)
{
    return (uint32_t)(connection - server->connections);
}

#endif
