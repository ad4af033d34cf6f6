/*
 * A replica with its surroundings on this machine: journal, snapshots, fabric, flushers and the
 * replica that joins them, made from the configuration. The daemon adds a client port and a loop;
 * a benchmark drives it itself. Made, used and ended on one thread. Creates no file but a snapshot
 * area that is missing and cannot have held anything yet.
 */
#ifndef LKS_NODE_ASSEMBLY_H
#define LKS_NODE_ASSEMBLY_H

#include "node/config.h"
#include "node/durability.h"
#include "node/flusher.h"
#include "node/replica.h"
#include "node/ring_memory.h"
#include "sched/numa.h"

struct lks_assembly_options {
    const struct lks_config *config;
    uint32_t replica;
    const struct lks_service *service;
    bool shared_process; /* the peers are threads of this process (tests, thread sanitizer) */
    const struct lks_log *log_sink;
    void (*on_reply)(void *ctx, uint64_t cookie, const void *reply, size_t bytes);
    void (*on_member_change)(void *ctx, uint64_t cookie, int status, const char *text);
    void *ctx;
};

/* Zeroed is valid for _fini. What options point at stays the caller's until then. */
struct lks_assembly {
    const struct lks_config *config;
    uint32_t replica_id;
    struct lks_journal *journal;
    struct lks_durability_choice durability;
    struct lks_snapshots *snapshots;
    struct lks_flusher *flusher; /* NULL where persisting does not block */
    struct lks_flusher *snapshot_flusher; /* the same for the snapshot area */
    struct lks_fabric *fabric;
    struct lks_ring_memory ring_memory; /* RDMA; else its text is empty */
    struct lks_replica *replica;
    struct lks_numa numa; /* machines of several NUMA nodes, with workers; else zeroed */
    int core_cpu; /* where the replica's own thread belongs; -1: anywhere */
};

/* Errors: those of opening the journal, the fabric and the replica; -LKS_ECONFIG (no such
 * replica, durability that the medium cannot keep), -LKS_EREMOVED (no member any more).
 * err says the way out; nothing is left open. */
int lks_assembly_init(struct lks_assembly *assembly, const struct lks_assembly_options *options,
                      struct lks_error *err);

/* clean: everything ended in order; the journal notes it. */
void lks_assembly_fini(struct lks_assembly *assembly, bool clean);

/* The RDMA fabric, by what the configuration says beside `fabric`. Errors: those of
 * lks_fabric_rdma_new; -ENOTSUP (a build without it). */
int lks_assembly_rdma(struct lks_assembly *assembly, const struct lks_fabric_options *fabric,
                      struct lks_error *err);

/* The adapter that peers of an RDMA replica write through. Errors: those of lks_rdma_find_device
 * (-ENODEV: none has the replica's address, yet); -ENOTSUP. */
int lks_assembly_find_adapter(const struct lks_config *config, uint32_t replica,
                              struct lks_durability_adapter *adapter, struct lks_error *err);

/* The NUMA node of that adapter; -1: it has none, or there is no adapter. */
int lks_assembly_device_node(const struct lks_config *config, uint32_t replica);

/* What lks_journal_open and lks_journal_create need to know of a replica. */
void lks_assembly_journal_options(const struct lks_config *config, uint32_t replica,
                                  struct lks_journal_options *options);

/* What lks_snapshots_open and lks_snapshots_create need to know of a replica. */
void lks_assembly_snapshots_options(const struct lks_config *config, uint32_t replica,
                                    uint32_t partitions, struct lks_snapshots_options *options);

#endif
