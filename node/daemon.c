/* One replica's process; see daemon.h. */
#include "node/daemon.h"

#include "node/assembly.h"
#include "node/client_lanes.h"
#include "node/client_port.h"
#include "node/info.h"
#include "node/loop.h"
#include "node/member_command.h"
#include "node/scheduler_command.h"
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADAPTER_PAUSE_MIN_MS 250
#define ADAPTER_PAUSE_MAX_MS 8000

struct daemon {
    const struct lks_daemon_options *options;
    struct lks_assembly assembly;
    struct lks_server *server;
    struct lks_client_port *clients; /* on the fabric; NULL: it takes none */
};

static void on_reply(void *ctx, uint64_t cookie, const void *reply, size_t bytes)
{
    struct daemon *daemon = ctx;
    if (lks_client_port_owns(cookie)) {
        lks_client_port_reply(daemon->clients, cookie, reply, bytes);
    } else {
        lks_server_reply(daemon->server, cookie, reply, bytes);
    }
}

static int submit(void *ctx, const void *command, size_t bytes, uint64_t cookie)
{
    struct daemon *daemon = ctx;
    return lks_replica_submit(daemon->assembly.replica, command, bytes, cookie);
}

static int submit_read(void *ctx, const void *command, size_t bytes, uint64_t cookie, bool ordered)
{
    struct daemon *daemon = ctx;
    return lks_replica_submit_ordered(daemon->assembly.replica, command, bytes, cookie, ordered);
}

static bool member(void *ctx, const struct lks_argument *args, size_t count, uint64_t cookie,
                   struct lks_reply *reply)
{
    const struct daemon *daemon = ctx;
    return lks_member_command(&daemon->assembly, args, count, cookie, reply);
}

static void scheduler(void *ctx, const struct lks_argument *args, size_t count,
                      struct lks_reply *reply)
{
    const struct daemon *daemon = ctx;
    lks_scheduler_command(daemon->assembly.replica, args, count, reply);
}

static void on_member_change(void *ctx, uint64_t cookie, int status, const char *text)
{
    struct daemon *daemon = ctx;
    struct lks_reply reply;
    lks_reply_init(&reply);
    lks_member_command_ended(status, text, &reply);
    lks_server_reply(daemon->server, cookie, reply.data, reply.bytes);
    lks_reply_fini(&reply);
}

static size_t info(void *ctx, const char *section, char *text, size_t bytes_max)
{
    const struct daemon *daemon = ctx;
    const size_t bytes = lks_info_text(&daemon->assembly, section, text, bytes_max);
    return daemon->clients == NULL ? bytes
                                   : bytes + lks_info_clients_text(daemon->clients, section,
                                                                   text + bytes,
                                                                   bytes_max - bytes);
}

/* Other replicas that hold durably what is answered here. The leader knows them; elsewhere only
 * what an answer implies is known: a majority, of which the leader is one. */
static uint32_t durable_followers(void *ctx)
{
    const struct daemon *daemon = ctx;
    struct lks_replica_status status;
    uint32_t count = 0;
    lks_replica_status(daemon->assembly.replica, &status);
    const uint32_t least = (uint32_t)__builtin_popcount(status.voters) / 2;
    for (uint32_t p = 1; p <= LKS_REPLICAS_MAX && status.role == LKS_ROLE_LEADER; p++) {
        const bool other = p != daemon->options->replica && status.peers[p].connected;
        count += other && status.peers[p].durable_offset >= status.applied_offset ? 1 : 0;
    }
    return count > least ? count : least;
}

static int open_server(struct daemon *daemon, struct lks_error *err)
{
    const struct lks_config *config = daemon->options->config;
    const struct lks_config_replica *replica = &config->replicas[daemon->options->replica];
    const struct lks_server_options options = {
        .address = replica->address,
        .port = replica->port,
        .connections_max = (uint32_t)config->connections_max,
        .command_bytes_max = config->entry_bytes_max,
        .debug_commands = config->debug_commands,
        .other_service = daemon->options->not_key_value ? daemon->options->service->name : NULL,
        .backend = {.submit = submit,
                    .info = info,
                    .durable_followers = durable_followers,
                    .read = submit_read,
                    .member = member,
                    .scheduler = scheduler,
                    .ctx = daemon},
        .log_sink = daemon->options->log_sink,
    };
    return lks_server_new(&daemon->server, &options, err);
}

/* Clients on the fabric, where it has lanes for them. */
static int open_client_port(struct daemon *daemon, struct lks_error *err)
{
    const struct lks_config *config = daemon->options->config;
    struct lks_lanes *lanes = NULL;
    int rc = lks_client_lanes_open(&lanes, config, daemon->options->replica,
                                   daemon->options->log_sink, err);
    if (rc != 0 || lanes == NULL) {
        return rc;
    }
    const struct lks_client_port_options options = {
        .lanes = lanes,
        .held_bytes_max = config->client_answers_bytes_max,
        .log_sink = daemon->options->log_sink,
        .backend = {.submit = submit,
                    .read = submit_read,
                    .is_read = daemon->options->service->is_read,
                    .is_forbidden = config->debug_commands ? NULL : daemon->options->is_debug,
                    .ctx = daemon},
    };
    rc = lks_client_port_new(&daemon->clients, &options, err);
    if (rc != 0) {
        lks_lanes_free(lanes);
    }
    return rc;
}

static void pid_path(const struct lks_daemon_options *options, char *path, size_t bytes)
{
    (void)snprintf(path, bytes, "%s/r%u.pid", options->config->directory, options->replica);
}

static int write_pid(const struct lks_daemon_options *options, struct lks_error *err)
{
    char path[LKS_CONFIG_PATH_MAX + 16];
    pid_path(options, path, sizeof path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return lks_error_set(err, -errno, "%s: cannot write the process id: %s", path,
                             lks_error_text(-errno));
    }
    const int printed = dprintf(fd, "%ld\n", (long)getpid());
    (void)close(fd);
    if (printed < 0) {
        (void)unlink(path);
        return lks_error_set(err, -EIO, "%s: cannot write the process id", path);
    }
    return 0;
}

static void log_start(const struct daemon *daemon)
{
    const struct lks_daemon_options *options = daemon->options;
    const struct lks_config_replica *replica = &options->config->replicas[options->replica];
    const struct lks_medium *medium = lks_journal_medium(daemon->assembly.journal);
    struct lks_identity identity;
    lks_journal_identity(daemon->assembly.journal, &identity);
    lks_log_info(options->log_sink, "replica %u in cluster %s, clients at %s:%u, pid %ld",
                 options->replica, options->config->name,
                 replica->address, replica->port, (long)getpid());
    lks_log_info(options->log_sink, "journal %s: medium %s (%s), incarnation %" PRIu64 "%s%s",
                 replica->journal, lks_medium_name(medium->kind), medium->reason,
                 identity.incarnation, identity.clean_stop ? ", stopped in order before" : "",
                 identity.amnesiac ? ", may have forgotten acknowledged commands" : "");
    lks_log_info(options->log_sink, "durability %s: %s",
                 lks_durability_name(daemon->assembly.durability.durability),
                 daemon->assembly.durability.reason);
}

/* All other threads are there, and keep to where they are. */
static void pin_core_thread(const struct daemon *daemon)
{
    const int cpu = daemon->assembly.core_cpu;
    cpu_set_t set;
    if (cpu < 0) {
        return;
    }
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    const int rc = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (rc != 0) {
        lks_log_warn(daemon->options->log_sink, "the core thread is not pinned to cpu %d: %s", cpu,
                     lks_error_text(-rc));
    } else {
        lks_log_info(daemon->options->log_sink, "the core thread runs on cpu %d", cpu);
    }
}

static int run_loop(struct daemon *daemon, struct lks_error *err)
{
    const struct lks_config *config = daemon->options->config;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const struct lks_loop_options options = {
        .replica = daemon->assembly.replica,
        .fabric = daemon->assembly.fabric,
        .server = daemon->server,
        .clients = daemon->clients,
        .flusher = daemon->assembly.flusher,
        .snapshot_flusher = daemon->assembly.snapshot_flusher,
        .stop_fd = daemon->options->stop_fd,
        .spin_ns = lks_config_spin_ns(config, cores > 0 ? (unsigned)cores : 1),
        .busy_poll = config->busy_poll,
    };
    return lks_loop_run(&options, err);
}

/*
 * An adapter may appear late, after a boot or when its driver is loaded: wait for it, with growing
 * pauses, before the journal's next life begins. 0: it is there; -ECANCELED: asked to stop.
 */
static int wait_for_adapter(const struct lks_daemon_options *options, struct lks_error *err)
{
    int pause_ms = ADAPTER_PAUSE_MIN_MS;
    for (;;) {
        struct lks_durability_adapter adapter;
        const int rc = lks_assembly_find_adapter(options->config, options->replica, &adapter, err);
        if (rc != -ENODEV) {
            return rc;
        }
        lks_log_warn(options->log_sink, "%.400s; looking again in %d ms", err->text, pause_ms);
        struct pollfd stop = {.fd = options->stop_fd, .events = POLLIN};
        if (poll(&stop, 1, pause_ms) > 0) {
            return -ECANCELED;
        }
        pause_ms = 2 * pause_ms < ADAPTER_PAUSE_MAX_MS ? 2 * pause_ms : ADAPTER_PAUSE_MAX_MS;
    }
}

int lks_daemon_run(const struct lks_daemon_options *options, struct lks_error *err)
{
    struct daemon daemon = {.options = options};
    const struct lks_assembly_options assembly = {
        .config = options->config,
        .replica = options->replica,
        .service = options->service,
        .shared_process = options->shared_process,
        .log_sink = options->log_sink,
        .on_reply = on_reply,
        .on_member_change = on_member_change,
        .ctx = &daemon,
    };
    const bool known = options->replica >= 1 && options->replica <= options->config->replicas_count;
    int rc = known && options->config->fabric == LKS_CONFIG_FABRIC_RDMA
                 ? wait_for_adapter(options, err)
                 : 0;
    if (rc == -ECANCELED) {
        return 0;
    }
    if (rc == 0) {
        rc = lks_assembly_init(&daemon.assembly, &assembly, err);
    }
    if (rc != 0) {
        return rc;
    }
    rc = open_server(&daemon, err);
    if (rc != 0) {
        goto end_assembly;
    }
    rc = open_client_port(&daemon, err);
    if (rc == 0) {
        rc = write_pid(options, err);
    }
    if (rc != 0) {
        goto end_server;
    }
    log_start(&daemon);
    pin_core_thread(&daemon);
    rc = run_loop(&daemon, err);
    lks_log_info(options->log_sink, rc == 0               ? "ended in order"
                                    : rc == -LKS_EREMOVED ? "no member any more: ended"
                                                          : "cannot go on");
    char path[LKS_CONFIG_PATH_MAX + 16];
    pid_path(options, path, sizeof path);
    (void)unlink(path);

end_server:
    lks_client_port_free(daemon.clients);
    lks_server_free(daemon.server);
end_assembly:
    lks_assembly_fini(&daemon.assembly, rc == 0 || rc == -LKS_EREMOVED);
    return rc;
}
