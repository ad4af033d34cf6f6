/* Reads without entries; see reads.h. */
#include "sim/checkers/reads.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What had happened up to a moment, over all calls whose answers had come by then. */
struct returned {
    uint64_t return_ns;
    uint64_t index;      /* the greatest that one of them has in the log */
    uint64_t state_ns;   /* the newest state that one of them was answered from ... */
    uint32_t number;     /* ... and which one that was */
};

/* All calls of a history by their returns, and by the times of their calls, which is the order that
 * they are in already: so that each read finds its bounds by halves. */
struct times {
    const struct lks_sim_history *history;
    struct returned *returned;
    uint32_t returned_count;
    uint64_t *least_from; /* by number: least index of it and all later ones, or UINT64_MAX */
};

static int by_return(const void *a, const void *b)
{
    const struct returned *left = a;
    const struct returned *right = b;
    return (left->return_ns > right->return_ns) - (left->return_ns < right->return_ns);
}

static void times_init(struct times *times, const struct lks_sim_history *history,
                       const uint64_t *index_of)
{
    const size_t count = (size_t)history->count + 2;
    *times = (struct times){.history = history,
                            .returned = calloc(count, sizeof *times->returned),
                            .least_from = calloc(count, sizeof *times->least_from)};
    LKS_ASSERT(times->returned != NULL);
    LKS_ASSERT(times->least_from != NULL);
    times->least_from[history->count + 1] = UINT64_MAX;
    for (uint32_t number = history->count; number > 0; number--) {
        const struct lks_sim_call *call = &history->calls[number];
        const uint64_t index = index_of[number];
        const uint64_t later = times->least_from[number + 1];
        times->least_from[number] = index != 0 && index < later ? index : later;
        if (call->answer.known) {
            times->returned[times->returned_count++] =
                (struct returned){.return_ns = call->return_ns,
                                  .index = index,
                                  .state_ns = call->state_ns,
                                  .number = number};
        }
    }
    struct returned *returned = times->returned;
    qsort(returned, times->returned_count, sizeof *returned, by_return);
    for (uint32_t i = 1; i < times->returned_count; i++) {
        const struct returned *before = &returned[i - 1];
        returned[i].index = before->index > returned[i].index ? before->index : returned[i].index;
        if (before->state_ns > returned[i].state_ns) {
            returned[i].state_ns = before->state_ns;
            returned[i].number = before->number;
        }
    }
}

static void times_fini(struct times *times)
{
    free(times->returned);
    free(times->least_from);
}

/* All that had returned before this moment; NULL: nothing had. */
static const struct returned *returned_before(const struct times *times, uint64_t moment_ns)
{
    uint32_t low = 0; /* those below it had */
    uint32_t high = times->returned_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (times->returned[middle].return_ns < moment_ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? &times->returned[low - 1] : NULL;
}

/* Number of the first call after this moment; the one behind the last if there is none. */
static uint32_t called_after(const struct times *times, uint64_t moment_ns)
{
    uint32_t low = 1; /* those below it were not */
    uint32_t high = times->history->count + 1;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (times->history->calls[middle].call_ns > moment_ns) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* A connection's calls take effect in their order, whenever they return. */
static void set_bounds_of_connections(struct lks_sim_reads *reads, const uint64_t *index_of)
{
    const struct lks_sim_history *history = reads->history;
    uint32_t connections = 0;
    for (uint32_t number = 1; number <= history->count; number++) {
        const uint32_t connection = history->calls[number].connection;
        connections = connection > connections ? connection : connections;
    }
    uint64_t *index = calloc((size_t)connections + 1, sizeof *index);
    LKS_ASSERT(index != NULL);
    uint32_t next = 0;
    for (uint32_t number = 1; number <= history->count; number++) {
        const uint32_t connection = history->calls[number].connection;
        if (next < reads->count && reads->reads[next].number == number) {
            struct lks_sim_read *read = &reads->reads[next++];
            read->after = index[connection] > read->after ? index[connection] : read->after;
        } else if (connection != 0 && index_of[number] > index[connection]) {
            index[connection] = index_of[number];
        }
    }
    memset(index, 0, ((size_t)connections + 1) * sizeof *index);
    for (uint32_t number = history->count; number > 0; number--) {
        const uint32_t connection = history->calls[number].connection;
        if (next > 0 && reads->reads[next - 1].number == number) {
            struct lks_sim_read *read = &reads->reads[--next];
            const uint64_t later = index[connection];
            read->before = later != 0 && later < read->before ? later : read->before;
        } else if (connection != 0 && index_of[number] != 0 &&
                   (index[connection] == 0 || index_of[number] < index[connection])) {
            index[connection] = index_of[number];
        }
    }
    free(index);
}

static void set_bounds(const struct lks_sim_reads *reads, struct lks_sim_read *read,
                       const struct times *times)
{
    const struct lks_sim_call *call = &reads->history->calls[read->number];
    const struct returned *returned = returned_before(times, call->call_ns);
    read->after = returned != NULL ? returned->index : 0;
    read->before = times->least_from[called_after(times, call->return_ns)];
    if (returned != NULL && call->state_ns != 0 && returned->state_ns > call->state_ns) {
        lks_sim_verdict_break(reads->verdict, "linearizability",
                              "read %" PRIu32 " saw time %" PRIu64 " ns of the log; read %"
                              PRIu32 ", which had returned before, %" PRIu64 " ns",
                              read->number, call->state_ns, returned->number,
                              returned->state_ns);
    }
}

void lks_sim_reads_init(struct lks_sim_reads *reads, const struct lks_sim_history *history,
                        const uint64_t *index_of, struct lks_sim_verdict *verdict)
{
    *reads = (struct lks_sim_reads){.verdict = verdict, .history = history};
    reads->reads = calloc((size_t)history->count + 1, sizeof *reads->reads);
    LKS_ASSERT(reads->reads != NULL);
    struct times times;
    times_init(&times, history, index_of);
    for (uint32_t number = 1; number <= history->count; number++) {
        const struct lks_sim_call *call = &history->calls[number];
        if (call->answer.known && index_of[number] == 0 &&
            lks_sim_operation_is_read(&call->operation)) {
            struct lks_sim_read *read = &reads->reads[reads->count++];
            read->number = number;
            set_bounds(reads, read, &times);
        }
    }
    times_fini(&times);
    set_bounds_of_connections(reads, index_of);
}

void lks_sim_reads_fini(struct lks_sim_reads *reads)
{
    free(reads->reads);
    *reads = (struct lks_sim_reads){0};
}

/* Every read that had returned before this one was called has its place. */
static bool others_are_placed(const struct lks_sim_reads *reads, uint32_t place)
{
    const struct lks_sim_call *calls = reads->history->calls;
    const uint64_t call_ns = calls[reads->reads[place].number].call_ns;
    for (uint32_t i = reads->first; i < place; i++) {
        if (!reads->reads[i].placed && calls[reads->reads[i].number].return_ns < call_ns) {
            return false;
        }
    }
    return true;
}

static bool fits(struct lks_sim_model *model, const struct lks_sim_call *call,
                 const struct lks_sim_gap *gap)
{
    struct lks_sim_answer expected;
    if (call->state_ns != 0 && (call->state_ns < gap->from_ns || call->state_ns > gap->to_ns)) {
        return false;
    }
    lks_sim_model_apply(model, &call->operation, call->state_ns, &expected);
    return expected.type == call->answer.type && expected.hash == call->answer.hash;
}

void lks_sim_reads_place(struct lks_sim_reads *reads, struct lks_sim_model *model,
                         const struct lks_sim_gap *gap)
{
    for (uint32_t i = reads->first; i < reads->count; i++) {
        struct lks_sim_read *read = &reads->reads[i];
        const struct lks_sim_call *call = &reads->history->calls[read->number];
        if (read->placed || read->after > gap->index) {
            continue;
        }
        if (others_are_placed(reads, i) && fits(model, call, gap)) {
            read->placed = true;
            reads->verdict->checks++;
        } else if (gap->next >= read->before || gap->next == UINT64_MAX) {
            char words[64];
            lks_sim_operation_print(&call->operation, words, sizeof words);
            lks_sim_verdict_break(reads->verdict, "linearizability",
                                  "read %" PRIu32 ", %s, called at %.6f ms, was answered with %s: "
                                  "no state from entry %" PRIu64 " to entry %" PRIu64 " gives that",
                                  read->number, words, (double)call->call_ns / 1e6,
                                  call->answer.text, read->after, gap->index);
            read->placed = true;
        }
    }
    while (reads->first < reads->count && reads->reads[reads->first].placed) {
        reads->first++;
    }
}
