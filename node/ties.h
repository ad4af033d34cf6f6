/*
 * Which partitions are tied: joined, since their last snapshots, by commands whose effect on one
 * depends on the content of another. Snapshots of tied partitions must be of one point of the
 * log: else a replay would show such a command a younger partition than it saw, and it would
 * take another effect. Plain memory of the caller; replica's thread.
 */
#ifndef LKS_NODE_TIES_H
#define LKS_NODE_TIES_H

#include <stdbool.h>
#include <stdint.h>

#define LKS_TIES_PARTITIONS_MAX 4096u

struct lks_ties {
    uint32_t partitions;
    uint16_t group[LKS_TIES_PARTITIONS_MAX]; /* its smallest member, mostly; equal: tied */
};

/* Nothing is tied. */
void lks_ties_init(struct lks_ties *ties, uint32_t partitions);

/* A command ties these. members NULL: all partitions. Costs next to nothing if they are tied. */
void lks_ties_join(struct lks_ties *ties, const uint16_t *members, uint32_t count);

static inline bool lks_ties_same(const struct lks_ties *ties, uint32_t a, uint32_t b)
{
    return ties->group[a] == ties->group[b];
}

/* Fills in all that are tied to this partition, itself included, rising; returns how many. */
uint32_t lks_ties_members(const struct lks_ties *ties, uint32_t partition, uint32_t *members);

/* The snapshots of a whole group have been frozen: its members are tied no more. */
void lks_ties_release(struct lks_ties *ties, const uint32_t *members, uint32_t count);

/* They were not written after all: tied as before. */
void lks_ties_restore(struct lks_ties *ties, const uint32_t *members, uint32_t count);

#endif
