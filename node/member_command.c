/* MEMBER at a replica's client port; see member_command.h. */
#include "node/member_command.h"

#include "base/assert.h"
#include "node/members.h"
#include "node/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LIST_BYTES_MAX 2048u

const char *lks_member_mask_text(uint32_t mask, char text[32])
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        if ((mask >> id & 1u) != 0) {
            at += (size_t)snprintf(text + at, 32 - at, "%s%u", at != 0 ? "," : "", id);
        }
    }
    return text;
}

bool lks_member_address(const struct lks_assembly *assembly, uint32_t id, char *text,
                        size_t bytes_max)
{
    if (id < 1 || id > LKS_REPLICAS_MAX) {
        return false;
    }
    const char *logged = lks_replica_member_address(assembly->replica, id);
    const struct lks_config_replica *configured = &assembly->config->replicas[id];
    if (logged[0] != '\0') {
        (void)snprintf(text, bytes_max, "%s", logged);
        return true;
    }
    if (id <= assembly->config->replicas_count) {
        (void)snprintf(text, bytes_max, "%s:%u", configured->address, configured->port);
        return true;
    }
    return false;
}

/* ---- LIST ----------------------------------------------------------------------------------- */

struct lines {
    char text[LIST_BYTES_MAX];
    size_t bytes;
};

__attribute__((format(printf, 2, 3))) static void add(struct lines *lines, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const size_t room = sizeof lines->text - lines->bytes;
    const int length = vsnprintf(lines->text + lines->bytes, room, format, args);
    va_end(args);
    if (length > 0) {
        lines->bytes += (size_t)length < room ? (size_t)length : room - 1;
    }
}

static void add_member(struct lines *lines, const struct lks_assembly *assembly,
                       const struct lks_replica_status *status, uint32_t id)
{
    const struct lks_peer_status *peer = &status->peers[id];
    const bool self = id == assembly->replica_id;
    char address[LKS_ADDRESS_TEXT_MAX + 8] = "?";
    (void)lks_member_address(assembly, id, address, sizeof address);
    add(lines, "id=%u state=%s address=%s connected=%d", id,
        (status->voters >> id & 1u) != 0 ? "voter" : "learner", address,
        self || peer->connected);
    if (status->role == LKS_ROLE_LEADER) {
        add(lines, " lag_bytes=%" PRIu64 " caught_up=%d installing=%d manual=%d",
            self ? 0 : peer->lag_bytes, self || peer->caught_up, peer->installing, peer->manual);
    }
    add(lines, "\n");
}

static void list(const struct lks_assembly *assembly, struct lks_reply *reply)
{
    struct lks_replica_status status;
    struct lines lines = {.bytes = 0};
    char address[LKS_ADDRESS_TEXT_MAX + 8] = "?";
    lks_replica_status(assembly->replica, &status);
    (void)lks_member_address(assembly, status.leader, address, sizeof address);
    add(&lines, "members=%" PRIu64 " committed=%d replica=%u role=%s leader=%u leader_address=%s "
        "term=%" PRIu64 "\n", status.members, status.members_committed, assembly->replica_id,
        lks_role_name(status.role), status.leader, address, status.term);
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        if (((status.voters | status.learners) >> id & 1u) != 0) {
            add_member(&lines, assembly, &status, id);
        }
    }
    lks_reply_bulk(reply, lines.text, lines.bytes);
}

/* ---- changes -------------------------------------------------------------------------------- */

static bool is_word(const struct lks_argument *argument, const char *word)
{
    return argument->bytes == strlen(word) &&
           strncasecmp(argument->data, word, argument->bytes) == 0;
}

/* Copies the argument as text; false: too long. */
static bool take_text(const struct lks_argument *argument, char *text, size_t bytes_max)
{
    if (argument->bytes >= bytes_max || memchr(argument->data, '\0', argument->bytes) != NULL) {
        return false;
    }
    memcpy(text, argument->data, argument->bytes);
    text[argument->bytes] = '\0';
    return true;
}

static bool take_id(const struct lks_argument *argument, struct lks_member_request *request,
                    struct lks_reply *reply)
{
    char text[24];
    uint64_t id = 0;
    if (!take_text(argument, text, sizeof text) || lks_value_count(text, &id) != 0 || id < 1 ||
        id > LKS_REPLICAS_MAX) {
        lks_reply_error(reply, "ERR '%.*s' is no replica: ids are 1 to %u",
                        (int)(argument->bytes < 32 ? argument->bytes : 32), argument->data,
                        LKS_REPLICAS_MAX);
        return false;
    }
    request->id = (uint32_t)id;
    return true;
}

/* Copies the argument if it is an address with a port. */
static bool take_address(const struct lks_argument *argument, char into[LKS_MEMBERS_ADDRESS_BYTES])
{
    char text[LKS_MEMBERS_ADDRESS_BYTES];
    char host[LKS_ADDRESS_TEXT_MAX];
    uint16_t port = 0;
    if (!take_text(argument, text, sizeof text) || lks_value_address(text, host, &port) != 0) {
        return false;
    }
    memcpy(into, text, sizeof text);
    return true;
}

static bool take_options(const struct lks_argument *args, size_t count,
                         struct lks_member_request *request,
                         struct lks_member_addresses *addresses, struct lks_reply *reply)
{
    for (size_t i = 0; i < count; i++) {
        if (is_word(&args[i], "manual")) {
            request->manual = true;
        } else if (request->fabric_address == NULL && is_word(&args[i], "fabric") &&
                   i + 1 < count && take_address(&args[i + 1], addresses->fabric)) {
            request->fabric_address = addresses->fabric;
            i++;
        } else if (request->address == NULL && take_address(&args[i], addresses->clients)) {
            request->address = addresses->clients;
        } else {
            lks_reply_error(reply, "ERR '%.*s' is none of MANUAL, FABRIC with an address behind "
                            "it, or an address such as 127.0.0.1:7004",
                            (int)(args[i].bytes < 64 ? args[i].bytes : 64), args[i].data);
            return false;
        }
    }
    return true;
}

/* False: reply says what is wrong. */
static bool take_request(const struct lks_argument *args, size_t count,
                         struct lks_member_request *request,
                         struct lks_member_addresses *addresses, struct lks_reply *reply)
{
    static const struct {
        const char *word;
        enum lks_member_action action;
    } words[] = {{"add", LKS_MEMBER_ADD},
                 {"promote", LKS_MEMBER_PROMOTE},
                 {"remove", LKS_MEMBER_REMOVE},
                 {"transfer", LKS_MEMBER_TRANSFER}};
    size_t at = 0;
    while (at < LKS_COUNT_OF(words) && !is_word(&args[1], words[at].word)) {
        at++;
    }
    if (at == LKS_COUNT_OF(words)) {
        lks_reply_error(reply, "ERR unknown subcommand. Try MEMBER HELP.");
        return false;
    }
    request->action = words[at].action;
    if (count > 2 && !take_id(&args[2], request, reply)) {
        return false;
    }
    const bool takes_options = request->action == LKS_MEMBER_ADD;
    if (!takes_options && count > 3) {
        lks_reply_error(reply, "ERR wrong number of arguments for 'member|%s' command",
                        words[at].word);
        return false;
    }
    return !takes_options || take_options(args + 3, count - 3, request, addresses, reply);
}

static void refuse(const struct lks_assembly *assembly, int code, const struct lks_error *err,
                   struct lks_reply *reply)
{
    struct lks_replica_status status;
    char address[LKS_ADDRESS_TEXT_MAX + 8];
    if (code == -LKS_ENOLEADER) {
        lks_replica_status(assembly->replica, &status);
        if (status.role != LKS_ROLE_LEADER &&
            lks_member_address(assembly, status.leader, address, sizeof address)) {
            lks_reply_error(reply, "NOTLEADER leader is replica %u at %s", status.leader, address);
        } else {
            lks_reply_error(reply, "NOTLEADER no leader is known");
        }
        return;
    }
    const char *word = code == -LKS_EBUSY || code == -LKS_ERINGFULL ? "BUSY"
                       : code == -EAGAIN                            ? "NOTREADY"
                                                                    : "ERR";
    lks_reply_error(reply, "%s %s", word, err->text);
}

bool lks_member_command(const struct lks_assembly *assembly, const struct lks_argument *args,
                        size_t count, uint64_t cookie, struct lks_reply *reply)
{
    struct lks_member_request request = {.cookie = cookie};
    struct lks_member_addresses addresses;
    struct lks_error err = {0};
    if (is_word(&args[1], "list")) {
        list(assembly, reply);
        return true;
    }
    if (!take_request(args, count, &request, &addresses, reply)) {
        return true;
    }
    const int rc = lks_replica_change_members(assembly->replica, &request, &err);
    if (rc == 0) {
        return false;
    }
    if (rc > 0) {
        lks_reply_status(reply, "OK");
    } else {
        refuse(assembly, rc, &err, reply);
    }
    return true;
}

void lks_member_command_ended(int status, const char *text, struct lks_reply *reply)
{
    if (status == 0) {
        lks_reply_status(reply, "OK");
    } else {
        lks_reply_error(reply, "%s %s", status == -EAGAIN ? "UNKNOWN" : "ERR", text);
    }
}
