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

static uint64_t run_end(const struct lks_run *runs, uint32_t count, uint32_t i, uint64_t tail)
{
    return i + 1 < count ? runs[i + 1].first_offset : tail;
}

uint64_t lks_runs_common(const struct lks_run *a, uint32_t a_count, uint64_t a_tail,
                         const struct lks_run *b, uint32_t b_count, uint64_t b_tail,
                         uint64_t floor)
{
    uint32_t i = a_count;
    uint32_t j = b_count;
    while (i > 0 && j > 0) {
        const struct lks_run *run_a = &a[i - 1];
        const struct lks_run *run_b = &b[j - 1];
        if (run_a->term > run_b->term) {
            i--;
        } else if (run_b->term > run_a->term) {
            j--;
        } else {
            const uint64_t end_a = run_end(a, a_count, i - 1, a_tail);
            const uint64_t end_b = run_end(b, b_count, j - 1, b_tail);
            const uint64_t end = end_a < end_b ? end_a : end_b;
            /* The oldest run of a list may have lost its beginning below a base. Otherwise a
             * difference is impossible for two sound logs: believe only what is committed. */
            if (run_a->first_offset != run_b->first_offset && i > 1 && j > 1) {
                return floor;
            }
            return end > floor ? end : floor;
        }
    }
    return floor;
}
