/*
 * Connections of the simulated network. A connection is two sides: both are connected by one
 * handshake, and each notices its end at a time of its own. See network.h.
 */
#include "sim/network_internal.h"

#include "base/assert.h"
#include "base/clock.h"

#include <string.h>

#define HANDSHAKE_RETRY_NS (2 * LKS_NS_PER_MS)

static void disconnect(struct lks_sim_side *side)
{
    struct lks_sim_network *network = side->network;
    LKS_ASSERT(side->connected);
    network->counts.disconnected++;
    const struct lks_sim_host *peer = &network->hosts[side->peer];
    const bool died = !peer->alive || peer->life != side->peer_life;
    const bool told = died && lks_sim_random_chance(&network->random,
                                                    network->options.profile.death_known_ppm);
    const bool announced = side->announced;
    lks_sim_gate_fail_controls(network, side->self, side->peer);
    lks_sim_channel_fail(&side->reads_and_inbox, -LKS_EBROKEN, announced);
    lks_sim_channel_fail(&side->path, -LKS_EBROKEN, announced);
    side->connected = side->announced = side->broken = side->carries = side->watching = false;
    side->watch++;
    if (announced) {
        lks_sim_trace_network(network, &(struct lks_sim_record){.what = "disconnected",
                                                                .a = side->self,
                                                                .b = side->peer,
                                                                .x = side->connection,
                                                                .y = told});
        const struct lks_fabric_event event = {.kind = LKS_FABRIC_DISCONNECTED,
                                               .peer = side->peer,
                                               .connection = side->connection,
                                               .peer_dead = told};
        lks_sim_host_push(network, side->self, &event, NULL);
    }
}

static void notice(void *ctx, uint64_t epoch);

void lks_sim_side_break(struct lks_sim_side *side, bool carries)
{
    if (!side->connected || side->broken) {
        return;
    }
    side->broken = true;
    side->carries = carries;
    lks_sim_later(side->network, &side->network->options.profile.notice, notice, side,
                  side->epoch);
}

void lks_sim_side_break_now(struct lks_sim_side *side)
{
    struct lks_sim_network *network = side->network;
    const uint64_t epoch = side->epoch;
    disconnect(side);
    struct lks_sim_side *other = &network->sides[side->peer][side->self];
    if (other->epoch == epoch) {
        const bool carries = lks_sim_random_chance(&network->random,
                                                   network->options.profile.carries_ppm);
        lks_sim_side_break(other, carries);
    }
    lks_sim_pair_kick(network, side->self, side->peer);
}

static void notice(void *ctx, uint64_t epoch)
{
    struct lks_sim_side *side = ctx;
    if (side->connected && side->broken && side->epoch == epoch) {
        lks_sim_side_break_now(side);
    }
}

static void announce(void *ctx, uint64_t epoch)
{
    struct lks_sim_side *side = ctx;
    if (!side->connected || side->broken || side->announced || side->epoch != epoch) {
        return;
    }
    struct lks_sim_network *network = side->network;
    side->announced = true;
    side->connection++;
    lks_sim_channel_open(&side->reads_and_inbox,
                         network->hosts[side->self].options.outstanding_max);
    lks_sim_trace_network(network, &(struct lks_sim_record){.what = "connected",
                                                            .a = side->self,
                                                            .b = side->peer,
                                                            .x = side->connection,
                                                            .y = epoch});
    const struct lks_fabric_event event = {
        .kind = LKS_FABRIC_CONNECTED, .peer = side->peer, .connection = side->connection};
    lks_sim_host_push(network, side->self, &event, NULL);
}

static void connect_side(struct lks_sim_side *side)
{
    struct lks_sim_network *network = side->network;
    struct lks_sim_host *host = &network->hosts[side->self];
    const struct lks_sim_host *peer = &network->hosts[side->peer];
    side->connected = true;
    side->announced = side->broken = side->carries = false;
    side->epoch = network->epochs;
    side->peer_life = peer->life;
    memcpy(side->hello, peer->options.hello, sizeof side->hello);
    lks_sim_memory_renew(&host->inbox[side->peer], host->options.inbox_bytes);
    lks_sim_later(network, &network->options.profile.handshake, announce, side, side->epoch);
}

static bool can_shake(const struct lks_sim_network *network, uint32_t a, uint32_t b)
{
    return !network->links[a][b].down && !network->links[b][a].down &&
           !network->hosts[a].frozen && !network->hosts[b].frozen;
}

static bool wants_shake(const struct lks_sim_network *network, uint32_t a, uint32_t b)
{
    const struct lks_sim_side *one = &network->sides[a][b];
    const struct lks_sim_side *two = &network->sides[b][a];
    return network->hosts[a].alive && network->hosts[b].alive && one->wanted && two->wanted &&
           !one->connected && !two->connected;
}

static void attempt(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_side *side = ctx;
    struct lks_sim_network *network = side->network;
    const uint32_t a = side->self;
    const uint32_t b = side->peer;
    network->attempting[a][b] = false;
    if (!wants_shake(network, a, b)) {
        return;
    }
    if (!can_shake(network, a, b)) {
        network->attempting[a][b] = true;
        lks_sim_timeline_post(network->options.timeline,
                              lks_sim_now(network) + HANDSHAKE_RETRY_NS, attempt, side, 0);
        return;
    }
    network->epochs++;
    connect_side(side);
    connect_side(&network->sides[b][a]);
}

void lks_sim_pair_kick(struct lks_sim_network *network, uint32_t a, uint32_t b)
{
    const uint32_t low = a < b ? a : b;
    const uint32_t high = a < b ? b : a;
    if (network->attempting[low][high] || !wants_shake(network, low, high)) {
        return;
    }
    network->attempting[low][high] = true;
    lks_sim_later(network, &network->options.profile.handshake, attempt,
                  &network->sides[low][high], 0);
}

static void transport_timeout(void *ctx, uint64_t watch)
{
    struct lks_sim_side *side = ctx;
    if (side->watching && side->watch == watch && side->connected) {
        side->watching = false;
        lks_sim_side_break_now(side);
    }
}

void lks_sim_side_blocked(struct lks_sim_side *side)
{
    if (side->watching) {
        return;
    }
    const uint64_t timeout_ns = side->network->options.profile.transport_timeout_ns;
    const struct lks_sim_delay wait = {.min_ns = timeout_ns / 2, .max_ns = timeout_ns};
    side->watching = true;
    side->watch++;
    lks_sim_later(side->network, &wait, transport_timeout, side, side->watch);
}
