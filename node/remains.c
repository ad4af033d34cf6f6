/* What is left of a replica; see remains.h. */
#include "node/remains.h"

#include "base/assert.h"
#include "verbs/fabric.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Of CRC32C, 33 bits, that of the highest power first, as the checksum takes a word's bits. */
#define POLYNOMIAL (UINT64_C(0x82F63B78) << 1 | 1)
#define FACTOR_BITS 31u
#define FACTOR_MASK ((1u << FACTOR_BITS) - 1)

void lks_remains_close(struct lks_remains *remains)
{
    lks_snapshots_close(remains->snapshots);
    lks_journal_close(remains->journal, false);
    *remains = (struct lks_remains){0};
}

/* What the snapshots say of the log's beginning. */
static int read_base(struct lks_remains *remains, struct lks_error *err)
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

static int read_log(struct lks_remains *remains, struct lks_error *err)
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

/* The end of the snapshots' part of the log that lies next above `from`; UINT64_MAX: none does. */
static uint64_t next_point(const struct lks_snapshots *store, uint64_t from)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t p = 0; p < lks_snapshots_partitions(store); p++) {
        const uint64_t offset = lks_snapshots_point(store, p).offset;
        next = offset > from && offset < next ? offset : next;
    }
    return next;
}

/* Those that were taken at this offset, and none that lies below, are of the log that comes by this
 * point. */
static bool agree(const struct lks_snapshots *store, const struct lks_log_point *point,
                  uint64_t lowest)
{
    for (uint32_t p = 0; p < lks_snapshots_partitions(store); p++) {
        const struct lks_log_point taken = lks_snapshots_point(store, p);
        if (taken.offset == point->offset &&
            (taken.index != point->index || taken.term != point->term ||
             taken.chain != point->chain)) {
            return false;
        }
        if (taken.offset < lowest) {
            return false;
        }
    }
    return true;
}

/* Whether every snapshot was taken of this very log: index, term and chain of checksums say so. */
static bool is_of_this_log(const struct lks_remains *remains, const struct lks_snapshots *store)
{
    struct lks_log_point cursor;
    struct lks_entry entry;
    lks_journal_base(remains->journal, &cursor);
    const uint64_t base = cursor.offset;
    bool same = agree(store, &cursor, base);
    uint64_t next = next_point(store, cursor.offset);
    while (same && next != UINT64_MAX) {
        if (lks_journal_next(remains->journal, &cursor, remains->tail.offset, &entry) != 0 ||
            cursor.offset > next) {
            return false;
        }
        if (cursor.offset == next) {
            same = agree(store, &cursor, base);
            next = next_point(store, next);
        }
    }
    return same;
}

/*
 * A recovery that was cut short may have given the area to its new cluster, the journal not yet. It
 * is the journal's all the same if its snapshots are of the journal's log.
 */
static int open_snapshots(struct lks_remains *remains, const struct lks_snapshots_options *options,
                          struct lks_error *err)
{
    struct lks_snapshots_options other = {.path = options->path, .read_only = true};
    struct lks_snapshots *store = NULL;
    struct lks_error ignored;
    const int rc = lks_snapshots_open(&remains->snapshots, options, err);
    if (rc != -LKS_ECLUSTER || lks_snapshots_open(&store, &other, &ignored) != 0) {
        return rc;
    }
    other = *options;
    lks_snapshots_cluster(store, other.cluster_id);
    const bool its_own = is_of_this_log(remains, store);
    lks_snapshots_close(store);
    return its_own ? lks_snapshots_open(&remains->snapshots, &other, err) : rc;
}

int lks_remains_open(struct lks_remains *remains, const struct lks_journal_options *journal,
                     const struct lks_snapshots_options *snapshots, struct lks_error *err)
{
    *remains = (struct lks_remains){.members = {.version = LKS_MEMBERS_VERSION}};
    int rc = lks_journal_open(&remains->journal, journal, err);
    if (rc == 0) {
        rc = lks_journal_recover(remains->journal, &remains->tail, err);
    }
    if (rc == 0) {
        rc = open_snapshots(remains, snapshots, err);
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
        lks_remains_close(remains);
    }
    return rc;
}

bool lks_remains_is_later(const struct lks_log_point *one, const struct lks_log_point *other)
{
    return one->term > other->term || (one->term == other->term && one->index > other->index);
}

int lks_remains_found(struct lks_remains *remains, uint32_t id, uint64_t now_ns,
                      struct lks_error *err)
{
    struct lks_promise promise;
    struct lks_members_record next = {.version = LKS_MEMBERS_VERSION,
                                      .voters = (uint8_t)(1u << id),
                                      .number = remains->members.number + 1};
    LKS_ASSERT(id >= 1 && id <= LKS_REPLICAS_MAX);
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

void lks_remains_draw_cluster(const uint8_t old_id[LKS_CLUSTER_ID_BYTES], uint32_t drawn,
                              uint8_t new_id[LKS_CLUSTER_ID_BYTES])
{
    uint64_t word = 0;
    uint64_t multiple = 0;
    LKS_ASSERT((drawn & FACTOR_MASK) != 0);
    for (uint32_t bit = 0; bit < FACTOR_BITS; bit++) {
        multiple ^= (drawn >> bit & 1u) != 0 ? POLYNOMIAL << bit : 0;
    }
    memcpy(&word, old_id, sizeof word);
    word ^= multiple;
    memcpy(new_id, old_id, LKS_CLUSTER_ID_BYTES);
    memcpy(new_id, &word, sizeof word);
}

int lks_remains_set_cluster(struct lks_remains *remains,
                            const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES])
{
    const int rc = lks_snapshots_set_cluster(remains->snapshots, cluster_id);
    return rc == 0 ? lks_journal_set_cluster(remains->journal, cluster_id) : rc;
}
