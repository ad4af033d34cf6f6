/*
 * The run-to-completion loop of one replica's process: clients, fabric, flusher and timers in
 * turns on one thread, spinning for a bounded time after work, then sleeping until the replica's
 * next deadline. It never sleeps over work: what arrives after the last look wakes it.
 */
#ifndef LKS_NODE_LOOP_H
#define LKS_NODE_LOOP_H

#include "base/error.h"
#include "node/client_port.h"
#include "node/flusher.h"
#include "node/replica.h"
#include "server/server.h"
#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_loop_options {
    struct lks_replica *replica;
    struct lks_fabric *fabric;
    struct lks_server *server;
    struct lks_client_port *clients; /* on the fabric; NULL: there are none */
    struct lks_flusher *flusher; /* NULL: the replica persists inline */
    struct lks_flusher *snapshot_flusher; /* the same for its snapshots */
    int stop_fd;                 /* readable: end in order (a signalfd, an eventfd) */
    uint64_t spin_ns;            /* look for work this long before sleeping */
    bool busy_poll;              /* never sleep */
};

/*
 * Runs until stop_fd is readable and everything has ended in order: clients are no longer read,
 * their commands are answered, a leader has handed over; each step is bounded. 0 then. A negative
 * code of lks_replica_step ends it at once, with its message in err.
 */
int lks_loop_run(const struct lks_loop_options *options, struct lks_error *err);

#endif
