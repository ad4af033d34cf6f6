/* Measures failover with real processes; see bench_failover.h. */
#include "client/bench_failover.h"

#include "base/clock.h"
#include "bench/samples.h"
#include "client/bench_cluster.h"
#include "client/failover_phases.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ASK_TIMEOUT_NS (500 * LKS_NS_PER_MS)
#define RDMA_ASK_TIMEOUT_NS (10 * LKS_NS_PER_S) /* of an emulated machine that is busy */
#define SETTLE_MAX_NS (30 * LKS_NS_PER_S)
#define RDMA_SETTLE_MAX_NS (180 * LKS_NS_PER_S)
#define CALM_NS (100 * LKS_NS_PER_MS) /* between a settled cluster and the next signal */

struct failover {
    const struct lks_bench_failover_options *options;
    struct lks_bench_cluster cluster;
    struct lks_samples samples;
    struct lks_failover_round *rounds; /* options->rounds of them */
    uint32_t rounds_done;
};

/* Until every replica follows one leader and has applied what it knows of, and a while longer. */
static int settle(struct failover *failover, struct lks_error *err)
{
    const uint64_t most_ns = failover->options->rdma ? RDMA_SETTLE_MAX_NS : SETTLE_MAX_NS;
    const int rc = lks_bench_cluster_await_whole(&failover->cluster, most_ns, err);
    lks_bench_nap(rc == 0 ? CALM_NS : 0);
    return rc;
}

/* One acknowledged write; -EBADMSG: answered by something else than +OK. */
static int set_once(int fd, uint32_t round)
{
    char text[64];
    char key[16];
    const int key_bytes = snprintf(key, sizeof key, "failover%u", round % 100);
    const int bytes = snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\n1\r\n",
                               key_bytes, key);
    const int rc = lks_bench_send(fd, text, (size_t)bytes);
    return rc == 0 ? lks_bench_take_ok(fd, 1) : rc;
}

static int one_round(struct failover *failover, uint32_t round, struct lks_error *err)
{
    const uint32_t leader = failover->cluster.survey.leader;
    const uint32_t other = leader % failover->cluster.config.replicas_count + 1;
    struct lks_process *victim = &failover->cluster.processes[leader];
    const int fd = lks_bench_dial(&failover->cluster.config.replicas[other]);
    if (fd < 0) {
        return lks_error_set(err, fd, "replica %u: %s", other, lks_error_text(fd));
    }
    int rc = set_once(fd, round); /* the connection and its session are warm */
    const uint64_t before = lks_clock_monotonic_ns();
    if (rc == 0) {
        (void)kill(victim->pid, failover->options->stop ? SIGSTOP : SIGKILL);
        rc = set_once(fd, round);
    }
    const uint64_t after = lks_clock_monotonic_ns();
    (void)close(fd);
    if (rc != 0) {
        return lks_error_set(err, rc, "round %u: no write was acknowledged by replica %u: %s",
                             round, other, lks_error_text(rc));
    }
    lks_samples_add(&failover->samples, after - before);
    lks_survey_take(&failover->cluster.survey, &failover->cluster.config,
                    failover->options->rdma ? RDMA_ASK_TIMEOUT_NS : ASK_TIMEOUT_NS);
    const struct lks_survey *survey = &failover->cluster.survey;
    lks_failover_round_take(&failover->rounds[failover->rounds_done],
                            survey->replicas[survey->leader].info, before, after);
    failover->rounds_done++;
    lks_process_check(victim);
    if (failover->options->stop && !victim->ended) {
        (void)kill(victim->pid, SIGCONT);
    } else { /* killed by us, or stopped inside a write and therefore fenced by its kill */
        (void)lks_process_stop(victim, LKS_NS_PER_S);
        rc = lks_bench_cluster_start(&failover->cluster, leader, err);
    }
    return rc == 0 ? settle(failover, err) : rc;
}

static void report(struct failover *failover)
{
    struct lks_samples *samples = &failover->samples;
    const char *signal_name = failover->options->stop ? "STOP" : "KILL";
    const char *fabric = failover->options->rdma ? "rdma" : "shm";
    FILE *table = failover->options->json ? stderr : stdout;
    lks_samples_sort(samples);
    fprintf(table,
            "failover (%s, %s), %u replicas, %zu rounds: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n",
            signal_name, fabric, failover->cluster.config.replicas_count, samples->count,
            (double)lks_samples_percentile(samples, 0.5) / 1e6,
            (double)lks_samples_percentile(samples, 0.99) / 1e6,
            (double)lks_samples_max(samples) / 1e6);
    lks_failover_print_text(table, failover->rounds, failover->rounds_done);
    if (failover->options->json) {
        printf("{\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64 ",\"p999_ns\":%" PRIu64
               ",\"max_ns\":%" PRIu64 ",\"samples\":%zu,\"signal\":\"%s\",\"fabric\":\"%s\","
               "\"election_timeout_ns\":%" PRIu64 ",\"replicas\":%u,",
               lks_samples_percentile(samples, 0.5), lks_samples_percentile(samples, 0.99),
               lks_samples_percentile(samples, 0.999), lks_samples_max(samples), samples->count,
               signal_name, fabric, failover->cluster.config.election_timeout_ns,
               failover->cluster.config.replicas_count);
        lks_failover_print_json(stdout, failover->rounds, failover->rounds_done);
        printf(",\"commit\":\"%s\"}\n", LKS_COMMIT);
    }
}

static int start(struct failover *failover, struct lks_error *err)
{
    const struct lks_bench_failover_options *options = failover->options;
    const struct lks_cluster_options cluster = {
        .directory = options->directory,
        .replicas = options->replicas,
        .port = options->port,
        .ring_bytes = options->ring_bytes,
        .election_timeout_ns = options->election_timeout_ns,
        .fabric = options->rdma ? LKS_CONFIG_FABRIC_RDMA : LKS_CONFIG_FABRIC_SHM,
        .fabric_given = options->rdma,
        .rdma_address = options->address};
    int rc = lks_bench_cluster_make(&failover->cluster, "failover", &cluster, err);
    if (rc == 0) {
        rc = lks_bench_cluster_start_all(&failover->cluster, err);
    }
    return rc == 0 ? settle(failover, err) : rc;
}

int lks_bench_failover(const struct lks_bench_failover_options *options, struct lks_error *err)
{
    struct failover *failover = calloc(1, sizeof *failover);
    if (failover == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the benchmark");
    }
    failover->options = options;
    failover->rounds = calloc(options->rounds, sizeof *failover->rounds);
    int rc = failover->rounds == NULL ? -ENOMEM
                                      : lks_samples_init(&failover->samples, options->rounds);
    if (rc == 0) {
        rc = start(failover, err);
    }
    for (uint32_t round = 1; rc == 0 && round <= options->rounds; round++) {
        rc = one_round(failover, round, err);
    }
    if (rc == 0) {
        report(failover);
    }
    lks_bench_cluster_end(&failover->cluster, rc != 0);
    lks_samples_fini(&failover->samples);
    free(failover->rounds);
    free(failover);
    return rc;
}
