/*
 * Handing the own ring to a new holder: another replica that asks for it, or this one as a
 * candidate. The order of the steps is the heart of safety (design 3.4):
 *
 *   own reads and installations ended -> old permission revoked, completion seen -> promise
 *   durable -> whole visible tail durable -> grant -> reply with key, tail and runs
 *
 * Why this order: a write that lands after the tail was reported would be durable nowhere the new
 * leader knows of (revoke first); a restart between grant and promise could grant twice in a term
 * (promise first); a reported entry that only sat in a cache could vanish in a power cut after
 * it helped to elect a leader (tail first).
 */
#include "consensus/core_internal.h"

static bool ring_is_own(const struct lks_core *core)
{
    return core->handover.target.candidate == core->options.replica;
}

static bool supersedes(const struct handover_target *a, const struct handover_target *b)
{
    return a->term > b->term || (a->term == b->term && a->candidate == b->candidate &&
                                 a->incarnation == b->incarnation && a->request > b->request);
}

static void persist_promise(struct lks_core *core)
{
    core->handover.phase = HANDOVER_PROMISING;
    struct lks_effect *effect =
        lks_core_emit(core, LKS_EFFECT_PERSIST_PROMISE, core->handover.target.candidate);
    effect->term = core->handover.target.term;
    effect->incarnation = core->handover.target.incarnation;
}

static void revoke(struct lks_core *core)
{
    if (core->granted_to == 0) {
        persist_promise(core);
        return;
    }
    core->handover.phase = HANDOVER_REVOKING;
    core->view.grant.peer = 0; /* acknowledgements under it end here */
    lks_core_emit(core, LKS_EFFECT_REVOKE, core->granted_to);
}

void lks_handover_begin(struct lks_core *core, const struct handover_target *target)
{
    LKS_ASSERT(core->handover.phase == HANDOVER_IDLE);
    LKS_ASSERT(target->term >= core->promise_term);
    if (target->candidate != core->options.replica && core->view.role != LKS_CORE_FOLLOWER) {
        lks_election_step_down(core, core->options.election_timeout_ns); /* appends end here */
    }
    core->handover.target = *target;
    if (lks_core_ring_busy(core)) {
        core->handover.phase = HANDOVER_DRAINING;
        lks_core_cancel(core);
        return;
    }
    revoke(core);
}

/* Drops what is under way for the target that came meanwhile; true if there was one. */
static bool superseded(struct lks_core *core)
{
    if (core->handover.next.candidate == 0) {
        return false;
    }
    core->handover.phase = HANDOVER_IDLE;
    if (ring_is_own(core) && core->view.role == LKS_CORE_CANDIDATE) {
        lks_election_step_down(core, core->options.election_timeout_ns);
    }
    lks_handover_take_next(core);
    return true;
}

void lks_handover_drained(struct lks_core *core)
{
    if (core->handover.phase == HANDOVER_DRAINING && !superseded(core)) {
        revoke(core);
    }
}

void lks_handover_revoked(struct lks_core *core, uint32_t peer)
{
    LKS_ASSERT(core->handover.phase == HANDOVER_REVOKING);
    LKS_ASSERT(core->granted_to == peer);
    core->granted_to = 0;
    if (!superseded(core)) {
        persist_promise(core);
    }
}

void lks_handover_promised(struct lks_core *core)
{
    LKS_ASSERT(core->handover.phase == HANDOVER_PROMISING);
    const struct handover_target *target = &core->handover.target;
    LKS_ASSERT(target->term >= core->promise_term);
    core->promise_term = target->term;
    core->promise_candidate = target->candidate;
    core->promise_incarnation = target->incarnation;
    core->view.term = target->term;
    if (target->term > core->term_seen) {
        core->term_seen = target->term;
    }
    if (superseded(core)) {
        return;
    }
    core->handover.phase = HANDOVER_SCANNING;
    struct lks_effect *effect = lks_core_emit(core, LKS_EFFECT_PERSIST_TAIL, 0);
    effect->from = core->tail_from;
}

void lks_handover_tail(struct lks_core *core, const struct lks_core_event *event)
{
    LKS_ASSERT(core->handover.phase == HANDOVER_SCANNING);
    if (event->offset > core->view.commit_offset) {
        lks_core_raise_commit(core, event->offset);
    }
    lks_core_set_log(core, &event->position, event->runs);
    lks_members_scanned(core, &event->members);
    core->own_durable = event->position.offset;
    /* Below the commit word nothing is overwritten any more, and all of it is durable now: the
     * next hand-over may begin here. Never from a durable index: one-sided overwrites of a
     * diverging tail lie below it. */
    core->tail_from = core->view.commit_offset;
    if (superseded(core)) {
        return;
    }
    if (ring_is_own(core)) {
        core->handover.phase = HANDOVER_IDLE;
        lks_election_own_ring_ready(core);
        return;
    }
    core->handover.phase = HANDOVER_GRANTING;
    core->granted_to = core->handover.target.candidate;
    lks_core_emit(core, LKS_EFFECT_GRANT, core->granted_to);
}

static void reply(struct lks_core *core, const struct lks_core_event *event)
{
    const struct handover_target *target = &core->handover.target;
    struct lks_message *message =
        lks_core_send(core, target->candidate, LKS_MESSAGE_VOTE_REPLY);
    message->request = target->request;
    lks_core_report_log(core, message);
    if (core->view.amnesiac) {
        message->flags |= LKS_MESSAGE_AMNESIAC;
        message->flags |= core->options.promise_lost ? LKS_MESSAGE_PROMISE_LOST : 0;
    }
    for (uint32_t i = 0; i < LKS_KEY_WORDS; i++) {
        message->key[i] = event->key[i];
    }
}

void lks_handover_granted(struct lks_core *core, const struct lks_core_event *event)
{
    LKS_ASSERT(core->handover.phase == HANDOVER_GRANTING);
    LKS_ASSERT(core->granted_to == event->peer);
    if (superseded(core)) {
        return; /* granted_to still stands and is revoked by what follows */
    }
    core->handover.phase = HANDOVER_IDLE;
    if (event->status != 0) {
        return;
    }
    const struct handover_target *target = &core->handover.target;
    core->view.grant.peer = event->peer;
    core->view.grant.number = event->key[0];
    core->view.grant.term = target->term;
    core->view.grant.incarnation = target->incarnation;
    core->view.grant.commit_offset = core->view.commit_offset;
    core->install_done = 0;
    reply(core, event);
    lks_core_set_leader(core, event->peer);
    core->peers[event->peer].beat_term = target->term;
    core->suspect_ns = core->observed_ns + core->options.election_timeout_ns +
                       lks_core_random_below(core, core->options.election_timeout_ns / 4 + 1);
}

/* The term was promised to another candidate, or to an earlier life of this one. */
static bool term_is_taken(const struct lks_core *core, const struct handover_target *target)
{
    return target->term == core->promise_term && core->promise_candidate != 0 &&
           (target->candidate != core->promise_candidate ||
            target->incarnation != core->promise_incarnation);
}

/* Why this request must be refused now, or NULL. */
static const char *reason_to_refuse(const struct lks_core *core,
                                    const struct handover_target *target)
{
    if (target->term < core->promise_term) {
        return "a higher term was promised";
    }
    if (term_is_taken(core, target)) {
        return "the term was promised to another candidate";
    }
    if (lks_members_is_removed(core, target->candidate, target->members_number)) {
        return "the candidate was removed";
    }
    const bool knows_none =
        core->view.members.voters == 0 && core->view.role != LKS_CORE_STARTING;
    if (!target->established &&
        (knows_none ||
         lks_members_is_no_voter(core, core->options.replica, target->members_number) ||
         lks_members_is_no_voter(core, target->candidate, target->members_number))) {
        return "committed members, no older than the candidate's, make one of the two no voter";
    }
    if (core->view.amnesiac && !target->established) {
        return "this replica may have forgotten entries: it grants to established leaders only";
    }
    return NULL;
}

static void refuse(struct lks_core *core, const struct handover_target *target)
{
    struct lks_message *message =
        lks_core_send(core, target->candidate, LKS_MESSAGE_VOTE_REFUSAL);
    message->request = target->request;
    message->flags = core->view.amnesiac ? LKS_MESSAGE_AMNESIAC : 0;
    if (term_is_taken(core, target)) {
        message->flags |= LKS_MESSAGE_TERM_TAKEN;
    }
    if (lks_members_is_removed(core, target->candidate, target->members_number)) {
        message->flags |= LKS_MESSAGE_NOT_MEMBER;
        message->members_number = (uint32_t)core->committed.number;
    }
}

void lks_handover_take_next(struct lks_core *core)
{
    const struct handover_target next = core->handover.next;
    core->handover.next = (struct handover_target){0};
    if (next.candidate == 0) {
        return;
    }
    if (reason_to_refuse(core, &next) != NULL) {
        refuse(core, &next);
        return;
    }
    lks_handover_begin(core, &next);
}

void lks_handover_vote_request(struct lks_core *core, uint32_t peer,
                               const struct lks_message *message)
{
    const struct handover_target target = {
        .candidate = peer,
        .established = (message->flags & LKS_MESSAGE_ESTABLISHED) != 0,
        .term = message->term,
        .incarnation = message->incarnation,
        .request = message->request,
        .members_number = message->members_number,
    };
    struct handover *handover = &core->handover;
    if (reason_to_refuse(core, &target) != NULL) {
        refuse(core, &target);
        return;
    }
    if (core->view.role == LKS_CORE_STARTING || handover->phase != HANDOVER_IDLE) {
        const bool beats_current =
            handover->phase == HANDOVER_IDLE || supersedes(&target, &handover->target);
        const bool beats_next =
            handover->next.candidate == 0 || supersedes(&target, &handover->next);
        if (beats_current && beats_next) {
            handover->next = target;
        } else {
            refuse(core, &target);
        }
        return;
    }
    lks_handover_begin(core, &target);
}
