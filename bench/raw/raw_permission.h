/*
 * What giving write permission on a memory and taking it away costs on a device, step by step, by
 * bare verbs calls on two queue pairs that are connected with one another. Nothing of Lockstep in
 * it. One thread.
 */
#ifndef LKS_BENCH_RAW_PERMISSION_H
#define LKS_BENCH_RAW_PERMISSION_H

#include <stdint.h>

enum lks_raw_step {
    LKS_RAW_REGISTER,    /* the memory */
    LKS_RAW_CONNECT,     /* a fresh queue pair, made and brought to RTS */
    LKS_RAW_ALLOC_WINDOW,
    LKS_RAW_BIND,        /* posted until completed */
    LKS_RAW_INVALIDATE,  /* LOCAL_INV, posted until completed */
    LKS_RAW_DEALLOC_WINDOW,
    LKS_RAW_ACCESS_FLAGS, /* remote writing taken from the queue pair: not a fence */
    LKS_RAW_ERROR,        /* the queue pair to the error state: not a fence */
    LKS_RAW_DESTROY,      /* the queue pair */
    LKS_RAW_DEREGISTER,
    LKS_RAW_STEPS
};

struct lks_raw_permission;

/* address: numeric, of the RDMA device; memory_bytes: of the ring. -EINVAL, -ENODEV, -ENOTSUP (no
 * windows of type 2), errno. */
int lks_raw_permission_new(struct lks_raw_permission **permission, const char *address,
                           uint64_t memory_bytes);
/* Accepts NULL. */
void lks_raw_permission_free(struct lks_raw_permission *permission);

/* All steps once, in their order; took_ns[LKS_RAW_STEPS]. In every second round the window is
 * deallocated without having been invalidated, as on a dead queue pair: then
 * took_ns[LKS_RAW_INVALIDATE] is 0. errno, -EIO (a completion was an error). */
int lks_raw_permission_round(struct lks_raw_permission *permission, uint64_t *took_ns);

#endif
