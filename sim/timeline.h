/*
 * Virtual time: a queue of things to happen, run one by one in the order of (time, posting).
 * Nothing waits for a real clock. Contexts belong to the caller and must outlive what was posted;
 * who wants to take something back compares `argument` (a generation) when it runs. One thread.
 */
#ifndef LKS_SIM_TIMELINE_H
#define LKS_SIM_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_timeline;

typedef void (*lks_sim_action)(void *ctx, uint64_t argument);

struct lks_sim_timeline *lks_sim_timeline_new(uint64_t start_ns);
void lks_sim_timeline_free(struct lks_sim_timeline *timeline);

uint64_t lks_sim_timeline_now(const struct lks_sim_timeline *timeline);

/* Runs action(ctx, argument) at time at_ns, or now if that has passed. */
void lks_sim_timeline_post(struct lks_sim_timeline *timeline, uint64_t at_ns,
                           lks_sim_action action, void *ctx, uint64_t argument);

/* Runs the next action if it is due by limit_ns and moves the clock to its time; otherwise moves
 * the clock to limit_ns and returns false. */
bool lks_sim_timeline_step(struct lks_sim_timeline *timeline, uint64_t limit_ns);

/* How many actions have run. */
uint64_t lks_sim_timeline_count(const struct lks_sim_timeline *timeline);

#endif
