/* The mailbox over connections that break: greetings, and what older connections left behind. */
#include "node/mailbox.h"

#include "tests/unit/node/mailbox_pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* All that an older connection wrote appears again, whole, in the place of the new. */
static void reconnect__old_area_lands_late__nothing_of_it_is_taken(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    struct lks_mailbox_area old_at_a;
    struct lks_mailbox_area old_at_b;
    pair_joined(&pair);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pair_say(&pair, A, 16), 0);
        assert_int_equal(pair_say(&pair, B, 16), 0);
        pair_settle(&pair);
        assert_int_equal(pair_hear(&pair, A, &message), 16);
    }
    assert_int_equal(pair_hear(&pair, B, &message), 16); /* A's second one is never heard */
    pair_settle(&pair);
    memcpy(&old_at_a, pair_area(&pair, A), sizeof old_at_a);
    memcpy(&old_at_b, pair_area(&pair, B), sizeof old_at_b);
    fake_net_break(pair.net, A, B);
    fake_net_join(pair.net, A, B);
    pair_settle(&pair);
    assert_int_equal(pair_say(&pair, A, 16), 0);
    fake_net_deliver_all(pair.net);
    memcpy(pair_area(&pair, A), &old_at_a, sizeof old_at_a);
    memcpy(pair_area(&pair, B), &old_at_b, sizeof old_at_b);
    old_at_a.acknowledged += 2; /* as if it were of a later message */
    lks_word_publish(&pair_area(&pair, A)->acknowledged, old_at_a.acknowledged);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
        lks_mailbox_poll(&pair.sides[A].mailbox);
        lks_mailbox_poll(&pair.sides[B].mailbox);
        assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 1);
    }
    assert_int_equal(pair.sides[B].mailbox.counts.damaged, 0);
    pair_let_repeat(&pair, A);
    assert_int_equal(pair_hear(&pair, B, &message), 16);
    pair_settle(&pair);
    assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
    pair_free(&pair);
}

static void greeting__hellos_overwritten__repeated_until_heard(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_new(&pair, &(struct fake_net_options){.seed = 1});
    fake_net_join(pair.net, A, B);
    for (int turn = 0; turn < 100; turn++) {
        for (uint32_t side = A; side <= B; side++) {
            pair_take_events(&pair, side, 8);
            lks_mailbox_poll(&pair.sides[side].mailbox);
        }
        fake_net_deliver_all(pair.net);
        memset(&pair_area(&pair, A)->hello, 0, sizeof(struct lks_mailbox_hello));
        memset(&pair_area(&pair, B)->hello, 0, sizeof(struct lks_mailbox_hello));
    }
    assert_false(pair.sides[A].mailbox.established);
    assert_int_equal(pair_say(&pair, A, 16), 0);
    pair_settle(&pair);
    assert_int_equal(pair_hear(&pair, B, &message), 16);
    pair_free(&pair);
}

/* A hello of the peer's token before last, though it echoes the own present one. */
static void greeting__hello_of_a_lower_token__ignored(void **state)
{
    (void)state;
    struct pair pair;
    struct lks_mailbox_hello old;
    pair_new(&pair, &(struct fake_net_options){.seed = 1});
    fake_net_join(pair.net, A, B);
    pair_take_events(&pair, A, 8);
    pair_take_events(&pair, B, 8);
    lks_mailbox_poll(&pair.sides[A].mailbox);
    fake_net_deliver_all(pair.net);
    lks_mailbox_poll(&pair.sides[B].mailbox);
    fake_net_deliver_all(pair.net);
    memcpy(&old, &pair_area(&pair, A)->hello, sizeof old);
    assert_int_equal(old.echo, pair.sides[A].mailbox.token);
    fake_net_break(pair.net, A, B);
    fake_net_join(pair.net, A, B); /* only B is told, and has not heard A yet */
    pair_take_events(&pair, B, 8);
    lks_mailbox_poll(&pair.sides[B].mailbox);
    fake_net_deliver_all(pair.net);
    lks_mailbox_poll(&pair.sides[A].mailbox);
    assert_int_equal(pair.sides[A].mailbox.peer_token, pair.sides[B].mailbox.token);
    memcpy(&pair_area(&pair, A)->hello, &old, sizeof old);
    lks_mailbox_poll(&pair.sides[A].mailbox);
    assert_false(pair.sides[A].mailbox.established);
    pair_free(&pair);
}

static void reconnect__messages_under_way__none_survives(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    for (uint64_t pieces = 0; pieces < 60; pieces++) {
        pair_new(&pair, &(struct fake_net_options){.seed = pieces, .late = true});
        fake_net_join(pair.net, A, B);
        pair_settle(&pair);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(pair_say(&pair, A, 40), 0);
        }
        for (uint64_t i = 0; i < pieces; i++) {
            (void)fake_net_deliver(pair.net);
        }
        fake_net_break(pair.net, A, B);
        fake_net_join(pair.net, A, B);
        pair_settle(&pair);
        assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
        assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
        assert_int_equal(pair_say(&pair, A, 40), 0);
        pair_settle(&pair);
        assert_int_equal(pair_hear(&pair, B, &message), 40);
        assert_int_equal(message.connection, 2);
        pair_free(&pair);
    }
}

/* One side saw break and reconnection, the other has not been told yet and goes on: what it
 * sends is not lost, and both sides find each other again. */
static void reconnect__one_side_not_told_yet__greeting_starts_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct pair pair;
        struct message message;
        pair_new(&pair, &(struct fake_net_options){.seed = seed, .zero_late = seed % 2 == 0});
        fake_net_join(pair.net, A, B);
        pair_settle(&pair);
        fake_net_break(pair.net, A, B);
        fake_net_join(pair.net, A, B);
        pair_take_events(&pair, B, 8);
        for (int i = 0; i < 30; i++) { /* A still thinks it is the first connection */
            lks_mailbox_poll(&pair.sides[B].mailbox);
            lks_mailbox_poll(&pair.sides[A].mailbox);
            fake_net_deliver_all(pair.net);
        }
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(pair_say(&pair, B, 27 + i), 0);
        }
        fake_net_deliver_all(pair.net);
        assert_int_equal(pair_hear(&pair, A, &message), 27);
        assert_int_equal(pair_hear(&pair, A, &message), 28);
        lks_mailbox_poll(&pair.sides[A].mailbox);
        fake_net_deliver_all(pair.net);
        lks_mailbox_poll(&pair.sides[B].mailbox);
        assert_int_equal(lks_mailbox_pending(&pair.sides[B].mailbox), 1);
        pair_take_events(&pair, A, 8); /* takes a new token; B's hello still echoes the old one */
        lks_mailbox_poll(&pair.sides[A].mailbox);
        assert_int_equal(pair_say(&pair, B, 30), 0);
        pair_settle(&pair);
        /* What was not acknowledged came over. */
        assert_int_equal(pair_hear(&pair, A, &message), 29);
        assert_int_equal(pair_hear(&pair, A, &message), 30);
        assert_int_equal(pair_say(&pair, A, 31), 0);
        assert_int_equal(pair_say(&pair, B, 32), 0);
        pair_settle(&pair);
        assert_int_equal(pair_hear(&pair, B, &message), 31);
        assert_int_equal(pair_hear(&pair, A, &message), 32);
        pair_free(&pair);
    }
}

static void restart_side(struct pair *pair, uint32_t replica)
{
    struct side *side = &pair->sides[replica];
    fake_net_restart(pair->net, replica);
    side->incarnation++;
    side->connection = 0;
    lks_mailbox_init(&side->mailbox, fake_net_fabric(pair->net, replica), A + B - replica,
                     side->incarnation);
}

/* One random step of a conversation; events are always taken before anything else is done. */
static void random_step(struct pair *pair, bool strict)
{
    struct fake_net *net = pair->net;
    const uint32_t replica = (uint32_t)fake_net_random(net, 2) + 1;
    struct side *side = &pair->sides[replica];
    if (strict || fake_net_random(net, 4) == 0) {
        pair_take_events(pair, A, 8);
        pair_take_events(pair, B, 8);
    }
    const uint64_t choice = fake_net_random(net, 1000);
    struct message message;
    if (choice < 600) {
        for (uint64_t pieces = fake_net_random(net, 24); pieces > 0; pieces--) {
            (void)fake_net_deliver(net);
        }
    } else if (choice < 700) {
        (void)pair_say(pair, replica, 16 + (uint32_t)fake_net_random(net, 945));
    } else if (choice < 800) {
        if (pair_hear(pair, replica, &message) > 0 && strict) {
            assert_int_equal(message.connection, side->connection);
        }
    } else if (choice < 997) {
        (void)lks_mailbox_poll(&side->mailbox);
    } else if (choice == 997) {
        restart_side(pair, replica);
    } else if (fake_net_joined(net, A, B)) {
        fake_net_break(net, A, B);
    }
    if (!fake_net_joined(net, A, B) && fake_net_random(net, 20) == 0) {
        fake_net_join(net, A, B);
    }
}

/* After the storm: a connection that stands carries everything that is sent over it. */
static void expect_health(struct pair *pair)
{
    struct message message;
    if (!fake_net_joined(pair->net, A, B)) {
        fake_net_join(pair->net, A, B);
    }
    for (int round = 0; round < 60; round++) {
        pair_settle(pair);
        for (uint32_t side = A; side <= B; side++) {
            while (pair_hear(pair, side, &message) > 0) {
            }
            if (round < 50) {
                (void)pair_say(pair, side, 16);
            }
        }
    }
    for (uint32_t side = A; side <= B; side++) {
        assert_int_equal(lks_mailbox_pending(&pair->sides[side].mailbox), 0);
        assert_int_equal(pair->sides[side].heard_id, pair->sides[A + B - side].sent_id);
    }
}

static void run_random(const struct fake_net_options *options, int seeds, bool strict)
{
    for (int seed = 1; seed <= seeds; seed++) {
        struct pair pair;
        struct fake_net_options own = *options;
        own.seed = (uint64_t)seed;
        pair_new(&pair, &own);
        fake_net_join(pair.net, A, B);
        for (int step = 0; step < 20000; step++) {
            random_step(&pair, strict);
        }
        expect_health(&pair);
        assert_true(pair.sides[A].heard_id > 500);
        assert_true(pair.sides[B].heard_id > 500);
        if (!options->late) {
            assert_int_equal(pair.sides[A].mailbox.counts.damaged, 0);
            assert_int_equal(pair.sides[B].mailbox.counts.damaged, 0);
        }
        pair_free(&pair);
    }
}

static void random__events_taken_at_once__in_order_and_of_this_connection(void **state)
{
    (void)state;
    run_random(&(struct fake_net_options){.busy_percent = 0}, 10, true);
}

static void random__busy_fabric__in_order_and_of_this_connection(void **state)
{
    (void)state;
    run_random(&(struct fake_net_options){.busy_percent = 30, .outstanding_max = 7}, 10, true);
}

static void random__events_taken_late__in_order_and_healthy_afterwards(void **state)
{
    (void)state;
    run_random(&(struct fake_net_options){.busy_percent = 5, .zero_late = true}, 10, false);
}

static void random__old_writes_land_late__never_taken_for_new_ones(void **state)
{
    (void)state;
    run_random(&(struct fake_net_options){.busy_percent = 5, .late = true}, 15, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reconnect__old_area_lands_late__nothing_of_it_is_taken),
        cmocka_unit_test(greeting__hellos_overwritten__repeated_until_heard),
        cmocka_unit_test(greeting__hello_of_a_lower_token__ignored),
        cmocka_unit_test(reconnect__messages_under_way__none_survives),
        cmocka_unit_test(reconnect__one_side_not_told_yet__greeting_starts_again),
        cmocka_unit_test(random__events_taken_at_once__in_order_and_of_this_connection),
        cmocka_unit_test(random__busy_fabric__in_order_and_of_this_connection),
        cmocka_unit_test(random__events_taken_late__in_order_and_healthy_afterwards),
        cmocka_unit_test(random__old_writes_land_late__never_taken_for_new_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
