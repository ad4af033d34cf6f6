/* The clients of a run; see clients.h. */
#include "sim/clients.h"

#include "base/assert.h"
#include "base/clock.h"
#include "sim/service.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_MIN_NS (LKS_NS_PER_MS)
#define RETRY_MAX_NS (8 * LKS_NS_PER_MS)
#define MOVE_PPM 200000u /* how often a refused client tries another replica */
#define RESERVED_COMMANDS 256u /* kept back for the commands after the faults */

struct client {
    struct lks_sim_clients *clients;
    uint32_t id; /* from 1 */
    uint32_t replica;
    uint32_t under_way;
    bool ticking; /* the next call is on the timeline */
    bool expected; /* owes an answer to a command called after expected_from */
};

/* A command that was called. */
struct call {
    uint32_t client;
    uint32_t place; /* in the history */
    uint32_t replica;
    bool under_way;
    bool late; /* called after lks_sim_clients_expect */
};

struct lks_sim_clients {
    struct lks_sim_clients_options options;
    struct lks_sim_random random;
    struct client clients[LKS_SIM_CLIENTS_MAX + 1];
    struct call calls[LKS_SIM_COMMANDS_MAX]; /* by command number */
    uint64_t numbers; /* the last one used */
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

static void move_elsewhere(struct client *client)
{
    const uint32_t replicas = client->clients->options.replicas;
    if (replicas > 1) {
        const uint32_t step =
            1 + (uint32_t)lks_sim_random_below(&client->clients->random, replicas - 1);
        client->replica = (client->replica - 1 + step) % replicas + 1;
    }
}

/* All that a client has under way becomes unknown, and it goes on elsewhere. */
static void give_up(struct client *client)
{
    static const struct lks_sim_delay retry = {.min_ns = RETRY_MIN_NS, .max_ns = RETRY_MAX_NS};
    struct lks_sim_clients *clients = client->clients;
    for (uint64_t number = clients->numbers; number > 0 && client->under_way > 0; number--) {
        struct call *call = &clients->calls[number];
        if (call->client == client->id && call->under_way) {
            call->under_way = false;
            client->under_way--;
            clients->counts.unknown++;
        }
    }
    LKS_ASSERT(client->under_way == 0);
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

/* Fills in a random command and what the history says of it; returns its bytes. */
static size_t make_command(struct lks_sim_clients *clients, uint8_t *bytes,
                           struct lks_history_operation *operation)
{
    static const struct {
        enum lks_sim_command_kind kind;
        enum lks_history_kind recorded;
    } kinds[] = {{LKS_SIM_GET, LKS_HISTORY_GET},   {LKS_SIM_GET, LKS_HISTORY_GET},
                 {LKS_SIM_GET, LKS_HISTORY_GET},   {LKS_SIM_SET, LKS_HISTORY_SET},
                 {LKS_SIM_SET, LKS_HISTORY_SET},   {LKS_SIM_INCR, LKS_HISTORY_INCR},
                 {LKS_SIM_INCR, LKS_HISTORY_INCR}, {LKS_SIM_INCR, LKS_HISTORY_INCR},
                 {LKS_SIM_DEL, LKS_HISTORY_DEL}};
    struct lks_sim_random *random = &clients->random;
    const uint64_t chosen = lks_sim_random_below(random, LKS_COUNT_OF(kinds));
    const struct lks_sim_command command = {
        .number = clients->numbers,
        .kind = kinds[chosen].kind,
        .key = (uint32_t)lks_sim_random_below(random, LKS_SIM_KEYS),
        .argument = kinds[chosen].kind == LKS_SIM_INCR ? 1 : (int64_t)clients->numbers};
    const uint64_t filler =
        lks_sim_random_below(random, (uint64_t)clients->options.profile->filler_bytes_max + 1);
    LKS_ASSERT(sizeof command + filler <= LKS_SIM_COMMAND_BYTES_MAX);
    memset(bytes, (int)(clients->numbers & 0xff), sizeof command + filler);
    memcpy(bytes, &command, sizeof command);
    *operation = (struct lks_history_operation){.key = command.key,
                                                .call_ns = now_of(clients),
                                                .kind = kinds[chosen].recorded,
                                                .argument = command.argument};
    return sizeof command + filler;
}

/* Once the faults are over, a client that got what it owed calls no more. */
static bool may_call(const struct client *client)
{
    const struct lks_sim_clients *clients = client->clients;
    const uint32_t reserved = clients->expecting ? 0 : RESERVED_COMMANDS;
    return !clients->stopped && (!clients->expecting || client->expected) &&
           clients->numbers + 1 + reserved < clients->options.profile->commands_max;
}

static void call_next(void *ctx, uint64_t unused)
{
    (void)unused;
    static const struct lks_sim_delay retry = {.min_ns = RETRY_MIN_NS, .max_ns = RETRY_MAX_NS};
    struct client *client = ctx;
    struct lks_sim_clients *clients = client->clients;
    const struct lks_sim_clients_profile *profile = clients->options.profile;
    client->ticking = false;
    if (!may_call(client) || client->under_way >= profile->window) {
        return; /* an answer, lost patience or _expect goes on */
    }
    uint8_t bytes[LKS_SIM_COMMAND_BYTES_MAX];
    struct lks_history_operation operation;
    const uint64_t number = ++clients->numbers;
    const size_t count = make_command(clients, bytes, &operation);
    struct call *call = &clients->calls[number];
    *call = (struct call){.client = client->id,
                          .place = lks_sim_history_call(clients->options.history, &operation),
                          .replica = client->replica,
                          .under_way = true,
                          .late = clients->expecting};
    client->under_way++;
    clients->counts.called++;
    int status = 0;
    const bool up = clients->options.submit(clients->options.ctx, client->replica, bytes, count,
                                            number, &status);
    if (!up || status != 0) {
        LKS_ASSERT(call->under_way);
        call->under_way = false;
        client->under_way--;
        clients->counts.refused++;
        lks_sim_history_refused(clients->options.history, call->place);
        if (!up || lks_sim_random_chance(&clients->random, MOVE_PPM)) {
            move_elsewhere(client);
        }
        tick_after(client, &retry);
        return;
    }
    lks_sim_timeline_post(clients->options.timeline,
                          now_of(clients) +
                              lks_sim_random_delay(&clients->random, &profile->patience),
                          lose_patience, clients, number);
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
    lks_sim_random_fork(&clients->random, options->random, 0x636c69);
    for (uint32_t id = 1; id <= options->profile->count; id++) {
        struct client *client = &clients->clients[id];
        client->clients = clients;
        client->id = id;
        client->replica = (id - 1) % options->replicas + 1;
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
    LKS_ASSERT(cookie > 0 && cookie <= clients->numbers);
    struct call *call = &clients->calls[cookie];
    if (!call->under_way) {
        return; /* the client has given up: the outcome stays unknown to it */
    }
    struct client *client = &clients->clients[call->client];
    struct lks_sim_answer answer;
    const bool understood = lks_sim_service_parse(reply, bytes, &answer);
    LKS_ASSERT(understood);
    const struct lks_history_operation recorded = {
        .return_ns = now_of(clients), .present = answer.present, .value = answer.value};
    struct lks_history_operation corrected = recorded;
    if (clients->options.history->operations[call->place].kind == LKS_HISTORY_DEL) {
        corrected.present = answer.value != 0;
    }
    lks_sim_history_return(clients->options.history, call->place, &corrected);
    lks_sim_commands_acknowledged(clients->options.commands, cookie);
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

uint32_t lks_sim_clients_place(const struct lks_sim_clients *clients, uint64_t number)
{
    LKS_ASSERT(number > 0 && number <= clients->numbers);
    return clients->calls[number].place;
}

void lks_sim_clients_counts(const struct lks_sim_clients *clients,
                            struct lks_sim_clients_counts *counts)
{
    *counts = clients->counts;
}
