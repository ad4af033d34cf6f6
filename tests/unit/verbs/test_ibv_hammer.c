/*
 * Does anything land after REVOKED? A writer, a process of its own, streams 4 KiB writes into an
 * owner's log; the owner takes its permission away and then watches its memory. Each round proves
 * that writes were landing before. Run with a device (LKS_TEST_RDMA_ADDRESS), best on more
 * processors than there are cores, so that threads are interrupted anywhere.
 *
 *   test_ibv_hammer                        the driver's own fence, 300 rounds: nothing may be late
 *   test_ibv_hammer fence ROUNDS           the same, longer
 *   test_ibv_hammer invalidate ROUNDS      LOCAL_INV alone: passes when it was caught being late
 *   test_ibv_hammer error ROUNDS           the queue pair in the error state alone: likewise
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/remote_memory.h"
#include "verbs/ibv/ibv.h"

#define SKIPPED 77
#define FIRST_PORT 18600u
#define OWNER 1u
#define WRITER 2u
#define PIECE_BYTES UINT64_C(4096)
#define PIECES 64u
#define UNDER_WAY_MAX 24u
#define LOG_BYTES (PIECE_BYTES * (1 + PIECES))
#define ROUNDS_DEFAULT 300ul
#define PROGRESS_ROUNDS 250ul
#define LANDED_MIN 16u /* pieces that must be seen landing before a round's revocation */
#define LEAD_NS_MAX (UINT64_C(2) * LKS_NS_PER_MS)
#define WATCH_NS (UINT64_C(5) * LKS_NS_PER_MS)
#define PATIENCE_NS (UINT64_C(30) * LKS_NS_PER_S)

enum mechanism { FENCE, INVALIDATE, ERROR_STATE };

/* What this backend offers to no configuration. */
static const struct lks_ibv_fence invalidate_alone = {.window = true,
                                                      .invalidate = true,
                                                      .invalidated_is_enough = true,
                                                      .name = "LOCAL_INV alone",
                                                      .evidence = "none"};

_Noreturn static void give_up(const char *what)
{
    (void)fprintf(stderr, "hammer: %s\n", what);
    exit(EXIT_FAILURE);
}

static struct lks_fabric *start(const char *address, uint32_t replica, uint8_t *log)
{
    struct lks_error err = {0};
    struct lks_fabric *fabric = NULL;
    const struct lks_fabric_options options = {
        .replica = replica,
        .replicas = 2,
        .cluster_id = "hammer",
        .incarnation = 1,
        .log = {.address = log, .bytes = LOG_BYTES, .fd = -1},
        .words_bytes = 4096,
        .inbox_bytes = 4096,
        .scratch_bytes = 4096,
        .outstanding_max = 64,
    };
    struct lks_rdma_options rdma = {.cluster_key = "hammer"};
    for (uint32_t id = 1; id <= 2; id++) {
        (void)snprintf(rdma.places[id].address, sizeof rdma.places[id].address, "%s", address);
        rdma.places[id].port = (uint16_t)(FIRST_PORT + id);
    }
    if (lks_fabric_rdma_new(&fabric, &options, &rdma, &err) != 0) {
        give_up(err.text);
    }
    if (lks_fabric_connect(fabric, 3 - replica) != 0) {
        give_up("cannot connect");
    }
    return fabric;
}

/* ---- the writer ----------------------------------------------------------------------------- */

struct writer {
    struct lks_fabric *fabric;
    uint8_t *log;
    uint64_t stamp;
    uint32_t under_way;
    bool streams;
};

static void writer_turn(struct writer *writer)
{
    struct lks_fabric_event events[16];
    const int count = lks_fabric_poll(writer->fabric, events, LKS_COUNT_OF(events));
    for (int i = 0; i < count; i++) {
        if (events[i].kind == LKS_FABRIC_OPENED) {
            writer->streams = events[i].status == 0;
        } else if (events[i].kind == LKS_FABRIC_COMPLETED) {
            writer->under_way--;
            writer->streams = writer->streams && events[i].status == 0;
        }
    }
    while (writer->streams && writer->under_way < UNDER_WAY_MAX) {
        const uint64_t offset = PIECE_BYTES * (1 + writer->stamp % PIECES);
        writer->stamp++;
        for (uint64_t at = 0; at < PIECE_BYTES; at += sizeof writer->stamp) {
            memcpy(writer->log + offset + at, &writer->stamp, sizeof writer->stamp);
        }
        if (lks_fabric_write_log(writer->fabric, OWNER, offset, writer->log + offset, PIECE_BYTES,
                                 0, writer->stamp) != 0) {
            return;
        }
        writer->under_way++;
    }
}

_Noreturn static void be_writer(const char *address, uint8_t *log, int keys)
{
    struct writer writer = {.fabric = start(address, WRITER, log), .log = log};
    for (;;) {
        struct lks_fabric_key key;
        const ssize_t length = recv(keys, &key, sizeof key, MSG_DONTWAIT);
        if (length == 0) {
            lks_fabric_free(writer.fabric);
            _exit(EXIT_SUCCESS);
        }
        if (length == (ssize_t)sizeof key) {
            (void)lks_fabric_open(writer.fabric, OWNER, &key, 1);
        }
        writer_turn(&writer);
    }
}

/* ---- the owner ------------------------------------------------------------------------------ */

struct owner {
    struct lks_fabric *fabric;
    uint8_t *log;
    int keys;
    uint64_t next_id;
};

static uint64_t stamp_at(const uint8_t *log, uint64_t offset)
{
    return lks_word_read((const lks_word *)(const void *)(log + offset));
}

/* The greatest stamp that has landed. */
static uint64_t newest(const uint8_t *log)
{
    uint64_t most = 0;
    for (uint64_t piece = 1; piece <= PIECES; piece++) {
        const uint64_t stamp = stamp_at(log, piece * PIECE_BYTES);
        most = stamp > most ? stamp : most;
    }
    return most;
}

static struct lks_fabric_event await(struct owner *owner, enum lks_fabric_event_kind kind)
{
    const uint64_t end_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while (lks_clock_monotonic_ns() < end_ns) {
        struct lks_fabric_event event;
        if (lks_fabric_poll(owner->fabric, &event, 1) == 1 && event.kind == kind) {
            return event;
        }
    }
    give_up("an event does not come");
}

static void take_all_away(struct owner *owner)
{
    if (lks_fabric_revoke(owner->fabric, WRITER, owner->next_id++) != 0 ||
        await(owner, LKS_FABRIC_REVOKED).status != 0) {
        give_up("revocation failed");
    }
}

/* Grants, and waits until writes are landing; then a little longer, differently each time. */
static void let_in(struct owner *owner, uint64_t lead_ns)
{
    const uint64_t before = newest(owner->log);
    if (lks_fabric_grant(owner->fabric, WRITER, owner->next_id++) != 0) {
        give_up("grant refused");
    }
    const struct lks_fabric_event granted = await(owner, LKS_FABRIC_GRANTED);
    if (granted.status != 0 ||
        send(owner->keys, &granted.key, sizeof granted.key, 0) != (ssize_t)sizeof granted.key) {
        give_up("grant failed");
    }
    const uint64_t end_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while (newest(owner->log) < before + LANDED_MIN) {
        struct lks_fabric_event event;
        (void)lks_fabric_poll(owner->fabric, &event, 1);
        if (lks_clock_monotonic_ns() > end_ns) {
            give_up("nothing lands");
        }
    }
    const uint64_t lead_end_ns = lks_clock_monotonic_ns() + lead_ns;
    while (lks_clock_monotonic_ns() < lead_end_ns) {
        lks_clock_relax();
    }
}

/* Takes permission away by the mechanism, and no further. */
static void take_away(struct owner *owner, enum mechanism mechanism)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(owner->fabric);
    if (mechanism == ERROR_STATE) {
        struct ibv_qp_attr attributes = {.qp_state = IBV_QPS_ERR};
        if (ibv_modify_qp(ibv->peers[WRITER].grant.qp, &attributes, IBV_QP_STATE) != 0) {
            give_up("no error state");
        }
        return;
    }
    take_all_away(owner);
}

/* True if anything in the log changes. */
static bool watch(const uint8_t *log, uint8_t *copy)
{
    memcpy(copy, log, LOG_BYTES);
    const uint64_t end_ns = lks_clock_monotonic_ns() + WATCH_NS;
    while (lks_clock_monotonic_ns() < end_ns) {
        if (memcmp(copy + PIECE_BYTES, log + PIECE_BYTES, LOG_BYTES - PIECE_BYTES) != 0) {
            return true;
        }
    }
    return false;
}

static unsigned long hammer(struct owner *owner, enum mechanism mechanism, unsigned long rounds)
{
    static uint8_t copy[LOG_BYTES];
    unsigned long late = 0;
    unsigned long round = 0;
    for (; round < rounds && (mechanism == FENCE || late == 0); round++) {
        let_in(owner, round * UINT64_C(7919) * LKS_NS_PER_US % LEAD_NS_MAX);
        take_away(owner, mechanism);
        late += watch(owner->log, copy);
        if (mechanism == ERROR_STATE) {
            take_all_away(owner);
        }
        if ((round + 1) % PROGRESS_ROUNDS == 0) {
            (void)printf("hammer: %lu rounds, %lu late\n", round + 1, late);
            (void)fflush(stdout);
        }
    }
    (void)printf("hammer: late writes in %lu of %lu rounds, writes landed in each\n", late, round);
    return late;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"fence", "invalidate", "error"};
    const char *address = getenv("LKS_TEST_RDMA_ADDRESS");
    enum mechanism mechanism = FENCE;
    int sockets[2];
    if (address == NULL) {
        (void)printf("SKIP: no RDMA device: LKS_TEST_RDMA_ADDRESS names no address of one\n");
        return SKIPPED;
    }
    while (argc > 1 && strcmp(argv[1], names[mechanism]) != 0) {
        mechanism++;
        if (mechanism > ERROR_STATE) {
            give_up("mechanisms are fence, invalidate and error");
        }
    }
    const unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : ROUNDS_DEFAULT;
    uint8_t *logs = mmap(NULL, 2 * LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                         -1, 0);
    if (logs == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) != 0) {
        give_up("no memory or sockets");
    }
    const pid_t child = fork(); /* before either has opened the device */
    if (child == 0) {
        (void)close(sockets[0]);
        be_writer(address, logs + LOG_BYTES, sockets[1]);
    }
    (void)close(sockets[1]);
    struct owner owner = {
        .fabric = start(address, OWNER, logs), .log = logs, .keys = sockets[0], .next_id = 1};
    if (mechanism == INVALIDATE) {
        lks_ibv_of(owner.fabric)->fence = &invalidate_alone;
    }
    (void)await(&owner, LKS_FABRIC_CONNECTED);
    const unsigned long late = hammer(&owner, mechanism, rounds);
    (void)close(sockets[0]);
    lks_fabric_free(owner.fabric);
    (void)waitpid(child, NULL, 0);
    const bool passed = mechanism == FENCE ? late == 0 : late > 0;
    return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}
