/*
 * What only the RDMA backend has, on a device (LKS_TEST_RDMA_ADDRESS; else skipped): refusals of
 * the handshake, snapshot areas of many chunks, more wake-ups than a peer takes, and addresses that
 * no device has. Two fabrics in one process, polled by one thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/unit/verbs/ibv_pair.h"
#include "verbs/shm/process.h"


static void handshake__another_cluster_key__refused_and_both_say_why(void **state)
{
    struct pair *pair = *state;
    assert_int_equal(pair_start(pair, 1, "secret", 4096), 0);
    assert_int_equal(pair_start(pair, 2, "guess", 4096), 0);
    pair_await_lines(pair, 1, "it does not know the cluster key");
    pair_await_lines(pair, 2, "it refuses this replica");
    pair_await_lines(pair, 2, "compare `cluster_key`");
    assert_false(pair->connected[1]);
    assert_false(pair->connected[2]);
}

static void handshake__another_size__refused_and_both_say_why(void **state)
{
    struct pair *pair = *state;
    assert_int_equal(pair_start(pair, 1, "secret", 4096), 0);
    assert_int_equal(pair_start(pair, 2, "secret", 8192), 0);
    pair_await_lines(pair, 2, "words or inboxes have another size");
    pair_await_lines(pair, 1, "it refuses this replica");
    assert_false(pair->connected[1]);
    assert_false(pair->connected[2]);
}

static void new__address_of_no_device__enodev_with_way_out(void **state)
{
    struct pair *pair = *state;
    pair_use_address("127.0.0.1");
    assert_int_equal(pair_start(pair, 1, "secret", 4096), -ENODEV);
    (void)pair_address();
    assert_non_null(strstr(pair->lines[1], "rdma link add"));
}

static void place__another_address_is_told__the_next_call_goes_there(void **state)
{
    struct pair *pair = *state;
    const struct lks_rdma_options *rdma;
    assert_int_equal(pair_start(pair, 1, "secret", 4096), 0);
    rdma = &lks_ibv_of(pair->fabrics[1])->rdma;
    const struct lks_rdma_place right = rdma->places[1];
    assert_int_equal(pair_start(pair, 2, "secret", 4096), 0);
    struct lks_fabric *caller = pair->fabrics[2];
    assert_int_equal(lks_fabric_place(caller, 1, "no address", 1), -EINVAL);
    assert_int_equal(lks_fabric_place(caller, 1, right.address, 0), -EINVAL);
    assert_int_equal(lks_fabric_place(caller, 2, right.address, right.port), -EINVAL);
    /* Nobody listens at the first one, before a single poll. */
    assert_int_equal(lks_fabric_place(caller, 1, right.address, (uint16_t)(right.port + 9)), 0);
    for (unsigned i = 0; i < 200; i++) {
        pair_turn(pair);
    }
    assert_false(pair->connected[2]);
    assert_int_equal(lks_fabric_place(caller, 1, right.address, right.port), 0);
    for (unsigned i = 0; !pair->connected[1] || !pair->connected[2]; i++) {
        assert_true(i < PAIR_ROUNDS_MAX);
        pair_turn(pair);
    }
}

static void find_device__own_address_and_others(void **state)
{
    (void)state;
    struct lks_rdma_device device = {.hardware = true};
    struct lks_error err = {0};
    assert_int_equal(lks_rdma_find_device(pair_address(), &device, &err), 0);
    assert_true(device.name[0] != '\0');
    assert_int_equal(device.hardware, device.driver[0] != '\0');
    assert_int_equal(lks_rdma_find_device("127.0.0.1", &device, &err), -ENODEV);
    assert_non_null(strstr(err.text, "rdma link add"));
}

static void new__gid_entry_of_another_address__refused_and_the_right_ones_named(void **state)
{
    struct pair *pair = *state;
    pair->rdma.gid_chosen = true;
    pair->rdma.gid_index = 200; /* of a device that has fewer addresses */
    assert_int_equal(pair_start(pair, 1, "secret", 4096), -EINVAL);
    assert_non_null(strstr(pair->lines[1], "rdma.gid_index 200"));
    assert_non_null(strstr(pair->lines[1], "(RoCE v2)"));
}

static void new__partition_that_the_port_is_not_in__refused(void **state)
{
    struct pair *pair = *state;
    pair->rdma.pkey = 0x8123;
    assert_int_equal(pair_start(pair, 1, "secret", 4096), -EINVAL);
    assert_non_null(strstr(pair->lines[1], "rdma.pkey 0x8123"));
    pair->rdma.pkey = 0x7fff; /* the default partition, as any member of it */
    assert_int_equal(pair_start(pair, 1, "secret", 4096), 0);
}

/* What the configuration says of packets holds for the queue pairs that write the log. */
static void open__traffic_class_and_service_level__are_the_path_s(void **state)
{
    struct pair *pair = *state;
    pair->rdma.traffic_class = 104;
    pair->rdma.service_level = 3;
    pair->rdma.pkey = 0xffff;
    pair_connect(pair);
    assert_int_equal(lks_fabric_grant(pair->fabrics[2], 1, 7), 0);
    const struct lks_fabric_event granted = pair_await(pair, 2, LKS_FABRIC_GRANTED);
    assert_int_equal(granted.status, 0);
    assert_int_equal(lks_fabric_open(pair->fabrics[1], 2, &granted.key, 8), 0);
    assert_int_equal(pair_await(pair, 1, LKS_FABRIC_OPENED).status, 0);
    const struct lks_ibv_path *path =
        ((const struct lks_ibv_fabric *)(const void *)pair->fabrics[1])->peers[2].path;
    struct ibv_qp_attr attributes;
    struct ibv_qp_init_attr made;
    assert_int_equal(ibv_query_qp(path->qp, &attributes, IBV_QP_AV | IBV_QP_PKEY_INDEX, &made), 0);
    assert_int_equal(path->attributes.ah_attr.sl, 3); /* (rxe takes it, and tells nobody) */
    assert_int_equal(attributes.ah_attr.grh.traffic_class, 104);
    assert_int_equal(attributes.pkey_index, 0);
}

static void new__port_in_use__eaddrinuse(void **state)
{
    struct pair *pair = *state;
    struct lks_fabric *first;
    assert_int_equal(pair_start(pair, 1, "secret", 4096), 0);
    first = pair->fabrics[1];
    pair->fabrics[1] = NULL;
    assert_int_equal(pair_start(pair, 1, "secret", 4096), -EADDRINUSE);
    pair->fabrics[1] = first;
}

static void read__snapshots_of_many_chunks__each_is_registered_when_wanted(void **state)
{
    struct pair *pair = *state;
    pair_connect(pair);
    uint8_t *scratch = lks_fabric_scratch(pair->fabrics[1]);
    const uint64_t chunk = LKS_IBV_CHUNK_BYTES_MIN;
    const uint64_t offsets[] = {0, chunk - 1000, 2 * chunk + 4096, PAIR_AREA_BYTES - 5000};
    const struct lks_ibv_snapshots *own = &lks_ibv_of(pair->fabrics[2])->snapshots;
    assert_int_equal(own->count, 3);
    for (size_t i = 0; i < LKS_COUNT_OF(offsets); i++) {
        memset(pair->area + offsets[i], (int)i + 1, 5000);
        assert_int_equal(lks_fabric_read(pair->fabrics[1], 2, LKS_FABRIC_SNAPSHOTS, offsets[i],
                                         scratch + i * 8192, 5000, i + 1),
                         0);
    }
    assert_null(own->regions[1]);
    for (unsigned i = 0; pair->completed[1] < LKS_COUNT_OF(offsets); i++) {
        assert_true(i < PAIR_ROUNDS_MAX);
        pair_turn(pair);
    }
    for (size_t i = 0; i < LKS_COUNT_OF(offsets); i++) {
        assert_memory_equal(scratch + i * 8192, pair->area + offsets[i], 5000);
    }
}

static void read__snapshots_of_a_peer_that_ends__ebroken(void **state)
{
    struct pair *pair = *state;
    pair_connect(pair);
    assert_int_equal(lks_fabric_read(pair->fabrics[1], 2, LKS_FABRIC_SNAPSHOTS, 0,
                                     lks_fabric_scratch(pair->fabrics[1]), 4096, 9),
                     0);
    lks_fabric_free(pair->fabrics[2]); /* it has not heard of it yet */
    pair->fabrics[2] = NULL;
    for (unsigned i = 0; !pair->disconnected[1]; i++) {
        assert_true(i < PAIR_ROUNDS_MAX);
        pair_turn(pair);
    }
    assert_int_equal(pair->completed[1], 1);
    assert_true(pair->last[1].peer_dead);
}

static void write_inbox__more_wakes_than_the_peer_takes__none_is_lost(void **state)
{
    struct pair *pair = *state;
    pair_connect(pair);
    struct lks_ibv_fabric *one = lks_ibv_of(pair->fabrics[1]);
    const uint32_t flags = LKS_FABRIC_INLINE | LKS_FABRIC_WAKE;
    const uint64_t wakes = 3 * LKS_IBV_WAKES_MAX;
    /* Replica 2 takes nothing meanwhile. */
    for (uint64_t sent = 1; sent <= wakes;) {
        struct lks_fabric_event event;
        const int code = lks_fabric_write_inbox(pair->fabrics[1], 2, 0, &sent, 8, flags, 0);
        assert_true(code == 0 || code == -LKS_EBUSY);
        sent += code == 0;
        (void)lks_fabric_poll(pair->fabrics[1], &event, 1);
    }
    assert_int_equal(one->peers[2].link.bell.sent, LKS_IBV_WAKES_MAX);
    assert_true(one->peers[2].link.bell.owed);
    for (unsigned i = 0; one->peers[2].link.bell.owed; i++) {
        assert_true(i < PAIR_ROUNDS_MAX);
        pair_turn(pair);
    }
    for (unsigned i = 0; lks_ibv_of(pair->fabrics[2])->peers[1].link.rung.taken <=
                         LKS_IBV_WAKES_MAX; i++) {
        assert_true(i < PAIR_ROUNDS_MAX);
        pair_turn(pair);
    }
    const uint64_t *area = lks_fabric_inbox(pair->fabrics[2], 1);
    assert_int_equal(area[0], wakes);
}

/* A living process that ends when *end is closed. */
static pid_t spawn_sleeper(int *end)
{
    char *const arguments[] = {(char *)(uintptr_t)"cat", NULL};
    posix_spawn_file_actions_t actions;
    int pipe_ends[2];
    pid_t child = 0;
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipe_ends[0], STDIN_FILENO), 0);
    assert_int_equal(posix_spawnp(&child, "cat", &actions, NULL, arguments, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipe_ends[0]);
    *end = pipe_ends[1];
    return child;
}

static uint64_t start_time_of(pid_t process)
{
    char path[32];
    char text[1024] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    (void)fclose(file);
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    assert_non_null(at);
    return strtoull(at + 1, NULL, 10);
}

static void revoke__earlier_life_still_ends__waits_for_it(void **state)
{
    struct pair *pair = *state;
    int end = -1;
    const pid_t earlier = spawn_sleeper(&end);
    struct lks_ibv_head *head =
        (struct lks_ibv_head *)(void *)(pair->logs[1] + LKS_IBV_HEAD_OFFSET);
    *head = (struct lks_ibv_head){.magic = LKS_IBV_HEAD_MAGIC,
                                  .pid = (uint32_t)earlier,
                                  .start_time = start_time_of(earlier)};
    assert_int_equal(lks_shm_boot_id(head->boot_id), 0);
    assert_int_equal(pair_start(pair, 1, "secret", 4096), 0);
    assert_int_equal(head->pid, getpid());
    assert_int_equal(lks_fabric_revoke(pair->fabrics[1], 2, 5), 0);
    for (unsigned i = 0; i < 200; i++) {
        pair_turn(pair);
    }
    assert_int_equal(pair->last[1].id, 0); /* nothing has been said */
    (void)close(end);
    for (unsigned i = 0; pair->last[1].id != 5; i++) {
        assert_true(i < PAIR_ROUNDS_MAX);
        pair_turn(pair);
    }
    assert_int_equal(pair->last[1].kind, LKS_FABRIC_REVOKED);
    assert_int_equal(pair->last[1].status, 0);
    assert_int_equal(waitpid(earlier, NULL, 0), earlier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)
        TEST(handshake__another_cluster_key__refused_and_both_say_why),
        TEST(handshake__another_size__refused_and_both_say_why),
        TEST(new__address_of_no_device__enodev_with_way_out),
        TEST(find_device__own_address_and_others),
        TEST(new__gid_entry_of_another_address__refused_and_the_right_ones_named),
        TEST(new__partition_that_the_port_is_not_in__refused),
        TEST(open__traffic_class_and_service_level__are_the_path_s),
        TEST(new__port_in_use__eaddrinuse),
        TEST(place__another_address_is_told__the_next_call_goes_there),
        TEST(read__snapshots_of_many_chunks__each_is_registered_when_wanted),
        TEST(read__snapshots_of_a_peer_that_ends__ebroken),
        TEST(revoke__earlier_life_still_ends__waits_for_it),
        TEST(write_inbox__more_wakes_than_the_peer_takes__none_is_lost),
#undef TEST
    };
    if (pair_address() == NULL) {
        return PAIR_SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
