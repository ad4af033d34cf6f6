/*
 * Making maps of classes to workers; see class_map.h and docs/scheduling.md. Runs before a replica
 * serves. Every map that leaves here obeys the five rules; lks_class_map_solve asserts it.
 */
#include "sched/class_map.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS_MOST 63u
/* A meeting of workers costs about as much as this many commands of the class that calls it. */
#define MEETING_COST 1.0

struct lks_class_map {
    uint32_t classes;
    uint32_t workers;
    uint32_t components;
    struct lks_class_plan plan[];
};

/* What solving keeps of each component. */
struct component {
    double concurrent; /* weight of its concurrent classes */
    double synchronised;
    uint64_t workers;
};

struct solving {
    const struct lks_class_load *load;
    struct lks_class_map *map;
    struct component *components;
    uint32_t *order; /* components, the heaviest first; also the stack of a search */
    double loads[WORKERS_MOST];
};

static double weight_of(const struct lks_class_load *load, uint32_t class_index)
{
    return load->weights != NULL ? load->weights[class_index] : 1.0;
}

static bool conflict_of(const struct lks_class_load *load, uint32_t a, uint32_t b)
{
    return a <= b ? load->conflict(load->ctx, a, b) : load->conflict(load->ctx, b, a);
}

static int map_new(struct lks_class_map **map, uint32_t classes, uint32_t workers)
{
    if (classes < 2 || classes % 2 != 0 || classes > LKS_CLASSES_MAX || workers < 1 ||
        workers > WORKERS_MOST) {
        return -EINVAL;
    }
    struct lks_class_map *made = calloc(1, sizeof *made + classes * sizeof made->plan[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->classes = classes;
    made->workers = workers;
    *map = made;
    return 0;
}

/* Step 1: the components of the graph of conflicts. */
static void find_components(struct solving *s)
{
    struct lks_class_map *map = s->map;
    for (uint32_t i = 0; i < map->classes; i++) {
        map->plan[i].component = UINT16_MAX;
    }
    for (uint32_t i = 0; i < map->classes; i++) {
        if (map->plan[i].component != UINT16_MAX) {
            continue;
        }
        const uint16_t number = (uint16_t)map->components++;
        uint32_t depth = 0;
        map->plan[i].component = number;
        s->order[depth++] = i;
        while (depth > 0) {
            const uint32_t from = s->order[--depth];
            for (uint32_t to = 0; to < map->classes; to++) {
                if (map->plan[to].component == UINT16_MAX && conflict_of(s->load, from, to)) {
                    map->plan[to].component = number;
                    s->order[depth++] = to;
                }
            }
        }
    }
}

/* Step 2: which classes are synchronised. Of two concurrent ones that conflict, the lighter. */
static void choose_synchronised(struct solving *s)
{
    struct lks_class_plan *plan = s->map->plan;
    for (uint32_t i = 0; i < s->map->classes; i++) {
        plan[i].synchronised = conflict_of(s->load, i, i); /* rule 2 */
    }
    for (uint32_t a = 0; a < s->map->classes; a++) {
        for (uint32_t b = a + 1; b < s->map->classes && !plan[a].synchronised; b++) {
            if (!plan[b].synchronised && conflict_of(s->load, a, b)) { /* rule 3 */
                const bool lighter = weight_of(s->load, a) < weight_of(s->load, b);
                plan[lighter ? a : b].synchronised = true;
            }
        }
    }
}

static void weigh_components(struct solving *s)
{
    for (uint32_t i = 0; i < s->map->classes; i++) {
        struct component *of = &s->components[s->map->plan[i].component];
        if (s->map->plan[i].synchronised) {
            of->synchronised += weight_of(s->load, i);
        } else {
            of->concurrent += weight_of(s->load, i);
        }
    }
}

/* Step 3: how many workers a component is worth: the number at which its own time is shortest, a
 * meeting costing as much as a command; never more than its share of the load, rounded up. */
static uint32_t workers_worth(const struct component *of, double total, uint32_t workers)
{
    const double share = (of->concurrent + of->synchronised) / total * (double)workers;
    uint32_t best = 1;
    double best_time = of->concurrent + of->synchronised;
    for (uint32_t k = 2; k <= workers && (double)k < share + 1.0; k++) {
        const double time =
            of->concurrent / (double)k + of->synchronised * (1.0 + MEETING_COST);
        if (time < best_time) {
            best = k;
            best_time = time;
        }
    }
    return best;
}

static uint32_t least_loaded(const struct solving *s, uint64_t except)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t w = 0; w < s->map->workers; w++) {
        if ((except >> w & 1) == 0 && (best == UINT32_MAX || s->loads[w] < s->loads[best])) {
            best = w;
        }
    }
    return best;
}

static void sort_heaviest_first(struct solving *s)
{
    const uint32_t count = s->map->components;
    for (uint32_t i = 0; i < count; i++) {
        const double weight = s->components[i].concurrent + s->components[i].synchronised;
        uint32_t at = i;
        while (at > 0) {
            const struct component *before = &s->components[s->order[at - 1]];
            if (before->concurrent + before->synchronised >= weight) {
                break;
            }
            s->order[at] = s->order[at - 1];
            at--;
        }
        s->order[at] = i;
    }
}

/* Step 4: the heaviest component first, each to the workers that have least so far. */
static void place_components(struct solving *s)
{
    double total = 0;
    for (uint32_t i = 0; i < s->map->components; i++) {
        total += s->components[i].concurrent + s->components[i].synchronised;
    }
    total = total > 0 ? total : 1;
    sort_heaviest_first(s);
    for (uint32_t i = 0; i < s->map->components; i++) {
        struct component *of = &s->components[s->order[i]];
        const uint32_t count = workers_worth(of, total, s->map->workers);
        for (uint32_t k = 0; k < count; k++) {
            of->workers |= UINT64_C(1) << least_loaded(s, of->workers);
        }
        for (uint32_t w = 0; w < s->map->workers; w++) {
            if ((of->workers >> w & 1) != 0) {
                s->loads[w] += of->concurrent / (double)count +
                               of->synchronised * (count > 1 ? 1 + MEETING_COST : 1);
            }
        }
    }
}

/* Step 5: a concurrent class has all workers of its component, so has a synchronised one that
 * conflicts with a concurrent one (rule 4); the other synchronised ones share one (rule 5). */
static void place_classes(struct solving *s)
{
    struct lks_class_plan *plan = s->map->plan;
    for (uint32_t i = 0; i < s->map->classes; i++) {
        const uint64_t all = s->components[plan[i].component].workers;
        bool meets_concurrent = !plan[i].synchronised;
        for (uint32_t j = 0; j < s->map->classes && !meets_concurrent; j++) {
            meets_concurrent = !plan[j].synchronised && conflict_of(s->load, i, j);
        }
        plan[i].workers = meets_concurrent ? all : all & -all;
    }
}

int lks_class_map_solve(struct lks_class_map **map, const struct lks_class_load *load,
                        uint32_t workers)
{
    struct solving s = {.load = load};
    int rc = map_new(&s.map, load->classes, workers);
    if (rc != 0) {
        return rc;
    }
    s.components = calloc(load->classes, sizeof *s.components);
    s.order = calloc(load->classes, sizeof *s.order);
    if (s.components == NULL || s.order == NULL) {
        rc = -ENOMEM;
        lks_class_map_free(s.map);
    } else {
        find_components(&s);
        choose_synchronised(&s);
        weigh_components(&s);
        place_components(&s);
        place_classes(&s);
        LKS_ASSERT(lks_class_map_broken_rule(s.map, load) == 0);
        *map = s.map;
    }
    free(s.components);
    free(s.order);
    return rc;
}

int lks_class_map_shards(struct lks_class_map **map, uint32_t shards, const double *weights,
                         uint32_t workers)
{
    struct lks_class_map *made = NULL;
    if (shards > LKS_CLASSES_MAX / 2) {
        return -EINVAL;
    }
    const int rc = map_new(&made, shards * 2, workers);
    if (rc != 0) {
        return rc;
    }
    double loads[WORKERS_MOST] = {0};
    made->components = shards;
    for (uint32_t shard = 0; shard < shards; shard++) {
        uint32_t best = 0;
        for (uint32_t w = 1; w < workers; w++) {
            best = loads[w] < loads[best] ? w : best;
        }
        loads[best] += weights != NULL ? weights[shard] : 1.0;
        for (uint32_t write = 0; write < 2; write++) {
            made->plan[shard * 2 + write] = (struct lks_class_plan){
                .workers = UINT64_C(1) << best,
                .synchronised = write != 0,
                .component = (uint16_t)shard,
            };
        }
    }
    *map = made;
    return 0;
}

static int broken_rule_of(const struct lks_class_plan *a, const struct lks_class_plan *b)
{
    if (!a->synchronised && !b->synchronised) {
        return 3;
    }
    if (!a->synchronised && (a->workers & ~b->workers) != 0) {
        return 4;
    }
    if (!b->synchronised && (b->workers & ~a->workers) != 0) {
        return 4;
    }
    return (a->workers & b->workers) == 0 ? 5 : 0;
}

int lks_class_map_broken_rule(const struct lks_class_map *map, const struct lks_class_load *load)
{
    for (uint32_t a = 0; a < map->classes; a++) {
        if (map->plan[a].workers == 0 || map->plan[a].workers >> map->workers != 0) {
            return 1;
        }
        if (conflict_of(load, a, a) && !map->plan[a].synchronised) {
            return 2;
        }
        for (uint32_t b = a + 1; b < map->classes; b++) {
            const int rule =
                conflict_of(load, a, b) ? broken_rule_of(&map->plan[a], &map->plan[b]) : 0;
            if (rule != 0) {
                return rule;
            }
        }
    }
    return 0;
}

int lks_class_map_copy(struct lks_class_map **map, const struct lks_class_map *from)
{
    struct lks_class_map *made = NULL;
    const int rc = map_new(&made, from->classes, from->workers);
    if (rc == 0) {
        memcpy(made, from, sizeof *from + from->classes * sizeof from->plan[0]);
        *map = made;
    }
    return rc;
}

void lks_class_map_free(struct lks_class_map *map)
{
    free(map);
}

uint32_t lks_class_map_classes(const struct lks_class_map *map)
{
    return map->classes;
}

uint32_t lks_class_map_workers(const struct lks_class_map *map)
{
    return map->workers;
}

uint32_t lks_class_map_components(const struct lks_class_map *map)
{
    return map->components;
}

const struct lks_class_plan *lks_class_map_at(const struct lks_class_map *map, uint32_t class_index)
{
    LKS_ASSERT(class_index < map->classes);
    return &map->plan[class_index];
}
