/* The medium under one replica's journal; see storage.h. */
#include "sim/storage.h"

#include "base/assert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE_BYTES 64u
#define STORAGES_MAX 16u
#define RING_START (LKS_JOURNAL_HEAD_BYTES + LKS_JOURNAL_CONTROL_BYTES)
#define LIVES_PER_JOURNAL 1000000u /* more than a run can have */
#define KEPT_PPM 450000u /* of the lines that were not made durable */
#define TORN_PPM 100000u /* of them too: a part of their words is kept */

struct lks_sim_storage {
    struct lks_journal_options options;
    char *path;
    char boot_id[40];
    uint32_t boots;
    uint32_t formats;
    struct lks_journal *journal; /* NULL while closed */
    uint8_t *seen;    /* the log memory as processes see it; our own mapping */
    uint8_t *durable; /* what would be there after a power cut */
    uint64_t bytes;
    int failing; /* what making a range durable returns; 0: it works */
};

static struct lks_sim_storage *g_storages[STORAGES_MAX]; /* by replica; of the present run */

static void name_boot(struct lks_sim_storage *storage)
{
    (void)snprintf(storage->boot_id, sizeof storage->boot_id,
                   "%08" PRIx32 "-0000-4000-8000-%012" PRIx32, storage->options.replica,
                   storage->boots);
}

struct lks_sim_storage *lks_sim_storage_new(const struct lks_journal_options *options)
{
    LKS_ASSERT(options->replica < STORAGES_MAX);
    LKS_ASSERT(g_storages[options->replica] == NULL);
    struct lks_sim_storage *storage = calloc(1, sizeof *storage);
    LKS_ASSERT(storage != NULL);
    storage->options = *options;
    storage->path = strdup(options->path);
    LKS_ASSERT(storage->path != NULL);
    storage->options.path = storage->path;
    storage->options.boot_id = storage->boot_id;
    name_boot(storage);
    g_storages[options->replica] = storage;
    return storage;
}

static void forget_memory(struct lks_sim_storage *storage)
{
    if (storage->seen != NULL) {
        const int unmapped = munmap(storage->seen, storage->bytes);
        LKS_ASSERT(unmapped == 0);
    }
    free(storage->durable);
    storage->seen = storage->durable = NULL;
}

void lks_sim_storage_free(struct lks_sim_storage *storage)
{
    if (storage == NULL) {
        return;
    }
    LKS_ASSERT(storage->journal == NULL);
    forget_memory(storage);
    (void)unlink(storage->path); /* it may not exist yet */
    g_storages[storage->options.replica] = NULL;
    free(storage->path);
    free(storage);
}

void lks_sim_storage_forget_all(void)
{
    memset(g_storages, 0, sizeof g_storages);
}

int lks_sim_storage_create(struct lks_sim_storage *storage, bool fresh_cluster,
                           struct lks_error *err)
{
    LKS_ASSERT(storage->journal == NULL);
    forget_memory(storage);
    if (unlink(storage->path) < 0 && errno != ENOENT) {
        return lks_error_set(err, -errno, "%s: %s", storage->path, strerror(errno));
    }
    storage->formats++;
    storage->options.lives_before = (uint64_t)storage->formats * LIVES_PER_JOURNAL;
    return lks_journal_create(&storage->options, fresh_cluster, err);
}

/* Maps the log once more and begins with everything durable: true right after a format. */
static int watch_memory(struct lks_sim_storage *storage, struct lks_error *err)
{
    struct lks_log_memory memory;
    lks_journal_log_memory(storage->journal, &memory);
    void *mapped = mmap(NULL, memory.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd,
                        (off_t)memory.fd_offset);
    if (mapped == MAP_FAILED) {
        return lks_error_set(err, -errno, "%s: mmap: %s", storage->path, strerror(errno));
    }
    storage->seen = mapped;
    storage->bytes = memory.bytes;
    /* A new ring holds zeros; calloc gives the same without touching the pages. */
    storage->durable = calloc(1, memory.bytes);
    LKS_ASSERT(storage->durable != NULL);
    return 0;
}

int lks_sim_storage_open(struct lks_sim_storage *storage, struct lks_error *err)
{
    LKS_ASSERT(storage->journal == NULL);
    int status = lks_journal_open(&storage->journal, &storage->options, err);
    if (status < 0) {
        storage->journal = NULL;
        return status;
    }
    if (storage->seen == NULL) {
        status = watch_memory(storage, err);
        if (status < 0) {
            lks_sim_storage_close(storage, false);
        }
    }
    return status;
}

void lks_sim_storage_close(struct lks_sim_storage *storage, bool clean)
{
    if (clean) {
        lks_sim_storage_persisted(storage, RING_START, storage->bytes - RING_START);
    }
    lks_journal_close(storage->journal, clean);
    storage->journal = NULL;
}

const char *lks_sim_storage_path(const struct lks_sim_storage *storage)
{
    return storage->path;
}

struct lks_journal *lks_sim_storage_journal(const struct lks_sim_storage *storage)
{
    return storage->journal;
}

void lks_sim_storage_persisted(struct lks_sim_storage *storage, uint64_t offset, uint64_t bytes)
{
    LKS_ASSERT(storage->seen != NULL);
    LKS_ASSERT(bytes <= storage->bytes && offset <= storage->bytes - bytes);
    if (bytes == 0) {
        return;
    }
    /* Lines are written back whole. */
    const uint64_t from = offset & ~(uint64_t)(LINE_BYTES - 1);
    const uint64_t to = (offset + bytes + LINE_BYTES - 1) & ~(uint64_t)(LINE_BYTES - 1);
    memcpy(storage->durable + from, storage->seen + from, to - from);
}

void lks_sim_storage_fail(struct lks_sim_storage *storage, int status)
{
    storage->failing = status;
}

uint64_t lks_sim_storage_power_cut(struct lks_sim_storage *storage,
                                   struct lks_sim_random *random)
{
    LKS_ASSERT(storage->journal == NULL);
    uint64_t lost = 0;
    for (uint64_t at = LKS_JOURNAL_HEAD_BYTES; storage->seen != NULL && at < storage->bytes;
         at += LINE_BYTES) {
        uint8_t *seen = storage->seen + at;
        uint8_t *durable = storage->durable + at;
        if (memcmp(seen, durable, LINE_BYTES) == 0) {
            continue;
        }
        if (lks_sim_random_chance(random, KEPT_PPM)) {
            memcpy(durable, seen, LINE_BYTES);
            continue;
        }
        lost++;
        if (lks_sim_random_chance(random, TORN_PPM)) {
            const uint64_t split = 8 * lks_sim_random_below(random, LINE_BYTES / 8);
            const bool first = lks_sim_random_chance(random, 500000);
            memcpy(first ? durable : durable + split, first ? seen : seen + split,
                   first ? split : LINE_BYTES - split);
        }
        memcpy(seen, durable, LINE_BYTES);
    }
    storage->boots++;
    name_boot(storage);
    return lost;
}

int __wrap_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to)
{
    const int status = __real_lks_journal_persist_range(journal, from, to);
    for (uint32_t i = 0; i < STORAGES_MAX; i++) {
        if (g_storages[i] != NULL && journal != NULL && g_storages[i]->journal == journal &&
            g_storages[i]->failing != 0) {
            return g_storages[i]->failing;
        }
        struct lks_sim_storage *storage = g_storages[i];
        if (status != 0 || storage == NULL || storage->journal != journal || journal == NULL ||
            from >= to) {
            continue;
        }
        const uint64_t ring = lks_journal_ring_bytes(journal);
        const uint64_t bytes = to - from < ring ? to - from : ring;
        const uint64_t to_end = ring - from % ring;
        const uint64_t first = bytes < to_end ? bytes : to_end;
        lks_sim_storage_persisted(storage, RING_START + from % ring, first);
        lks_sim_storage_persisted(storage, RING_START, bytes - first);
    }
    return status;
}
