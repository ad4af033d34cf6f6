/*
 * Which durability mode a replica really runs with: the configured wish, held against what its
 * medium and its fabric can honestly promise (design 3.3). Pure; called once at start.
 */
#ifndef LKS_NODE_DURABILITY_H
#define LKS_NODE_DURABILITY_H

#include "base/error.h"
#include "node/replica.h"
#include "pmem/journal.h"

#define LKS_DURABILITY_REASON_MAX 256u

struct lks_durability_choice {
    enum lks_durability durability; /* never AUTO */
    char reason[LKS_DURABILITY_REASON_MAX]; /* one clause for `status` */
};

/*
 * Resolves `wish` for a medium behind the shm fabric. -LKS_ECONFIG where the wish would promise
 * what the medium cannot keep; err names the journal and the way out.
 */
int lks_durability_resolve(struct lks_durability_choice *choice, enum lks_durability wish,
                           const struct lks_medium *medium, const char *journal_path,
                           struct lks_error *err);

/* What is known of the adapter that peers write through. */
struct lks_durability_adapter {
    bool hardware;              /* not a software driver, whose stores stay in the cache */
    bool direct_write_asserted; /* by the operator: its writes go past the processors' caches */
};

/* The same for a medium behind the RDMA fabric. pmem-read that would promise too much becomes
 * pmem-ack, with the reason. -LKS_ECONFIG: writer-flush, which only shm has. */
int lks_durability_resolve_rdma(struct lks_durability_choice *choice, enum lks_durability wish,
                                const struct lks_medium *medium,
                                const struct lks_durability_adapter *adapter,
                                const char *journal_path, struct lks_error *err);

/* "devdax", "fsdax", "memory", "file". */
const char *lks_medium_name(enum lks_medium_kind kind);

/* "none", "cpu-cache", "memory-controller", "storage", "unknown". */
const char *lks_domain_name(enum lks_persistence_domain domain);

#endif
