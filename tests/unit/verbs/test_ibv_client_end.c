/*
 * One end of a client's lane, over a queue pair and a completion queue that are made of functions:
 * what is joined and what is told by one doorbell, how room comes back, and when an end that stands
 * still is given up. No device.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verbs/fabric.h"
#include "verbs/ibv/client_end.h"

#define POSTED_MAX 512u
#define AREA_BYTES (UINT64_C(1) << 20)
#define REMOTE UINT64_C(0x100000)
#define SLOT 256u
#define RESERVED 4u /* of the writes */

struct rig {
    struct lks_client_ibv_end end;
    struct ibv_context context;
    struct ibv_qp qp;
    struct ibv_cq cq;
    struct rdma_cm_id id;
    struct ibv_mr region;
    struct ibv_send_wr posted[POSTED_MAX];
    uint8_t contents[POSTED_MAX][LKS_CLIENT_IBV_JOINED_MAX]; /* as they were when told */
    uint32_t lengths[POSTED_MAX];
    uint32_t posted_count;
    uint32_t doorbells;
    uint32_t receives;
    int post_code;
    struct ibv_wc completions[64];
    int completions_count;
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
    for (; request != NULL; request = request->next) {
        const uint32_t at = g_rig->posted_count++;
        assert_true(at < POSTED_MAX);
        g_rig->posted[at] = *request;
        g_rig->lengths[at] = request->num_sge != 0 ? request->sg_list->length : 0;
        assert_true(g_rig->lengths[at] <= LKS_CLIENT_IBV_JOINED_MAX);
        if (request->num_sge != 0) {
            memcpy(g_rig->contents[at], (const void *)(uintptr_t)request->sg_list->addr,
                   g_rig->lengths[at]);
        }
    }
    return 0;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *request, struct ibv_recv_wr **bad)
{
    (void)qp;
    (void)request;
    (void)bad;
    g_rig->receives++;
    return 0;
}

static int poll_cq(struct ibv_cq *cq, int entries, struct ibv_wc *completions)
{
    assert_ptr_equal(cq, &g_rig->cq);
    const int count = entries < g_rig->completions_count ? entries : g_rig->completions_count;
    memcpy(completions, g_rig->completions, (size_t)count * sizeof *completions);
    g_rig->completions_count -= count;
    memmove(g_rig->completions, g_rig->completions + count,
            (size_t)g_rig->completions_count * sizeof *completions);
    return count;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->context.ops.post_send = post_send;
    rig->context.ops.post_recv = post_recv;
    rig->context.ops.poll_cq = poll_cq;
    rig->qp.context = &rig->context;
    rig->cq.context = &rig->context;
    rig->id.qp = &rig->qp;
    rig->end = (struct lks_client_ibv_end){.id = &rig->id,
                                           .cq = &rig->cq,
                                           .local_region = &rig->region,
                                           .inline_max = 200,
                                           .area_bytes = AREA_BYTES,
                                           .remote = {.address = REMOTE, .rkey = 77}};
    rig->end.local_bytes = (LKS_CLIENT_IBV_MESSAGES * sizeof(struct lks_client_ibv_message)) +
                           LKS_CLIENT_IBV_DEPTH * SLOT;
    rig->end.local = calloc(1, rig->end.local_bytes);
    assert_non_null(rig->end.local);
    g_rig = rig;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    free(rig->end.local);
    free(rig);
    return 0;
}

/* Bytes that say where they belong. */
static int write_at(struct rig *rig, uint64_t offset, uint32_t bytes, uint32_t flags)
{
    uint8_t source[LKS_FABRIC_INLINE_MAX];
    for (uint32_t i = 0; i < bytes; i++) {
        source[i] = (uint8_t)((offset + i) * 31 >> 3);
    }
    const int rc = lks_client_ibv_end_write(&rig->end, offset, source, bytes, flags);
    memset(source, 0xee, sizeof source); /* it was copied */
    return rc;
}

/* What was posted as the number `at` is a write of these bytes, to where they belong. */
static void assert_write(const struct rig *rig, uint32_t at, uint64_t offset, uint32_t bytes)
{
    assert_true(at < rig->posted_count);
    assert_int_equal(rig->posted[at].wr.rdma.remote_addr, REMOTE + offset);
    assert_int_equal(rig->posted[at].wr.rdma.rkey, 77);
    assert_int_equal(rig->lengths[at], bytes);
    for (uint32_t i = 0; i < bytes; i++) {
        assert_int_equal(rig->contents[at][i], (uint8_t)((offset + i) * 31 >> 3));
    }
}

/* The work request that was posted as the number `at` has ended, and all before it. */
static void complete(struct rig *rig, uint32_t at)
{
    assert_true((rig->posted[at].send_flags & IBV_SEND_SIGNALED) != 0);
    rig->completions[rig->completions_count++] =
        (struct ibv_wc){.wr_id = rig->posted[at].wr_id, .status = IBV_WC_SUCCESS};
}

static void write__nothing_more__told_at_once(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(write_at(rig, 64, 128, 0), 0);
    assert_int_equal(rig->doorbells, 1);
    assert_write(rig, 0, 64, 128);
    assert_int_equal(rig->posted[0].opcode, IBV_WR_RDMA_WRITE);
    assert_true((rig->posted[0].send_flags & IBV_SEND_INLINE) != 0);
    assert_int_equal(write_at(rig, 1024, 256, LKS_FABRIC_WAKE), 0);
    assert_write(rig, 1, 1024, 256);
    assert_int_equal(rig->posted[1].opcode, IBV_WR_RDMA_WRITE_WITH_IMM);
    assert_false((rig->posted[1].send_flags & IBV_SEND_INLINE) != 0);
}

/* What 16 outstanding calls write, and the word that shows it. */
static void write__neighbours_and_a_word__one_doorbell_and_two_writes(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(write_at(rig, 4096 + 200 * i, 200, LKS_FABRIC_MORE), 0);
    }
    assert_int_equal(rig->doorbells, 0);
    assert_int_equal(write_at(rig, 8, 8, LKS_FABRIC_WAKE), 0);
    assert_int_equal(rig->doorbells, 1);
    assert_int_equal(rig->posted_count, 2);
    assert_write(rig, 0, 4096, 2000);
    assert_int_equal(rig->posted[0].opcode, IBV_WR_RDMA_WRITE);
    assert_write(rig, 1, 8, 8); /* behind the bytes that it shows, never among them */
    assert_int_equal(rig->posted[1].opcode, IBV_WR_RDMA_WRITE_WITH_IMM);
}

static void write__others_in_between__each_by_itself_in_order(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(write_at(rig, 1000, 100, LKS_FABRIC_MORE), 0);
    assert_int_equal(write_at(rig, 5000, 100, LKS_FABRIC_MORE), 0);
    assert_int_equal(write_at(rig, 1100, 100, LKS_FABRIC_MORE), 0); /* no neighbour of the last */
    assert_int_equal(write_at(rig, 1200, 8, LKS_FABRIC_WAKE), 0);  /* wakes: for itself */
    assert_int_equal(rig->doorbells, 1);
    assert_int_equal(rig->posted_count, 4);
    assert_write(rig, 0, 1000, 100);
    assert_write(rig, 1, 5000, 100);
    assert_write(rig, 2, 1100, 100);
    assert_write(rig, 3, 1200, 8);
}

static void write__joined__never_longer_than_may_be(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < 2 * LKS_CLIENT_IBV_JOINED_MAX / SLOT; i++) {
        assert_int_equal(write_at(rig, SLOT * i, SLOT, LKS_FABRIC_MORE), 0);
    }
    lks_client_ibv_end_poll(&rig->end);
    assert_int_equal(rig->posted_count, 2);
    assert_write(rig, 0, 0, LKS_CLIENT_IBV_JOINED_MAX);
    assert_write(rig, 1, LKS_CLIENT_IBV_JOINED_MAX, LKS_CLIENT_IBV_JOINED_MAX);
}

/* A chain that is full waits for nothing; what is kept back is told by a poll. */
static void write__more_than_a_chain__told_in_between(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i <= LKS_CLIENT_IBV_CHAIN_MAX; i++) {
        assert_int_equal(write_at(rig, 1024 * i, 64, LKS_FABRIC_MORE), 0);
    }
    assert_int_equal(rig->doorbells, 1);
    assert_int_equal(rig->posted_count, LKS_CLIENT_IBV_CHAIN_MAX);
    lks_client_ibv_end_poll(&rig->end);
    assert_int_equal(rig->doorbells, 2);
    assert_int_equal(rig->posted_count, LKS_CLIENT_IBV_CHAIN_MAX + 1);
    lks_client_ibv_end_poll(&rig->end);
    assert_int_equal(rig->doorbells, 2);
}

/* Slots go round; a joined write ends where they do, and no slot is written before its last user
 * has ended. */
static void write__through_all_slots_many_times__bytes_are_right(void **state)
{
    struct rig *rig = *state;
    uint64_t offset = 0;
    for (uint32_t turn = 0; turn < 100; turn++) {
        rig->posted_count = 0;
        const uint32_t pieces = 1 + turn * 7 % 30;
        const uint64_t begin = offset;
        for (uint32_t i = 0; i < pieces; i++) {
            const uint32_t bytes = 1 + turn * 37 % 256;
            assert_int_equal(write_at(rig, offset, bytes, LKS_FABRIC_MORE), 0);
            offset += bytes;
        }
        assert_int_equal(lks_client_ibv_end_say(&rig->end, &(struct lks_client_ibv_message){0}),
                         true);
        uint64_t at = begin;
        for (uint32_t i = 0; i + 1 < rig->posted_count; i++) {
            assert_write(rig, i, at, rig->lengths[i]);
            at += rig->lengths[i];
        }
        assert_int_equal(at, offset);
        complete(rig, rig->posted_count - 1); /* a message is signalled */
        lks_client_ibv_end_poll(&rig->end);
        assert_int_equal(rig->end.posted, rig->end.ended);
    }
    assert_true(rig->end.posted > 3 * LKS_CLIENT_IBV_DEPTH);
    assert_false(rig->end.failed);
}

static void write__no_room__ebusy_until_something_has_ended(void **state)
{
    struct rig *rig = *state;
    uint32_t taken = 0;
    while (write_at(rig, 1024 * (uint64_t)(taken % 64), SLOT, LKS_FABRIC_MORE) == 0) {
        taken++;
        assert_true(taken <= LKS_CLIENT_IBV_DEPTH);
    }
    assert_int_equal(taken, LKS_CLIENT_IBV_DEPTH - RESERVED);
    assert_int_equal(rig->posted_count, taken); /* who waits for room keeps nothing back */
    assert_int_equal(write_at(rig, 0, 8, 0), -LKS_EBUSY);
    uint32_t first = 0;
    while ((rig->posted[first].send_flags & IBV_SEND_SIGNALED) == 0) {
        first++;
    }
    assert_int_equal(first + 1, LKS_CLIENT_IBV_DEPTH / 4);
    complete(rig, first);
    assert_int_equal(write_at(rig, 0, 8, 0), 0);
    assert_int_equal(rig->end.posted - rig->end.ended, taken - first);
}

static void write__device_refuses__broken(void **state)
{
    struct rig *rig = *state;
    rig->post_code = ENOMEM;
    assert_int_equal(write_at(rig, 0, 8, LKS_FABRIC_MORE), 0);
    assert_int_equal(write_at(rig, 8, 8, 0), -LKS_EBROKEN);
    assert_true(rig->end.failed);
    assert_string_equal(rig->end.why, "its queue pair takes nothing more");
    rig->post_code = 0;
    assert_int_equal(write_at(rig, 16, 8, 0), -LKS_EBROKEN);
    lks_client_ibv_end_poll(&rig->end);
    assert_int_equal(rig->posted_count, 0);
}

static void write__outside_or_too_long__einval(void **state)
{
    struct rig *rig = *state;
    uint8_t bytes[LKS_FABRIC_INLINE_MAX + 1] = {0};
    struct lks_client_ibv_end *end = &rig->end;
    assert_int_equal(lks_client_ibv_end_write(end, 0, bytes, 0, 0), -EINVAL);
    assert_int_equal(lks_client_ibv_end_write(end, 0, bytes, sizeof bytes, 0), -EINVAL);
    assert_int_equal(lks_client_ibv_end_write(end, AREA_BYTES - 7, bytes, 8, 0), -EINVAL);
    assert_int_equal(lks_client_ibv_end_write(end, UINT64_MAX, bytes, 8, 0), -EINVAL);
    assert_int_equal(lks_client_ibv_end_write(end, AREA_BYTES - 8, bytes, 8, 0), 0);
}

/* Who sends wake-ups is never left without receives here. */
static void write__wakes__takes_wakeups_as_well(void **state)
{
    struct rig *rig = *state;
    rig->completions[0] = (struct ibv_wc){.wr_id = UINT64_C(1) << 63 | 5,
                                          .status = IBV_WC_SUCCESS,
                                          .wc_flags = IBV_WC_WITH_IMM};
    rig->completions_count = 1;
    assert_int_equal(write_at(rig, 0, 8, LKS_FABRIC_WAKE), 0);
    assert_int_equal(rig->receives, 1);
}

static void completion__with_an_error__end_fails_and_says_why(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(write_at(rig, 0, 8, 0), 0);
    rig->completions[0] = (struct ibv_wc){.wr_id = rig->posted[0].wr_id,
                                          .status = IBV_WC_RETRY_EXC_ERR};
    rig->completions_count = 1;
    lks_client_ibv_end_poll(&rig->end);
    assert_true(rig->end.failed);
    assert_string_equal(rig->end.why, "transport retry counter exceeded");
}

/* An adapter may be told by its other side to repeat for ever: the question's age decides. */
static void check__question_without_answer_for_5s__given_up(void **state)
{
    struct rig *rig = *state;
    const uint64_t begin_ns = UINT64_C(1000000000);
    lks_client_ibv_end_check(&rig->end, begin_ns);
    assert_int_equal(rig->posted_count, 1);
    assert_int_equal(rig->lengths[0], 0); /* an empty write */
    lks_client_ibv_end_check(&rig->end, begin_ns + LKS_CLIENT_IBV_STALL_NS);
    assert_false(rig->end.failed);
    assert_int_equal(rig->posted_count, 1); /* one question at a time */
    lks_client_ibv_end_check(&rig->end, begin_ns + LKS_CLIENT_IBV_STALL_NS + 1);
    assert_true(rig->end.failed);
    assert_string_equal(rig->end.why, "it takes nothing any more");
}

static void check__answered__asks_again(void **state)
{
    struct rig *rig = *state;
    uint64_t now_ns = UINT64_C(1000000000);
    for (uint32_t i = 0; i < 4; i++) {
        lks_client_ibv_end_check(&rig->end, now_ns);
        assert_int_equal(rig->posted_count, i + 1);
        complete(rig, i);
        now_ns += LKS_CLIENT_IBV_STALL_NS - 1;
    }
    assert_false(rig->end.failed);
}

/* Writes are reserved for it: also a lane that is full to the brim is asked. */
static void check__no_room_for_writes__asks_all_the_same(void **state)
{
    struct rig *rig = *state;
    while (write_at(rig, 0, SLOT, 0) == 0) {
        assert_true(rig->posted_count <= LKS_CLIENT_IBV_DEPTH);
    }
    const uint64_t now_ns = UINT64_C(1000000000);
    lks_client_ibv_end_check(&rig->end, now_ns);
    assert_int_equal(rig->lengths[rig->posted_count - 1], 0);
    lks_client_ibv_end_check(&rig->end, now_ns + LKS_CLIENT_IBV_STALL_NS + 1);
    assert_true(rig->end.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(write__nothing_more__told_at_once),
        TEST(write__neighbours_and_a_word__one_doorbell_and_two_writes),
        TEST(write__others_in_between__each_by_itself_in_order),
        TEST(write__joined__never_longer_than_may_be),
        TEST(write__more_than_a_chain__told_in_between),
        TEST(write__through_all_slots_many_times__bytes_are_right),
        TEST(write__no_room__ebusy_until_something_has_ended),
        TEST(write__device_refuses__broken),
        TEST(write__outside_or_too_long__einval),
        TEST(write__wakes__takes_wakeups_as_well),
        TEST(completion__with_an_error__end_fails_and_says_why),
        TEST(check__question_without_answer_for_5s__given_up),
        TEST(check__answered__asks_again),
        TEST(check__no_room_for_writes__asks_all_the_same),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
