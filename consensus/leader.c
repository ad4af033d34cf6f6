/*
 * Leading: what is written to whom, what counts as committed, and who is helped back.
 *
 * Commit rule (design 3.3): durable on a majority, the leader counting itself only after its own
 * flush, and at least one entry of the own term among it: entries of older terms never commit by
 * counting alone.
 */
#include "consensus/core_internal.h"

#define BASE_READS_PER_BEAT 16u
#define TRANSFER_TIMEOUTS 10u /* election timeouts after which a named voter is given up */
#define DROP_TIMEOUTS 50u /* election timeouts after which a silent follower is dropped */

static void send_commit_word(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    if (!core->view.established) {
        return; /* none before the own-term no-op has committed: so the word only grows */
    }
    const uint64_t commit = core->view.commit_offset;
    const uint64_t word = commit < peer->written ? commit : peer->written;
    if (word <= peer->commit_sent) {
        return;
    }
    peer->commit_sent = word;
    struct lks_effect *effect = lks_core_emit(core, LKS_EFFECT_COMMIT_WORD, p);
    effect->to = word;
    effect->grant = peer->grant;
}

/* Writes of a path that is gone are still read from the own ring until they have completed. */
void lks_leader_void_writes(struct peer *peer)
{
    if (peer->inflight == 0) {
        return;
    }
    const uint64_t from = peer->sources[peer->sources_first];
    peer->stale_from = peer->stale == 0 || from < peer->stale_from ? from : peer->stale_from;
    peer->stale += peer->inflight;
    peer->inflight = 0;
}

/*
 * How far into the peer's ring the log up to this term's no-op may reach. Where a snapshot could
 * make room there, half of the reserve is left for the terms after this one: the peer may have to
 * begin the next, with a log as long, and nobody near who knows what has committed.
 */
static uint64_t term_limit(const struct lks_core *core, const struct peer *peer)
{
    const uint64_t end = peer->base + core->options.ring_bytes;
    return peer->base < core->view.base.offset ? end - core->options.reserve_bytes / 2 : end;
}

/*
 * How far the peer's ring may be written: what it keeps from its base on is never overwritten, and
 * the reserve is left, as in the own ring: should the peer lead next, with nobody near who knows
 * what has committed, its base cannot move before its no-op has. Only what leads to this term's
 * no-op takes from the reserve, and the no-op itself, until it has committed.
 */
static uint64_t write_limit(const struct lks_core *core, const struct peer *peer)
{
    const struct lks_core_view *view = &core->view;
    uint64_t limit = peer->base + core->options.ring_bytes - core->options.reserve_bytes;
    if (!view->established) {
        const uint64_t noop = view->noop_offset != 0 ? view->noop_offset : view->tail.offset;
        const uint64_t most = term_limit(core, peer);
        const uint64_t needed = noop < most ? noop : most;
        limit = needed > limit ? needed : limit;
    }
    return view->tail.offset < limit ? view->tail.offset : limit;
}

/* A peer whose ring fills up publishes its base when that moves: look more often than each beat. */
static void ask_for_base(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    const uint64_t ring = core->options.ring_bytes;
    const uint64_t every = core->options.heartbeat_ns / BASE_READS_PER_BEAT;
    if (core->view.tail.offset <= peer->base + ring - ring / 4) {
        return;
    }
    if (core->observed_ns - peer->base_asked_ns >= every) {
        peer->base_asked_ns = core->observed_ns;
        lks_core_emit(core, LKS_EFFECT_READ_HEARTBEAT, p);
    }
    lks_core_due(core, every);
}

static void write_to(struct lks_core *core, uint32_t p, uint64_t limit)
{
    struct peer *peer = &core->peers[p];
    const uint64_t rest = limit - peer->written;
    const uint64_t most = core->options.write_bytes_max;
    struct lks_effect *effect = lks_core_emit(core, LKS_EFFECT_WRITE, p);
    effect->from = peer->written;
    effect->to = peer->written + (rest < most ? rest : most);
    effect->ends_entry = effect->to == core->view.tail.offset;
    effect->grant = peer->grant;
    peer->written = effect->to;
    if (peer->inflight == 0) {
        peer->inflight_since_ns = core->observed_ns;
    }
    peer->sources[(peer->sources_first + peer->inflight) % LKS_CORE_WRITES_MAX] = effect->from;
    peer->inflight++;
}

/* At most one write a step and peer; the commit word rides behind it, or goes by itself when
 * nothing is in flight that it could follow. */
static void replicate(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    if (!peer->path_open || peer->behind) {
        return;
    }
    bool wrote = false;
    const uint64_t limit = write_limit(core, peer);
    if (peer->written < limit && peer->inflight < core->options.writes_max) {
        write_to(core, p, limit);
        wrote = true;
    }
    ask_for_base(core, p);
    if (wrote || peer->inflight == 0) {
        send_commit_word(core, p);
    }
}

/* Whoever was told to take over is believed to do so as long as its path stands, for an election
 * timeout: had it begun, this replica would lead no more. */
static bool transfer_under_way(const struct lks_core *core)
{
    return core->transfer_sent != 0 &&
           (core->transfer_to != 0 ||
            (core->peers[core->transfer_sent].path_open &&
             core->observed_ns - core->transfer_sent_ns < core->options.election_timeout_ns));
}

/* The follower that has answered last of those that hold and know the whole log; 0: none. */
static uint32_t choose_successor(const struct lks_core *core)
{
    const uint64_t tail = core->view.tail.offset;
    uint32_t best = 0;
    LKS_QUORUM_EACH (p, core->met & core->view.members.voters & ~core->transfer_tried) {
        const struct peer *peer = &core->peers[p];
        const bool wanted = core->transfer_to == 0 || core->transfer_to == p;
        if (wanted && peer->path_open && peer->counted && peer->durable == tail &&
            peer->commit_sent == tail && (best == 0 || peer->ok_ns > core->peers[best].ok_ns)) {
            best = p;
        }
    }
    return best;
}

/* One after the other: two that begin at once would only hinder one another. Both may all the same,
 * if the first was slow: each in a term of its own, as after any suspicion. */
static void try_transfer(struct lks_core *core)
{
    if (!core->view.transferring || core->view.commit_offset != core->view.tail.offset ||
        transfer_under_way(core)) {
        return;
    }
    const uint32_t p = choose_successor(core);
    if (p == 0) {
        core->transfer_tried = 0; /* whoever is ready next, may it have failed before */
        return;
    }
    core->transfer_sent = p;
    core->transfer_sent_ns = core->observed_ns;
    core->transfer_tried |= (uint8_t)(1u << p);
    lks_core_send(core, p, LKS_MESSAGE_TRANSFER);
}

static void try_end_amnesia(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    if (peer->amnesia == AMNESIA_CATCHING_UP && core->view.established && peer->path_open &&
        peer->durable >= peer->amnesia_target && core->view.commit_offset >= peer->amnesia_proof) {
        peer->amnesia = AMNESIA_ENDING;
        struct lks_message *message = lks_core_send(core, p, LKS_MESSAGE_AMNESIA_OVER);
        message->key[0] = peer->grant;
        message->key[1] = lks_members_bootstrap_voters(core);
    }
}

/* Runs several times a command: whether a majority has more at all is asked first. */
static bool advance_commit(struct lks_core *core)
{
    if (core->view.noop_offset == 0) {
        return false;
    }
    const uint64_t before =
        core->view.established ? core->view.commit_offset : core->view.noop_offset - 1;
    const uint32_t voters = core->view.members.voters;
    uint64_t durable[LKS_CORE_PEERS];
    uint32_t all = 0;
    uint32_t have_more = 0;
    LKS_QUORUM_EACH (p, voters) {
        const struct peer *peer = &core->peers[p];
        durable[p] = p == core->options.replica ? core->own_durable
                     : peer->counted            ? peer->durable
                                                : 0;
        have_more += durable[p] > before ? 1u : 0;
        all++;
    }
    if (have_more < lks_quorum_majority(all)) {
        return false;
    }
    const uint64_t reached = lks_quorum_reached(durable, voters);
    LKS_ASSERT(reached > before);
    LKS_ASSERT(reached <= core->view.tail.offset);
    core->view.established = true;
    lks_core_raise_commit(core, reached);
    return true;
}

/* Entries, commit words and what waits for them, to everyone. */
static void spread(struct lks_core *core)
{
    LKS_QUORUM_EACH (p, core->met) {
        replicate(core, p);
        if (core->peers[p].amnesia != AMNESIA_NONE) {
            try_end_amnesia(core, p);
        }
    }
    if (core->view.transferring) {
        try_transfer(core);
    }
}

static void progress(struct lks_core *core)
{
    (void)advance_commit(core);
    spread(core);
}

/* The same after something that concerns one follower: the others only if more has committed. */
static void progress_of(struct lks_core *core, uint32_t p)
{
    if (core->peers[p].durable > core->view.commit_offset && advance_commit(core)) {
        spread(core);
        return;
    }
    replicate(core, p);
    if (core->peers[p].amnesia != AMNESIA_NONE) {
        try_end_amnesia(core, p);
    }
    if (core->view.transferring) {
        try_transfer(core);
    }
}

/*
 * A peer that is no member any more is written to until its removal is there, and a commit word
 * that covers it; a probe behind that word shows it. Or until it does not answer.
 */
static void see_off(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    if (!peer->path_open || lks_members_is_member(core, p)) {
        peer->leaving = false;
        return;
    }
    const bool silent = core->observed_ns - peer->ok_ns >= core->options.election_timeout_ns;
    if (silent || peer->behind || (peer->leaving && peer->probes == 0)) {
        lks_election_path_lost(core, p);
        lks_members_tell(core, p);
        return;
    }
    if (!peer->leaving && core->view.members_committed && peer->probes < PROBES_MAX &&
        peer->commit_sent >= core->view.members.end_offset) {
        peer->leaving = true;
        lks_reads_probe(core, p);
    }
}

/*
 * Whether the term's first entry waits, perhaps for ever, for voters that have not granted. Either
 * the own ring has no room for it: one of those may know what has committed, which is all that can
 * make room. Or it has not committed for an election timeout: one of the grantors, may it answer
 * all probes, cannot take what it would have to (a snapshot, with its disk full, for one).
 */
bool lks_leader_needs_others(const struct lks_core *core)
{
    if (core->view.role != LKS_CORE_LEADER || core->view.established) {
        return false;
    }
    const bool no_room =
        core->noop_pending &&
        core->view.tail.offset + LKS_NOOP_BYTES > core->view.base.offset + core->options.ring_bytes;
    return no_room || core->observed_ns - core->elected_ns >= core->options.election_timeout_ns;
}

static void append_noop(struct lks_core *core)
{
    if (!core->noop_pending) {
        core->noop_pending = true;
        lks_core_emit(core, LKS_EFFECT_APPEND_NOOP, 0)->term = core->promise_term;
    }
}

/*
 * Whether the peer's ring has no room for this log with the term's first entry, a part of its
 * reserve being left. Before that has committed nothing tells the peer what it may give up, so its
 * base would never move; a snapshot, which says what is committed, moves it.
 */
static bool cannot_take_term(const struct lks_core *core, const struct peer *peer)
{
    return !core->view.established && peer->base < core->view.base.offset &&
           core->view.tail.offset + LKS_NOOP_BYTES > term_limit(core, peer);
}

/*
 * Where writing to p begins, and what it already holds, from its report. Where the two logs part
 * below the own base, the bytes in between are gone here: a snapshot comes first.
 */
static void begin_writing(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    const struct lks_message *report = &peer->report;
    /* Everything below the follower's commit word is in this log too (invariant 3). */
    LKS_ASSERT(report->commit_offset <= core->view.tail.offset);
    LKS_ASSERT(peer->inflight == 0);
    const uint64_t common = lks_core_common(core, report, report->commit_offset);
    LKS_ASSERT(common >= report->commit_offset); /* no overwriting below a commit word ever seen */
    LKS_ASSERT(common >= report->base.offset);
    if (report->commit_offset > core->view.commit_offset) {
        /* Committed there is committed: a new leader whose ring is full finds room below it. */
        LKS_ASSERT(!core->view.established);
        lks_core_raise_commit(core, report->commit_offset);
    }
    peer->base = report->base.offset;
    peer->written = common;
    peer->commit_sent = 0;
    if (peer->durable < common) {
        peer->durable = common; /* its whole visible tail was durable before it was reported */
    }
    peer->behind = common < core->view.base.offset || cannot_take_term(core, peer);
    if (peer->behind) {
        lks_install_ask(core, p);
    }
}

/* A path begins: a grant was given. */
static void begin_path(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    const struct lks_message *report = &peer->report;
    const bool amnesiac = (report->flags & LKS_MESSAGE_AMNESIAC) != 0;
    peer->ok_ns = core->observed_ns;
    peer->counted = !amnesiac;
    peer->caught_up = false;
    peer->round_target = core->view.commit_offset;
    peer->round_ns = core->observed_ns;
    peer->leaving = false;
    peer->install_elsewhere = true;
    if (amnesiac) {
        peer->durable = 0; /* what it acknowledged before, it may have forgotten */
    }
    begin_writing(core, p);
    if (amnesiac) {
        LKS_ASSERT(core->view.established);
        peer->amnesia = AMNESIA_CATCHING_UP;
        peer->amnesia_target = core->view.tail.offset;
        peer->amnesia_proof = 0;
        if ((report->flags & LKS_MESSAGE_PROMISE_LOST) != 0) {
            /* It may have granted a newer leader and forgotten: a write on a majority without
             * it, posted after this hand-over, shows that no such leader had committed. */
            peer->amnesia_proof = UINT64_MAX;
            append_noop(core);
        }
    }
}

/* It has installed a snapshot under the standing grant. What it must reach to end an amnesia was
 * fixed at the hand-over. */
void lks_leader_report(struct lks_core *core, uint32_t p)
{
    begin_writing(core, p);
    progress(core);
}

/* Followers that still wanted what lies below the base now take the way of those that come back
 * late: a new grant, and a snapshot if their log does not reach. */
void lks_leader_base_moved(struct lks_core *core)
{
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        const struct peer *peer = &core->peers[p];
        if (peer->path_open && !peer->behind &&
            (peer->written < core->view.base.offset || cannot_take_term(core, peer))) {
            lks_election_path_lost(core, p);
        }
    }
}

void lks_leader_base_seen(struct lks_core *core, uint32_t p, uint64_t offset)
{
    struct peer *peer = &core->peers[p];
    if (core->view.role != LKS_CORE_LEADER || offset <= peer->base ||
        offset > core->view.tail.offset || !peer->path_open) {
        return;
    }
    peer->base = offset;
    progress_of(core, p);
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What the own ring must still hold, for writes in flight and for followers that keep up. */
void lks_leader_limits(struct lks_core *core)
{
    if (core->view.role != LKS_CORE_LEADER) {
        core->view.append_limit = 0;
        core->view.keep_offset = UINT64_MAX;
        core->view.braking = false;
        return;
    }
    uint64_t sources = core->view.base.offset;
    uint64_t keep = UINT64_MAX;
    uint64_t brake = UINT64_MAX;
    LKS_QUORUM_EACH (p, core->met) {
        const struct peer *peer = &core->peers[p];
        if (peer->stale != 0) {
            sources = lower(sources, peer->stale_from);
        }
        if (!peer->path_open) {
            continue;
        }
        uint64_t needed = peer->behind ? peer->install_from : peer->written;
        if (peer->inflight != 0) {
            needed = peer->sources[peer->sources_first];
            sources = lower(sources, needed);
        }
        keep = lower(keep, needed);
        brake = lower(brake, lks_install_brake(core, p));
    }
    core->view.append_limit = lower(sources + core->options.ring_bytes, brake);
    core->view.keep_offset = keep;
    core->view.braking = brake != UINT64_MAX;
}

void lks_leader_enter(struct lks_core *core)
{
    LKS_ASSERT(core->promise_candidate == core->options.replica);
    LKS_ASSERT(core->granted_to == 0);
    LKS_ASSERT(!lks_core_ring_busy(core));
    /* By the members of the very log that it leads with. */
    LKS_ASSERT(lks_quorum_has_majority(lks_election_standing(core), core->view.members.voters));
    lks_core_set_role(core, LKS_CORE_LEADER);
    lks_core_set_leader(core, core->options.replica);
    core->view.elected_count++;
    core->elected_ns = core->observed_ns;
    core->view.established = false;
    core->view.noop_offset = 0;
    core->view.transferring = false;
    core->transfer_sent = 0;
    core->transfer_tried = 0;
    core->transfer_to = 0;
    core->noop_pending = false;
    core->own_durable = core->view.tail.offset; /* made durable before the ring was read */
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        struct peer *peer = &core->peers[p];
        peer->counted = false;
        peer->missed = 0;
        peer->durable = 0;
        peer->commit_sent = 0;
        peer->written = 0;
        peer->base = 0;
        if (peer->path_open) {
            begin_path(core, p);
        }
    }
    /* Only now that every path has its own starting point may anything be written. */
    progress(core);
    append_noop(core);
    core->beat_ns = core->now_ns; /* show the counter at once */
    lks_core_due(core, 0);
}

void lks_leader_leave(struct lks_core *core)
{
    core->view.accepts = false;
    core->view.established = false;
    core->view.transferring = false;
    core->view.noop_offset = 0;
    lks_reads_end(core);
}

void lks_leader_path_open(struct lks_core *core, uint32_t p)
{
    begin_path(core, p);
    progress(core);
    lks_reads_progress(core);
}

void lks_leader_appended(struct lks_core *core, const struct lks_core_event *event)
{
    const struct lks_position *tail = &event->position;
    const uint64_t before = core->view.tail.offset;
    LKS_ASSERT(tail->offset > before);
    LKS_ASSERT(tail->term == core->promise_term || core->view.role != LKS_CORE_LEADER);
    lks_runs_note(&core->runs, tail->term, before);
    lks_core_set_log(core, tail, NULL);
    lks_members_appended(core, &event->members);
    const bool noop = core->noop_pending;
    core->noop_pending = false;
    if (core->view.role != LKS_CORE_LEADER) {
        return; /* appended just before stepping down: part of the visible tail */
    }
    if (event->offset == tail->offset && core->own_durable == before) {
        core->own_durable = tail->offset; /* written back before this event: nothing to wait for */
    } else {
        struct lks_effect *effect = lks_core_emit(core, LKS_EFFECT_PERSIST_LOG, 0);
        effect->from = before;
        effect->to = tail->offset;
        effect->term = tail->term;
    }
    if (noop) {
        if (core->view.noop_offset == 0) {
            core->view.noop_offset = tail->offset;
            core->view.accepts = !core->view.transferring;
        }
        LKS_QUORUM_EACH (p, core->met) {
            if (core->peers[p].amnesia_proof == UINT64_MAX) {
                core->peers[p].amnesia_proof = tail->offset;
            }
        }
    }
    progress(core);
    if (event->members.number != 0) {
        lks_reads_progress(core); /* fewer may be a majority */
    }
}

void lks_leader_persisted(struct lks_core *core, uint64_t offset, uint64_t term)
{
    if (core->view.role != LKS_CORE_LEADER || term != core->promise_term) {
        return; /* of an earlier leadership: says nothing about the log as it now is */
    }
    LKS_ASSERT(offset <= core->view.tail.offset);
    if (offset > core->own_durable) {
        core->own_durable = offset;
        if (advance_commit(core)) {
            spread(core);
        }
    }
}

void lks_leader_flushed(struct lks_core *core, const struct lks_core_event *event)
{
    struct peer *peer = &core->peers[event->peer];
    if (core->view.role != LKS_CORE_LEADER || !peer->path_open || event->grant != peer->grant) {
        peer->stale -= peer->stale > 0 ? 1 : 0;
        return; /* of a path that is gone: void, whatever it says */
    }
    LKS_ASSERT(peer->inflight > 0);
    peer->inflight--;
    peer->sources_first = (peer->sources_first + 1) % LKS_CORE_WRITES_MAX;
    if (event->status != 0) {
        lks_election_path_lost(core, event->peer);
        return;
    }
    peer->inflight_since_ns = core->observed_ns;
    peer->ok_ns = core->observed_ns;
    LKS_ASSERT(event->offset <= peer->written);
    if (event->offset > peer->durable) {
        peer->durable = event->offset;
    }
    progress_of(core, event->peer);
}

void lks_leader_probed(struct lks_core *core, const struct lks_core_event *event)
{
    struct peer *peer = &core->peers[event->peer];
    if (!peer->path_open || event->grant != peer->grant) {
        return;
    }
    if (event->status != 0) {
        lks_election_path_lost(core, event->peer);
        return;
    }
    lks_reads_probed(core, event->peer);
    peer->ok_ns = core->observed_ns;
    lks_adoption_probed(core);
    if (core->view.role == LKS_CORE_LEADER) {
        see_off(core, event->peer);
        lks_reads_progress(core);
    }
}

void lks_leader_durable_message(struct lks_core *core, uint32_t p,
                                const struct lks_message *message)
{
    struct peer *peer = &core->peers[p];
    if (core->view.role != LKS_CORE_LEADER || !peer->path_open ||
        message->term != core->promise_term ||
        message->incarnation != core->options.incarnation || message->key[0] != peer->grant ||
        message->durable_offset > peer->written) {
        return; /* acknowledges something that was not written under this grant */
    }
    peer->ok_ns = core->observed_ns;
    if (message->durable_offset > peer->durable) {
        peer->durable = message->durable_offset;
        progress_of(core, p);
    }
}

void lks_leader_amnesia_cleared(struct lks_core *core, uint32_t p,
                                const struct lks_message *message)
{
    struct peer *peer = &core->peers[p];
    if (core->view.role != LKS_CORE_LEADER || peer->amnesia != AMNESIA_ENDING ||
        message->key[0] != peer->grant) {
        return;
    }
    peer->amnesia = AMNESIA_NONE;
    peer->counted = true;
    progress(core);
}

void lks_leader_transfer(struct lks_core *core, uint32_t peer)
{
    if (core->view.role != LKS_CORE_LEADER ||
        (peer != 0 && (core->view.transferring || !lks_core_is_peer(core, peer) ||
                       !lks_members_is_voter(core, peer)))) {
        return;
    }
    core->transfer_to = peer;
    core->transfer_sent = 0;
    core->transfer_tried = 0;
    core->transfer_until_ns =
        core->observed_ns + TRANSFER_TIMEOUTS * core->options.election_timeout_ns;
    if (!core->view.transferring) {
        core->view.transferring = true;
        core->view.accepts = false;
        progress(core);
    }
}

/* The voter that was wanted does not take over: this replica leads on, as if nothing had been. */
static void end_transfer(struct lks_core *core)
{
    core->view.transferring = false;
    core->transfer_sent = 0;
    core->transfer_to = 0;
    core->view.accepts = core->view.noop_offset != 0;
}

/*
 * Catching up goes in rounds: each ends when the peer holds what had committed when it began. One
 * that took no longer than an election timeout shows that the peer will not hold commits up.
 */
static void catch_up(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    const bool quick =
        core->observed_ns - peer->round_ns <= core->options.election_timeout_ns;
    if (!peer->path_open || peer->behind || !peer->counted || !quick) {
        peer->caught_up = false;
    }
    if (peer->path_open && !peer->behind && peer->counted &&
        peer->durable >= peer->round_target) {
        peer->caught_up = quick;
        peer->round_target = core->view.commit_offset;
        peer->round_ns = core->observed_ns;
    }
}

void lks_leader_tick(struct lks_core *core)
{
    if (core->view.transferring && core->transfer_to != 0 &&
        core->observed_ns >= core->transfer_until_ns) {
        end_transfer(core);
    }
    LKS_QUORUM_EACH (p, core->met) {
        const struct peer *peer = &core->peers[p];
        see_off(core, p);
        catch_up(core, p);
        if (peer->path_open && peer->inflight > 0 &&
            core->observed_ns - peer->inflight_since_ns >
                DROP_TIMEOUTS * core->options.election_timeout_ns) {
            lks_election_path_lost(core, p); /* asked again, and granted into anew, by the tick */
        }
        lks_install_tick(core, p);
    }
    lks_election_beat(core);
    if (core->view.role == LKS_CORE_LEADER) {
        progress(core);
    }
}
