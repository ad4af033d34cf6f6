/* What a caller says of itself, taken apart: nothing but a peer of this cluster gets further. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verbs/ibv/ibv.h"

struct rig {
    struct lks_ibv_fabric *here;    /* replica 1 of 3 */
    struct lks_ibv_request request; /* a good one of replica 2 */
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct lks_ibv_fabric *there = calloc(1, sizeof *there);
    assert_non_null(rig);
    assert_non_null(there);
    rig->here = calloc(1, sizeof *rig->here);
    assert_non_null(rig->here);
    rig->here->self = 1;
    there->self = 2;
    rig->here->replicas = there->replicas = 3;
    memcpy(rig->here->options.cluster_id, "cluster", 8);
    memcpy(there->options.cluster_id, "cluster", 8);
    there->options.incarnation = 5;
    assert_int_equal(
        lks_ibv_make_request(there, 1, LKS_IBV_REQUEST_CONNECT, &rig->request), 0);
    free(there);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    free(rig->here);
    free(rig);
    return 0;
}

static int check(const struct rig *rig, size_t bytes)
{
    struct lks_ibv_request taken;
    const char *detail = NULL;
    const int code =
        lks_ibv_check_request(rig->here, &rig->request, bytes, &taken, &detail);
    assert_non_null(detail);
    return code;
}

static void check_request__good__taken(void **state)
{
    const struct rig *rig = *state;
    struct lks_ibv_request taken;
    const char *detail;
    /* (The connection manager pads private data.) */
    uint8_t padded[92] = {0};
    memcpy(padded, &rig->request, sizeof rig->request);
    assert_int_equal(lks_ibv_check_request(rig->here, padded, sizeof padded, &taken, &detail), 0);
    assert_int_equal(taken.from, 2);
    assert_int_equal(taken.incarnation, 5);
    assert_memory_equal(taken.challenge, rig->request.challenge, sizeof taken.challenge);
}

static void check_request__short_or_none__ebadmsg(void **state)
{
    const struct rig *rig = *state;
    struct lks_ibv_request taken;
    const char *detail;
    for (size_t bytes = 0; bytes < sizeof rig->request; bytes++) {
        assert_int_equal(check(rig, bytes), -EBADMSG);
    }
    assert_int_equal(lks_ibv_check_request(rig->here, NULL, 0, &taken, &detail), -EBADMSG);
}

static void check_request__foreign__refused_by_what_differs(void **state)
{
    struct rig *rig = *state;
    const struct lks_ibv_request good = rig->request;
    rig->request.magic++;
    assert_int_equal(check(rig, sizeof good), -EBADMSG);
    rig->request = good;
    rig->request.version++;
    assert_int_equal(check(rig, sizeof good), -LKS_EVERSION);
    rig->request = good;
    rig->request.cluster[7] ^= 1;
    assert_int_equal(check(rig, sizeof good), -LKS_ECLUSTER);
    rig->request = good;
    rig->request.replicas++;
    assert_int_equal(check(rig, sizeof good), -LKS_ESIZE);
    for (unsigned to = 0; to < 256; to++) {
        rig->request = good;
        rig->request.to = (uint8_t)to;
        assert_int_equal(check(rig, sizeof good), to == 1 ? 0 : -LKS_ECLUSTER);
    }
    for (unsigned from = 0; from < 256; from++) {
        rig->request = good;
        rig->request.from = (uint8_t)from;
        assert_int_equal(check(rig, sizeof good), from == 2 || from == 3 ? 0 : -LKS_ECLUSTER);
    }
}

static void make_request__again__another_challenge(void **state)
{
    const struct rig *rig = *state;
    struct lks_ibv_request other;
    assert_int_equal(lks_ibv_make_request(rig->here, 2, LKS_IBV_REQUEST_CONNECT, &other), 0);
    assert_memory_not_equal(other.challenge, rig->request.challenge, sizeof other.challenge);
}

/* ---- a queue pair made of functions ---------------------------------------------------------- */

static struct lks_ibv_message g_said; /* the last message that was sent */

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *request, struct ibv_send_wr **bad)
{
    (void)qp;
    (void)bad;
    assert_int_equal(request->opcode, IBV_WR_SEND);
    assert_int_equal(request->sg_list->length, sizeof g_said);
    memcpy(&g_said, (const void *)(uintptr_t)request->sg_list->addr, sizeof g_said);
    return 0;
}

/* What replica 2 would have to send for its proof. */
static void prove(const struct rig *rig, struct lks_ibv_message *message)
{
    const struct lks_ibv_link *link = &rig->here->peers[2].link;
    struct lks_hmac hmac;
    lks_hmac_init(&hmac, rig->here->rdma.cluster_key, sizeof rig->here->rdma.cluster_key);
    lks_hmac_update(&hmac, rig->here->options.cluster_id, sizeof rig->here->options.cluster_id);
    lks_hmac_update(&hmac, &link->request, sizeof link->request);
    lks_hmac_update(&hmac, &link->answer, sizeof link->answer);
    lks_hmac_update(&hmac, &message->kind, sizeof message->kind);
    lks_hmac_update(&hmac, &message->body, sizeof message->body);
    lks_hmac_finish(&hmac, message->proof);
}

/* A number that counting chunks by it would never end with. */
static void hear__snapshot_area_beyond_all_bounds__refused(void **state)
{
    struct rig *rig = *state;
    struct lks_ibv_link *link = &rig->here->peers[2].link;
    struct ibv_context context = {.ops.post_send = post_send};
    struct ibv_qp qp = {.context = &context};
    struct lks_ibv_message hello = {.kind = LKS_IBV_HELLO};
    struct lks_ibv_remote *regions = hello.body.hello.regions;
    link->queue.peer = 2;
    link->queue.inline_max = LKS_FABRIC_INLINE_MAX;
    assert_int_equal(lks_ibv_queue_init(&link->queue, 16), 0);
    lks_ibv_queue_begin(rig->here, &link->queue, &qp);
    link->state = LKS_IBV_LINK_WELCOMED;
    regions[LKS_FABRIC_SNAPSHOTS].bytes = UINT64_MAX;
    prove(rig, &hello);
    lks_ibv_handshake_hear(rig->here, 2, &hello);
    assert_int_equal(link->state, LKS_IBV_LINK_REFUSED);
    assert_int_equal(g_said.kind, LKS_IBV_REFUSE);
    assert_int_equal(g_said.status, -LKS_ESIZE);
    lks_ibv_queue_fini(&link->queue);
}

static void refusal_hint__what_to_compare(void **state)
{
    (void)state;
    assert_non_null(strstr(lks_ibv_refusal_hint(-EACCES), "cluster_key"));
    assert_non_null(strstr(lks_ibv_refusal_hint(-LKS_ECLUSTER), "`id`"));
    assert_non_null(strstr(lks_ibv_refusal_hint(-LKS_ESIZE), "ring"));
    assert_string_equal(lks_ibv_refusal_hint(-ENOMEM), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(check_request__good__taken),
        TEST(check_request__short_or_none__ebadmsg),
        TEST(check_request__foreign__refused_by_what_differs),
        TEST(make_request__again__another_challenge),
        TEST(hear__snapshot_area_beyond_all_bounds__refused),
        TEST(refusal_hint__what_to_compare),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
