/*
 * Reads without entries; see reads.h.
 *
 * The gateway's part makes requests and answers reads, the leader's part turns the requests of all
 * replicas, its own included, into rounds of the core. A request is posted at once when fewer than
 * two are under way, a round is begun at once when fewer than two are: nothing is delayed to be
 * shared, but all that came before is. What a leader says is bound to the epoch of the ingress that
 * it offered, so nothing of another connection or term is taken for it; and every request and every
 * answer may get lost: what is not answered is asked again, for a read changes nothing.
 */
#include "node/reads.h"

#include "lockstep/touch.h"
#include "node/replica_internal.h"

#include <stddef.h>

#define READS_PER_STEP_MAX 4096u
#define AGAIN_TIMEOUTS 2u /* election timeouts after which a request is taken for lost */

_Static_assert(sizeof((struct lks_reads *)0)->askers / sizeof(struct lks_reads_asker) ==
                   LKS_REPLICAS_MAX + 1,
               "an asker for every replica");

int lks_reads_init(struct lks_replica *replica)
{
    const struct lks_read_queue_options options = {.bytes_max =
                                                       replica->options.pending_bytes_max};
    return lks_read_queue_new(&replica->reads.queue, &options);
}

void lks_reads_fini(struct lks_replica *replica)
{
    lks_read_queue_free(replica->reads.queue);
    replica->reads.queue = NULL;
}

int lks_reads_submit(struct lks_replica *replica, const struct lks_read_arrival *arrival)
{
    return lks_read_queue_add(replica->reads.queue, arrival);
}

uint64_t lks_reads_waiting(const struct lks_replica *replica)
{
    struct lks_read_queue_counts counts;
    lks_read_queue_counts(replica->reads.queue, &counts);
    return counts.waiting;
}

/* ---- words ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + UINT64_C(0x9E3779B97F4A7C15);
    hash *= UINT64_C(0xBF58476D1CE4E5B9);
    hash ^= hash >> 29;
    hash *= UINT64_C(0x94D049BB133111EB);
    return hash ^ hash >> 32;
}

static uint64_t check_of(uint64_t epoch, uint64_t number, uint64_t term, uint64_t point)
{
    return mix(mix(mix(mix(0, epoch), number), term), point);
}

static const struct lks_read_words *own_words(const struct lks_replica *replica, uint32_t peer)
{
    const uint8_t *inbox = lks_fabric_inbox(replica->options.fabric, peer);
    return (const struct lks_read_words *)(const void *)(inbox + LKS_READ_WORDS_OFFSET);
}

/* All words of one side are in one write: they are there together, or their check is wrong. */
static int post(struct lks_replica *replica, uint32_t peer, size_t offset, const uint64_t *words,
                size_t bytes)
{
    const int rc = lks_fabric_write_inbox(replica->options.fabric, peer,
                                          LKS_READ_WORDS_OFFSET + offset, words, bytes,
                                          LKS_FABRIC_INLINE | LKS_FABRIC_WAKE, 0);
    LKS_ASSERT(rc == 0 || rc == -LKS_EBUSY || rc == -LKS_EBROKEN);
    return rc;
}

/* ---- the leader's part ---------------------------------------------------------------------- */

static bool is_established(const struct lks_replica *replica)
{
    return replica->view->role == LKS_CORE_LEADER && replica->view->established;
}

/* The newest request of a replica, or 0. */
static uint64_t requested_by(struct lks_replica *replica, uint32_t p)
{
    struct lks_reads *reads = &replica->reads;
    struct lks_reads_asker *asker = &reads->askers[p];
    if (p == replica->options.replica) {
        return reads->route == p && lks_read_queue_asking(reads->queue)
                   ? lks_read_queue_asked(reads->queue)
                   : 0;
    }
    const struct lks_ingress_consumer *consumer = &replica->peers[p].consumer;
    if (!replica->peers[p].connected || !consumer->open ||
        consumer->term != replica->view->term) {
        return 0;
    }
    if (asker->epoch != consumer->epoch) {
        *asker = (struct lks_reads_asker){.epoch = consumer->epoch};
    }
    const struct lks_read_request *request = &own_words(replica, p)->request;
    const uint64_t number = lks_word_read(&request->number);
    if (number <= asker->taken ||
        lks_word_read(&request->check) != check_of(asker->epoch, number, 0, 0)) {
        return 0;
    }
    return number;
}

static void answer(struct lks_replica *replica, uint32_t p)
{
    struct lks_reads *reads = &replica->reads;
    struct lks_reads_asker *asker = &reads->askers[p];
    const uint64_t point = replica->view->reads.point;
    if (p == replica->options.replica) {
        (void)lks_read_queue_confirm(reads->queue, asker->owed, point);
        asker->owed = 0;
        return;
    }
    const uint64_t term = replica->view->term;
    const uint64_t words[] = {asker->owed, term, point,
                              check_of(asker->epoch, asker->owed, term, point)};
    _Static_assert(sizeof words == sizeof(struct lks_read_answer), "an answer's words");
    if (replica->peers[p].consumer.epoch == asker->epoch &&
        post(replica, p, offsetof(struct lks_read_words, answer), words, sizeof words) ==
            -LKS_EBUSY) {
        return; /* the next step tries again */
    }
    asker->owed = 0;
}

/* Answers whatever the confirmed rounds cover. */
static int settle(struct lks_replica *replica)
{
    int work = 0;
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        struct lks_reads_asker *asker = &replica->reads.askers[p];
        while (asker->flights_count > 0 &&
               asker->flights[0].round <= replica->view->reads.confirmed) {
            asker->owed = asker->flights[0].number;
            asker->flights_count--;
            asker->flights[0] = asker->flights[1];
        }
        if (asker->owed != 0) {
            answer(replica, p);
            work++;
        }
    }
    return work;
}

/* The requests, all of which came before: one round for them. */
static int begin_round(struct lks_replica *replica, const uint64_t *requested)
{
    struct lks_reads *reads = &replica->reads;
    (void)lks_replica_event(replica, LKS_EVENT_READ, 0);
    (void)lks_replica_drain(replica);
    const uint64_t round = replica->view->reads.begun;
    if (replica->fatal != 0 || !is_established(replica) || replica->view->term != reads->term ||
        round == 0) {
        return 1; /* they are asked of the next leader */
    }
    reads->rounds++;
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        struct lks_reads_asker *asker = &reads->askers[p];
        if (requested[p] > asker->taken) {
            LKS_ASSERT(asker->flights_count < LKS_READ_REQUESTS_MAX);
            asker->taken = requested[p];
            asker->flights[asker->flights_count] =
                (struct lks_reads_flight){.number = requested[p], .round = round};
            asker->flights_count++;
        }
    }
    return 1;
}

static int serve(struct lks_replica *replica)
{
    struct lks_reads *reads = &replica->reads;
    if (!is_established(replica)) {
        reads->wants_time = false;
        reads->wanted_ns = 0;
        return 0;
    }
    if (reads->term != replica->view->term) {
        reads->term = replica->view->term;
        for (uint32_t p = 1; p <= replica->options.replicas; p++) {
            reads->askers[p] = (struct lks_reads_asker){0};
        }
    }
    uint64_t requested[LKS_REPLICAS_MAX + 1] = {0};
    bool wanted = false;
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        requested[p] = requested_by(replica, p);
        wanted = wanted || requested[p] > reads->askers[p].taken;
    }
    int work = settle(replica);
    const uint64_t under_way = replica->view->reads.begun - replica->view->reads.confirmed;
    if (!wanted || under_way >= LKS_READ_REQUESTS_MAX) {
        return work;
    }
    if (reads->wanted_ns == 0) {
        reads->wanted_ns = replica->realtime_ns;
    }
    if (!lks_replica_time_is_logged(replica, reads->wanted_ns)) {
        return work + (reads->wants_time ? 1 : 0); /* the next step logs it */
    }
    reads->wanted_ns = 0;
    work += begin_round(replica, requested);
    work += lks_replica_poll_fabric(replica); /* probes are often through at once */
    if (is_established(replica) && replica->view->term == reads->term) {
        work += settle(replica);
    }
    return work;
}

/* ---- the gateway's part --------------------------------------------------------------------- */

/* Whom to ask: this replica, or the one that offered its ingress. */
static uint32_t find_route(const struct lks_replica *replica, uint64_t *epoch)
{
    if (replica->view->role == LKS_CORE_LEADER) {
        *epoch = replica->view->term;
        return is_established(replica) ? replica->options.replica : 0;
    }
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        const struct lks_ingress_producer *producer = &replica->peers[p].producer;
        if (lks_ingress_producer_is_open(producer)) {
            *epoch = producer->epoch;
            return p;
        }
    }
    *epoch = 0;
    return 0;
}

static void take_route(struct lks_replica *replica)
{
    struct lks_reads *reads = &replica->reads;
    uint64_t epoch = 0;
    const uint32_t route = find_route(replica, &epoch);
    if (route != reads->route || epoch != reads->route_epoch) {
        reads->route = route;
        reads->route_epoch = epoch;
        lks_read_queue_void(reads->queue);
    }
}

static int take_answer(struct lks_replica *replica)
{
    struct lks_reads *reads = &replica->reads;
    if (reads->route == 0 || reads->route == replica->options.replica ||
        !lks_read_queue_asking(reads->queue)) {
        return 0;
    }
    const struct lks_read_answer *words = &own_words(replica, reads->route)->answer;
    const uint64_t number = lks_word_read(&words->number);
    const uint64_t term = lks_word_read(&words->term);
    const uint64_t point = lks_word_read(&words->point);
    if (lks_word_read(&words->check) != check_of(reads->route_epoch, number, term, point) ||
        term != replica->peers[reads->route].producer.term || point == LKS_READ_UNCONFIRMED) {
        return 0;
    }
    return lks_read_queue_confirm(reads->queue, number, point) ? 1 : 0;
}

/* A word that is written may be hidden by one of an older connection that lands late: what is not
 * answered for long is asked again, under the next number. */
static void give_up_lost(struct lks_replica *replica)
{
    struct lks_reads *reads = &replica->reads;
    if (lks_read_queue_asking(reads->queue) && reads->route != replica->options.replica &&
        replica->now_ns - reads->asked_ns >
            AGAIN_TIMEOUTS * replica->options.election_timeout_ns) {
        lks_read_queue_void(reads->queue);
    }
}

static int ask(struct lks_replica *replica)
{
    struct lks_reads *reads = &replica->reads;
    int work = 0;
    if (reads->route != 0 && lks_read_queue_may_ask(reads->queue)) {
        (void)lks_read_queue_ask(reads->queue);
        reads->asked_ns = replica->now_ns;
        work++;
    }
    const uint64_t number = lks_read_queue_asked(reads->queue);
    if (reads->route == 0 || reads->route == replica->options.replica ||
        !lks_read_queue_asking(reads->queue) || reads->posted == number) {
        return work;
    }
    const uint64_t words[] = {number, check_of(reads->route_epoch, number, 0, 0)};
    _Static_assert(sizeof words == sizeof(struct lks_read_request), "a request's words");
    if (post(replica, reads->route, offsetof(struct lks_read_words, request), words,
             sizeof words) == 0) {
        reads->posted = number;
    }
    return work;
}

/* ---- answering ------------------------------------------------------------------------------ */

static void run(struct lks_replica *replica, struct lks_read *read)
{
    const struct lks_command command = {
        .index = replica->applied.index,
        .time_ns = read->time_ns,
        .data = read->data,
        .bytes = read->bytes,
    };
    lks_reply_clear(&replica->reply);
    LKS_ASSERT(lks_execution_is_quiet(replica));
#ifdef LKS_TOUCH_CHECKS
    struct lks_footprint touched;
    lks_footprint_clear(&touched);
    replica->options.service->footprint(read->data, read->bytes, &touched);
    lks_touch_expect(&touched, replica->options.service->partitions);
#endif
    replica->options.service->read(replica->service, &command, &replica->reply);
    lks_touch_expect(NULL, 0);
    replica->executed_in_place++;
    replica->options.on_reply(replica->options.ctx, read->cookie, replica->reply.data,
                              replica->reply.bytes);
    lks_read_queue_release(replica->reads.queue, read);
}

/* What it reads is what everything applied so far has left: where that waits for partitions, the
 * read waits in their queues, before all that comes later. False: it cannot wait there now. */
static bool run_or_wait(struct lks_replica *replica, struct lks_read *read)
{
    LKS_ASSERT(read->point <= replica->applied.offset);
    read->time_ns = replica->applied_time_ns;
    if (lks_execution_is_parallel(replica)) {
        lks_execution_read(replica, read);
        return true;
    }
    if (!replica->recovery.active) {
        run(replica, read);
        lks_execution_ran(replica);
        return true;
    }
    return lks_replica_recover_read(replica, read);
}

void lks_reads_run_waited(struct lks_replica *replica, struct lks_read *read)
{
    run(replica, read);
}

void lks_reads_wait_again(struct lks_replica *replica, struct lks_read *read)
{
    lks_read_queue_put_back(replica->reads.queue, read);
}

/* A partition that was installed with the command's effect has lost the state before it. */
static bool state_before_is_gone(const struct lks_replica *replica,
                                 const struct lks_entry_header *command)
{
    return replica->recovery.active && command->index <= replica->recovery.left_out_most;
}

bool lks_reads_before(struct lks_replica *replica, const struct lks_entry_header *command)
{
    struct lks_read_queue *queue = replica->reads.queue;
    struct lks_read *read;
    while (lks_execution_has_room(replica)) {
        read = lks_read_queue_before(queue, command->sequence);
        if (read == NULL) {
            return true;
        }
        read->point = replica->applied.offset; /* the command itself stands for it */
        if (state_before_is_gone(replica, command) || !run_or_wait(replica, read)) {
            /* Or nothing more can wait for its partitions: its connection has to ask again. */
            replica->options.on_reply(replica->options.ctx, read->cookie, NULL, 0);
            lks_read_queue_release(queue, read);
        }
    }
    return false;
}

void lks_reads_answered(struct lks_replica *replica, struct lks_read *read)
{
    lks_read_queue_release(replica->reads.queue, read);
}

static int run_ready(struct lks_replica *replica)
{
    struct lks_read_queue *queue = replica->reads.queue;
    if (!lks_replica_recover_may_read(replica)) {
        return 0;
    }
    struct lks_gateway_counts counts;
    lks_gateway_counts(replica->gateway, &counts);
    uint32_t work = 0;
    while (work < READS_PER_STEP_MAX && replica->fatal == 0 && lks_execution_has_room(replica)) {
        struct lks_read *read =
            lks_read_queue_ready(queue, replica->applied.offset, counts.answered);
        if (read == NULL) {
            break;
        }
        if (!run_or_wait(replica, read)) {
            lks_read_queue_put_back(queue, read);
            break;
        }
        work++;
    }
    return (int)work;
}

int lks_reads_step(struct lks_replica *replica)
{
    if (!replica->recovered || replica->fatal != 0) {
        return 0;
    }
    int work = 0;
    const bool waiting = lks_reads_waiting(replica) != 0;
    if (waiting) {
        take_route(replica);
        work += take_answer(replica);
        give_up_lost(replica);
        work += ask(replica);
    }
    work += serve(replica);
    return work + (waiting ? run_ready(replica) : 0);
}
