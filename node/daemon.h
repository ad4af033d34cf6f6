/*
 * One replica's process: the assembled replica, its client port and its loop, from start to end.
 * main() calls it on its own thread and gives it a descriptor that says when to stop.
 */
#ifndef LKS_NODE_DAEMON_H
#define LKS_NODE_DAEMON_H

#include "base/error.h"
#include "lockstep/service.h"
#include "node/config.h"

struct lks_daemon_options {
    const struct lks_config *config;
    uint32_t replica;
    const struct lks_service *service;
    /* Commands of the service for measurements only: taken from clients on the fabric where the
     * configuration says `debug_commands: yes`. NULL: there are none. */
    bool (*is_debug)(const void *command, size_t bytes);
    bool not_key_value; /* the Redis port refuses the key-value service's commands */
    int stop_fd;         /* readable: end in order; stays the caller's */
    bool shared_process; /* the peers are threads of this process (tests) */
    const struct lks_log *log_sink;
};

/*
 * Runs until stop_fd is readable, then ends in order and returns 0. Keeps its process id in
 * <directory>/r<replica>.pid meanwhile. Errors: those of starting (journal, fabric, address in
 * use) and what makes a replica unable to go on; err says the way out. No client can cause one.
 */
int lks_daemon_run(const struct lks_daemon_options *options, struct lks_error *err);

#endif
