/*
 * Linearizable reads on every replica without an entry in the log (design 3.5; docs/protocol.md,
 * "Reads"). A replica with reads waiting asks the leader for a point, by one word in the leader's
 * memory; the leader begins a round of probes, or joins one whose probes are not posted yet, and
 * answers with the commit offset that it knew before. The reads are answered from a state in which
 * everything below that offset is applied. One request covers all reads that came before it; two
 * may be under way. The leader's own reads go the same way without messages. Replica's thread.
 */
#ifndef LKS_NODE_READS_H
#define LKS_NODE_READS_H

#include "node/read_queue.h"
#include "node/waiting.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_entry_header;
struct lks_replica;

/* A request that a round of the leader's probes will answer. */
struct lks_reads_flight {
    uint64_t number;
    uint64_t round;
};

/* The leader's view of one replica that asks; itself among them. */
struct lks_reads_asker {
    uint64_t epoch;    /* of its ingress; what was asked under another is void */
    uint64_t taken;    /* the last request that a round was begun for */
    uint64_t owed;     /* request to be answered now; 0: none */
    uint32_t flights_count;
    struct lks_reads_flight flights[LKS_READ_REQUESTS_MAX]; /* oldest first */
};

struct lks_reads {
    struct lks_read_queue *queue; /* of own clients */
    /* where the requests under way went; another leader or connection voids them */
    uint32_t route;               /* own id: this replica leads; 0: nobody to ask */
    uint64_t route_epoch;
    uint64_t posted;              /* the last request that was written to the leader */
    uint64_t asked_ns;            /* when */
    /* as leader */
    uint64_t term;                /* of the flights */
    uint64_t rounds;              /* begun, in this life */
    uint64_t wanted_ns;           /* realtime since which a round waits to be begun; 0: none does */
    bool wants_time;              /* a tick has to be logged, so that reads see the time */
    struct lks_reads_asker askers[8];
};

/* -ENOMEM. */
int lks_reads_init(struct lks_replica *replica);
void lks_reads_fini(struct lks_replica *replica);

/* Takes a read in; see lks_replica_read for the errors. */
int lks_reads_submit(struct lks_replica *replica, const struct lks_read_arrival *arrival);

/* Asks, serves as leader, and answers what may be answered. Returns pieces of work. */
int lks_reads_step(struct lks_replica *replica);

/*
 * An own command is about to take effect: answers the reads that came before it was submitted, if
 * any still wait. They need no probe: everything that had been acknowledged when they came stands
 * before that command in the log. So a read never sees what its connection sent later: where an
 * installation has brought the command's effect already, it is not answered, and its connection
 * ends. False: some are left, as the workers have no room; the command must wait.
 */
bool lks_reads_before(struct lks_replica *replica, const struct lks_entry_header *command);

/* A worker has executed it, and its client has the answer. */
void lks_reads_answered(struct lks_replica *replica, struct lks_read *read);

/* Reads of own clients that are not answered. */
uint64_t lks_reads_waiting(const struct lks_replica *replica);

/* The turn of a read has come in the queues of its partitions; see lks_waiting_entry. */
void lks_reads_run_waited(struct lks_replica *replica, struct lks_read *read);
/* It waited for partitions that an installation has replaced: it begins again. */
void lks_reads_wait_again(struct lks_replica *replica, struct lks_read *read);

#endif
