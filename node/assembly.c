/* A replica with its surroundings on this machine; see assembly.h. */
#include "node/assembly.h"

#include "base/assert.h"
#include "base/clock.h"
#include "node/hello.h"
#include "node/members.h"
#include "node/placement.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define OUTSTANDING_MAX 1024u /* one-sided operations in flight, per peer and kind */

void lks_assembly_journal_options(const struct lks_config *config, uint32_t replica,
                                  struct lks_journal_options *options)
{
    *options = (struct lks_journal_options){
        .path = config->replicas[replica].journal,
        .replica = replica,
        .bootstrap_voters = lks_config_members(config),
        .ring_bytes = config->ring_bytes,
        .entry_bytes_max = config->entry_bytes_max,
        .forgetful = config->durability == LKS_DURABILITY_MEMORY,
    };
    memcpy(options->cluster_id, config->cluster_id, sizeof options->cluster_id);
}

void lks_assembly_snapshots_options(const struct lks_config *config, uint32_t replica,
                                    uint32_t partitions, struct lks_snapshots_options *options)
{
    *options = (struct lks_snapshots_options){
        .path = config->replicas[replica].snapshots,
        .replica = replica,
        .partitions = partitions,
        .area_bytes = config->snapshots_bytes_max,
    };
    memcpy(options->cluster_id, config->cluster_id, sizeof options->cluster_id);
}

/* A log whose base never moved holds everything: then a missing area (of a cluster made before
 * there were any) is simply made. */
static int open_snapshots(struct lks_assembly *assembly, const struct lks_assembly_options *options,
                          struct lks_error *err)
{
    struct lks_snapshots_options snapshots;
    struct lks_log_point base;
    lks_assembly_snapshots_options(options->config, options->replica, options->service->partitions,
                                   &snapshots);
    int rc = lks_snapshots_open(&assembly->snapshots, &snapshots, err);
    lks_journal_base(assembly->journal, &base);
    if (rc == -ENOENT && base.offset == 0) {
        lks_log_info(options->log_sink, "snapshots %s: made anew, empty", snapshots.path);
        rc = lks_snapshots_create(&snapshots, err);
        if (rc == 0) {
            rc = lks_snapshots_open(&assembly->snapshots, &snapshots, err);
        }
    } else if (rc == -ENOENT || rc == -LKS_EDAMAGED) {
        char reason[LKS_ERROR_TEXT_MAX];
        (void)snprintf(reason, sizeof reason, "%s", err->text);
        rc = lks_error_set(err, rc,
                           "%.400s; the log begins at offset %" PRIu64 " and needs them: let the "
                           "peers rebuild this replica with `lockstep init CONFIG --replica %u "
                           "--rejoin`",
                           reason, base.offset, options->replica);
    }
    return rc;
}

static int persist_snapshots(void *ctx, uint64_t from, uint64_t to)
{
    const struct lks_snapshots_range range = {.offset = from, .bytes = to - from};
    return lks_snapshots_persist(ctx, &range);
}

static int persist_journal(void *ctx, uint64_t from, uint64_t to)
{
    return lks_journal_persist_range(ctx, from, to);
}

static int open_fabric(struct lks_assembly *assembly, const struct lks_assembly_options *options,
                       struct lks_error *err)
{
    const struct lks_config *config = options->config;
    const struct lks_medium *medium = lks_journal_medium(assembly->journal);
    struct lks_identity identity;
    struct lks_log_memory memory;
    struct lks_snapshots_memory area;
    lks_journal_identity(assembly->journal, &identity);
    lks_journal_log_memory(assembly->journal, &memory);
    lks_snapshots_memory(assembly->snapshots, &area);
    struct lks_fabric_options fabric = {
        .replica = options->replica,
        .replicas = LKS_REPLICAS_MAX,
        .incarnation = identity.incarnation,
        .directory = config->directory,
        .log = {memory.address, memory.bytes, memory.fd, memory.fd_offset},
        .snapshots = {area.address, area.bytes, area.fd, 0},
        .words_bytes = LKS_REPLICA_WORDS_BYTES,
        .inbox_bytes = LKS_REPLICA_INBOX_BYTES,
        .scratch_bytes = LKS_REPLICA_SCRATCH_BYTES,
        .outstanding_max = OUTSTANDING_MAX,
        .silent_writer_ns = config->silent_writer_ns,
        .shared_process = options->shared_process,
        .log_sink = options->log_sink,
    };
    memcpy(fabric.cluster_id, config->cluster_id, sizeof fabric.cluster_id);
    struct lks_hello hello = {
        .version = LKS_HELLO_VERSION,
        .durability = assembly->durability.durability,
        .medium = medium->kind,
        .domain = medium->domain,
        .incarnation = (uint32_t)identity.incarnation, /* of 31 bits */
        .life = (uint32_t)(lks_clock_realtime_ns() >> 10),
    };
    _Static_assert(sizeof hello.boot_id == sizeof identity.boot_id, "boot ids are of one size");
    memcpy(hello.boot_id, identity.boot_id, sizeof hello.boot_id);
    hello.boot_id[sizeof hello.boot_id - 1] = '\0';
    memcpy(fabric.hello, &hello, sizeof hello);
    if (config->fabric != LKS_CONFIG_FABRIC_RDMA) {
        return lks_fabric_shm_new(&assembly->fabric, &fabric, err);
    }
    lks_ring_memory_prepare(&assembly->ring_memory, medium, &memory,
                            lks_assembly_device_node(config, options->replica));
    const int rc = lks_assembly_rdma(assembly, &fabric, err);
    lks_ring_memory_settled(&assembly->ring_memory);
    if (rc == 0) {
        lks_log_info(options->log_sink, "log: %s", assembly->ring_memory.text);
    }
    return rc;
}

/* Persisting blocks only where the page cache stands before the medium. */
static int start_flushers(struct lks_assembly *assembly, struct lks_error *err)
{
    int rc = 0;
    if (!lks_journal_medium(assembly->journal)->flush_by_cpu &&
        assembly->durability.durability != LKS_DURABILITY_MEMORY) {
        rc = lks_flusher_new(&assembly->flusher, persist_journal, assembly->journal, err);
    }
    if (rc == 0 && !lks_snapshots_medium(assembly->snapshots)->flush_by_cpu) {
        rc = lks_flusher_new(&assembly->snapshot_flusher, persist_snapshots, assembly->snapshots,
                             err);
    }
    return rc;
}

static uint64_t random_seed(uint32_t replica)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
        seed = lks_clock_monotonic_ns() ^ ((uint64_t)getpid() << 32);
    }
    return seed ^ replica;
}

/* Before format version 2 the members were the replicas of the configuration. */
static uint32_t old_members(const struct lks_assembly *assembly)
{
    struct lks_journal_facts facts;
    struct lks_identity identity;
    lks_journal_facts(assembly->journal, &facts);
    lks_journal_identity(assembly->journal, &identity);
    return facts.version < 2 && !identity.promise_lost ? lks_config_members(assembly->config) : 0;
}

/* Where a replica's threads and their memory belong. */
struct places {
    int cpus[LKS_WORKERS_MAX];
    int nodes[LKS_WORKERS_MAX + 1];
};

/* Memory goes where its threads are, where there is a choice. */
static void place_memory(struct lks_assembly *assembly, const struct lks_assembly_options *options,
                         const struct lks_topology_plan *plan, struct places *places,
                         struct lks_replica_scheduler *scheduler)
{
    struct lks_error err = {0};
    if (plan->nodes <= 1) {
        return;
    }
    if (lks_numa_init(&assembly->numa, options->log_sink, &err) != 0) {
        lks_log_warn(options->log_sink, "memory is not placed by NUMA node: %s", err.text);
        return;
    }
    lks_topology_plan_nodes(plan, places->nodes);
    scheduler->numa = &assembly->numa;
    scheduler->nodes = places->nodes;
}

/* Where threads run: the core thread, and workers near it. Where there are too few cores, or hwloc
 * cannot tell, the system decides. */
static void place_threads(struct lks_assembly *assembly,
                          const struct lks_assembly_options *options, struct places *places,
                          struct lks_replica_scheduler *scheduler)
{
    struct lks_error err = {0};
    const uint32_t workers = (uint32_t)options->config->workers;
    if (workers == 0) {
        return;
    }
    struct lks_topology_plan *plan = malloc(sizeof *plan);
    if (plan == NULL) {
        lks_log_warn(options->log_sink, "threads are not pinned: no memory for the plan");
    } else if (lks_placement_make(plan, options->config, options->replica, workers, NULL, &err) !=
               0) {
        lks_log_warn(options->log_sink, "threads are not pinned: %s", err.text);
    } else {
        if (plan->crowded) {
            lks_log_warn(options->log_sink,
                         "%u replicas of %u workers and a thread of their own on %u hardware "
                         "threads: they share; `lockstep topology` shows how",
                         plan->places, workers, plan->cpus);
        }
        lks_topology_plan_cpus(plan, places->cpus);
        scheduler->cpus = places->cpus;
        assembly->core_cpu = lks_topology_plan_core_cpu(plan);
        place_memory(assembly, options, plan, places, scheduler);
    }
    free(plan);
}

static int make_replica(struct lks_assembly *assembly, const struct lks_assembly_options *options,
                        struct lks_error *err)
{
    const struct lks_config *config = options->config;
    struct places places;
    struct lks_replica_options replica = {
        .replica = options->replica,
        .replicas = LKS_REPLICAS_MAX,
        .bootstrap_voters = old_members(assembly),
        .journal = assembly->journal,
        .snapshots = assembly->snapshots,
        .fabric = assembly->fabric,
        .service = options->service,
        .durability = assembly->durability.durability,
        .entry_bytes_max = config->entry_bytes_max,
        .election_timeout_ns = config->election_timeout_ns,
        .heartbeat_ns = config->heartbeat_ns,
        .clock_ns = lks_clock_monotonic_ns,
        .realtime_clock_ns = lks_clock_realtime_ns,
        .pending_bytes_max = config->pending_bytes_max,
        .seed = random_seed(options->replica),
        .scheduler = {.kind = config->scheduler, .workers = (uint32_t)config->workers},
        .log_sink = options->log_sink,
        .on_reply = options->on_reply,
        .on_member_change = options->on_member_change,
        .ctx = options->ctx,
    };
    place_threads(assembly, options, &places, &replica.scheduler);
    if (assembly->flusher != NULL) {
        replica.persister = (struct lks_persister){lks_flusher_post, assembly->flusher};
    }
    if (assembly->snapshot_flusher != NULL) {
        replica.snapshot_persister =
            (struct lks_persister){lks_flusher_post, assembly->snapshot_flusher};
    }
    return lks_replica_new(&assembly->replica, &replica, err);
}

static int check_removed(const struct lks_assembly *assembly, struct lks_error *err)
{
    struct lks_identity identity;
    lks_journal_identity(assembly->journal, &identity);
    return identity.removed ? lks_error_set(err, -LKS_EREMOVED, LKS_REMOVED_TEXT,
                                            assembly->replica_id, assembly->replica_id)
                            : 0;
}

static int resolve_durability(struct lks_assembly *assembly, const char *journal_path,
                              struct lks_error *err)
{
    const struct lks_config *config = assembly->config;
    const struct lks_medium *medium = lks_journal_medium(assembly->journal);
    struct lks_durability_adapter adapter = {0};
    if (config->fabric != LKS_CONFIG_FABRIC_RDMA) {
        return lks_durability_resolve(&assembly->durability, config->durability, medium,
                                      journal_path, err);
    }
    const int rc = lks_assembly_find_adapter(config, assembly->replica_id, &adapter, err);
    return rc != 0 ? rc
                   : lks_durability_resolve_rdma(&assembly->durability, config->durability, medium,
                                                 &adapter, journal_path, err);
}

int lks_assembly_init(struct lks_assembly *assembly, const struct lks_assembly_options *options,
                      struct lks_error *err)
{
    const struct lks_config *config = options->config;
    *assembly = (struct lks_assembly){
        .config = config, .replica_id = options->replica, .core_cpu = -1};
    if (options->replica < 1 || options->replica > config->replicas_count) {
        return lks_error_set(err, -LKS_ECONFIG,
                             "replica %u: the configuration names replicas 1 to %u only: add a "
                             "block with its id, journal and listen (`lockstep member add %u "
                             "--journal FILE --listen ADDRESS:PORT` does)",
                             options->replica, config->replicas_count, options->replica);
    }
    struct lks_journal_options journal;
    lks_assembly_journal_options(config, options->replica, &journal);
    int rc = lks_journal_open(&assembly->journal, &journal, err);
    if (rc == 0) {
        rc = resolve_durability(assembly, journal.path, err);
    }
    if (rc == 0) {
        rc = check_removed(assembly, err);
    }
    if (rc == 0) {
        rc = open_snapshots(assembly, options, err);
    }
    if (rc == 0) {
        rc = start_flushers(assembly, err);
    }
    if (rc == 0) {
        rc = open_fabric(assembly, options, err);
    }
    if (rc == 0) {
        rc = make_replica(assembly, options, err);
    }
    if (rc != 0) {
        lks_assembly_fini(assembly, false);
    }
    return rc;
}

void lks_assembly_fini(struct lks_assembly *assembly, bool clean)
{
    if (assembly->replica != NULL) {
        lks_replica_free(assembly->replica);
    }
    lks_numa_fini(&assembly->numa);
    lks_fabric_free(assembly->fabric);
    lks_flusher_free(assembly->flusher);
    lks_flusher_free(assembly->snapshot_flusher);
    lks_snapshots_close(assembly->snapshots);
    lks_journal_close(assembly->journal, clean);
    *assembly = (struct lks_assembly){0};
}
