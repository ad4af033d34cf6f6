/* The ingress ring: order, wrap, credits, offers and connections that break. */
#include "node/ingress.h"

#include "tests/unit/node/ingress_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void push__not_open__returns_ebroken(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_new(&f, &(struct fake_net_options){0});
    assert_int_equal(rig_push(&f, 10), -LKS_EBROKEN);
    assert_int_equal(lks_ingress_publish(&f.producer, false), -LKS_EBROKEN);
    assert_int_equal(rig_pop(&f), -ENODATA);
    assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    rig_free(&f);
}

static void push__too_big__returns_etoobig(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    assert_int_equal(rig_push(&f, LKS_INGRESS_COMMAND_MAX + 1), -LKS_ETOOBIG);
    rig_push_through(&f, LKS_INGRESS_COMMAND_MAX);
    assert_int_equal(rig_pop(&f), 0);
    rig_free(&f);
}

static void push__connection_broken__closes_the_producer(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    fake_net_break(f.net, GATEWAY, LEADER);
    assert_int_equal(rig_push(&f, 300), -LKS_EBROKEN);
    assert_false(lks_ingress_producer_is_open(&f.producer));
    rig_free(&f);
}

static void publish__small_ones__travel_together_and_are_seen_only_then(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rig_push(&f, 20), 0);
        fake_net_deliver_all(f.net);
        assert_int_equal(rig_pop(&f), -ENODATA);
    }
    const uint64_t wakes = fake_net_wakes(f.net, LEADER);
    assert_int_equal(lks_ingress_publish(&f.producer, true), 0);
    assert_int_equal(lks_ingress_publish(&f.producer, true), 0);
    fake_net_deliver_all(f.net);
    assert_int_equal(fake_net_wakes(f.net, LEADER), wakes + 1);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rig_pop(&f), 0);
    }
    assert_int_equal(rig_pop(&f), -ENODATA);
    rig_free(&f);
}

static void pop__every_size_around_the_lines__unchanged(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    for (uint32_t bytes = 0; bytes < 700; bytes++) {
        rig_push_through(&f, bytes);
        assert_int_equal(rig_pop(&f), 0);
        assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    }
    rig_free(&f);
}

static void pop__ring_goes_round__nothing_is_lost(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    srand(1);
    uint64_t total = 0;
    while (total < 5 * (uint64_t)LKS_INGRESS_RING_BYTES) {
        const uint32_t bytes = (uint32_t)rand() % 30000;
        total += bytes;
        rig_push_through(&f, bytes);
        assert_int_equal(rig_pop(&f), 0);
        assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    }
    assert_int_equal(rig_pop(&f), -ENODATA);
    rig_free(&f);
}

static void pop__largest_commands_only__always_get_through(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    for (int i = 0; i < 12; i++) {
        rig_push_through(&f, LKS_INGRESS_COMMAND_MAX - (uint32_t)i * 5000);
        assert_int_equal(rig_pop(&f), 0);
        assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
        fake_net_deliver_all(f.net);
    }
    rig_free(&f);
}

/* A record that ends exactly with the ring needs no skip; one line less room does. */
static void push__rest_of_the_ring_fits_exactly__goes_on_at_the_beginning(void **state)
{
    (void)state;
    for (uint32_t less = 0; less < 3; less++) {
        struct ingress_rig f;
        rig_open(&f);
        const uint32_t record = 64u << 10;
        for (uint32_t at = 0; at + record < LKS_INGRESS_RING_BYTES; at += record) {
            rig_push_through(&f, record - 32);
            assert_int_equal(rig_pop(&f), 0);
            assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
        }
        const uint32_t rest = LKS_INGRESS_RING_BYTES - f.producer.place;
        int rc = -LKS_EBUSY;
        while (rc == -LKS_EBUSY) {
            fake_net_deliver_all(f.net);
            rc = rig_push(&f, rest - 32 - less * 64); /* leaves `less` lines */
        }
        assert_int_equal(f.producer.place, less == 0 ? 0 : LKS_INGRESS_RING_BYTES - less * 64);
        fake_net_deliver_all(f.net);
        assert_int_equal(rig_push(&f, 64 * 5), 0); /* nothing is published in between */
        assert_int_equal(rig_push(&f, 64), 0);
        rig_push_through(&f, 64 * 5);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(rig_pop(&f), 0);
        }
        assert_int_equal(rig_pop(&f), -ENODATA);
        rig_free(&f);
    }
}

static void push__no_credit__busy_until_the_leader_gives_some_back(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    int rc = 0;
    while (rc == 0) {
        rc = rig_push(&f, 8000);
        (void)lks_ingress_publish(&f.producer, false);
        fake_net_deliver_all(f.net);
    }
    assert_int_equal(rc, -LKS_EBUSY);
    assert_true(f.pushed > 200);
    while (f.consumer.taken < LKS_INGRESS_RING_BYTES / 64 / 8) {
        assert_int_equal(rig_push(&f, 8000), -LKS_EBUSY);
        assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
        fake_net_deliver_all(f.net);
        assert_int_equal(rig_pop(&f), 0);
    }
    const uint64_t wakes = fake_net_wakes(f.net, GATEWAY);
    assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    fake_net_deliver_all(f.net);
    assert_int_equal(fake_net_wakes(f.net, GATEWAY), wakes + 1);
    assert_int_equal(rig_push(&f, 8000), 0);
    rig_free(&f);
}

/* The lines that are skipped need credit too: else the skip would lead over records that the
 * leader has not taken. */
static void push__credit_for_the_record_but_not_for_the_skip__busy(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    const uint64_t ring_lines = LKS_INGRESS_RING_BYTES / 64;
    while (f.producer.written + 100 < ring_lines) {
        rig_push_through(&f, 64 * 90 - 32);
    }
    const uint64_t rest = ring_lines - f.producer.written;
    assert_true(rest > 0);
    while (f.consumer.taken < ring_lines / 8) {
        assert_int_equal(rig_pop(&f), 0);
    }
    assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    fake_net_deliver_all(f.net);
    const uint64_t credit = rest + f.consumer.returned;
    assert_int_equal(rig_push(&f, (uint32_t)(credit - rest + 1) * 64 - 32), -LKS_EBUSY);
    assert_int_equal(f.producer.place / 64, ring_lines - rest);
    rig_push_through(&f, (uint32_t)(credit - rest) * 64 - 32);
    while (rig_pop(&f) == 0) {
    }
    assert_int_equal(f.popped, f.pushed);
    rig_free(&f);
}

/* A client may give the number of what it could not push whole to another request. */
static void push__another_command_under_a_refused_sequence__takes_its_place(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_new(&f, &(struct fake_net_options){.outstanding_max = 5});
    lks_ingress_consumer_offer(&f.consumer, 1, &f.offer);
    lks_ingress_producer_open(&f.producer, &f.offer);
    assert_int_equal(rig_push(&f, 100000), -LKS_EBUSY);
    assert_true(f.producer.unfinished_bytes > 64);
    rig_push_through(&f, 700);
    assert_int_equal(rig_pop(&f), 0); /* which compares what comes with what was pushed */
    assert_int_equal(rig_pop(&f), -ENODATA);
    rig_free(&f);
}

static void push__fabric_too_busy__goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_new(&f, &(struct fake_net_options){.outstanding_max = 5, .busy_percent = 40});
    lks_ingress_consumer_offer(&f.consumer, 1, &f.offer);
    lks_ingress_producer_open(&f.producer, &f.offer);
    srand(2);
    for (int i = 0; i < 600; i++) {
        rig_push_through(&f, (uint32_t)rand() % 12000);
        assert_int_equal(rig_pop(&f), 0);
        (void)lks_ingress_return_credits(&f.consumer);
    }
    rig_free(&f);
}

/* The command was answered (an earlier leader had logged it) while it was being written. */
static void push__another_command_in_the_middle_of_one__replaces_it(void **state)
{
    (void)state;
    for (uint32_t small = 0; small < 5; small++) {
        struct ingress_rig f;
        rig_open(&f);
        for (uint32_t i = 0; i < small; i++) {
            assert_int_equal(rig_push(&f, 20), 0); /* staged in front of it, not posted */
        }
        assert_int_equal(rig_push(&f, 100000), -LKS_EBUSY); /* more than can be outstanding */
        fake_net_deliver_all(f.net);
        if (small % 2 == 0) {
            assert_int_equal(lks_ingress_publish(&f.producer, false), 0);
        }
        fake_net_deliver_all(f.net);
        for (uint32_t i = 0; i < small; i++) {
            assert_int_equal(rig_pop(&f), small % 2 == 0 ? 0 : -ENODATA);
        }
        f.pushed++; /* goes on with the next sequence */
        rig_push_through(&f, 500);
        rig_push_through(&f, 120000);
        f.popped += small % 2 == 0 ? 1 : 0;
        for (uint32_t i = 0; small % 2 != 0 && i < small; i++) {
            assert_int_equal(rig_pop(&f), 0);
        }
        f.popped += small % 2 == 0 ? 0 : 1;
        assert_int_equal(rig_pop(&f), 0);
        assert_int_equal(rig_pop(&f), 0);
        assert_int_equal(rig_pop(&f), -ENODATA);
        assert_int_equal(f.consumer.damaged, 0);
        rig_free(&f);
    }
}

/* A new offer at every moment, with bytes of the old one still under way: the gateway repeats
 * everything from the oldest unanswered one on, and nothing old is ever taken. */
static void offer__old_bytes_under_way__only_the_new_epoch_is_taken(void **state)
{
    (void)state;
    for (uint64_t pieces = 0; pieces < 120; pieces++) {
        struct ingress_rig f;
        rig_open(&f);
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(rig_push(&f, 50 + i * 60), 0);
            assert_int_equal(lks_ingress_publish(&f.producer, false), 0);
        }
        for (uint64_t i = 0; i < pieces; i++) {
            (void)fake_net_deliver(f.net);
        }
        (void)rig_pop(&f);
        lks_ingress_consumer_offer(&f.consumer, 2, &f.offer);
        for (uint64_t i = 0; i < pieces / 3; i++) { /* the gateway has not heard of it */
            (void)fake_net_deliver(f.net);
            assert_int_equal(rig_pop(&f), -ENODATA);
        }
        lks_ingress_producer_open(&f.producer, &f.offer);
        f.pushed = f.popped;
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(rig_push(&f, 30 + i * 70), 0);
            assert_int_equal(lks_ingress_publish(&f.producer, false), 0);
        }
        while (fake_net_deliver(f.net)) {
            (void)rig_pop(&f);
        }
        while (rig_pop(&f) == 0) {
        }
        assert_int_equal(f.popped, f.pushed);
        assert_int_equal(f.consumer.damaged, 0);
        rig_free(&f);
    }
}

struct storm {
    struct ingress_rig f;
    bool offered; /* and on its way to the gateway */
};

static void storm_connection(struct storm *storm)
{
    struct ingress_rig *f = &storm->f;
    if (fake_net_joined(f->net, GATEWAY, LEADER)) {
        fake_net_break(f->net, GATEWAY, LEADER);
        lks_ingress_producer_close(&f->producer);
        lks_ingress_consumer_close(&f->consumer);
        storm->offered = false;
        fake_net_join(f->net, GATEWAY, LEADER);
        struct lks_fabric_event events[8];
        (void)lks_fabric_poll(fake_net_fabric(f->net, GATEWAY), events, 8);
        (void)lks_fabric_poll(fake_net_fabric(f->net, LEADER), events, 8);
    }
}

static void storm_step(struct storm *storm)
{
    struct ingress_rig *f = &storm->f;
    const uint64_t choice = fake_net_random(f->net, 1000);
    if (choice < 400) {
        for (uint64_t pieces = fake_net_random(f->net, 60); pieces > 0; pieces--) {
            (void)fake_net_deliver(f->net);
        }
    } else if (choice < 600 && f->pushed < f->popped + 500) {
        const bool large = f->pushed % 29 == 0; /* a size must follow from the sequence */
        (void)rig_push(f, (uint32_t)(f->pushed * 7919 % (large ? 20000 : 300)));
    } else if (choice < 750) {
        (void)lks_ingress_publish(&f->producer, false);
    } else if (choice < 950) {
        while (rig_pop(f) == 0) {
        }
        (void)lks_ingress_return_credits(&f->consumer);
    } else if (choice < 980) {
        if (!f->consumer.open || choice < 955) {
            lks_ingress_consumer_offer(&f->consumer, 1, &f->offer);
            storm->offered = true;
        }
    } else if (choice < 996 && storm->offered) {
        lks_ingress_producer_open(&f->producer, &f->offer);
        storm->offered = false;
        f->pushed = f->popped; /* everything not taken is repeated */
    } else if (choice >= 998) {
        storm_connection(storm);
    }
}

/* Once nothing old is under way, a new offer repairs whatever happened. */
static void expect_health(struct ingress_rig *f)
{
    fake_net_deliver_all(f->net);
    lks_ingress_consumer_offer(&f->consumer, 2, &f->offer);
    lks_ingress_producer_open(&f->producer, &f->offer);
    f->pushed = f->popped;
    for (int i = 0; i < 100; i++) {
        rig_push_through(f, 100);
        assert_int_equal(rig_pop(f), 0);
    }
}

static void run_storm(const struct fake_net_options *options)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct storm storm = {.offered = false};
        struct fake_net_options own = *options;
        own.seed = seed;
        rig_new(&storm.f, &own);
        for (int i = 0; i < 30000; i++) {
            storm_step(&storm);
        }
        assert_true(storm.f.popped > 200);
        assert_int_equal(storm.f.consumer.damaged > 0, options->late);
        expect_health(&storm.f);
        rig_free(&storm.f);
    }
}

static void storm__offers_and_breaks__each_command_once_and_in_order(void **state)
{
    (void)state;
    run_storm(&(struct fake_net_options){.busy_percent = 10});
}

static void storm__old_writes_land_late__never_taken_for_new_ones(void **state)
{
    (void)state;
    run_storm(&(struct fake_net_options){.late = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push__not_open__returns_ebroken),
        cmocka_unit_test(push__too_big__returns_etoobig),
        cmocka_unit_test(push__connection_broken__closes_the_producer),
        cmocka_unit_test(publish__small_ones__travel_together_and_are_seen_only_then),
        cmocka_unit_test(pop__every_size_around_the_lines__unchanged),
        cmocka_unit_test(pop__ring_goes_round__nothing_is_lost),
        cmocka_unit_test(pop__largest_commands_only__always_get_through),
        cmocka_unit_test(push__rest_of_the_ring_fits_exactly__goes_on_at_the_beginning),
        cmocka_unit_test(push__no_credit__busy_until_the_leader_gives_some_back),
        cmocka_unit_test(push__credit_for_the_record_but_not_for_the_skip__busy),
        cmocka_unit_test(push__another_command_under_a_refused_sequence__takes_its_place),
        cmocka_unit_test(push__fabric_too_busy__goes_on_where_it_stopped),
        cmocka_unit_test(push__another_command_in_the_middle_of_one__replaces_it),
        cmocka_unit_test(offer__old_bytes_under_way__only_the_new_epoch_is_taken),
        cmocka_unit_test(storm__offers_and_breaks__each_command_once_and_in_order),
        cmocka_unit_test(storm__old_writes_land_late__never_taken_for_new_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
