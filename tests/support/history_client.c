/* Recording clients; see the header. */
#include "tests/support/history_client.h"

#include "base/clock.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPLY_TIMEOUT_MS 3000
#define RECONNECT_US 2000
#define CHECK_BATCH 256
#define CHECK_TRIES_MAX 20u
#define CHECK_PAUSE_US 200000
#define DELETED_REGISTER 2u

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = *state;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static redisContext *connect_to(const struct lks_process_cluster *cluster, uint32_t replica)
{
    const uint32_t limit_ms = lks_process_cluster_patience(cluster, REPLY_TIMEOUT_MS);
    struct timeval timeout = {.tv_sec = limit_ms / 1000};
    redisContext *context =
        redisConnectWithTimeout(lks_process_cluster_host(cluster, replica),
                                lks_process_cluster_port(cluster, replica), timeout);
    if (context == NULL || context->err != 0) {
        redisFree(context);
        return NULL;
    }
    redisSetTimeout(context, timeout);
    return context;
}

/* ---- one operation --------------------------------------------------------------------------- */

static redisReply *send_operation(redisContext *context,
                                  const struct lks_history_operation *operation)
{
    unsigned key = (unsigned)operation->key;
    switch (operation->kind) {
    case LKS_HISTORY_GET:
        return redisCommand(context, "GET shared:%u", key);
    case LKS_HISTORY_SET:
        return redisCommand(context, "SET shared:%u %lld", key, (long long)operation->argument);
    case LKS_HISTORY_INCR:
        return redisCommand(context, "INCR shared:%u", key);
    case LKS_HISTORY_DEL:
        return redisCommand(context, "DEL shared:%u", key);
    default:
        return NULL; /* choose() draws no others */
    }
}

/* Fills in the answer; false: it is of a type that the command never has. */
static bool read_reply(const redisReply *reply, struct lks_history_operation *operation)
{
    switch (operation->kind) {
    case LKS_HISTORY_GET:
        operation->present = reply->type == REDIS_REPLY_STRING;
        operation->value = operation->present ? strtoll(reply->str, NULL, 10) : 0;
        return operation->present || reply->type == REDIS_REPLY_NIL;
    case LKS_HISTORY_SET:
        return reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "OK") == 0;
    case LKS_HISTORY_INCR:
        operation->value = reply->integer;
        return reply->type == REDIS_REPLY_INTEGER;
    case LKS_HISTORY_DEL:
        operation->present = reply->integer == 1;
        return reply->type == REDIS_REPLY_INTEGER && (reply->integer == 0 || reply->integer == 1);
    default:
        return false;
    }
}

static struct lks_history_operation choose(struct lks_history_client *client, uint64_t number)
{
    uint64_t random = next_random(&client->seed);
    struct lks_history_operation operation = {.key = random % LKS_HISTORY_KEYS};
    bool reads = (random >> 32) % 2 == 0;
    bool deletes = (random >> 40) % 8 == 0;
    if (reads) {
        operation.kind = LKS_HISTORY_GET;
    } else if (operation.key >= LKS_HISTORY_REGISTERS) {
        operation.kind = LKS_HISTORY_INCR;
        operation.argument = 1;
    } else if (operation.key == DELETED_REGISTER && deletes) {
        operation.kind = LKS_HISTORY_DEL;
    } else {
        operation.kind = LKS_HISTORY_SET;
        operation.argument = (int64_t)((uint64_t)(client->id + 1) << 40 | number);
    }
    return operation;
}

/* What a command came to, counted. */
static char settle(struct lks_history_client *client, const redisReply *reply)
{
    if (reply == NULL) {
        client->unknown++;
        return 'U';
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        client->refused++;
        (void)snprintf(client->refusal, sizeof client->refusal, "%s", reply->str);
        return 'R';
    }
    client->acknowledged++;
    atomic_fetch_add_explicit(&client->run->acknowledged, 1, memory_order_relaxed);
    return 'A';
}

static char shared_operation(struct lks_history_client *client, redisContext *context,
                             uint64_t number)
{
    struct lks_history_operation operation = choose(client, number);
    operation.call_ns = lks_clock_monotonic_ns();
    redisReply *reply = send_operation(context, &operation);
    operation.return_ns = lks_clock_monotonic_ns();
    char outcome = settle(client, reply);
    if (outcome != 'R') {
        operation.known = outcome == 'A';
        if (operation.known && !read_reply(reply, &operation)) {
            client->malformed++;
        }
        client->operations[client->count++] = operation;
    }
    freeReplyObject(reply);
    return outcome;
}

static char own_operation(struct lks_history_client *client, redisContext *context)
{
    unsigned long long number = client->own_count++;
    redisReply *reply = redisCommand(context, "SET own:%u:%llu %llu", client->id, number, number);
    char outcome = settle(client, reply);
    client->own[number] = outcome;
    freeReplyObject(reply);
    return outcome;
}

/* ---- the client's life ----------------------------------------------------------------------- */

static uint64_t disturbances_of(struct lks_history_run *run, uint32_t replica)
{
    return atomic_load_explicit(&run->disturbances[replica], memory_order_acquire);
}

/* What a client may rely on, noted before an operation. */
struct calm {
    uint64_t replica;
    uint64_t cluster;
};

static struct calm calm_of(struct lks_history_run *run, uint32_t replica)
{
    return (struct calm){
        .replica = disturbances_of(run, replica),
        .cluster = atomic_load_explicit(&run->standstills, memory_order_acquire)};
}

/* True if nothing was done to the replica since `before` (of its connection), nor to a majority. */
static bool left_alone(struct lks_history_run *run, uint32_t replica, const struct calm *before,
                       bool and_a_majority)
{
    const struct calm now = calm_of(run, replica);
    return before->replica % 2 == 0 && now.replica == before->replica &&
           (!and_a_majority || (before->cluster % 2 == 0 && now.cluster == before->cluster));
}

static void judge_outcome(struct lks_history_client *client, uint32_t replica, char outcome,
                          const struct calm *connected, const struct calm *called)
{
    if (outcome == 'U' && left_alone(client->run, replica, connected, false)) {
        client->unexpected++;
    }
    if (outcome == 'R' && left_alone(client->run, replica, connected, false) &&
        left_alone(client->run, replica, called, true)) {
        client->unexpected++;
        fprintf(stderr, "replica %u was left alone, and a majority, but refused: %s\n", replica,
                client->refusal);
    }
}

static void *live(void *ctx)
{
    struct lks_history_client *client = ctx;
    struct lks_history_run *run = client->run;
    uint32_t replicas = run->cluster->replicas;
    uint32_t replica = client->id % replicas + 1;
    redisContext *context = NULL;
    struct calm connected = {0};
    for (uint64_t number = 0; number < run->operations_max;) {
        if (atomic_load_explicit(&run->stop, memory_order_relaxed)) {
            break;
        }
        if (context == NULL) {
            connected = calm_of(run, replica);
            context = connect_to(run->cluster, replica);
            if (context == NULL) {
                replica = replica % replicas + 1;
                usleep(RECONNECT_US);
                continue;
            }
        }
        const struct calm called = calm_of(run, replica);
        bool shared = next_random(&client->seed) % 4 != 0;
        char outcome = shared ? shared_operation(client, context, number)
                              : own_operation(client, context);
        number++;
        judge_outcome(client, replica, outcome, &connected, &called);
        if (outcome == 'A') { /* from here on too: it may have connected to a disturbed replica */
            connected = called;
        }
        if (outcome == 'U') {
            redisFree(context);
            context = NULL;
            replica = replica % replicas + 1;
        }
        usleep((useconds_t)(1 + next_random(&client->seed) % run->think_us_max));
    }
    redisFree(context);
    return NULL;
}

int lks_history_client_start(struct lks_history_client *client, struct lks_history_run *run,
                             uint32_t id, uint64_t seed)
{
    *client = (struct lks_history_client){.run = run, .id = id, .seed = seed};
    client->operations = calloc(run->operations_max, sizeof(*client->operations));
    client->own = calloc(run->operations_max, 1);
    if (client->operations == NULL || client->own == NULL ||
        pthread_create(&client->thread, NULL, live, client) != 0) {
        lks_history_client_fini(client);
        return -1;
    }
    return 0;
}

void lks_history_client_join(struct lks_history_client *client)
{
    pthread_join(client->thread, NULL);
}

void lks_history_client_fini(struct lks_history_client *client)
{
    free(client->operations);
    free(client->own);
    client->operations = NULL;
    client->own = NULL;
}

/* ---- looking afterwards ---------------------------------------------------------------------- */

/* Over RDMA, in guests that wait for a processor, a new leader may just be under way when all looks
 * whole. On this machine's own memory one question is enough. */
static uint32_t tries_of(const struct lks_process_cluster *cluster)
{
    return cluster->rdma_address != NULL || cluster->hosts[1] != NULL ? CHECK_TRIES_MAX : 1;
}

static int read_all_once(const struct lks_process_cluster *cluster, uint32_t replica,
                         struct lks_history_operation *into)
{
    redisContext *context = connect_to(cluster, replica);
    int rc = context != NULL ? 0 : -1;
    for (uint32_t key = 0; key < LKS_HISTORY_KEYS && rc == 0; key++) {
        struct lks_history_operation *operation = &into[key];
        *operation = (struct lks_history_operation){.key = key, .kind = LKS_HISTORY_GET,
                                                    .known = true};
        operation->call_ns = lks_clock_monotonic_ns();
        redisReply *reply = send_operation(context, operation);
        operation->return_ns = lks_clock_monotonic_ns();
        rc = reply != NULL && read_reply(reply, operation) ? 0 : -1;
        freeReplyObject(reply);
    }
    redisFree(context);
    return rc;
}

int lks_history_read_all(const struct lks_process_cluster *cluster, uint32_t replica,
                         struct lks_history_operation *into)
{
    int rc = read_all_once(cluster, replica, into);
    for (uint32_t tries = 1; rc != 0 && tries < tries_of(cluster); tries++) {
        usleep(CHECK_PAUSE_US);
        rc = read_all_once(cluster, replica, into);
    }
    return rc;
}

/* 0: as it should be; 1: wrong, printed; -1: no answer, or one that is no value. */
static int check_own_reply(const struct lks_history_client *client, redisContext *context,
                           uint32_t replica, uint64_t number)
{
    redisReply *reply = NULL;
    if (redisGetReply(context, (void **)&reply) != REDIS_OK || reply == NULL) {
        return -1;
    }
    bool there = reply->type == REDIS_REPLY_STRING &&
                 strtoull(reply->str, NULL, 10) == number;
    bool absent = reply->type == REDIS_REPLY_NIL;
    bool refused = reply->type == REDIS_REPLY_ERROR;
    freeReplyObject(reply);
    if (refused) {
        return -1;
    }
    char outcome = client->own[number];
    if ((there && outcome != 'R') || (absent && outcome != 'A')) {
        return 0;
    }
    fprintf(stderr, "replica %u: own:%u:%llu was %s, but it is %s\n", replica, client->id,
            (unsigned long long)number,
            outcome == 'A'   ? "acknowledged"
            : outcome == 'R' ? "refused"
                             : "unknown",
            there ? "there" : absent ? "absent" : "another value");
    return 1;
}

/* Reads a batch from *next on by one connection; moves it to the first without an answer, which
 * there is if this is false. */
static bool check_batch(const struct lks_history_client *client, redisContext *context,
                        uint32_t replica, uint64_t *next, int64_t *wrong)
{
    uint64_t to = *next + CHECK_BATCH;
    to = to < client->own_count ? to : client->own_count;
    for (uint64_t i = *next; i < to; i++) {
        redisAppendCommand(context, "GET own:%u:%llu", client->id, (unsigned long long)i);
    }
    for (; *next < to; (*next)++) {
        const int rc = check_own_reply(client, context, replica, *next);
        if (rc < 0) {
            return false;
        }
        *wrong += rc;
    }
    return true;
}

int64_t lks_history_client_check_own(const struct lks_history_client *client,
                                     const struct lks_process_cluster *cluster, uint32_t replica)
{
    int64_t wrong = 0;
    uint64_t next = 0;
    for (uint32_t tries = 0; next < client->own_count && tries < tries_of(cluster); tries++) {
        redisContext *context = connect_to(cluster, replica);
        bool answered = context != NULL;
        while (answered && next < client->own_count) {
            answered = check_batch(client, context, replica, &next, &wrong);
        }
        redisFree(context);
        if (next < client->own_count) {
            usleep(CHECK_PAUSE_US);
        }
    }
    if (next < client->own_count) {
        fprintf(stderr, "replica %u: own:%u:%llu: no answer, %u times\n", replica, client->id,
                (unsigned long long)next, tries_of(cluster));
        return -1;
    }
    return wrong;
}
