/*
 * Which workers serve which classes of commands: made ahead of time from the classes' conflicts and
 * weights, for the schedulers `early` and `hybrid`.
 *
 * A class is synchronised (its commands make all of its workers meet, unless it has only one) or
 * concurrent (each command goes to one of its workers in turn). A map obeys the five rules of early
 * scheduling (Alchieri, Dotti, Pedone: Early scheduling in parallel state machine replication,
 * SoCC'18, section 4), which is what makes the order right whatever the workload:
 *   1. every class has a worker;
 *   2. a class that conflicts with itself is synchronised;
 *   3. of two classes that conflict, at least one is synchronised;
 *   4. a concurrent class that conflicts with a synchronised one has its workers within the
 * other's;
 *   5. two synchronised classes that conflict share a worker.
 * How the map is found is told in docs/scheduling.md. Any thread; a map does not change once made.
 */
#ifndef LKS_SCHED_CLASS_MAP_H
#define LKS_SCHED_CLASS_MAP_H

#include <stdbool.h>
#include <stdint.h>

#define LKS_CLASSES_MAX 16384u

struct lks_class_map;

/* What the map says of one class. */
struct lks_class_plan {
    uint64_t workers;   /* bit w: worker w serves it; never 0 */
    bool synchronised;
    uint16_t component; /* of the graph of conflicts: classes of different ones never conflict */
};

struct lks_class_load {
    uint32_t classes;      /* even: of shard s, class 2s reads and class 2s + 1 writes; 2..MAX */
    const double *weights; /* share of the load of each, >= 0; NULL: all the same */
    /* Whether classes a and b conflict; asked for a <= b. Pure. */
    bool (*conflict)(const void *ctx, uint32_t a, uint32_t b);
    const void *ctx;
};

/* Makes a map for 1..63 workers; the caller's, until _free. -EINVAL: a number out of range;
 * -ENOMEM. Time and memory grow with the square of the classes. */
int lks_class_map_solve(struct lks_class_map **map, const struct lks_class_load *load,
                        uint32_t workers);

/* The map of shards that conflict with themselves alone, reads with writes: 2 * shards classes.
 * `weights` of the shards, or NULL. Each shard has one worker. Same errors; linear. */
int lks_class_map_shards(struct lks_class_map **map, uint32_t shards, const double *weights,
                         uint32_t workers);

/* The number of the first rule that is broken, 1..5; 0: none. */
int lks_class_map_broken_rule(const struct lks_class_map *map, const struct lks_class_load *load);

int lks_class_map_copy(struct lks_class_map **map, const struct lks_class_map *from);
void lks_class_map_free(struct lks_class_map *map);

uint32_t lks_class_map_classes(const struct lks_class_map *map);
uint32_t lks_class_map_workers(const struct lks_class_map *map);
uint32_t lks_class_map_components(const struct lks_class_map *map);
const struct lks_class_plan *lks_class_map_at(const struct lks_class_map *map,
                                              uint32_t class_index);

#endif
