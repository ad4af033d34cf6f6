/*
 * A replica that does not lead sends its clients' commands into the leader's memory, and waits
 * for its own execution of the log to answer them. Replica's thread.
 */
#include "node/replica_internal.h"

#define FORWARD_PER_TURN_MAX 1024

static struct lks_ingress_producer *route(struct lks_replica *replica)
{
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        if (lks_ingress_producer_is_open(&replica->peers[p].producer)) {
            return &replica->peers[p].producer;
        }
    }
    return NULL;
}

int lks_replica_forward(struct lks_replica *replica)
{
    if (replica->view->role == LKS_CORE_LEADER) {
        if (replica->view->established) {
            replica->leaderless_since_ns = 0;
        }
        return 0;
    }
    struct lks_ingress_producer *producer = route(replica);
    if (producer == NULL) {
        if (replica->leaderless_since_ns == 0) {
            replica->leaderless_since_ns = replica->now_ns;
        }
        return 0;
    }
    if (replica->view->leader != 0) {
        replica->leaderless_since_ns = 0;
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
    return work;
}
