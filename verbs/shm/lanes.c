/*
 * A replica's end of its clients' lanes; see lane.h. Invariant: what a caller sends or leaves
 * unsent takes up a bounded place; what is mapped here was made here, and nobody can shrink it.
 */
#include "verbs/shm/lane.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define EVENTS_AT_ONCE 32
#define ACCEPTS_AT_ONCE 8
#define STARVED_LOOKS 100u /* without taking callers, where there was no descriptor for one */
#define BYTES_AT_ONCE 64 /* of wake-ups taken from one socket in one look */

_Static_assert(LKS_LANE_NUMBER_MAX < 64, "lanes have bits in struct lks_lanes_changes");

struct lane {
    int socket; /* -1: free */
    uint8_t *memory;
};

struct shm_lanes {
    struct lks_lanes base; /* first */
    struct lks_lanes_shm_options options;
    int directory_fd;
    int listen_fd;
    int epoll_fd;
    bool starved;         /* the last caller found no descriptor: said once */
    uint32_t pause_looks; /* left until callers are taken again; their socket is not watched */
    uint64_t attached; /* since the last poll was answered */
    uint64_t detached;
    uint64_t taken; /* bit n: lane n has a client */
    struct lane lanes[LKS_LANE_NUMBER_MAX + 1]; /* by number */
    int waiting[LKS_LANE_WAITING_MAX];    /* sockets without a HELLO; -1: none */
    uint32_t waiting_next;                /* the oldest */
};

enum source { SOURCE_LISTEN = 1, SOURCE_WAITING, SOURCE_LANE };

static int watch(struct shm_lanes *lanes, int fd, enum source source, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index};
    return epoll_ctl(lanes->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static void close_watched(struct shm_lanes *lanes, int *fd)
{
    if (*fd >= 0) {
        (void)epoll_ctl(lanes->epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
        (void)close(*fd);
        *fd = -1;
    }
}

/* ---- as a fabric ---------------------------------------------------------------------------- */

static struct shm_lanes *lanes_of(const struct lks_fabric *fabric)
{
    return (struct shm_lanes *)(uintptr_t)(const void *)fabric;
}

static struct shm_lanes *shm_of(const struct lks_lanes *lanes)
{
    return lanes_of(&lanes->fabric);
}

static bool is_taken(const struct shm_lanes *lanes, uint32_t lane)
{
    return lane >= 1 && lane <= LKS_LANE_NUMBER_MAX && (lanes->taken >> lane & 1) != 0;
}

static void *inbox(const struct lks_fabric *fabric, uint32_t lane)
{
    const struct shm_lanes *lanes = lanes_of(fabric);
    LKS_ASSERT(is_taken(lanes, lane));
    return lanes->lanes[lane].memory + LKS_LANE_PAGE_BYTES;
}

static struct lks_lane_page *page_of(const struct shm_lanes *lanes, uint32_t lane)
{
    return (struct lks_lane_page *)(void *)lanes->lanes[lane].memory;
}

static void wake(struct shm_lanes *lanes, uint32_t lane)
{
    if (is_taken(lanes, lane)) {
        lks_lane_ring(&page_of(lanes, lane)->client_sleeps, lanes->lanes[lane].socket);
    }
}

static int write_inbox(struct lks_fabric *fabric, uint32_t lane, uint64_t offset,
                       const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct shm_lanes *lanes = lanes_of(fabric);
    (void)id;
    if (!is_taken(lanes, lane)) {
        return -LKS_EBROKEN;
    }
    uint8_t *area =
        lanes->lanes[lane].memory + LKS_LANE_PAGE_BYTES + lanes->options.area_bytes;
    const int rc = lks_lane_store(area, lanes->options.area_bytes, offset, source, bytes);
    if (rc == 0 && (flags & LKS_FABRIC_WAKE) != 0) {
        wake(lanes, lane);
    }
    return rc;
}

static const struct lks_fabric_ops g_fabric_ops = {
    .name = "lanes", .writes_when_posted = true, .inbox = inbox, .write_inbox = write_inbox};

/* ---- life ----------------------------------------------------------------------------------- */

static int listen_here(struct shm_lanes *lanes)
{
    struct sockaddr_un address;
    int rc = lks_lane_address(lanes->options.directory, lanes->options.replica, &address,
                              &lanes->directory_fd);
    if (rc != 0) {
        return rc;
    }
    /* The fabric of this process holds the replica's name: a socket here is a dead process's. */
    if (unlink(address.sun_path) != 0 && errno != ENOENT) {
        return -errno;
    }
    lanes->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (lanes->listen_fd < 0 || fchmod(lanes->listen_fd, 0600) != 0 ||
        bind(lanes->listen_fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(lanes->listen_fd, (int)LKS_LANE_NUMBER_MAX) != 0) {
        return -errno;
    }
    lanes->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (lanes->epoll_fd < 0) {
        return -errno;
    }
    return watch(lanes, lanes->listen_fd, SOURCE_LISTEN, 0);
}

static void end_lane(struct shm_lanes *lanes, uint32_t number)
{
    struct lane *lane = &lanes->lanes[number];
    close_watched(lanes, &lane->socket);
    if (lane->memory != NULL) {
        (void)munmap(lane->memory, lks_lane_bytes(lanes->options.area_bytes));
        lane->memory = NULL;
    }
    lanes->taken &= ~(UINT64_C(1) << number);
}

static void shm_free(struct lks_lanes *base)
{
    struct shm_lanes *lanes = shm_of(base);
    for (uint32_t i = 1; i <= LKS_LANE_NUMBER_MAX; i++) {
        end_lane(lanes, i);
    }
    for (uint32_t i = 0; i < LKS_LANE_WAITING_MAX; i++) {
        close_watched(lanes, &lanes->waiting[i]);
    }
    if (lanes->listen_fd >= 0) {
        char name[24];
        (void)snprintf(name, sizeof name, "c%u.sock", lanes->options.replica);
        (void)unlinkat(lanes->directory_fd, name, 0);
        (void)close(lanes->listen_fd);
    }
    if (lanes->epoll_fd >= 0) {
        (void)close(lanes->epoll_fd);
    }
    if (lanes->directory_fd >= 0) {
        (void)close(lanes->directory_fd);
    }
    free(lanes);
}

static void shm_detach(struct lks_lanes *base, uint32_t lane)
{
    struct shm_lanes *lanes = shm_of(base);
    LKS_ASSERT(lane >= 1 && lane <= LKS_LANE_NUMBER_MAX);
    end_lane(lanes, lane);
    lanes->attached &= ~(UINT64_C(1) << lane);
}

/* ---- taking a client ------------------------------------------------------------------------ */

/* New memory, zeroed, sealed and present: -1 and errno, or its descriptor. */
static int make_memory(const struct shm_lanes *lanes, uint8_t **memory)
{
    const uint64_t bytes = lks_lane_bytes(lanes->options.area_bytes);
    const int fd = memfd_create("lockstep-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -1;
    }
    /* Allocated in full: a full machine shows here, not as SIGBUS later. */
    if (fallocate(fd, 0, 0, (off_t)bytes) == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0) {
        *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (*memory != MAP_FAILED) {
            (void)madvise(*memory, bytes, MADV_DONTFORK);
            return fd;
        }
    }
    const int code = errno;
    (void)close(fd);
    errno = code;
    return -1;
}

static int send_welcome(int socket, const struct lks_lane_welcome *welcome, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct lks_lane_welcome copy = *welcome;
    struct iovec part = {.iov_base = &copy, .iov_len = sizeof copy};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        packet.msg_control = &control;
        packet.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(socket, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void refuse(int socket, int status)
{
    const struct lks_lane_welcome welcome = {
        .magic = LKS_LANE_MAGIC, .version = LKS_LANE_VERSION, .status = status};
    (void)send_welcome(socket, &welcome, -1);
}

static int check_hello(const struct shm_lanes *lanes, const struct lks_lane_hello *hello,
                       ssize_t length)
{
    if (length < (ssize_t)offsetof(struct lks_lane_hello, replica) ||
        hello->magic != LKS_LANE_MAGIC) {
        return -EBADMSG;
    }
    if (hello->version != LKS_LANE_VERSION) {
        return -LKS_EVERSION;
    }
    if (length != sizeof *hello || hello->any_cluster > 1 || hello->zero != 0) {
        return -EBADMSG;
    }
    const bool known = hello->any_cluster == 1 ||
                       memcmp(hello->cluster_id, lanes->options.cluster_id, 16) == 0;
    return known && hello->replica == lanes->options.replica ? 0 : -LKS_ECLUSTER;
}

/* The first free number; 0: none. One that has ended since the last poll is not free yet: whoever
 * uses it has to hear of that first. */
static uint32_t free_lane(const struct shm_lanes *lanes)
{
    for (uint32_t i = 1; i <= LKS_LANE_NUMBER_MAX; i++) {
        if (((lanes->taken | lanes->detached) >> i & 1) == 0) {
            return i;
        }
    }
    return 0;
}

/* The socket becomes the lane's. */
static int begin_lane(struct shm_lanes *lanes, int socket)
{
    const uint32_t number = free_lane(lanes);
    if (number == 0) {
        return -LKS_EBUSY;
    }
    struct lane *lane = &lanes->lanes[number];
    const int fd = make_memory(lanes, &lane->memory);
    if (fd < 0) {
        lane->memory = NULL;
        return -errno;
    }
    const struct lks_lane_welcome welcome = {.magic = LKS_LANE_MAGIC,
                                             .version = LKS_LANE_VERSION,
                                             .lane = number,
                                             .area_bytes = lanes->options.area_bytes};
    int rc = watch(lanes, socket, SOURCE_LANE, number);
    if (rc == 0) {
        rc = send_welcome(socket, &welcome, fd);
    }
    (void)close(fd);
    if (rc != 0) {
        (void)epoll_ctl(lanes->epoll_fd, EPOLL_CTL_DEL, socket, NULL);
        end_lane(lanes, number);
        return rc;
    }
    lane->socket = socket;
    lanes->taken |= UINT64_C(1) << number;
    lanes->attached |= UINT64_C(1) << number;
    return 0;
}

static void on_waiting(struct shm_lanes *lanes, uint32_t index)
{
    struct lks_lane_hello hello = {0};
    int *fd = &lanes->waiting[index];
    if (*fd < 0) {
        return;
    }
    const ssize_t length = recv(*fd, &hello, sizeof hello, MSG_DONTWAIT | MSG_TRUNC);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    int rc = length <= 0 ? -ECONNRESET : check_hello(lanes, &hello, length);
    if (rc == 0) {
        const int socket = *fd;
        (void)epoll_ctl(lanes->epoll_fd, EPOLL_CTL_DEL, socket, NULL);
        rc = begin_lane(lanes, socket);
        if (rc == 0) {
            *fd = -1;
            return;
        }
    }
    if (rc != -ECONNRESET) {
        lks_log_warn(lanes->options.log_sink, "a client on shared memory is refused: %s",
                     lks_error_text(rc));
        refuse(*fd, rc);
    }
    close_watched(lanes, fd);
}

/* A caller that cannot be taken stays in the queue, which so stays readable: not to be looked at
 * again and again, its socket is left alone for a while. */
static void starve(struct shm_lanes *lanes, int code)
{
    if (!lanes->starved) {
        lks_log_warn(lanes->options.log_sink,
                     "clients on shared memory have to wait: %s; raise `ulimit -n`, or end some "
                     "clients; tried again from time to time",
                     lks_error_text(code));
    }
    lanes->starved = true;
    lanes->pause_looks = STARVED_LOOKS;
    (void)epoll_ctl(lanes->epoll_fd, EPOLL_CTL_DEL, lanes->listen_fd, NULL);
}

static void end_pause(struct shm_lanes *lanes)
{
    if (lanes->pause_looks > 0) {
        lanes->pause_looks--;
        if (lanes->pause_looks == 0 && watch(lanes, lanes->listen_fd, SOURCE_LISTEN, 0) != 0) {
            lanes->pause_looks = STARVED_LOOKS;
        }
    }
}

static void on_listen(struct shm_lanes *lanes)
{
    for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(lanes->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                starve(lanes, -errno);
            }
            return;
        }
        lanes->starved = false;
        if (!lks_lane_same_user(fd)) {
            (void)close(fd);
            continue;
        }
        const uint32_t index = lanes->waiting_next;
        lanes->waiting_next = (index + 1) % LKS_LANE_WAITING_MAX;
        on_waiting(lanes, index); /* it may have spoken: only who says nothing gives way */
        close_watched(lanes, &lanes->waiting[index]);
        if (watch(lanes, fd, SOURCE_WAITING, index) != 0) {
            (void)close(fd);
            continue;
        }
        lanes->waiting[index] = fd;
    }
}

/* Its wake-ups, or its end. */
static void on_lane(struct shm_lanes *lanes, uint32_t number)
{
    char bytes[16];
    ssize_t length = 1;
    if (!is_taken(lanes, number)) {
        return;
    }
    for (unsigned i = 0; i < BYTES_AT_ONCE && length > 0; i++) {
        length = recv(lanes->lanes[number].socket, bytes, sizeof bytes, MSG_DONTWAIT);
    }
    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR)) {
        end_lane(lanes, number);
        lanes->attached &= ~(UINT64_C(1) << number);
        lanes->detached |= UINT64_C(1) << number;
    }
}

static void shm_poll(struct lks_lanes *base, bool look, struct lks_lanes_changes *changes)
{
    struct shm_lanes *lanes = shm_of(base);
    struct epoll_event ready[EVENTS_AT_ONCE];
    if (look) {
        end_pause(lanes);
    }
    const int count = look ? epoll_wait(lanes->epoll_fd, ready, EVENTS_AT_ONCE, 0) : 0;
    for (int i = 0; i < count; i++) {
        const uint32_t index = (uint32_t)ready[i].data.u64;
        switch ((enum source)(ready[i].data.u64 >> 32)) {
        case SOURCE_LISTEN:
            on_listen(lanes);
            break;
        case SOURCE_WAITING:
            on_waiting(lanes, index);
            break;
        case SOURCE_LANE:
            on_lane(lanes, index);
            break;
        }
    }
    changes->attached = lanes->attached;
    changes->detached = lanes->detached;
    lanes->attached = 0;
    lanes->detached = 0;
}

/* ---- sleeping ------------------------------------------------------------------------------- */

static int shm_fd(const struct lks_lanes *base)
{
    return shm_of(base)->epoll_fd;
}

static void set_sleeping(struct shm_lanes *lanes, uint64_t value)
{
    for (uint64_t rest = lanes->taken; rest != 0; rest &= rest - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctzll(rest);
        lks_word_publish(&page_of(lanes, lane)->replica_sleeps, value);
    }
}

static bool shm_arm(struct lks_lanes *base)
{
    set_sleeping(shm_of(base), 1);
    lks_fence_full(); /* twin: lks_lane_ring */
    return true;
}

static void shm_disarm(struct lks_lanes *base)
{
    set_sleeping(shm_of(base), 0);
}

static bool shm_who(const struct lks_lanes *base, uint32_t lane, char *text, size_t bytes)
{
    const struct shm_lanes *lanes = (const struct shm_lanes *)(const void *)base;
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (!is_taken(lanes, lane) || getsockopt(lanes->lanes[lane].socket, SOL_SOCKET, SO_PEERCRED,
                                             &peer, &length) != 0) {
        return false;
    }
    (void)snprintf(text, bytes, "pid=%ld,uid=%ld", (long)peer.pid, (long)peer.uid);
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static const struct lks_lanes_ops g_ops = {.free = shm_free,
                                           .poll = shm_poll,
                                           .detach = shm_detach,
                                           .fd = shm_fd,
                                           .arm = shm_arm,
                                           .disarm = shm_disarm,
                                           .who = shm_who};

int lks_lanes_shm_new(struct lks_lanes **lanes, const struct lks_lanes_shm_options *options,
                      struct lks_error *err)
{
    LKS_ASSERT(options->area_bytes % LKS_LANE_PAGE_BYTES == 0);
    struct shm_lanes *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for clients on shared memory");
    }
    made->base.fabric.ops = &g_fabric_ops;
    made->base.ops = &g_ops;
    made->options = *options;
    made->directory_fd = made->listen_fd = made->epoll_fd = -1;
    for (uint32_t i = 0; i <= LKS_LANE_NUMBER_MAX; i++) {
        made->lanes[i].socket = -1;
    }
    for (uint32_t i = 0; i < LKS_LANE_WAITING_MAX; i++) {
        made->waiting[i] = -1;
    }
    const int rc = listen_here(made);
    if (rc != 0) {
        shm_free(&made->base);
        return lks_error_set(err, rc,
                             "socket %s/c%u.sock, where clients on shared memory attach: %s; the "
                             "folder must be this user's alone (mode 0700)",
                             options->directory, options->replica, lks_error_text(rc));
    }
    *lanes = &made->base;
    return 0;
}
