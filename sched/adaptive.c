/*
 * How many workers are worth it, found by measuring: stretches of commands are timed at the present
 * level (0: inline on the dispatcher's thread; k: k workers), now and then another level is tried
 * for some stretches, and the better one is kept. A trial that loses is not repeated soon: the time
 * until the next one doubles, and grows eightfold where it lost by far, which ends it early. That
 * time is counted in stretches and in what the trial took, so that trials stay cheap also where
 * threads wait for a processor. When commands have become dearer or cheaper by half, it is tried
 * again soon. Others on the machine only make stretches longer, so the shortest ones tell what a
 * level costs. Runs on the dispatcher's thread, between two commands.
 *
 * Only time in which commands were at hand counts. Where the caller has nothing more to submit and
 * all is executed, the clock stands still. Of commands that the caller executes itself
 * (lks_scheduler_ran) the first of a burst is not counted, nor what is told together with it: one
 * that comes alone has nothing that it could be executed beside.
 */
#include "base/clock.h"
#include "sched/engine.h"

#define LOOK_COMMANDS 64u /* between two looks at the clock, at least ... */
#define LOOK_COMMANDS_MOST 512u
#define LOOK_NS (2 * LKS_NS_PER_US) /* ... and about so long: one look costs tens of nanoseconds */
#define EPOCH_COMMANDS 1024u
#define EPOCH_NS_LEAST (200 * LKS_NS_PER_US) /* shorter ones are too coarse to tell */
#define EPOCH_NS_ENOUGH (4 * LKS_NS_PER_MS)  /* of long commands fewer do */
#define MANUAL_COMMANDS 37u /* of each level, without threads */
#define PATIENCE_FIRST 8u
#define PATIENCE_MOST 512u
#define SETTLING 1u       /* stretches after a change that say nothing */
#define WORTH_CHANGING 0.93 /* a new level has to be this much better */
#define TRIAL 3u            /* stretches of a trial; the shortest one counts */
#define TRIAL_LEAST 2u      /* one alone may have met with another program */
#define DRIFT 1.05          /* what is known of a level grows by this where no stretch is shorter */
#define LOST_BY_FAR 1.5     /* a trial that costs so many times as much ... */
#define FAR_BACKOFF 8u      /* ... is not soon worth another */
#define REST_MOST 128u  /* patience counts also times that the lost trial took, up to so many */
#define REST_OTHERS 8u  /* ... where commands have changed */
#define OTHER_COMMANDS 1.5  /* a cost that has changed so much is that of others than before */

static void start_epoch(struct lks_scheduler *scheduler, uint64_t now_ns)
{
    struct lks_adaptive *a = &scheduler->adaptive;
    a->low = scheduler->low;
    a->commands = 0;
    a->look_at = a->look;
    a->looked_ns = 0;
    a->busy_ns = 0;
    a->mark_ns = now_ns;
}

void lks_adaptive_begin(struct lks_scheduler *scheduler)
{
    const uint32_t look = scheduler->options.manual ? MANUAL_COMMANDS : LOOK_COMMANDS;
    scheduler->adaptive = (struct lks_adaptive){
        .most = lks_scheduler_active(scheduler),
        .patience = 2,
        .backoff = PATIENCE_FIRST,
        .look = look,
        .look_at = look,
        .idle = true};
    lks_scheduler_set_level(scheduler, 0);
}

static void change_level(struct lks_scheduler *scheduler, uint32_t level)
{
    struct lks_adaptive *a = &scheduler->adaptive;
    if (level != a->level) {
        lks_scheduler_set_level(scheduler, level);
        a->level = level;
        a->settling = SETTLING;
        lks_counter_add(&scheduler->switches, 1);
    }
    a->wanted = level;
}

/* The next level to try from the best one: up, and down, in turn. */
static uint32_t neighbour(struct lks_adaptive *a)
{
    a->upwards = !a->upwards;
    if (a->best == 0) {
        return a->upwards ? a->most : 1;
    }
    if (a->upwards && a->best < a->most) {
        return a->best + 1;
    }
    return a->best - 1;
}

static void judge_trial(struct lks_adaptive *a)
{
    const double ratio = a->cost_ns[a->level] / a->cost_ns[a->best];
    if (ratio < WORTH_CHANGING) {
        a->best = a->level;
        a->backoff = PATIENCE_FIRST;
    } else {
        a->backoff *= ratio < LOST_BY_FAR ? 2 : FAR_BACKOFF;
        a->backoff = a->backoff < PATIENCE_MOST ? a->backoff : PATIENCE_MOST;
        a->rest_ns = a->trial_ns * (a->backoff < REST_MOST ? a->backoff : REST_MOST);
    }
    a->patience = a->backoff;
    a->trial = false;
    a->wanted = a->best;
    a->judged_ns = a->cost_ns[a->best];
}

/* Between trials, at the best level. */
static void wait_for_trial(struct lks_adaptive *a)
{
    const double cost = a->cost_ns[a->best];
    if (a->judged_ns != 0 && a->patience > PATIENCE_FIRST &&
        (cost > a->judged_ns * OTHER_COMMANDS || cost * OTHER_COMMANDS < a->judged_ns)) {
        a->patience = a->backoff = PATIENCE_FIRST;
        if (a->rest_ns > REST_OTHERS * a->trial_ns) {
            a->rest_ns = REST_OTHERS * a->trial_ns;
        }
        a->judged_ns = cost;
    }
    a->rest_ns -= a->rest_ns < a->busy_ns ? a->rest_ns : a->busy_ns;
    if (a->patience > 0) {
        a->patience--;
        return;
    }
    if (a->rest_ns > 0) {
        return;
    }
    a->trial = true;
    a->trial_ns = 0;
    a->stretches = TRIAL;
    a->wanted = neighbour(a);
    a->cost_ns[a->wanted] = 0;
}

/* In this stretch. Workers count by what they have finished: an empty window takes commands faster
 * than anybody executes them. */
static uint64_t executed(struct lks_scheduler *scheduler)
{
    const struct lks_adaptive *a = &scheduler->adaptive;
    if (a->level == 0) {
        return a->commands;
    }
    lks_engine_now(scheduler)->advance(scheduler);
    return scheduler->low - a->low;
}

static void end_epoch(struct lks_scheduler *scheduler, uint64_t commands)
{
    struct lks_adaptive *a = &scheduler->adaptive;
    if (a->trial) {
        a->trial_ns += a->busy_ns;
    }
    if (a->settling > 0) {
        a->settling--;
        return;
    }
    const double cost = (double)a->busy_ns / (double)commands;
    double *known = &a->cost_ns[a->level];
    *known = *known == 0 || cost < *known * DRIFT ? cost : *known * DRIFT;
    if (!a->trial) {
        wait_for_trial(a);
        return;
    }
    a->stretches--;
    if (a->stretches == 0 ||
        (a->stretches <= TRIAL - TRIAL_LEAST && *known > a->cost_ns[a->best] * LOST_BY_FAR)) {
        judge_trial(a);
    }
}

/* Without threads there is nothing to measure: each level in turn, so that its ways are gone. */
static void take_turns(struct lks_adaptive *a)
{
    a->wanted = (a->level + 1) % (a->most + 1);
    a->commands = 0;
}

/* Cheap commands want few looks; dear ones that follow them are seen soon all the same. */
static void set_next_look(struct lks_adaptive *a)
{
    const uint64_t passed_ns = a->busy_ns - a->looked_ns;
    if (passed_ns < LOOK_NS / 2 && a->look < LOOK_COMMANDS_MOST) {
        a->look *= 2;
    } else if (passed_ns > LOOK_NS * 2) {
        a->look = LOOK_COMMANDS;
    }
    a->look_at = a->commands + a->look;
    a->looked_ns = a->busy_ns;
}

static void look_at_clock(struct lks_scheduler *scheduler)
{
    struct lks_adaptive *a = &scheduler->adaptive;
    const uint64_t now_ns = lks_clock_monotonic_ns();
    a->busy_ns += now_ns - a->mark_ns;
    a->mark_ns = now_ns;
    set_next_look(a);
    if (a->busy_ns >= EPOCH_NS_ENOUGH ||
        (a->busy_ns >= EPOCH_NS_LEAST && a->commands >= EPOCH_COMMANDS)) {
        const uint64_t commands_executed = executed(scheduler);
        if (commands_executed == 0) {
            return; /* the stretch goes on */
        }
        end_epoch(scheduler, commands_executed);
        start_epoch(scheduler, now_ns);
    }
}

static inline void count_commands(struct lks_scheduler *scheduler, uint32_t commands)
{
    struct lks_adaptive *a = &scheduler->adaptive;
    a->commands += commands;
    if (__builtin_expect(a->commands < a->look_at, 1)) {
        return;
    }
    if (scheduler->options.manual) {
        take_turns(a);
    } else {
        look_at_clock(scheduler);
    }
}

bool lks_adaptive_submit(struct lks_scheduler *scheduler)
{
    struct lks_adaptive *a = &scheduler->adaptive;
    if (__builtin_expect(a->wanted != a->level, 0)) {
        if (lks_scheduler_applied(scheduler) + 1 != scheduler->head) {
            return false;
        }
        change_level(scheduler, a->wanted);
        start_epoch(scheduler, lks_clock_monotonic_ns());
        a->idle = false;
    }
    if (a->idle) {
        a->idle = false;
        a->mark_ns = lks_clock_monotonic_ns();
    }
    return true;
}

void lks_adaptive_submitted(struct lks_scheduler *scheduler)
{
    count_commands(scheduler, 1);
}

bool lks_adaptive_is_inline(const struct lks_scheduler *scheduler)
{
    return scheduler->adaptive.level == 0 && scheduler->adaptive.wanted == 0;
}

void lks_adaptive_ran(struct lks_scheduler *scheduler, uint32_t commands)
{
    struct lks_adaptive *a = &scheduler->adaptive;
    if (a->idle) {
        a->idle = false;
        a->mark_ns = lks_clock_monotonic_ns();
    } else if (a->wanted == a->level) {
        count_commands(scheduler, commands);
    }
}

void lks_adaptive_idle(struct lks_scheduler *scheduler)
{
    struct lks_adaptive *a = &scheduler->adaptive;
    if (!a->idle) {
        a->idle = true;
        a->busy_ns += lks_clock_monotonic_ns() - a->mark_ns;
    }
}
