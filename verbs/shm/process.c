/* Process identity by pid and start time; see process.h. */
#include "verbs/shm/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/assert.h"

#define STAT_BYTES_MAX 1024
#define STAT_STATE 3       /* numbers of fields as in proc(5) */
#define STAT_START_TIME 22

/* Reads a small file of /proc into text, with a NUL behind it. */
static int read_small(const char *path, char *text, size_t bytes_max)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    const ssize_t length = read(fd, text, bytes_max - 1);
    const int code = length < 0 ? -errno : 0;
    (void)close(fd);
    if (code == 0) {
        text[length] = '\0';
    }
    return code;
}

/* State and start time of a pid; -ESRCH if there is no such process. */
static int read_stat(uint32_t pid, char *state, uint64_t *start_time)
{
    char path[32];
    char text[STAT_BYTES_MAX];
    (void)snprintf(path, sizeof path, "/proc/%u/stat", pid);
    const int code = read_small(path, text, sizeof text);
    if (code != 0) {
        return code == -ENOENT ? -ESRCH : code;
    }
    /* The name (field 2) may hold anything, blanks and parentheses too: count from its end. */
    const char *p = strrchr(text, ')');
    for (int field = 2; p != NULL && field < STAT_START_TIME; field++) {
        p = strchr(p + 1, ' ');
        if (p != NULL && field + 1 == STAT_STATE) {
            *state = p[1];
        }
    }
    if (p == NULL) {
        return -EBADMSG;
    }
    *start_time = strtoull(p + 1, NULL, 10);
    return 0;
}

int lks_shm_process_self(struct lks_shm_process *process)
{
    char state;
    uint64_t start_time;
    const int code = read_stat((uint32_t)getpid(), &state, &start_time);
    if (code == 0) {
        process->pid = (uint32_t)getpid();
        process->start_time = start_time;
    }
    return code;
}

int lks_shm_process_open(const struct lks_shm_process *process, int *pidfd)
{
    if (process->pid == 0 || process->pid > INT32_MAX) {
        return -ESRCH;
    }
    const int fd = pidfd_open((pid_t)process->pid, 0);
    if (fd < 0) {
        return -errno;
    }
    /* The pidfd holds one process; only now is it certain which one the start time belongs to:
     * read before, both could be of different processes under the same pid. */
    char state;
    uint64_t start_time = 0;
    int code = read_stat(process->pid, &state, &start_time);
    if (code == 0 && start_time != process->start_time) {
        code = -ESRCH;
    }
    if (code != 0) {
        (void)close(fd);
        return code;
    }
    *pidfd = fd;
    return 0;
}

bool lks_shm_process_ended(int pidfd)
{
    /* Not the state Z of /proc/PID/stat: there the main thread alone may have ended. A pidfd gets
     * readable after the last thread has. */
    struct pollfd wanted = {.fd = pidfd, .events = POLLIN};
    const int ready = poll(&wanted, 1, 0);
    return ready == 1 && (wanted.revents & POLLIN) != 0;
}

bool lks_shm_process_stopped(uint32_t pid)
{
    char state = ' ';
    uint64_t start_time;
    return read_stat(pid, &state, &start_time) == 0 && (state == 'T' || state == 't');
}

bool lks_shm_process_waits(uint32_t pid)
{
    char state = ' ';
    uint64_t start_time;
    return read_stat(pid, &state, &start_time) == 0 && (state == 'R' || state == 'D');
}

int lks_shm_process_of_pidfd(int pidfd, uint32_t *pid)
{
    char path[48];
    char text[STAT_BYTES_MAX];
    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    const int code = read_small(path, text, sizeof text);
    if (code != 0) {
        return code;
    }
    const char *line = strstr(text, "\nPid:");
    const long value = line != NULL ? strtol(line + 5, NULL, 10) : 0;
    if (value <= 0 || value > INT32_MAX) {
        return -EBADF;
    }
    *pid = (uint32_t)value;
    return 0;
}

int lks_shm_boot_id(uint8_t boot_id[16])
{
    char text[64];
    const int code = read_small("/proc/sys/kernel/random/boot_id", text, sizeof text);
    if (code != 0) {
        return code;
    }
    unsigned digits = 0;
    uint8_t id[16] = {0};
    for (const char *p = text; *p != '\0' && *p != '\n'; p++) {
        if (*p == '-') {
            continue;
        }
        const char *const hex = "0123456789abcdef";
        const char *digit = strchr(hex, *p);
        if (digit == NULL || digits == 32) {
            return -EBADMSG;
        }
        id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | (uint8_t)(digit - hex));
        digits++;
    }
    if (digits != 32) {
        return -EBADMSG;
    }
    memcpy(boot_id, id, sizeof id);
    return 0;
}
