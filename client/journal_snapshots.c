/* Looking at the snapshots beside a journal; see journal_snapshots.h. */
#include "client/journal_snapshots.h"

#include "client/json.h"
#include "node/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIVE_ATTEMPTS_MAX 5u

static void print_item(const struct lks_snapshot_item *item, uint32_t partition)
{
    if (item->blocks == 0) {
        printf("%9" PRIu32 "          - never taken\n", partition);
        return;
    }
    printf("%9" PRIu32 " %10" PRIu64 " %12" PRIu64 " %8" PRIu64 " %8" PRIu32 " %12" PRIu64
           " %016" PRIx64 " %08" PRIx32 "\n",
           partition, item->index, item->offset, item->term, item->blocks, item->bytes, item->id,
           item->checksum);
}

/* Reads one partition to its end; 0 or -LKS_EDAMAGED and the like. */
static int read_partition(struct lks_snapshots *store, uint32_t partition, struct lks_error *err)
{
    struct lks_snapshot_scan scan;
    struct lks_snapshot_head head;
    const void *data = NULL;
    uint64_t bytes = 0;
    int rc = lks_snapshot_scan_init(&scan, store, partition, &head, err);
    while (rc == 0) {
        rc = lks_snapshot_scan_next(&scan, &data, &bytes, err);
    }
    lks_snapshot_scan_fini(&scan);
    return rc == -ENODATA ? 0 : rc;
}

static void look(struct lks_journal_snapshots *found, struct lks_snapshots *store)
{
    found->partitions = lks_snapshots_partitions(store);
    found->lowest = lks_snapshots_point(store, lks_snapshots_lowest(store));
    lks_snapshots_counts(store, &found->counts);
    found->taken = 0;
    found->blocks = found->bytes = 0;
    for (uint32_t p = 0; p < found->partitions; p++) {
        const struct lks_snapshot_item *item = lks_snapshots_item(store, p);
        found->taken += item->blocks != 0;
        found->blocks += item->blocks;
        found->bytes += item->bytes;
    }
}

static int read_once(struct lks_journal_snapshots *found)
{
    const struct lks_snapshots_options options = {.path = found->path, .read_only = true};
    struct lks_snapshots *store = NULL;
    int rc = lks_snapshots_open(&store, &options, &found->problem);
    if (rc < 0) {
        return rc;
    }
    look(found, store);
    for (uint32_t p = 0; p < found->partitions && rc == 0; p++) {
        rc = read_partition(store, p, &found->problem);
    }
    lks_snapshots_close(store);
    return rc;
}

static void print_items(const struct lks_journal_snapshots *found)
{
    const struct lks_snapshots_options options = {.path = found->path, .read_only = true};
    struct lks_snapshots *store = NULL;
    if (lks_snapshots_open(&store, &options, NULL) < 0) {
        return; /* reading it has said why */
    }
    printf("\n%9s %10s %12s %8s %8s %12s %16s %s\n", "partition", "index", "offset", "term",
           "blocks", "bytes", "id", "checksum");
    for (uint32_t p = 0; p < lks_snapshots_partitions(store); p++) {
        print_item(lks_snapshots_item(store, p), p);
    }
    lks_snapshots_close(store);
}

/* Whether log and snapshots leave a gap between them. */
static int check_base(struct lks_journal_snapshots *found, const struct lks_log_point *base)
{
    if (found->lowest.offset >= base->offset) {
        return 0;
    }
    return lks_error_set(&found->problem, -LKS_EDAMAGED,
                         "snapshots %s: they reach to index %" PRIu64 ", but the journal keeps its "
                         "log from index %" PRIu64 " on: an older copy, or of another journal",
                         found->path, found->lowest.index, base->index);
}

void lks_journal_snapshots_read(struct lks_journal_snapshots *found, const char *journal,
                                const char *given, const struct lks_log_point *base, bool print)
{
    memset(found, 0, sizeof *found);
    (void)snprintf(found->path, sizeof found->path, "%s%s", given != NULL ? given : journal,
                   given != NULL ? "" : ".snapshots");
    if (given == NULL && access(found->path, F_OK) != 0) {
        if (base->offset != 0) {
            found->there = found->damaged = true;
            (void)lks_error_set(&found->problem, -ENOENT,
                                "snapshots %s: not there, but the journal keeps its log only from "
                                "index %" PRIu64 " on: say where they are with --snapshots FILE",
                                found->path, base->index);
        }
        return;
    }
    found->there = true;
    int rc = -LKS_EDAMAGED;
    uint64_t generation = UINT64_MAX;
    for (unsigned i = 0; i < LIVE_ATTEMPTS_MAX && rc < 0 && found->counts.generation != generation;
         i++) {
        generation = found->counts.generation; /* changed since: not damage, but a replacement */
        rc = read_once(found);
    }
    if (rc == 0) {
        rc = check_base(found, base);
    }
    found->damaged = rc < 0;
    if (print) {
        print_items(found);
    }
}

void lks_journal_snapshots_print(const struct lks_journal_snapshots *found)
{
    char bytes[32];
    char allocated[32];
    if (!found->there) {
        return;
    }
    printf("snapshots    %s: manifest %" PRIu64 ", %" PRIu32 " of %" PRIu32
           " partitions, %s in %" PRIu64 " blocks, %s allocated\n",
           found->path, found->counts.generation, found->taken, found->partitions,
           lks_value_size_text(found->bytes, bytes, sizeof bytes), found->blocks,
           lks_value_size_text(found->counts.allocated_bytes, allocated, sizeof allocated));
    printf("             %s; the oldest at index %" PRIu64 ", term %" PRIu64 ", offset %" PRIu64
           "\n",
           found->damaged ? "damaged" : "whole", found->lowest.index, found->lowest.term,
           found->lowest.offset);
}

void lks_journal_snapshots_print_json(const struct lks_journal_snapshots *found)
{
    if (!found->there) {
        printf(",\"snapshots\":null");
        return;
    }
    printf(",\"snapshots\":{\"file\":");
    lks_json_print_string(found->path);
    printf(",\"result\":\"%s\",\"generation\":%" PRIu64 ",\"partitions\":%" PRIu32
           ",\"taken\":%" PRIu32 ",\"blocks\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"allocated_bytes\":%" PRIu64 ",\"lowest_index\":%" PRIu64
           ",\"lowest_offset\":%" PRIu64 "}",
           found->damaged ? "damaged" : "whole", found->counts.generation, found->partitions,
           found->taken, found->blocks, found->bytes, found->counts.allocated_bytes,
           found->lowest.index, found->lowest.offset);
}
