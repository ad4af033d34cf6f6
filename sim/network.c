/* The simulated network as its cluster sees it: making it, its links, and what breaks it; see
 * network.h. */
#include "sim/network.h"

#include "base/assert.h"
#include "base/clock.h"
#include "sim/network_internal.h"

#include <stdlib.h>

#define STALL_PPM 500000u /* how often a paused process's operations stand still too */
#define RANDOM_STREAM UINT64_C(0x6e6574)

void lks_sim_network_profile_default(struct lks_sim_network_profile *profile)
{
    const uint64_t us = LKS_NS_PER_US;
    const uint64_t ms = LKS_NS_PER_MS;
    *profile = (struct lks_sim_network_profile){
        .step = {.min_ns = 200, .max_ns = 3 * us, .tail_ns = ms, .tail_ppm = 1000},
        .completion = {.min_ns = 300, .max_ns = 4 * us, .tail_ns = ms, .tail_ppm = 1000},
        .handshake = {.min_ns = 100 * us, .max_ns = 2 * ms, .tail_ns = 50 * ms, .tail_ppm = 20000},
        .notice = {.min_ns = 20 * us, .max_ns = ms, .tail_ns = 300 * ms, .tail_ppm = 200000},
        .control = {.min_ns = us, .max_ns = 50 * us, .tail_ns = 5 * ms, .tail_ppm = 20000},
        .fence = {.min_ns = us, .max_ns = 30 * us, .tail_ns = 20 * ms, .tail_ppm = 100000},
        .stray = {.min_ns = us, .max_ns = 100 * us, .tail_ns = 2000 * ms, .tail_ppm = 400000},
        .transport_timeout_ns = 100 * ms,
        .pieces_max = 4,
        .scatter_ppm = 200000,
        .passes_ppm = 300000,
        .lags_ppm = 100000,
        .carries_ppm = 500000,
        .outlives_ppm = 500000,
        .death_known_ppm = 750000,
    };
}

uint64_t lks_sim_now(const struct lks_sim_network *network)
{
    return lks_sim_timeline_now(network->options.timeline);
}

void lks_sim_later(struct lks_sim_network *network, const struct lks_sim_delay *delay,
                   lks_sim_action action, void *ctx, uint64_t argument)
{
    const uint64_t wait_ns = lks_sim_random_delay(&network->random, delay);
    lks_sim_timeline_post(network->options.timeline, lks_sim_now(network) + wait_ns, action, ctx,
                          argument);
}

void lks_sim_trace_network(struct lks_sim_network *network, const struct lks_sim_record *record)
{
    if (network->options.trace != NULL) {
        lks_sim_trace_add(network->options.trace, lks_sim_now(network), record);
    }
}

struct lks_sim_network *lks_sim_network_new(const struct lks_sim_network_options *options)
{
    LKS_ASSERT(options->replicas >= 1 && options->replicas <= LKS_REPLICAS_MAX);
    LKS_ASSERT(options->profile.pieces_max >= 1 &&
               options->profile.pieces_max <= LKS_SIM_PIECES_MAX);
    struct lks_sim_network *network = calloc(1, sizeof *network);
    LKS_ASSERT(network != NULL);
    network->options = *options;
    lks_sim_random_fork(&network->random, options->random, RANDOM_STREAM);
    for (uint32_t a = 1; a <= options->replicas; a++) {
        network->hosts[a].id = a;
        network->hosts[a].event_fd = -1;
        for (uint32_t b = 1; b <= options->replicas; b++) {
            struct lks_sim_side *side = &network->sides[a][b];
            side->network = network;
            side->self = a;
            side->peer = b;
            lks_sim_channel_init(&side->reads_and_inbox, side, false);
            lks_sim_channel_init(&side->path, side, true);
            struct lks_sim_gate *gate = &network->gates[a][b];
            gate->network = network;
            gate->owner = a;
            gate->writer = b;
        }
    }
    return network;
}

void lks_sim_network_free(struct lks_sim_network *network)
{
    if (network == NULL) {
        return;
    }
    for (uint32_t a = 1; a <= network->options.replicas; a++) {
        for (uint32_t b = 1; b <= network->options.replicas; b++) {
            lks_sim_channel_fini(&network->sides[a][b].reads_and_inbox);
            lks_sim_channel_fini(&network->sides[a][b].path);
            lks_sim_gate_fini(&network->gates[a][b]);
        }
        lks_sim_host_fini(network, &network->hosts[a]);
    }
    while (network->controls != NULL) {
        struct lks_sim_control *control = network->controls;
        network->controls = control->next;
        free(control);
    }
    free(network);
}

/* ---- faults ------------------------------------------------------------------------------- */

static void kick_side(struct lks_sim_side *side)
{
    side->watching = false;
    side->watch++;
    lks_sim_channel_kick(&side->reads_and_inbox);
    lks_sim_channel_kick(&side->path);
}

void lks_sim_network_set_link(struct lks_sim_network *network, uint32_t from, uint32_t to,
                              struct lks_sim_link link)
{
    LKS_ASSERT(from != to && from >= 1 && from <= network->options.replicas && to >= 1 &&
               to <= network->options.replicas);
    network->links[from][to] = link;
    lks_sim_trace_network(
        network, &(struct lks_sim_record){
                     .what = "link", .a = from, .b = to, .x = link.down, .y = link.slow_ns});
    if (!link.down) {
        kick_side(&network->sides[from][to]);
        kick_side(&network->sides[to][from]);
    }
}

void lks_sim_network_break(struct lks_sim_network *network, uint32_t a, uint32_t b)
{
    const uint32_t carries_ppm = network->options.profile.carries_ppm;
    lks_sim_trace_network(network, &(struct lks_sim_record){.what = "break", .a = a, .b = b});
    lks_sim_side_break(&network->sides[a][b], lks_sim_random_chance(&network->random, carries_ppm));
    lks_sim_side_break(&network->sides[b][a], lks_sim_random_chance(&network->random, carries_ppm));
}

void lks_sim_network_break_one_way(struct lks_sim_network *network, uint32_t a, uint32_t b)
{
    lks_sim_trace_network(network,
                          &(struct lks_sim_record){.what = "break one way", .a = a, .b = b});
    if (network->sides[a][b].connected) {
        lks_sim_side_break(&network->sides[b][a], true);
        lks_sim_side_break_now(&network->sides[a][b]);
    }
}

void lks_sim_network_freeze(struct lks_sim_network *network, uint32_t replica, bool frozen)
{
    struct lks_sim_host *host = &network->hosts[replica];
    host->frozen = frozen;
    host->stalled = frozen && lks_sim_random_chance(&network->random, STALL_PPM);
    for (uint32_t peer = 1; !frozen && peer <= network->options.replicas; peer++) {
        lks_sim_channel_kick(&network->sides[replica][peer].reads_and_inbox);
        lks_sim_channel_kick(&network->sides[replica][peer].path);
    }
}

void lks_sim_network_clear_up(struct lks_sim_network *network)
{
    struct lks_sim_network_profile quick;
    lks_sim_network_profile_default(&quick);
    struct lks_sim_network_profile *profile = &network->options.profile;
    profile->step = quick.step;
    profile->completion = quick.completion;
    profile->handshake = quick.handshake;
    profile->control = quick.control;
    profile->fence = quick.fence;
    profile->busy_ppm = 0;
}

void lks_sim_network_lose_power(struct lks_sim_network *network, uint32_t replica)
{
    if (network->hosts[replica].alive) {
        lks_sim_host_end(network, replica, true);
        return;
    }
    /* What outlived its process does not outlive this: nothing that is on its way arrives, and no
     * flush covers what is lost. */
    network->hosts[replica].outlives = false;
    for (uint32_t peer = 1; peer <= network->options.replicas; peer++) {
        network->sides[peer][replica].carries = false;
    }
    lks_sim_host_forget_writes(network, replica);
}

void lks_sim_network_forget_log(struct lks_sim_network *network, uint32_t replica)
{
    LKS_ASSERT(!network->hosts[replica].alive);
    lks_sim_host_forget_writes(network, replica);
    lks_sim_store_release(&network->hosts[replica].store);
}

void *lks_sim_network_log(struct lks_sim_network *network, uint32_t replica, uint64_t *bytes)
{
    *bytes = network->hosts[replica].store.size;
    return network->hosts[replica].store.bytes;
}

void lks_sim_network_counts(const struct lks_sim_network *network,
                            struct lks_sim_network_counts *counts)
{
    *counts = network->counts;
}
