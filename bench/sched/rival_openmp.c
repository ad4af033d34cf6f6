/* OpenMP tasks with `depend`, one a command; the calling thread makes them and helps. */
#include "bench/sched/rivals.h"

#include <omp.h>
#include <stdlib.h>

#define SLOTS 4096u

static char slots[SLOTS];

static void spawn(struct lks_load *load, const struct lks_load_entry *entry, uint64_t command)
{
    char *reads[LKS_ACCESS_MAX];
    char *writes[LKS_ACCESS_MAX];
    int reads_count = 0;
    int writes_count = 0;
    for (uint32_t i = 0; i < entry->count; i++) {
        char *slot = &slots[lks_access_identity(entry->words[i]) % SLOTS];
        if (lks_access_writes(entry->words[i])) {
            writes[writes_count++] = slot;
        } else {
            reads[reads_count++] = slot;
        }
    }
    if (entry->count == 1 && writes_count == 1) {
        char *slot = writes[0];
#pragma omp task depend(inout : *slot) firstprivate(load, command)
        lks_load_execute(load, (uint32_t)omp_get_thread_num(), command);
    } else if (entry->count == 1) {
        char *slot = reads[0];
#pragma omp task depend(in : *slot) firstprivate(load, command)
        lks_load_execute(load, (uint32_t)omp_get_thread_num(), command);
    } else {
#pragma omp task depend(iterator(i = 0 : reads_count), in : *reads[i])                             \
    depend(iterator(j = 0 : writes_count), inout : *writes[j]) firstprivate(load, command)
        lks_load_execute(load, (uint32_t)omp_get_thread_num(), command);
    }
}

void lks_rival_openmp(struct lks_load *load, uint32_t workers)
{
    const struct lks_load_options *options = lks_load_options_of(load);
    const struct lks_load_entry *log = lks_load_log(load);
    /* The inserting thread executes as well: one thread more than that would be one too many. */
#pragma omp parallel num_threads((int)workers)
#pragma omp single
    for (uint64_t i = 0; i < options->commands; i++) {
        spawn(load, &log[i & lks_load_mask(options)], i);
    }
}
