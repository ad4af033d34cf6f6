/*
 * Linearizable reads without logging (design 3.5), and the probes that they ride on.
 *
 * A probe is a write without effect under the write permission. One that completed shows that the
 * permission stood when it landed; on a majority: that no newer leader had been elected when the
 * first of them was posted, for it would have taken the permission of one of this majority away
 * first. So the commit offset, taken before that, covers everything that anybody had been told was
 * committed when the read came. (docs/protocol.md, "Reads".)
 */
#include "consensus/core_internal.h"

#include <string.h>

/* Every probe stands for all rounds whose point was taken before it was posted. */
void lks_reads_probe(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    LKS_ASSERT(peer->path_open);
    LKS_ASSERT(peer->probes < PROBES_MAX);
    memmove(&peer->probe_rounds[1], &peer->probe_rounds[0],
            (PROBES_MAX - 1) * sizeof peer->probe_rounds[0]);
    peer->probe_rounds[0] = core->reads_posted; /* the oldest is at probes - 1 */
    peer->round_posted = core->reads_posted;
    peer->probes++;
    lks_core_emit(core, LKS_EFFECT_PROBE, p)->grant = peer->grant;
}

/* The oldest probe to p has completed. */
void lks_reads_probed(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    LKS_ASSERT(peer->probes > 0);
    peer->probes--;
    const uint64_t round = peer->probe_rounds[peer->probes];
    LKS_ASSERT(round >= peer->round_confirmed);
    peer->round_confirmed = round;
}

static void cover(struct lks_core *core)
{
    LKS_QUORUM_EACH (p, core->met & core->view.members.voters) {
        const struct peer *peer = &core->peers[p];
        if (peer->path_open && peer->counted && peer->round_posted < core->reads_posted &&
            peer->probes < PROBES_MAX) {
            lks_reads_probe(core, p);
        }
    }
}

/* Only those that count: one that may have forgotten its promise proves nothing about newer
 * leaders. */
static uint64_t confirmed(const struct lks_core *core)
{
    uint64_t rounds[LKS_CORE_PEERS];
    const uint32_t voters = core->view.members.voters;
    LKS_QUORUM_EACH (p, voters) {
        const struct peer *peer = &core->peers[p];
        rounds[p] = peer->path_open && peer->counted ? peer->round_confirmed : 0;
    }
    rounds[core->options.replica] = core->reads_posted;
    return lks_quorum_reached(rounds, voters);
}

void lks_reads_progress(struct lks_core *core)
{
    if (core->reads_posted == 0 && !core->reads_wanted) {
        return;
    }
    LKS_ASSERT(core->view.established);
    const uint64_t round = confirmed(core);
    if (round > core->view.reads.confirmed) {
        core->view.reads.confirmed = round;
        const uint64_t point = core->read_points[round % READ_ROUNDS_MAX];
        LKS_ASSERT(point >= core->view.reads.point);
        core->view.reads.point = point;
    }
    if (core->reads_wanted &&
        core->reads_posted - core->view.reads.confirmed < READ_ROUNDS_MAX) {
        core->reads_wanted = false;
        core->reads_posted++;
        core->read_points[core->reads_posted % READ_ROUNDS_MAX] = core->view.commit_offset;
        if (lks_quorum_count(core->view.members.voters) == 1) {
            lks_reads_progress(core);
        }
    }
    cover(core);
}

void lks_reads_begin(struct lks_core *core)
{
    if (!core->view.established) {
        return; /* it may not know yet what is committed */
    }
    LKS_ASSERT(core->view.role == LKS_CORE_LEADER);
    if (!core->reads_wanted) {
        core->reads_wanted = true;
        core->view.reads.begun = core->reads_posted + 1;
    }
    lks_reads_progress(core);
}

void lks_reads_end(struct lks_core *core)
{
    core->reads_wanted = false;
    core->reads_posted = 0;
    core->view.reads.begun = 0;
    core->view.reads.confirmed = 0;
    core->view.reads.point = 0;
    for (uint32_t p = 1; p <= core->options.replicas; p++) {
        core->peers[p].round_posted = 0;
        core->peers[p].round_confirmed = 0;
    }
}
