/*
 * The model around the cores: logs, permission, connections, and how each effect is carried out.
 * See core_rig.h. Every piece of work is one function rig_do_*, which does at most one thing and
 * tells whether there was something to do, so that a script or a seed chooses the order.
 */
#include "tests/support/core_rig.h"

#include "base/assert.h"

#include <errno.h>
#include <string.h>

#define EBROKEN_STATUS (-1008)

uint64_t rig_random(struct rig *rig, uint64_t bound)
{
    rig->random ^= rig->random >> 12;
    rig->random ^= rig->random << 25;
    rig->random ^= rig->random >> 27;
    return (rig->random * UINT64_C(2685821657736338717) >> 11) % bound;
}

static uint64_t chain_of(uint64_t before, uint64_t term, uint64_t value)
{
    uint64_t x = before * UINT64_C(0x9E3779B97F4A7C15);
    x += term * UINT64_C(0xC2B2AE3D27D4EB4F) + value;
    x ^= x >> 31;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 29;
    return x | 1u;
}

/* Where entry number index (from 0) lies in the ring of n. */
struct rig_entry *rig_slot(struct rig *rig, uint32_t n, uint64_t index)
{
    return &rig->nodes[n].ring[index % rig->slots];
}

/* A script has room enough; a random schedule has many elections. */
uint64_t rig_reserve(const struct rig *rig)
{
    return rig->slots < RIG_SLOTS ? rig->slots * 3 / 8 * RIG_ENTRY : 0;
}

/* The entry in slot, if it continues the log that ends at position. */
static bool continues(const struct rig_entry *entry, const struct lks_position *position)
{
    return entry->chain != 0 && entry->index == position->index &&
           entry->before == position->chain &&
           entry->term >= position->term &&
           entry->chain == chain_of(entry->before, entry->term, entry->value);
}

static void extend(struct lks_position *position, const struct rig_entry *entry)
{
    position->index++;
    position->offset += RIG_ENTRY;
    position->term = entry->term;
    position->chain = entry->chain;
}

struct lks_position rig_scan_to(const struct rig *rig, uint32_t n, struct lks_runs *runs,
                                uint64_t limit)
{
    const struct rig_node *node = &rig->nodes[n];
    struct lks_position position = node->base;
    if (runs != NULL) {
        runs->count = 0;
    }
    const uint64_t end = node->base.index + rig->slots;
    while (position.offset < limit && position.index < end &&
           continues(&node->ring[position.index % rig->slots], &position)) {
        const struct rig_entry *entry = &node->ring[position.index % rig->slots];
        if (runs != NULL) {
            lks_runs_note(runs, entry->term, position.offset);
        }
        extend(&position, entry);
    }
    return position;
}

struct lks_position rig_scan(const struct rig *rig, uint32_t n, struct lks_runs *runs)
{
    return rig_scan_to(rig, n, runs, UINT64_MAX);
}

uint64_t rig_index(const struct rig *rig, uint32_t n)
{
    return rig_scan(rig, n, NULL).index;
}

const struct lks_core_view *rig_view(const struct rig *rig, uint32_t n)
{
    return lks_core_view(rig->nodes[n].core);
}

struct rig_item *rig_push(struct rig *rig, struct rig_queue *queue)
{
    if (queue->count == RIG_QUEUE) {
        rig_fail(rig, "a queue of the rig is full");
    }
    struct rig_item *item = &queue->items[(queue->first + queue->count) % RIG_QUEUE];
    queue->count++;
    item->event = (struct lks_core_event){0};
    item->executed = true;
    return item;
}

static struct rig_item *last(struct rig_queue *queue)
{
    return &queue->items[(queue->first + queue->count - 1) % RIG_QUEUE];
}

static struct rig_item *pop(struct rig_queue *queue)
{
    struct rig_item *item = &queue->items[queue->first];
    queue->first = (queue->first + 1) % RIG_QUEUE;
    queue->count--;
    return item;
}

void rig_push_event(struct rig *rig, struct rig_queue *queue, enum lks_core_event_kind kind,
                    uint32_t peer, uint64_t grant, int status)
{
    struct rig_item *item = rig_push(rig, queue);
    item->event.kind = kind;
    item->event.peer = peer;
    item->event.grant = grant;
    item->event.status = status;
}

/* (Below the base the ring holds something else.) */
void rig_make_durable(struct rig *rig, uint32_t n, uint64_t from, uint64_t to)
{
    struct rig_node *node = &rig->nodes[n];
    const uint64_t first = from / RIG_ENTRY > node->base.index ? from / RIG_ENTRY
                                                               : node->base.index;
    for (uint64_t i = first; i < to / RIG_ENTRY; i++) {
        node->disk[i % rig->slots] = node->ring[i % rig->slots];
    }
}

struct lks_position rig_append_members(struct rig *rig, uint32_t n, uint64_t term,
                                       const struct lks_members *members)
{
    struct rig_node *node = &rig->nodes[n];
    struct lks_position tail = node->tail;
    if (tail.index >= RIG_LOG || tail.index >= node->base.index + rig->slots) {
        rig_fail(rig, "the log of %u is full", n);
    }
    const uint64_t value = rig_members_value(++rig->values, members);
    const struct rig_entry entry = {
        .index = tail.index,
        .term = term,
        .value = value,
        .before = tail.chain,
        .chain = chain_of(tail.chain, term, value),
    };
    rig_check_source(rig, n, tail.index);
    rig_write_slot(rig, n, tail.index, &entry);
    extend(&node->tail, &entry);
    return node->tail;
}

static struct lks_position append(struct rig *rig, uint32_t n, uint64_t term)
{
    const struct lks_members none = {0};
    return rig_append_members(rig, n, term, &none);
}

void rig_put(struct rig *rig, uint32_t n, uint64_t term, uint64_t value)
{
    const uint64_t values = rig->values;
    rig->values = value - 1;
    rig->nodes[n].tail = rig_scan(rig, n, NULL);
    const struct lks_position tail = append(rig, n, term);
    rig->values = values;
    rig_make_durable(rig, n, tail.offset - RIG_ENTRY, tail.offset);
}

bool rig_append(struct rig *rig, uint32_t n, uint32_t count)
{
    if (!rig->nodes[n].alive || !rig_view(rig, n)->accepts) {
        return false;
    }
    struct lks_position tail = rig->nodes[n].tail;
    if (tail.offset + count * RIG_ENTRY + rig_reserve(rig) > rig_view(rig, n)->append_limit) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        tail = append(rig, n, rig_view(rig, n)->term);
    }
    struct rig_item *item = rig_push(rig, &rig->nodes[n].local);
    item->event.kind = LKS_EVENT_APPENDED;
    item->event.position = tail;
    if (rig->exploring && rig_random(rig, 2) == 0) {
        rig_make_durable(rig, n, tail.offset - count * RIG_ENTRY, tail.offset);
        item->event.offset = tail.offset;
    }
    return true;
}

/* ---- effects ------------------------------------------------------------------------------- */

static void post_op(struct rig *rig, uint32_t n, const struct lks_effect *effect)
{
    struct rig_side *side = &rig->nodes[n].sides[effect->peer];
    if (side->path != effect->grant) {
        rig_fail(rig, "replica %u writes to %u without a path", n, effect->peer);
    }
    if (side->ops_count == RIG_QUEUE) {
        rig_fail(rig, "too many operations from %u to %u", n, effect->peer);
    }
    struct rig_op *op = &side->ops[(side->ops_first + side->ops_count) % RIG_QUEUE];
    side->ops_count++;
    *op = (struct rig_op){.kind = effect->kind, .from = effect->from, .to = effect->to};
    if (effect->kind == LKS_EFFECT_WRITE) {
        const uint64_t first = effect->from / RIG_ENTRY;
        const uint64_t count = (effect->to - effect->from) / RIG_ENTRY;
        LKS_ASSERT(count <= RIG_WRITE_ENTRIES);
        for (uint64_t i = 0; i < count; i++) {
            op->bytes[i] = *rig_slot(rig, n, first + i);
        }
    }
}

static void send(struct rig *rig, uint32_t n, const struct lks_effect *effect)
{
    if (!rig->nodes[n].sides[effect->peer].up || !rig->links[n][effect->peer].whole) {
        return;
    }
    const struct lks_message *message = &rig->nodes[n].update.messages[effect->message];
    if (!lks_message_check(message)) {
        rig_fail(rig, "replica %u sends a malformed message", n);
    }
    struct rig_queue *inbox = &rig->nodes[effect->peer].sides[n].ctl;
    if (inbox->count > RIG_QUEUE - 6) {
        rig_break(rig, n, effect->peer); /* a full mailbox breaks the connection */
        return;
    }
    struct rig_item *item = rig_push(rig, inbox);
    item->event.kind = LKS_EVENT_MESSAGE;
    item->event.peer = n;
    item->message = *message;
}

static void read_heartbeat(struct rig *rig, uint32_t n, uint32_t p)
{
    struct rig_side *side = &rig->nodes[n].sides[p];
    if (side->ctl.count > RIG_QUEUE - 8) {
        return; /* the read is late */
    }
    const bool reached = side->up && rig->links[n][p].whole;
    rig_push_event(rig, &side->ctl, LKS_EVENT_HEARTBEAT_READ, p, 0, reached ? 0 : EBROKEN_STATUS);
    if (reached) {
        struct lks_core_event *event = &last(&side->ctl)->event;
        const struct lks_core_view *view = rig_view(rig, p);
        event->beat = rig->nodes[p].beat;
        event->term = view->term;
        event->leading = view->role == LKS_CORE_LEADER;
        event->amnesiac = view->amnesiac;
        event->offset = rig->nodes[p].base.offset;
        event->waits = rig->nodes[p].waits || (rig->exploring && rig->nodes[p].paused);
    }
}

static void open_path(struct rig *rig, uint32_t n, const struct lks_effect *effect)
{
    struct rig_side *side = &rig->nodes[n].sides[effect->peer];
    rig_break_path(rig, n, effect->peer);
    const bool reached = side->up && rig->links[n][effect->peer].whole;
    side->path = effect->key[0];
    side->path_broken = !reached;
    rig_push_event(rig, &side->done, LKS_EVENT_OPENED, effect->peer, effect->key[0],
               reached ? 0 : EBROKEN_STATUS);
}

static void revoke(struct rig *rig, uint32_t n, uint32_t p)
{
    struct rig_side *side = &rig->nodes[n].sides[p];
    if (side->fencing) {
        rig_fail(rig, "replica %u revokes %u twice at a time", n, p);
    }
    side->fencing = true;
    if (rig->exploring && rig_random(rig, 2) == 0) {
        rig->permission[n][p] = 0; /* refused at once here; at the completion otherwise */
    }
}

static void begin_read(struct rig *rig, uint32_t n, const struct lks_effect *effect)
{
    struct rig_read *read = &rig->nodes[n].read;
    if (read->active) {
        rig_fail(rig, "replica %u reads two logs at a time", n);
    }
    *read = (struct rig_read){
        .active = true, .peer = effect->peer, .next = effect->from, .effect = *effect};
}

static void local_work(struct rig *rig, uint32_t n, const struct lks_effect *effect)
{
    struct rig_node *node = &rig->nodes[n];
    struct rig_queue *queue =
        effect->kind == LKS_EFFECT_PERSIST_LOG ? &node->disk_work : &node->local;
    struct rig_item *item = rig_push(rig, queue);
    item->work = *effect;
    item->executed = false;
}

/* The no-op waits, like any entry, until the ring has room. */
static bool append_noop(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    const struct lks_core_view *view = rig_view(rig, n);
    if (node->noop_due == 0 || view->role != LKS_CORE_LEADER || view->term != node->noop_due) {
        node->noop_due = 0;
        return false;
    }
    if (node->tail.offset + RIG_ENTRY > view->append_limit) {
        return false;
    }
    struct rig_item *item = rig_push(rig, &node->local);
    item->event.kind = LKS_EVENT_APPENDED;
    item->event.position = append(rig, n, node->noop_due);
    node->noop_due = 0;
    return true;
}

void rig_execute(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    for (uint32_t i = 0; i < node->update.count; i++) {
        const struct lks_effect *effect = &node->update.effects[i];
        switch (effect->kind) {
        case LKS_EFFECT_WRITE:
        case LKS_EFFECT_COMMIT_WORD:
        case LKS_EFFECT_PROBE:
            post_op(rig, n, effect);
            break;
        case LKS_EFFECT_READ_HEARTBEAT:
            read_heartbeat(rig, n, effect->peer);
            break;
        case LKS_EFFECT_READ_LOG:
            begin_read(rig, n, effect);
            break;
        case LKS_EFFECT_CANCEL_READ:
            node->read.cancelled = true;
            break;
        case LKS_EFFECT_REVOKE:
            revoke(rig, n, effect->peer);
            break;
        case LKS_EFFECT_OPEN:
            open_path(rig, n, effect);
            break;
        case LKS_EFFECT_GRANT:
        case LKS_EFFECT_PERSIST_PROMISE:
        case LKS_EFFECT_PERSIST_TAIL:
        case LKS_EFFECT_PERSIST_LOG:
        case LKS_EFFECT_CLEAR_AMNESIA:
            local_work(rig, n, effect);
            break;
        case LKS_EFFECT_APPEND_NOOP:
            node->noop_due = effect->term;
            (void)append_noop(rig, n);
            break;
        case LKS_EFFECT_SEND:
            send(rig, n, effect);
            break;
        case LKS_EFFECT_BEAT:
            node->beat++;
            break;
        case LKS_EFFECT_INSTALL:
            rig_begin_install(rig, n, effect);
            break;
        case LKS_EFFECT_CANCEL_INSTALL:
            node->install.cancelled = true;
            break;
        }
    }
}

void rig_step(struct rig *rig, uint32_t n, struct lks_core_event *event)
{
    struct rig_node *node = &rig->nodes[n];
    rig->steps++;
    event->now_ns = rig->now;
    const enum lks_core_role before = rig_view(rig, n)->role;
    rig_trace_event(rig, n, event);
    lks_core_step(node->core, event, &node->update);
    rig_trace_role(rig, n, before);
    rig_trace_effects(rig, n);
    rig_execute(rig, n);
    rig_check_step(rig, n);
}

/* ---- work ---------------------------------------------------------------------------------- */

/* Carries an own piece of work out; its event is then ready for delivery. */
static void execute_local(struct rig *rig, uint32_t n, struct rig_item *item)
{
    struct rig_node *node = &rig->nodes[n];
    struct lks_core_event *event = &item->event;
    const struct lks_effect *work = &item->work;
    item->executed = true;
    switch (work->kind) {
    case LKS_EFFECT_PERSIST_PROMISE:
        node->promise_term = work->term;
        node->promise_candidate = work->peer;
        node->promise_incarnation = work->incarnation;
        event->kind = LKS_EVENT_PROMISE_PERSISTED;
        break;
    case LKS_EFFECT_PERSIST_TAIL:
        if (rig_view(rig, n)->role == LKS_CORE_STARTING) {
            node->word = 0;
            node->base = node->snapshot; /* what is not in the log any more is there */
            node->base_members = node->snapshot_members;
            event->base = node->base;
        }
        event->kind = LKS_EVENT_TAIL_PERSISTED;
        event->position = rig_scan(rig, n, &node->runs);
        node->tail = event->position;
        event->members = rig_members(rig, n, UINT64_MAX);
        event->runs = &node->runs;
        event->offset = node->word;
        rig_make_durable(rig, n, work->from, event->position.offset);
        break;
    case LKS_EFFECT_PERSIST_LOG:
        rig_make_durable(rig, n, work->from, work->to);
        event->kind = LKS_EVENT_LOG_PERSISTED;
        event->offset = work->to;
        event->term = work->term;
        break;
    case LKS_EFFECT_GRANT:
        event->kind = LKS_EVENT_GRANTED;
        event->peer = work->peer;
        event->status = EBROKEN_STATUS;
        if (node->sides[work->peer].up) {
            rig_check_grant(rig, n, work->peer);
            event->status = 0;
            event->key[0] = ++rig->grants;
            rig->permission[n][work->peer] = rig->grants;
            node->hint = 0;
            node->acked = 0;
        }
        break;
    default:
        LKS_ASSERT(work->kind == LKS_EFFECT_CLEAR_AMNESIA);
        rig_check_amnesia_over(rig, n);
        node->amnesiac = false;
        node->bootstrap = node->bootstrap != 0 ? node->bootstrap : work->voters;
        node->promise_lost = false;
        event->kind = LKS_EVENT_AMNESIA_CLEARED;
        break;
    }
}

static bool do_queue(struct rig *rig, uint32_t n, struct rig_queue *queue, bool at_once)
{
    if (!rig->nodes[n].alive || rig->nodes[n].paused || queue->count == 0) {
        return false;
    }
    struct rig_item *item = &queue->items[queue->first];
    if (!item->executed && rig->nodes[n].hold_work == 1 + (uint32_t)item->work.kind) {
        return false;
    }
    if (!item->executed) {
        execute_local(rig, n, item);
        if (!at_once) {
            return true;
        }
    }
    item = pop(queue);
    struct lks_core_event event = item->event;
    rig_step(rig, n, &event);
    return true;
}

bool rig_do_local(struct rig *rig, uint32_t n, bool at_once)
{
    struct rig_node *node = &rig->nodes[n];
    if (node->noop_due != 0 && node->alive && !node->paused && !node->hold_local) {
        (void)append_noop(rig, n);
    }
    return !node->hold_local && do_queue(rig, n, &node->local, at_once);
}

bool rig_do_disk(struct rig *rig, uint32_t n, bool at_once)
{
    return !rig->nodes[n].hold_local && do_queue(rig, n, &rig->nodes[n].disk_work, at_once);
}

bool rig_do_done(struct rig *rig, uint32_t n, uint32_t p)
{
    struct rig_side *side = &rig->nodes[n].sides[p];
    return !side->hold_done && do_queue(rig, n, &side->done, true);
}

bool rig_do_ctl(struct rig *rig, uint32_t n, uint32_t p)
{
    struct rig_node *node = &rig->nodes[n];
    struct rig_side *side = &node->sides[p];
    if (!node->alive || node->paused || side->hold_ctl || side->ctl.count == 0) {
        return false;
    }
    struct rig_item *item = &side->ctl.items[side->ctl.first];
    if (item->event.kind == LKS_EVENT_DISCONNECTED && side->done.count > 0) {
        return false; /* everything of the connection completes before its end is told */
    }
    item = pop(&side->ctl);
    struct lks_core_event event = item->event;
    struct lks_message message;
    if (event.kind == LKS_EVENT_MESSAGE) {
        message = item->message;
        event.message = &message;
    }
    rig_step(rig, n, &event);
    return true;
}

/* Everything on the path from n to p ends with an error; what landed has landed. */
void rig_break_path(struct rig *rig, uint32_t n, uint32_t p)
{
    struct rig_side *side = &rig->nodes[n].sides[p];
    while (side->ops_count > 0) {
        const struct rig_op *op = &side->ops[side->ops_first];
        if (op->kind == LKS_EFFECT_WRITE || op->kind == LKS_EFFECT_PROBE) {
            rig_push_event(rig, &side->done,
                       op->kind == LKS_EFFECT_WRITE ? LKS_EVENT_FLUSHED : LKS_EVENT_PROBED, p,
                       side->path, EBROKEN_STATUS);
            last(&side->done)->event.offset = op->to;
        }
        side->ops_first = (side->ops_first + 1) % RIG_QUEUE;
        side->ops_count--;
    }
    side->path_broken = true;
}

/* Lands a random part of the write; true once all of it has. */
static bool land(struct rig *rig, uint32_t n, uint32_t p, struct rig_op *op, bool whole)
{
    const uint64_t first = op->from / RIG_ENTRY;
    const uint32_t count = (uint32_t)((op->to - op->from) / RIG_ENTRY);
    const uint32_t all = (1u << count) - 1;
    const uint32_t now = whole ? all : (uint32_t)rig_random(rig, all + 1);
    for (uint32_t i = 0; i < count; i++) {
        if ((now & 1u << i) != 0 && (op->landed & 1u << i) == 0) {
            const struct rig_entry entry =
                rig->late_source ? *rig_slot(rig, n, first + i) : op->bytes[i];
            if (rig->nodes[p].install.active) {
                rig_fail(rig, "ring %u is written while a snapshot is installed there", p);
            }
            rig_write_slot(rig, p, first + i, &entry);
            op->landed |= 1u << i;
        }
    }
    return op->landed == all;
}

bool rig_do_path(struct rig *rig, uint32_t n, uint32_t p, bool whole)
{
    struct rig_side *side = &rig->nodes[n].sides[p];
    if (!rig->nodes[n].alive || side->ops_count == 0 || side->hold_path) {
        return false;
    }
    struct rig_op *op = &side->ops[side->ops_first];
    if (side->path_broken || rig->permission[p][n] != side->path) {
        rig_break_path(rig, n, p);
        return true;
    }
    if (op->kind == LKS_EFFECT_WRITE) {
        if (!op->complete) {
            op->complete = land(rig, n, p, op, whole);
            return true;
        }
        if (rig->durability == RIG_FLUSH) {
            rig_make_durable(rig, p, op->from, op->to);
        } else if (rig->durability == RIG_ACK) {
            rig->nodes[p].hint = op->to;
        }
        rig_push_event(rig, &side->done, LKS_EVENT_FLUSHED, p, side->path, 0);
        last(&side->done)->event.offset = rig->durability == RIG_ACK ? 0 : op->to;
    } else if (op->kind == LKS_EFFECT_COMMIT_WORD) {
        if (op->to < rig->nodes[p].word) {
            rig_fail(rig, "the commit word of %u sinks", p);
        }
        rig->nodes[p].word = op->to;
    } else {
        rig_push_event(rig, &side->done, LKS_EVENT_PROBED, p, side->path, 0);
    }
    side->ops_first = (side->ops_first + 1) % RIG_QUEUE;
    side->ops_count--;
    return true;
}

bool rig_do_fence(struct rig *rig, uint32_t n, uint32_t p)
{
    struct rig_node *node = &rig->nodes[n];
    if (!node->alive || node->paused || node->hold_fence || !node->sides[p].fencing) {
        return false;
    }
    node->sides[p].fencing = false;
    rig->permission[n][p] = 0;
    rig_push_event(rig, &node->local, LKS_EVENT_REVOKED, p, 0, 0);
    return true;
}

static void end_read(struct rig *rig, uint32_t n, int status)
{
    struct rig_node *node = &rig->nodes[n];
    node->read.active = false;
    /* All of it was read: the log ends there. Else it is what is visible now. */
    node->tail = rig_scan_to(rig, n, &node->read_runs,
                             status == 0 ? node->read.effect.to : UINT64_MAX);
    rig_make_durable(rig, n, node->read.effect.from, node->tail.offset);
    struct rig_item *item = rig_push(rig, &node->local);
    item->event.kind = LKS_EVENT_LOG_READ;
    item->event.status = status;
    item->event.position = node->tail;
    item->event.members = rig_members(rig, n, node->tail.offset);
    item->event.runs = &node->read_runs;
}

bool rig_do_read(struct rig *rig, uint32_t n, bool whole)
{
    struct rig_node *node = &rig->nodes[n];
    struct rig_read *read = &node->read;
    if (!node->alive || node->paused || node->hold_read || !read->active) {
        return false;
    }
    do {
        if ((read->cancelled && (whole || rig_random(rig, 2) == 0)) || /* reads posted land */
            !node->sides[read->peer].up || !rig->links[n][read->peer].whole) {
            end_read(rig, n, read->cancelled ? -ECANCELED : EBROKEN_STATUS);
            return true;
        }
        if (read->next == read->effect.to) {
            const struct lks_position tail = rig_scan_to(rig, n, NULL, read->effect.to);
            end_read(rig, n, tail.chain == read->effect.expect.chain ? 0 : -EBADMSG);
            return true;
        }
        const uint64_t index = read->next / RIG_ENTRY;
        const struct lks_position before = rig_scan_to(rig, n, NULL, read->next);
        if (before.offset != read->next) {
            rig_fail(rig, "replica %u reads a log on from where its own does not reach", n);
        }
        const struct rig_entry *entry = rig_slot(rig, read->peer, index);
        if (!continues(entry, &before) || entry->term >= read->effect.term) {
            end_read(rig, n, continues(entry, &before) ? -EPERM : -EBADMSG);
            return true;
        }
        rig_write_slot(rig, n, index, entry);
        read->next += RIG_ENTRY;
    } while (whole);
    return true;
}

/* pmem-ack: the owner makes what was written under the standing grant durable, and says so. */
bool rig_do_ack(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    if (rig->durability != RIG_ACK || !node->alive || node->paused || node->hold_local ||
        node->hold_ack) {
        return false;
    }
    const struct lks_core_view *view = rig_view(rig, n);
    if (view->grant.peer == 0 || node->hint <= node->acked) {
        return false;
    }
    rig_make_durable(rig, n, view->grant.commit_offset, node->hint);
    node->acked = node->hint;
    struct lks_effect effect = {.kind = LKS_EFFECT_SEND, .peer = view->grant.peer};
    node->update.messages[0] = (struct lks_message){
        .kind = LKS_MESSAGE_DURABLE,
        .flags = view->amnesiac ? LKS_MESSAGE_AMNESIAC : 0,
        .term = view->grant.term,
        .incarnation = view->grant.incarnation,
        .key[0] = view->grant.number,
        .durable_offset = node->acked,
    };
    send(rig, n, &effect);
    return true;
}

bool rig_do_tick(struct rig *rig, uint32_t n, bool due_only)
{
    const struct rig_node *node = &rig->nodes[n];
    if (!node->alive || node->paused || (due_only && rig->now < rig_view(rig, n)->deadline_ns)) {
        return false;
    }
    struct lks_core_event event = {.kind = LKS_EVENT_TICK};
    rig_step(rig, n, &event);
    return true;
}
