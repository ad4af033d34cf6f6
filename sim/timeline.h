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

/* Alarms are for what is due once at most and often moved: the action runs at the time that was set
 * last, with the alarm's number as its argument, once, in the same order of (time, setting). alarm:
 * below LKS_SIM_ALARMS_MAX, given out by the caller. at_ns below UINT64_MAX. */
#define LKS_SIM_ALARMS_MAX 8u
void lks_sim_timeline_set_alarm(struct lks_sim_timeline *timeline, uint32_t alarm,
                                uint64_t at_ns, lks_sim_action action, void *ctx);
/* It rings no more. Allowed if it is not set. */
void lks_sim_timeline_clear_alarm(struct lks_sim_timeline *timeline, uint32_t alarm);

/* Runs the next action if it is due by limit_ns and moves the clock to its time; otherwise moves
 * the clock to limit_ns and returns false. */
bool lks_sim_timeline_step(struct lks_sim_timeline *timeline, uint64_t limit_ns);

/* How many actions have run. */
uint64_t lks_sim_timeline_count(const struct lks_sim_timeline *timeline);

#endif
