/* Prepared logs; see load.h. */
#include "bench/sched/load.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct accumulator {
    _Alignas(64) uint64_t replies;
};

/* A line of its own, as an object of a service has: neighbours do not disturb each other. */
struct object {
    _Alignas(64) uint64_t value;
};

struct lks_load {
    struct lks_load_options options;
    struct lks_load_entry *log;
    struct object *state;
    uint32_t *list; /* next element of each */
    uint64_t burn_rounds;
    struct accumulator accumulators[LKS_WORKERS_MAX + 1];
};

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        (void)fprintf(stderr, "no memory for a log of %zu bytes: take fewer commands or keys\n",
                      bytes);
        exit(2);
    }
    memset(memory, 0, bytes);
    return memory;
}

static uint64_t next_random(uint64_t *seed)
{
    uint64_t value = (*seed += UINT64_C(0x9E3779B97F4A7C15));
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

static uint64_t burn(uint64_t rounds, uint64_t value)
{
    for (uint64_t i = 0; i < rounds; i++) {
        value = value * UINT64_C(6364136223846793005) + 1442695040888963407u;
    }
    return value;
}

/* Rounds that take so long, from the fastest of some tries: the machine may be busy. */
static uint64_t calibrate(uint32_t cost_ns)
{
    const uint64_t rounds = 200000;
    uint64_t best_ns = UINT64_MAX;
    volatile uint64_t sink = 1;
    for (int i = 0; i < 25; i++) {
        const uint64_t begun_ns = lks_clock_monotonic_ns();
        sink = burn(rounds, sink);
        const uint64_t took_ns = lks_clock_monotonic_ns() - begun_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    return (uint64_t)((double)cost_ns * (double)rounds / (double)best_ns);
}

/* Ranks by the distribution function, drawn by bisection: slow, but the log is made beforehand. */
static double *zipf_table(uint32_t keys, double theta)
{
    double *table = allocate(keys * sizeof *table);
    double sum = 0;
    for (uint32_t i = 0; i < keys; i++) {
        sum += 1.0 / pow((double)(i + 1), theta);
        table[i] = sum;
    }
    return table;
}

static uint32_t draw_rank(const double *table, uint32_t keys, uint64_t *random)
{
    const double at = (double)(next_random(random) >> 11) * 0x1p-53 * table[keys - 1];
    uint32_t low = 0;
    uint32_t high = keys - 1;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (table[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint32_t draw_key(const struct lks_load_options *options, const double *zipf,
                         uint64_t *random)
{
    if (zipf != NULL) {
        return draw_rank(zipf, options->keys, random);
    }
    uint32_t key = (uint32_t)(next_random(random) % options->keys);
    /* Even shards are those of worker 0 of two. */
    const uint32_t odd = next_random(random) % 100 >= options->skew_percent;
    return options->skew_percent == 0 ? key : (key & ~1u) | odd;
}

/* Hashed, but for the lowest bit of skewed loads, by which shards are chosen. */
static uint64_t identity_of(const struct lks_load_options *options, uint32_t key)
{
    uint64_t seed = key;
    const uint64_t hash = next_random(&seed) >> 1;
    return options->skew_percent == 0 ? hash : (hash & ~UINT64_C(1)) | (key & 1);
}

static void fill_entry(const struct lks_load_options *options, const double *zipf,
                       uint64_t *random, struct lks_load_entry *entry)
{
    const bool write = next_random(random) % 100 < options->write_percent;
    const bool conflict = next_random(random) % 100 < options->conflict_percent;
    const bool several = next_random(random) % 100 < options->several_percent;
    entry->count = conflict ? 1 : several ? 2 : options->accesses;
    for (uint32_t i = 0; i < entry->count; i++) {
        const uint32_t key = conflict ? 0 : draw_key(options, zipf, random);
        entry->keys[i] = key;
        entry->words[i] = lks_access_of(options->list > 0 ? 0 : identity_of(options, key),
                                        write || conflict);
    }
}

struct lks_load *lks_load_new(const struct lks_load_options *options)
{
    struct lks_load *load = allocate(sizeof *load);
    uint64_t random = 42;
    load->options = *options;
    load->log = allocate(options->log_entries * sizeof *load->log);
    load->state = allocate(options->keys * sizeof *load->state);
    load->burn_rounds = options->cost_ns > 0 ? calibrate(options->cost_ns) : 0;
    double *zipf = options->zipf > 0 ? zipf_table(options->keys, options->zipf) : NULL;
    for (uint32_t i = 0; i < options->log_entries; i++) {
        fill_entry(options, zipf, &random, &load->log[i]);
    }
    free(zipf);
    if (options->list > 0) { /* one cycle through all elements, in random order */
        load->list = allocate(options->list * sizeof *load->list);
        for (uint32_t i = 0; i < options->list; i++) {
            load->list[i] = i;
        }
        for (uint32_t i = options->list - 1; i > 0; i--) {
            const uint32_t j = (uint32_t)(next_random(&random) % i);
            const uint32_t kept = load->list[i];
            load->list[i] = load->list[j];
            load->list[j] = kept;
        }
    }
    return load;
}

void lks_load_free(struct lks_load *load)
{
    free(load->log);
    free(load->state);
    free(load->list);
    free(load);
}

const struct lks_load_options *lks_load_options_of(const struct lks_load *load)
{
    return &load->options;
}

const struct lks_load_entry *lks_load_log(const struct lks_load *load)
{
    return load->log;
}

void lks_load_execute(void *ctx, uint32_t worker, uint64_t command)
{
    struct lks_load *load = ctx;
    const struct lks_load_entry *entry = &load->log[command & lks_load_mask(&load->options)];
    uint64_t reply = command;
    for (uint32_t i = 0; i < entry->count; i++) {
        reply = reply * 31 + load->state[entry->keys[i]].value;
    }
    if (load->burn_rounds > 0) {
        reply = burn(load->burn_rounds, reply);
    }
    uint32_t element = 0;
    for (uint32_t i = 0; i < load->options.list; i++) {
        element = load->list[element];
    }
    reply += element;
    for (uint32_t i = 0; i < entry->count; i++) {
        if (lks_access_writes(entry->words[i])) {
            load->state[entry->keys[i]].value += reply;
        }
    }
    load->accumulators[worker].replies += reply * UINT64_C(0x9E3779B97F4A7C15);
}

uint64_t lks_load_burn(const struct lks_load *load, uint64_t command)
{
    uint64_t value = burn(load->burn_rounds, command);
    uint32_t element = 0;
    for (uint32_t i = 0; i < load->options.list; i++) {
        element = load->list[element];
    }
    return value + element;
}

void lks_load_reset(struct lks_load *load)
{
    memset(load->state, 0, load->options.keys * sizeof *load->state);
    memset(load->accumulators, 0, sizeof load->accumulators);
}

uint64_t lks_load_digest(const struct lks_load *load)
{
    uint64_t digest = 0;
    for (uint32_t i = 0; i <= LKS_WORKERS_MAX; i++) {
        digest += load->accumulators[i].replies;
    }
    for (uint32_t i = 0; i < load->options.keys; i++) {
        digest = digest * 31 + load->state[i].value;
    }
    return digest;
}
