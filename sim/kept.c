/* Kept seeds; see kept.h. */
#include "sim/kept.h"

#include "sim/profile.h"
#include "verbs/fabric.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The name as the table of profiles holds it; NULL: there is none. */
static const char *find_profile(const char *wanted)
{
    const char *name = NULL;
    const char *purpose = NULL;
    for (uint32_t i = 0; lks_sim_profile_list(i, &name, &purpose); i++) {
        if (strcmp(name, wanted) == 0) {
            return name;
        }
    }
    return NULL;
}

/* 1: *task is filled; 0: nothing there; -EINVAL. */
static int read_line(const char *line, struct lks_sim_task *task, struct lks_error *err)
{
    char profile[32];
    char why[2];
    const size_t blank = strspn(line, " \t\r\n");
    if (line[blank] == '\0' || line[blank] == '#') {
        return 0;
    }
    const int fields = sscanf(line, "%" SCNu64 " %31s %" SCNu32 " %1s", &task->seed, profile,
                              &task->replicas, why);
    if (fields != 4) {
        return lks_error_set(err, -EINVAL, "expected SEED PROFILE REPLICAS WHY, found: %.60s",
                             line);
    }
    if (task->replicas < 1 || task->replicas > LKS_REPLICAS_MAX) {
        return lks_error_set(err, -EINVAL, "%" PRIu32 " replicas: 1 to %u are possible",
                             task->replicas, LKS_REPLICAS_MAX);
    }
    task->profile = find_profile(profile);
    if (task->profile == NULL) {
        return lks_error_set(err, -EINVAL, "no profile %s: `--profile list` shows all", profile);
    }
    return 1;
}

static int add(struct lks_sim_task **tasks, uint64_t *count, const struct lks_sim_task *task)
{
    struct lks_sim_task *grown = realloc(*tasks, (*count + 1) * sizeof *grown);
    if (grown == NULL) {
        return -ENOMEM;
    }
    grown[*count] = *task;
    *tasks = grown;
    (*count)++;
    return 0;
}

int lks_sim_kept_read(const char *path, struct lks_sim_task **tasks, uint64_t *count,
                      struct lks_error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return lks_error_set(err, -errno, "%s: %s", path, strerror(errno));
    }
    struct lks_sim_task *read = NULL;
    uint64_t found = 0;
    char line[512];
    int status = 0;
    for (uint32_t number = 1; status >= 0 && fgets(line, sizeof line, file) != NULL; number++) {
        struct lks_sim_task task = {0};
        struct lks_error wrong = {0};
        status = read_line(line, &task, &wrong);
        if (status > 0) {
            status = add(&read, &found, &task);
        } else if (status < 0) {
            (void)lks_error_set(err, status, "%s line %" PRIu32 ": %.300s", path, number,
                                wrong.text);
        }
    }
    (void)fclose(file);
    if (status < 0) {
        free(read);
        return status;
    }
    *tasks = read;
    *count = found;
    return 0;
}
