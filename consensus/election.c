/*
 * Becoming a candidate: pre-vote, own ring handed over to itself, requests for grants, and
 * stepping down. A grant is a vote: whoever holds a majority of write permissions in its term is
 * the only one who can get anything committed.
 */
#include "consensus/core_internal.h"

#define PREVOTES_PER_BEAT 8u /* a pre-vote is asked for again after this part of a heartbeat */
#define UNHEARD_CHANGES 2u   /* of members, in the own log, that this replica may not know of */
#define REQUEST_TIMEOUTS 10u /* election timeouts after which an unanswered request is repeated */

static uint8_t own_bit(const struct lks_core *core)
{
    return (uint8_t)(1u << core->options.replica);
}

/*
 * Whether younger members than those in force here may stand in the own log: those are of the last
 * look at it, and another has been allowed to write it since. Only a look after a fence tells, and
 * that costs a term: see "unheard_of".
 */
static bool may_have_missed(const struct lks_core *core)
{
    return core->granted_to != 0;
}

/* Whether its own log, as last looked at, or what has committed makes this replica a voter. */
static bool is_known_voter(const struct lks_core *core)
{
    const uint8_t committed = may_have_missed(core) ? core->committed.voters : 0;
    return ((core->view.members.voters | committed) & own_bit(core)) != 0;
}

/* Learners, removed replicas, and those that know no members wait for a leader. */
bool lks_election_may_stand(const struct lks_core *core)
{
    const bool learner = (core->view.members.learners & own_bit(core)) != 0;
    return !core->view.amnesiac && !core->view.removed &&
           (is_known_voter(core) || (learner && may_have_missed(core)));
}

static uint8_t prevotes(const struct lks_core *core)
{
    uint8_t accepted = own_bit(core);
    LKS_QUORUM_EACH (p, core->met) {
        const struct peer *peer = &core->peers[p];
        accepted |= (uint8_t)(peer->prevote && peer->connected ? 1u << p : 0);
    }
    return accepted;
}

static bool prevotes_suffice(const struct lks_core *core)
{
    const uint8_t accepted = prevotes(core);
    return is_known_voter(core) &&
           (lks_quorum_has_majority(accepted, core->view.members.voters) ||
            (may_have_missed(core) && lks_quorum_has_majority(accepted, core->committed.voters)));
}

/*
 * Whether those that accepted may be a majority of members that this replica has not heard of: at
 * most two changes (the word that commits one comes behind the next at the latest). A leader that
 * wrote them is a voter and gone, so at least one other is needed. Once per grant, and only after
 * the pre-vote has failed by the members that are known (docs/protocol.md, "Pre-vote").
 */
static bool unheard_of(const struct lks_core *core)
{
    const uint32_t accepted = lks_quorum_count(prevotes(core));
    return may_have_missed(core) && lks_election_may_stand(core) && accepted >= 2 &&
           2 * accepted + UNHEARD_CHANGES > lks_quorum_count(core->view.members.voters);
}

/* Replicas whose rings this one may write, itself included. */
uint8_t lks_election_standing(const struct lks_core *core)
{
    uint8_t standing = own_bit(core);
    LKS_QUORUM_EACH (p, core->met) {
        standing |= (uint8_t)(core->peers[p].path_open ? 1u << p : 0);
    }
    return standing;
}

static void send_prevotes(struct lks_core *core)
{
    const uint64_t term =
        (core->term_seen > core->promise_term ? core->term_seen : core->promise_term) + 1;
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        if (lks_core_is_peer(core, p) && core->peers[p].connected && !core->peers[p].prevote &&
            (may_have_missed(core) || lks_members_is_voter(core, p))) {
            struct lks_message *message = lks_core_send(core, p, LKS_MESSAGE_PREVOTE_REQUEST);
            message->term = term;
            message->request = core->prevote_request;
            message->tail = core->view.tail;
        }
    }
    core->resend_ns = core->now_ns + core->options.heartbeat_ns / PREVOTES_PER_BEAT;
    lks_core_due(core, core->options.heartbeat_ns / PREVOTES_PER_BEAT);
}

void lks_election_start_prevote(struct lks_core *core)
{
    LKS_ASSERT(lks_election_may_stand(core));
    LKS_ASSERT(core->handover.phase == HANDOVER_IDLE);
    lks_core_set_role(core, LKS_CORE_PRE_CANDIDATE);
    core->requests++;
    core->prevote_request = core->requests;
    core->give_up_ns = core->observed_ns + 2 * core->options.election_timeout_ns;
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        core->peers[p].prevote = false;
    }
    if (prevotes_suffice(core)) {
        lks_election_start(core);
        return;
    }
    send_prevotes(core);
}

void lks_election_prevote_reply(struct lks_core *core, uint32_t peer,
                                const struct lks_message *message)
{
    if (core->view.role != LKS_CORE_PRE_CANDIDATE || message->request != core->prevote_request ||
        (message->flags & LKS_MESSAGE_ACCEPTED) == 0) {
        return;
    }
    core->peers[peer].prevote = true;
    if (prevotes_suffice(core) && core->handover.phase == HANDOVER_IDLE) {
        lks_election_start(core);
    }
}

static void forget_grants(struct lks_core *core)
{
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        struct peer *peer = &core->peers[p];
        peer->request = 0;
        peer->granted = false;
        peer->path_open = false;
        peer->counted = false;
        lks_leader_void_writes(peer);
        peer->behind = false;
        peer->install = 0;
        peer->probes = 0;
        peer->confirming = false;
        peer->caught_up = false;
        peer->leaving = false;
        peer->amnesia = AMNESIA_NONE;
        peer->retry_ns = 0;
    }
}

void lks_election_start(struct lks_core *core)
{
    LKS_ASSERT(!core->view.amnesiac);
    LKS_ASSERT(core->handover.phase == HANDOVER_IDLE);
    lks_core_set_role(core, LKS_CORE_CANDIDATE);
    lks_core_set_leader(core, 0);
    forget_grants(core);
    const uint64_t timeout = core->options.election_timeout_ns;
    core->ask_until_ns = 0;
    core->give_up_ns = core->observed_ns + 2 * timeout + lks_core_random_below(core, timeout + 1);
    const uint64_t highest =
        core->term_seen > core->promise_term ? core->term_seen : core->promise_term;
    const struct handover_target self = {
        .candidate = core->options.replica,
        .term = highest + 1,
        .incarnation = core->options.incarnation,
    };
    lks_handover_begin(core, &self);
}

void lks_election_own_ring_ready(struct lks_core *core)
{
    if (core->view.role != LKS_CORE_CANDIDATE) {
        return; /* gave up meanwhile */
    }
    LKS_ASSERT(core->promise_candidate == core->options.replica);
    if (!lks_members_is_voter(core, core->options.replica)) {
        /* Its own log, looked at just now, says that it is no voter. */
        lks_election_step_down(core, core->options.election_timeout_ns);
        return;
    }
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        if (lks_core_is_peer(core, p) && core->peers[p].connected && lks_election_wants(core, p)) {
            lks_election_request(core, p);
        }
    }
    if (lks_quorum_has_majority(own_bit(core), core->view.members.voters)) {
        lks_adoption_begin(core);
    }
}

/* Whether p's grant is sought: a voter's always, a learner's once this replica is established. */
bool lks_election_wants(const struct lks_core *core, uint32_t p)
{
    return lks_members_is_voter(core, p) ||
           (core->view.established && lks_members_is_member(core, p));
}

void lks_election_request(struct lks_core *core, uint32_t peer)
{
    LKS_ASSERT(core->promise_candidate == core->options.replica);
    struct peer *state = &core->peers[peer];
    LKS_ASSERT(!state->path_open);
    core->requests++;
    state->request = core->requests;
    state->request_ns = core->observed_ns;
    state->granted = false;
    struct lks_message *message = lks_core_send(core, peer, LKS_MESSAGE_VOTE_REQUEST);
    message->request = state->request;
    message->tail = core->view.tail;
    message->flags = core->view.established ? LKS_MESSAGE_ESTABLISHED : 0;
}

static bool seeks_grants(const struct lks_core *core)
{
    return core->view.role == LKS_CORE_CANDIDATE || core->view.role == LKS_CORE_ADOPTING ||
           core->view.role == LKS_CORE_LEADER;
}

void lks_election_vote_reply(struct lks_core *core, uint32_t peer,
                             const struct lks_message *message)
{
    struct peer *state = &core->peers[peer];
    if (!seeks_grants(core) || message->term != core->promise_term || state->request == 0 ||
        message->request != state->request) {
        return; /* an answer to another attempt: its key is never used */
    }
    state->request = 0;
    if (message->tail.term > core->promise_term) {
        if (message->tail.term > core->term_seen) {
            core->term_seen = message->tail.term;
        }
        lks_election_step_down(core, core->options.election_timeout_ns);
        return;
    }
    if ((message->flags & LKS_MESSAGE_AMNESIAC) != 0 && core->view.role != LKS_CORE_LEADER) {
        state->retry_ns = core->observed_ns + core->options.heartbeat_ns;
        return;
    }
    if (!lks_election_wants(core, peer)) {
        return; /* no member any more */
    }
    state->report = *message;
    state->granted = true;
    state->grant = message->key[0];
    struct lks_effect *effect = lks_core_emit(core, LKS_EFFECT_OPEN, peer);
    for (uint32_t i = 0; i < LKS_KEY_WORDS; i++) {
        effect->key[i] = message->key[i];
    }
}

void lks_election_refused(struct lks_core *core, uint32_t peer, const struct lks_message *message)
{
    struct peer *state = &core->peers[peer];
    if (!seeks_grants(core) || state->request == 0 || message->request != state->request) {
        return;
    }
    state->request = 0;
    state->retry_ns = core->observed_ns + 2 * core->options.heartbeat_ns;
    if (message->term > core->promise_term) {
        /* A higher term exists: only an election above it can win this replica's grant. */
        lks_election_step_down(core, core->options.heartbeat_ns);
    } else if (core->view.removed && core->view.role != LKS_CORE_LEADER) {
        lks_election_step_down(core, core->options.election_timeout_ns);
    } else if ((message->flags & LKS_MESSAGE_TERM_TAKEN) != 0 &&
               (core->view.established || lks_leader_needs_others(core)) &&
               !core->view.transferring) {
        /* A rival of this term's election, for instance, promised the term to itself: it can
         * never grant in it. The leader takes the next term, in which everybody can. */
        LKS_ASSERT(core->view.role == LKS_CORE_LEADER);
        lks_election_step_down(core, core->options.election_timeout_ns);
        lks_election_start(core);
    }
}

void lks_election_opened(struct lks_core *core, const struct lks_core_event *event)
{
    struct peer *peer = &core->peers[event->peer];
    if (!seeks_grants(core) || !peer->granted || peer->path_open || event->grant != peer->grant) {
        return;
    }
    if (event->status != 0) {
        lks_election_path_lost(core, event->peer);
        return;
    }
    peer->path_open = true;
    peer->ok_ns = core->observed_ns;
    LKS_ASSERT(peer->inflight == 0);
    peer->probes = 0;
    peer->confirming = false;
    if (core->view.role == LKS_CORE_LEADER) {
        lks_leader_path_open(core, event->peer);
    } else if (core->view.role == LKS_CORE_CANDIDATE) {
        if (lks_quorum_has_majority(lks_election_standing(core), core->view.members.voters)) {
            lks_adoption_begin(core);
        }
    } else {
        lks_adoption_choose(core);
    }
}

/* The right to write there is gone, or its connection: everything in flight under it is void. */
void lks_election_path_lost(struct lks_core *core, uint32_t peer)
{
    struct peer *state = &core->peers[peer];
    state->granted = false;
    state->path_open = false;
    lks_leader_void_writes(state);
    state->behind = false;
    state->install = 0;
    state->probes = 0;
    state->round_posted = 0;
    state->round_confirmed = 0;
    state->confirming = false;
    state->caught_up = false;
    state->leaving = false;
    state->amnesia = AMNESIA_NONE;
    state->retry_ns = core->observed_ns + core->options.heartbeat_ns / 2;
    if (core->view.role == LKS_CORE_ADOPTING) {
        lks_adoption_path_lost(core, peer);
    }
}

void lks_election_step_down(struct lks_core *core, uint64_t patience_ns)
{
    if (core->view.role == LKS_CORE_LEADER) {
        lks_leader_leave(core);
    }
    lks_core_cancel(core);
    forget_grants(core);
    lks_core_set_leader(core, 0);
    core->leaderless_ns = core->observed_ns;
    lks_follower_enter(core, patience_ns);
}

/* Shared by candidates and leaders: requests that are due. */
void lks_election_request_missing(struct lks_core *core)
{
    if (core->handover.phase != HANDOVER_IDLE) {
        return;
    }
    LKS_QUORUM_EACH (p, core->met) {
        struct peer *peer = &core->peers[p];
        if (!peer->connected || peer->granted || !lks_election_wants(core, p)) {
            continue;
        }
        const uint64_t patience = REQUEST_TIMEOUTS * core->options.election_timeout_ns;
        const bool stale = peer->request != 0 && core->observed_ns - peer->request_ns > patience;
        if ((peer->request == 0 && core->observed_ns >= peer->retry_ns) || stale) {
            lks_election_request(core, p);
        }
    }
}

/* Whether completions there show that this leader can still get something committed. One that has
 * forgotten its promise shows nothing: it may be a newer leader's, which the others follow. */
static bool speaks_for_majority(const struct peer *peer)
{
    return peer->path_open && (peer->amnesia == AMNESIA_NONE || peer->amnesia_proof == 0);
}

/* True if completions of a majority are younger than an election timeout (own counted). */
static bool majority_answers(const struct lks_core *core)
{
    uint8_t fresh = own_bit(core);
    LKS_QUORUM_EACH (p, core->met) {
        const struct peer *peer = &core->peers[p];
        if (speaks_for_majority(peer) &&
            core->observed_ns - peer->ok_ns < core->options.election_timeout_ns) {
            fresh |= (uint8_t)(1u << p);
        }
    }
    return lks_quorum_has_majority(fresh, core->view.members.voters);
}

static void probe_idle(struct lks_core *core)
{
    LKS_QUORUM_EACH (p, core->met) {
        struct peer *peer = &core->peers[p];
        if (peer->path_open && peer->inflight == 0 && peer->probes == 0) {
            lks_reads_probe(core, p);
        }
    }
}

/* The peers' bases: how far their rings may be written. */
static void read_words(struct lks_core *core)
{
    LKS_QUORUM_EACH (p, core->met) {
        if (core->peers[p].connected) {
            lks_core_emit(core, LKS_EFFECT_READ_HEARTBEAT, p);
        }
    }
}

/* A candidate that adopted other members than it had asked has some time to ask those. */
static bool still_asks(const struct lks_core *core)
{
    return core->view.role == LKS_CORE_ADOPTING && core->observed_ns < core->ask_until_ns;
}

void lks_election_beat(struct lks_core *core)
{
    if (core->now_ns < core->beat_ns) {
        lks_core_due(core, core->beat_ns - core->now_ns);
        return;
    }
    core->beat_ns = core->now_ns + core->options.heartbeat_ns;
    lks_core_emit(core, LKS_EFFECT_BEAT, 0);
    if (core->view.role != LKS_CORE_CANDIDATE) {
        /* A leader that completes nothing on a majority steps down, and its counter stops: so an
         * asymmetric partition cannot leave a leader that is seen alive but commits nothing. */
        if (!majority_answers(core) && !still_asks(core)) {
            lks_election_step_down(core, core->options.election_timeout_ns);
            return;
        }
        probe_idle(core);
    }
    if (core->view.role == LKS_CORE_LEADER) {
        read_words(core);
    }
    lks_election_request_missing(core);
}

void lks_election_tick(struct lks_core *core)
{
    if (core->view.role == LKS_CORE_PRE_CANDIDATE) {
        const bool over = core->observed_ns >= core->give_up_ns;
        if (over && unheard_of(core) && core->handover.phase == HANDOVER_IDLE) {
            lks_election_start(core);
        } else if (over || !lks_election_may_stand(core)) {
            const uint64_t timeout = core->options.election_timeout_ns;
            lks_follower_enter(core, lks_core_random_below(core, timeout));
        } else if (core->now_ns >= core->resend_ns) {
            send_prevotes(core);
        } else {
            lks_core_due(core, core->resend_ns - core->now_ns);
        }
        return;
    }
    if (core->view.role == LKS_CORE_CANDIDATE && core->observed_ns >= core->give_up_ns) {
        lks_election_step_down(core,
                               lks_core_random_below(core, core->options.election_timeout_ns));
        return;
    }
    lks_election_beat(core);
}
