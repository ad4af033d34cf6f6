/* Creating, opening and closing a snapshot area, and what it is made of; see snapshots.h. */
#include "pmem/snapshots.h"

#include "base/assert.h"
#include "base/clock.h"
#include "pmem/snapshots_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t area_min(uint32_t partitions)
{
    struct lks_snapshots_geometry geometry;
    lks_snapshots_geometry(partitions, &geometry);
    return geometry.blocks_at + (uint64_t)LKS_SNAPSHOTS_BLOCKS_MIN * LKS_SNAPSHOT_BLOCK_BYTES;
}

static int check_options(const struct lks_snapshots_options *options, struct lks_error *err)
{
    const uint64_t area_max = UINT64_C(1) << 46; /* block numbers have 32 bits */
    if (options->partitions < 1 || options->partitions > LKS_SNAPSHOT_PARTITIONS_MAX) {
        return lks_error_set(err, -EINVAL,
                             "snapshots %s: %" PRIu32 " partitions: the service must have 1 to %u",
                             options->path, options->partitions, LKS_SNAPSHOT_PARTITIONS_MAX);
    }
    if (options->area_bytes < area_min(options->partitions) || options->area_bytes > area_max ||
        options->area_bytes % LKS_SNAPSHOTS_AREA_UNIT != 0) {
        return lks_error_set(err, -EINVAL,
                             "snapshots %s: an area of %" PRIu64 " bytes: it must be a multiple of "
                             "1M from %" PRIu64 "M to 64T",
                             options->path, options->area_bytes,
                             (area_min(options->partitions) + LKS_SNAPSHOTS_AREA_UNIT - 1) /
                                 LKS_SNAPSHOTS_AREA_UNIT);
    }
    return 0;
}

static int refuse_device(const char *path, struct lks_error *err)
{
    return lks_error_set(err, -EINVAL,
                         "snapshots %s: not a regular file: a journal may lie on a device, but "
                         "give `snapshots` a path in a file system",
                         path);
}

static int explain(const char *path, uint64_t area_bytes, int code, struct lks_error *err)
{
    if (code == -ENOSPC || code == -EDQUOT || code == -EFBIG) {
        return lks_error_set(err, code,
                             "snapshots %s: no room for the next one (%s; the area may grow to "
                             "%" PRIu64 " MiB): make room there, or give `snapshots` more bytes; "
                             "until then the last ones count and the ring is not recycled",
                             path, lks_error_text(code), area_bytes >> 20);
    }
    if (code == -LKS_ETOOBIG) {
        return lks_error_set(err, code, "snapshots %s: a chunk or head of more than 2 GiB", path);
    }
    return lks_error_set(err, code, "snapshots %s: cannot be written: %s", path,
                         lks_error_text(code));
}

int lks_snapshots_explain(const struct lks_snapshots *store, int code, struct lks_error *err)
{
    return explain(store->path, store->area_bytes, code, err);
}

/* ---- create ------------------------------------------------------------------------------- */

static int create_file(const struct lks_snapshots_options *options, struct lks_error *err)
{
    struct stat status;
    if (stat(options->path, &status) == 0 && !S_ISREG(status.st_mode)) {
        return refuse_device(options->path, err);
    }
    const int fd = open(options->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        const int code = -errno;
        return lks_error_set(err, code, "snapshots %s: %s%s", options->path,
                             code == -EEXIST ? "exists already" : "cannot be created: ",
                             code == -EEXIST ? ": it may hold acknowledged commands; remove it "
                                               "yourself or choose another place"
                                             : lks_error_text(code));
    }
    struct lks_snapshots_geometry geometry;
    lks_snapshots_geometry(options->partitions, &geometry);
    int code = ftruncate(fd, (off_t)options->area_bytes) < 0 ? -errno : 0;
    if (code == 0) {
        code = lks_medium_extend(fd, 0, geometry.blocks_at);
    }
    if (code < 0) {
        (void)close(fd);
        (void)unlink(options->path);
        return lks_error_set(err, code,
                             "snapshots %s: no room for its first %" PRIu64 " KiB, or for a file "
                             "of %" PRIu64 " MiB: %s: choose another place or fewer bytes; "
                             "nothing was left behind",
                             options->path, geometry.blocks_at >> 10, options->area_bytes >> 20,
                             lks_error_text(code));
    }
    return fd;
}

/* The header comes last: a creation that was cut short left no area. */
static int format(struct lks_snapshots *store, const struct lks_snapshots_options *options)
{
    struct lks_snapshots_header header = {.version = LKS_SNAPSHOTS_VERSION,
                                          .replica = options->replica,
                                          .partitions = options->partitions,
                                          .created_ns = lks_clock_realtime_ns()};
    memcpy(header.magic, LKS_SNAPSHOTS_MAGIC, sizeof header.magic);
    memcpy(header.cluster_id, options->cluster_id, sizeof header.cluster_id);
    header.checksum = lks_snapshots_header_checksum(&header);
    for (uint64_t generation = 1; generation <= 2; generation++) {
        struct lks_snapshots_range range;
        lks_manifest_store(store, generation, store->items, &range);
        const int rc = lks_snapshots_persist(store, &range);
        if (rc < 0) {
            return rc;
        }
    }
    return lks_medium_store(&store->medium, store->mapping.address, &header, sizeof header);
}

int lks_snapshots_set_cluster(struct lks_snapshots *store,
                              const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES])
{
    struct lks_snapshots_header header;
    LKS_ASSERT(!store->read_only);
    memcpy(&header, store->mapping.address, sizeof header);
    const uint32_t checksum = header.checksum;
    memcpy(header.cluster_id, cluster_id, LKS_CLUSTER_ID_BYTES);
    header.checksum = lks_snapshots_header_checksum(&header);
    const size_t at = offsetof(struct lks_snapshots_header, cluster_id);
    return header.checksum == checksum
               ? lks_medium_store(&store->medium, store->mapping.address + at, cluster_id,
                                  LKS_CLUSTER_ID_BYTES)
               : lks_medium_store(&store->medium, store->mapping.address, &header, sizeof header);
}

static int sync_file(const struct lks_snapshots *store)
{
    char *copy = strdup(store->path);
    if (copy == NULL) {
        return -ENOMEM;
    }
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = fsync(store->fd) < 0 || fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    free(copy);
    return rc;
}

/* ---- parts of a store --------------------------------------------------------------------- */

static void release(struct lks_snapshots *store)
{
    lks_medium_unmap(&store->mapping);
    if (store->fd >= 0) {
        (void)close(store->fd);
    }
    if (store->share_fd >= 0) {
        (void)close(store->share_fd);
    }
    free(store->items);
    free(store->coming);
    free(store->present);
    free(store->drafts);
    free(store->links);
    free(store->path);
    free(store);
}

static struct lks_snapshots *make(const struct lks_snapshots_options *options,
                                  struct lks_error *err)
{
    struct lks_snapshots *store = calloc(1, sizeof *store);
    if (store != NULL) {
        store->fd = -1;
        store->share_fd = -1;
        store->read_only = options->read_only;
        store->failed = &store->failure;
        store->path = strdup(options->path);
    }
    if (store == NULL || store->path == NULL) {
        (void)lks_error_set(err, -ENOMEM, "snapshots %s: out of memory", options->path);
        free(store);
        return NULL;
    }
    return store;
}

/* Tables by partition and by block; their pages come when they are used. */
static int make_tables(struct lks_snapshots *store, uint32_t partitions, uint64_t area_bytes,
                       struct lks_error *err)
{
    lks_snapshots_geometry(partitions, &store->geometry);
    store->area_bytes = area_bytes;
    store->blocks_max =
        (uint32_t)((area_bytes - store->geometry.blocks_at) / LKS_SNAPSHOT_BLOCK_BYTES);
    store->items = calloc(partitions, sizeof *store->items);
    store->coming = calloc(partitions, sizeof *store->coming);
    store->present = calloc(partitions, sizeof *store->present);
    store->drafts = calloc(partitions, sizeof *store->drafts);
    store->links = calloc(store->blocks_max, sizeof *store->links);
    if (store->items == NULL || store->coming == NULL || store->present == NULL ||
        store->drafts == NULL || store->links == NULL) {
        return lks_error_set(err, -ENOMEM, "snapshots %s: out of memory", store->path);
    }
    return 0;
}

static int map(struct lks_snapshots *store, uint64_t bytes, struct lks_error *err)
{
    const int rc =
        lks_medium_map(&store->medium, store->fd, bytes, !store->read_only, &store->mapping);
    return rc < 0 ? lks_error_set(err, rc, "snapshots %s: cannot be mapped: %s", store->path,
                                  lks_error_text(rc))
                  : 0;
}

int lks_snapshots_create(const struct lks_snapshots_options *options, struct lks_error *err)
{
    int rc = check_options(options, err);
    if (rc < 0) {
        return rc;
    }
    struct lks_snapshots *store = make(options, err);
    if (store == NULL) {
        return -ENOMEM;
    }
    store->fd = create_file(options, err);
    if (store->fd < 0) {
        rc = store->fd;
        release(store);
        return rc;
    }
    rc = lks_medium_detect(store->fd, store->path, LKS_MEDIUM_SYSFS, &store->medium, err);
    if (rc == 0) {
        rc = make_tables(store, options->partitions, options->area_bytes, err);
    }
    if (rc == 0) {
        rc = map(store, options->area_bytes, err);
    }
    if (rc == 0) {
        rc = format(store, options);
        if (rc == 0) {
            rc = sync_file(store);
        }
        if (rc < 0) {
            (void)explain(store->path, options->area_bytes, rc, err);
        }
    }
    if (rc < 0) {
        (void)unlink(options->path);
    }
    release(store);
    return rc;
}

/* ---- open --------------------------------------------------------------------------------- */

static int open_file(struct lks_snapshots *store, uint64_t *bytes, struct lks_error *err)
{
    struct stat status;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    store->share_fd = open(store->path, O_RDONLY | O_CLOEXEC);
    if (store->share_fd < 0 || fstat(store->share_fd, &status) < 0) {
        const int code = -errno;
        return lks_error_set(
            err, code, "snapshots %s: %s%s", store->path, lks_error_text(code),
            code == -ENOENT ? ": put the file back; if it is lost, this replica rebuilds itself "
                              "from its peers after `lockstep init CONFIG --rejoin`"
                            : "");
    }
    if (!S_ISREG(status.st_mode)) {
        return refuse_device(store->path, err);
    }
    *bytes = (uint64_t)status.st_size;
    store->fd = open(store->path, (store->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (store->fd < 0 || (!store->read_only && fcntl(store->fd, F_OFD_SETLK, &lock) < 0)) {
        const int code = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
        return lks_error_set(err, code, "snapshots %s: %s", store->path,
                             code == -EBUSY ? "in use by another process, or not writable: they "
                                              "serve one replica at a time; stop that one first"
                                            : lks_error_text(code));
    }
    return lks_medium_detect(store->fd, store->path, LKS_MEDIUM_SYSFS, &store->medium, err);
}

static int check_owner(const struct lks_snapshots *store,
                       const struct lks_snapshots_header *header,
                       const struct lks_snapshots_options *options, struct lks_error *err)
{
    if (options->read_only && options->replica == 0) {
        return 0;
    }
    if (memcmp(header->cluster_id, options->cluster_id, LKS_CLUSTER_ID_BYTES) != 0) {
        return lks_error_set(err, -LKS_ECLUSTER,
                             "snapshots %s: belong to another cluster: name the right file in the "
                             "configuration",
                             store->path);
    }
    if (header->replica != options->replica) {
        return lks_error_set(err, -LKS_ECLUSTER,
                             "snapshots %s: belong to replica %" PRIu32 ", not to replica %" PRIu32
                             ": name the right file in the configuration",
                             store->path, header->replica, options->replica);
    }
    return 0;
}

/* Reads the header by a mapping of its own, and checks it. */
static int read_header(struct lks_snapshots *store, const struct lks_snapshots_options *options,
                       uint64_t file_bytes, uint32_t *partitions, struct lks_error *err)
{
    struct lks_snapshots_header header;
    if (file_bytes < LKS_SNAPSHOT_BLOCK_BYTES) {
        return lks_error_set(err, -LKS_EFORMAT,
                             "snapshots %s: %" PRIu64 " bytes: too short for a snapshot area",
                             store->path, file_bytes);
    }
    int rc = map(store, LKS_SNAPSHOT_BLOCK_BYTES, err);
    if (rc < 0) {
        return rc;
    }
    memcpy(&header, store->mapping.address, sizeof header);
    lks_medium_unmap(&store->mapping);
    rc = lks_snapshots_check_header(&header, options->partitions, store->path, err);
    if (rc == 0) {
        rc = check_owner(store, &header, options, err);
    }
    if (rc == 0 && file_bytes < area_min(header.partitions)) {
        rc = lks_error_set(err, -LKS_ESIZE,
                           "snapshots %s: truncated: %" PRIu64 " bytes; this replica rebuilds "
                           "itself from its peers after `lockstep init CONFIG --rejoin`",
                           store->path, file_bytes);
    }
    *partitions = header.partitions;
    return rc;
}

/* Settles the area's size: what the file has, or more if the options say so. */
static int settle_size(struct lks_snapshots *store, const struct lks_manifest_head *head,
                       uint64_t file_bytes, uint64_t wanted, struct lks_error *err)
{
    if (file_bytes < head->area_bytes) {
        return lks_error_set(err, -LKS_ESIZE,
                             "snapshots %s: truncated: %" PRIu64 " bytes, but its manifest says "
                             "%" PRIu64 "; this replica rebuilds itself from its peers after "
                             "`lockstep init CONFIG --rejoin`",
                             store->path, file_bytes, head->area_bytes);
    }
    if (wanted != 0 && wanted < head->area_bytes) {
        return lks_error_set(err, -LKS_ESIZE,
                             "snapshots %s: an area of %" PRIu64 " MiB cannot shrink to %" PRIu64
                             " MiB: give `snapshots` at least as many bytes as it has",
                             store->path, head->area_bytes >> 20, wanted >> 20);
    }
    store->area_bytes = wanted != 0 ? wanted : head->area_bytes;
    store->blocks_max = (uint32_t)((store->area_bytes - store->geometry.blocks_at) /
                                   LKS_SNAPSHOT_BLOCK_BYTES);
    return 0;
}

/* Takes the newest manifest; then, unless read only, makes it durable (a killed process may have
 * left it visible only) and writes the next one with this opening counted: its ids begin there. */
static int begin_life(struct lks_snapshots *store, uint64_t file_bytes, uint64_t wanted,
                      struct lks_error *err)
{
    struct lks_snapshots_range range;
    const struct lks_manifest_head *head =
        lks_manifest_newest(store->mapping.address, &store->geometry);
    if (head == NULL) {
        return lks_error_set(err, -LKS_EDAMAGED,
                             "snapshots %s: both copies of the manifest are damaged: this replica "
                             "rebuilds itself from its peers after `lockstep init CONFIG --rejoin`",
                             store->path);
    }
    int rc = settle_size(store, head, file_bytes, wanted, err);
    if (rc < 0) {
        return rc;
    }
    const uint32_t partitions = store->geometry.partitions;
    memcpy(store->items, head + 1, partitions * sizeof *store->items);
    store->generation = head->generation;
    store->life = head->life + 1;
    store->blocks_end = (uint32_t)head->blocks_end;
    store->cursor = store->blocks_end;
    for (uint32_t p = 0; p < partitions; p++) {
        store->present[p].known = store->items[p].blocks == 0;
    }
    if (store->read_only) {
        return 0;
    }
    range = (struct lks_snapshots_range){
        .offset = (uint64_t)((const unsigned char *)head - store->mapping.address),
        .bytes = store->geometry.slot_bytes};
    rc = lks_snapshots_persist(store, &range);
    if (rc == 0) {
        lks_manifest_store(store, store->generation + 1, store->items, &range);
        rc = lks_snapshots_persist(store, &range);
    }
    if (rc < 0) {
        return explain(store->path, store->area_bytes, rc, err);
    }
    store->generation++;
    return 0;
}

static int open_steps(struct lks_snapshots *store, const struct lks_snapshots_options *options,
                      struct lks_error *err)
{
    uint64_t file_bytes = 0;
    int rc = open_file(store, &file_bytes, err);
    if (rc < 0) {
        return rc;
    }
    uint32_t partitions = 0;
    rc = read_header(store, options, file_bytes, &partitions, err);
    if (rc == 0 && options->area_bytes > file_bytes && !options->read_only) {
        rc = ftruncate(store->fd, (off_t)options->area_bytes) < 0
                 ? explain(store->path, options->area_bytes, -errno, err)
                 : 0;
        file_bytes = options->area_bytes;
    }
    if (rc == 0) {
        rc = make_tables(store, partitions, file_bytes, err);
    }
    if (rc == 0) {
        rc = map(store, file_bytes, err);
    }
    return rc < 0 ? rc : begin_life(store, file_bytes, options->area_bytes, err);
}

int lks_snapshots_open(struct lks_snapshots **store, const struct lks_snapshots_options *options,
                       struct lks_error *err)
{
    if (!options->read_only) {
        const struct lks_snapshots_options checked = {
            .path = options->path,
            .partitions = options->partitions,
            .area_bytes = options->area_bytes != 0 ? options->area_bytes : UINT64_C(1) << 40};
        const int rc = check_options(&checked, err);
        if (rc < 0) {
            return rc;
        }
    }
    struct lks_snapshots *opened = make(options, err);
    if (opened == NULL) {
        return -ENOMEM;
    }
    const int rc = open_steps(opened, options, err);
    if (rc < 0) {
        release(opened);
        return rc;
    }
    *store = opened;
    return 0;
}

void lks_snapshots_close(struct lks_snapshots *store)
{
    if (store != NULL) {
        release(store);
    }
}

/* ---- what it is made of ------------------------------------------------------------------- */

void lks_snapshots_cluster(const struct lks_snapshots *store,
                           uint8_t cluster_id[LKS_CLUSTER_ID_BYTES])
{
    const struct lks_snapshots_header *header = (const void *)store->mapping.address;
    memcpy(cluster_id, header->cluster_id, LKS_CLUSTER_ID_BYTES);
}

uint32_t lks_snapshots_partitions(const struct lks_snapshots *store)
{
    return store->geometry.partitions;
}

const struct lks_snapshot_item *lks_snapshots_item(const struct lks_snapshots *store,
                                                   uint32_t partition)
{
    LKS_ASSERT(partition < store->geometry.partitions);
    return &store->items[partition];
}

struct lks_log_point lks_snapshots_point(const struct lks_snapshots *store, uint32_t partition)
{
    const struct lks_snapshot_item *item = lks_snapshots_item(store, partition);
    return (struct lks_log_point){
        .index = item->index, .term = item->term, .offset = item->offset, .chain = item->chain};
}

void lks_snapshots_counts(const struct lks_snapshots *store, struct lks_snapshots_counts *counts)
{
    const uint64_t block = LKS_SNAPSHOT_BLOCK_BYTES;
    uint64_t unknown = 0;
    for (uint32_t p = 0; p < store->geometry.partitions; p++) {
        if (!store->present[p].known) {
            unknown += store->items[p].blocks - store->present[p].chain.count;
        }
    }
    *counts = (struct lks_snapshots_counts){
        .area_bytes = store->area_bytes,
        .allocated_bytes = store->geometry.blocks_at + store->blocks_end * block,
        .used_bytes = (store->used - store->retired.count + unknown) * block,
        .retired_bytes = store->retired.count * block,
        .generation = store->generation};
}

void lks_snapshots_memory(const struct lks_snapshots *store, struct lks_snapshots_memory *memory)
{
    *memory = (struct lks_snapshots_memory){
        .address = store->mapping.address, .bytes = store->area_bytes, .fd = store->share_fd};
}

const char *lks_snapshots_path(const struct lks_snapshots *store)
{
    return store->path;
}

const struct lks_medium *lks_snapshots_medium(const struct lks_snapshots *store)
{
    return &store->medium;
}
