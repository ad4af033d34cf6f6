/*
 * The service of replica_rig.h: notes which commands each partition has executed, in order. A
 * command's number says which partitions it touches: mostly one, sometimes two (tied every other
 * time), rarely all. Snapshots hold the notes, so a restored replica knows all that it ever did.
 */
#ifndef LKS_TESTS_UNIT_NODE_RIG_SERVICE_H
#define LKS_TESTS_UNIT_NODE_RIG_SERVICE_H

#include "lockstep/service.h"

#include <stdbool.h>
#include <stdint.h>

#define RIG_SUBMITTED_MAX 16384u
#define RIG_PARTITIONS_MAX 8u

/* A command with this bit set is a read: of the partition that its other bits name, or of all of
 * them if they name none. Its answer is how many commands were executed there. */
#define RIG_SERVICE_READ (UINT64_C(1) << 63)

/* What one partition executed. */
struct rig_list {
    uint64_t numbers[RIG_SUBMITTED_MAX];
    uint32_t count;
    uint32_t frozen;  /* of them, in the snapshot under way, and written of these */
    uint32_t written;
    bool freezing;
    bool restoring;
    uint64_t restored_on; /* what `preferred` of the options said with the last chunk */
};

struct rig_service {
    struct rig_list *lists; /* RIG_PARTITIONS_MAX of them */
    uint32_t executed;      /* commands of which some part was executed, in this life */
    uint32_t partial;       /* of them, those that left a partition alone: its snapshot had it */
    uint64_t expires_ns;    /* what next_expiry_ns returns; 0: nothing expires. A tick ends it */
    uint32_t expired;       /* how often one did */
    uint64_t read_ns;       /* time of the last read */
    int write_fails;        /* what the next step of a snapshot returns; 0: works */
};

/* What every state has; set before any is opened. */
struct rig_service_options {
    uint32_t partitions;
    uint32_t record_bytes; /* of a note in a snapshot, at least 8 */
    const uint64_t *preferred; /* the NUMA nodes of the thread's memory; NULL: nobody asks */
};
void rig_service_configure(const struct rig_service_options *options);

/* The state that the next open gives; it stays the caller's. */
void rig_service_next(struct rig_service *state);

const struct lks_service *rig_service(void);

/* How often any replica has asked what a command touches. */
uint64_t rig_service_footprints(void);

/* The partitions of a command with this number; returns how many, and whether it ties them. */
uint32_t rig_service_touches(uint64_t number, uint16_t partitions[RIG_PARTITIONS_MAX], bool *tied);

#endif
