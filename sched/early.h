/*
 * Inside of sched/: early scheduling. Each worker has one queue, filled by the dispatcher by the
 * map of classes; early.c runs the queues, early_steal.c moves work to idle workers.
 *
 * Stealing is by request: an idle worker asks one that has a backlog, and that one, between two
 * commands, hands over some of what waits in its own queue, in a packet. So a queue has one
 * consumer, and its common path neither locks nor swaps. Order is kept because the victim knows
 * what is away:
 *   - what is given lies before the first marker in the queue (a command for which workers meet, or
 *     one of several classes), and the victim passes no marker before all packets are back;
 *   - while commands of a component of conflicting classes are away, the victim executes none of
 * it,
 *     unless both are of concurrent classes.
 */
#ifndef LKS_SCHED_EARLY_H
#define LKS_SCHED_EARLY_H

#include "sched/class_map.h"
#include "sched/engine.h"

#include <stddef.h>

#define PACKETS 8u             /* away from one victim at a time */
#define PACKET_COMMANDS 256u   /* in one of them */
#define SCAN_MOST 512u         /* how far into its queue a victim looks for what to give */
#define BACKLOG_WORTH_ASKING 3u /* one under way, the next one, and one to be given */

/* In `what` of an item: the component in the low 16 bits. */
#define ITEM_SHARED (1u << 16) /* of a concurrent class: never conflicts with another such */
#define ITEM_SEVERAL (1u << 17) /* of several classes of this worker: a marker for stealing */
#define ITEM_MEETING (1u << 18) /* `command` is a struct meeting: a marker */
#define ITEM_TAKEN (1u << 19)   /* given away; set and read by the victim alone */

struct item {
    uint64_t command;
    uint32_t what;
    uint32_t ticket; /* its low half; of a meeting it is also the place in `meetings` */
};

/* A command for which all workers of `workers` meet; the last one to come executes it. */
struct meeting {
    _Atomic uint32_t missing; /* workers that have not come */
    _Atomic bool done;
    uint64_t command;
    uint64_t workers;
};

/* Commands on their way from a victim to a thief and back. Owned by the victim, except between
 * being posted (thief's mail, release) and `done` (release). */
struct packet {
    _Atomic bool done;
    bool away;        /* the victim's: posted, not known to be back */
    uint32_t count;
    uint32_t components;
    uint32_t victim;
    uint32_t thief;
    uint64_t first;   /* the position of its first command in the victim's queue */
    uint64_t commands[PACKET_COMMANDS];
    uint16_t component[PACKET_COMMANDS]; /* those that it has commands of */
    bool shared[PACKET_COMMANDS];        /* whether they are all of concurrent classes */
};

/* What the victim remembers of each component: packets that have commands of it. */
struct away {
    uint8_t shared;
    uint8_t exclusive;
};

struct early_queue {
    /* Read by both sides, never written. */
    _Alignas(64) struct item *items; /* [window] */
    /* The dispatcher's. */
    _Alignas(64) uint64_t filled;
    uint64_t done_seen;
    _Alignas(64) _Atomic uint64_t tail; /* dispatcher: published up to here */
    _Alignas(64) _Atomic uint64_t done; /* worker: all below is executed, what is away included */
    uint64_t position;                  /* the worker's: the next to look at */
    uint64_t tail_seen;
    bool arrived;          /* it has come to the meeting at `position` */
    uint32_t packets_away;
    uint32_t asked;        /* whom it has asked, plus 1; 0: nobody */
    uint32_t since_asked;  /* times it found nothing to do since then */
    /* Commands, at most; relaxed: written before it asks, read by who answers. */
    _Atomic uint32_t wanted;
    uint32_t rest;         /* times it looks before it asks again */
    uint32_t rest_next;    /* what `rest` becomes if it is refused */
    uint32_t current_next; /* of `current`: the next command */
    struct packet *current; /* what it was given, and executes; NULL */
    struct away *away;     /* [components] */
    struct packet *packets; /* [PACKETS] */
    uint32_t *counted;     /* [components], of use while giving; all 0 otherwise */
    /* Thief + 1: set by the thief by compare-and-swap, cleared by the victim. */
    _Alignas(64) _Atomic uint32_t request;
    /* Set by the victim that was asked; taken by the thief, or by the victim again, by swapping. */
    _Alignas(64) struct packet *_Atomic mail;
    _Atomic bool refused;                     /* likewise */
};

/* What is written for each command lies on lines that the other side does not read for each. */
_Static_assert(offsetof(struct early_queue, filled) % 64 == 0, "the worker reads items before it");
_Static_assert(offsetof(struct early_queue, done) % 64 == 0, "the dispatcher reads items");

/* A class in short: what place_one needs. */
struct route {
    uint32_t what;   /* of an item of this class */
    uint32_t worker; /* its only one; NO_WORKER: it has several */
};
#define NO_WORKER UINT32_MAX

struct lks_early {
    struct lks_class_map *map;
    struct route *routes; /* [classes] */
    uint32_t shard_mask; /* shards - 1 where that is a power of two; else 0 */
    uint32_t shards;
    uint32_t mask;       /* window - 1 */
    struct meeting *meetings; /* [window], by ticket */
    struct early_queue *queues[LKS_WORKERS_MAX + 1]; /* [executors]; each in its own home */
    /* The dispatcher's own. */
    _Alignas(64) uint64_t to_wake;
    uint32_t turn; /* concurrent classes with several workers */
};
_Static_assert(offsetof(struct lks_early, to_wake) % 64 == 0, "workers read what lies before it");

/* Whether somebody has asked this worker for commands. */
static inline bool lks_early_asked(const struct early_queue *queue)
{
    /* Relaxed: only whether it is worth a look; the answer takes it with acquire. */
    return atomic_load_explicit(&queue->request, memory_order_relaxed) != 0;
}

/* A worker with nothing of its own asks for some, or takes an old request back. */
void lks_early_steal(struct lks_scheduler *scheduler, struct lks_worker *worker);
/* Executes some of what was given to it. False: nothing was. */
bool lks_early_mail(struct lks_scheduler *scheduler, struct lks_worker *worker);
/* The helper goes away: takes its request back, or executes what it was given for it. */
void lks_early_leave(struct lks_scheduler *scheduler, struct lks_worker *worker);
/* Answers a request, if there is one. Between two commands of the victim. */
void lks_early_answer(struct lks_scheduler *scheduler, struct lks_worker *worker);
/* Takes packets back that are done, and moves `done` up. True: at least one came back. */
bool lks_early_collect(struct lks_scheduler *scheduler, struct lks_worker *worker);
/* A victim that cannot go on executes itself what its thieves have not begun, and collects. */
void lks_early_reclaim(struct lks_scheduler *scheduler, struct lks_worker *worker);
/* Publishes how far the worker's queue is executed. */
void lks_early_set_done(struct early_queue *queue);

#endif
