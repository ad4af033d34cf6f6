/* The calls of a process on the simulated network; see fabric.h. */
#include "sim/fabric.h"

#include "base/assert.h"
#include "sim/network_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLAGS_KNOWN \
    (LKS_FABRIC_INLINE | LKS_FABRIC_WAKE | LKS_FABRIC_DURABLE | LKS_FABRIC_MORE)
#define LOG_HEAD_BYTES 4096u /* of the log memory: the fabric's own */

struct sim_fabric {
    struct lks_fabric base;
    struct lks_sim_network *network;
    uint32_t replica;
    uint64_t life;
    int event_fd;
};

static struct sim_fabric *cast(const struct lks_fabric *fabric)
{
    /* Every fabric with this ops table was made by lks_fabric_sim_new. */
    return (struct sim_fabric *)(uintptr_t)fabric;
}

static struct lks_sim_host *host_of(const struct lks_fabric *fabric)
{
    const struct sim_fabric *sim = cast(fabric);
    return &sim->network->hosts[sim->replica];
}

/* False once the host has lost power: then every call is refused until the fabric is freed. */
static bool is_alive(const struct lks_fabric *fabric)
{
    const struct lks_sim_host *host = host_of(fabric);
    return host->alive && host->life == cast(fabric)->life;
}

static bool is_peer(const struct sim_fabric *sim, uint32_t peer)
{
    return peer >= 1 && peer <= sim->network->options.replicas && peer != sim->replica;
}

static struct lks_sim_side *side_of(const struct sim_fabric *sim, uint32_t peer)
{
    return &sim->network->sides[sim->replica][peer];
}

static void sim_free(struct lks_fabric *fabric)
{
    struct sim_fabric *sim = cast(fabric);
    if (is_alive(fabric)) {
        lks_sim_host_end(sim->network, sim->replica, false);
    }
    if (sim->event_fd >= 0) {
        const int closed = close(sim->event_fd);
        LKS_ASSERT(closed == 0);
    }
    free(sim);
}

static int sim_connect(struct lks_fabric *fabric, uint32_t peer)
{
    struct sim_fabric *sim = cast(fabric);
    if (!is_peer(sim, peer) || !is_alive(fabric)) {
        return -EINVAL;
    }
    side_of(sim, peer)->wanted = true;
    lks_sim_pair_kick(sim->network, sim->replica, peer);
    return 0;
}

static const uint8_t *sim_hello(const struct lks_fabric *fabric, uint32_t peer)
{
    LKS_ASSERT(is_peer(cast(fabric), peer));
    return side_of(cast(fabric), peer)->hello;
}

static void *sim_words(const struct lks_fabric *fabric)
{
    return host_of(fabric)->words.bytes;
}

static void *sim_inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    LKS_ASSERT(peer >= 1 && peer <= cast(fabric)->network->options.replicas);
    return host_of(fabric)->inbox[peer].bytes;
}

static void *sim_scratch(const struct lks_fabric *fabric)
{
    return host_of(fabric)->scratch.bytes;
}

static int sim_grant(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    struct sim_fabric *sim = cast(fabric);
    if (!is_peer(sim, peer) || !is_alive(fabric)) {
        return -EINVAL;
    }
    return lks_sim_gate_grant(sim->network, sim->replica, peer, id);
}

static int sim_revoke(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    struct sim_fabric *sim = cast(fabric);
    if (!is_peer(sim, peer) || !is_alive(fabric)) {
        return -EINVAL;
    }
    return lks_sim_gate_revoke(sim->network, sim->replica, peer, id);
}

static int sim_open(struct lks_fabric *fabric, uint32_t peer, const struct lks_fabric_key *key,
                    uint64_t id)
{
    struct sim_fabric *sim = cast(fabric);
    if (!is_peer(sim, peer) || !is_alive(fabric)) {
        return -EINVAL;
    }
    return lks_sim_gate_open(sim->network, sim->replica, peer, key, id);
}

static bool in_memory(const void *memory, uint64_t memory_bytes, const void *at, uint64_t bytes)
{
    const uintptr_t start = (uintptr_t)memory;
    const uintptr_t place = (uintptr_t)at;
    return place >= start && bytes <= memory_bytes && place - start <= memory_bytes - bytes;
}

/* Checks where a write's bytes come from, and copies them where they must be copied now. */
static int take_source(struct lks_sim_op *op, struct lks_sim_host *host, const void *source,
                       bool from_log)
{
    if (op->bytes == 0 || source == NULL || (op->flags & ~(uint32_t)FLAGS_KNOWN) != 0) {
        return -EINVAL;
    }
    if ((op->flags & LKS_FABRIC_INLINE) != 0) {
        if (op->bytes > LKS_FABRIC_INLINE_MAX) {
            return -EINVAL;
        }
        op->data = lks_sim_bytes_copy(source, op->bytes);
        op->source = op->data;
        return 0;
    }
    const struct lks_fabric_memory *log = &host->options.log;
    const bool good = from_log ? in_memory(log->address, log->bytes, source, op->bytes)
                               : in_memory(host->scratch.bytes, host->options.scratch_bytes, source,
                                           op->bytes);
    op->source = source;
    if (good && !from_log) { /* the process has put it there */
        lks_sim_memory_touch(&host->scratch,
                             (uint64_t)((const uint8_t *)source - host->scratch.bytes), op->bytes);
    }
    return good ? 0 : -EINVAL;
}

static int post(struct lks_sim_channel *channel, struct lks_sim_op *op)
{
    const int status = lks_sim_channel_post(channel, op);
    if (status < 0) {
        lks_sim_bytes_free(op->data, op->bytes);
    }
    return status;
}

static int sim_write_log(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                         const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct sim_fabric *sim = cast(fabric);
    if (!is_peer(sim, peer) || !is_alive(fabric)) {
        return -EINVAL;
    }
    struct lks_sim_side *side = side_of(sim, peer);
    if (!side->announced || !side->path.open) {
        return -LKS_EBROKEN;
    }
    const uint64_t size = sim->network->hosts[peer].store.size;
    if (offset < LOG_HEAD_BYTES || bytes > size || offset > size - bytes) {
        return -EINVAL;
    }
    struct lks_sim_op op = {.kind = LKS_SIM_WRITE_LOG,
                            .id = id,
                            .flags = flags,
                            .region = LKS_FABRIC_LOG,
                            .offset = offset,
                            .bytes = bytes};
    const int status = take_source(&op, host_of(fabric), source, true);
    return status < 0 ? status : post(&side->path, &op);
}

static int sim_flush(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    struct sim_fabric *sim = cast(fabric);
    if (!is_peer(sim, peer) || !is_alive(fabric)) {
        return -EINVAL;
    }
    struct lks_sim_side *side = side_of(sim, peer);
    if (!side->announced || !side->path.open) {
        return -LKS_EBROKEN;
    }
    struct lks_sim_op op = {.kind = LKS_SIM_FLUSH, .id = id, .region = LKS_FABRIC_LOG};
    return post(&side->path, &op);
}

static int sim_write_inbox(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                           const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct sim_fabric *sim = cast(fabric);
    if (!is_peer(sim, peer) || !is_alive(fabric)) {
        return -EINVAL;
    }
    struct lks_sim_side *side = side_of(sim, peer);
    if (!side->announced) {
        return -LKS_EBROKEN;
    }
    const uint64_t size = sim->network->hosts[peer].options.inbox_bytes;
    if (bytes > size || offset > size - bytes) {
        return -EINVAL;
    }
    struct lks_sim_op op = {.kind = LKS_SIM_WRITE_INBOX,
                            .id = id,
                            .flags = flags,
                            .region = LKS_FABRIC_INBOX,
                            .offset = offset,
                            .bytes = bytes};
    const int status = take_source(&op, host_of(fabric), source, false);
    return status < 0 ? status : post(&side->reads_and_inbox, &op);
}

static uint64_t region_bytes(const struct lks_sim_host *peer, enum lks_fabric_region region)
{
    switch (region) {
    case LKS_FABRIC_LOG:
        return peer->store.size;
    case LKS_FABRIC_WORDS:
        return peer->options.words_bytes;
    case LKS_FABRIC_INBOX:
        return peer->options.inbox_bytes;
    case LKS_FABRIC_SNAPSHOTS:
        return peer->options.snapshots.address != NULL ? peer->options.snapshots.bytes : 0;
    }
    return 0;
}

static int sim_read(struct lks_fabric *fabric, uint32_t peer, enum lks_fabric_region region,
                    uint64_t offset, void *destination, uint64_t bytes, uint64_t id)
{
    struct sim_fabric *sim = cast(fabric);
    if (!is_peer(sim, peer) || !is_alive(fabric)) {
        return -EINVAL;
    }
    struct lks_sim_side *side = side_of(sim, peer);
    if (!side->announced) {
        return -LKS_EBROKEN;
    }
    const struct lks_sim_host *host = host_of(fabric);
    const uint64_t size = region_bytes(&sim->network->hosts[peer], region);
    const struct lks_fabric_memory *log = &host->options.log;
    const bool local =
        in_memory(log->address, log->bytes, destination, bytes) ||
        in_memory(host->scratch.bytes, host->options.scratch_bytes, destination, bytes);
    if (bytes == 0 || bytes > size || offset > size - bytes || !local) {
        return -EINVAL;
    }
    struct lks_sim_op op = {.kind = LKS_SIM_READ,
                            .id = id,
                            .region = region,
                            .offset = offset,
                            .bytes = bytes,
                            .destination = destination};
    return post(&side->reads_and_inbox, &op);
}

static int sim_poll(struct lks_fabric *fabric, struct lks_fabric_event *events,
                    uint32_t events_max)
{
    struct lks_sim_host *host = host_of(fabric);
    if (!is_alive(fabric)) {
        return 0;
    }
    uint32_t taken = 0;
    uint32_t disconnected = 0; /* bit p: in this batch */
    while (taken < events_max && host->events_count > 0) {
        const struct lks_sim_queued_event *queued = &host->events[host->events_head];
        const uint32_t peer = 1u << queued->event.peer;
        if (queued->event.kind == LKS_FABRIC_CONNECTED && (disconnected & peer) != 0) {
            break; /* the contract: these two never come in one batch */
        }
        disconnected |= queued->event.kind == LKS_FABRIC_DISCONNECTED ? peer : 0;
        events[taken++] = queued->event;
        if (queued->channel != NULL) {
            LKS_ASSERT(queued->channel->unpolled > 0);
            queued->channel->unpolled--;
        }
        host->events_head = (host->events_head + 1) % host->events_capacity;
        host->events_count--;
    }
    return (int)taken;
}

/* Made for who sleeps: in a cluster under virtual time nobody does. */
static int sim_wake_fd(const struct lks_fabric *fabric)
{
    struct sim_fabric *sim = cast(fabric);
    if (sim->event_fd < 0) {
        sim->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        LKS_ASSERT(sim->event_fd >= 0);
        host_of(fabric)->event_fd = sim->event_fd;
    }
    return sim->event_fd;
}

static int sim_arm(struct lks_fabric *fabric)
{
    struct lks_sim_host *host = host_of(fabric);
    if (!is_alive(fabric)) {
        return -EAGAIN;
    }
    if (host->events_count > 0 || host->woken) {
        host->woken = false;
        return -EAGAIN;
    }
    (void)sim_wake_fd(fabric);
    host->armed = true;
    return 0;
}

static void sim_disarm(struct lks_fabric *fabric)
{
    if (is_alive(fabric)) {
        host_of(fabric)->armed = host_of(fabric)->signalled = false;
    }
    uint64_t count = 0;
    const ssize_t drained = read(sim_wake_fd(fabric), &count, sizeof count);
    LKS_ASSERT(drained == (ssize_t)sizeof count || errno == EAGAIN);
}

#define OPS_BUT_WHEN                                                                              \
    .name = "sim", .free = sim_free, .connect = sim_connect, .hello = sim_hello,                  \
    .words = sim_words, .inbox = sim_inbox, .scratch = sim_scratch, .grant = sim_grant,           \
    .revoke = sim_revoke, .open = sim_open, .write_log = sim_write_log, .flush = sim_flush,       \
    .write_inbox = sim_write_inbox, .read = sim_read, .poll = sim_poll, .wake_fd = sim_wake_fd,   \
    .arm = sim_arm, .disarm = sim_disarm

static const struct lks_fabric_ops g_later_ops = {OPS_BUT_WHEN, .writes_when_posted = false};
static const struct lks_fabric_ops g_posted_ops = {OPS_BUT_WHEN, .writes_when_posted = true};

/* ---- start of a life ---------------------------------------------------------------------- */

static int take_store(struct lks_sim_network *network, struct lks_sim_host *host,
                      const struct lks_fabric_memory *log, struct lks_error *err)
{
    if (log->fd < 0 && network->options.log_outlives && host->store.bytes == log->address &&
        host->store.size == log->bytes) {
        return 0;
    }
    if (log->fd < 0) {
        lks_sim_host_forget_writes(network, host->id);
        lks_sim_store_release(&host->store);
        host->store = (struct lks_sim_store){.bytes = log->address, .size = log->bytes};
        return 0;
    }
    struct stat found;
    if (fstat(log->fd, &found) < 0) {
        return lks_error_set(err, -errno, "fabric of replica %u: fstat: %s", host->id,
                             strerror(errno));
    }
    if (host->store.mapped && host->store.inode == (uint64_t)found.st_ino &&
        host->store.device == (uint64_t)found.st_dev && host->store.size == log->bytes) {
        return 0;
    }
    void *mapped = mmap(NULL, log->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd,
                        (off_t)log->fd_offset);
    if (mapped == MAP_FAILED) {
        return lks_error_set(err, -errno, "fabric of replica %u: mmap: %s", host->id,
                             strerror(errno));
    }
    lks_sim_host_forget_writes(network, host->id);
    lks_sim_store_release(&host->store);
    host->store = (struct lks_sim_store){.bytes = mapped,
                                         .size = log->bytes,
                                         .mapped = true,
                                         .device = (uint64_t)found.st_dev,
                                         .inode = (uint64_t)found.st_ino};
    return 0;
}

int lks_fabric_sim_new(struct lks_fabric **fabric, struct lks_sim_network *network,
                       const struct lks_fabric_options *options, struct lks_error *err)
{
    if (options->replica < 1 || options->replica > network->options.replicas ||
        options->log.address == NULL || options->log.bytes <= LOG_HEAD_BYTES ||
        options->outstanding_max == 0) {
        return lks_error_set(err, -EINVAL, "fabric of replica %u: bad options",
                             options->replica);
    }
    struct lks_sim_host *host = &network->hosts[options->replica];
    if (host->alive) {
        return lks_error_set(err, -EADDRINUSE, "replica %u is already running", host->id);
    }
    struct sim_fabric *sim = calloc(1, sizeof *sim);
    LKS_ASSERT(sim != NULL);
    int status = take_store(network, host, &options->log, err);
    if (status < 0) {
        goto free_sim;
    }
    sim->event_fd = -1;
    lks_sim_host_start(network, host, options);
    host->event_fd = -1;
    sim->base.ops =
        network->options.profile.writes_when_posted ? &g_posted_ops : &g_later_ops;
    sim->network = network;
    sim->replica = options->replica;
    sim->life = host->life;
    lks_sim_trace_network(network, &(struct lks_sim_record){.what = "process starts",
                                                            .a = host->id,
                                                            .x = host->life});
    *fabric = &sim->base;
    return 0;

free_sim:
    free(sim);
    return status;
}
