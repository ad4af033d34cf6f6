/*
 * Attaching to a replica, sending and repeating; see internal.h. Whatever is sent again takes
 * effect once (services/sessions/), so a doubt is always resolved by sending again: after an
 * attachment's end everything unanswered, in order, before anything new.
 */
#include "client/library/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define ATTACH_PAUSE_NS (5 * LKS_NS_PER_MS)  /* between two tries */
/* Trying to attach may take so long though the caller wants control back earlier: else who polls
 * without waiting never gets anywhere. */
#define ATTACH_MIN_NS (250 * LKS_NS_PER_MS)
#define BUSY_PAUSE_NS (200 * LKS_NS_PER_US)
#define FULL_PAUSE_NS (10 * LKS_NS_PER_MS)   /* the log has no room */
#define SILENT_NS (3 * LKS_NS_PER_S) /* a replica that answers nothing so long is left */
#define NONCES_MAX 16u /* tried, where a partition has no room */

int lks_client_draw_nonce(struct lks_client *client)
{
    const ssize_t got = getrandom(client->nonce, sizeof client->nonce, 0);
    return got == (ssize_t)sizeof client->nonce ? 0 : -errno;
}

/* ---- attaching ------------------------------------------------------------------------------ */

/* What was sent may or may not have arrived: it is to be sent again. */
static void detach(struct lks_client *client)
{
    lks_attachment_close(client->attachment);
    client->attachment = NULL;
    client->control.number = 0;
    client->resume_ns = 0;
    for (uint64_t at = client->head; at < client->tail; at++) {
        lks_client_call_at(client, at)->number = 0;
    }
}

/* Within the caller's time, but for ATTACH_MIN_NS. */
static uint64_t attach_timeout(const struct lks_client *client, uint64_t now_ns)
{
    const uint64_t most_ns = client->way->attach_max_ns;
    uint64_t ns = client->until_ns > now_ns ? client->until_ns - now_ns : 0;
    ns = ns < ATTACH_MIN_NS ? ATTACH_MIN_NS : ns;
    return ns < most_ns ? ns : most_ns;
}

bool lks_client_is_refused(const struct lks_client *client)
{
    const uint32_t all = ((1u << client->options.replicas) - 1) << 1;
    return client->refused || client->refused_by == all;
}

static void attach(struct lks_client *client, uint64_t now_ns)
{
    client->attach_ns = now_ns + ATTACH_PAUSE_NS;
    client->replica = client->replica % client->options.replicas + 1;
    const uint32_t bit = 1u << client->replica;
    const int rc = client->way->attach(client, client->replica, attach_timeout(client, now_ns),
                                       &client->attachment);
    if (rc == 0) {
        client->attachments++;
        client->heard_ns = lks_clock_monotonic_ns(); /* it may have taken a while */
    }
    client->attach_status = rc;
    const bool refuses = rc == -LKS_EVERSION || rc == -EACCES;
    client->refused_by = refuses ? client->refused_by | bit : client->refused_by & ~bit;
}

/* ---- sending -------------------------------------------------------------------------------- */

static bool send_message(struct lks_client *client, enum lks_client_request kind,
                         const void *message, size_t bytes, uint64_t *number)
{
    const struct lks_attachment_request request = {.kind = kind,
                                                   .number = client->numbers + 1,
                                                   .data = message,
                                                   .bytes = (uint32_t)bytes};
    if (lks_attachment_push(client->attachment, &request) != 0) {
        return false; /* no room yet; or broken, which is noticed elsewhere */
    }
    client->numbers++;
    *number = client->numbers;
    return true;
}

static struct lks_session_header header_of(const struct lks_client *client, uint8_t kind)
{
    return (struct lks_session_header){.mark = LKS_SESSION_MARK,
                                       .kind = kind,
                                       .nonce = {client->nonce[0], client->nonce[1]},
                                       .id = client->session};
}

static void send_control(struct lks_client *client, uint64_t now_ns)
{
    const uint64_t lease_ns = client->options.lease_ms * LKS_NS_PER_MS;
    if (client->control.kind == 0 && !client->lost) {
        if (client->session == 0) {
            client->control.kind = LKS_SESSION_OPEN;
        } else if (now_ns - client->renewed_ns > lease_ns / 3) {
            client->control.kind = LKS_SESSION_TOUCH;
        }
    }
    if (client->control.kind == 0 || client->control.number != 0) {
        return;
    }
    struct lks_session_header header = header_of(client, client->control.kind);
    if (client->control.kind == LKS_SESSION_OPEN) {
        header.lease_ms = (uint32_t)client->options.lease_ms;
    }
    (void)send_message(client, LKS_CLIENT_REQUEST_CALL, &header, sizeof header,
                       &client->control.number);
    client->renewed_ns = now_ns;
}

/* False: nothing behind it may be sent now. */
static bool send_call(struct lks_client *client, struct lks_client_call *call, uint64_t now_ns)
{
    if (call->done || call->number != 0) {
        return true;
    }
    if (call->write && (client->session == 0 || client->lost)) {
        return client->lost;
    }
    if (call->write) { /* the session is open now, and stays this one */
        struct lks_session_header header =
            header_of(client, lks_client_is_skipped(call) ? LKS_SESSION_SKIP : LKS_SESSION_CALL);
        header.sequence = call->sequence;
        memcpy(call->message, &header, sizeof header);
        client->renewed_ns = now_ns;
    }
    if (!send_message(client, call->write ? LKS_CLIENT_REQUEST_CALL : LKS_CLIENT_REQUEST_READ,
                      call->message, call->message_bytes, &call->number)) {
        return false;
    }
    client->repeated += call->sendings > 0 ? 1 : 0;
    call->sendings++;
    return true;
}

static void send_all(struct lks_client *client, uint64_t now_ns)
{
    if (now_ns < client->resume_ns) {
        return;
    }
    send_control(client, now_ns);
    for (uint64_t at = client->head; at < client->tail; at++) {
        if (!send_call(client, lks_client_call_at(client, at), now_ns)) {
            break;
        }
    }
    lks_attachment_publish(client->attachment);
}

/* ---- answers -------------------------------------------------------------------------------- */

/* The session's word on a call: LKS_SESSION_STATUS_OK, with what the service said, or another; -1:
 * it is no answer of a session. */
static int session_status(const struct lks_attachment_reply *reply, const char **value,
                          size_t *bytes)
{
    const char *data = reply->data;
    if (reply->bytes > LKS_SESSION_OK_PREFIX_BYTES &&
        memcmp(data, LKS_SESSION_OK_PREFIX, LKS_SESSION_OK_PREFIX_BYTES) == 0) {
        *value = data + LKS_SESSION_OK_PREFIX_BYTES;
        *bytes = reply->bytes - LKS_SESSION_OK_PREFIX_BYTES;
        return LKS_SESSION_STATUS_OK;
    }
    const bool status = reply->bytes == 8 && memcmp(data, "*1\r\n:", 5) == 0 && data[5] > '0' &&
                        data[5] <= '0' + LKS_SESSION_STATUS_MALFORMED;
    return status ? data[5] - '0' : -1;
}

/* To be sent once more. A read behind it that is under way was asked before this sending: its
 * answer may be older than what the call does, so it is asked again, behind it
 * (docs/client-protocol.md#requests-and-replies). */
static void ask_again(struct lks_client *client, struct lks_client_call *call)
{
    bool behind = false;
    call->number = 0;
    for (uint64_t at = client->head; call->write && at < client->tail; at++) {
        struct lks_client_call *other = lks_client_call_at(client, at);
        if (behind && !other->write) {
            other->number = 0;
        }
        behind = behind || other == call;
    }
}

/* Nobody executes this one: its sequence must be used up all the same, else none behind it is. */
static void give_up_call(struct lks_client *client, struct lks_client_call *call, int status)
{
    if (!call->write || lks_client_is_skipped(call)) {
        lks_client_finish(client, call, status, NULL, 0);
        return;
    }
    ask_again(client, call);
    call->message_bytes = sizeof(struct lks_session_header);
    lks_client_tell(client, call, status, NULL, 0);
}

/* The session is gone. Of a call that was sent once, and answered so, no other sending can have
 * taken effect. */
static void lose_session(struct lks_client *client, struct lks_client_call *call)
{
    client->lost = true;
    lks_client_finish(client, call, call->sendings == 1 ? LKS_CLIENT_SESSION_LOST
                                                        : LKS_CLIENT_OUTCOME_UNKNOWN, NULL, 0);
}

/* Of calls whose own answer cannot come any more. */
static void end_lost_calls(struct lks_client *client)
{
    for (uint64_t at = client->head; client->lost && at < client->tail; at++) {
        struct lks_client_call *call = lks_client_call_at(client, at);
        if (call->write && !call->done && call->number == 0) {
            lks_client_finish(client, call, call->sendings == 0 ? LKS_CLIENT_SESSION_LOST
                                                                : LKS_CLIENT_OUTCOME_UNKNOWN,
                              NULL, 0);
        }
    }
}

static void take_control(struct lks_client *client, const struct lks_attachment_reply *reply)
{
    const char *value = NULL;
    size_t bytes = 0;
    const int status =
        reply->status == LKS_CLIENT_SAID_OK ? session_status(reply, &value, &bytes) : -1;
    client->control.number = 0;
    if (status < 0) {
        client->refused = client->refused || reply->status == LKS_CLIENT_SAID_MALFORMED;
        return; /* sent again, after a pause that the caller has seen to */
    }
    const uint8_t kind = client->control.kind;
    client->control.kind = 0;
    if (kind == LKS_SESSION_OPEN && status == LKS_SESSION_STATUS_OK) {
        client->session = bytes > 1 && bytes < 24 && value[0] == ':'
                              ? strtoull(value + 1, NULL, 10) /* ends at the line's end */
                              : 0;
    } else if (kind == LKS_SESSION_OPEN) {
        client->nonces_tried++;
        client->full = client->nonces_tried == NONCES_MAX || lks_client_draw_nonce(client) != 0;
    } else if (status == LKS_SESSION_STATUS_UNKNOWN) {
        client->lost = true;
    }
}

static void take_answer(struct lks_client *client, struct lks_client_call *call,
                        const struct lks_attachment_reply *reply)
{
    const char *value = reply->data;
    size_t bytes = reply->bytes;
    const int status =
        call->write ? session_status(reply, &value, &bytes) : (int)LKS_SESSION_STATUS_OK;
    switch (status) {
    case LKS_SESSION_STATUS_OK:
        lks_client_finish(client, call, LKS_CLIENT_OK, value, bytes);
        break;
    case LKS_SESSION_STATUS_UNKNOWN:
        lose_session(client, call);
        break;
    case LKS_SESSION_STATUS_GAP: /* one before it was not taken: in order, again */
        ask_again(client, call);
        break;
    case LKS_SESSION_STATUS_REPLY_LOST:
        lks_client_finish(client, call, LKS_CLIENT_REPLY_LOST, NULL, 0);
        break;
    default:
        give_up_call(client, call, LKS_CLIENT_REFUSED);
    }
}

/* A call given before it is not answered: it was refused and waits, or its answer comes later. The
 * read is asked again, behind it. */
static bool is_too_early(struct lks_client *client, const struct lks_client_call *read)
{
    for (uint64_t at = client->head; at < client->tail; at++) {
        const struct lks_client_call *call = lks_client_call_at(client, at);
        if (call == read) {
            return false;
        }
        if (call->write && !call->done) {
            return true;
        }
    }
    return false;
}

static void take_call(struct lks_client *client, struct lks_client_call *call,
                      const struct lks_attachment_reply *reply)
{
    switch (reply->status) {
    case LKS_CLIENT_SAID_OK:
        if (!call->write && is_too_early(client, call)) {
            ask_again(client, call);
        } else {
            take_answer(client, call, reply);
        }
        break;
    case LKS_CLIENT_SAID_UNKNOWN:
    case LKS_CLIENT_SAID_BUSY:
    case LKS_CLIENT_SAID_NO_LEADER:
    case LKS_CLIENT_SAID_RING_FULL:
        ask_again(client, call);
        break;
    case LKS_CLIENT_SAID_TOO_BIG:
        give_up_call(client, call, LKS_CLIENT_TOO_BIG);
        break;
    case LKS_CLIENT_SAID_MALFORMED:
        give_up_call(client, call, call->write ? LKS_CLIENT_REFUSED : LKS_CLIENT_NOT_A_READ);
        break;
    case LKS_CLIENT_SAID_FORBIDDEN:
        give_up_call(client, call, LKS_CLIENT_FORBIDDEN);
        break;
    case LKS_CLIENT_SAID_LONG:
        lks_client_finish(client, call, LKS_CLIENT_REPLY_TOO_BIG, NULL, 0);
        break;
    default:
        give_up_call(client, call, LKS_CLIENT_REFUSED);
    }
}

static struct lks_client_call *find(struct lks_client *client, uint64_t number)
{
    for (uint64_t at = client->head; at < client->tail; at++) {
        struct lks_client_call *call = lks_client_call_at(client, at);
        if (!call->done && call->number == number) {
            return call;
        }
    }
    return NULL; /* of a sending that another one has replaced */
}

/* Says how long to wait before the next sending, and whether to look for another replica. */
static void heed(struct lks_client *client, uint64_t status, uint64_t now_ns)
{
    if (status == LKS_CLIENT_SAID_BUSY || status == LKS_CLIENT_SAID_UNKNOWN) {
        client->resume_ns = now_ns + BUSY_PAUSE_NS;
    } else if (status == LKS_CLIENT_SAID_RING_FULL) {
        client->resume_ns = now_ns + FULL_PAUSE_NS;
    }
}

/* Takes all replies that are there. -EBADMSG, or whether the replica knows no leader. */
static int take_all(struct lks_client *client, uint64_t now_ns)
{
    int leaderless = 0;
    struct lks_attachment_reply reply;
    int rc;
    while ((rc = lks_attachment_pop(client->attachment, &reply)) == 0) {
        client->heard_ns = now_ns;
        heed(client, reply.status, now_ns);
        leaderless |= reply.status == LKS_CLIENT_SAID_NO_LEADER ? 1 : 0;
        if (client->control.number != 0 && reply.number == client->control.number) {
            take_control(client, &reply);
            continue;
        }
        struct lks_client_call *call = find(client, reply.number);
        if (call != NULL) {
            take_call(client, call, &reply);
        }
    }
    return rc == -ENODATA ? leaderless : rc;
}

/* Whether a reply is owed for something that was sent. */
static bool awaits(struct lks_client *client)
{
    bool owed = client->control.number != 0;
    for (uint64_t at = client->head; at < client->tail && !owed; at++) {
        const struct lks_client_call *call = lks_client_call_at(client, at);
        owed = !call->done && call->number != 0;
    }
    return owed;
}

void lks_client_exchange(struct lks_client *client)
{
    uint64_t now_ns = lks_clock_monotonic_ns();
    if (client->attachment == NULL && now_ns >= client->attach_ns) {
        attach(client, now_ns);
        now_ns = lks_clock_monotonic_ns();
    }
    if (client->attachment != NULL) {
        client->heard_ns = awaits(client) ? client->heard_ns : now_ns;
        send_all(client, now_ns);
        const int rc = take_all(client, now_ns);
        if (rc != 0 || now_ns - client->heard_ns > SILENT_NS) {
            detach(client);
        }
    }
    end_lost_calls(client);
}

void lks_client_wait(struct lks_client *client, uint64_t wait_ns)
{
    const uint64_t now_ns = lks_clock_monotonic_ns();
    const uint64_t due_ns =
        client->attachment == NULL ? client->attach_ns : client->resume_ns;
    const uint64_t due = due_ns > now_ns ? due_ns - now_ns : 0;
    if (client->attachment == NULL) {
        lks_clock_sleep_ns(due < wait_ns ? due : wait_ns);
        return;
    }
    const uint64_t renew_ns =
        client->renewed_ns + client->options.lease_ms * LKS_NS_PER_MS / 3 + 1;
    const uint64_t renew = renew_ns > now_ns ? renew_ns - now_ns : 0;
    const uint64_t silent_ns = client->heard_ns + SILENT_NS + 1;
    const uint64_t silent = silent_ns > now_ns && awaits(client) ? silent_ns - now_ns : 0;
    uint64_t most = due != 0 && due < wait_ns ? due : wait_ns;
    most = renew != 0 && renew < most ? renew : most;
    most = silent != 0 && silent < most ? silent : most;
    if (!lks_attachment_wait(client->attachment, most, client->options.spin_ns)) {
        detach(client);
    }
}
