/* A cluster out of one journal; see survivor.h. */
#include "client/survivor.h"

#include "base/assert.h"
#include "base/clock.h"
#include "client/config_edit.h"
#include "client/program.h"
#include "node/assembly.h"
#include "node/remains.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static int open_remains(struct lks_remains *remains, const struct lks_config *config, uint32_t id,
                        struct lks_error *err)
{
    struct lks_journal_options journal;
    struct lks_snapshots_options snapshots;
    lks_assembly_journal_options(config, id, &journal);
    lks_assembly_snapshots_options(config, id, lks_program()->service->partitions, &snapshots);
    return lks_remains_open(remains, &journal, &snapshots, err);
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* Who still runs is not lost. */
static int check_unused(const struct lks_config *config, uint32_t id, struct lks_error *err)
{
    struct lks_journal_options options;
    struct lks_journal *journal = NULL;
    struct lks_error ignored;
    int64_t pid = 0;
    lks_assembly_journal_options(config, id, &options);
    options.read_only = true;
    options.replica = 0;
    options.ring_bytes = 0;
    options.entry_bytes_max = 0;
    if (lks_journal_open(&journal, &options, &ignored) != 0) {
        return 0; /* not here, or nobody could run on it */
    }
    const bool used = lks_journal_in_use(journal, &pid);
    lks_journal_close(journal, false);
    return used ? lks_error_set(err, -EBUSY,
                                "replica %u runs (process %" PRId64 "): stop all replicas first; "
                                "if a majority can run, nothing needs to be given up",
                                id, pid)
                : 0;
}

static void describe(struct lks_survivor *survivor, const struct lks_remains *remains, uint32_t id)
{
    struct lks_identity identity;
    lks_journal_identity(remains->journal, &identity);
    *survivor = (struct lks_survivor){.id = id,
                                      .last_index = remains->tail.index,
                                      .last_term = remains->tail.term,
                                      .members_number = remains->members.number,
                                      .voters = remains->members.voters,
                                      .learners = remains->members.learners};
    if (remains->members.number == 0) {
        survivor->voters = identity.bootstrap_voters;
    }
    printf("replica %u: entries up to %" PRIu64 " of term %" PRIu64 ", members %" PRIu64 "%s\n",
           id, survivor->last_index, survivor->last_term, survivor->members_number,
           identity.amnesiac ? "; it may have forgotten acknowledged ones" : "");
}

int lks_survivor_choose(struct lks_survivor *chosen, const struct lks_config *config,
                        uint32_t survivors, struct lks_error *err)
{
    struct lks_survivor best = {.id = 0};
    struct lks_log_point latest = {.index = 0};
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        const int rc = check_unused(config, id, err);
        if (rc != 0) {
            return rc;
        }
    }
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        struct lks_remains remains;
        struct lks_survivor one;
        if ((survivors >> id & 1u) == 0) {
            continue;
        }
        const int rc = open_remains(&remains, config, id, err);
        if (rc != 0) {
            return rc;
        }
        describe(&one, &remains, id);
        if (best.id == 0 || lks_remains_is_later(&remains.tail, &latest)) {
            best = one;
            latest = remains.tail;
        }
        lks_remains_close(&remains);
    }
    if (best.id == 0) {
        return lks_error_set(err, -EINVAL, "none of the survivors is in the configuration");
    }
    *chosen = best;
    return 0;
}

/* ---- founding ------------------------------------------------------------------------------- */

int lks_survivor_found(const struct lks_survivor *survivor, const struct lks_config *config,
                       const char *path, struct lks_error *err)
{
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    struct lks_remains remains;
    uint32_t drawn = 0;
    if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn) {
        return lks_error_set(err, -EIO, "cannot get random bytes for the cluster's new id");
    }
    drawn = drawn << 1 != 0 ? drawn : 1;
    lks_remains_draw_cluster(config->cluster_id, drawn, cluster_id);
    int rc = open_remains(&remains, config, survivor->id, err);
    if (rc != 0) {
        return rc;
    }
    rc = lks_remains_found(&remains, survivor->id, lks_clock_realtime_ns(), err);
    if (rc != 0) {
        goto end;
    }
    /* The configuration first: until the files follow, they belong to no cluster that is named. */
    rc = lks_config_replace_id(path, cluster_id, err);
    if (rc != 0) {
        goto end;
    }
    rc = lks_remains_set_cluster(&remains, cluster_id);
    if (rc != 0) {
        (void)lks_error_set(err, rc, "replica %u: its files cannot be given the cluster's new id: "
                            "%s: put the old configuration back and try again", survivor->id,
                            lks_error_text(rc));
    }
end:
    lks_remains_close(&remains);
    return rc;
}
