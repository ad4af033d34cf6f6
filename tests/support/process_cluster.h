/*
 * A cluster of real `lockstep serve` processes for tests: made in a fresh folder, on free ports,
 * started, killed, stopped and asked by the test's main thread. Replicas die with the test. The
 * folder is removed at the end unless something failed: then it stays and its place is printed.
 *
 * Or a cluster on other hosts, which somebody else starts and ends: `hosts` names them, and they
 * are only asked here.
 */
#ifndef LKS_TESTS_SUPPORT_PROCESS_CLUSTER_H
#define LKS_TESTS_SUPPORT_PROCESS_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LKS_PROCESS_REPLICAS_MAX 7u

struct lks_process_cluster {
    char directory[256];
    const char *hosts[LKS_PROCESS_REPLICAS_MAX + 1]; /* by id; NULL: this one */
    uint32_t replicas; /* ids 1..replicas */
    int first_port;
    const char *rdma_address; /* of this machine's device; NULL: the fabric is shm */
    pid_t pids[LKS_PROCESS_REPLICAS_MAX + 1]; /* 0: not running */
    bool paused[LKS_PROCESS_REPLICAS_MAX + 1];
    /* Set by a test that changes members: no member, or about to be one or none. It is started only
     * when the test says so, and neither awaited nor compared. */
    bool away[LKS_PROCESS_REPLICAS_MAX + 1];
    bool ended_removed[LKS_PROCESS_REPLICAS_MAX + 1]; /* while away: said that it was removed */
    uint32_t deaths_by_fence; /* killed by a peer since they were silent while writing */
    bool failed;              /* keep the folder */
};

struct lks_process_cluster_options {
    uint32_t replicas;
    const char *ring;       /* as for `lockstep init` */
    const char *durability; /* likewise; NULL: auto */
    bool rdma; /* over the device that LKS_TEST_RDMA_ADDRESS names, which must be set */
    const char *election_timeout; /* likewise; NULL: the default */
    const char *parent;     /* of the folder to make; NULL: as scratch.h says */
    bool spare_ports;       /* ports up to replica 7's are free too: more replicas will come */
};

/* Makes a new cluster. Starts nothing. -1: printed why. */
int lks_process_cluster_init(struct lks_process_cluster *cluster,
                             const struct lks_process_cluster_options *options);

/* Kills what runs; removes the folder unless `failed`, in which case it prints where the logs
 * are and the last lines of each. */
void lks_process_cluster_fini(struct lks_process_cluster *cluster);

/* Where a replica's clients connect. */
const char *lks_process_cluster_host(const struct lks_process_cluster *cluster, uint32_t replica);
int lks_process_cluster_port(const struct lks_process_cluster *cluster, uint32_t replica);

/* Each does nothing to a replica that is already in that state. */
int lks_process_cluster_start(struct lks_process_cluster *cluster, uint32_t replica);
void lks_process_cluster_signal(struct lks_process_cluster *cluster, uint32_t replica,
                                int signal_number);
void lks_process_cluster_kill(struct lks_process_cluster *cluster, uint32_t replica);
void lks_process_cluster_pause(struct lks_process_cluster *cluster, uint32_t replica);
void lks_process_cluster_resume(struct lks_process_cluster *cluster, uint32_t replica);
/* SIGTERM; waits up to 10 s. 0 if it ended with exit code 0. */
int lks_process_cluster_stop(struct lks_process_cluster *cluster, uint32_t replica);
/* Sends SIGKILL to all before waiting for any: a power cut as far as processes can have one. */
void lks_process_cluster_kill_all(struct lks_process_cluster *cluster);

/*
 * Notices replicas that ended by themselves. One that a peer's fence killed is started again and
 * counted; one that is away may also end since it was removed, and is not started again; any
 * other end is a failure: -1, printed.
 */
int lks_process_cluster_reap(struct lks_process_cluster *cluster);

/* Starts what does not run and waits until each replica answers a read. -1 after timeout_ms. */
int lks_process_cluster_wait_serving(struct lks_process_cluster *cluster, uint32_t timeout_ms);

/* The same for all but one replica, which is left as it is. */
int lks_process_cluster_wait_serving_without(struct lks_process_cluster *cluster,
                                             uint32_t left_out, uint32_t timeout_ms);

/* The value of one field of INFO `section`; -1 if the replica does not answer in a second. */
int lks_process_cluster_info(const struct lks_process_cluster *cluster, uint32_t replica,
                             const char *section, const char *field, char *value,
                             size_t value_bytes);

/* The leader as the running replicas say it; 0: none. */
uint32_t lks_process_cluster_leader(const struct lks_process_cluster *cluster);

/* Waits until all have applied the same index, then compares the hashes of their states. */
int lks_process_cluster_check_hashes(struct lks_process_cluster *cluster, uint32_t timeout_ms);

/* A time limit as this cluster needs it: several times as long over RDMA, which is emulated where
 * these tests run. */
uint32_t lks_process_cluster_patience(const struct lks_process_cluster *cluster, uint32_t ms);

/* The path of the lockstep binary: $LOCKSTEP, else the one built beside the test. */
const char *lks_process_cluster_binary(void);

/* Runs the binary with arguments (NULL-terminated, without the name of the program); its standard
 * output and error go to files, "" for none. The exit code; -1: ended by a signal. */
int lks_process_run(const char *const *arguments, const char *out_path, const char *error_path);

/* The same without waiting: the process's id, -1 if there is none. */
pid_t lks_process_launch(const char *const *arguments, const char *out_path,
                         const char *error_path);

/* The exit code; -1: ended by a signal, or killed since it had not ended in time (printed). */
int lks_process_await(pid_t pid, uint32_t timeout_ms);

#endif
