/*
 * `lockstep local`: a whole cluster on this machine, one process a replica, in the foreground.
 * Makes what is missing, starts all, says when they serve, and on Ctrl-C or SIGTERM stops all in
 * order: followers first, the leader last, so that no election is held on the way out. A replica
 * that dies is reported; the others go on. Signals are read from a descriptor, main thread only.
 */
#include "base/clock.h"
#include "client/cluster_files.h"
#include "client/command.h"
#include "client/processes.h"
#include "client/survey.h"

#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ASK_TIMEOUT_NS (200 * LKS_NS_PER_MS)
#define READY_MAX_NS (20 * LKS_NS_PER_S) /* from the start until all serve, and besides: */
#define READY_MAX_TIMEOUTS 100u          /* election timeouts */
#define STOP_MAX_NS (6 * LKS_NS_PER_S)   /* for one replica; a little more than it takes itself */

struct local {
    struct lks_cluster_options options;
    char directory[LKS_CONFIG_PATH_MAX];
    char config_path[LKS_CONFIG_PATH_MAX];
    struct lks_config config;
    struct lks_process processes[LKS_REPLICAS_MAX + 1]; /* by id */
    struct lks_survey survey;
    int signal_fd;
    bool made; /* configuration and journals are new */
    uint32_t left_out; /* replicas that were removed from the cluster, as a mask */
};

/* ---- files -------------------------------------------------------------------------------- */

/* A fresh folder in memory; falls back to /tmp where there is none. */
static int fresh_directory(struct local *local, struct lks_error *err)
{
    const char *parents[] = {"/dev/shm", getenv("XDG_RUNTIME_DIR"), "/tmp"};
    for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++) {
        if (parents[i] == NULL || access(parents[i], W_OK) != 0) {
            continue;
        }
        (void)snprintf(local->directory, sizeof local->directory, "%s/lockstep-XXXXXX",
                       parents[i]);
        if (mkdtemp(local->directory) != NULL) {
            return 0;
        }
    }
    return lks_error_set(err, -errno, "no folder for the cluster: %s; name one with --dir D",
                         lks_error_text(-errno));
}

static int choose_directory(struct local *local, struct lks_error *err)
{
    if (local->options.directory == NULL) {
        return fresh_directory(local, err);
    }
    const int rc = lks_cluster_make_directory(local->options.directory, err);
    if (rc != 0) {
        return rc;
    }
    if (realpath(local->options.directory, local->directory) == NULL) {
        return lks_error_set(err, -errno, "%s: %s", local->options.directory,
                             lks_error_text(-errno));
    }
    return 0;
}

/* Options that an existing configuration contradicts are refused, not ignored. */
static int check_options(const struct local *local, struct lks_error *err)
{
    const struct lks_cluster_options *options = &local->options;
    const struct lks_config *config = &local->config;
    const char *name = NULL;
    if (options->replicas != 0 && options->replicas != config->replicas_count) {
        name = "--replicas";
    } else if (options->port != 0 && options->port != config->replicas[1].port) {
        name = "--port";
    } else if (options->ring_bytes != 0 && options->ring_bytes != config->ring_bytes) {
        name = "--ring";
    } else if (options->durability_given && options->durability != config->durability) {
        name = "--durability";
    } else if (options->fabric_given && options->fabric != config->fabric) {
        name = "--fabric";
    } else if (options->rdma_address != NULL &&
               strcmp(options->rdma_address, config->replicas[1].rdma_address) != 0) {
        name = "--rdma";
    } else if (options->election_timeout_ns != 0 &&
               options->election_timeout_ns != config->election_timeout_ns) {
        name = "--election-timeout";
    }
    if (name == NULL) {
        return 0;
    }
    return lks_error_set(err, -LKS_ECONFIG,
                         "%s differs from %s, which is there already: leave the option out, edit "
                         "that file, or name another folder with --dir",
                         name, local->config_path);
}

static int prepare_files(struct local *local, struct lks_error *err)
{
    int rc = choose_directory(local, err);
    if (rc == 0) {
        rc = lks_cluster_config_path(local->directory, local->config_path, err);
    }
    if (rc != 0) {
        return rc;
    }
    if (access(local->config_path, F_OK) == 0) {
        rc = lks_config_load(&local->config, local->config_path, err);
        return rc == 0 ? check_options(local, err) : rc;
    }
    local->made = true;
    local->options.directory = local->directory;
    return lks_cluster_new_config(&local->config, &local->options, local->config_path, err);
}

/* A new cluster gets journals; an old one must have its own. */
static int prepare_journals(struct local *local, struct lks_error *err)
{
    if (local->made) {
        const int rc = lks_cluster_create_replicas(&local->config, err);
        if (rc != 0) {
            (void)unlink(local->config_path);
        }
        return rc;
    }
    for (uint32_t id = 1; id <= local->config.replicas_count; id++) {
        const char *path = local->config.replicas[id].journal;
        if (access(path, F_OK) != 0) {
            return lks_error_set(err, -ENOENT,
                                 "journal %s is missing: `lockstep init %s --replica %u` creates "
                                 "it anew, to be filled by the others; if the cluster never ran, "
                                 "`lockstep init %s`",
                                 path, local->config_path, id, local->config_path);
        }
        struct lks_error removed;
        if (lks_cluster_check_journal(&local->config, id, &removed) == -LKS_EREMOVED) {
            printf("replica %u was removed from the cluster: not started\n", id);
            local->left_out |= 1u << id;
        }
    }
    return 0;
}

static int check_port(const struct lks_config_replica *replica, struct lks_error *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(replica->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(replica->port)};
    const bool is_v6 = inet_pton(AF_INET6, replica->address, &v6.sin6_addr) == 1;
    (void)inet_pton(AF_INET, replica->address, &v4.sin_addr);
    const int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return lks_error_set(err, -errno, "socket: %s", lks_error_text(-errno));
    }
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const int bound = is_v6 ? bind(fd, (const struct sockaddr *)&v6, sizeof v6)
                            : bind(fd, (const struct sockaddr *)&v4, sizeof v4);
    const int code = bound != 0 ? -errno : listen(fd, 1) != 0 ? -errno : 0;
    (void)close(fd);
    if (code == -EADDRINUSE) {
        return lks_error_set(err, code, "port %u is in use: stop what listens there, or choose "
                             "another first port with --port", replica->port);
    }
    return code == 0 ? 0
                     : lks_error_set(err, code, "%s:%u: %s", replica->address, replica->port,
                                     lks_error_text(code));
}

static int prepare(struct local *local, struct lks_error *err)
{
    int rc = prepare_files(local, err);
    for (uint32_t id = 1; rc == 0 && id <= local->config.replicas_count; id++) {
        rc = check_port(&local->config.replicas[id], err);
        if (rc != 0 && local->made) {
            (void)unlink(local->config_path);
        }
    }
    return rc == 0 ? prepare_journals(local, err) : rc;
}

/* ---- processes ---------------------------------------------------------------------------- */

static int open_signals(struct lks_error *err)
{
    sigset_t watched;
    (void)sigemptyset(&watched);
    (void)sigaddset(&watched, SIGINT);
    (void)sigaddset(&watched, SIGTERM);
    (void)sigaddset(&watched, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &watched, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    const int fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : lks_error_set(err, -errno, "signalfd: %s", lks_error_text(-errno));
}

/* Takes the pid file of an ended process away, unless another process has its name in it. */
static void remove_pid_file(const struct local *local, uint32_t id)
{
    char path[LKS_CONFIG_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/r%u.pid", local->config.directory, id);
    FILE *file = fopen(path, "re");
    long pid = 0;
    if (file == NULL) {
        return;
    }
    const bool same = fscanf(file, "%ld", &pid) == 1 && pid == (long)local->processes[id].pid;
    (void)fclose(file);
    if (same) {
        (void)unlink(path);
    }
}

static void report_end(const struct local *local, uint32_t id)
{
    char text[96];
    const struct lks_process *process = &local->processes[id];
    if (lks_process_exited_with(process, LKS_EXIT_REMOVED)) {
        printf("replica %u (pid %ld) was removed from the cluster and has ended; its files stay\n",
               id, (long)process->pid);
        (void)fflush(stdout);
        return;
    }
    printf("replica %u (pid %ld) %s; the others go on. Its log: %s/r%u.log\n"
           "  start it again: lockstep serve --config %s --replica %u\n",
           id, (long)process->pid, lks_process_end_text(process, text, sizeof text),
           local->directory, id, local->config_path, id);
    (void)fflush(stdout);
}

/* Notes which processes have ended; returns how many are left. */
static uint32_t check_processes(struct local *local, bool report)
{
    uint32_t left = 0;
    for (uint32_t id = 1; id <= local->config.replicas_count; id++) {
        struct lks_process *process = &local->processes[id];
        if (process->pid == 0 || process->ended) {
            continue;
        }
        lks_process_check(process);
        if (!process->ended) {
            left++;
            continue;
        }
        remove_pid_file(local, id);
        if (report) {
            report_end(local, id);
        }
    }
    return left;
}

static int start_all(struct local *local, struct lks_error *err)
{
    for (uint32_t id = 1; id <= local->config.replicas_count; id++) {
        char log[LKS_CONFIG_PATH_MAX + 16];
        if ((local->left_out >> id & 1u) != 0) {
            continue;
        }
        (void)snprintf(log, sizeof log, "%s/r%u.log", local->directory, id);
        const int rc = lks_process_start(&local->processes[id], local->config_path, id, log, err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* True if a signal asks for the end. Empties the descriptor. */
static bool stop_is_asked(const struct local *local)
{
    struct signalfd_siginfo signal_info;
    bool stop = false;
    while (read(local->signal_fd, &signal_info, sizeof signal_info) ==
           (ssize_t)sizeof signal_info) {
        stop = stop || signal_info.ssi_signo != SIGCHLD;
    }
    return stop;
}

/* 0: all serve. 1: the end was asked for. Negative: err says why it cannot be. */
static int wait_ready(struct local *local, struct lks_error *err)
{
    const uint64_t most_ns =
        READY_MAX_NS + READY_MAX_TIMEOUTS * local->config.election_timeout_ns;
    const uint64_t deadline_ns = lks_clock_monotonic_ns() + most_ns;
    const uint32_t count =
        local->config.replicas_count - (uint32_t)__builtin_popcount(local->left_out);
    while (lks_clock_monotonic_ns() < deadline_ns) {
        if (stop_is_asked(local)) {
            return 1;
        }
        if (check_processes(local, true) < count) {
            return lks_error_set(err, -ECHILD, "not every replica came up: see the logs in %s",
                                 local->directory);
        }
        lks_survey_take(&local->survey, &local->config, ASK_TIMEOUT_NS);
        if (local->survey.leader != 0 && local->survey.followers == count &&
            local->survey.serving == count) {
            return 0;
        }
        const struct timespec pause = {.tv_nsec = (long)(20 * LKS_NS_PER_MS)};
        (void)nanosleep(&pause, NULL);
    }
    return lks_error_set(err, -ETIMEDOUT,
                         "not all replicas serve after %llu s: see the logs in %s",
                         (unsigned long long)(most_ns / LKS_NS_PER_S), local->directory);
}

static void print_ready(const struct local *local)
{
    const struct lks_config *config = &local->config;
    char durability[32];
    const char *info = local->survey.replicas[local->survey.leader].info;
    (void)lks_ask_value(info, "durability", durability, sizeof durability);
    printf("cluster in %s: %u replicas, fabric %s, durability %s\n", local->directory,
           config->replicas_count, lks_config_fabric_name(config->fabric), durability);
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        if (local->processes[id].pid == 0) {
            continue;
        }
        printf("replica %u: pid %ld, %s:%u%s\n", id, (long)local->processes[id].pid,
               config->replicas[id].address, config->replicas[id].port,
               id == local->survey.leader ? ", leader" : "");
    }
    printf("ready: redis-cli -p %u\n"
           "Ctrl-C stops all; logs and pids are in the folder; `lockstep status --dir %s` and "
           "`lockstep local --dir %s` work on it\n",
           config->replicas[1].port, local->directory, local->directory);
    (void)fflush(stdout);
}

static bool stop_one(struct local *local, uint32_t id)
{
    struct lks_process *process = &local->processes[id];
    if (process->pid == 0 || process->ended) {
        return true;
    }
    const bool in_order = lks_process_stop(process, STOP_MAX_NS);
    remove_pid_file(local, id);
    if (!in_order) {
        char text[96];
        printf("replica %u did not end in order: it %s\n", id,
               lks_process_end_text(process, text, sizeof text));
    }
    return in_order;
}

static bool stop_all(struct local *local)
{
    bool in_order = true;
    (void)check_processes(local, false);
    lks_survey_take(&local->survey, &local->config, ASK_TIMEOUT_NS);
    for (uint32_t id = 1; id <= local->config.replicas_count; id++) {
        if (id != local->survey.leader) {
            in_order = stop_one(local, id) && in_order;
        }
    }
    if (local->survey.leader != 0) {
        in_order = stop_one(local, local->survey.leader) && in_order;
    }
    return in_order;
}

/* Until the end is asked for (0), or no replica is left. */
static int watch(struct local *local, struct lks_error *err)
{
    for (;;) {
        struct pollfd watched = {.fd = local->signal_fd, .events = POLLIN};
        (void)poll(&watched, 1, -1);
        if (stop_is_asked(local)) {
            return 0;
        }
        if (check_processes(local, true) == 0) {
            return lks_error_set(err, -ECHILD, "no replica is left; the data is in %s",
                                 local->directory);
        }
    }
}

static int run(struct local *local, struct lks_error *err)
{
    int rc = prepare(local, err);
    if (rc != 0) {
        if (local->made) {
            (void)rmdir(local->directory); /* only if nothing is in it */
        }
        return rc;
    }
    local->signal_fd = open_signals(err);
    if (local->signal_fd < 0) {
        return local->signal_fd;
    }
    rc = start_all(local, err);
    if (rc == 0) {
        rc = wait_ready(local, err);
    }
    if (rc == 0) {
        print_ready(local);
        rc = watch(local, err);
    }
    const bool in_order = stop_all(local);
    (void)close(local->signal_fd);
    if (rc < 0) {
        return rc;
    }
    printf("stopped; the data is in %s\n", local->directory);
    return in_order ? 0
                    : lks_error_set(err, -ECHILD, "not every replica ended in order: see the logs "
                                    "in %s", local->directory);
}

/* ---- the command -------------------------------------------------------------------------- */

static error_t parse(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = state->input;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

int lks_local_cluster_command(int argc, char **argv)
{
    static const struct argp_child children[] = {{&lks_cluster_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .parser = parse,
        .doc = "Runs a whole cluster on this machine, one process a replica, in the foreground; "
               "Ctrl-C stops all.\vWithout --dir it makes a fresh folder in /dev/shm, which a "
               "restart of the machine empties. D/rN.pid and D/rN.log belong to replica N. Exit "
               "codes: 0 stopped in order; 1 failed; 2 wrong arguments or configuration.",
        .children = children,
    };
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL) {
        fprintf(stderr, "lockstep local: out of memory\n");
        return LKS_EXIT_FAILURE;
    }
    (void)argp_parse(&argp, argc, argv, 0, NULL, &local->options);
    struct lks_error err = {0};
    const int rc = run(local, &err);
    if (rc != 0) {
        fprintf(stderr, "lockstep local: %s\n", err.text);
    }
    free(local);
    return rc == 0 ? LKS_EXIT_OK : rc == -LKS_ECONFIG ? LKS_EXIT_USAGE : LKS_EXIT_FAILURE;
}
