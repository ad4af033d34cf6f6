/*
 * The contract between Lockstep and a replicated service.
 *
 * A service is a deterministic state machine: the same commands in the same order give the same
 * state and the same replies on every replica. It sees no clock, no randomness and no network
 * but what a command carries. A service includes this header and lockstep/reply.h, nothing else.
 *
 * Threads: without parallel workers all calls come from the replica's core thread, one at a time.
 */
#ifndef LOCKSTEP_SERVICE_H
#define LOCKSTEP_SERVICE_H

#include "lockstep/reply.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_SERVICE_ABI 1u

/* One committed command. All pointers are valid during the call only. */
struct lks_command {
    uint64_t index;   /* its place in the log, rising */
    uint64_t time_ns; /* the leader's time when it was logged; never goes back */
    const void *data; /* the bytes that the client side of the service encoded */
    size_t bytes;
};

/* Where a snapshot goes to, or comes from. Returns 0 or a negative code that the service passes
 * on unchanged. A read gives exactly `bytes` bytes or -EBADMSG. */
struct lks_snapshot_writer {
    int (*write)(void *ctx, const void *data, size_t bytes);
    void *ctx;
};
struct lks_snapshot_reader {
    int (*read)(void *ctx, void *data, size_t bytes);
    void *ctx;
};

struct lks_service_options {
    size_t command_bytes_max; /* greatest command that will be applied */
};

/* What a service fills in; static storage. All functions are required. */
struct lks_service {
    uint32_t abi; /* LKS_SERVICE_ABI */
    const char *name;
    uint32_t partitions; /* independent parts for snapshots: 1..4096 */

    /* Makes an empty state. -ENOMEM. */
    int (*open)(void **state, const struct lks_service_options *options);
    void (*close)(void *state);

    /* Executes a command and appends exactly one value to reply. Cannot fail: a command that makes
     * no sense gets an error reply, the same on every replica. */
    void (*apply)(void *state, const struct lks_command *command, struct lks_reply *reply);

    /* Answers a command that changes nothing, at the state as it is; same reply as apply. Called
     * only when is_read said true for its bytes. */
    void (*read)(void *state, const struct lks_command *command, struct lks_reply *reply);
    bool (*is_read)(const void *data, size_t bytes);

    /* Writes one partition as it is now; between two commands. */
    int (*snapshot)(void *state, uint32_t partition, const struct lks_snapshot_writer *writer);
    /* Replaces one partition. Nothing read is trusted; -EBADMSG leaves the partition empty. */
    int (*restore)(void *state, uint32_t partition, const struct lks_snapshot_reader *reader);

    /* A hash of one partition's content, independent of its history and memory layout. */
    uint64_t (*hash)(void *state, uint32_t partition);
};

#endif
