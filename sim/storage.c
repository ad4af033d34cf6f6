/* The media under one replica's files; see storage.h. */
#include "sim/storage.h"

#include "base/assert.h"
#include "sim/files.h"
#include "sim/medium_wraps.h"
#include "sim/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STORAGES_MAX 16u
#define FILES_MAX LKS_SIM_STORAGE_FILES_MAX
#define PAGE_BYTES 4096u
#define RING_START (LKS_JOURNAL_HEAD_BYTES + LKS_JOURNAL_CONTROL_BYTES)
#define LIVES_PER_JOURNAL 1000000u /* more than a run can have */
#define KEPT_PPM 450000u /* of the lines that were not made durable */
#define TORN_PPM 60000u

/* The memory that stands for a file. It lives as long as the storage. */
struct file {
    uint64_t number; /* as sim/files.h has it; 0: removed, to be made anew */
    uint8_t *memory; /* NULL: not used */
    uint64_t bytes;
    struct lks_sim_memory pooled;
    struct lks_sim_lines *lines;
};

struct lks_sim_storage {
    struct lks_journal_options options;
    char *path;
    char boot_id[40];
    uint32_t boots;
    uint32_t formats;
    struct lks_journal *journal; /* NULL while closed */
    struct file files[FILES_MAX]; /* the first is the journal's */
    uint64_t log_at; /* in the journal's file; 0: not opened yet */
    int failing; /* what making a range durable returns; 0: it works */
    int area_failing; /* likewise, of the snapshot area alone */
    bool records_fail; /* the journal's records fail too, not its log alone */
    bool full;
    bool on_disk;
};

static struct lks_sim_storage *g_storages[STORAGES_MAX]; /* by replica; of the present run */
static struct lks_sim_storage *g_entered; /* whose files are being mapped */
static struct lks_sim_storage *g_flushing; /* whose lines were written back last */
static struct lks_sim_storage_watcher g_watcher;

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

/* Its memory is all zeros again, without lines. */
static void empty(const struct lks_sim_storage *storage, struct file *file)
{
    if (file->lines == NULL) {
        return;
    }
    if (file == &storage->files[0]) { /* head and control page are stored to by anybody */
        memset(file->memory + storage->log_at, 0, RING_START);
    }
    lks_sim_lines_wipe(file->lines);
    lks_sim_lines_free(file->lines);
    file->lines = NULL;
}

void lks_sim_storage_free(struct lks_sim_storage *storage)
{
    if (storage == NULL) {
        return;
    }
    LKS_ASSERT(storage->journal == NULL);
    for (uint32_t i = 0; i < FILES_MAX; i++) {
        struct file *file = &storage->files[i];
        empty(storage, file);
        lks_sim_memory_release(&file->pooled);
    }
    (void)lks_sim_files_remove(storage->path); /* it may not exist yet */
    g_storages[storage->options.replica] = NULL;
    g_flushing = NULL;
    free(storage->path);
    free(storage);
}

void lks_sim_storage_forget_all(void)
{
    memset(g_storages, 0, sizeof g_storages);
    g_entered = g_flushing = NULL;
    lks_sim_files_forget_all();
}

struct lks_sim_storage *lks_sim_storage_enter(struct lks_sim_storage *storage)
{
    struct lks_sim_storage *before = g_entered;
    g_entered = storage;
    (void)lks_sim_files_enter(storage != NULL);
    lks_sim_files_lie_on_disk(storage != NULL && storage->on_disk);
    return before;
}

/* ---- files -------------------------------------------------------------------------------- */

/* The file behind fd; made if it is met for the first time. */
static struct file *file_of(struct lks_sim_storage *storage, int fd, uint64_t bytes)
{
    const uint64_t number = lks_sim_files_number(fd);
    LKS_ASSERT(number != 0);
    uint32_t place = 0;
    while (place < FILES_MAX && storage->files[place].memory != NULL &&
           storage->files[place].number != number &&
           !(place > 0 && storage->files[place].number == 0)) {
        place++;
    }
    LKS_ASSERT(place < FILES_MAX);
    struct file *file = &storage->files[place];
    file->number = number;
    if (file->memory != NULL) {
        LKS_ASSERT(bytes <= file->bytes);
        return file;
    }
    const uint64_t named = lks_sim_files_bytes(fd);
    const uint64_t whole = named > bytes ? named : bytes;
    file->bytes = (whole + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    /* Private: a fork takes its own copy along. */
    lks_sim_memory_renew(&file->pooled, file->bytes);
    file->memory = file->pooled.bytes;
    file->lines = lks_sim_lines_new(file->memory, file->bytes);
    return file;
}

/* A new file will take the place of this one: its memory is all zeros again. */
static void clear(const struct lks_sim_storage *storage, struct file *file)
{
    file->number = 0;
    if (file->memory != NULL) {
        empty(storage, file);
        file->lines = lks_sim_lines_new(file->memory, file->bytes);
    }
}

/* The journal's file has been made anew, by the same name. */
static void adopt_journal(struct lks_sim_storage *storage)
{
    if (storage->files[0].memory != NULL) {
        storage->files[0].number = lks_sim_files_named(storage->path);
    }
}

/* A file of the simulation is where its memory says; others are where they are. */
static struct file *file_at(const void *address, struct lks_sim_storage **owner)
{
    const uint8_t *place = address;
    for (uint32_t i = 0; i < STORAGES_MAX; i++) {
        struct lks_sim_storage *storage = g_storages[i];
        for (uint32_t f = 0; storage != NULL && f < FILES_MAX; f++) {
            struct file *file = &storage->files[f];
            if (file->memory != NULL && place >= file->memory &&
                place < file->memory + file->bytes) {
                *owner = storage;
                return file;
            }
        }
    }
    return NULL;
}

/* ---- life of a journal -------------------------------------------------------------------- */

int lks_sim_storage_create(struct lks_sim_storage *storage, bool fresh_cluster,
                           struct lks_error *err)
{
    LKS_ASSERT(storage->journal == NULL);
    (void)lks_sim_files_remove(storage->path); /* it may not exist yet */
    clear(storage, &storage->files[0]);
    storage->formats++;
    storage->options.lives_before = (uint64_t)storage->formats * LIVES_PER_JOURNAL;
    struct lks_sim_storage *before = lks_sim_storage_enter(storage);
    const int status = lks_journal_create(&storage->options, fresh_cluster, err);
    (void)lks_sim_storage_enter(before);
    return status;
}

int lks_sim_storage_open(struct lks_sim_storage *storage, struct lks_error *err)
{
    LKS_ASSERT(storage->journal == NULL);
    struct lks_sim_storage *before = lks_sim_storage_enter(storage);
    const int status = lks_journal_open(&storage->journal, &storage->options, err);
    (void)lks_sim_storage_enter(before);
    if (status < 0) {
        storage->journal = NULL;
        return status;
    }
    struct lks_log_memory memory;
    lks_journal_log_memory(storage->journal, &memory);
    storage->log_at = (uint64_t)((uint8_t *)memory.address - storage->files[0].memory);
    return 0;
}

void lks_sim_storage_close(struct lks_sim_storage *storage, bool clean)
{
    lks_journal_close(storage->journal, clean);
    storage->journal = NULL;
}

void lks_sim_storage_abandon(struct lks_sim_storage *storage)
{
    storage->journal = NULL;
    lks_sim_files_unlock_all();
}

void lks_sim_storage_remove(struct lks_sim_storage *storage, const char *path)
{
    const uint64_t number = lks_sim_files_named(path);
    if (number == 0) {
        return;
    }
    for (uint32_t i = 1; i < FILES_MAX; i++) {
        struct file *file = &storage->files[i];
        if (file->memory != NULL && file->number == number) {
            clear(storage, file);
        }
    }
    (void)lks_sim_files_remove(path);
}

void lks_sim_storage_forget_others(struct lks_sim_storage *storage)
{
    for (uint32_t i = 2; i < FILES_MAX; i++) {
        empty(storage, &storage->files[i]);
        lks_sim_memory_release(&storage->files[i].pooled);
        storage->files[i] = (struct file){.number = 0};
    }
}

void lks_sim_storage_set_cluster(struct lks_sim_storage *storage,
                                 const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES])
{
    memcpy(storage->options.cluster_id, cluster_id, LKS_CLUSTER_ID_BYTES);
}

const char *lks_sim_storage_path(const struct lks_sim_storage *storage)
{
    return storage->path;
}

const struct lks_journal_options *lks_sim_storage_options(const struct lks_sim_storage *storage)
{
    return &storage->options;
}

bool lks_sim_storage_is_full(const struct lks_sim_storage *storage)
{
    return storage->full;
}

struct lks_journal *lks_sim_storage_journal(const struct lks_sim_storage *storage)
{
    return storage->journal;
}

struct lks_sim_lines *lks_sim_storage_lines(const struct lks_sim_storage *storage, uint32_t file)
{
    return file < FILES_MAX ? storage->files[file].lines : NULL;
}

uint64_t lks_sim_storage_bytes(const struct lks_sim_storage *storage)
{
    return storage->files[0].bytes;
}

uint64_t lks_sim_storage_ring_at(const struct lks_sim_storage *storage)
{
    return storage->log_at + RING_START;
}

/* ---- what is done to the memory ----------------------------------------------------------- */

void lks_sim_storage_watch(const struct lks_sim_storage_watcher *watcher)
{
    g_watcher = watcher == NULL ? (struct lks_sim_storage_watcher){0} : *watcher;
}

static void tell(const struct lks_sim_storage *storage, enum lks_sim_storage_access access)
{
    if (g_watcher.before != NULL) {
        g_watcher.before(g_watcher.ctx, storage->options.replica, access);
    }
}

/* The part of [offset, offset + bytes) of the log memory that lies in the ring, in the file. */
static uint64_t in_ring(const struct lks_sim_storage *storage, uint64_t offset, uint64_t *bytes)
{
    const uint64_t skipped = offset >= RING_START ? 0 : RING_START - offset;
    *bytes = *bytes > skipped ? *bytes - skipped : 0;
    return storage->log_at + offset + skipped;
}

void lks_sim_storage_touched(struct lks_sim_storage *storage, uint64_t offset, uint64_t bytes)
{
    LKS_ASSERT(storage->log_at != 0);
    const uint64_t at = in_ring(storage, offset, &bytes);
    if (bytes > 0) {
        tell(storage, LKS_SIM_ACCESS_REMOTE_STORE);
        lks_sim_lines_touch(storage->files[0].lines, at, bytes);
    }
}

void lks_sim_storage_persisted(struct lks_sim_storage *storage, uint64_t offset, uint64_t bytes)
{
    LKS_ASSERT(storage->log_at != 0);
    const uint64_t at = in_ring(storage, offset, &bytes);
    if (bytes > 0) {
        tell(storage, LKS_SIM_ACCESS_REMOTE_FLUSH);
        lks_sim_lines_persist(storage->files[0].lines, at, bytes);
    }
}

static void put(void *to, const void *from, size_t bytes)
{
    struct lks_sim_storage *owner = NULL;
    struct file *file = bytes == 0 ? NULL : file_at(to, &owner);
    if (file != NULL) {
        tell(owner, LKS_SIM_ACCESS_STORE);
        (void)lks_sim_lines_store(file->lines, (uint64_t)((uint8_t *)to - file->memory), from,
                                  bytes);
    } else if (from != NULL) {
        __real_lks_store_copy(to, from, bytes);
    } else {
        __real_lks_store_zero(to, bytes);
    }
}

void __wrap_lks_store_copy(void *to, const void *from, size_t bytes)
{
    put(to, from, bytes);
}

void __wrap_lks_store_zero(void *to, size_t bytes)
{
    put(to, NULL, bytes);
}

void __wrap_lks_store_write_back(const void *address, size_t bytes)
{
    struct lks_sim_storage *owner = NULL;
    struct file *file = file_at(address, &owner);
    if (file == NULL) {
        g_flushing = NULL;
        __real_lks_store_write_back(address, bytes);
        return;
    }
    const uint64_t offset = (uint64_t)((const uint8_t *)address - file->memory);
    tell(owner, LKS_SIM_ACCESS_WRITE_BACK);
    g_flushing = owner;
    lks_sim_lines_write_back(file->lines, offset, bytes);
}

void __wrap_lks_store_fence(void)
{
    /* A fence waits for the write-backs of its own processor: those of this replica. */
    if (g_flushing == NULL) {
        __real_lks_store_fence();
        return;
    }
    tell(g_flushing, LKS_SIM_ACCESS_FENCE);
    for (uint32_t i = 0; i < FILES_MAX; i++) {
        if (g_flushing->files[i].memory != NULL) {
            lks_sim_lines_fence(g_flushing->files[i].lines);
        }
    }
}

int __wrap_lks_store_sync(const void *address, size_t bytes)
{
    struct lks_sim_storage *owner = NULL;
    struct file *file = file_at(address, &owner);
    if (file == NULL) {
        return __real_lks_store_sync(address, bytes);
    }
    tell(owner, LKS_SIM_ACCESS_FENCE);
    if (owner->failing != 0) {
        return owner->failing;
    }
    const uint64_t offset = (uint64_t)((const uint8_t *)address - file->memory);
    const uint64_t from = offset & ~(uint64_t)(PAGE_BYTES - 1);
    const uint64_t to = (offset + bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    lks_sim_lines_persist(file->lines, from, (to < file->bytes ? to : file->bytes) - from);
    return 0;
}

int __wrap_lks_medium_allocate(int fd, uint64_t bytes)
{
    if (g_entered == NULL) {
        return __real_lks_medium_allocate(fd, bytes);
    }
    if (g_entered->full) {
        return -ENOSPC;
    }
    if (lks_sim_files_bytes(fd) < bytes && ftruncate(fd, (off_t)bytes) < 0) {
        return -errno;
    }
    return 0;
}

/* Whose file this is, once it was mapped; NULL: nobody's. */
static struct lks_sim_storage *owner_of(int fd)
{
    const uint64_t number = lks_sim_files_number(fd);
    for (uint32_t i = 0; number != 0 && i < STORAGES_MAX; i++) {
        for (uint32_t f = 0; g_storages[i] != NULL && f < FILES_MAX; f++) {
            const struct file *file = &g_storages[i]->files[f];
            if (file->memory != NULL && file->number == number) {
                return g_storages[i];
            }
        }
    }
    return NULL;
}

int __wrap_lks_medium_extend(int fd, uint64_t from, uint64_t bytes)
{
    const struct lks_sim_storage *storage = g_entered != NULL ? g_entered : owner_of(fd);
    if (storage == NULL) {
        return __real_lks_medium_extend(fd, from, bytes);
    }
    return storage->full ? -ENOSPC : 0; /* the memory is there already */
}

int __wrap_lks_medium_map(const struct lks_medium *medium, int fd, uint64_t bytes, bool writable,
                          struct lks_mapping *mapping)
{
    if (g_entered == NULL) {
        return __real_lks_medium_map(medium, fd, bytes, writable, mapping);
    }
    if (g_entered->files[0].number == 0) {
        adopt_journal(g_entered);
    }
    struct file *file = file_of(g_entered, fd, bytes);
    *mapping = (struct lks_mapping){.address = file->memory, .bytes = bytes};
    return 0;
}

void __wrap_lks_medium_unmap(struct lks_mapping *mapping)
{
    struct lks_sim_storage *owner = NULL;
    if (mapping->address != NULL && file_at(mapping->address, &owner) != NULL) {
        *mapping = (struct lks_mapping){.address = NULL};
        return;
    }
    __real_lks_medium_unmap(mapping);
}

/* What the medium says to making this durable. Ranges of the log fail below. */
static int failure_at(const void *address)
{
    struct lks_sim_storage *owner = NULL;
    const struct file *file = file_at(address, &owner);
    if (file == NULL) {
        return 0;
    }
    const bool is_area = file != &owner->files[0];
    if (owner->failing != 0 && (is_area || owner->records_fail)) {
        return owner->failing;
    }
    return is_area ? owner->area_failing : 0;
}

int __wrap_lks_medium_persist(const struct lks_medium *medium, const void *address, size_t bytes)
{
    const int failure = failure_at(address);
    return failure != 0 ? failure : __real_lks_medium_persist(medium, address, bytes);
}

/* What fails has been stored all the same: it is not durable, no more. */
int __wrap_lks_medium_store(const struct lks_medium *medium, void *to, const void *from,
                            size_t bytes)
{
    const int failure = failure_at(to);
    if (failure != 0) {
        put(to, from, bytes);
        return failure;
    }
    return __real_lks_medium_store(medium, to, from, bytes);
}

int __wrap_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to)
{
    for (uint32_t i = 0; i < STORAGES_MAX; i++) {
        const struct lks_sim_storage *storage = g_storages[i];
        if (storage != NULL && storage->journal == journal && storage->failing != 0) {
            return storage->failing;
        }
    }
    return __real_lks_journal_persist_range(journal, from, to);
}

/* ---- faults ------------------------------------------------------------------------------- */

void lks_sim_storage_fail(struct lks_sim_storage *storage, int status)
{
    storage->failing = status;
    storage->records_fail = false;
}

void lks_sim_storage_fail_records(struct lks_sim_storage *storage)
{
    storage->records_fail = true;
}

void lks_sim_storage_fail_area(struct lks_sim_storage *storage, int status)
{
    storage->area_failing = status;
}

int lks_sim_storage_area_fails(const struct lks_sim_storage *storage)
{
    return storage->area_failing;
}

void lks_sim_storage_lie_on_disk(struct lks_sim_storage *storage)
{
    storage->on_disk = true;
}

void lks_sim_storage_fill_disk(struct lks_sim_storage *storage, bool full)
{
    storage->full = full;
}

/* Every store to the ring must have been seen: else a cut could not take it back. */
static void check_ring(const struct lks_sim_storage *storage)
{
    const uint64_t ring_at = lks_sim_storage_ring_at(storage);
    const struct file *file = &storage->files[0];
    if (storage->log_at != 0) {
        LKS_ASSERT(lks_sim_lines_stranger(file->lines, ring_at, file->bytes - ring_at) ==
                   UINT64_MAX);
    }
}

uint64_t lks_sim_storage_cut(struct lks_sim_storage *storage, lks_sim_lines_choose choose,
                             void *ctx)
{
    LKS_ASSERT(storage->journal == NULL);
    uint64_t lost = 0;
    check_ring(storage);
    for (uint32_t i = 0; i < FILES_MAX && storage->files[i].memory != NULL; i++) {
        lost += lks_sim_lines_cut(storage->files[i].lines, choose, ctx);
    }
    storage->boots++;
    name_boot(storage);
    return lost;
}

static struct lks_sim_line_fate draw_fate(void *ctx, const struct lks_sim_line *line)
{
    struct lks_sim_random *random = ctx;
    if (lks_sim_random_chance(random, KEPT_PPM)) {
        return (struct lks_sim_line_fate){.value = line->values - 1};
    }
    struct lks_sim_line_fate fate = {
        .value = (uint32_t)lks_sim_random_below(random, line->values - 1)};
    if (lks_sim_random_chance(random, TORN_PPM)) {
        fate.torn = (uint8_t)lks_sim_random_below(random, 256);
    }
    return fate;
}

/* Of the control page any words may be left. */
static void cut_control(struct lks_sim_storage *storage, struct lks_sim_random *random)
{
    uint8_t *control = storage->files[0].memory + storage->log_at + LKS_JOURNAL_HEAD_BYTES;
    for (uint64_t at = 0; at < LKS_JOURNAL_CONTROL_BYTES; at += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, control + at, sizeof word);
        if (word != 0 && !lks_sim_random_chance(random, KEPT_PPM)) {
            memset(control + at, 0, sizeof word);
        }
    }
}

uint64_t lks_sim_storage_power_cut(struct lks_sim_storage *storage,
                                   struct lks_sim_random *random)
{
    if (storage->log_at != 0) {
        cut_control(storage, random);
    }
    return lks_sim_storage_cut(storage, draw_fate, random);
}

void lks_sim_storage_rot(struct lks_sim_storage *storage, uint64_t offset, uint32_t bit)
{
    struct file *file = &storage->files[0];
    LKS_ASSERT(storage->journal == NULL && offset < file->bytes && bit < 8);
    const uint8_t rotten = (uint8_t)(file->memory[offset] ^ (1u << bit));
    (void)lks_sim_lines_store(file->lines, offset, &rotten, 1);
    lks_sim_lines_persist(file->lines, offset, 1);
}

bool lks_sim_storage_rot_area(struct lks_sim_storage *storage, uint64_t offset, uint32_t bit)
{
    struct file *file = &storage->files[1];
    if (file->memory == NULL || file->number == 0 || offset >= file->bytes) {
        return false;
    }
    lks_sim_storage_rot_at(storage, file->memory + offset, bit);
    return true;
}

void lks_sim_storage_rot_at(struct lks_sim_storage *storage, uint8_t *place, uint32_t bit)
{
    struct lks_sim_storage *owner = NULL;
    struct file *file = file_at(place, &owner);
    LKS_ASSERT(file != NULL && owner == storage && bit < 8);
    const uint64_t offset = (uint64_t)(place - file->memory);
    const uint8_t rotten = (uint8_t)(*place ^ (1u << bit));
    (void)lks_sim_lines_store(file->lines, offset, &rotten, 1);
    lks_sim_lines_persist(file->lines, offset, 1);
}

void lks_sim_storage_read(const struct lks_sim_storage *storage, uint64_t offset, void *bytes,
                          uint64_t count)
{
    const struct file *file = &storage->files[0];
    LKS_ASSERT(offset + count <= file->bytes);
    memcpy(bytes, file->memory + offset, count);
}

void lks_sim_storage_write(struct lks_sim_storage *storage, uint64_t offset, const void *bytes,
                           uint64_t count)
{
    struct file *file = &storage->files[0];
    LKS_ASSERT(storage->journal == NULL && offset + count <= file->bytes);
    (void)lks_sim_lines_store(file->lines, offset, bytes, count);
    lks_sim_lines_persist(file->lines, offset, count);
}

void lks_sim_storage_take_copy(const struct lks_sim_storage *storage,
                               struct lks_sim_storage_copy *copy)
{
    copy->count = storage->files[0].bytes;
    copy->bytes = malloc(copy->count);
    LKS_ASSERT(copy->bytes != NULL);
    memcpy(copy->bytes, lks_sim_lines_certain(storage->files[0].lines), copy->count);
}

void lks_sim_storage_put_copy(struct lks_sim_storage *storage,
                              const struct lks_sim_storage_copy *copy)
{
    struct file *file = &storage->files[0];
    LKS_ASSERT(storage->journal == NULL && copy->count == file->bytes);
    (void)lks_sim_lines_store(file->lines, 0, copy->bytes, copy->count);
    lks_sim_lines_persist(file->lines, 0, copy->count);
}
