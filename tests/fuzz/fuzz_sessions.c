/*
 * Commands of clients' sessions as a hostile client writes them, any header around any bytes, and
 * chunks of snapshots as a broken area has them. Held to: no crash; what is none has no effect;
 * two replicas that executed the same commands answer and hash the same, also where one of them
 * was restored from the other's snapshots on the way; a session has each sequence once.
 */
#include "base/assert.h"
#include "lockstep/session.h"
#include "services/kv/format.h"
#include "services/kv/hash.h"
#include "services/sessions/sessions.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#define SERVICE lks_kv_sessions_service
#define STEPS_MAX 400u
#define NONCES 4u
#define NS_PER_MS UINT64_C(1000000)

struct scene {
    void *replicas[2];
    struct lks_reply replies[2];
    uint64_t index;
    uint64_t time_ns;
    uint64_t id[NONCES];   /* of the last session opened with these bits */
    uint64_t last[NONCES]; /* sequence that took effect in it */
};

static void apply(struct scene *scene, const void *data, size_t bytes)
{
    struct lks_footprint touched;
    lks_footprint_clear(&touched);
    SERVICE.footprint(data, bytes, &touched);
    LKS_ASSERT(touched.count <= LKS_FOOTPRINT_MAX || touched.count == LKS_FOOTPRINT_ALL);
    LKS_ASSERT(touched.keys_count <= LKS_FOOTPRINT_MAX);
    scene->index++;
    for (unsigned i = 0; i < 2; i++) {
        const struct lks_command command = {
            .index = scene->index, .time_ns = scene->time_ns, .data = data, .bytes = bytes};
        lks_reply_clear(&scene->replies[i]);
        SERVICE.apply(scene->replicas[i], &command, &scene->replies[i]);
        LKS_ASSERT(scene->replies[i].bytes > 0);
    }
    LKS_ASSERT(scene->replies[0].bytes == scene->replies[1].bytes);
    LKS_ASSERT(memcmp(scene->replies[0].data, scene->replies[1].data, scene->replies[0].bytes) ==
               0);
}

static bool is_ok(const struct scene *scene)
{
    return scene->replies[0].bytes > LKS_SESSION_OK_PREFIX_BYTES &&
           memcmp(scene->replies[0].data, LKS_SESSION_OK_PREFIX, LKS_SESSION_OK_PREFIX_BYTES) == 0;
}

/* A command that is right but for what the input spoils. */
static void send(struct scene *scene, struct fuzz_input *input)
{
    uint8_t bytes[256];
    const uint32_t which = fuzz_below(input, NONCES);
    struct lks_session_header header = {.mark = LKS_SESSION_MARK,
                                        .kind = (uint8_t)(1 + fuzz_below(input, 6)),
                                        .nonce = {which * 64, which}, /* in one partition */
                                        .id = scene->id[which]};
    const bool call = header.kind == LKS_SESSION_CALL;
    header.lease_ms = header.kind == LKS_SESSION_OPEN ? 2000 : 0;
    header.id = header.kind == LKS_SESSION_OPEN ? 0 : header.id;
    if (call || header.kind == LKS_SESSION_SKIP) {
        header.sequence = scene->last[which] + 2 - fuzz_below(input, 3);
    }
    memcpy(bytes, &header, sizeof header);
    size_t length = sizeof header;
    for (uint32_t rest = call ? 1 + fuzz_below(input, 40) : 0; rest > 0; rest--) {
        bytes[length++] = fuzz_byte(input);
    }
    const bool spoilt = fuzz_byte(input) % 8 == 0;
    if (spoilt) {
        bytes[fuzz_below(input, (uint32_t)length)] ^= fuzz_byte(input);
    }
    apply(scene, bytes, length);
    struct lks_session_header sent;
    if (!lks_session_is_command(bytes, length) || !lks_session_decode(bytes, length, &sent)) {
        LKS_ASSERT(bytes[0] != LKS_SESSION_MARK || !is_ok(scene));
        return;
    }
    const bool same = sent.nonce[0] == which * 64 && sent.nonce[1] == which;
    if (same && is_ok(scene) && sent.kind == LKS_SESSION_OPEN) {
        const uint64_t id =
            strtoull(scene->replies[0].data + LKS_SESSION_OK_PREFIX_BYTES + 1, NULL, 10);
        scene->last[which] = id == scene->id[which] ? scene->last[which] : 0;
        scene->id[which] = id;
    } else if (same && is_ok(scene) && sent.sequence != 0) {
        LKS_ASSERT(sent.id == scene->id[which]);
        LKS_ASSERT(sent.sequence <= scene->last[which] + 1);
        scene->last[which] = sent.sequence > scene->last[which] ? sent.sequence
                                                                : scene->last[which];
    }
}

/* ---- snapshots ------------------------------------------------------------------------------ */

struct copying {
    void *to;
    uint32_t partition;
    struct fuzz_input *spoil; /* NULL: as it is */
    int rc;
};

static int take_chunk(void *ctx, const void *data, size_t bytes)
{
    struct copying *copying = ctx;
    uint8_t *copy = malloc(bytes);
    LKS_ASSERT(copy != NULL);
    memcpy(copy, data, bytes);
    if (copying->spoil != NULL) {
        copy[fuzz_below(copying->spoil, (uint32_t)bytes)] ^= fuzz_byte(copying->spoil);
    }
    if (copying->rc == 0) {
        copying->rc = SERVICE.restore_chunk(copying->to, copying->partition, copy, bytes);
    }
    free(copy);
    return 0;
}

static void copy_partition(struct scene *scene, uint32_t partition, struct fuzz_input *spoil)
{
    struct copying copying = {.to = scene->replicas[1], .partition = partition, .spoil = spoil};
    const struct lks_snapshot_writer writer = {take_chunk, &copying};
    bool done = false;
    (void)SERVICE.snapshot_begin(scene->replicas[0], partition);
    SERVICE.restore_begin(scene->replicas[1], partition);
    while (!done) {
        const int rc =
            SERVICE.snapshot_step(scene->replicas[0], partition, &writer, 1000, &done);
        LKS_ASSERT(rc == 0);
    }
    SERVICE.snapshot_end(scene->replicas[0], partition);
    if (copying.rc == 0) {
        copying.rc = SERVICE.restore_end(scene->replicas[1], partition);
    }
    LKS_ASSERT(spoil != NULL || copying.rc == 0);
}

static void copy_all(struct scene *scene)
{
    for (uint32_t p = 0; p < LKS_KV_PARTITIONS; p++) {
        copy_partition(scene, p, NULL);
    }
}

static void compare(struct scene *scene)
{
    for (unsigned i = 0; i < 2; i++) {
        while (SERVICE.tick(scene->replicas[i], scene->time_ns)) {
        }
    }
    for (uint32_t p = 0; p < LKS_KV_PARTITIONS; p++) {
        LKS_ASSERT(SERVICE.hash(scene->replicas[0], p) == SERVICE.hash(scene->replicas[1], p));
    }
}

static void step(struct scene *scene, struct fuzz_input *input)
{
    uint8_t bytes[64];
    switch (fuzz_byte(input) % 16) {
    case 0:
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = fuzz_byte(input);
        }
        bytes[0] = LKS_SESSION_MARK;
        apply(scene, bytes, 1 + fuzz_below(input, sizeof bytes));
        break;
    case 1:
        scene->time_ns += fuzz_below(input, 3000) * NS_PER_MS;
        break;
    case 2:
        copy_all(scene);
        break;
    case 3:
        copy_partition(scene, 0, input);
        copy_partition(scene, 0, NULL);
        break;
    case 4:
        compare(scene);
        break;
    default:
        send(scene, input);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input(data, size);
    const struct lks_service_options options = {.command_bytes_max = 4096};
    struct scene scene = {.time_ns = NS_PER_MS};
    for (unsigned i = 0; i < 2; i++) {
        LKS_ASSERT(SERVICE.open(&scene.replicas[i], &options) == 0);
    }
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&input) > 0; i++) {
        step(&scene, &input);
    }
    compare(&scene);
    for (unsigned i = 0; i < 2; i++) {
        SERVICE.close(scene.replicas[i]);
        lks_reply_fini(&scene.replies[i]);
    }
    return 0;
}
