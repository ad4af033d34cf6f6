/*
 * Three replicas' ends of a simulated network and nothing else: what the network's tests share.
 * Events are collected as they come; memory is that of memory files.
 */
#ifndef LKS_TESTS_UNIT_SIM_NETWORK_RIG_H
#define LKS_TESTS_UNIT_SIM_NETWORK_RIG_H

#include "sim/fabric.h"

#include <stdbool.h>
#include <stdint.h>

#define RIG_LOG_BYTES (256u << 10)
#define RIG_HEAD 4096u
#define RIG_SECOND UINT64_C(1000000000)
#define RIG_MILLISECOND UINT64_C(1000000)
#define RIG_EVENTS_KEPT 512u

struct rig_end {
    struct lks_fabric *fabric; /* NULL: the process is down */
    int fd;
    uint8_t *log;
    struct lks_fabric_event events[RIG_EVENTS_KEPT];
    uint32_t events_count;
};

struct rig {
    struct lks_sim_timeline *timeline;
    struct lks_sim_trace *trace;
    struct lks_sim_network *network;
    struct rig_end ends[4];
    uint64_t durable_bytes;
    uint64_t stored_bytes; /* that the network said it would store, in r1's log */
    uint32_t misuses;
    uint32_t unfenced;
    uint32_t standing; /* bit w: r1's log is open to replica w */
};

/* shape, if not NULL, changes the default profile. */
struct rig *rig_new(uint64_t seed, void (*shape)(struct lks_sim_network_profile *profile));
void rig_free(struct rig *rig);

void rig_start(struct rig *rig, uint32_t replica);
void rig_stop(struct rig *rig, uint32_t replica);

/* One thing happens, and what there is to poll is collected; false: nothing within 20 s. */
bool rig_step(struct rig *rig);
void rig_run_for(struct rig *rig, uint64_t span_ns);

/* The newest event of a kind and id; NULL if there is none. */
const struct lks_fabric_event *rig_find(const struct rig *rig, uint32_t replica,
                                        enum lks_fabric_event_kind kind, uint32_t peer,
                                        uint64_t id);
/* The same, running until it comes. */
const struct lks_fabric_event *rig_wait_for(struct rig *rig, uint32_t replica,
                                            enum lks_fabric_event_kind kind, uint32_t peer,
                                            uint64_t id);

/* Owner lets writer write, and writer has opened the path. */
void rig_give(struct rig *rig, uint32_t owner, uint32_t writer, uint64_t id);

/* Writes the same place of the writer's own log, durably. */
int rig_write_log(struct rig *rig, uint32_t writer, uint32_t owner, uint64_t offset,
                  uint64_t bytes, uint64_t id);

#endif
