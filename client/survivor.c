/* A cluster out of one journal; see survivor.h. */
#include "client/survivor.h"

#include "base/assert.h"
#include "base/clock.h"
#include "client/config_edit.h"
#include "node/assembly.h"
#include "node/members.h"
#include "services/kv/kv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* One replica's files, open, and how far its log goes. */
struct remains {
    struct lks_journal *journal;
    struct lks_snapshots *snapshots;
    struct lks_log_point tail;
    struct lks_members_record members;
    uint64_t time_ns; /* the last one logged */
};

static void close_remains(struct remains *remains)
{
    lks_snapshots_close(remains->snapshots);
    lks_journal_close(remains->journal, false);
    *remains = (struct remains){0};
}

/* What the snapshots say of the log's beginning. */
static int read_base(struct remains *remains, struct lks_error *err)
{
    struct lks_snapshot_scan scan = {0};
    struct lks_snapshot_head head;
    struct lks_meta meta;
    int rc = lks_snapshot_scan_init(&scan, remains->snapshots,
                                    lks_snapshots_lowest(remains->snapshots), &head, err);
    if (rc == -ENODATA) {
        return 0; /* the log has its beginning still */
    }
    if (rc == 0 && lks_meta_decode(&meta, head.meta, head.meta_bytes) != 0) {
        rc = lks_error_set(err, -LKS_EDAMAGED, "snapshots %s: members of an unknown form",
                           lks_snapshots_path(remains->snapshots));
    }
    if (rc == 0) {
        remains->members = meta.members;
        remains->time_ns = head.time_ns;
    }
    lks_snapshot_scan_fini(&scan);
    return rc;
}

static int read_log(struct remains *remains, struct lks_error *err)
{
    struct lks_log_point cursor;
    struct lks_entry entry;
    lks_journal_base(remains->journal, &cursor);
    while (lks_journal_next(remains->journal, &cursor, remains->tail.offset, &entry) == 0) {
        if (entry.header->time_ns > remains->time_ns) {
            remains->time_ns = entry.header->time_ns;
        }
        if (entry.header->kind == LKS_ENTRY_MEMBERS &&
            lks_members_record_read(&remains->members, entry.payload,
                                    entry.header->payload_bytes) != 0) {
            return lks_error_set(err, -LKS_EVERSION, "entry %" PRIu64 " holds members of an "
                                 "unknown form", entry.header->index);
        }
    }
    return 0;
}

static int open_remains(struct remains *remains, const struct lks_config *config, uint32_t id,
                        struct lks_error *err)
{
    struct lks_journal_options journal;
    struct lks_snapshots_options snapshots;
    *remains = (struct remains){.members = {.version = LKS_MEMBERS_VERSION}};
    lks_assembly_journal_options(config, id, &journal);
    lks_assembly_snapshots_options(config, id, lks_kv_service.partitions, &snapshots);
    int rc = lks_journal_open(&remains->journal, &journal, err);
    if (rc == 0) {
        rc = lks_snapshots_open(&remains->snapshots, &snapshots, err);
    }
    if (rc == 0) {
        rc = lks_journal_recover(remains->journal, &remains->tail, err);
    }
    if (rc == 0) {
        rc = lks_snapshots_settle(remains->snapshots, remains->journal, &remains->tail, err);
    }
    if (rc == 0) {
        rc = read_base(remains, err);
    }
    if (rc == 0) {
        rc = read_log(remains, err);
    }
    if (rc != 0) {
        close_remains(remains);
    }
    return rc;
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

static void describe(struct lks_survivor *survivor, const struct remains *remains, uint32_t id)
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
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        const int rc = check_unused(config, id, err);
        if (rc != 0) {
            return rc;
        }
    }
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        struct remains remains;
        struct lks_survivor one;
        if ((survivors >> id & 1u) == 0) {
            continue;
        }
        const int rc = open_remains(&remains, config, id, err);
        if (rc != 0) {
            return rc;
        }
        describe(&one, &remains, id);
        close_remains(&remains);
        if (best.id == 0 || one.last_term > best.last_term ||
            (one.last_term == best.last_term && one.last_index > best.last_index)) {
            best = one;
        }
    }
    if (best.id == 0) {
        return lks_error_set(err, -EINVAL, "none of the survivors is in the configuration");
    }
    *chosen = best;
    return 0;
}

/* ---- founding ------------------------------------------------------------------------------- */

static int make_alone(struct remains *remains, uint32_t id, struct lks_error *err)
{
    struct lks_promise promise;
    struct lks_members_record next = {.version = LKS_MEMBERS_VERSION,
                                      .voters = (uint8_t)(1u << id),
                                      .number = remains->members.number + 1};
    const uint64_t now_ns = lks_clock_realtime_ns();
    lks_journal_promise(remains->journal, &promise);
    const uint64_t highest =
        promise.term > remains->tail.term ? promise.term : remains->tail.term;
    const struct lks_entry_draft draft = {
        .kind = LKS_ENTRY_MEMBERS,
        .term = highest + 1,
        .time_ns = now_ns > remains->time_ns ? now_ns : remains->time_ns,
        .payload = &next,
        .payload_bytes = sizeof next,
    };
    next.addresses[id - 1] = remains->members.addresses[id - 1];
    const uint64_t before = remains->tail.offset;
    /* Before the entry, so that its term is never one that may be led. */
    promise = (struct lks_promise){.term = highest + 1};
    int rc = lks_journal_write_promise(remains->journal, &promise);
    if (rc == 0) {
        rc = lks_journal_append(remains->journal, &remains->tail, &draft);
    }
    if (rc == 0) {
        rc = lks_journal_persist_range(remains->journal, before, remains->tail.offset);
    }
    if (rc == 0) {
        rc = lks_journal_clear_amnesia(remains->journal, 1u << id);
    }
    return rc == 0 ? 0
                   : lks_error_set(err, rc, "replica %u's journal: its members cannot be changed: "
                                   "%s", id, lks_error_text(rc));
}

int lks_survivor_found(const struct lks_survivor *survivor, const struct lks_config *config,
                       const char *path, struct lks_error *err)
{
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    struct remains remains;
    if (getrandom(cluster_id, sizeof cluster_id, 0) != (ssize_t)sizeof cluster_id) {
        return lks_error_set(err, -EIO, "cannot get random bytes for the cluster's new id");
    }
    int rc = open_remains(&remains, config, survivor->id, err);
    if (rc != 0) {
        return rc;
    }
    rc = make_alone(&remains, survivor->id, err);
    if (rc != 0) {
        goto end;
    }
    /* The configuration first: until the files follow, they belong to no cluster that is named. */
    rc = lks_config_replace_id(path, cluster_id, err);
    if (rc != 0) {
        goto end;
    }
    rc = lks_snapshots_set_cluster(remains.snapshots, cluster_id);
    if (rc == 0) {
        rc = lks_journal_set_cluster(remains.journal, cluster_id);
    }
    if (rc != 0) {
        (void)lks_error_set(err, rc, "replica %u: its files cannot be given the cluster's new id: "
                            "%s: put the old configuration back and try again", survivor->id,
                            lks_error_text(rc));
    }
end:
    close_remains(&remains);
    return rc;
}
