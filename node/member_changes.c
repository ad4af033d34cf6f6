/*
 * Changes of the cluster's members: entries of the log that bring them, what an administrator asks
 * of the leader, learners that have caught up, and the end of a replica that was removed.
 *
 * The core decides whether a change may be appended (consensus/core.h, lks_core_members_check); it
 * is answered when this replica has applied it. The next change begins from the applied record, so
 * what is proposed always follows what has committed. Replica's thread.
 */
#include "node/replica_internal.h"

#include "node/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TRANSFER_TIMEOUTS 40u /* election timeouts that a hand-over may take */

/* " 1 2 3": the replicas of a mask. */
static const char *mask_text(uint32_t mask, char text[32])
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t id = 1; id <= LKS_MEMBERS_SLOTS; id++) {
        if ((mask >> id & 1u) != 0) {
            at += (size_t)snprintf(text + at, 32 - at, " %u", id);
        }
    }
    return at != 0 ? text : " none";
}

/* ---- what the log says ---------------------------------------------------------------------- */

struct lks_members lks_replica_applied_members(const struct lks_replica *replica)
{
    return lks_members_of(&replica->members.applied, replica->members.applied_end);
}

bool lks_replica_read_members(struct lks_replica *replica, const struct lks_entry *entry,
                              struct lks_members_record *record)
{
    const int rc = lks_members_record_read(record, entry->payload, entry->header->payload_bytes);
    if (rc != 0) {
        lks_replica_fail(replica, -LKS_EVERSION,
                         "entry %" PRIu64 " holds members of a form that this binary does not "
                         "know: run the newer Lockstep that wrote it", entry->header->index);
    }
    return rc == 0;
}

void lks_replica_note_members(struct lks_replica *replica, const struct lks_entry *entry,
                              uint64_t end_offset, struct lks_members *members)
{
    struct lks_members_record record;
    if (entry->header->kind == LKS_ENTRY_MEMBERS &&
        lks_replica_read_members(replica, entry, &record)) {
        *members = lks_members_of(&record, end_offset);
    }
}

void lks_replica_take_members(struct lks_replica *replica,
                              const struct lks_members_record *record, uint64_t end_offset)
{
    replica->members.applied = *record;
    replica->members.applied_end = end_offset;
}

void lks_replica_tell_members(struct lks_replica *replica)
{
    if (replica->members.applied.number != 0) {
        struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_MEMBERS_APPLIED, 0);
        event->members = lks_replica_applied_members(replica);
    }
}

void lks_replica_apply_members(struct lks_replica *replica, const struct lks_entry *entry)
{
    struct lks_members_record record;
    char voters[32];
    char learners[32];
    if (!lks_replica_read_members(replica, entry, &record)) {
        return;
    }
    LKS_ASSERT(record.number > replica->members.applied.number);
    lks_replica_take_members(replica, &record, replica->applied.offset);
    lks_replica_tell_members(replica);
    lks_log_info(replica->options.log_sink, "members %" PRIu64 ": voters%s, learners%s",
                 record.number, mask_text(record.voters, voters),
                 mask_text(record.learners, learners));
}

/* ---- asking for a change -------------------------------------------------------------------- */

/* Why the core refuses, in words. */
static int refuse(const struct lks_replica *replica, const struct lks_member_request *request,
                  uint32_t voters, int code, struct lks_error *err)
{
    char text[32];
    switch (code) {
    case -LKS_ENOLEADER:
        return lks_error_set(err, code, "this replica does not lead");
    case -EPERM:
        return lks_error_set(err, code,
                             "replica %u leads: hand over first with `lockstep member transfer`",
                             request->id);
    case -EAGAIN:
        return lks_error_set(err, code,
                             "replica %u has not caught up yet (%" PRIu64
                             " bytes behind): it can be promoted when it has", request->id,
                             replica->view->tail.offset -
                                 replica->view->peers[request->id].durable_offset);
    case -ENOLINK:
        return lks_error_set(err, code,
                             "of the voters that would be (%s ) no majority is connected and holds "
                             "the log: start those that are down first",
                             mask_text(voters, text));
    case -LKS_EBUSY:
        return lks_error_set(err, code,
                             "the change before this one has not committed yet, or leadership is "
                             "changing: try again");
    default:
        return lks_error_set(err, code, "replica %u: such a change is not possible: one server at "
                             "a time", request->id);
    }
}

/* Whether the applied members are the last ones in the log, so that a change may follow them. */
static bool is_settled(const struct lks_replica *replica)
{
    const struct lks_core_view *view = replica->view;
    return view->role == LKS_CORE_LEADER && view->accepts && !view->transferring &&
           replica->appended_term == view->term && replica->events_head == replica->events_tail &&
           view->members.number == replica->members.applied.number && view->members_committed;
}

static int begin_change(struct lks_replica *replica, const struct lks_member_request *request,
                        struct lks_error *err)
{
    struct lks_members_record next;
    const uint32_t voters = replica->view->members.voters;
    if (!is_settled(replica)) {
        return refuse(replica, request, voters, -LKS_EBUSY, err);
    }
    int rc = lks_members_change(&next, &replica->members.applied, voters, request, err);
    if (rc != 0) {
        return rc;
    }
    const struct lks_members proposed = lks_members_of(&next, 0);
    (void)lks_core_view(replica->core); /* fills in the peers, for what is said */
    if (request->action == LKS_MEMBER_ADD && replica->view->peers[request->id].path_open) {
        /* Its earlier life's path: what is known of that journal is not true of the new one. */
        return lks_error_set(err, -LKS_EBUSY, "replica %u has only just been removed: try again",
                             request->id);
    }
    rc = lks_core_members_check(replica->core, &proposed);
    if (rc != 0) {
        return refuse(replica, request, next.voters, rc, err);
    }
    if (!lks_replica_append_members(replica, &next)) {
        return lks_error_set(err, -LKS_ERINGFULL, "the log's ring has no room now: try again");
    }
    replica->members.change = (struct lks_member_change){.active = true,
                                                         .request = *request,
                                                         .term = replica->view->term,
                                                         .number = next.number,
                                                         .began_ns = replica->now_ns};
    return 0;
}

/* Whether that voter could lead at once. */
static bool can_lead(const struct lks_replica *replica, uint32_t id)
{
    const struct lks_core_view *view = replica->view;
    return id != replica->options.replica && (view->members.voters >> id & 1u) != 0 &&
           view->peers[id].connected && view->peers[id].counted;
}

/* The one that holds most of the log; 0: nobody can. */
static uint32_t best_successor(const struct lks_replica *replica)
{
    uint32_t best = 0;
    for (uint32_t id = 1; id <= replica->options.replicas; id++) {
        const struct lks_core_view *view = replica->view;
        if (can_lead(replica, id) &&
            (best == 0 || view->peers[id].durable_offset > view->peers[best].durable_offset)) {
            best = id;
        }
    }
    return best;
}

static int begin_transfer(struct lks_replica *replica, const struct lks_member_request *request,
                          struct lks_error *err)
{
    const struct lks_core_view *view = lks_core_view(replica->core);
    if (request->id == replica->options.replica) {
        return 1;
    }
    if (view->transferring || !view->established) {
        return refuse(replica, request, 0, -LKS_EBUSY, err);
    }
    const uint32_t id = request->id != 0 ? request->id : best_successor(replica);
    if (id == 0) {
        return lks_error_set(err, -EINVAL, "no other voter is connected and holds the log: nobody "
                             "could lead; start or add one first");
    }
    if (id > replica->options.replicas || (view->members.voters >> id & 1u) == 0) {
        return lks_error_set(err, -EINVAL, "replica %u is no voter: it cannot lead", id);
    }
    if (!can_lead(replica, id)) {
        return lks_error_set(err, -EINVAL, "replica %u is not connected, or does not hold the log "
                             "yet: it cannot lead now", id);
    }
    (void)lks_replica_event(replica, LKS_EVENT_TRANSFER, id);
    (void)lks_replica_drain(replica);
    replica->members.change = (struct lks_member_change){.active = true,
                                                         .request = *request,
                                                         .term = view->term,
                                                         .began_ns = replica->now_ns};
    return 0;
}

int lks_replica_change_members(struct lks_replica *replica,
                               const struct lks_member_request *request, struct lks_error *err)
{
    struct lks_member_change *change = &replica->members.change;
    if (replica->view->role != LKS_CORE_LEADER) {
        return refuse(replica, request, 0, -LKS_ENOLEADER, err);
    }
    if (change->active) {
        return refuse(replica, request, 0, -LKS_EBUSY, err);
    }
    const int rc = request->action == LKS_MEMBER_TRANSFER ? begin_transfer(replica, request, err)
                                                          : begin_change(replica, request, err);
    if (rc == 0) {
        change->asked = true;
        change->request.address = NULL; /* the caller's, both */
        change->request.fabric_address = NULL;
    }
    return rc;
}

/* ---- the end of a change -------------------------------------------------------------------- */

static void answer(struct lks_replica *replica, int status, const char *text)
{
    struct lks_member_change *change = &replica->members.change;
    const struct lks_member_change ended = *change;
    *change = (struct lks_member_change){.active = false};
    if (ended.asked && replica->options.on_member_change != NULL) {
        replica->options.on_member_change(replica->options.ctx, ended.request.cookie, status,
                                          text);
    }
}

static bool end_of_transfer(struct lks_replica *replica)
{
    const struct lks_core_view *view = replica->view;
    const struct lks_member_change *change = &replica->members.change;
    const uint64_t patience = TRANSFER_TIMEOUTS * replica->options.election_timeout_ns;
    if (view->role != LKS_CORE_LEADER && view->leader != 0) {
        const bool wanted = change->request.id == 0 || change->request.id == view->leader;
        answer(replica, wanted ? 0 : -EAGAIN,
               wanted ? "" : "another replica leads now: ask it to hand over");
        return true;
    }
    if ((view->role == LKS_CORE_LEADER && !view->transferring) ||
        replica->now_ns - change->began_ns > patience) {
        answer(replica, -ETIMEDOUT, "leadership was not handed over: no follower took it in time");
        return true;
    }
    return false;
}

static bool end_of_change(struct lks_replica *replica)
{
    const struct lks_member_change *change = &replica->members.change;
    const struct lks_core_view *view = replica->view;
    if (change->request.action == LKS_MEMBER_TRANSFER) {
        return end_of_transfer(replica);
    }
    if (view->role != LKS_CORE_LEADER || view->term != change->term) {
        /* (Whether the entry stays is for the next leader to say.) */
        answer(replica, -EAGAIN, "leadership has changed: whether the members have is not known; "
               "ask for them, or for the change again");
        return true;
    }
    if (replica->members.applied.number >= change->number) {
        answer(replica, 0, "");
        return true;
    }
    return false;
}

/* ---- what happens by itself ----------------------------------------------------------------- */

/* A learner that has caught up becomes a voter, unless the administrator wants to say when. */
static int promote_learners(struct lks_replica *replica)
{
    struct lks_replica_members *members = &replica->members;
    const uint32_t learners = replica->view->members.learners & ~(uint32_t)members->applied.manual;
    if (learners == 0 || replica->now_ns < members->promote_ns || !is_settled(replica)) {
        return 0;
    }
    members->promote_ns = replica->now_ns + replica->options.heartbeat_ns;
    const struct lks_core_view *view = lks_core_view(replica->core);
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        const struct lks_member_request request = {.action = LKS_MEMBER_PROMOTE, .id = id};
        struct lks_error err;
        if ((learners >> id & 1u) == 0 || !view->peers[id].caught_up) {
            continue;
        }
        const int rc = begin_change(replica, &request, &err);
        if (rc == 0) {
            lks_log_info(replica->options.log_sink,
                         "replica %u has caught up: it becomes a voter", id);
            return 1;
        }
        if (rc < 0 && rc != -EAGAIN && rc != -LKS_EBUSY && members->promoting_warned != id) {
            members->promoting_warned = id;
            lks_log_warn(replica->options.log_sink, "replica %u is not promoted: %s", id,
                         err.text);
        }
    }
    return 0;
}

/* It says so once more at each start, whoever is there to ask. */
static void end_if_removed(struct lks_replica *replica)
{
    if (!replica->view->removed || replica->fatal != 0) {
        return;
    }
    char voters[32];
    char learners[32];
    const struct lks_members *seen = &replica->view->members;
    const struct lks_members applied = lks_replica_applied_members(replica);
    const struct lks_members *last = applied.number > seen->number ? &applied : seen;
    const int rc = lks_journal_mark_removed(replica->options.journal);
    if (rc != 0) {
        lks_log_warn(replica->options.log_sink, "the journal cannot note the removal: %s",
                     lks_error_text(rc));
    }
    lks_replica_fail(replica, -LKS_EREMOVED,
                     LKS_REMOVED_TEXT " (last members that it knows, number %" PRIu64
                     ": voters%s, learners%s)",
                     replica->options.replica, replica->options.replica, last->number,
                     mask_text(last->voters, voters), mask_text(last->learners, learners));
}

/* Who is no member is looked for seldom: it may want to be told so. */
static void tell_fabric(struct lks_replica *replica)
{
    const uint32_t all = (2u << replica->options.replicas) - 2u;
    const struct lks_members *members = &replica->view->members;
    const uint32_t named = members->voters | members->learners;
    const uint32_t expected = named != 0 ? named : all; /* (none is known: any may be one) */
    const uint32_t changed = expected ^ replica->members.expected;
    replica->members.expected = expected;
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        if (lks_replica_is_peer(replica, p) && (changed >> p & 1u) != 0) {
            lks_fabric_expect(replica->options.fabric, p, (expected >> p & 1u) != 0);
        }
    }
}

/* Where members are reached whose addition said so: a replica whose configuration is older, or was
 * never told, finds them all the same. */
static void tell_places(struct lks_replica *replica)
{
    for (uint32_t p = 1; p <= LKS_MEMBERS_SLOTS; p++) {
        const char *text = replica->members.applied.addresses[p - 1].fabric;
        char address[LKS_ADDRESS_TEXT_MAX];
        uint16_t port = 0;
        if (text[0] == '\0' || !lks_replica_is_peer(replica, p)) {
            continue;
        }
        if (lks_value_address(text, address, &port) != 0 ||
            lks_fabric_place(replica->options.fabric, p, address, port) != 0) {
            lks_log_warn(replica->options.log_sink,
                         "members %" PRIu64 ": replica %u: '%s' is no address of a fabric: it is "
                         "looked for where the configuration says",
                         replica->members.applied.number, p, text);
        }
    }
}

int lks_replica_members_step(struct lks_replica *replica)
{
    int work = 0;
    const uint32_t named = replica->view->members.voters | replica->view->members.learners;
    if (named != replica->members.named) {
        replica->members.named = named;
        tell_fabric(replica);
    }
    if (replica->members.applied.number != replica->members.placed) {
        replica->members.placed = replica->members.applied.number;
        tell_places(replica);
    }
    end_if_removed(replica);
    if (replica->members.change.active) {
        work += end_of_change(replica) ? 1 : 0;
    } else if (replica->view->role == LKS_CORE_LEADER && replica->view->members.learners != 0) {
        work += promote_learners(replica);
    }
    return work;
}

uint64_t lks_replica_members_deadline_ns(const struct lks_replica *replica)
{
    const uint32_t learners =
        replica->view->members.learners & ~(uint32_t)replica->members.applied.manual;
    const bool looks = replica->view->role == LKS_CORE_LEADER && learners != 0;
    return looks ? replica->members.promote_ns : UINT64_MAX;
}
