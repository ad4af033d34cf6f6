/* Opening and closing a journal, and what it is made of; see journal.h. */
#include "pmem/journal.h"

#include "base/assert.h"
#include "pmem/journal_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION_WORD_AT offsetof(struct lks_header_page, version)
#define VERSION_WORD_BYTES 8u

_Static_assert(VERSION_WORD_AT % VERSION_WORD_BYTES == 0 &&
                   offsetof(struct lks_header_page, checksum) ==
                       VERSION_WORD_AT + sizeof(uint32_t),
               "version and checksum are one word");

/* ---- header ------------------------------------------------------------------------------- */

static int check_format(const struct lks_header_page *header, const char *path,
                        struct lks_error *err)
{
    if (memcmp(header->magic, LKS_JOURNAL_MAGIC, sizeof header->magic) != 0) {
        return lks_error_set(err, -LKS_EFORMAT,
                             "journal %s: not a Lockstep journal: name the right file, or create "
                             "one with `lockstep init CONFIG --replica N`",
                             path);
    }
    if (header->version > LKS_JOURNAL_VERSION) {
        return lks_error_set(err, -LKS_EFORMAT,
                             "journal %s: format version %" PRIu32 ", this binary knows up to %u: "
                             "run the newer Lockstep that wrote it",
                             path, header->version, LKS_JOURNAL_VERSION);
    }
    if (header->checksum != lks_journal_header_checksum(header) || header->version == 0) {
        return lks_error_set(err, -LKS_EDAMAGED,
                             "journal %s: its header page is damaged: move the file away and "
                             "create it anew with `lockstep init CONFIG --replica N`",
                             path);
    }
    return 0;
}

static int check_owner(const struct lks_header_page *header,
                       const struct lks_journal_options *options, struct lks_error *err)
{
    if (options->read_only && options->replica == 0) {
        return 0;
    }
    if (memcmp(header->cluster_id, options->cluster_id, LKS_CLUSTER_ID_BYTES) != 0) {
        return lks_error_set(err, -LKS_ECLUSTER,
                             "journal %s: belongs to another cluster (its id begins with "
                             "%02x%02x%02x%02x, the configuration's with %02x%02x%02x%02x): name "
                             "the right file, or create a new one with `lockstep init`",
                             options->path, header->cluster_id[0], header->cluster_id[1],
                             header->cluster_id[2], header->cluster_id[3], options->cluster_id[0],
                             options->cluster_id[1], options->cluster_id[2],
                             options->cluster_id[3]);
    }
    if (header->replica != options->replica) {
        return lks_error_set(err, -LKS_ECLUSTER,
                             "journal %s: belongs to replica %" PRIu32 ", not to replica %" PRIu32
                             ": name the right file in the configuration",
                             options->path, header->replica, options->replica);
    }
    return 0;
}

/* "64 MiB", or bytes where it is not a whole number of MiB. */
static const char *size_text(uint64_t bytes, char text[32])
{
    if (bytes % (UINT64_C(1) << 20) == 0) {
        (void)snprintf(text, 32, "%" PRIu64 " MiB", bytes >> 20);
    } else {
        (void)snprintf(text, 32, "%" PRIu64 " bytes", bytes);
    }
    return text;
}

static int check_sizes(const struct lks_header_page *header, uint64_t file_bytes,
                       const struct lks_journal_options *options, struct lks_error *err)
{
    char has[32];
    char wanted[32];
    const struct lks_journal_options stored = {.path = options->path,
                                               .ring_bytes = header->ring_bytes,
                                               .entry_bytes_max = options->entry_bytes_max};
    if (options->ring_bytes != 0 && header->ring_bytes != options->ring_bytes) {
        return lks_error_set(err, -LKS_ESIZE,
                             "journal %s: a ring of %s, but the cluster's ring is %s: correct "
                             "`ring` in the configuration, or move the file away and create it "
                             "anew with `lockstep init CONFIG --replica %" PRIu32 "`",
                             options->path, size_text(header->ring_bytes, has),
                             size_text(options->ring_bytes, wanted), header->replica);
    }
    const int rc = lks_journal_check_sizes(&stored, false, err);
    if (rc < 0) {
        return rc;
    }
    if (file_bytes < LKS_JOURNAL_RING_AT + header->ring_bytes) {
        return lks_error_set(err, -LKS_ESIZE,
                             "journal %s: truncated: %" PRIu64 " bytes, but its header says "
                             "%" PRIu64 ": move the file away and create it anew with `lockstep "
                             "init CONFIG --replica %" PRIu32 "`",
                             options->path, file_bytes, LKS_JOURNAL_RING_AT + header->ring_bytes,
                             header->replica);
    }
    return 0;
}

/* ---- file and lock ------------------------------------------------------------------------ */

static int open_file(struct lks_journal *journal, const struct lks_journal_options *options,
                     struct lks_error *err)
{
    const int access = options->read_only ? O_RDONLY : O_RDWR;
    journal->fd = open(options->path, access | O_CLOEXEC);
    if (journal->fd < 0) {
        const int code = -errno;
        return lks_error_set(
            err, code, "journal %s: %s%s", options->path, lks_error_text(code),
            code == -ENOENT ? ": create it with `lockstep init CONFIG --replica N`" : "");
    }
    return 0;
}

static int64_t read_owner(const struct lks_journal *journal)
{
    struct lks_owner_page owner;
    memcpy(&owner, journal->mapping.address + LKS_PAGE_OWNER * LKS_JOURNAL_PAGE, sizeof owner);
    return owner.pid;
}

bool lks_journal_in_use(const struct lks_journal *journal, int64_t *pid)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    const bool used = fcntl(journal->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (pid != NULL) {
        *pid = used ? read_owner(journal) : 0;
    }
    return used;
}

/*
 * The lock belongs to an open file of its own: a peer that was handed journal->fd keeps that one
 * alive beyond this process's death, and with it any lock on it.
 */
static int take_lock(struct lks_journal *journal, struct lks_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    journal->lock_fd = open(journal->path, O_RDWR | O_CLOEXEC);
    if (journal->lock_fd < 0) {
        const int code = -errno;
        return lks_error_set(err, code, "journal %s: %s", journal->path, lks_error_text(code));
    }
    if (fcntl(journal->lock_fd, F_OFD_SETLK, &lock) == 0) {
        return 0;
    }
    const int code = -errno;
    if (code != -EAGAIN && code != -EACCES) {
        return lks_error_set(err, code, "journal %s: cannot be locked: %s", journal->path,
                             lks_error_text(code));
    }
    return lks_error_set(err, -EBUSY,
                         "journal %s: in use by process %" PRId64 ": a journal serves one replica "
                         "at a time; stop that one first",
                         journal->path, read_owner(journal));
}

static void write_owner(const struct lks_journal *journal, int64_t pid)
{
    const struct lks_owner_page owner = {.pid = pid};
    memcpy(journal->mapping.address + LKS_PAGE_OWNER * LKS_JOURNAL_PAGE, &owner, sizeof owner);
}

static uint64_t file_bytes(const struct lks_journal *journal)
{
    struct stat status;
    uint64_t bytes = 0;
    uint64_t alignment = 0;
    if (journal->medium.kind == LKS_MEDIUM_DEVDAX) {
        return lks_medium_device_geometry(journal->fd, LKS_MEDIUM_SYSFS, &bytes, &alignment) == 0
                   ? bytes
                   : 0;
    }
    return fstat(journal->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* Reads the header by a mapping of the fixed part alone, which works for devices too. */
static int read_header(struct lks_journal *journal, uint64_t bytes,
                       struct lks_header_page *header, struct lks_error *err)
{
    struct lks_mapping mapping;
    if (bytes < LKS_JOURNAL_PAGE) {
        return lks_error_set(err, -LKS_EFORMAT,
                             "journal %s: %" PRIu64 " bytes: too short for a Lockstep journal",
                             journal->path, bytes);
    }
    const int rc =
        lks_medium_map(&journal->medium, journal->fd, LKS_JOURNAL_PAGE, false, &mapping);
    if (rc < 0) {
        return lks_error_set(err, rc, "journal %s: cannot be mapped: %s", journal->path,
                             lks_error_text(rc));
    }
    memcpy(header, mapping.address, sizeof *header);
    lks_medium_unmap(&mapping);
    return 0;
}

/* ---- open and close ----------------------------------------------------------------------- */

static int map_whole(struct lks_journal *journal, const struct lks_journal_options *options,
                     const struct lks_header_page *header, struct lks_error *err)
{
    const int rc =
        lks_medium_map(&journal->medium, journal->fd, LKS_JOURNAL_RING_AT + header->ring_bytes,
                       !options->read_only, &journal->mapping);
    if (rc < 0) {
        return lks_error_set(err, rc, "journal %s: cannot be mapped: %s", journal->path,
                             lks_error_text(rc));
    }
    const uint64_t ring_bytes = header->ring_bytes;
    journal->ring = journal->mapping.address + LKS_JOURNAL_RING_AT;
    journal->ring_bytes = ring_bytes;
    journal->ring_mask = (ring_bytes & (ring_bytes - 1)) == 0 ? ring_bytes - 1 : 0;
    journal->entry_bytes_max =
        options->entry_bytes_max != 0 ? options->entry_bytes_max : lks_ring_payload_max(journal);
    journal->facts = (struct lks_journal_facts){.version = header->version,
                                                .replica = header->replica,
                                                .ring_bytes = ring_bytes,
                                                .created_ns = header->created_ns};
    memcpy(journal->facts.cluster_id, header->cluster_id, LKS_CLUSTER_ID_BYTES);
    lks_journal_place_slots(journal);
    return 0;
}

/*
 * Whoever may append makes the journal one of the present version first: a binary that knows only
 * the older one would take the first entry that it cannot read for the end of the log, and so lose
 * what was acknowledged. Version and checksum are one word of 8 bytes, which no power cut tears.
 */
static int raise_version(struct lks_journal *journal, const struct lks_header_page *before,
                         struct lks_error *err)
{
    struct lks_header_page header = *before;
    if (header.version == LKS_JOURNAL_VERSION) {
        return 0;
    }
    header.version = LKS_JOURNAL_VERSION;
    header.checksum = lks_journal_header_checksum(&header);
    const int rc = lks_medium_store(&journal->medium, journal->mapping.address + VERSION_WORD_AT,
                                    (const unsigned char *)&header + VERSION_WORD_AT,
                                    VERSION_WORD_BYTES);
    if (rc < 0) {
        return lks_error_set(err, rc, "journal %s: cannot be brought from format version %" PRIu32
                             " to %u: %s", journal->path, before->version, LKS_JOURNAL_VERSION,
                             lks_error_text(rc));
    }
    journal->facts.version = header.version;
    return 0;
}

static int open_steps(struct lks_journal *journal, const struct lks_journal_options *options,
                      struct lks_error *err)
{
    struct lks_header_page header;
    int rc = lks_journal_boot_id(options, journal->boot_id, err);
    if (rc == 0) {
        rc = open_file(journal, options, err);
    }
    if (rc == 0) {
        rc = lks_medium_detect(journal->fd, journal->path, LKS_MEDIUM_SYSFS, &journal->medium,
                               err);
    }
    if (rc < 0) {
        return rc;
    }
    const uint64_t bytes = file_bytes(journal);
    rc = read_header(journal, bytes, &header, err);
    if (rc == 0) {
        rc = check_format(&header, journal->path, err);
    }
    if (rc == 0) {
        rc = check_owner(&header, options, err);
    }
    if (rc == 0) {
        rc = check_sizes(&header, bytes, options, err);
    }
    if (rc == 0) {
        rc = map_whole(journal, options, &header, err);
    }
    if (rc == 0 && !options->read_only) {
        rc = take_lock(journal, err);
    }
    if (rc == 0) {
        rc = lks_journal_begin_life(journal, options->forgetful, err);
    }
    return rc == 0 && !options->read_only ? raise_version(journal, &header, err) : rc;
}

static void release(struct lks_journal *journal)
{
    lks_medium_unmap(&journal->mapping);
    if (journal->lock_fd >= 0) {
        (void)close(journal->lock_fd);
    }
    if (journal->fd >= 0) {
        (void)close(journal->fd);
    }
    free(journal->path);
    free(journal);
}

int lks_journal_open(struct lks_journal **journal, const struct lks_journal_options *options,
                     struct lks_error *err)
{
    const int checked = lks_journal_check_sizes(options, true, err);
    if (checked < 0) {
        return checked;
    }
    struct lks_journal *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return lks_error_set(err, -ENOMEM, "journal %s: out of memory", options->path);
    }
    opened->fd = -1;
    opened->lock_fd = -1;
    opened->read_only = options->read_only;
    opened->failed = &opened->failure;
    opened->path = strdup(options->path);
    const int rc = opened->path != NULL
                       ? open_steps(opened, options, err)
                       : lks_error_set(err, -ENOMEM, "journal %s: out of memory", options->path);
    if (rc < 0) {
        release(opened);
        return rc;
    }
    if (!opened->read_only) {
        write_owner(opened, getpid());
    }
    *journal = opened;
    return 0;
}

void lks_journal_close(struct lks_journal *journal, bool clean)
{
    if (journal == NULL) {
        return;
    }
    if (!journal->read_only) {
        const uint64_t from = journal->base.offset;
        if (clean && lks_journal_persist_range(journal, from, from + journal->ring_bytes) == 0) {
            /* A failure leaves the mark out, which is the truth. */
            (void)lks_journal_mark_clean_stop(journal);
        }
        write_owner(journal, 0);
    }
    release(journal);
}

/* ---- what it is made of ------------------------------------------------------------------- */

int lks_journal_set_cluster(struct lks_journal *journal,
                            const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES])
{
    struct lks_header_page header;
    LKS_ASSERT(!journal->read_only);
    memcpy(&header, journal->mapping.address, sizeof header);
    const uint32_t checksum = header.checksum;
    memcpy(header.cluster_id, cluster_id, LKS_CLUSTER_ID_BYTES);
    header.checksum = lks_journal_header_checksum(&header);
    const size_t at = offsetof(struct lks_header_page, cluster_id);
    const int rc =
        header.checksum == checksum
            ? lks_medium_store(&journal->medium, journal->mapping.address + at, cluster_id,
                               LKS_CLUSTER_ID_BYTES)
            : lks_medium_store(&journal->medium, journal->mapping.address, &header, sizeof header);
    if (rc == 0) {
        memcpy(journal->facts.cluster_id, cluster_id, LKS_CLUSTER_ID_BYTES);
    }
    return rc;
}

void lks_journal_facts(const struct lks_journal *journal, struct lks_journal_facts *facts)
{
    *facts = journal->facts;
}

void lks_journal_log_memory(const struct lks_journal *journal, struct lks_log_memory *memory)
{
    *memory = (struct lks_log_memory){
        .address = journal->mapping.address + LKS_JOURNAL_LOG_AT,
        .bytes = LKS_JOURNAL_HEAD_BYTES + LKS_JOURNAL_CONTROL_BYTES + journal->ring_bytes,
        .fd = journal->fd,
        .fd_offset = LKS_JOURNAL_LOG_AT,
    };
}

struct lks_control_words *lks_journal_control(const struct lks_journal *journal)
{
    return (struct lks_control_words *)(void *)(journal->ring - LKS_JOURNAL_CONTROL_BYTES);
}

uint64_t lks_journal_ring_bytes(const struct lks_journal *journal)
{
    return journal->ring_bytes;
}

const struct lks_medium *lks_journal_medium(const struct lks_journal *journal)
{
    return &journal->medium;
}
