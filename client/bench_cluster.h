/*
 * A cluster of real replica processes for the benchmarks, in a folder of its own that is removed
 * at the end, and a blocking connection to one of its client ports. Main thread.
 */
#ifndef LKS_CLIENT_BENCH_CLUSTER_H
#define LKS_CLIENT_BENCH_CLUSTER_H

#include "bench/guard.h"
#include "client/cluster_files.h"
#include "client/processes.h"
#include "client/survey.h"

#define LKS_BENCH_PIPELINED_MAX 256u

/* Big: give it static or heap memory, zeroed. */
struct lks_bench_cluster {
    struct lks_config config;
    char config_path[LKS_CONFIG_PATH_MAX];
    char directory[LKS_CONFIG_PATH_MAX];
    struct lks_guard guard;
    struct lks_process processes[LKS_REPLICAS_MAX + 1]; /* by id */
    struct lks_survey survey; /* of the last lks_bench_cluster_is_whole */
};

/* Makes the folder <options->directory>/lockstep-<name>-XXXXXX with a configuration and journals.
 * Starts nothing. options->directory: where the folder is made. Errors: errno, with err. */
int lks_bench_cluster_make(struct lks_bench_cluster *cluster, const char *name,
                           const struct lks_cluster_options *options, struct lks_error *err);

int lks_bench_cluster_start(struct lks_bench_cluster *cluster, uint32_t id, struct lks_error *err);
int lks_bench_cluster_start_all(struct lks_bench_cluster *cluster, struct lks_error *err);

/* SIGKILL to all before waiting for any. */
void lks_bench_cluster_kill_all(struct lks_bench_cluster *cluster);

/* Looks once: every replica follows one leader, has all partitions and has executed what it knows
 * of. */
bool lks_bench_cluster_is_whole(struct lks_bench_cluster *cluster);

/* The same until it is so. -ETIMEDOUT after most_ns. */
int lks_bench_cluster_await_whole(struct lks_bench_cluster *cluster, uint64_t most_ns,
                                  struct lks_error *err);

/* Kills what runs; removes the folder unless keep_files. Allowed on a zeroed object. */
void lks_bench_cluster_end(struct lks_bench_cluster *cluster, bool keep_files);

/* A connection to a replica's client port that gives up after a minute without an answer: a
 * descriptor, or a negative errno. */
int lks_bench_dial(const struct lks_config_replica *replica);

/* Sends all bytes. 0, or a negative errno. */
int lks_bench_send(int fd, const char *bytes, size_t count);

/* Takes count answers, at most LKS_BENCH_PIPELINED_MAX, of "+OK" each; -EBADMSG: another one. */
int lks_bench_take_ok(int fd, uint32_t count);

void lks_bench_nap(uint64_t ns);

#endif
