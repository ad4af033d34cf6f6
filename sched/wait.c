/*
 * How the dispatcher waits: it looks, helps, spins or sleeps, by the pace at which commands are
 * executed. Implements lks_scheduler_wait, _arm, _disarm, _flush and _step of scheduler.h.
 * Dispatcher's thread, but for _step without threads.
 */
#include "base/clock.h"
#include "sched/engine.h"
#include "sched/park.h"
#include "sched/scheduler.h"

#define PAUSES_FIRST 16u
#define PAUSES_MOST 512u
#define STEPS_IN_VAIN 1000u /* of each worker, one after another: something was lost */
#define SLEEP_LEAST_NS (50 * LKS_NS_PER_US) /* of the dispatcher: a wake-up costs about as much */
#define SLEEP_MOST_NS LKS_NS_PER_MS

/* Whether what the dispatcher waits for is executed: `until` is a ticket. */
static bool reached(struct lks_scheduler *scheduler, uint64_t until)
{
    return lks_scheduler_applied(scheduler) >= until;
}

/* Some pauses, or commands of others where the dispatcher helps. True: there were some. */
static bool pause_or_help(struct lks_scheduler *scheduler, uint32_t pauses)
{
    const struct lks_engine *engine = lks_engine_now(scheduler);
    struct lks_worker *helper = lks_scheduler_helper(scheduler);
    for (uint32_t i = 0; i < pauses; i++) {
        if (scheduler->options.help && i % PAUSES_FIRST == 0 && engine->work(scheduler, helper)) {
            return true;
        }
        lks_clock_relax();
    }
    return false;
}

/* Until that is so, or time is over. Looking takes the workers' cache lines away from them, so it
 * looks less and less often. */
static bool wait_awake(struct lks_scheduler *scheduler, uint64_t until)
{
    uint64_t until_ns = lks_clock_monotonic_ns() + scheduler->options.spin_ns;
    uint32_t pauses = PAUSES_FIRST;
    bool worked = false;
    do {
        worked = pause_or_help(scheduler, pauses);
        pauses = worked ? PAUSES_FIRST : pauses < PAUSES_MOST ? pauses * 2 : PAUSES_MOST;
        if (reached(scheduler, until)) {
            return true;
        }
        if (worked) {
            until_ns = lks_clock_monotonic_ns() + scheduler->options.spin_ns;
        }
    } while (worked || lks_clock_monotonic_ns() < until_ns);
    return false;
}

/* How long a command takes now, from how many were executed since the last time that any were.
 * Where none was for longer than one used to take, it takes at least that long by now: cheap ones
 * that went before would else keep others from taking a part of the dear ones. */
double lks_pace_measure(struct lks_scheduler *scheduler)
{
    if (scheduler->options.manual) {
        return 0; /* without threads no clock has a say in who executes what: a seed decides */
    }
    const uint64_t now_ns = lks_clock_monotonic_ns();
    const uint64_t executed = scheduler->low - scheduler->pace_low;
    const double passed_ns = (double)(now_ns - scheduler->pace_since_ns);
    const double usual_ns = scheduler->pace_ns > 0 ? scheduler->pace_ns : (double)SLEEP_LEAST_NS;
    if (executed == 0 && passed_ns <= usual_ns) {
        return scheduler->pace_ns;
    }
    scheduler->pace_ns = executed > 0 ? passed_ns / (double)executed : passed_ns;
    const double each_ns = scheduler->pace_ns * lks_scheduler_active(scheduler) + 1;
    const uint32_t rate = (uint32_t)((double)(1u << RATE_SHIFT) / each_ns);
    /* Relaxed: see lks_scheduler_commands_in. */
    atomic_store_explicit(&scheduler->rate, rate > 0 ? rate : 1, memory_order_relaxed);
    if (executed > 0) {
        scheduler->pace_low = scheduler->low;
        scheduler->pace_since_ns = now_ns;
    }
    return scheduler->pace_ns;
}

void lks_pace_begin(struct lks_scheduler *scheduler)
{
    scheduler->resting = false;
    scheduler->pace_low = scheduler->low;
    scheduler->pace_since_ns = lks_clock_monotonic_ns();
}

/* Commands may have turned out dear after they were published, with nobody awake to take some. */
static void share_backlogs(struct lks_scheduler *scheduler)
{
    const struct lks_engine *engine = lks_engine_now(scheduler);
    lks_wake_fence();
    for (uint32_t i = 0; i < scheduler->options.workers; i++) {
        const uint64_t depth = engine->depth(scheduler, i);
        if (depth > 0) {
            lks_worker_wake(scheduler, i, depth);
        }
    }
}

static void sleep_until_half(struct lks_scheduler *scheduler, uint64_t until, double pace_ns)
{
    const double half_ns = pace_ns * (double)(scheduler->head - scheduler->low) / 2;
    lks_park_announce(&scheduler->dispatcher_parked);
    if (reached(scheduler, until)) {
        lks_park_cancel(&scheduler->dispatcher_parked);
        return;
    }
    share_backlogs(scheduler);
    lks_park_wait(&scheduler->dispatcher_parked,
                  half_ns < SLEEP_LEAST_NS  ? SLEEP_LEAST_NS
                  : half_ns > SLEEP_MOST_NS ? SLEEP_MOST_NS
                                            : (uint64_t)half_ns);
    (void)lks_scheduler_applied(scheduler);
}

void lks_scheduler_wait(struct lks_scheduler *scheduler)
{
    const uint64_t part = scheduler->low - 1 + scheduler->window / 8;
    const uint64_t until = part < scheduler->head - 1 ? part : scheduler->head - 1;
    if (reached(scheduler, until) || scheduler->options.manual) {
        return;
    }
    /* Spinning is for what is near; a sleep costs tens of microseconds on both sides. */
    const double pace_ns = lks_pace_measure(scheduler);
    const double near_ns = pace_ns * (double)(until + 1 - scheduler->low);
    const bool spins = scheduler->options.help || near_ns < 4 * (double)scheduler->options.spin_ns;
    const bool awake = spins && wait_awake(scheduler, until);
    if (scheduler->options.help) {
        lks_engine_now(scheduler)->leave(scheduler, lks_scheduler_helper(scheduler));
    }
    if (!awake) {
        sleep_until_half(scheduler, until, pace_ns);
    }
}

void lks_scheduler_arm(struct lks_scheduler *scheduler)
{
    if (!scheduler->options.manual) {
        (void)lks_pace_measure(scheduler);
        share_backlogs(scheduler);
        lks_park_announce(&scheduler->dispatcher_parked);
    }
}

void lks_scheduler_disarm(struct lks_scheduler *scheduler)
{
    lks_park_cancel(&scheduler->dispatcher_parked);
}

static bool step_next(struct lks_scheduler *scheduler)
{
    scheduler->next_step = (scheduler->next_step + 1) % scheduler->executors;
    return lks_scheduler_step(scheduler, scheduler->next_step);
}

void lks_scheduler_flush(struct lks_scheduler *scheduler)
{
    uint32_t in_vain = 0;
    while (lks_scheduler_applied(scheduler) + 1 != scheduler->head) {
        if (!scheduler->options.manual) {
            lks_scheduler_wait(scheduler);
        } else if (step_next(scheduler)) {
            in_vain = 0;
        } else {
            in_vain++;
            LKS_ASSERT(in_vain < STEPS_IN_VAIN * scheduler->executors);
        }
    }
}

bool lks_scheduler_step(struct lks_scheduler *scheduler, uint32_t worker)
{
    LKS_ASSERT(scheduler->options.manual);
    LKS_ASSERT(worker < scheduler->executors);
    return lks_engine_now(scheduler)->work(scheduler, scheduler->workers[worker]);
}
