/* What goes wrong with links and connections; see faults.h. */
#include "sim/faults_internal.h"

#include "base/assert.h"
#include "base/clock.h"

#define ANY_LINK_PPM 350000u /* of a partial partition: how many directions are down */

static const struct lks_sim_link g_down = {.down = true};

static void link_recovers(void *ctx, uint64_t generation)
{
    struct lks_sim_changed_link *link = ctx;
    if (link->generation == generation) {
        lks_sim_network_set_link(link->faults->options.network, link->from, link->to,
                                 (struct lks_sim_link){0});
    }
}

static void change_link(struct lks_sim_faults *faults, uint32_t from, uint32_t to,
                        struct lks_sim_link changed, uint64_t end_ns)
{
    struct lks_sim_changed_link *link = &faults->links[from][to];
    *link = (struct lks_sim_changed_link){
        .faults = faults, .from = from, .to = to, .generation = link->generation + 1};
    lks_sim_network_set_link(faults->options.network, from, to, changed);
    lks_sim_timeline_post(faults->options.timeline, end_ns, link_recovers, link,
                          link->generation);
}

static void change_both(struct lks_sim_faults *faults, uint32_t a, uint32_t b,
                        struct lks_sim_link changed, uint64_t end_ns)
{
    change_link(faults, a, b, changed, end_ns);
    change_link(faults, b, a, changed, end_ns);
}

/* A group of at least one replica and not all of them: bit r - 1 for replica r. */
static uint64_t any_group(struct lks_sim_faults *faults)
{
    const uint32_t replicas = faults->options.replicas;
    return 1 + lks_sim_random_below(&faults->random, (UINT64_C(1) << replicas) - 2);
}

static bool is_in(uint64_t group, uint32_t replica)
{
    return ((group >> (replica - 1)) & 1) != 0;
}

/* Nothing passes from a group to the others; nor back, unless one_way. `spared` is reached by all
 * and reaches all; 0: nobody. */
static void split(struct lks_sim_faults *faults, bool one_way, uint32_t spared)
{
    const uint32_t replicas = faults->options.replicas;
    const uint64_t group = any_group(faults);
    const uint64_t end_ns = lks_sim_fault_end(faults);
    for (uint32_t a = 1; a <= replicas; a++) {
        for (uint32_t b = 1; b <= replicas; b++) {
            if (a != spared && b != spared && is_in(group, a) && !is_in(group, b)) {
                change_link(faults, a, b, g_down, end_ns);
                if (!one_way) {
                    change_link(faults, b, a, g_down, end_ns);
                }
            }
        }
    }
}

/* One replica is heard by nobody, or hears nobody. */
static void one_way(struct lks_sim_faults *faults, uint32_t replica)
{
    const bool deaf = lks_sim_random_chance(&faults->random, 500000);
    const uint64_t end_ns = lks_sim_fault_end(faults);
    for (uint32_t peer = 1; peer <= faults->options.replicas; peer++) {
        if (peer != replica) {
            change_link(faults, deaf ? peer : replica, deaf ? replica : peer, g_down, end_ns);
        }
    }
}

static void partial(struct lks_sim_faults *faults)
{
    const uint64_t end_ns = lks_sim_fault_end(faults);
    for (uint32_t a = 1; a <= faults->options.replicas; a++) {
        for (uint32_t b = 1; b <= faults->options.replicas; b++) {
            if (a != b && lks_sim_random_chance(&faults->random, ANY_LINK_PPM)) {
                change_link(faults, a, b, g_down, end_ns);
            }
        }
    }
}

static struct lks_sim_link any_slowness(struct lks_sim_faults *faults)
{
    return (struct lks_sim_link){
        .slow_ns = lks_sim_random_magnitude(&faults->random, LKS_NS_PER_US,
                                            faults->options.profile->slow_max_ns)};
}

static void slow_all(struct lks_sim_faults *faults, uint32_t replica)
{
    const struct lks_sim_link slow = any_slowness(faults);
    const uint64_t end_ns = lks_sim_fault_end(faults);
    for (uint32_t peer = 1; peer <= faults->options.replicas; peer++) {
        if (peer != replica) {
            change_both(faults, replica, peer, slow, end_ns);
        }
    }
}

static void break_all(struct lks_sim_faults *faults, uint32_t replica)
{
    for (uint32_t peer = 1; peer <= faults->options.replicas; peer++) {
        if (peer != replica) {
            lks_sim_network_break(faults->options.network, replica, peer);
        }
    }
}

static uint32_t other_than(struct lks_sim_faults *faults, uint32_t replica)
{
    const uint32_t replicas = faults->options.replicas;
    const uint32_t step = 1 + (uint32_t)lks_sim_random_below(&faults->random, replicas - 1);
    return (replica - 1 + step) % replicas + 1;
}

static bool to_one_link(struct lks_sim_faults *faults, enum lks_sim_fault fault, uint32_t replica)
{
    const uint32_t peer = other_than(faults, replica);
    switch (fault) {
    case LKS_SIM_FAULT_LINK:
        change_link(faults, replica, peer, g_down, lks_sim_fault_end(faults));
        return true;
    case LKS_SIM_FAULT_SLOW:
        change_link(faults, replica, peer, any_slowness(faults), lks_sim_fault_end(faults));
        return true;
    case LKS_SIM_FAULT_BREAK:
        lks_sim_network_break(faults->options.network, replica, peer);
        return true;
    case LKS_SIM_FAULT_BREAK_ONE_WAY:
        lks_sim_network_break_one_way(faults->options.network, replica, peer);
        return true;
    default:
        return false;
    }
}

bool lks_sim_link_fault(struct lks_sim_faults *faults, enum lks_sim_fault fault,
                        uint32_t replica)
{
    if (faults->options.replicas == 1) {
        return false;
    }
    switch (fault) {
    case LKS_SIM_FAULT_SPLIT:
        split(faults, false, 0);
        return true;
    case LKS_SIM_FAULT_SPLIT_ONE_WAY:
        split(faults, true, 0);
        return true;
    case LKS_SIM_FAULT_BRIDGE:
        split(faults, false, replica);
        return true;
    case LKS_SIM_FAULT_ONE_WAY:
        one_way(faults, replica);
        return true;
    case LKS_SIM_FAULT_PARTIAL:
        partial(faults);
        return true;
    case LKS_SIM_FAULT_SLOW_ALL:
        slow_all(faults, replica);
        return true;
    case LKS_SIM_FAULT_BREAK_ALL:
        break_all(faults, replica);
        return true;
    default:
        return to_one_link(faults, fault, replica);
    }
}

void lks_sim_link_faults_heal(struct lks_sim_faults *faults)
{
    for (uint32_t a = 1; a <= faults->options.replicas; a++) {
        for (uint32_t b = 1; b <= faults->options.replicas; b++) {
            if (a != b) {
                faults->links[a][b].generation++;
                lks_sim_network_set_link(faults->options.network, a, b,
                                         (struct lks_sim_link){0});
            }
        }
    }
}
