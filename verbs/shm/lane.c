/* A client's end of a lane, and what both ends share; see lane.h. */
#include "verbs/shm/lane.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define SLEEP_MAX_MS 1000

struct shm_lane {
    struct lks_lane base; /* first */
    int socket;
    bool ended;
    uint64_t area_bytes;
    uint8_t *memory;
};

/* ---- shared by both ends -------------------------------------------------------------------- */

int lks_lane_address(const char *directory, uint32_t replica, struct sockaddr_un *address,
                     int *directory_fd)
{
    struct stat status;
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &status) != 0 || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        (void)close(fd);
        return -EACCES;
    }
    /* By way of the descriptor: its length is always within the limit. */
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    (void)snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/c%u.sock", fd,
                   replica);
    *directory_fd = fd;
    return 0;
}

int lks_lane_store(uint8_t *area, uint64_t area_bytes, uint64_t offset, const void *source,
                   uint64_t bytes)
{
    if (bytes == 0 || bytes > area_bytes || offset > area_bytes - bytes) {
        return -EINVAL;
    }
    if (bytes == sizeof(uint64_t) && offset % sizeof(uint64_t) == 0) {
        uint64_t word;
        memcpy(&word, source, sizeof word);
        lks_word_publish((lks_word *)(void *)(area + offset), word);
    } else {
        memcpy(area + offset, source, bytes);
    }
    return 0;
}

void lks_lane_ring(lks_word *sleeps, int socket)
{
    /* Without this fence the look at `sleeps` could be done before what was written is visible: the
     * other side sets it, sees nothing new and sleeps, and nobody wakes it. Twin: the fence behind
     * where it is set. */
    lks_fence_full();
    if (lks_word_read(sleeps) == 0) {
        return;
    }
    if (atomic_exchange_explicit(sleeps, 0, memory_order_acq_rel) != 0) {
        const ssize_t sent = send(socket, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)sent; /* full means that it is readable already */
    }
}

bool lks_lane_same_user(int socket)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           peer.uid == geteuid();
}

/* ---- attaching ------------------------------------------------------------------------------ */

/* Takes the descriptor that came along, if exactly one did; others are closed. -1: none. */
static int take_descriptor(struct msghdr *packet)
{
    int taken = -1;
    unsigned count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(packet); header != NULL;
         header = CMSG_NXTHDR(packet, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++, count++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            if (count == 0) {
                taken = fd;
            } else {
                (void)close(fd);
            }
        }
    }
    if (count > 1) {
        (void)close(taken);
        taken = -1;
    }
    return taken;
}

static int receive_welcome(const struct shm_lane *lane, struct lks_lane_welcome *welcome, int *fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = welcome, .iov_len = sizeof *welcome};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control};
    const ssize_t length = recvmsg(lane->socket, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0) {
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ECONNREFUSED;
    }
    *fd = take_descriptor(&packet);
    if (length == 0) {
        return -ECONNREFUSED;
    }
    if (length < (ssize_t)offsetof(struct lks_lane_welcome, status) ||
        welcome->magic != LKS_LANE_MAGIC) {
        return -EBADMSG;
    }
    if (welcome->version != LKS_LANE_VERSION) {
        return -LKS_EVERSION;
    }
    if (length != sizeof *welcome || (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        return -EBADMSG;
    }
    return welcome->status < 0 ? welcome->status : 0;
}

/* Maps what the replica made, if it is that. */
static int map(struct shm_lane *lane, int fd)
{
    struct stat status;
    const uint64_t bytes = lks_lane_bytes(lane->area_bytes);
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status) != 0 ||
        (uint64_t)status.st_size != bytes) {
        return -EBADMSG;
    }
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    (void)madvise(memory, bytes, MADV_DONTFORK);
    lane->memory = memory;
    return 0;
}

static int hear_welcome(struct shm_lane *lane, uint64_t timeout_ns)
{
    struct lks_lane_welcome welcome = {0};
    struct pollfd wanted = {.fd = lane->socket, .events = POLLIN};
    int fd = -1;
    if (poll(&wanted, 1, (int)(timeout_ns / LKS_NS_PER_MS) + 1) == 0) {
        return -ETIMEDOUT;
    }
    int rc = receive_welcome(lane, &welcome, &fd);
    if (rc == -EAGAIN) {
        rc = -ETIMEDOUT;
    }
    if (rc == 0 && (fd < 0 || welcome.lane < 1 || welcome.lane > LKS_LANE_NUMBER_MAX ||
                    welcome.area_bytes != lane->area_bytes)) {
        rc = -EBADMSG;
    }
    if (rc == 0) {
        lane->base.number = welcome.lane;
        rc = map(lane, fd);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

static int dial(struct shm_lane *lane, const struct lks_lane_shm_options *options)
{
    struct sockaddr_un address;
    int directory_fd = -1;
    int rc = lks_lane_address(options->directory, options->replica, &address, &directory_fd);
    if (rc != 0) {
        return rc;
    }
    lane->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (lane->socket < 0 ||
        connect(lane->socket, (const struct sockaddr *)&address, sizeof address) != 0) {
        rc = -errno;
    } else if (!lks_lane_same_user(lane->socket)) {
        rc = -EACCES;
    }
    (void)close(directory_fd);
    if (rc != 0) {
        return rc;
    }
    struct lks_lane_hello hello = {.magic = LKS_LANE_MAGIC,
                                   .version = LKS_LANE_VERSION,
                                   .replica = options->replica,
                                   .any_cluster = options->any_cluster ? 1 : 0};
    memcpy(hello.cluster_id, options->cluster_id, sizeof hello.cluster_id);
    return send(lane->socket, &hello, sizeof hello, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* ---- as a fabric of two --------------------------------------------------------------------- */

static void *inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    const struct shm_lane *lane = (const struct shm_lane *)(const void *)fabric;
    (void)peer;
    return lane->memory + LKS_LANE_PAGE_BYTES + lane->area_bytes;
}

static struct lks_lane_page *page_of(const struct shm_lane *lane)
{
    return (struct lks_lane_page *)(void *)lane->memory;
}

static void wake(struct shm_lane *lane)
{
    lks_lane_ring(&page_of(lane)->replica_sleeps, lane->socket);
}

static int write_inbox(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                       const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct shm_lane *lane = (struct shm_lane *)(void *)fabric;
    (void)peer;
    (void)id;
    if (lane->ended) {
        return -LKS_EBROKEN;
    }
    const int rc = lks_lane_store(lane->memory + LKS_LANE_PAGE_BYTES, lane->area_bytes, offset,
                                  source, bytes);
    if (rc == 0 && (flags & LKS_FABRIC_WAKE) != 0) {
        wake(lane);
    }
    return rc;
}

static const struct lks_fabric_ops g_fabric_ops = {
    .name = "lane", .writes_when_posted = true, .inbox = inbox, .write_inbox = write_inbox};

static struct shm_lane *shm_of(struct lks_lane *lane)
{
    return (struct shm_lane *)(void *)lane;
}

static void shm_free(struct lks_lane *base)
{
    struct shm_lane *lane = shm_of(base);
    if (lane->memory != NULL) {
        (void)munmap(lane->memory, lks_lane_bytes(lane->area_bytes));
    }
    if (lane->socket >= 0) {
        (void)close(lane->socket);
    }
    free(lane);
}

/* Takes what has woken this side away. False: the other end has closed. */
static bool drain(struct shm_lane *lane)
{
    char bytes[16];
    ssize_t length;
    do {
        length = recv(lane->socket, bytes, sizeof bytes, MSG_DONTWAIT);
    } while (length > 0);
    lane->ended = lane->ended || length == 0 || (errno != EAGAIN && errno != EINTR);
    return !lane->ended;
}

static bool shm_is_alive(struct lks_lane *lane)
{
    return drain(shm_of(lane));
}

static bool shm_arm(struct lks_lane *lane)
{
    lks_word_publish(&page_of(shm_of(lane))->client_sleeps, 1);
    lks_fence_full(); /* twin: lks_lane_ring */
    return true;
}

static void shm_disarm(struct lks_lane *lane)
{
    lks_word_publish(&page_of(shm_of(lane))->client_sleeps, 0);
}

static void shm_sleep(struct lks_lane *base, uint64_t timeout_ns)
{
    struct shm_lane *lane = shm_of(base);
    const uint64_t most_ns = SLEEP_MAX_MS * LKS_NS_PER_MS;
    const uint64_t ns = timeout_ns < most_ns ? timeout_ns : most_ns;
    const struct timespec timeout = {.tv_sec = (time_t)(ns / LKS_NS_PER_S),
                                     .tv_nsec = (long)(ns % LKS_NS_PER_S)};
    struct pollfd wanted = {.fd = lane->socket, .events = POLLIN};
    (void)ppoll(&wanted, 1, &timeout, NULL);
    shm_disarm(base);
    (void)drain(lane);
}

static const struct lks_lane_ops g_ops = {.free = shm_free,
                                          .is_alive = shm_is_alive,
                                          .arm = shm_arm,
                                          .sleep = shm_sleep,
                                          .disarm = shm_disarm};

int lks_lane_shm_attach(struct lks_lane **lane, const struct lks_lane_shm_options *options)
{
    struct shm_lane *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->base.fabric.ops = &g_fabric_ops;
    made->base.ops = &g_ops;
    made->socket = -1;
    made->area_bytes = options->area_bytes;
    int rc = dial(made, options);
    if (rc == 0) {
        rc = hear_welcome(made, options->timeout_ns);
    }
    if (rc != 0) {
        shm_free(&made->base);
        return rc;
    }
    *lane = &made->base;
    return 0;
}
