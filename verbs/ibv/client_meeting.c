/* The meeting of a client and a replica; see client_meeting.h. */
#include "verbs/ibv/client_meeting.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "verbs/lane.h"

static int draw_challenge(struct lks_client_ibv_request *request)
{
    const ssize_t got = getrandom(request->challenge, sizeof request->challenge, 0);
    return got == (ssize_t)sizeof request->challenge ? 0 : -EIO;
}

int lks_client_ibv_ask(struct lks_client_ibv_meeting *meeting,
                       const struct lks_client_ibv_identity *wanted)
{
    meeting->request =
        (struct lks_client_ibv_request){.magic = LKS_CLIENT_IBV_MAGIC,
                                        .version = LKS_CLIENT_IBV_VERSION,
                                        .kind = LKS_CLIENT_IBV_REQUEST,
                                        .replica = (uint8_t)wanted->replica,
                                        .any_cluster = wanted->any_cluster ? 1 : 0,
                                        .area_bytes = wanted->area_bytes};
    if (!wanted->any_cluster) {
        memcpy(meeting->request.cluster, wanted->cluster, sizeof meeting->request.cluster);
    }
    meeting->step = LKS_CLIENT_IBV_AWAITS_WELCOME;
    return draw_challenge(&meeting->request);
}

/* What both kinds of private data have in common. */
static int parse(const void *data, size_t bytes, enum lks_client_ibv_kind kind,
                 struct lks_client_ibv_request *parsed, const char **detail)
{
    static const uint8_t zero[sizeof parsed->reserved];
    *detail = "";
    if (data == NULL || bytes < sizeof *parsed) {
        return -EBADMSG;
    }
    memcpy(parsed, data, sizeof *parsed);
    if (parsed->magic != LKS_CLIENT_IBV_MAGIC) {
        *detail = "it is no client of Lockstep, nor a replica that takes clients";
        return -EBADMSG;
    }
    if (parsed->version != LKS_CLIENT_IBV_VERSION) {
        return -LKS_EVERSION;
    }
    if (parsed->kind != kind || parsed->any_cluster > 1 ||
        memcmp(parsed->reserved, zero, sizeof zero) != 0) {
        return -EBADMSG;
    }
    return 0;
}

int lks_client_ibv_take_request(struct lks_client_ibv_meeting *meeting,
                                const struct lks_client_ibv_identity *self, const void *data,
                                size_t bytes, const char **detail)
{
    struct lks_client_ibv_request *request = &meeting->request;
    const int code = parse(data, bytes, LKS_CLIENT_IBV_REQUEST, request, detail);
    if (code != 0) {
        return code;
    }
    if (request->any_cluster == 0 &&
        memcmp(request->cluster, self->cluster, sizeof request->cluster) != 0) {
        *detail = "another cluster id";
        return -LKS_ECLUSTER;
    }
    if (request->replica != self->replica) {
        *detail = "another replica is wanted";
        return -LKS_ECLUSTER;
    }
    if (request->area_bytes != self->area_bytes) {
        *detail = "its area has another size";
        return -LKS_ESIZE;
    }
    meeting->answer = (struct lks_client_ibv_request){.magic = LKS_CLIENT_IBV_MAGIC,
                                                      .version = LKS_CLIENT_IBV_VERSION,
                                                      .kind = LKS_CLIENT_IBV_ANSWER,
                                                      .replica = (uint8_t)self->replica,
                                                      .area_bytes = self->area_bytes};
    memcpy(meeting->answer.cluster, self->cluster, sizeof meeting->answer.cluster);
    meeting->step = LKS_CLIENT_IBV_AWAITS_PROOF;
    return draw_challenge(&meeting->answer);
}

int lks_client_ibv_take_answer(struct lks_client_ibv_meeting *meeting, const void *data,
                               size_t bytes)
{
    const struct lks_client_ibv_request *request = &meeting->request;
    struct lks_client_ibv_request *answer = &meeting->answer;
    const char *detail = "";
    const int code = parse(data, bytes, LKS_CLIENT_IBV_ANSWER, answer, &detail);
    if (code != 0) {
        return code;
    }
    if (answer->replica != request->replica ||
        (request->any_cluster == 0 &&
         memcmp(answer->cluster, request->cluster, sizeof answer->cluster) != 0)) {
        return -LKS_ECLUSTER;
    }
    return answer->area_bytes == request->area_bytes ? 0 : -LKS_ESIZE;
}

/* By a label of its own: what is proved here proves nothing between replicas, whatever the keys. */
static void digest(const struct lks_client_ibv_meeting *meeting,
                   const struct lks_client_ibv_message *message, uint8_t proof[LKS_SHA256_BYTES])
{
    struct lks_client_ibv_message said = *message;
    struct lks_hmac hmac;
    memset(said.proof, 0, sizeof said.proof);
    lks_hmac_init(&hmac, meeting->key, sizeof meeting->key);
    lks_hmac_update(&hmac, LKS_CLIENT_IBV_LABEL, sizeof LKS_CLIENT_IBV_LABEL);
    lks_hmac_update(&hmac, &meeting->request, sizeof meeting->request);
    lks_hmac_update(&hmac, &meeting->answer, sizeof meeting->answer);
    lks_hmac_update(&hmac, &said, sizeof said);
    lks_hmac_finish(&hmac, proof);
}

void lks_client_ibv_prove(const struct lks_client_ibv_meeting *meeting,
                          struct lks_client_ibv_message *message)
{
    uint8_t proof[LKS_SHA256_BYTES];
    digest(meeting, message, proof);
    memcpy(message->proof, proof, sizeof message->proof);
}

/* What is expected in a step; 0: nothing. */
static uint8_t expected(enum lks_client_ibv_step step)
{
    switch (step) {
    case LKS_CLIENT_IBV_AWAITS_PROOF:
        return LKS_CLIENT_IBV_PROOF;
    case LKS_CLIENT_IBV_AWAITS_WELCOME:
        return LKS_CLIENT_IBV_WELCOME;
    case LKS_CLIENT_IBV_AWAITS_HELLO:
        return LKS_CLIENT_IBV_HELLO;
    default:
        return 0;
    }
}

int lks_client_ibv_hear(struct lks_client_ibv_meeting *meeting,
                        const struct lks_client_ibv_message *message, const char **detail)
{
    uint8_t proof[LKS_SHA256_BYTES];
    *detail = "";
    if (message->kind == LKS_CLIENT_IBV_REFUSE &&
        meeting->step == LKS_CLIENT_IBV_AWAITS_WELCOME) {
        return message->status < 0 ? message->status : -EBADMSG;
    }
    if (message->kind != expected(meeting->step)) {
        *detail = "a message out of turn";
        return -EBADMSG;
    }
    digest(meeting, message, proof);
    if (!lks_digest_equal(proof, message->proof)) {
        *detail = "it does not know the client key";
        return -EACCES;
    }
    if (message->kind == LKS_CLIENT_IBV_PROOF) {
        meeting->step = LKS_CLIENT_IBV_AWAITS_HELLO;
        return 0;
    }
    if (message->bytes != meeting->request.area_bytes) {
        *detail = "its area has another size";
        return -LKS_ESIZE;
    }
    if (message->kind == LKS_CLIENT_IBV_WELCOME) {
        if (message->lane < 1 || message->lane > LKS_LANE_NUMBER_MAX) {
            return -EBADMSG;
        }
        meeting->lane = message->lane;
    }
    meeting->remote = (struct lks_client_ibv_remote){message->address, message->rkey};
    meeting->step = message->kind == LKS_CLIENT_IBV_WELCOME ? LKS_CLIENT_IBV_PROVED
                                                            : LKS_CLIENT_IBV_TOGETHER;
    return 0;
}
