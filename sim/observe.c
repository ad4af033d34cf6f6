/* What the parts of a run tell the checkers; see cluster_internal.h. */
#include "sim/cluster_internal.h"

#include "base/assert.h"
#include "node/replica_internal.h"
#include "sim/heap.h"

#include <inttypes.h>

/* ---- network ------------------------------------------------------------------------------ */

static void net_wake(void *ctx, uint32_t replica)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_process_wake(cluster->processes[replica]);
}

static void net_granted(void *ctx, uint32_t owner, uint32_t writer)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_writers_granted(&cluster->writers, owner, writer);
}

static void net_revoked(void *ctx, uint32_t owner, uint32_t writer)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_writers_revoked(&cluster->writers, owner, writer);
}

static void net_unfenced(void *ctx, uint32_t owner, uint32_t writer)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_writers_unfenced(&cluster->writers, owner, writer);
}

static void net_stores(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_storage_touched(lks_sim_process_storage(cluster->processes[owner]), offset, bytes);
}

static void net_durable(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_storage_persisted(lks_sim_process_storage(cluster->processes[owner]), offset, bytes);
}

static void net_misuse(void *ctx, uint32_t replica, const char *text)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_verdict_break(&cluster->verdict, "fabric contract", "replica %u: %s", replica, text);
}

void lks_sim_observe_network(struct lks_sim_cluster *cluster,
                             struct lks_sim_network_observer *observer)
{
    *observer = (struct lks_sim_network_observer){.wake = net_wake,
                                                  .granted = net_granted,
                                                  .revoked = net_revoked,
                                                  .unfenced = net_unfenced,
                                                  .stores = net_stores,
                                                  .durable = net_durable,
                                                  .misuse = net_misuse,
                                                  .ctx = cluster};
}

/* ---- processes ---------------------------------------------------------------------------- */

/* What is looked at after each step; lks_replica_status costs more than many steps. */
struct glance {
    enum lks_role role;
    uint64_t term;
    uint64_t last_index;
    uint64_t commit_offset;
    uint64_t applied_index;
    uint64_t applied_offset;
    uint64_t base_offset;
};

static struct glance glance_at(const struct lks_replica *replica)
{
    const struct lks_core_view *view = replica->view;
    const bool own_log = view->tail.offset > replica->applied.offset;
    return (struct glance){.role = (enum lks_role)view->role,
                           .term = view->term,
                           .last_index = own_log ? view->tail.index : replica->applied.index,
                           .commit_offset = view->commit_offset,
                           .applied_index = lks_word_read(&replica->words->applied_index),
                           .applied_offset = lks_word_read(&replica->words->applied_offset),
                           .base_offset = replica->base_offset};
}

/* For people: what a step of a replica has changed. */
static void tell_step(struct lks_sim_cluster *cluster, uint32_t replica,
                      const struct glance *status)
{
    const uint64_t now_ns = lks_sim_timeline_now(cluster->timeline);
    if (status->role != cluster->role[replica]) {
        lks_sim_trace_tell(cluster->trace, now_ns, replica, false,
                           "is %s in term %" PRIu64 "; its log ends with entry %" PRIu64,
                           lks_role_name(status->role), status->term, status->last_index);
    }
    if (status->role == LKS_ROLE_LEADER &&
        status->commit_offset > cluster->commit_offset[replica]) {
        lks_sim_trace_tell(cluster->trace, now_ns, replica, false,
                           "has committed up to offset %" PRIu64, status->commit_offset);
    }
    cluster->role[replica] = status->role;
    cluster->commit_offset[replica] = status->commit_offset;
}

static void check_leader(struct lks_sim_cluster *cluster, uint32_t replica,
                         const struct glance *status)
{
    if (status->role != LKS_ROLE_LEADER) {
        cluster->leading_term[replica] = 0;
        return;
    }
    const struct lks_sim_process *process = cluster->processes[replica];
    lks_sim_leaders_seen(&cluster->leaders, status->term, replica, lks_sim_process_life(process));
    lks_sim_writers_leads(&cluster->writers, replica);
    if (cluster->leading_term[replica] != status->term) {
        cluster->leading_term[replica] = status->term;
        const struct lks_sim_elected elected = {.term = status->term,
                                                .last_index = status->last_index};
        lks_sim_prefix_elected(&cluster->prefix, replica, &elected);
    }
}

static void check_bounds(struct lks_sim_cluster *cluster, uint32_t replica,
                         const struct lks_replica *running)
{
    const int64_t heap_bytes = lks_sim_heap_bytes(replica);
    uint64_t messages = 0;
    for (uint32_t peer = 1; peer <= cluster->options.replicas; peer++) {
        messages += running->peers[peer].waiting_count;
    }
    struct lks_gateway_counts gateway;
    lks_gateway_counts(running->gateway, &gateway);
    const uint64_t held[LKS_SIM_BOUNDS] = {
        [LKS_SIM_BOUND_OPERATIONS] = running->ops_used,
        [LKS_SIM_BOUND_EVENTS] = running->events_tail - running->events_head,
        [LKS_SIM_BOUND_COMMANDS] = gateway.submitted - gateway.answered,
        [LKS_SIM_BOUND_DEFERRED] = running->deferred_count,
        [LKS_SIM_BOUND_MESSAGES] = messages,
        [LKS_SIM_BOUND_HEAP_BYTES] = heap_bytes > 0 ? (uint64_t)heap_bytes : 0};
    lks_sim_bounds_seen(&cluster->bounds, replica, held);
}

/* A base above everything that the replica had applied comes from a peer. */
static void notice_install(struct lks_sim_cluster *cluster, uint32_t replica,
                           const struct glance *status)
{
    if (status->base_offset > cluster->ahead_offset[replica]) {
        cluster->installs++;
        lks_sim_trace_add(cluster->trace, lks_sim_timeline_now(cluster->timeline),
                          &(struct lks_sim_record){
                              .what = "installed", .a = replica, .x = status->base_offset});
        lks_sim_trace_tell(cluster->trace, lks_sim_timeline_now(cluster->timeline), replica, false,
                           "has installed a peer's snapshots: its log begins at offset %" PRIu64,
                           status->base_offset);
    }
    const uint64_t ahead = status->applied_offset > status->base_offset ? status->applied_offset
                                                                        : status->base_offset;
    cluster->ahead_offset[replica] = status->role == LKS_ROLE_STARTING ? UINT64_MAX : ahead;
}

static void process_stepped(void *ctx, uint32_t replica)
{
    struct lks_sim_cluster *cluster = ctx;
    struct lks_sim_process *process = cluster->processes[replica];
    struct lks_replica *running = lks_sim_process_replica(process);
    const struct glance status = glance_at(running);
    if (lks_sim_trace_tells(cluster->trace)) {
        tell_step(cluster, replica, &status);
    }
    lks_sim_members_seen(&cluster->members, &running->view->members,
                         running->view->members_committed);
    notice_install(cluster, replica, &status);
    check_leader(cluster, replica, &status);
    check_bounds(cluster, replica, running);
    if (status.applied_index == cluster->applied_index[replica]) {
        return;
    }
    cluster->applied_index[replica] = status.applied_index;
    const struct lks_sim_applied applied = {.index = status.applied_index,
                                            .offset = status.applied_offset};
    lks_sim_prefix_applied(&cluster->prefix, replica,
                           lks_sim_storage_journal(lks_sim_process_storage(process)), &applied);
    uint64_t index = 0;
    const uint64_t hash = lks_replica_hash(running, &index);
    if (index != 0) { /* 0: some partitions are still being restored */
        lks_sim_states_seen(&cluster->states, replica, index, hash);
    }
    lks_sim_trace_add(cluster->trace, lks_sim_timeline_now(cluster->timeline),
                      &(struct lks_sim_record){
                          .what = "applied", .a = replica, .x = status.applied_index, .y = hash});
    lks_sim_trace_tell(cluster->trace, lks_sim_timeline_now(cluster->timeline), replica, true,
                       "has applied entry %" PRIu64, status.applied_index);
}

static void process_replied(void *ctx, uint32_t replica, uint64_t cookie, const void *reply,
                            size_t bytes)
{
    (void)replica;
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_clients_replied(cluster->clients, cookie, reply, bytes);
}

static void process_applied(void *ctx, uint32_t replica, const struct lks_sim_executed *executed)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_commands_applied(&cluster->commands, replica, executed);
}

static void process_read(void *ctx, uint32_t replica, uint64_t number, uint64_t time_ns)
{
    (void)replica;
    struct lks_sim_cluster *cluster = ctx;
    LKS_ASSERT(number > 0 && number <= cluster->history.count);
    cluster->history.calls[number].state_ns = time_ns;
}

static void process_ended(void *ctx, uint32_t replica)
{
    struct lks_sim_cluster *cluster = ctx;
    cluster->applied_index[replica] = 0;
    cluster->leading_term[replica] = 0;
    cluster->role[replica] = LKS_ROLE_STARTING;
    lks_sim_clients_disconnected(cluster->clients, replica);
}

static void process_stopped(void *ctx, uint32_t replica)
{
    struct lks_sim_cluster *cluster = ctx;
    if (lks_sim_process_is_removed(cluster->processes[replica])) {
        lks_sim_members_removed(&cluster->members, replica);
    }
    process_ended(cluster, replica);
    lks_sim_faults_stopped(cluster->faults, replica);
}

static void process_failed(void *ctx, uint32_t replica, int code, const char *text)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_verdict_break(&cluster->verdict, "replicas do not fail", "replica %u: %s (%d)",
                          replica, text, code);
}

void lks_sim_observe_process(struct lks_sim_cluster *cluster,
                             struct lks_sim_process_observer *observer)
{
    *observer = (struct lks_sim_process_observer){.stepped = process_stepped,
                                                  .replied = process_replied,
                                                  .applied = process_applied,
                                                  .read = process_read,
                                                  .stopped = process_stopped,
                                                  .failed = process_failed,
                                                  .ctx = cluster};
}

void lks_sim_observe_start(struct lks_sim_cluster *cluster, uint32_t replica)
{
    const struct lks_sim_process *process = cluster->processes[replica];
    lks_sim_prefix_restarted(&cluster->prefix, replica,
                             lks_sim_storage_journal(lks_sim_process_storage(process)));
    cluster->ahead_offset[replica] = UINT64_MAX;
}

/* ---- faults and clients ------------------------------------------------------------------- */

static void fault_started(void *ctx, uint32_t replica)
{
    lks_sim_observe_start(ctx, replica);
}

static void fault_founded(void *ctx, uint32_t replica, uint64_t number)
{
    struct lks_sim_cluster *cluster = ctx;
    lks_sim_leaders_founded(&cluster->leaders);
    lks_sim_members_founded(&cluster->members, number, replica);
}

static uint32_t present_leader(void *ctx)
{
    const struct lks_sim_cluster *cluster = ctx;
    uint32_t leader = 0;
    for (uint32_t replica = 1; replica <= cluster->options.replicas; replica++) {
        if (cluster->leading_term[replica] != 0 &&
            (leader == 0 || cluster->leading_term[replica] > cluster->leading_term[leader])) {
            leader = replica;
        }
    }
    return leader;
}

static bool fault_left_out(void *ctx, uint64_t number)
{
    const struct lks_sim_cluster *cluster = ctx;
    return number <= cluster->options.left_out_count &&
           cluster->options.left_out[number - 1] != 0;
}

void lks_sim_observe_faults(struct lks_sim_cluster *cluster,
                            struct lks_sim_faults_options *options)
{
    options->ended = process_ended;
    options->started = fault_started;
    options->founded = fault_founded;
    options->leader = present_leader;
    options->left_out = cluster->options.left_out != NULL ? fault_left_out : NULL;
    options->ctx = cluster;
}

static bool client_submits(void *ctx, uint32_t replica, const void *command, size_t bytes,
                           uint64_t cookie, int *status)
{
    struct lks_sim_cluster *cluster = ctx;
    struct lks_sim_process *process = cluster->processes[replica];
    if (lks_sim_process_state(process) == LKS_SIM_DOWN) {
        return false;
    }
    *status = lks_replica_submit(lks_sim_process_replica(process), command, bytes, cookie);
    lks_sim_process_wake(process);
    return true;
}

void lks_sim_observe_clients(struct lks_sim_cluster *cluster,
                             struct lks_sim_clients_options *options)
{
    options->submit = client_submits;
    options->ctx = cluster;
}
