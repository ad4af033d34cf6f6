/* Unix sockets of the meeting; see socket.h. */
#include "verbs/shm/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16
#define PACKET_BYTES_MAX 512 /* room for messages of other versions */
#define FDS_ROOM 8u /* descriptors that fit the control buffer: more are cut off by the kernel */

union control {
    struct cmsghdr header; /* for its alignment */
    char bytes[CMSG_SPACE(FDS_ROOM * sizeof(int))];
};

/* The address of a replica's socket, by way of the directory's descriptor: no symbolic link and
 * no renaming of a folder above can lead elsewhere, and its length is always within the limit. */
static void address_of(const struct lks_shm_socket *here, uint32_t replica,
                       struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    (void)snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/r%u.sock",
                   here->directory_fd, replica);
}

/* The entry in the directory: 0 if it is a socket of this user; -ENOENT; -EACCES. */
static int look_at(const struct lks_shm_socket *here, uint32_t replica)
{
    char name[24];
    struct stat status;
    (void)snprintf(name, sizeof name, "r%u.sock", replica);
    if (fstatat(here->directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return -errno;
    }
    return S_ISSOCK(status.st_mode) && status.st_uid == geteuid() ? 0 : -EACCES;
}

static int open_directory(struct lks_shm_socket *here, const char *directory,
                          struct lks_error *err)
{
    struct stat status;
    here->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (here->directory_fd < 0 || fstat(here->directory_fd, &status) != 0) {
        const int code = -errno;
        return lks_error_set(err, code, "socket directory %s: %s; make it with mode 0700",
                             directory, lks_error_text(code));
    }
    if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        return lks_error_set(err, -EACCES,
                             "socket directory %s: owner %u, mode %04o, but it must belong to "
                             "user %u alone: chown it and chmod 0700",
                             directory, status.st_uid, status.st_mode & 07777u, geteuid());
    }
    return 0;
}

/* Takes the name. The lock says that its holder lives: the kernel lets go of it when the last
 * thread of the process has ended, not before. */
static int lock_name(struct lks_shm_socket *here, const char *directory, struct lks_error *err)
{
    char name[24];
    char text[32] = "";
    (void)snprintf(name, sizeof name, "r%u.lock", here->replica);
    here->lock_fd =
        openat(here->directory_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (here->lock_fd < 0) {
        const int code = -errno;
        return lks_error_set(err, code, "lock %s/%s: %s", directory, name, lks_error_text(code));
    }
    if (flock(here->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            const int code = -errno;
            return lks_error_set(err, code, "lock %s/%s: %s", directory, name,
                                 lks_error_text(code));
        }
        const ssize_t length = pread(here->lock_fd, text, sizeof text - 1, 0);
        (void)close(here->lock_fd);
        here->lock_fd = -1;
        return lks_error_set(err, -EADDRINUSE,
                             "replica r%u of %s is running already (pid %.*s): stop it first",
                             here->replica, directory, length > 0 ? (int)length : 1,
                             length > 0 ? text : "?");
    }
    /* For that message only; who cannot write it goes on without. */
    const int length = snprintf(text, sizeof text, "%d", getpid());
    if (ftruncate(here->lock_fd, 0) == 0 && length > 0) {
        const ssize_t written = pwrite(here->lock_fd, text, (size_t)length, 0);
        (void)written;
    }
    return 0;
}

static int listen_here(struct lks_shm_socket *here, const char *directory, struct lks_error *err)
{
    struct sockaddr_un address;
    char name[24];
    (void)snprintf(name, sizeof name, "r%u.sock", here->replica);
    address_of(here, here->replica, &address);
    int code = look_at(here, here->replica);
    if (code == 0 && unlinkat(here->directory_fd, name, 0) != 0) {
        code = -errno; /* the name is locked: whoever listened there has ended */
    }
    if (code != 0 && code != -ENOENT) {
        return lks_error_set(err, code, "%s/%s is not a socket of this user: remove it", directory,
                             name);
    }
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        code = -errno;
        return lks_error_set(err, code, "socket %s/%s: %s", directory, name, lks_error_text(code));
    }
    here->listen_fd = fd;
    /* Before bind(): the file takes over the mode. */
    if (fchmod(fd, 0600) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, BACKLOG) != 0) {
        code = -errno;
        return lks_error_set(err, code, "socket %s/%s: %s", directory, name, lks_error_text(code));
    }
    return 0;
}

int lks_shm_socket_init(struct lks_shm_socket *here, const char *directory, uint32_t replica,
                        struct lks_error *err)
{
    *here = (struct lks_shm_socket){
        .directory_fd = -1, .lock_fd = -1, .listen_fd = -1, .replica = replica};
    int code = open_directory(here, directory, err);
    if (code == 0) {
        code = lock_name(here, directory, err);
    }
    if (code == 0) {
        code = listen_here(here, directory, err);
    }
    if (code != 0) {
        lks_shm_socket_fini(here);
    }
    return code;
}

void lks_shm_socket_fini(struct lks_shm_socket *here)
{
    char name[24];
    if (here->replica == 0) {
        return;
    }
    if (here->listen_fd >= 0) {
        (void)snprintf(name, sizeof name, "r%u.sock", here->replica);
        (void)unlinkat(here->directory_fd, name, 0); /* ours: the name is locked */
        (void)close(here->listen_fd);
    }
    if (here->lock_fd >= 0) {
        (void)close(here->lock_fd);
    }
    if (here->directory_fd >= 0) {
        (void)close(here->directory_fd);
    }
    *here = (struct lks_shm_socket){.directory_fd = -1, .lock_fd = -1, .listen_fd = -1};
}

static bool same_user(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

uint32_t lks_shm_socket_pid(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid <= 0) {
        return 0;
    }
    return (uint32_t)peer.pid;
}

int lks_shm_socket_accept(const struct lks_shm_socket *here, int *fd)
{
    const int client = accept4(here->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) {
        return -errno;
    }
    if (!same_user(client)) {
        (void)close(client);
        return -EACCES;
    }
    *fd = client;
    return 0;
}

int lks_shm_socket_dial(const struct lks_shm_socket *here, uint32_t peer, int *fd)
{
    struct sockaddr_un address;
    int code = look_at(here, peer);
    if (code != 0) {
        return code;
    }
    const int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client < 0) {
        return -errno;
    }
    address_of(here, peer, &address);
    if (connect(client, (const struct sockaddr *)&address, sizeof address) != 0) {
        code = -errno;
    } else if (!same_user(client)) {
        code = -EACCES;
    }
    if (code != 0) {
        (void)close(client);
        return code;
    }
    *fd = client;
    return 0;
}

int lks_shm_socket_send(int fd, const struct lks_shm_message *message, const int *fds)
{
    struct lks_shm_message copy = *message;
    union control control;
    struct iovec part = {.iov_base = &copy, .iov_len = sizeof copy};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    if (fds != NULL) {
        memset(&control, 0, sizeof control);
        packet.msg_control = &control;
        packet.msg_controllen = CMSG_SPACE(LKS_SHM_MESSAGE_FDS * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(LKS_SHM_MESSAGE_FDS * sizeof(int));
        memcpy(CMSG_DATA(header), fds, LKS_SHM_MESSAGE_FDS * sizeof(int));
    }
    const ssize_t sent = sendmsg(fd, &packet, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : 0;
}

/* Moves the first LKS_SHM_MESSAGE_FDS descriptors into fds, closes the rest; returns how many
 * there were. */
static unsigned take_descriptors(struct msghdr *packet, int *fds)
{
    unsigned taken = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(packet); header != NULL;
         header = CMSG_NXTHDR(packet, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            if (taken < LKS_SHM_MESSAGE_FDS) {
                fds[taken] = fd;
            } else {
                (void)close(fd);
            }
            taken++;
        }
    }
    return taken;
}

int lks_shm_socket_receive(int fd, struct lks_shm_message *message, int *fds)
{
    union {
        struct lks_shm_message message;
        char bytes[PACKET_BYTES_MAX];
    } got;
    union control control;
    struct iovec part = {.iov_base = &got, .iov_len = sizeof got};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control};
    int taken[LKS_SHM_MESSAGE_FDS] = {-1, -1, -1, -1, -1};
    const ssize_t length = recvmsg(fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0) {
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ECONNRESET;
    }
    const unsigned count = take_descriptors(&packet, taken);
    const bool whole = (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    const bool ours = length >= (ssize_t)offsetof(struct lks_shm_message, cluster_id) &&
                      got.message.magic == LKS_SHM_MESSAGE_MAGIC;
    const bool other_version = ours && got.message.version != LKS_SHM_MESSAGE_VERSION;
    const unsigned expected =
        ours && got.message.kind == LKS_SHM_HELLO ? LKS_SHM_MESSAGE_FDS : 0;
    if (!whole || !ours || other_version || length != (ssize_t)sizeof got.message ||
        count != expected) {
        for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
            if (taken[i] >= 0) {
                (void)close(taken[i]);
            }
        }
        if (other_version) {
            return -LKS_EVERSION;
        }
        return length == 0 ? -ECONNRESET : -EBADMSG;
    }
    *message = got.message;
    memcpy(fds, taken, sizeof taken);
    return 0;
}

bool lks_shm_socket_hung_up(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLRDHUP};
    return poll(&wanted, 1, 0) != 0;
}
