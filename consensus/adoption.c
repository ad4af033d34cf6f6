/*
 * A candidate with a majority of grants takes over the best log among them: the one with the
 * highest (last term, last offset). Every committed entry is durable on a majority, so some
 * grantor holds it, and a log that lacked it could not be the best (docs/protocol.md).
 *
 * Only standing grants count: if one breaks while its log is read, the choice is made again, the
 * own log counted as it now is. With more than three replicas a majority must be seen to stand
 * together, after the last of its grants (docs/protocol.md, "Grants that stand together").
 */
#include "consensus/core_internal.h"

#include <errno.h>

/* A path on which so many probes hang is not probed again. */
#define CONFIRM_PROBES_MAX 4u

static bool log_is_better(const struct lks_position *a, const struct lks_position *b)
{
    return a->term != b->term ? a->term > b->term : a->offset > b->offset;
}

void lks_adoption_begin(struct lks_core *core)
{
    lks_core_set_role(core, LKS_CORE_ADOPTING);
    lks_adoption_choose(core);
}

/* As with followers: where a snapshot can make room, half of the reserve stays for later terms. */
static bool has_room(const struct lks_core *core, const struct lks_message *report)
{
    const uint64_t end = core->view.base.offset + core->options.ring_bytes;
    return report->base.offset > core->view.base.offset
               ? report->tail.offset + LKS_NOOP_BYTES <= end - core->options.reserve_bytes / 2
               : report->tail.offset <= end;
}

/*
 * Reads what is missing from the best grantor's log, into the own ring; never over the own
 * unrecycled prefix. Where that log no longer reaches down to the point where the two part, or
 * reaches further up than the own ring has room for, its snapshot is installed first: its own base
 * lies low enough for its tail, and nothing above the base that the two have in common is lost.
 */
static void read_from(struct lks_core *core, uint32_t best)
{
    const struct lks_message *report = &core->peers[best].report;
    const uint64_t from = lks_core_common(core, report, core->view.commit_offset);
    LKS_ASSERT(from >= core->view.commit_offset); /* never over an unrecycled committed prefix */
    if (from < report->base.offset || !has_room(core, report)) {
        lks_install_begin(core, best, report->base.offset);
        return;
    }
    core->reading = true;
    core->reading_peer = best;
    core->cancelled = false;
    struct lks_effect *effect = lks_core_emit(core, LKS_EFFECT_READ_LOG, best);
    effect->from = from;
    effect->to = report->tail.offset;
    effect->term = core->promise_term;
    effect->expect = report->tail;
}

/*
 * A grantor that lost its journal may serve an older leader again, though its grant is still held
 * here. That leader has completed a write on a majority without it by then, and every replica of
 * that majority can have granted to this candidate only later: so grants that a probe, posted after
 * the last of them, shows to stand are not of that kind. (Of three replicas, the only other one in
 * such a majority would be this candidate itself, which has promised.)
 */
static bool grants_stand_together(struct lks_core *core)
{
    const uint8_t voters = core->view.members.voters;
    if (core->view.members.number == 0 && lks_quorum_count(voters) <= 3) {
        return true;
    }
    uint8_t confirmed = (uint8_t)(1u << core->options.replica);
    uint8_t outside = 0;
    LKS_QUORUM_EACH (p, core->met & voters) {
        const struct peer *peer = &core->peers[p];
        if (peer->path_open && peer->confirming) {
            confirmed |= (uint8_t)(peer->probes == 0 ? 1u << p : 0);
        } else if (peer->path_open && peer->probes < CONFIRM_PROBES_MAX) {
            outside |= (uint8_t)(1u << p); /* granted after the others were probed */
        }
    }
    const bool majority = lks_quorum_has_majority(confirmed, voters);
    if (majority || outside == 0) {
        return majority;
    }
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        struct peer *peer = &core->peers[p];
        peer->confirming = peer->path_open && peer->probes < CONFIRM_PROBES_MAX;
        if (peer->confirming) {
            lks_reads_probe(core, p);
        }
    }
    return false;
}

void lks_adoption_probed(struct lks_core *core)
{
    if (core->view.role == LKS_CORE_ADOPTING) {
        lks_adoption_choose(core);
    }
}

void lks_adoption_choose(struct lks_core *core)
{
    LKS_ASSERT(core->view.role == LKS_CORE_ADOPTING);
    if (lks_core_ring_busy(core) || core->handover.phase != HANDOVER_IDLE) {
        return;
    }
    uint32_t best = core->options.replica;
    const struct lks_position *best_tail = &core->view.tail;
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        const struct peer *peer = &core->peers[p];
        if (!peer->path_open) {
            continue;
        }
        if (log_is_better(&peer->report.tail, best_tail)) {
            best = p;
            best_tail = &peer->report.tail;
        }
    }
    if (best == core->options.replica && !lks_members_is_voter(core, best)) {
        lks_election_step_down(core, core->options.election_timeout_ns);
        return; /* the log that it would lead with does not name it */
    }
    if (!lks_quorum_has_majority(lks_election_standing(core), core->view.members.voters)) {
        if (core->observed_ns < core->ask_until_ns) {
            lks_election_request_missing(core); /* of members that it has only now read of */
        }
        return; /* wait for more grants, or for the tick that gives up */
    }
    if (best != core->options.replica) {
        read_from(core, best);
    } else if (grants_stand_together(core)) {
        lks_leader_enter(core);
    }
}

void lks_adoption_path_lost(struct lks_core *core, uint32_t peer)
{
    if (core->reading_peer == peer) {
        lks_core_cancel(core);
    }
    lks_adoption_choose(core);
}

static void read_ended(struct lks_core *core, uint32_t peer, int status)
{
    if (status != 0 && core->peers[peer].path_open) {
        lks_election_path_lost(core, peer);
    } else {
        lks_adoption_choose(core);
    }
}

void lks_adoption_read(struct lks_core *core, const struct lks_core_event *event)
{
    LKS_ASSERT(core->reading);
    const uint32_t peer = core->reading_peer;
    core->reading = false;
    core->cancelled = false;
    lks_core_set_log(core, &event->position, event->runs);
    lks_members_scanned(core, &event->members);
    core->own_durable = event->position.offset;
    if (core->view.role != LKS_CORE_ADOPTING) {
        lks_handover_drained(core);
        return;
    }
    if (event->status == -EPERM) {
        /* An entry of the own term or a higher one: somebody newer writes there. */
        lks_election_step_down(core, core->options.election_timeout_ns);
    } else {
        read_ended(core, peer, event->status);
    }
}

/* The own log is the grantor's snapshot now, and what followed it: go on reading, or, if the
 * grantor is gone, choose again. */
void lks_adoption_installed(struct lks_core *core, int status)
{
    read_ended(core, core->reading_peer, status);
}
