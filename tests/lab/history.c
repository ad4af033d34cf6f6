/*
 * Clients of a cluster on other hosts, which a script cuts off, powers down and starts again: they
 * record what they do and are told until standard input ends; then all must serve, and what was
 * recorded is checked as chaos does. Each line of standard input is the name of a round that has
 * ended: in each, some commands must have been acknowledged.
 *
 *   lockstep-lab-history --clients N --seed S HOST...      replica i: HOST i, port 7000 + i
 *
 * Exit status: 0 all held, 1 something did not, 2 usage.
 */
#include "tests/support/history_checks.h"

#include <argp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 32u
#define FIRST_PORT 7001
#define TIMEOUT_MS 180000u
#define THINK_US_MAX 20000u
#define OPERATIONS_MAX 200000u /* of one client; a round without any more fails */
#define LINE_BYTES 256

struct lab {
    struct lks_process_cluster cluster;
    struct lks_history_run run;
    struct lks_history_client clients[CLIENTS_MAX];
    uint32_t clients_count;
    uint32_t clients_started;
    uint64_t seed;
};

/* Until standard input ends. -1: a round in which nothing was acknowledged. */
static int follow_rounds(struct lab *lab)
{
    char line[LINE_BYTES];
    uint64_t before = 0;
    int rc = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        const uint64_t now =
            atomic_load_explicit(&lab->run.acknowledged, memory_order_relaxed);
        line[strcspn(line, "\n")] = '\0';
        printf("%s: %" PRIu64 " acknowledged%s\n", line, now - before,
               now == before ? ": WRONG, there was no load" : "");
        rc = now == before ? -1 : rc;
        before = now;
    }
    return rc;
}

static int start_clients(struct lab *lab)
{
    for (; lab->clients_started < lab->clients_count; lab->clients_started++) {
        const uint32_t id = lab->clients_started;
        if (lks_history_client_start(&lab->clients[id], &lab->run, id, lab->seed * 1000 + id) !=
            0) {
            fprintf(stderr, "client %u: no memory or no thread\n", id);
            return -1;
        }
    }
    return 0;
}

static void join_clients(struct lab *lab)
{
    struct lks_history_client sum = {0};
    atomic_store_explicit(&lab->run.stop, true, memory_order_relaxed);
    for (uint32_t i = 0; i < lab->clients_started; i++) {
        lks_history_client_join(&lab->clients[i]);
        sum.acknowledged += lab->clients[i].acknowledged;
        sum.unknown += lab->clients[i].unknown;
        sum.refused += lab->clients[i].refused;
        sum.malformed += lab->clients[i].malformed;
    }
    printf("operations: %" PRIu64 " acknowledged, %" PRIu64 " unknown, %" PRIu64
           " refused; malformed replies: %" PRIu64 "\n",
           sum.acknowledged, sum.unknown, sum.refused, sum.malformed);
    if (sum.malformed != 0) {
        lab->cluster.failed = true;
    }
}

static int run(struct lab *lab)
{
    lab->run.cluster = &lab->cluster;
    lab->run.think_us_max = THINK_US_MAX;
    lab->run.operations_max = OPERATIONS_MAX;
    /* All are disturbed all the time: who is cut off, and when, is the script's. */
    for (uint32_t id = 1; id <= lab->cluster.replicas; id++) {
        atomic_store_explicit(&lab->run.disturbances[id], 1, memory_order_relaxed);
    }
    int rc = start_clients(lab);
    if (rc == 0) {
        rc = follow_rounds(lab);
    }
    join_clients(lab);
    if (rc == 0) {
        rc = lks_process_cluster_wait_serving(&lab->cluster, TIMEOUT_MS);
    }
    if (rc == 0) {
        rc |= lks_history_check_own_keys(lab->clients, lab->clients_count, &lab->cluster);
        rc |= lks_history_check(lab->clients, lab->clients_count, &lab->cluster);
        rc |= lks_process_cluster_check_hashes(&lab->cluster, TIMEOUT_MS);
    }
    for (uint32_t i = 0; i < lab->clients_started; i++) {
        lks_history_client_fini(&lab->clients[i]);
    }
    return rc == 0 && !lab->cluster.failed ? 0 : -1;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct lab *lab = state->input;
    switch (key) {
    case 'c':
        lab->clients_count = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case 's':
        lab->seed = strtoull(value, NULL, 10);
        return 0;
    case ARGP_KEY_ARG:
        if (lab->cluster.replicas == LKS_PROCESS_REPLICAS_MAX) {
            argp_error(state, "more than %u hosts", LKS_PROCESS_REPLICAS_MAX);
        }
        lab->cluster.hosts[++lab->cluster.replicas] = value;
        return 0;
    case ARGP_KEY_END:
        if (lab->cluster.replicas == 0 || lab->clients_count < 1 ||
            lab->clients_count > CLIENTS_MAX) {
            argp_error(state, "name the hosts; --clients 1..%u", CLIENTS_MAX);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"clients", 'c', "N", 0, "concurrent clients (6)", 0},
        {"seed", 's', "S", 0, "of what they do (1)", 0},
        {0},
    };
    static const struct argp argp = {.options = options, .parser = parse_option,
                                     .args_doc = "HOST...",
                                     .doc = "Records what clients of a cluster see."};
    static struct lab lab = {.clients_count = 6, .seed = 1, .cluster.first_port = FIRST_PORT};
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &lab);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const int rc = run(&lab);
    printf("history: %s\n", rc == 0 ? "all held" : "FAILED");
    return rc == 0 ? 0 : 1;
}
