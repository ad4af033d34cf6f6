/*
 * Two fabrics as threads of one process (shared_process), for the thread sanitizer: a writer
 * streams while the owner grants and revokes; nothing lands after REVOKED, nobody is killed, and
 * the end of one is seen by the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/remote_memory.h"
#include "tests/unit/verbs/actor.h"

#define OWNER 1u
#define WRITER 2u
#define ROUNDS 300u
#define TURNS_MAX 50000000u

struct scene {
    char directory[64];
    atomic_bool over;
};

static struct actor_options options_of(const struct scene *scene, uint32_t replica)
{
    return (struct actor_options){.directory = scene->directory,
                                  .replica = replica,
                                  .incarnation = 1,
                                  .shared_process = true};
}

static void *write_all_the_time(void *ctx)
{
    struct scene *scene = ctx;
    struct actor actor;
    const struct actor_options options = options_of(scene, WRITER);
    struct lks_fabric_event event;
    uint64_t number = 0;
    uint64_t counter = 0;
    actor_start(&actor, &options);
    (void)lks_fabric_connect(actor.fabric, OWNER);
    const struct actor_letter *letter = lks_fabric_inbox(actor.fabric, OWNER);
    while (!atomic_load(&scene->over)) {
        const uint64_t arrived = lks_word_read((const lks_word *)(const void *)&letter->number);
        if (arrived > number) {
            const struct lks_fabric_key key = letter->key;
            number = arrived;
            (void)lks_fabric_open(actor.fabric, OWNER, &key, 1);
        }
        counter++;
        memcpy(actor.log + ACTOR_AREA_OFFSET, &counter, sizeof counter);
        memset(actor.log + ACTOR_AREA_OFFSET + 8, (int)counter, 4096 - 8);
        (void)lks_fabric_write_log(actor.fabric, OWNER, ACTOR_AREA_OFFSET,
                                   actor.log + ACTOR_AREA_OFFSET, 4096,
                                   counter % 2 != 0 ? LKS_FABRIC_DURABLE : 0, 0);
        while (lks_fabric_poll(actor.fabric, &event, 1) == 1) {
        }
        if (counter % 16 == 0) {
            (void)sched_yield();
        }
    }
    actor_stop(&actor);
    return NULL;
}

static void grant(struct actor *owner)
{
    struct lks_fabric_event event;
    struct actor_letter letter;
    assert_int_equal(lks_fabric_grant(owner->fabric, WRITER, 1), 0);
    assert_true(actor_await(owner, LKS_FABRIC_GRANTED, &event));
    assert_int_equal(event.status, 0);
    letter.key = event.key;
    letter.number = event.key.grant;
    assert_int_equal(lks_fabric_write_inbox(owner->fabric, WRITER, 0, &letter,
                                            offsetof(struct actor_letter, number),
                                            LKS_FABRIC_INLINE, 0),
                     0);
    assert_int_equal(lks_fabric_write_inbox(owner->fabric, WRITER,
                                            offsetof(struct actor_letter, number),
                                            &letter.number, 8, LKS_FABRIC_INLINE, 0),
                     0);
}

static void revoke__writer_is_a_thread__nothing_lands_late(void **state)
{
    (void)state;
    struct scene scene = {.over = false};
    struct actor owner;
    struct lks_fabric_event event;
    pthread_t writer;
    uint8_t seen[4096];
    actor_directory(scene.directory);
    const struct actor_options options = options_of(&scene, OWNER);
    actor_start(&owner, &options);
    assert_int_equal(lks_fabric_connect(owner.fabric, WRITER), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_all_the_time, &scene), 0);
    assert_true(actor_await(&owner, LKS_FABRIC_CONNECTED, &event));
    const uint8_t *area = owner.log + ACTOR_AREA_OFFSET;
    const lks_word *first = (const lks_word *)(const void *)area;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t before = lks_word_read(first);
        grant(&owner);
        for (unsigned turn = 0; lks_word_read(first) == before; turn++) {
            assert_true(turn < TURNS_MAX);
            (void)sched_yield();
        }
        assert_int_equal(lks_fabric_revoke(owner.fabric, WRITER, 2), 0);
        assert_true(actor_await(&owner, LKS_FABRIC_REVOKED, &event));
        memcpy(seen, area, sizeof seen);
        for (unsigned turn = 0; turn < 5; turn++) {
            (void)sched_yield();
            assert_memory_equal(area, seen, sizeof seen);
        }
    }
    atomic_store(&scene.over, true);
    assert_true(actor_await(&owner, LKS_FABRIC_DISCONNECTED, &event));
    assert_true(event.peer_dead);
    assert_int_equal(pthread_join(writer, NULL), 0);
    actor_stop(&owner);
    actor_remove_directory(scene.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revoke__writer_is_a_thread__nothing_lands_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
