/*
 * Two replicas prove to one another that they know the cluster key, each by a keyed digest over
 * both sides' fresh challenges, and only then say where their memory lies. wire.h has the order of
 * the messages. Fabric's thread. Invariant: no key of memory leaves before the peer's proof was
 * checked; what a peer said before its own proof changes nothing but this link.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"

#define REFUSED_NS (UINT64_C(200) * LKS_NS_PER_MS)
#define SNAPSHOTS_BYTES_MAX (UINT64_C(1) << 50) /* of a peer: chunks are counted in 64 bits */

int lks_ibv_make_request(const struct lks_ibv_fabric *ibv, uint32_t to,
                         enum lks_ibv_request_kind kind, struct lks_ibv_request *request)
{
    *request = (struct lks_ibv_request){.magic = LKS_IBV_MAGIC,
                                        .version = LKS_IBV_VERSION,
                                        .kind = (uint8_t)kind,
                                        .from = (uint8_t)ibv->self,
                                        .to = (uint8_t)to,
                                        .replicas = (uint8_t)ibv->replicas,
                                        .incarnation = ibv->options.incarnation};
    memcpy(request->cluster, ibv->options.cluster_id, sizeof request->cluster);
    const ssize_t got = getrandom(request->challenge, sizeof request->challenge, 0);
    return got == (ssize_t)sizeof request->challenge ? 0 : -EIO;
}

int lks_ibv_check_request(const struct lks_ibv_fabric *ibv, const void *data, size_t bytes,
                          struct lks_ibv_request *request, const char **detail)
{
    *detail = "";
    if (data == NULL || bytes < sizeof *request) {
        return -EBADMSG;
    }
    memcpy(request, data, sizeof *request);
    if (request->magic != LKS_IBV_MAGIC) {
        *detail = "it is no replica of Lockstep";
        return -EBADMSG;
    }
    if (request->version != LKS_IBV_VERSION) {
        return -LKS_EVERSION;
    }
    if (memcmp(request->cluster, ibv->options.cluster_id, sizeof request->cluster) != 0) {
        *detail = "another cluster id";
        return -LKS_ECLUSTER;
    }
    if (request->to != ibv->self || !lks_ibv_is_peer(ibv, request->from)) {
        *detail = "not a peer of this replica";
        return -LKS_ECLUSTER;
    }
    if (request->replicas != ibv->replicas) {
        *detail = "another number of replicas";
        return -LKS_ESIZE;
    }
    return 0;
}

const char *lks_ibv_refusal_hint(int status)
{
    switch (status) {
    case -EACCES:
        return "compare `cluster_key` in the files of both";
    case -LKS_ECLUSTER:
        return "compare `id` and `replicas` in the files of both";
    case -LKS_ESIZE:
        return "compare `ring` in the files of both, and their versions";
    case -ENODEV:
        return "its device has failed: its log says more";
    default:
        return "";
    }
}

/* Proof of the key in this kind of message with this body, on this link. */
static void prove(const struct lks_ibv_fabric *ibv, const struct lks_ibv_link *link,
                  const struct lks_ibv_message *message, uint8_t proof[LKS_SHA256_BYTES])
{
    struct lks_hmac hmac;
    lks_hmac_init(&hmac, ibv->rdma.cluster_key, sizeof ibv->rdma.cluster_key);
    lks_hmac_update(&hmac, ibv->options.cluster_id, sizeof ibv->options.cluster_id);
    lks_hmac_update(&hmac, &link->request, sizeof link->request);
    lks_hmac_update(&hmac, &link->answer, sizeof link->answer);
    lks_hmac_update(&hmac, &message->kind, sizeof message->kind);
    lks_hmac_update(&hmac, &message->body, sizeof message->body);
    lks_hmac_finish(&hmac, proof);
}

static struct lks_ibv_remote describe(const struct ibv_mr *region)
{
    if (region == NULL) {
        return (struct lks_ibv_remote){0};
    }
    return (struct lks_ibv_remote){
        .address = (uintptr_t)region->addr, .bytes = region->length, .rkey = region->rkey};
}

/* Says where the own memory lies. The peer's area is clean: it may write as soon as it hears. */
static bool send_hello(struct lks_ibv_fabric *ibv, uint32_t peer, enum lks_ibv_message_kind kind)
{
    struct lks_ibv_message message = {.kind = (uint8_t)kind};
    struct lks_ibv_remote *regions = message.body.hello.regions;
    memset(lks_ibv_inbox(ibv, peer), 0, ibv->options.inbox_bytes);
    memcpy(message.body.hello.hello, ibv->options.hello, sizeof message.body.hello.hello);
    regions[LKS_FABRIC_LOG] = describe(ibv->log_region);
    regions[LKS_FABRIC_WORDS] = describe(ibv->words_region);
    regions[LKS_FABRIC_INBOX] = describe(ibv->peers[peer].inbox_region);
    regions[LKS_FABRIC_SNAPSHOTS] = (struct lks_ibv_remote){
        .address = (uintptr_t)ibv->snapshots.address,
        .bytes = ibv->snapshots.bytes,
        .rkey = ibv->snapshots.count == 1 ? ibv->snapshots.regions[0]->rkey : 0};
    prove(ibv, &ibv->peers[peer].link, &message, message.proof);
    return lks_ibv_send(ibv, peer, &message);
}

/* Tells the peer why, and logs it. */
static void refuse(struct lks_ibv_fabric *ibv, uint32_t peer, int code, const char *detail)
{
    const struct lks_ibv_message message = {.kind = LKS_IBV_REFUSE, .status = code};
    lks_ibv_complain(ibv, peer, code, "connection refused", detail);
    if (!lks_ibv_send(ibv, peer, &message)) {
        lks_ibv_link_close(ibv, peer);
        return;
    }
    /* The peer hangs up when it has heard; destroying the queue pair now could overtake it. */
    ibv->peers[peer].link.state = LKS_IBV_LINK_REFUSED;
    ibv->peers[peer].link.deadline_ns = lks_clock_monotonic_ns() + REFUSED_NS;
}

/* Takes over what WELCOME or HELLO says, if it fits. */
static int take_hello(struct lks_ibv_fabric *ibv, uint32_t id,
                      const struct lks_ibv_message *message, const char **detail)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    const struct lks_ibv_remote *regions = message->body.hello.regions;
    if (regions[LKS_FABRIC_LOG].bytes != ibv->options.log.bytes) {
        *detail = "its log has another size";
        return -LKS_ESIZE;
    }
    if (regions[LKS_FABRIC_WORDS].bytes != ibv->options.words_bytes ||
        regions[LKS_FABRIC_INBOX].bytes != ibv->options.inbox_bytes) {
        *detail = "its shared words or inboxes have another size";
        return -LKS_ESIZE;
    }
    if (regions[LKS_FABRIC_SNAPSHOTS].bytes > SNAPSHOTS_BYTES_MAX) {
        *detail = "its snapshot area is too large";
        return -LKS_ESIZE;
    }
    memcpy(peer->link.regions, regions, sizeof peer->link.regions);
    memcpy(peer->hello, message->body.hello.hello, sizeof peer->hello);
    return 0;
}

static void step(struct lks_ibv_link *link, enum lks_ibv_link_state state)
{
    link->state = state;
    link->deadline_ns = lks_clock_monotonic_ns() + LKS_IBV_STEP_NS;
}

void lks_ibv_handshake_begin(struct lks_ibv_fabric *ibv, uint32_t peer, uint64_t now_ns)
{
    struct lks_ibv_link *link = &ibv->peers[peer].link;
    struct lks_ibv_message message = {.kind = LKS_IBV_PROOF};
    LKS_ASSERT(link->state == LKS_IBV_LINK_CALLING);
    prove(ibv, link, &message, message.proof);
    if (!lks_ibv_send(ibv, peer, &message)) {
        lks_ibv_link_close(ibv, peer);
        return;
    }
    link->state = LKS_IBV_LINK_PROVING;
    link->deadline_ns = now_ns + LKS_IBV_STEP_NS;
}

/* What is expected in a link's state; 0: nothing. */
static uint8_t expected(enum lks_ibv_link_state state)
{
    switch (state) {
    case LKS_IBV_LINK_ACCEPTED:
        return LKS_IBV_PROOF;
    case LKS_IBV_LINK_PROVING:
        return LKS_IBV_WELCOME;
    case LKS_IBV_LINK_WELCOMED:
        return LKS_IBV_HELLO;
    default:
        return 0;
    }
}

void lks_ibv_handshake_hear(struct lks_ibv_fabric *ibv, uint32_t peer,
                            const struct lks_ibv_message *message)
{
    struct lks_ibv_link *link = &ibv->peers[peer].link;
    uint8_t proof[LKS_SHA256_BYTES];
    const char *detail = "";
    int code = 0;
    if (message->kind == LKS_IBV_REFUSE) {
        lks_ibv_complain(ibv, peer, message->status, "it refuses this replica",
                         lks_ibv_refusal_hint(message->status));
        lks_ibv_link_close(ibv, peer);
        return;
    }
    if (link->state == LKS_IBV_LINK_REFUSED) {
        return;
    }
    if (message->kind != expected(link->state)) {
        refuse(ibv, peer, -EBADMSG, "a message out of turn");
        return;
    }
    prove(ibv, link, message, proof);
    if (!lks_digest_equal(proof, message->proof)) {
        refuse(ibv, peer, -EACCES, "it does not know the cluster key");
        return;
    }
    if (message->kind != LKS_IBV_PROOF) {
        code = take_hello(ibv, peer, message, &detail);
    }
    if (code != 0) {
        refuse(ibv, peer, code, detail);
        return;
    }
    bool sent = true;
    if (message->kind == LKS_IBV_PROOF) {
        sent = send_hello(ibv, peer, LKS_IBV_WELCOME);
        step(link, LKS_IBV_LINK_WELCOMED);
    } else if (message->kind == LKS_IBV_WELCOME) {
        sent = send_hello(ibv, peer, LKS_IBV_HELLO);
    }
    if (!sent) {
        lks_ibv_link_close(ibv, peer);
    } else if (message->kind != LKS_IBV_PROOF) {
        lks_ibv_link_join(ibv, peer);
    }
}
