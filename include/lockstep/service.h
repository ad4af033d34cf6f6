/*
 * The contract between Lockstep and a replicated service.
 *
 * A service is a deterministic state machine: the same commands in the same order give the same
 * state and the same replies on every replica. It sees no clock, no randomness and no network
 * but what a command carries. A service includes this header and lockstep/reply.h, nothing else.
 *
 * Its state is cut into partitions, which are snapshotted and restored each at a time of its own.
 * While a replica recovers, the partitions stand at different points of the log; commands reach
 * each partition in the order of the log all the same, and a partition only when it is restored.
 *
 * Threads: without parallel workers all calls come from the replica's core thread, one at a time.
 * With them, apply and read are called by several threads at once, for commands whose footprints
 * do not conflict; next_expiry_ns and footprint at any time beside them; every other function only
 * while none of those two is under way.
 */
#ifndef LOCKSTEP_SERVICE_H
#define LOCKSTEP_SERVICE_H

#include "lockstep/reply.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_SERVICE_ABI 3u
#define LKS_PARTITIONS_MAX 4096u

/* One committed command. All pointers are valid during the call only. */
struct lks_command {
    uint64_t index;   /* its place in the log, rising */
    uint64_t time_ns; /* the leader's time when it was logged; never goes back. For a read: the
                         time of the newest entry that its partitions have seen */
    const void *data; /* the bytes that the client side of the service encoded */
    size_t bytes;
    /* NULL: all partitions. Otherwise a bitmap, partition p at bit p % 64 of word p / 64: where its
     * bit is clear, the partition's snapshot is younger than the command, whose effect there has
     * taken place; it must be left alone. The reply then counts for nothing. A tied command finds
     * the bits of all of its partitions equal. */
    const uint64_t *only;
};

static inline bool lks_command_includes(const struct lks_command *command, uint32_t partition)
{
    return command->only == NULL || (command->only[partition / 64] >> (partition % 64) & 1) != 0;
}

#define LKS_FOOTPRINT_MAX 16u
#define LKS_FOOTPRINT_ALL UINT32_MAX

/*
 * What a command reads or writes. Two commands conflict if they have a partition in common and one
 * of them writes it; those that do not may be executed at the same time, in any order.
 *
 * Keys are optional, and finer: each an identity (a hash of the key, the same on all replicas; its
 * remainder modulo the number of partitions is its partition) shifted left by one, plus 1 where it
 * is written. Either all keys are named, or none is.
 */
struct lks_footprint {
    uint32_t count; /* partitions; 0: none; LKS_FOOTPRINT_ALL: all of them, all written; also where
                       they are too many */
    bool tied;      /* what it does to one of them depends on the content of another */
    uint16_t reads; /* bit i: partitions[i] is only read */
    uint16_t partitions[LKS_FOOTPRINT_MAX]; /* the first `count`, rising, each once */
    uint32_t keys_count; /* 0: they are not named */
    uint64_t keys[LKS_FOOTPRINT_MAX];
};

/* Touches nothing; the lists are left as they are. */
static inline void lks_footprint_clear(struct lks_footprint *footprint)
{
    footprint->count = 0;
    footprint->tied = false;
    footprint->reads = 0;
    footprint->keys_count = 0;
}

/* What the log keeps of an identity: few bits, so that a command of one key has its footprint in
 * the entry's header. The partition is the same. */
#define LKS_FOOTPRINT_IDENTITIES 32768u

static inline uint64_t lks_footprint_identity(uint64_t identity, uint32_t partitions)
{
    if ((partitions & (partitions - 1)) == 0) { /* the same, without divisions */
        return identity & (LKS_FOOTPRINT_IDENTITIES - 1);
    }
    const uint64_t rows = LKS_FOOTPRINT_IDENTITIES / partitions;
    return identity / partitions % rows * partitions + identity % partitions;
}

/* Where a snapshot goes to. One call gives one chunk, which restore_chunk will get again as it is.
 * Returns 0 or a negative code that the service passes on unchanged. */
struct lks_snapshot_writer {
    int (*write)(void *ctx, const void *data, size_t bytes);
    void *ctx;
};

/* A chunk is no longer than this, unless it holds one record that is. */
#define LKS_SNAPSHOT_CHUNK_BYTES (64u << 10)

struct lks_service_options {
    size_t command_bytes_max; /* greatest command that will be applied */
};

/* What a service fills in; static storage. All functions are required. */
struct lks_service {
    uint32_t abi; /* LKS_SERVICE_ABI */
    const char *name;
    uint32_t partitions; /* 1..LKS_PARTITIONS_MAX */

    /* Makes an empty state. -ENOMEM. */
    int (*open)(void **state, const struct lks_service_options *options);
    void (*close)(void *state);

    /* Says what a command touches, by its bytes alone; bytes that make no sense touch what apply
     * then looks at. *footprint was cleared by the caller. The leader asks when it logs a command,
     * and the answer is logged with it; the other replicas take it from there. Any thread. */
    void (*footprint)(const void *data, size_t bytes, struct lks_footprint *footprint);

    /* Executes a command and appends exactly one value to reply. Cannot fail: a command that makes
     * no sense gets an error reply, the same on every replica. */
    void (*apply)(void *state, const struct lks_command *command, struct lks_reply *reply);

    /* Answers a command that changes nothing, at the state as it is; same reply as apply. Called
     * only when is_read said true for its bytes. */
    void (*read)(void *state, const struct lks_command *command, struct lks_reply *reply);
    bool (*is_read)(const void *data, size_t bytes);

    /*
     * Time. tick says that every entry up to one of this time has been applied in all partitions,
     * and that neither a command nor a read of an earlier time will follow; it never goes back.
     * The service gives back what it no longer needs, with bounded work a call, and changes
     * nothing that a later command, read or hash can see: what has expired is decided by the time
     * that each command carries. Returns true while more could be given back at this time.
     */
    bool (*tick)(void *state, uint64_t time_ns);
    /* The earliest time at which something expires of what has not been given back; UINT64_MAX:
     * nothing does. When it passes and no entry of a later time is in the log, the leader logs a
     * tick, so that reads see what has expired. Also asked while commands are executed. */
    uint64_t (*next_expiry_ns)(void *state);

    /*
     * Snapshot of one partition, in steps between commands; those of several partitions may be
     * under way at a time. begin freezes the partition's content as it is now and returns about
     * how many bytes will be written. Commands go on: the service keeps what they change, as it
     * was, until it is written. step writes about bytes_max bytes more of the frozen content
     * (what one record exceeds them by may be more; a step that finds nothing left to write in
     * bounded work writes less, even nothing) and says by `done` that all of it is written. Errors:
     * the writer's; then only end may follow. end comes after `done`, or gives up.
     */
    uint64_t (*snapshot_begin)(void *state, uint32_t partition);
    int (*snapshot_step)(void *state, uint32_t partition, const struct lks_snapshot_writer *writer,
                         size_t bytes_max, bool *done);
    void (*snapshot_end)(void *state, uint32_t partition);
    /* Bytes held, over all partitions, only because snapshots under way still need them. */
    uint64_t (*snapshot_kept)(void *state);

    /*
     * Replaces one partition by what its snapshot wrote. begin empties it (and gives up a snapshot
     * or restore of it that is under way); chunk takes the next chunk, exactly as written; end says
     * that there are no more. Nothing read is trusted: -EBADMSG for what no snapshot of this
     * partition has written, from end also for an incomplete one; -ENOMEM. After an error the
     * partition is empty, and only begin may follow.
     */
    void (*restore_begin)(void *state, uint32_t partition);
    int (*restore_chunk)(void *state, uint32_t partition, const void *data, size_t bytes);
    int (*restore_end)(void *state, uint32_t partition);

    /* A hash of one partition's content at the time of the last tick, independent of its history
     * and memory layout. Asked for only after a tick with the time of the last entry applied. */
    uint64_t (*hash)(void *state, uint32_t partition);
};

#endif
