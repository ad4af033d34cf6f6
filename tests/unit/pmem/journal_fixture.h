/*
 * What the tests of pmem/ share: a fresh folder for each test, a journal in it, entries, and
 * ways to damage the file behind the journal's back. Header only, so that each test stays one
 * program of one file.
 */
#ifndef LKS_TESTS_JOURNAL_FIXTURE_H
#define LKS_TESTS_JOURNAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pmem/journal_internal.h"
#include "tests/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOOT_A "aaaaaaaa-0000-4000-8000-000000000001"
#define BOOT_B "bbbbbbbb-0000-4000-8000-000000000002"
#define RING UINT64_C(65536)

struct fixture {
    char folder[64];
    char path[96];
    struct lks_journal_options options;
    struct lks_journal *journal;
    struct lks_log_point tail;
    struct lks_error err;
};

static inline void fixture_make(struct fixture *f, const char *parent, uint64_t ring_bytes)
{
    memset(f, 0, sizeof *f);
    (void)snprintf(f->folder, sizeof f->folder, "%s/lks-pmem-XXXXXX", parent);
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->path, sizeof f->path, "%s/r1.log", f->folder);
    f->options = (struct lks_journal_options){.path = f->path,
                                              .cluster_id = {1, 2, 3, 4},
                                              .replica = 1,
                                              .bootstrap_voters = 0xe,
                                              .ring_bytes = ring_bytes,
                                              .entry_bytes_max = ring_bytes / 8,
                                              .boot_id = BOOT_A};
}

static inline int setup(void **state)
{
    struct fixture *f = test_malloc(sizeof *f);
    fixture_make(f, scratch_folder(), RING);
    *state = f;
    return 0;
}

/* The same on the file system of the working folder: the build folder under ctest. */
static inline int setup_file(void **state)
{
    struct fixture *f = test_malloc(sizeof *f);
    fixture_make(f, ".", RING);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    lks_journal_close(f->journal, false);
    (void)unlink(f->path);
    (void)rmdir(f->folder);
    test_free(f);
    return 0;
}

static inline void create(struct fixture *f)
{
    if (lks_journal_create(&f->options, true, &f->err) != 0) {
        fail_msg("%s", f->err.text);
    }
}

static inline void open_journal(struct fixture *f)
{
    if (lks_journal_open(&f->journal, &f->options, &f->err) != 0) {
        fail_msg("%s", f->err.text);
    }
}

static inline void crash(struct fixture *f)
{
    lks_journal_close(f->journal, false);
    f->journal = NULL;
}

static inline void recover(struct fixture *f)
{
    if (lks_journal_recover(f->journal, &f->tail, &f->err) != 0) {
        fail_msg("%s", f->err.text);
    }
}

/* Created, opened, recovered. */
static inline void start(struct fixture *f)
{
    create(f);
    open_journal(f);
    recover(f);
}

/* Crashes and opens again, without recovering. */
static inline void reopen(struct fixture *f)
{
    crash(f);
    open_journal(f);
}

static inline unsigned char test_byte(uint64_t index, uint64_t i)
{
    return (unsigned char)(index * 131 + i * 7 + 1);
}

static inline int append(struct fixture *f, uint64_t term, uint64_t payload_bytes)
{
    static unsigned char payload[1u << 20];
    for (uint64_t i = 0; i < payload_bytes; i++) {
        payload[i] = test_byte(payload_bytes, i);
    }
    const struct lks_entry_draft draft = {.kind = LKS_ENTRY_COMMAND,
                                          .term = term,
                                          .session = 7,
                                          .sequence = f->tail.index + 1,
                                          .time_ns = 1000 + f->tail.index,
                                          .payload = payload,
                                          .payload_bytes = payload_bytes};
    return lks_journal_append(f->journal, &f->tail, &draft);
}

static inline void append_many(struct fixture *f, uint64_t term, uint64_t payload_bytes,
                               unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(append(f, term, payload_bytes), 0);
    }
}

static inline void promise(struct fixture *f, uint64_t term)
{
    const struct lks_promise p = {.term = term, .candidate = 2, .incarnation = 5};
    assert_int_equal(lks_journal_write_promise(f->journal, &p), 0);
}

/* ---- the file behind the journal's back ---------------------------------------------------- */

static inline void file_read(const char *path, uint64_t at, void *data, size_t bytes)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, data, bytes, (off_t)at), bytes);
    (void)close(fd);
}

static inline void file_write(const char *path, uint64_t at, const void *data, size_t bytes)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, (off_t)at), bytes);
    (void)close(fd);
}

static inline void file_flip(const char *path, uint64_t at, unsigned char bits)
{
    unsigned char byte;
    file_read(path, at, &byte, 1);
    byte ^= bits;
    file_write(path, at, &byte, 1);
}

/* The whole file, for comparing; the caller frees. */
static inline unsigned char *file_snapshot(const char *path, size_t *bytes)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    *bytes = (size_t)status.st_size;
    unsigned char *data = malloc(*bytes);
    assert_non_null(data);
    file_read(path, 0, data, *bytes);
    return data;
}

static inline uint64_t slot_at(enum lks_journal_page pair, unsigned page, unsigned copy)
{
    return ((uint64_t)pair + page) * LKS_JOURNAL_PAGE + copy * (uint64_t)LKS_SLOT_SECOND_COPY_AT;
}

/* Runs body in a child that must die by abort(): a broken invariant. */
#define assert_aborts(body) \
    do { \
        (void)fflush(NULL); \
        const pid_t child_ = fork(); \
        assert_true(child_ >= 0); \
        if (child_ == 0) { \
            const int null_ = open("/dev/null", O_WRONLY | O_CLOEXEC); \
            (void)dup2(null_, STDERR_FILENO); \
            (void)signal(SIGABRT, SIG_DFL); \
            body; \
            _exit(0); \
        } \
        int status_ = 0; \
        assert_int_equal(waitpid(child_, &status_, 0), child_); \
        assert_true(WIFSIGNALED(status_) && WTERMSIG(status_) == SIGABRT); \
    } while (0)

#endif
