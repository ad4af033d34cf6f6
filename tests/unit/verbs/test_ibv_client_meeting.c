/*
 * The meeting of a client and a replica over RDMA, without a device: who knows the client key gets
 * further, nobody else does, and nothing that was proved elsewhere helps.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verbs/ibv/client_meeting.h"
#include "verbs/ibv/ibv.h"
#include "verbs/lane.h"

#define AREA_BYTES 8192u

struct rig {
    struct lks_client_ibv_identity self; /* the replica */
    struct lks_client_ibv_meeting client;
    struct lks_client_ibv_meeting replica;
};

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->self = (struct lks_client_ibv_identity){
        .replica = 2, .cluster = {1, 2, 3}, .area_bytes = AREA_BYTES};
    memcpy(rig->client.key, "the client key", 14);
    memcpy(rig->replica.key, "the client key", 14);
    assert_int_equal(lks_client_ibv_ask(&rig->client, &rig->self), 0);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static int take(struct rig *rig)
{
    const char *detail = NULL;
    const int code = lks_client_ibv_take_request(&rig->replica, &rig->self, &rig->client.request,
                                                 sizeof rig->client.request, &detail);
    assert_non_null(detail);
    return code;
}

static int answer(struct rig *rig)
{
    return lks_client_ibv_take_answer(&rig->client, &rig->replica.answer,
                                      sizeof rig->replica.answer);
}

/* Up to the proofs. */
static void connect_both(struct rig *rig)
{
    assert_int_equal(take(rig), 0);
    assert_int_equal(answer(rig), 0);
}

static int hear(struct lks_client_ibv_meeting *meeting,
                const struct lks_client_ibv_message *message)
{
    const char *detail = NULL;
    const int code = lks_client_ibv_hear(meeting, message, &detail);
    assert_non_null(detail);
    return code;
}

static struct lks_client_ibv_message proof_of(const struct lks_client_ibv_meeting *meeting)
{
    struct lks_client_ibv_message message = {.kind = LKS_CLIENT_IBV_PROOF};
    lks_client_ibv_prove(meeting, &message);
    return message;
}

/* WELCOME or HELLO. */
static struct lks_client_ibv_message keys_of(const struct lks_client_ibv_meeting *meeting,
                                             enum lks_client_ibv_message_kind kind)
{
    struct lks_client_ibv_message message = {.kind = (uint8_t)kind,
                                             .address = 0x1000,
                                             .bytes = AREA_BYTES,
                                             .rkey = 77,
                                             .lane = kind == LKS_CLIENT_IBV_WELCOME ? 3 : 0};
    lks_client_ibv_prove(meeting, &message);
    return message;
}

static void both_know_the_key__they_meet(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    const struct lks_client_ibv_message proof = proof_of(&rig->client);
    assert_int_equal(hear(&rig->replica, &proof), 0);
    assert_int_equal(rig->replica.step, LKS_CLIENT_IBV_AWAITS_HELLO);
    const struct lks_client_ibv_message welcome =
        keys_of(&rig->replica, LKS_CLIENT_IBV_WELCOME);
    assert_int_equal(hear(&rig->client, &welcome), 0);
    assert_int_equal(rig->client.step, LKS_CLIENT_IBV_PROVED);
    assert_int_equal(rig->client.lane, 3);
    assert_int_equal(rig->client.remote.rkey, 77);
    const struct lks_client_ibv_message hello = keys_of(&rig->client, LKS_CLIENT_IBV_HELLO);
    assert_int_equal(hear(&rig->replica, &hello), 0);
    assert_int_equal(rig->replica.step, LKS_CLIENT_IBV_TOGETHER);
    assert_int_equal(rig->replica.remote.address, 0x1000);
}

static void any_cluster__taken(void **state)
{
    struct rig *rig = *state;
    const struct lks_client_ibv_identity any = {
        .replica = 2, .any_cluster = true, .area_bytes = AREA_BYTES};
    assert_int_equal(lks_client_ibv_ask(&rig->client, &any), 0);
    connect_both(rig);
    const struct lks_client_ibv_message proof = proof_of(&rig->client);
    assert_int_equal(hear(&rig->replica, &proof), 0);
}

static void request__foreign__refused_by_what_differs(void **state)
{
    struct rig *rig = *state;
    const struct lks_client_ibv_request good = rig->client.request;
    const struct {
        size_t at;
        int code;
    } cases[] = {
        {offsetof(struct lks_client_ibv_request, magic), -EBADMSG},
        {offsetof(struct lks_client_ibv_request, version), -LKS_EVERSION},
        {offsetof(struct lks_client_ibv_request, kind), -EBADMSG},
        {offsetof(struct lks_client_ibv_request, replica), -LKS_ECLUSTER},
        {offsetof(struct lks_client_ibv_request, any_cluster), -EBADMSG},
        {offsetof(struct lks_client_ibv_request, reserved) + 6, -EBADMSG},
        {offsetof(struct lks_client_ibv_request, cluster) + 15, -LKS_ECLUSTER},
        {offsetof(struct lks_client_ibv_request, area_bytes), -LKS_ESIZE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig->client.request = good;
        ((uint8_t *)&rig->client.request)[cases[i].at] ^= 0x40;
        assert_int_equal(take(rig), cases[i].code);
    }
    const char *detail = NULL;
    for (size_t bytes = 0; bytes < sizeof good; bytes++) {
        assert_int_equal(
            lks_client_ibv_take_request(&rig->replica, &rig->self, &good, bytes, &detail),
            -EBADMSG);
    }
    assert_int_equal(lks_client_ibv_take_request(&rig->replica, &rig->self, NULL, 0, &detail),
                     -EBADMSG);
}

static void answer__of_another__given_up(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(take(rig), 0);
    const struct lks_client_ibv_request good = rig->replica.answer;
    rig->replica.answer.replica = 1;
    assert_int_equal(answer(rig), -LKS_ECLUSTER);
    rig->replica.answer = good;
    rig->replica.answer.cluster[0] ^= 1;
    assert_int_equal(answer(rig), -LKS_ECLUSTER);
    rig->replica.answer = good;
    rig->replica.answer.area_bytes *= 2;
    assert_int_equal(answer(rig), -LKS_ESIZE);
    rig->replica.answer = rig->client.request; /* sent back */
    assert_int_equal(answer(rig), -EBADMSG);
}

static void client_without_the_key__told_nothing(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    rig->client.key[31] ^= 1;
    const struct lks_client_ibv_message proof = proof_of(&rig->client);
    assert_int_equal(hear(&rig->replica, &proof), -EACCES);
    assert_int_equal(rig->replica.step, LKS_CLIENT_IBV_AWAITS_PROOF);
}

static void replica_without_the_key__told_nothing(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    rig->replica.key[0] ^= 1;
    const struct lks_client_ibv_message welcome =
        keys_of(&rig->replica, LKS_CLIENT_IBV_WELCOME);
    assert_int_equal(hear(&rig->client, &welcome), -EACCES);
    assert_int_equal(rig->client.step, LKS_CLIENT_IBV_AWAITS_WELCOME);
    assert_int_equal(rig->client.remote.rkey, 0);
}

static void keys_before_the_proof__refused(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    const struct lks_client_ibv_message hello = keys_of(&rig->client, LKS_CLIENT_IBV_HELLO);
    assert_int_equal(hear(&rig->replica, &hello), -EBADMSG);
    assert_int_equal(rig->replica.remote.rkey, 0);
}

/* What was proved in one meeting, or by the other side, proves nothing in this one. */
static void proof__of_another_meeting_or_sent_back__refused(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    const struct lks_client_ibv_message proof = proof_of(&rig->client);
    const struct lks_client_ibv_message welcome =
        keys_of(&rig->replica, LKS_CLIENT_IBV_WELCOME);
    struct lks_client_ibv_message back = welcome;
    back.kind = LKS_CLIENT_IBV_PROOF;
    assert_int_equal(hear(&rig->replica, &back), -EACCES);
    back = proof;
    back.kind = LKS_CLIENT_IBV_WELCOME;
    back.bytes = AREA_BYTES;
    back.lane = 1;
    assert_int_equal(hear(&rig->client, &back), -EACCES);
    assert_int_equal(take(rig), 0); /* the same request once more: another challenge */
    assert_int_equal(hear(&rig->replica, &proof), -EACCES);
    assert_int_equal(hear(&rig->client, &welcome), 0); /* (it was good) */
}

static void message__changed_on_the_way__refused(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    const struct lks_client_ibv_message good = keys_of(&rig->replica, LKS_CLIENT_IBV_WELCOME);
    for (size_t at = offsetof(struct lks_client_ibv_message, proof); at < sizeof good; at++) {
        struct lks_client_ibv_message changed = good;
        ((uint8_t *)&changed)[at] ^= 0x10;
        assert_int_equal(hear(&rig->client, &changed), -EACCES);
    }
    assert_int_equal(hear(&rig->client, &good), 0);
}

/* By the same key, were it so: the proofs of replicas and those of clients are different ones. */
static void proof_between_replicas__is_none_of_a_client_nor_the_other_way_round(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    struct lks_ibv_message between = {.kind = LKS_IBV_PROOF};
    struct lks_hmac hmac;
    lks_hmac_init(&hmac, rig->replica.key, sizeof rig->replica.key);
    lks_hmac_update(&hmac, rig->self.cluster, sizeof rig->self.cluster);
    lks_hmac_update(&hmac, &rig->replica.request, sizeof rig->replica.request);
    lks_hmac_update(&hmac, &rig->replica.answer, sizeof rig->replica.answer);
    lks_hmac_update(&hmac, &between.kind, sizeof between.kind);
    lks_hmac_update(&hmac, &between.body, sizeof between.body);
    struct lks_client_ibv_message posed = {.kind = LKS_CLIENT_IBV_PROOF};
    lks_hmac_finish(&hmac, posed.proof);
    assert_int_equal(hear(&rig->replica, &posed), -EACCES);

    /* A client's request where replicas call one another, and a replica's where clients call. */
    struct lks_ibv_fabric *fabric = calloc(1, sizeof *fabric);
    struct lks_ibv_request taken;
    const char *detail = NULL;
    assert_non_null(fabric);
    fabric->self = 2;
    fabric->replicas = 3;
    memcpy(fabric->options.cluster_id, rig->self.cluster, sizeof fabric->options.cluster_id);
    assert_int_equal(lks_ibv_check_request(fabric, &rig->client.request,
                                           sizeof rig->client.request, &taken, &detail),
                     -EBADMSG);
    struct lks_ibv_request call;
    fabric->self = 3;
    assert_int_equal(lks_ibv_make_request(fabric, 2, LKS_IBV_REQUEST_CONNECT, &call), 0);
    assert_int_equal(lks_client_ibv_take_request(&rig->replica, &rig->self, &call, sizeof call,
                                                 &detail),
                     -EBADMSG);
    free(fabric);
}

static void refusal__its_status_ends_the_meeting(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    struct lks_client_ibv_message refusal = {.kind = LKS_CLIENT_IBV_REFUSE,
                                             .status = -LKS_EBUSY};
    assert_int_equal(hear(&rig->client, &refusal), -LKS_EBUSY);
    refusal.status = 5; /* none */
    assert_int_equal(hear(&rig->client, &refusal), -EBADMSG);
    assert_int_equal(hear(&rig->replica, &refusal), -EBADMSG); /* a client refuses nobody */
}

static void keys__that_do_not_fit__refused(void **state)
{
    struct rig *rig = *state;
    connect_both(rig);
    struct lks_client_ibv_message welcome = keys_of(&rig->replica, LKS_CLIENT_IBV_WELCOME);
    welcome.bytes = AREA_BYTES - 1;
    lks_client_ibv_prove(&rig->replica, &welcome);
    assert_int_equal(hear(&rig->client, &welcome), -LKS_ESIZE);
    const uint32_t lanes[] = {0, LKS_LANE_NUMBER_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof lanes / sizeof lanes[0]; i++) {
        welcome = keys_of(&rig->replica, LKS_CLIENT_IBV_WELCOME);
        welcome.lane = lanes[i];
        lks_client_ibv_prove(&rig->replica, &welcome);
        assert_int_equal(hear(&rig->client, &welcome), -EBADMSG);
    }
    assert_int_equal(rig->client.remote.rkey, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_know_the_key__they_meet),
        TEST(any_cluster__taken),
        TEST(request__foreign__refused_by_what_differs),
        TEST(answer__of_another__given_up),
        TEST(client_without_the_key__told_nothing),
        TEST(replica_without_the_key__told_nothing),
        TEST(keys_before_the_proof__refused),
        TEST(proof__of_another_meeting_or_sent_back__refused),
        TEST(message__changed_on_the_way__refused),
        TEST(proof_between_replicas__is_none_of_a_client_nor_the_other_way_round),
        TEST(refusal__its_status_ends_the_meeting),
        TEST(keys__that_do_not_fit__refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
