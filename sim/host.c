/*
 * The processes' side of the simulated network: what a process finds to poll, the start of its
 * life, its end. The log memory outlives it, all other regions do not. See network.h.
 */
#include "sim/network_internal.h"

#include "base/assert.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define EVENTS_FIRST 64u
#define EVENTS_MAX (1u << 20)

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
    lks_sim_trace_network(network, &(struct lks_sim_record){.what = "told: id, status",
                                                            .a = replica,
                                                            .x = event->id,
                                                            .y = (uint64_t)(int64_t)event->status,
                                                            .quiet = true});
    call_attention(network, host);
}

/* ---- life --------------------------------------------------------------------------------- */

void lks_sim_host_forget_writes(struct lks_sim_network *network, uint32_t replica)
{
    for (uint32_t peer = 1; peer <= network->options.replicas; peer++) {
        lks_sim_channel_drop(&network->sides[peer][replica].path);
        lks_sim_strays_drop(&network->gates[replica][peer]);
    }
}

void lks_sim_store_release(struct lks_sim_store *store)
{
    if (store->mapped) {
        const int unmapped = munmap(store->bytes, store->size);
        LKS_ASSERT(unmapped == 0);
    }
    *store = (struct lks_sim_store){0};
}

void lks_sim_host_start(struct lks_sim_network *network, struct lks_sim_host *host,
                        const struct lks_fabric_options *options)
{
    host->options = *options;
    host->options.directory = NULL;
    host->life++;
    host->alive = true;
    host->frozen = host->stalled = host->outlives = host->armed = host->woken = false;
    host->signalled = false;
    host->events_count = 0;
    /* Its own process writes there too, and does not say where. */
    lks_sim_memory_renew(&host->words, options->words_bytes);
    lks_sim_memory_touch_all(&host->words);
    lks_sim_memory_renew(&host->scratch, options->scratch_bytes); /* reads land there, no more */
    for (uint32_t peer = 1; peer <= network->options.replicas; peer++) {
        lks_sim_memory_renew(&host->inbox[peer], options->inbox_bytes);
        lks_sim_gate_close(&network->gates[host->id][peer]);
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
            lks_sim_side_break(&network->sides[peer][replica], host->outlives);
        }
        lks_sim_section_drain_owner(&network->gates[replica][peer]);
    }
    if (power_cut) {
        lks_sim_host_forget_writes(network, replica);
    }
    host->alive = host->frozen = host->stalled = host->armed = host->woken = false;
    host->signalled = false;
    host->events_count = 0;
    if (host->store.bytes != NULL && !host->store.mapped && !network->options.log_outlives) {
        /* Memory of the process, not of a file: it goes with the process. */
        lks_sim_host_forget_writes(network, replica);
        lks_sim_store_release(&host->store);
    }
    lks_sim_trace_network(network, &(struct lks_sim_record){.what = "process ended",
                                                            .a = replica,
                                                            .x = host->life,
                                                            .y = power_cut});
}

void lks_sim_host_fini(struct lks_sim_network *network, struct lks_sim_host *host)
{
    LKS_ASSERT(!host->alive);
    for (uint32_t peer = 1; peer <= network->options.replicas; peer++) {
        lks_sim_memory_release(&host->inbox[peer]);
    }
    lks_sim_memory_release(&host->words);
    lks_sim_memory_release(&host->scratch);
    free(host->events);
    lks_sim_store_release(&host->store);
}
