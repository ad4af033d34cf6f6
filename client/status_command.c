/*
 * `lockstep status`: asks every replica over its client port and prints one line each, or one
 * JSON object. A replica that cannot be reached is shown as such.
 */
#include "base/clock.h"
#include "client/clients_view.h"
#include "client/command.h"
#include "client/json.h"
#include "client/named_cluster.h"
#include "client/survey.h"
#include "client/workers_view.h"

#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ASK_TIMEOUT_NS (500 * LKS_NS_PER_MS)

struct status_options {
    struct lks_named_cluster cluster;
    bool json;
    bool watch;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct status_options *options = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->cluster;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case 'w':
        options->watch = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- for people --------------------------------------------------------------------------- */

/* How far a replica's execution is behind what the leader has committed. */
static uint64_t lag_bytes(const struct lks_survey *survey, const char *info)
{
    const uint64_t applied = lks_ask_number(info, "applied_offset");
    const uint64_t commit = survey->leader != 0 ? survey->commit_offset
                                                : lks_ask_number(info, "commit_offset");
    return commit > applied ? commit - applied : 0;
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    const uint64_t share = whole != 0 ? part * 100 / whole : 0;
    return share < 100 ? (unsigned)share : 100;
}

/* What a replica is doing beside its work, behind its line. */
static void print_remarks(const char *info)
{
    const uint64_t partitions = lks_ask_number(info, "partitions");
    const uint64_t ready = lks_ask_number(info, "partitions_ready");
    const uint64_t donor = lks_ask_number(info, "install_donor");
    const uint64_t failed = lks_ask_number(info, "snapshots_failed");
    if (donor != 0) {
        printf("  installing from %" PRIu64 ": %u %%", donor,
               percent(lks_ask_number(info, "install_bytes"),
                       lks_ask_number(info, "install_expected_bytes")));
    } else if (ready != partitions) {
        printf("  restored %" PRIu64 " of %" PRIu64 " partitions", ready, partitions);
    } else if (lks_ask_number(info, "snapshot_writing") == 1) {
        printf("  snapshot: %u %%", percent(lks_ask_number(info, "snapshot_written_bytes"),
                                            lks_ask_number(info, "snapshot_expected_bytes")));
    }
    if (failed != 0) {
        printf("  %" PRIu64 " snapshots failed", failed);
    }
    if (lks_ask_number(info, "unfit_to_lead") == 1) {
        printf("  no snapshot for %" PRIu64 " s: leaves the lead to others",
               lks_ask_number(info, "snapshots_failing_ms") / 1000);
    }
    if (lks_ask_number(info, "amnesiac") == 1) {
        printf("  amnesiac");
    }
    printf("%s\n", lks_ask_number(info, "serving") == 1 ? "" : "  not serving");
}

/* True if the leader says that a replica is a member of this kind: "none" or "learner". */
static bool is_member(const struct lks_survey *survey, uint32_t id, const char *kind)
{
    char key[16];
    char line[256];
    (void)snprintf(key, sizeof key, "peer%" PRIu32, id);
    if (survey->leader == 0 ||
        !lks_ask_value(survey->replicas[survey->leader].info, key, line, sizeof line)) {
        return false;
    }
    const char *member = strstr(line, "member=");
    return member != NULL && strcmp(member + strlen("member="), kind) == 0;
}

static void print_replica(const struct lks_survey *survey, const struct lks_config *config,
                          uint32_t id)
{
    const struct lks_survey_replica *replica = &survey->replicas[id];
    char address[LKS_ADDRESS_TEXT_MAX + 8];
    char role[32];
    char durability[32];
    char medium[32];
    (void)snprintf(address, sizeof address, "%s:%u", config->replicas[id].address,
                   config->replicas[id].port);
    if (!replica->reachable) {
        const bool removed = is_member(survey, id, "none");
        printf("%-3u %-14s %-21s %s\n", id, removed ? "no member" : "unreachable", address,
               removed ? "has been removed, or not been added" : replica->problem);
        return;
    }
    const char *info = replica->info;
    (void)lks_ask_value(info, "role", role, sizeof role);
    if (is_member(survey, id, "learner")) {
        (void)snprintf(role, sizeof role, "learner");
    }
    (void)lks_ask_value(info, "durability", durability, sizeof durability);
    (void)lks_ask_value(info, "medium", medium, sizeof medium);
    printf("%-3u %-14s %-21s %6" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
           "  %-12s %-7s",
           id, role, address, lks_ask_number(info, "term"),
           lks_ask_number(info, "applied_index"), lks_ask_number(info, "last_index"),
           lks_ask_number(info, "tail_offset") - lks_ask_number(info, "base_offset"),
           lag_bytes(survey, info), durability, medium);
    print_remarks(info);
}

static void print_reasons(const struct lks_survey *survey, const struct lks_config *config)
{
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        const char *info = survey->replicas[id].info;
        char durability[256];
        char medium[256];
        char detail[400];
        if (survey->replicas[id].reachable) {
            (void)lks_ask_value(info, "durability_reason", durability, sizeof durability);
            (void)lks_ask_value(info, "medium_reason", medium, sizeof medium);
            printf("  %u: durability: %s\n     medium: %s (survives a power cut: %s)\n", id,
                   durability, medium,
                   lks_ask_number(info, "medium_survives_power") == 1 ? "yes" : "no");
            if (lks_ask_value(info, "fabric_detail", detail, sizeof detail)) {
                printf("     fabric: %s\n", detail);
            }
            if (lks_ask_value(info, "ring_memory", detail, sizeof detail)) {
                printf("     log memory: %s\n", detail);
            }
            printf("     ");
            lks_workers_view_print(info);
            lks_clients_view_print(info);
        }
    }
}

static void print_text(const struct lks_survey *survey, const struct lks_config *config)
{
    printf("cluster %s: %u replicas, fabric %s, term %" PRIu64 ", ", config->name,
           config->replicas_count, lks_config_fabric_name(config->fabric), survey->term);
    if (survey->leader != 0) {
        printf("leader %u, followed by %u%s\n", survey->leader, survey->followers,
               survey->majority ? "" : ": no majority");
    } else {
        printf("no leader\n");
    }
    printf("%-3s %-14s %-21s %6s %10s %10s %10s %10s  %-12s %s\n", "id", "role", "address",
           "term", "applied", "last", "log bytes", "lag bytes", "durability", "medium");
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        print_replica(survey, config, id);
    }
    print_reasons(survey, config);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static bool is_number(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 20 && text[digits] == '\0' && (text[0] != '0' || digits == 1);
}

/* Every line of the INFO text as a member: numbers as numbers, all else as strings. */
static void print_json_info(const char *info)
{
    for (const char *line = info; *line != '\0';) {
        const size_t length = strcspn(line, "\r\n");
        const char *colon = memchr(line, ':', length);
        const bool listed = lks_workers_view_is_line(line, length) ||
                            lks_clients_view_is_line(line, length);
        if (line[0] != '#' && colon != NULL && !listed) {
            char key[64];
            char value[512];
            (void)snprintf(key, sizeof key, "%.*s", (int)(colon - line), line);
            (void)snprintf(value, sizeof value, "%.*s", (int)(length - (size_t)(colon - line) - 1),
                           colon + 1);
            putchar(',');
            lks_json_print_string(key);
            putchar(':');
            if (is_number(value)) {
                fputs(value, stdout);
            } else {
                lks_json_print_string(value);
            }
        }
        line += length;
        line += strspn(line, "\r\n");
    }
}

static void print_json(const struct lks_survey *survey, const struct lks_config *config)
{
    printf("{\"cluster\":\"%s\",\"fabric\":\"%s\",\"leader\":%u,\"term\":%" PRIu64
           ",\"followers\":%u,\"majority\":%s,\"replicas\":[",
           config->name, lks_config_fabric_name(config->fabric), survey->leader, survey->term,
           survey->followers, survey->majority ? "true" : "false");
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        const struct lks_survey_replica *replica = &survey->replicas[id];
        printf("%s{\"id\":%u,\"address\":\"%s\",\"port\":%u,\"reachable\":%s", id > 1 ? "," : "",
               id, config->replicas[id].address, config->replicas[id].port,
               replica->reachable ? "true" : "false");
        if (replica->reachable) {
            printf(",\"lag_bytes\":%" PRIu64, lag_bytes(survey, replica->info));
            print_json_info(replica->info);
            printf(",\"executors\":");
            lks_workers_view_print_json(replica->info);
            printf(",\"clients\":");
            lks_clients_view_print_json(replica->info);
        } else {
            printf(",\"problem\":");
            lks_json_print_string(replica->problem);
        }
        putchar('}');
    }
    printf("]}\n");
}

/* ---- the command -------------------------------------------------------------------------- */

static int show(struct lks_survey *survey, const struct lks_config *config, bool json)
{
    lks_survey_take(survey, config, ASK_TIMEOUT_NS);
    if (json) {
        print_json(survey, config);
    } else {
        print_text(survey, config);
    }
    return survey->leader != 0 && survey->majority ? LKS_EXIT_OK : LKS_EXIT_NO_LEADER;
}

/* Until a signal ends the process, or the reader of the output goes away. */
static int watch(struct lks_survey *survey, const struct lks_config *config, bool json)
{
    const bool terminal = isatty(STDOUT_FILENO) != 0;
    for (;;) {
        if (terminal && !json) {
            printf("\033[H\033[2J");
        }
        const int code = show(survey, config, json);
        if (fflush(stdout) != 0) {
            return code;
        }
        const struct timespec pause = {.tv_sec = 1};
        (void)nanosleep(&pause, NULL);
    }
}

int lks_status_command(int argc, char **argv)
{
    static const struct argp_option option_table[] = {
        {"json", 'j', NULL, 0, "One JSON object, on one line", 0},
        {"watch", 'w', NULL, 0, "Again every second until Ctrl-C", 0},
        {0},
    };
    static const struct argp_child children[] = {LKS_NAMED_CLUSTER_CHILD, {0}};
    static const struct argp argp = {
        .options = option_table,
        .parser = parse,
        .children = children,
        .args_doc = "--config FILE\n--dir D",
        .doc = "Asks every replica how it is.\vlag: bytes of committed log that a replica has not "
               "executed yet. Exit codes: 0 there is a leader and a majority follows it; 1 "
               "failed; 2 wrong arguments or configuration; 3 no leader, or no majority.",
    };
    struct status_options options = {0};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    struct lks_config config;
    struct lks_error err = {0};
    char path[LKS_CONFIG_PATH_MAX];
    if (lks_cluster_load(&config, &options.cluster, path, &err) != 0) {
        fprintf(stderr, "lockstep status: %s\n", err.text);
        return LKS_EXIT_USAGE;
    }
    struct lks_survey *survey = malloc(sizeof *survey);
    if (survey == NULL) {
        fprintf(stderr, "lockstep status: out of memory\n");
        return LKS_EXIT_FAILURE;
    }
    const int code = options.watch ? watch(survey, &config, options.json)
                                   : show(survey, &config, options.json);
    free(survey);
    return code;
}
