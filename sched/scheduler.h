/*
 * Runs committed commands on several workers, so that state and replies equal those of executing
 * them one by one in the order of submission.
 *
 * One thread, the dispatcher, submits commands in the order of the log and learns how far all of
 * them are executed. Workers (threads of the scheduler, or, with `manual`, steps that the caller
 * takes) execute them by the callback. Commands that conflict (sched/access.h) are executed in the
 * order of submission, each seeing everything that the ones before it did; others at any time, on
 * any worker, also at once.
 *
 * Every function is called on the dispatcher's thread, unless it says otherwise. Nothing is
 * allocated after lks_scheduler_new, nothing waits but lks_scheduler_wait, _flush and _free.
 */
#ifndef LKS_SCHED_SCHEDULER_H
#define LKS_SCHED_SCHEDULER_H

#include "base/error.h"
#include "sched/access.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_WORKERS_MAX 63u
#define LKS_LANES_MAX 64u
#define LKS_WINDOW_MIN 64u
#define LKS_WINDOW_MAX 65536u
#define LKS_SLOTS_MAX (1u << 24)

/* X(name, text): every scheduler, and what it is called in a configuration. */
#define LKS_SCHEDULER_KINDS(X) \
    X(LKS_SEQUENTIAL, "sequential") /* on the dispatcher's thread, at once: the reference */ \
    X(LKS_EARLY, "early")           /* classes have their workers; a map says which */ \
    X(LKS_LATE, "late")             /* a graph of commands, from the keys that they name */ \
    X(LKS_HYBRID, "hybrid")         /* as late, each worker inserting what is of its classes */ \
    X(LKS_ADAPTIVE, "adaptive")     /* sequential or late, on as many workers as are worth it */

enum lks_scheduler_kind {
#define X(name, text) name,
    LKS_SCHEDULER_KINDS(X)
#undef X
};

struct lks_scheduler;
struct lks_class_map;
struct lks_numa;

/*
 * Executes one command: `command` is the word that was submitted with it. Called on the thread of
 * worker 0..workers-1, or on the dispatcher's thread with worker == workers. Conflicting commands
 * never overlap; all others may. Must not call the scheduler.
 */
typedef void (*lks_execute)(void *ctx, uint32_t worker, uint64_t command);

struct lks_scheduler_options {
    enum lks_scheduler_kind kind;
    uint32_t workers; /* threads, 0..LKS_WORKERS_MAX; 0: all kinds execute as sequential does */
    uint32_t window;  /* commands in flight, at most; a power of two; 0: 8192 */
    uint32_t slots;   /* late: entries of the table of keys, a power of two; 0: 2^18 */
    uint32_t lanes;   /* late: 0 or 1: the dispatcher inserts; more: workers do, slots split so */
    /* early and hybrid: which workers serve which classes; NULL: `classes` shards, spread evenly.
     * Copied. Class of a word: (identity % shards) * 2 + (writes ? 1 : 0). */
    const struct lks_class_map *map;
    uint32_t classes; /* shards when map is NULL, a power of two; 0: 64 */
    bool no_steal;    /* idle workers leave the others' work alone */
    bool help;        /* the dispatcher executes commands while it waits in _wait and _flush */
    bool manual;      /* no threads: lks_scheduler_step is each worker */
    uint64_t spin_ns; /* how long an idle worker spins before it sleeps; 0: 10 us */
    const int *cpus;  /* worker i runs on this processor; NULL: wherever. Used during _new */
    /* Machines of several NUMA nodes: whose memory workers 0.. and, behind them, the dispatcher
     * reach soonest; -1: not known. Both NULL: wherever. Used during _new. */
    struct lks_numa *numa;
    const int *nodes; /* [workers + 1] */
    lks_execute execute;
    void (*wake)(void *ctx); /* after lks_scheduler_arm, on any thread; NULL: nobody arms */
    void *ctx; /* of execute and wake; must outlive the scheduler */
};

/*
 * Makes a scheduler and starts its workers. On success *scheduler is the caller's, until _free.
 * -EINVAL with a sentence: an option is out of range; -ENOMEM; -EAGAIN: no thread could be started.
 */
int lks_scheduler_new(struct lks_scheduler **scheduler, const struct lks_scheduler_options *options,
                      struct lks_error *err);

/* Executes what was submitted, ends the workers, gives everything back. NULL is accepted. */
void lks_scheduler_free(struct lks_scheduler *scheduler);

/*
 * Submits the next command. `words` (count of them, at most LKS_ACCESS_MAX, or LKS_ACCESS_ALL with
 * words ignored) are not looked at after the call. The command has the next ticket: 1 for the
 * first, 2, ... Returns false if there is no room now, or the command conflicts with all and others
 * are still under way: nothing has happened, and it is to be submitted again after
 * lks_scheduler_wait, or later.
 *
 * A few commands may be held back until lks_scheduler_publish, _wait, _applied or _flush.
 * A command that conflicts with all is executed before the call returns, on this thread; with
 * LKS_SEQUENTIAL, every command is.
 */
bool lks_scheduler_submit(struct lks_scheduler *scheduler, uint64_t command,
                          const lks_access *words, uint32_t count);

/*
 * Whether the caller may execute the next command itself, without submitting it: everything is
 * executed, and the kind is LKS_SEQUENTIAL, or LKS_ADAPTIVE which finds workers not worth it at the
 * moment. It has no ticket. Saves handing it over and back; the caller says so. It may go on for a
 * while, until it submits one, where this has become false meanwhile.
 */
bool lks_scheduler_is_inline(const struct lks_scheduler *scheduler);
/* The caller has executed so many commands itself, as it may, since it last said so: counted as the
 * dispatcher's, and, with LKS_ADAPTIVE, measured, for which the first one that follows a time of
 * having none is told by itself. Before the next one is submitted. */
void lks_scheduler_ran(struct lks_scheduler *scheduler, uint32_t commands);

/* Hands over what submit held back: call it when no more commands are at hand. */
void lks_scheduler_publish(struct lks_scheduler *scheduler);

/*
 * The ticket below and at which every command is executed; what they did is visible to the caller.
 * Never goes back. Publishes first.
 */
uint64_t lks_scheduler_applied(struct lks_scheduler *scheduler);

/* The ticket of the newest command; 0 if there was none. */
uint64_t lks_scheduler_submitted(const struct lks_scheduler *scheduler);

/*
 * Waits until an eighth of a window more is executed than lks_scheduler_applied said last, or all
 * is, or about 1 ms has passed: helps if the option says so, spins where that is near, then sleeps.
 * Returns at once with `manual`.
 */
void lks_scheduler_wait(struct lks_scheduler *scheduler);

/* For a dispatcher that sleeps elsewhere: from now on the first worker that has nothing left to do
 * calls `wake`, once. What was executed before must be looked for after this call. */
void lks_scheduler_arm(struct lks_scheduler *scheduler);
void lks_scheduler_disarm(struct lks_scheduler *scheduler);

/* Waits until all that was submitted is executed. With `manual` it steps the workers in turn. */
void lks_scheduler_flush(struct lks_scheduler *scheduler);

/*
 * Goes on with another kind, after a flush: between two commands of the log. Tickets go on.
 * workers: how many new commands go to, with adaptive at most; 0: all. Fewer than all serve late
 * and adaptive alone, since the map of early and hybrid is made for all. -EINVAL with a sentence:
 * there is no such kind, or it cannot be had with so many workers; nothing has changed.
 */
int lks_scheduler_switch(struct lks_scheduler *scheduler, enum lks_scheduler_kind kind,
                         uint32_t workers, struct lks_error *err);
/* Whether that could be done: 0, or -EINVAL as above. Changes nothing. */
int lks_scheduler_switch_check(const struct lks_scheduler *scheduler, enum lks_scheduler_kind kind,
                               uint32_t workers, struct lks_error *err);

/*
 * The NUMA nodes (bits; several: in turns; 0: wherever) where what belongs to an identity is best
 * read from, by who executes its commands under the present kind: with early and hybrid the worker
 * that the map names, with late and adaptive any worker, with sequential the dispatcher. A wish: it
 * changes with the kind, and nothing moves for it.
 */
uint64_t lks_scheduler_nodes(const struct lks_scheduler *scheduler, uint64_t identity);

/* How many workers new commands go to, 1..workers; more are ignored. The others finish what they
 * have, and sleep. The map of early and hybrid is made for all workers: it is left as it is. */
void lks_scheduler_set_active(struct lks_scheduler *scheduler, uint32_t workers);

/* With `manual`: one bounded step of a worker (worker == workers: the helper). Says whether it did
 * anything. A step executes at most one command of its own queue, or what it took from another. */
bool lks_scheduler_step(struct lks_scheduler *scheduler, uint32_t worker);

struct lks_scheduler_statistics {
    enum lks_scheduler_kind kind;
    uint32_t workers;
    uint32_t active;       /* that new commands go to; 0: they are executed by the dispatcher */
    uint64_t submitted;    /* tickets given */
    uint64_t applied;      /* as lks_scheduler_applied said last */
    uint64_t everything;   /* commands that conflicted with all */
    uint64_t refused;      /* submits that found no room */
    uint64_t synchronised; /* early: commands for which several workers met */
    uint64_t dependent;    /* late, hybrid: commands that had to wait for others, once a lane */
    uint64_t switches;     /* adaptive: how often it changed its mind */
};

struct lks_worker_statistics {
    uint64_t executed; /* commands */
    uint64_t stolen;   /* of these: taken from another worker */
    uint64_t given;    /* early: commands handed to idle workers */
    /* early: how often a command had to wait for another worker; late and hybrid: commands that it
     * inserted and that had to wait for others. */
    uint64_t waited;
    uint64_t parked;   /* how often it went to sleep */
    uint64_t idle_ns;  /* spent without work, spinning or asleep, until now */
    uint64_t depth;    /* commands in its queues now, about */
};

/* Any thread; figures of one moment each. */
void lks_scheduler_statistics(const struct lks_scheduler *scheduler,
                              struct lks_scheduler_statistics *statistics);
/* worker 0..workers; the last one is the dispatcher as an executor. Any thread. */
void lks_scheduler_worker_statistics(const struct lks_scheduler *scheduler, uint32_t worker,
                                     struct lks_worker_statistics *statistics);

/* "early"; "?" for what is no kind. */
const char *lks_scheduler_kind_name(enum lks_scheduler_kind kind);
/* The kind of that name. -EINVAL with a sentence that lists them. */
int lks_scheduler_kind_parse(const char *name, enum lks_scheduler_kind *kind,
                             struct lks_error *err);

#endif
