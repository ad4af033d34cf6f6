/*
 * Zeroed memory for the regions of simulated processes, taken again and again: regions go back to
 * a pool that outlives runs, and only what was touched is zeroed. One thread.
 */
#ifndef LKS_SIM_MEMORY_H
#define LKS_SIM_MEMORY_H

#include <stdint.h>

struct lks_sim_memory {
    uint8_t *bytes; /* NULL: none */
    uint64_t size;
    uint64_t *touched; /* a bit for each 512 bytes that may hold something else than zeros */
};

/* Makes memory `size` zero bytes, whatever it was; size 0: none. */
void lks_sim_memory_renew(struct lks_sim_memory *memory, uint64_t size);
/* Gives it to the pool. Accepts a zeroed object. */
void lks_sim_memory_release(struct lks_sim_memory *memory);

/* Says that [offset, offset + bytes) is about to be written. Every writer has to. */
void lks_sim_memory_touch(struct lks_sim_memory *memory, uint64_t offset, uint64_t bytes);
/* Zeros in another image of the same size wherever this one may hold something else. */
void lks_sim_memory_zero_touched(const struct lks_sim_memory *memory, uint8_t *image);
/* Says that all of it may be: for memory that its owner writes without telling. */
void lks_sim_memory_touch_all(struct lks_sim_memory *memory);

#endif
