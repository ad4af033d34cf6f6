/*
 * A replica that does not lead sends its clients' commands into the leader's memory, and waits
 * for its own execution of the log to answer them. Replica's thread.
 */
#include "node/replica_internal.h"

#define FORWARD_PER_TURN_MAX 1024
#define STALLED_TIMEOUTS 8u   /* election timeouts without any answer */
#define UNOFFERED_TIMEOUTS 2u /* election timeouts of a known leader without its offer */
#define SILENT_TIMEOUTS 2u    /* election timeouts after which a leader is as good as none */

static struct lks_ingress_producer *route(struct lks_replica *replica)
{
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        if (lks_ingress_producer_is_open(&replica->peers[p].producer)) {
            return &replica->peers[p].producer;
        }
    }
    return NULL;
}

/*
 * A write of an older connection that lands late may hide a word of the ingress ring until the
 * next offer: where nothing is answered for long though a leader is there, ask for one. Whatever
 * is sent twice takes effect once.
 */
static void ask_for_offer(struct lks_replica *replica, const struct lks_ingress_producer *producer)
{
    struct lks_gateway_counts counts;
    lks_gateway_counts(replica->gateway, &counts);
    if (counts.answered == counts.submitted || counts.answered != replica->answered_seen) {
        replica->answered_seen = counts.answered;
        replica->answered_seen_ns = replica->now_ns;
    } else if (replica->now_ns - replica->answered_seen_ns >
               STALLED_TIMEOUTS * replica->options.election_timeout_ns) {
        replica->answered_seen_ns = replica->now_ns;
        const uint32_t leader = replica->view->leader;
        (void)lks_replica_send_offer_request(replica, leader != 0 ? leader : producer->peer);
    }
}

/*
 * An offer that came while this replica still led an older term was dropped, and one may have
 * been lost with a connection that only this side saw break; what is open then, if anything, is
 * the offer of a replica that leads no more. Where a leader is known, ask it.
 */
static void ask_for_first_offer(struct lks_replica *replica)
{
    const uint32_t leader = replica->view->leader;
    const uint64_t patience = UNOFFERED_TIMEOUTS * replica->options.election_timeout_ns;
    if (leader == 0) {
        replica->unoffered_since_ns = 0;
    } else if (replica->unoffered_since_ns == 0) {
        replica->unoffered_since_ns = replica->now_ns;
    } else if (replica->now_ns - replica->unoffered_since_ns > patience) {
        replica->unoffered_since_ns = replica->now_ns;
        (void)lks_replica_send_offer_request(replica, leader);
    }
}

/* The core may know a leader by name for long after it was last seen at work. */
static bool is_led(const struct lks_replica *replica)
{
    const uint32_t leader = replica->view->leader;
    return leader != 0 && replica->now_ns - replica->peers[leader].beat_seen_ns <=
                              SILENT_TIMEOUTS * replica->options.election_timeout_ns;
}

/* Own clients wait: notice the leader's end at once, not with the next heartbeat. */
static void watch_leader(struct lks_replica *replica)
{
    const uint32_t leader = replica->view->leader;
    struct lks_gateway_counts counts;
    lks_gateway_counts(replica->gateway, &counts);
    replica->clients_wait =
        counts.answered != counts.submitted || lks_reads_waiting(replica) != 0;
    if (replica->clients_wait && leader != 0 && leader != replica->options.replica &&
        lks_fabric_peer_ends(replica->options.fabric, leader)) {
        lks_replica_read_words(replica, leader);
    }
}

int lks_replica_forward(struct lks_replica *replica)
{
    if (replica->view->role == LKS_CORE_LEADER) {
        if (replica->view->established) {
            replica->leaderless_since_ns = 0;
        }
        replica->unoffered_since_ns = 0;
        replica->clients_wait = false;
        return 0;
    }
    watch_leader(replica);
    struct lks_ingress_producer *producer = route(replica);
    if (producer != NULL && is_led(replica)) {
        replica->leaderless_since_ns = 0;
    } else if (replica->leaderless_since_ns == 0) {
        replica->leaderless_since_ns = replica->now_ns;
    }
    const uint32_t leader = replica->view->leader;
    if (producer == NULL || (leader != 0 && producer->peer != leader)) {
        ask_for_first_offer(replica);
    } else {
        replica->unoffered_since_ns = 0;
    }
    if (producer == NULL) {
        return 0;
    }
    struct lks_gateway_command pending;
    int work = 0;
    while (work < FORWARD_PER_TURN_MAX && lks_gateway_next(replica->gateway, &pending)) {
        const struct lks_ingress_command command = {
            .session = replica->session,
            .sequence = pending.sequence,
            .data = pending.data,
            .bytes = pending.bytes,
        };
        if (lks_ingress_push(producer, &command) != 0) {
            break; /* no credit: the leader gives some back; broken: another offer will come */
        }
        lks_gateway_sent(replica->gateway);
        work++;
    }
    (void)lks_ingress_publish(producer, true);
    ask_for_offer(replica, producer);
    return work;
}
