/*
 * The gateway of a replica for clients on its fabric: takes their requests out of the memory that
 * they write, hands them on as the client port over TCP does (server/server.h), and writes the
 * answers into the clients' memory. What it reads was written by a client: it is copied, then
 * checked, and a client that writes what cannot be is let go. A client that has ended frees its
 * lane; answers that come later are dropped. Loop's thread.
 *
 * Invariant: an answer goes to the client that asked, under the number that it gave, or nowhere.
 */
#ifndef LKS_NODE_CLIENT_PORT_H
#define LKS_NODE_CLIENT_PORT_H

#include "base/error.h"
#include "base/log.h"
#include "verbs/lane.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds of one client: nothing more is taken from it there. */
#define LKS_CLIENT_PORT_REQUESTS_MAX 128u /* without an answer */
/* Answers that its ring has no room for; beyond, it is let go: it does not read. Enough for all
 * that a client library has under way. */
#define LKS_CLIENT_PORT_HELD_BYTES_MAX (33u << 20)
/* Answers of all clients together that wait so: the least bound. */
#define LKS_CLIENT_PORT_ALL_HELD_BYTES_MIN (64u << 20)

/* What stands behind: the replica, or a fake in tests. As in struct lks_server_backend; no cookie
 * is one of the TCP port's. */
struct lks_client_port_backend {
    int (*submit)(void *ctx, const void *command, size_t bytes, uint64_t cookie);
    int (*read)(void *ctx, const void *command, size_t bytes, uint64_t cookie, bool ordered);
    bool (*is_read)(const void *command, size_t bytes);
    /* Commands of the service that are not taken, as the configuration has it. NULL: all are. */
    bool (*is_forbidden)(const void *command, size_t bytes);
    void *ctx;
};

struct lks_client_port_options {
    struct lks_lanes *lanes; /* of areas of LKS_CLIENT_AREA_BYTES; the port's once it is made */
    /* Answers that wait for room, of all clients together; beyond, the client with the most is let
     * go. At least LKS_CLIENT_PORT_ALL_HELD_BYTES_MIN. */
    uint64_t held_bytes_max;
    const struct lks_log *log_sink;
    struct lks_client_port_backend backend;
};

struct lks_client_port;

/* -ENOMEM; the lanes are the caller's then. */
int lks_client_port_new(struct lks_client_port **port,
                        const struct lks_client_port_options *options, struct lks_error *err);
/* Ends all attachments; NULL is allowed. */
void lks_client_port_free(struct lks_client_port *port);

/* Does what is ready; bounded work. Returns how many pieces of work were done. */
int lks_client_port_poll(struct lks_client_port *port, uint64_t now_ns);

/* Whether an answer is one of this port's. */
bool lks_client_port_owns(uint64_t cookie);

/* The answer to what was handed on, exactly once for each cookie; bytes 0: it is not known. Seen
 * by the client after the next _flush. */
void lks_client_port_reply(struct lks_client_port *port, uint64_t cookie, const void *reply,
                           size_t bytes);
void lks_client_port_flush(struct lks_client_port *port);

/* Takes nothing more. */
void lks_client_port_drain(struct lks_client_port *port);

/* Sleeping: false: there is something to do. After true, wait on _fd too, then _disarm. */
int lks_client_port_fd(const struct lks_client_port *port);
bool lks_client_port_arm(struct lks_client_port *port);
void lks_client_port_disarm(struct lks_client_port *port);

struct lks_client_port_counts {
    uint32_t attached;
    uint64_t requests;
    uint64_t refused;  /* of them, without being handed on */
    uint64_t let_go;   /* clients, for what they wrote or did not read */
    uint64_t dropped;  /* answers whose client had ended */
};

void lks_client_port_counts(const struct lks_client_port *port,
                            struct lks_client_port_counts *counts);

/* One attached client. */
struct lks_client_port_client {
    uint32_t calls;        /* requests without an answer */
    uint64_t session;      /* that its last call named; 0: none yet */
    uint64_t requests;     /* taken from it */
    uint64_t held_bytes;   /* of answers that wait, as it does not read */
    uint64_t silent_ns;    /* since its last request, or since it came */
    char who[64];          /* as lks_lanes_who */
};

/* The client of a lane, 1 to LKS_LANE_NUMBER_MAX. False: it has none. */
bool lks_client_port_describe(const struct lks_client_port *port, uint32_t lane,
                              struct lks_client_port_client *client);

#endif
