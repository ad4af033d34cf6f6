/*
 * How write permission is taken away, by driver: what each mechanism may be trusted for, and on
 * what evidence. A table in the source, so that no configuration can choose an unsound one; a
 * driver that is not in it gets the strongest. Any thread; no state.
 */
#ifndef LKS_VERBS_IBV_FENCE_H
#define LKS_VERBS_IBV_FENCE_H

#include <stdbool.h>

/* What must have ended before nothing written under a grant can land any more. */
struct lks_ibv_fence {
    bool window;      /* grants are type 2 windows; else the peer's region itself is writable */
    bool invalidate;  /* LOCAL_INV is posted first, while the queue pair lives */
    bool invalidated_is_enough; /* and its completion is the end, where the queue pair lived */
    bool destroy_queue;         /* the queue pair must be destroyed, behind its window */
    bool deregister;            /* the peer's region must be deregistered: its users are counted */
    const char *name;
    const char *evidence;
};

/* driver: the kernel's name of it ("rdma_rxe", "mlx5_core"), "" if unknown. */
const struct lks_ibv_fence *lks_ibv_fence_for(const char *driver, bool windows);

/* True if the combination is one of the table's: what is sound. */
bool lks_ibv_fence_is_sound(const struct lks_ibv_fence *fence);

#endif
