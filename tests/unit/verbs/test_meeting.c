/*
 * Meeting over Unix sockets: what a client may send that is no replica, or the wrong one, and what
 * may lie in the directory. In no case may a fabric block, end, keep a descriptor, or fail to meet
 * its true peer afterwards. One process, one thread; clients are raw sockets.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/verbs/actor.h"
#include "verbs/shm/process.h"
#include "verbs/shm/socket.h"

#define TURNS_MAX 2000000u
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define SEGMENT_BYTES (4096 + 4096 + 3 * ACTOR_INBOX_BYTES)
#define SNAPSHOTS_BYTES 8192

struct scene {
    char directory[64];
    struct actor one;
    unsigned fds_before; /* descriptors open with replica 1 alone */
};

static char last_line[LKS_LOG_LINE_MAX];
static unsigned lines_count;

static void keep_line(void *ctx, enum lks_log_level level, const char *line)
{
    (void)ctx;
    if (level <= LKS_LOG_WARN) {
        (void)snprintf(last_line, sizeof last_line, "%s", line);
        lines_count++;
    }
}

static unsigned open_fds(void)
{
    unsigned count = 0;
    DIR *entries = opendir("/proc/self/fd");
    assert_non_null(entries);
    while (readdir(entries) != NULL) {
        count++;
    }
    (void)closedir(entries);
    return count;
}

static struct actor_options options_of(const struct scene *scene, uint32_t replica)
{
    return (struct actor_options){
        .directory = scene->directory, .replica = replica, .incarnation = 1, .log = keep_line};
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    actor_directory(scene->directory);
    const struct actor_options options = options_of(scene, 1);
    actor_start(&scene->one, &options);
    (void)lks_fabric_connect(scene->one.fabric, 2);
    scene->fds_before = open_fds();
    lines_count = 0;
    last_line[0] = '\0';
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    actor_stop(&scene->one);
    actor_remove_directory(scene->directory);
    free(scene);
    return 0;
}

static int call(const struct scene *scene)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/r1.sock", scene->directory);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void turn(struct scene *scene)
{
    struct lks_fabric_event event;
    assert_int_equal(lks_fabric_poll(scene->one.fabric, &event, 1), 0);
}

/* Lets replica 1 run until the client's socket has something, or its end. */
static void serve(struct scene *scene, int client)
{
    struct pollfd wanted = {.fd = client, .events = POLLIN};
    for (unsigned i = 0; i < TURNS_MAX; i++) {
        turn(scene);
        if (i % 64 == 0 && poll(&wanted, 1, 0) == 1) {
            return;
        }
    }
    fail_msg("the client gets no answer");
}

/* The true peer comes, and everything works; then it goes. */
static void meet_true_peer(struct scene *scene)
{
    struct actor two;
    struct lks_fabric_event event;
    const struct actor_options options = options_of(scene, 2);
    bool one_connected = false;
    bool two_connected = false;
    actor_start(&two, &options);
    assert_int_equal(lks_fabric_connect(two.fabric, 1), 0);
    for (unsigned i = 0; i < TURNS_MAX && !(one_connected && two_connected); i++) {
        one_connected |= lks_fabric_poll(scene->one.fabric, &event, 1) == 1 &&
                         event.kind == LKS_FABRIC_CONNECTED;
        two_connected |= lks_fabric_poll(two.fabric, &event, 1) == 1 &&
                         event.kind == LKS_FABRIC_CONNECTED;
    }
    assert_true(one_connected && two_connected);
    actor_stop(&two);
    assert_true(actor_await(&scene->one, LKS_FABRIC_DISCONNECTED, &event));
    assert_int_equal(open_fds(), scene->fds_before);
}

/* A hello as replica 2 would send it, with true descriptors. */
struct offer {
    struct lks_shm_message message;
    int fds[LKS_SHM_MESSAGE_FDS];
};

static void make_offer(struct offer *offer)
{
    struct lks_shm_process self;
    assert_int_equal(lks_shm_process_self(&self), 0);
    offer->message = (struct lks_shm_message){.magic = LKS_SHM_MESSAGE_MAGIC,
                                              .version = LKS_SHM_MESSAGE_VERSION,
                                              .kind = LKS_SHM_HELLO,
                                              .cluster_id = "actors",
                                              .from = 2,
                                              .to = 1,
                                              .replicas = 3,
                                              .pid = self.pid,
                                              .start_time = self.start_time,
                                              .incarnation = 9,
                                              .words_bytes = 4096,
                                              .inbox_bytes = ACTOR_INBOX_BYTES,
                                              .log_bytes = ACTOR_LOG_BYTES};
    const int segment = memfd_create("segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(segment, SEGMENT_BYTES), 0);
    assert_int_equal(fcntl(segment, F_ADD_SEALS, SEALS), 0);
    const int log = memfd_create("log", MFD_CLOEXEC);
    assert_int_equal(ftruncate(log, (off_t)ACTOR_LOG_BYTES), 0);
    offer->fds[LKS_SHM_FD_SEGMENT] = segment;
    offer->fds[LKS_SHM_FD_LOG] = log;
    offer->fds[LKS_SHM_FD_PROCESS] = pidfd_open(getpid(), 0);
    offer->fds[LKS_SHM_FD_WAKE] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    offer->fds[LKS_SHM_FD_SNAPSHOTS] = memfd_create("snapshots", MFD_CLOEXEC);
    assert_int_equal(ftruncate(offer->fds[LKS_SHM_FD_SNAPSHOTS], SNAPSHOTS_BYTES), 0);
    offer->message.snapshots_bytes = SNAPSHOTS_BYTES;
}

static void replace_fd(struct offer *offer, enum lks_shm_message_fd which, int fd)
{
    assert_true(fd >= 0);
    (void)close(offer->fds[which]);
    offer->fds[which] = fd;
}

/* Sends the offer; what comes back: 0 for a hello, a refusal's code, or -ECONNRESET. */
static int present(struct scene *scene, struct offer *offer)
{
    struct lks_shm_message answer = {0};
    int fds[LKS_SHM_MESSAGE_FDS];
    const int client = call(scene);
    assert_int_equal(lks_shm_socket_send(client, &offer->message, offer->fds), 0);
    for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
        (void)close(offer->fds[i]);
    }
    serve(scene, client);
    const int code = lks_shm_socket_receive(client, &answer, fds);
    if (code == 0 && answer.kind == LKS_SHM_HELLO) {
        for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
            (void)close(fds[i]);
        }
    }
    (void)close(client);
    /* Until it has noticed, where it had begun to answer. */
    for (unsigned i = 0; i < TURNS_MAX && open_fds() != scene->fds_before; i++) {
        turn(scene);
        (void)sched_yield();
    }
    assert_int_equal(open_fds(), scene->fds_before);
    if (code != 0) {
        return code;
    }
    return answer.kind == LKS_SHM_REFUSE ? answer.status : 0;
}

static void meet__true_offer__answered(void **state)
{
    struct scene *scene = *state;
    struct offer offer;
    make_offer(&offer);
    assert_int_equal(present(scene, &offer), 0);
    assert_int_equal(lines_count, 0);
    meet_true_peer(scene);
}

static void meet__client_hung_up__forgotten(void **state)
{
    struct scene *scene = *state;
    for (unsigned i = 0; i < 5; i++) {
        struct offer offer;
        make_offer(&offer);
        const int client = call(scene);
        assert_int_equal(lks_shm_socket_send(client, &offer.message, offer.fds), 0);
        (void)close(client);
        for (unsigned k = 0; k < LKS_SHM_MESSAGE_FDS; k++) {
            (void)close(offer.fds[k]);
        }
    }
    for (unsigned i = 0; i < 20000; i++) {
        turn(scene);
    }
    assert_int_equal(open_fds(), scene->fds_before);
    meet_true_peer(scene);
}

static void meet__garbage_packets__refused_and_closed(void **state)
{
    struct scene *scene = *state;
    static const size_t lengths[] = {1, 7, 15, 16, 100, sizeof(struct lks_shm_message) - 1,
                                     sizeof(struct lks_shm_message),
                                     sizeof(struct lks_shm_message) + 1, 512, 4096};
    uint8_t bytes[4096];
    memset(bytes, 0x5a, sizeof bytes);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const int client = call(scene);
        assert_int_equal(send(client, bytes, lengths[i], MSG_NOSIGNAL), (ssize_t)lengths[i]);
        serve(scene, client);
        (void)close(client);
    }
    assert_int_equal(lines_count, 1); /* the same refusal is not repeated at once */
    assert_int_equal(open_fds(), scene->fds_before);
    meet_true_peer(scene);
}

static void meet__messages_out_of_turn__refused_and_closed(void **state)
{
    struct scene *scene = *state;
    for (uint32_t kind = 0; kind < 8; kind++) {
        struct offer offer;
        make_offer(&offer);
        offer.message.kind = kind;
        const int client = call(scene);
        const int *fds = kind % 2 == 0 ? offer.fds : NULL;
        if (kind != LKS_SHM_HELLO) {
            assert_int_equal(lks_shm_socket_send(client, &offer.message, fds), 0);
            serve(scene, client);
        }
        (void)close(client);
        for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
            (void)close(offer.fds[i]);
        }
    }
    meet_true_peer(scene);
}

static void meet__too_many_descriptors__none_is_kept(void **state)
{
    struct scene *scene = *state;
    struct offer offer;
    make_offer(&offer);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(40 * sizeof(int))];
    } control;
    const unsigned counts[] = {1, 3, 5, 8, 9, 40};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct iovec part = {.iov_base = &offer.message, .iov_len = sizeof offer.message};
        struct msghdr packet = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = CMSG_SPACE(counts[i] * sizeof(int))};
        memset(&control, 0, sizeof control);
        control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS,
                                          .cmsg_len = CMSG_LEN(counts[i] * sizeof(int))};
        for (unsigned k = 0; k < counts[i]; k++) {
            memcpy(CMSG_DATA(&control.header) + k * sizeof(int), &offer.fds[0], sizeof(int));
        }
        const int client = call(scene);
        assert_true(sendmsg(client, &packet, MSG_NOSIGNAL) > 0);
        serve(scene, client);
        (void)close(client);
    }
    for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
        (void)close(offer.fds[i]);
    }
    assert_int_equal(open_fds(), scene->fds_before);
    meet_true_peer(scene);
}

static void meet__wrong_claims__refused_with_reason(void **state)
{
    struct scene *scene = *state;
    struct offer offer;
    make_offer(&offer);
    offer.message.version++;
    assert_int_equal(present(scene, &offer), -LKS_EVERSION);
    make_offer(&offer);
    offer.message.cluster_id[0] ^= 1;
    assert_int_equal(present(scene, &offer), -LKS_ECLUSTER);
    assert_non_null(strstr(last_line, "r2: connection refused: "));
    assert_non_null(strstr(last_line, "cluster id"));
    for (uint32_t from = 0; from < 10; from++) {
        make_offer(&offer);
        offer.message.from = from == 9 ? UINT32_MAX : from;
        const int expected = from == 2 ? 0 : from == 3 ? -ENOTCONN : -LKS_ECLUSTER;
        assert_int_equal(present(scene, &offer), expected);
    }
    make_offer(&offer);
    offer.message.to = 3;
    assert_int_equal(present(scene, &offer), -LKS_ECLUSTER);
    make_offer(&offer);
    offer.message.replicas = 5;
    assert_int_equal(present(scene, &offer), -LKS_ESIZE);
    make_offer(&offer);
    offer.message.log_bytes += 4096;
    assert_int_equal(present(scene, &offer), -LKS_ESIZE);
    make_offer(&offer);
    offer.message.inbox_bytes = UINT64_MAX;
    assert_int_equal(present(scene, &offer), -LKS_ESIZE);
    make_offer(&offer);
    offer.message.words_bytes = 0;
    assert_int_equal(present(scene, &offer), -LKS_ESIZE);
    make_offer(&offer);
    offer.message.pid = 1;
    assert_int_equal(present(scene, &offer), -EINVAL);
    meet_true_peer(scene);
}

static void meet__wrong_segments__refused(void **state)
{
    struct scene *scene = *state;
    struct offer offer;
    make_offer(&offer); /* one that its owner could cut off */
    int fd = memfd_create("segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, SEGMENT_BYTES), 0);
    replace_fd(&offer, LKS_SHM_FD_SEGMENT, fd);
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* too short */
    fd = memfd_create("segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, SEGMENT_BYTES - 4096), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, SEALS), 0);
    replace_fd(&offer, LKS_SHM_FD_SEGMENT, fd);
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* no memory at all */
    replace_fd(&offer, LKS_SHM_FD_SEGMENT, open("/dev/null", O_RDWR | O_CLOEXEC));
    assert_int_equal(present(scene, &offer), -EBADMSG);
    meet_true_peer(scene);
}

static void meet__wrong_logs__refused(void **state)
{
    struct scene *scene = *state;
    struct offer offer;
    char path[96];
    make_offer(&offer); /* too short */
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)ACTOR_LOG_BYTES - 1), 0);
    replace_fd(&offer, LKS_SHM_FD_LOG, fd);
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* behind its end */
    offer.message.log_fd_offset = 4096;
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* not at a page */
    assert_int_equal(ftruncate(offer.fds[LKS_SHM_FD_LOG], 2 * (off_t)ACTOR_LOG_BYTES), 0);
    offer.message.log_fd_offset = 64;
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer);
    offer.message.log_fd_offset = UINT64_MAX - 4095;
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* cannot be written */
    (void)snprintf(path, sizeof path, "%s/r1.log", scene->directory);
    replace_fd(&offer, LKS_SHM_FD_LOG, open(path, O_RDONLY | O_CLOEXEC));
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* neither file nor device */
    replace_fd(&offer, LKS_SHM_FD_LOG, eventfd(0, EFD_CLOEXEC));
    assert_int_equal(present(scene, &offer), -EBADMSG);
    meet_true_peer(scene);
}

static void meet__wrong_snapshots__refused(void **state)
{
    struct scene *scene = *state;
    struct offer offer;
    char path[96];
    make_offer(&offer); /* too short */
    offer.message.snapshots_bytes = SNAPSHOTS_BYTES + 1;
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* behind its end */
    offer.message.snapshots_fd_offset = 4096;
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* not at a page */
    offer.message.snapshots_bytes = 4096;
    offer.message.snapshots_fd_offset = 64;
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer);
    offer.message.snapshots_fd_offset = UINT64_MAX - 4095;
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer);
    offer.message.snapshots_bytes = UINT64_MAX;
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* cannot be read */
    (void)snprintf(path, sizeof path, "%s/r1.log", scene->directory);
    replace_fd(&offer, LKS_SHM_FD_SNAPSHOTS, open(path, O_WRONLY | O_CLOEXEC));
    assert_int_equal(present(scene, &offer), -EBADMSG);
    make_offer(&offer); /* no file */
    replace_fd(&offer, LKS_SHM_FD_SNAPSHOTS, eventfd(0, EFD_CLOEXEC));
    assert_int_equal(present(scene, &offer), -EBADMSG);
    meet_true_peer(scene);
}

static void meet__wrong_process_or_bell__refused(void **state)
{
    struct scene *scene = *state;
    struct offer offer;
    make_offer(&offer); /* another process's pidfd */
    replace_fd(&offer, LKS_SHM_FD_PROCESS, pidfd_open(getppid(), 0));
    assert_int_equal(present(scene, &offer), -EINVAL);
    make_offer(&offer); /* no pidfd */
    replace_fd(&offer, LKS_SHM_FD_PROCESS, eventfd(0, EFD_CLOEXEC));
    assert_int_equal(present(scene, &offer), -EINVAL);
    make_offer(&offer); /* a bell that would block whoever rings */
    replace_fd(&offer, LKS_SHM_FD_WAKE, eventfd(0, EFD_CLOEXEC));
    assert_int_equal(present(scene, &offer), -EINVAL);
    meet_true_peer(scene);
}

static void meet__many_silent_clients__bounded(void **state)
{
    struct scene *scene = *state;
    int clients[60];
    for (unsigned i = 0; i < 60; i++) {
        clients[i] = call(scene);
        for (unsigned k = 0; k < 2000; k++) {
            turn(scene);
        }
        assert_true(open_fds() <= scene->fds_before + i + 1 + 20);
    }
    for (unsigned i = 0; i < TURNS_MAX && open_fds() > scene->fds_before + 60 + 16; i++) {
        turn(scene);
    }
    assert_true(open_fds() <= scene->fds_before + 60 + 16);
    for (unsigned i = 0; i < 60; i++) {
        (void)close(clients[i]);
    }
    for (unsigned i = 0; i < TURNS_MAX && open_fds() > scene->fds_before; i++) {
        turn(scene);
        (void)sched_yield();
    }
    meet_true_peer(scene);
}

static void meet__peer_of_another_cluster__both_sides_say_why_once(void **state)
{
    struct scene *scene = *state;
    struct lks_fabric *two = NULL;
    struct lks_fabric_event event;
    struct lks_error err = {0};
    const struct lks_log log_sink = {.level = LKS_LOG_WARN, .sink = keep_line};
    const int fd = memfd_create("log", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)ACTOR_LOG_BYTES), 0);
    void *log = mmap(NULL, ACTOR_LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const struct lks_fabric_options options = {
        .replica = 2,
        .replicas = 3,
        .cluster_id = "strangers",
        .incarnation = 1,
        .directory = scene->directory,
        .log = {.address = log, .bytes = ACTOR_LOG_BYTES, .fd = fd},
        .words_bytes = 4096,
        .inbox_bytes = ACTOR_INBOX_BYTES,
        .scratch_bytes = 4096,
        .outstanding_max = ACTOR_OUTSTANDING_MAX,
        .log_sink = &log_sink,
    };
    assert_int_equal(lks_fabric_shm_new(&two, &options, &err), 0);
    assert_int_equal(lks_fabric_connect(two, 1), 0);
    for (unsigned i = 0; i < TURNS_MAX && lines_count < 2; i++) {
        turn(scene);
        assert_int_equal(lks_fabric_poll(two, &event, 1), 0);
    }
    for (unsigned i = 0; i < 100000; i++) {
        turn(scene);
        assert_int_equal(lks_fabric_poll(two, &event, 1), 0);
    }
    assert_int_equal(lines_count, 2);
    lks_fabric_free(two);
    (void)munmap(log, ACTOR_LOG_BYTES);
    (void)close(fd);
    /* Its last call may still wait. */
    for (unsigned i = 0; i < TURNS_MAX && open_fds() > scene->fds_before; i++) {
        turn(scene);
        (void)sched_yield();
    }
    meet_true_peer(scene);
}

/* ---- the directory --------------------------------------------------------------------------- */

static int try_new(const struct scene *scene, uint32_t replica, const char *directory,
                   struct lks_error *err)
{
    struct lks_fabric *fabric = NULL;
    const struct lks_fabric_options options = {
        .replica = replica,
        .replicas = 3,
        .incarnation = 1,
        .directory = directory,
        .log = {.address = scene->one.log, .bytes = ACTOR_LOG_BYTES, .fd = scene->one.fd},
        .words_bytes = 4096,
        .inbox_bytes = 4096,
        .outstanding_max = 4,
    };
    const int code = lks_fabric_shm_new(&fabric, &options, err);
    if (code == 0) {
        lks_fabric_free(fabric);
    }
    assert_int_equal(open_fds(), scene->fds_before);
    return code;
}

static void new__replica_lives__eaddrinuse(void **state)
{
    struct scene *scene = *state;
    struct lks_error err = {0};
    char pid[16];
    assert_int_equal(try_new(scene, 1, scene->directory, &err), -EADDRINUSE);
    (void)snprintf(pid, sizeof pid, "pid %d", getpid());
    assert_non_null(strstr(err.text, pid));
    meet_true_peer(scene);
}

static void new__directory_for_others__eacces(void **state)
{
    struct scene *scene = *state;
    struct lks_error err = {0};
    char path[96];
    assert_int_equal(chmod(scene->directory, 0750), 0);
    assert_int_equal(try_new(scene, 3, scene->directory, &err), -EACCES);
    assert_non_null(strstr(err.text, "0700"));
    assert_int_equal(chmod(scene->directory, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/nowhere", scene->directory);
    assert_int_equal(try_new(scene, 3, path, &err), -ENOENT);
    assert_int_equal(symlink(scene->directory, path), 0);
    assert_true(try_new(scene, 3, path, &err) < 0);
}

static void new__something_else_at_the_sockets_place__refused(void **state)
{
    struct scene *scene = *state;
    struct lks_error err = {0};
    char path[96];
    (void)snprintf(path, sizeof path, "%s/r3.sock", scene->directory);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(try_new(scene, 3, scene->directory, &err), -EACCES);
    assert_non_null(strstr(err.text, "r3.sock"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_new(scene, 3, scene->directory, &err), 0);
    /* It has taken its socket away, and may come again. */
    assert_int_equal(access(path, F_OK), -1);
    (void)snprintf(path, sizeof path, "%s/r3.lock", scene->directory);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_true(try_new(scene, 3, scene->directory, &err) < 0);
}

static void new__socket_of_a_dead_process__replaced(void **state)
{
    struct scene *scene = *state;
    struct lks_error err = {0};
    struct stat status;
    char path[96];
    const pid_t child = fork();
    if (child == 0) {
        const struct actor_options options = options_of(scene, 3);
        struct actor three;
        actor_start(&three, &options);
        (void)raise(SIGKILL);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how));
    (void)snprintf(path, sizeof path, "%s/r3.sock", scene->directory);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(try_new(scene, 3, scene->directory, &err), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(meet__true_offer__answered),
        CASE(meet__client_hung_up__forgotten),
        CASE(meet__garbage_packets__refused_and_closed),
        CASE(meet__messages_out_of_turn__refused_and_closed),
        CASE(meet__too_many_descriptors__none_is_kept),
        CASE(meet__wrong_claims__refused_with_reason),
        CASE(meet__wrong_segments__refused),
        CASE(meet__wrong_logs__refused),
        CASE(meet__wrong_snapshots__refused),
        CASE(meet__wrong_process_or_bell__refused),
        CASE(meet__many_silent_clients__bounded),
        CASE(meet__peer_of_another_cluster__both_sides_say_why_once),
        CASE(new__replica_lives__eaddrinuse),
        CASE(new__directory_for_others__eacces),
        CASE(new__something_else_at_the_sockets_place__refused),
        CASE(new__socket_of_a_dead_process__replaced),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
