/*
 * The trace of a rig: one line per event that a core takes in (<) and per effect that it gives
 * out (>), and each change of role (=). Log offsets are shown as counts of entries. What only
 * keeps time (ticks, heartbeats, probes) is left out, so that a golden trace shows one rule.
 */
#include "tests/support/core_rig.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static bool traced(const struct rig *rig, uint32_t n)
{
    return rig->trace != NULL && (rig->trace_nodes & 1u << n) != 0;
}

void rig_trace_line(struct rig *rig, const char *format, ...)
{
    if (rig->trace == NULL) {
        return;
    }
    const size_t room = rig->trace_bytes - rig->trace_used;
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(rig->trace + rig->trace_used, room, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= room) {
        rig->trace_used = 0; /* full: keep the end, which is what a failure needs */
        return;
    }
    rig->trace_used += (size_t)length;
}

static void message_words(struct rig *rig, const struct lks_message *message)
{
    rig_trace_line(rig, " term %" PRIu64, message->term);
    if (message->kind == LKS_MESSAGE_VOTE_REPLY || message->kind == LKS_MESSAGE_INSTALLED) {
        rig_trace_line(rig, " key %" PRIu64 " tail %" PRIu64 ".%" PRIu64 " commit %" PRIu64,
                       message->key[0], message->tail.index, message->tail.term,
                       message->commit_offset / RIG_ENTRY);
        if (message->base.index > 0) {
            rig_trace_line(rig, " base %" PRIu64 ".%" PRIu64, message->base.index,
                           message->base.term);
        }
    }
    if (message->kind == LKS_MESSAGE_INSTALL) {
        rig_trace_line(rig, " key %" PRIu64 " base %" PRIu64 " donor %" PRIu64, message->key[0],
                       message->base.index, message->key[1]);
    }
    if (message->kind == LKS_MESSAGE_PREVOTE_REPLY) {
        rig_trace_line(rig, (message->flags & LKS_MESSAGE_ACCEPTED) != 0 ? " accepted" : " no");
    }
    if (message->kind == LKS_MESSAGE_DURABLE) {
        rig_trace_line(rig, " key %" PRIu64 " durable %" PRIu64, message->key[0],
                       message->durable_offset / RIG_ENTRY);
    }
    if ((message->flags & LKS_MESSAGE_ESTABLISHED) != 0) {
        rig_trace_line(rig, " established");
    }
    if ((message->flags & LKS_MESSAGE_AMNESIAC) != 0) {
        rig_trace_line(rig, " amnesiac");
    }
    if ((message->flags & LKS_MESSAGE_TERM_TAKEN) != 0) {
        rig_trace_line(rig, " term-taken");
    }
    if ((message->flags & LKS_MESSAGE_PROMISE_LOST) != 0) {
        rig_trace_line(rig, " promise-lost");
    }
    if ((message->flags & LKS_MESSAGE_FAILED) != 0) {
        rig_trace_line(rig, " failed");
    }
    if ((message->flags & LKS_MESSAGE_NOT_MEMBER) != 0) {
        rig_trace_line(rig, " not-member");
    }
    if (message->members_number != 0) {
        rig_trace_line(rig, " members %" PRIu32, message->members_number);
    }
}

static void members_words(struct rig *rig, const struct lks_members *members)
{
    const char *separator = " voters ";
    rig_trace_line(rig, " members %" PRIu64, members->number);
    for (uint32_t p = 1; p < RIG_NODES; p++) {
        if ((members->voters & 1u << p) != 0) {
            rig_trace_line(rig, "%s%u", separator, p);
            separator = ",";
        }
    }
    separator = " learners ";
    for (uint32_t p = 1; p < RIG_NODES; p++) {
        if ((members->learners & 1u << p) != 0) {
            rig_trace_line(rig, "%s%u", separator, p);
            separator = ",";
        }
    }
}

void rig_trace_event(struct rig *rig, uint32_t n, const struct lks_core_event *event)
{
    if (!traced(rig, n) || event->kind == LKS_EVENT_TICK ||
        event->kind == LKS_EVENT_HEARTBEAT_READ ||
        (event->kind == LKS_EVENT_PROBED && !rig->trace_probes)) {
        return;
    }
    rig_trace_line(rig, "%u < %s", n, lks_core_event_name(event->kind));
    if (event->peer != 0) {
        rig_trace_line(rig, " from %u", event->peer);
    }
    switch (event->kind) {
    case LKS_EVENT_MESSAGE:
        rig_trace_line(rig, ": %s", lks_message_name(event->message->kind));
        message_words(rig, event->message);
        break;
    case LKS_EVENT_DISCONNECTED:
        rig_trace_line(rig, event->dead ? " (dead)" : " (alive)");
        break;
    case LKS_EVENT_GRANTED:
        rig_trace_line(rig, " key %" PRIu64, event->key[0]);
        break;
    case LKS_EVENT_OPENED:
    case LKS_EVENT_FLUSHED:
        rig_trace_line(rig, " key %" PRIu64, event->grant);
        break;
    default:
        break;
    }
    if (event->kind == LKS_EVENT_FLUSHED || event->kind == LKS_EVENT_LOG_PERSISTED ||
        event->kind == LKS_EVENT_COMMIT_SEEN) {
        rig_trace_line(rig, " up to %" PRIu64, event->offset / RIG_ENTRY);
    }
    if (event->kind == LKS_EVENT_TAIL_PERSISTED || event->kind == LKS_EVENT_LOG_READ ||
        event->kind == LKS_EVENT_APPENDED || event->kind == LKS_EVENT_INSTALLED) {
        rig_trace_line(rig, " tail %" PRIu64 ".%" PRIu64, event->position.index,
                       event->position.term);
    }
    if (event->base.index > 0) {
        rig_trace_line(rig, " base %" PRIu64 ".%" PRIu64, event->base.index, event->base.term);
    }
    if (event->members.number > 0) {
        members_words(rig, &event->members);
    }
    rig_trace_line(rig, event->status == 0 ? "\n" : " failed\n");
}

void rig_trace_role(struct rig *rig, uint32_t n, enum lks_core_role before)
{
    const enum lks_core_role role = rig_view(rig, n)->role;
    if (traced(rig, n) && role != before) {
        rig_trace_line(rig, "%u = %s\n", n, lks_core_role_name(role));
    }
}

static void effect_words(struct rig *rig, const struct rig_node *node,
                         const struct lks_effect *effect)
{
    switch (effect->kind) {
    case LKS_EFFECT_SEND:
        rig_trace_line(rig, ": %s", lks_message_name(node->update.messages[effect->message].kind));
        message_words(rig, &node->update.messages[effect->message]);
        break;
    case LKS_EFFECT_WRITE:
        rig_trace_line(rig, " key %" PRIu64, effect->grant);
        rig_trace_line(rig, " entries (%" PRIu64 ", %" PRIu64 "]", effect->from / RIG_ENTRY,
                       effect->to / RIG_ENTRY);
        break;
    case LKS_EFFECT_READ_LOG:
    case LKS_EFFECT_PERSIST_LOG:
        rig_trace_line(rig, " entries (%" PRIu64 ", %" PRIu64 "]", effect->from / RIG_ENTRY,
                       effect->to / RIG_ENTRY);
        break;
    case LKS_EFFECT_COMMIT_WORD:
        rig_trace_line(rig, " = %" PRIu64, effect->to / RIG_ENTRY);
        break;
    case LKS_EFFECT_PERSIST_PROMISE:
        rig_trace_line(rig, " term %" PRIu64, effect->term);
        break;
    case LKS_EFFECT_PERSIST_TAIL:
        rig_trace_line(rig, " from %" PRIu64, effect->from / RIG_ENTRY);
        break;
    case LKS_EFFECT_INSTALL:
        rig_trace_line(rig, " from %" PRIu64, effect->from / RIG_ENTRY);
        break;
    case LKS_EFFECT_OPEN:
        rig_trace_line(rig, " key %" PRIu64, effect->key[0]);
        break;
    default:
        break;
    }
}

void rig_trace_effects(struct rig *rig, uint32_t n)
{
    if (!traced(rig, n)) {
        return;
    }
    const struct rig_node *node = &rig->nodes[n];
    for (uint32_t i = 0; i < node->update.count; i++) {
        const struct lks_effect *effect = &node->update.effects[i];
        if (effect->kind == LKS_EFFECT_READ_HEARTBEAT || effect->kind == LKS_EFFECT_BEAT ||
            (effect->kind == LKS_EFFECT_PROBE && !rig->trace_probes)) {
            continue;
        }
        rig_trace_line(rig, "%u     > %s", n, lks_effect_name(effect->kind));
        if (effect->peer != 0) {
            rig_trace_line(rig, effect->kind == LKS_EFFECT_PERSIST_PROMISE ? " to %u" : " %u",
                           effect->peer);
        }
        effect_words(rig, node, effect);
        rig_trace_line(rig, "\n");
    }
}
