/*
 * Whole replicas whose commands are executed by workers of each scheduler, stepped by hand in any
 * order: state and replies are those of a replica that executes one by one, what is told as applied
 * is executed, answers leave in order, and snapshots, restarts and reads find nothing under way.
 */
#include "node/scheduler_command.h"
#include "tests/unit/node/replica_rig.h"
#include "tests/unit/sched/numa_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RING (UINT64_C(64) << 10)
#define COMMAND_BYTES 200u

/* Replica 1 executes one by one, the others differently. */
static struct rig_options mixed_options(void)
{
    return (struct rig_options){
        .replicas = 5,
        .ring_bytes = RING,
        .snapshots = true,
        .partitions = 4,
        .workers = {0, 0, 1, 3, 2, 4},
        .scheduler = {LKS_SEQUENTIAL, LKS_SEQUENTIAL, LKS_EARLY, LKS_LATE, LKS_HYBRID,
                      LKS_ADAPTIVE}};
}

static void load(struct rig *rig, uint32_t batches, uint32_t commands)
{
    for (uint32_t i = 0; i < batches; i++) {
        const uint32_t id = 1 + i % rig->options.replicas;
        if (rig->replicas[id].replica != NULL) {
            rig_submit_many(rig, id, COMMAND_BYTES, commands);
        }
        rig_run(rig, 20 * RIG_TICK_NS);
    }
}

static void apply__each_scheduler__equals_one_by_one(void **state)
{
    (void)state;
    const struct rig_options options = mixed_options();
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    load(rig, 150, 12);
    rig_settle(rig); /* checks each partition's order, and that everything was answered once */
    for (uint32_t id = 1; id <= 5; id++) {
        assert_int_equal(rig_executed(rig, id), 150 * 12);
        assert_true(rig_status(rig, id).snapshots.taken > 10);
    }
    for (uint32_t id = 2; id <= 4; id++) {
        struct lks_scheduler_status status;
        lks_replica_scheduler_status(rig->replicas[id].replica, &status);
        assert_int_equal(status.kind, options.scheduler[id]);
        assert_true(status.all.submitted > 100);
        assert_true(status.worker[0].executed > 0);
    }
    rig_free(rig);
}

/* What INFO's `scheduled` and `executed_in_place` say together, and the latter alone. */
static void in_place__each_scheduler__makes_up_all_with_what_was_scheduled(void **state)
{
    (void)state;
    const struct rig_options options = mixed_options();
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    load(rig, 100, 12);
    rig_settle(rig);
    for (uint32_t id = 1; id <= 5; id++) {
        struct lks_scheduler_status status;
        lks_replica_scheduler_status(rig->replicas[id].replica, &status);
        assert_int_equal(status.in_place + status.all.submitted, rig_executed(rig, id));
        assert_int_equal(status.in_place > 0, id == 1 || id == 5);
        assert_int_equal(status.all.submitted > 0, id != 1);
    }
    struct lks_scheduler_status before;
    struct lks_scheduler_status after;
    struct lks_replica *alone = rig->replicas[1].replica;
    lks_replica_scheduler_status(alone, &before);
    (void)rig_read(rig, 1, UINT32_MAX - 1, true);
    rig_run(rig, 20 * RIG_TICK_NS);
    lks_replica_scheduler_status(alone, &after);
    assert_int_equal(after.in_place, before.in_place + 1); /* reads are executed, too */
    rig_free(rig);
}

static void footprint__five_replicas__is_asked_for_once(void **state)
{
    (void)state;
    struct rig_options options = mixed_options();
    options.snapshots = false;
    options.ring_bytes = UINT64_C(1) << 20;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    const uint64_t before = rig_service_footprints();
    load(rig, 40, 12);
    rig_settle(rig);
    assert_int_equal(rig_service_footprints() - before, 40 * 12); /* by the leader alone */
    rig_free(rig);
}

static struct rig_options alone_options(void)
{
    return (struct rig_options){.replicas = 1,
                                .ring_bytes = 4 * RING,
                                .partitions = 8,
                                .workers = {0, 2},
                                .scheduler = {LKS_SEQUENTIAL, LKS_LATE}};
}

static void applied__workers_stand_still__is_not_told_before_the_mark(void **state)
{
    (void)state;
    const struct rig_options options = alone_options();
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    rig->replicas[1].holds_workers = true;
    const uint64_t before = rig_status(rig, 1).applied_index;
    rig_submit_many(rig, 1, 64, 20);
    rig_run(rig, 20 * RIG_TICK_NS);
    assert_true(rig->replicas[1].replica->applied.index >= before + 20); /* dispatched */
    assert_true(lks_replica_deadline_ns(rig->replicas[1].replica) <=
                rig->replicas[1].replica->now_ns + 100000);
    struct lks_replica_status status = rig_status(rig, 1);
    assert_int_equal(status.applied_index, before);
    assert_true(status.pending > 0);
    assert_int_equal(rig->answers_count, 0);
    uint64_t index = 0;
    (void)lks_replica_hash(rig->replicas[1].replica, &index);
    assert_int_equal(index, 0);
    rig->replicas[1].holds_workers = false;
    rig_settle(rig);
    status = rig_status(rig, 1);
    assert_true(status.applied_index >= before + 20);
    assert_int_equal(status.pending, 0);
    (void)lks_replica_hash(rig->replicas[1].replica, &index);
    assert_int_equal(index, status.applied_index);
    rig_free(rig);
}

static void replies__executed_in_another_order__leave_in_that_of_the_log(void **state)
{
    (void)state;
    struct rig_options options = alone_options();
    options.workers[1] = 4;
    options.ring_bytes = UINT64_C(1) << 20;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    for (uint32_t i = 0; i < 40; i++) {
        rig_submit_many(rig, 1, 64, 25);
        rig_run(rig, 10 * RIG_TICK_NS);
    }
    rig_settle(rig);
    assert_int_equal(rig->answers_count, 1000);
    for (uint32_t i = 1; i < rig->answers_count; i++) {
        assert_true(rig->answers[i] > rig->answers[i - 1]);
    }
    rig_free(rig);
}

static void reads__behind_commands_under_way__see_them(void **state)
{
    (void)state;
    struct rig_options options = alone_options();
    options.scheduler[1] = LKS_EARLY;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    rig->replicas[1].holds_workers = true;
    rig_submit_many(rig, 1, 64, 70);
    const uint32_t ordered = rig_read(rig, 1, UINT32_MAX - 1, true);
    rig_run(rig, 20 * RIG_TICK_NS);
    assert_int_equal(rig->reads[ordered].answered, 0);
    rig->replicas[1].holds_workers = false;
    rig_settle(rig);
    rig_run(rig, 20 * RIG_TICK_NS);
    assert_int_equal(rig->reads[ordered].answered, 1);
    assert_int_equal(rig->reads[ordered].answers, 70); /* after all of them */
    assert_true(rig->reads[ordered].value >= 70);
    rig_free(rig);
}

static void window__more_commands_than_it_holds__wait_in_the_log(void **state)
{
    (void)state;
    struct rig_options options = alone_options();
    options.ring_bytes = UINT64_C(4) << 20;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    rig->replicas[1].holds_workers = true;
    rig_submit_many(rig, 1, 64, 3000);
    rig_run(rig, 60 * RIG_TICK_NS);
    struct lks_scheduler_status status;
    lks_replica_scheduler_status(rig->replicas[1].replica, &status);
    assert_true(status.under_way > 0 && status.under_way <= 2049);
    assert_true(rig->replicas[1].replica->applied.offset <
                rig->replicas[1].replica->view->commit_offset);
    rig->replicas[1].holds_workers = false;
    rig_settle(rig);
    assert_int_equal(rig_executed(rig, 1), 3000);
    rig_free(rig);
}

static void restart__in_the_midst__nothing_is_lost_or_repeated(void **state)
{
    (void)state;
    const struct rig_options options = mixed_options();
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    for (uint32_t round = 0; round < 20; round++) {
        const uint32_t id = 1 + round % 5;
        load(rig, 4, 12);
        rig_crash(rig, id, false);
        load(rig, 3, 12);
        rig_start(rig, id);
        rig_run(rig, 200 * RIG_TICK_NS);
    }
    rig_settle(rig);
    rig_free(rig);
}

/* Workers 0 and 1 are on nodes of their own; partitions are theirs in turn. */
static void restart__two_nodes__partitions_come_back_where_they_are_executed(void **state)
{
    (void)state;
    static struct numa_rig machine;
    static const int nodes[] = {0, 1, 0};
    static const enum lks_scheduler_kind kinds[] = {LKS_EARLY, LKS_LATE, LKS_SEQUENTIAL};
    for (size_t i = 0; i < LKS_COUNT_OF(kinds); i++) {
        struct rig_options options = alone_options();
        options.ring_bytes = RING;
        options.snapshots = true;
        options.scheduler[1] = kinds[i];
        options.numa = &machine;
        options.nodes = nodes;
        numa_rig_init(&machine);
        struct rig *rig = rig_new(&options);
        (void)rig_lead(rig);
        load(rig, 60, 12);
        rig_crash(rig, 1, false);
        assert_int_equal(machine.prefers, 0); /* of an empty one there was nothing to place */
        rig_start(rig, 1);
        rig_settle(rig);
        assert_true(rig_status(rig, 1).snapshots.restored_bytes > 0);
        for (uint32_t p = 0; p < options.partitions; p++) {
            const uint64_t expected = kinds[i] == LKS_EARLY  ? UINT64_C(1) << p % 2
                                      : kinds[i] == LKS_LATE ? 3
                                                             : 1;
            assert_int_equal(rig->replicas[1].service.lists[p].restored_on, expected);
        }
        assert_true(machine.prefers >= 2);
        assert_int_equal(machine.preferred, 0); /* given back */
        rig_free(rig);
    }
}

static void restart__nodes_refused__comes_back_with_one_warning(void **state)
{
    (void)state;
    static struct numa_rig machine;
    static const int nodes[] = {0, 1, 0};
    struct rig_options options = alone_options();
    options.ring_bytes = RING;
    options.snapshots = true;
    options.scheduler[1] = LKS_EARLY;
    options.numa = &machine;
    options.nodes = nodes;
    numa_rig_init(&machine);
    machine.answer = -EPERM;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    load(rig, 60, 12);
    rig_crash(rig, 1, false);
    rig_start(rig, 1);
    load(rig, 10, 12);
    rig_settle(rig);
    assert_true(rig_status(rig, 1).snapshots.restored_bytes > 0);
    assert_int_equal(machine.areas_count + machine.prefers, 1);
    assert_int_equal(machine.warnings, 1);
    rig_free(rig);
}

static void set_scheduler__under_load__goes_on_between_two_entries(void **state)
{
    (void)state;
    struct rig_options options = mixed_options();
    options.workers[1] = 2;
    struct rig *rig = rig_new(&options);
    struct lks_error err = {0};
    (void)rig_lead(rig);
    for (uint32_t round = 0; round < 30; round++) {
        load(rig, 3, 12);
        for (uint32_t id = 1; id <= 5; id++) {
            const enum lks_scheduler_kind kind =
                (enum lks_scheduler_kind)((round + id) % (LKS_ADAPTIVE + 1));
            struct lks_replica *replica = rig->replicas[id].replica;
            assert_int_equal(lks_replica_set_scheduler(replica, kind, 0, &err), 0);
        }
    }
    rig_settle(rig);
    rig_run(rig, 20 * RIG_TICK_NS);
    for (uint32_t id = 1; id <= 5; id++) {
        struct lks_scheduler_status status;
        lks_replica_scheduler_status(rig->replicas[id].replica, &status);
        assert_int_equal(status.kind, (29 + id) % (LKS_ADAPTIVE + 1));
    }
    rig_free(rig);
}

static void set_scheduler__no_workers__says_how_to_get_some(void **state)
{
    (void)state;
    struct rig_options options = alone_options();
    options.workers[1] = 0;
    struct rig *rig = rig_new(&options);
    struct lks_error err = {0};
    struct lks_replica *replica = rig->replicas[1].replica;
    assert_int_equal(lks_replica_set_scheduler(replica, LKS_LATE, 0, &err), -EINVAL);
    assert_non_null(strstr(err.text, "late"));
    assert_non_null(strstr(err.text, "workers"));
    assert_int_equal(lks_replica_set_scheduler(replica, LKS_SEQUENTIAL, 2, &err), -EINVAL);
    assert_int_equal(lks_replica_set_scheduler(replica, LKS_SEQUENTIAL, 0, &err), 0);
    rig_free(rig);
}

static void set_scheduler__commands_under_way__waits_for_them(void **state)
{
    (void)state;
    const struct rig_options options = alone_options();
    struct rig *rig = rig_new(&options);
    struct lks_error err = {0};
    (void)rig_lead(rig);
    struct lks_replica *replica = rig->replicas[1].replica;
    struct lks_scheduler_status status;
    rig->replicas[1].holds_workers = true;
    rig_submit_many(rig, 1, 64, 20);
    rig_run(rig, 20 * RIG_TICK_NS);
    assert_int_equal(lks_replica_set_scheduler(replica, LKS_SEQUENTIAL, 0, &err), 0);
    rig_submit_many(rig, 1, 64, 20);
    rig_run(rig, 20 * RIG_TICK_NS);
    lks_replica_scheduler_status(replica, &status);
    assert_int_equal(status.kind, LKS_LATE); /* some are still under way */
    assert_int_equal(status.wanted, LKS_SEQUENTIAL);
    assert_int_equal(rig->answers_count, 0);
    rig->replicas[1].holds_workers = false;
    rig_settle(rig);
    lks_replica_scheduler_status(replica, &status);
    assert_int_equal(status.kind, LKS_SEQUENTIAL);
    assert_int_equal(status.wanted, LKS_SEQUENTIAL);
    assert_int_equal(rig->answers_count, 40);
    for (uint32_t i = 1; i < rig->answers_count; i++) {
        assert_true(rig->answers[i] > rig->answers[i - 1]);
    }
    rig_free(rig);
}

/* One SCHEDULER SET; its answer. */
static void ask(struct rig *rig, const char *const *words, size_t count, struct lks_reply *reply)
{
    struct lks_argument args[6];
    for (size_t i = 0; i < count; i++) {
        args[i] = (struct lks_argument){words[i], strlen(words[i])};
    }
    lks_reply_clear(reply);
    lks_scheduler_command(rig->replicas[1].replica, args, count, reply);
}

#define ASK(rig, reply, ...) \
    ask(rig, (const char *const[]){"SCHEDULER", "SET", __VA_ARGS__}, \
        2 + sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), reply)

static bool says(const struct lks_reply *reply, const char *text)
{
    return memmem(reply->data, reply->bytes, text, strlen(text)) != NULL;
}

static void command__kinds_and_workers__are_taken_or_refused(void **state)
{
    (void)state;
    const struct rig_options options = alone_options();
    struct rig *rig = rig_new(&options);
    struct lks_reply reply;
    struct lks_scheduler_status status;
    lks_reply_init(&reply);
    (void)rig_lead(rig);
    ASK(rig, &reply, "late", "workers", "1");
    assert_true(says(&reply, "+OK"));
    rig_run(rig, 20 * RIG_TICK_NS);
    lks_replica_scheduler_status(rig->replicas[1].replica, &status);
    assert_int_equal(status.all.active, 1);
    ASK(rig, &reply, "late");
    assert_true(says(&reply, "+OK"));
    rig_run(rig, 20 * RIG_TICK_NS);
    lks_replica_scheduler_status(rig->replicas[1].replica, &status);
    assert_int_equal(status.all.active, 2);
    ASK(rig, &reply, "nothing");
    assert_true(says(&reply, "-ERR scheduler nothing: is one of sequential"));
    ASK(rig, &reply, "late", "workers", "0");
    assert_true(says(&reply, "-ERR WORKERS '0': give 1 to 63"));
    ASK(rig, &reply, "late", "workers", "3");
    assert_true(says(&reply, "-ERR scheduler late on 3 workers: there are 2"));
    ASK(rig, &reply, "early", "WORKERS", "1");
    assert_true(says(&reply, "-ERR scheduler early on 1 of 2 workers: it uses all of them"));
    ASK(rig, &reply, "late", "threads", "1");
    assert_true(says(&reply, "-ERR 'threads'"));
    ASK(rig, &reply, "late", "workers");
    assert_true(says(&reply, "-ERR wrong number of arguments"));
    lks_replica_scheduler_status(rig->replicas[1].replica, &status);
    assert_int_equal(status.wanted, LKS_LATE);
    lks_reply_fini(&reply);
    rig_free(rig);
}

static const struct rig *g_slow; /* each command takes half of a heartbeat there */

static uint64_t slow_clock_ns(void)
{
    return g_slow->now_ns + RIG_HEARTBEAT_NS / 2;
}

static void step__long_commands__ends_before_the_next_heartbeat(void **state)
{
    (void)state;
    struct rig_options options = alone_options();
    options.workers[1] = 0;
    options.clock_ns = slow_clock_ns;
    options.ring_bytes = UINT64_C(1) << 20;
    struct rig *rig = rig_new(&options);
    g_slow = rig;
    (void)rig_lead(rig);
    const uint32_t before = (uint32_t)rig_executed(rig, 1);
    rig_submit_many(rig, 1, 64, 100);
    rig_run(rig, 20 * RIG_TICK_NS);
    const uint32_t executed = (uint32_t)rig_executed(rig, 1) - before;
    assert_true(executed > 0 && executed <= 21); /* one each time, and not the whole batch */
    rig_settle(rig);
    assert_int_equal(rig_executed(rig, 1), before + 100);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apply__each_scheduler__equals_one_by_one),
        cmocka_unit_test(in_place__each_scheduler__makes_up_all_with_what_was_scheduled),
        cmocka_unit_test(footprint__five_replicas__is_asked_for_once),
        cmocka_unit_test(applied__workers_stand_still__is_not_told_before_the_mark),
        cmocka_unit_test(replies__executed_in_another_order__leave_in_that_of_the_log),
        cmocka_unit_test(reads__behind_commands_under_way__see_them),
        cmocka_unit_test(window__more_commands_than_it_holds__wait_in_the_log),
        cmocka_unit_test(restart__in_the_midst__nothing_is_lost_or_repeated),
        cmocka_unit_test(restart__two_nodes__partitions_come_back_where_they_are_executed),
        cmocka_unit_test(restart__nodes_refused__comes_back_with_one_warning),
        cmocka_unit_test(set_scheduler__under_load__goes_on_between_two_entries),
        cmocka_unit_test(set_scheduler__no_workers__says_how_to_get_some),
        cmocka_unit_test(set_scheduler__commands_under_way__waits_for_them),
        cmocka_unit_test(command__kinds_and_workers__are_taken_or_refused),
        cmocka_unit_test(step__long_commands__ends_before_the_next_heartbeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
