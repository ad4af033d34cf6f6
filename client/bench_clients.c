/* Measures clients over TCP and over the fabric; see bench_clients.h. */
#include "client/bench_clients.h"

#include "base/clock.h"
#include "bench/samples.h"
#include "client/bench_cluster.h"
#include "lockstep/client.h"
#include "node/client_places.h"
#include "services/kv/encode.h"
#include "services/kv/format.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTLE_MAX_NS (30 * LKS_NS_PER_S)
#define ANSWER_MAX_NS (60 * LKS_NS_PER_S)
#define OK_REPLY "+OK\r\n"
#define OK_BYTES 5u
#define NO_LEADER "-CLUSTERDOWN "
#define REFUSAL_MAX 96u
#define LOOPS 4u
#define WARM_UP 10u /* share of the samples that are made and not counted: a tenth */

struct loop {
    const char *way;
    uint32_t outstanding;
    struct lks_samples samples;
    double seconds;
};

struct clients {
    const struct lks_bench_clients_options *options;
    struct lks_bench_cluster cluster;
    char *value;
    struct loop loops[LOOPS];
    /* Of the loop under way. Answers come in the order of the calls. */
    struct loop *loop;
    uint64_t wanted; /* calls, those of the warm-up included */
    uint64_t given;
    uint64_t answered;
    uint64_t counted_from_ns;
    int status; /* the first answer that was no +OK */
    char refusal[REFUSAL_MAX]; /* its first line, where it has one */
    uint64_t given_ns[LKS_CLIENT_OUTSTANDING_MAX];
};

static uint64_t warm_up(const struct clients *clients)
{
    return clients->options->samples / WARM_UP;
}

static void begin_loop(struct clients *clients, struct loop *loop)
{
    clients->loop = loop;
    clients->wanted = clients->options->samples + warm_up(clients);
    clients->given = 0;
    clients->answered = 0;
    clients->counted_from_ns = lks_clock_monotonic_ns();
    clients->status = 0;
    clients->refusal[0] = '\0';
}

/* Whether an answer of so many bytes begins with +OK; else its first line is kept. */
static bool is_ok(struct clients *clients, const char *answer, size_t bytes)
{
    if (bytes >= OK_BYTES && memcmp(answer, OK_REPLY, OK_BYTES) == 0) {
        return true;
    }
    size_t length = 0;
    while (length < bytes && length < REFUSAL_MAX - 1 && isprint((unsigned char)answer[length])) {
        length++;
    }
    (void)snprintf(clients->refusal, REFUSAL_MAX, "%.*s", (int)length, answer);
    return false;
}

/* What ended a loop. way: "TCP". */
static int say(const struct clients *clients, int rc, const char *way, struct lks_error *err)
{
    const uint32_t leader = clients->cluster.survey.leader;
    if (rc == -EBADMSG && clients->refusal[0] != '\0') {
        const bool unled = strncmp(clients->refusal, NO_LEADER, sizeof NO_LEADER - 1) == 0;
        return lks_error_set(err, rc, "replica %u over %s answered '%s' to a SET%s", leader, way,
                             clients->refusal,
                             unled ? ": it lost its leadership under way; where processors are "
                                     "few, a longer --election-timeout keeps it"
                                   : "");
    }
    return lks_error_set(err, rc, "replica %u over %s: %s", leader, way,
                         lks_client_status_text(rc));
}

static bool may_give(const struct clients *clients)
{
    return clients->given < clients->wanted &&
           clients->given - clients->answered < clients->loop->outstanding;
}

static void note_given(struct clients *clients)
{
    clients->given_ns[clients->given % LKS_CLIENT_OUTSTANDING_MAX] = lks_clock_monotonic_ns();
    clients->given++;
}

static void note_answered(struct clients *clients)
{
    const uint64_t now_ns = lks_clock_monotonic_ns();
    const uint64_t began_ns = clients->given_ns[clients->answered % LKS_CLIENT_OUTSTANDING_MAX];
    clients->answered++;
    if (clients->answered == warm_up(clients)) {
        clients->counted_from_ns = now_ns;
    } else if (clients->answered > warm_up(clients)) {
        lks_samples_add(&clients->loop->samples, now_ns - began_ns);
    }
}

static void end_loop(struct clients *clients)
{
    clients->loop->seconds =
        (double)(lks_clock_monotonic_ns() - clients->counted_from_ns) / (double)LKS_NS_PER_S;
    lks_samples_sort(&clients->loop->samples);
}

/* ---- over TCP ------------------------------------------------------------------------------- */

/* Takes the answers that have come, at least one. */
static int take_answers(struct clients *clients, int fd, size_t *kept, char *text, size_t room)
{
    const ssize_t got = read(fd, text + *kept, room - *kept);
    if (got <= 0) {
        return got == 0 ? -ECONNRESET : -errno;
    }
    const size_t bytes = *kept + (size_t)got;
    size_t at = 0;
    for (; bytes - at >= OK_BYTES; at += OK_BYTES) {
        if (!is_ok(clients, text + at, bytes - at)) {
            return -EBADMSG;
        }
        note_answered(clients);
    }
    *kept = bytes - at;
    memmove(text, text + at, *kept);
    return 0;
}

static int tcp_loop(struct clients *clients, int fd)
{
    char answers[LKS_CLIENT_OUTSTANDING_MAX * OK_BYTES];
    size_t kept = 0;
    const size_t bytes = clients->options->value_bytes;
    const size_t room = (bytes + 64) * LKS_CLIENT_OUTSTANDING_MAX;
    char *text = malloc(room);
    int rc = text != NULL ? 0 : -ENOMEM;
    while (rc == 0 && clients->answered < clients->wanted) {
        size_t length = 0;
        while (may_give(clients)) {
            length += (size_t)snprintf(text + length, room - length,
                                       "*3\r\n$3\r\nSET\r\n$6\r\nk%05u\r\n$%zu\r\n%s\r\n",
                                       (unsigned)(clients->given % 100000), bytes,
                                       clients->value);
            note_given(clients);
        }
        rc = length > 0 ? lks_bench_send(fd, text, length) : 0;
        if (rc == 0) {
            rc = take_answers(clients, fd, &kept, answers, sizeof answers);
        }
    }
    free(text);
    return rc;
}

static int measure_tcp(struct clients *clients, struct loop *loop, struct lks_error *err)
{
    const uint32_t leader = clients->cluster.survey.leader;
    const int fd = lks_bench_dial(&clients->cluster.config.replicas[leader]);
    if (fd < 0) {
        return lks_error_set(err, fd, "replica %u: %s", leader, lks_error_text(fd));
    }
    begin_loop(clients, loop);
    const int rc = tcp_loop(clients, fd);
    end_loop(clients);
    (void)close(fd);
    return rc == 0 ? 0 : say(clients, rc, "TCP", err);
}

/* ---- over the fabric ------------------------------------------------------------------------ */

static void on_answer(void *ctx, int status, const void *reply, size_t bytes)
{
    struct clients *clients = ctx;
    if (clients->status == 0 && status != LKS_CLIENT_OK) {
        clients->status = status;
    } else if (clients->status == 0 && !is_ok(clients, reply, bytes)) {
        clients->status = -EBADMSG;
    }
    note_answered(clients);
}

/* Encodes SET of the next key. */
static size_t encode_set(const struct clients *clients, uint8_t *out)
{
    char key[16];
    struct lks_reply refusal = {0};
    const int length = snprintf(key, sizeof key, "k%05u", (unsigned)(clients->given % 100000));
    const struct lks_argument items[] = {
        {"SET", 3}, {key, (size_t)length}, {clients->value, clients->options->value_bytes}};
    const struct lks_kv_arguments arguments = {
        .items = items, .count = 3, .value_bytes_max = LKS_KV_VALUE_BYTES_MAX};
    const size_t bytes = lks_kv_encode(LKS_KV_REQUEST_SET, &arguments, out, &refusal);
    lks_reply_fini(&refusal);
    return bytes;
}

static int fabric_loop(struct clients *clients, struct lks_client *client)
{
    uint8_t *command = malloc(clients->options->value_bytes + 16 + LKS_KV_ENCODE_OVERHEAD(3));
    int rc = command != NULL ? 0 : -ENOMEM;
    while (rc == 0 && clients->answered < clients->wanted) {
        while (rc == 0 && may_give(clients)) {
            const size_t bytes = encode_set(clients, command);
            note_given(clients);
            rc = lks_client_call_async(client, command, bytes, on_answer, clients);
        }
        if (rc == 0 && lks_client_poll(client, ANSWER_MAX_NS) == 0) {
            rc = -ETIMEDOUT;
        }
        rc = rc == 0 ? clients->status : rc;
    }
    free(command);
    return rc;
}

static int measure_fabric(struct clients *clients, struct loop *loop, struct lks_error *err)
{
    struct lks_client *client = NULL;
    const uint32_t leader = clients->cluster.survey.leader;
    const struct lks_client_options options = {
        .directory = clients->cluster.config.directory,
        .replicas = clients->cluster.config.replicas_count,
        .first = leader,
        .spin_ns = clients->options->spin_us * LKS_NS_PER_US,
    };
    struct lks_client_places places;
    int rc = clients->options->rdma ? lks_client_places_of(&clients->cluster.config, &places)
                                    : lks_client_connect(&client, &options);
    if (rc == 0 && clients->options->rdma) {
        const struct lks_client_rdma_options rdma = {.addresses = places.addresses,
                                                     .client_key = places.client_key};
        rc = lks_client_connect_rdma(&client, &options, &rdma);
    }
    if (rc == 0) {
        begin_loop(clients, loop);
        rc = fabric_loop(clients, client);
        end_loop(clients);
        lks_client_close(client);
    }
    return rc == 0 ? 0 : say(clients, rc, "the fabric", err);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static double rate(const struct loop *loop)
{
    return loop->seconds > 0 ? (double)loop->samples.count / loop->seconds : 0;
}

static void report(const struct clients *clients)
{
    const struct lks_bench_clients_options *options = clients->options;
    FILE *table = options->json ? stderr : stdout;
    fprintf(table, "SET of %u bytes at the leader of %u replicas, one client, %u samples a row\n"
                   "way     outstanding      p50 us      p99 us       per s\n",
            options->value_bytes, options->replicas, options->samples);
    for (uint32_t i = 0; i < LOOPS; i++) {
        const struct loop *loop = &clients->loops[i];
        fprintf(table, "%-6s %12u %11.1f %11.1f %11.0f\n", loop->way, loop->outstanding,
                (double)lks_samples_percentile(&loop->samples, 0.5) / 1e3,
                (double)lks_samples_percentile(&loop->samples, 0.99) / 1e3, rate(loop));
    }
    if (!options->json) {
        return;
    }
    printf("{\"replicas\":%u,\"value_bytes\":%u,\"samples\":%u,\"outstanding\":%u,"
           "\"spin_us\":%u,",
           options->replicas, options->value_bytes, options->samples, options->outstanding,
           options->spin_us);
    for (uint32_t i = 0; i < LOOPS; i++) {
        const struct loop *loop = &clients->loops[i];
        const char *name = i < 2 ? "one" : "several";
        printf("\"%s_%s_p50_ns\":%" PRIu64 ",\"%s_%s_p99_ns\":%" PRIu64 ",\"%s_%s_per_s\":%.0f,",
               loop->way, name, lks_samples_percentile(&loop->samples, 0.5), loop->way, name,
               lks_samples_percentile(&loop->samples, 0.99), loop->way, name, rate(loop));
    }
    printf("\"commit\":\"%s\"}\n", LKS_COMMIT);
}

static int start(struct clients *clients, struct lks_error *err)
{
    const struct lks_bench_clients_options *options = clients->options;
    const struct lks_cluster_options cluster = {.directory = options->directory,
                                                .replicas = options->replicas,
                                                .port = options->port,
                                                .election_timeout_ns =
                                                    options->election_timeout_ns,
                                                .fabric = options->rdma ? LKS_CONFIG_FABRIC_RDMA
                                                                        : LKS_CONFIG_FABRIC_SHM,
                                                .fabric_given = options->rdma,
                                                .rdma_address = options->address};
    clients->value = malloc(options->value_bytes + 1);
    if (clients->value == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the value");
    }
    memset(clients->value, 'v', options->value_bytes);
    clients->value[options->value_bytes] = '\0';
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < LOOPS; i++) {
        clients->loops[i].way = i % 2 == 0 ? "tcp" : options->rdma ? "rdma" : "fabric";
        clients->loops[i].outstanding = i < 2 ? 1 : options->outstanding;
        rc = lks_samples_init(&clients->loops[i].samples, options->samples);
    }
    if (rc != 0) {
        return lks_error_set(err, rc, "no memory for the samples");
    }
    rc = lks_bench_cluster_make(&clients->cluster, "client", &cluster, err);
    if (rc == 0) {
        rc = lks_bench_cluster_start_all(&clients->cluster, err);
    }
    return rc == 0 ? lks_bench_cluster_await_whole(&clients->cluster, SETTLE_MAX_NS, err) : rc;
}

int lks_bench_clients(const struct lks_bench_clients_options *options, struct lks_error *err)
{
    struct clients *clients = calloc(1, sizeof *clients);
    if (clients == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the benchmark");
    }
    clients->options = options;
    int rc = start(clients, err);
    for (uint32_t i = 0; rc == 0 && i < LOOPS; i++) {
        rc = i % 2 == 0 ? measure_tcp(clients, &clients->loops[i], err)
                        : measure_fabric(clients, &clients->loops[i], err);
    }
    if (rc == 0) {
        report(clients);
    }
    lks_bench_cluster_end(&clients->cluster, rc != 0);
    for (uint32_t i = 0; i < LOOPS; i++) {
        lks_samples_fini(&clients->loops[i].samples);
    }
    free(clients->value);
    free(clients);
    return rc;
}
