/*
 * What is left of a replica whose cluster has lost its majority for good: its files, opened while
 * no process runs on them, how far its log goes, and how its cluster begins anew with it alone. For
 * `lockstep recover`, and the simulator in its place. The calling thread.
 */
#ifndef LKS_NODE_REMAINS_H
#define LKS_NODE_REMAINS_H

#include "base/error.h"
#include "node/members.h"
#include "pmem/journal.h"
#include "pmem/snapshots.h"

#include <stdbool.h>
#include <stdint.h>

/* One replica's files, open. Zeroed: closed. */
struct lks_remains {
    struct lks_journal *journal;
    struct lks_snapshots *snapshots;
    struct lks_log_point tail;         /* the end of its log, which is durable */
    struct lks_members_record members; /* the last ones of its log; number 0: the first members */
    uint64_t time_ns;                  /* the last one logged */
};

/* Opens both under their locks and reads the log. Errors: as lks_journal_open, _recover,
 * lks_snapshots_open and _settle; -LKS_EVERSION: members of a form that this build does not know.
 * Then it stays closed. */
int lks_remains_open(struct lks_remains *remains, const struct lks_journal_options *journal,
                     const struct lks_snapshots_options *snapshots, struct lks_error *err);
void lks_remains_close(struct lks_remains *remains);

/* A log that ends at `one` is later than one that ends at `other`. What had committed is in the
 * latest log of a majority. */
bool lks_remains_is_later(const struct lks_log_point *one, const struct lks_log_point *other);

/* Appends durably that replica `id`, whose files these are, is the only member, in a term that
 * nobody led who is known here, and takes its log for whole. now_ns: real time. Once more does no
 * harm. Errors: -LKS_ERINGFULL, -LKS_EDAMAGED, errno of the medium. */
int lks_remains_found(struct lks_remains *remains, uint32_t id, uint64_t now_ns,
                      struct lks_error *err);

/* The id of a new cluster: of the old one, but for the first 8 bytes, which differ by a multiple of
 * the checksum's polynomial. So a header's checksum stays as it is, and one word says whose file it
 * is: no power cut tears it. drawn: random, of its lower 31 bits not all 0. */
void lks_remains_draw_cluster(const uint8_t old_id[LKS_CLUSTER_ID_BYTES], uint32_t drawn,
                              uint8_t new_id[LKS_CLUSTER_ID_BYTES]);

/* Gives the files to the cluster of that id, durably. Errors: errno of the medium; then some may
 * belong to it already. */
int lks_remains_set_cluster(struct lks_remains *remains,
                            const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES]);

#endif
