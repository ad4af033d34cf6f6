/* The loop of one replica's process; see loop.h. */
#include "node/loop.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#define STEPS_MAX 8u                          /* of the replica between two looks at clients */
#define STOP_CHECK_NS LKS_NS_PER_MS           /* how late a busy loop sees stop_fd at most */
#define SLEEP_MIN_NS (20 * LKS_NS_PER_US)     /* a deadline that is due by now */
#define SLEEP_MAX_NS (100 * LKS_NS_PER_MS)    /* whatever the replica says */
#define ANSWER_MAX_NS (500 * LKS_NS_PER_MS)   /* for commands without an answer when stopping */
#define STOP_MAX_NS (4 * LKS_NS_PER_S)        /* for handing over */
#define SPIN_WORTH_MAX 16
#define SPIN_PROBE_EVERY 32u                  /* sleeps between tries of spinning that failed */
#define ARM_REFUSED_MAX 1000u                 /* a fabric that sees work which nobody can do */

struct loop {
    const struct lks_loop_options *options;
    uint64_t now_ns;
    uint64_t worked_ns;       /* when a turn last found something to do */
    uint64_t stop_checked_ns;
    uint64_t stopping_ns;     /* when the end was asked for; 0: it was not */
    bool handing_over;
    bool spinning;            /* between the last work and the next sleep */
    bool spin_decided;
    int spin_worth;           /* falls when spinning found nothing, rises when it did */
    uint32_t sleeps;
    uint32_t arm_refused;
};

typedef void (*persisted_function)(struct lks_replica *replica, uint64_t id, int status);

static int take_persisted(struct lks_replica *replica, struct lks_flusher *flusher,
                          persisted_function persisted)
{
    struct lks_flusher_ended ended[LKS_FLUSHER_POSTED_MAX];
    if (flusher == NULL) {
        return 0;
    }
    const uint32_t count = lks_flusher_take(flusher, ended, LKS_FLUSHER_POSTED_MAX);
    for (uint32_t i = 0; i < count; i++) {
        persisted(replica, ended[i].id, ended[i].status);
    }
    return (int)count;
}

/* One turn; returns the pieces of work done, or the replica's fatal error. */
static int turn(struct loop *loop, struct lks_error *err)
{
    const struct lks_loop_options *options = loop->options;
    int work = lks_server_poll(options->server);
    loop->now_ns = lks_clock_monotonic_ns();
    work += options->clients != NULL ? lks_client_port_poll(options->clients, loop->now_ns) : 0;
    work += take_persisted(options->replica, options->flusher, lks_replica_persisted);
    work += take_persisted(options->replica, options->snapshot_flusher,
                           lks_replica_snapshot_persisted);
    loop->now_ns = lks_clock_monotonic_ns();
    /* A command's completions are often there at once: ask before looking at sockets again,
     * which costs a system call. */
    for (uint32_t i = 0; i < STEPS_MAX; i++) {
        const int stepped =
            lks_replica_step(options->replica, loop->now_ns, lks_clock_realtime_ns(), err);
        if (stepped < 0) {
            return stepped;
        }
        if (options->clients != NULL) { /* costs no system call, unless one of them sleeps */
            lks_client_port_flush(options->clients);
        }
        if (stepped == 0) {
            break;
        }
        work += stepped;
    }
    lks_server_flush(options->server);
    return work;
}

static bool stop_is_asked(const struct loop *loop)
{
    struct pollfd stop = {.fd = loop->options->stop_fd, .events = POLLIN};
    return poll(&stop, 1, 0) > 0;
}

/* True once everything has ended in order, or its time is up. */
static bool stop_is_done(struct loop *loop)
{
    const struct lks_loop_options *options = loop->options;
    const uint64_t since = loop->now_ns - loop->stopping_ns;
    if (!loop->handing_over) {
        struct lks_replica_status status;
        lks_replica_status(options->replica, &status);
        loop->handing_over = status.pending == 0 || since >= ANSWER_MAX_NS;
    }
    if (!loop->handing_over) {
        return false;
    }
    return lks_replica_stop(options->replica, loop->now_ns) || since >= STOP_MAX_NS;
}

static int flusher_fd(const struct lks_flusher *flusher)
{
    return flusher != NULL ? lks_flusher_fd(flusher) : -1;
}

static void sleep_until(struct loop *loop, uint64_t wake_ns)
{
    const struct lks_loop_options *options = loop->options;
    const uint64_t now_ns = lks_clock_monotonic_ns();
    uint64_t sleep_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
    sleep_ns = sleep_ns < SLEEP_MIN_NS ? SLEEP_MIN_NS : sleep_ns;
    sleep_ns = sleep_ns > SLEEP_MAX_NS ? SLEEP_MAX_NS : sleep_ns;
    const struct timespec timeout = {
        .tv_sec = (time_t)(sleep_ns / LKS_NS_PER_S),
        .tv_nsec = (long)(sleep_ns % LKS_NS_PER_S),
    };
    struct pollfd watched[] = {
        {.fd = lks_server_fd(options->server), .events = POLLIN},
        {.fd = lks_fabric_wake_fd(options->fabric), .events = POLLIN},
        {.fd = loop->stopping_ns == 0 ? options->stop_fd : -1, .events = POLLIN},
        {.fd = flusher_fd(options->flusher), .events = POLLIN},
        {.fd = flusher_fd(options->snapshot_flusher), .events = POLLIN},
        {.fd = lks_replica_wake_fd(options->replica), .events = POLLIN},
        {.fd = options->clients != NULL ? lks_client_port_fd(options->clients) : -1,
         .events = POLLIN},
    };
    (void)ppoll(watched, sizeof watched / sizeof watched[0], &timeout, NULL);
    if (watched[2].revents != 0) {
        loop->stop_checked_ns = 0; /* look at once */
    }
}

/* True: spin on. Whether spinning pays is learnt from how often it found something. */
static bool spins_on(struct loop *loop)
{
    if (loop->options->busy_poll) {
        return true;
    }
    if (!loop->spin_decided) {
        loop->spin_decided = true;
        loop->spinning = loop->options->spin_ns != 0 &&
                         (loop->spin_worth > 0 || loop->sleeps % SPIN_PROBE_EVERY == 0);
    }
    if (!loop->spinning) {
        return false;
    }
    if (loop->now_ns - loop->worked_ns < loop->options->spin_ns) {
        return true;
    }
    loop->spinning = false;
    loop->spin_worth -= loop->spin_worth > 0;
    return false;
}

/* Sleeps until something arrives or the replica's next deadline, unless something has arrived. */
static void sleep_armed(struct loop *loop)
{
    const struct lks_loop_options *options = loop->options;
    uint64_t wake_ns = lks_replica_deadline_ns(options->replica);
    if (options->clients != NULL && !lks_client_port_arm(options->clients)) {
        return;
    }
    if (loop->stopping_ns != 0 && wake_ns > loop->now_ns + LKS_NS_PER_MS) {
        wake_ns = loop->now_ns + LKS_NS_PER_MS;
    }
    sleep_until(loop, wake_ns);
    if (options->clients != NULL) {
        lks_client_port_disarm(options->clients);
    }
    loop->sleeps++;
}

/* Nothing was done in this turn. */
static void idle(struct loop *loop)
{
    const struct lks_loop_options *options = loop->options;
    if (spins_on(loop)) {
        lks_clock_relax();
        return;
    }
    const bool armed = lks_fabric_arm(options->fabric) == 0;
    if (!armed && ++loop->arm_refused < ARM_REFUSED_MAX) {
        return;
    }
    loop->arm_refused = 0;
    if (!lks_replica_arm(options->replica)) {
        if (armed) {
            lks_fabric_disarm(options->fabric);
        }
        return;
    }
    sleep_armed(loop);
    lks_replica_disarm(options->replica);
    if (armed) {
        lks_fabric_disarm(options->fabric);
    }
}

static void note_work(struct loop *loop)
{
    if (loop->spinning && loop->spin_worth < SPIN_WORTH_MAX) {
        loop->spin_worth++;
    }
    loop->worked_ns = loop->now_ns;
    loop->spin_decided = false;
    loop->spinning = false;
    loop->arm_refused = 0;
}

int lks_loop_run(const struct lks_loop_options *options, struct lks_error *err)
{
    struct loop loop = {.options = options, .spin_worth = SPIN_WORTH_MAX / 2};
    for (;;) {
        const int work = turn(&loop, err);
        if (work < 0) {
            return work;
        }
        if (loop.stopping_ns == 0 && loop.now_ns - loop.stop_checked_ns >= STOP_CHECK_NS) {
            loop.stop_checked_ns = loop.now_ns;
            if (stop_is_asked(&loop)) {
                loop.stopping_ns = loop.now_ns;
                lks_server_drain(options->server);
                if (options->clients != NULL) {
                    lks_client_port_drain(options->clients);
                }
            }
        }
        if (loop.stopping_ns != 0 && stop_is_done(&loop)) {
            lks_server_flush(options->server);
            return 0;
        }
        if (work > 0) {
            note_work(&loop);
        } else {
            idle(&loop);
        }
    }
}
