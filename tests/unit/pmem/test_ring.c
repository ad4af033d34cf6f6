/* Appending, reading and persisting entries; wrap, PAD, full ring, hostile bytes. */
#include "journal_fixture.h"

#include <pthread.h>
#include <sys/mman.h>

static int next(const struct fixture *f, struct lks_log_point *cursor, uint64_t limit,
                struct lks_entry *entry)
{
    return lks_journal_next(f->journal, cursor, limit, entry);
}

/* Reads from `cursor` to the tail, checks each payload, and returns how many entries there were,
 * `pads` of them PADs. */
static unsigned read_all(const struct fixture *f, struct lks_log_point cursor, unsigned *pads)
{
    struct lks_entry entry;
    unsigned count = 0;
    *pads = 0;
    while (cursor.offset < f->tail.offset) {
        const uint64_t index = cursor.index;
        assert_int_equal(next(f, &cursor, f->tail.offset, &entry), 0);
        assert_int_equal(entry.header->index, index + 1);
        const unsigned char *payload = entry.payload;
        const bool pad = entry.header->kind == LKS_ENTRY_PAD;
        for (uint64_t i = 0; i < entry.header->payload_bytes; i++) {
            assert_int_equal(payload[i], pad ? 0 : test_byte(entry.header->payload_bytes, i));
        }
        *pads += pad;
        count++;
    }
    assert_memory_equal(&cursor, &f->tail, sizeof cursor);
    assert_int_equal(next(f, &cursor, UINT64_MAX, &entry), -ENODATA);
    return count;
}

static void set_base(struct fixture *f)
{
    assert_int_equal(lks_journal_write_base(f->journal, &f->tail), 0);
}

static void append__fills_in_header(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(append(f, 4, 10), 0);
    assert_int_equal(append(f, 6, 0), 0);
    const struct lks_entry_header *second = lks_journal_address(f->journal, 128);
    assert_int_equal(second->index, 2);
    assert_int_equal(second->term, 6);
    assert_int_equal(second->previous_term, 4);
    assert_int_equal(second->kind, LKS_ENTRY_COMMAND);
    assert_int_equal(second->session, 7);
    assert_int_equal(second->sequence, 2);
    assert_int_equal(second->time_ns, 1001);
    assert_int_equal(second->footprint_bytes, 0);
    assert_int_equal(f->tail.offset, 192);
    assert_int_equal(f->tail.index, 2);
    assert_int_equal(f->tail.term, 6);
}

static void append__zeros_up_to_the_cache_line(void **state)
{
    struct fixture *f = *state;
    start(f);
    unsigned char *ring = lks_journal_address(f->journal, 0);
    memset(ring, 0xff, 256);
    assert_int_equal(append(f, 1, 10), 0);
    for (unsigned i = 74; i < 128; i++) {
        assert_int_equal(ring[i], 0);
    }
    assert_int_equal(ring[128], 0xff);
}

static void append__all_sizes__are_read_back(void **state)
{
    struct fixture *f = *state;
    unsigned pads;
    start(f);
    for (uint64_t bytes = 0; bytes <= 200; bytes++) {
        assert_int_equal(append(f, 1, bytes), 0);
    }
    const struct lks_log_point beginning = {.index = 0};
    assert_int_equal(read_all(f, beginning, &pads), 201);
    assert_int_equal(pads, 0);
}

static void append__too_big__leaves_tail(void **state)
{
    struct fixture *f = *state;
    f->options.entry_bytes_max = 1000;
    start(f);
    assert_int_equal(append(f, 1, 1000), 0);
    const struct lks_log_point tail = f->tail;
    assert_int_equal(append(f, 1, 1001), -LKS_ETOOBIG);
    assert_memory_equal(&tail, &f->tail, sizeof tail);
}

/* Bytes at and above base + ring are not touched. */
static void append__ring_full__leaves_tail_and_bytes(void **state)
{
    struct fixture *f = *state;
    static unsigned char before[RING];
    start(f);
    append_many(f, 1, 192, RING / 256); /* to the last byte */
    assert_int_equal(f->tail.offset, RING);
    memcpy(before, lks_journal_address(f->journal, 0), RING);
    const struct lks_log_point tail = f->tail;
    assert_int_equal(append(f, 1, 0), -LKS_ERINGFULL);
    assert_memory_equal(&tail, &f->tail, sizeof tail);
    assert_memory_equal(before, lks_journal_address(f->journal, 0), RING);
    struct lks_log_point cursor = {.index = 0};
    struct lks_entry entry;
    for (unsigned i = 0; i < RING / 256; i++) {
        assert_int_equal(next(f, &cursor, UINT64_MAX, &entry), 0);
    }
    assert_int_equal(next(f, &cursor, UINT64_MAX, &entry), -ENODATA); /* the base's place */
}

static void append__pad_and_entry_do_not_both_fit__full(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, 192, 2);
    set_base(f); /* 512 bytes are free at the ring's beginning */
    append_many(f, 1, 192, RING / 256 - 3);
    assert_int_equal(f->tail.offset, RING - 256);
    const struct lks_log_point tail = f->tail;
    assert_int_equal(append(f, 1, 512), -LKS_ERINGFULL); /* 256 pad + 576 > 768 */
    assert_memory_equal(&tail, &f->tail, sizeof tail);
    assert_int_equal(append(f, 1, 448), 0); /* 256 pad + 512 */
    assert_int_equal(f->tail.index, tail.index + 2);
    assert_int_equal(f->tail.offset, RING + 512);
    assert_int_equal(append(f, 1, 0), -LKS_ERINGFULL);
}

static void append__wrap__pad_reaches_exactly_to_the_end(void **state)
{
    struct fixture *f = *state;
    for (uint64_t rest = 64; rest <= 256; rest += 64) {
        struct lks_log_point before;
        unsigned pads;
        start(f);
        append_many(f, 1, 192, RING / 256 - 1);
        if (rest < 256) {
            assert_int_equal(append(f, 1, 256 - rest - 64), 0);
        }
        set_base(f);
        before = f->tail;
        assert_int_equal(before.offset, RING - rest);
        memset(lks_journal_address(f->journal, before.offset), 0xee, rest);
        assert_int_equal(append(f, 2, 256), 0);
        assert_int_equal(read_all(f, before, &pads), 2);
        assert_int_equal(pads, 1);
        const struct lks_entry_header *pad = lks_journal_address(f->journal, before.offset);
        assert_int_equal(pad->kind, LKS_ENTRY_PAD);
        assert_int_equal(pad->payload_bytes, rest - 64);
        assert_int_equal(pad->term, 2);
        assert_int_equal(pad->session, 0);
        assert_int_equal(lks_ring_place(f->journal, f->tail.offset), 320);
        crash(f);
        assert_int_equal(unlink(f->path), 0);
    }
}

static void append__entry_ends_exactly_at_the_end__no_pad(void **state)
{
    struct fixture *f = *state;
    unsigned pads;
    start(f);
    append_many(f, 1, 192, RING / 256 - 1);
    set_base(f);
    const struct lks_log_point before = f->tail;
    append_many(f, 1, 192, 2);
    assert_int_equal(read_all(f, before, &pads), 2);
    assert_int_equal(pads, 0);
}

static void append__many_laps__stay_readable(void **state)
{
    struct fixture *f = *state;
    unsigned pads;
    unsigned all_pads = 0;
    start(f);
    for (unsigned i = 0; i < 3000; i++) {
        const struct lks_log_point before = f->tail;
        append_many(f, 1 + i / 100, (i * 37) % 1500, 3);
        (void)read_all(f, before, &pads);
        all_pads += pads;
        set_base(f);
    }
    assert_true(f->tail.offset / RING > 50);
    assert_true(all_pads > 20);
}

/* A ring that is no power of two takes another way to find its place. */
static void append__odd_ring__same_rules(void **state)
{
    struct fixture *f = *state;
    unsigned pads;
    f->options.ring_bytes = RING + 4096;
    start(f);
    for (unsigned i = 0; i < 400; i++) {
        const struct lks_log_point before = f->tail;
        append_many(f, 1, 1000, 2);
        (void)read_all(f, before, &pads);
        assert_int_equal(lks_ring_place(f->journal, f->tail.offset),
                         f->tail.offset % (RING + 4096));
        assert_int_equal(lks_journal_place(f->journal, f->tail.offset),
                         8192 + f->tail.offset % (RING + 4096));
        set_base(f);
    }
}

static void append__term_sinks_or_wrong_kind__is_asserted(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(append(f, 5, 0), 0);
    assert_aborts((void)append(f, 4, 0));
    struct lks_entry_draft draft = {.kind = LKS_ENTRY_PAD, .term = 5};
    assert_aborts((void)lks_journal_append(f->journal, &f->tail, &draft));
    draft.kind = (enum lks_entry_kind)9;
    assert_aborts((void)lks_journal_append(f->journal, &f->tail, &draft));
    draft = (struct lks_entry_draft){.kind = LKS_ENTRY_NOOP, .term = 5, .payload_bytes = 1};
    assert_aborts((void)lks_journal_append(f->journal, &f->tail, &draft));
}

static void log_memory__is_head_control_ring(void **state)
{
    struct fixture *f = *state;
    struct lks_log_memory memory;
    start(f);
    lks_journal_log_memory(f->journal, &memory);
    unsigned char *address = memory.address;
    assert_int_equal(memory.bytes, 8192 + RING);
    assert_ptr_equal((void *)lks_journal_control(f->journal), address + 4096);
    assert_ptr_equal(lks_journal_address(f->journal, 64), address + 8192 + 64);
    assert_ptr_equal(lks_journal_address(f->journal, 3 * RING + 64), address + 8192 + 64);
    assert_int_equal(lks_journal_place(f->journal, 3 * RING + 64), 8192 + 64);
    /* The same bytes through fd, as a peer maps them. */
    memcpy(address + 8192, "peer", 4);
    char seen[4];
    assert_int_equal(pread(memory.fd, seen, 4, (off_t)(memory.fd_offset + 8192)), 4);
    assert_memory_equal(seen, "peer", 4);
}

/* ---- next: nothing read is trusted --------------------------------------------------------- */

static void next__limit__entry_must_lie_wholly_below(void **state)
{
    struct fixture *f = *state;
    struct lks_entry entry;
    start(f);
    assert_int_equal(append(f, 1, 100), 0);
    for (uint64_t limit = 0; limit < 192; limit++) {
        struct lks_log_point cursor = {.index = 0};
        assert_int_equal(next(f, &cursor, limit, &entry), -ENODATA);
        assert_int_equal(cursor.offset, 0);
    }
    struct lks_log_point cursor = {.index = 0};
    assert_int_equal(next(f, &cursor, 192, &entry), 0);
    assert_int_equal(next(f, &cursor, 192, &entry), -ENODATA);
    assert_int_equal(next(f, &cursor, 100, &entry), -ENODATA); /* a limit below the cursor */
}

static void next__wrong_cursor__finds_nothing(void **state)
{
    struct fixture *f = *state;
    struct lks_entry entry;
    start(f);
    append_many(f, 3, 0, 2);
    const struct lks_entry_header *first = lks_journal_address(f->journal, 0);
    const struct lks_log_point right = {
        .index = 1, .term = 3, .offset = 64, .chain = first->checksum};
    struct lks_log_point cursor = right;
    assert_int_equal(next(f, &cursor, UINT64_MAX, &entry), 0);
    struct lks_log_point wrong[5] = {right, right, right, right, right};
    wrong[0].index = 2;
    wrong[1].term = 2;
    wrong[2].offset = 128;
    wrong[3].chain ^= 1;
    wrong[4].offset = 65;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(next(f, &wrong[i], UINT64_MAX, &entry), -ENODATA);
    }
}

/* Rebuilds the checksum after a change, so that only the field's own check can refuse. */
static void forge(struct fixture *f, struct lks_entry_header header, bool valid)
{
    struct lks_log_point cursor = {.index = 0};
    struct lks_entry entry;
    unsigned char *ring = lks_journal_address(f->journal, 0);
    if (header.payload_bytes <= RING - 64) {
        header.checksum = lks_entry_checksum(&header, ring + 64, 0);
    }
    memcpy(ring, &header, sizeof header);
    assert_int_equal(next(f, &cursor, UINT64_MAX, &entry), valid ? 0 : -ENODATA);
}

static void next__forged_fields__are_refused(void **state)
{
    struct fixture *f = *state;
    struct lks_entry_header good;
    start(f);
    assert_int_equal(append(f, 1, 100), 0);
    memcpy(&good, lks_journal_address(f->journal, 0), sizeof good);
    forge(f, good, true);
#define REFUSED(field, value) \
    do { \
        struct lks_entry_header bad = good; \
        bad.field = (value); \
        forge(f, bad, false); \
    } while (0)
    REFUSED(index, 0);
    REFUSED(index, 2);
    REFUSED(term, 0);
    REFUSED(term, LKS_JOURNAL_NUMBER_MAX);
    REFUSED(previous_term, 1);
    REFUSED(kind, 0);
    REFUSED(kind, LKS_ENTRY_KINDS);
    REFUSED(kind, LKS_ENTRY_PAD); /* does not reach the ring's end */
    REFUSED(flags, 1);
    REFUSED(footprint_bytes, 101);
    REFUSED(payload_bytes, RING / 8 + 1);
    REFUSED(payload_bytes, RING);
    REFUSED(payload_bytes, UINT32_MAX);
#undef REFUSED
    struct lks_entry_header pad = good;
    pad.kind = LKS_ENTRY_PAD;
    pad.footprint_bytes = 0;
    pad.payload_bytes = RING - 64;
    forge(f, pad, true); /* a ring that is one PAD is allowed by the format */
}

static void next__term_sinks__is_refused(void **state)
{
    struct fixture *f = *state;
    struct lks_entry entry;
    start(f);
    append_many(f, 5, 0, 2);
    struct lks_entry_header header;
    const struct lks_entry_header *first = lks_journal_address(f->journal, 0);
    memcpy(&header, lks_journal_address(f->journal, 64), sizeof header);
    header.term = 4;
    header.checksum = lks_entry_checksum(&header, NULL, first->checksum);
    memcpy(lks_journal_address(f->journal, 64), &header, sizeof header);
    struct lks_log_point cursor = {.index = 0};
    assert_int_equal(next(f, &cursor, UINT64_MAX, &entry), 0);
    assert_int_equal(next(f, &cursor, UINT64_MAX, &entry), -ENODATA);
}

/* An entry at the ring's end that claims to go on beyond it. */
static void next__length_beyond_the_ring__is_refused(void **state)
{
    struct fixture *f = *state;
    struct lks_entry entry;
    start(f);
    append_many(f, 1, 192, RING / 256 - 1);
    set_base(f);
    const struct lks_log_point before = f->tail;
    assert_int_equal(append(f, 1, 192), 0);
    struct lks_entry_header *last = lks_journal_address(f->journal, before.offset);
    for (uint32_t bytes = 193; bytes < 1000; bytes++) {
        struct lks_log_point cursor = before;
        last->payload_bytes = bytes;
        assert_int_equal(next(f, &cursor, UINT64_MAX, &entry), -ENODATA);
    }
}

/* What was written under a greater configured limit stays readable under a smaller one. */
static void next__configured_limit_lowered__still_reads(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(append(f, 1, RING / 8), 0);
    const struct lks_log_point tail = f->tail;
    f->options.entry_bytes_max = 100;
    reopen(f);
    recover(f);
    assert_memory_equal(&tail, &f->tail, sizeof tail);
    assert_int_equal(append(f, 1, 101), -LKS_ETOOBIG);
}

/* ---- persist ------------------------------------------------------------------------------- */

static void persist__any_range__returns_0(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(lks_journal_persist_range(f->journal, 0, 0), 0);
    for (uint64_t from = 0; from < 2 * RING; from += 4032) {
        assert_int_equal(lks_journal_persist_range(f->journal, from, from + 64), 0);
        assert_int_equal(lks_journal_persist_range(f->journal, from, from + RING / 2 + 64), 0);
        assert_int_equal(lks_journal_persist_range(f->journal, from, from + RING), 0);
    }
    assert_aborts((void)lks_journal_persist_range(f->journal, 64, 0));
    assert_aborts((void)lks_journal_persist_range(f->journal, 0, RING + 64));
}

struct flusher {
    struct lks_journal *journal;
    _Atomic uint64_t tail; /* the test's thread publishes, the flusher reads */
    _Atomic bool stop;
    int status;
};

static void *flush_behind(void *argument)
{
    struct flusher *flusher = argument;
    uint64_t from = 0;
    while (flusher->status == 0 && !(atomic_load(&flusher->stop) &&
                                     from == atomic_load(&flusher->tail))) {
        const uint64_t to = atomic_load(&flusher->tail);
        flusher->status = lks_journal_persist_range(flusher->journal, from, to);
        from = to;
    }
    return NULL;
}

/* A flusher thread persists what the journal's thread has appended, while that one goes on. */
static void persist__beside_appends__both_go_on(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    start(f);
    struct flusher flusher = {.journal = f->journal};
    assert_int_equal(pthread_create(&thread, NULL, flush_behind, &flusher), 0);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(append(f, 1, i), 0);
        atomic_store(&flusher.tail, f->tail.offset);
        if (i % 50 == 0) {
            assert_int_equal(lks_journal_raise_floor(f->journal, f->tail.offset), 0);
        }
    }
    atomic_store(&flusher.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(flusher.status, 0);
    reopen(f);
    const uint64_t tail = f->tail.offset;
    recover(f);
    assert_int_equal(tail, f->tail.offset);
}

/* After one failed msync nothing of this journal counts as durable any more. */
static void persist__msync_fails__for_good(void **state)
{
    struct fixture *f = *state;
    start(f);
    if (lks_journal_medium(f->journal)->kind != LKS_MEDIUM_FILE) {
        print_message("SKIP: the working folder is no ordinary file system\n");
        skip();
    }
    promise(f, 1);
    unsigned char *ring = lks_journal_address(f->journal, 0);
    assert_int_equal(munmap(ring, 4096), 0);
    assert_int_equal(lks_journal_persist_range(f->journal, 4096, 8192), 0);
    assert_int_equal(lks_journal_persist_range(f->journal, RING - 64, RING + 64), -ENOMEM);
    assert_int_equal(lks_journal_persist_range(f->journal, 4096, 8192), -ENOMEM);
    const struct lks_promise later = {.term = 2};
    assert_int_equal(lks_journal_write_promise(f->journal, &later), -ENOMEM);
    lks_journal_close(f->journal, true); /* and no clean stop is claimed */
    f->journal = NULL;
    open_journal(f);
    struct lks_identity identity;
    lks_journal_identity(f->journal, &identity);
    assert_false(identity.clean_stop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_FILE(name) cmocka_unit_test_setup_teardown(name, setup_file, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(append__fills_in_header),
        TEST(append__zeros_up_to_the_cache_line),
        TEST(append__all_sizes__are_read_back),
        TEST(append__too_big__leaves_tail),
        TEST(append__ring_full__leaves_tail_and_bytes),
        TEST(append__pad_and_entry_do_not_both_fit__full),
        TEST(append__wrap__pad_reaches_exactly_to_the_end),
        TEST(append__entry_ends_exactly_at_the_end__no_pad),
        TEST(append__many_laps__stay_readable),
        TEST(append__odd_ring__same_rules),
        TEST(append__term_sinks_or_wrong_kind__is_asserted),
        TEST(log_memory__is_head_control_ring),
        TEST(next__limit__entry_must_lie_wholly_below),
        TEST(next__wrong_cursor__finds_nothing),
        TEST(next__forged_fields__are_refused),
        TEST(next__term_sinks__is_refused),
        TEST(next__length_beyond_the_ring__is_refused),
        TEST(next__configured_limit_lowered__still_reads),
        TEST(persist__any_range__returns_0),
        TEST_FILE(persist__any_range__returns_0),
        TEST(persist__beside_appends__both_go_on),
        TEST_FILE(persist__beside_appends__both_go_on),
        TEST_FILE(persist__msync_fails__for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
