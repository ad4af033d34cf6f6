/*
 * One connection of two replicas: its descriptors, mappings and messages, how a peer's hello is
 * checked, and how a connection stands and falls. meeting.c decides when. Fabric's thread.
 * Invariant: nothing in a hello is used before it was checked, and what a refused one brought
 * along is closed.
 */
#include "verbs/shm/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#define DEATH_NS (UINT64_C(20) * LKS_NS_PER_MS) /* between end of file and the process's end */
#define COMPLAIN_NS (UINT64_C(10) * LKS_NS_PER_S) /* before the same refusal is logged again */

struct lks_shm_link lks_shm_link_none(void)
{
    return (struct lks_shm_link){.socket = -1, .pidfd = -1, .wake_fd = -1};
}

void lks_shm_close_watched(struct lks_shm_fabric *shm, int *fd)
{
    if (*fd >= 0) {
        lks_shm_unwatch(shm, *fd);
        (void)close(*fd);
        *fd = -1;
    }
}

void lks_shm_link_close(struct lks_shm_fabric *shm, struct lks_shm_link *link)
{
    lks_shm_close_watched(shm, &link->socket);
    lks_shm_close_watched(shm, &link->pidfd);
    if (link->wake_fd >= 0) {
        (void)close(link->wake_fd);
    }
    lks_shm_view_fini(&link->view);
    *link = lks_shm_link_none();
}

struct lks_shm_message lks_shm_make_message(const struct lks_shm_fabric *shm, uint32_t to,
                                            enum lks_shm_message_kind kind)
{
    struct lks_shm_message message = {
        .magic = LKS_SHM_MESSAGE_MAGIC,
        .version = LKS_SHM_MESSAGE_VERSION,
        .kind = kind,
        .from = shm->self,
        .to = to,
        .replicas = shm->replicas,
        .pid = shm->process.pid,
        .start_time = shm->process.start_time,
        .incarnation = shm->options.incarnation,
        .words_bytes = shm->sizes.words_bytes,
        .inbox_bytes = shm->sizes.inbox_bytes,
        .log_bytes = shm->sizes.log_bytes,
        .log_fd_offset = shm->log.fd_offset,
        .snapshots_bytes = shm->snapshots.bytes,
        .snapshots_fd_offset = shm->snapshots.fd_offset,
    };
    memcpy(message.cluster_id, shm->options.cluster_id, sizeof message.cluster_id);
    memcpy(message.hello, shm->options.hello, sizeof message.hello);
    return message;
}

int lks_shm_send_hello(const struct lks_shm_fabric *shm, uint32_t to, int fd)
{
    const struct lks_shm_message hello = lks_shm_make_message(shm, to, LKS_SHM_HELLO);
    const int fds[LKS_SHM_MESSAGE_FDS] = {
        [LKS_SHM_FD_SEGMENT] = shm->segment.fd,
        [LKS_SHM_FD_LOG] = shm->log.fd,
        [LKS_SHM_FD_PROCESS] = shm->pidfd,
        [LKS_SHM_FD_WAKE] = shm->wake_fd,
        [LKS_SHM_FD_SNAPSHOTS] = shm->snapshots.bytes != 0 ? shm->snapshots.fd : shm->segment.fd,
    };
    return lks_shm_socket_send(fd, &hello, fds);
}

/* One line about a refusal, unless the same was said a moment ago. index: the claimed replica, or
 * 0. -ENOTCONN (a peer that is still starting) is no news. */
void lks_shm_complain(struct lks_shm_fabric *shm, uint32_t index, int code, const char *who,
                      const char *detail)
{
    struct lks_shm_peer *about = &shm->peers[index <= shm->replicas ? index : 0];
    const uint64_t now_ns = lks_clock_monotonic_ns();
    if (code == -ENOTCONN ||
        (about->complained == code && now_ns - about->complained_ns < COMPLAIN_NS)) {
        return;
    }
    about->complained = code;
    about->complained_ns = now_ns;
    lks_log_warn(shm->options.log_sink, "r%u: %s: %s%s%s", index, who, lks_error_text(code),
                 detail[0] != '\0' ? ": " : "", detail);
}

void lks_shm_refuse(struct lks_shm_fabric *shm, int fd, uint32_t claimed, int code,
                    const char *detail)
{
    lks_shm_complain(shm, claimed, code, "connection refused", detail);
    struct lks_shm_message message = lks_shm_make_message(shm, claimed, LKS_SHM_REFUSE);
    message.status = code;
    (void)lks_shm_socket_send(fd, &message, NULL);
}

/* Whether this cluster can use what a hello claims; detail says what is wrong. */
static int check_hello(const struct lks_shm_fabric *shm, const struct lks_shm_message *hello,
                       const char **detail)
{
    if (memcmp(hello->cluster_id, shm->options.cluster_id, sizeof hello->cluster_id) != 0) {
        *detail = "another cluster id";
        return -LKS_ECLUSTER;
    }
    if (hello->to != shm->self || !lks_shm_is_peer(shm, hello->from)) {
        *detail = "not a peer of this replica";
        return -LKS_ECLUSTER;
    }
    if (hello->replicas != shm->replicas) {
        *detail = "another number of replicas";
        return -LKS_ESIZE;
    }
    if (hello->log_bytes != shm->sizes.log_bytes) {
        *detail = "its log has another size";
        return -LKS_ESIZE;
    }
    if (hello->words_bytes != shm->sizes.words_bytes ||
        hello->inbox_bytes != shm->sizes.inbox_bytes) {
        *detail = "its shared words or inboxes have another size";
        return -LKS_ESIZE;
    }
    return 0;
}

/* Whether the pidfd, the socket's other end and the hello name one process, a living one. */
static int check_process(const struct lks_shm_message *hello, int socket, int pidfd,
                         const char **detail)
{
    uint32_t pid = 0;
    if (lks_shm_process_of_pidfd(pidfd, &pid) != 0 || pid != hello->pid ||
        pid != lks_shm_socket_pid(socket)) {
        *detail = "its process is not the one it names (different pid namespaces?)";
        return -EINVAL;
    }
    if (lks_shm_process_ended(pidfd)) {
        *detail = "its process has ended";
        return -ENOTCONN;
    }
    return 0;
}

/* Takes a hello's descriptors and makes them a link; on failure nothing of them is left open.
 * The socket stays the caller's. */
int lks_shm_accept_hello(const struct lks_shm_fabric *shm, const struct lks_shm_message *hello,
                         int socket, const int *fds, struct lks_shm_link *link,
                         const char **detail)
{
    const struct lks_fabric_memory log = {
        .bytes = hello->log_bytes, .fd = fds[LKS_SHM_FD_LOG], .fd_offset = hello->log_fd_offset};
    const struct lks_fabric_memory snapshots = {.bytes = hello->snapshots_bytes,
                                                .fd = fds[LKS_SHM_FD_SNAPSHOTS],
                                                .fd_offset = hello->snapshots_fd_offset};
    *link = lks_shm_link_none();
    int code = check_hello(shm, hello, detail);
    if (code == 0) {
        code = check_process(hello, socket, fds[LKS_SHM_FD_PROCESS], detail);
    }
    if (code == 0) {
        const int flags = fcntl(fds[LKS_SHM_FD_WAKE], F_GETFL);
        if (flags < 0 || (flags & O_NONBLOCK) == 0) {
            *detail = "its wake descriptor could block";
            code = -EINVAL;
        }
    }
    if (code == 0) {
        *detail = "its memory cannot be mapped";
        code = lks_shm_view_init(&link->view, &shm->sizes, shm->self, fds[LKS_SHM_FD_SEGMENT],
                                 &log, &snapshots);
    }
    (void)close(fds[LKS_SHM_FD_SEGMENT]);
    (void)close(fds[LKS_SHM_FD_LOG]);
    (void)close(fds[LKS_SHM_FD_SNAPSHOTS]);
    if (code != 0) {
        (void)close(fds[LKS_SHM_FD_PROCESS]);
        (void)close(fds[LKS_SHM_FD_WAKE]);
        return code;
    }
    link->pidfd = fds[LKS_SHM_FD_PROCESS];
    link->wake_fd = fds[LKS_SHM_FD_WAKE];
    link->process = (struct lks_shm_process){hello->pid, hello->start_time};
    link->incarnation = hello->incarnation;
    memcpy(link->hello, hello->hello, sizeof link->hello);
    return 0;
}

/* ---- the connection's two ends ------------------------------------------------------------- */

static void push_connection_event(struct lks_shm_fabric *shm, uint32_t peer,
                                  enum lks_fabric_event_kind kind, bool peer_dead)
{
    struct lks_shm_event *event = lks_shm_events_push(&shm->events);
    *event = (struct lks_shm_event){.number = shm->peers[peer].connection,
                                    .kind = (uint8_t)kind,
                                    .peer = (uint8_t)peer,
                                    .lane = LKS_SHM_LANE_NONE,
                                    .peer_dead = peer_dead};
}

/* The coming link becomes the connection. */
void lks_shm_come_together(struct lks_shm_fabric *shm, uint32_t id)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    LKS_ASSERT(peer->phase == LKS_SHM_APART);
    struct lks_shm_link *link = &peer->coming_link;
    lks_shm_unwatch(shm, link->socket);
    int code = lks_shm_watch(shm, link->socket, LKS_SHM_SOURCE_CONNECTION, id);
    if (code == 0 && !shm->options.shared_process) {
        code = lks_shm_watch(shm, link->pidfd, LKS_SHM_SOURCE_PROCESS, id);
    }
    if (code != 0) {
        lks_shm_complain(shm, id, code, "connection given up", "its descriptors cannot be watched");
        lks_shm_link_close(shm, link);
        peer->coming = LKS_SHM_COMING_NONE;
        return;
    }
    peer->link = *link;
    *link = lks_shm_link_none();
    peer->coming = LKS_SHM_COMING_NONE;
    peer->phase = LKS_SHM_TOGETHER;
    peer->connected = true;
    peer->inbox_used = true;
    peer->path = LKS_SHM_PATH_NONE;
    peer->log = peer->link.view.log;
    struct lks_shm_head *head = (struct lks_shm_head *)(void *)peer->log;
    peer->gate = &head->gates[shm->self - 1];
    peer->rung = lks_word_read(&peer->link.view.bells->rung[shm->self].count);
    peer->connection++;
    peer->dial_pause_ns = LKS_SHM_DIAL_PAUSE_MIN_NS;
    peer->complained = 0;
    memcpy(peer->hello, peer->link.hello, sizeof peer->hello);
    lks_log_info(shm->options.log_sink, "r%u connected (pid %u, incarnation %llu)", id,
                 peer->link.process.pid, (unsigned long long)peer->link.incarnation);
    push_connection_event(shm, id, LKS_FABRIC_CONNECTED, false);
}

/* From now on nothing of this peer is touched. */
void lks_shm_let_go(struct lks_shm_peer *peer)
{
    peer->connected = false;
    peer->path = LKS_SHM_PATH_NONE;
    peer->log = NULL;
    peer->gate = NULL;
}

void lks_shm_part(struct lks_shm_fabric *shm, uint32_t id, bool peer_dead)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    LKS_ASSERT(peer->phase != LKS_SHM_APART);
    lks_shm_let_go(peer);
    lks_shm_link_close(shm, &peer->link);
    peer->phase = LKS_SHM_APART;
    peer->farewell_pending = true;
    peer->dial_ns = 0;
    lks_log_info(shm->options.log_sink, "r%u disconnected: %s", id,
                 peer_dead ? "its process has ended" : "the connection was closed");
    push_connection_event(shm, id, LKS_FABRIC_DISCONNECTED, peer_dead);
}

/* The socket of a connection has ended. In order, or with the process, or for no good reason. */
void lks_shm_lose(struct lks_shm_fabric *shm, uint32_t id, bool goodbye, uint64_t now_ns)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    if (shm->options.shared_process) {
        lks_shm_part(shm, id, true); /* the socket is all that tells of a thread's end */
        return;
    }
    const bool dead = lks_shm_process_ended(peer->link.pidfd);
    if (goodbye || dead) {
        lks_shm_part(shm, id, dead);
        return;
    }
    /* A dying process closes its files just before it counts as dead. */
    lks_shm_let_go(peer);
    lks_shm_close_watched(shm, &peer->link.socket);
    peer->phase = LKS_SHM_LOST;
    peer->lost_deadline_ns = now_ns + DEATH_NS;
}
