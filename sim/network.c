/*
 * Hosts, links and connections of the simulated network; see network.h. A connection is two
 * sides: both are connected by one handshake, and each notices its end at a time of its own.
 */
#include "sim/network.h"

#include "base/assert.h"
#include "base/clock.h"
#include "sim/network_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HANDSHAKE_RETRY_NS (2 * LKS_NS_PER_MS)
#define EVENTS_FIRST 64u
#define EVENTS_MAX (1u << 20)
#define STALL_PPM 500000u       /* how often a paused process's operations stand still too */
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

void lks_sim_memory_release(struct lks_sim_memory *memory)
{
    if (memory->bytes != NULL) {
        const int unmapped = munmap(memory->bytes, memory->size);
        LKS_ASSERT(unmapped == 0);
    }
    *memory = (struct lks_sim_memory){0};
}

void lks_sim_memory_renew(struct lks_sim_memory *memory, uint64_t size)
{
    if (memory->bytes != NULL && memory->size == size) {
        const int emptied = madvise(memory->bytes, size, MADV_DONTNEED);
        LKS_ASSERT(emptied == 0);
        return;
    }
    lks_sim_memory_release(memory);
    if (size > 0) {
        void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        LKS_ASSERT(mapped != MAP_FAILED);
        *memory = (struct lks_sim_memory){.bytes = mapped, .size = size};
    }
}

static void store_release(struct lks_sim_store *store)
{
    if (store->mapped) {
        const int unmapped = munmap(store->bytes, store->size);
        LKS_ASSERT(unmapped == 0);
    }
    *store = (struct lks_sim_store){0};
}

void lks_sim_network_free(struct lks_sim_network *network)
{
    if (network == NULL) {
        return;
    }
    for (uint32_t a = 1; a <= network->options.replicas; a++) {
        struct lks_sim_host *host = &network->hosts[a];
        LKS_ASSERT(!host->alive);
        for (uint32_t b = 1; b <= network->options.replicas; b++) {
            lks_sim_channel_fini(&network->sides[a][b].reads_and_inbox);
            lks_sim_channel_fini(&network->sides[a][b].path);
            lks_sim_gate_fini(&network->gates[a][b]);
            lks_sim_memory_release(&host->inbox[b]);
        }
        lks_sim_memory_release(&host->words);
        lks_sim_memory_release(&host->scratch);
        free(host->events);
        store_release(&host->store);
    }
    while (network->controls != NULL) {
        struct lks_sim_control *control = network->controls;
        network->controls = control->next;
        free(control);
    }
    free(network);
}

/* ---- events ------------------------------------------------------------------------------- */

/* Something to do: a sleeping process sees its descriptor, the cluster hears of it. */
static void call_attention(struct lks_sim_network *network, struct lks_sim_host *host)
{
    if (host->armed && !host->signalled) {
        const uint64_t one = 1;
        const ssize_t written = write(host->event_fd, &one, sizeof one);
        LKS_ASSERT(written == (ssize_t)sizeof one);
        host->signalled = true;
    }
    if (network->options.observer.wake != NULL) {
        network->options.observer.wake(network->options.observer.ctx, host->id);
    }
}

void lks_sim_host_wake(struct lks_sim_network *network, uint32_t replica)
{
    struct lks_sim_host *host = &network->hosts[replica];
    if (host->alive) {
        host->woken = true;
        call_attention(network, host);
    }
}

void lks_sim_host_push(struct lks_sim_network *network, uint32_t replica,
                       const struct lks_fabric_event *event, struct lks_sim_channel *channel)
{
    struct lks_sim_host *host = &network->hosts[replica];
    LKS_ASSERT(host->alive);
    if (host->events_count == host->events_capacity) {
        const uint32_t capacity = host->events_capacity == 0 ? EVENTS_FIRST
                                                             : host->events_capacity * 2;
        LKS_ASSERT(capacity <= EVENTS_MAX);
        struct lks_sim_queued_event *events = calloc(capacity, sizeof *events);
        LKS_ASSERT(events != NULL);
        for (uint32_t i = 0; i < host->events_count; i++) {
            events[i] = host->events[(host->events_head + i) % host->events_capacity];
        }
        free(host->events);
        host->events = events;
        host->events_head = 0;
        host->events_capacity = capacity;
    }
    const uint32_t place = (host->events_head + host->events_count) % host->events_capacity;
    host->events[place] =
        (struct lks_sim_queued_event){.event = *event, .channel = channel};
    host->events_count++;
    if (channel != NULL) {
        channel->unpolled++;
    }
    call_attention(network, host);
}

/* ---- connections -------------------------------------------------------------------------- */

static void disconnect(struct lks_sim_side *side)
{
    struct lks_sim_network *network = side->network;
    LKS_ASSERT(side->connected);
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

/* The side's connection is broken; it will notice. */
static void break_side(struct lks_sim_side *side, bool carries)
{
    if (!side->connected || side->broken) {
        return;
    }
    side->broken = true;
    side->carries = carries;
    lks_sim_later(side->network, &side->network->options.profile.notice, notice, side,
                  side->epoch);
}

/* This side knows at once; the other one will. */
static void break_now(struct lks_sim_side *side)
{
    struct lks_sim_network *network = side->network;
    const uint64_t epoch = side->epoch;
    disconnect(side);
    struct lks_sim_side *other = &network->sides[side->peer][side->self];
    if (other->epoch == epoch) {
        const bool carries = lks_sim_random_chance(&network->random,
                                                   network->options.profile.carries_ppm);
        break_side(other, carries);
    }
    lks_sim_pair_kick(network, side->self, side->peer);
}

static void notice(void *ctx, uint64_t epoch)
{
    struct lks_sim_side *side = ctx;
    if (side->connected && side->broken && side->epoch == epoch) {
        break_now(side);
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
        break_now(side);
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
    break_side(&network->sides[a][b], lks_sim_random_chance(&network->random, carries_ppm));
    break_side(&network->sides[b][a], lks_sim_random_chance(&network->random, carries_ppm));
}

void lks_sim_network_break_one_way(struct lks_sim_network *network, uint32_t a, uint32_t b)
{
    lks_sim_trace_network(network,
                          &(struct lks_sim_record){.what = "break one way", .a = a, .b = b});
    if (network->sides[a][b].connected) {
        break_side(&network->sides[b][a], true);
        break_now(&network->sides[a][b]);
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

void lks_sim_host_end(struct lks_sim_network *network, uint32_t replica, bool power_cut)
{
    struct lks_sim_host *host = &network->hosts[replica];
    LKS_ASSERT(host->alive);
    host->outlives = !power_cut && lks_sim_random_chance(&network->random,
                                                         network->options.profile.outlives_ppm);
    for (uint32_t peer = 1; peer <= network->options.replicas; peer++) {
        struct lks_sim_side *own = &network->sides[replica][peer];
        lks_sim_gate_fail_controls(network, replica, peer);
        lks_sim_channel_fail(&own->reads_and_inbox, -LKS_EBROKEN, false);
        lks_sim_channel_fail(&own->path, -LKS_EBROKEN, false);
        own->wanted = own->connected = own->announced = own->broken = own->carries = false;
        own->watching = false;
        own->watch++;
        own->connection = 0;
        if (peer != replica) {
            break_side(&network->sides[peer][replica], host->outlives);
        }
        if (power_cut) {
            lks_sim_channel_drop(&network->sides[peer][replica].path);
            lks_sim_gate_drop_strays(&network->gates[replica][peer]);
        }
    }
    host->alive = host->frozen = host->stalled = host->armed = host->woken = false;
    host->signalled = false;
    host->events_count = 0;
    if (host->store.bytes != NULL && !host->store.mapped && !network->options.log_outlives) {
        /* Memory of the process, not of a file: it goes with the process. */
        for (uint32_t peer = 1; peer <= network->options.replicas; peer++) {
            lks_sim_channel_drop(&network->sides[peer][replica].path);
            lks_sim_gate_drop_strays(&network->gates[replica][peer]);
        }
        store_release(&host->store);
    }
    lks_sim_trace_network(network, &(struct lks_sim_record){.what = "process ended",
                                                            .a = replica,
                                                            .x = host->life,
                                                            .y = power_cut});
}

void lks_sim_network_lose_power(struct lks_sim_network *network, uint32_t replica)
{
    if (network->hosts[replica].alive) {
        lks_sim_host_end(network, replica, true);
        return;
    }
    for (uint32_t peer = 1; peer <= network->options.replicas; peer++) {
        lks_sim_channel_drop(&network->sides[peer][replica].path);
        lks_sim_gate_drop_strays(&network->gates[replica][peer]);
    }
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
