/*
 * `lockstep member list|add|promote|remove|transfer`: the cluster's members, and changes of them on
 * the running cluster. Finds the leader by itself, follows it when it changes, and asks again where
 * the outcome is not known: every change may be repeated. Main thread.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "client/cluster_files.h"
#include "client/cluster_options.h"
#include "client/command.h"
#include "client/config_edit.h"
#include "client/json.h"
#include "client/members.h"
#include "client/named_cluster.h"
#include "client/progress.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHANGE_MAX_NS (30 * LKS_NS_PER_S) /* until the leader has taken a change */
#define LIST_WAIT_NS (3 * LKS_NS_PER_S)
#define RETRY_NS (100 * LKS_NS_PER_MS)
#define LOOK_NS (200 * LKS_NS_PER_MS)
#define ADDRESS_TEXT_MAX (LKS_ADDRESS_TEXT_MAX + 16)
#define SAY_EVERY_NS (2 * LKS_NS_PER_S)

enum { KEY_JOURNAL = 0x100, KEY_LISTEN, KEY_MANUAL, KEY_NO_WAIT, KEY_RDMA, KEY_REJOIN,
       KEY_TIMEOUT };

enum action { ACTION_LIST, ACTION_ADD, ACTION_PROMOTE, ACTION_REMOVE, ACTION_TRANSFER };

static const char *const action_names[] = {"list", "add", "promote", "remove", "transfer"};

struct member_command {
    struct lks_named_cluster cluster;
    bool action_given;
    enum action action;
    uint32_t id; /* 0: not given */
    const char *journal;
    const char *listen;
    const char *rdma;
    bool manual;
    bool no_wait;
    bool rejoin;
    bool json;
    uint64_t timeout_ns; /* of waiting; 0: no end */
    char path[LKS_CONFIG_PATH_MAX];
    struct lks_config config;
    struct lks_members_seen seen;
};

/* ---- arguments ------------------------------------------------------------------------------ */

static void take_argument(struct member_command *command, char *argument, struct argp_state *state)
{
    if (command->action_given && command->id == 0) {
        command->id = (uint32_t)lks_cluster_number(state, "id", argument, 1, LKS_REPLICAS_MAX);
        return;
    }
    for (size_t i = 0; !command->action_given && i < LKS_COUNT_OF(action_names); i++) {
        if (strcmp(argument, action_names[i]) == 0) {
            command->action = (enum action)i;
            command->action_given = true;
            return;
        }
    }
    argp_error(state, "'%s': say list, add N, promote N, remove N or transfer [N]", argument);
}

static void check(const struct member_command *command, struct argp_state *state)
{
    const bool add = command->action == ACTION_ADD;
    if (!command->action_given) {
        argp_error(state, "say list, add N, promote N, remove N or transfer [N]");
    }
    if (command->action == ACTION_LIST ? command->id != 0
                                       : command->id == 0 && command->action != ACTION_TRANSFER) {
        argp_error(state, "%s: %s", action_names[command->action],
                   command->id != 0 ? "it takes no replica" : "which replica? give its number");
    }
    if (!add && (command->journal != NULL || command->listen != NULL || command->manual ||
                 command->rejoin)) {
        argp_error(state, "--journal, --listen, --manual and --rejoin go with add");
    }
    if ((command->journal == NULL) != (command->listen == NULL)) {
        argp_error(state, "--journal and --listen go together: a new replica's block has both");
    }
    if (command->rdma != NULL && command->journal == NULL) {
        argp_error(state, "--rdma goes with --journal and --listen");
    }
    if (command->json && command->action != ACTION_LIST) {
        argp_error(state, "--json goes with list");
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct member_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->cluster;
        return 0;
    case 'j':
        command->json = true;
        return 0;
    case KEY_JOURNAL:
        command->journal = argument;
        return 0;
    case KEY_LISTEN:
        command->listen = argument;
        return 0;
    case KEY_MANUAL:
        command->manual = true;
        return 0;
    case KEY_NO_WAIT:
        command->no_wait = true;
        return 0;
    case KEY_RDMA:
        command->rdma = argument;
        return 0;
    case KEY_REJOIN:
        command->rejoin = true;
        return 0;
    case KEY_TIMEOUT:
        command->timeout_ns = LKS_NS_PER_S * lks_cluster_number(state, "timeout", argument, 1,
                                                                1000000);
        return 0;
    case ARGP_KEY_ARG:
        take_argument(command, argument, state);
        return 0;
    case ARGP_KEY_END:
        check(command, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- asking the leader ---------------------------------------------------------------------- */

static void pause_for(uint64_t ns)
{
    const struct timespec pause = {.tv_sec = (time_t)(ns / LKS_NS_PER_S),
                                   .tv_nsec = (long)(ns % LKS_NS_PER_S)};
    (void)nanosleep(&pause, NULL);
}

/* An election may be under way. */
static int await_leader(struct member_command *command, uint64_t wait_ns, struct lks_error *err)
{
    const uint64_t deadline_ns = lks_clock_monotonic_ns() + wait_ns;
    for (;;) {
        const int rc = lks_members_find_leader(&command->seen, &command->config, err);
        if (rc == 0 || lks_clock_monotonic_ns() > deadline_ns) {
            return rc;
        }
        pause_for(RETRY_NS);
    }
}

static bool begins(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

/* Whether the same request may be made again, and could go better. */
static bool is_passing(const struct member_command *command, int rc, const char *text)
{
    const bool not_ready = rc == -EPROTO && begins(text, "NOTREADY");
    return rc != -EPROTO || begins(text, "NOTLEADER") || begins(text, "BUSY") ||
           begins(text, "UNKNOWN") || (not_ready && !command->no_wait);
}

/* Until the leader has done it, or says why it will not. */
static int change(struct member_command *command, const char *const *args, struct lks_error *err)
{
    const uint64_t deadline_ns = lks_clock_monotonic_ns() + CHANGE_MAX_NS;
    for (;;) {
        int rc = lks_members_find_leader(&command->seen, &command->config, err);
        if (rc == 0) {
            rc = lks_members_ask(&command->seen, args, CHANGE_MAX_NS, err);
        }
        if (rc == 0) {
            return 0;
        }
        const bool passing = is_passing(command, rc, err->text);
        if (!passing || lks_clock_monotonic_ns() > deadline_ns) {
            return rc;
        }
        pause_for(RETRY_NS);
    }
}

/* ---- list ----------------------------------------------------------------------------------- */

static void print_list(const struct lks_members_seen *seen)
{
    printf("members %" PRIu64 "%s, term %" PRIu64 ", leader %u at %s\n", seen->number,
           seen->committed ? "" : " (not committed yet)", seen->term, seen->leader,
           seen->leader_address);
    printf("%-3s %-8s %-24s %-11s %10s\n", "id", "state", "address", "connection", "lag bytes");
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        const struct lks_member_seen *member = &seen->members[id];
        if (!member->named) {
            continue;
        }
        printf("%-3u %-8s %-24s %-11s %10" PRIu64 "%s%s%s\n", id,
               member->voter ? "voter" : "learner", member->address,
               member->connected ? "connected" : "absent", member->lag_bytes,
               id == seen->leader ? "  leads" : "", member->installing ? "  installing" : "",
               member->manual ? "  promoted by hand" : "");
    }
}

static void print_json(const struct lks_members_seen *seen)
{
    bool first = true;
    printf("{\"number\":%" PRIu64 ",\"committed\":%s,\"term\":%" PRIu64 ",\"leader\":%u,"
           "\"leader_address\":", seen->number, seen->committed ? "true" : "false", seen->term,
           seen->leader);
    lks_json_print_string(seen->leader_address);
    printf(",\"members\":[");
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        const struct lks_member_seen *member = &seen->members[id];
        if (!member->named) {
            continue;
        }
        printf("%s{\"id\":%u,\"state\":\"%s\",\"address\":", first ? "" : ",", id,
               member->voter ? "voter" : "learner");
        lks_json_print_string(member->address);
        printf(",\"connected\":%s,\"lag_bytes\":%" PRIu64 ",\"caught_up\":%s,\"installing\":%s,"
               "\"manual\":%s}", member->connected ? "true" : "false", member->lag_bytes,
               member->caught_up ? "true" : "false", member->installing ? "true" : "false",
               member->manual ? "true" : "false");
        first = false;
    }
    printf("]}\n");
}

static int run_list(struct member_command *command, struct lks_error *err)
{
    const int rc = await_leader(command, LIST_WAIT_NS, err);
    if (rc == 0 && command->json) {
        print_json(&command->seen);
    } else if (rc == 0) {
        print_list(&command->seen);
    }
    return rc;
}

/* ---- add ------------------------------------------------------------------------------------ */

/* A new journal beside the old one's name, or the one that is there and not used up. */
static int prepare_files(struct member_command *command, struct lks_error *err)
{
    const struct lks_config_replica *replica = &command->config.replicas[command->id];
    uint64_t lives = 0;
    if (command->rejoin) {
        const int rc = lks_cluster_set_aside(&command->config, command->id, &lives, err);
        if (rc != 0) {
            return rc;
        }
    }
    if (access(replica->journal, F_OK) == 0) {
        return lks_cluster_check_journal(&command->config, command->id, err);
    }
    if (command->journal == NULL && !command->rejoin) {
        return 0; /* it is on another machine, or will be made there */
    }
    int rc = lks_cluster_make_directory(command->config.directory, err);
    if (rc == 0) {
        rc = lks_cluster_create_replica(&command->config, command->id, false, lives, err);
    }
    return rc == 0 ? lks_cluster_print_medium(&command->config, command->id, err) : rc;
}

static int prepare_block(struct member_command *command, struct lks_error *err)
{
    if (command->journal != NULL) {
        const struct lks_config_addition addition = {
            .id = command->id, .journal = command->journal, .listen = command->listen,
            .rdma = command->rdma};
        return lks_config_add_replica(&command->config, command->path, &addition, err);
    }
    if (command->id > command->config.replicas_count) {
        return lks_error_set(err, -LKS_ECONFIG,
                             "%s names no replica %u: give --journal FILE and --listen "
                             "ADDRESS:PORT, and its block is added",
                             command->path, command->id);
    }
    return 0;
}

/* A line now and then, or one that is drawn over on a terminal. */
static void say(const struct member_command *command, const struct lks_member_seen *member,
                uint64_t *said_ns)
{
    const uint64_t now_ns = lks_clock_monotonic_ns();
    if (*said_ns != 0 && now_ns - *said_ns < SAY_EVERY_NS) {
        return;
    }
    *said_ns = now_ns;
    if (!member->connected) {
        fprintf(stderr, "waiting for replica %u to be started\n", command->id);
    } else if (member->installing) {
        fprintf(stderr, "replica %u installs a snapshot\n", command->id);
    } else {
        fprintf(stderr, "replica %u is %" PRIu64 " bytes behind\n", command->id,
                member->lag_bytes);
    }
}

/* Until the replica votes, or (promoted by hand) could. */
static int wait_for_member(struct member_command *command, struct lks_error *err)
{
    const uint64_t began_ns = lks_clock_monotonic_ns();
    uint64_t said_ns = 0;
    for (;;) {
        const int rc = lks_members_find_leader(&command->seen, &command->config, err);
        const struct lks_member_seen *member = &command->seen.members[command->id];
        if (rc == 0 && !member->named) {
            return lks_error_set(err, -ENOENT, "replica %u was removed meanwhile", command->id);
        }
        if (rc == 0 && (member->voter || (command->manual && member->caught_up))) {
            return 0;
        }
        if (command->timeout_ns != 0 &&
            lks_clock_monotonic_ns() - began_ns > command->timeout_ns) {
            return lks_error_set(err, -ETIMEDOUT,
                                 "replica %u has not caught up in time: it stays a learner; "
                                 "`lockstep member list` shows how far it is", command->id);
        }
        if (rc == 0) {
            say(command, member, &said_ns);
        }
        pause_for(LOOK_NS);
    }
}

/* "10.0.0.1:7001", "[::1]:7001". */
static void put_address(char text[ADDRESS_TEXT_MAX], const char *address, uint16_t port)
{
    const bool bracket = strchr(address, ':') != NULL;
    (void)snprintf(text, ADDRESS_TEXT_MAX, "%s%s%s:%u", bracket ? "[" : "", address,
                   bracket ? "]" : "", port);
}

static int run_add(struct member_command *command, struct lks_error *err)
{
    char id[8];
    char address[ADDRESS_TEXT_MAX];
    char fabric[ADDRESS_TEXT_MAX];
    int rc = prepare_block(command, err);
    if (rc == 0) {
        rc = prepare_files(command, err);
    }
    if (rc != 0) {
        return rc;
    }
    const struct lks_config_replica *replica = &command->config.replicas[command->id];
    (void)snprintf(id, sizeof id, "%u", command->id);
    put_address(address, replica->address, replica->port);
    put_address(fabric, replica->rdma_address, replica->rdma_port);
    const char *args[] = {"MEMBER", "ADD", id, address, NULL, NULL, NULL, NULL};
    size_t count = 4;
    if (command->config.fabric == LKS_CONFIG_FABRIC_RDMA) {
        args[count++] = "FABRIC";
        args[count++] = fabric;
    }
    if (command->manual) {
        args[count] = "MANUAL";
    }
    rc = change(command, args, err);
    if (rc != 0) {
        return rc;
    }
    printf("replica %u is a member: start it, if it does not run: lockstep serve --config %s "
           "--replica %u\n", command->id, command->path, command->id);
    (void)fflush(stdout);
    if (command->no_wait) {
        return 0;
    }
    rc = wait_for_member(command, err);
    if (rc == 0) {
        printf("replica %u %s\n", command->id,
               command->manual ? "has caught up; `lockstep member promote` makes it a voter"
                               : "has caught up and votes");
    }
    return rc;
}

/* ---- promote, remove, transfer -------------------------------------------------------------- */

static int run_transfer(struct member_command *command, uint32_t to, struct lks_error *err)
{
    char id[8];
    (void)snprintf(id, sizeof id, "%u", to);
    const char *const args[] = {"MEMBER", "TRANSFER", to != 0 ? id : NULL, NULL};
    int rc = change(command, args, err);
    if (rc == 0) {
        rc = await_leader(command, CHANGE_MAX_NS, err);
    }
    if (rc == 0) {
        printf("replica %u leads term %" PRIu64 "\n", command->seen.leader, command->seen.term);
    }
    return rc;
}

static int run_change(struct member_command *command, const char *word, const char *done,
                      struct lks_error *err)
{
    char id[8];
    (void)snprintf(id, sizeof id, "%u", command->id);
    const char *const args[] = {"MEMBER", word, id, NULL};
    const int rc = change(command, args, err);
    if (rc == 0) {
        printf("replica %u %s\n", command->id, done);
    }
    return rc;
}

static int run_remove(struct member_command *command, struct lks_error *err)
{
    static const char done[] = "is no member any more; it ends by itself, and its journal stays";
    int rc = await_leader(command, CHANGE_MAX_NS, err);
    if (rc == 0 && command->seen.leader == command->id && command->seen.voters > 1) {
        rc = run_transfer(command, 0, err); /* a leader does not remove itself */
    }
    return rc == 0 ? run_change(command, "REMOVE", done, err) : rc;
}

static int run(struct member_command *command, struct lks_error *err)
{
    const int rc = lks_cluster_load(&command->config, &command->cluster, command->path, err);
    if (rc != 0) {
        return rc;
    }
    switch (command->action) {
    case ACTION_LIST:
        return run_list(command, err);
    case ACTION_ADD:
        return run_add(command, err);
    case ACTION_PROMOTE:
        return run_change(command, "PROMOTE", "votes", err);
    case ACTION_REMOVE:
        return run_remove(command, err);
    case ACTION_TRANSFER:
        return run_transfer(command, command->id, err);
    }
    return -EINVAL;
}

int lks_member_command_line(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"json", 'j', NULL, 0, "list: one JSON object, on one line", 0},
        {"journal", KEY_JOURNAL, "FILE", 0,
         "add: where the new replica's journal is made; with --listen also its block in the "
         "configuration, unless it is there", 1},
        {"listen", KEY_LISTEN, "ADDRESS:PORT", 0, "add: where its clients connect", 1},
        {"rdma", KEY_RDMA, "ADDRESS:PORT", 0,
         "add: where its peers reach it, for `fabric: rdma`; goes with --journal", 1},
        {"rejoin", KEY_REJOIN, NULL, 0,
         "add: a replica that was removed comes back: its old files are set aside, new ones are "
         "made", 1},
        {"manual", KEY_MANUAL, NULL, 0, "add: it stays a learner until `member promote`", 1},
        {"no-wait", KEY_NO_WAIT, NULL, 0, "add, promote: do not wait until it has caught up", 1},
        {"timeout", KEY_TIMEOUT, "SECONDS", 0, "add: wait so long at most (default: no end)", 1},
        {0},
    };
    static const struct argp_child children[] = {LKS_NAMED_CLUSTER_CHILD, {0}};
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .children = children,
        .args_doc = "list\nadd N\npromote N\nremove N\ntransfer [N]",
        .doc = "Shows and changes the members of a running cluster, one server at a time.\v"
               "A replica that is added is a learner until it has caught up, then a voter. One "
               "that is removed ends by itself. The leader hands over before it is removed, or "
               "when `transfer` asks for it. Exit codes: 0 done; 1 failed; 2 wrong arguments or "
               "configuration.",
    };
    struct lks_error err = {0};
    struct member_command *command = calloc(1, sizeof *command);
    if (command == NULL) {
        fprintf(stderr, "lockstep member: out of memory\n");
        return LKS_EXIT_FAILURE;
    }
    (void)argp_parse(&argp, argc, argv, 0, NULL, command);
    const int rc = run(command, &err);
    free(command);
    if (rc != 0) {
        const char *text = err.text[0] != '\0' ? err.text : lks_error_text(rc);
        fprintf(stderr, "lockstep member: %s\n", begins(text, "ERR ") ? text + 4 : text);
    }
    return rc == 0 ? LKS_EXIT_OK : rc == -LKS_ECONFIG ? LKS_EXIT_USAGE : LKS_EXIT_FAILURE;
}
