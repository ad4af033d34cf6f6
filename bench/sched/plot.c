/* Figures by gnuplot; see plot.h. */
#include "bench/sched/plot.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define POINTS_MAX 1024u

extern char **environ;

struct point {
    const struct lks_suite_row *row;
    const struct lks_contestant *contestant;
    double at;
    double per_second;
};

struct lks_plots {
    char directory[512];
    uint32_t count;
    struct point points[POINTS_MAX];
};

/* 0: it ran and said that all was well. */
static int gnuplot(const char *argument)
{
    static char name[] = "gnuplot";
    char file[600];
    (void)snprintf(file, sizeof file, "%s", argument);
    char *const command[] = {name, file, NULL};
    pid_t child = 0;
    int status = 0;
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return -1;
    }
    /* What it says on standard output is not for ours. */
    int rc = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    if (rc == 0) {
        rc = posix_spawnp(&child, command[0], &actions, NULL, command, environ);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

struct lks_plots *lks_plots_new(const char *directory)
{
    struct lks_plots *plots = calloc(1, sizeof *plots);
    if (plots == NULL || strlen(directory) >= sizeof plots->directory - 64) {
        (void)fprintf(stderr, "--plots %s: no memory, or the name is too long\n", directory);
        exit(2);
    }
    (void)snprintf(plots->directory, sizeof plots->directory, "%s", directory);
    struct stat found;
    if (mkdir(directory, 0777) != 0 &&
        (errno != EEXIST || stat(directory, &found) != 0 || !S_ISDIR(found.st_mode))) {
        (void)fprintf(stderr, "--plots %s: the folder cannot be made: %s\n", directory,
                      strerror(errno));
        exit(2);
    }
    if (gnuplot("--version") != 0) {
        (void)fprintf(stderr, "--plots %s: gnuplot cannot be run: install gnuplot-nox\n",
                      directory);
        exit(2);
    }
    return plots;
}

void lks_plots_add(struct lks_plots *plots, const struct lks_suite_row *row, double at,
                   const struct lks_contestant *contestant, double ns_per_command)
{
    if (plots == NULL || row->axis == NULL) {
        return;
    }
    LKS_ASSERT(plots->count < POINTS_MAX);
    plots->points[plots->count++] = (struct point){row, contestant, at, 1e9 / ns_per_command};
}

static void write_lines(FILE *to, const struct lks_plots *plots, const struct lks_suite_row *row,
                        const struct lks_contestant *of)
{
    (void)fprintf(to, "$data%d << EOD\n", (int)(of - lks_contestants));
    for (uint32_t i = 0; i < plots->count; i++) {
        const struct point *point = &plots->points[i];
        if (point->row == row && point->contestant == of) {
            (void)fprintf(to, "%g %.0f\n", point->at, point->per_second);
        }
    }
    (void)fprintf(to, "EOD\n");
}

/* The script of a row's figure; false: it could not be written. */
static bool write_script(const struct lks_plots *plots, const struct lks_suite_row *row,
                         const char *script, const char *figure)
{
    FILE *to = fopen(script, "w");
    if (to == NULL) {
        (void)fprintf(stderr, "%s: cannot be written: %s\n", script, strerror(errno));
        return false;
    }
    const bool wide = row->knob == LKS_KNOB_COST || row->knob == LKS_KNOB_LIST;
    for (const struct lks_contestant *c = lks_contestants; c->name != NULL; c++) {
        if (lks_suite_has(row, c->name)) {
            write_lines(to, plots, row, c);
        }
    }
    (void)fprintf(to,
                  "set terminal svg size 720,480 dynamic background rgb 'white' font 'sans,13'\n"
                  "set output '%s'\nset title '%s'\nset xlabel '%s'\n"
                  "set ylabel 'commands a second'\nset format y '%%.1s%%c'\n"
                  "set key below\nset grid\n%s",
                  figure, row->group, row->axis,
                  wide ? "set logscale xy\n" : "set yrange [0:*]\n");
    const char *before = "plot";
    for (const struct lks_contestant *c = lks_contestants; c->name != NULL; c++) {
        if (lks_suite_has(row, c->name)) {
            const bool ours = strcmp(c->origin, "ours") == 0;
            (void)fprintf(to, "%s $data%d using 1:2 with linespoints lw %d dt %d title '%s (%s)'",
                          before, (int)(c - lks_contestants), ours ? 2 : 1, ours ? 1 : 2, c->name,
                          c->origin);
            before = ", \\\n  ";
        }
    }
    (void)fprintf(to, "\n");
    return fclose(to) == 0;
}

uint32_t lks_plots_draw(struct lks_plots *plots)
{
    uint32_t failed = 0;
    for (const struct lks_suite_row *row = lks_suite; row->group != NULL; row++) {
        bool any = false;
        for (uint32_t i = 0; i < plots->count; i++) {
            any |= plots->points[i].row == row;
        }
        if (!any) {
            continue;
        }
        char script[600];
        char figure[600];
        (void)snprintf(script, sizeof script, "%s/%s.gp", plots->directory, row->group);
        (void)snprintf(figure, sizeof figure, "%s/%s.svg", plots->directory, row->group);
        if (!write_script(plots, row, script, figure) || gnuplot(script) != 0) {
            (void)fprintf(stderr, "%s: not drawn; gnuplot was given %s\n", figure, script);
            failed++;
        }
    }
    free(plots);
    return failed;
}
