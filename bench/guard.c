/* The guard of a benchmark's folder; see guard.h. */
#include "bench/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUARD_FD 3 /* in the guard's process, where it is the only one above standard error */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* The guard's whole life. It holds nothing of the benchmark's, least of all an output that somebody
 * reads to its end, and no Ctrl-C of the benchmark's terminal reaches it. */
static _Noreturn void stand_guard(int fd, const char *directory)
{
    (void)setsid();
    const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0 ||
        dup2(null_fd, STDERR_FILENO) < 0 || (fd != GUARD_FD && dup2(fd, GUARD_FD) < 0) ||
        close_range(GUARD_FD + 1, UINT_MAX, 0) != 0) {
        _exit(1);
    }
    char word;
    ssize_t got;
    do {
        got = read(GUARD_FD, &word, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 0) { /* nobody is left, and nobody dismissed the guard */
        (void)nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    _exit(0);
}

int lks_guard_start(struct lks_guard *guard, const char *directory, struct lks_error *err)
{
    int fds[2];
    guard->fd = 0;
    /* Not closed on exec: replicas hold it too, so that the folder outlives them. */
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) {
        return lks_error_set(err, -errno, "%s: no socket for its guard: %s", directory,
                             lks_error_text(-errno));
    }
    const pid_t pid = fork();
    if (pid == 0) {
        const pid_t second = fork(); /* nobody has to wait for the guard */
        if (second == 0) {
            (void)close(fds[1]);
            stand_guard(fds[0], directory);
        }
        _exit(second < 0 ? 1 : 0);
    }
    const int code = errno;
    (void)close(fds[0]);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        (void)close(fds[1]);
        return lks_error_set(err, pid < 0 ? -code : -EAGAIN, "%s: no process for its guard",
                             directory);
    }
    guard->fd = fds[1];
    return 0;
}

void lks_guard_dismiss(struct lks_guard *guard)
{
    if (guard->fd == 0) {
        return;
    }
    const char word = 0;
    /* If it fails the guard is gone, and with it the danger that it removes anything. */
    (void)send(guard->fd, &word, 1, MSG_NOSIGNAL);
    (void)close(guard->fd);
    guard->fd = 0;
}
