/*
 * The send side of a queue pair, over a queue pair that is made of functions: what is signalled,
 * what a completion ends, and in which order failures are told. No device.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verbs/ibv/ibv.h"

#define DEPTH 16u
#define POSTED_MAX 256u

struct rig {
    struct lks_ibv_fabric *ibv;
    struct ibv_context context;
    struct ibv_qp qp;
    struct lks_ibv_queue *queue;
    int post_code; /* what the next posts return */
    struct ibv_send_wr posted[POSTED_MAX];
    struct ibv_sge pieces[POSTED_MAX];
    uint32_t posted_count;
    uint32_t doorbells;
    uint32_t taken_max; /* of one list; 0: any number */
};

static struct rig *g_rig;

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *request, struct ibv_send_wr **bad)
{
    assert_ptr_equal(qp, &g_rig->qp);
    if (g_rig->post_code != 0) {
        *bad = request;
        return g_rig->post_code;
    }
    g_rig->doorbells++;
    for (uint32_t taken = 0; request != NULL; taken++) {
        if (g_rig->taken_max != 0 && taken == g_rig->taken_max) {
            *bad = request;
            return ENOMEM;
        }
        assert_true(g_rig->posted_count < POSTED_MAX);
        g_rig->posted[g_rig->posted_count] = *request;
        g_rig->pieces[g_rig->posted_count] = *request->sg_list;
        g_rig->posted_count++;
        request = request->next;
    }
    return 0;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->ibv = calloc(1, sizeof *rig->ibv);
    assert_non_null(rig->ibv);
    rig->ibv->replicas = 3;
    rig->ibv->self = 1;
    rig->ibv->events.slots = calloc(64, sizeof *rig->ibv->events.slots);
    rig->ibv->events.mask = 63;
    rig->context.ops.post_send = post_send;
    rig->qp.context = &rig->context;
    rig->queue = &rig->ibv->peers[2].paths[0].queue;
    rig->queue->peer = 2;
    rig->queue->role = LKS_IBV_ROLE_PATH;
    rig->queue->inline_max = 64;
    assert_int_equal(lks_ibv_queue_init(rig->queue, DEPTH), 0);
    rig->queue->slots = calloc(DEPTH, LKS_FABRIC_INLINE_MAX);
    lks_ibv_queue_begin(rig->ibv, rig->queue, &rig->qp);
    g_rig = rig;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    free(rig->queue->slots);
    lks_ibv_queue_fini(rig->queue);
    free(rig->ibv->events.slots);
    free(rig->ibv);
    free(rig);
    return 0;
}

static void post(struct rig *rig, uint64_t id)
{
    static const uint8_t bytes[8];
    const struct lks_ibv_work work = {
        .opcode = IBV_WR_RDMA_WRITE, .local = bytes, .bytes = sizeof bytes};
    (void)lks_ibv_queue_post(rig->ibv, rig->queue, &work, LKS_IBV_FOR_USER, id);
}

/* The next event must end this operation. */
static void expect(struct rig *rig, uint64_t id, int status)
{
    struct lks_ibv_events *events = &rig->ibv->events;
    assert_int_not_equal(events->first, events->next);
    const struct lks_ibv_event *event = &events->slots[events->first++ & events->mask];
    assert_int_equal(event->event.kind, LKS_FABRIC_COMPLETED);
    assert_int_equal(event->event.peer, 2);
    assert_int_equal(event->event.id, id);
    assert_int_equal(event->event.status, status);
    assert_int_equal(event->lane, LKS_IBV_LANE_PATH);
}

static void expect_nothing(const struct rig *rig)
{
    assert_int_equal(rig->ibv->events.first, rig->ibv->events.next);
}

static bool signalled(const struct rig *rig, uint32_t at)
{
    return (rig->posted[at].send_flags & IBV_SEND_SIGNALED) != 0;
}

static void post__ids_are_signalled_and_some_of_the_others(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < DEPTH; i++) {
        post(rig, i == 5 ? 77 : 0);
    }
    /* Every fourth of a depth of 16, counted anew after each that was. */
    for (uint32_t i = 0; i < DEPTH; i++) {
        assert_int_equal(signalled(rig, i), i == 3 || i == 5 || i == 9 || i == 13);
    }
    assert_int_equal(lks_ibv_queue_room(rig->queue), 0);
}

static void completed__ends_all_before_it(void **state)
{
    struct rig *rig = *state;
    post(rig, 1);
    post(rig, 0);
    post(rig, 2);
    post(rig, 3);
    lks_ibv_queue_completed(rig->ibv, rig->queue, 2, 0);
    expect(rig, 1, 0);
    expect(rig, 2, 0);
    expect_nothing(rig);
    assert_int_equal(lks_ibv_queue_room(rig->queue), DEPTH - 1);
    lks_ibv_queue_completed(rig->ibv, rig->queue, 2, 0); /* once more: ended already */
    expect_nothing(rig);
    lks_ibv_queue_completed(rig->ibv, rig->queue, 3, 0);
    expect(rig, 3, 0);
}

static void completed__refused__told_once_then_broken_in_order(void **state)
{
    struct rig *rig = *state;
    post(rig, 1);
    post(rig, 0);
    post(rig, 2);
    lks_ibv_queue_completed(rig->ibv, rig->queue, 1, -LKS_EREVOKED);
    expect(rig, 1, 0);
    expect_nothing(rig);
    post(rig, 3); /* not posted any more, but ends in its place */
    assert_int_equal(rig->posted_count, 3);
    expect_nothing(rig);
    lks_ibv_queue_completed(rig->ibv, rig->queue, 2, -LKS_EBROKEN);
    expect(rig, 2, -LKS_EREVOKED);
    expect(rig, 3, -LKS_EBROKEN);
    post(rig, 4);
    expect(rig, 4, -LKS_EBROKEN);
    expect_nothing(rig);
}

static void post__device_refuses__ends_with_an_error(void **state)
{
    struct rig *rig = *state;
    post(rig, 1);
    rig->post_code = ENOMEM;
    post(rig, 2);
    expect_nothing(rig); /* the first one has not ended yet */
    rig->post_code = 0;
    post(rig, 3);
    assert_int_equal(rig->posted_count, 1);
    lks_ibv_queue_completed(rig->ibv, rig->queue, 0, 0);
    expect(rig, 1, 0);
    expect(rig, 2, -LKS_EBROKEN);
    expect(rig, 3, -LKS_EBROKEN);
}

/* As many grants may come and go on one connection as there are numbers. */
static void begin__after_all_generations__none_that_the_peer_still_has(void **state)
{
    struct rig *rig = *state;
    struct lks_ibv_peer *peer = &rig->ibv->peers[2];
    const uint16_t mine = rig->queue->generation;
    const uint16_t taken[] = {(uint16_t)(mine + 1), (uint16_t)(mine + 2), (uint16_t)(mine + 3)};
    peer->link.queue.generation = taken[0];
    peer->grant.queue.generation = taken[1];
    peer->paths[2].queue.generation = taken[2];
    rig->ibv->last_generation = UINT16_MAX; /* next: 0, which is none, then mine, its own last */
    lks_ibv_queue_begin(rig->ibv, rig->queue, &rig->qp);
    assert_int_equal(rig->queue->generation, taken[2] + 1);
}

static void abandon__everything_ends(void **state)
{
    struct rig *rig = *state;
    post(rig, 1);
    post(rig, 0);
    post(rig, 2);
    lks_ibv_queue_abandon(rig->ibv, rig->queue);
    expect(rig, 1, -LKS_EBROKEN);
    expect(rig, 2, -LKS_EBROKEN);
    expect_nothing(rig);
    assert_null(rig->queue->qp);
    assert_int_equal(rig->queue->generation, 0);
    /* And begins anew. */
    lks_ibv_queue_begin(rig->ibv, rig->queue, &rig->qp);
    post(rig, 5);
    lks_ibv_queue_completed(rig->ibv, rig->queue, rig->queue->next - 1, 0);
    expect(rig, 5, 0);
}

/* Posts one that more follows. */
static void post_more(struct rig *rig, uint64_t id)
{
    static const uint8_t bytes[128];
    const struct lks_ibv_work work = {
        .opcode = IBV_WR_RDMA_WRITE, .local = bytes, .bytes = sizeof bytes, .more = true};
    (void)lks_ibv_queue_post(rig->ibv, rig->queue, &work, LKS_IBV_FOR_USER, id);
}

static void post__more_follows__one_doorbell_for_all(void **state)
{
    struct rig *rig = *state;
    post_more(rig, 0);
    post_more(rig, 0);
    assert_int_equal(rig->posted_count, 0);
    post(rig, 9);
    assert_int_equal(rig->doorbells, 1);
    assert_int_equal(rig->posted_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal((uint32_t)rig->posted[i].wr_id, i);
        assert_int_equal(rig->pieces[i].length, i < 2 ? 128 : 8);
    }
    lks_ibv_queue_completed(rig->ibv, rig->queue, 2, 0);
    expect(rig, 9, 0);
    lks_ibv_queue_ring(rig->ibv, rig->queue); /* nothing waits */
    assert_int_equal(rig->doorbells, 1);
}

static void post__nothing_follows__told_by_ring(void **state)
{
    struct rig *rig = *state;
    post_more(rig, 4);
    assert_int_equal(rig->posted_count, 0);
    lks_ibv_queue_ring(rig->ibv, rig->queue);
    assert_int_equal(rig->posted_count, 1);
    for (uint32_t i = 0; i < LKS_IBV_CHAIN_MAX; i++) {
        post_more(rig, 0); /* a chain that is full waits for nothing */
    }
    assert_int_equal(rig->doorbells, 2);
    assert_int_equal(rig->posted_count, 1 + LKS_IBV_CHAIN_MAX);
    lks_ibv_queue_completed(rig->ibv, rig->queue, 0, 0);
    expect(rig, 4, 0);
}

static void post__chain_taken_in_part__the_rest_ends_with_an_error(void **state)
{
    struct rig *rig = *state;
    rig->taken_max = 1;
    post_more(rig, 1);
    post_more(rig, 2);
    post(rig, 3);
    assert_int_equal(rig->posted_count, 1);
    expect_nothing(rig); /* the first one is under way */
    lks_ibv_queue_completed(rig->ibv, rig->queue, 0, 0);
    expect(rig, 1, 0);
    expect(rig, 2, -LKS_EBROKEN);
    expect(rig, 3, -LKS_EBROKEN);
    expect_nothing(rig);
}

static void completed__refused_while_a_chain_waits__the_chain_is_never_posted(void **state)
{
    struct rig *rig = *state;
    post(rig, 1);
    post_more(rig, 2);
    lks_ibv_queue_completed(rig->ibv, rig->queue, 0, -LKS_EREVOKED);
    expect(rig, 1, -LKS_EREVOKED);
    expect(rig, 2, -LKS_EBROKEN);
    lks_ibv_queue_ring(rig->ibv, rig->queue);
    assert_int_equal(rig->posted_count, 1);
    post_more(rig, 3);
    expect(rig, 3, -LKS_EBROKEN);
    lks_ibv_queue_abandon(rig->ibv, rig->queue);
    expect_nothing(rig);
    lks_ibv_queue_begin(rig->ibv, rig->queue, &rig->qp);
    post(rig, 4);
    assert_int_equal(rig->posted_count, 2);
}

static void post__short_enough__the_device_takes_the_bytes_along(void **state)
{
    struct rig *rig = *state;
    static const uint8_t bytes[65];
    struct lks_ibv_work work = {.opcode = IBV_WR_RDMA_WRITE, .local = bytes, .bytes = 64};
    assert_int_equal(lks_ibv_queue_post(rig->ibv, rig->queue, &work, LKS_IBV_FOR_USER, 0), 0);
    work.bytes = 65;
    assert_int_equal(lks_ibv_queue_post(rig->ibv, rig->queue, &work, LKS_IBV_FOR_USER, 0), 0);
    work.bytes = 8;
    work.opcode = IBV_WR_RDMA_READ;
    assert_int_equal(lks_ibv_queue_post(rig->ibv, rig->queue, &work, LKS_IBV_FOR_USER, 0), 0);
    assert_true((rig->posted[0].send_flags & IBV_SEND_INLINE) != 0);
    assert_false((rig->posted[1].send_flags & IBV_SEND_INLINE) != 0);
    assert_false((rig->posted[2].send_flags & IBV_SEND_INLINE) != 0);
}

static void post__copy__by_the_device_or_from_a_slot(void **state)
{
    struct rig *rig = *state;
    uint8_t bytes[200];
    memset(bytes, 7, sizeof bytes);
    struct lks_ibv_work work = {
        .opcode = IBV_WR_RDMA_WRITE, .local = bytes, .bytes = 64, .copy = true};
    assert_int_equal(lks_ibv_queue_post(rig->ibv, rig->queue, &work, LKS_IBV_FOR_USER, 0), 0);
    assert_true((rig->posted[0].send_flags & IBV_SEND_INLINE) != 0);
    work.bytes = sizeof bytes;
    assert_int_equal(lks_ibv_queue_post(rig->ibv, rig->queue, &work, LKS_IBV_FOR_USER, 0), 0);
    memset(bytes, 8, sizeof bytes);
    assert_false((rig->posted[1].send_flags & IBV_SEND_INLINE) != 0);
    const uint8_t *slot = (const uint8_t *)(uintptr_t)rig->pieces[1].addr;
    assert_ptr_equal(slot, rig->queue->slots + LKS_FABRIC_INLINE_MAX);
    assert_int_equal(slot[0], 7);
    assert_int_equal(slot[sizeof bytes - 1], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(post__ids_are_signalled_and_some_of_the_others),
        TEST(completed__ends_all_before_it),
        TEST(completed__refused__told_once_then_broken_in_order),
        TEST(post__device_refuses__ends_with_an_error),
        TEST(begin__after_all_generations__none_that_the_peer_still_has),
        TEST(abandon__everything_ends),
        TEST(post__copy__by_the_device_or_from_a_slot),
        TEST(post__more_follows__one_doorbell_for_all),
        TEST(post__nothing_follows__told_by_ring),
        TEST(post__chain_taken_in_part__the_rest_ends_with_an_error),
        TEST(completed__refused_while_a_chain_waits__the_chain_is_never_posted),
        TEST(post__short_enough__the_device_takes_the_bytes_along),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
