/*
 * Random schedules against the core alone: many short ones, with fixed seeds and with fresh ones.
 * `test_explore FIRST COUNT` runs the seeds FIRST, FIRST + 1, ...; `test_explore SEED` runs one
 * and prints its trace.
 */
#include "tests/support/core_rig.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef LKS_SANITIZED
#define FIXED_COUNT 1500u
#define FRESH_COUNT 500u
#else
#define FIXED_COUNT 9000u
#define FRESH_COUNT 3000u
#endif
#define TRACE_BYTES ((size_t)1 << 24)

static struct rig *g_rig;
static uint64_t g_seed;
static uint64_t g_installs;
static uint64_t g_reads;
static uint64_t g_changes; /* of members, committed */
static uint64_t g_wrapped; /* schedules in which some ring was written anew */

static void on_assert(const char *message)
{
    (void)message;
    if (g_rig->trace != NULL) {
        fwrite(g_rig->trace, 1, g_rig->trace_used, stderr);
    }
    fprintf(stderr, "core rig: seed %" PRIu64 ": ", g_seed);
}

static void add_up(void)
{
    g_installs += g_rig->installs;
    g_reads += g_rig->confirmed;
    g_changes += g_rig->members.number;
    for (uint32_t n = 1; n <= g_rig->n; n++) {
        if (g_rig->nodes[n].tail.index > g_rig->slots) {
            g_wrapped++;
            return;
        }
    }
}

static void run(uint64_t first, uint64_t count)
{
    for (uint64_t seed = first; seed < first + count; seed++) {
        g_seed = seed;
        rig_explore(g_rig, seed);
        add_up();
    }
}

int main(int argc, char **argv)
{
    const struct rig_options options = {.n = 3};
    g_rig = rig_new(&options);
    lks_assert_set_hook(on_assert);
    if (argc > 1) {
        const uint64_t first = strtoull(argv[1], NULL, 10);
        if (argc == 2) {
            g_rig->trace = malloc(TRACE_BYTES);
            LKS_ASSERT(g_rig->trace != NULL);
            g_rig->trace_bytes = TRACE_BYTES;
            g_rig->trace_nodes = ~0u;
        }
        run(first, argc == 2 ? 1 : strtoull(argv[2], NULL, 10));
    } else {
        run(1, FIXED_COUNT);
        const uint64_t fresh = (uint64_t)time(NULL) << 20;
        printf("fresh seeds from %" PRIu64 "\n", fresh);
        fflush(stdout);
        run(fresh, FRESH_COUNT);
    }
    printf("%" PRIu64 " snapshots installed, %" PRIu64 " reads confirmed, %" PRIu64
           " changes of members, %" PRIu64 " schedules with rings written anew\n",
           g_installs, g_reads, g_changes, g_wrapped);
    rig_free(g_rig);
    return EXIT_SUCCESS;
}
