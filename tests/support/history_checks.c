/* What a recorded run must come to; see the header. */
#include "tests/support/history_checks.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int lks_history_check_own_keys(const struct lks_history_client *clients, uint32_t clients_count,
                               const struct lks_process_cluster *cluster)
{
    int64_t wrong = 0;
    uint64_t unanswered = 0; /* (client, replica) pairs */
    uint64_t keys = 0;
    for (uint32_t id = 1; id <= cluster->replicas; id++) {
        for (uint32_t i = 0; i < clients_count && !cluster->away[id]; i++) {
            int64_t rc =
                lks_history_client_check_own(&clients[i], cluster, id);
            wrong += rc < 0 ? 0 : rc;
            unanswered += rc < 0;
            keys += clients[i].own_count;
        }
    }
    printf("own keys read back at all replicas: %llu, wrong: %lld", (unsigned long long)keys,
           (long long)wrong);
    if (unanswered != 0) {
        printf("; not read to their end: those of %llu clients", (unsigned long long)unanswered);
    }
    printf("\n");
    return wrong == 0 && unanswered == 0 ? 0 : -1;
}

static int check_counters(const struct lks_history_operation *history, size_t count,
                          const struct lks_history_operation *last)
{
    int rc = 0;
    for (uint32_t key = LKS_HISTORY_REGISTERS; key < LKS_HISTORY_KEYS; key++) {
        int64_t acknowledged = 0;
        int64_t unknown = 0;
        for (size_t i = 0; i < count; i++) {
            if (history[i].key == key && history[i].kind == LKS_HISTORY_INCR) {
                acknowledged += history[i].known;
                unknown += !history[i].known;
            }
        }
        bool good = last[key].value >= acknowledged && last[key].value <= acknowledged + unknown;
        printf("counter %u: %lld; increments acknowledged: %lld, unknown: %lld%s\n", key,
               (long long)last[key].value, (long long)acknowledged, (long long)unknown,
               good ? "" : ": WRONG");
        rc = good ? rc : -1;
    }
    return rc;
}

static void print_neighbours(const struct lks_history_operation *history, size_t count,
                             const struct lks_linearizability_report *report)
{
    static const char *const names[] = {"GET", "SET", "INCR", "DEL"};
    const struct lks_history_operation *bad = &history[report->operation];
    uint64_t origin = bad->call_ns - 50 * LKS_NS_PER_MS;
    fprintf(stderr, "around the one that no order explains (ms from 50 ms before its call):\n");
    for (size_t i = 0; i < count; i++) {
        const struct lks_history_operation *o = &history[i];
        bool near = o->key == bad->key && o->call_ns < bad->return_ns + 5 * LKS_NS_PER_MS &&
                    (!o->known || o->return_ns > bad->call_ns - 5 * LKS_NS_PER_MS);
        if (near && o->call_ns > origin) {
            fprintf(stderr, "%c %9.3f..%9.3f %-4s argument %lld %s %lld%s\n", o == bad ? '>' : ' ',
                    (double)(o->call_ns - origin) / 1e6,
                    o->known ? (double)(o->return_ns - origin) / 1e6 : -1.0, names[o->kind],
                    (long long)o->argument, o->present ? "present" : "absent",
                    (long long)o->value, o->known ? "" : " (no answer)");
        }
    }
}

static int check_linearizable(const struct lks_history_operation *history, size_t count)
{
    struct lks_linearizability_report report;
    uint64_t began_ns = lks_clock_monotonic_ns();
    int rc = lks_linearizability_check(history, count, NULL, &report);
    static const char *const verdicts[] = {"linearizable", "NOT LINEARIZABLE", "TOO BIG"};
    if (rc != 0) {
        fprintf(stderr, "history of %zu operations: checker failed: %d\n", count, rc);
        return -1;
    }
    printf("history of %zu operations: %s (%.1f s)\n", count, verdicts[report.verdict],
           (double)(lks_clock_monotonic_ns() - began_ns) / 1e9);
    if (report.verdict == LKS_NOT_LINEARIZABLE) {
        print_neighbours(history, count, &report);
    }
    return report.verdict == LKS_LINEARIZABLE ? 0 : -1;
}

int lks_history_check(const struct lks_history_client *clients, uint32_t clients_count,
                      const struct lks_process_cluster *cluster)
{
    size_t count = 0;
    for (uint32_t i = 0; i < clients_count; i++) {
        count += clients[i].count;
    }
    size_t room = count + LKS_HISTORY_KEYS * cluster->replicas;
    struct lks_history_operation *history = calloc(room, sizeof(*history));
    if (history == NULL) {
        return -1;
    }
    count = 0;
    for (uint32_t i = 0; i < clients_count; i++) {
        memcpy(&history[count], clients[i].operations,
               clients[i].count * sizeof(*history));
        count += clients[i].count;
    }
    int rc = 0;
    for (uint32_t id = 1; id <= cluster->replicas && rc == 0; id++) {
        if (cluster->away[id]) {
            continue;
        }
        rc = lks_history_read_all(cluster, id, &history[count]);
        count += rc == 0 ? LKS_HISTORY_KEYS : 0;
    }
    if (rc != 0) {
        fprintf(stderr, "no answer to the last reads\n");
    } else {
        rc = check_counters(history, count, &history[count - LKS_HISTORY_KEYS]);
        rc = check_linearizable(history, count) != 0 ? -1 : rc;
    }
    free(history);
    return rc;
}
