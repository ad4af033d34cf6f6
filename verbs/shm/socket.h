/*
 * The Unix sockets by which replicas of one host meet: <directory>/r<id>.sock, one packet a
 * message, descriptors alongside. Fabric's thread; every descriptor is non-blocking and closed on
 * exec. Invariant: a packet that is not exactly a message is dropped with all that came along, and
 * nobody but processes of the same user is listened to.
 */
#ifndef LKS_VERBS_SHM_SOCKET_H
#define LKS_VERBS_SHM_SOCKET_H

#include "base/error.h"
#include "verbs/fabric.h"

#include <stddef.h>
#include <stdint.h>

#define LKS_SHM_MESSAGE_MAGIC UINT64_C(0x6c6b732d6d656574) /* "lks-meet" */
#define LKS_SHM_MESSAGE_VERSION 2u
#define LKS_SHM_MESSAGE_FDS 5u

enum lks_shm_message_kind {
    LKS_SHM_HELLO = 1,  /* who I am; with descriptors */
    LKS_SHM_READY = 2,  /* the dialing side has mapped and cleaned: both may write */
    LKS_SHM_REFUSE = 3, /* status says why; the socket is closed behind it */
    LKS_SHM_GOODBYE = 4 /* the connection ends in order */
};

/* Order of the descriptors of a HELLO. */
enum lks_shm_message_fd {
    LKS_SHM_FD_SEGMENT,
    LKS_SHM_FD_LOG,
    LKS_SHM_FD_PROCESS, /* pidfd of the sender */
    LKS_SHM_FD_WAKE,    /* eventfd that wakes the sender */
    LKS_SHM_FD_SNAPSHOTS /* any, where snapshots_bytes is 0 */
};

/* Both ends are processes of one host: native byte order. The first three fields keep their place
 * in all versions. */
struct lks_shm_message {
    uint64_t magic;
    uint32_t version;
    uint32_t kind;
    uint8_t cluster_id[16];
    uint32_t from; /* replica */
    uint32_t to;
    uint32_t replicas;
    uint32_t pid;
    uint64_t start_time;
    uint64_t incarnation;
    uint64_t words_bytes;
    uint64_t inbox_bytes;
    uint64_t log_bytes;
    uint64_t log_fd_offset;
    uint64_t snapshots_bytes; /* 0: none */
    uint64_t snapshots_fd_offset;
    int32_t status; /* REFUSE: a negative code */
    uint32_t reserved;
    uint8_t hello[LKS_FABRIC_HELLO_BYTES];
};

_Static_assert(sizeof(struct lks_shm_message) == 184, "message layout");
_Static_assert(offsetof(struct lks_shm_message, status) == 112, "message layout");

/* The own meeting place. */
struct lks_shm_socket {
    int directory_fd; /* -1: none */
    int lock_fd;      /* r<id>.lock, locked as long as this replica lives */
    int listen_fd;
    uint32_t replica;
};

/* Opens the directory (must be a directory of this user, mode 0700), locks the replica's name,
 * replaces a socket that a dead process left, and listens. Errors: -EACCES, -EADDRINUSE, errno. */
int lks_shm_socket_init(struct lks_shm_socket *here, const char *directory, uint32_t replica,
                        struct lks_error *err);

/* Stops listening, removes the socket, unlocks the name. Accepts a zeroed or failed object. */
void lks_shm_socket_fini(struct lks_shm_socket *here);

/* The next waiting client. 0, -EAGAIN (none), -EACCES (of another user: closed), errno. */
int lks_shm_socket_accept(const struct lks_shm_socket *here, int *fd);

/* Calls a peer. Errors: -ENOENT, -ECONNREFUSED (nobody there), -EACCES, -EAGAIN (its queue is
 * full), errno. */
int lks_shm_socket_dial(const struct lks_shm_socket *here, uint32_t peer, int *fd);

/* The pid at the other end; 0 if unknown. */
uint32_t lks_shm_socket_pid(int fd);

/* Sends one message, with LKS_SHM_MESSAGE_FDS descriptors or (fds NULL) none. 0 or errno. */
int lks_shm_socket_send(int fd, const struct lks_shm_message *message, const int *fds);

/* Takes one message; fds gets all descriptors (the caller's from then on) or -1 each. Returns 0,
 * -EAGAIN, -ECONNRESET (the other end has gone), -LKS_EVERSION (a message of another version) or
 * -EBADMSG (no message); on failure nothing that came along is left open. */
int lks_shm_socket_receive(int fd, struct lks_shm_message *message, int *fds);

/* True if the other end has closed, whatever may still lie in the queue. */
bool lks_shm_socket_hung_up(int fd);

#endif
