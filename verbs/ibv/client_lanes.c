/*
 * A replica's end of its clients' lanes over RDMA. Two threads: the *keeper* listens, meets
 * callers, and makes and ends lanes, all of which may block; the loop's thread (that of
 * verbs/lane.h) reads and writes lanes that are there. A lane is the keeper's while FREE, READY or
 * LEFT, the loop's while USED; who hands it over changes its state as the last thing.
 *
 * Invariant: a lane is READY only behind a proof of the client key, and FREE again only when the
 * queue pair and the region of its last client are gone.
 */
#include "verbs/rdma_lane.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "verbs/ibv/client_callers.h"
#include "verbs/ibv/client_cm.h"
#include "verbs/ibv/client_end.h"
#include "verbs/ibv/registration.h"

#define BACKLOG 16
#define REFUSED_NS (200 * LKS_NS_PER_MS)         /* for a refusal to be heard */
#define CHECK_NS (UINT64_C(2) * LKS_NS_PER_S)    /* between two questions whether a client lives */
#define MEETING_LOOK_MS 1 /* at callers' messages */
#define SAY_NS LKS_NS_PER_S /* between two lines about refusals for one reason */
#define EVENTS_AT_ONCE LKS_CLIENT_IBV_CALLERS_MAX /* then who calls is served */

enum lane_state { LANE_FREE, LANE_READY, LANE_USED, LANE_LEFT };

struct lane {
    _Atomic int state;   /* enum lane_state */
    atomic_bool ended;   /* set by the keeper: its connection has ended */
    struct in6_addr source; /* of the client */
    struct lks_client_ibv_end end;
};

enum caller_state { CALLER_NONE, CALLER_MEETS, CALLER_REFUSED };

struct caller {
    enum caller_state state;
    uint32_t lane; /* reserved for it: it has proved the client key; 0: none yet */
    uint64_t since_ns;
    uint64_t deadline_ns;
    struct in6_addr source;
    struct lks_client_ibv_meeting meeting;
    struct lks_client_ibv_end end;
};

struct rdma_lanes {
    struct lks_lanes base; /* first */
    struct lks_lanes_rdma_options options;
    struct lks_client_ibv_identity self;
    struct lane lanes[LKS_LANE_NUMBER_MAX + 1]; /* by number */
    /* The keeper's. */
    pthread_t keeper;
    bool keeps; /* the thread runs */
    struct rdma_event_channel *channel;
    struct rdma_cm_id *listener;
    struct caller callers[LKS_CLIENT_IBV_CALLERS_MAX];
    uint64_t reserved;    /* bit n: lane n is a caller's */
    int said; /* reason of the last refusal that was logged, and when */
    const char *said_detail;
    uint64_t said_ns;
    /* Both. */
    struct ibv_comp_channel *completions; /* of all lanes and callers; the loop looks at it */
    int keeper_fd;                        /* eventfds: something to do */
    int loop_fd;
    atomic_bool stops;
    /* The loop's. */
    int epoll_fd;
    uint64_t used; /* bit n: lane n is the loop's */
    uint64_t checked_ns;
};

static struct rdma_lanes *lanes_of(const struct lks_lanes *lanes)
{
    return (struct rdma_lanes *)(uintptr_t)(const void *)lanes;
}

static void ring(int fd)
{
    const uint64_t one = 1;
    const ssize_t written = write(fd, &one, sizeof one);
    (void)written; /* full means that it is readable already */
}

static void quieten(int fd)
{
    uint64_t count;
    const ssize_t length = read(fd, &count, sizeof count);
    (void)length; /* nothing there: nothing to take away */
}

static enum lane_state state_of(const struct lane *lane)
{
    return (enum lane_state)atomic_load_explicit(&lane->state, memory_order_acquire);
}

/* Hands the lane over. */
static void set_state(struct lane *lane, enum lane_state state)
{
    atomic_store_explicit(&lane->state, (int)state, memory_order_release);
}

/* ---- the loop's: as a fabric ---------------------------------------------------------------- */

static bool is_used(const struct rdma_lanes *lanes, uint32_t lane)
{
    return lane >= 1 && lane <= LKS_LANE_NUMBER_MAX && (lanes->used >> lane & 1) != 0;
}

static void *inbox(const struct lks_fabric *fabric, uint32_t lane)
{
    const struct rdma_lanes *lanes = (const struct rdma_lanes *)(const void *)fabric;
    LKS_ASSERT(is_used(lanes, lane));
    return lanes->lanes[lane].end.area;
}

static int write_inbox(struct lks_fabric *fabric, uint32_t lane, uint64_t offset,
                       const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct rdma_lanes *lanes = (struct rdma_lanes *)(void *)fabric;
    (void)id;
    return is_used(lanes, lane)
               ? lks_client_ibv_end_write(&lanes->lanes[lane].end, offset, source, bytes, flags)
               : -LKS_EBROKEN;
}

static const struct lks_fabric_ops g_fabric_ops = {
    .name = "rdma lanes", .inbox = inbox, .write_inbox = write_inbox};

/* ---- the loop's: lanes ---------------------------------------------------------------------- */

/* From here on the lane is the keeper's. */
static void leave(struct rdma_lanes *lanes, uint32_t number)
{
    lanes->used &= ~(UINT64_C(1) << number);
    set_state(&lanes->lanes[number], LANE_LEFT);
    ring(lanes->keeper_fd);
}

static void rdma_detach(struct lks_lanes *base, uint32_t number)
{
    struct rdma_lanes *lanes = lanes_of(base);
    LKS_ASSERT(number >= 1 && number <= LKS_LANE_NUMBER_MAX);
    if (is_used(lanes, number)) {
        leave(lanes, number);
    }
}

static void take_completion_events(struct rdma_lanes *lanes)
{
    struct ibv_cq *cq = NULL;
    void *ctx = NULL;
    /* Acknowledged one by one: destroying a completion queue waits for that. */
    while (ibv_get_cq_event(lanes->completions, &cq, &ctx) == 0) {
        ibv_ack_cq_events(cq, 1);
    }
}

/* Why a lane of the loop's ends, if not because its client has hung up. */
static void say_ended(const struct rdma_lanes *lanes, uint32_t number)
{
    const struct lane *lane = &lanes->lanes[number];
    char who[LKS_CLIENT_IBV_SOURCE_TEXT];
    lks_client_ibv_source_text(&lane->source, who, sizeof who);
    if (atomic_load_explicit(&lane->ended, memory_order_acquire)) {
        lks_log_debug(lanes->options.log_sink, "client on lane %u (%s) has ended", number, who);
    } else {
        lks_log_warn(lanes->options.log_sink, "client on lane %u (%s): its lane ends: %s", number,
                     who, lane->end.why);
    }
}

static bool rdma_who(const struct lks_lanes *base, uint32_t number, char *text, size_t bytes)
{
    const struct rdma_lanes *lanes = lanes_of(base);
    if (!is_used(lanes, number)) {
        return false;
    }
    lks_client_ibv_source_text(&lanes->lanes[number].source, text, bytes);
    return true;
}

/* A lane of the loop's, looked at. */
static void look_at(struct rdma_lanes *lanes, uint32_t number, bool check, uint64_t now_ns)
{
    struct lks_client_ibv_end *end = &lanes->lanes[number].end;
    if (check) {
        lks_client_ibv_end_check(end, now_ns);
    } else {
        lks_client_ibv_end_poll(end);
    }
}

static void rdma_poll(struct lks_lanes *base, bool look, struct lks_lanes_changes *changes)
{
    struct rdma_lanes *lanes = lanes_of(base);
    *changes = (struct lks_lanes_changes){0};
    if (!look) {
        return;
    }
    const uint64_t now_ns = lks_clock_monotonic_ns();
    const bool check = now_ns - lanes->checked_ns >= CHECK_NS;
    lanes->checked_ns = check ? now_ns : lanes->checked_ns;
    quieten(lanes->loop_fd);
    take_completion_events(lanes);
    for (uint32_t number = 1; number <= LKS_LANE_NUMBER_MAX; number++) {
        struct lane *lane = &lanes->lanes[number];
        if (is_used(lanes, number)) {
            look_at(lanes, number, check, now_ns);
            if (lane->end.failed || atomic_load_explicit(&lane->ended, memory_order_acquire)) {
                say_ended(lanes, number);
                leave(lanes, number);
                changes->detached |= UINT64_C(1) << number;
            }
        } else if (state_of(lane) == LANE_READY) {
            set_state(lane, LANE_USED);
            lanes->used |= UINT64_C(1) << number;
            changes->attached |= UINT64_C(1) << number;
        }
    }
}

static int rdma_fd(const struct lks_lanes *base)
{
    return lanes_of(base)->epoll_fd;
}

static bool rdma_arm(struct lks_lanes *base)
{
    struct rdma_lanes *lanes = lanes_of(base);
    bool idle = true;
    for (uint64_t rest = lanes->used; rest != 0; rest &= rest - 1) {
        struct lks_client_ibv_end *end = &lanes->lanes[__builtin_ctzll(rest)].end;
        const uint32_t ended = end->ended;
        lks_client_ibv_end_arm(end);
        /* What has ended in here has made room for what was refused, and wakes nobody any more. */
        idle = idle && end->ended == ended;
    }
    return idle; /* what has failed is told within a tick */
}

static void rdma_disarm(struct lks_lanes *base)
{
    (void)base; /* the next look takes the events */
}

/* ---- the keeper's: callers ------------------------------------------------------------------ */

/* Refusals: both sides log why; a flood of one kind is one line a second. */
static void say_refused(struct rdma_lanes *lanes, int code, const char *detail)
{
    const uint64_t now_ns = lks_clock_monotonic_ns();
    if (code != lanes->said || detail != lanes->said_detail ||
        now_ns - lanes->said_ns >= SAY_NS) {
        lanes->said = code;
        lanes->said_detail = detail; /* (one of a few constants) */
        lanes->said_ns = now_ns;
        lks_log_warn(lanes->options.log_sink, "a client over RDMA is refused: %s%s%s",
                     lks_error_text(code), detail[0] != '\0' ? ": " : "", detail);
    }
}

static void reject(const struct rdma_lanes *lanes, struct rdma_cm_id *id, int status)
{
    const struct lks_client_ibv_reject why = {.magic = LKS_CLIENT_IBV_MAGIC,
                                              .version = LKS_CLIENT_IBV_VERSION,
                                              .status = status,
                                              .replica = lanes->options.replica};
    (void)rdma_reject(id, &why, sizeof why);
}

static void drop_caller(struct rdma_lanes *lanes, struct caller *caller)
{
    if (caller->state != CALLER_NONE) {
        lks_client_ibv_end_fini(&caller->end);
        lanes->reserved &= ~(UINT64_C(1) << caller->lane);
        *caller = (struct caller){0};
    }
}

static void refuse(struct rdma_lanes *lanes, struct caller *caller, int code, const char *detail)
{
    const struct lks_client_ibv_message message = {.kind = LKS_CLIENT_IBV_REFUSE, .status = code};
    say_refused(lanes, code, detail);
    if (!lks_client_ibv_end_say(&caller->end, &message)) {
        drop_caller(lanes, caller);
        return;
    }
    /* It hangs up when it has heard; destroying the queue pair now could overtake the message. */
    caller->state = CALLER_REFUSED;
    caller->deadline_ns = lks_clock_monotonic_ns() + REFUSED_NS;
}

static int accept_caller(struct rdma_lanes *lanes, struct caller *caller)
{
    struct rdma_conn_param given = {
        /* No reads: the queue pair refuses them. */
        .private_data = &caller->meeting.answer,
        .private_data_len = sizeof caller->meeting.answer,
        .flow_control = 1,
        .retry_count = lanes->options.retry_count,
        .rnr_retry_count = LKS_CLIENT_IBV_NOT_READY_RETRIES,
    };
    return rdma_accept(caller->end.id, &given) == 0 ? 0 : -errno;
}

/* A free place, or that of who gives way. */
static struct caller *choose_place(struct rdma_lanes *lanes, const struct in6_addr *source)
{
    struct lks_client_ibv_waiting waiting[LKS_CLIENT_IBV_CALLERS_MAX];
    for (uint32_t i = 0; i < LKS_CLIENT_IBV_CALLERS_MAX; i++) {
        const struct caller *caller = &lanes->callers[i];
        waiting[i] = (struct lks_client_ibv_waiting){
            .here = caller->state != CALLER_NONE,
            .proved = caller->state == CALLER_MEETS && caller->lane != 0,
            .since_ns = caller->since_ns,
            .source = caller->source};
    }
    return &lanes->callers[lks_client_ibv_callers_choose(waiting, source)];
}

static void on_request(struct rdma_lanes *lanes, struct rdma_cm_id *id, const void *data,
                       size_t bytes)
{
    struct lks_client_ibv_meeting meeting = {0};
    const char *detail = "";
    int code = lks_client_ibv_take_request(&meeting, &lanes->self, data, bytes, &detail);
    if (code != 0) {
        say_refused(lanes, code, detail);
        reject(lanes, id, code);
        (void)rdma_destroy_id(id);
        return;
    }
    const struct in6_addr source = lks_client_ibv_source(rdma_get_peer_addr(id));
    struct caller *caller = choose_place(lanes, &source);
    drop_caller(lanes, caller);
    caller->state = CALLER_MEETS;
    caller->source = source;
    caller->meeting = meeting;
    memcpy(caller->meeting.key, lanes->options.client_key, sizeof caller->meeting.key);
    caller->since_ns = lks_clock_monotonic_ns();
    caller->deadline_ns = caller->since_ns + LKS_CLIENT_IBV_PROOF_NS;
    lks_client_ibv_set_options(id, lanes->options.ack_timeout_exponent,
                               lanes->options.traffic_class);
    code = lks_client_ibv_end_init(&caller->end, id, lanes->completions);
    if (code == 0) {
        code = accept_caller(lanes, caller);
    }
    if (code != 0) {
        say_refused(lanes, code, "it cannot be connected");
        reject(lanes, id, code);
        drop_caller(lanes, caller);
    }
}

/* ---- the keeper's: lanes -------------------------------------------------------------------- */

/* The first free number; 0: none. */
static uint32_t reserve_lane(struct rdma_lanes *lanes)
{
    for (uint32_t number = 1; number <= LKS_LANE_NUMBER_MAX; number++) {
        if (state_of(&lanes->lanes[number]) == LANE_FREE &&
            (lanes->reserved >> number & 1) == 0) {
            lanes->reserved |= UINT64_C(1) << number;
            return number;
        }
    }
    return 0;
}

/* The client has proved the key: it is told where its area lies. */
static void welcome(struct rdma_lanes *lanes, struct caller *caller)
{
    struct lks_client_ibv_message message = {.kind = LKS_CLIENT_IBV_WELCOME};
    caller->lane = reserve_lane(lanes);
    if (caller->lane == 0) {
        refuse(lanes, caller, -LKS_EBUSY, "all lanes are taken");
        return;
    }
    const int code = lks_client_ibv_end_open(&caller->end, lanes->options.area_bytes);
    if (code != 0) {
        refuse(lanes, caller, code,
               code == -ENOMEM && lks_ibv_locked_bytes_max(lanes->options.area_bytes) != UINT64_MAX
                               ? "its area cannot be locked in memory: raise `ulimit -l`, or "
                                 "LimitMEMLOCK= of the replica's unit"
                               : "its area cannot be registered");
        return;
    }
    caller->deadline_ns = caller->since_ns + LKS_CLIENT_IBV_STEP_NS;
    message.lane = caller->lane;
    message.address = (uintptr_t)caller->end.area;
    message.bytes = caller->end.area_bytes;
    message.rkey = caller->end.area_region->rkey;
    lks_client_ibv_prove(&caller->meeting, &message);
    if (!lks_client_ibv_end_say(&caller->end, &message)) {
        drop_caller(lanes, caller);
    }
}

/* Both have proved the key: the lane is handed to the loop. */
static void attach(struct rdma_lanes *lanes, struct caller *caller)
{
    struct lane *lane = &lanes->lanes[caller->lane];
    LKS_ASSERT(state_of(lane) == LANE_FREE);
    lane->end = caller->end;
    lane->end.remote = caller->meeting.remote;
    lane->source = caller->source;
    atomic_store_explicit(&lane->ended, false, memory_order_relaxed); /* with the state */
    lanes->reserved &= ~(UINT64_C(1) << caller->lane);
    *caller = (struct caller){0};
    set_state(lane, LANE_READY);
    ring(lanes->loop_fd);
}

static void serve_caller(struct rdma_lanes *lanes, struct caller *caller, uint64_t now_ns)
{
    struct lks_client_ibv_message message;
    const char *detail = "";
    /* Heard first: what came in time counts, however late this thread looks. */
    int code = caller->state == CALLER_MEETS ? lks_client_ibv_end_hear(&caller->end, &message)
                                             : -EAGAIN;
    if (code == -EAGAIN) {
        if (now_ns >= caller->deadline_ns) {
            if (caller->state == CALLER_MEETS) {
                say_refused(lanes, -ETIMEDOUT, "it did not finish the meeting");
            }
            drop_caller(lanes, caller);
        }
        return;
    }
    if (code == -LKS_EBROKEN) {
        drop_caller(lanes, caller);
        return;
    }
    if (code == 0) {
        code = lks_client_ibv_hear(&caller->meeting, &message, &detail);
    }
    if (code != 0) {
        refuse(lanes, caller, code, detail);
    } else if (caller->meeting.step == LKS_CLIENT_IBV_AWAITS_HELLO) {
        welcome(lanes, caller);
    } else {
        attach(lanes, caller);
    }
}

static void serve_callers(struct rdma_lanes *lanes)
{
    const uint64_t now_ns = lks_clock_monotonic_ns();
    for (uint32_t i = 0; i < LKS_CLIENT_IBV_CALLERS_MAX; i++) {
        if (lanes->callers[i].state != CALLER_NONE) {
            serve_caller(lanes, &lanes->callers[i], now_ns);
        }
    }
}

/* The lanes that the loop has left. */
static void end_left(struct rdma_lanes *lanes)
{
    for (uint32_t number = 1; number <= LKS_LANE_NUMBER_MAX; number++) {
        struct lane *lane = &lanes->lanes[number];
        if (state_of(lane) == LANE_LEFT) {
            lks_client_ibv_end_fini(&lane->end);
            set_state(lane, LANE_FREE);
        }
    }
}

/* ---- the keeper's: events ------------------------------------------------------------------- */

static void on_end(struct rdma_lanes *lanes, const struct rdma_cm_id *id)
{
    for (uint32_t i = 0; i < LKS_CLIENT_IBV_CALLERS_MAX; i++) {
        if (lanes->callers[i].end.id == id) {
            drop_caller(lanes, &lanes->callers[i]);
            return;
        }
    }
    for (uint32_t number = 1; number <= LKS_LANE_NUMBER_MAX; number++) {
        struct lane *lane = &lanes->lanes[number];
        if (state_of(lane) != LANE_FREE && lane->end.id == id) {
            atomic_store_explicit(&lane->ended, true, memory_order_release);
            ring(lanes->loop_fd);
        }
    }
}

static void on_event(struct rdma_lanes *lanes, const struct lks_client_ibv_event *event)
{
    switch (event->kind) {
    case RDMA_CM_EVENT_CONNECT_REQUEST:
        on_request(lanes, event->id, event->data, event->bytes);
        break;
    case RDMA_CM_EVENT_ESTABLISHED:
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
        break; /* its first message tells; it has ended already */
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        lks_log_error(lanes->options.log_sink, "the RDMA device has been removed: clients over "
                      "RDMA are not served before this replica is started again");
        on_end(lanes, event->id);
        break;
    default: /* disconnected, unreachable, refused, address changed */
        on_end(lanes, event->id);
        break;
    }
}

static bool has_callers(const struct rdma_lanes *lanes)
{
    for (uint32_t i = 0; i < LKS_CLIENT_IBV_CALLERS_MAX; i++) {
        if (lanes->callers[i].state != CALLER_NONE) {
            return true;
        }
    }
    return false;
}

static void *keep(void *ctx)
{
    struct rdma_lanes *lanes = ctx;
    struct pollfd wanted[] = {{.fd = lanes->channel->fd, .events = POLLIN},
                              {.fd = lanes->keeper_fd, .events = POLLIN}};
    while (!atomic_load_explicit(&lanes->stops, memory_order_acquire)) {
        struct lks_client_ibv_event event;
        (void)poll(wanted, 2, has_callers(lanes) ? MEETING_LOOK_MS : -1);
        quieten(lanes->keeper_fd);
        end_left(lanes);
        for (unsigned i = 0; i < EVENTS_AT_ONCE &&
                             lks_client_ibv_next_event(lanes->channel, &event); i++) {
            on_event(lanes, &event);
            serve_callers(lanes); /* a proof that is there already: it gives way to nobody new */
        }
        serve_callers(lanes);
    }
    return NULL;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void close_if_open(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void rdma_free(struct lks_lanes *base)
{
    struct rdma_lanes *lanes = lanes_of(base);
    if (lanes->keeps) {
        atomic_store_explicit(&lanes->stops, true, memory_order_release);
        ring(lanes->keeper_fd);
        (void)pthread_join(lanes->keeper, NULL);
    }
    if (lanes->listener != NULL) {
        (void)rdma_destroy_id(lanes->listener);
    }
    for (uint32_t i = 0; i < LKS_CLIENT_IBV_CALLERS_MAX; i++) {
        drop_caller(lanes, &lanes->callers[i]);
    }
    for (uint32_t number = 1; number <= LKS_LANE_NUMBER_MAX; number++) {
        lks_client_ibv_end_fini(&lanes->lanes[number].end);
    }
    if (lanes->completions != NULL) {
        (void)ibv_destroy_comp_channel(lanes->completions);
    }
    if (lanes->channel != NULL) {
        rdma_destroy_event_channel(lanes->channel);
    }
    close_if_open(lanes->keeper_fd);
    close_if_open(lanes->loop_fd);
    close_if_open(lanes->epoll_fd);
    free(lanes);
}

static int watch(const struct rdma_lanes *lanes, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(lanes->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int make_descriptors(struct rdma_lanes *lanes)
{
    lanes->keeper_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lanes->loop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lanes->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (lanes->keeper_fd < 0 || lanes->loop_fd < 0 || lanes->epoll_fd < 0) {
        return -errno;
    }
    lanes->completions = ibv_create_comp_channel(lanes->listener->verbs);
    if (lanes->completions == NULL) {
        return errno != 0 ? -errno : -EIO;
    }
    int code = lks_client_ibv_make_non_blocking(lanes->completions->fd);
    code = code == 0 ? watch(lanes, lanes->completions->fd) : code;
    return code == 0 ? watch(lanes, lanes->loop_fd) : code;
}

static int start_keeper(struct rdma_lanes *lanes)
{
    sigset_t all;
    sigset_t before;
    if (rdma_listen(lanes->listener, BACKLOG) != 0) {
        return -errno;
    }
    /* Signals are for the threads that know of them. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&lanes->keeper, NULL, keep, lanes);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    lanes->keeps = code == 0;
    return -code;
}

static int listen_here(struct rdma_lanes *lanes, struct lks_error *err)
{
    const struct lks_rdma_place *place = &lanes->options.place;
    struct sockaddr_storage own;
    int code = lks_client_ibv_parse_place(place, &own);
    if (code != 0) {
        return lks_error_set(err, code, "clients over RDMA: \"%s\" port %u is no RDMA place: a "
                             "numeric IPv4 or IPv6 address and a port above 0 are needed",
                             place->address, place->port);
    }
    lanes->channel = rdma_create_event_channel();
    code = lanes->channel == NULL ? (errno != 0 ? -errno : -ENODEV)
                                  : lks_client_ibv_make_non_blocking(lanes->channel->fd);
    if (code == 0 && (rdma_create_id(lanes->channel, &lanes->listener, NULL, RDMA_PS_TCP) != 0 ||
                      rdma_bind_addr(lanes->listener, (struct sockaddr *)&own) != 0)) {
        code = -errno;
    }
    if (code == 0) {
        code = lanes->listener->verbs == NULL ? -ENODEV : make_descriptors(lanes);
    }
    if (code == 0) {
        code = start_keeper(lanes);
    }
    if (code == -EADDRINUSE) {
        return lks_error_set(err, code, "clients over RDMA: address %s port %u is in use: it is "
                             "the RDMA address with the port of `listen`; choose another port "
                             "there", place->address, place->port);
    }
    return code == 0 ? 0
                     : lks_error_set(err, code, "clients over RDMA, address %s port %u: %s",
                                     place->address, place->port, lks_error_text(code));
}

static const struct lks_lanes_ops g_ops = {.free = rdma_free,
                                           .poll = rdma_poll,
                                           .detach = rdma_detach,
                                           .fd = rdma_fd,
                                           .arm = rdma_arm,
                                           .disarm = rdma_disarm,
                                           .who = rdma_who};

int lks_lanes_rdma_new(struct lks_lanes **lanes, const struct lks_lanes_rdma_options *options,
                       struct lks_error *err)
{
    struct rdma_lanes *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for clients over RDMA");
    }
    made->base.fabric.ops = &g_fabric_ops;
    made->base.ops = &g_ops;
    made->options = *options;
    if (made->options.retry_count == 0) {
        made->options.retry_count = LKS_CLIENT_IBV_RETRIES;
    }
    made->self = (struct lks_client_ibv_identity){.replica = options->replica,
                                                  .area_bytes = options->area_bytes};
    memcpy(made->self.cluster, options->cluster_id, sizeof made->self.cluster);
    made->keeper_fd = made->loop_fd = made->epoll_fd = -1;
    const int code = listen_here(made, err);
    if (code != 0) {
        rdma_free(&made->base);
        return code;
    }
    *lanes = &made->base;
    return 0;
}
