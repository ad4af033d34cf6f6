/*
 * Connections: how two replicas meet, and how each learns that the other has gone. The higher id
 * dials the lower one:
 *
 *   dialing side                              listening side
 *   HELLO + descriptors              ->       checks, ends the older connection, cleans the inbox
 *   checks, cleans the inbox         <-       HELLO + descriptors
 *   READY; connected                 ->       connected
 *
 * Neither side says HELLO before it has let go of the older connection, and each cleans its inbox
 * area after it has heard the other's: so nothing of an older connection arrives in the new one.
 * Called by poll on the fabric's thread. Invariant: whatever a client sends or leaves unsent, the
 * state it can take up is bounded (sessions, one coming connection a peer) and has a deadline.
 */
#include "verbs/shm/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#define MEETING_NS (UINT64_C(1) * LKS_NS_PER_S)        /* for each step of a meeting */
#define DIAL_PAUSE_MIN_NS (UINT64_C(1) * LKS_NS_PER_MS)
#define DIAL_PAUSE_MAX_NS (UINT64_C(50) * LKS_NS_PER_MS)
#define DEATH_NS (UINT64_C(20) * LKS_NS_PER_MS) /* between end of file and the process's end */
#define LISTEN_PAUSE_NS (UINT64_C(100) * LKS_NS_PER_MS) /* without free descriptors */
#define COMPLAIN_NS (UINT64_C(10) * LKS_NS_PER_S) /* before the same refusal is logged again */
#define EVENTS_AT_ONCE 16
#define ACCEPTS_AT_ONCE 8

static struct lks_shm_link no_link(void)
{
    return (struct lks_shm_link){.socket = -1, .pidfd = -1, .wake_fd = -1};
}

static void close_watched(struct lks_shm_fabric *shm, int *fd)
{
    if (*fd >= 0) {
        lks_shm_unwatch(shm, *fd);
        (void)close(*fd);
        *fd = -1;
    }
}

static void close_link(struct lks_shm_fabric *shm, struct lks_shm_link *link)
{
    close_watched(shm, &link->socket);
    close_watched(shm, &link->pidfd);
    if (link->wake_fd >= 0) {
        (void)close(link->wake_fd);
    }
    lks_shm_view_fini(&link->view);
    *link = no_link();
}

static struct lks_shm_message make_message(const struct lks_shm_fabric *shm, uint32_t to,
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
    };
    memcpy(message.cluster_id, shm->options.cluster_id, sizeof message.cluster_id);
    memcpy(message.hello, shm->options.hello, sizeof message.hello);
    return message;
}

static int send_hello(const struct lks_shm_fabric *shm, uint32_t to, int fd)
{
    const struct lks_shm_message hello = make_message(shm, to, LKS_SHM_HELLO);
    const int fds[LKS_SHM_MESSAGE_FDS] = {
        [LKS_SHM_FD_SEGMENT] = shm->segment.fd,
        [LKS_SHM_FD_LOG] = shm->log.fd,
        [LKS_SHM_FD_PROCESS] = shm->pidfd,
        [LKS_SHM_FD_WAKE] = shm->wake_fd,
    };
    return lks_shm_socket_send(fd, &hello, fds);
}

/* One line about a refusal, unless the same was said a moment ago. index: the claimed replica, or
 * 0. -ENOTCONN (a peer that is still starting) is no news. */
static void complain(struct lks_shm_fabric *shm, uint32_t index, int code, const char *who,
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

static void refuse(struct lks_shm_fabric *shm, int fd, uint32_t claimed, int code,
                   const char *detail)
{
    complain(shm, claimed, code, "connection refused", detail);
    struct lks_shm_message message = make_message(shm, claimed, LKS_SHM_REFUSE);
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
static int accept_hello(const struct lks_shm_fabric *shm, const struct lks_shm_message *hello,
                        int socket, const int *fds, struct lks_shm_link *link,
                        const char **detail)
{
    const struct lks_fabric_memory log = {
        .bytes = hello->log_bytes, .fd = fds[LKS_SHM_FD_LOG], .fd_offset = hello->log_fd_offset};
    *link = no_link();
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
                                 &log);
    }
    (void)close(fds[LKS_SHM_FD_SEGMENT]);
    (void)close(fds[LKS_SHM_FD_LOG]);
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
static void come_together(struct lks_shm_fabric *shm, uint32_t id)
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
        complain(shm, id, code, "connection given up", "its descriptors cannot be watched");
        close_link(shm, link);
        peer->coming = LKS_SHM_COMING_NONE;
        return;
    }
    peer->link = *link;
    *link = no_link();
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
    peer->dial_pause_ns = DIAL_PAUSE_MIN_NS;
    peer->complained = 0;
    memcpy(peer->hello, peer->link.hello, sizeof peer->hello);
    lks_log_info(shm->options.log_sink, "r%u connected (pid %u, incarnation %llu)", id,
                 peer->link.process.pid, (unsigned long long)peer->link.incarnation);
    push_connection_event(shm, id, LKS_FABRIC_CONNECTED, false);
}

/* From now on nothing of this peer is touched. */
static void let_go(struct lks_shm_peer *peer)
{
    peer->connected = false;
    peer->path = LKS_SHM_PATH_NONE;
    peer->log = NULL;
    peer->gate = NULL;
}

static void part(struct lks_shm_fabric *shm, uint32_t id, bool peer_dead)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    LKS_ASSERT(peer->phase != LKS_SHM_APART);
    let_go(peer);
    close_link(shm, &peer->link);
    peer->phase = LKS_SHM_APART;
    peer->farewell_pending = true;
    peer->dial_ns = 0;
    lks_log_info(shm->options.log_sink, "r%u disconnected: %s", id,
                 peer_dead ? "its process has ended" : "the connection was closed");
    push_connection_event(shm, id, LKS_FABRIC_DISCONNECTED, peer_dead);
}

/* The socket of a connection has ended. In order, or with the process, or for no good reason. */
static void lose(struct lks_shm_fabric *shm, uint32_t id, bool goodbye, uint64_t now_ns)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    if (shm->options.shared_process) {
        part(shm, id, true); /* the socket is all that tells of a thread's end */
        return;
    }
    const bool dead = lks_shm_process_ended(peer->link.pidfd);
    if (goodbye || dead) {
        part(shm, id, dead);
        return;
    }
    /* A dying process closes its files just before it counts as dead. */
    let_go(peer);
    close_watched(shm, &peer->link.socket);
    peer->phase = LKS_SHM_LOST;
    peer->lost_deadline_ns = now_ns + DEATH_NS;
}

/* ---- steps of a meeting -------------------------------------------------------------------- */

static void stop_coming(struct lks_shm_fabric *shm, uint32_t id)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    close_link(shm, &peer->coming_link);
    peer->coming = LKS_SHM_COMING_NONE;
}

static void pause_dialing(struct lks_shm_peer *peer, uint64_t now_ns)
{
    peer->dial_ns = now_ns + peer->dial_pause_ns;
    peer->dial_pause_ns *= 2;
    if (peer->dial_pause_ns > DIAL_PAUSE_MAX_NS) {
        peer->dial_pause_ns = DIAL_PAUSE_MAX_NS;
    }
}

/* The own area for this peer starts from zero at each connection. */
static void clean_inbox(struct lks_shm_fabric *shm, uint32_t id)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    if (peer->inbox_used) {
        memset(lks_shm_segment_inbox(&shm->segment, id), 0, shm->sizes.inbox_bytes);
        peer->inbox_used = false;
    }
}

static void dial(struct lks_shm_fabric *shm, uint32_t id, uint64_t now_ns)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    int fd = -1;
    pause_dialing(peer, now_ns);
    int code = lks_shm_socket_dial(&shm->here, id, &fd);
    if (code != 0) {
        if (code != -ENOENT && code != -ECONNREFUSED && code != -EAGAIN) {
            complain(shm, id, code, "cannot be called", "");
        }
        return;
    }
    code = send_hello(shm, id, fd);
    if (code == 0) {
        code = lks_shm_watch(shm, fd, LKS_SHM_SOURCE_COMING, id);
    }
    if (code != 0) {
        (void)close(fd);
        return; /* again after the pause */
    }
    peer->coming_link = no_link();
    peer->coming_link.socket = fd;
    peer->coming = LKS_SHM_COMING_DIALED;
    peer->coming_deadline_ns = now_ns + MEETING_NS;
}

/* Listening side, second step: once the end of the older connection was told, answer. */
static void answer(struct lks_shm_fabric *shm, uint32_t id, uint64_t now_ns)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    if (peer->phase != LKS_SHM_APART || peer->farewell_pending) {
        return;
    }
    clean_inbox(shm, id);
    if (send_hello(shm, id, peer->coming_link.socket) != 0) {
        stop_coming(shm, id);
        return;
    }
    peer->inbox_used = true; /* the peer may write as soon as it has heard this */
    peer->coming = LKS_SHM_COMING_ANSWERED;
    peer->coming_deadline_ns = now_ns + MEETING_NS;
}

/* Listening side, first step: a client says who it is. The session's socket is used up. */
static void hear_hello(struct lks_shm_fabric *shm, int fd, const struct lks_shm_message *hello,
                       const int *fds, uint64_t now_ns)
{
    const char *detail = "";
    struct lks_shm_link link;
    int code = accept_hello(shm, hello, fd, fds, &link, &detail);
    const uint32_t id = hello->from;
    if (code == 0 && (id < shm->self || !shm->peers[id].wanted)) {
        detail = "not expected";
        code = -ENOTCONN;
    }
    /* A client that has hung up is an older call of a peer that may have called again since. */
    if (code != 0 || lks_shm_socket_hung_up(fd)) {
        if (code != 0) {
            refuse(shm, fd, id, code, detail);
        }
        (void)close(fd);
        if (link.pidfd >= 0) {
            close_link(shm, &link);
        }
        return;
    }
    struct lks_shm_peer *peer = &shm->peers[id];
    stop_coming(shm, id);
    if (lks_shm_watch(shm, fd, LKS_SHM_SOURCE_COMING, id) != 0) {
        (void)close(fd);
        close_link(shm, &link);
        return;
    }
    link.socket = fd;
    peer->coming_link = link;
    peer->coming = LKS_SHM_COMING_HEARD;
    peer->coming_deadline_ns = now_ns + MEETING_NS;
    /* It calls only when it has let go of the older connection. */
    if (peer->phase != LKS_SHM_APART) {
        part(shm, id,
             !shm->options.shared_process && lks_shm_process_ended(peer->link.pidfd));
    }
    answer(shm, id, now_ns);
}

/* Dialing side: the answer. */
static void hear_answer(struct lks_shm_fabric *shm, uint32_t id,
                        const struct lks_shm_message *hello, const int *fds)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    const char *detail = "";
    struct lks_shm_link link;
    int code = accept_hello(shm, hello, peer->coming_link.socket, fds, &link, &detail);
    if (code == 0 && hello->from != id) {
        detail = "another replica listens there";
        code = -LKS_ECLUSTER;
    }
    if (code != 0) {
        refuse(shm, peer->coming_link.socket, id, code, detail);
        if (link.pidfd >= 0) {
            close_link(shm, &link);
        }
        stop_coming(shm, id);
        return;
    }
    link.socket = peer->coming_link.socket;
    peer->coming_link = link;
    clean_inbox(shm, id);
    const struct lks_shm_message ready = make_message(shm, id, LKS_SHM_READY);
    if (lks_shm_socket_send(link.socket, &ready, NULL) != 0) {
        stop_coming(shm, id);
        return;
    }
    come_together(shm, id);
}

/* ---- descriptors --------------------------------------------------------------------------- */

static void close_session(struct lks_shm_fabric *shm, struct lks_shm_session *session)
{
    close_watched(shm, &session->fd);
}

/* A free session; the one that has been silent longest gives way. */
static uint32_t free_session(struct lks_shm_fabric *shm)
{
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < LKS_SHM_SESSIONS_MAX; i++) {
        if (shm->sessions[i].fd < 0) {
            return i;
        }
        if (shm->sessions[i].deadline_ns < shm->sessions[oldest].deadline_ns) {
            oldest = i;
        }
    }
    close_session(shm, &shm->sessions[oldest]);
    return oldest;
}

static void on_listen(struct lks_shm_fabric *shm, uint64_t now_ns)
{
    for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = -1;
        const int code = lks_shm_socket_accept(&shm->here, &fd);
        if (code == -EAGAIN) {
            return;
        }
        if (code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -ENOBUFS) {
            /* The socket would stay readable, and who sleeps on it would never sleep. */
            complain(shm, 0, code, "no new connections for a while", "");
            lks_shm_unwatch(shm, shm->here.listen_fd);
            shm->listen_again_ns = now_ns + LISTEN_PAUSE_NS;
            return;
        }
        if (code != 0) {
            complain(shm, 0, code, "connection refused", "");
            continue;
        }
        const uint32_t index = free_session(shm);
        if (lks_shm_watch(shm, fd, LKS_SHM_SOURCE_SESSION, index) != 0) {
            (void)close(fd);
            continue;
        }
        shm->sessions[index] =
            (struct lks_shm_session){.fd = fd, .deadline_ns = now_ns + MEETING_NS};
    }
}

static void on_session(struct lks_shm_fabric *shm, uint32_t index, uint64_t now_ns)
{
    struct lks_shm_session *session = &shm->sessions[index];
    struct lks_shm_message message;
    int fds[LKS_SHM_MESSAGE_FDS];
    if (session->fd < 0) {
        return;
    }
    int code = lks_shm_socket_receive(session->fd, &message, fds);
    if (code == -EAGAIN) {
        return;
    }
    if (code == 0 && message.kind == LKS_SHM_HELLO) {
        const int fd = session->fd;
        lks_shm_unwatch(shm, fd);
        session->fd = -1;
        hear_hello(shm, fd, &message, fds, now_ns);
        return;
    }
    if (code != -ECONNRESET) {
        refuse(shm, session->fd, 0, code != 0 ? code : -EBADMSG, "");
    }
    close_session(shm, session);
}

static void on_coming(struct lks_shm_fabric *shm, uint32_t id)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    struct lks_shm_message message;
    int fds[LKS_SHM_MESSAGE_FDS];
    if (peer->coming == LKS_SHM_COMING_NONE) {
        return;
    }
    const int code = lks_shm_socket_receive(peer->coming_link.socket, &message, fds);
    if (code == -EAGAIN) {
        return;
    }
    if (code == 0 && message.kind == LKS_SHM_HELLO && peer->coming == LKS_SHM_COMING_DIALED) {
        hear_answer(shm, id, &message, fds);
        return;
    }
    if (code == 0 && message.kind == LKS_SHM_READY && peer->coming == LKS_SHM_COMING_ANSWERED) {
        come_together(shm, id);
        return;
    }
    if (code == 0 && message.kind == LKS_SHM_HELLO) {
        for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
            (void)close(fds[i]);
        }
    }
    if (code == 0 && message.kind == LKS_SHM_REFUSE) {
        complain(shm, id, message.status, "it refuses this replica", "");
    } else if (code != -ECONNRESET) {
        refuse(shm, peer->coming_link.socket, id, code != 0 ? code : -EBADMSG, "");
    }
    stop_coming(shm, id);
}

static void on_connection(struct lks_shm_fabric *shm, uint32_t id, uint64_t now_ns)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    struct lks_shm_message message;
    int fds[LKS_SHM_MESSAGE_FDS];
    if (peer->phase != LKS_SHM_TOGETHER) {
        return;
    }
    const int code = lks_shm_socket_receive(peer->link.socket, &message, fds);
    if (code == -EAGAIN) {
        return;
    }
    if (code == 0 && message.kind == LKS_SHM_HELLO) {
        for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
            (void)close(fds[i]);
        }
    }
    /* After the meeting the socket has one message only, and otherwise its end. */
    lose(shm, id, code == 0 && message.kind == LKS_SHM_GOODBYE, now_ns);
}

static void on_process(struct lks_shm_fabric *shm, uint32_t id)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    if (peer->phase != LKS_SHM_APART && lks_shm_process_ended(peer->link.pidfd)) {
        part(shm, id, true);
    }
}

static void read_away(int fd)
{
    uint64_t count;
    const ssize_t length = read(fd, &count, sizeof count);
    (void)length; /* nothing there: nothing to take away */
}

static void handle(struct lks_shm_fabric *shm, uint64_t what, uint64_t now_ns)
{
    const uint32_t index = (uint32_t)what;
    switch ((enum lks_shm_source)(what >> 32)) {
    case LKS_SHM_SOURCE_LISTEN:
        on_listen(shm, now_ns);
        break;
    case LKS_SHM_SOURCE_WAKE:
        read_away(shm->wake_fd);
        break;
    case LKS_SHM_SOURCE_TIMER:
        read_away(shm->timer_fd);
        shm->timer_ns = LKS_SHM_NEVER;
        break;
    case LKS_SHM_SOURCE_SESSION:
        on_session(shm, index, now_ns);
        break;
    case LKS_SHM_SOURCE_COMING:
        on_coming(shm, index);
        break;
    case LKS_SHM_SOURCE_CONNECTION:
        on_connection(shm, index, now_ns);
        break;
    case LKS_SHM_SOURCE_PROCESS:
        on_process(shm, index);
        break;
    }
}

/* ---- clock --------------------------------------------------------------------------------- */

static bool dials(const struct lks_shm_fabric *shm, uint32_t id)
{
    const struct lks_shm_peer *peer = &shm->peers[id];
    return peer->wanted && id < shm->self && peer->phase == LKS_SHM_APART &&
           !peer->farewell_pending && peer->coming == LKS_SHM_COMING_NONE;
}

static void peer_due(struct lks_shm_fabric *shm, uint32_t id, uint64_t now_ns)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    if (peer->phase == LKS_SHM_LOST && now_ns >= peer->lost_deadline_ns) {
        part(shm, id, lks_shm_process_ended(peer->link.pidfd));
    }
    if (peer->coming == LKS_SHM_COMING_HEARD) {
        answer(shm, id, now_ns);
    }
    if (peer->coming != LKS_SHM_COMING_NONE && now_ns >= peer->coming_deadline_ns) {
        stop_coming(shm, id);
    }
    if (dials(shm, id) && now_ns >= peer->dial_ns) {
        dial(shm, id, now_ns);
    }
}

void lks_shm_meeting_serve(struct lks_shm_fabric *shm, uint64_t now_ns)
{
    struct epoll_event ready[EVENTS_AT_ONCE];
    const int count = epoll_wait(shm->epoll_fd, ready, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        handle(shm, ready[i].data.u64, now_ns);
    }
    if (shm->listen_again_ns != 0 && now_ns >= shm->listen_again_ns &&
        lks_shm_watch(shm, shm->here.listen_fd, LKS_SHM_SOURCE_LISTEN, 0) == 0) {
        shm->listen_again_ns = 0;
    }
    for (uint32_t i = 0; i < LKS_SHM_SESSIONS_MAX; i++) {
        if (shm->sessions[i].fd >= 0 && now_ns >= shm->sessions[i].deadline_ns) {
            close_session(shm, &shm->sessions[i]);
        }
    }
    for (uint32_t id = 1; id <= shm->replicas; id++) {
        peer_due(shm, id, now_ns);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t lks_shm_meeting_deadline(const struct lks_shm_fabric *shm)
{
    uint64_t deadline_ns = LKS_SHM_NEVER;
    if (shm->listen_again_ns != 0) {
        deadline_ns = shm->listen_again_ns;
    }
    for (uint32_t i = 0; i < LKS_SHM_SESSIONS_MAX; i++) {
        if (shm->sessions[i].fd >= 0) {
            deadline_ns = earlier(deadline_ns, shm->sessions[i].deadline_ns);
        }
    }
    for (uint32_t id = 1; id <= shm->replicas; id++) {
        const struct lks_shm_peer *peer = &shm->peers[id];
        if (peer->phase == LKS_SHM_LOST) {
            deadline_ns = earlier(deadline_ns, peer->lost_deadline_ns);
        }
        if (peer->coming == LKS_SHM_COMING_HEARD) {
            deadline_ns = 0; /* the farewell has been handed out since, or will be by a poll */
        } else if (peer->coming != LKS_SHM_COMING_NONE) {
            deadline_ns = earlier(deadline_ns, peer->coming_deadline_ns);
        }
        if (dials(shm, id)) {
            deadline_ns = earlier(deadline_ns, peer->dial_ns);
        }
    }
    return deadline_ns;
}

int lks_shm_connect(struct lks_fabric *fabric, uint32_t peer)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    if (!lks_shm_is_peer(shm, peer)) {
        return -EINVAL;
    }
    shm->peers[peer].wanted = true;
    shm->sockets_due = true;
    return 0;
}

void lks_shm_meeting_init(struct lks_shm_fabric *shm)
{
    for (uint32_t i = 0; i < LKS_SHM_SESSIONS_MAX; i++) {
        shm->sessions[i].fd = -1;
    }
    for (uint32_t id = 0; id <= LKS_REPLICAS_MAX; id++) {
        shm->peers[id].link = no_link();
        shm->peers[id].coming_link = no_link();
        shm->peers[id].dial_pause_ns = DIAL_PAUSE_MIN_NS;
    }
}

void lks_shm_meeting_fini(struct lks_shm_fabric *shm)
{
    for (uint32_t id = 1; id <= shm->replicas; id++) {
        struct lks_shm_peer *peer = &shm->peers[id];
        if (peer->phase == LKS_SHM_TOGETHER) {
            const struct lks_shm_message goodbye = make_message(shm, id, LKS_SHM_GOODBYE);
            (void)lks_shm_socket_send(peer->link.socket, &goodbye, NULL);
        }
        let_go(peer);
        close_link(shm, &peer->link);
        stop_coming(shm, id);
    }
    for (uint32_t i = 0; i < LKS_SHM_SESSIONS_MAX; i++) {
        close_session(shm, &shm->sessions[i]);
    }
}
