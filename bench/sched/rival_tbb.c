/* The C side of the comparison with oneTBB: rival_tbb.cpp sees no header of ours. */
#include "bench/sched/rival_tbb.h"

#include "bench/sched/rivals.h"

#include <string.h>

void lks_rival_tbb_read(const struct lks_load *load, uint64_t command, struct lks_tbb_command *to)
{
    const struct lks_load_entry *entry =
        &lks_load_log(load)[command & lks_load_mask(lks_load_options_of(load))];
    _Static_assert(sizeof to->words == sizeof entry->words, "as many words in C++ as here");
    to->count = entry->count;
    memcpy(to->words, entry->words, sizeof to->words);
}

void lks_rival_tbb(struct lks_load *load, uint32_t workers)
{
    lks_rival_tbb_run(load, workers, lks_load_options_of(load)->commands);
}
