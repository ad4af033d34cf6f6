/* Committed commands on the workers of a scheduler; see execution.h. */
#include "node/execution.h"

#include "base/clock.h"
#include "lockstep/touch.h"
#include "node/replica_internal.h"
#include "node/utilisation.h"
#include "sched/numa.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WINDOW 2048u  /* commands under way, at most */
#define RECORDS 4096u /* a power of two, above the window */
#define REPLY_KEPT_BYTES_MAX 4096u /* of a record, from one command to the next */
/* Commands until everything comes to rest once, for ticks; and fewer while a snapshot is to be
 * begun or written. */
#define COMMANDS_UNTIL_REST 4096u
#define COMMANDS_UNTIL_SNAPSHOT 1024u
#define LOOK_EVERY_NS (100 * LKS_NS_PER_US) /* at what long commands have finished */

_Static_assert((RECORDS & (RECORDS - 1)) == 0 && RECORDS > WINDOW, "records are a ring");

/* One command or read under way. Written by the replica's thread before it is submitted and after
 * it is executed; in between its worker has it. */
struct record {
    struct lks_entry entry; /* header NULL: a read */
    struct lks_read *read;
    struct lks_command command;
    struct lks_asker asker;
    uint64_t end_index; /* of the log behind it */
    uint64_t end_offset;
    struct lks_reply reply;
#ifdef LKS_TOUCH_CHECKS
    struct lks_footprint touched;
#endif
};

struct lks_execution {
    struct lks_scheduler *scheduler;
    const struct lks_service *service;
    void *state;
    struct lks_numa *numa; /* NULL: where memory lies does not matter */
    int wake_fd; /* workers wake the loop by it; -1: manual */
    enum lks_scheduler_kind kind;
    uint32_t ran;  /* commands in place in this turn; of them the first has been told */
    bool in_place; /* found at rest, until the next one: commands are executed where they are met */
    bool changing; /* to these, at rest */
    enum lks_scheduler_kind wanted;
    uint32_t wanted_workers;
    uint64_t added;     /* records so far; the last one is number `added` ... */
    uint64_t delivered; /* ... and these are executed and answered */
    uint64_t rested;    /* `added` when everything was last at rest */
    bool pending;       /* the last record found no room: it is submitted again */
    lks_access words[LKS_ACCESS_MAX]; /* its words */
    uint32_t words_count;
    struct lks_execution_mark mark; /* while something is under way */
    struct lks_utilisation utilisation;
    struct record records[RECORDS];
};

static struct record *record_at(struct lks_execution *execution, uint64_t number)
{
    return &execution->records[number & (RECORDS - 1)];
}

/* ---- on a worker's thread, or the replica's ------------------------------------------------- */

static void execute(void *ctx, uint32_t worker, uint64_t number)
{
    struct lks_execution *execution = ctx;
    struct record *record = record_at(execution, number);
    (void)worker;
    lks_reply_clear(&record->reply);
#ifdef LKS_TOUCH_CHECKS
    lks_touch_expect(&record->touched, execution->service->partitions);
#endif
    if (record->read != NULL) {
        execution->service->read(execution->state, &record->command, &record->reply);
    } else {
        execution->service->apply(execution->state, &record->command, &record->reply);
    }
    lks_touch_expect(NULL, 0);
}

static void wake_loop(void *ctx)
{
    const struct lks_execution *execution = ctx;
    const uint64_t one = 1;
    const ssize_t written = write(execution->wake_fd, &one, sizeof one);
    (void)written; /* a full counter wakes all the same */
}

/* ---- life ----------------------------------------------------------------------------------- */

static uint32_t classes_of(const struct lks_service *service)
{
    const uint32_t partitions = service->partitions;
    return (partitions & (partitions - 1)) == 0 ? partitions : 0; /* 0: the scheduler's own */
}

int lks_execution_init(struct lks_replica *replica, struct lks_error *err)
{
    const struct lks_replica_scheduler *wanted = &replica->options.scheduler;
    if (wanted->workers == 0) {
        return 0;
    }
    struct lks_execution *execution = calloc(1, sizeof *execution);
    if (execution == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the scheduler's commands");
    }
    execution->service = replica->options.service;
    execution->state = replica->service;
    execution->numa = wanted->numa;
    execution->kind = execution->wanted = wanted->kind;
    lks_utilisation_begin(&execution->utilisation, replica->options.clock_ns != NULL
                                                       ? replica->options.clock_ns()
                                                       : replica->now_ns);
    execution->wake_fd = wanted->manual ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!wanted->manual && execution->wake_fd < 0) {
        const int rc = -errno;
        free(execution);
        return lks_error_set(err, rc, "the scheduler's event descriptor: %s", lks_error_text(rc));
    }
    const struct lks_scheduler_options options = {
        .kind = wanted->kind,
        .workers = wanted->workers,
        .window = WINDOW,
        .classes = classes_of(replica->options.service),
        .manual = wanted->manual,
        .cpus = wanted->cpus,
        .numa = wanted->numa,
        .nodes = wanted->nodes,
        .execute = execute,
        .wake = wake_loop,
        .ctx = execution,
    };
    const int rc = lks_scheduler_new(&execution->scheduler, &options, err);
    if (rc != 0) {
        if (execution->wake_fd >= 0) {
            (void)close(execution->wake_fd);
        }
        free(execution);
        return rc;
    }
    replica->execution = execution;
    execution->in_place = lks_scheduler_is_inline(execution->scheduler);
    return 0;
}

void lks_execution_fini(struct lks_replica *replica)
{
    struct lks_execution *execution = replica->execution;
    if (execution == NULL) {
        return;
    }
    lks_scheduler_free(execution->scheduler);
    for (uint32_t i = 0; i < RECORDS; i++) {
        lks_reply_fini(&execution->records[i].reply);
    }
    if (execution->wake_fd >= 0) {
        (void)close(execution->wake_fd);
    }
    free(execution);
    replica->execution = NULL;
}

/* ---- what may be done ----------------------------------------------------------------------- */

bool lks_execution_is_quiet(const struct lks_replica *replica)
{
    const struct lks_execution *execution = replica->execution;
    return execution == NULL || execution->delivered == execution->added;
}

bool lks_execution_is_parallel(const struct lks_replica *replica)
{
    const struct lks_execution *execution = replica->execution;
    return execution != NULL && !execution->in_place && !execution->changing &&
           !replica->recovery.active && replica->install.phase <= LKS_INSTALL_OWN;
}

bool lks_execution_is_in_place(const struct lks_replica *replica)
{
    LKS_ASSERT(replica->execution == NULL || !replica->execution->in_place ||
               lks_execution_is_quiet(replica));
    return replica->execution == NULL || replica->execution->in_place;
}

void lks_execution_ran(struct lks_replica *replica)
{
    struct lks_execution *execution = replica->execution;
    /* (Else it was executed in place for another reason: no time of a level that was chosen.) */
    if (execution != NULL && execution->in_place && execution->ran++ == 0) {
        lks_scheduler_ran(execution->scheduler, 1);
    }
}

/* At the end of a turn: a command costs less when it is told of together with others. */
static void tell_what_ran(struct lks_execution *execution)
{
    if (execution->ran > 1) {
        lks_scheduler_ran(execution->scheduler, execution->ran - 1);
    }
    execution->ran = 0;
}

bool lks_execution_has_room(const struct lks_replica *replica)
{
    const struct lks_execution *execution = replica->execution;
    if (!lks_execution_is_parallel(replica)) {
        return lks_execution_is_quiet(replica);
    }
    return !execution->pending && execution->added - execution->delivered < RECORDS;
}

bool lks_execution_takes_command(const struct lks_replica *replica)
{
    const struct lks_execution *execution = replica->execution;
    const bool snapshot = replica->taker.phase != LKS_TAKER_IDLE ||
                          replica->applied.offset >= replica->taker.check_offset;
    const uint64_t most = snapshot ? COMMANDS_UNTIL_SNAPSHOT : COMMANDS_UNTIL_REST;
    return lks_execution_has_room(replica) &&
           (execution->added - execution->rested < most || lks_execution_is_quiet(replica));
}

/* ---- dispatching ---------------------------------------------------------------------------- */

/* Words name partitions: that is what a service promises to keep apart. */
static uint32_t words_of(const struct lks_footprint *touched, bool declared, lks_access *words)
{
    if (!declared || touched->count == LKS_FOOTPRINT_ALL || touched->count > LKS_ACCESS_MAX) {
        return LKS_ACCESS_ALL;
    }
    for (uint32_t i = 0; i < touched->count; i++) {
        words[i] = lks_access_of(touched->partitions[i], (touched->reads >> i & 1) == 0);
    }
    if (touched->count == 0) {
        words[0] = lks_access_of(0, false); /* anywhere: it waits for little */
        return 1;
    }
    return touched->count;
}

static void submit(struct lks_execution *execution)
{
    execution->pending = !lks_scheduler_submit(execution->scheduler, execution->added,
                                               execution->words, execution->words_count);
    LKS_ASSERT(execution->pending ||
               lks_scheduler_submitted(execution->scheduler) == execution->added);
}

/* The next record, empty. */
static struct record *add_record(struct lks_replica *replica)
{
    struct lks_execution *execution = replica->execution;
    LKS_ASSERT(lks_execution_is_parallel(replica));
    LKS_ASSERT(!execution->pending && execution->added - execution->delivered < RECORDS);
    execution->added++;
    struct record *record = record_at(execution, execution->added);
    record->entry = (struct lks_entry){0};
    record->read = NULL;
    record->end_index = replica->applied.index;
    record->end_offset = replica->applied.offset;
    return record;
}

void lks_execution_command(struct lks_replica *replica,
                           const struct lks_execution_command *command, bool declared)
{
    struct lks_execution *execution = replica->execution;
    const struct lks_entry_header *header = command->entry->header;
    if (lks_execution_is_quiet(replica)) {
        execution->mark = (struct lks_execution_mark){
            .index = header->index - 1,
            .offset = replica->applied.offset - lks_entry_span(header->payload_bytes)};
    }
    struct record *record = add_record(replica);
    record->entry = *command->entry;
    record->asker = command->asker;
    record->command = (struct lks_command){.index = header->index, .time_ns = header->time_ns};
    record->command.data = lks_entry_command(command->entry, &record->command.bytes);
#ifdef LKS_TOUCH_CHECKS
    record->touched = *command->touched;
#endif
    execution->words_count = words_of(command->touched, declared, execution->words);
    submit(execution);
}

void lks_execution_read(struct lks_replica *replica, struct lks_read *read)
{
    struct lks_execution *execution = replica->execution;
    struct lks_footprint touched;
    lks_footprint_clear(&touched);
    execution->service->footprint(read->data, read->bytes, &touched);
    if (lks_execution_is_quiet(replica)) {
        execution->mark = (struct lks_execution_mark){.index = replica->applied.index,
                                                      .offset = replica->applied.offset};
    }
    struct record *record = add_record(replica);
    record->read = read;
    record->asker = (struct lks_asker){.own = true, .cookie = read->cookie};
    record->command = (struct lks_command){.index = replica->applied.index,
                                           .time_ns = read->time_ns,
                                           .data = read->data,
                                           .bytes = read->bytes};
#ifdef LKS_TOUCH_CHECKS
    record->touched = touched;
#endif
    execution->words_count = words_of(&touched, true, execution->words);
    submit(execution);
}

/* ---- collecting ----------------------------------------------------------------------------- */

static void deliver(struct lks_replica *replica, struct record *record)
{
    struct lks_execution *execution = replica->execution;
    /* The log still has what the worker read: nothing above the mark may be overwritten. */
    LKS_ASSERT(record->read != NULL || record->entry.header->index == record->command.index);
    LKS_ASSERT(record->end_offset >= execution->mark.offset);
    execution->mark = (struct lks_execution_mark){.index = record->end_index,
                                                  .offset = record->end_offset};
    if (record->asker.own) {
        replica->options.on_reply(replica->options.ctx, record->asker.cookie, record->reply.data,
                                  record->reply.bytes);
    }
    if (record->read != NULL) {
        lks_reads_answered(replica, record->read);
    }
    if (record->reply.capacity > REPLY_KEPT_BYTES_MAX) {
        lks_reply_fini(&record->reply);
    }
}

/* Between two entries, everything before being executed. */
static void come_to_rest(struct lks_execution *execution)
{
    execution->rested = execution->added;
    if (execution->changing) {
        struct lks_error err = {0};
        const int rc = lks_scheduler_switch(execution->scheduler, execution->wanted,
                                            execution->wanted_workers, &err);
        LKS_ASSERT(rc == 0); /* it was checked when it was asked for */
        execution->kind = execution->wanted;
        execution->changing = false;
    }
    execution->in_place = lks_scheduler_is_inline(execution->scheduler);
}

/* Now and then; manual workers have no time of their own. */
static void note_utilisation(struct lks_execution *execution, uint64_t now_ns)
{
    uint64_t idle_ns[LKS_WORKERS_MAX];
    struct lks_scheduler_statistics all;
    if (execution->wake_fd < 0 || !lks_utilisation_is_due(&execution->utilisation, now_ns)) {
        return;
    }
    lks_scheduler_statistics(execution->scheduler, &all);
    for (uint32_t i = 0; i < all.workers; i++) {
        struct lks_worker_statistics worker;
        lks_scheduler_worker_statistics(execution->scheduler, i, &worker);
        idle_ns[i] = worker.idle_ns;
    }
    lks_utilisation_look(&execution->utilisation, now_ns, idle_ns, all.workers);
}

int lks_execution_collect(struct lks_replica *replica)
{
    struct lks_execution *execution = replica->execution;
    int work = 0;
    note_utilisation(execution, replica->now_ns);
    tell_what_ran(execution);
    if (execution->pending) {
        submit(execution);
        work += execution->pending ? 0 : 1;
    }
    const uint64_t executed = lks_scheduler_applied(execution->scheduler);
    LKS_ASSERT(executed >= execution->delivered && executed <= execution->added);
    while (execution->delivered < executed) {
        execution->delivered++;
        deliver(replica, record_at(execution, execution->delivered));
        work++;
    }
    if (execution->delivered == execution->added) {
        come_to_rest(execution);
    }
    return work;
}

struct lks_execution_mark lks_execution_mark(const struct lks_replica *replica)
{
    if (!lks_execution_is_quiet(replica)) {
        return replica->execution->mark;
    }
    return (struct lks_execution_mark){.index = replica->applied.index,
                                       .offset = replica->applied.offset};
}

/* ---- where memory lies ---------------------------------------------------------------------- */

void lks_execution_place_begin(struct lks_replica *replica, uint32_t partition)
{
    const struct lks_execution *execution = replica->execution;
    if (execution != NULL && execution->numa != NULL) {
        lks_numa_prefer(execution->numa, lks_scheduler_nodes(execution->scheduler, partition));
    }
}

void lks_execution_place_end(struct lks_replica *replica)
{
    if (replica->execution != NULL) {
        lks_numa_prefer(replica->execution->numa, 0);
    }
}

/* ---- the loop, the operator ----------------------------------------------------------------- */

uint64_t lks_replica_execution_deadline_ns(const struct lks_replica *replica)
{
    return lks_execution_is_quiet(replica) ? UINT64_MAX : replica->now_ns + LOOK_EVERY_NS;
}

int lks_replica_wake_fd(const struct lks_replica *replica)
{
    return replica->execution != NULL ? replica->execution->wake_fd : -1;
}

bool lks_replica_arm(struct lks_replica *replica)
{
    struct lks_execution *execution = replica->execution;
    if (execution == NULL || lks_execution_is_quiet(replica)) {
        return true;
    }
    lks_scheduler_arm(execution->scheduler);
    if (lks_scheduler_applied(execution->scheduler) == execution->delivered) {
        return true;
    }
    lks_scheduler_disarm(execution->scheduler);
    return false;
}

void lks_replica_disarm(struct lks_replica *replica)
{
    struct lks_execution *execution = replica->execution;
    if (execution != NULL && execution->wake_fd >= 0) {
        uint64_t count = 0;
        lks_scheduler_disarm(execution->scheduler);
        const ssize_t taken = read(execution->wake_fd, &count, sizeof count);
        (void)taken; /* nothing there: nobody woke it */
    }
}

bool lks_replica_work(struct lks_replica *replica, uint32_t worker)
{
    struct lks_execution *execution = replica->execution;
    return execution != NULL && lks_scheduler_step(execution->scheduler, worker);
}

int lks_replica_set_scheduler(struct lks_replica *replica, enum lks_scheduler_kind kind,
                              uint32_t workers, struct lks_error *err)
{
    struct lks_execution *execution = replica->execution;
    if (execution == NULL && (kind != LKS_SEQUENTIAL || workers != 0)) {
        return lks_error_set(err, -EINVAL,
                             "scheduler %s: this replica has no workers: set `workers` in the "
                             "section `scheduler` of its configuration and restart it",
                             lks_scheduler_kind_name(kind));
    }
    if (execution == NULL) {
        return 0;
    }
    const int rc = lks_scheduler_switch_check(execution->scheduler, kind, workers, err);
    if (rc == 0) {
        execution->wanted = kind;
        execution->wanted_workers = workers;
        execution->changing = true;
    }
    return rc;
}

void lks_replica_scheduler_status(const struct lks_replica *replica,
                                  struct lks_scheduler_status *status)
{
    const struct lks_execution *execution = replica->execution;
    *status = (struct lks_scheduler_status){.kind = LKS_SEQUENTIAL,
                                             .wanted = LKS_SEQUENTIAL,
                                             .in_place = replica->executed_in_place};
    if (execution == NULL) {
        return;
    }
    lks_scheduler_statistics(execution->scheduler, &status->all);
    status->kind = execution->kind;
    status->wanted = execution->changing ? execution->wanted : execution->kind;
    status->workers = status->all.workers;
    status->under_way = execution->added - execution->delivered;
    for (uint32_t i = 0; i <= status->workers; i++) {
        lks_scheduler_worker_statistics(execution->scheduler, i, &status->worker[i]);
        if (i < status->workers && execution->wake_fd >= 0) {
            status->busy_percent[i] =
                lks_utilisation_percent(&execution->utilisation, replica->now_ns, i,
                                        status->worker[i].idle_ns);
        }
    }
}
