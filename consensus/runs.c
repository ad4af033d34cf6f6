/* Term runs; see runs.h. */
#include "consensus/runs.h"

#include <string.h>

#include "base/assert.h"

void lks_runs_note(struct lks_runs *runs, uint64_t term, uint64_t offset)
{
    if (runs->count > 0) {
        const struct lks_run *last = &runs->items[runs->count - 1];
        LKS_ASSERT(term >= last->term);
        LKS_ASSERT(offset >= last->first_offset);
        if (term == last->term) {
            return;
        }
    }
    if (runs->count == LKS_RUNS_MAX) {
        memmove(&runs->items[0], &runs->items[1], sizeof runs->items - sizeof runs->items[0]);
        runs->count--;
    }
    runs->items[runs->count] = (struct lks_run){.term = term, .first_offset = offset};
    runs->count++;
}

void lks_runs_cut(struct lks_runs *runs, uint64_t offset)
{
    while (runs->count > 0 && runs->items[runs->count - 1].first_offset >= offset) {
        runs->count--;
    }
}

void lks_runs_raise(struct lks_runs *runs, uint64_t base, uint64_t tail)
{
    LKS_ASSERT(base <= tail);
    uint32_t gone = 0;
    while (gone < runs->count &&
           (gone + 1 < runs->count ? runs->items[gone + 1].first_offset : tail) <= base) {
        gone++;
    }
    runs->count -= gone;
    memmove(&runs->items[0], &runs->items[gone], runs->count * sizeof runs->items[0]);
    if (runs->count > 0 && runs->items[0].first_offset < base) {
        runs->items[0].first_offset = base;
    }
}

/*
 * Whether the entry before the base stands for a run of its own, below those that are kept: not
 * if its run goes on above the base, nor if runs between the two are forgotten.
 */
static bool base_is_a_run(const struct lks_outline *log)
{
    if (log->base_term == 0 || log->count == 0) {
        return log->base_term != 0 && log->tail == log->base;
    }
    return log->runs[0].first_offset == log->base && log->runs[0].term != log->base_term;
}

static struct lks_run run_at(const struct lks_outline *log, uint32_t i)
{
    const uint32_t before = base_is_a_run(log) ? 1 : 0;
    if (i < before) {
        return (struct lks_run){.term = log->base_term, .first_offset = log->base};
    }
    return log->runs[i - before];
}

static uint32_t runs_of(const struct lks_outline *log)
{
    return log->count + (base_is_a_run(log) ? 1 : 0);
}

static uint64_t run_end(const struct lks_outline *log, uint32_t i)
{
    return i + 1 < runs_of(log) ? run_at(log, i + 1).first_offset : log->tail;
}

uint64_t lks_runs_common(const struct lks_outline *a, const struct lks_outline *b, uint64_t floor)
{
    uint32_t i = runs_of(a);
    uint32_t j = runs_of(b);
    while (i > 0 && j > 0) {
        const struct lks_run run_a = run_at(a, i - 1);
        const struct lks_run run_b = run_at(b, j - 1);
        if (run_a.term > run_b.term) {
            i--;
        } else if (run_b.term > run_a.term) {
            j--;
        } else {
            const uint64_t end_a = run_end(a, i - 1);
            const uint64_t end_b = run_end(b, j - 1);
            const uint64_t end = end_a < end_b ? end_a : end_b;
            /* The oldest run of a list may have lost its beginning below a base. Otherwise a
             * difference is impossible for two sound logs: believe only what is committed. */
            if (run_a.first_offset != run_b.first_offset && i > 1 && j > 1) {
                return floor;
            }
            return end > floor ? end : floor;
        }
    }
    return floor;
}
