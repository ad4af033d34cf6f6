/*
 * The journal as a failing medium, or another program, may leave it: a good one, edited as the
 * input says; checksums of slots and entries are made right again where it says so, so that the
 * checks behind them are reached. Held to: opening, recovering and reading never crash, never
 * hang, and never hand out an entry that does not chain; a journal that is damaged is refused with
 * a text that names it; what was recovered can be appended to and recovers again as the same.
 */
#include "base/assert.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "pmem/journal_internal.h"
#include "pmem/layout.h"
#include "pmem/slots.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define RING (UINT64_C(64) << 10)
#define FILE_BYTES (LKS_JOURNAL_RING_AT + RING)
#define EDITS_MAX 64u
#define BOOT "aaaaaaaa-0000-4000-8000-000000000001"

static char path[256];
static uint8_t *image; /* the file, mapped */
static uint8_t *good;  /* its content as created */

static struct lks_journal_options options_of(void)
{
    return (struct lks_journal_options){.path = path,
                                        .cluster_id = {1, 2, 3},
                                        .replica = 1,
                                        .bootstrap_voters = 0xe,
                                        .ring_bytes = RING,
                                        .entry_bytes_max = RING / 8,
                                        .boot_id = BOOT};
}

static void fill(struct lks_journal *journal)
{
    struct lks_log_point tail = {0};
    char payload[300];
    memset(payload, 'x', sizeof payload);
    for (uint64_t i = 0; i < 24; i++) {
        const struct lks_entry_draft draft = {
            .kind = i % 8 == 0 ? LKS_ENTRY_NOOP : LKS_ENTRY_COMMAND,
            .term = 1 + i / 8,
            .session = i % 8 == 0 ? 0 : UINT64_C(1) << 48 | 1,
            .sequence = i % 8 == 0 ? 0 : i,
            .time_ns = i,
            .payload = i % 8 == 0 ? NULL : payload,
            .payload_bytes = i % 8 == 0 ? 0 : i * 12};
        LKS_ASSERT(lks_journal_append(journal, &tail, &draft) == 0);
    }
    const struct lks_promise promise = {.term = 3, .candidate = 1, .incarnation = 1};
    LKS_ASSERT(lks_journal_write_promise(journal, &promise) == 0);
    LKS_ASSERT(lks_journal_persist_range(journal, 0, tail.offset) == 0);
}

static void remove_file(void)
{
    (void)unlink(path);
}

static void prepare(void)
{
    struct lks_error err;
    struct lks_journal *journal = NULL;
    struct lks_log_point tail;
    (void)snprintf(path, sizeof path, "%s/fuzz-%d.journal", scratch_folder(), (int)getpid());
    (void)unlink(path);
    const struct lks_journal_options options = options_of();
    LKS_ASSERT(lks_journal_create(&options, true, &err) == 0);
    (void)atexit(remove_file);
    LKS_ASSERT(lks_journal_open(&journal, &options, &err) == 0);
    LKS_ASSERT(lks_journal_recover(journal, &tail, &err) == 0);
    fill(journal);
    lks_journal_close(journal, false);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    LKS_ASSERT(fd >= 0);
    image = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    LKS_ASSERT(image != MAP_FAILED);
    (void)close(fd);
    good = malloc(FILE_BYTES);
    LKS_ASSERT(good != NULL);
    memcpy(good, image, FILE_BYTES);
}

/* What recovery changes: slots, control page, ring. */
static void restore_image(void)
{
    memcpy(image, good, 8 * LKS_JOURNAL_PAGE);
    memcpy(image + LKS_JOURNAL_LOG_AT, good + LKS_JOURNAL_LOG_AT,
           FILE_BYTES - LKS_JOURNAL_LOG_AT);
}

static void reseal_slot(uint32_t page, bool second)
{
    struct lks_slot slot;
    uint8_t *at = image + page * LKS_JOURNAL_PAGE + (second ? LKS_SLOT_SECOND_COPY_AT : 0);
    memcpy(&slot, at, sizeof slot);
    slot.checksum = lks_crc32c(0, &slot.kind, sizeof slot - 4);
    memcpy(at, &slot, sizeof slot);
}

/* Makes the checksums of the entries from the beginning right, as far as lengths allow. */
static void reseal_entries(void)
{
    uint64_t at = 0;
    uint32_t chain = 0;
    for (unsigned i = 0; i < 64 && at + sizeof(struct lks_entry_header) <= RING; i++) {
        struct lks_entry_header header;
        uint8_t *entry = image + LKS_JOURNAL_RING_AT + at;
        memcpy(&header, entry, sizeof header);
        if (header.payload_bytes > RING - at - sizeof header) {
            return;
        }
        header.checksum = lks_entry_checksum(&header, entry + sizeof header, chain);
        memcpy(entry, &header, sizeof header);
        chain = header.checksum;
        at += lks_entry_span(header.payload_bytes);
    }
}

static void edit(struct fuzz_input *input)
{
    const uint8_t what = fuzz_byte(input);
    uint64_t word = fuzz_number(input);
    const uint32_t page = LKS_PAGE_IDENTITY + fuzz_byte(input) % 6;
    switch (what % 7) {
    case 0: /* a word of a slot, in one copy or both */
        memcpy(image + page * LKS_JOURNAL_PAGE + 8 * (what / 8 % 12), &word, 8);
        if (what >= 128) {
            reseal_slot(page, false);
        }
        break;
    case 1:
        memcpy(image + page * LKS_JOURNAL_PAGE + LKS_SLOT_SECOND_COPY_AT + 8 * (what / 8 % 12),
               &word, 8);
        reseal_slot(page, true);
        break;
    case 2: /* a field of an entry header */
    case 3: {
        const uint32_t at = 64 * fuzz_below(input, 128) + 8 * (what / 8 % 8);
        memcpy(image + LKS_JOURNAL_RING_AT + at, &word, 8);
        break;
    }
    case 4: /* zeros, as a lost page */
        memset(image + LKS_JOURNAL_RING_AT + 64 * fuzz_below(input, 256), 0, 64u * (what / 8 + 1));
        break;
    case 5:
        reseal_entries();
        break;
    default: /* the header page */
        memcpy(image + 8 * (what / 8 % 8), &word, 8);
        break;
    }
}

static void append_and_compare(struct lks_journal *journal, struct lks_log_point tail)
{
    struct lks_error err;
    struct lks_log_point again;
    /* Its time tells it from entries that stand there already, or did when those behind them were
     * made to chain: no input guesses it. */
    const struct lks_entry_draft draft = {.kind = LKS_ENTRY_NOOP,
                                          .term = tail.term + 1,
                                          .time_ns = UINT64_C(0x5f3c9a41d7e20b86)};
    if (draft.term >= LKS_JOURNAL_NUMBER_MAX) {
        return;
    }
    const int rc = lks_journal_append(journal, &tail, &draft);
    LKS_ASSERT(rc == 0 || rc == -LKS_ERINGFULL);
    LKS_ASSERT(lks_journal_recover(journal, &again, &err) == 0);
    LKS_ASSERT(again.offset == tail.offset);
    LKS_ASSERT(again.index == tail.index);
    LKS_ASSERT(again.chain == tail.chain);
}

static void read_all(struct lks_journal *journal, const struct lks_log_point *tail)
{
    struct lks_log_point cursor;
    struct lks_entry entry;
    lks_journal_base(journal, &cursor);
    const uint64_t base = cursor.offset;
    while (lks_journal_next(journal, &cursor, tail->offset, &entry) == 0) {
        LKS_ASSERT(cursor.offset - base <= RING);
        LKS_ASSERT(entry.header->index == cursor.index);
    }
    LKS_ASSERT(cursor.offset == tail->offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (image == NULL) {
        prepare();
    }
    struct fuzz_input input = fuzz_input(data, size);
    restore_image();
    for (unsigned i = 0; i < EDITS_MAX && fuzz_left(&input) > 0; i++) {
        edit(&input);
    }
    struct lks_error err = {0};
    struct lks_journal *journal = NULL;
    const struct lks_journal_options options = options_of();
    if (lks_journal_open(&journal, &options, &err) != 0) {
        LKS_ASSERT(strstr(err.text, path) != NULL);
        return 0;
    }
    struct lks_log_point tail;
    if (lks_journal_recover(journal, &tail, &err) == 0) {
        read_all(journal, &tail);
        append_and_compare(journal, tail);
    } else {
        LKS_ASSERT(err.text[0] != '\0');
    }
    lks_journal_close(journal, false);
    return 0;
}
