/*
 * The history checker: is there one order of the operations that explains every answer and that
 * respects real time? A Wing-Gong-Lowe search, one register or counter at a time (linearizability
 * is local: a history is linearizable if that of each key is), with memoisation of what was
 * tried. Used by the integration tests and the simulator after a run; knows nothing of Lockstep.
 * Any thread; no state between calls.
 *
 * Memory is bounded: a history that needs more than its share is "too big", which is not "ok".
 */
#ifndef LKS_SIM_CHECKERS_LINEARIZABILITY_H
#define LKS_SIM_CHECKERS_LINEARIZABILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lks_history_kind {
    LKS_HISTORY_GET,  /* result: present, value */
    LKS_HISTORY_SET,  /* argument: the new value */
    LKS_HISTORY_INCR, /* argument: the amount; result: value afterwards (an absent one is 0) */
    LKS_HISTORY_DEL,  /* result: present tells whether there was a value */
    LKS_HISTORY_EXISTS,      /* result: present */
    LKS_HISTORY_SET_ABSENT,  /* argument, set if there was no value; result: present, before */
    LKS_HISTORY_SET_PRESENT, /* argument, set if there was a value; result: present, before */
    LKS_HISTORY_EXCHANGE     /* argument: the new value; result: present, value, before */
};

/* One operation of one client. */
struct lks_history_operation {
    uint64_t key;
    uint64_t call_ns;
    uint64_t return_ns; /* unused unless known */
    enum lks_history_kind kind;
    bool known;   /* false: no answer came; it may have happened any time after call_ns, or not */
    bool vague;   /* DEL: it happened before return_ns, but the answer does not tell the result */
    bool present; /* result of GET and DEL */
    int64_t argument;
    int64_t value; /* result of GET (if present) and INCR */
};

enum lks_linearizability {
    LKS_LINEARIZABLE = 0,
    LKS_NOT_LINEARIZABLE = 1,
    LKS_LINEARIZABILITY_TOO_BIG = 2 /* undecided within configurations_max */
};

struct lks_linearizability_options {
    uint64_t configurations_max; /* remembered per key, about 50 bytes each; 0: four millions */
};

/* What was found, for the first key that is not LKS_LINEARIZABLE. */
struct lks_linearizability_report {
    enum lks_linearizability verdict;
    uint64_t key;
    size_t operation;        /* place in the history of the one that no order could explain */
    uint64_t configurations; /* greatest number that one key needed */
};

/*
 * Checks operations[0..count), in any order, all keys absent at the beginning. Fills *report and
 * returns 0; -EINVAL: an operation returns before it is called; -ENOMEM. A call and a return of
 * the same nanosecond count as concurrent.
 */
int lks_linearizability_check(const struct lks_history_operation *operations, size_t count,
                              const struct lks_linearizability_options *options,
                              struct lks_linearizability_report *report);

#endif
