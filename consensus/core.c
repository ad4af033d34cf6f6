/*
 * The core's entry points: start, one step, and the helpers that its parts share.
 *
 * lks_core_step takes one event to the part that owns it, then lets the invariants be checked.
 * Roles change only through lks_core_set_role and its table.
 */
#include "consensus/core_internal.h"

#include <string.h>

/* A pause of this replica (stopped, starved) counts as at most this many heartbeats of observed
 * time: what it did not watch, it cannot hold against others. */
#define OBSERVED_HEARTBEATS_MAX 2u

size_t lks_core_bytes(void)
{
    return (sizeof(struct lks_core) + 63u) & ~(size_t)63u;
}

struct lks_effect *lks_core_emit(struct lks_core *core, enum lks_effect_kind kind, uint32_t peer)
{
    struct lks_update *update = core->update;
    LKS_ASSERT(update->count < LKS_EFFECTS_MAX);
    struct lks_effect *effect = &update->effects[update->count];
    update->count++;
    memset(effect, 0, sizeof *effect);
    effect->kind = kind;
    effect->peer = peer;
    return effect;
}

struct lks_message *lks_core_send(struct lks_core *core, uint32_t peer, uint32_t kind)
{
    struct lks_update *update = core->update;
    LKS_ASSERT(update->messages_count < LKS_UPDATE_MESSAGES_MAX);
    LKS_ASSERT(lks_core_is_peer(core, peer));
    const uint32_t place = update->messages_count;
    update->messages_count++;
    struct lks_effect *effect = lks_core_emit(core, LKS_EFFECT_SEND, peer);
    effect->message = (uint8_t)place;
    struct lks_message *message = &update->messages[place];
    memset(message, 0, sizeof *message);
    message->kind = kind;
    message->term = core->promise_term;
    message->incarnation = core->options.incarnation;
    message->members_number = (uint32_t)core->view.members.number;
    return message;
}

bool lks_core_is_peer(const struct lks_core *core, uint32_t peer)
{
    return peer >= 1 && peer <= core->options.replicas && peer != core->options.replica;
}

/* The next TICK is wanted in in_ns at the latest. */
void lks_core_due(struct lks_core *core, uint64_t in_ns)
{
    if (core->now_ns + in_ns < core->view.deadline_ns) {
        core->view.deadline_ns = core->now_ns + in_ns;
    }
}

/* xorshift64*: the only source of chance, fixed by the seed. */
uint64_t lks_core_random_below(struct lks_core *core, uint64_t bound)
{
    LKS_ASSERT(bound > 0);
    core->random ^= core->random >> 12;
    core->random ^= core->random << 25;
    core->random ^= core->random >> 27;
    return (core->random * UINT64_C(2685821657736338717)) % bound;
}

void lks_core_set_role(struct lks_core *core, enum lks_core_role role)
{
    /* From each role, the roles that may follow. */
    static const uint32_t allowed[LKS_CORE_ROLES] = {
        [LKS_CORE_STARTING] = 1u << LKS_CORE_FOLLOWER,
        [LKS_CORE_FOLLOWER] = 1u << LKS_CORE_PRE_CANDIDATE | 1u << LKS_CORE_CANDIDATE,
        [LKS_CORE_PRE_CANDIDATE] = 1u << LKS_CORE_FOLLOWER | 1u << LKS_CORE_CANDIDATE,
        [LKS_CORE_CANDIDATE] = 1u << LKS_CORE_FOLLOWER | 1u << LKS_CORE_ADOPTING,
        [LKS_CORE_ADOPTING] = 1u << LKS_CORE_FOLLOWER | 1u << LKS_CORE_LEADER,
        [LKS_CORE_LEADER] = 1u << LKS_CORE_FOLLOWER,
    };
    LKS_ASSERT(allowed[core->view.role] & 1u << role);
    core->view.role = role;
}

void lks_core_set_leader(struct lks_core *core, uint32_t leader)
{
    core->view.leader = leader;
    if (leader != 0 && leader != core->options.replica) {
        core->peers[leader].beat_seen_ns = core->observed_ns;
    }
}

void lks_core_set_log(struct lks_core *core, const struct lks_position *tail,
                      const struct lks_runs *runs)
{
    LKS_ASSERT(tail->offset >= core->view.commit_offset);
    core->view.tail = *tail;
    if (runs != NULL) {
        core->runs = *runs;
        lks_runs_raise(&core->runs, core->view.base.offset, tail->offset);
    }
}

/* Everything below a base is committed. */
void lks_core_set_base(struct lks_core *core, const struct lks_position *base)
{
    LKS_ASSERT(base->offset >= core->view.base.offset);
    core->view.base = *base;
    if (core->view.commit_offset < base->offset) {
        lks_core_raise_commit(core, base->offset);
    }
}

/* What the own log is, for whoever is about to write it. */
void lks_core_report_log(const struct lks_core *core, struct lks_message *message)
{
    message->base = core->view.base;
    message->tail = core->view.tail;
    message->commit_offset = core->view.commit_offset;
    const uint32_t skip =
        core->runs.count > LKS_MESSAGE_RUNS_MAX ? core->runs.count - LKS_MESSAGE_RUNS_MAX : 0;
    message->runs_count = core->runs.count - skip;
    for (uint32_t i = 0; i < message->runs_count; i++) {
        message->runs[i] = core->runs.items[skip + i];
    }
}

/* Where the own log and the reported one part; floor: known to be common. */
uint64_t lks_core_common(const struct lks_core *core, const struct lks_message *report,
                         uint64_t floor)
{
    const struct lks_outline own = {
        .base = core->view.base.offset,
        .base_term = core->view.base.term,
        .tail = core->view.tail.offset,
        .runs = core->runs.items,
        .count = core->runs.count,
    };
    const struct lks_outline other = {
        .base = report->base.offset,
        .base_term = report->base.term,
        .tail = report->tail.offset,
        .runs = report->runs,
        .count = report->runs_count,
    };
    return lks_runs_common(&own, &other, floor);
}

void lks_core_raise_commit(struct lks_core *core, uint64_t offset)
{
    LKS_ASSERT(offset >= core->view.commit_offset); /* the commit word only grows */
    core->view.commit_offset = offset;
    if (core->view.role == LKS_CORE_LEADER && !core->view.members_committed) {
        lks_members_see_commit(core);
    }
}

struct lks_core *lks_core_init(void *memory, const struct lks_core_options *options,
                               struct lks_update *update)
{
    LKS_ASSERT(options->replicas >= 1);
    LKS_ASSERT(options->replicas <= LKS_CORE_REPLICAS_MAX);
    LKS_ASSERT(options->replica >= 1);
    LKS_ASSERT(options->replica <= options->replicas);
    LKS_ASSERT(options->members_voters < 1u << (options->replicas + 1));
    LKS_ASSERT((options->members_voters & 1u) == 0);
    LKS_ASSERT(options->heartbeat_ns > 0);
    LKS_ASSERT(options->reserve_bytes < options->ring_bytes / 2);
    LKS_ASSERT(options->writes_max >= 1);
    LKS_ASSERT(options->writes_max <= LKS_CORE_WRITES_MAX);
    struct lks_core *core = memory;
    memset(core, 0, sizeof *core);
    core->options = *options;
    core->random = (options->seed + options->replica) * UINT64_C(0x9E3779B97F4A7C15) | 1u;
    core->now_ns = options->now_ns;
    core->observed_ns = options->election_timeout_ns; /* so that 0 means "long ago" */
    core->promise_term = options->promise_term;
    core->promise_candidate = options->promise_candidate;
    core->promise_incarnation = options->promise_incarnation;
    core->term_seen = options->promise_term;
    core->view.term = options->promise_term;
    core->view.amnesiac = options->amnesiac;
    core->beat_ns = options->now_ns;
    core->view.deadline_ns = options->now_ns;
    core->leaderless_ns = core->observed_ns;

    core->update = update;
    update->count = 0;
    update->messages_count = 0;
    /* Writers of an earlier life of this replica may still hold its ring: fence them all before
     * the ring is scanned. */
    for (uint32_t p = 1; p <= options->replicas; p++) {
        if (lks_core_is_peer(core, p)) {
            lks_core_emit(core, LKS_EFFECT_REVOKE, p);
            core->revokes_left++;
        }
    }
    if (core->revokes_left == 0) {
        lks_core_emit(core, LKS_EFFECT_PERSIST_TAIL, 0);
    }
    core->update = NULL;
    return core;
}

static void starting_step(struct lks_core *core, const struct lks_core_event *event)
{
    if (event->kind == LKS_EVENT_REVOKED) {
        LKS_ASSERT(core->revokes_left > 0);
        core->revokes_left--;
        if (core->revokes_left == 0) {
            lks_core_emit(core, LKS_EFFECT_PERSIST_TAIL, 0);
        }
    } else if (event->kind == LKS_EVENT_TAIL_PERSISTED) {
        LKS_ASSERT(core->revokes_left == 0);
        lks_core_set_base(core, &event->base);
        lks_core_set_log(core, &event->position, event->runs);
        core->own_durable = event->position.offset;
        core->tail_from = 0;
        lks_members_scanned(core, &event->members);
        const bool alone = core->view.members.voters == 1u << core->options.replica;
        lks_follower_enter(core, alone ? 0 : core->options.election_timeout_ns);
        lks_handover_take_next(core);
    }
}

static void connected(struct lks_core *core, const struct lks_core_event *event)
{
    struct peer *peer = &core->peers[event->peer];
    LKS_ASSERT(!peer->connected);
    peer->connected = true;
    core->met |= (uint8_t)(1u << event->peer);
    lks_members_tell(core, event->peer);
    peer->beat = 0;
    peer->leading = false;
    peer->waits = false;
    peer->retry_ns = 0;
    if (lks_election_wants(core, event->peer) &&
        (core->view.role == LKS_CORE_ADOPTING || core->view.role == LKS_CORE_LEADER ||
         (core->view.role == LKS_CORE_CANDIDATE && core->handover.phase == HANDOVER_IDLE))) {
        lks_election_request(core, event->peer);
    }
}

static void disconnected(struct lks_core *core, const struct lks_core_event *event)
{
    struct peer *peer = &core->peers[event->peer];
    peer->connected = false;
    peer->prevote = false;
    peer->request = 0; /* a reply that still comes belongs to a connection that is gone */
    lks_election_path_lost(core, event->peer);
    if (core->view.leader == event->peer && event->dead) {
        lks_follower_lost_leader(core, true);
    }
}

/* No cluster has had that many elections more than this replica knows of. */
#define TERM_JUMP_MAX (UINT64_C(1) << 32)

bool lks_core_plausible_term(const struct lks_core *core, uint64_t term)
{
    const uint64_t known =
        core->term_seen > core->promise_term ? core->term_seen : core->promise_term;
    return term < LKS_MESSAGE_NUMBER_MAX && term <= known + TERM_JUMP_MAX;
}

bool lks_core_plausible(const struct lks_core *core, const struct lks_message *message)
{
    const bool reports =
        message->kind == LKS_MESSAGE_VOTE_REPLY || message->kind == LKS_MESSAGE_INSTALLED;
    return lks_core_plausible_term(core, message->term) &&
           lks_core_plausible_term(core, message->tail.term) &&
           lks_core_plausible_term(core, message->base.term) &&
           (!reports ||
            message->tail.offset - message->base.offset <= core->options.ring_bytes);
}

static void message_step(struct lks_core *core, uint32_t peer, const struct lks_message *message)
{
    if (!lks_core_plausible(core, message)) {
        return;
    }
    if (message->term > core->term_seen && message->kind != LKS_MESSAGE_PREVOTE_REQUEST) {
        core->term_seen = message->term;
    }
    if (message->kind == LKS_MESSAGE_PREVOTE_REPLY || message->kind == LKS_MESSAGE_VOTE_REPLY ||
        message->kind == LKS_MESSAGE_VOTE_REFUSAL ||
        message->kind == LKS_MESSAGE_AMNESIA_CLEARED) {
        core->peers[peer].amnesiac = (message->flags & LKS_MESSAGE_AMNESIAC) != 0;
    }
    lks_members_told(core, message);
    switch ((enum lks_message_kind)message->kind) {
    case LKS_MESSAGE_PREVOTE_REQUEST:
        lks_follower_prevote_request(core, peer, message);
        break;
    case LKS_MESSAGE_PREVOTE_REPLY:
        lks_election_prevote_reply(core, peer, message);
        break;
    case LKS_MESSAGE_VOTE_REQUEST:
        lks_handover_vote_request(core, peer, message);
        break;
    case LKS_MESSAGE_VOTE_REPLY:
        lks_election_vote_reply(core, peer, message);
        break;
    case LKS_MESSAGE_VOTE_REFUSAL:
        lks_election_refused(core, peer, message);
        break;
    case LKS_MESSAGE_DURABLE:
        lks_leader_durable_message(core, peer, message);
        break;
    case LKS_MESSAGE_TRANSFER:
        if (message->term == core->promise_term && core->view.leader == peer &&
            core->view.role == LKS_CORE_FOLLOWER && lks_election_may_stand(core) &&
            core->handover.phase == HANDOVER_IDLE) {
            lks_election_start(core);
        }
        break;
    case LKS_MESSAGE_AMNESIA_OVER:
        lks_follower_amnesia_over(core, peer, message);
        break;
    case LKS_MESSAGE_AMNESIA_CLEARED:
        lks_leader_amnesia_cleared(core, peer, message);
        break;
    case LKS_MESSAGE_INSTALL:
        lks_install_requested(core, peer, message);
        break;
    case LKS_MESSAGE_INSTALLED:
        lks_install_answered(core, peer, message);
        break;
    case LKS_MESSAGE_KIND_END:
        break;
    }
}

static void tick(struct lks_core *core)
{
    core->view.deadline_ns = core->now_ns + core->options.heartbeat_ns;
    switch (core->view.role) {
    case LKS_CORE_STARTING:
        break;
    case LKS_CORE_FOLLOWER:
        lks_follower_tick(core);
        break;
    case LKS_CORE_PRE_CANDIDATE:
        lks_follower_tick(core);
        lks_election_tick(core);
        break;
    case LKS_CORE_CANDIDATE:
    case LKS_CORE_ADOPTING:
        lks_election_tick(core);
        break;
    case LKS_CORE_LEADER:
        lks_leader_tick(core);
        break;
    case LKS_CORE_ROLES:
        LKS_ASSERT(false);
    }
}

static void base_moved(struct lks_core *core, const struct lks_position *base)
{
    LKS_ASSERT(core->view.role != LKS_CORE_STARTING);
    LKS_ASSERT(base->offset <= core->view.commit_offset);
    lks_core_set_base(core, base);
    if (core->view.tail.offset >= base->offset) { /* (a follower's was read at its hand-over) */
        lks_runs_raise(&core->runs, base->offset, core->view.tail.offset);
    } else {
        core->runs.count = 0;
    }
    if (core->view.role == LKS_CORE_LEADER) {
        lks_leader_base_moved(core);
    }
}

/* (Before the fences of a start are through, the word is an earlier life's.) */
static void commit_seen(struct lks_core *core, uint64_t offset)
{
    if (core->view.role != LKS_CORE_STARTING && offset > core->view.commit_offset) {
        lks_core_raise_commit(core, offset);
    }
}

/* What the node says of its own accord. */
static void hear_owner(struct lks_core *core, const struct lks_core_event *event)
{
    if (event->kind == LKS_EVENT_TRANSFER) {
        lks_leader_transfer(core, event->peer);
    } else if (event->kind == LKS_EVENT_READ) {
        lks_reads_begin(core);
    } else if (event->kind == LKS_EVENT_MEMBERS_APPLIED) {
        lks_members_applied(core, &event->members);
    } else {
        LKS_ASSERT(event->kind == LKS_EVENT_FITNESS);
        core->unfit = event->status != 0;
    }
}

static void dispatch(struct lks_core *core, const struct lks_core_event *event)
{
    switch (event->kind) {
    case LKS_EVENT_TICK:
        tick(core);
        break;
    case LKS_EVENT_CONNECTED:
        connected(core, event);
        break;
    case LKS_EVENT_DISCONNECTED:
        disconnected(core, event);
        break;
    case LKS_EVENT_MESSAGE:
        message_step(core, event->peer, event->message);
        break;
    case LKS_EVENT_HEARTBEAT_READ:
        lks_follower_heartbeat(core, event);
        break;
    case LKS_EVENT_REVOKED:
        lks_handover_revoked(core, event->peer);
        break;
    case LKS_EVENT_GRANTED:
        lks_handover_granted(core, event);
        break;
    case LKS_EVENT_OPENED:
        lks_election_opened(core, event);
        break;
    case LKS_EVENT_PROMISE_PERSISTED:
        lks_handover_promised(core);
        break;
    case LKS_EVENT_TAIL_PERSISTED:
        lks_handover_tail(core, event);
        break;
    case LKS_EVENT_LOG_PERSISTED:
        lks_leader_persisted(core, event->offset, event->term);
        break;
    case LKS_EVENT_FLUSHED:
        lks_leader_flushed(core, event);
        break;
    case LKS_EVENT_PROBED:
        lks_leader_probed(core, event);
        break;
    case LKS_EVENT_LOG_READ:
        lks_adoption_read(core, event);
        break;
    case LKS_EVENT_APPENDED:
        lks_leader_appended(core, event);
        break;
    case LKS_EVENT_COMMIT_SEEN:
        commit_seen(core, event->offset);
        break;
    case LKS_EVENT_AMNESIA_CLEARED:
        lks_follower_amnesia_cleared(core);
        break;
    case LKS_EVENT_BASE_MOVED:
        base_moved(core, &event->base);
        break;
    case LKS_EVENT_INSTALLED:
        lks_install_ended(core, event);
        break;
    case LKS_EVENT_TRANSFER:
    case LKS_EVENT_READ:
    case LKS_EVENT_MEMBERS_APPLIED:
    case LKS_EVENT_FITNESS:
        hear_owner(core, event);
        break;
    }
}

static void mirror_peers(struct lks_core *core)
{
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        const struct peer *peer = &core->peers[p];
        core->view.peers[p].voter = lks_members_is_voter(core, p);
        core->view.peers[p].learner =
            lks_members_is_member(core, p) && !lks_members_is_voter(core, p);
        core->view.peers[p].caught_up = peer->path_open && peer->caught_up;
        core->view.peers[p].connected = peer->connected;
        core->view.peers[p].path_open = peer->path_open;
        core->view.peers[p].counted = peer->counted;
        core->view.peers[p].installing = peer->path_open && peer->behind;
        core->view.peers[p].base_offset = peer->base;
        core->view.peers[p].written_offset = peer->written;
        core->view.peers[p].durable_offset = peer->durable;
    }
}

void lks_core_step(struct lks_core *core, const struct lks_core_event *event,
                   struct lks_update *update)
{
    LKS_ASSERT(event->now_ns >= core->now_ns);
    const uint64_t passed = event->now_ns - core->now_ns;
    const uint64_t most = OBSERVED_HEARTBEATS_MAX * core->options.heartbeat_ns;
    core->observed_ns += passed < most ? passed : most;
    core->now_ns = event->now_ns;
    core->update = update;
    update->count = 0;
    update->messages_count = 0;

    if (core->view.role == LKS_CORE_STARTING &&
        (event->kind == LKS_EVENT_REVOKED || event->kind == LKS_EVENT_TAIL_PERSISTED)) {
        starting_step(core, event);
    } else {
        dispatch(core, event);
    }
    lks_leader_limits(core);
    lks_core_check_invariants(core);
    core->update = NULL;
}

const struct lks_core_view *lks_core_view(struct lks_core *core)
{
    mirror_peers(core);
    return &core->view;
}
