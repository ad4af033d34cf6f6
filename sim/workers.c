/* Workers that the seed moves; see workers.h. */
#include "sim/workers.h"

#include "sim/administrator.h"

#define STREAMS UINT64_C(0x736368000)
#define STANDING_PPM 300000u
#define CHANGES_PPM 3000u /* of the scheduler, each time workers could go on */
#define STEPS_MAX 12u /* of all workers, after a step of the replica */

void lks_sim_workers_init(struct lks_sim_workers *workers, const struct lks_sim_random *parent,
                          uint32_t replica)
{
    lks_sim_random_fork(&workers->random, parent, STREAMS + replica);
    workers->count = 0;
}

struct lks_replica_scheduler lks_sim_workers_draw(struct lks_sim_workers *workers, uint32_t most)
{
    struct lks_replica_scheduler scheduler = {.kind = LKS_SEQUENTIAL};
    workers->count = most == 0 ? 0 : (uint32_t)lks_sim_random_below(&workers->random, most + 1);
    if (workers->count > 0) {
        scheduler.kind =
            (enum lks_scheduler_kind)lks_sim_random_below(&workers->random, LKS_ADAPTIVE + 1);
        scheduler.workers = workers->count;
        scheduler.manual = true;
    }
    return scheduler;
}

/* Another scheduler, on some of the workers where that may be. */
static void change(struct lks_sim_workers *workers, struct lks_replica *replica)
{
    const enum lks_scheduler_kind kind =
        (enum lks_scheduler_kind)lks_sim_random_below(&workers->random, LKS_ADAPTIVE + 1);
    const uint32_t some = (uint32_t)lks_sim_random_below(&workers->random, workers->count + 1);
    lks_sim_administrator_schedules(replica, kind, kind == LKS_LATE ? some : 0);
}

int lks_sim_workers_step(struct lks_sim_workers *workers, struct lks_replica *replica)
{
    int work = 0;
    if (workers->count == 0) {
        return 0;
    }
    if (lks_sim_random_chance(&workers->random, CHANGES_PPM)) {
        change(workers, replica);
    }
    if (lks_sim_random_chance(&workers->random, STANDING_PPM)) {
        return 0;
    }
    for (uint64_t i = lks_sim_random_below(&workers->random, STEPS_MAX); i > 0; i--) {
        const uint64_t worker = lks_sim_random_below(&workers->random, workers->count + 1);
        work += lks_replica_work(replica, (uint32_t)worker) ? 1 : 0;
    }
    return work;
}
