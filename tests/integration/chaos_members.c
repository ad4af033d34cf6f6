/* Changes of members under chaos; see the header. */
#include "tests/integration/chaos_members.h"

#include "base/clock.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 30000u
#define COMMAND_TIMEOUT_MS 90000u /* its own limits: 30 s for each of what it waits for */
#define USAGE_CODE 2
#define POLL_US 5000
#define RETRY_US 50000
#define PATH_BYTES 320
#define VOTERS_BYTES 32

static uint64_t random_below(struct chaos_members *members, uint64_t limit)
{
    members->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = members->random;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % limit;
}

static bool is_in(uint32_t mask, uint32_t id)
{
    return (mask >> id & 1u) != 0;
}

static uint32_t count_of(uint32_t mask)
{
    return (uint32_t)__builtin_popcount(mask);
}

void chaos_members_disturb(struct chaos_members *members, uint32_t replica)
{
    _Atomic uint64_t *word = &members->run->disturbances[replica];
    if (atomic_load_explicit(word, memory_order_relaxed) % 2 == 0) {
        atomic_fetch_add_explicit(word, 1, memory_order_acq_rel);
    }
}

bool chaos_members_majority_left(const struct chaos_members *members, uint32_t down)
{
    return count_of(members->voters & ~down) * 2 > count_of(members->voters) &&
           count_of(members->voters_next & ~down) * 2 > count_of(members->voters_next);
}

void chaos_members_init(struct chaos_members *members, struct lks_process_cluster *cluster,
                        struct lks_history_run *run, uint64_t seed, uint32_t extra)
{
    *members = (struct chaos_members){.on = extra != 0, .cluster = cluster, .run = run,
                                      .random = ~seed, .voters_min = cluster->replicas};
    members->voters = (2u << cluster->replicas) - 2u;
    members->voters_next = members->voters;
    members->had_files = members->voters;
    for (uint32_t i = 0; i < extra; i++) {
        const uint32_t id = ++cluster->replicas;
        cluster->away[id] = true;
        chaos_members_disturb(members, id);
    }
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Starts `lockstep member` for the change under way. */
static pid_t launch(const struct chaos_members *members)
{
    const struct lks_process_cluster *cluster = members->cluster;
    char id[8];
    char config[PATH_BYTES];
    char log[PATH_BYTES];
    char journal[16];
    char listen[32];
    char rdma[80];
    (void)snprintf(id, sizeof id, "%u", members->id);
    (void)snprintf(config, sizeof config, "%s/cluster.yaml", cluster->directory);
    (void)snprintf(log, sizeof log, "%s/member.log", cluster->directory);
    (void)snprintf(journal, sizeof journal, "r%u.journal", members->id);
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%d",
                   lks_process_cluster_port(cluster, members->id));
    (void)snprintf(rdma, sizeof rdma, "%s:%d",
                   cluster->rdma_address != NULL ? cluster->rdma_address : "",
                   lks_process_cluster_port(cluster, members->id) + 100);
    const char *const remove[] = {"member", "remove", id, "--config", config, NULL};
    const char *const rejoin[] = {"member", "add", id, "--config", config, "--rejoin", "--no-wait",
                                  NULL};
    const char *const add[] = {"member",    "add",   id,         "--config", config, "--journal",
                               journal,     "--listen", listen,  "--no-wait",
                               cluster->rdma_address != NULL ? "--rdma" : NULL, rdma, NULL};
    return lks_process_launch(members->change == CHAOS_CHANGE_REMOVE    ? remove
                              : is_in(members->had_files, members->id) ? rejoin
                                                                        : add,
                              log, log);
}

/* Waits for the command; it may have met a cluster that could not do it: asked again then. */
static int finish_command(struct chaos_members *members)
{
    const uint32_t most_ms = lks_process_cluster_patience(members->cluster, TIMEOUT_MS);
    const uint64_t end_ns = lks_clock_monotonic_ns() + most_ms * LKS_NS_PER_MS;
    for (;;) {
        const uint32_t command_ms =
            lks_process_cluster_patience(members->cluster, COMMAND_TIMEOUT_MS);
        const int rc = members->command > 0
                           ? lks_process_await(members->command, command_ms) : -1;
        members->command = 0;
        if (rc == 0) {
            return 0;
        }
        if (rc == USAGE_CODE || lks_clock_monotonic_ns() > end_ns) {
            fprintf(stderr, "replica %u: `lockstep member` ends with %d, see %s/member.log\n",
                    members->id, rc, members->cluster->directory);
            return -1;
        }
        (void)usleep(RETRY_US);
        members->command = launch(members);
    }
}

/* ---- one change ------------------------------------------------------------------------------ */

static uint32_t choose_of(struct chaos_members *members, uint32_t mask)
{
    uint64_t skip = random_below(members, count_of(mask));
    uint32_t id = 1;
    for (; !is_in(mask, id) || skip > 0; id++) {
        skip -= is_in(mask, id) ? 1 : 0;
    }
    return id;
}

/* The leader every third time. */
static uint32_t choose_leaver(struct chaos_members *members)
{
    const uint32_t leader = lks_process_cluster_leader(members->cluster);
    const bool it = random_below(members, 3) == 0 && leader != 0;
    const uint32_t id = it ? leader : choose_of(members, members->voters);
    members->leaders_removed += id == leader ? 1 : 0;
    return id;
}

static void begin(struct chaos_members *members)
{
    const uint32_t all = (2u << members->cluster->replicas) - 2u;
    const uint32_t fresh = all & ~members->had_files;
    /* Of those that never were members the next one: the file's ids have no gap. */
    const uint32_t others = (members->had_files | (fresh & -fresh)) & ~members->voters;
    const bool may_remove = count_of(members->voters) > members->voters_min;
    if (others != 0 && (!may_remove || random_below(members, 2) == 0)) {
        members->change = CHAOS_CHANGE_ADD;
        members->id = choose_of(members, others);
        members->voters_next = members->voters | 1u << members->id;
    } else {
        members->change = CHAOS_CHANGE_REMOVE;
        members->id = choose_leaver(members);
        members->voters_next = members->voters & ~(1u << members->id);
        chaos_members_disturb(members, members->id);
        members->cluster->away[members->id] = true;
    }
    members->command = launch(members);
}

/* What --rejoin set aside: it would fill the disk. */
static void remove_old_files(const struct chaos_members *members)
{
    char pattern[PATH_BYTES];
    glob_t found;
    (void)snprintf(pattern, sizeof pattern, "%s/r%u.journal*.old-*", members->cluster->directory,
                   members->id);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            (void)unlink(found.gl_pathv[i]);
        }
        globfree(&found);
    }
}

static void end(struct chaos_members *members)
{
    remove_old_files(members);
    members->voters = members->voters_next;
    members->added += members->change == CHAOS_CHANGE_LEARNER ? 1 : 0;
    members->removed += members->change == CHAOS_CHANGE_REMOVE ? 1 : 0;
    members->change = CHAOS_CHANGE_NONE;
    members->id = 0;
}

/* "1,2,4", as INFO has it. */
static void print_voters(uint32_t mask, char text[VOTERS_BYTES])
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t id = 1; id <= LKS_PROCESS_REPLICAS_MAX; id++) {
        if (is_in(mask, id)) {
            at += (size_t)snprintf(text + at, VOTERS_BYTES - at, "%s%u", at != 0 ? "," : "", id);
        }
    }
}

static bool says_voters(const struct chaos_members *members, uint32_t id, uint32_t mask,
                        char seen[VOTERS_BYTES])
{
    char wanted[VOTERS_BYTES];
    print_voters(mask, wanted);
    seen[0] = '\0';
    return lks_process_cluster_info(members->cluster, id, "lockstep", "voters", seen,
                                    VOTERS_BYTES) == 0 && strcmp(seen, wanted) == 0;
}

/* One step of what follows the command. 1: done; 0: not yet; -1: it went wrong. */
static int follow(struct chaos_members *members)
{
    struct lks_process_cluster *cluster = members->cluster;
    const uint32_t id = members->id;
    char seen[VOTERS_BYTES];
    if (lks_process_cluster_reap(cluster) != 0) {
        return -1;
    }
    if (members->change == CHAOS_CHANGE_REMOVE && cluster->ended_removed[id]) {
        return 1;
    }
    if (cluster->ended_removed[id]) {
        fprintf(stderr, "replica %u was added, but ended as if it had been removed\n", id);
        return -1;
    }
    /* A disturbance may have killed it: a learner goes on, a removed one is told so. */
    if (lks_process_cluster_start(cluster, id) != 0) {
        return -1;
    }
    return members->change == CHAOS_CHANGE_LEARNER &&
           says_voters(members, id, members->voters_next, seen);
}

static int follow_to_the_end(struct chaos_members *members)
{
    const uint32_t most_ms = lks_process_cluster_patience(members->cluster, TIMEOUT_MS);
    const uint64_t end_ns = lks_clock_monotonic_ns() + most_ms * LKS_NS_PER_MS;
    int rc = follow(members);
    while (rc == 0 && lks_clock_monotonic_ns() < end_ns) {
        (void)usleep(POLL_US);
        rc = follow(members);
    }
    if (rc == 0) {
        fprintf(stderr, "replica %u %s after %u ms\n", members->id,
                members->change == CHAOS_CHANGE_REMOVE ? "was removed, but has not ended"
                                                       : "was added, but does not vote",
                most_ms);
    }
    return rc == 1 ? 0 : -1;
}

int chaos_members_after(struct chaos_members *members, bool all)
{
    if (!members->on || members->change == CHAOS_CHANGE_NONE) {
        return 0;
    }
    if (members->change != CHAOS_CHANGE_LEARNER && finish_command(members) != 0) {
        return -1;
    }
    if (members->change == CHAOS_CHANGE_ADD) {
        members->change = CHAOS_CHANGE_LEARNER;
        members->had_files |= 1u << members->id;
        if (lks_process_cluster_start(members->cluster, members->id) != 0) {
            return -1;
        }
        if (!all && random_below(members, 2) == 0) {
            return 0;
        }
    }
    if (follow_to_the_end(members) != 0) {
        return -1;
    }
    if (members->change == CHAOS_CHANGE_LEARNER) {
        members->cluster->away[members->id] = false;
    }
    end(members);
    return 0;
}

int chaos_members_before(struct chaos_members *members)
{
    if (!members->on) {
        return 0;
    }
    if (members->change == CHAOS_CHANGE_NONE) {
        begin(members);
        if (random_below(members, 2) == 0 && chaos_members_after(members, false) != 0) {
            return -1;
        }
    }
    if (members->change != CHAOS_CHANGE_NONE) {
        members->disturbed++;
        (void)usleep((useconds_t)random_below(members, 30000));
    }
    return 0;
}

int chaos_members_start_needed(struct chaos_members *members, uint32_t left_out)
{
    const bool may_vote =
        members->change == CHAOS_CHANGE_REMOVE || members->change == CHAOS_CHANGE_LEARNER;
    return may_vote && members->id != left_out
               ? lks_process_cluster_start(members->cluster, members->id) : 0;
}

int chaos_members_check(const struct chaos_members *members)
{
    int rc = 0;
    char wanted[VOTERS_BYTES];
    print_voters(members->voters, wanted);
    for (uint32_t id = 1; id <= members->cluster->replicas && members->on; id++) {
        char seen[VOTERS_BYTES];
        if (!members->cluster->away[id] && !says_voters(members, id, members->voters, seen)) {
            fprintf(stderr, "replica %u says that voters are %s, not %s\n", id, seen, wanted);
            rc = -1;
        }
    }
    if (members->on) {
        printf("members added: %u, removed: %u (leaders: %u), in the middle of a disturbance: "
               "%u; voters at the end: %s\n", members->added, members->removed,
               members->leaders_removed, members->disturbed, wanted);
    }
    return rc;
}
