/*
 * A replica's life: making it, one step, its status, its end; and the queue of events between the
 * core and its surroundings. See replica_internal.h for who does what, replica.h for the contract.
 */
#include "node/replica_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_BYTES_MAX (UINT64_C(1) << 20)
#define WRITES_MAX 8u
#define NO_LEADER_TIMEOUTS 10u
#define STOP_PATIENCE_NS UINT64_C(2000000000)
#define HANDSHAKE_POLL_NS UINT64_C(500000)
#define WARN_EVERY_NS UINT64_C(10000000000)
#define ROUNDS_PER_STEP 2
#define WATCHES_PER_BEAT 8u /* looks at the leader while own clients wait for it */
#define MESSAGES_EVERY_NS UINT64_C(4000)

_Static_assert((int)LKS_ROLE_LEADER == (int)LKS_CORE_LEADER, "the public roles are the core's");
_Static_assert(sizeof(struct lks_public_words) <= LKS_REPLICA_WORDS_BYTES, "words fit");
_Static_assert((LKS_REPLICAS_MAX + 1) * 64 <= LKS_REPLICA_SCRATCH_BYTES, "scratch fits");

void lks_replica_fail(struct lks_replica *replica, int code, const char *format, ...)
{
    if (replica->fatal != 0) {
        return; /* the first reason is the one that counts */
    }
    char text[LKS_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    replica->fatal = code;
    (void)lks_error_set(&replica->fatal_error, code, "%s", text);
}

struct lks_position lks_replica_position(const struct lks_log_point *point)
{
    return (struct lks_position){.index = point->index,
                                 .term = point->term,
                                 .offset = point->offset,
                                 .chain = point->chain};
}

/* ---- events and operations ------------------------------------------------------------------ */

struct lks_core_event *lks_replica_event(struct lks_replica *replica,
                                         enum lks_core_event_kind kind, uint32_t peer)
{
    LKS_ASSERT(replica->events_tail - replica->events_head < LKS_REPLICA_EVENTS_MAX);
    struct lks_core_event *event = &replica->events[replica->events_tail % LKS_REPLICA_EVENTS_MAX];
    replica->events_tail++;
    memset(event, 0, sizeof *event);
    event->kind = kind;
    event->peer = peer;
    return event;
}

static void note_role(struct lks_replica *replica, enum lks_core_role before)
{
    const struct lks_core_view *view = replica->view;
    if (view->role == before) {
        return;
    }
    if (view->role == LKS_CORE_LEADER) {
        lks_log_info(replica->options.log_sink, "leads term %" PRIu64 " from entry %" PRIu64,
                     view->term, view->tail.index + 1);
    } else if (before == LKS_CORE_LEADER) {
        lks_log_info(replica->options.log_sink, "no longer leads (term %" PRIu64 ")", view->term);
    } else {
        lks_log_debug(replica->options.log_sink, "%s, term %" PRIu64,
                      lks_core_role_name(view->role), view->term);
    }
}

/* Peers see role and term as they are at the end of a step. */
static void publish_words(struct lks_replica *replica)
{
    const struct lks_core_view *view = replica->view;
    const bool leads = view->role == LKS_CORE_LEADER;
    const uint64_t flags = (leads ? LKS_PUBLIC_LEADING : 0) |
                           (view->amnesiac ? LKS_PUBLIC_AMNESIAC : 0) |
                           (leads && replica->ring_full ? LKS_PUBLIC_RING_FULL : 0);
    lks_word_publish(&replica->words->term, view->term);
    lks_word_publish(&replica->words->flags, flags);
}

int lks_replica_drain(struct lks_replica *replica)
{
    int work = 0;
    while (replica->events_head != replica->events_tail && replica->fatal == 0) {
        struct lks_core_event *event =
            &replica->events[replica->events_head % LKS_REPLICA_EVENTS_MAX];
        const enum lks_core_role before = replica->view->role;
        event->now_ns = replica->now_ns;
        lks_core_step(replica->core, event, &replica->update);
        replica->events_head++;
        note_role(replica, before);
        if (replica->takeover.pending || replica->view->role != before) {
            lks_replica_note_takeover(replica, before, event->kind);
        }
        lks_replica_carry_out(replica, &replica->update);
        work++;
    }
    if (replica->events_head == replica->events_tail) {
        replica->events_head = replica->events_tail = 0; /* the same few lines, again and again */
    }
    return work;
}

struct lks_op *lks_replica_op(struct lks_replica *replica, enum lks_op_kind kind, uint32_t peer,
                              uint64_t *id)
{
    LKS_ASSERT(replica->ops_used < LKS_REPLICA_OPS_MAX);
    const uint32_t place = replica->ops_free;
    struct lks_op *op = &replica->ops[place];
    if (place == replica->ops_ever) {
        replica->ops_ever++;
        replica->ops_free = place + 1;
    } else {
        LKS_ASSERT(op->kind == LKS_OP_FREE);
        replica->ops_free = op->next_free;
    }
    replica->ops_used++;
    *op = (struct lks_op){.kind = kind, .peer = peer};
    *id = place + 1;
    return op;
}

void lks_replica_op_free(struct lks_replica *replica, struct lks_op *op)
{
    LKS_ASSERT(op->kind != LKS_OP_FREE);
    op->kind = LKS_OP_FREE;
    op->next_free = replica->ops_free;
    replica->ops_free = (uint32_t)(op - replica->ops);
    replica->ops_used--;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int make_parts(struct lks_replica *replica, const struct lks_identity *identity)
{
    const struct lks_replica_options *options = &replica->options;
    const uint64_t entry_max = options->entry_bytes_max < LKS_INGRESS_COMMAND_MAX
                                   ? options->entry_bytes_max
                                   : LKS_INGRESS_COMMAND_MAX;
    const struct lks_gateway_options gateway = {.pending_bytes_max = options->pending_bytes_max,
                                                .command_bytes_max = (uint32_t)entry_max};
    const struct lks_service_options service = {.command_bytes_max = entry_max};
    replica->core = aligned_alloc(64, lks_core_bytes());
    replica->ingress_buffer = malloc(LKS_INGRESS_COMMAND_MAX);
    if (replica->core == NULL || replica->ingress_buffer == NULL) {
        return -ENOMEM;
    }
    int rc = lks_gateway_new(&replica->gateway, &gateway);
    if (rc != 0) {
        return rc;
    }
    rc = lks_reads_init(replica);
    if (rc != 0) {
        return rc;
    }
    rc = options->service->open(&replica->service, &service);
    if (rc != 0) {
        return rc;
    }
    struct lks_public_words *scratch = lks_fabric_scratch(options->fabric);
    for (uint32_t p = 1; p <= options->replicas; p++) {
        struct lks_replica_peer *peer = &replica->peers[p];
        peer->seen = &scratch[p];
        if (lks_replica_is_peer(replica, p)) {
            lks_mailbox_init(&peer->mailbox, options->fabric, p, identity->incarnation);
            lks_ingress_producer_init(&peer->producer, options->fabric, p);
            lks_ingress_consumer_init(&peer->consumer, options->fabric, p, identity->incarnation,
                                      replica->ingress_buffer);
        }
    }
    return 0;
}

static void start_core(struct lks_replica *replica, const struct lks_identity *identity)
{
    const struct lks_replica_options *options = &replica->options;
    const uint32_t voters =
        identity->bootstrap_voters != 0 ? identity->bootstrap_voters : options->bootstrap_voters;
    struct lks_promise promise;
    lks_journal_promise(options->journal, &promise);
    const struct lks_core_options core = {
        .replica = options->replica,
        .replicas = options->replicas,
        .members_voters = (uint8_t)voters,
        .members_unknown = voters == 0,
        .incarnation = identity->incarnation,
        .promise_term = promise.term,
        .promise_candidate = promise.candidate,
        .promise_incarnation = promise.incarnation,
        .amnesiac = identity->amnesiac,
        .promise_lost = identity->promise_lost,
        .election_timeout_ns = options->election_timeout_ns,
        .heartbeat_ns = options->heartbeat_ns,
        .ring_bytes = lks_journal_ring_bytes(options->journal),
        .reserve_bytes = lks_journal_ring_bytes(options->journal) / LKS_REPLICA_RESERVE,
        .write_bytes_max = options->write_bytes_max,
        .writes_max = WRITES_MAX,
        .seed = options->seed,
        .now_ns = 0, /* set by the first step */
    };
    replica->core = lks_core_init(replica->core, &core, &replica->update);
    replica->view = lks_core_view(replica->core);
    publish_words(replica);
}

/* All zeros, but for what is set when it is used, and is most of it: queued events and operations,
 * messages, and the places in tables by partition that no partition has. */
static void clear(struct lks_replica *replica, uint32_t partitions)
{
    const size_t used_at = offsetof(struct lks_replica, events);
    const size_t used_end = offsetof(struct lks_replica, ops) + sizeof replica->ops;
    const size_t peers_at = offsetof(struct lks_replica, peers);
    const size_t staged_at = offsetof(struct lks_replica_peer, mailbox.staged);
    const size_t staged_end = staged_at + sizeof replica->peers[0].mailbox.staged;
    struct lks_taker *taker = &replica->taker;
    struct lks_recovery *recovery = &replica->recovery;
    LKS_ASSERT(partitions <= LKS_PARTITIONS_MAX);
    memset(replica, 0, used_at);
    memset((unsigned char *)replica + used_end, 0, peers_at - used_end);
    for (uint32_t p = 0; p <= LKS_REPLICAS_MAX; p++) {
        unsigned char *peer = (unsigned char *)&replica->peers[p];
        memset(peer, 0, staged_at);
        memset(peer + staged_end, 0, sizeof replica->peers[p] - staged_end);
    }
    memset(&replica->members, 0, sizeof replica->members);
    memset(&replica->reads, 0, sizeof replica->reads);
    memset(taker, 0, offsetof(struct lks_taker, ties));
    lks_ties_init(&taker->ties, partitions);
    memset(taker->again, 0, partitions * sizeof taker->again[0]);
    memset(taker->order, 0, partitions * sizeof taker->order[0]);
    memset(taker->points, 0, partitions * sizeof taker->points[0]);
    memset(taker->members, 0, partitions * sizeof taker->members[0]);
    memset(recovery, 0, offsetof(struct lks_recovery, phase));
    memset(recovery->phase, 0, partitions * sizeof recovery->phase[0]);
    memset(recovery->left_out, 0, partitions * sizeof recovery->left_out[0]);
    memset(recovery->list, 0, partitions * sizeof recovery->list[0]);
    memset(&replica->install, 0, sizeof replica->install);
}

_Static_assert(offsetof(struct lks_replica, members) ==
                       offsetof(struct lks_replica, peers) +
                           sizeof((struct lks_replica *)0)->peers &&
                   offsetof(struct lks_replica, install) + sizeof(struct lks_install) ==
                       sizeof(struct lks_replica),
               "what clear() does part by part, from the peers on, is all there is");

int lks_replica_new(struct lks_replica **out, const struct lks_replica_options *options,
                    struct lks_error *err)
{
    LKS_ASSERT(options->service->abi == LKS_SERVICE_ABI);
    LKS_ASSERT(options->durability != LKS_DURABILITY_AUTO);
    LKS_ASSERT(options->snapshots == NULL || lks_snapshots_partitions(options->snapshots) ==
                                                 options->service->partitions);
    struct lks_replica *replica = aligned_alloc(64, (sizeof *replica + 63u) & ~(size_t)63u);
    if (replica == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for a replica");
    }
    clear(replica, options->service->partitions);
    replica->options = *options;
    if (options->write_bytes_max == 0) {
        replica->options.write_bytes_max = WRITE_BYTES_MAX;
    }
    LKS_ASSERT(replica->options.write_bytes_max % LKS_ENTRY_ALIGN == 0);
    replica->words = lks_fabric_words(options->fabric);
    replica->control = lks_journal_control(options->journal);
    replica->log_place = LKS_JOURNAL_HEAD_BYTES;
    lks_reply_init(&replica->reply);
    struct lks_identity identity;
    lks_journal_identity(options->journal, &identity);
    replica->session = lks_session_make(options->replica, identity.incarnation);
    replica->floor = identity.floor;
    replica->floor_flushed = identity.floor;
    replica->floor_target = identity.floor;
    replica->taker.check_offset = UINT64_MAX;
    replica->members.applied.version = LKS_MEMBERS_VERSION;
    replica->members.expected = UINT32_MAX; /* as the fabric does, at the beginning */
    int rc = make_parts(replica, &identity);
    if (rc != 0) {
        lks_replica_free(replica);
        return lks_error_set(err, rc, "replica %u cannot start: %s", options->replica,
                             lks_error_text(rc));
    }
    rc = lks_execution_init(replica, err);
    if (rc != 0) {
        lks_replica_free(replica);
        return rc;
    }
    start_core(replica, &identity);
    lks_replica_carry_out(replica, &replica->update);
    for (uint32_t p = 1; p <= options->replicas; p++) {
        if (lks_replica_is_peer(replica, p)) {
            (void)lks_fabric_connect(options->fabric, p); /* only fails for unknown peers */
        }
    }
    *out = replica;
    return 0;
}

void lks_replica_free(struct lks_replica *replica)
{
    if (replica == NULL) {
        return;
    }
    lks_execution_fini(replica);
    if (replica->service != NULL) {
        replica->options.service->close(replica->service);
    }
    lks_replica_recover_fini(replica);
    lks_install_fini(replica);
    lks_gateway_free(replica->gateway);
    lks_reads_fini(replica);
    lks_reply_fini(&replica->reply);
    free(replica->ingress_buffer);
    free(replica->core);
    free(replica);
}

/* ---- one step ------------------------------------------------------------------------------- */

/* What a follower sees in its own memory. */
static int watch_control_words(struct lks_replica *replica)
{
    if (!replica->recovered || replica->view->role == LKS_CORE_STARTING) {
        return 0; /* what stands there is of an earlier life */
    }
    int work = 0;
    if (replica->view->grant.peer != 0) {
        const uint64_t commit = lks_word_read(&replica->control->commit);
        if (commit > replica->view->commit_offset) {
            lks_replica_event(replica, LKS_EVENT_COMMIT_SEEN, 0)->offset = commit;
            work += lks_replica_drain(replica);
        }
    }
    return work + lks_replica_acknowledge(replica);
}

static void warn_about_amnesia(struct lks_replica *replica)
{
    if (replica->view->majority_amnesiac && replica->view->role != LKS_CORE_LEADER &&
        (replica->warned_ns == 0 || replica->now_ns - replica->warned_ns > WARN_EVERY_NS)) {
        replica->warned_ns = replica->now_ns;
        lks_log_error(replica->options.log_sink,
                      "a majority of replicas may have forgotten acknowledged entries (power lost "
                      "in durability mode memory, or new journals under old names): the cluster "
                      "does not start; `lockstep recover --accept-loss` accepts the loss");
    }
}

/* A busy replica looks into its mailboxes now and then; an idle one always. */
static int look_into_mailboxes(struct lks_replica *replica, bool now)
{
    if (!now && replica->now_ns - replica->messages_ns < MESSAGES_EVERY_NS) {
        return 0;
    }
    if (now && replica->now_ns == replica->messages_ns) {
        return 0; /* this step has looked already */
    }
    replica->messages_ns = replica->now_ns;
    return lks_replica_poll_messages(replica);
}

/*
 * What such a write completes is looked at here, where nobody waits for an answer, not in the way
 * of the next command; and the commit word that follows it leaves with this step's. What that lets
 * wait in turn goes out too: no commit word passes the bytes that it speaks of.
 */
static int send_what_waited(struct lks_replica *replica)
{
    const bool waited = replica->deferred_count != 0;
    lks_replica_send_deferred(replica);
    const int work = waited ? lks_replica_poll_fabric(replica) : 0;
    lks_replica_send_deferred(replica);
    return work;
}

int lks_replica_step(struct lks_replica *replica, uint64_t now_ns, uint64_t realtime_ns,
                     struct lks_error *err)
{
    int work = 0;
    if (now_ns > replica->now_ns) {
        replica->now_ns = now_ns;
    }
    replica->realtime_ns = realtime_ns;
    work += lks_replica_poll_fabric(replica);
    work += look_into_mailboxes(replica, false);
    if (replica->now_ns >= replica->view->deadline_ns) {
        (void)lks_replica_event(replica, LKS_EVENT_TICK, 0);
    }
    (void)lks_replica_drain(replica);
    work += watch_control_words(replica);
    for (int round = 0; round < ROUNDS_PER_STEP && replica->fatal == 0; round++) {
        work += send_what_waited(replica);
        if (replica->fatal != 0 || lks_replica_propose(replica) == 0) {
            break;
        }
        work += 1 + lks_replica_poll_fabric(replica);
        work += lks_replica_apply(replica); /* answers go before the writes that can wait */
    }
    if (replica->fatal == 0) {
        work += lks_replica_apply(replica);
        work += lks_replica_members_step(replica);
        work += send_what_waited(replica);
        lks_replica_send_commit_words(replica);
        work += lks_replica_forward(replica);
        work += lks_reads_step(replica);
        work += lks_replica_recover_step(replica, work > 0);
        work += lks_install_step(replica);
        work += lks_replica_snapshot_step(replica);
        lks_replica_judge_fitness(replica);
        (void)lks_replica_drain(replica); /* of a base that has moved */
        if (work == 0) {
            work += look_into_mailboxes(replica, true); /* never "nothing to do" unseen */
        }
        warn_about_amnesia(replica);
        publish_words(replica);
    }
    if (replica->fatal != 0) {
        if (err != NULL) {
            *err = replica->fatal_error;
        }
        return replica->fatal;
    }
    return work;
}

uint64_t lks_replica_deadline_ns(const struct lks_replica *replica)
{
    uint64_t deadline = replica->view->deadline_ns;
    bool greeting = replica->ack.owed != 0;
    LKS_QUORUM_EACH(p, replica->connected)
    {
        const struct lks_mailbox *mailbox = &replica->peers[p].mailbox;
        greeting = greeting || !mailbox->peer_established || replica->peers[p].waiting_count != 0;
    }
    if (greeting && replica->now_ns + HANDSHAKE_POLL_NS < deadline) {
        deadline = replica->now_ns + HANDSHAKE_POLL_NS;
    }
    const uint64_t watch_ns = replica->options.heartbeat_ns / WATCHES_PER_BEAT;
    const bool wait = replica->clients_wait || lks_reads_waiting(replica) != 0;
    if (wait && replica->now_ns + watch_ns < deadline) {
        deadline = replica->now_ns + watch_ns;
    }
    const uint64_t members_ns = lks_replica_members_deadline_ns(replica);
    deadline = members_ns < deadline ? members_ns : deadline;
    const uint64_t execution_ns = lks_replica_execution_deadline_ns(replica);
    deadline = execution_ns < deadline ? execution_ns : deadline;
    const uint64_t tick_ns = lks_replica_tick_deadline_ns(replica);
    return tick_ns < deadline ? tick_ns : deadline;
}

/* ---- clients -------------------------------------------------------------------------------- */

static bool leader_ring_full(const struct lks_replica *replica)
{
    if (replica->view->role == LKS_CORE_LEADER) {
        return replica->ring_full;
    }
    const uint32_t leader = replica->view->leader;
    return leader != 0 &&
           (lks_word_read(&replica->peers[leader].seen->flags) & LKS_PUBLIC_RING_FULL) != 0;
}

static bool is_leaderless(const struct lks_replica *replica)
{
    const uint64_t patience = NO_LEADER_TIMEOUTS * replica->options.election_timeout_ns;
    return replica->leaderless_since_ns != 0 &&
           replica->now_ns - replica->leaderless_since_ns > patience;
}

static int submit_read(struct lks_replica *replica, const void *command, size_t bytes,
                       uint64_t cookie, bool ordered)
{
    if (is_leaderless(replica)) {
        return -LKS_ENOLEADER;
    }
    struct lks_gateway_counts counts;
    lks_gateway_counts(replica->gateway, &counts);
    const struct lks_read_arrival arrival = {.command = command,
                                             .bytes = bytes,
                                             .cookie = cookie,
                                             .after = counts.submitted,
                                             .ordered = ordered};
    return lks_reads_submit(replica, &arrival);
}

static int submit_command(struct lks_replica *replica, const void *command, size_t bytes,
                          uint64_t cookie)
{
    if (leader_ring_full(replica)) {
        return -LKS_ERINGFULL;
    }
    if (is_leaderless(replica)) {
        return -LKS_ENOLEADER;
    }
    uint64_t sequence = 0;
    return lks_gateway_submit(replica->gateway, command, bytes, cookie, &sequence);
}

int lks_replica_submit_ordered(struct lks_replica *replica, const void *command, size_t bytes,
                               uint64_t cookie, bool ordered)
{
    if (bytes > replica->options.entry_bytes_max) {
        return -LKS_ETOOBIG;
    }
    return replica->options.service->is_read(command, bytes)
               ? submit_read(replica, command, bytes, cookie, ordered)
               : submit_command(replica, command, bytes, cookie);
}

int lks_replica_submit(struct lks_replica *replica, const void *command, size_t bytes,
                       uint64_t cookie)
{
    return lks_replica_submit_ordered(replica, command, bytes, cookie, true);
}

/* Nobody else could lead. */
static bool is_alone(const struct lks_replica *replica)
{
    return (replica->view->members.voters & ~(1u << replica->options.replica)) == 0;
}

bool lks_replica_stop(struct lks_replica *replica, uint64_t now_ns)
{
    if (replica->stop_since_ns == 0) {
        replica->stop_since_ns = now_ns > 0 ? now_ns : 1;
        (void)lks_replica_event(replica, LKS_EVENT_TRANSFER, 0);
        if (!is_alone(replica)) {
            return false;
        }
    } else if (replica->view->role == LKS_CORE_LEADER && !replica->view->transferring) {
        (void)lks_replica_event(replica, LKS_EVENT_TRANSFER, 0); /* elected since */
    }
    struct lks_gateway_counts counts;
    lks_gateway_counts(replica->gateway, &counts);
    const bool answered = counts.answered == counts.submitted &&
                          lks_reads_waiting(replica) == 0 && lks_execution_is_quiet(replica);
    const bool done = is_alone(replica) ||
                      (answered && replica->view->role != LKS_CORE_LEADER) ||
                      now_ns - replica->stop_since_ns >= STOP_PATIENCE_NS;
    if (done) {
        lks_replica_raise_floor(replica, true);
    }
    return done;
}

/* ---- status --------------------------------------------------------------------------------- */

const char *lks_role_name(enum lks_role role)
{
    return lks_core_role_name((enum lks_core_role)role);
}

static void peer_status(const struct lks_replica *replica, uint32_t p,
                        struct lks_peer_status *status)
{
    const struct lks_replica_peer *peer = &replica->peers[p];
    const uint64_t tail = replica->view->tail.offset;
    status->connected = peer->connected;
    status->voter = replica->view->peers[p].voter;
    status->learner = replica->view->peers[p].learner;
    status->manual = (replica->members.applied.manual >> p & 1u) != 0;
    status->caught_up = replica->view->peers[p].caught_up;
    status->installing = replica->view->peers[p].installing;
    status->granted = replica->view->peers[p].path_open;
    status->written_offset = replica->view->peers[p].written_offset;
    status->durable_offset = replica->view->peers[p].durable_offset;
    status->applied_index = lks_word_read(&peer->seen->applied_index);
    status->lag_bytes = tail > status->durable_offset ? tail - status->durable_offset : 0;
    status->durability = peer->durability;
    memcpy(status->medium, peer->medium, sizeof status->medium);
}

static void snapshots_status(const struct lks_replica *replica,
                             struct lks_snapshots_status *status)
{
    const struct lks_recovery *recovery = &replica->recovery;
    const struct lks_taker *taker = &replica->taker;
    status->partitions = replica->options.service->partitions;
    status->partitions_ready = recovery->active ? recovery->ready : status->partitions;
    if (!replica->recovered) {
        status->partitions_ready = 0;
    }
    status->waiting = recovery->active ? lks_waiting_count(recovery->waiting) : 0;
    status->restored_bytes = recovery->restored_bytes;
    if (replica->options.snapshots == NULL) {
        return;
    }
    struct lks_snapshots_counts counts;
    lks_snapshots_counts(replica->options.snapshots, &counts);
    status->enabled = true;
    status->writing = taker->phase != LKS_TAKER_IDLE;
    status->writing_bytes = taker->written;
    status->writing_expected = taker->expected;
    status->taken = taker->taken;
    status->failed = taker->failed;
    status->failing_ns =
        taker->failing_since_ns != 0 ? replica->now_ns - taker->failing_since_ns : 0;
    status->unfit = replica->fitness.unfit;
    status->hand_overs = replica->fitness.hand_overs;
    status->oldest_offset = taker->points[0];
    status->newest_offset = taker->points[status->partitions - 1];
    status->area_bytes = counts.area_bytes;
    status->used_bytes = counts.used_bytes;
    const struct lks_install *install = &replica->install;
    status->donor = install->phase != LKS_INSTALL_IDLE ? install->donor : 0;
    status->install_bytes = install->bytes_done;
    status->install_expected = install->bytes_expected;
    status->installed = install->ended;
}

static void reads_status(const struct lks_replica *replica, struct lks_reads_status *status)
{
    struct lks_read_queue_counts counts;
    lks_read_queue_counts(replica->reads.queue, &counts);
    status->taken = counts.arrived;
    status->waiting = counts.waiting;
    status->requests = counts.requests;
    status->rounds = replica->reads.rounds;
}

void lks_replica_status(const struct lks_replica *replica, struct lks_replica_status *status)
{
    const struct lks_core_view *view = lks_core_view(replica->core); /* fills in the peers */
    struct lks_gateway_counts counts;
    struct lks_identity identity;
    lks_gateway_counts(replica->gateway, &counts);
    lks_journal_identity(replica->options.journal, &identity);
    memset(status, 0, sizeof *status);
    status->role = (enum lks_role)view->role;
    status->leader = view->leader;
    status->term = view->term;
    status->incarnation = identity.incarnation;
    status->commit_offset = view->commit_offset;
    status->applied_index = lks_word_read(&replica->words->applied_index);
    status->applied_offset = lks_word_read(&replica->words->applied_offset);
    const bool own_log = view->tail.offset > replica->applied.offset;
    status->last_index = own_log ? view->tail.index : replica->applied.index;
    status->tail_offset = own_log ? view->tail.offset : replica->applied.offset;
    status->base_offset = replica->base_offset;
    status->ring_bytes = lks_journal_ring_bytes(replica->options.journal);
    status->pending = counts.submitted - counts.answered + lks_reads_waiting(replica) +
                      (lks_execution_is_quiet(replica) ? 0 : 1);
    reads_status(replica, &status->reads);
    status->elections = view->elected_count;
    status->amnesiac = view->amnesiac;
    status->members = view->members.number;
    status->members_committed = view->members_committed;
    status->voters = view->members.voters;
    status->learners = view->members.learners;
    status->removed = view->removed;
    status->serving = view->role == LKS_CORE_LEADER ? view->established : view->grant.peer != 0;
    status->durability = replica->options.durability;
    status->takeover = replica->takeover.last;
    snapshots_status(replica, &status->snapshots);
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        if (lks_replica_is_peer(replica, p)) {
            peer_status(replica, p, &status->peers[p]);
        }
    }
}

const char *lks_replica_member_address(const struct lks_replica *replica, uint32_t id)
{
    LKS_ASSERT(id >= 1 && id <= LKS_MEMBERS_SLOTS);
    return replica->members.applied.addresses[id - 1].clients;
}

uint64_t lks_replica_hash(struct lks_replica *replica, uint64_t *index)
{
    const struct lks_service *service = replica->options.service;
    uint64_t hash = lks_sessions_hash(&replica->sessions);
    *index = 0;
    if (!lks_execution_is_quiet(replica)) {
        return 0;
    }
    for (uint32_t i = 0; i < service->partitions; i++) {
        hash = (hash ^ service->hash(replica->service, i)) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    *index = replica->recovery.active ? 0 : replica->applied.index;
    return hash;
}
