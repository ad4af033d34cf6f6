/*
 * The client port: RESP2/RESP3 over TCP. Parses, answers what concerns the connection alone, hands
 * every other command to its backend, and sends answers back in the order of each connection.
 * One thread, never blocks: the node's loop watches lks_server_fd and calls lks_server_poll.
 */
#ifndef LKS_SERVER_SERVER_H
#define LKS_SERVER_SERVER_H

#include "base/error.h"
#include "base/log.h"
#include "lockstep/argument.h"
#include "lockstep/reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lks_server;

/* What stands behind the port: the replica, or a fake in tests. */
struct lks_server_backend {
    /* Takes an encoded command (copied during the call); lks_server_reply with this cookie must
     * follow exactly once, possibly from inside this call (inline execution), in any order: the
     * port brings the answers of a connection into the order of its commands. Refusals: -LKS_EBUSY,
     * -LKS_ETOOBIG, -LKS_ERINGFULL, -LKS_ENOLEADER, each with its own error reply. */
    int (*submit)(void *ctx, const void *command, size_t bytes, uint64_t cookie);
    /* Appends the replication part of INFO ("# Lockstep\r\nrole:leader\r\n...") to text; returns
     * the bytes written, at most bytes_max. section: INFO's argument as the client gave it, NULL
     * without one; 0 bytes for a section that the backend does not know. */
    size_t (*info)(void *ctx, const char *section, char *text, size_t bytes_max);
    /* How many other replicas are known to hold durably all that has been answered so far. NULL:
     * there are none. */
    uint32_t (*durable_followers)(void *ctx);
    /* Takes, as submit does, an encoded command that changes nothing. ordered: it must come after
     * everything that was submitted before it; else only what was answered before must be seen.
     * Never may it see what is submitted after it. NULL: submit takes these too. */
    int (*read)(void *ctx, const void *command, size_t bytes, uint64_t cookie, bool ordered);
    /* MEMBER: lists or changes the cluster's members. args: the command's, its name included. True:
     * `reply` holds the answer; false: lks_server_reply with this cookie follows, exactly once,
     * later. NULL: there are none. */
    bool (*member)(void *ctx, const struct lks_argument *args, size_t count, uint64_t cookie,
                   struct lks_reply *reply);
    /* SCHEDULER: changes how this replica executes; `reply` holds the answer. NULL: it cannot be
     * changed. */
    void (*scheduler)(void *ctx, const struct lks_argument *args, size_t count,
                      struct lks_reply *reply);
    void *ctx;
};

struct lks_server_options {
    const char *address; /* numeric; "127.0.0.1" */
    uint16_t port;       /* 0: any free one, see lks_server_port */
    uint32_t connections_max;
    size_t command_bytes_max; /* greatest encoded command: the entry limit */
    bool debug_commands; /* DEBUG BURN is taken; making the server then takes some milliseconds */
    /* What the backend executes, where it is not the key-value service, whose commands are refused
     * then; NULL: it is. */
    const char *other_service;
    struct lks_server_backend backend;
    const struct lks_log *log_sink;
};

/* Listens. Errors: -EADDRINUSE, -EACCES, -EINVAL, errno; err names address and port. */
int lks_server_new(struct lks_server **server, const struct lks_server_options *options,
                   struct lks_error *err);

/* Closes all connections and frees; NULL is allowed. */
void lks_server_free(struct lks_server *server);

uint16_t lks_server_port(const struct lks_server *server);

/* An epoll descriptor, readable when there is something to do. */
int lks_server_fd(const struct lks_server *server);

/* Does what is ready: accepts, reads, parses, submits, writes. Bounded work. Returns how many
 * pieces of work were done. */
int lks_server_poll(struct lks_server *server);

/* The answer to a submitted command; reply: one RESP3 value, copied. An unknown cookie (its
 * connection has gone) is ignored. Output is sent by the next _flush or _poll. With bytes 0 the
 * outcome of the command is not known: the connection is closed, as RESP has no word for that. */
void lks_server_reply(struct lks_server *server, uint64_t cookie, const void *reply, size_t bytes);

/* Sends what _reply has queued: once per turn of the loop, so that replies leave in batches. */
void lks_server_flush(struct lks_server *server);

/* Stops accepting and reading; what was submitted is still answered. */
void lks_server_drain(struct lks_server *server);

#endif
