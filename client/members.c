/* The members of a running cluster; see members.h. */
#include "client/members.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_NS (500 * LKS_NS_PER_MS)

/* The value of "key=value" in one line; "" if it is not there. */
static void value_of(const char *line, size_t bytes, const char *key, char *value,
                     size_t value_bytes)
{
    const size_t key_bytes = strlen(key);
    value[0] = '\0';
    for (size_t at = 0; at < bytes;) {
        const size_t word = strcspn(line + at, " \n");
        const size_t length = word < bytes - at ? word : bytes - at;
        if (length > key_bytes && memcmp(line + at, key, key_bytes) == 0 &&
            line[at + key_bytes] == '=') {
            (void)snprintf(value, value_bytes, "%.*s", (int)(length - key_bytes - 1),
                           line + at + key_bytes + 1);
            return;
        }
        at += length + 1;
    }
}

static uint64_t number_of(const char *line, size_t bytes, const char *key)
{
    char text[24];
    value_of(line, bytes, key, text, sizeof text);
    return strtoull(text, NULL, 10);
}

static void read_member(struct lks_members_seen *seen, const char *line, size_t bytes)
{
    char state[16];
    const uint64_t id = number_of(line, bytes, "id");
    if (id < 1 || id > LKS_REPLICAS_MAX) {
        return;
    }
    struct lks_member_seen *member = &seen->members[id];
    value_of(line, bytes, "state", state, sizeof state);
    value_of(line, bytes, "address", member->address, sizeof member->address);
    member->named = true;
    member->voter = strcmp(state, "voter") == 0;
    member->connected = number_of(line, bytes, "connected") == 1;
    member->caught_up = number_of(line, bytes, "caught_up") == 1;
    member->installing = number_of(line, bytes, "installing") == 1;
    member->manual = number_of(line, bytes, "manual") == 1;
    member->lag_bytes = number_of(line, bytes, "lag_bytes");
    seen->voters += member->voter;
}

bool lks_members_read(struct lks_members_seen *seen, const char *text)
{
    const size_t first = strcspn(text, "\n");
    if (strncmp(text, "members=", 8) != 0) {
        return false;
    }
    *seen = (struct lks_members_seen){
        .leader = (uint32_t)number_of(text, first, "leader"),
        .term = number_of(text, first, "term"),
        .number = number_of(text, first, "members"),
        .committed = number_of(text, first, "committed") == 1,
    };
    value_of(text, first, "leader_address", seen->leader_address, sizeof seen->leader_address);
    for (const char *line = text + first; *line != '\0';) {
        line += strspn(line, "\n");
        const size_t bytes = strcspn(line, "\n");
        read_member(seen, line, bytes);
        line += bytes;
    }
    return true;
}

/* What one replica knows. False: it cannot be asked. leads: it says that it leads. */
static bool ask_one(const char *address, uint16_t port, struct lks_members_seen *seen, bool *leads)
{
    static const char *const args[] = {"MEMBER", "LIST", NULL};
    static char text[LKS_ASK_TEXT_MAX];
    struct lks_error err;
    char role[32];
    if (lks_ask_command(address, port, args, ASK_NS, text, &err) != 0 ||
        !lks_members_read(seen, text)) {
        return false;
    }
    value_of(text, strcspn(text, "\n"), "role", role, sizeof role);
    *leads = strcmp(role, "leader") == 0;
    return true;
}

static void consider(struct lks_members_seen *best, const struct lks_members_seen *one)
{
    if (best->leader == 0 || one->term > best->term) {
        *best = *one;
    }
}

int lks_members_find_leader(struct lks_members_seen *seen, const struct lks_config *config,
                            struct lks_error *err)
{
    struct lks_members_seen best = {.leader = 0};
    struct lks_members_seen hint = {.leader = 0}; /* of one that does not lead itself */
    uint32_t answered = 0;
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        struct lks_members_seen one;
        bool leads = false;
        if (ask_one(config->replicas[id].address, config->replicas[id].port, &one, &leads)) {
            answered++;
            consider(leads ? &best : &hint, &one);
        }
    }
    char address[LKS_ADDRESS_TEXT_MAX];
    uint16_t port = 0;
    if (best.leader == 0 && hint.leader != 0 &&
        lks_value_address(hint.leader_address, address, &port) == 0) {
        struct lks_members_seen one;
        bool leads = false;
        if (ask_one(address, port, &one, &leads) && leads) {
            best = one;
        }
    }
    if (best.leader == 0) {
        return lks_error_set(err, -LKS_ENOLEADER,
                             "no leader: of %u replicas in the configuration %u answered, and none "
                             "of them leads; `lockstep status` shows more",
                             config->replicas_count, answered);
    }
    *seen = best;
    return 0;
}

int lks_members_ask(const struct lks_members_seen *seen, const char *const *args,
                    uint64_t timeout_ns, struct lks_error *err)
{
    static char text[LKS_ASK_TEXT_MAX];
    char address[LKS_ADDRESS_TEXT_MAX];
    uint16_t port = 0;
    if (lks_value_address(seen->leader_address, address, &port) != 0) {
        return lks_error_set(err, -EADDRNOTAVAIL, "the leader's address '%s' is none",
                             seen->leader_address);
    }
    const int rc = lks_ask_command(address, port, args, timeout_ns, text, err);
    if (rc == 0 && strcmp(text, "OK") != 0) {
        return lks_error_set(err, -EBADMSG, "the leader answered '%.64s'", text);
    }
    return rc;
}
