/*
 * The members in force, and what is known here of committed ones (docs/protocol.md, "Members").
 *
 * In force are the last ones in the own log, committed or not: a majority is one of theirs from the
 * moment they stand there. The own log is looked at when a hand-over scans it, a candidate reads
 * another's, a snapshot is installed, or a leader appends; a follower whose ring somebody else
 * writes hears of later ones only when its node has applied them, and then they are committed.
 */
#include "consensus/core_internal.h"

#include <errno.h>

#include "base/error.h"

#define ASK_TIMEOUTS 2u /* election timeouts for grants of members that a candidate has adopted */

static struct lks_members bootstrap(const struct lks_core *core)
{
    const uint8_t all = (uint8_t)((1u << (core->options.replicas + 1)) - 2u);
    struct lks_members members = {0};
    if (!core->options.members_unknown) {
        members.voters =
            core->options.members_voters != 0 ? core->options.members_voters : all;
    }
    return members;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint8_t named(const struct lks_members *members)
{
    return members->voters | members->learners;
}

static bool alike(const struct lks_members *a, const struct lks_members *b)
{
    return a->number == b->number && a->voters == b->voters && a->learners == b->learners;
}

/*
 * Whether members that have committed since may say something else: a change is appended when the
 * one before has committed, so of those in the own log all but the last have, may they not be
 * applied yet (after a start the node applies again from the base on).
 */
static bool is_outdated(const struct lks_core *core, uint64_t number)
{
    return number + 1 < core->view.members.number;
}

/* A peer that the youngest members which have committed do not name: it may not have heard. */
void lks_members_tell(struct lks_core *core, uint32_t peer)
{
    if (core->committed.voters == 0 || (named(&core->committed) & 1u << peer) != 0 ||
        !core->peers[peer].connected || is_outdated(core, core->committed.number)) {
        return;
    }
    struct lks_message *message = lks_core_send(core, peer, LKS_MESSAGE_PREVOTE_REPLY);
    message->flags = LKS_MESSAGE_NOT_MEMBER | (core->view.amnesiac ? LKS_MESSAGE_AMNESIAC : 0);
    message->members_number = (uint32_t)core->committed.number;
}

/* Of members that may not have committed: others of the same number may commit instead. */
static uint64_t at_least(uint64_t number)
{
    return number > 0 ? number - 1 : 0;
}

/*
 * That members of this number name this replica, or do not. It is removed if the youngest that did
 * are older than the youngest that do not. (One that joins hears first that it is no member.) One
 * that may have forgotten cannot judge: its log may end before the entry that added it again. Nor
 * do members judge that are older than one which has committed: that may name it again.
 */
static void note_own(struct lks_core *core, uint64_t number, bool member)
{
    if (member) {
        core->member_number = greater(core->member_number, number);
        core->was_member = true;
    } else if (!is_outdated(core, number)) {
        core->no_member_number = greater(core->no_member_number, number);
    }
    core->view.removed = core->was_member && !core->view.amnesiac &&
                         core->no_member_number > core->member_number;
}

static void note_committed(struct lks_core *core, const struct lks_members *members)
{
    if (core->committed.voters != 0 && members->number <= core->committed.number) {
        /* What has committed stays in the log. */
        LKS_ASSERT(members->number < core->committed.number ||
                   alike(members, &core->committed));
        return;
    }
    core->committed = *members;
    note_own(core, members->number,
             (named(members) & 1u << core->options.replica) != 0);
    LKS_QUORUM_EACH (p, core->met) {
        if (!core->peers[p].path_open) {
            lks_members_tell(core, p); /* also who went earlier: older members told nothing */
        }
    }
}

static void put_in_force(struct lks_core *core, const struct lks_members *members)
{
    core->view.members = *members;
    if ((named(members) & 1u << core->options.replica) != 0) {
        note_own(core, at_least(members->number), true);
    }
}

/* Called where the own log is known to hold what was looked at, and the commit offset speaks of
 * it: at a scan, and while this replica leads. */
void lks_members_see_commit(struct lks_core *core)
{
    struct lks_core_view *view = &core->view;
    view->members_committed =
        view->members.voters != 0 && view->commit_offset >= view->members.end_offset;
    if (view->members_committed) {
        note_committed(core, &view->members);
    }
}

void lks_members_scanned(struct lks_core *core, const struct lks_members *members)
{
    const struct lks_members next = members->number == 0 ? bootstrap(core) : *members;
    LKS_ASSERT(members->number == 0 || next.voters != 0);
    LKS_ASSERT((next.voters & next.learners) == 0);
    LKS_ASSERT(next.number >= core->committed.number); /* nothing committed is lost */
    if (core->view.role == LKS_CORE_ADOPTING && next.voters != core->view.members.voters) {
        core->ask_until_ns = core->observed_ns + ASK_TIMEOUTS * core->options.election_timeout_ns;
    }
    put_in_force(core, &next);
    lks_members_see_commit(core);
}

void lks_members_appended(struct lks_core *core, const struct lks_members *members)
{
    if (members->number == 0) {
        return;
    }
    LKS_ASSERT(members->number == core->view.members.number + 1);
    if (core->view.role == LKS_CORE_LEADER) {
        /* Rule 2 (docs/protocol.md, "One change at a time"). */
        LKS_ASSERT(core->view.established);
        LKS_ASSERT(core->view.members_committed);
        LKS_ASSERT(lks_members_differ_by_one(&core->view.members, members));
        LKS_ASSERT((members->voters & 1u << core->options.replica) != 0);
    }
    core->view.members_committed = false;
    put_in_force(core, members);
}

/* The node applies what has committed, in order; after a start, again from the base on. */
void lks_members_applied(struct lks_core *core, const struct lks_members *members)
{
    LKS_ASSERT(members->end_offset <= core->view.commit_offset);
    if (core->committed.voters != 0 && members->number <= core->committed.number) {
        return;
    }
    note_committed(core, members);
    if (core->view.members.number <= members->number) {
        put_in_force(core, members);
        core->view.members_committed = true;
    }
}

/* The bootstrap members, from the leader that ends this replica's amnesia. */
void lks_members_learn_bootstrap(struct lks_core *core, uint64_t voters)
{
    const uint64_t slots = (UINT64_C(1) << (core->options.replicas + 1)) - 2u;
    if (!core->options.members_unknown || voters == 0 || (voters & ~slots) != 0) {
        return;
    }
    core->options.members_unknown = false;
    core->options.members_voters = (uint8_t)voters;
    if (core->view.members.voters == 0) {
        const struct lks_members none = {0};
        lks_members_scanned(core, &none);
    }
}

uint8_t lks_members_bootstrap_voters(const struct lks_core *core)
{
    return bootstrap(core).voters;
}

bool lks_members_is_voter(const struct lks_core *core, uint32_t p)
{
    return (core->view.members.voters & 1u << p) != 0;
}

bool lks_members_is_member(const struct lks_core *core, uint32_t p)
{
    return (named(&core->view.members) & 1u << p) != 0;
}

/*
 * Whether members that have committed, at least as young as the sender's, do not name `p` a voter:
 * then a candidate of the sender's members that is p, or counts p, knows less than this replica.
 */
bool lks_members_is_no_voter(const struct lks_core *core, uint32_t p, uint64_t number)
{
    return core->committed.voters != 0 && number <= core->committed.number &&
           (core->committed.voters & 1u << p) == 0;
}

/* (Of members that younger ones have followed by now nothing is said: they may name it again.) */
bool lks_members_is_removed(const struct lks_core *core, uint32_t p, uint64_t number)
{
    return core->committed.voters != 0 && number <= core->committed.number &&
           (named(&core->committed) & 1u << p) == 0 &&
           !is_outdated(core, core->committed.number);
}

/* A peer's word about this replica: what it says of itself as a leader, or of us as no member. */
void lks_members_told(struct lks_core *core, const struct lks_message *message)
{
    if ((message->flags & LKS_MESSAGE_NOT_MEMBER) != 0 &&
        (message->kind == LKS_MESSAGE_PREVOTE_REPLY ||
         message->kind == LKS_MESSAGE_VOTE_REFUSAL)) {
        note_own(core, message->members_number, false);
    } else if (message->kind == LKS_MESSAGE_VOTE_REQUEST &&
               (message->flags & LKS_MESSAGE_ESTABLISHED) != 0) {
        note_own(core, at_least(message->members_number), true); /* its members are asked only */
    }
}

/* A new learner; a learner to voter; a learner or a voter to nothing: of one server. */
bool lks_members_differ_by_one(const struct lks_members *a, const struct lks_members *b)
{
    const uint8_t changed = (a->voters ^ b->voters) | (a->learners ^ b->learners);
    const bool one = changed != 0 && (changed & (changed - 1u)) == 0;
    const bool demoted = (a->voters & b->learners) != 0;
    const bool unlearned = (b->voters & changed) != 0 && (a->learners & changed) == 0;
    return one && !demoted && !unlearned && (b->voters & b->learners) == 0 && b->voters != 0 &&
           b->number == a->number + 1;
}

int lks_core_members_check(struct lks_core *core, const struct lks_members *proposed)
{
    const struct lks_core_view *view = &core->view;
    const uint8_t slots = (uint8_t)((1u << (core->options.replicas + 1)) - 2u);
    if (view->role != LKS_CORE_LEADER) {
        return -LKS_ENOLEADER;
    }
    if (!view->established || !view->members_committed || view->transferring) {
        return -LKS_EBUSY;
    }
    const uint8_t own = (uint8_t)(1u << core->options.replica);
    if ((named(proposed) & own) == 0) {
        return -EPERM;
    }
    if (!lks_members_differ_by_one(&view->members, proposed) ||
        (named(proposed) & ~slots) != 0) {
        return -EINVAL;
    }
    uint8_t serving = own;
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        const struct peer *peer = &core->peers[p];
        const uint8_t promoted = (proposed->voters & ~view->members.voters) & (uint8_t)(1u << p);
        if (promoted != 0 && !(peer->path_open && peer->caught_up)) {
            return -EAGAIN;
        }
        if (peer->connected && peer->path_open && peer->counted) {
            serving |= (uint8_t)(1u << p);
        }
    }
    return lks_quorum_has_majority(serving, proposed->voters) ? 0 : -ENOLINK;
}
