/*
 * The shm fabric's meeting place: clients on its socket that send anything, with any descriptors.
 * Held to: no crash and no block; every descriptor that came along is closed again; and a true
 * peer still gets its connection. (Peers are processes of the same user: what they may do with
 * memory that they truly share is not looked at.)
 */
#include "base/assert.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/verbs/actor.h"
#include "verbs/shm/process.h"
#include "verbs/shm/socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX 3u
#define PACKETS_MAX 4u
#define TURNS_MAX 200000u
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define SEGMENT_BYTES (4096 + 4096 + 3 * ACTOR_INBOX_BYTES)

static char directory[64];
static struct actor one;
static unsigned fds_before;

static unsigned open_fds(void)
{
    unsigned count = 0;
    DIR *entries = opendir("/proc/self/fd");
    LKS_ASSERT(entries != NULL);
    while (readdir(entries) != NULL) {
        count++;
    }
    (void)closedir(entries);
    return count;
}

static void tear_down(void)
{
    actor_stop(&one);
    actor_remove_directory(directory);
}

static void turn(void)
{
    struct lks_fabric_event event;
    (void)lks_fabric_poll(one.fabric, &event, 1);
}

static void set_up(void)
{
    actor_directory(directory);
    const struct actor_options options = {
        .directory = directory, .replica = 1, .incarnation = 1, .shared_process = true};
    actor_start(&one, &options);
    (void)lks_fabric_connect(one.fabric, 2);
    (void)atexit(tear_down);
    turn();
    fds_before = open_fds();
}

static int call(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/r1.sock", directory);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    LKS_ASSERT(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* A descriptor as a true peer would send it, or something else. */
static int make_fd(enum lks_shm_message_fd which, uint8_t wrong)
{
    switch (wrong % 8 == 1 ? wrong / 8 % LKS_SHM_MESSAGE_FDS : (unsigned)which) {
    case LKS_SHM_FD_SEGMENT: {
        const int fd = memfd_create("segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        LKS_ASSERT(ftruncate(fd, SEGMENT_BYTES) == 0);
        LKS_ASSERT(wrong % 8 == 2 || fcntl(fd, F_ADD_SEALS, SEALS) == 0);
        return fd;
    }
    case LKS_SHM_FD_LOG: {
        const int fd = memfd_create("log", MFD_CLOEXEC);
        LKS_ASSERT(ftruncate(fd, wrong % 8 == 3 ? 4096 : (off_t)ACTOR_LOG_BYTES) == 0);
        return fd;
    }
    case LKS_SHM_FD_PROCESS:
        return pidfd_open(getpid(), 0);
    default:
        return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
}

static struct lks_shm_message hello(void)
{
    struct lks_shm_process self;
    LKS_ASSERT(lks_shm_process_self(&self) == 0);
    return (struct lks_shm_message){.magic = LKS_SHM_MESSAGE_MAGIC,
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
}

static void send_packet(int client, struct fuzz_input *input)
{
    struct lks_shm_message message = hello();
    const uint8_t what = fuzz_byte(input);
    message.kind = what % 8 < 5 ? LKS_SHM_HELLO : what % 8; /* READY and others too */
    for (unsigned edits = what / 8 % 4; edits > 0; edits--) {
        const uint64_t word = fuzz_number(input);
        const uint32_t at = fuzz_byte(input) % (sizeof message / 4 - 1);
        memcpy((uint8_t *)&message + 4 * at, &word, what >= 128 ? 8 : 4);
    }
    if (what / 32 % 4 == 1) { /* no message at all */
        uint8_t raw[300];
        const uint32_t bytes = fuzz_below(input, sizeof raw);
        fuzz_take(input, raw, bytes);
        (void)send(client, raw, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
    }
    if (what / 32 % 4 == 2) {
        (void)lks_shm_socket_send(client, &message, NULL);
        return;
    }
    int fds[LKS_SHM_MESSAGE_FDS];
    for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
        fds[i] = make_fd((enum lks_shm_message_fd)i, fuzz_byte(input));
    }
    (void)lks_shm_socket_send(client, &message, fds);
    for (unsigned i = 0; i < LKS_SHM_MESSAGE_FDS; i++) {
        (void)close(fds[i]);
    }
}

/* Until everything that the clients left is closed. */
static void settle(void)
{
    for (unsigned i = 0; i < TURNS_MAX && open_fds() != fds_before; i++) {
        turn();
    }
    LKS_ASSERT(open_fds() == fds_before);
}

static void meet_true_peer(void)
{
    struct actor two;
    struct lks_fabric_event event;
    const struct actor_options options = {
        .directory = directory, .replica = 2, .incarnation = 1, .shared_process = true};
    unsigned connected = 0;
    actor_start(&two, &options);
    LKS_ASSERT(lks_fabric_connect(two.fabric, 1) == 0);
    for (unsigned i = 0; i < 20 * TURNS_MAX && connected < 2; i++) {
        connected += lks_fabric_poll(one.fabric, &event, 1) == 1 &&
                     event.kind == LKS_FABRIC_CONNECTED;
        connected += lks_fabric_poll(two.fabric, &event, 1) == 1 &&
                     event.kind == LKS_FABRIC_CONNECTED;
    }
    LKS_ASSERT(connected == 2);
    actor_stop(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (one.fabric == NULL) {
        set_up();
    }
    struct fuzz_input input = fuzz_input(data, size);
    const uint8_t shape = fuzz_byte(&input);
    for (unsigned i = 0; i <= shape % CLIENTS_MAX; i++) {
        const int client = call();
        if (client < 0) {
            break;
        }
        for (unsigned packets = shape / 4 % PACKETS_MAX; packets > 0; packets--) {
            send_packet(client, &input);
            for (unsigned turns = fuzz_byte(&input) % 16; turns > 0; turns--) {
                turn();
            }
        }
        (void)close(client);
    }
    settle();
    if (shape >= 240) {
        meet_true_peer();
        settle();
    }
    return 0;
}
