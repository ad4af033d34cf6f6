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
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#define MEETING_NS (UINT64_C(1) * LKS_NS_PER_S)        /* for each step of a meeting */
#define DIAL_PAUSE_MAX_NS (UINT64_C(50) * LKS_NS_PER_MS)
#define DIAL_PAUSE_UNEXPECTED_NS (UINT64_C(2) * LKS_NS_PER_S) /* most, for who is not needed */
#define LISTEN_PAUSE_NS (UINT64_C(100) * LKS_NS_PER_MS) /* without free descriptors */
#define EVENTS_AT_ONCE 16
#define ACCEPTS_AT_ONCE 8

/* ---- steps of a meeting -------------------------------------------------------------------- */

static void stop_coming(struct lks_shm_fabric *shm, uint32_t id)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    lks_shm_link_close(shm, &peer->coming_link);
    peer->coming = LKS_SHM_COMING_NONE;
}

static void pause_dialing(struct lks_shm_peer *peer, uint64_t now_ns)
{
    peer->dial_ns = now_ns + peer->dial_pause_ns;
    const uint64_t most_ns = peer->unexpected ? DIAL_PAUSE_UNEXPECTED_NS : DIAL_PAUSE_MAX_NS;
    peer->dial_pause_ns *= 2;
    if (peer->dial_pause_ns > most_ns) {
        peer->dial_pause_ns = most_ns;
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
            lks_shm_complain(shm, id, code, "cannot be called", "");
        }
        return;
    }
    code = lks_shm_send_hello(shm, id, fd);
    if (code == 0) {
        code = lks_shm_watch(shm, fd, LKS_SHM_SOURCE_COMING, id);
    }
    if (code != 0) {
        (void)close(fd);
        return; /* again after the pause */
    }
    peer->coming_link = lks_shm_link_none();
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
    if (lks_shm_send_hello(shm, id, peer->coming_link.socket) != 0) {
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
    int code = lks_shm_accept_hello(shm, hello, fd, fds, &link, &detail);
    const uint32_t id = hello->from;
    if (code == 0 && (id < shm->self || !shm->peers[id].wanted)) {
        detail = "not expected";
        code = -ENOTCONN;
    }
    if (code != 0) {
        lks_shm_refuse(shm, fd, id, code, detail);
        (void)close(fd);
        if (link.pidfd >= 0) {
            lks_shm_link_close(shm, &link);
        }
        return;
    }
    struct lks_shm_peer *peer = &shm->peers[id];
    stop_coming(shm, id);
    if (lks_shm_watch(shm, fd, LKS_SHM_SOURCE_COMING, id) != 0) {
        (void)close(fd);
        lks_shm_link_close(shm, &link);
        return;
    }
    link.socket = fd;
    peer->coming_link = link;
    peer->coming = LKS_SHM_COMING_HEARD;
    peer->coming_deadline_ns = now_ns + MEETING_NS;
    /* It calls only when it has let go of the older connection. */
    if (peer->phase != LKS_SHM_APART) {
        lks_shm_part(shm, id,
                     shm->options.shared_process || lks_shm_process_ended(peer->link.pidfd));
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
    int code = lks_shm_accept_hello(shm, hello, peer->coming_link.socket, fds, &link, &detail);
    if (code == 0 && hello->from != id) {
        detail = "another replica listens there";
        code = -LKS_ECLUSTER;
    }
    if (code != 0) {
        lks_shm_refuse(shm, peer->coming_link.socket, id, code, detail);
        if (link.pidfd >= 0) {
            lks_shm_link_close(shm, &link);
        }
        stop_coming(shm, id);
        return;
    }
    link.socket = peer->coming_link.socket;
    peer->coming_link = link;
    clean_inbox(shm, id);
    const struct lks_shm_message ready = lks_shm_make_message(shm, id, LKS_SHM_READY);
    if (lks_shm_socket_send(link.socket, &ready, NULL) != 0) {
        stop_coming(shm, id);
        return;
    }
    lks_shm_come_together(shm, id);
}

/* ---- descriptors --------------------------------------------------------------------------- */

static void close_session(struct lks_shm_fabric *shm, struct lks_shm_session *session)
{
    lks_shm_close_watched(shm, &session->fd);
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
            lks_shm_complain(shm, 0, code, "no new connections for a while", "");
            lks_shm_unwatch(shm, shm->here.listen_fd);
            shm->listen_again_ns = now_ns + LISTEN_PAUSE_NS;
            return;
        }
        if (code != 0) {
            lks_shm_complain(shm, 0, code, "connection refused", "");
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

static void close_all(const int fds[LKS_SHM_MESSAGE_FDS])
{
    for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
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
    /* Who has hung up may be an older call of a peer that has called again since. */
    if (code == 0 && message.kind == LKS_SHM_HELLO && lks_shm_socket_hung_up(session->fd)) {
        close_all(fds);
        close_session(shm, session);
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
        lks_shm_refuse(shm, session->fd, 0, code != 0 ? code : -EBADMSG, "");
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
        lks_shm_come_together(shm, id);
        return;
    }
    if (code == 0) {
        close_all(fds);
    }
    if (code == 0 && message.kind == LKS_SHM_REFUSE) {
        lks_shm_complain(shm, id, message.status, "it refuses this replica", "");
    } else if (code != -ECONNRESET) {
        lks_shm_refuse(shm, peer->coming_link.socket, id, code != 0 ? code : -EBADMSG, "");
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
    if (code == 0) {
        close_all(fds);
    }
    /* After the meeting the socket has one message only, and otherwise its end. */
    lks_shm_lose(shm, id, code == 0 && message.kind == LKS_SHM_GOODBYE, now_ns);
}

static void on_process(struct lks_shm_fabric *shm, uint32_t id)
{
    struct lks_shm_peer *peer = &shm->peers[id];
    if (peer->phase != LKS_SHM_APART && lks_shm_process_ended(peer->link.pidfd)) {
        lks_shm_part(shm, id, true);
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
        lks_shm_part(shm, id, lks_shm_process_ended(peer->link.pidfd));
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

void lks_shm_expect(struct lks_fabric *fabric, uint32_t peer, bool expected)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    LKS_ASSERT(lks_shm_is_peer(shm, peer));
    if (expected && shm->peers[peer].unexpected) {
        shm->peers[peer].dial_ns = 0;
        shm->peers[peer].dial_pause_ns = LKS_SHM_DIAL_PAUSE_MIN_NS;
        shm->sockets_due = true;
    }
    shm->peers[peer].unexpected = !expected;
}

void lks_shm_meeting_init(struct lks_shm_fabric *shm)
{
    for (uint32_t i = 0; i < LKS_SHM_SESSIONS_MAX; i++) {
        shm->sessions[i].fd = -1;
    }
    for (uint32_t id = 0; id <= LKS_REPLICAS_MAX; id++) {
        shm->peers[id].link = lks_shm_link_none();
        shm->peers[id].coming_link = lks_shm_link_none();
        shm->peers[id].dial_pause_ns = LKS_SHM_DIAL_PAUSE_MIN_NS;
    }
}

void lks_shm_meeting_fini(struct lks_shm_fabric *shm)
{
    for (uint32_t id = 1; id <= shm->replicas; id++) {
        struct lks_shm_peer *peer = &shm->peers[id];
        if (peer->phase == LKS_SHM_TOGETHER) {
            const struct lks_shm_message goodbye = lks_shm_make_message(shm, id, LKS_SHM_GOODBYE);
            (void)lks_shm_socket_send(peer->link.socket, &goodbye, NULL);
        }
        lks_shm_let_go(peer);
        lks_shm_link_close(shm, &peer->link);
        stop_coming(shm, id);
    }
    for (uint32_t i = 0; i < LKS_SHM_SESSIONS_MAX; i++) {
        close_session(shm, &shm->sessions[i]);
    }
}
