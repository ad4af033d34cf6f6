/* Stage of the suite; see stage.h. */
#include "tests/conformance/fabric/stage.h"

#include <stdlib.h>

#define ROUNDS_MAX 20000000u
#define SETTLE_ROUNDS 20000u
#define POLL_AT_ONCE 8u

static const struct suite_backend *used_backend;
static uint64_t next_id = 1000; /* of the stage's own operations */

void stage_use(const struct suite_backend *backend)
{
    used_backend = backend;
}

int stage_setup(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);
    if (stage == NULL) {
        return -1;
    }
    stage->backend = used_backend;
    stage->world = used_backend->world_new();
    *state = stage;
    return stage->world != NULL ? 0 : -1;
}

int stage_teardown(void **state)
{
    struct stage *stage = *state;
    for (uint32_t replica = 1; replica <= SUITE_REPLICAS; replica++) {
        if (stage->lives[replica].fabric != NULL) {
            stage_stop(stage, replica);
        }
    }
    stage->backend->world_free(stage->world);
    free(stage);
    return 0;
}

struct lks_fabric *stage_start(struct stage *stage, uint32_t replica)
{
    struct stage_life *life = &stage->lives[replica];
    assert_null(life->fabric);
    life->incarnation++;
    life->events_count = 0;
    memset(life->hello, (int)(replica * 16 + life->incarnation), sizeof life->hello);
    life->fabric = stage->backend->start(stage->world, replica, life->incarnation, life->hello);
    assert_non_null(life->fabric);
    return life->fabric;
}

void stage_crash(struct stage *stage, uint32_t replica)
{
    stage->lives[replica].fabric = NULL;
    stage->backend->crash(stage->world, replica);
}

void stage_stop(struct stage *stage, uint32_t replica)
{
    stage->lives[replica].fabric = NULL;
    stage->backend->stop(stage->world, replica);
}

static uint32_t poll_one(struct stage_life *life)
{
    const uint32_t room = STAGE_EVENTS_MAX - life->events_count;
    assert_true(room >= POLL_AT_ONCE);
    const int count =
        lks_fabric_poll(life->fabric, life->events + life->events_count, POLL_AT_ONCE);
    assert_in_range(count, 0, POLL_AT_ONCE);
    life->events_count += (uint32_t)count;
    return (uint32_t)count;
}

void stage_round(struct stage *stage)
{
    uint32_t count = 0;
    for (uint32_t replica = 1; replica <= SUITE_REPLICAS; replica++) {
        if (stage->lives[replica].fabric != NULL) {
            count += poll_one(&stage->lives[replica]);
        }
    }
    if (count == 0) {
        stage->backend->idle(stage->world);
    }
}

void stage_settle(struct stage *stage)
{
    const uint32_t rounds =
        stage->backend->settle_rounds != 0 ? stage->backend->settle_rounds : SETTLE_ROUNDS;
    for (uint32_t round = 0; round < rounds; round++) {
        stage_round(stage);
    }
}

static uint32_t find(const struct stage_life *life, enum lks_fabric_event_kind kind,
                     uint32_t peer)
{
    uint32_t i = 0;
    while (i < life->events_count &&
           (life->events[i].kind != kind || life->events[i].peer != peer)) {
        i++;
    }
    return i;
}

bool stage_has(const struct stage *stage, uint32_t replica, enum lks_fabric_event_kind kind,
               uint32_t peer)
{
    const struct stage_life *life = &stage->lives[replica];
    return find(life, kind, peer) < life->events_count;
}

struct lks_fabric_event stage_await(struct stage *stage, uint32_t replica,
                                    enum lks_fabric_event_kind kind, uint32_t peer)
{
    struct stage_life *life = &stage->lives[replica];
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        const uint32_t i = find(life, kind, peer);
        if (i < life->events_count) {
            const struct lks_fabric_event event = life->events[i];
            life->events_count--;
            memmove(life->events + i, life->events + i + 1,
                    (life->events_count - i) * sizeof life->events[0]);
            return event;
        }
        stage_round(stage);
    }
    fail_msg("replica %u waits in vain for event %d about replica %u", replica, (int)kind, peer);
    return (struct lks_fabric_event){.status = -1};
}

int stage_completion(struct stage *stage, uint32_t replica, uint32_t peer, uint64_t id)
{
    const struct lks_fabric_event event =
        stage_await(stage, replica, LKS_FABRIC_COMPLETED, peer);
    assert_int_equal(event.id, id);
    return event.status;
}

void stage_connect(struct stage *stage, uint32_t a, uint32_t b)
{
    assert_int_equal(lks_fabric_connect(stage->lives[a].fabric, b), 0);
    assert_int_equal(lks_fabric_connect(stage->lives[b].fabric, a), 0);
    (void)stage_await(stage, a, LKS_FABRIC_CONNECTED, b);
    (void)stage_await(stage, b, LKS_FABRIC_CONNECTED, a);
}

void stage_connect_all(struct stage *stage)
{
    for (uint32_t replica = 1; replica <= SUITE_REPLICAS; replica++) {
        (void)stage_start(stage, replica);
    }
    stage_connect(stage, 1, 2);
    stage_connect(stage, 1, 3);
    stage_connect(stage, 2, 3);
}

void stage_revoke(struct stage *stage, uint32_t owner, uint32_t writer)
{
    const uint64_t id = next_id++;
    assert_int_equal(lks_fabric_revoke(stage->lives[owner].fabric, writer, id), 0);
    const struct lks_fabric_event event = stage_await(stage, owner, LKS_FABRIC_REVOKED, writer);
    assert_int_equal(event.id, id);
    assert_int_equal(event.status, 0);
}

struct lks_fabric_key stage_grant(struct stage *stage, uint32_t owner, uint32_t writer)
{
    stage_revoke(stage, owner, writer);
    const uint64_t id = next_id++;
    assert_int_equal(lks_fabric_grant(stage->lives[owner].fabric, writer, id), 0);
    const struct lks_fabric_event event = stage_await(stage, owner, LKS_FABRIC_GRANTED, writer);
    assert_int_equal(event.id, id);
    assert_int_equal(event.status, 0);
    return event.key;
}

int stage_open(struct stage *stage, uint32_t writer, uint32_t owner,
               const struct lks_fabric_key *key)
{
    const uint64_t id = next_id++;
    assert_int_equal(lks_fabric_open(stage->lives[writer].fabric, owner, key, id), 0);
    const struct lks_fabric_event event = stage_await(stage, writer, LKS_FABRIC_OPENED, owner);
    assert_int_equal(event.id, id);
    return event.status;
}

void stage_path(struct stage *stage, uint32_t writer, uint32_t owner)
{
    const struct lks_fabric_key key = stage_grant(stage, owner, writer);
    assert_int_equal(stage_open(stage, writer, owner, &key), 0);
}

uint64_t stage_read_word(struct stage *stage, uint32_t reader, uint32_t owner, uint64_t offset)
{
    struct lks_fabric *fabric = stage->lives[reader].fabric;
    uint8_t *scratch = lks_fabric_scratch(fabric);
    const uint64_t id = next_id++;
    uint64_t value;
    assert_int_equal(lks_fabric_read(fabric, owner, LKS_FABRIC_LOG, offset,
                                     scratch + SUITE_SCRATCH_BYTES - sizeof value, sizeof value,
                                     id),
                     0);
    assert_int_equal(stage_completion(stage, reader, owner, id), 0);
    memcpy(&value, scratch + SUITE_SCRATCH_BYTES - sizeof value, sizeof value);
    return value;
}
