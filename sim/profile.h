/*
 * A profile: what kind of world a run lives in. Some values of a profile are drawn from the seed,
 * so that a range of seeds covers durability modes and mixes of faults.
 */
#ifndef LKS_SIM_PROFILE_H
#define LKS_SIM_PROFILE_H

#include "sim/clients.h"
#include "sim/network.h"
#include "sim/process.h"

enum lks_sim_fault {
    LKS_SIM_FAULT_CRASH,
    LKS_SIM_FAULT_CRASH_MANY, /* a majority or all */
    LKS_SIM_FAULT_RESTARTS, /* ended again and again while it starts, by crashes or power cuts */
    LKS_SIM_FAULT_STOP,
    LKS_SIM_FAULT_PAUSE,    /* microseconds, or many election timeouts */
    LKS_SIM_FAULT_POWER,
    LKS_SIM_FAULT_POWER_MANY,
    LKS_SIM_FAULT_REPLACE, /* power lost, and a new journal under the old name */
    LKS_SIM_FAULT_MEDIUM,  /* nothing can be made durable any more; power is lost soon after */
    LKS_SIM_FAULT_DISK_FULL,
    LKS_SIM_FAULT_ROT,     /* a bit of a snapshot */
    LKS_SIM_FAULT_SPLIT,   /* into two groups */
    LKS_SIM_FAULT_SPLIT_ONE_WAY, /* one group does not hear the other */
    LKS_SIM_FAULT_BRIDGE,  /* two groups that only one replica between them reaches */
    LKS_SIM_FAULT_PARTIAL, /* any directions of any links */
    LKS_SIM_FAULT_ONE_WAY, /* one replica is not heard, or hears nothing */
    LKS_SIM_FAULT_LINK,    /* one direction between two */
    LKS_SIM_FAULT_SLOW,
    LKS_SIM_FAULT_SLOW_ALL, /* every link of one replica, both ways */
    LKS_SIM_FAULT_BREAK,
    LKS_SIM_FAULT_BREAK_ONE_WAY,
    LKS_SIM_FAULT_BREAK_ALL, /* every connection of one replica */
    LKS_SIM_FAULT_CLOCK, /* realtime jumps */
    LKS_SIM_FAULT_DRIFT, /* the monotonic clock goes at another rate */
    LKS_SIM_FAULT_MEMBER, /* a member is added, promoted or removed, or the leader hands over; not
                             in the mixes that are drawn: older seeds stay what they were */
    LKS_SIM_FAULT_AREA,        /* snapshots cannot be made durable: it goes on. Likewise later */
    LKS_SIM_FAULT_ROT_JOURNAL, /* power lost, and bits of the journal change. Likewise later */
    LKS_SIM_FAULT_MISTAKE,     /* an operator's, at its files. Likewise later */
    LKS_SIM_FAULT_LOOK,        /* an operator's, into its files. Likewise later */
    LKS_SIM_FAULT_AGE,         /* its files are of an older Lockstep. Likewise later */
    LKS_SIM_FAULT_RECOVER,     /* a new cluster of the one that is left. Likewise later */
    LKS_SIM_FAULT_ROT_AREA,    /* power lost, and a bit of its beginning changes. Likewise later */
    LKS_SIM_FAULT_ROT_LOG,     /* ended, and a bit of the log changes, visibly. Likewise later */
    LKS_SIM_FAULT_FLIP,        /* a bit of what gateways have written to it. Likewise later */
    LKS_SIM_FAULTS
};

struct lks_sim_faults_profile {
    uint32_t weights[LKS_SIM_FAULTS]; /* 0: never */
    struct lks_sim_delay interval;    /* between two faults */
    struct lks_sim_delay duration;    /* of each */
    uint64_t pause_max_ns;            /* every magnitude from a microsecond on alike */
    uint64_t slow_max_ns;             /* likewise: added to each step of a slow link */
    uint32_t drift_ppm_max;           /* either way; below 10^6 */
    uint32_t restarts_max;            /* times that a starting replica is ended once more */
    uint32_t leader_ppm;              /* how often the leader is meant */
    uint32_t records_ppm;     /* how often a failing medium refuses the journal's records too */
    uint32_t start_fails_ppm; /* how often a medium fails while its replica starts */
    bool areas_stay;          /* failing areas fail on when everything else has healed */
};

struct lks_sim_profile {
    const char *name;
    const char *purpose;
    struct lks_sim_network_profile network;
    struct lks_sim_process_profile process;
    struct lks_sim_clients_profile clients;
    struct lks_sim_faults_profile faults;
    uint32_t spares;      /* replicas beyond the first members, which may be added */
    uint64_t run_ns;      /* with faults */
    uint64_t progress_ns; /* bound after the last one has healed */
    bool no_progress;     /* the ring fills up: only safety is asked for */
    uint64_t ring_bytes;
    uint64_t entry_bytes_max;
};

/* Fills profile with the one called name as it is for this seed. -EINVAL: there is none. */
int lks_sim_profile_make(struct lks_sim_profile *profile, const char *name, uint64_t seed);

/* Name and purpose of profile number `place`; false behind the last. */
bool lks_sim_profile_list(uint32_t place, const char **name, const char **purpose);

/* How many parts of all runs that name no profile are of number `place`; 0 for a profile that is
 * there to be found out. */
uint32_t lks_sim_profile_share(uint32_t place);

#endif
