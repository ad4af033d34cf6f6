/*
 * The replica's end of lanes over shared memory, with callers and clients that do what they like:
 * many at once, without descriptors left for them, with the memory that they were given.
 */
#include "tests/support/scratch.h"
#include "verbs/shm/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define REPLICA 2u
#define AREA_BYTES (UINT64_C(64) << 10)

struct fixture {
    char directory[80];
    struct lks_lanes *lanes;
    struct lks_log log;
    unsigned lines;
    char line[256];
    uint64_t attached;
    uint64_t detached;
};

static void note_line(void *ctx, enum lks_log_level level, const char *line)
{
    struct fixture *fixture = ctx;
    (void)level;
    fixture->lines++;
    snprintf(fixture->line, sizeof fixture->line, "%s", line);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct lks_error err = {0};
    *state = fixture;
    snprintf(fixture->directory, sizeof fixture->directory, "%s/lockstep-lanes.XXXXXX",
             scratch_folder());
    if (mkdtemp(fixture->directory) == NULL) {
        return -1;
    }
    fixture->log = (struct lks_log){LKS_LOG_WARN, note_line, fixture};
    const struct lks_lanes_shm_options options = {.directory = fixture->directory,
                                                  .replica = REPLICA,
                                                  .cluster_id = {1, 2, 3},
                                                  .area_bytes = AREA_BYTES,
                                                  .log_sink = &fixture->log};
    return lks_lanes_shm_new(&fixture->lanes, &options, &err);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    lks_lanes_free(fixture->lanes);
    const int rc = rmdir(fixture->directory);
    free(fixture);
    return rc;
}

static void look(struct fixture *fixture)
{
    struct lks_lanes_changes changes;
    lks_lanes_poll(fixture->lanes, true, &changes);
    fixture->attached |= changes.attached;
    fixture->detached |= changes.detached;
}

static void look_often(struct fixture *fixture)
{
    for (unsigned i = 0; i < 200; i++) {
        look(fixture);
    }
}

/* A caller's socket, HELLO sent or not. */
static int dial(const struct fixture *fixture, bool speak)
{
    const struct lks_lane_hello hello = {.magic = LKS_LANE_MAGIC,
                                         .version = LKS_LANE_VERSION,
                                         .replica = REPLICA,
                                         .cluster_id = {1, 2, 3}};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/c%u.sock", fixture->directory,
             REPLICA);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_true(!speak || send(fd, &hello, sizeof hello, 0) == (ssize_t)sizeof hello);
    return fd;
}

/* Takes the welcome; -1: none is there. *memory_fd: what came along. */
static int hear(int fd, struct lks_lane_welcome *welcome, int *memory_fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = welcome, .iov_len = sizeof *welcome};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control};
    const ssize_t length = recvmsg(fd, &packet, MSG_CMSG_CLOEXEC);
    if (length != (ssize_t)sizeof *welcome) {
        return -1;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
    *memory_fd = -1;
    if (header != NULL) {
        memcpy(memory_fd, CMSG_DATA(header), sizeof *memory_fd);
    }
    return welcome->status;
}

static bool is_welcome(int fd)
{
    struct lks_lane_welcome welcome;
    int memory_fd = -1;
    const int status = hear(fd, &welcome, &memory_fd);
    if (memory_fd >= 0) {
        close(memory_fd);
    }
    return status == 0;
}

/* ---- callers -------------------------------------------------------------------------------- */

static void callers_that_say_nothing__give_way(void **state)
{
    struct fixture *fixture = *state;
    int silent[3 * LKS_LANE_WAITING_MAX];
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        silent[i] = dial(fixture, false);
        look(fixture);
    }
    const int fd = dial(fixture, true);
    look_often(fixture);
    assert_true(is_welcome(fd));
    close(fd);
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        close(silent[i]);
    }
}

/* All call before the replica looks once: those that spoke are heard, whoever came behind them. */
static void callers_that_spoke__are_heard_though_many_silent_ones_follow(void **state)
{
    struct fixture *fixture = *state;
    int spoke[LKS_LANE_WAITING_MAX];
    int silent[2 * LKS_LANE_WAITING_MAX];
    for (size_t i = 0; i < sizeof spoke / sizeof spoke[0]; i++) {
        spoke[i] = dial(fixture, true);
    }
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        silent[i] = dial(fixture, false);
    }
    look_often(fixture);
    for (size_t i = 0; i < sizeof spoke / sizeof spoke[0]; i++) {
        assert_true(is_welcome(spoke[i]));
        close(spoke[i]);
    }
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        close(silent[i]);
    }
}

static bool wants_a_look(const struct fixture *fixture)
{
    struct pollfd wanted = {.fd = lks_lanes_fd(fixture->lanes), .events = POLLIN};
    return poll(&wanted, 1, 0) != 0;
}

/* Its loop would else be woken again and again, and say so each time. */
static void no_descriptor_left__said_once_and_left_alone_then_taken(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before;
    const int first = dial(fixture, true);
    const int second = dial(fixture, true);
    const int lowest = dup(first); /* whatever is opened next would be this */
    assert_true(lowest >= 0);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {.rlim_cur = (rlim_t)lowest, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_true(wants_a_look(fixture));
    look(fixture);
    const bool calm = !wants_a_look(fixture);
    look_often(fixture);
    look_often(fixture);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(calm);
    assert_int_equal(fixture->lines, 1);
    assert_non_null(strstr(fixture->line, "ulimit -n"));
    assert_int_equal(fixture->attached, 0);
    look_often(fixture);
    assert_true(is_welcome(first));
    assert_true(is_welcome(second));
    close(first);
    close(second);
}

/* ---- its memory ----------------------------------------------------------------------------- */

/* Cut off, a page that the replica looks at would end it by SIGBUS. */
static void hostile_client__cannot_cut_off_or_seal_or_grow_the_memory(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane_welcome welcome;
    int memory_fd = -1;
    const off_t bytes = (off_t)lks_lane_bytes(AREA_BYTES);
    const int fd = dial(fixture, true);
    look_often(fixture);
    assert_int_equal(hear(fd, &welcome, &memory_fd), 0);
    assert_true(memory_fd >= 0);
    assert_int_equal(ftruncate(memory_fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(memory_fd, bytes - 4096), -1);
    assert_int_equal(ftruncate(memory_fd, bytes + 4096), -1);
    assert_int_equal(fallocate(memory_fd, 0, bytes, 4096), -1);
    assert_int_equal(fcntl(memory_fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    close(memory_fd);
    close(fd);
}

/* A hole reads as zeros, and is memory again where it is touched. */
static void hostile_client__holes_in_the_memory__replica_reads_zeros_and_writes(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane_welcome welcome;
    int memory_fd = -1;
    const uint64_t word = UINT64_MAX;
    const off_t bytes = (off_t)lks_lane_bytes(AREA_BYTES);
    const int fd = dial(fixture, true);
    look_often(fixture);
    assert_int_equal(hear(fd, &welcome, &memory_fd), 0);
    assert_int_equal(fixture->attached, UINT64_C(1) << welcome.lane);
    char who[64];
    char expected[64];
    snprintf(expected, sizeof expected, "pid=%ld,uid=%ld", (long)getpid(), (long)getuid());
    assert_true(lks_lanes_who(fixture->lanes, welcome.lane, who, sizeof who));
    assert_string_equal(who, expected);
    assert_false(lks_lanes_who(fixture->lanes, welcome.lane + 1, who, sizeof who));
    uint8_t *memory =
        mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    assert_true(memory != MAP_FAILED);
    memset(memory, 0xFF, (size_t)bytes);
    assert_int_equal(fallocate(memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, bytes),
                     0);
    struct lks_fabric *fabric = lks_lanes_fabric(fixture->lanes);
    const uint8_t *inbox = lks_fabric_inbox(fabric, welcome.lane);
    for (uint64_t at = 0; at < AREA_BYTES; at += 64) {
        assert_int_equal(inbox[at], 0);
    }
    assert_int_equal(madvise(memory, (size_t)bytes, MADV_REMOVE), 0);
    assert_true(lks_lanes_arm(fixture->lanes));
    lks_lanes_disarm(fixture->lanes);
    for (uint64_t at = 0; at < AREA_BYTES; at += 4096) {
        assert_int_equal(lks_fabric_write_inbox(fabric, welcome.lane, at, &word, sizeof word,
                                                LKS_FABRIC_WAKE, 0), 0);
    }
    assert_memory_equal(memory + 4096 + AREA_BYTES, &word, sizeof word);
    (void)munmap(memory, (size_t)bytes);
    close(memory_fd);
    close(fd);
    look_often(fixture);
    assert_int_equal(fixture->detached, UINT64_C(1) << welcome.lane);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(callers_that_say_nothing__give_way),
        TEST(callers_that_spoke__are_heard_though_many_silent_ones_follow),
        TEST(no_descriptor_left__said_once_and_left_alone_then_taken),
        TEST(hostile_client__cannot_cut_off_or_seal_or_grow_the_memory),
        TEST(hostile_client__holes_in_the_memory__replica_reads_zeros_and_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
