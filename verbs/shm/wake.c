/* Sleeping and waking: one epoll descriptor for everything that can happen; see shm.h. */
#include "verbs/shm/shm.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#define GATE_CHECK_NS (UINT64_C(100) * LKS_NS_PER_US) /* while a revocation is under way */

int lks_shm_watch(struct lks_shm_fabric *shm, int fd, enum lks_shm_source source, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index};
    return epoll_ctl(shm->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

void lks_shm_unwatch(struct lks_shm_fabric *shm, int fd)
{
    (void)epoll_ctl(shm->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int lks_shm_wake_init(struct lks_shm_fabric *shm)
{
    shm->wake_fd = -1;
    shm->timer_fd = -1;
    shm->timer_ns = LKS_SHM_NEVER;
    shm->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (shm->epoll_fd < 0) {
        return -errno;
    }
    shm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (shm->wake_fd < 0) {
        return -errno;
    }
    shm->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (shm->timer_fd < 0) {
        return -errno;
    }
    int code = lks_shm_watch(shm, shm->wake_fd, LKS_SHM_SOURCE_WAKE, 0);
    if (code == 0) {
        code = lks_shm_watch(shm, shm->timer_fd, LKS_SHM_SOURCE_TIMER, 0);
    }
    return code;
}

static void close_if_open(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

void lks_shm_wake_fini(struct lks_shm_fabric *shm)
{
    close_if_open(&shm->timer_fd);
    close_if_open(&shm->wake_fd);
    close_if_open(&shm->epoll_fd);
}

void lks_shm_wake_peer(struct lks_shm_fabric *shm, struct lks_shm_peer *peer)
{
    struct lks_shm_bell_page *bells = peer->link.view.bells;
    peer->rung++;
    lks_word_publish(&bells->rung[shm->self].count, peer->rung);
    /* Without this fence the look at `sleeping` could be done before the bell is visible: the
     * peer sets sleeping, sees no new bell and sleeps, while this side saw it awake and signals
     * nothing. Twin: the fence in lks_shm_arm(). */
    lks_fence_full();
    if (lks_word_read(&bells->sleeping) == 0) {
        return;
    }
    if (atomic_exchange_explicit(&bells->sleeping, 0, memory_order_acq_rel) != 0) {
        const uint64_t one = 1;
        const ssize_t written = write(peer->link.wake_fd, &one, sizeof one);
        (void)written; /* full means that it is readable already */
    }
}

/* True if a peer has rung since the last arm. */
static bool bell_rung(struct lks_shm_fabric *shm)
{
    bool rung = false;
    for (uint32_t peer = 1; peer <= shm->replicas; peer++) {
        const uint64_t count = lks_word_read(&shm->segment.bells->rung[peer].count);
        if (count != shm->rung_seen[peer]) {
            shm->rung_seen[peer] = count;
            rung = true;
        }
    }
    return rung;
}

static void set_timer(struct lks_shm_fabric *shm, uint64_t deadline_ns)
{
    if (deadline_ns == shm->timer_ns) {
        return;
    }
    struct itimerspec when = {.it_value = {0, 0}};
    if (deadline_ns != LKS_SHM_NEVER) {
        when.it_value.tv_sec = (time_t)(deadline_ns / LKS_NS_PER_S);
        when.it_value.tv_nsec = (long)(deadline_ns % LKS_NS_PER_S);
        if (deadline_ns == 0) {
            when.it_value.tv_nsec = 1; /* zero would turn the timer off */
        }
    }
    (void)timerfd_settime(shm->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    shm->timer_ns = deadline_ns;
}

int lks_shm_arm(struct lks_fabric *fabric)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    lks_word_publish(&shm->segment.bells->sleeping, 1);
    /* Without this fence the bells could be read before `sleeping` is visible: a peer that rings
     * in between sees this side awake, and this side sees no bell: a lost wake-up. Twin: the
     * fence in lks_shm_wake_peer(). */
    lks_fence_full();
    const bool rung = bell_rung(shm);
    if (rung || shm->sockets_due || shm->events.first != shm->events.next) {
        lks_word_publish(&shm->segment.bells->sleeping, 0);
        return -EAGAIN;
    }
    uint64_t deadline_ns = lks_shm_meeting_deadline(shm);
    if (shm->gates.pending != 0) {
        const uint64_t check_ns = lks_clock_monotonic_ns() + GATE_CHECK_NS;
        deadline_ns = check_ns < deadline_ns ? check_ns : deadline_ns;
    }
    set_timer(shm, deadline_ns);
    return 0;
}

void lks_shm_disarm(struct lks_fabric *fabric)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    lks_word_publish(&shm->segment.bells->sleeping, 0);
    shm->sockets_due = true; /* whatever woke us: look at all descriptors once */
}
