/* COMMAND and its subcommands, and HELP: what the table of commands says; see commands.h. */
#include "server/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WORD_BYTES_MAX 32
#define WORDS_BYTES_MAX 128 /* all flags or categories of a command */
#define LINE_BYTES_MAX 256

static bool is_word(const struct lks_argument *arg, const char *word)
{
    return arg->bytes == strlen(word) && strncasecmp(arg->data, word, arg->bytes) == 0;
}

static void reply_text(struct lks_reply *reply, const char *text)
{
    lks_reply_bulk(reply, text, strlen(text));
}

/* A set: an array for those who asked for RESP2. */
static void reply_set(struct lks_reply *reply, size_t count)
{
    const size_t at = reply->bytes;
    lks_reply_array(reply, count);
    reply->data[at] = '~';
}

void lks_server_reply_verbatim(struct lks_reply *reply, const char *text, size_t bytes)
{
    static const char format[] = {'t', 'x', 't', ':'};
    char *copy = malloc(sizeof format + bytes);
    if (copy == NULL) {
        lks_reply_error(reply, "ERR out of memory");
        return;
    }
    memcpy(copy, format, sizeof format);
    memcpy(copy + sizeof format, text, bytes);
    const size_t at = reply->bytes;
    lks_reply_bulk(reply, copy, sizeof format + bytes);
    reply->data[at] = '=';
    free(copy);
}

/* A set of status words given as one text, "RO access". */
static void reply_words(struct lks_reply *reply, const char *words)
{
    size_t count = *words != '\0' ? 1 : 0;
    for (const char *p = words; *p != '\0'; p++) {
        count += *p == ' ' ? 1 : 0;
    }
    reply_set(reply, count);
    while (*words != '\0') {
        char word[WORD_BYTES_MAX];
        const size_t bytes = strcspn(words, " ");
        const size_t kept = bytes < sizeof word ? bytes : sizeof word - 1;
        memcpy(word, words, kept);
        word[kept] = '\0';
        lks_reply_status(reply, word);
        words += bytes;
        words += *words == ' ' ? 1 : 0;
    }
}

static void add_word(char text[WORDS_BYTES_MAX], bool add, const char *word)
{
    if (add) {
        if (*text != '\0') {
            strcat(text, " ");
        }
        strcat(text, word);
    }
}

static void reply_flags(struct lks_reply *reply, const struct lks_command_row *row)
{
    char text[WORDS_BYTES_MAX] = "";
    add_word(text, (row->flags & LKS_COMMAND_WRITE) != 0, "write");
    add_word(text, (row->flags & LKS_COMMAND_READONLY) != 0, "readonly");
    add_word(text, (row->flags & LKS_COMMAND_ADMIN) != 0, "admin");
    add_word(text, (row->flags & LKS_COMMAND_FAST) != 0, "fast");
    reply_words(reply, text);
}

static void reply_categories(struct lks_reply *reply, const struct lks_command_row *row)
{
    char text[WORDS_BYTES_MAX] = "";
    add_word(text, strcmp(row->group, "generic") == 0, "@keyspace");
    add_word(text, (row->flags & LKS_COMMAND_WRITE) != 0, "@write");
    add_word(text, (row->flags & LKS_COMMAND_READONLY) != 0, "@read");
    add_word(text, strcmp(row->group, "string") == 0, "@string");
    add_word(text, (row->flags & LKS_COMMAND_ADMIN) != 0, "@admin @dangerous");
    add_word(text, (row->flags & LKS_COMMAND_DANGEROUS) != 0, "@dangerous");
    add_word(text, (row->flags & LKS_COMMAND_FAST) != 0, "@fast");
    add_word(text, (row->flags & LKS_COMMAND_FAST) == 0, "@slow");
    add_word(text, strcmp(row->group, "connection") == 0, "@connection");
    reply_words(reply, text);
}

/* Where the keys of a command stand, in Redis 7's terms. */
static void reply_key_specification(struct lks_reply *reply, const struct lks_command_row *row)
{
    lks_reply_map(reply, 3);
    reply_text(reply, "flags");
    reply_words(reply, row->key_flags);
    reply_text(reply, "begin_search");
    lks_reply_map(reply, 2);
    reply_text(reply, "type");
    reply_text(reply, "index");
    reply_text(reply, "spec");
    lks_reply_map(reply, 1);
    reply_text(reply, "index");
    lks_reply_integer(reply, row->first_key);
    reply_text(reply, "find_keys");
    lks_reply_map(reply, 2);
    reply_text(reply, "type");
    reply_text(reply, "range");
    reply_text(reply, "spec");
    lks_reply_map(reply, 3);
    reply_text(reply, "lastkey");
    lks_reply_integer(reply, row->last_key < 0 ? row->last_key : row->last_key - row->first_key);
    reply_text(reply, "keystep");
    lks_reply_integer(reply, row->key_step);
    reply_text(reply, "limit");
    lks_reply_integer(reply, 0);
}

/* Rows right behind a container, as many as carry its name. */
static size_t subcommands_count(const struct lks_command_row *row)
{
    size_t rows_count;
    const struct lks_command_row *rows = lks_commands_rows(&rows_count);
    const size_t prefix = strlen(row->name);
    size_t count = 0;
    if ((row->flags & LKS_COMMAND_CONTAINER) == 0) {
        return 0;
    }
    while (row + 1 + count < rows + rows_count &&
           strncmp(row[1 + count].name, row->name, prefix) == 0 &&
           row[1 + count].name[prefix] == '|') {
        count++;
    }
    return count;
}

/* The ten values of a command, without those of its subcommands. */
static void reply_row_head(struct lks_reply *reply, const struct lks_command_row *row)
{
    lks_reply_array(reply, 10);
    reply_text(reply, row->name);
    lks_reply_integer(reply, row->arity);
    reply_flags(reply, row);
    lks_reply_integer(reply, row->first_key);
    lks_reply_integer(reply, row->last_key);
    lks_reply_integer(reply, row->key_step);
    reply_categories(reply, row);
    reply_set(reply, 0);
    reply_set(reply, row->first_key != 0 ? 1 : 0);
    if (row->first_key != 0) {
        reply_key_specification(reply, row);
    }
}

static void reply_row(struct lks_reply *reply, const struct lks_command_row *row)
{
    const size_t subcommands = subcommands_count(row);
    reply_row_head(reply, row);
    lks_reply_array(reply, subcommands);
    for (size_t i = 0; i < subcommands; i++) {
        reply_row_head(reply, &row[1 + i]);
        lks_reply_array(reply, 0);
    }
}

static bool is_subcommand(const struct lks_command_row *row)
{
    return strchr(row->name, '|') != NULL;
}

static size_t commands_count(void)
{
    size_t rows_count;
    size_t count = 0;
    const struct lks_command_row *rows = lks_commands_rows(&rows_count);
    for (size_t i = 0; i < rows_count; i++) {
        count += is_subcommand(&rows[i]) ? 0 : 1;
    }
    return count;
}

/* Calls reply_one for every command that is no subcommand. */
static void reply_each(struct lks_reply *reply,
                       void (*reply_one)(struct lks_reply *, const struct lks_command_row *))
{
    size_t rows_count;
    const struct lks_command_row *rows = lks_commands_rows(&rows_count);
    for (size_t i = 0; i < rows_count; i++) {
        if (!is_subcommand(&rows[i])) {
            reply_one(reply, &rows[i]);
        }
    }
}

/* A command or "container|subcommand"; NULL: unknown. */
static const struct lks_command_row *find_any(const struct lks_argument *name)
{
    const char *bar = memchr(name->data, '|', name->bytes);
    if (bar == NULL) {
        return lks_commands_find(name);
    }
    const struct lks_argument first = {name->data, (size_t)(bar - name->data)};
    const struct lks_argument second = {bar + 1, name->bytes - first.bytes - 1};
    const struct lks_command_row *container = lks_commands_find(&first);
    return container != NULL ? lks_commands_find_sub(container, &second) : NULL;
}

void lks_local_command(struct lks_server *server, struct lks_connection *connection,
                       const struct lks_argument *args, size_t count)
{
    (void)connection;
    (void)args;
    (void)count;
    lks_reply_array(&server->reply, commands_count());
    reply_each(&server->reply, reply_row);
}

void lks_local_command_count(struct lks_server *server, struct lks_connection *connection,
                             const struct lks_argument *args, size_t count)
{
    (void)connection;
    (void)args;
    (void)count;
    lks_reply_integer(&server->reply, (int64_t)commands_count());
}

void lks_local_command_info(struct lks_server *server, struct lks_connection *connection,
                            const struct lks_argument *args, size_t count)
{
    if (count == 2) {
        lks_local_command(server, connection, args, count);
        return;
    }
    lks_reply_array(&server->reply, count - 2);
    for (size_t i = 2; i < count; i++) {
        const struct lks_command_row *row = find_any(&args[i]);
        if (row != NULL) {
            reply_row(&server->reply, row);
        } else {
            lks_reply_null(&server->reply);
        }
    }
}

static void reply_name(struct lks_reply *reply, const struct lks_command_row *row)
{
    reply_text(reply, row->name);
}

/* FILTERBY MODULE|ACLCAT|PATTERN is answered as far as there are no modules and users. */
void lks_local_command_list(struct lks_server *server, struct lks_connection *connection,
                            const struct lks_argument *args, size_t count)
{
    (void)connection;
    if (count == 2) {
        lks_reply_array(&server->reply, commands_count());
        reply_each(&server->reply, reply_name);
    } else if (count == 5 && is_word(&args[2], "filterby") && is_word(&args[3], "module")) {
        lks_reply_array(&server->reply, 0);
    } else {
        lks_reply_error(&server->reply, "ERR syntax error");
    }
}

/* Name and documentation of one command. */
static void reply_documentation(struct lks_reply *reply, const struct lks_command_row *row)
{
    const size_t subcommands = subcommands_count(row);
    reply_text(reply, row->name);
    lks_reply_map(reply, subcommands > 0 ? 5 : 4);
    reply_text(reply, "summary");
    reply_text(reply, row->summary);
    reply_text(reply, "since");
    reply_text(reply, row->since);
    reply_text(reply, "group");
    reply_text(reply, row->group);
    reply_text(reply, "complexity");
    reply_text(reply, row->complexity);
    if (subcommands > 0) {
        reply_text(reply, "subcommands");
        lks_reply_map(reply, subcommands);
        for (size_t i = 0; i < subcommands; i++) {
            reply_documentation(reply, &row[1 + i]);
        }
    }
}

void lks_local_command_docs(struct lks_server *server, struct lks_connection *connection,
                            const struct lks_argument *args, size_t count)
{
    (void)connection;
    if (count == 2) {
        lks_reply_map(&server->reply, commands_count());
        reply_each(&server->reply, reply_documentation);
        return;
    }
    size_t known = 0;
    for (size_t i = 2; i < count; i++) {
        known += find_any(&args[i]) != NULL ? 1 : 0;
    }
    lks_reply_map(&server->reply, known);
    for (size_t i = 2; i < count; i++) {
        const struct lks_command_row *row = find_any(&args[i]);
        if (row != NULL) {
            reply_documentation(&server->reply, row);
        }
    }
}

void lks_local_command_getkeys(struct lks_server *server, struct lks_connection *connection,
                               const struct lks_argument *args, size_t count)
{
    (void)connection;
    struct lks_reply *reply = &server->reply;
    const struct lks_command_row *row = lks_commands_find(&args[2]);
    const size_t given = count - 2;
    if (row == NULL) {
        lks_reply_error(reply, "ERR Invalid command specified");
    } else if (row->first_key == 0) {
        lks_reply_error(reply, "ERR The command has no key arguments");
    } else if (!lks_commands_arity_fits(row, given)) {
        lks_reply_error(reply, "ERR Invalid number of arguments specified for command");
    } else {
        const size_t first = (size_t)row->first_key;
        const size_t last = row->last_key < 0 ? given - 1 : (size_t)row->last_key;
        const size_t step = (size_t)row->key_step;
        lks_reply_array(reply, (last - first) / step + 1);
        for (size_t i = first; i <= last; i += step) {
            lks_reply_bulk(reply, args[2 + i].data, args[2 + i].bytes);
        }
    }
}

void lks_local_help(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count)
{
    (void)connection;
    (void)count;
    const struct lks_command_row *row = lks_commands_find(&args[0]);
    const size_t subcommands = subcommands_count(row);
    char line[LINE_BYTES_MAX];
    lks_reply_array(&server->reply, 1 + 2 * subcommands);
    (void)snprintf(line, sizeof line, "%s <subcommand> [<arg> ...]. Subcommands are:", row->name);
    lks_reply_status(&server->reply, line);
    for (size_t i = 0; i < subcommands; i++) {
        lks_reply_status(&server->reply, strchr(row[1 + i].name, '|') + 1);
        (void)snprintf(line, sizeof line, "    %s.", row[1 + i].summary);
        lks_reply_status(&server->reply, line);
    }
}
