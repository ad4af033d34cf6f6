/*
 * Sleeping: one epoll descriptor over completions, the connection manager, device events, the
 * helper and a timer. Fabric's thread. Invariant: between the last look for work and the sleep the
 * completion queue is armed, so what arrives in between makes the descriptor readable.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

int lks_ibv_watch(struct lks_ibv_fabric *ibv, int fd, enum lks_ibv_source source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};
    return epoll_ctl(ibv->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

int lks_ibv_wake_init(struct lks_ibv_fabric *ibv)
{
    ibv->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (ibv->epoll_fd < 0) {
        return -errno;
    }
    ibv->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (ibv->timer_fd < 0) {
        return -errno;
    }
    ibv->timer_ns = LKS_IBV_NEVER;
    const int fds[] = {[LKS_IBV_SOURCE_TIMER] = ibv->timer_fd,
                       [LKS_IBV_SOURCE_COMPLETIONS] = ibv->completions->fd,
                       [LKS_IBV_SOURCE_MANAGER] = ibv->channel->fd,
                       [LKS_IBV_SOURCE_DEVICE] = ibv->context->async_fd,
                       [LKS_IBV_SOURCE_HELPER] = ibv->helper.fd};
    for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        const int code = lks_ibv_watch(ibv, fds[i], (enum lks_ibv_source)i);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static void close_if_open(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

void lks_ibv_wake_fini(struct lks_ibv_fabric *ibv)
{
    close_if_open(&ibv->timer_fd);
    close_if_open(&ibv->epoll_fd);
}

static void read_away(int fd)
{
    uint64_t count;
    const ssize_t length = read(fd, &count, sizeof count);
    (void)length; /* nothing there: nothing to take away */
}

static void take_completion_events(struct lks_ibv_fabric *ibv)
{
    struct ibv_cq *cq = NULL;
    void *ctx = NULL;
    unsigned events = 0;
    while (ibv_get_cq_event(ibv->completions, &cq, &ctx) == 0) {
        events++;
    }
    if (events != 0) {
        ibv_ack_cq_events(ibv->cq, events);
    }
}

uint32_t lks_ibv_ready(struct lks_ibv_fabric *ibv)
{
    struct epoll_event events[LKS_IBV_SOURCES];
    uint32_t ready = 0;
    const int count = epoll_wait(ibv->epoll_fd, events, LKS_IBV_SOURCES, 0);
    for (int i = 0; i < count; i++) {
        ready |= 1u << events[i].data.u32;
    }
    if ((ready & 1u << LKS_IBV_SOURCE_COMPLETIONS) != 0) {
        take_completion_events(ibv);
    }
    if ((ready & 1u << LKS_IBV_SOURCE_HELPER) != 0) {
        read_away(ibv->helper.fd);
    }
    if ((ready & 1u << LKS_IBV_SOURCE_TIMER) != 0) {
        read_away(ibv->timer_fd);
        ibv->timer_ns = LKS_IBV_NEVER;
    }
    return ready;
}

static void set_timer(struct lks_ibv_fabric *ibv, uint64_t deadline_ns)
{
    if (deadline_ns == ibv->timer_ns) {
        return;
    }
    ibv->timer_ns = deadline_ns;
    struct itimerspec when = {.it_value = {0, 0}};
    if (deadline_ns != LKS_IBV_NEVER) {
        when.it_value.tv_sec = (time_t)(deadline_ns / LKS_NS_PER_S);
        when.it_value.tv_nsec = (long)(deadline_ns % LKS_NS_PER_S);
        if (deadline_ns == 0) {
            when.it_value.tv_nsec = 1; /* zero would turn the timer off */
        }
    }
    (void)timerfd_settime(ibv->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static bool something_due(const struct lks_ibv_fabric *ibv)
{
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        const struct lks_ibv_peer *peer = &ibv->peers[id];
        /* What waits for the peer's word, a completion, is nothing to stay awake for. */
        const uint32_t waits = LKS_IBV_DUE_WAKE | LKS_IBV_DUE_PARKED;
        if (peer->connected && (peer->due & ~waits) != 0) {
            return true;
        }
    }
    return false;
}

int lks_ibv_arm(struct lks_fabric *fabric)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    if (ibv->look || ibv->events.first != ibv->events.next || something_due(ibv)) {
        return -EAGAIN;
    }
    if (ibv_req_notify_cq(ibv->cq, 0) != 0) {
        return -EAGAIN; /* who cannot be woken does not sleep */
    }
    /* What came before the queue was armed raises no event: look once more. */
    const bool any = lks_ibv_take_completions(ibv);
    if (any || ibv->rung || ibv->events.first != ibv->events.next) {
        ibv->rung = false;
        return -EAGAIN;
    }
    const uint64_t meeting_ns = lks_ibv_meeting_deadline(ibv);
    const uint64_t grants_ns = lks_ibv_grants_deadline(ibv);
    set_timer(ibv, meeting_ns < grants_ns ? meeting_ns : grants_ns);
    return 0;
}

void lks_ibv_disarm(struct lks_fabric *fabric)
{
    lks_ibv_of(fabric)->look = true; /* whatever woke us: look at all descriptors once */
}
