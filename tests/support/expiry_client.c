/* Clients of keys that expire; see the header. */
#include "tests/support/expiry_client.h"

#include "base/clock.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REPLY_TIMEOUT_S 3
#define TTL_MIN_MS 20u
#define TTL_MAX_MS 600u
#define READS_PER_WRITE 4u
#define PAUSE_US 2000u

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
    const struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
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

/* False: the connection is of no use any more. */
static bool write_one(struct lks_expiry_client *client, redisContext *context)
{
    struct lks_expiry_key *key = &client->keys[next_random(&client->seed) % LKS_EXPIRY_KEYS];
    const uint64_t ttl_ms = TTL_MIN_MS + next_random(&client->seed) % (TTL_MAX_MS - TTL_MIN_MS);
    /* The leader logs a time that is not before this one, and counts from there. */
    *key = (struct lks_expiry_key){.number = ++client->written,
                                   .alive_ns = lks_clock_monotonic_ns() + ttl_ms * LKS_NS_PER_MS};
    redisReply *reply = redisCommand(context, "SET volatile:%u:%" PRIu64 " %" PRIu64 " PX %" PRIu64,
                                     client->id, key->number, key->number, ttl_ms);
    const bool answered = reply != NULL;
    key->acknowledged = answered && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    return answered;
}

static void judge(struct lks_expiry_client *client, struct lks_expiry_key *key, bool there,
                  uint64_t return_ns, uint32_t replica)
{
    client->reads++;
    if (there && key->gone) {
        client->returned++;
        fprintf(stderr, "replica %u: volatile:%u:%" PRIu64 " is there again\n", replica,
                client->id, key->number);
    }
    if (!there && return_ns < key->alive_ns) {
        client->early++;
        fprintf(stderr, "replica %u: volatile:%u:%" PRIu64 " is gone %" PRIu64 " us early\n",
                replica, client->id, key->number, (key->alive_ns - return_ns) / 1000);
    }
    if (!there && !key->gone) {
        key->gone = true;
        client->seen_gone++;
    }
}

static bool read_one(struct lks_expiry_client *client, redisContext *context, uint32_t replica)
{
    struct lks_expiry_key *key = &client->keys[next_random(&client->seed) % LKS_EXPIRY_KEYS];
    if (!key->acknowledged) { /* it may come to be at any time, or never */
        return true;
    }
    redisReply *reply = redisCommand(context, "GET volatile:%u:%" PRIu64, client->id, key->number);
    const uint64_t return_ns = lks_clock_monotonic_ns();
    const bool answered = reply != NULL;
    if (answered && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_NIL)) {
        judge(client, key, reply->type == REDIS_REPLY_STRING, return_ns, replica);
    }
    freeReplyObject(reply);
    return answered;
}

static void *live(void *ctx)
{
    struct lks_expiry_client *client = ctx;
    struct lks_history_run *run = client->run;
    uint32_t replica = client->id % run->cluster->replicas + 1;
    redisContext *context = NULL;
    while (!atomic_load_explicit(&run->stop, memory_order_relaxed)) {
        context = context != NULL ? context : connect_to(run->cluster, replica);
        bool good = context != NULL && write_one(client, context);
        for (uint32_t i = 0; good && i < READS_PER_WRITE; i++) {
            good = read_one(client, context, replica);
        }
        if (!good || next_random(&client->seed) % 16 == 0) {
            redisFree(context);
            context = NULL;
            replica = replica % run->cluster->replicas + 1;
        }
        usleep((useconds_t)(PAUSE_US + next_random(&client->seed) % PAUSE_US));
    }
    redisFree(context);
    return NULL;
}

int lks_expiry_client_start(struct lks_expiry_client *client, struct lks_history_run *run,
                            uint32_t id, uint64_t seed)
{
    *client = (struct lks_expiry_client){.run = run, .id = id, .seed = seed};
    return pthread_create(&client->thread, NULL, live, client) == 0 ? 0 : -1;
}

void lks_expiry_client_join(struct lks_expiry_client *client)
{
    pthread_join(client->thread, NULL);
}

/* How many are there; -1: no answer. */
static int64_t count_there(const struct lks_expiry_client *client, redisContext *context)
{
    int64_t there = 0;
    for (uint32_t i = 0; i < LKS_EXPIRY_KEYS; i++) {
        const struct lks_expiry_key *key = &client->keys[i];
        redisReply *reply =
            redisCommand(context, "EXISTS volatile:%u:%" PRIu64, client->id, key->number);
        if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
            freeReplyObject(reply);
            return -1;
        }
        there += reply->integer;
        freeReplyObject(reply);
    }
    return there;
}

int64_t lks_expiry_client_check_gone(const struct lks_expiry_client *client,
                                     const struct lks_process_cluster *cluster, uint32_t replica,
                                     uint32_t timeout_ms)
{
    redisContext *context = connect_to(cluster, replica);
    int64_t there = context != NULL ? 1 : -1;
    for (uint32_t waited_ms = 0; there > 0 && waited_ms < timeout_ms; waited_ms += 10) {
        there = count_there(client, context);
        usleep(there > 0 ? 10000 : 0);
    }
    redisFree(context);
    return there;
}
