/* Messages: form and names; see types.h and core.h. */
#include "consensus/core.h"

static bool reports_a_log(uint32_t kind)
{
    return kind == LKS_MESSAGE_VOTE_REPLY || kind == LKS_MESSAGE_INSTALLED;
}

static bool position_in_bounds(const struct lks_position *position)
{
    return position->index < LKS_MESSAGE_NUMBER_MAX && position->term < LKS_MESSAGE_NUMBER_MAX &&
           position->offset < LKS_MESSAGE_NUMBER_MAX;
}

static bool numbers_in_bounds(const struct lks_message *message)
{
    return message->term < LKS_MESSAGE_NUMBER_MAX &&
           message->incarnation < LKS_MESSAGE_NUMBER_MAX &&
           message->request < LKS_MESSAGE_NUMBER_MAX &&
           message->commit_offset < LKS_MESSAGE_NUMBER_MAX &&
           message->durable_offset < LKS_MESSAGE_NUMBER_MAX &&
           position_in_bounds(&message->base) && position_in_bounds(&message->tail);
}

static bool runs_rise(const struct lks_message *message)
{
    for (uint32_t i = 0; i < message->runs_count; i++) {
        const struct lks_run *run = &message->runs[i];
        if (run->first_offset < message->base.offset ||
            run->first_offset > message->tail.offset || run->term > message->tail.term ||
            run->term < message->base.term) {
            return false;
        }
        if (i > 0 && (run->term <= message->runs[i - 1].term ||
                      run->first_offset <= message->runs[i - 1].first_offset)) {
            return false;
        }
    }
    return true;
}

bool lks_message_check(const struct lks_message *message)
{
    if (message->kind == 0 || message->kind >= LKS_MESSAGE_KIND_END ||
        message->runs_count > LKS_MESSAGE_RUNS_MAX || !numbers_in_bounds(message)) {
        return false;
    }
    if (!reports_a_log(message->kind)) {
        return message->runs_count == 0;
    }
    return runs_rise(message) && message->base.offset <= message->commit_offset &&
           message->commit_offset <= message->tail.offset &&
           message->base.term <= message->tail.term && message->base.index <= message->tail.index;
}

const char *lks_message_name(uint32_t kind)
{
    static const char *const names[LKS_MESSAGE_KIND_END] = {
        [LKS_MESSAGE_PREVOTE_REQUEST] = "prevote-request",
        [LKS_MESSAGE_PREVOTE_REPLY] = "prevote-reply",
        [LKS_MESSAGE_VOTE_REQUEST] = "vote-request",
        [LKS_MESSAGE_VOTE_REPLY] = "vote-reply",
        [LKS_MESSAGE_VOTE_REFUSAL] = "vote-refusal",
        [LKS_MESSAGE_DURABLE] = "durable",
        [LKS_MESSAGE_TRANSFER] = "transfer",
        [LKS_MESSAGE_AMNESIA_OVER] = "amnesia-over",
        [LKS_MESSAGE_AMNESIA_CLEARED] = "amnesia-cleared",
        [LKS_MESSAGE_INSTALL] = "install",
        [LKS_MESSAGE_INSTALLED] = "installed",
    };
    return kind < LKS_MESSAGE_KIND_END && names[kind] != NULL ? names[kind] : "unknown";
}

const char *lks_core_role_name(enum lks_core_role role)
{
    static const char *const names[LKS_CORE_ROLES] = {
        "starting", "follower", "pre-candidate", "candidate", "adopting", "leader",
    };
    return role < LKS_CORE_ROLES ? names[role] : "unknown";
}

const char *lks_effect_name(enum lks_effect_kind kind)
{
    static const char *const names[] = {
        "write",          "commit-word",  "probe",       "read-heartbeat",
        "read-log",       "cancel-read",  "revoke",      "grant",
        "open",           "persist-promise", "persist-tail", "persist-log",
        "append-noop",    "send",         "beat",        "clear-amnesia",
        "install",        "cancel-install",
    };
    return kind <= LKS_EFFECT_CANCEL_INSTALL ? names[kind] : "unknown";
}

const char *lks_core_event_name(enum lks_core_event_kind kind)
{
    static const char *const names[] = {
        "tick",           "connected",     "disconnected", "message",
        "heartbeat-read", "revoked",       "granted",      "opened",
        "promise-persisted", "tail-persisted", "log-persisted", "flushed",
        "probed",         "log-read",      "appended",     "commit-seen",
        "amnesia-cleared", "transfer",    "base-moved",  "installed",
        "read",          "members-applied", "fitness",
    };
    return kind <= LKS_EVENT_FITNESS ? names[kind] : "unknown";
}
