/* The files of a cluster on this machine; see cluster_files.h. */
#include "client/cluster_files.h"

#include "base/assert.h"
#include "base/clock.h"
#include "client/program.h"
#include "client/progress.h"
#include "client/rdma_address.h"
#include "node/assembly.h"
#include "node/client_lanes.h"
#include "node/client_wire.h"
#include "node/replica.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define RDMA_PORTS_APART 100u
#define HEARTBEATS_PER_TIMEOUT 5u
/* Processors that do an adapter's work take tens of milliseconds for one permission, and what waits
 * for a processor meanwhile is no dead leader. */
#define SOFTWARE_TIMEOUT_NS (500 * LKS_NS_PER_MS)
#define LANE_MESSAGES_BYTES (UINT64_C(96) << 10) /* of a client over RDMA, beside its area */
/* Of a replica, beside inboxes and scratch; of an adapter's: slots where little goes inline, and
 * queues, which its driver locks too. */
#define SOFTWARE_MESSAGES_BYTES (UINT64_C(1) << 20)
#define ADAPTER_MESSAGES_BYTES (UINT64_C(96) << 20)
#define SNAPSHOTS_PART_BYTES (UINT64_C(64) << 20)

int lks_cluster_config_path(const char *directory, char path[LKS_CONFIG_PATH_MAX],
                            struct lks_error *err)
{
    const int length = snprintf(path, LKS_CONFIG_PATH_MAX, "%s/cluster.yaml", directory);
    if (length < 0 || (unsigned)length >= LKS_CONFIG_PATH_MAX) {
        return lks_error_set(err, -ENAMETOOLONG, "--dir: the path is longer than %u bytes",
                             LKS_CONFIG_PATH_MAX - 16);
    }
    return 0;
}

int lks_cluster_make_directory(const char *directory, struct lks_error *err)
{
    if (mkdir(directory, 0700) == 0) {
        return 0;
    }
    const int code = -errno;
    struct stat found;
    if (code == -EEXIST && stat(directory, &found) == 0 && S_ISDIR(found.st_mode)) {
        return 0;
    }
    return lks_error_set(err, code, "%s: cannot make this folder: %s", directory,
                         lks_error_text(code));
}

/* Connection managers count their ports for themselves; clients over RDMA use TCP's numbers there,
 * replicas others. */
static uint16_t rdma_port_for(uint16_t port)
{
    return (uint16_t)(port <= UINT16_MAX - RDMA_PORTS_APART ? port + RDMA_PORTS_APART
                                                            : port - RDMA_PORTS_APART);
}

static int choose_rdma(struct lks_config *made, const struct lks_cluster_options *options,
                       struct lks_error *err)
{
    char address[LKS_ADDRESS_TEXT_MAX];
    made->fabric = LKS_CONFIG_FABRIC_RDMA;
    made->takes_clients = true;
    if (getrandom(made->cluster_key, sizeof made->cluster_key, 0) != sizeof made->cluster_key ||
        getrandom(made->client_key, sizeof made->client_key, 0) != sizeof made->client_key) {
        return lks_error_set(err, -EIO, "cannot get random bytes for the cluster's keys");
    }
    if (options->rdma_address != NULL) {
        (void)snprintf(address, sizeof address, "%s", options->rdma_address);
    } else {
        const int rc = lks_rdma_address_find(LKS_RDMA_ADDRESS_SYSFS, address, err);
        if (rc != 0) {
            return rc;
        }
    }
    for (uint32_t id = 1; id <= made->replicas_count; id++) {
        memcpy(made->replicas[id].rdma_address, address, sizeof address);
        made->replicas[id].rdma_port = rdma_port_for(made->replicas[id].port);
    }
    return 0;
}

static void set_timing(struct lks_config *made, uint64_t election_timeout_ns)
{
    made->election_timeout_ns = election_timeout_ns;
    made->heartbeat_ns = election_timeout_ns / HEARTBEATS_PER_TIMEOUT;
}

/* A device that is not there yet is taken for an adapter. */
static bool is_software_rdma(const struct lks_config *config)
{
    struct lks_durability_adapter adapter = {0};
    struct lks_error ignored = {0};
    return config->fabric == LKS_CONFIG_FABRIC_RDMA &&
           lks_assembly_find_adapter(config, 1, &adapter, &ignored) == 0 && !adapter.hardware;
}

int lks_cluster_new_config(struct lks_config *config, const struct lks_cluster_options *options,
                           char path[LKS_CONFIG_PATH_MAX], struct lks_error *err)
{
    struct lks_config made;
    lks_config_defaults(&made);
    (void)snprintf(made.name, sizeof made.name, "local");
    (void)snprintf(made.directory, sizeof made.directory, ".");
    if (getrandom(made.cluster_id, sizeof made.cluster_id, 0) != sizeof made.cluster_id) {
        return lks_error_set(err, -EIO, "cannot get random bytes for the cluster's id");
    }
    made.durability = options->durability;
    if (options->ring_bytes != 0) {
        made.ring_bytes = options->ring_bytes;
        if (made.entry_bytes_max > made.ring_bytes / 8) {
            made.entry_bytes_max = made.ring_bytes / 8;
        }
    }
    made.scheduler = options->scheduler;
    made.workers = options->workers;
    made.debug_commands = options->debug_commands;
    if (options->snapshots_bytes != 0) {
        made.snapshots_bytes_max = options->snapshots_bytes;
    }
    made.replicas_count = options->replicas != 0 ? options->replicas : 3;
    const unsigned first_port = options->port != 0 ? options->port : LKS_LOCAL_PORT;
    for (uint32_t id = 1; id <= made.replicas_count; id++) {
        struct lks_config_replica *replica = &made.replicas[id];
        (void)snprintf(replica->journal, sizeof replica->journal, "r%u.journal", id);
        (void)snprintf(replica->address, sizeof replica->address, "127.0.0.1");
        replica->port = (uint16_t)(first_port + id - 1);
    }
    int rc = lks_cluster_config_path(options->directory, path, err);
    if (rc == 0 && options->fabric == LKS_CONFIG_FABRIC_RDMA) {
        rc = choose_rdma(&made, options, err);
    }
    if (options->election_timeout_ns != 0) {
        set_timing(&made, options->election_timeout_ns);
    } else if (rc == 0 && is_software_rdma(&made)) {
        set_timing(&made, SOFTWARE_TIMEOUT_NS);
    }
    if (rc == 0) {
        rc = lks_config_write(&made, path, err);
    }
    if (rc != 0) {
        return rc;
    }
    rc = lks_config_load(config, path, err);
    if (rc != 0) {
        (void)unlink(path);
    }
    return rc;
}

int lks_cluster_create_replica(const struct lks_config *config, uint32_t replica,
                               bool fresh_cluster, uint64_t lives, struct lks_error *err)
{
    struct lks_journal_options journal;
    struct lks_snapshots_options snapshots;
    lks_assembly_journal_options(config, replica, &journal);
    journal.lives_before = lives > lks_journal_lives_by_clock() ? lives : 0;
    lks_assembly_snapshots_options(config, replica, lks_program()->service->partitions, &snapshots);
    char label[32];
    (void)snprintf(label, sizeof label, "journal of replica %u", replica);
    /* First the area, which is small and new, or refuses: a device's journal cannot be undone. */
    int rc = lks_snapshots_create(&snapshots, err);
    if (rc != 0) {
        return rc;
    }
    rc = lks_progress_create_journal(&journal, fresh_cluster, label, err);
    if (rc != 0) {
        (void)unlink(snapshots.path);
    }
    return rc;
}

static bool is_file(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0 && S_ISREG(found.st_mode);
}

/* Only files are removed: a device stays, formatted. */
static void remove_replicas(const struct lks_config *config, uint32_t up_to)
{
    for (uint32_t id = 1; id <= up_to; id++) {
        (void)unlink(config->replicas[id].snapshots);
        if (is_file(config->replicas[id].journal)) {
            (void)unlink(config->replicas[id].journal);
        }
    }
}

int lks_cluster_create_replicas(const struct lks_config *config, struct lks_error *err)
{
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        const struct lks_config_replica *replica = &config->replicas[id];
        const bool journal = is_file(replica->journal);
        if (journal || is_file(replica->snapshots)) {
            return lks_error_set(err, -EEXIST,
                                 "%s %s exists: nothing was created; to create a lost journal of "
                                 "another replica use --replica N",
                                 journal ? "journal" : "snapshot area",
                                 journal ? replica->journal : replica->snapshots);
        }
    }
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        const int rc = lks_cluster_create_replica(config, id, true, 0, err);
        if (rc != 0) {
            remove_replicas(config, id - 1);
            return rc;
        }
    }
    return 0;
}

/* Whether a process holds the file's lock (pmem/ locks the first byte while it is open). */
static int check_unused(const char *path, struct lks_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return lks_error_set(err, -errno, "%s: %s", path, lks_error_text(-errno));
    }
    const bool used = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    (void)close(fd);
    return used ? lks_error_set(err, -EBUSY,
                                "%s: a process has it open: stop that replica first, nothing was "
                                "changed",
                                path)
                : 0;
}

static int set_aside(const char *path, uint64_t suffix, struct lks_error *err)
{
    char aside[LKS_CONFIG_PATH_MAX + 32];
    (void)snprintf(aside, sizeof aside, "%s.old-%" PRIu64, path, suffix);
    if (is_file(aside) || rename(path, aside) != 0) {
        const int code = is_file(aside) ? -EEXIST : -errno;
        return lks_error_set(err, code, "%s: cannot be renamed to %s: %s", path, aside,
                             lks_error_text(code));
    }
    printf("set aside: %s (remove it when the replica is whole again)\n", aside);
    return 0;
}

static void read_lives(const struct lks_config *config, uint32_t replica, uint64_t *lives)
{
    struct lks_journal_options options;
    struct lks_journal *journal = NULL;
    struct lks_identity identity;
    struct lks_error ignored;
    lks_assembly_journal_options(config, replica, &options);
    options.read_only = true;
    if (lks_journal_open(&journal, &options, &ignored) == 0) {
        lks_journal_identity(journal, &identity);
        *lives = identity.incarnation + 1;
        lks_journal_close(journal, false);
    }
}

int lks_cluster_set_aside(const struct lks_config *config, uint32_t replica, uint64_t *lives,
                          struct lks_error *err)
{
    const char *const paths[] = {config->replicas[replica].journal,
                                 config->replicas[replica].snapshots};
    const uint64_t suffix = lks_clock_realtime_ns() / LKS_NS_PER_S;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < LKS_COUNT_OF(paths); i++) {
        rc = is_file(paths[i]) ? check_unused(paths[i], err) : 0;
    }
    if (rc == 0) {
        read_lives(config, replica, lives);
    }
    for (size_t i = 0; rc == 0 && i < LKS_COUNT_OF(paths); i++) {
        rc = is_file(paths[i]) ? set_aside(paths[i], suffix, err) : 0;
    }
    return rc;
}

int lks_cluster_check_journal(const struct lks_config *config, uint32_t replica,
                              struct lks_error *err)
{
    struct lks_journal_options options;
    struct lks_journal *journal = NULL;
    struct lks_identity identity;
    lks_assembly_journal_options(config, replica, &options);
    options.read_only = true;
    const int rc = lks_journal_open(&journal, &options, err);
    if (rc != 0) {
        return rc;
    }
    lks_journal_identity(journal, &identity);
    lks_journal_close(journal, false);
    return identity.removed
               ? lks_error_set(err, -LKS_EREMOVED,
                               "journal %s: replica %u was removed from the cluster while it used "
                               "it: --rejoin sets it aside and makes a new one",
                               options.path, replica)
               : 0;
}

/* What RDMA will want of the limit on locked memory: the ring once to be read, and once for each
 * peer to be written; messages; clients. */
static void print_locked_memory(const struct lks_config *config)
{
    struct rlimit limit = {0};
    char ring[32];
    char messages[32];
    char clients[32];
    char all[32];
    char part[32];
    char allowed[32];
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    const uint64_t messages_bytes = (LKS_REPLICAS_MAX - 1) * (uint64_t)LKS_REPLICA_INBOX_BYTES +
                                    LKS_REPLICA_SCRATCH_BYTES +
                                    (is_software_rdma(config) ? SOFTWARE_MESSAGES_BYTES
                                                              : ADAPTER_MESSAGES_BYTES);
    const uint64_t clients_bytes =
        config->takes_clients
            ? LKS_LANE_NUMBER_MAX * (LKS_CLIENT_AREA_BYTES + LANE_MESSAGES_BYTES)
            : 0;
    const uint64_t needed =
        config->replicas_count * config->ring_bytes + messages_bytes + clients_bytes;
    const bool unlimited = limit.rlim_cur == RLIM_INFINITY;
    printf("  locked memory: %u x %s for the ring, %s for messages, up to %s for clients over "
           "RDMA: %s; snapshots that peers install from here come on top, %s at a time; the limit "
           "here is %s%s\n",
           config->replicas_count, lks_value_size_text(config->ring_bytes, ring, sizeof ring),
           lks_value_size_text(messages_bytes, messages, sizeof messages),
           lks_value_size_text(clients_bytes, clients, sizeof clients),
           lks_value_size_text(needed, all, sizeof all),
           lks_value_size_text(SNAPSHOTS_PART_BYTES, part, sizeof part),
           unlimited ? "none" : lks_value_size_text(limit.rlim_cur, allowed, sizeof allowed),
           unlimited || limit.rlim_cur >= needed
               ? ""
               : ": raise it (ulimit -l, LimitMEMLOCK= of its unit), unless the replica runs as "
                 "root");
}

int lks_cluster_print_medium(const struct lks_config *config, uint32_t replica,
                             struct lks_error *err)
{
    struct lks_journal_options options;
    struct lks_journal *journal = NULL;
    lks_assembly_journal_options(config, replica, &options);
    options.read_only = true;
    const int rc = lks_journal_open(&journal, &options, err);
    if (rc != 0) {
        return rc;
    }
    const struct lks_medium *medium = lks_journal_medium(journal);
    char size[32];
    char most[32];
    printf("replica %u: %s, ring %s, medium %s (%s), survives a power cut: %s; snapshots %s, up to "
           "%s\n",
           replica, options.path,
           lks_value_size_text(lks_journal_ring_bytes(journal), size, sizeof size),
           lks_medium_name(medium->kind), medium->reason, medium->survives_power ? "yes" : "no",
           config->replicas[replica].snapshots,
           lks_value_size_text(config->snapshots_bytes_max, most, sizeof most));
    if (config->fabric == LKS_CONFIG_FABRIC_RDMA) {
        print_locked_memory(config);
    }
    lks_journal_close(journal, false);
    return 0;
}
