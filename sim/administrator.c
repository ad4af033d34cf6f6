/* An administrator at a replica's client port; see administrator.h. */
#include "sim/administrator.h"

#include "base/assert.h"
#include "node/config.h"
#include "node/member_command.h"
#include "node/members.h"
#include "node/scheduler_command.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 6u
#define WORD_BYTES_MAX 32u
#define ADDRESS_PPM 500000u
#define MISTAKE_PPM 100000u
#define FIRST_PORT 7000u

struct line {
    char words[WORDS_MAX][WORD_BYTES_MAX];
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void say(struct line *line, const char *format, ...)
{
    va_list args;
    LKS_ASSERT(line->count < WORDS_MAX);
    va_start(args, format);
    const int length = vsnprintf(line->words[line->count], WORD_BYTES_MAX, format, args);
    va_end(args);
    LKS_ASSERT(length > 0 && (size_t)length < WORD_BYTES_MAX);
    line->count++;
}

static void take_args(const struct line *line, struct lks_argument args[WORDS_MAX])
{
    for (size_t i = 0; i < line->count; i++) {
        args[i] = (struct lks_argument){.data = line->words[i], .bytes = strlen(line->words[i])};
    }
}

/* True: answered; false: under way. */
static bool hear(struct lks_replica *replica, uint32_t self, const struct line *line,
                 struct lks_reply *reply)
{
    static const struct lks_config none; /* who joined without an address has none */
    const struct lks_assembly assembly = {
        .config = &none, .replica_id = self, .replica = replica};
    struct lks_argument args[WORDS_MAX];
    take_args(line, args);
    return lks_member_command(&assembly, args, line->count, 0, reply);
}

/* The reply's first line, without its mark. */
static void take_text(const struct lks_reply *reply, char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX])
{
    LKS_ASSERT(reply->bytes > 1);
    const size_t length = strcspn(reply->data + 1, "\r");
    (void)snprintf(text, LKS_SIM_ADMINISTRATOR_TEXT_MAX, "%.*s", (int)length, reply->data + 1);
}

bool lks_sim_administrator_asks(struct lks_replica *replica, uint32_t self,
                                const struct lks_member_request *request,
                                struct lks_sim_random *random,
                                char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX])
{
    static const char *const actions[] = {[LKS_MEMBER_ADD] = "ADD",
                                          [LKS_MEMBER_PROMOTE] = "promote",
                                          [LKS_MEMBER_REMOVE] = "Remove",
                                          [LKS_MEMBER_TRANSFER] = "TRANSFER"};
    struct line line = {.count = 0};
    struct lks_reply reply;
    lks_reply_init(&reply);
    say(&line, "MEMBER");
    say(&line, "%s", actions[request->action]);
    if (request->id != 0) {
        say(&line, "%" PRIu32, request->id);
    }
    if (request->action == LKS_MEMBER_ADD && lks_sim_random_chance(random, ADDRESS_PPM)) {
        say(&line, "127.0.0.1:%" PRIu32, FIRST_PORT + request->id);
    }
    if (request->manual) {
        say(&line, "MANUAL");
    }
    const bool answered = hear(replica, self, &line, &reply);
    text[0] = '\0';
    if (answered) {
        take_text(&reply, text);
    }
    lks_reply_fini(&reply);
    return !answered;
}

/* The list is one bulk string: its first line says by which members the replica counts. */
static void check_list(const struct lks_replica *replica, const struct lks_reply *reply)
{
    struct lks_replica_status status;
    char named[WORD_BYTES_MAX];
    char counted[WORD_BYTES_MAX];
    lks_replica_status(replica, &status);
    (void)snprintf(named, sizeof named, "members=%" PRIu64 " ", status.members);
    LKS_ASSERT(memmem(reply->data, reply->bytes, named, strlen(named)) != NULL);
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        const bool voter = (status.voters >> id & 1u) != 0;
        const bool learner = (status.learners >> id & 1u) != 0;
        (void)snprintf(counted, sizeof counted, "\nid=%" PRIu32 " state=%s ", id,
                       voter ? "voter" : "learner");
        LKS_ASSERT((memmem(reply->data, reply->bytes, counted, strlen(counted)) != NULL) ==
                   (voter || learner));
    }
}

static void make_mistake(struct line *line, struct lks_sim_random *random)
{
    static const char *const mistakes[][3] = {{"DROP", "2", NULL},
                                              {"REMOVE", "17", NULL},
                                              {"PROMOTE", "2", "MANUAL"},
                                              {"ADD", "2", "127.0.0.1"},
                                              {"ADD", "two", NULL}};
    const uint64_t drawn = lks_sim_random_below(random, sizeof mistakes / sizeof mistakes[0]);
    for (size_t i = 0; i < 3 && mistakes[drawn][i] != NULL; i++) {
        say(line, "%s", mistakes[drawn][i]);
    }
}

void lks_sim_administrator_looks(struct lks_replica *replica, uint32_t self,
                                 struct lks_sim_random *random)
{
    struct line line = {.count = 0};
    struct lks_reply reply;
    lks_reply_init(&reply);
    say(&line, "MEMBER");
    const bool mistaken = lks_sim_random_chance(random, MISTAKE_PPM);
    if (mistaken) {
        make_mistake(&line, random);
    } else {
        say(&line, "list");
    }
    const bool answered = hear(replica, self, &line, &reply);
    LKS_ASSERT(answered);
    if (mistaken) {
        LKS_ASSERT(reply.bytes > 4 && memcmp(reply.data, "-ERR", 4) == 0);
    } else {
        check_list(replica, &reply);
    }
    lks_reply_fini(&reply);
}

void lks_sim_administrator_told(int status, const char *why,
                                char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX])
{
    struct lks_reply reply;
    lks_reply_init(&reply);
    lks_member_command_ended(status, why, &reply);
    take_text(&reply, text);
    lks_reply_fini(&reply);
}

void lks_sim_administrator_schedules(struct lks_replica *replica, enum lks_scheduler_kind kind,
                                     uint32_t workers)
{
    struct line line = {.count = 0};
    struct lks_argument args[WORDS_MAX];
    struct lks_reply reply;
    struct lks_scheduler_status status;
    lks_reply_init(&reply);
    say(&line, "SCHEDULER");
    say(&line, "SET");
    say(&line, "%s", lks_scheduler_kind_name(kind));
    if (workers != 0) {
        say(&line, "workers");
        say(&line, "%" PRIu32, workers);
    }
    take_args(&line, args);
    lks_scheduler_command(replica, args, line.count, &reply);
    const bool accepted = reply.bytes == 5 && memcmp(reply.data, "+OK\r\n", 5) == 0;
    lks_reply_fini(&reply);
    LKS_ASSERT(accepted);
    lks_replica_scheduler_status(replica, &status);
    LKS_ASSERT(status.wanted == kind);
}

void lks_sim_administrator_errs(struct lks_replica *replica, struct lks_sim_random *random)
{
    static const char *const mistakes[][5] = {{"SCHEDULER", "SET"},
                                              {"SCHEDULER", "SET", "fast"},
                                              {"SCHEDULER", "SET", "the-one-before"},
                                              {"SCHEDULER", "SET", "late", "threads", "2"},
                                              {"SCHEDULER", "SET", "late", "workers", "0"},
                                              {"SCHEDULER", "SET", "late", "workers", "two"},
                                              {"SCHEDULER", "SET", "late", "workers", "64"}};
    struct line line = {.count = 0};
    struct lks_argument args[WORDS_MAX];
    struct lks_reply reply;
    struct lks_scheduler_status before;
    struct lks_scheduler_status after;
    const uint64_t drawn = lks_sim_random_below(random, sizeof mistakes / sizeof mistakes[0]);
    for (size_t i = 0; i < 5 && mistakes[drawn][i] != NULL; i++) {
        say(&line, "%s", mistakes[drawn][i]);
    }
    lks_reply_init(&reply);
    take_args(&line, args);
    lks_replica_scheduler_status(replica, &before);
    lks_scheduler_command(replica, args, line.count, &reply);
    lks_replica_scheduler_status(replica, &after);
    LKS_ASSERT(reply.bytes > 4 && memcmp(reply.data, "-ERR", 4) == 0);
    LKS_ASSERT(after.wanted == before.wanted && after.workers == before.workers);
    lks_reply_fini(&reply);
}
