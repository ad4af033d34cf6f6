/* The floor of a measurement: see rivals.h. */
#include "bench/sched/rivals.h"

#include <pthread.h>
#include <stdlib.h>

struct part {
    const struct lks_load *load;
    uint64_t first;
    uint64_t step;
    uint64_t result;
    pthread_t thread;
};

static void *burn(void *argument)
{
    struct part *part = argument;
    uint64_t result = 0;
    const uint64_t commands = lks_load_options_of(part->load)->commands;
    for (uint64_t i = part->first; i < commands; i += part->step) {
        result += lks_load_burn(part->load, i);
    }
    part->result = result;
    return NULL;
}

void lks_rival_floor(struct lks_load *load, uint32_t workers)
{
    struct part parts[LKS_WORKERS_MAX];
    for (uint32_t i = 0; i < workers; i++) {
        parts[i] = (struct part){.load = load, .first = i, .step = workers};
        if (pthread_create(&parts[i].thread, NULL, burn, &parts[i]) != 0) {
            abort();
        }
    }
    for (uint32_t i = 0; i < workers; i++) {
        (void)pthread_join(parts[i].thread, NULL);
    }
}
