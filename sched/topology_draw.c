/* A plan of threads on cores as text and as a drawing; see topology.h. */
#include "sched/topology.h"

#define ROW_HEIGHT 34u
#define HEAD_HEIGHT 64u

static void print_line(FILE *to, const char *name, const struct lks_placement *at)
{
    if (at->cpu < 0) {
        (void)fprintf(to, "%-12s %6s %6s %6s  %s\n", name, "-", "-", "-", at->why);
    } else {
        (void)fprintf(to, "%-12s %6d %6d %6d  %s\n", name, at->cpu, at->core, at->numa, at->why);
    }
}

void lks_topology_plan_print(const struct lks_topology_plan *plan, FILE *to)
{
    (void)fprintf(to, "%u cores, %u hardware threads\n%-12s %6s %6s %6s  %s\n", plan->cores,
                  plan->cpus, "thread", "cpu", "core", "numa", "why");
    print_line(to, "core thread", &plan->dispatcher);
    for (uint32_t w = 0; w < plan->workers; w++) {
        char name[24];
        (void)snprintf(name, sizeof name, "worker %u", w);
        print_line(to, name, &plan->worker[w]);
    }
    if (plan->crowded) {
        (void)fprintf(to,
                      "warning: %u hardware threads for %u threads of %u replicas: they take "
                      "turns, and the core thread is\nnot pinned; fewer workers, or the scheduler "
                      "`adaptive`, may be faster\n",
                      plan->cpus, (plan->workers + 1) * plan->places, plan->places);
    } else if (plan->workers == 0) {
        (void)fprintf(to, "without workers the core thread is not pinned\n");
    }
}

static void draw_box(FILE *to, unsigned y, const char *name, const struct lks_placement *at,
                     const char *colour)
{
    (void)fprintf(to,
                  "<rect x='10' y='%u' width='720' height='28' rx='4' fill='%s' stroke='#555'/>\n"
                  "<text x='20' y='%u'>%s</text><text x='130' y='%u'>",
                  y, at->cpu < 0 ? "#f6d5d5" : colour, y + 19, name, y + 19);
    if (at->cpu < 0) {
        (void)fprintf(to, "not pinned");
    } else {
        (void)fprintf(to, "cpu %d, core %d, numa %d", at->cpu, at->core, at->numa);
    }
    (void)fprintf(to, "</text><text x='310' y='%u'>%s</text>\n", y + 19, at->why);
}

/* Returns the height that it took. */
static unsigned draw_one(const struct lks_topology_plan *plan, const char *title, unsigned top,
                         FILE *to)
{
    unsigned y = top + HEAD_HEIGHT - ROW_HEIGHT;
    (void)fprintf(to, "<text x='10' y='%u'>%s: %u cores, %u hardware threads%s</text>\n", y - 8,
                  title, plan->cores, plan->cpus,
                  plan->crowded ? ", too few: the core thread is not pinned" : "");
    draw_box(to, y, "core thread", &plan->dispatcher, "#cfe3f7");
    for (uint32_t w = 0; w < plan->workers; w++) {
        char name[24];
        (void)snprintf(name, sizeof name, "worker %u", w);
        y += ROW_HEIGHT;
        draw_box(to, y, name, &plan->worker[w], "#d9f0d3");
    }
    return HEAD_HEIGHT + plan->workers * ROW_HEIGHT;
}

void lks_topology_plan_draw(const struct lks_topology_plan *plans, const char *const *titles,
                            uint32_t count, FILE *to)
{
    unsigned height = 10;
    unsigned top = 0;
    for (uint32_t i = 0; i < count; i++) {
        height += HEAD_HEIGHT + plans[i].workers * ROW_HEIGHT;
    }
    (void)fprintf(to,
                  "<svg xmlns='http://www.w3.org/2000/svg' width='740' height='%u' "
                  "font-family='sans-serif' font-size='13'>\n",
                  height);
    for (uint32_t i = 0; i < count; i++) {
        top += draw_one(&plans[i], titles[i], top, to);
    }
    (void)fprintf(to, "</svg>\n");
}
