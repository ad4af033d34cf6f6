/*
 * Registered memory: what a device can do with it, what a piece of memory lies on, and why a
 * registration was refused, with the way out. Pure but for the functions that ask the device or the
 * kernel; any thread.
 *
 * Invariant: what is said names the thing, the value that does not fit, and what helps; where the
 * cause is not certain, it says what was seen.
 */
#ifndef LKS_VERBS_IBV_REGISTRATION_H
#define LKS_VERBS_IBV_REGISTRATION_H

#include "base/error.h"

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bits of ibv_device_attr_ex.device_cap_flags_ex that libibverbs names since version 45 only; the
 * kernel's uapi (rdma/ib_user_verbs.h, Linux 6.3). */
#define LKS_IBV_FLUSH_GLOBAL (UINT64_C(1) << 38)
#define LKS_IBV_FLUSH_PERSISTENT (UINT64_C(1) << 39)

/* What a device can do with memory. */
struct lks_ibv_abilities {
    bool known;              /* it could be asked */
    bool on_demand_paging;   /* of memory that reliable connections write and read */
    bool flush_global;       /* RDMA FLUSH: to where others see it ... */
    bool flush_persistent;   /* ... and to where it survives a power cut */
    uint64_t region_bytes_max;
};

void lks_ibv_abilities_find(struct ibv_context *context, struct lks_ibv_abilities *abilities);

/* For people: what is there, and what this build makes of it. */
void lks_ibv_abilities_describe(const struct lks_ibv_abilities *abilities, char *text,
                                size_t bytes);

enum lks_ibv_backing {
    LKS_IBV_BACKING_ANONYMOUS, /* no file; or it cannot be told */
    LKS_IBV_BACKING_DEVICE,    /* a character device: device DAX */
    LKS_IBV_BACKING_MEMORY,    /* tmpfs, hugetlbfs */
    LKS_IBV_BACKING_FILE,
    LKS_IBV_BACKING_DAX_FILE   /* of a file system with direct access to persistent memory */
};

/* What lies behind a descriptor; -1: no file. */
enum lks_ibv_backing lks_ibv_backing_of(int fd);

/* The limit of locked memory, if that is what keeps this process from registering so many bytes
 * more; UINT64_MAX: it is not, or there is none. (The kernel asks nothing of who may lock what they
 * like: CAP_IPC_LOCK, in the first user namespace.) */
uint64_t lks_ibv_locked_bytes_max(uint64_t bytes);

/* A registration that the device or the kernel has refused. */
struct lks_ibv_refusal {
    const char *what;   /* "the log" */
    const char *device; /* its name */
    int code;           /* negative errno */
    uint64_t bytes;     /* of the region */
    enum lks_ibv_backing backing;
    uint32_t kernel_major;
    uint32_t kernel_minor;
    uint64_t locked_bytes_max; /* lks_ibv_locked_bytes_max */
    uint64_t ring_bytes;       /* of the log ... */
    uint32_t rings;            /* ... and how many registrations of it this replica needs */
    struct lks_ibv_abilities abilities;
};

/* Fills err with why, and what helps; returns the code. */
int lks_ibv_refusal_explain(const struct lks_ibv_refusal *refusal, struct lks_error *err);

#endif
