/*
 * The shm backend's life, its ops table, and poll; see verbs/fabric.h for the contract and shm.h
 * for what the other files do. One thread uses a fabric. Invariant: poll makes no system call but
 * a look at the clock every few turns, unless a descriptor or a deadline may be due.
 */
#include "verbs/shm/shm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#define OUTSTANDING_LIMIT 65536u
#define CONNECTION_EVENTS_MAX 2u /* CONNECTED and DISCONNECTED not handed out, a peer */
#define POLLS_BETWEEN_CLOCKS 8u
#define SOCKETS_INTERVAL_NS (UINT64_C(100) * LKS_NS_PER_US)
#define SILENT_WRITER_NS (UINT64_C(10) * LKS_NS_PER_MS) /* where the options say 0 */

static void on_gate_end(void *ctx, const struct lks_shm_gate_end *end)
{
    struct lks_shm_fabric *shm = ctx;
    struct lks_shm_event *event = lks_shm_events_push(&shm->events);
    *event = (struct lks_shm_event){
        .id = end->id,
        .number = end->generation,
        .status = end->status,
        .kind = end->grant ? LKS_FABRIC_GRANTED : LKS_FABRIC_REVOKED,
        .peer = (uint8_t)end->writer,
        .lane = LKS_SHM_LANE_CONTROL,
    };
}

static bool is_connected(void *ctx, uint32_t peer)
{
    const struct lks_shm_fabric *shm = ctx;
    return shm->peers[peer].connected;
}

static int post_gate(struct lks_fabric *fabric, uint32_t peer, bool grant, uint64_t id)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    if (!lks_shm_is_peer(shm, peer)) {
        return -EINVAL;
    }
    uint32_t *outstanding = &shm->peers[peer].outstanding[LKS_SHM_LANE_CONTROL];
    if (*outstanding >= LKS_SHM_CONTROL_MAX) {
        return -LKS_EBUSY;
    }
    const int code = lks_shm_gates_post(&shm->gates, peer, grant, id);
    if (code == 0) {
        *outstanding += 1;
    }
    return code;
}

static int shm_grant(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return post_gate(fabric, peer, true, id);
}

static int shm_revoke(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return post_gate(fabric, peer, false, id);
}

static const uint8_t *shm_hello(const struct lks_fabric *fabric, uint32_t peer)
{
    const struct lks_shm_fabric *shm = lks_shm_of_const(fabric);
    return lks_shm_is_peer(shm, peer) ? shm->peers[peer].hello : NULL;
}

static void *shm_words(const struct lks_fabric *fabric)
{
    return lks_shm_of_const(fabric)->segment.words;
}

static void *shm_inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    const struct lks_shm_fabric *shm = lks_shm_of_const(fabric);
    return lks_shm_is_peer(shm, peer) ? lks_shm_segment_inbox(&shm->segment, peer) : NULL;
}

static void *shm_scratch(const struct lks_fabric *fabric)
{
    return lks_shm_of_const(fabric)->scratch;
}

static int shm_wake_fd(const struct lks_fabric *fabric)
{
    return lks_shm_of_const(fabric)->epoll_fd;
}

/* ---- poll ---------------------------------------------------------------------------------- */

/* Hands one event out; what it counted against is free again. */
static void hand_out(struct lks_shm_fabric *shm, const struct lks_shm_event *from,
                     struct lks_fabric_event *to)
{
    struct lks_shm_peer *peer = &shm->peers[from->peer];
    *to = (struct lks_fabric_event){.kind = from->kind,
                                    .peer = from->peer,
                                    .id = from->id,
                                    .status = from->status,
                                    .peer_dead = from->peer_dead};
    if (from->lane != LKS_SHM_LANE_NONE) {
        LKS_ASSERT(peer->outstanding[from->lane] > 0);
        peer->outstanding[from->lane]--;
    }
    if (from->kind == LKS_FABRIC_CONNECTED || from->kind == LKS_FABRIC_DISCONNECTED) {
        to->connection = from->number;
    }
    if (from->kind == LKS_FABRIC_DISCONNECTED) {
        /* Only now may a next connection begin: see answer() in meeting.c. */
        peer->farewell_pending = false;
        shm->sockets_due = true;
    }
    if (from->kind == LKS_FABRIC_GRANTED && from->status == 0) {
        to->key.grant = from->number;
        to->key.words[0] = shm->options.incarnation;
        to->key.words[1] = LKS_SHM_KEY_MARK;
    }
}

static void look_around(struct lks_shm_fabric *shm)
{
    shm->polls = POLLS_BETWEEN_CLOCKS;
    const uint64_t now_ns = lks_clock_monotonic_ns();
    if (shm->sockets_due || now_ns - shm->sockets_ns >= SOCKETS_INTERVAL_NS) {
        shm->sockets_due = false;
        shm->sockets_ns = now_ns;
        lks_shm_meeting_serve(shm, now_ns);
    }
    for (uint32_t id = 1; id <= shm->replicas; id++) {
        if (lks_shm_is_peer(shm, id) && shm->peers[id].connected &&
            lks_shm_view_populate(&shm->peers[id].link.view)) {
            break; /* a part at a time */
        }
    }
}

static int shm_poll(struct lks_fabric *fabric, struct lks_fabric_event *events,
                    uint32_t events_max)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    shm->polls--;
    if (shm->sockets_due || shm->polls == 0) {
        look_around(shm);
    }
    if (shm->gates.pending != 0) {
        lks_shm_gates_advance(&shm->gates, lks_clock_monotonic_ns());
    }
    uint32_t count = 0;
    while (count < events_max) {
        const struct lks_shm_event *event = lks_shm_events_pop(&shm->events);
        if (event == NULL) {
            break;
        }
        hand_out(shm, event, &events[count]);
        count++;
    }
    return (int)count;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void shm_free(struct lks_fabric *fabric)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    lks_shm_meeting_fini(shm);
    lks_shm_gates_fini(&shm->gates);
    lks_shm_socket_fini(&shm->here);
    lks_shm_wake_fini(shm);
    lks_shm_segment_fini(&shm->segment);
    lks_shm_events_fini(&shm->events);
    if (shm->pidfd >= 0) {
        (void)close(shm->pidfd);
    }
    if (shm->scratch != NULL) {
        (void)munmap(shm->scratch, shm->options.scratch_bytes);
    }
    free(shm);
}

static bool shm_peer_waits(const struct lks_fabric *fabric, uint32_t peer)
{
    const struct lks_shm_fabric *shm = lks_shm_of_const(fabric);
    return lks_shm_is_peer(shm, peer) && shm->peers[peer].connected &&
           !shm->options.shared_process &&
           lks_shm_process_waits(shm->peers[peer].link.process.pid);
}

static bool shm_peer_ends(const struct lks_fabric *fabric, uint32_t peer)
{
    const struct lks_shm_fabric *shm = lks_shm_of_const(fabric);
    return lks_shm_is_peer(shm, peer) && shm->peers[peer].connected &&
           lks_shm_view_life_ended(&shm->peers[peer].link.view);
}

static const struct lks_fabric_ops shm_ops = {
    .name = "shm",
    .writes_when_posted = true,
    .free = shm_free,
    .connect = lks_shm_connect,
    .hello = shm_hello,
    .words = shm_words,
    .inbox = shm_inbox,
    .scratch = shm_scratch,
    .grant = shm_grant,
    .revoke = shm_revoke,
    .open = lks_shm_open,
    .write_log = lks_shm_write_log,
    .flush = lks_shm_flush,
    .write_inbox = lks_shm_write_inbox,
    .read = lks_shm_read,
    .poll = shm_poll,
    .wake_fd = shm_wake_fd,
    .arm = lks_shm_arm,
    .disarm = lks_shm_disarm,
    .peer_waits = shm_peer_waits,
    .peer_ends = shm_peer_ends,
    .expect = lks_shm_expect,
};

static int check_options(const struct lks_fabric_options *options, struct lks_error *err)
{
    if (options->replicas < 1 || options->replicas > LKS_REPLICAS_MAX || options->replica < 1 ||
        options->replica > options->replicas) {
        return lks_error_set(err, -EINVAL, "replica %u of %u: ids are 1 to the number of "
                             "replicas, which is at most %u", options->replica,
                             options->replicas, LKS_REPLICAS_MAX);
    }
    if (options->log.address == NULL || options->log.fd < 0 ||
        options->log.bytes <= LKS_SHM_HEAD_BYTES ||
        (uintptr_t)options->log.address % LKS_SHM_HEAD_BYTES != 0 ||
        options->log.fd_offset % LKS_SHM_HEAD_BYTES != 0) {
        return lks_error_set(err, -EINVAL, "the shm fabric needs a log memory with a descriptor, "
                             "longer than %u bytes and aligned to as many", LKS_SHM_HEAD_BYTES);
    }
    if (options->outstanding_max < 1 || options->outstanding_max > OUTSTANDING_LIMIT) {
        return lks_error_set(err, -EINVAL, "outstanding operations: %u, but 1 to %u are possible",
                             options->outstanding_max, OUTSTANDING_LIMIT);
    }
    if (options->directory == NULL) {
        return lks_error_set(err, -EINVAL, "the shm fabric needs a directory for its sockets");
    }
    return 0;
}

/* Memory and descriptors that need nobody else. */
static int init_own(struct lks_shm_fabric *shm, struct lks_error *err)
{
    int code = lks_shm_process_self(&shm->process);
    if (code != 0) {
        return lks_error_set(err, code, "/proc/self/stat cannot be read: %s",
                             lks_error_text(code));
    }
    shm->pidfd = pidfd_open((pid_t)shm->process.pid, 0);
    if (shm->pidfd < 0) {
        code = -errno;
        return lks_error_set(err, code, "no pidfd (Linux 5.3 or newer is needed): %s",
                             lks_error_text(code));
    }
    code = lks_shm_events_init(&shm->events,
                               shm->replicas * (2 * shm->outstanding_max + LKS_SHM_CONTROL_MAX +
                                                CONNECTION_EVENTS_MAX));
    if (code == 0 && shm->options.scratch_bytes != 0) {
        void *scratch = mmap(NULL, shm->options.scratch_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        code = scratch != MAP_FAILED ? 0 : -errno;
        shm->scratch = scratch != MAP_FAILED ? scratch : NULL;
    }
    if (code == 0) {
        code = lks_shm_wake_init(shm);
    }
    if (code == 0) {
        code = lks_shm_segment_init(&shm->segment, &shm->sizes);
    }
    if (code != 0) {
        return lks_error_set(err, code, "the shm fabric's memory and descriptors: %s",
                             lks_error_text(code));
    }
    return 0;
}

static int init_gates(struct lks_shm_fabric *shm, struct lks_error *err)
{
    shm->gates = (struct lks_shm_gates){
        .head = (struct lks_shm_head *)shm->log.address,
        .replicas = shm->replicas,
        .silent_writer_ns = shm->options.silent_writer_ns != 0 ? shm->options.silent_writer_ns
                                                               : SILENT_WRITER_NS,
        .shared_process = shm->options.shared_process,
        .self = shm->process,
        .log_sink = shm->options.log_sink,
        .on_end = on_gate_end,
        .connected = is_connected,
        .ctx = shm,
    };
    return lks_shm_gates_init(&shm->gates, shm->options.incarnation, err);
}

int lks_fabric_shm_new(struct lks_fabric **fabric, const struct lks_fabric_options *options,
                       struct lks_error *err)
{
    int code = check_options(options, err);
    if (code != 0) {
        return code;
    }
    struct lks_shm_fabric *shm = calloc(1, sizeof *shm);
    if (shm == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the shm fabric");
    }
    shm->base.ops = &shm_ops;
    shm->self = options->replica;
    shm->replicas = options->replicas;
    shm->outstanding_max = options->outstanding_max;
    shm->options = *options;
    shm->log = options->log;
    if (options->snapshots.address != NULL) {
        shm->snapshots = options->snapshots;
    }
    shm->sizes = (struct lks_shm_sizes){.replicas = options->replicas,
                                        .words_bytes = options->words_bytes,
                                        .inbox_bytes = options->inbox_bytes,
                                        .log_bytes = options->log.bytes};
    shm->polls = 1;
    shm->pidfd = -1;
    shm->epoll_fd = -1;
    shm->wake_fd = -1;
    shm->timer_fd = -1;
    lks_shm_meeting_init(shm);
    code = init_own(shm, err);
    if (code == 0) {
        /* The name is taken before the gates are touched: a second process of this replica must
         * not disturb the first one's. */
        code = lks_shm_socket_init(&shm->here, options->directory, shm->self, err);
    }
    if (code == 0) {
        code = lks_shm_watch(shm, shm->here.listen_fd, LKS_SHM_SOURCE_LISTEN, 0);
        if (code != 0) {
            (void)lks_error_set(err, code, "epoll: %s", lks_error_text(code));
        }
    }
    if (code == 0) {
        code = init_gates(shm, err);
    }
    if (code != 0) {
        shm_free(&shm->base);
        return code;
    }
    *fabric = &shm->base;
    return 0;
}
