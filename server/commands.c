/* The one table of commands; see commands.h. Rows of a container stand right behind it. */
#include "server/commands.h"

#include "base/assert.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_BYTES_MAX 16u /* longer ones are unknown */
#define INDEX_SLOTS 512u   /* a power of two, several times the number of rows */
#define QUOTED_BYTES_MAX 128

#define RO LKS_COMMAND_READONLY
#define WR LKS_COMMAND_WRITE
#define FAST LKS_COMMAND_FAST
#define ADMIN LKS_COMMAND_ADMIN
#define BOX LKS_COMMAND_CONTAINER
#define DANGER LKS_COMMAND_DANGEROUS
#define LARGE LKS_COMMAND_LARGE_REPLY
#define LARGE_OPTION LKS_COMMAND_LARGE_OPTION

#define NO_KEYS 0, 0, 0, NULL
#define LOCAL(handler) handler, 0
#define SERVICE(name) NULL, LKS_KV_REQUEST_##name

static const struct lks_command_row g_rows[] = {
    {"append", 3, WR | FAST, 1, 1, 1, "RW insert", "string", "2.0.0", "O(1)",
     "Append a value to a key", SERVICE(APPEND)},
    {"client", -2, BOX, NO_KEYS, "connection", "2.4.0", "Depends on subcommand.",
     "A container for client connection commands", LOCAL(NULL)},
    {"client|getname", 2, 0, NO_KEYS, "connection", "2.6.9", "O(1)",
     "Get the current connection name", LOCAL(lks_local_client_getname)},
    {"client|help", 2, 0, NO_KEYS, "connection", "5.0.0", "O(1)",
     "Show helpful text about the different subcommands", LOCAL(lks_local_help)},
    {"client|id", 2, 0, NO_KEYS, "connection", "5.0.0", "O(1)",
     "Returns the client ID for the current connection", LOCAL(lks_local_client_id)},
    {"client|info", 2, 0, NO_KEYS, "connection", "6.2.0", "O(1)",
     "Returns information about the current client connection", LOCAL(lks_local_client_info)},
    {"client|list", -2, ADMIN, NO_KEYS, "connection", "2.4.0",
     "O(N) where N is the number of client connections", "Get the list of client connections",
     LOCAL(lks_local_client_list)},
    {"client|no-evict", 3, ADMIN, NO_KEYS, "connection", "7.0.0", "O(1)",
     "Set client eviction mode for the current connection", LOCAL(lks_local_client_no_evict)},
    {"client|setinfo", 4, 0, NO_KEYS, "connection", "7.2.0", "O(1)",
     "Set the name and version of the client library", LOCAL(lks_local_client_setinfo)},
    {"client|setname", 3, 0, NO_KEYS, "connection", "2.6.9", "O(1)",
     "Set the current connection name", LOCAL(lks_local_client_setname)},
    {"command", -1, BOX, NO_KEYS, "server", "2.8.13", "O(N) where N is the number of commands",
     "Get array of command details", LOCAL(lks_local_command)},
    {"command|count", 2, 0, NO_KEYS, "server", "2.8.13", "O(1)", "Get total number of commands",
     LOCAL(lks_local_command_count)},
    {"command|docs", -2, 0, NO_KEYS, "server", "7.0.0",
     "O(N) where N is the number of commands to look up",
     "Get array of specific command documentation", LOCAL(lks_local_command_docs)},
    {"command|getkeys", -4, 0, NO_KEYS, "server", "2.8.13",
     "O(N) where N is the number of arguments to the command",
     "Extract keys given a full command", LOCAL(lks_local_command_getkeys)},
    {"command|help", 2, 0, NO_KEYS, "server", "5.0.0", "O(1)",
     "Show helpful text about the different subcommands", LOCAL(lks_local_help)},
    {"command|info", -2, 0, NO_KEYS, "server", "2.8.13",
     "O(N) where N is the number of commands to look up",
     "Get array of specific command details", LOCAL(lks_local_command_info)},
    {"command|list", -2, 0, NO_KEYS, "server", "7.0.0",
     "O(N) where N is the total number of commands", "Get an array of command names",
     LOCAL(lks_local_command_list)},
    {"config", -2, BOX, NO_KEYS, "server", "2.0.0", "Depends on subcommand.",
     "A container for server configuration commands", LOCAL(NULL)},
    {"config|get", -3, ADMIN, NO_KEYS, "server", "2.0.0",
     "O(N) where N is the number of parameters and patterns",
     "Get the values of configuration parameters", LOCAL(lks_local_config_get)},
    {"config|help", 2, 0, NO_KEYS, "server", "5.0.0", "O(1)",
     "Show helpful text about the different subcommands", LOCAL(lks_local_help)},
    {"dbsize", 1, RO | FAST, NO_KEYS, "server", "1.0.0", "O(1)",
     "Return the number of keys in the selected database", SERVICE(DBSIZE)},
    {"debug", -2, ADMIN | BOX, NO_KEYS, "server", "1.0.0", "Depends on subcommand.",
     "A container for debugging commands", LOCAL(NULL)},
    {"debug|burn", -4, WR | ADMIN, 3, -1, 1, "RW update", "server", "7.0.0",
     "O(N) where N is the number of microseconds",
     "Work for so many microseconds and write the given keys, where the configuration allows it",
     SERVICE(BURN)},
    {"debug|help", 2, 0, NO_KEYS, "server", "7.0.0", "O(1)",
     "Show helpful text about the different subcommands", LOCAL(lks_local_help)},
    {"decr", 2, WR | FAST, 1, 1, 1, "RW access update", "string", "1.0.0", "O(1)",
     "Decrement the integer value of a key by one", SERVICE(DECR)},
    {"decrby", 3, WR | FAST, 1, 1, 1, "RW access update", "string", "1.0.0", "O(1)",
     "Decrement the integer value of a key by the given number", SERVICE(DECRBY)},
    {"del", -2, WR, 1, -1, 1, "RM delete", "generic", "1.0.0",
     "O(N) where N is the number of keys that will be removed", "Delete a key", SERVICE(DEL)},
    {"echo", 2, FAST, NO_KEYS, "connection", "1.0.0", "O(1)", "Echo the given string",
     LOCAL(lks_local_echo)},
    {"exists", -2, RO | FAST, 1, -1, 1, "RO", "generic", "1.0.0",
     "O(N) where N is the number of keys to check", "Determine if a key exists",
     SERVICE(EXISTS)},
    {"expire", -3, WR | FAST, 1, 1, 1, "RW update", "generic", "1.0.0", "O(1)",
     "Set a key's time to live in seconds", SERVICE(EXPIRE)},
    {"expireat", -3, WR | FAST, 1, 1, 1, "RW update", "generic", "1.2.0", "O(1)",
     "Set the expiration for a key as a UNIX timestamp", SERVICE(EXPIREAT)},
    {"expiretime", 2, RO | FAST, 1, 1, 1, "RO access", "generic", "7.0.0", "O(1)",
     "Get the expiration Unix timestamp for a key", SERVICE(EXPIRETIME)},
    {"flushall", -1, WR | DANGER, NO_KEYS, "server", "1.0.0",
     "O(1); the memory is given back by later commands", "Remove all keys from all databases",
     SERVICE(FLUSHALL)},
    {"flushdb", -1, WR | DANGER, NO_KEYS, "server", "1.0.0",
     "O(1); the memory is given back by later commands",
     "Remove all keys from the current database", SERVICE(FLUSHALL)},
    {"get", 2, RO | FAST | LARGE, 1, 1, 1, "RO access", "string", "1.0.0", "O(1)",
     "Get the value of a key", SERVICE(GET)},
    {"getdel", 2, WR | FAST | LARGE, 1, 1, 1, "RW access delete", "string", "6.2.0", "O(1)",
     "Get the value of a key and delete the key", SERVICE(GETDEL)},
    {"getex", -2, WR | FAST | LARGE, 1, 1, 1, "RW access update", "string", "6.2.0", "O(1)",
     "Get the value of a key and optionally set its expiration", SERVICE(GETEX)},
    {"getrange", 4, RO | LARGE, 1, 1, 1, "RO access", "string", "2.4.0",
     "O(N) where N is the length of the returned string",
     "Get a substring of the string stored at a key", SERVICE(GETRANGE)},
    {"getset", 3, WR | FAST | LARGE, 1, 1, 1, "RW access update", "string", "1.0.0", "O(1)",
     "Set the string value of a key and return its old value", SERVICE(GETSET)},
    {"hello", -1, FAST, NO_KEYS, "connection", "6.0.0", "O(1)", "Handshake with the server",
     LOCAL(lks_local_hello)},
    {"incr", 2, WR | FAST, 1, 1, 1, "RW access update", "string", "1.0.0", "O(1)",
     "Increment the integer value of a key by one", SERVICE(INCR)},
    {"incrby", 3, WR | FAST, 1, 1, 1, "RW access update", "string", "1.0.0", "O(1)",
     "Increment the integer value of a key by the given amount", SERVICE(INCRBY)},
    {"incrbyfloat", 3, WR | FAST, 1, 1, 1, "RW access update", "string", "2.6.0", "O(1)",
     "Increment the float value of a key by the given amount", SERVICE(INCRBYFLOAT)},
    {"info", -1, 0, NO_KEYS, "server", "1.0.0", "O(1)",
     "Get information and statistics about the server", LOCAL(lks_local_info)},
    {"keys", 2, RO | DANGER | LARGE, NO_KEYS, "generic", "1.0.0",
     "O(N) where N is the number of keys", "Find all keys matching the given pattern",
     SERVICE(KEYS)},
    {"member", -2, ADMIN | BOX, NO_KEYS, "server", "7.0.0", "Depends on subcommand.",
     "A container for commands on the cluster's members", LOCAL(NULL)},
    {"member|add", -3, ADMIN, NO_KEYS, "server", "7.0.0", "O(1)",
     "Add a replica as a learner: id [address] [FABRIC address] [MANUAL]", LOCAL(lks_local_member)},
    {"member|help", 2, 0, NO_KEYS, "server", "7.0.0", "O(1)",
     "Show helpful text about the different subcommands", LOCAL(lks_local_help)},
    {"member|list", 2, ADMIN, NO_KEYS, "server", "7.0.0", "O(1)", "List the cluster's members",
     LOCAL(lks_local_member)},
    {"member|promote", 3, ADMIN, NO_KEYS, "server", "7.0.0", "O(1)",
     "Make a learner that has caught up a voter", LOCAL(lks_local_member)},
    {"member|remove", 3, ADMIN, NO_KEYS, "server", "7.0.0", "O(1)",
     "Remove a replica from the cluster", LOCAL(lks_local_member)},
    {"member|transfer", -2, ADMIN, NO_KEYS, "server", "7.0.0", "O(1)",
     "Hand leadership over, to any voter or to the one named", LOCAL(lks_local_member)},
    {"mget", -2, RO | FAST | LARGE, 1, -1, 1, "RO access", "string", "1.0.0",
     "O(N) where N is the number of keys to retrieve", "Get the values of all the given keys",
     SERVICE(MGET)},
    {"mset", -3, WR, 1, -1, 2, "OW update", "string", "1.0.1",
     "O(N) where N is the number of keys to set", "Set multiple keys to multiple values",
     SERVICE(MSET)},
    {"msetnx", -3, WR, 1, -1, 2, "OW insert", "string", "1.0.1",
     "O(N) where N is the number of keys to set",
     "Set multiple keys to multiple values, only if none of the keys exist", SERVICE(MSETNX)},
    {"persist", 2, WR | FAST, 1, 1, 1, "RW update", "generic", "2.2.0", "O(1)",
     "Remove the expiration from a key", SERVICE(PERSIST)},
    {"pexpire", -3, WR | FAST, 1, 1, 1, "RW update", "generic", "2.6.0", "O(1)",
     "Set a key's time to live in milliseconds", SERVICE(PEXPIRE)},
    {"pexpireat", -3, WR | FAST, 1, 1, 1, "RW update", "generic", "2.6.0", "O(1)",
     "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
     SERVICE(PEXPIREAT)},
    {"pexpiretime", 2, RO | FAST, 1, 1, 1, "RO access", "generic", "7.0.0", "O(1)",
     "Get the expiration Unix timestamp for a key in milliseconds", SERVICE(PEXPIRETIME)},
    {"ping", -1, FAST, NO_KEYS, "connection", "1.0.0", "O(1)", "Ping the server",
     LOCAL(lks_local_ping)},
    {"psetex", 4, WR, 1, 1, 1, "OW update", "string", "2.6.0", "O(1)",
     "Set the value and expiration in milliseconds of a key", SERVICE(PSETEX)},
    {"pttl", 2, RO | FAST, 1, 1, 1, "RO access", "generic", "2.6.0", "O(1)",
     "Get the time to live for a key in milliseconds", SERVICE(PTTL)},
    {"quit", -1, FAST, NO_KEYS, "connection", "1.0.0", "O(1)", "Close the connection",
     LOCAL(lks_local_quit)},
    {"randomkey", 1, RO, NO_KEYS, "generic", "1.0.0", "O(1)",
     "Return a random key from the keyspace", SERVICE(RANDOMKEY)},
    {"reset", 1, FAST, NO_KEYS, "connection", "6.2.0", "O(1)", "Reset the connection",
     LOCAL(lks_local_reset)},
    {"scan", -2, RO | LARGE, NO_KEYS, "generic", "2.8.0",
     "O(N) where N is the number of keys looked at", "Incrementally iterate the keys space",
     SERVICE(SCAN)},
    {"scheduler", -2, ADMIN | BOX, NO_KEYS, "server", "7.0.0", "Depends on subcommand.",
     "A container for commands on how this replica executes", LOCAL(NULL)},
    {"scheduler|help", 2, 0, NO_KEYS, "server", "7.0.0", "O(1)",
     "Show helpful text about the different subcommands", LOCAL(lks_local_help)},
    {"scheduler|set", -3, ADMIN, NO_KEYS, "server", "7.0.0", "O(1)",
     "Execute with another scheduler, until the next start: kind [WORKERS n]",
     LOCAL(lks_local_scheduler)},
    {"select", 2, FAST, NO_KEYS, "connection", "1.0.0", "O(1)",
     "Change the selected database for the current connection", LOCAL(lks_local_select)},
    {"set", -3, WR | LARGE_OPTION, 1, 1, 1, "RW access update variable_flags", "string", "1.0.0",
     "O(1)", "Set the string value of a key", SERVICE(SET)},
    {"setex", 4, WR, 1, 1, 1, "OW update", "string", "2.0.0", "O(1)",
     "Set the value and expiration of a key", SERVICE(SETEX)},
    {"setnx", 3, WR | FAST, 1, 1, 1, "OW insert", "string", "1.0.0", "O(1)",
     "Set the value of a key, only if the key does not exist", SERVICE(SETNX)},
    {"setrange", 4, WR, 1, 1, 1, "RW update", "string", "2.2.0",
     "O(N) where N is the length of the value",
     "Overwrite part of a string at key starting at the specified offset", SERVICE(SETRANGE)},
    {"strlen", 2, RO | FAST, 1, 1, 1, "RO", "string", "2.2.0", "O(1)",
     "Get the length of the value stored in a key", SERVICE(STRLEN)},
    {"time", 1, FAST, NO_KEYS, "server", "2.6.0", "O(1)", "Return the current server time",
     SERVICE(TIME)},
    {"ttl", 2, RO | FAST, 1, 1, 1, "RO access", "generic", "1.0.0", "O(1)",
     "Get the time to live for a key in seconds", SERVICE(TTL)},
    {"type", 2, RO | FAST, 1, 1, 1, "RO", "generic", "1.0.0", "O(1)",
     "Determine the type stored at key", SERVICE(TYPE)},
    {"unlink", -2, WR | FAST, 1, -1, 1, "RM delete", "generic", "4.0.0",
     "O(N) where N is the number of keys that will be removed", "Delete a key; the same as DEL",
     SERVICE(DEL)},
    {"wait", 3, 0, NO_KEYS, "generic", "3.0.0", "O(1)",
     "Count the replicas that hold the connection's writes durably", LOCAL(lks_local_wait)},
};

/* A name in lower case, padded with zeros: two words to compare. */
struct packed_name {
    uint64_t words[2];
};

static struct {
    bool ready;
    struct packed_name names[INDEX_SLOTS];
    const struct lks_command_row *rows[INDEX_SLOTS];
} g_index;

static struct packed_name pack(const char *name, size_t bytes)
{
    struct packed_name packed = {{0, 0}};
    char text[NAME_BYTES_MAX] = {0};
    for (size_t i = 0; i < bytes; i++) {
        const char c = name[i];
        text[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    memcpy(&packed, text, sizeof packed);
    return packed;
}

static uint32_t index_slot(const struct packed_name *name)
{
    const uint64_t mixed = (name->words[0] ^ name->words[1] * 31) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> 48) & (INDEX_SLOTS - 1);
}

static void build_index(void)
{
    _Static_assert(LKS_COUNT_OF(g_rows) * 4 <= INDEX_SLOTS, "the index must stay sparse");
    for (size_t i = 0; i < LKS_COUNT_OF(g_rows); i++) {
        LKS_ASSERT(strlen(g_rows[i].name) <= NAME_BYTES_MAX);
        const struct packed_name name = pack(g_rows[i].name, strlen(g_rows[i].name));
        uint32_t slot = index_slot(&name);
        while (g_index.rows[slot] != NULL) {
            slot = (slot + 1) & (INDEX_SLOTS - 1);
        }
        g_index.names[slot] = name;
        g_index.rows[slot] = &g_rows[i];
    }
    g_index.ready = true;
}

void lks_commands_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const int result = pthread_once(&once, build_index);
    LKS_ASSERT(result == 0);
}

static const struct lks_command_row *find_name(const char *text, size_t bytes)
{
    if (bytes > NAME_BYTES_MAX) {
        return NULL;
    }
    LKS_ASSERT(g_index.ready);
    const struct packed_name name = pack(text, bytes);
    for (uint32_t slot = index_slot(&name); g_index.rows[slot] != NULL;
         slot = (slot + 1) & (INDEX_SLOTS - 1)) {
        if (memcmp(&g_index.names[slot], &name, sizeof name) == 0) {
            return strlen(g_index.rows[slot]->name) == bytes ? g_index.rows[slot] : NULL;
        }
    }
    return NULL;
}

const struct lks_command_row *lks_commands_find(const struct lks_argument *name)
{
    const struct lks_command_row *row = find_name(name->data, name->bytes);
    return row != NULL && strchr(row->name, '|') == NULL ? row : NULL;
}

const struct lks_command_row *lks_commands_find_sub(const struct lks_command_row *container,
                                                    const struct lks_argument *name)
{
    char text[NAME_BYTES_MAX];
    const size_t prefix = strlen(container->name) + 1;
    if (name->bytes > sizeof text - prefix) {
        return NULL;
    }
    memcpy(text, container->name, prefix - 1);
    text[prefix - 1] = '|';
    memcpy(text + prefix, name->data, name->bytes);
    return find_name(text, prefix + name->bytes);
}

bool lks_commands_arity_fits(const struct lks_command_row *row, size_t count)
{
    return row->arity >= 0 ? count == (size_t)row->arity : count >= (size_t)-row->arity;
}

bool lks_commands_reply_is_large(const struct lks_command_row *row, size_t count)
{
    return (row->flags & LKS_COMMAND_LARGE_REPLY) != 0 ||
           ((row->flags & LKS_COMMAND_LARGE_OPTION) != 0 && count > (size_t)-row->arity);
}

void lks_commands_reply_unknown(struct lks_reply *reply, const struct lks_argument *args,
                                size_t count)
{
    char quoted[QUOTED_BYTES_MAX * 2] = "";
    size_t bytes = 0;
    for (size_t i = 1; i < count && bytes < QUOTED_BYTES_MAX; i++) {
        const size_t room = QUOTED_BYTES_MAX - bytes;
        const int length = (int)(args[i].bytes < room ? args[i].bytes : room);
        const int printed = snprintf(quoted + bytes, sizeof quoted - bytes, "'%.*s' ", length,
                                     args[i].data);
        LKS_ASSERT(printed > 0);
        bytes += (size_t)printed;
    }
    const int length =
        (int)(args[0].bytes < QUOTED_BYTES_MAX ? args[0].bytes : QUOTED_BYTES_MAX);
    lks_reply_error(reply, "ERR unknown command '%.*s', with args beginning with: %s", length,
                    args[0].data, quoted);
}

void lks_commands_reply_unknown_sub(struct lks_reply *reply,
                                    const struct lks_command_row *container,
                                    const struct lks_argument *name)
{
    char upper[NAME_BYTES_MAX + 1] = "";
    for (size_t i = 0; i < NAME_BYTES_MAX && container->name[i] != '\0'; i++) {
        upper[i] = (char)(container->name[i] & ~0x20);
    }
    const int length = (int)(name->bytes < QUOTED_BYTES_MAX ? name->bytes : QUOTED_BYTES_MAX);
    lks_reply_error(reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", length, name->data,
                    upper);
}

const struct lks_command_row *lks_commands_rows(size_t *count)
{
    *count = LKS_COUNT_OF(g_rows);
    return g_rows;
}
