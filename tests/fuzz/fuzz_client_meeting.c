/*
 * What a client and a replica hear from one another before they are together over RDMA: private
 * data of any bytes, and messages that are right but for what the input spoils, or wholly the
 * input's, by one who knows the client key and by one who does not. Held to: no crash; a step is
 * gone only for a message whose proof is right over this meeting, of the kind and size that this
 * step awaits; until then no address and key of memory is taken; without the key, never.
 */
#include "base/assert.h"
#include "tests/fuzz/fuzz.h"
#include "verbs/ibv/client_meeting.h"
#include "verbs/lane.h"

#include <errno.h>

#define AREA_BYTES 8192u
#define STEPS_MAX 32u

struct scene {
    struct lks_client_ibv_identity self;
    struct lks_client_ibv_meeting sides[2]; /* the replica, the client */
    bool knows_key; /* who writes to them */
};

/* Bytes that are right, some of them spoiled. */
static void spoil(struct fuzz_input *input, void *data, size_t bytes)
{
    for (uint32_t edits = fuzz_below(input, 4); edits > 0; edits--) {
        ((uint8_t *)data)[fuzz_below(input, (uint32_t)bytes)] = fuzz_byte(input);
    }
}

static void meet(struct scene *scene, struct fuzz_input *input)
{
    struct lks_client_ibv_meeting *replica = &scene->sides[0];
    struct lks_client_ibv_meeting *client = &scene->sides[1];
    struct lks_client_ibv_request said;
    const char *detail = NULL;
    LKS_ASSERT(lks_client_ibv_ask(client, &scene->self) == 0);
    said = client->request;
    spoil(input, &said, sizeof said);
    size_t bytes = fuzz_byte(input) < 250 ? sizeof said : fuzz_below(input, sizeof said);
    const int taken =
        lks_client_ibv_take_request(replica, &scene->self, &said, bytes, &detail);
    LKS_ASSERT(taken == 0 || taken == -EBADMSG || taken == -LKS_EVERSION ||
               taken == -LKS_ECLUSTER || taken == -LKS_ESIZE);
    LKS_ASSERT(detail != NULL);
    if (taken != 0) { /* it goes on as if a right one had come */
        LKS_ASSERT(lks_client_ibv_take_request(replica, &scene->self, &client->request,
                                               sizeof client->request, &detail) == 0);
    }
    said = replica->answer;
    spoil(input, &said, sizeof said);
    bytes = fuzz_byte(input) < 250 ? sizeof said : fuzz_below(input, sizeof said);
    if (lks_client_ibv_take_answer(client, &said, bytes) != 0) {
        LKS_ASSERT(lks_client_ibv_take_answer(client, &replica->answer, sizeof said) == 0);
    }
}

static struct lks_client_ibv_message draw_message(const struct scene *scene,
                                                  struct fuzz_input *input,
                                                  const struct lks_client_ibv_meeting *side)
{
    struct lks_client_ibv_message message = {
        .kind = (uint8_t)(1 + fuzz_below(input, 5)),
        .address = fuzz_number(input),
        .bytes = fuzz_below(input, 4) > 0 ? AREA_BYTES : fuzz_number(input),
        .rkey = (uint32_t)fuzz_number(input),
        .lane = (uint32_t)fuzz_number(input)};
    message.status = (int32_t)fuzz_number(input);
    if (scene->knows_key) {
        lks_client_ibv_prove(side, &message);
    } else {
        fuzz_take(input, message.proof, sizeof message.proof);
    }
    if (fuzz_below(input, 4) == 0) {
        spoil(input, &message, sizeof message);
    }
    return message;
}

static bool proves(const struct lks_client_ibv_meeting *side,
                   const struct lks_client_ibv_message *message)
{
    struct lks_client_ibv_message right = *message;
    lks_client_ibv_prove(side, &right);
    return memcmp(right.proof, message->proof, sizeof right.proof) == 0;
}

/* Which kind takes a meeting from one step to another. */
static bool follows(enum lks_client_ibv_step from, enum lks_client_ibv_step to, uint8_t kind)
{
    return (from == LKS_CLIENT_IBV_AWAITS_PROOF && to == LKS_CLIENT_IBV_AWAITS_HELLO &&
            kind == LKS_CLIENT_IBV_PROOF) ||
           (from == LKS_CLIENT_IBV_AWAITS_HELLO && to == LKS_CLIENT_IBV_TOGETHER &&
            kind == LKS_CLIENT_IBV_HELLO) ||
           (from == LKS_CLIENT_IBV_AWAITS_WELCOME && to == LKS_CLIENT_IBV_PROVED &&
            kind == LKS_CLIENT_IBV_WELCOME);
}

static void check_step(const struct scene *scene, const struct lks_client_ibv_meeting *before,
                       const struct lks_client_ibv_meeting *after,
                       const struct lks_client_ibv_message *message, int code)
{
    const bool remote_same = before->remote.address == after->remote.address &&
                             before->remote.rkey == after->remote.rkey;
    LKS_ASSERT(code <= 0);
    if (code != 0) {
        LKS_ASSERT(after->step == before->step && remote_same);
        return;
    }
    LKS_ASSERT(scene->knows_key);
    LKS_ASSERT(proves(before, message));
    LKS_ASSERT(follows(before->step, after->step, message->kind));
    if (message->kind == LKS_CLIENT_IBV_PROOF) {
        LKS_ASSERT(remote_same);
        return;
    }
    LKS_ASSERT(message->bytes == AREA_BYTES);
    LKS_ASSERT(after->remote.address == message->address && after->remote.rkey == message->rkey);
    LKS_ASSERT(message->kind != LKS_CLIENT_IBV_WELCOME ||
               (after->lane >= 1 && after->lane <= LKS_LANE_NUMBER_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input(data, size);
    struct scene scene = {
        .self = {.replica = 2, .cluster = {1, 2, 3}, .area_bytes = AREA_BYTES},
        .knows_key = fuzz_byte(&input) % 2 == 0};
    memcpy(scene.sides[0].key, "the client key", 14);
    memcpy(scene.sides[1].key, "the client key", 14);
    meet(&scene, &input);
    for (uint32_t i = 0; i < STEPS_MAX && fuzz_left(&input) > 0; i++) {
        struct lks_client_ibv_meeting *side = &scene.sides[fuzz_byte(&input) % 2];
        const struct lks_client_ibv_meeting before = *side;
        const struct lks_client_ibv_message message = draw_message(&scene, &input, side);
        const char *detail = NULL;
        const int code = lks_client_ibv_hear(side, &message, &detail);
        LKS_ASSERT(detail != NULL);
        check_step(&scene, &before, side, &message, code);
    }
    return 0;
}
