/* Real replica processes for tests; see the header. */
#include "tests/support/process_cluster.h"

#include "base/clock.h"
#include "tests/support/scratch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 24
#define POLL_US 2000
#define LOG_TAIL_BYTES 3000
#define STOP_TIMEOUT_MS 10000
#define PORTS_FIRST 20000
#define PORTS_RANGE 10000
#define PATH_BYTES 320
#define PATIENCE_OVER_RDMA 6u
#define REMOVED_CODE 4 /* of a replica that is no member any more */

const char *lks_process_cluster_binary(void)
{
    const char *binary = getenv("LOCKSTEP");
    return binary != NULL ? binary : LKS_TEST_BINARY;
}

/* In the child: its output, and its end with the test's. Never returns. */
static _Noreturn void become(const char *const *arguments, const char *out_path,
                             const char *error_path)
{
    const char *argv[ARGUMENTS_MAX + 2] = {lks_process_cluster_binary()};
    for (int i = 0; i < ARGUMENTS_MAX && arguments[i] != NULL; i++) {
        argv[i + 1] = arguments[i];
    }
    int flags = O_WRONLY | O_CREAT | O_APPEND;
    int out = open(out_path[0] != '\0' ? out_path : "/dev/null", flags, 0600);
    int error = open(error_path[0] != '\0' ? error_path : "/dev/null", flags, 0600);
    int in = open("/dev/null", O_RDONLY);
    if (out < 0 || error < 0 || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
        dup2(error, 2) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        _exit(126);
    }
    union {
        const char **in;
        char *const *out;
    } argv_cast = {.in = argv};
    execv(argv[0], argv_cast.out);
    _exit(127);
}

pid_t lks_process_launch(const char *const *arguments, const char *out_path,
                         const char *error_path)
{
    pid_t pid = fork();
    if (pid == 0) {
        become(arguments, out_path, error_path);
    }
    return pid;
}

int lks_process_run(const char *const *arguments, const char *out_path, const char *error_path)
{
    pid_t pid = lks_process_launch(arguments, out_path, error_path);
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        return -1;
    }
    return WEXITSTATUS(status);
}

int lks_process_await(pid_t pid, uint32_t timeout_ms)
{
    const uint64_t end_ns = lks_clock_monotonic_ns() + timeout_ms * LKS_NS_PER_MS;
    int status;
    while (waitpid(pid, &status, WNOHANG) != pid) {
        if (lks_clock_monotonic_ns() > end_ns) {
            fprintf(stderr, "process %d has not ended after %u ms\n", (int)pid, timeout_ms);
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            return -1;
        }
        usleep(POLL_US);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- making one ------------------------------------------------------------------------------ */

static bool port_is_free(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool is_free = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is_free;
}

static int find_ports(uint32_t count)
{
    int start = (int)(getpid() * 16 % PORTS_RANGE);
    for (int tries = 0; tries < PORTS_RANGE; tries += 16) {
        int first = PORTS_FIRST + (start + tries) % PORTS_RANGE;
        uint32_t is_free = 0;
        while (is_free < count && port_is_free(first + (int)is_free)) {
            is_free++;
        }
        if (is_free == count) {
            return first;
        }
    }
    return -1;
}

static int make_directory(struct lks_process_cluster *cluster, const char *parent)
{
    if (parent == NULL) {
        parent = scratch_folder();
    }
    snprintf(cluster->directory, sizeof(cluster->directory), "%s/lockstep-test.XXXXXX", parent);
    if (mkdtemp(cluster->directory) == NULL) {
        fprintf(stderr, "%s: %s\n", cluster->directory, strerror(errno));
        cluster->directory[0] = '\0';
        return -1;
    }
    return 0;
}

int lks_process_cluster_init(struct lks_process_cluster *cluster,
                             const struct lks_process_cluster_options *options)
{
    memset(cluster, 0, sizeof(*cluster));
    cluster->replicas = options->replicas;
    cluster->first_port =
        find_ports(options->spare_ports ? LKS_PROCESS_REPLICAS_MAX : options->replicas);
    if (cluster->first_port < 0) {
        fprintf(stderr, "no %u free ports\n", options->replicas);
        return -1;
    }
    cluster->rdma_address = options->rdma ? getenv("LKS_TEST_RDMA_ADDRESS") : NULL;
    if (options->rdma && cluster->rdma_address == NULL) {
        fprintf(stderr, "LKS_TEST_RDMA_ADDRESS is not set: which RDMA device?\n");
        return -1;
    }
    if (make_directory(cluster, options->parent) != 0) {
        return -1;
    }
    char count[16];
    char port[16];
    char log[PATH_BYTES];
    snprintf(count, sizeof(count), "%u", options->replicas);
    snprintf(port, sizeof(port), "%d", cluster->first_port);
    snprintf(log, sizeof(log), "%s/init.log", cluster->directory);
    const char *const arguments[] = {
        "init", "--dir", cluster->directory, "--replicas", count, "--port", port, "--ring",
        options->ring, "--durability",
        options->durability != NULL ? options->durability : "auto", "--election-timeout",
        options->election_timeout != NULL ? options->election_timeout : "25ms",
        options->rdma ? "--fabric" : NULL, "rdma", "--rdma", cluster->rdma_address, NULL};
    int rc = lks_process_run(arguments, log, log);
    if (rc != 0) {
        fprintf(stderr, "lockstep init ended with %d, see %s\n", rc, log);
        cluster->failed = true;
        return -1;
    }
    return 0;
}

static void print_tail(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return;
    }
    char text[LOG_TAIL_BYTES + 1];
    if (fseek(file, -LOG_TAIL_BYTES, SEEK_END) != 0) {
        rewind(file);
    }
    size_t bytes = fread(text, 1, LOG_TAIL_BYTES, file);
    fclose(file);
    text[bytes] = '\0';
    fprintf(stderr, "---- end of %s\n%s\n", path, text);
}

static void remove_folder(const char *directory)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", directory, (char *)NULL);
        _exit(127);
    }
    if (pid > 0) {
        waitpid(pid, NULL, 0);
    }
}

void lks_process_cluster_fini(struct lks_process_cluster *cluster)
{
    lks_process_cluster_kill_all(cluster);
    if (cluster->directory[0] == '\0') {
        return;
    }
    if (!cluster->failed) {
        remove_folder(cluster->directory);
        return;
    }
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof(path), "%s/r%u.log", cluster->directory, id);
        print_tail(path);
    }
    fprintf(stderr, "logs and journals are kept in %s\n", cluster->directory);
}

/* ---- life and death -------------------------------------------------------------------------- */

const char *lks_process_cluster_host(const struct lks_process_cluster *cluster, uint32_t replica)
{
    return cluster->hosts[replica] != NULL ? cluster->hosts[replica] : "127.0.0.1";
}

uint32_t lks_process_cluster_patience(const struct lks_process_cluster *cluster, uint32_t ms)
{
    return cluster->rdma_address != NULL ? PATIENCE_OVER_RDMA * ms : ms;
}

int lks_process_cluster_port(const struct lks_process_cluster *cluster, uint32_t replica)
{
    return cluster->first_port + (int)replica - 1;
}

int lks_process_cluster_start(struct lks_process_cluster *cluster, uint32_t replica)
{
    if (cluster->pids[replica] != 0 || cluster->hosts[replica] != NULL) {
        return 0;
    }
    char id[16];
    char config[PATH_BYTES];
    char log[PATH_BYTES];
    snprintf(id, sizeof(id), "%u", replica);
    snprintf(config, sizeof(config), "%s/cluster.yaml", cluster->directory);
    snprintf(log, sizeof(log), "%s/r%u.log", cluster->directory, replica);
    const char *const arguments[] = {"serve", "--config", config, "--replica", id, NULL};
    pid_t pid = lks_process_launch(arguments, log, log);
    if (pid < 0) {
        fprintf(stderr, "fork: %s\n", strerror(errno));
        return -1;
    }
    cluster->pids[replica] = pid;
    cluster->paused[replica] = false;
    cluster->ended_removed[replica] = false;
    return 0;
}

void lks_process_cluster_signal(struct lks_process_cluster *cluster, uint32_t replica,
                                int signal_number)
{
    if (cluster->pids[replica] != 0) {
        kill(cluster->pids[replica], signal_number);
    }
}

static void forget(struct lks_process_cluster *cluster, uint32_t replica)
{
    cluster->pids[replica] = 0;
    cluster->paused[replica] = false;
}

void lks_process_cluster_kill(struct lks_process_cluster *cluster, uint32_t replica)
{
    if (cluster->pids[replica] != 0) {
        kill(cluster->pids[replica], SIGKILL);
        waitpid(cluster->pids[replica], NULL, 0);
        forget(cluster, replica);
    }
}

void lks_process_cluster_kill_all(struct lks_process_cluster *cluster)
{
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        lks_process_cluster_signal(cluster, id, SIGKILL);
    }
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        lks_process_cluster_kill(cluster, id);
    }
}

void lks_process_cluster_pause(struct lks_process_cluster *cluster, uint32_t replica)
{
    lks_process_cluster_signal(cluster, replica, SIGSTOP);
    cluster->paused[replica] = cluster->pids[replica] != 0;
}

void lks_process_cluster_resume(struct lks_process_cluster *cluster, uint32_t replica)
{
    lks_process_cluster_signal(cluster, replica, SIGCONT);
    cluster->paused[replica] = false;
}

int lks_process_cluster_stop(struct lks_process_cluster *cluster, uint32_t replica)
{
    int status;
    pid_t pid = cluster->pids[replica];
    if (pid == 0) {
        return 0;
    }
    kill(pid, SIGTERM);
    for (int waited_us = 0; waited_us < STOP_TIMEOUT_MS * 1000; waited_us += POLL_US) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            forget(cluster, replica);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                return 0;
            }
            fprintf(stderr, "replica %u: stopped with status 0x%x\n", replica, status);
            cluster->failed = true;
            return -1;
        }
        usleep(POLL_US);
    }
    fprintf(stderr, "replica %u: still there %d ms after SIGTERM\n", replica, STOP_TIMEOUT_MS);
    cluster->failed = true;
    return -1;
}

int lks_process_cluster_reap(struct lks_process_cluster *cluster)
{
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        int status;
        if (cluster->pids[id] == 0 || waitpid(cluster->pids[id], &status, WNOHANG) == 0) {
            continue;
        }
        forget(cluster, id);
        if (cluster->away[id] && WIFEXITED(status) && WEXITSTATUS(status) == REMOVED_CODE) {
            cluster->ended_removed[id] = true;
            continue;
        }
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
            fprintf(stderr, "replica %u ended by itself, status 0x%x\n", id, status);
            cluster->failed = true;
            return -1;
        }
        cluster->deaths_by_fence++;
        if (!cluster->away[id] && lks_process_cluster_start(cluster, id) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

static redisContext *connect_to(const struct lks_process_cluster *cluster, uint32_t replica,
                                long timeout_ms)
{
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    redisContext *context =
        redisConnectWithTimeout(lks_process_cluster_host(cluster, replica),
                                lks_process_cluster_port(cluster, replica), timeout);
    if (context == NULL || context->err != 0) {
        redisFree(context);
        return NULL;
    }
    redisSetTimeout(context, timeout);
    return context;
}

/* INFO's text of a section, to be freed by the caller; NULL if there is no answer. */
static char *fetch_info(const struct lks_process_cluster *cluster, uint32_t replica,
                        const char *section)
{
    const bool runs = cluster->pids[replica] != 0 || cluster->hosts[replica] != NULL;
    if (!runs || cluster->paused[replica]) {
        return NULL;
    }
    redisContext *context = connect_to(cluster, replica, 1000);
    if (context == NULL) {
        return NULL;
    }
    redisReply *reply = redisCommand(context, "INFO %s", section);
    char *text = NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_STRING) {
        text = strdup(reply->str);
    }
    freeReplyObject(reply);
    redisFree(context);
    return text;
}

/* What everybody says of itself, for the reader of a failed test. */
static void print_states(const struct lks_process_cluster *cluster)
{
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        char *text = fetch_info(cluster, id, "lockstep");
        fprintf(stderr, "---- replica %u, process %d\n%s\n", id, (int)cluster->pids[id],
                text != NULL ? text : "no answer");
        free(text);
    }
}

/* Whether the replica answers a read, which goes the way of every command. */
static bool serves(const struct lks_process_cluster *cluster, uint32_t replica)
{
    redisContext *context = connect_to(cluster, replica, 1000);
    if (context == NULL) {
        return false;
    }
    redisReply *reply = redisCommand(context, "GET lockstep:is:serving");
    bool is_serving = reply != NULL && reply->type != REDIS_REPLY_ERROR;
    freeReplyObject(reply);
    redisFree(context);
    return is_serving;
}

int lks_process_cluster_wait_serving(struct lks_process_cluster *cluster, uint32_t timeout_ms)
{
    return lks_process_cluster_wait_serving_without(cluster, 0, timeout_ms);
}

int lks_process_cluster_wait_serving_without(struct lks_process_cluster *cluster,
                                             uint32_t left_out, uint32_t timeout_ms)
{
    uint64_t end_ns = lks_clock_monotonic_ns() + timeout_ms * LKS_NS_PER_MS;
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        const bool is_awaited = id != left_out && !cluster->away[id];
        if (is_awaited && lks_process_cluster_start(cluster, id) != 0) {
            return -1;
        }
    }
    for (uint32_t id = 1; id <= cluster->replicas;) {
        if (lks_process_cluster_reap(cluster) != 0) {
            return -1;
        }
        if (id == left_out || cluster->away[id] || serves(cluster, id)) {
            id++;
            continue;
        }
        if (lks_clock_monotonic_ns() > end_ns) {
            fprintf(stderr, "replica %u does not serve after %u ms\n", id, timeout_ms);
            print_states(cluster);
            cluster->failed = true;
            return -1;
        }
        usleep(POLL_US);
    }
    return 0;
}

/* Copies what stands behind "field:" in INFO's text. */
static int find_field(const char *text, const char *field, char *value, size_t value_bytes)
{
    size_t field_bytes = strlen(field);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, field, field_bytes) == 0 && line[field_bytes] == ':') {
            line += field_bytes + 1;
            snprintf(value, value_bytes, "%.*s", (int)strcspn(line, "\r\n"), line);
            return 0;
        }
    }
    return -1;
}

int lks_process_cluster_info(const struct lks_process_cluster *cluster, uint32_t replica,
                             const char *section, const char *field, char *value,
                             size_t value_bytes)
{
    char *text = fetch_info(cluster, replica, section);
    int rc = text != NULL ? find_field(text, field, value, value_bytes) : -1;
    free(text);
    return rc;
}

uint32_t lks_process_cluster_leader(const struct lks_process_cluster *cluster)
{
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        char role[32];
        if (lks_process_cluster_info(cluster, id, "lockstep", "role", role, sizeof(role)) == 0 &&
            strcmp(role, "leader") == 0) {
            return id;
        }
    }
    return 0;
}

struct state_hash {
    char index[32];
    char hash[32];
};

/* Index and hash of one answer, so that they belong together. */
static int fetch_hash(const struct lks_process_cluster *cluster, uint32_t replica,
                      struct state_hash *state)
{
    char *text = fetch_info(cluster, replica, "lockstep_hash");
    int rc = -1;
    if (text != NULL &&
        find_field(text, "state_hash_index", state->index, sizeof(state->index)) == 0) {
        rc = find_field(text, "state_hash", state->hash, sizeof(state->hash));
    }
    free(text);
    return rc;
}

/* 0: all equal; 1: not yet at the same index; -1: different states at one index. */
static int compare_hashes(const struct lks_process_cluster *cluster)
{
    struct state_hash first = {0};
    uint32_t first_id = 0;
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        struct state_hash state = {0};
        if (cluster->away[id]) {
            continue;
        }
        if (fetch_hash(cluster, id, &state) != 0) {
            return 1;
        }
        if (first_id == 0) {
            first_id = id;
            first = state;
        }
        if (strcmp(state.index, first.index) != 0) {
            return 1;
        }
        if (strcmp(state.hash, first.hash) != 0) {
            fprintf(stderr, "index %s: replica %u has state %s, replica %u has %s\n", state.index,
                    first_id, first.hash, id, state.hash);
            return -1;
        }
    }
    return 0;
}

int lks_process_cluster_check_hashes(struct lks_process_cluster *cluster, uint32_t timeout_ms)
{
    uint64_t end_ns = lks_clock_monotonic_ns() + timeout_ms * LKS_NS_PER_MS;
    int rc = compare_hashes(cluster);
    while (rc == 1 && lks_clock_monotonic_ns() < end_ns) {
        usleep(POLL_US);
        rc = compare_hashes(cluster);
    }
    if (rc == 1) {
        fprintf(stderr, "the replicas did not apply the same index within %u ms\n", timeout_ms);
    }
    cluster->failed = cluster->failed || rc != 0;
    return rc == 0 ? 0 : -1;
}
