/*
 * Creating a journal: checks the options, allocates the whole file, formats slots and header.
 * The header is written last, so that whatever is cut short is no journal. The calling thread.
 */
#include "base/clock.h"
#include "base/crc32c.h"
#include "pmem/journal_internal.h"
#include "pmem/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLICA_MAX 7u
#define PAYLOAD_MAX (UINT64_C(1) << 30)
#define LIVES_MAX (UINT64_C(1) << 30)
#define YEAR_2026_S UINT64_C(1767225600) /* in seconds since 1970: incarnations have 31 bits */

uint32_t lks_journal_header_checksum(const struct lks_header_page *header)
{
    struct lks_header_page copy = *header;
    copy.checksum = 0;
    return lks_crc32c(0, &copy, sizeof copy);
}

int lks_journal_check_sizes(const struct lks_journal_options *options, bool ring_bytes_optional,
                            struct lks_error *err)
{
    const uint64_t ring_bytes = options->ring_bytes;
    if (ring_bytes == 0 && ring_bytes_optional) {
        return 0;
    }
    if (ring_bytes < LKS_JOURNAL_RING_MIN || ring_bytes > LKS_JOURNAL_RING_MAX ||
        ring_bytes % LKS_JOURNAL_PAGE != 0) {
        return lks_error_set(err, -EINVAL,
                             "journal %s: a ring of %" PRIu64 " bytes: it must be a multiple of "
                             "4096 from 64K to 1T",
                             options->path, ring_bytes);
    }
    if (options->entry_bytes_max > ring_bytes / 8 || options->entry_bytes_max > PAYLOAD_MAX) {
        return lks_error_set(err, -EINVAL,
                             "journal %s: entries of up to %" PRIu64 " bytes: the limit is 1G and "
                             "an eighth of the ring, which has %" PRIu64 " bytes",
                             options->path, options->entry_bytes_max, ring_bytes);
    }
    return 0;
}

/* A replacement's first incarnation must be above those of the journal that it replaces. */
static int check_lives(const struct lks_journal_options *options, bool fresh_cluster,
                       struct lks_error *err)
{
    if (options->lives_before > LIVES_MAX) {
        return lks_error_set(err, -EINVAL, "journal %s: %" PRIu64 " lives before: at most %" PRIu64,
                             options->path, options->lives_before, LIVES_MAX);
    }
    if (!fresh_cluster && options->lives_before == 0 &&
        lks_clock_realtime_ns() / LKS_NS_PER_S <= YEAR_2026_S) {
        return lks_error_set(err, -EINVAL,
                             "journal %s: this host's clock is before 2026, and a journal that "
                             "replaces another counts its lives by it: set the clock",
                             options->path);
    }
    return 0;
}

static int check_options(const struct lks_journal_options *options, bool fresh_cluster,
                         struct lks_error *err)
{
    if (options->replica < 1 || options->replica > REPLICA_MAX) {
        return lks_error_set(err, -EINVAL, "journal %s: replica %" PRIu32 ": must be 1 to %u",
                             options->path, options->replica, REPLICA_MAX);
    }
    const uint32_t all = (2u << REPLICA_MAX) - 2u;
    const uint32_t voters = options->bootstrap_voters;
    if (fresh_cluster && ((voters & ~all) != 0 || (voters >> options->replica & 1u) == 0)) {
        return lks_error_set(err, -EINVAL,
                             "journal %s: first members %#" PRIx32 ": they must be among replicas "
                             "1 to %u, and %" PRIu32 " among them",
                             options->path, voters, REPLICA_MAX, options->replica);
    }
    const int rc = check_lives(options, fresh_cluster, err);
    return rc < 0 ? rc : lks_journal_check_sizes(options, false, err);
}

/* ---- file or device ----------------------------------------------------------------------- */

static int allocation_error(const char *path, uint64_t bytes, int code, struct lks_error *err)
{
    if (code == -ENOSPC || code == -EDQUOT) {
        return lks_error_set(err, code,
                             "journal %s: no room for %" PRIu64 " MiB: make room there, choose "
                             "another place or a smaller ring; nothing was left behind",
                             path, bytes >> 20);
    }
    if (code == -EFBIG) {
        return lks_error_set(err, code,
                             "journal %s: %" PRIu64 " MiB exceed this process's file size limit "
                             "(`ulimit -f`) or the file system's; nothing was left behind",
                             path, bytes >> 20);
    }
    return lks_error_set(err, code, "journal %s: cannot allocate %" PRIu64 " MiB: %s", path,
                         bytes >> 20, lks_error_text(code));
}

static int create_file(const char *path, uint64_t bytes, struct lks_error *err)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        const int code = -errno;
        if (code == -EEXIST) {
            return lks_error_set(err, code,
                                 "journal %s: exists already: it may hold acknowledged commands; "
                                 "remove it yourself or choose another place",
                                 path);
        }
        return lks_error_set(err, code, "journal %s: cannot be created: %s", path,
                             lks_error_text(code));
    }
    const int code = lks_medium_allocate(fd, bytes);
    if (code != 0) {
        (void)close(fd);
        (void)unlink(path);
        return allocation_error(path, bytes, code, err);
    }
    return fd;
}

static int open_device(const char *path, uint64_t bytes, struct lks_error *err)
{
    uint64_t size = 0;
    uint64_t alignment = 0;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        const int code = -errno;
        return lks_error_set(err, code, "journal %s: %s", path, lks_error_text(code));
    }
    int rc = lks_medium_device_geometry(fd, LKS_MEDIUM_SYSFS, &size, &alignment);
    if (rc < 0) {
        rc = lks_error_set(err, -EINVAL, "journal %s: a device, but no device DAX", path);
    } else if (size < bytes) {
        rc = lks_error_set(err, -ENOSPC,
                           "journal %s: the device has %" PRIu64 " MiB, the ring needs %" PRIu64
                           " MiB: choose a smaller ring",
                           path, size >> 20, bytes >> 20);
    }
    if (rc < 0) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

/* The new name itself must survive. */
static int sync_directory(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return -ENOMEM;
    }
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    free(copy);
    return rc;
}

/* ---- format ------------------------------------------------------------------------------- */

uint64_t lks_journal_lives_by_clock(void)
{
    return lks_clock_realtime_ns() / LKS_NS_PER_S - YEAR_2026_S;
}

/* A replacement must not count its lives from 1 again: a session of an earlier life with the same
 * number may stand in the log, and its commands would be taken for repeated ones. */
static uint64_t lives_before(const struct lks_journal_options *options, bool fresh_cluster)
{
    if (fresh_cluster) {
        return 0;
    }
    return options->lives_before != 0 ? options->lives_before
                                      : lks_journal_lives_by_clock();
}

static int format_slots(struct lks_journal *journal, const struct lks_journal_options *options,
                        bool fresh_cluster)
{
    struct lks_identity_record record = {.incarnation = lives_before(options, fresh_cluster)};
    const struct lks_promise promise = {.term = 0};
    const struct lks_log_point base = {.index = 0};
    if (fresh_cluster) {
        record.bootstrap_voters = options->bootstrap_voters;
        memcpy(record.boot_id, journal->boot_id, sizeof record.boot_id);
    } else {
        record.marks = LKS_MARK_AMNESIAC | LKS_MARK_PROMISE_LOST;
    }
    int rc = lks_slots_format(&journal->identity_slots, &record);
    if (rc == 0) {
        rc = lks_slots_format(&journal->promise_slots, &promise);
    }
    if (rc == 0) {
        rc = lks_slots_format(&journal->base_slots, &base);
    }
    return rc;
}

static int format(struct lks_journal *journal, const struct lks_journal_options *options,
                  bool fresh_cluster)
{
    struct lks_header_page header = {.version = LKS_JOURNAL_VERSION,
                                     .replica = options->replica,
                                     .ring_bytes = options->ring_bytes,
                                     .created_ns = lks_clock_realtime_ns()};
    memcpy(header.magic, LKS_JOURNAL_MAGIC, sizeof header.magic);
    memcpy(header.cluster_id, options->cluster_id, sizeof header.cluster_id);
    header.checksum = lks_journal_header_checksum(&header);
    if (journal->medium.kind == LKS_MEDIUM_DEVDAX) {
        /* A new file reads as zeros; a device may hold an old log whose entries would chain. */
        lks_store_zero(journal->mapping.address, LKS_JOURNAL_RING_AT + options->ring_bytes);
        const int rc = lks_medium_persist(&journal->medium, journal->mapping.address,
                                          LKS_JOURNAL_RING_AT + options->ring_bytes);
        if (rc < 0) {
            return rc;
        }
    }
    const int rc = format_slots(journal, options, fresh_cluster);
    return rc < 0 ? rc
                  : lks_medium_store(&journal->medium, journal->mapping.address, &header,
                                     sizeof header);
}

/* Whether a device already holds a journal, which must not be overwritten by mistake. */
static bool holds_journal(const struct lks_journal *journal)
{
    return journal->medium.kind == LKS_MEDIUM_DEVDAX &&
           memcmp(journal->mapping.address, LKS_JOURNAL_MAGIC, sizeof LKS_JOURNAL_MAGIC - 1) == 0;
}

static int map_and_format(struct lks_journal *journal, const struct lks_journal_options *options,
                          uint64_t bytes, bool fresh_cluster, struct lks_error *err)
{
    int rc = lks_medium_detect(journal->fd, options->path, LKS_MEDIUM_SYSFS, &journal->medium,
                               err);
    if (rc < 0) {
        return rc;
    }
    rc = lks_medium_map(&journal->medium, journal->fd, bytes, true, &journal->mapping);
    if (rc < 0) {
        return lks_error_set(err, rc, "journal %s: cannot be mapped: %s", options->path,
                             lks_error_text(rc));
    }
    if (holds_journal(journal)) {
        rc = lks_error_set(err, -EEXIST,
                           "journal %s: the device holds a journal already: clear its first page "
                           "yourself if its commands may be lost",
                           options->path);
    } else {
        lks_journal_place_slots(journal);
        rc = format(journal, options, fresh_cluster);
        if (rc == 0 && journal->medium.kind != LKS_MEDIUM_DEVDAX) {
            rc = fsync(journal->fd) < 0 ? -errno : sync_directory(options->path);
        }
        if (rc < 0) {
            (void)lks_error_set(err, rc, "journal %s: cannot be written: %s", options->path,
                                lks_error_text(rc));
        }
    }
    lks_medium_unmap(&journal->mapping);
    return rc;
}

int lks_journal_create(const struct lks_journal_options *options, bool fresh_cluster,
                       struct lks_error *err)
{
    struct lks_journal journal = {.path = NULL};
    struct stat status;
    int rc = check_options(options, fresh_cluster, err);
    if (rc == 0) {
        rc = lks_journal_boot_id(options, journal.boot_id, err);
    }
    if (rc < 0) {
        return rc;
    }
    const uint64_t bytes = LKS_JOURNAL_RING_AT + options->ring_bytes;
    const bool device = stat(options->path, &status) == 0 && S_ISCHR(status.st_mode);
    journal.fd = device ? open_device(options->path, bytes, err)
                        : create_file(options->path, bytes, err);
    if (journal.fd < 0) {
        return journal.fd;
    }
    rc = map_and_format(&journal, options, bytes, fresh_cluster, err);
    (void)close(journal.fd);
    if (rc < 0 && !device) {
        (void)unlink(options->path);
    }
    return rc;
}
