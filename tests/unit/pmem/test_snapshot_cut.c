/*
 * Power cuts in the snapshot area, at every store, write-back and fence of a workload: what is
 * found afterwards is what the last finished replacement left, or the one that was under way, never
 * a mixture and never damage. Lines that were not fenced survive all, none, or any mixture.
 */
#include "snapshots_fixture.h"

#include "pmem/stores.h"

#define CUT_AREA (UINT64_C(2) << 20)
#define LINE UINT64_C(64)
#define EVENTS_MAX 4096u
#define MIXTURES 4u /* of surviving lines, at each point */

enum kind { STORE, WRITE_BACK, FENCE, BEGUN, DONE };

struct event {
    enum kind kind;
    uint64_t offset; /* BEGUN, DONE: which replacement */
    uint64_t bytes;
    uint8_t *data;
};

static struct event g_events[EVENTS_MAX];
static uint32_t g_count;
static uint8_t *g_mapped; /* NULL: not recording */

int __real_lks_medium_map(const struct lks_medium *medium, int fd, uint64_t bytes, bool writable,
                          struct lks_mapping *mapping);
int __wrap_lks_medium_map(const struct lks_medium *medium, int fd, uint64_t bytes, bool writable,
                          struct lks_mapping *mapping);
void __real_lks_store_copy(void *to, const void *from, size_t bytes);
void __wrap_lks_store_copy(void *to, const void *from, size_t bytes);
void __real_lks_store_write_back(const void *address, size_t bytes);
void __wrap_lks_store_write_back(const void *address, size_t bytes);
void __real_lks_store_fence(void);
void __wrap_lks_store_fence(void);

static bool g_recording;

static void record(enum kind kind, uint64_t offset, uint64_t bytes, const void *data)
{
    if (!g_recording) {
        return;
    }
    assert_true(g_count < EVENTS_MAX);
    struct event *event = &g_events[g_count++];
    *event = (struct event){.kind = kind, .offset = offset, .bytes = bytes};
    if (data != NULL) {
        event->data = malloc(bytes);
        assert_non_null(event->data);
        memcpy(event->data, data, bytes);
    }
}

int __wrap_lks_medium_map(const struct lks_medium *medium, int fd, uint64_t bytes, bool writable,
                          struct lks_mapping *mapping)
{
    const int rc = __real_lks_medium_map(medium, fd, bytes, writable, mapping);
    g_mapped = rc == 0 ? mapping->address : NULL;
    return rc;
}

void __wrap_lks_store_copy(void *to, const void *from, size_t bytes)
{
    if (bytes != 0) {
        record(STORE, (uint64_t)((uint8_t *)to - g_mapped), bytes, from);
    }
    __real_lks_store_copy(to, from, bytes);
}

void __wrap_lks_store_write_back(const void *address, size_t bytes)
{
    record(WRITE_BACK, (uint64_t)((const uint8_t *)address - g_mapped), bytes, NULL);
    __real_lks_store_write_back(address, bytes);
}

void __wrap_lks_store_fence(void)
{
    record(FENCE, 0, 0, NULL);
    __real_lks_store_fence();
}

/* ---- the workload -------------------------------------------------------------------------- */

#define REPLACEMENTS 9u
#define KILLED 6u /* in the middle of this one the process ends */

/* Version of each partition after each replacement; 0: never taken. */
static const uint64_t g_versions[REPLACEMENTS + 1][PARTITIONS] = {
    {0, 0, 0, 0}, {1, 0, 0, 0}, {1, 2, 2, 0}, {3, 2, 2, 3}, {3, 4, 2, 3},
    {5, 5, 5, 5}, {5, 6, 5, 5}, {7, 6, 5, 5}, {7, 8, 8, 5}, {9, 8, 8, 9}};

static struct content content_of(uint32_t partition, uint64_t version)
{
    return (struct content){partition, version, 1 + (version + partition) % 3,
                            version % 4 == 1 ? 40000 : 300 + version};
}

static void replace(struct area *area, uint32_t number)
{
    uint32_t partitions[PARTITIONS];
    uint32_t count = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (g_versions[number][p] == g_versions[number - 1][p]) {
            continue;
        }
        const struct content content = content_of(p, g_versions[number][p]);
        assert_int_equal(content_write(area->store, &content), 0);
        content_persist(area->store, p);
        partitions[count++] = p;
    }
    record(BEGUN, number, 0, NULL);
    if (number == KILLED) {
        /* The manifest is visible and not durable; the next life finds it, and builds on it. */
        struct lks_snapshots_range range;
        assert_int_equal(
            lks_snapshots_replace_begin(area->store, partitions, count, &range), 0);
        area_reopen(area);
    } else {
        assert_int_equal(lks_snapshots_replace(area->store, partitions, count), 0);
    }
    record(DONE, number, 0, NULL);
}

static void work(struct area *area)
{
    for (uint32_t number = 1; number <= REPLACEMENTS; number++) {
        replace(area, number);
        if (number % 4 == 0) {
            /* A draft that comes to nothing, and another life. */
            assert_int_equal(content_write(area->store, &(struct content){1, 70, 3, 50000}), 0);
            area_reopen(area);
        }
    }
}

/* ---- the cut ------------------------------------------------------------------------------- */

struct media {
    uint8_t *seen;    /* as the process left it */
    uint8_t *durable; /* what survives for certain */
    uint8_t *written; /* the lines that were written back, as they were then */
    uint8_t *pending; /* by line: written back and not fenced */
    uint8_t *dirty;   /* by line: seen may differ from durable */
    uint8_t *image;
};

static uint64_t g_random = 12345;

static uint32_t random_below(uint32_t limit)
{
    g_random = g_random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(g_random >> 33) % limit;
}

static void apply(struct media *media, const struct event *event)
{
    if (event->kind == STORE) {
        memcpy(media->seen + event->offset, event->data, event->bytes);
    }
    if (event->kind == STORE || event->kind == WRITE_BACK) {
        const uint64_t end = (event->offset + event->bytes + LINE - 1) / LINE;
        for (uint64_t line = event->offset / LINE; line < end; line++) {
            if (event->kind == STORE) {
                media->dirty[line] = 1;
            } else if (media->dirty[line] != 0) {
                memcpy(media->written + line * LINE, media->seen + line * LINE, LINE);
                media->pending[line] = 1;
            }
        }
    }
    for (uint64_t line = 0; event->kind == FENCE && line < CUT_AREA / LINE; line++) {
        if (media->pending[line] != 0) {
            memcpy(media->durable + line * LINE, media->written + line * LINE, LINE);
            media->pending[line] = 0;
            media->dirty[line] =
                memcmp(media->durable + line * LINE, media->seen + line * LINE, LINE) != 0;
        }
    }
}

/* mixture 0: no dirty line survives; 1: all; else: any. */
static void make_image(struct media *media, uint32_t mixture)
{
    memcpy(media->image, media->durable, CUT_AREA);
    for (uint64_t line = 0; line < CUT_AREA / LINE && mixture > 0; line++) {
        if (media->dirty[line] == 0 || (mixture > 1 && random_below(2) == 0)) {
            continue;
        }
        const uint64_t at = line * LINE;
        /* Words of a line may be torn from one another, too. */
        for (uint64_t word = 0; word < LINE; word += 8) {
            if (mixture < 3 || random_below(4) > 0) {
                memcpy(media->image + at + word, media->seen + at + word, 8);
            }
        }
    }
}

static bool matches(struct area *area, uint32_t number)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        const struct content content = content_of(p, g_versions[number][p]);
        const int wanted = content.version == 0 ? -ENODATA : 0;
        if (content_read(area->store, &content, &area->err) != wanted) {
            return false;
        }
    }
    return true;
}

static void check_image(struct area *cut, const struct media *media, uint32_t done,
                        uint32_t begun, uint32_t event)
{
    file_write(cut->path, 0, media->image, CUT_AREA);
    if (lks_snapshots_open(&cut->store, &cut->options, &cut->err) != 0) {
        fail_msg("event %u: %s", event, cut->err.text);
    }
    if (!matches(cut, done) && !(begun > done && matches(cut, begun))) {
        fail_msg("event %u: neither replacement %u nor %u: %s", event, done, begun,
                 cut->err.text);
    }
    if (event % 7 == 0) { /* and it goes on */
        const struct content next = {2, 50, 3, 50000};
        content_put(cut->store, &next);
        content_expect(cut->store, &next);
    }
    lks_snapshots_close(cut->store);
    cut->store = NULL;
}

static void media_make(struct media *media)
{
    uint8_t **parts[] = {&media->seen,    &media->durable, &media->written,
                         &media->pending, &media->dirty,   &media->image};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        *parts[i] = calloc(1, CUT_AREA);
        assert_non_null(*parts[i]);
    }
}

static void media_drop(struct media *media)
{
    free(media->seen);
    free(media->durable);
    free(media->written);
    free(media->pending);
    free(media->dirty);
    free(media->image);
}

static void cut__at_every_event__the_newest_manifest_and_all_it_names_are_whole(void **state)
{
    struct area *area = *state;
    struct area cut;
    struct media media;
    uint32_t done = 0;
    uint32_t begun = 0;
    area->options.area_bytes = CUT_AREA;
    area_create(area);
    media_make(&media);
    file_read(area->path, 0, media.durable, CUT_AREA);
    memcpy(media.seen, media.durable, CUT_AREA);
    g_recording = true;
    area_open(area);
    work(area);
    g_recording = false;
    area_make(&cut, scratch_folder());
    cut.options.area_bytes = CUT_AREA;
    area_create(&cut);
    for (uint32_t i = 0; i < g_count; i++) {
        const struct event *event = &g_events[i];
        apply(&media, event);
        begun = event->kind == BEGUN ? (uint32_t)event->offset : begun;
        done = event->kind == DONE ? (uint32_t)event->offset : done;
        for (uint32_t mixture = 0; mixture < MIXTURES; mixture++) {
            make_image(&media, mixture);
            check_image(&cut, &media, done, begun, i);
        }
        free(event->data);
    }
    print_message("%u points, %u images\n", g_count, g_count * MIXTURES);
    assert_int_equal(done, REPLACEMENTS);
    media_drop(&media);
    (void)unlink(cut.path);
    (void)rmdir(cut.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AREA_TEST(cut__at_every_event__the_newest_manifest_and_all_it_names_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
