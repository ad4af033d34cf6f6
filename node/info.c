/* What a replica says of itself in INFO; see info.h. */
#include "node/info.h"

#include "node/member_command.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct writer {
    char *text;
    size_t bytes;
    size_t bytes_max;
};

/* Appends a line and its CRLF, or nothing where it does not fit. */
__attribute__((format(printf, 2, 3))) static void add(struct writer *out, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(line, sizeof line - 2, format, args);
    va_end(args);
    if (length < 0) {
        return;
    }
    size_t bytes = strnlen(line, sizeof line - 3);
    line[bytes++] = '\r';
    line[bytes++] = '\n';
    if (bytes <= out->bytes_max - out->bytes) {
        memcpy(out->text + out->bytes, line, bytes);
        out->bytes += bytes;
    }
}

static void add_identity(struct writer *out, const struct lks_assembly *assembly)
{
    char id[LKS_CLUSTER_ID_TEXT];
    lks_value_cluster_id_text(assembly->config->cluster_id, id);
    add(out, "# Lockstep");
    add(out, "pid:%ld", (long)getpid());
    add(out, "cluster:%s", assembly->config->name);
    add(out, "cluster_id:%s", id);
    add(out, "replica:%u", assembly->replica_id);
    add(out, "replicas:%u", assembly->config->replicas_count);
}

static void add_role(struct writer *out, const struct lks_assembly *assembly,
                     const struct lks_replica_status *status)
{
    add(out, "role:%s", lks_role_name(status->role));
    add(out, "leader:%u", status->leader);
    char address[LKS_ADDRESS_TEXT_MAX + 8];
    if (lks_member_address(assembly, status->leader, address, sizeof address)) {
        add(out, "leader_address:%s", address);
    }
    add(out, "term:%" PRIu64, status->term);
    add(out, "incarnation:%" PRIu64, status->incarnation);
    add(out, "elections:%" PRIu64, status->elections);
    add(out, "serving:%d", status->serving);
    add(out, "amnesiac:%d", status->amnesiac);
    add(out, "pending:%" PRIu64, status->pending);
}

static void add_members(struct writer *out, const struct lks_replica_status *status)
{
    char text[32];
    add(out, "members:%" PRIu64, status->members);
    add(out, "members_committed:%d", status->members_committed);
    add(out, "voters:%s", lks_member_mask_text(status->voters, text));
    add(out, "learners:%s", lks_member_mask_text(status->learners, text));
}

static void add_log(struct writer *out, const struct lks_replica_status *status)
{
    const uint64_t lag = status->commit_offset > status->applied_offset
                             ? status->commit_offset - status->applied_offset
                             : 0;
    add(out, "last_index:%" PRIu64, status->last_index);
    add(out, "applied_index:%" PRIu64, status->applied_index);
    add(out, "base_offset:%" PRIu64, status->base_offset);
    add(out, "applied_offset:%" PRIu64, status->applied_offset);
    add(out, "commit_offset:%" PRIu64, status->commit_offset);
    add(out, "tail_offset:%" PRIu64, status->tail_offset);
    add(out, "apply_lag_bytes:%" PRIu64, lag);
    add(out, "ring_bytes:%" PRIu64, status->ring_bytes);
}

/* Times of the host's monotonic clock. */
static void add_takeover(struct writer *out, const struct lks_takeover_status *takeover)
{
    if (takeover->term != 0) {
        add(out, "takeover_term:%" PRIu64, takeover->term);
        add(out, "takeover_suspected_ns:%" PRIu64, takeover->suspected_ns);
        add(out, "takeover_fenced_ns:%" PRIu64, takeover->fenced_ns);
        add(out, "takeover_granted_ns:%" PRIu64, takeover->granted_ns);
        add(out, "takeover_adopted_ns:%" PRIu64, takeover->adopted_ns);
        add(out, "takeover_committed_ns:%" PRIu64, takeover->committed_ns);
    }
}

static void add_reads(struct writer *out, const struct lks_reads_status *status)
{
    add(out, "reads:%" PRIu64, status->taken);
    add(out, "reads_waiting:%" PRIu64, status->waiting);
    add(out, "read_requests:%" PRIu64, status->requests);
    add(out, "read_rounds:%" PRIu64, status->rounds);
}

static void add_snapshots(struct writer *out, const struct lks_snapshots_status *status)
{
    add(out, "snapshots:%d", status->enabled);
    add(out, "partitions:%u", status->partitions);
    add(out, "partitions_ready:%u", status->partitions_ready);
    add(out, "commands_waiting:%" PRIu64, status->waiting);
    add(out, "restored_bytes:%" PRIu64, status->restored_bytes);
    add(out, "snapshots_taken:%" PRIu64, status->taken);
    add(out, "snapshots_failed:%" PRIu64, status->failed);
    add(out, "snapshots_failing_ms:%" PRIu64, status->failing_ns / UINT64_C(1000000));
    add(out, "unfit_to_lead:%d", status->unfit);
    add(out, "hand_overs:%" PRIu64, status->hand_overs);
    add(out, "snapshot_writing:%d", status->writing);
    add(out, "snapshot_written_bytes:%" PRIu64, status->writing_bytes);
    add(out, "snapshot_expected_bytes:%" PRIu64, status->writing_expected);
    add(out, "snapshot_oldest_offset:%" PRIu64, status->oldest_offset);
    add(out, "snapshot_newest_offset:%" PRIu64, status->newest_offset);
    add(out, "snapshots_used_bytes:%" PRIu64, status->used_bytes);
    add(out, "snapshots_max_bytes:%" PRIu64, status->area_bytes);
    add(out, "install_donor:%u", status->donor);
    add(out, "install_bytes:%" PRIu64, status->install_bytes);
    add(out, "install_expected_bytes:%" PRIu64, status->install_expected);
    add(out, "installations:%" PRIu64, status->installed);
}

/* idle_ms: without work, spinning or asleep. busy: percent of the last second or two that were not
 * idle; of the core thread, which does other things too, there is none. */
static void add_scheduler(struct writer *out, const struct lks_assembly *assembly)
{
    struct lks_scheduler_status status;
    lks_replica_scheduler_status(assembly->replica, &status);
    add(out, "scheduler:%s", lks_scheduler_kind_name(status.kind));
    add(out, "scheduler_wanted:%s", lks_scheduler_kind_name(status.wanted));
    add(out, "workers:%u", status.workers);
    add(out, "workers_active:%u", status.all.active);
    add(out, "commands_under_way:%" PRIu64, status.under_way);
    add(out, "scheduled:%" PRIu64, status.all.submitted);
    add(out, "executed_in_place:%" PRIu64, status.in_place);
    add(out, "scheduled_alone:%" PRIu64, status.all.everything);
    add(out, "scheduled_meetings:%" PRIu64, status.all.synchronised);
    add(out, "scheduled_dependent:%" PRIu64, status.all.dependent);
    add(out, "scheduler_refused:%" PRIu64, status.all.refused);
    add(out, "scheduler_switches:%" PRIu64, status.all.switches);
    for (uint32_t i = 0; i <= status.workers && status.workers > 0; i++) {
        const struct lks_worker_statistics *worker = &status.worker[i];
        char name[24];
        char busy[24] = "";
        if (i < status.workers) {
            (void)snprintf(name, sizeof name, "worker%u", i);
            (void)snprintf(busy, sizeof busy, ",busy=%u", status.busy_percent[i]);
        } else {
            (void)snprintf(name, sizeof name, "worker_core");
        }
        add(out,
            "%s:executed=%" PRIu64 ",stolen=%" PRIu64 ",given=%" PRIu64 ",waited=%" PRIu64
            ",parked=%" PRIu64 ",idle_ms=%" PRIu64 ",depth=%" PRIu64 "%s",
            name, worker->executed, worker->stolen, worker->given, worker->waited, worker->parked,
            worker->idle_ns / UINT64_C(1000000), worker->depth, busy);
    }
}

static void add_medium(struct writer *out, const struct lks_assembly *assembly)
{
    const struct lks_medium *medium = lks_journal_medium(assembly->journal);
    char detail[400];
    add(out, "fabric:%s", assembly->fabric->ops->name);
    if (lks_fabric_describe(assembly->fabric, detail, sizeof detail)) {
        add(out, "fabric_detail:%s", detail);
    }
    if (assembly->ring_memory.text[0] != '\0') {
        add(out, "ring_memory:%s", assembly->ring_memory.text);
    }
    add(out, "durability:%s", lks_durability_name(assembly->durability.durability));
    add(out, "durability_reason:%s", assembly->durability.reason);
    add(out, "medium:%s", lks_medium_name(medium->kind));
    add(out, "medium_domain:%s", lks_domain_name(medium->domain));
    add(out, "medium_survives_power:%d", medium->survives_power);
    add(out, "medium_reason:%s", medium->reason);
}

static void add_peers(struct writer *out, const struct lks_assembly *assembly,
                      const struct lks_replica_status *status)
{
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        const struct lks_peer_status *peer = &status->peers[id];
        const bool named = id <= assembly->config->replicas_count || peer->voter || peer->learner;
        if (id == assembly->replica_id || (!named && !peer->connected)) {
            continue;
        }
        if (status->role != LKS_ROLE_LEADER) {
            add(out, "peer%u:connected=%d", id, peer->connected);
            continue;
        }
        add(out,
            "peer%u:connected=%d,granted=%d,written=%" PRIu64 ",durable=%" PRIu64
            ",applied_index=%" PRIu64 ",lag_bytes=%" PRIu64 ",durability=%s,medium=%.16s"
            ",member=%s",
            id, peer->connected, peer->granted, peer->written_offset, peer->durable_offset,
            peer->applied_index, peer->lag_bytes, lks_durability_name(peer->durability),
            peer->medium, peer->voter ? "voter" : peer->learner ? "learner" : "none");
    }
}

static bool is_one_of(const char *section, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcasecmp(section, *names) == 0) {
            return true;
        }
    }
    return false;
}

size_t lks_info_text(const struct lks_assembly *assembly, const char *section, char *text,
                     size_t bytes_max)
{
    static const char *const usual[] = {"lockstep", "all", "everything", "default", NULL};
    struct writer out = {.text = text, .bytes_max = bytes_max};
    if (section != NULL && strcasecmp(section, "lockstep_hash") == 0) {
        uint64_t index = 0;
        const uint64_t hash = lks_replica_hash(assembly->replica, &index);
        add(&out, "# Lockstep_hash");
        add(&out, "state_hash:%016" PRIx64, hash);
        add(&out, "state_hash_index:%" PRIu64, index);
    } else if (section == NULL || is_one_of(section, usual)) {
        struct lks_replica_status status;
        lks_replica_status(assembly->replica, &status);
        add_identity(&out, assembly);
        add_role(&out, assembly, &status);
        add_members(&out, &status);
        add_log(&out, &status);
        add_takeover(&out, &status.takeover);
        add_reads(&out, &status.reads);
        add_snapshots(&out, &status.snapshots);
        add_scheduler(&out, assembly);
        add_medium(&out, assembly);
        add_peers(&out, assembly, &status);
    }
    return out.bytes;
}

size_t lks_info_clients_text(const struct lks_client_port *port, const char *section, char *text,
                             size_t bytes_max)
{
    static const char *const usual[] = {"lockstep", "all", "everything", "default",
                                        "lockstep_clients", NULL};
    struct writer out = {.text = text, .bytes_max = bytes_max};
    struct lks_client_port_counts counts;
    if (section != NULL && !is_one_of(section, usual)) {
        return 0;
    }
    lks_client_port_counts(port, &counts);
    add(&out, "# Lockstep_clients");
    add(&out, "fabric_clients:%u", counts.attached);
    add(&out, "fabric_clients_max:%u", LKS_LANE_NUMBER_MAX);
    add(&out, "fabric_clients_let_go:%" PRIu64, counts.let_go);
    add(&out, "fabric_requests:%" PRIu64, counts.requests);
    add(&out, "fabric_requests_refused:%" PRIu64, counts.refused);
    for (uint32_t lane = 1; lane <= LKS_LANE_NUMBER_MAX; lane++) {
        struct lks_client_port_client client;
        if (lks_client_port_describe(port, lane, &client)) {
            add(&out,
                "fabric_client%u:%s%ssession=%" PRIu64 ",calls=%u,answers_bytes=%" PRIu64
                ",requests=%" PRIu64 ",silent_ms=%" PRIu64,
                lane, client.who, client.who[0] != '\0' ? "," : "", client.session, client.calls,
                client.held_bytes, client.requests, client.silent_ns / UINT64_C(1000000));
        }
    }
    return out.bytes;
}
