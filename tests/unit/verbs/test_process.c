/*
 * Two real processes on one fabric: sleeping and waking each other without a lost signal, and how
 * the death of one reaches the other. The child runs this program again as "echo".
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

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/remote_memory.h"
#include "tests/unit/verbs/actor.h"

#define HERE 1u
#define THERE 2u
#define ROUNDS 500u
#define LOST_MS 5000 /* nobody sleeps longer in these tests */

/* Sleeps until something happens, as the node's loop does. False: nothing came. */
static bool sleep_well(struct lks_fabric *fabric)
{
    struct pollfd wanted = {.fd = lks_fabric_wake_fd(fabric), .events = POLLIN};
    if (lks_fabric_arm(fabric) != 0) {
        return true;
    }
    const int ready = poll(&wanted, 1, LOST_MS);
    lks_fabric_disarm(fabric);
    return ready == 1;
}

static void ring(struct lks_fabric *fabric, uint32_t peer, uint64_t value)
{
    (void)lks_fabric_write_inbox(fabric, peer, 0, &value, sizeof value,
                                 LKS_FABRIC_INLINE | LKS_FABRIC_WAKE, 0);
}

/* Sends back whatever number comes, from sleep to sleep. */
static _Noreturn void echo(const char *directory)
{
    struct actor actor;
    struct lks_fabric_event event;
    uint64_t last = 0;
    actor_start(&actor, &(struct actor_options){
                            .directory = directory, .replica = THERE, .incarnation = 1});
    (void)lks_fabric_connect(actor.fabric, HERE);
    const lks_word *word = lks_fabric_inbox(actor.fabric, HERE);
    for (;;) {
        while (lks_fabric_poll(actor.fabric, &event, 1) == 1) {
        }
        const uint64_t now = lks_word_read(word);
        if (now != last) {
            last = now;
            ring(actor.fabric, HERE, now);
        }
        (void)sleep_well(actor.fabric);
    }
}

struct scene {
    char directory[64];
    struct actor here;
    pid_t child;
};

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct lks_fabric_event event;
    assert_non_null(scene);
    actor_directory(scene->directory);
    actor_start(&scene->here, &(struct actor_options){.directory = scene->directory,
                                                     .replica = HERE,
                                                     .incarnation = 1});
    char program[] = "test_process";
    char *const arguments[] = {program, scene->directory, NULL};
    scene->child = actor_spawn(arguments);
    assert_int_equal(lks_fabric_connect(scene->here.fabric, THERE), 0);
    assert_true(actor_await(&scene->here, LKS_FABRIC_CONNECTED, &event));
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    (void)kill(scene->child, SIGKILL);
    (void)waitpid(scene->child, NULL, 0);
    actor_stop(&scene->here);
    actor_remove_directory(scene->directory);
    free(scene);
    return 0;
}

static void wake__both_sleep_between_words__none_is_lost(void **state)
{
    struct scene *scene = *state;
    struct lks_fabric *fabric = scene->here.fabric;
    struct lks_fabric_event event;
    const lks_word *word = lks_fabric_inbox(fabric, THERE);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        ring(fabric, THERE, round);
        for (unsigned sleeps = 0; lks_word_read(word) != round; sleeps++) {
            assert_true(sleeps < 100);
            assert_true(sleep_well(fabric));
            while (lks_fabric_poll(fabric, &event, 1) == 1) {
            }
        }
    }
}

static void peer__killed__disconnected_dead_from_sleep(void **state)
{
    struct scene *scene = *state;
    struct lks_fabric_event event = {.kind = LKS_FABRIC_CONNECTED};
    assert_int_equal(kill(scene->child, SIGKILL), 0);
    for (unsigned sleeps = 0; event.kind != LKS_FABRIC_DISCONNECTED; sleeps++) {
        assert_true(sleeps < 100);
        assert_true(sleep_well(scene->here.fabric));
        while (event.kind != LKS_FABRIC_DISCONNECTED &&
               lks_fabric_poll(scene->here.fabric, &event, 1) == 1) {
        }
    }
    assert_int_equal(event.peer, THERE);
    assert_true(event.peer_dead);
}

static void peer__stopped__stays_connected(void **state)
{
    struct scene *scene = *state;
    struct lks_fabric *fabric = scene->here.fabric;
    struct lks_fabric_event event;
    uint64_t *scratch = lks_fabric_scratch(fabric);
    assert_int_equal(kill(scene->child, SIGSTOP), 0);
    for (unsigned i = 0; i < 20000; i++) {
        assert_int_equal(lks_fabric_poll(fabric, &event, 1), 0);
    }
    /* Its memory needs no help of its processor. */
    assert_int_equal(lks_fabric_read(fabric, THERE, LKS_FABRIC_WORDS, 0, scratch, 8, 1), 0);
    assert_true(actor_await(&scene->here, LKS_FABRIC_COMPLETED, &event));
    assert_int_equal(event.status, 0);
    assert_int_equal(kill(scene->child, SIGCONT), 0);
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        echo(argv[1]);
    }
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(wake__both_sleep_between_words__none_is_lost),
        CASE(peer__killed__disconnected_dead_from_sleep),
        CASE(peer__stopped__stays_connected),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
