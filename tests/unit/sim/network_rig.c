/* Three ends of a simulated network; see network_rig.h. */
#include "tests/unit/sim/network_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

static void on_durable(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes)
{
    (void)owner;
    (void)offset;
    ((struct rig *)ctx)->durable_bytes += bytes;
}

static void on_stores(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes)
{
    (void)offset;
    ((struct rig *)ctx)->stored_bytes += owner == 1 ? bytes : 0;
}

static void on_unfenced(void *ctx, uint32_t owner, uint32_t writer)
{
    (void)owner;
    (void)writer;
    ((struct rig *)ctx)->unfenced++;
}

static void on_misuse(void *ctx, uint32_t replica, const char *text)
{
    (void)replica;
    (void)text;
    ((struct rig *)ctx)->misuses++;
}

static void on_granted(void *ctx, uint32_t owner, uint32_t writer)
{
    if (owner == 1) {
        ((struct rig *)ctx)->standing |= 1u << writer;
    }
}

static void on_revoked(void *ctx, uint32_t owner, uint32_t writer)
{
    if (owner == 1) {
        ((struct rig *)ctx)->standing &= ~(1u << writer);
    }
}

void rig_start(struct rig *rig, uint32_t replica)
{
    struct rig_end *end = &rig->ends[replica];
    struct lks_fabric_options options = {.replica = replica,
                                         .replicas = 3,
                                         .log = {.address = end->log,
                                                 .bytes = RIG_LOG_BYTES,
                                                 .fd = end->fd},
                                         .words_bytes = 4096,
                                         .inbox_bytes = 4096,
                                         .scratch_bytes = 8192,
                                         .outstanding_max = 64};
    options.hello[0] = (uint8_t)replica;
    struct lks_error err;
    assert_int_equal(lks_fabric_sim_new(&end->fabric, rig->network, &options, &err), 0);
    end->events_count = 0;
    for (uint32_t peer = 1; peer <= 3; peer++) {
        if (peer != replica) {
            assert_int_equal(lks_fabric_connect(end->fabric, peer), 0);
        }
    }
}

void rig_stop(struct rig *rig, uint32_t replica)
{
    lks_fabric_free(rig->ends[replica].fabric);
    rig->ends[replica].fabric = NULL;
}

struct rig *rig_new(uint64_t seed, void (*shape)(struct lks_sim_network_profile *profile))
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct lks_sim_random random;
    lks_sim_random_init(&random, seed);
    rig->timeline = lks_sim_timeline_new(RIG_SECOND);
    rig->trace = lks_sim_trace_new(64, false);
    struct lks_sim_network_options options = {.replicas = 3,
                                              .timeline = rig->timeline,
                                              .trace = rig->trace,
                                              .random = &random,
                                              .observer = {.granted = on_granted,
                                                           .revoked = on_revoked,
                                                           .stores = on_stores,
                                                           .unfenced = on_unfenced,
                                                           .durable = on_durable,
                                                           .misuse = on_misuse,
                                                           .ctx = rig}};
    lks_sim_network_profile_default(&options.profile);
    if (shape != NULL) {
        shape(&options.profile);
    }
    rig->network = lks_sim_network_new(&options);
    for (uint32_t replica = 1; replica <= 3; replica++) {
        struct rig_end *end = &rig->ends[replica];
        end->fd = memfd_create("log", MFD_CLOEXEC);
        assert_true(end->fd >= 0);
        assert_int_equal(ftruncate(end->fd, RIG_LOG_BYTES), 0);
        end->log = mmap(NULL, RIG_LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, end->fd, 0);
        assert_true(end->log != MAP_FAILED);
        rig_start(rig, replica);
    }
    return rig;
}

void rig_free(struct rig *rig)
{
    for (uint32_t replica = 1; replica <= 3; replica++) {
        if (rig->ends[replica].fabric != NULL) {
            rig_stop(rig, replica);
        }
        munmap(rig->ends[replica].log, RIG_LOG_BYTES);
        close(rig->ends[replica].fd);
    }
    lks_sim_network_free(rig->network);
    lks_sim_trace_free(rig->trace);
    lks_sim_timeline_free(rig->timeline);
    free(rig);
}

static void collect(struct rig *rig)
{
    for (uint32_t replica = 1; replica <= 3; replica++) {
        struct rig_end *end = &rig->ends[replica];
        if (end->fabric != NULL) {
            const int taken = lks_fabric_poll(end->fabric, end->events + end->events_count,
                                              RIG_EVENTS_KEPT - end->events_count);
            end->events_count += (uint32_t)taken;
        }
    }
}

bool rig_step(struct rig *rig)
{
    const uint64_t limit_ns = lks_sim_timeline_now(rig->timeline) + 20 * RIG_SECOND;
    const bool ran = lks_sim_timeline_step(rig->timeline, limit_ns);
    collect(rig);
    return ran;
}

void rig_run_for(struct rig *rig, uint64_t span_ns)
{
    const uint64_t limit_ns = lks_sim_timeline_now(rig->timeline) + span_ns;
    while (lks_sim_timeline_step(rig->timeline, limit_ns)) {
        collect(rig);
    }
    collect(rig);
}

const struct lks_fabric_event *rig_find(const struct rig *rig, uint32_t replica,
                                        enum lks_fabric_event_kind kind, uint32_t peer,
                                        uint64_t id)
{
    const struct rig_end *end = &rig->ends[replica];
    for (uint32_t i = end->events_count; i > 0; i--) {
        const struct lks_fabric_event *event = &end->events[i - 1];
        if (event->kind == kind && event->peer == peer && event->id == id) {
            return event;
        }
    }
    return NULL;
}

const struct lks_fabric_event *rig_wait_for(struct rig *rig, uint32_t replica,
                                            enum lks_fabric_event_kind kind, uint32_t peer,
                                            uint64_t id)
{
    collect(rig);
    const struct lks_fabric_event *event = rig_find(rig, replica, kind, peer, id);
    while (event == NULL) {
        assert_true(rig_step(rig));
        event = rig_find(rig, replica, kind, peer, id);
    }
    return event;
}

void rig_give(struct rig *rig, uint32_t owner, uint32_t writer, uint64_t id)
{
    (void)rig_wait_for(rig, owner, LKS_FABRIC_CONNECTED, writer, 0);
    (void)rig_wait_for(rig, writer, LKS_FABRIC_CONNECTED, owner, 0);
    assert_int_equal(lks_fabric_grant(rig->ends[owner].fabric, writer, id), 0);
    const struct lks_fabric_event *granted =
        rig_wait_for(rig, owner, LKS_FABRIC_GRANTED, writer, id);
    assert_int_equal(granted->status, 0);
    const struct lks_fabric_key key = granted->key;
    assert_int_equal(lks_fabric_open(rig->ends[writer].fabric, owner, &key, id), 0);
    assert_int_equal(rig_wait_for(rig, writer, LKS_FABRIC_OPENED, owner, id)->status, 0);
}

int rig_write_log(struct rig *rig, uint32_t writer, uint32_t owner, uint64_t offset,
                  uint64_t bytes, uint64_t id)
{
    return lks_fabric_write_log(rig->ends[writer].fabric, owner, offset,
                                rig->ends[writer].log + offset, bytes, LKS_FABRIC_DURABLE, id);
}
