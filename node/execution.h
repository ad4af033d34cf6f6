/*
 * Where committed commands meet the scheduler (sched/scheduler.h): apply.c decides in the order of
 * the log what takes effect, here it is handed to workers, and its replies are handed back.
 *
 *   entry -> record -> scheduler -> worker: service -> record -> reply, in the order of submission
 *
 * All functions run on the replica's thread and never wait. The rules (docs/scheduling.md):
 *  - the mark, up to which everything is executed, is what the replica publishes as applied, and
 *    what lies in the log above it stays where it is;
 *  - replies leave in the order of the log, once the mark has passed;
 *  - whatever concerns more than one command's partitions (ticks, snapshots, members, restoring,
 *    installing, hashing) happens only while nothing is under way: is_quiet. That comes about at
 *    least every few thousand commands, since apply.c then holds the next one back.
 */
#ifndef LKS_NODE_EXECUTION_H
#define LKS_NODE_EXECUTION_H

#include "base/error.h"
#include "sched/scheduler.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_execution; /* NULL: no scheduler, commands are executed where they are dispatched */
struct lks_execution_command;
struct lks_read;
struct lks_replica;

/* Makes what the replica's options ask for. -EINVAL, -ENOMEM, -EAGAIN with a sentence. */
int lks_execution_init(struct lks_replica *replica, struct lks_error *err);
/* Executes what is under way, whose replies are lost, and ends the workers. */
void lks_execution_fini(struct lks_replica *replica);

/* Everything that was dispatched is executed, and answered. */
bool lks_execution_is_quiet(const struct lks_replica *replica);

/* Commands and reads go to the scheduler now, by the two functions below; else whoever has one runs
 * it in place, and says so. */
bool lks_execution_is_parallel(const struct lks_replica *replica);
void lks_execution_ran(struct lks_replica *replica);

/* Nothing is under way, nor will be until the end of this turn: there are no workers, or the
 * scheduler wants none now. Such a replica does as one without workers. */
bool lks_execution_is_in_place(const struct lks_replica *replica);

/* Whether one more command or read may be dispatched now: to the scheduler or in place. */
bool lks_execution_has_room(const struct lks_replica *replica);

/* The same for a command of the log, where there is a scheduler. False also where it is time to
 * come to rest first. */
bool lks_execution_takes_command(const struct lks_replica *replica);

/* Dispatches a command whose entry ends at the applied point. There is room. `declared`: its
 * footprint is the log's, and not only what its bytes look like. */
void lks_execution_command(struct lks_replica *replica,
                           const struct lks_execution_command *command, bool declared);

/* Dispatches a read, which belongs to the read queue until it is answered. There is room. */
void lks_execution_read(struct lks_replica *replica, struct lks_read *read);

/* Where there is a scheduler: submits what had no room, gives back the replies of what is executed,
 * moves the mark, and at rest goes on with another scheduler if one was asked for. Returns pieces
 * of work. */
int lks_execution_collect(struct lks_replica *replica);

/*
 * Between the two what this thread allocates for a partition comes from the NUMA node of who
 * executes its commands (lks_scheduler_nodes), as far as memory is fresh: for restoring, where all
 * of it is. Several _begin in a row cost a call to the kernel only where the node changes; nothing
 * happens on machines of one node. No thread is made in between.
 */
void lks_execution_place_begin(struct lks_replica *replica, uint32_t partition);
void lks_execution_place_end(struct lks_replica *replica);

/* The point below which everything is executed. */
struct lks_execution_mark {
    uint64_t index;
    uint64_t offset;
};

struct lks_execution_mark lks_execution_mark(const struct lks_replica *replica);

#endif
