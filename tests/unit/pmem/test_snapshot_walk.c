/*
 * Random walks of a snapshot area against a model: drafts of several partitions at a time, given up
 * or put into their place, alone or together, under holds, over lives, in an area that is often
 * full. At each step what counts reads back as it was written, and no block is lost or used twice.
 */
#include "snapshots_fixture.h"

#define WALK_AREA (UINT64_C(2) << 20)
#define WALKS 12u
#define STEPS 400u

struct walk {
    struct area *area;
    uint64_t random;
    uint64_t versions;
    uint64_t now_ns;
    struct content present[PARTITIONS]; /* version 0: never taken */
    struct content draft[PARTITIONS];
    uint64_t written[PARTITIONS]; /* chunks of the draft */
    enum { NO_DRAFT, BEGUN, FINISHED } state[PARTITIONS];
    uint32_t full; /* times that there was no room */
};

static uint32_t below(struct walk *walk, uint32_t limit)
{
    walk->random = walk->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(walk->random >> 33) % limit;
}

static void give_up(struct walk *walk, uint32_t p)
{
    lks_snapshot_abandon(walk->area->store, p);
    walk->state[p] = NO_DRAFT;
}

/* There may be no room: then the draft is given up. */
static bool settled(struct walk *walk, uint32_t p, int rc)
{
    if (rc == -ENOSPC) {
        give_up(walk, p);
        walk->full++;
        return false;
    }
    assert_int_equal(rc, 0);
    return true;
}

static void begin_or_go_on(struct walk *walk, uint32_t p)
{
    static uint8_t bytes[CONTENT_MAX];
    struct content *draft = &walk->draft[p];
    if (walk->state[p] == NO_DRAFT) {
        *draft = (struct content){p, ++walk->versions, below(walk, 16), 1 + below(walk, 70000)};
        walk->written[p] = 0;
        walk->state[p] = BEGUN;
        (void)settled(walk, p, content_begin(walk->area->store, draft));
    } else if (walk->state[p] == BEGUN && walk->written[p] < draft->chunks) {
        content_fill(draft, walk->written[p]++, bytes);
        (void)settled(walk, p, lks_snapshot_write_chunk(walk->area->store, p, bytes,
                                                        draft->chunk_bytes));
    } else if (walk->state[p] == BEGUN) {
        walk->state[p] = FINISHED;
        (void)settled(walk, p, lks_snapshot_write_finish(walk->area->store, p));
    }
    if (walk->state[p] != NO_DRAFT && below(walk, 2) == 0) {
        uint64_t left = 0;
        assert_int_equal(
            lks_snapshot_persist_step(walk->area->store, p, 1 + below(walk, 200000), &left), 0);
    }
}

/* Some or all of what is finished, at once. */
static void replace(struct walk *walk)
{
    uint32_t partitions[PARTITIONS];
    uint32_t count = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (walk->state[p] == FINISHED && below(walk, 4) > 0) {
            content_persist(walk->area->store, p);
            partitions[count++] = p;
        }
    }
    assert_int_equal(lks_snapshots_replace(walk->area->store, partitions, count), 0);
    for (uint32_t i = 0; i < count; i++) {
        walk->present[partitions[i]] = walk->draft[partitions[i]];
        walk->state[partitions[i]] = NO_DRAFT;
    }
}

static void another_life(struct walk *walk)
{
    area_reopen(walk->area);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        walk->state[p] = NO_DRAFT;
    }
}

static void check(struct walk *walk)
{
    const struct lks_snapshots *store = walk->area->store;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (walk->present[p].version == 0) {
            assert_int_equal(lks_snapshots_item(store, p)->blocks, 0);
        } else {
            content_expect(walk->area->store, &walk->present[p]);
        }
    }
    /* Every block in use belongs to exactly one chain. */
    uint32_t linked = store->retired.count;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        linked += store->present[p].chain.count + store->drafts[p].chain.count;
        assert_true(!store->present[p].known ||
                    store->present[p].chain.count == store->items[p].blocks);
    }
    uint32_t used = 0;
    for (uint32_t block = 0; block < store->blocks_max; block++) {
        used += store->links[block] != LKS_LINK_FREE;
    }
    assert_int_equal(used, linked);
    assert_int_equal(used, store->used);
}

static void step(struct walk *walk)
{
    const uint32_t what = below(walk, 40);
    const uint32_t p = below(walk, PARTITIONS);
    if (what < 28) {
        begin_or_go_on(walk, p);
    } else if (what < 32) {
        replace(walk);
    } else if (what < 33) {
        give_up(walk, p);
    } else if (what < 34) {
        lks_snapshots_hold(walk->area->store, walk->now_ns + below(walk, 100));
    } else if (what < 39) {
        walk->now_ns += below(walk, 20);
        lks_snapshots_tick(walk->area->store, walk->now_ns);
    } else {
        another_life(walk);
    }
}

static void walk__at_random__what_counts_reads_back(void **state)
{
    struct area *area = *state;
    uint32_t full = 0;
    area->options.area_bytes = WALK_AREA;
    for (uint32_t seed = 1; seed <= WALKS; seed++) {
        struct walk walk = {.area = area, .random = seed};
        area_start(area);
        for (uint32_t i = 0; i < STEPS; i++) {
            step(&walk);
            if (i % 5 == 0) {
                check(&walk);
            }
        }
        full += walk.full;
        lks_snapshots_close(area->store);
        area->store = NULL;
        assert_int_equal(unlink(area->path), 0);
    }
    assert_true(full > 10); /* it was often full */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AREA_TEST(walk__at_random__what_counts_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
