/* The clients of a run; see clients.h. */
#include "sim/clients.h"

#include "base/assert.h"
#include "base/clock.h"
#include "lockstep/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MIN_NS (LKS_NS_PER_MS)
#define RETRY_MAX_NS (8 * LKS_NS_PER_MS)
#define MOVE_PPM 200000u /* how often a refused client tries another replica */
#define LEASE_MS 2000u
#define OPEN_COOKIE (UINT64_C(1) << 63) /* and the client's id; else a command's number ... */
#define ATTEMPT_SHIFT 32                /* ... and behind both the client's attempt */
#define ATTEMPT_MASK UINT64_C(0xFFFFFF)
#define RESERVED_MAX 256u /* kept back for the commands after the faults; a quarter at most */

struct client {
    struct lks_sim_clients *clients;
    uint32_t id; /* from 1 */
    uint32_t replica;
    uint32_t connection; /* another one after each move, loss of patience or end of the replica */
    uint32_t under_way;
    bool open;
    bool ticking; /* the next call is on the timeline */
    bool expected; /* is owed an answer to a command called after lks_sim_clients_expect */
    bool again;    /* the next command is `lost` once more */
    /* Of one with a session: what has no answer is sent again, in order, under another attempt;
     * answers to earlier attempts are not heard. */
    bool sessioned;
    bool opening;
    bool repeating; /* what is under way is to be sent again */
    bool watching;  /* the end of its patience is on the timeline */
    uint64_t attempt;
    uint64_t session; /* 0: none yet */
    uint64_t nonce[2];
    uint64_t sequences;
    struct lks_sim_operation lost; /* the newest that became unknown */
};

/* A command that was called. */
struct call {
    uint32_t client;
    bool under_way;
    bool late; /* called after lks_sim_clients_expect */
    uint64_t sequence; /* in the client's session; 0: it has none */
};

struct lks_sim_clients {
    struct lks_sim_clients_options options;
    struct lks_sim_random random;
    struct client clients[LKS_SIM_CLIENTS_MAX + 1];
    struct call calls[LKS_SIM_COMMANDS_MAX]; /* by command number */
    uint64_t numbers; /* the last one used */
    uint64_t oldest;  /* every number below it is settled */
    uint32_t commands_max;
    uint32_t connections; /* made so far */
    bool expecting;
    bool stopped;
    struct lks_sim_clients_counts counts;
};

static uint64_t now_of(const struct lks_sim_clients *clients)
{
    return lks_sim_timeline_now(clients->options.timeline);
}

static void call_next(void *ctx, uint64_t unused);

static void tick_after(struct client *client, const struct lks_sim_delay *delay)
{
    struct lks_sim_clients *clients = client->clients;
    if (client->ticking || clients->stopped) {
        return;
    }
    client->ticking = true;
    lks_sim_timeline_post(clients->options.timeline,
                          now_of(clients) + lks_sim_random_delay(&clients->random, delay),
                          call_next, client, 0);
}

static void connect(struct client *client)
{
    client->clients->connections++;
    client->connection = client->clients->connections;
}

static void move_elsewhere(struct client *client)
{
    connect(client);
    const uint32_t replicas = client->clients->options.replicas;
    if (replicas > 1) {
        const uint32_t step =
            1 + (uint32_t)lks_sim_random_below(&client->clients->random, replicas - 1);
        client->replica = (client->replica - 1 + step) % replicas + 1;
    }
}

enum moment { CALLED, REFUSED, ANSWERED, GIVEN_UP };

static void record(struct lks_sim_clients *clients, const struct client *client,
                   enum moment moment, uint64_t number)
{
    static const char *const names[] = {[CALLED] = "call: command, client",
                                        [REFUSED] = "refused: command, client",
                                        [ANSWERED] = "answer: command, client",
                                        [GIVEN_UP] = "given up: command, client"};
    static const char *const verbs[] = {[CALLED] = "calls",
                                        [REFUSED] = "is refused",
                                        [ANSWERED] = "is answered",
                                        [GIVEN_UP] = "gives up, not knowing what became of"};
    struct lks_sim_trace *trace = clients->options.trace;
    const uint64_t now_ns = now_of(clients);
    lks_sim_trace_add(trace, now_ns,
                      &(struct lks_sim_record){.what = names[moment],
                                               .a = client->replica,
                                               .x = number,
                                               .y = client->id});
    if (!lks_sim_trace_tells(trace)) {
        return;
    }
    const struct lks_sim_call *call = &clients->options.history->calls[number];
    char words[64];
    lks_sim_operation_print(&call->operation, words, sizeof words);
    lks_sim_trace_tell(trace, now_ns, client->replica, true,
                       "client %" PRIu32 " %s command %" PRIu64 ", %s%s%s", client->id,
                       verbs[moment], number, words, moment == ANSWERED ? ": " : "",
                       moment == ANSWERED ? call->answer.text : "");
}

/* What became of this command stays unknown to its client. */
static void forget(struct client *client, uint64_t number)
{
    struct lks_sim_clients *clients = client->clients;
    clients->calls[number].under_way = false;
    client->under_way--;
    clients->counts.unknown++;
    client->lost = clients->options.history->calls[number].operation;
    record(clients, client, GIVEN_UP, number);
}

/* What a client with a session has under way is to be sent again; but for reads: of two answers to
 * one number nobody could tell which state each had seen. */
static void repeat_soon(struct client *client)
{
    static const struct lks_sim_delay retry = {.min_ns = RETRY_MIN_NS, .max_ns = RETRY_MAX_NS};
    struct lks_sim_clients *clients = client->clients;
    for (uint64_t number = clients->oldest; number <= clients->numbers; number++) {
        const struct call *call = &clients->calls[number];
        if (call->client == client->id && call->under_way && call->sequence == 0) {
            forget(client, number);
        }
    }
    client->attempt = (client->attempt + 1) & ATTEMPT_MASK;
    client->opening = false;
    client->repeating = true;
    tick_after(client, &retry);
}

static void forget_all(struct client *client)
{
    struct lks_sim_clients *clients = client->clients;
    while (clients->oldest <= clients->numbers && !clients->calls[clients->oldest].under_way) {
        clients->oldest++;
    }
    for (uint64_t number = clients->numbers; client->under_way > 0; number--) {
        LKS_ASSERT(number >= clients->oldest);
        const struct call *call = &clients->calls[number];
        if (call->client == client->id && call->under_way) {
            forget(client, number);
            client->again = true;
        }
    }
}

/* All that a client has under way becomes unknown, and it goes on elsewhere. One with a session
 * goes on with the same. */
static void give_up(struct client *client)
{
    static const struct lks_sim_delay retry = {.min_ns = RETRY_MIN_NS, .max_ns = RETRY_MAX_NS};
    struct lks_sim_clients *clients = client->clients;
    if (client->sessioned) {
        move_elsewhere(client);
        repeat_soon(client);
        return;
    }
    forget_all(client);
    client->again = client->again && lks_sim_random_chance(&clients->random,
                                                           clients->options.profile->again_ppm);
    move_elsewhere(client);
    tick_after(client, &retry);
}

static void lose_patience(void *ctx, uint64_t number)
{
    struct lks_sim_clients *clients = ctx;
    const struct call *call = &clients->calls[number];
    if (call->under_way) {
        give_up(&clients->clients[call->client]);
    }
}

static void choose_operation(struct client *client, struct lks_sim_operation *operation)
{
    struct lks_sim_clients *clients = client->clients;
    if (client->again) {
        client->again = false;
        clients->counts.again++;
        *operation = client->lost;
        return;
    }
    lks_sim_operation_draw(operation, &clients->random, (int64_t)clients->numbers + 1,
                           clients->options.profile->filler_bytes_max);
}

/* Once the faults are over, a client that got what it owed calls no more. */
static bool may_call(const struct client *client)
{
    const struct lks_sim_clients *clients = client->clients;
    const uint32_t quarter = clients->commands_max / 4;
    const uint32_t reserved = quarter < RESERVED_MAX ? quarter : RESERVED_MAX;
    return !clients->stopped && (!clients->expecting || client->expected) &&
           (clients->expecting || clients->numbers + reserved < clients->commands_max) &&
           clients->numbers + 1 < LKS_SIM_COMMANDS_MAX;
}

/* The replica did not take it: it never happened. */
static void refused(struct client *client, uint64_t number, bool up)
{
    static const struct lks_sim_delay retry = {.min_ns = RETRY_MIN_NS, .max_ns = RETRY_MAX_NS};
    struct lks_sim_clients *clients = client->clients;
    struct call *call = &clients->calls[number];
    LKS_ASSERT(call->under_way);
    call->under_way = false;
    client->under_way--;
    clients->counts.refused++;
    lks_sim_history_refused(clients->options.history, (uint32_t)number);
    record(clients, client, REFUSED, number);
    if (!up || lks_sim_random_chance(&clients->random, MOVE_PPM)) {
        move_elsewhere(client);
    }
    tick_after(client, &retry);
}

/* ---- sessions ------------------------------------------------------------------------------- */

static void lose_patience_at_all(void *ctx, uint64_t unused)
{
    struct client *client = ctx;
    (void)unused;
    client->watching = false;
    if (client->opening || client->under_way > 0) {
        give_up(client);
    }
}

static void watch(struct client *client)
{
    struct lks_sim_clients *clients = client->clients;
    if (!client->watching) {
        client->watching = true;
        lks_sim_timeline_post(
            clients->options.timeline,
            now_of(clients) +
                lks_sim_random_delay(&clients->random, &clients->options.profile->patience),
            lose_patience_at_all, client, 0);
    }
}

/* True: taken by the replica. */
static bool send_bytes(struct client *client, const uint8_t *bytes, size_t count, uint64_t cookie)
{
    struct lks_sim_clients *clients = client->clients;
    int status = 0;
    const bool up =
        clients->options.submit(clients->options.ctx, client->replica, bytes, count,
                                cookie | client->attempt << ATTEMPT_SHIFT, &status);
    if (up && status == 0) {
        watch(client);
        return true;
    }
    if (!up || lks_sim_random_chance(&clients->random, MOVE_PPM)) {
        move_elsewhere(client);
    }
    repeat_soon(client);
    return false;
}

static void open_session(struct client *client)
{
    const struct lks_session_header header = {.mark = LKS_SESSION_MARK,
                                              .kind = LKS_SESSION_OPEN,
                                              .lease_ms = LEASE_MS,
                                              .nonce = {client->nonce[0], client->nonce[1]}};
    client->opening = true; /* before: the answer may come from inside the call */
    (void)send_bytes(client, (const uint8_t *)&header, sizeof header, OPEN_COOKIE | client->id);
}

static void draw_session(struct client *client)
{
    struct lks_sim_random *random = &client->clients->random;
    client->session = 0;
    client->sequences = 0;
    client->nonce[0] = lks_sim_random_below(random, UINT64_MAX);
    client->nonce[1] = lks_sim_random_below(random, UINT64_MAX);
}

/* Sends a call that was given a sequence, or a read. */
static bool send_call(struct client *client, uint64_t number)
{
    struct lks_sim_clients *clients = client->clients;
    uint8_t bytes[sizeof(struct lks_session_header) + LKS_SIM_COMMAND_BYTES_MAX];
    const struct lks_session_header header = {.mark = LKS_SESSION_MARK,
                                              .kind = LKS_SESSION_CALL,
                                              .nonce = {client->nonce[0], client->nonce[1]},
                                              .id = client->session,
                                              .sequence = clients->calls[number].sequence};
    const size_t before = header.sequence != 0 ? sizeof header : 0;
    memcpy(bytes, &header, before);
    const size_t count = lks_sim_operation_encode(
        &clients->options.history->calls[number].operation, number, bytes + before);
    return send_bytes(client, bytes, before + count, number);
}

static void repeat_all(struct client *client)
{
    struct lks_sim_clients *clients = client->clients;
    const uint64_t last = clients->numbers;
    client->repeating = false;
    for (uint64_t number = clients->oldest; number <= last; number++) {
        const struct call *call = &clients->calls[number];
        if (call->client == client->id && call->under_way) {
            clients->counts.repeated++;
            if (!send_call(client, number)) {
                return;
            }
        }
    }
}

/* The session has expired, by a clock that jumped: nobody knows what became of its calls. */
static void lose_session(struct client *client)
{
    client->clients->counts.sessions_lost++;
    forget_all(client);
    draw_session(client);
    repeat_soon(client);
}

/* The status in a session's answer. */
static unsigned status_of(const void *reply, size_t bytes)
{
    LKS_ASSERT(bytes >= 8);
    return (unsigned)(((const char *)reply)[5] - '0');
}

static void opened(struct lks_sim_clients *clients, uint64_t cookie, const void *reply,
                   size_t bytes)
{
    struct client *client = &clients->clients[cookie & UINT32_MAX];
    if (!client->opening || (cookie >> ATTEMPT_SHIFT & ATTEMPT_MASK) != client->attempt) {
        return;
    }
    if (bytes == 0) {
        give_up(client);
        return;
    }
    client->opening = false;
    LKS_ASSERT(status_of(reply, bytes) == LKS_SESSION_STATUS_OK);
    client->session =
        strtoull((const char *)reply + LKS_SESSION_OK_PREFIX_BYTES + 1, NULL, 10);
    tick_after(client, &clients->options.profile->think);
}

/* What a session answered a call; true: here is the service's own answer. */
static bool unwrap(struct client *client, uint64_t number, const void **reply, size_t *bytes)
{
    switch (status_of(*reply, *bytes)) {
    case LKS_SESSION_STATUS_OK:
        *reply = (const char *)*reply + LKS_SESSION_OK_PREFIX_BYTES;
        *bytes -= LKS_SESSION_OK_PREFIX_BYTES;
        return true;
    case LKS_SESSION_STATUS_UNKNOWN:
        lose_session(client);
        return false;
    case LKS_SESSION_STATUS_GAP:
        repeat_soon(client);
        return false;
    default:
        LKS_ASSERT(status_of(*reply, *bytes) == LKS_SESSION_STATUS_REPLY_LOST);
        lks_sim_commands_acknowledged(client->clients->options.commands, number);
        forget(client, number);
        tick_after(client, &client->clients->options.profile->think);
        return false;
    }
}

/* True: this call's time was used for its session. */
static bool tend_session(struct client *client)
{
    if (!client->sessioned || client->opening) {
        return client->opening;
    }
    if (client->session == 0) {
        open_session(client);
        return true;
    }
    if (client->repeating) {
        repeat_all(client);
        if (!client->repeating) {
            tick_after(client, &client->clients->options.profile->think);
        }
        return true;
    }
    return false;
}

/* ---- calling -------------------------------------------------------------------------------- */

/* Returns the number of the command that was called. */
static uint64_t call_one(struct client *client)
{
    struct lks_sim_clients *clients = client->clients;
    uint8_t bytes[LKS_SIM_COMMAND_BYTES_MAX];
    struct lks_sim_operation operation;
    choose_operation(client, &operation);
    const uint64_t number =
        lks_sim_history_call(clients->options.history, &operation, now_of(clients));
    LKS_ASSERT(number == clients->numbers + 1);
    clients->numbers = number;
    clients->options.history->calls[number].connection = client->connection;
    clients->calls[number] =
        (struct call){.client = client->id, .under_way = true, .late = clients->expecting};
    client->under_way++;
    clients->counts.called++;
    record(clients, client, CALLED, number);
    if (client->sessioned) {
        clients->calls[number].sequence =
            lks_sim_operation_is_read(&operation) ? 0 : ++client->sequences;
        return send_call(client, number) ? number : 0;
    }
    const size_t count = lks_sim_operation_encode(&operation, number, bytes);
    int status = 0;
    const bool up = clients->options.submit(clients->options.ctx, client->replica, bytes, count,
                                            number, &status);
    if (!up || status != 0) {
        refused(client, number, up);
        return 0;
    }
    return number;
}

static void call_next(void *ctx, uint64_t unused)
{
    (void)unused;
    struct client *client = ctx;
    struct lks_sim_clients *clients = client->clients;
    const struct lks_sim_clients_profile *profile = clients->options.profile;
    client->ticking = false;
    if (tend_session(client) || !may_call(client)) {
        return; /* _expect goes on, if anything does */
    }
    if (client->under_way >= (client->open ? LKS_SIM_WINDOW_MAX : profile->window)) {
        if (client->open) {
            tick_after(client, &profile->think); /* the call that was due now is left out */
        }
        return; /* an answer or lost patience goes on */
    }
    const uint64_t number = call_one(client);
    if (number == 0) {
        return;
    }
    if (!client->sessioned) {
        lks_sim_timeline_post(clients->options.timeline,
                              now_of(clients) +
                                  lks_sim_random_delay(&clients->random, &profile->patience),
                              lose_patience, clients, number);
    }
    tick_after(client, &profile->think);
}

struct lks_sim_clients *lks_sim_clients_new(const struct lks_sim_clients_options *options)
{
    LKS_ASSERT(options->profile->count <= LKS_SIM_CLIENTS_MAX);
    LKS_ASSERT(options->profile->window <= LKS_SIM_WINDOW_MAX);
    LKS_ASSERT(options->profile->commands_max <= LKS_SIM_COMMANDS_MAX);
    struct lks_sim_clients *clients = calloc(1, sizeof *clients);
    LKS_ASSERT(clients != NULL);
    clients->options = *options;
    clients->oldest = 1;
    clients->commands_max = options->profile->commands_max;
    if (options->commands_max != 0 && options->commands_max < clients->commands_max) {
        clients->commands_max = options->commands_max;
    }
    lks_sim_random_fork(&clients->random, options->random, 0x636c69);
    for (uint32_t id = 1; id <= options->profile->count; id++) {
        struct client *client = &clients->clients[id];
        client->clients = clients;
        client->id = id;
        client->open = lks_sim_random_chance(&clients->random, options->profile->open_ppm);
        client->replica = (id - 1) % options->replicas + 1;
        connect(client);
        if (options->profile->sessions_ppm > 0) { /* (others draw what they always drew) */
            client->sessioned =
                lks_sim_random_chance(&clients->random, options->profile->sessions_ppm);
            draw_session(client);
        }
        tick_after(client, &options->profile->think);
    }
    return clients;
}

void lks_sim_clients_free(struct lks_sim_clients *clients)
{
    free(clients);
}

void lks_sim_clients_replied(struct lks_sim_clients *clients, uint64_t cookie, const void *reply,
                             size_t bytes)
{
    if ((cookie & OPEN_COOKIE) != 0) {
        opened(clients, cookie, reply, bytes);
        return;
    }
    const uint64_t number = cookie & UINT32_MAX;
    LKS_ASSERT(number > 0 && number <= clients->numbers);
    struct call *call = &clients->calls[number];
    struct client *client = &clients->clients[call->client];
    if (!call->under_way || cookie >> ATTEMPT_SHIFT != client->attempt) {
        return; /* the client has given up: the outcome stays unknown to it */
    }
    if (bytes == 0) {
        give_up(client); /* the port ends the connection: nobody will ever know */
        return;
    }
    if (call->sequence != 0 && !unwrap(client, number, &reply, &bytes)) {
        return;
    }
    struct lks_sim_answer answer;
    lks_sim_answer_read(&answer, reply, bytes);
    lks_sim_history_return(clients->options.history, (uint32_t)number, &answer, now_of(clients));
    record(clients, client, ANSWERED, number);
    if (!lks_sim_operation_is_read(&clients->options.history->calls[number].operation)) {
        lks_sim_commands_acknowledged(clients->options.commands, number);
    }
    call->under_way = false;
    client->under_way--;
    clients->counts.answered++;
    if (call->late) {
        client->expected = false;
    }
    tick_after(client, &clients->options.profile->think);
}

void lks_sim_clients_disconnected(struct lks_sim_clients *clients, uint32_t replica)
{
    for (uint32_t id = 1; id <= clients->options.profile->count; id++) {
        if (clients->clients[id].replica == replica) {
            give_up(&clients->clients[id]);
        }
    }
}

void lks_sim_clients_expect(struct lks_sim_clients *clients)
{
    static const struct lks_sim_delay soon = {.min_ns = RETRY_MIN_NS, .max_ns = RETRY_MAX_NS};
    clients->expecting = true;
    for (uint32_t id = 1; id <= clients->options.profile->count; id++) {
        clients->clients[id].expected = true;
        tick_after(&clients->clients[id], &soon);
    }
}

uint32_t lks_sim_clients_waiting(const struct lks_sim_clients *clients)
{
    for (uint32_t id = 1; id <= clients->options.profile->count; id++) {
        if (clients->clients[id].expected) {
            return id;
        }
    }
    return 0;
}

void lks_sim_clients_stop(struct lks_sim_clients *clients)
{
    clients->stopped = true;
}

void lks_sim_clients_counts(const struct lks_sim_clients *clients,
                            struct lks_sim_clients_counts *counts)
{
    *counts = clients->counts;
}
