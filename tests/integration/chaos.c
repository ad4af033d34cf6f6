/*
 * Chaos with real processes: clients at every replica record what they do and are told, while
 * this test kills, stops, continues and power-cycles replicas at random, and (with --members) adds
 * and removes them. Afterwards every acknowledged write is there, no counter counted twice, all
 * states are equal, and the recorded history is linearizable. Operations whose answer never came
 * may or may not have happened.
 *
 *   lockstep-chaos [--rounds N] [--seed S] [--replicas N] [--clients N] [--ring SIZE]
 *                  [--durability MODE] [--parent DIR] [--members] [--rdma]
 *                  [--election-timeout TIME]
 *
 * Exit status: 0 all held, 1 something did not (logs are kept, the seed is printed), 2 usage.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "tests/integration/chaos_members.h"
#include "tests/support/expiry_client.h"
#include "tests/support/history_checks.h"
#include "tests/support/process_cluster.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS_MAX 32
#define EXPIRY_CLIENTS_MAX 8
#define ACTIONS_MAX 16
#define TIMEOUT_MS 30000u
#define OPERATIONS_PER_ROUND 1500 /* of one client, at most */
#define EXTRA_REPLICAS 2u         /* with --members: ids beyond the first ones */

struct settings {
    uint32_t rounds;
    uint64_t seed;
    uint32_t replicas;
    uint32_t clients;
    uint32_t expiry_clients;
    const char *ring;
    const char *durability;
    bool rdma;
    const char *election_timeout;
    const char *parent;
    uint32_t only; /* 0: all actions */
    bool members;  /* that come and go */
};

struct chaos {
    struct settings settings;
    uint64_t random;
    struct lks_process_cluster cluster;
    struct lks_history_run run;
    struct lks_history_client clients[CLIENTS_MAX];
    uint32_t clients_started;
    struct lks_expiry_client expiry_clients[EXPIRY_CLIENTS_MAX];
    uint32_t expiry_started;
    uint32_t done[ACTIONS_MAX]; /* by action */
    struct chaos_members members;
    uint32_t down; /* bit n: something was done to replica n, and not all serve again */
};

static uint64_t random_below(struct chaos *chaos, uint64_t limit)
{
    chaos->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = chaos->random;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % limit;
}

/* For whatever the cluster has to do. */
static uint32_t timeout_ms(const struct chaos *chaos)
{
    return lks_process_cluster_patience(&chaos->cluster, TIMEOUT_MS);
}

static void sleep_ms(uint64_t ms)
{
    usleep((useconds_t)(ms * 1000));
}

/* Said before anything is done to the replica: from now on its clients may see errors. */
static void disturb(struct chaos *chaos, uint32_t replica)
{
    chaos_members_disturb(&chaos->members, replica);
    chaos->down |= 1u << replica;
    if (!chaos_members_majority_left(&chaos->members, chaos->down) &&
        atomic_load_explicit(&chaos->run.standstills, memory_order_relaxed) % 2 == 0) {
        atomic_fetch_add_explicit(&chaos->run.standstills, 1, memory_order_acq_rel);
    }
}

/* All serve: from now on they must not. */
static void settle(struct chaos *chaos)
{
    chaos->down = 0;
    for (uint32_t id = 1; id <= chaos->cluster.replicas; id++) {
        if (!chaos->cluster.away[id] &&
            atomic_load_explicit(&chaos->run.disturbances[id], memory_order_relaxed) % 2 != 0) {
            atomic_fetch_add_explicit(&chaos->run.disturbances[id], 1, memory_order_acq_rel);
        }
    }
    if (atomic_load_explicit(&chaos->run.standstills, memory_order_relaxed) % 2 != 0) {
        atomic_fetch_add_explicit(&chaos->run.standstills, 1, memory_order_acq_rel);
    }
}

/* The first one from `id` on that is a member or runs. */
static uint32_t present_from(const struct chaos *chaos, uint32_t id)
{
    const struct lks_process_cluster *cluster = &chaos->cluster;
    for (uint32_t i = 0; i < cluster->replicas; i++, id++) {
        id = id <= cluster->replicas ? id : 1;
        if (!cluster->away[id] || cluster->pids[id] != 0) {
            break;
        }
    }
    return id;
}

/* The leader half of the time, so that most rounds change it. */
static uint32_t choose_victim(struct chaos *chaos)
{
    const uint32_t draw = (uint32_t)(1 + random_below(chaos, chaos->cluster.replicas));
    const uint32_t any = present_from(chaos, draw);
    if (random_below(chaos, 2) == 0) {
        uint32_t leader = lks_process_cluster_leader(&chaos->cluster);
        return leader != 0 ? leader : any;
    }
    return any;
}

/* ---- what is done to the replicas ------------------------------------------------------------ */

static int kill_some(struct chaos *chaos, uint32_t count)
{
    uint32_t victim = choose_victim(chaos);
    for (uint32_t i = 0; i < count; i++) {
        disturb(chaos, victim);
        lks_process_cluster_kill(&chaos->cluster, victim);
        victim = present_from(chaos, victim + 1);
    }
    sleep_ms(20 + random_below(chaos, 200));
    return 0;
}

static int act_kill_one(struct chaos *chaos)
{
    return kill_some(chaos, 1);
}

static int act_kill_several(struct chaos *chaos)
{
    return kill_some(chaos, (uint32_t)(1 + random_below(chaos, chaos->cluster.replicas)));
}

static int act_pause(struct chaos *chaos)
{
    uint32_t victim = choose_victim(chaos);
    disturb(chaos, victim);
    lks_process_cluster_pause(&chaos->cluster, victim);
    sleep_ms(10 + random_below(chaos, 300));
    lks_process_cluster_resume(&chaos->cluster, victim);
    return 0;
}

/* A stopped replica is taken for dead; it comes back and must find out that it was replaced. */
static int act_pause_and_kill_another(struct chaos *chaos)
{
    uint32_t victim = choose_victim(chaos);
    uint32_t other = present_from(chaos, victim + 1);
    disturb(chaos, victim);
    disturb(chaos, other);
    lks_process_cluster_pause(&chaos->cluster, victim);
    sleep_ms(10 + random_below(chaos, 100));
    lks_process_cluster_kill(&chaos->cluster, other);
    sleep_ms(random_below(chaos, 50));
    lks_process_cluster_resume(&chaos->cluster, victim);
    return 0;
}

/*
 * The leader is left alone for a while, then dies, and the others come back without it: whatever
 * it acknowledged alone would be lost now.
 */
static int act_leader_alone_then_gone(struct chaos *chaos)
{
    uint32_t leader = lks_process_cluster_leader(&chaos->cluster);
    leader = leader != 0 ? leader : choose_victim(chaos);
    for (uint32_t id = 1; id <= chaos->cluster.replicas; id++) {
        disturb(chaos, id);
    }
    for (uint32_t id = 1; id <= chaos->cluster.replicas; id++) {
        if (id != leader) {
            lks_process_cluster_kill(&chaos->cluster, id);
        }
    }
    sleep_ms(20 + random_below(chaos, 100));
    lks_process_cluster_kill(&chaos->cluster, leader);
    if (chaos->cluster.replicas == 1) {
        return 0;
    }
    int rc = chaos_members_start_needed(&chaos->members, leader);
    if (rc == 0) {
        rc = lks_process_cluster_wait_serving_without(&chaos->cluster, leader, timeout_ms(chaos));
    }
    sleep_ms(50);
    return rc;
}

static int act_power_cycle(struct chaos *chaos)
{
    for (uint32_t id = 1; id <= chaos->cluster.replicas; id++) {
        disturb(chaos, id);
    }
    lks_process_cluster_kill_all(&chaos->cluster);
    const uint32_t replicas = chaos->cluster.replicas;
    uint32_t first = (uint32_t)random_below(chaos, replicas);
    for (uint32_t i = 0; i < replicas; i++) {
        uint32_t id = (first + i) % replicas + 1;
        if (!chaos->cluster.away[id] && lks_process_cluster_start(&chaos->cluster, id) != 0) {
            return -1;
        }
        sleep_ms(random_below(chaos, 30));
    }
    return 0;
}

static int act_stop_in_order(struct chaos *chaos)
{
    uint32_t victim = choose_victim(chaos);
    if (victim == chaos->members.id) { /* it may end by itself */
        victim = present_from(chaos, victim + 1);
    }
    disturb(chaos, victim);
    return lks_process_cluster_stop(&chaos->cluster, victim);
}

static const struct action {
    const char *name;
    uint32_t weight;
    int (*act)(struct chaos *chaos);
} ACTIONS[] = {
    {"kill -9", 6, act_kill_one},
    {"kill -9 of several", 3, act_kill_several},
    {"SIGSTOP, SIGCONT", 4, act_pause},
    {"SIGSTOP, kill -9 of another, SIGCONT", 2, act_pause_and_kill_another},
    {"kill -9 of all but the leader, then of the leader", 3, act_leader_alone_then_gone},
    {"power cycle", 3, act_power_cycle},
    {"SIGTERM", 2, act_stop_in_order},
};

_Static_assert(LKS_COUNT_OF(ACTIONS) <= ACTIONS_MAX, "a counter for each action");

/* The first rounds have each action once, so that short runs have them all. */
static size_t choose_action(struct chaos *chaos, uint32_t round)
{
    if (chaos->settings.only != 0) {
        return chaos->settings.only - 1;
    }
    uint32_t total = 0;
    for (size_t i = 0; i < LKS_COUNT_OF(ACTIONS); i++) {
        total += ACTIONS[i].weight;
    }
    uint64_t draw = random_below(chaos, total);
    size_t chosen = 0;
    while (draw >= ACTIONS[chosen].weight) {
        draw -= ACTIONS[chosen++].weight;
    }
    return round < LKS_COUNT_OF(ACTIONS) ? round : chosen;
}

static int play_round(struct chaos *chaos, uint32_t round)
{
    size_t chosen = choose_action(chaos, round);
    chaos->done[chosen]++;
    if (chaos_members_before(&chaos->members) != 0 || ACTIONS[chosen].act(chaos) != 0 ||
        lks_process_cluster_wait_serving(&chaos->cluster, timeout_ms(chaos)) != 0 ||
        chaos_members_after(&chaos->members, false) != 0 ||
        lks_process_cluster_wait_serving(&chaos->cluster, timeout_ms(chaos)) != 0) {
        fprintf(stderr, "round %u (%s) failed\n", round + 1, ACTIONS[chosen].name);
        return -1;
    }
    settle(chaos);
    sleep_ms(50 + random_below(chaos, 200));
    return lks_process_cluster_reap(&chaos->cluster);
}

/* ---- what must hold at the end --------------------------------------------------------------- */

static int check_clients(const struct chaos *chaos)
{
    struct lks_history_client sum = {0};
    for (uint32_t i = 0; i < chaos->clients_started; i++) {
        sum.acknowledged += chaos->clients[i].acknowledged;
        sum.unknown += chaos->clients[i].unknown;
        sum.refused += chaos->clients[i].refused;
        sum.unexpected += chaos->clients[i].unexpected;
        sum.malformed += chaos->clients[i].malformed;
    }
    printf("operations: %llu acknowledged, %llu unknown, %llu refused; errors at replicas that "
           "were left alone: %llu; malformed replies: %llu\n",
           (unsigned long long)sum.acknowledged, (unsigned long long)sum.unknown,
           (unsigned long long)sum.refused, (unsigned long long)sum.unexpected,
           (unsigned long long)sum.malformed);
    uint64_t fenced = chaos->cluster.deaths_by_fence; /* their clients were not left alone */
    bool good = sum.malformed == 0 && (sum.unexpected == 0 || fenced > 0) && sum.acknowledged > 0;
    return good ? 0 : -1;
}

/* Nothing went before its time or came back, and at the end all of it is gone everywhere. */
static int check_expiry(struct chaos *chaos)
{
    struct lks_expiry_client sum = {0};
    int64_t left = 0;
    for (uint32_t i = 0; i < chaos->expiry_started; i++) {
        const struct lks_expiry_client *client = &chaos->expiry_clients[i];
        sum.written += client->written;
        sum.reads += client->reads;
        sum.seen_gone += client->seen_gone;
        sum.early += client->early;
        sum.returned += client->returned;
        for (uint32_t id = 1; id <= chaos->cluster.replicas; id++) {
            const int64_t there =
                chaos->cluster.away[id]
                    ? 0 : lks_expiry_client_check_gone(client, &chaos->cluster, id,
                                                       timeout_ms(chaos));
            left += there < 0 ? 1 : there;
        }
    }
    printf("keys with an expiry: %llu, read %llu times, seen gone: %llu; gone early: %llu, there "
           "again: %llu, left at the end: %lld\n",
           (unsigned long long)sum.written, (unsigned long long)sum.reads,
           (unsigned long long)sum.seen_gone, (unsigned long long)sum.early,
           (unsigned long long)sum.returned, (long long)left);
    return sum.early == 0 && sum.returned == 0 && left == 0 ? 0 : -1;
}

/* ---- the run --------------------------------------------------------------------------------- */

static int start_clients(struct chaos *chaos)
{
    for (uint32_t i = 0; i < chaos->settings.clients; i++) {
        if (lks_history_client_start(&chaos->clients[i], &chaos->run, i,
                                     chaos->settings.seed * 1000 + i) != 0) {
            fprintf(stderr, "client %u: no memory or no thread\n", i);
            return -1;
        }
        chaos->clients_started++;
    }
    for (uint32_t i = 0; i < chaos->settings.expiry_clients; i++) {
        if (lks_expiry_client_start(&chaos->expiry_clients[i], &chaos->run, i,
                                    chaos->settings.seed * 2000 + i) != 0) {
            fprintf(stderr, "expiry client %u: no thread\n", i);
            return -1;
        }
        chaos->expiry_started++;
    }
    return 0;
}

static int run(struct chaos *chaos)
{
    const struct settings *settings = &chaos->settings;
    const struct lks_process_cluster_options options = {.replicas = settings->replicas,
                                                        .ring = settings->ring,
                                                        .durability = settings->durability,
                                                        .rdma = settings->rdma,
                                                        .election_timeout =
                                                            settings->election_timeout,
                                                        .parent = settings->parent,
                                                        .spare_ports = settings->members};
    if (lks_process_cluster_init(&chaos->cluster, &options) != 0 ||
        lks_process_cluster_wait_serving(&chaos->cluster, timeout_ms(chaos)) != 0) {
        return -1;
    }
    chaos->run.cluster = &chaos->cluster;
    chaos_members_init(&chaos->members, &chaos->cluster, &chaos->run, settings->seed,
                       settings->members ? EXTRA_REPLICAS : 0);
    chaos->run.think_us_max = settings->rdma ? 20000 : 2000;
    chaos->run.operations_max = (uint64_t)(settings->rounds + 10) * OPERATIONS_PER_ROUND;
    int rc = start_clients(chaos);
    for (uint32_t round = 0; round < settings->rounds && rc == 0; round++) {
        rc = play_round(chaos, round);
    }
    if (rc == 0) {
        rc = chaos_members_after(&chaos->members, true);
    }
    atomic_store_explicit(&chaos->run.stop, true, memory_order_relaxed);
    for (uint32_t i = 0; i < chaos->clients_started; i++) {
        lks_history_client_join(&chaos->clients[i]);
    }
    for (uint32_t i = 0; i < chaos->expiry_started; i++) {
        lks_expiry_client_join(&chaos->expiry_clients[i]);
    }
    if (rc == 0) {
        rc = lks_process_cluster_wait_serving(&chaos->cluster, timeout_ms(chaos));
    }
    if (rc == 0) {
        rc |= check_clients(chaos);
        rc |= lks_history_check_own_keys(chaos->clients, chaos->clients_started, &chaos->cluster);
        rc |= check_expiry(chaos);
        rc |= lks_history_check(chaos->clients, chaos->clients_started, &chaos->cluster);
        rc |= chaos_members_check(&chaos->members);
        rc |= lks_process_cluster_check_hashes(&chaos->cluster, timeout_ms(chaos));
    }
    return rc;
}

static const struct argp_option OPTIONS[] = {
    {"rounds", 'r', "N", 0, "disturbances (20)", 0},
    {"seed", 's', "S", 0, "of what is done to whom (drawn from the clock)", 0},
    {"replicas", 'n', "N", 0, "1, 3, 5 or 7 (3)", 0},
    {"clients", 'c', "N", 0, "concurrent clients (6)", 0},
    {"expiry", 'e', "N", 0, "clients of keys that expire (2)", 0},
    {"ring", 'R', "SIZE", 0, "log of each replica (256M)", 0},
    {"durability", 'm', "MODE", 0, "auto, memory, writer-flush or pmem-ack (auto)", 0},
    {"only", 'o', "K", 0, "nothing but the K-th kind of disturbance, as listed at the end", 0},
    {"rdma", 'f', NULL, 0, "over the RDMA device that LKS_TEST_RDMA_ADDRESS names", 0},
    {"election-timeout", 't', "TIME", 0, "as for `lockstep init`", 0},
    {"members", 'M', NULL, 0, "replicas are added and removed, too", 0},
    {"parent", 'd', "DIR", 0, "where the cluster's folder is made (/dev/shm)", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct settings *settings = state->input;
    switch (key) {
    case 'r':
        settings->rounds = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case 's':
        settings->seed = strtoull(value, NULL, 10);
        return 0;
    case 'n':
        settings->replicas = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case 'c':
        settings->clients = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case 'e':
        settings->expiry_clients = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case 'm':
        settings->durability = value;
        return 0;
    case 'd':
        settings->parent = value;
        return 0;
    case 'o':
        settings->only = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case 'R':
        settings->ring = value;
        return 0;
    case 'f':
        settings->rdma = true;
        return 0;
    case 't':
        settings->election_timeout = value;
        return 0;
    case 'M':
        settings->members = true;
        return 0;
    case ARGP_KEY_END:
        if (settings->rounds > 100000 || settings->clients < 1 ||
            settings->clients > CLIENTS_MAX || settings->expiry_clients > EXPIRY_CLIENTS_MAX ||
            settings->replicas < 1 ||
            settings->replicas > LKS_PROCESS_REPLICAS_MAX ||
            settings->only > LKS_COUNT_OF(ACTIONS)) {
            argp_error(state, "--clients 1..%d, --expiry up to %d, --replicas 1..%u, --rounds up "
                              "to 100000, --only up to %zu", CLIENTS_MAX, EXPIRY_CLIENTS_MAX,
                       LKS_PROCESS_REPLICAS_MAX, LKS_COUNT_OF(ACTIONS));
        }
        if (settings->members &&
            (settings->replicas < 3 ||
             settings->replicas + EXTRA_REPLICAS > LKS_PROCESS_REPLICAS_MAX)) {
            argp_error(state, "--members: begin with 3 to %u replicas",
                       LKS_PROCESS_REPLICAS_MAX - EXTRA_REPLICAS);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static struct chaos chaos;
    const struct argp argp = {.options = OPTIONS, .parser = parse_option,
                              .doc = "Kills, stops and power-cycles replicas under load."};
    chaos.settings = (struct settings){.rounds = 20, .replicas = 3, .clients = 6,
                                       .expiry_clients = 2, .ring = "256M",
                                       .seed = lks_clock_realtime_ns() % 1000000};
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &chaos.settings);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    chaos.random = chaos.settings.seed;
    printf("chaos: %u rounds, %u replicas, %u clients, --seed %llu\n", chaos.settings.rounds,
           chaos.settings.replicas, chaos.settings.clients,
           (unsigned long long)chaos.settings.seed);
    int rc = run(&chaos);
    for (size_t i = 0; i < LKS_COUNT_OF(ACTIONS); i++) {
        printf("%u x %s%s", chaos.done[i], ACTIONS[i].name,
               i + 1 < LKS_COUNT_OF(ACTIONS) ? ", " : "\n");
    }
    printf("replicas killed by a fence: %u\n", chaos.cluster.deaths_by_fence);
    for (uint32_t i = 0; i < chaos.clients_started; i++) {
        lks_history_client_fini(&chaos.clients[i]);
    }
    chaos.cluster.failed = chaos.cluster.failed || rc != 0;
    lks_process_cluster_fini(&chaos.cluster);
    printf("chaos: %s, --seed %llu\n", rc == 0 ? "all held" : "FAILED",
           (unsigned long long)chaos.settings.seed);
    return rc == 0 ? 0 : 1;
}
