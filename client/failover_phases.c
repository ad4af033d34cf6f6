/* Where the time of a failover goes; see failover_phases.h. */
#include "client/failover_phases.h"

#include "base/assert.h"
#include "client/ask.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *const g_names[LKS_FAILOVER_PHASES] = {"detect", "fence",  "vote",
                                                         "adopt",  "commit", "answer"};

void lks_failover_round_take(struct lks_failover_round *round, const char *info, uint64_t lost_ns,
                             uint64_t answered_ns)
{
    const uint64_t ends[LKS_FAILOVER_PHASES] = {
        lks_ask_number(info, "takeover_suspected_ns"), lks_ask_number(info, "takeover_fenced_ns"),
        lks_ask_number(info, "takeover_granted_ns"),   lks_ask_number(info, "takeover_adopted_ns"),
        lks_ask_number(info, "takeover_committed_ns"), answered_ns};
    LKS_ASSERT(lost_ns <= answered_ns);
    *round = (struct lks_failover_round){.told = true, .total_ns = answered_ns - lost_ns};
    uint64_t before = lost_ns;
    for (uint32_t i = 0; i < LKS_FAILOVER_PHASES && round->told; i++) {
        round->told = ends[i] >= before && ends[i] <= answered_ns;
        round->phases_ns[i] = ends[i] - before;
        before = ends[i];
    }
    if (!round->told) {
        *round = (struct lks_failover_round){.total_ns = answered_ns - lost_ns};
    }
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t told(const struct lks_failover_round *rounds, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += rounds[i].told;
    }
    return sum;
}

static uint64_t median(const struct lks_failover_round *rounds, uint32_t count, uint32_t phase)
{
    static uint64_t values[LKS_FAILOVER_ROUNDS_MAX];
    uint32_t used = 0;
    for (uint32_t i = 0; i < count && used < LKS_FAILOVER_ROUNDS_MAX; i++) {
        if (rounds[i].told) {
            values[used] = rounds[i].phases_ns[phase];
            used++;
        }
    }
    qsort(values, used, sizeof values[0], compare);
    return used != 0 ? values[used / 2] : 0;
}

void lks_failover_print_text(FILE *file, const struct lks_failover_round *rounds, uint32_t count)
{
    fprintf(file, "  medians of %u:", told(rounds, count));
    for (uint32_t phase = 0; phase < LKS_FAILOVER_PHASES; phase++) {
        fprintf(file, "%s %s %.3f ms", phase != 0 ? "," : "", g_names[phase],
                (double)median(rounds, count, phase) / 1e6);
    }
    fputc('\n', file);
}

static void print_list(FILE *file, const struct lks_failover_round *rounds, uint32_t count,
                       uint32_t phase)
{
    const char *comma = "";
    fputc('[', file);
    for (uint32_t i = 0; i < count; i++) {
        if (rounds[i].told) {
            fprintf(file, "%s%" PRIu64, comma,
                    phase < LKS_FAILOVER_PHASES ? rounds[i].phases_ns[phase]
                                                : rounds[i].total_ns);
            comma = ",";
        }
    }
    fputc(']', file);
}

void lks_failover_print_json(FILE *file, const struct lks_failover_round *rounds, uint32_t count)
{
    for (uint32_t phase = 0; phase < LKS_FAILOVER_PHASES; phase++) {
        fprintf(file, "\"%s_ns\":%" PRIu64 ",", g_names[phase], median(rounds, count, phase));
    }
    fprintf(file, "\"rounds\":{\"total_ns\":");
    print_list(file, rounds, count, LKS_FAILOVER_PHASES);
    for (uint32_t phase = 0; phase < LKS_FAILOVER_PHASES; phase++) {
        fprintf(file, ",\"%s_ns\":", g_names[phase]);
        print_list(file, rounds, count, phase);
    }
    fprintf(file, "}");
}
