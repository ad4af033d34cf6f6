/*
 * lockstep-load: clients that keep book. They write through the given ports, note what was
 * acknowledged and what has an unknown outcome, reconnect to another port when a connection
 * breaks, and measure how long nobody was answered; later the book is checked against any
 * replica. Used by tools/quickstart and by tests. One thread a connection; a thread writes only
 * its own part of the book, which is saved after all have ended.
 *
 *   lockstep-load write  --ports 7001,7002,7003 --book FILE [--seconds S] [--connections N]
 *                        [--pause-us US] [--kill PID --kill-after-ms T]
 *   lockstep-load verify --ports 7001,7002,7003 --book FILE
 *
 * Exit status: 0 done, 1 something acknowledged is missing or counted twice, or nothing could be
 * written, 2 usage.
 */
#include "base/clock.h"

#include <argp.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PORTS_MAX 7
#define CONNECTIONS_MAX 64
#define COUNTERS 8
#define COUNT_EVERY 8 /* every 8th write increments a counter */
#define REPLY_TIMEOUT_S 5
#define RETRY_US 1000
#define VERIFY_BATCH 256

struct settings {
    bool verify;
    int ports[PORTS_MAX];
    int ports_count;
    const char *book;
    double seconds;
    int connections;
    long pause_us;
    long kill_pid;
    long kill_after_ms;
};

/* The outcome of one connection's write number i. */
enum outcome { REFUSED = 'R', ACKNOWLEDGED = 'A', UNKNOWN = 'U' };

struct worker {
    const struct settings *settings;
    int id;
    pthread_t thread;
    char *outcomes;
    uint64_t writes;
    uint64_t writes_max;
    uint64_t counted[COUNTERS];
    uint64_t count_unknown[COUNTERS];
    uint64_t errors;     /* connections that broke */
    uint64_t refusals;   /* error replies: not written */
    uint64_t first_ns;   /* of acknowledgements */
    uint64_t last_ns;
    uint64_t after_kill_ns; /* first acknowledgement of a write sent after the kill */
    uint64_t slowest_ns;
};

static atomic_bool stop_flag;
static _Atomic uint64_t killed_ns;  /* stored before the signal is sent; 0: not yet */
static _Atomic uint64_t newest_ns;  /* last acknowledgement of all workers */
static _Atomic uint64_t longest_ns; /* longest time between two acknowledgements */

static bool is_counter_write(uint64_t write)
{
    return write % COUNT_EVERY == COUNT_EVERY - 1;
}

static redisContext *connect_to(const struct settings *settings, int *place)
{
    struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
    for (int i = 0; i < settings->ports_count; i++) {
        int port = settings->ports[(*place + i) % settings->ports_count];
        redisContext *context = redisConnectWithTimeout("127.0.0.1", port, timeout);
        if (context != NULL && context->err == 0) {
            redisSetTimeout(context, timeout);
            *place = (*place + i) % settings->ports_count;
            return context;
        }
        redisFree(context);
    }
    return NULL;
}

/* The gap is one between acknowledgements of any connection: newest_ns is moved by all. */
static void note_acknowledgement(struct worker *worker, uint64_t sent_ns)
{
    uint64_t now = lks_clock_monotonic_ns();
    uint64_t before = atomic_exchange_explicit(&newest_ns, now, memory_order_relaxed);
    uint64_t gap = before != 0 && now > before ? now - before : 0;
    uint64_t longest = atomic_load_explicit(&longest_ns, memory_order_relaxed);
    while (gap > longest &&
           !atomic_compare_exchange_weak_explicit(&longest_ns, &longest, gap,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    worker->first_ns = worker->first_ns == 0 ? now : worker->first_ns;
    worker->last_ns = now;
    worker->slowest_ns = now - sent_ns > worker->slowest_ns ? now - sent_ns : worker->slowest_ns;
    uint64_t killed = atomic_load_explicit(&killed_ns, memory_order_acquire);
    if (killed != 0 && sent_ns > killed && worker->after_kill_ns == 0) {
        worker->after_kill_ns = now;
    }
}

/* Sends write number `write`; the context is freed and set to NULL when it broke. */
static enum outcome send_write(struct worker *worker, redisContext **context, uint64_t write)
{
    uint64_t sent_ns = lks_clock_monotonic_ns();
    redisReply *reply;
    if (is_counter_write(write)) {
        int counter = (int)(write / COUNT_EVERY % COUNTERS);
        reply = redisCommand(*context, "INCR load:counter:%d", counter);
    } else {
        reply = redisCommand(*context, "SET load:%d:%llu value:%d:%llu", worker->id,
                             (unsigned long long)write, worker->id, (unsigned long long)write);
    }
    if (reply == NULL) {
        redisFree(*context);
        *context = NULL;
        worker->errors++;
        return UNKNOWN;
    }
    enum outcome outcome = ACKNOWLEDGED;
    if (reply->type == REDIS_REPLY_ERROR) {
        worker->refusals++;
        outcome = REFUSED;
    } else {
        note_acknowledgement(worker, sent_ns);
    }
    freeReplyObject(reply);
    return outcome;
}

static void *work(void *ctx)
{
    struct worker *worker = ctx;
    int place = worker->id % worker->settings->ports_count;
    redisContext *context = NULL;
    while (!atomic_load_explicit(&stop_flag, memory_order_relaxed) &&
           worker->writes < worker->writes_max) {
        if (context == NULL) {
            context = connect_to(worker->settings, &place);
            if (context == NULL) {
                usleep(RETRY_US);
                continue;
            }
        }
        uint64_t write = worker->writes++;
        enum outcome outcome = send_write(worker, &context, write);
        worker->outcomes[write] = (char)outcome;
        if (is_counter_write(write)) {
            int counter = (int)(write / COUNT_EVERY % COUNTERS);
            worker->counted[counter] += outcome == ACKNOWLEDGED;
            worker->count_unknown[counter] += outcome == UNKNOWN;
        }
        if (outcome == REFUSED || worker->settings->pause_us > 0) {
            usleep((useconds_t)(outcome == REFUSED ? RETRY_US : worker->settings->pause_us));
        }
        place = context == NULL ? place + 1 : place;
    }
    redisFree(context);
    return NULL;
}

/* ---- the book -------------------------------------------------------------------------------- */

/* Lines: "K worker outcomes..." and "C counter acknowledged unknown". */
static int save_book(const char *path, const struct worker *workers, int count)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "lockstep-load: %s: %s\n", path, strerror(errno));
        return -1;
    }
    for (int i = 0; i < count; i++) {
        fprintf(file, "K %d %llu ", workers[i].id, (unsigned long long)workers[i].writes);
        fwrite(workers[i].outcomes, 1, workers[i].writes, file);
        fputc('\n', file);
    }
    for (int counter = 0; counter < COUNTERS; counter++) {
        unsigned long long acknowledged = 0;
        unsigned long long unknown = 0;
        for (int i = 0; i < count; i++) {
            acknowledged += workers[i].counted[counter];
            unknown += workers[i].count_unknown[counter];
        }
        fprintf(file, "C %d %llu %llu\n", counter, acknowledged, unknown);
    }
    if (fclose(file) != 0) {
        fprintf(stderr, "lockstep-load: %s: %s\n", path, strerror(errno));
        return -1;
    }
    return 0;
}

static void wait_and_kill(const struct settings *settings)
{
    uint64_t start_ns = lks_clock_monotonic_ns();
    uint64_t end_ns = start_ns + (uint64_t)(settings->seconds * 1e9);
    uint64_t kill_ns = start_ns + (uint64_t)settings->kill_after_ms * LKS_NS_PER_MS;
    bool killed = settings->kill_pid == 0;
    for (uint64_t now = start_ns; now < end_ns; now = lks_clock_monotonic_ns()) {
        if (!killed && now >= kill_ns) {
            atomic_store_explicit(&killed_ns, lks_clock_monotonic_ns(), memory_order_release);
            kill((pid_t)settings->kill_pid, SIGKILL);
            killed = true;
        }
        usleep(500);
    }
}

static int report(const struct settings *settings, const struct worker *workers)
{
    uint64_t acknowledged = 0;
    uint64_t unknown = 0;
    uint64_t refused = 0;
    uint64_t broken = 0;
    uint64_t slowest_ns = 0;
    uint64_t after_ns = UINT64_MAX;
    for (int i = 0; i < settings->connections; i++) {
        const struct worker *worker = &workers[i];
        for (uint64_t write = 0; write < worker->writes; write++) {
            acknowledged += worker->outcomes[write] == ACKNOWLEDGED;
            unknown += worker->outcomes[write] == UNKNOWN;
        }
        refused += worker->refusals;
        broken += worker->errors;
        slowest_ns = worker->slowest_ns > slowest_ns ? worker->slowest_ns : slowest_ns;
        if (worker->after_kill_ns != 0 && worker->after_kill_ns < after_ns) {
            after_ns = worker->after_kill_ns;
        }
    }
    uint64_t killed = atomic_load_explicit(&killed_ns, memory_order_acquire);
    double failover_ms = -1;
    if (killed != 0 && after_ns != UINT64_MAX) {
        failover_ms = (double)(after_ns - killed) / 1e6;
    }
    printf("acknowledged=%llu unknown=%llu refused=%llu broken_connections=%llu "
           "longest_gap_ms=%.2f slowest_ms=%.2f failover_ms=%.2f\n",
           (unsigned long long)acknowledged, (unsigned long long)unknown,
           (unsigned long long)refused, (unsigned long long)broken,
           (double)atomic_load_explicit(&longest_ns, memory_order_relaxed) / 1e6,
           (double)slowest_ns / 1e6, failover_ms);
    return acknowledged > 0 && (killed == 0 || failover_ms >= 0) ? 0 : 1;
}

static int run_write(const struct settings *settings)
{
    struct worker *workers = calloc((size_t)settings->connections, sizeof(*workers));
    if (workers == NULL) {
        return 1;
    }
    int started = 0;
    for (; started < settings->connections; started++) {
        struct worker *worker = &workers[started];
        worker->settings = settings;
        worker->id = started;
        worker->writes_max = (uint64_t)(settings->seconds * 200000) + 1;
        worker->outcomes = calloc(1, worker->writes_max);
        if (worker->outcomes == NULL ||
            pthread_create(&worker->thread, NULL, work, worker) != 0) {
            free(worker->outcomes);
            break;
        }
    }
    int rc = started == settings->connections ? 0 : 1;
    if (rc == 0) {
        wait_and_kill(settings);
    }
    atomic_store_explicit(&stop_flag, true, memory_order_relaxed);
    for (int i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    if (rc == 0) {
        rc = report(settings, workers);
        if (save_book(settings->book, workers, settings->connections) != 0) {
            rc = 1;
        }
    }
    for (int i = 0; i < started; i++) {
        free(workers[i].outcomes);
    }
    free(workers);
    return rc;
}

/* ---- checking the book ----------------------------------------------------------------------- */

struct findings {
    uint64_t checked;
    uint64_t missing;
    uint64_t counters_wrong;
    uint64_t unknown_happened;
};

static int check_reply(redisContext *context, int worker, uint64_t write, char outcome,
                       struct findings *findings)
{
    redisReply *reply = NULL;
    if (redisGetReply(context, (void **)&reply) != REDIS_OK || reply == NULL) {
        return -1;
    }
    char expected[64];
    snprintf(expected, sizeof(expected), "value:%d:%llu", worker, (unsigned long long)write);
    bool there = reply->type == REDIS_REPLY_STRING && strcmp(reply->str, expected) == 0;
    bool absent = reply->type == REDIS_REPLY_NIL;
    freeReplyObject(reply);
    findings->checked += outcome == ACKNOWLEDGED;
    findings->unknown_happened += outcome == UNKNOWN && there;
    if ((outcome == ACKNOWLEDGED && !there) || (outcome == REFUSED && !absent) ||
        (!there && !absent)) {
        findings->missing++;
        fprintf(stderr, "lockstep-load: load:%d:%llu: %s, but it is %s\n", worker,
                (unsigned long long)write,
                outcome == ACKNOWLEDGED ? "acknowledged"
                : outcome == REFUSED    ? "refused"
                                        : "unknown",
                absent ? "absent" : there ? "there" : "another value");
    }
    return 0;
}

static int check_worker(redisContext *context, int worker, const char *outcomes, uint64_t count,
                        struct findings *findings)
{
    for (uint64_t from = 0; from < count; from += VERIFY_BATCH) {
        uint64_t to = from + VERIFY_BATCH < count ? from + VERIFY_BATCH : count;
        for (uint64_t i = from; i < to; i++) {
            if (!is_counter_write(i)) {
                redisAppendCommand(context, "GET load:%d:%llu", worker, (unsigned long long)i);
            }
        }
        for (uint64_t i = from; i < to; i++) {
            if (!is_counter_write(i) &&
                check_reply(context, worker, i, outcomes[i], findings) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int check_counter(redisContext *context, int counter, unsigned long long acknowledged,
                         unsigned long long unknown, struct findings *findings)
{
    redisReply *reply = redisCommand(context, "GET load:counter:%d", counter);
    if (reply == NULL) {
        return -1;
    }
    unsigned long long value = 0;
    if (reply->type == REDIS_REPLY_STRING) {
        value = strtoull(reply->str, NULL, 10);
    }
    bool usable = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_NIL;
    freeReplyObject(reply);
    if (!usable || value < acknowledged || value > acknowledged + unknown) {
        findings->counters_wrong++;
        fprintf(stderr, "lockstep-load: load:counter:%d is %llu: %llu were acknowledged, %llu are "
                        "unknown\n", counter, value, acknowledged, unknown);
    }
    return 0;
}

static int check_book(FILE *file, redisContext *context, struct findings *findings)
{
    char kind;
    while (fscanf(file, " %c", &kind) == 1) {
        int id;
        unsigned long long first;
        unsigned long long second;
        if (kind == 'C') {
            if (fscanf(file, "%d %llu %llu", &id, &first, &second) != 3 ||
                check_counter(context, id, first, second, findings) != 0) {
                return -1;
            }
            continue;
        }
        if (kind != 'K' || fscanf(file, "%d %llu", &id, &first) != 2 || fgetc(file) != ' ') {
            return -1;
        }
        char *outcomes = malloc(first + 1);
        int rc = -1;
        if (outcomes != NULL && fread(outcomes, 1, first, file) == first) {
            rc = check_worker(context, id, outcomes, first, findings);
        }
        free(outcomes);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

static int run_verify(const struct settings *settings)
{
    struct findings findings = {0};
    for (int i = 0; i < settings->ports_count; i++) {
        FILE *file = fopen(settings->book, "r");
        if (file == NULL) {
            fprintf(stderr, "lockstep-load: %s: %s\n", settings->book, strerror(errno));
            return 1;
        }
        struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
        redisContext *context =
            redisConnectWithTimeout("127.0.0.1", settings->ports[i], timeout);
        int rc = -1;
        if (context != NULL && context->err == 0) {
            redisSetTimeout(context, timeout);
            rc = check_book(file, context, &findings);
        }
        redisFree(context);
        fclose(file);
        if (rc != 0) {
            fprintf(stderr, "lockstep-load: port %d: no answer, or a broken book\n",
                    settings->ports[i]);
            return 1;
        }
    }
    printf("checked=%llu wrong=%llu counters_wrong=%llu unknown_that_happened=%llu\n",
           (unsigned long long)findings.checked, (unsigned long long)findings.missing,
           (unsigned long long)findings.counters_wrong,
           (unsigned long long)findings.unknown_happened);
    return findings.missing == 0 && findings.counters_wrong == 0 ? 0 : 1;
}

/* ---- command line ---------------------------------------------------------------------------- */

static const struct argp_option OPTIONS[] = {
    {"ports", 'p', "PORT,...", 0, "RESP ports of the replicas on this machine", 0},
    {"book", 'b', "FILE", 0, "what was acknowledged", 0},
    {"seconds", 's', "S", 0, "how long to write (5)", 0},
    {"connections", 'c', "N", 0, "connections, spread over the ports (8)", 0},
    {"pause-us", 'u', "US", 0, "pause of a connection after each write (0)", 0},
    {"kill", 'k', "PID", 0, "send SIGKILL to this process under load", 0},
    {"kill-after-ms", 'a', "T", 0, "when, after the start (1000)", 0},
    {0},
};

static void parse_ports(struct settings *settings, char *list, struct argp_state *state)
{
    char *rest = NULL;
    for (char *word = strtok_r(list, ",", &rest); word != NULL;
         word = strtok_r(NULL, ",", &rest)) {
        int port = atoi(word);
        if (port < 1 || port > 65535 || settings->ports_count == PORTS_MAX) {
            argp_error(state, "--ports: '%s': up to 7 ports, each 1..65535", word);
        }
        settings->ports[settings->ports_count++] = port;
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct settings *settings = state->input;
    switch (key) {
    case 'p':
        parse_ports(settings, value, state);
        return 0;
    case 'b':
        settings->book = value;
        return 0;
    case 's':
        settings->seconds = atof(value);
        return 0;
    case 'c':
        settings->connections = atoi(value);
        return 0;
    case 'u':
        settings->pause_us = atol(value);
        return 0;
    case 'k':
        settings->kill_pid = atol(value);
        return 0;
    case 'a':
        settings->kill_after_ms = atol(value);
        return 0;
    case ARGP_KEY_ARG:
        if (strcmp(value, "write") != 0 && strcmp(value, "verify") != 0) {
            argp_error(state, "'%s': write or verify", value);
        }
        settings->verify = strcmp(value, "verify") == 0;
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num != 1 || settings->ports_count == 0 || settings->book == NULL) {
            argp_error(state, "write or verify, --ports and --book are required");
        }
        if (settings->connections < 1 || settings->connections > CONNECTIONS_MAX ||
            settings->seconds <= 0 || settings->seconds > 3600 || settings->pause_us < 0 ||
            settings->pause_us > 1000000) {
            argp_error(state, "--connections 1..%d, --seconds up to 3600, --pause-us up to a "
                              "million", CONNECTIONS_MAX);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    struct settings settings = {.seconds = 5, .connections = 8, .kill_after_ms = 1000};
    const struct argp argp = {.options = OPTIONS, .parser = parse_option,
                              .args_doc = "write|verify",
                              .doc = "Writes to a cluster and keeps book; checks the book later."};
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &settings);
    signal(SIGPIPE, SIG_IGN);
    return settings.verify ? run_verify(&settings) : run_write(&settings);
}
