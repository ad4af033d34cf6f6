/* Reads without entries; see reads.h. */
#include "sim/checkers/reads.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdlib.h>

/* By the times of calls: history->calls is in their order already. The bounds of one read. */
static void set_bounds(const struct lks_sim_reads *reads, struct lks_sim_read *read,
                       const uint64_t *index_of)
{
    const struct lks_sim_history *history = reads->history;
    const struct lks_sim_call *call = &history->calls[read->number];
    read->before = UINT64_MAX;
    for (uint32_t number = 1; number <= history->count; number++) {
        const struct lks_sim_call *other = &history->calls[number];
        const uint64_t index = index_of[number];
        if (other->answer.known && other->return_ns < call->call_ns &&
            other->state_ns > call->state_ns && call->state_ns != 0) {
            lks_sim_verdict_break(reads->verdict, "linearizability",
                                  "read %" PRIu32 " saw time %" PRIu64 " ns of the log; read %"
                                  PRIu32 ", which had returned before, %" PRIu64 " ns",
                                  read->number, call->state_ns, number, other->state_ns);
        }
        if (index == 0) {
            continue;
        }
        if (other->answer.known && other->return_ns < call->call_ns && index > read->after) {
            read->after = index;
        }
        if (other->call_ns > call->return_ns && index < read->before) {
            read->before = index;
        }
    }
}

void lks_sim_reads_init(struct lks_sim_reads *reads, const struct lks_sim_history *history,
                        const uint64_t *index_of, struct lks_sim_verdict *verdict)
{
    *reads = (struct lks_sim_reads){.verdict = verdict, .history = history};
    reads->reads = calloc((size_t)history->count + 1, sizeof *reads->reads);
    LKS_ASSERT(reads->reads != NULL);
    for (uint32_t number = 1; number <= history->count; number++) {
        const struct lks_sim_call *call = &history->calls[number];
        if (call->answer.known && index_of[number] == 0 &&
            lks_sim_operation_is_read(&call->operation)) {
            struct lks_sim_read *read = &reads->reads[reads->count++];
            read->number = number;
            set_bounds(reads, read, index_of);
        }
    }
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
