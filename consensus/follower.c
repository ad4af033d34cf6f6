/*
 * A replica that does not lead: watching the leader's counter, deciding about pre-votes, and the
 * end of its own amnesia.
 *
 * The counter is read one-sidedly, so a busy or slow network delays the read but does not fake a
 * failure; time is observed time, so a pause of this replica does not either.
 */
#include "consensus/core_internal.h"

#define UNFIT_TIMEOUTS 10u   /* election timeouts for which one that should not lead waits */
#define WAITING_TIMEOUTS 10u /* election timeouts for a leader that waits for a processor */

void lks_follower_enter(struct lks_core *core, uint64_t patience_ns)
{
    lks_core_set_role(core, LKS_CORE_FOLLOWER);
    const uint64_t spread = patience_ns / 4 + 1;
    core->suspect_ns = core->observed_ns + patience_ns + lks_core_random_below(core, spread);
    lks_core_due(core, core->suspect_ns - core->observed_ns);
}

void lks_follower_lost_leader(struct lks_core *core, bool dead)
{
    lks_core_set_leader(core, 0);
    core->leaderless_ns = dead ? 0 : core->observed_ns;
    if (core->view.role != LKS_CORE_FOLLOWER) {
        return;
    }
    /* All followers notice a death at once: spread them a little, ties are settled by rank. */
    const uint64_t spread =
        dead ? core->options.heartbeat_ns / 16 : core->options.election_timeout_ns / 2;
    const uint64_t wait = lks_core_random_below(core, spread + 1);
    if (core->observed_ns + wait < core->suspect_ns) {
        core->suspect_ns = core->observed_ns + wait;
    }
    lks_core_due(core, wait);
}

/* A replica that should not lead lets others stand first; if none does, any leader is better than
 * none: reads go on, at least. */
static uint64_t deference_ns(const struct lks_core *core)
{
    return core->unfit ? UNFIT_TIMEOUTS * core->options.election_timeout_ns : 0;
}

void lks_follower_tick(struct lks_core *core)
{
    if (core->now_ns >= core->beat_ns) {
        core->beat_ns = core->now_ns + core->options.heartbeat_ns;
        for (uint32_t p = 1; p <= core->options.replicas; p++) {
            const bool wanted = core->view.leader == 0 || core->view.leader == p;
            if (lks_core_is_peer(core, p) && core->peers[p].connected && wanted) {
                lks_core_emit(core, LKS_EFFECT_READ_HEARTBEAT, p);
            }
        }
    }
    lks_core_due(core, core->beat_ns - core->now_ns);
    if (core->view.role != LKS_CORE_FOLLOWER || !lks_election_may_stand(core) ||
        core->handover.phase != HANDOVER_IDLE) {
        return;
    }
    const uint64_t stand_ns = core->suspect_ns + deference_ns(core);
    if (core->observed_ns >= stand_ns) {
        lks_election_start_prevote(core);
    } else {
        lks_core_due(core, stand_ns - core->observed_ns);
    }
}

static void trust_leader(struct lks_core *core, uint32_t leader)
{
    if (core->view.leader != leader) {
        lks_core_set_leader(core, leader);
    }
    core->peers[leader].beat_seen_ns = core->observed_ns;
    if (core->view.role == LKS_CORE_PRE_CANDIDATE) {
        lks_core_set_role(core, LKS_CORE_FOLLOWER);
    }
    core->suspect_ns = core->observed_ns + core->options.election_timeout_ns +
                       lks_core_random_below(core, core->options.election_timeout_ns / 4 + 1);
}

/*
 * A leader that is ready to run but gets no processor is slow, not gone: replacing it by a replica
 * that competes for the same processors helps nobody. Bounded, and a hint only: safety never
 * depends on who is taken for dead.
 */
static bool leader_waits(const struct lks_core *core, uint32_t leader)
{
    const struct peer *peer = &core->peers[leader];
    return peer->waits && peer->connected &&
           core->observed_ns - peer->beat_seen_ns <
               WAITING_TIMEOUTS * core->options.election_timeout_ns;
}

static void be_patient(struct lks_core *core)
{
    const uint64_t until = core->observed_ns + core->options.election_timeout_ns / 2;
    if (core->suspect_ns < until) {
        core->suspect_ns = until;
    }
    if (core->view.role == LKS_CORE_PRE_CANDIDATE) {
        lks_core_set_role(core, LKS_CORE_FOLLOWER);
    }
}

static void count_amnesiacs(struct lks_core *core)
{
    const uint8_t voters = core->view.members.voters;
    uint8_t sound = voters;
    LKS_QUORUM_EACH (p, voters) {
        const bool own = p == core->options.replica;
        if (own ? core->view.amnesiac : core->peers[p].amnesiac) {
            sound &= (uint8_t) ~(1u << p);
        }
    }
    core->view.majority_amnesiac = voters != 0 && !lks_quorum_has_majority(sound, voters);
}

void lks_follower_heartbeat(struct lks_core *core, const struct lks_core_event *event)
{
    struct peer *peer = &core->peers[event->peer];
    if (event->status != 0 || !peer->connected || !lks_core_plausible_term(core, event->term)) {
        return;
    }
    const bool first = peer->beat == 0;
    const bool moved = event->beat != peer->beat;
    const bool stopped_leading = peer->leading && !event->leading;
    peer->beat = event->beat;
    peer->beat_term = event->term;
    peer->leading = event->leading;
    peer->amnesiac = event->amnesiac;
    peer->waits = event->waits && !moved && !stopped_leading;
    count_amnesiacs(core);
    lks_leader_base_seen(core, event->peer, event->offset);
    if (event->term > core->term_seen && event->leading) {
        core->term_seen = event->term;
    }
    if (core->view.role != LKS_CORE_FOLLOWER && core->view.role != LKS_CORE_PRE_CANDIDATE) {
        return;
    }
    const uint32_t leader = core->view.leader;
    if (leader == event->peer && event->dead) {
        lks_follower_lost_leader(core, true);
        return;
    }
    if (event->dead) {
        return; /* whatever its words still say */
    }
    if (leader == event->peer && leader_waits(core, leader)) {
        be_patient(core);
        return;
    }
    if (event->leading && event->term >= core->promise_term) {
        const bool newer = leader == 0 || event->term > core->peers[leader].beat_term;
        if (leader == event->peer ? moved : newer && (moved || first)) {
            trust_leader(core, event->peer);
        }
    } else if (leader == event->peer && stopped_leading) {
        lks_follower_lost_leader(core, false);
    } else if (leader == event->peer && moved && event->term >= core->promise_term) {
        trust_leader(core, event->peer); /* a candidate that we granted, at work */
    }
}

/* Whether the sender would make the better candidate of two pre-candidates; a total order, so
 * that of any two exactly one yields. */
static bool better_candidate(const struct lks_core *core, uint32_t peer,
                             const struct lks_message *message)
{
    if (message->tail.term != core->view.tail.term) {
        return message->tail.term > core->view.tail.term;
    }
    if (message->tail.offset != core->view.tail.offset) {
        return message->tail.offset > core->view.tail.offset;
    }
    return peer < core->options.replica;
}

/* Nobody accepts while it still sees the present leader's counter move. */
static bool prevote_acceptable(const struct lks_core *core, uint32_t peer,
                               const struct lks_message *message)
{
    const uint64_t half = core->options.election_timeout_ns / 2;
    if (core->view.amnesiac || core->handover.phase != HANDOVER_IDLE ||
        message->term <= core->promise_term ||
        lks_members_is_no_voter(core, peer, message->members_number)) {
        return false;
    }
    if (core->view.role == LKS_CORE_PRE_CANDIDATE) {
        return better_candidate(core, peer, message);
    }
    if (core->view.role != LKS_CORE_FOLLOWER) {
        return false;
    }
    if (core->view.leader == 0) {
        return core->observed_ns - core->leaderless_ns >= half;
    }
    return core->view.leader == peer ||
           (!leader_waits(core, core->view.leader) &&
            core->observed_ns - core->peers[core->view.leader].beat_seen_ns >= half);
}

void lks_follower_prevote_request(struct lks_core *core, uint32_t peer,
                                  const struct lks_message *message)
{
    const bool accept = prevote_acceptable(core, peer, message);
    if (accept) {
        const uint64_t patience = core->options.election_timeout_ns / 2;
        if (core->view.role == LKS_CORE_PRE_CANDIDATE) {
            lks_follower_enter(core, patience);
        } else if (core->suspect_ns < core->observed_ns + patience) {
            core->suspect_ns = core->observed_ns + patience;
        }
    }
    if (!accept && core->view.leader != 0 && core->view.leader != peer &&
        core->view.leader != core->options.replica && core->peers[core->view.leader].connected) {
        /* Another has reason to doubt the leader: look again before it asks again. */
        lks_core_emit(core, LKS_EFFECT_READ_HEARTBEAT, core->view.leader);
    }
    struct lks_message *answer = lks_core_send(core, peer, LKS_MESSAGE_PREVOTE_REPLY);
    answer->request = message->request;
    answer->flags = (accept ? LKS_MESSAGE_ACCEPTED : 0) |
                    (core->view.amnesiac ? LKS_MESSAGE_AMNESIAC : 0);
    if (lks_members_is_removed(core, peer, message->members_number)) {
        answer->flags |= LKS_MESSAGE_NOT_MEMBER;
        answer->members_number = (uint32_t)core->committed.number;
    }
}

static void send_cleared(struct lks_core *core)
{
    struct lks_message *message =
        lks_core_send(core, core->view.grant.peer, LKS_MESSAGE_AMNESIA_CLEARED);
    message->key[0] = core->view.grant.number;
}

void lks_follower_amnesia_over(struct lks_core *core, uint32_t peer,
                               const struct lks_message *message)
{
    if (core->view.grant.peer != peer || message->term != core->view.grant.term ||
        message->incarnation != core->view.grant.incarnation ||
        message->key[0] != core->view.grant.number) {
        return;
    }
    if (core->view.amnesiac) {
        lks_members_learn_bootstrap(core, message->key[1]);
        lks_core_emit(core, LKS_EFFECT_CLEAR_AMNESIA, peer)->voters =
            lks_members_bootstrap_voters(core);
    } else {
        send_cleared(core); /* it ended under an earlier grant, which broke before this was said */
    }
}

void lks_follower_amnesia_cleared(struct lks_core *core)
{
    core->view.amnesiac = false;
    core->options.promise_lost = false;
    if (core->view.grant.peer != 0 && core->peers[core->view.grant.peer].connected) {
        send_cleared(core);
    }
}
