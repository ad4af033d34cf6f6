/* Random commands and their check; see workload.h. */
#include "tests/unit/sched/workload.h"

#include "base/assert.h"
#include "base/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So often there is no room: something was lost. With threads each wait is up to 100 us. */
#define WAITS_IN_VAIN 300000u

uint64_t workload_random(uint64_t *seed)
{
    uint64_t value = (*seed += UINT64_C(0x9E3779B97F4A7C15));
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

static uint32_t below(uint64_t *seed, uint32_t limit)
{
    return (uint32_t)(workload_random(seed) % limit);
}

struct workload_options workload_draw(uint64_t seed)
{
    static const uint32_t keys[] = {1, 2, 5, 16, 100, 1000, 20000};
    static const uint32_t writes[] = {0, 5, 30, 50, 90, 100};
    uint64_t random = seed * 77 + 1;
    return (struct workload_options){
        .seed = seed,
        .commands = 1000 + below(&random, 4000),
        .keys = keys[below(&random, LKS_COUNT_OF(keys))],
        .accesses_max = 1 + below(&random, below(&random, 2) == 0 ? 1 : LKS_ACCESS_MAX),
        .write_percent = writes[below(&random, LKS_COUNT_OF(writes))],
        .all_permille = below(&random, 3) == 0 ? below(&random, 20) : 0,
        .hot_percent = below(&random, 3) == 0 ? below(&random, 100) : 0,
        .by_class = below(&random, 3) == 0,
        .burn_ns_max = below(&random, 2) == 0 ? 0 : below(&random, 2000),
        .stall_permille = below(&random, 3) == 0 ? below(&random, 10) : 0,
    };
}

static void draw_command(const struct workload_options *options, uint64_t *random,
                         struct command *command)
{
    *command = (struct command){
        .count = 1 + below(random, options->accesses_max),
        .burn_ns = below(random, 4) == 0 && options->burn_ns_max > 0
                       ? below(random, options->burn_ns_max)
                       : 0,
        .stall = below(random, 1000) < options->stall_permille,
    };
    if (below(random, 100) == 0) {
        command->count = 0;
    }
    if (below(random, 1000) < options->all_permille) {
        command->count = LKS_ACCESS_ALL;
        return;
    }
    for (uint32_t i = 0; i < command->count; i++) {
        const bool hot = below(random, 100) < options->hot_percent;
        const uint32_t key = hot ? 0 : below(random, options->keys);
        uint64_t hash = key;
        command->keys[i] = key;
        command->words[i] =
            lks_access_of(options->by_class ? key : workload_random(&hash) >> 1,
                          below(random, 100) < options->write_percent);
    }
}

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    LKS_ASSERT(memory != NULL);
    return memory;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t seed = a ^ (b * UINT64_C(0x9FB21C651E98DF25) + 1);
    return workload_random(&seed);
}

/* What a command does: its reply depends on all that it names, what it writes on the reply. */
static uint64_t effect(const struct workload_options *options, const struct command *command,
                       uint64_t number, uint64_t *state)
{
    uint64_t reply = mix(number, command->count);
    const bool all = command->count == LKS_ACCESS_ALL;
    const uint32_t count = all ? options->keys : command->count;
    for (uint32_t i = 0; i < count; i++) {
        reply = mix(reply, state[all ? i : command->keys[i]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (all || lks_access_writes(command->words[i])) {
            uint64_t *value = &state[all ? i : command->keys[i]];
            *value = mix(*value, reply);
        }
    }
    return reply;
}

void workload_init(struct workload *workload, const struct workload_options *options)
{
    uint64_t random = options->seed;
    *workload = (struct workload){.options = *options};
    workload->commands = allocate(options->commands, sizeof *workload->commands);
    workload->state = allocate(options->keys, sizeof *workload->state);
    workload->state_wanted = allocate(options->keys, sizeof *workload->state);
    workload->replies = allocate(options->commands, sizeof *workload->replies);
    workload->replies_wanted = allocate(options->commands, sizeof *workload->replies);
    workload->finished = allocate(options->commands, sizeof *workload->finished);
    workload->guards = allocate(options->keys, sizeof *workload->guards);
    for (uint32_t i = 0; i < options->commands; i++) {
        draw_command(options, &random, &workload->commands[i]);
        workload->replies_wanted[i] =
            effect(options, &workload->commands[i], i, workload->state_wanted);
    }
}

void workload_fini(struct workload *workload)
{
    free(workload->commands);
    free(workload->state);
    free(workload->state_wanted);
    free(workload->replies);
    free(workload->replies_wanted);
    free(workload->guards);
    free(workload->finished);
}

/* Relaxed throughout: the guards must order nothing that the scheduler does not. */
static void enter(struct workload *workload, uint32_t key, bool write)
{
    int32_t found = 0;
    if (write ? !atomic_compare_exchange_strong_explicit(&workload->guards[key], &found, -1,
                                                         memory_order_relaxed,
                                                         memory_order_relaxed)
              : atomic_fetch_add_explicit(&workload->guards[key], 1, memory_order_relaxed) < 0) {
        atomic_fetch_add_explicit(&workload->overlaps, 1, memory_order_relaxed);
    }
}

static void leave(struct workload *workload, uint32_t key, bool write)
{
    atomic_fetch_add_explicit(&workload->guards[key], write ? 1 : -1, memory_order_relaxed);
}

/* Keys that a command names twice are entered once, as a writer if it is one. */
static void for_each_key(struct workload *workload, const struct command *command,
                         void (*visit)(struct workload *, uint32_t, bool))
{
    for (uint32_t i = 0; i < command->count; i++) {
        bool write = lks_access_writes(command->words[i]);
        bool first = true;
        for (uint32_t j = 0; j < command->count; j++) {
            const bool same = command->keys[j] == command->keys[i];
            first &= !(same && j < i);
            write |= same && lks_access_writes(command->words[j]);
        }
        if (first) {
            visit(workload, command->keys[i], write);
        }
    }
}

static void burn(uint32_t ns)
{
    const uint64_t until = lks_clock_monotonic_ns() + ns;
    while (lks_clock_monotonic_ns() < until) {
        lks_clock_relax();
    }
}

void workload_execute(void *ctx, uint32_t worker, uint64_t number)
{
    struct workload *workload = ctx;
    const struct command *command = &workload->commands[number];
    const bool all = command->count == LKS_ACCESS_ALL;
    (void)worker;
    if (!all) {
        for_each_key(workload, command, enter);
    }
    if (command->burn_ns > 0) {
        burn(command->burn_ns);
    }
    workload->replies[number] = effect(&workload->options, command, number, workload->state);
    if (command->stall) {
        (void)sched_yield();
    }
    if (!all) {
        for_each_key(workload, command, leave);
    }
    atomic_store_explicit(&workload->finished[number], true, memory_order_relaxed);
    atomic_fetch_add_explicit(&workload->executed, 1, memory_order_relaxed);
}

void workload_run(struct workload *workload, struct lks_scheduler *scheduler,
                  void (*between)(void *ctx, struct lks_scheduler *scheduler, uint32_t command),
                  void *ctx)
{
    for (uint32_t i = 0; i < workload->options.commands; i++) {
        const struct command *command = &workload->commands[i];
        if (between != NULL) {
            between(ctx, scheduler, i);
        }
        if (i % 3 != 0 && lks_scheduler_is_inline(scheduler)) {
            const uint64_t before = lks_scheduler_submitted(scheduler);
            LKS_ASSERT(lks_scheduler_applied(scheduler) == before);
            workload_execute(workload, 0, i);
            lks_scheduler_ran(scheduler, 1);
            workload->in_place++;
            continue;
        }
        uint32_t in_vain = 0;
        while (!lks_scheduler_submit(scheduler, i, command->words, command->count)) {
            in_vain++;
            LKS_ASSERT(in_vain < WAITS_IN_VAIN);
            if (between != NULL) {
                between(ctx, scheduler, i);
            }
            lks_scheduler_wait(scheduler);
        }
    }
    lks_scheduler_flush(scheduler);
}

const char *workload_not_executed(const struct workload *workload, uint64_t ticket)
{
    static char text[80];
    for (uint64_t i = ticket > 2048 ? ticket - 2048 : 0; i < ticket; i++) {
        if (!atomic_load_explicit(&workload->finished[i], memory_order_relaxed)) {
            (void)snprintf(text, sizeof text, "command %llu of %llu applied is not executed",
                           (unsigned long long)i, (unsigned long long)ticket);
            return text;
        }
    }
    return NULL;
}

const char *workload_difference(const struct workload *workload)
{
    static char text[160];
    const uint32_t executed =
        atomic_load_explicit(&workload->executed, memory_order_relaxed);
    const uint32_t overlaps =
        atomic_load_explicit(&workload->overlaps, memory_order_relaxed);
    if (executed != workload->options.commands || overlaps != 0) {
        (void)snprintf(text, sizeof text, "%u of %u commands executed, %u overlapped", executed,
                       workload->options.commands, overlaps);
        return text;
    }
    for (uint32_t i = 0; i < workload->options.commands; i++) {
        if (workload->replies[i] != workload->replies_wanted[i]) {
            (void)snprintf(text, sizeof text, "the reply of command %u is another", i);
            return text;
        }
    }
    for (uint32_t i = 0; i < workload->options.keys; i++) {
        if (workload->state[i] != workload->state_wanted[i]) {
            (void)snprintf(text, sizeof text, "the value of key %u is another", i);
            return text;
        }
    }
    return NULL;
}
