/* The replica processes that `local` starts; see processes.h. */
#include "client/processes.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* In the child, between fork and exec. Its parent is the main thread, which lives as long as the
 * process: the death signal cannot come early. */
static void become_replica(const char *config, uint32_t replica, int log_fd, pid_t parent)
{
    char number[16];
    (void)snprintf(number, sizeof number, "%u", replica);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(1);
    }
    (void)setpgid(0, 0);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGINT, SIG_DFL);
    const int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0) {
        _exit(1);
    }
    if (null_fd > STDERR_FILENO) {
        (void)close(null_fd);
    }
    (void)execl("/proc/self/exe", "lockstep", "serve", "--config", config, "--replica", number,
                (char *)NULL);
    _exit(1);
}

int lks_process_start(struct lks_process *process, const char *config, uint32_t replica,
                      const char *log, struct lks_error *err)
{
    const int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) {
        return lks_error_set(err, -errno, "%s: %s", log, lks_error_text(-errno));
    }
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
        become_replica(config, replica, log_fd, parent);
    }
    const int code = -errno;
    (void)close(log_fd);
    if (pid < 0) {
        return lks_error_set(err, code, "cannot start replica %u: %s", replica,
                             lks_error_text(code));
    }
    *process = (struct lks_process){.pid = pid};
    return 0;
}

void lks_process_check(struct lks_process *process)
{
    if (process->pid > 0 && !process->ended &&
        waitpid(process->pid, &process->status, WNOHANG) == process->pid) {
        process->ended = true;
    }
}

bool lks_process_stop(struct lks_process *process, uint64_t wait_ns)
{
    if (process->pid <= 0 || process->ended) {
        return true;
    }
    (void)kill(process->pid, SIGTERM);
    const uint64_t deadline_ns = lks_clock_monotonic_ns() + wait_ns;
    for (;;) {
        lks_process_check(process);
        if (process->ended) {
            return WIFEXITED(process->status) && WEXITSTATUS(process->status) == 0;
        }
        if (lks_clock_monotonic_ns() >= deadline_ns) {
            break;
        }
        const struct timespec pause = {.tv_nsec = (long)(2 * LKS_NS_PER_MS)};
        (void)nanosleep(&pause, NULL);
    }
    (void)kill(process->pid, SIGKILL);
    if (waitpid(process->pid, &process->status, 0) == process->pid) {
        process->ended = true;
    }
    return false;
}

bool lks_process_exited_with(const struct lks_process *process, int code)
{
    return process->ended && WIFEXITED(process->status) && WEXITSTATUS(process->status) == code;
}

const char *lks_process_end_text(const struct lks_process *process, char *text, size_t bytes)
{
    if (WIFSIGNALED(process->status)) {
        const int number = WTERMSIG(process->status);
        (void)snprintf(text, bytes, "was killed by signal %d (%s)", number, strsignal(number));
    } else {
        (void)snprintf(text, bytes, "exited with code %d", WEXITSTATUS(process->status));
    }
    return text;
}
