/*
 * `lockstep serve`: runs one replica until SIGTERM or SIGINT. Signals arrive by a descriptor that
 * the replica's loop watches, so nothing runs inside a handler; SIGHUP and SIGPIPE are ignored.
 */
#include "base/log.h"
#include "client/cluster_options.h"
#include "client/command.h"
#include "client/named_cluster.h"
#include "client/program.h"
#include "node/daemon.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct serve_options {
    struct lks_named_cluster cluster;
    const char *log;
    uint32_t replica;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct serve_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->cluster;
        return 0;
    case 'l':
        options->log = argument;
        return 0;
    case 'i':
        options->replica =
            (uint32_t)lks_cluster_number(state, "replica", argument, 1, LKS_REPLICAS_MAX);
        return 0;
    case ARGP_KEY_END:
        if (options->replica == 0) {
            argp_error(state, "say which replica: --replica N");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Log lines go to standard error, wherever that leads. */
static int redirect_log(const char *path, struct lks_error *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        return lks_error_set(err, -errno, "--log %s: %s", path, lks_error_text(-errno));
    }
    const int copied = dup2(fd, STDERR_FILENO);
    (void)close(fd);
    return copied < 0 ? lks_error_set(err, -errno, "--log %s: %s", path, lks_error_text(-errno))
                      : 0;
}

static int open_stop_signals(struct lks_error *err)
{
    sigset_t stop;
    (void)sigemptyset(&stop);
    (void)sigaddset(&stop, SIGTERM);
    (void)sigaddset(&stop, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &stop, NULL);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    const int fd = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd
                   : lks_error_set(err, -errno, "signalfd: %s", lks_error_text(-errno));
}

/* Each client is a descriptor: take as many as the system gives. */
static void raise_descriptor_limit(const struct lks_config *config, const struct lks_log *log)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < config->connections_max + 64) {
        lks_log_warn(log,
                     "connections_max is %llu, but this process may open %llu descriptors only: "
                     "raise `ulimit -n`",
                     (unsigned long long)config->connections_max,
                     (unsigned long long)limit.rlim_max);
    }
}

static int serve(const struct serve_options *options, struct lks_error *err)
{
    struct lks_config config;
    char path[LKS_CONFIG_PATH_MAX];
    int rc = lks_cluster_load(&config, &options->cluster, path, err);
    if (rc == 0 && options->log != NULL) {
        rc = redirect_log(options->log, err);
    }
    if (rc != 0) {
        return rc;
    }
    char name[8];
    (void)snprintf(name, sizeof name, "r%u", options->replica);
    const struct lks_log log = {config.log_level, lks_log_to_stderr, name};
    const int stop_fd = open_stop_signals(err);
    if (stop_fd < 0) {
        return stop_fd;
    }
    raise_descriptor_limit(&config, &log);
    const struct lks_daemon_options daemon = {
        .config = &config,
        .replica = options->replica,
        .service = lks_program()->service,
        .is_debug = lks_program()->is_debug,
        .not_key_value = !lks_program()->key_value,
        .stop_fd = stop_fd,
        .log_sink = &log,
    };
    rc = lks_daemon_run(&daemon, err);
    (void)close(stop_fd);
    return rc;
}

int lks_serve_command(int argc, char **argv)
{
    static const struct argp_option option_table[] = {
        {"replica", 'i', "N", 0, "Which of its replicas this process is", 0},
        {"log", 'l', "FILE", 0, "Append log lines to FILE instead of standard error", 0},
        {0},
    };
    static const struct argp_child children[] = {LKS_NAMED_CLUSTER_CHILD, {0}};
    static const struct argp argp = {
        .options = option_table,
        .parser = parse,
        .children = children,
        .args_doc = "--config FILE --replica N",
        .doc = "Runs one replica in the foreground.\vSIGTERM and SIGINT end it in order: clients "
               "get their answers, a leader hands over. Exit codes: 0 ended in order; 1 failed; 2 "
               "wrong arguments or configuration; 4 this replica was removed from the cluster.",
    };
    struct serve_options options = {0};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    struct lks_error err = {0};
    const int rc = serve(&options, &err);
    if (rc != 0) {
        fprintf(stderr, "lockstep serve: %s\n", err.text);
    }
    return rc == 0               ? LKS_EXIT_OK
           : rc == -LKS_ECONFIG  ? LKS_EXIT_USAGE
           : rc == -LKS_EREMOVED ? LKS_EXIT_REMOVED
                                 : LKS_EXIT_FAILURE;
}
