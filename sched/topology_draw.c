/* A plan of threads on cores as text and as a drawing; see topology.h. */
#include "sched/memory_plan.h"

#define ROW_HEIGHT 34u
#define HEAD_HEIGHT 64u
#define WIDTH_TEXT "880"

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
    (void)fprintf(to, "%u cores, %u hardware threads, %u NUMA node%s\n%-12s %6s %6s %6s  %s\n",
                  plan->cores, plan->cpus, plan->nodes, plan->nodes == 1 ? "" : "s", "thread",
                  "cpu", "core", "numa", "why");
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
    }
}

static void draw_box(FILE *to, unsigned y, const char *name, const struct lks_placement *at,
                     const char *colour)
{
    (void)fprintf(to,
                  "<rect x='10' y='%u' width='" WIDTH_TEXT "' height='28' rx='4' fill='%s' "
                  "stroke='#555'/>\n"
                  "<text x='20' y='%u'>%s</text><text x='130' y='%u'>",
                  y, at->cpu < 0 ? "#f6d5d5" : colour, y + 19, name, y + 19);
    if (at->cpu < 0) {
        (void)fprintf(to, "not pinned");
    } else {
        (void)fprintf(to, "cpu %d, core %d, numa %d", at->cpu, at->core, at->numa);
    }
    (void)fprintf(to, "</text><text x='310' y='%u'>%s</text>\n", y + 19, at->why);
}

static void draw_memory(FILE *to, unsigned y, const struct lks_memory_line *line)
{
    char nodes[LKS_MEMORY_NODES_TEXT];
    (void)fprintf(to,
                  "<rect x='10' y='%u' width='" WIDTH_TEXT "' height='28' rx='4' fill='%s' "
                  "stroke='#555'/>\n<text x='20' y='%u'>%s</text><text x='400' y='%u'>numa %s"
                  "</text><text x='520' y='%u'>%s</text>\n",
                  y, line->nodes == 0 ? "#f6d5d5" : "#f7ecc8", y + 19, line->what, y + 19,
                  lks_memory_nodes_text(line->nodes, nodes), y + 19, line->why);
}

static uint32_t memory_rows(const struct lks_topology_drawing *drawing)
{
    return drawing->memory != NULL ? drawing->memory->count : 0;
}

static unsigned height_of(const struct lks_topology_drawing *drawing)
{
    return HEAD_HEIGHT + (drawing->threads->workers + memory_rows(drawing)) * ROW_HEIGHT;
}

static void draw_one(const struct lks_topology_drawing *drawing, unsigned top, FILE *to)
{
    const struct lks_topology_plan *plan = drawing->threads;
    unsigned y = top + HEAD_HEIGHT - ROW_HEIGHT;
    (void)fprintf(to,
                  "<text x='10' y='%u'>%s: %u cores, %u hardware threads, %u NUMA node%s%s"
                  "</text>\n",
                  y - 8, drawing->title, plan->cores, plan->cpus, plan->nodes,
                  plan->nodes == 1 ? "" : "s",
                  plan->crowded ? ", too few: the core thread is not pinned" : "");
    draw_box(to, y, "core thread", &plan->dispatcher, "#cfe3f7");
    for (uint32_t w = 0; w < plan->workers; w++) {
        char name[24];
        (void)snprintf(name, sizeof name, "worker %u", w);
        y += ROW_HEIGHT;
        draw_box(to, y, name, &plan->worker[w], "#d9f0d3");
    }
    for (uint32_t i = 0; i < memory_rows(drawing); i++) {
        y += ROW_HEIGHT;
        draw_memory(to, y, &drawing->memory->line[i]);
    }
}

void lks_topology_plan_draw(const struct lks_topology_drawing *drawings, uint32_t count, FILE *to)
{
    unsigned height = 10;
    unsigned top = 0;
    for (uint32_t i = 0; i < count; i++) {
        height += height_of(&drawings[i]);
    }
    (void)fprintf(to,
                  "<svg xmlns='http://www.w3.org/2000/svg' width='900' height='%u' "
                  "font-family='sans-serif' font-size='13'>\n",
                  height);
    for (uint32_t i = 0; i < count; i++) {
        draw_one(&drawings[i], top, to);
        top += height_of(&drawings[i]);
    }
    (void)fprintf(to, "</svg>\n");
}
