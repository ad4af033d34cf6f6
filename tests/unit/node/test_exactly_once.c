/*
 * Exactly once: gateways, mailboxes, ingress rings and session tables of three replicas together,
 * over random failovers, breaks and restarts. Consensus is a model: one committed log; each new
 * leader adopts it with a random part of its predecessor's uncommitted tail. Old leaders go on for
 * a while, taking commands that never commit. Every command must take effect once and in order,
 * and every submitted one of a gateway that lives must be answered in the end.
 */
#include "node/gateway.h"
#include "node/ingress.h"
#include "node/mailbox.h"
#include "node/sessions.h"

#include "base/assert.h"
#include "tests/support/fake_fabric.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REPLICAS 3u
#define LOG_MAX 100000u
#define TAIL_MAX 64u
#define LIVES_MAX 64u

struct logged {
    uint64_t session;
    uint64_t sequence;
    uint64_t content; /* the command's first eight bytes */
};

/* What a replica is when it leads, or still thinks so. */
struct leadership {
    bool leads;
    uint64_t term;
    uint64_t base; /* length of the committed log that it adopted or committed itself */
    struct logged tail[TAIL_MAX];
    uint32_t tail_count;
    struct lks_sessions appended;
    uint64_t offered_term[REPLICAS + 1];
};

struct replica {
    uint32_t id;
    uint64_t incarnation;
    struct lks_gateway *gateway;
    struct lks_mailbox mailboxes[REPLICAS + 1];
    struct lks_ingress_producer producers[REPLICAS + 1];
    struct lks_ingress_consumer consumers[REPLICAS + 1];
    uint8_t *buffer;
    bool connected[REPLICAS + 1];
    uint64_t term_seen;
    struct leadership leadership;
    struct lks_sessions applied;
    uint64_t applied_count;
    uint64_t submitted; /* in this life */
    uint64_t answered;
};

struct cluster {
    struct fake_net *net;
    struct replica replicas[REPLICAS + 1];
    struct logged *log;
    uint64_t log_count;
    uint64_t term;
    uint32_t leader;
    uint64_t failovers;
    uint64_t duplicates; /* dropped by leaders */
    uint64_t took_effect[REPLICAS + 1][LIVES_MAX]; /* the last sequence, at the reference */
};

static uint64_t content_of(uint64_t session, uint64_t sequence)
{
    return session * UINT64_C(0x9E3779B97F4A7C15) ^ sequence;
}

static uint32_t bytes_of(uint64_t sequence)
{
    return 8 + (uint32_t)(sequence % 40 == 0 ? 3000 : sequence * 13 % 400);
}

/* ---- lives --------------------------------------------------------------------------------- */

static void start(struct cluster *cluster, uint32_t id)
{
    struct replica *replica = &cluster->replicas[id];
    struct lks_fabric *fabric = fake_net_fabric(cluster->net, id);
    replica->id = id;
    replica->incarnation++;
    assert_true(replica->incarnation < LIVES_MAX);
    const struct lks_gateway_options options = {.pending_bytes_max = 16384,
                                                .command_bytes_max = 4096};
    assert_int_equal(lks_gateway_new(&replica->gateway, &options), 0);
    for (uint32_t peer = 1; peer <= REPLICAS; peer++) {
        lks_mailbox_init(&replica->mailboxes[peer], fabric, peer, replica->incarnation);
        lks_ingress_producer_init(&replica->producers[peer], fabric, peer);
        lks_ingress_consumer_init(&replica->consumers[peer], fabric, peer, replica->incarnation,
                                  replica->buffer);
        replica->connected[peer] = false;
    }
    memset(&replica->leadership, 0, sizeof replica->leadership);
    replica->submitted = 0;
    replica->answered = 0;
}

static void restart(struct cluster *cluster, uint32_t id)
{
    struct replica *replica = &cluster->replicas[id];
    fake_net_restart(cluster->net, id);
    lks_gateway_free(replica->gateway);
    /* Its state is what it applied: the log, replayed from the beginning. */
    replica->applied_count = 0;
    memset(&replica->applied, 0, sizeof replica->applied);
    start(cluster, id);
    if (cluster->leader == id) {
        cluster->leader = 0;
    }
}

static uint64_t session_of(const struct replica *replica)
{
    return lks_session_make(replica->id, replica->incarnation);
}

/* ---- the model of consensus ---------------------------------------------------------------- */

/* A new leader: the committed log, and maybe some of what an earlier leader had appended to it. */
static void elect(struct cluster *cluster, uint32_t id)
{
    struct leadership adopted = {.leads = true, .term = ++cluster->term};
    const struct replica *source = &cluster->replicas[fake_net_random(cluster->net, 3) + 1];
    adopted.base = cluster->log_count;
    adopted.tail_count = 0;
    for (uint64_t i = 0; i < cluster->log_count; i++) {
        (void)lks_sessions_apply(&adopted.appended, cluster->log[i].session,
                                 cluster->log[i].sequence);
    }
    if (source->leadership.leads && source->leadership.base == cluster->log_count) {
        const uint32_t kept =
            (uint32_t)fake_net_random(cluster->net, source->leadership.tail_count + 1);
        for (uint32_t i = 0; i < kept; i++) {
            adopted.tail[adopted.tail_count++] = source->leadership.tail[i];
            (void)lks_sessions_apply(&adopted.appended, adopted.tail[i].session,
                                     adopted.tail[i].sequence);
        }
    }
    struct replica *leader = &cluster->replicas[id];
    for (uint32_t peer = 1; peer <= REPLICAS; peer++) {
        lks_ingress_producer_close(&leader->producers[peer]);
    }
    leader->leadership = adopted;
    leader->term_seen = adopted.term;
    lks_gateway_rewind(leader->gateway);
    cluster->leader = id;
    cluster->failovers++;
}

/* Only the leader of the last term commits; a longer-standing one works for nothing. */
static void commit(struct cluster *cluster, struct replica *replica)
{
    struct leadership *leadership = &replica->leadership;
    if (!leadership->leads || leadership->term != cluster->term || leadership->tail_count == 0) {
        return;
    }
    const uint32_t count =
        (uint32_t)fake_net_random(cluster->net, leadership->tail_count) + 1;
    assert_int_equal(leadership->base, cluster->log_count);
    assert_true(cluster->log_count + count <= LOG_MAX);
    memcpy(cluster->log + cluster->log_count, leadership->tail, count * sizeof *cluster->log);
    cluster->log_count += count;
    leadership->base += count;
    leadership->tail_count -= count;
    memmove(leadership->tail, leadership->tail + count,
            leadership->tail_count * sizeof *leadership->tail);
}

/* ---- what a replica does ------------------------------------------------------------------- */

static void submit(struct replica *replica)
{
    uint8_t command[4096] = {0};
    uint64_t sequence = replica->submitted + 1;
    const uint64_t content = content_of(session_of(replica), sequence);
    memcpy(command, &content, sizeof content);
    const uint64_t cookie = content;
    if (lks_gateway_submit(replica->gateway, command, bytes_of(sequence), cookie, &sequence) ==
        0) {
        replica->submitted++;
        assert_int_equal(sequence, replica->submitted);
    }
}

/* The leader's rule: only the next sequence of a session over its whole log is appended. */
static bool append(struct cluster *cluster, struct leadership *leadership,
                   const struct lks_ingress_command *command)
{
    switch (lks_sessions_expect(&leadership->appended, command->session, command->sequence)) {
    case LKS_SESSION_NEXT:
        break;
    case LKS_SESSION_DUPLICATE:
        cluster->duplicates++;
        return true;
    default:
        return false;
    }
    struct logged *logged = &leadership->tail[leadership->tail_count++];
    logged->session = command->session;
    logged->sequence = command->sequence;
    assert_int_equal(command->bytes, bytes_of(command->sequence));
    memcpy(&logged->content, command->data, sizeof logged->content);
    (void)lks_sessions_apply(&leadership->appended, command->session, command->sequence);
    return true;
}

static void lead(struct cluster *cluster, struct replica *replica)
{
    struct leadership *leadership = &replica->leadership;
    struct lks_gateway_command own;
    while (leadership->tail_count < TAIL_MAX && lks_gateway_next(replica->gateway, &own)) {
        const struct lks_ingress_command command = {session_of(replica), own.sequence, own.data,
                                                    own.bytes};
        assert_true(append(cluster, leadership, &command));
        lks_gateway_sent(replica->gateway);
    }
    for (uint32_t peer = 1; peer <= REPLICAS; peer++) {
        struct lks_ingress_consumer *consumer = &replica->consumers[peer];
        if (!replica->connected[peer]) {
            continue;
        }
        struct lks_ingress_offer offer;
        if (leadership->offered_term[peer] != leadership->term) {
            lks_ingress_consumer_offer(consumer, leadership->term, &offer);
            if (lks_mailbox_send(&replica->mailboxes[peer], &offer, sizeof offer, true) == 0) {
                leadership->offered_term[peer] = leadership->term;
            }
        }
        struct lks_ingress_command command;
        while (leadership->tail_count < TAIL_MAX && lks_ingress_pop(consumer, &command) == 0) {
            assert_true(append(cluster, leadership, &command)); /* no gap ever comes */
        }
        (void)lks_ingress_return_credits(consumer);
    }
}

static void follow(struct replica *replica)
{
    for (uint32_t peer = 1; peer <= REPLICAS; peer++) {
        struct lks_ingress_producer *producer = &replica->producers[peer];
        struct lks_gateway_command next;
        while (lks_ingress_producer_is_open(producer) &&
               lks_gateway_next(replica->gateway, &next)) {
            const struct lks_ingress_command command = {session_of(replica), next.sequence,
                                                        next.data, next.bytes};
            if (lks_ingress_push(producer, &command) != 0) {
                break;
            }
            lks_gateway_sent(replica->gateway);
        }
        (void)lks_ingress_publish(producer, true);
    }
}

/* The offer of the highest term wins; whoever led steps down. */
static void take_offers(struct replica *replica)
{
    for (uint32_t peer = 1; peer <= REPLICAS; peer++) {
        union {
            struct lks_ingress_offer offer;
            uint8_t bytes[LKS_MAILBOX_MESSAGE_MAX];
        } message;
        while (replica->connected[peer] &&
               lks_mailbox_receive(&replica->mailboxes[peer], message.bytes) > 0) {
            if (message.offer.term < replica->term_seen) {
                continue;
            }
            replica->term_seen = message.offer.term;
            replica->leadership.leads = false;
            for (uint32_t other = 1; other <= REPLICAS; other++) {
                lks_ingress_producer_close(&replica->producers[other]);
            }
            lks_ingress_producer_open(&replica->producers[peer], &message.offer);
            lks_gateway_rewind(replica->gateway);
        }
        if (replica->connected[peer]) {
            (void)lks_mailbox_poll(&replica->mailboxes[peer]);
        }
    }
}

static void take_events(struct cluster *cluster, struct replica *replica)
{
    struct lks_fabric_event events[16];
    const int count = lks_fabric_poll(fake_net_fabric(cluster->net, replica->id), events, 16);
    for (int i = 0; i < count; i++) {
        const uint32_t peer = events[i].peer;
        replica->connected[peer] = events[i].kind == LKS_FABRIC_CONNECTED;
        if (replica->connected[peer]) {
            lks_mailbox_connected(&replica->mailboxes[peer]);
        } else {
            lks_mailbox_disconnected(&replica->mailboxes[peer]);
            lks_ingress_producer_close(&replica->producers[peer]);
            lks_ingress_consumer_close(&replica->consumers[peer]);
        }
        replica->leadership.offered_term[peer] = 0;
    }
}

/* Executes some of the committed log; answers what came from its own clients. */
static void apply(struct cluster *cluster, struct replica *replica, uint64_t entries)
{
    while (entries > 0 && replica->applied_count < cluster->log_count) {
        entries--;
        const struct logged *logged = &cluster->log[replica->applied_count++];
        if (lks_sessions_apply(&replica->applied, logged->session, logged->sequence) !=
            LKS_SESSION_NEXT) {
            continue;
        }
        assert_int_equal(logged->content, content_of(logged->session, logged->sequence));
        if (logged->session == session_of(replica)) {
            replica->answered++;
            assert_int_equal(logged->sequence, replica->answered);
            assert_int_equal(lks_gateway_answered(replica->gateway, logged->sequence),
                             logged->content);
        }
    }
}

static void turn(struct cluster *cluster, uint32_t id)
{
    struct replica *replica = &cluster->replicas[id];
    take_events(cluster, replica);
    take_offers(replica);
    if (replica->leadership.leads) {
        lead(cluster, replica);
        commit(cluster, replica);
    } else {
        follow(replica);
    }
    apply(cluster, replica, fake_net_random(cluster->net, 20));
}

/* ---- the run ------------------------------------------------------------------------------- */

static void reconnect(struct cluster *cluster)
{
    for (uint32_t a = 1; a < REPLICAS; a++) {
        for (uint32_t b = a + 1; b <= REPLICAS; b++) {
            if (!fake_net_joined(cluster->net, a, b)) {
                fake_net_join(cluster->net, a, b);
            }
        }
    }
}

static void random_step(struct cluster *cluster)
{
    const uint32_t id = (uint32_t)fake_net_random(cluster->net, REPLICAS) + 1;
    const uint64_t choice = fake_net_random(cluster->net, 10000);
    if (choice < 5000) {
        for (uint64_t pieces = fake_net_random(cluster->net, 100); pieces > 0; pieces--) {
            (void)fake_net_deliver(cluster->net);
        }
    } else if (choice < 7000) {
        submit(&cluster->replicas[id]);
    } else if (choice < 9960) {
        turn(cluster, id);
    } else if (choice < 9975 || cluster->leader == 0) {
        elect(cluster, id);
    } else if (choice < 9985) {
        const uint32_t peer = id % REPLICAS + 1;
        if (fake_net_joined(cluster->net, id, peer)) {
            fake_net_break(cluster->net, id, peer);
        }
    } else if (choice < 9987) {
        restart(cluster, id);
    } else {
        reconnect(cluster);
    }
}

/* All is well again: every gateway's commands are answered, all replicas agree. */
static void expect_all_answered(struct cluster *cluster)
{
    fake_net_deliver_all(cluster->net); /* what is old has landed */
    reconnect(cluster);
    elect(cluster, 1);
    for (int round = 0; round < 2000; round++) {
        for (uint32_t id = 1; id <= REPLICAS; id++) {
            turn(cluster, id);
        }
        fake_net_deliver_all(cluster->net);
    }
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        const struct replica *replica = &cluster->replicas[id];
        assert_int_equal(replica->answered, replica->submitted);
        assert_int_equal(replica->applied_count, cluster->log_count);
        assert_int_equal(lks_sessions_hash(&replica->applied),
                         lks_sessions_hash(&cluster->replicas[1].applied));
    }
}

/* Independent of the session table: per session, the log holds 1, 2, 3, ..., each once. */
static void expect_log_in_order(struct cluster *cluster)
{
    for (uint64_t i = 0; i < cluster->log_count; i++) {
        const struct logged *logged = &cluster->log[i];
        const uint32_t replica = lks_session_replica(logged->session);
        const uint64_t life = lks_session_incarnation(logged->session);
        cluster->took_effect[replica][life]++;
        assert_int_equal(logged->sequence, cluster->took_effect[replica][life]);
    }
}

static void run(uint64_t seed, bool late)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    assert_non_null(cluster);
    cluster->log = calloc(LOG_MAX, sizeof *cluster->log);
    assert_non_null(cluster->log);
    cluster->net = fake_net_new(&(struct fake_net_options){.replicas = REPLICAS,
                                                           .seed = seed,
                                                           .inbox_bytes = LKS_REPLICA_INBOX_BYTES,
                                                           .outstanding_max = 24,
                                                           .busy_percent = 5,
                                                           .late = late});
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        cluster->replicas[id].buffer = malloc(LKS_INGRESS_COMMAND_MAX);
        assert_non_null(cluster->replicas[id].buffer);
        start(cluster, id);
    }
    reconnect(cluster);
    for (int step = 0; step < 30000; step++) {
        random_step(cluster);
    }
    assert_true(cluster->failovers > 20);
    assert_true(cluster->log_count > 1000);
    assert_true(cluster->duplicates > 0);
    expect_all_answered(cluster);
    expect_log_in_order(cluster);
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        lks_gateway_free(cluster->replicas[id].gateway);
        free(cluster->replicas[id].buffer);
    }
    fake_net_free(cluster->net);
    free(cluster->log);
    free(cluster);
}

static void failovers__repeats_and_restarts__each_command_once_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        run(seed, false);
    }
}

static void failovers__old_writes_land_late__each_command_once_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 101; seed <= 110; seed++) {
        run(seed, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failovers__repeats_and_restarts__each_command_once_in_order),
        cmocka_unit_test(failovers__old_writes_land_late__each_command_once_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
