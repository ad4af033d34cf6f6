/*
 * The leader's intake: commands of its own clients and of the other gateways, appended to the own
 * log in batches. It takes only the next sequence of each session, counted over its whole log, so
 * that a repeated command is logged once and no log ever holds a gap. Replica's thread.
 */
#include "node/replica_internal.h"

#include <errno.h>
#include <inttypes.h>

#define COMMANDS_PER_SOURCE_MAX 256u
#define FULL_TIMEOUTS 40u /* election timeouts that commands wait for room in the ring */
/* Where something expires and reads come, the logged time is moved on when it is so far behind; a
 * read waits for that if it is even more. (It shows in what TTL says.) */
#define STALE_NS UINT64_C(10000000)
#define STALE_MAX_NS UINT64_C(100000000)
#define SAY_EVERY_NS UINT64_C(10000000000)
#define OFFER_BACK_OFF_NS UINT64_C(100000000) /* for a gateway that sends nonsense */

/* A new leader's log may end in entries that are not applied yet: their sessions and times count
 * (time never goes back, also across leaders). */
static void prepare(struct lks_replica *replica, uint64_t term)
{
    if (replica->appended_term == term) {
        return;
    }
    replica->appended_term = term;
    replica->appended_sessions = replica->sessions;
    replica->appended_time_ns = replica->applied_time_ns;
    struct lks_log_point cursor = replica->applied;
    struct lks_entry entry;
    const uint64_t tail = replica->view->tail.offset;
    while (lks_journal_next(replica->options.journal, &cursor, tail, &entry) == 0) {
        if (entry.header->kind == LKS_ENTRY_COMMAND) {
            (void)lks_sessions_apply(&replica->appended_sessions, entry.header->session,
                                     entry.header->sequence);
        }
        if (entry.header->time_ns > replica->appended_time_ns) {
            replica->appended_time_ns = entry.header->time_ns;
        }
    }
    LKS_ASSERT(cursor.offset == tail);
    replica->appended = cursor;
}

static uint64_t next_time(struct lks_replica *replica)
{
    if (replica->realtime_ns > replica->appended_time_ns) {
        replica->appended_time_ns = replica->realtime_ns;
    }
    return replica->appended_time_ns;
}

static struct lks_core_event *appended_event(struct lks_replica *replica, uint64_t before)
{
    const bool durable = lks_replica_persist_appended(replica, before, replica->appended.offset);
    struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_APPENDED, 0);
    event->position = lks_replica_position(&replica->appended);
    event->offset = durable ? replica->appended.offset : 0;
    return event;
}

/* Whether an entry without contents has room. Bytes that writes in flight are read from count as
 * used, like those above the base. */
static bool noop_has_room(const struct lks_replica *replica)
{
    const uint64_t end = replica->appended.offset + lks_entry_span(0);
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    return end <= replica->base_offset + ring && end <= replica->view->append_limit;
}

void lks_replica_append_noop(struct lks_replica *replica, uint64_t term)
{
    prepare(replica, term);
    if (!noop_has_room(replica)) {
        if (replica->noop_due != term) {
            lks_log_warn(replica->options.log_sink,
                         "term %" PRIu64 " begins when the full ring has room for its first entry",
                         term);
        }
        replica->noop_due = term;
        replica->ring_full = replica->options.snapshots == NULL; /* (then it stays so) */
        lks_replica_snapshots_press(replica, replica->applied.offset);
        lks_replica_advance_base(replica, true);
        return;
    }
    replica->noop_due = 0;
    const struct lks_entry_draft draft = {
        .kind = LKS_ENTRY_NOOP, .term = term, .time_ns = next_time(replica)};
    const uint64_t before = replica->appended.offset;
    const int rc = lks_journal_append(replica->options.journal, &replica->appended, &draft);
    LKS_ASSERT(rc == 0); /* no padding comes before it: it fits wherever a ring ends */
    (void)appended_event(replica, before);
}

/* The core has asked for it, and still leads. */
static void retry_noop(struct lks_replica *replica)
{
    if (replica->view->role == LKS_CORE_LEADER && replica->view->term == replica->noop_due) {
        lks_replica_append_noop(replica, replica->noop_due);
    } else {
        replica->noop_due = 0;
    }
}

static void say_slowed(struct lks_replica *replica)
{
    if (replica->slowed_ns == 0 || replica->now_ns - replica->slowed_ns >= SAY_EVERY_NS) {
        replica->slowed_ns = replica->now_ns > 0 ? replica->now_ns : 1;
        lks_log_info(replica->options.log_sink,
                     "commands are slowed down: a replica that installs snapshots would never "
                     "catch up; a larger ring would spare that");
    }
}

/* Commands wait until the base has moved; only a ring that stays full makes the gateways refuse
 * them. */
static __attribute__((noinline)) void wait_for_room(struct lks_replica *replica)
{
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    if (replica->view->braking) {
        say_slowed(replica);
        return; /* the base waits, too; a bounded time */
    }
    if (replica->full_since_ns == 0) {
        replica->full_since_ns = replica->now_ns;
    }
    const uint64_t quarter = replica->base_offset + ring / 4;
    const uint64_t applied = replica->applied.offset;
    lks_replica_snapshots_press(replica, quarter < applied ? quarter : applied);
    lks_replica_advance_base(replica, true);
    const bool hopeless = replica->options.snapshots == NULL;
    const uint64_t patience = hopeless ? 0 : FULL_TIMEOUTS * replica->options.election_timeout_ns;
    if (!replica->ring_full && replica->now_ns - replica->full_since_ns >= patience) {
        replica->ring_full = true;
        lks_log_error(replica->options.log_sink,
                      "the log ring (%" PRIu64 " bytes) is full, and %s: commands are refused",
                      ring, hopeless ? "no snapshots are taken"
                                     : "the snapshots that would make room do not come");
    }
}

/* Room for any command and the padding before it, with a reserve for the no-ops of elections. */
static inline bool has_room(struct lks_replica *replica)
{
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    const uint64_t span = lks_entry_span(replica->options.entry_bytes_max);
    const uint64_t end = replica->appended.offset + 2 * span + ring / LKS_REPLICA_RESERVE;
    if (end > replica->base_offset + ring || end > replica->view->append_limit) {
        wait_for_room(replica);
        return false;
    }
    if (replica->full_since_ns != 0 || replica->ring_full) {
        replica->full_since_ns = 0;
        replica->ring_full = false;
    }
    return true;
}

/* What the command touches, for its entry: asked once, here (docs/scheduling.md). NULL: there is no
 * room for it beside so long a command, which then conflicts with all. */
static const struct lks_entry_footprint *name_footprint(const struct lks_replica *replica,
                                                        const void *data, uint64_t bytes,
                                                        struct lks_entry_footprint *logged)
{
    const struct lks_service *service = replica->options.service;
    struct lks_footprint touched;
    lks_footprint_clear(&touched);
    service->footprint(data, bytes, &touched);
    lks_footprint_encode(logged, service->partitions, &touched);
    const bool fits = bytes + LKS_ENTRY_FOOTPRINT_MAX <= replica->options.entry_bytes_max;
    return fits || logged->bytes == LKS_ENTRY_FOOTPRINT_HERE ? logged : NULL;
}

static void append(struct lks_replica *replica, uint64_t session, uint64_t sequence,
                   const void *data, uint64_t bytes)
{
    struct lks_entry_footprint logged;
    const struct lks_entry_draft draft = {
        .kind = LKS_ENTRY_COMMAND,
        .term = replica->appended_term,
        .session = session,
        .sequence = sequence,
        .time_ns = next_time(replica),
        .footprint = name_footprint(replica, data, bytes, &logged),
        .payload = data,
        .payload_bytes = bytes,
    };
    const int rc = lks_journal_append(replica->options.journal, &replica->appended, &draft);
    LKS_ASSERT(rc == 0); /* room and size were checked */
    (void)lks_sessions_apply(&replica->appended_sessions, session, sequence);
}

bool lks_replica_append_members(struct lks_replica *replica,
                                const struct lks_members_record *record)
{
    LKS_ASSERT(replica->appended_term == replica->view->term);
    if (!has_room(replica)) {
        return false;
    }
    const struct lks_entry_draft draft = {.kind = LKS_ENTRY_MEMBERS,
                                          .term = replica->appended_term,
                                          .time_ns = next_time(replica),
                                          .payload = record,
                                          .payload_bytes = sizeof *record};
    const uint64_t before = replica->appended.offset;
    const int rc = lks_journal_append(replica->options.journal, &replica->appended, &draft);
    LKS_ASSERT(rc == 0); /* smaller than the greatest command, for which there is room */
    appended_event(replica, before)->members = lks_members_of(record, replica->appended.offset);
    (void)lks_replica_drain(replica);
    return true;
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t next_expiry_ns(const struct lks_replica *replica)
{
    return replica->options.service->next_expiry_ns(replica->service);
}

static bool may_tick(const struct lks_replica *replica)
{
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    const uint64_t end = replica->appended.offset + lks_entry_span(0) + ring / LKS_REPLICA_RESERVE;
    return replica->view->accepts && replica->appended_term == replica->view->term &&
           end <= replica->base_offset + ring && end <= replica->view->append_limit;
}

/* Realtime at which a tick is due. What the log says already is not said again. */
static uint64_t tick_due_ns(const struct lks_replica *replica)
{
    const uint64_t expiry_ns = next_expiry_ns(replica);
    return replica->reads.wants_time                ? 0
           : expiry_ns > replica->appended_time_ns ? expiry_ns
                                                    : UINT64_MAX;
}

/* No read may observe an expiry that the log does not contain: so the log is made to contain it
 * (design 3.5). */
static int take_tick(struct lks_replica *replica)
{
    if (replica->realtime_ns < tick_due_ns(replica) || !may_tick(replica)) {
        return 0;
    }
    replica->reads.wants_time = false;
    if (next_time(replica) == replica->applied_time_ns) {
        return 0; /* the clock stands behind the log: a tick would say nothing */
    }
    const struct lks_entry_draft draft = {.kind = LKS_ENTRY_TICK,
                                          .term = replica->appended_term,
                                          .time_ns = replica->appended_time_ns};
    const int rc = lks_journal_append(replica->options.journal, &replica->appended, &draft);
    LKS_ASSERT(rc == 0); /* no padding comes before it, as before a no-op */
    return 1;
}

bool lks_replica_time_is_logged(struct lks_replica *replica, uint64_t wanted_ns)
{
    const uint64_t expiry_ns = next_expiry_ns(replica);
    if (expiry_ns == UINT64_MAX) {
        return true; /* time changes nothing */
    }
    uint64_t needed_ns = wanted_ns > STALE_MAX_NS ? wanted_ns - STALE_MAX_NS : 0;
    if (expiry_ns <= wanted_ns && expiry_ns > needed_ns) {
        needed_ns = expiry_ns;
    }
    const bool logged = replica->applied_time_ns >= needed_ns;
    if (!may_tick(replica)) {
        return true; /* reads do not wait for room in the ring */
    }
    if (replica->appended_time_ns < needed_ns ||
        replica->appended_time_ns + STALE_NS < replica->realtime_ns) {
        replica->reads.wants_time = true;
    }
    return logged;
}

uint64_t lks_replica_tick_deadline_ns(const struct lks_replica *replica)
{
    if (!may_tick(replica)) {
        return UINT64_MAX;
    }
    const uint64_t due_ns = tick_due_ns(replica);
    if (due_ns == UINT64_MAX) {
        return UINT64_MAX;
    }
    return replica->now_ns + (due_ns > replica->realtime_ns ? due_ns - replica->realtime_ns : 0);
}

/* ---- commands -------------------------------------------------------------------------------- */

static int take_own(struct lks_replica *replica)
{
    struct lks_gateway_command command;
    int taken = 0;
    for (uint32_t i = 0; i < COMMANDS_PER_SOURCE_MAX && has_room(replica) &&
                         lks_gateway_next(replica->gateway, &command);
         i++) {
        const enum lks_session_verdict verdict =
            lks_sessions_expect(&replica->appended_sessions, replica->session, command.sequence);
        if (verdict == LKS_SESSION_NEXT) {
            append(replica, replica->session, command.sequence, command.data, command.bytes);
            taken++;
        } else {
            LKS_ASSERT(verdict == LKS_SESSION_DUPLICATE); /* logged under an earlier leader */
        }
        lks_gateway_sent(replica->gateway);
    }
    return taken;
}

static void close_ingress(struct lks_replica *replica, uint32_t p, const char *why)
{
    lks_log_warn(replica->options.log_sink, "commands from replica %u: %s; offered anew", p, why);
    lks_ingress_consumer_close(&replica->peers[p].consumer);
    replica->peers[p].offered_term = 0;
    replica->peers[p].offer_after_ns = replica->now_ns + OFFER_BACK_OFF_NS;
}

/* A command may come in the middle of a step that takes long: a life counted from the step's begin
 * would end before its time. (Own commands were submitted before it.) */
static void look_at_clock(struct lks_replica *replica)
{
    uint64_t (*const clock_ns)(void) = replica->options.realtime_clock_ns;
    const uint64_t now_ns = clock_ns != NULL ? clock_ns() : 0;
    if (now_ns > replica->realtime_ns) {
        replica->realtime_ns = now_ns;
    }
}

static int take_from(struct lks_replica *replica, uint32_t p)
{
    struct lks_replica_peer *peer = &replica->peers[p];
    int taken = 0;
    for (uint32_t i = 0; i < COMMANDS_PER_SOURCE_MAX && lks_ingress_waits(&peer->consumer) &&
                         has_room(replica);
         i++) {
        struct lks_ingress_command command;
        const int rc = lks_ingress_pop(&peer->consumer, &command);
        if (rc == -ENODATA) {
            break;
        }
        if (rc != 0 || command.bytes > replica->options.entry_bytes_max ||
            lks_session_replica(command.session) != p) {
            close_ingress(replica, p, rc != 0 ? "damaged" : "not of this gateway, or too large");
            break;
        }
        const enum lks_session_verdict verdict = lks_sessions_expect(
            &replica->appended_sessions, command.session, command.sequence);
        if (verdict == LKS_SESSION_NEXT) {
            look_at_clock(replica);
            append(replica, command.session, command.sequence, command.data, command.bytes);
            peer->command_end = replica->appended.offset;
            taken++;
        } else if (verdict != LKS_SESSION_DUPLICATE) {
            close_ingress(replica, p, "a sequence is missing");
            break;
        } else {
            peer->command_end = replica->appended.offset; /* it waits for the answer all the same */
        }
    }
    (void)lks_ingress_return_credits(&peer->consumer);
    return taken;
}

bool lks_replica_offer_ingress(struct lks_replica *replica)
{
    bool offered = false;
    const struct lks_members *members = &replica->view->members;
    LKS_QUORUM_EACH(p, replica->connected & (members->voters | members->learners))
    {
        struct lks_replica_peer *peer = &replica->peers[p];
        if (peer->offered_term == replica->view->term ||
            replica->now_ns < peer->offer_after_ns) {
            continue;
        }
        struct lks_ingress_offer offer;
        lks_ingress_consumer_offer(&peer->consumer, replica->view->term, &offer);
        if (lks_replica_send_offer(replica, p, &offer)) {
            peer->offered_term = replica->view->term;
            peer->command_end = replica->appended.offset;
            offered = true;
        }
    }
    return offered;
}

int lks_replica_propose(struct lks_replica *replica)
{
    if (replica->noop_due != 0) {
        retry_noop(replica);
    }
    if (!replica->view->accepts) {
        return 0;
    }
    LKS_ASSERT(replica->appended_term == replica->view->term);
    if (replica->routed_term != replica->view->term) {
        replica->routed_term = replica->view->term;
        for (uint32_t p = 1; p <= replica->options.replicas; p++) {
            lks_ingress_producer_close(&replica->peers[p].producer);
            replica->peers[p].woken_at = 0;
        }
        lks_gateway_rewind(replica->gateway);
    }
    (void)lks_replica_offer_ingress(replica);
    const uint64_t before = replica->appended.offset;
    int taken = take_own(replica);
    LKS_QUORUM_EACH(p, replica->connected)
    {
        taken += take_from(replica, p);
    }
    taken += take_tick(replica);
    if (taken > 0) {
        (void)appended_event(replica, before);
        taken += lks_replica_drain(replica);
    }
    return taken;
}
