/*
 * CONFIG GET, RESET and WAIT; see commands.h. Settings are read from the configuration file; here
 * they can only be looked at, those that clients of Redis ask for.
 */
#include "server/commands.h"
#include "services/kv/format.h"
#include "services/kv/glob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_BYTES_MAX 64

static void print_number(char value[VALUE_BYTES_MAX], size_t number)
{
    (void)snprintf(value, VALUE_BYTES_MAX, "%zu", number);
}

static void print_bind(const struct lks_server *server, char value[VALUE_BYTES_MAX])
{
    (void)snprintf(value, VALUE_BYTES_MAX, "%s", server->options.address);
}

static void print_port(const struct lks_server *server, char value[VALUE_BYTES_MAX])
{
    print_number(value, server->port);
}

static void print_maxclients(const struct lks_server *server, char value[VALUE_BYTES_MAX])
{
    print_number(value, server->options.connections_max);
}

static void print_longest(const struct lks_server *server, char value[VALUE_BYTES_MAX])
{
    print_number(value, server->options.command_bytes_max);
}

/* What an answered write means here, said in the settings of Redis. */
static const struct setting {
    const char *name;
    const char *value; /* NULL: print */
    void (*print)(const struct lks_server *server, char value[VALUE_BYTES_MAX]);
} g_settings[] = {
    {"appendfsync", "always", NULL},
    {"appendonly", "yes", NULL},
    {"bind", NULL, print_bind},
    {"cluster-enabled", "no", NULL},
    {"databases", "1", NULL},
    {"io-threads", "1", NULL},
    {"maxclients", NULL, print_maxclients},
    {"maxmemory", "0", NULL},
    {"maxmemory-policy", "noeviction", NULL},
    {"port", NULL, print_port},
    {"proto-max-bulk-len", NULL, print_longest},
    {"save", "", NULL},
    {"timeout", "0", NULL},
};

#define SETTINGS_COUNT (sizeof g_settings / sizeof g_settings[0])

static bool asked_for(const char *name, const struct lks_argument *args, size_t count)
{
    for (size_t i = 2; i < count; i++) {
        const struct lks_kv_glob glob = {args[i].data, args[i].bytes, true};
        if (lks_kv_glob_matches(&glob, name, strlen(name))) {
            return true;
        }
    }
    return false;
}

void lks_local_config_get(struct lks_server *server, struct lks_connection *connection,
                          const struct lks_argument *args, size_t count)
{
    (void)connection;
    bool asked[SETTINGS_COUNT];
    size_t pairs = 0;
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        asked[i] = asked_for(g_settings[i].name, args, count);
        pairs += asked[i] ? 1 : 0;
    }
    lks_reply_map(&server->reply, pairs);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        char printed[VALUE_BYTES_MAX];
        const char *value = g_settings[i].value;
        if (!asked[i]) {
            continue;
        }
        if (value == NULL) {
            g_settings[i].print(server, printed);
            value = printed;
        }
        lks_reply_bulk(&server->reply, g_settings[i].name, strlen(g_settings[i].name));
        lks_reply_bulk(&server->reply, value, strlen(value));
    }
}

/* The connection as it was when it was new, but for its number. */
void lks_local_reset(struct lks_server *server, struct lks_connection *connection,
                     const struct lks_argument *args, size_t count)
{
    (void)args;
    (void)count;
    if (connection->names != NULL) {
        free(connection->names->name);
        connection->names->name = NULL;
    }
    connection->protocol = 2;
    lks_reply_status(&server->reply, "RESET");
}

/* All that the connection has asked before is answered, and what is answered is durable on a
 * majority: there is nothing to wait for. The answer may be more than a majority; it is less than
 * asked for where that many are not known to hold everything now, whatever the timeout. */
void lks_local_wait(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count)
{
    (void)connection;
    (void)count;
    int64_t wanted;
    int64_t timeout_ms;
    if (!lks_kv_integer_parse(args[1].data, args[1].bytes, &wanted)) {
        lks_reply_error(&server->reply, "ERR value is not an integer or out of range");
    } else if (!lks_kv_integer_parse(args[2].data, args[2].bytes, &timeout_ms)) {
        lks_reply_error(&server->reply, "ERR timeout is not an integer or out of range");
    } else if (timeout_ms < 0) {
        lks_reply_error(&server->reply, "ERR timeout is negative");
    } else {
        const struct lks_server_backend *backend = &server->options.backend;
        lks_reply_integer(&server->reply, backend->durable_followers != NULL
                                              ? backend->durable_followers(backend->ctx)
                                              : 0);
    }
}
