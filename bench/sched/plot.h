/*
 * Figures of a suite's groups, as in the papers: commands a second over one parameter, a line for
 * each scheduler. gnuplot draws; what it was told is kept beside the figure.
 */
#ifndef LKS_BENCH_SCHED_PLOT_H
#define LKS_BENCH_SCHED_PLOT_H

#include "bench/sched/suite.h"

struct lks_plots;

/* Figures go to `directory`, which is made if it is not there. Ends the process, with a sentence,
 * if it cannot be made or gnuplot is not installed. Freed by lks_plots_draw. */
struct lks_plots *lks_plots_new(const char *directory);

/* A point of the figure of its row's group; rows without an axis have none. */
void lks_plots_add(struct lks_plots *plots, const struct lks_suite_row *row, double at,
                   const struct lks_contestant *contestant, double ns_per_command);

/* Writes DIRECTORY/GROUP.gp and GROUP.svg of each group. Returns how many could not be drawn. */
uint32_t lks_plots_draw(struct lks_plots *plots);

#endif
