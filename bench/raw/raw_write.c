/* The raw floor of replication over RDMA; see raw_write.h. */
#include "bench/raw/raw_write.h"

#include "bench/raw/raw_device.h"
#include "bench/raw/raw_peer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct peer {
    pid_t process;
    int socket;
    struct ibv_qp *qp;
    struct lks_raw_end end;
};

struct lks_raw_write {
    struct lks_raw_write_options options;
    struct lks_raw_device device;
    struct ibv_mr *region;
    uint8_t *memory; /* source of the writes, and behind it 64 bytes that reads land in */
    uint32_t inline_max;
    uint64_t offset; /* of the next write, at both ends */
    struct peer peers[LKS_RAW_PEERS_MAX];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int start_peer(struct lks_raw_write *raw, uint32_t number)
{
    const struct lks_raw_peer_options options = {.address = raw->options.address,
                                                 .medium = raw->options.media[number],
                                                 .offset = raw->options.offsets[number],
                                                 .region_bytes = raw->options.region_bytes};
    const pid_t parent = getpid();
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
        return -errno;
    }
    struct peer *peer = &raw->peers[number];
    peer->process = fork();
    if (peer->process == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(sockets[0]);
        _exit(getppid() == parent ? lks_raw_peer_run(&options, sockets[1]) : 1);
    }
    const int code = peer->process < 0 ? -errno : 0;
    (void)close(sockets[1]);
    peer->socket = sockets[0];
    return code;
}

int lks_raw_write_new(struct lks_raw_write **raw, const struct lks_raw_write_options *options)
{
    if (options->peers < 1 || options->peers > LKS_RAW_PEERS_MAX || options->region_bytes == 0) {
        return -EINVAL;
    }
    struct lks_raw_write *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->options = *options;
    int code = 0;
    for (uint32_t i = 0; i < LKS_RAW_PEERS_MAX; i++) {
        made->peers[i].socket = -1;
    }
    for (uint32_t i = 0; i < options->peers && code == 0; i++) {
        code = start_peer(made, i);
    }
    if (code != 0) {
        lks_raw_write_free(made);
        return code;
    }
    *raw = made;
    return 0;
}

static int hear(const struct peer *peer, struct lks_raw_end *end)
{
    if (recv(peer->socket, end, sizeof *end, MSG_WAITALL) != (ssize_t)sizeof *end) {
        return -ECONNRESET;
    }
    return -(int)end->failed;
}

static int connect_peer(struct lks_raw_write *raw, struct peer *peer)
{
    int code = hear(peer, &peer->end);
    if (code != 0) {
        return code;
    }
    peer->qp = lks_raw_queue_pair(&raw->device, &raw->inline_max);
    if (peer->qp == NULL) {
        return errno != 0 ? -errno : -EIO;
    }
    const struct lks_raw_end own = {
        .gid = raw->device.gid, .queue_pair = peer->qp->qp_num, .lid = raw->device.lid};
    struct lks_raw_end answer;
    if (send(peer->socket, &own, sizeof own, MSG_NOSIGNAL) != (ssize_t)sizeof own) {
        return -errno;
    }
    code = hear(peer, &answer);
    return code != 0 ? code : lks_raw_connect(&raw->device, peer->qp, &peer->end);
}

int lks_raw_write_connect(struct lks_raw_write *raw)
{
    const uint64_t bytes = raw->options.region_bytes + 64;
    int code = lks_raw_device_open(&raw->device, raw->options.address);
    if (code != 0) {
        return code;
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    raw->memory = memory;
    memset(memory, 'x', bytes);
    raw->region = ibv_reg_mr(raw->device.pd, memory, bytes, IBV_ACCESS_LOCAL_WRITE);
    code = raw->region != NULL ? 0 : errno != 0 ? -errno : -EIO;
    for (uint32_t i = 0; i < raw->options.peers && code == 0; i++) {
        code = connect_peer(raw, &raw->peers[i]);
    }
    return code;
}

void lks_raw_write_free(struct lks_raw_write *raw)
{
    if (raw == NULL) {
        return;
    }
    for (uint32_t i = 0; i < raw->options.peers; i++) {
        struct peer *peer = &raw->peers[i];
        if (peer->qp != NULL) {
            (void)ibv_destroy_qp(peer->qp);
        }
        if (peer->socket >= 0) {
            (void)close(peer->socket);
        }
        if (peer->process > 0) {
            (void)kill(peer->process, SIGKILL); /* other children may hold its socket, too */
            (void)waitpid(peer->process, NULL, 0);
        }
    }
    if (raw->region != NULL) {
        (void)ibv_dereg_mr(raw->region);
    }
    if (raw->memory != NULL) {
        (void)munmap(raw->memory, raw->options.region_bytes + 64);
    }
    lks_raw_device_close(&raw->device);
    free(raw);
}

/* ---- writing -------------------------------------------------------------------------------- */

/* A write, and behind it in the same list a READ where asked; the last one is signalled. */
static int post(struct lks_raw_write *raw, uint32_t number, uint32_t bytes)
{
    const struct peer *peer = &raw->peers[number];
    struct ibv_sge source = {.addr = (uintptr_t)raw->memory + raw->offset,
                             .length = bytes,
                             .lkey = raw->region->lkey};
    struct ibv_sge sink = {.addr = (uintptr_t)raw->memory + raw->options.region_bytes,
                           .length = 8,
                           .lkey = raw->region->lkey};
    struct ibv_send_wr read = {.wr_id = number,
                               .sg_list = &sink,
                               .num_sge = 1,
                               .opcode = IBV_WR_RDMA_READ,
                               .send_flags = IBV_SEND_SIGNALED,
                               .wr.rdma = {.remote_addr = peer->end.address,
                                           .rkey = peer->end.rkey}};
    struct ibv_send_wr write = {.wr_id = number,
                                .next = raw->options.read_behind ? &read : NULL,
                                .sg_list = &source,
                                .num_sge = 1,
                                .opcode = IBV_WR_RDMA_WRITE,
                                .wr.rdma = {.remote_addr = peer->end.address + raw->offset,
                                            .rkey = peer->end.rkey}};
    write.send_flags = (bytes <= raw->inline_max ? IBV_SEND_INLINE : 0u) |
                       (raw->options.read_behind ? 0u : IBV_SEND_SIGNALED);
    struct ibv_send_wr *bad = NULL;
    return -ibv_post_send(peer->qp, &write, &bad);
}

/* Polls until one more peer has completed. */
static int wait_for_one(struct lks_raw_write *raw)
{
    struct ibv_wc completion;
    int count = 0;
    while (count == 0) {
        count = ibv_poll_cq(raw->device.cq, 1, &completion);
    }
    return count == 1 && completion.status == IBV_WC_SUCCESS ? 0 : -EIO;
}

int lks_raw_write_once(struct lks_raw_write *raw, uint32_t bytes, enum lks_raw_order order,
                       uint64_t *first_ns)
{
    const uint32_t at_first = order == LKS_RAW_IN_TURN ? 1 : raw->options.peers;
    if (bytes == 0 || bytes > raw->options.region_bytes / 8) {
        return -EINVAL;
    }
    if (raw->offset + bytes > raw->options.region_bytes) {
        raw->offset = 0;
    }
    const uint64_t before_ns = now_ns();
    int code = 0;
    for (uint32_t i = 0; i < at_first && code == 0; i++) {
        code = post(raw, i, bytes);
    }
    if (code == 0) {
        code = wait_for_one(raw);
        *first_ns = now_ns() - before_ns;
    }
    for (uint32_t i = at_first; i < raw->options.peers && code == 0; i++) {
        code = post(raw, i, bytes);
    }
    for (uint32_t i = 1; i < raw->options.peers && code == 0; i++) {
        code = wait_for_one(raw);
    }
    raw->offset += bytes;
    return code;
}
