/*
 * The one table of commands: name, arity, flags, keys, documentation, and either the handler
 * that answers it here or the request that the service encodes. A new command is a row. Static
 * and read-only once lks_commands_prepare has built its index; then any thread.
 */
#ifndef LKS_SERVER_COMMANDS_H
#define LKS_SERVER_COMMANDS_H

#include "lockstep/argument.h"
#include "lockstep/reply.h"
#include "server/internal.h"
#include "services/kv/encode.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_COMMAND_READONLY 1u
#define LKS_COMMAND_WRITE 2u
#define LKS_COMMAND_FAST 4u
#define LKS_COMMAND_ADMIN 8u
#define LKS_COMMAND_CONTAINER 16u   /* the rows "name|..." behind it are its subcommands */
#define LKS_COMMAND_LARGE_REPLY 32u /* may be a whole value */
#define LKS_COMMAND_LARGE_OPTION 64u /* ... when options follow the arguments it must have */
#define LKS_COMMAND_DANGEROUS 128u  /* of that category */

struct lks_command_row {
    const char *name; /* lower case; a subcommand is "client|id" */
    int arity;        /* arguments, the name included; negative: at least that many */
    unsigned flags;
    int first_key; /* 0: none */
    int last_key;  /* -1: the last argument */
    int key_step;
    const char *key_flags; /* of Redis's key specifications; NULL: no keys */
    const char *group;
    const char *since; /* the version of Redis that it behaves like */
    const char *complexity;
    const char *summary;
    lks_local_handler local; /* NULL: `request` goes to the service */
    enum lks_kv_request request;
};

/* Builds the index of names, once in a process; before any look-up. Any thread. */
void lks_commands_prepare(void);

/* The row of a name in any case, no subcommand; NULL: unknown. */
const struct lks_command_row *lks_commands_find(const struct lks_argument *name);

/* The row of a container's subcommand; NULL: unknown. */
const struct lks_command_row *lks_commands_find_sub(const struct lks_command_row *container,
                                                    const struct lks_argument *name);

bool lks_commands_arity_fits(const struct lks_command_row *row, size_t count);

/* Whether the reply to this many arguments may be a whole value. */
bool lks_commands_reply_is_large(const struct lks_command_row *row, size_t count);

/* Errors as Redis words them. */
void lks_commands_reply_unknown(struct lks_reply *reply, const struct lks_argument *args,
                                size_t count);
void lks_commands_reply_unknown_sub(struct lks_reply *reply,
                                    const struct lks_command_row *container,
                                    const struct lks_argument *name);

/* All rows, subcommands included. */
const struct lks_command_row *lks_commands_rows(size_t *count);

/* Handlers: local.c, info.c, documentation.c and, below, settings.c. */
void lks_local_ping(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count);
void lks_local_echo(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count);
void lks_local_hello(struct lks_server *server, struct lks_connection *connection,
                     const struct lks_argument *args, size_t count);
void lks_local_select(struct lks_server *server, struct lks_connection *connection,
                      const struct lks_argument *args, size_t count);
void lks_local_quit(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count);
void lks_local_client_id(struct lks_server *server, struct lks_connection *connection,
                         const struct lks_argument *args, size_t count);
void lks_local_client_getname(struct lks_server *server, struct lks_connection *connection,
                              const struct lks_argument *args, size_t count);
void lks_local_client_setname(struct lks_server *server, struct lks_connection *connection,
                              const struct lks_argument *args, size_t count);
void lks_local_client_setinfo(struct lks_server *server, struct lks_connection *connection,
                              const struct lks_argument *args, size_t count);
void lks_local_client_no_evict(struct lks_server *server, struct lks_connection *connection,
                               const struct lks_argument *args, size_t count);
void lks_local_client_list(struct lks_server *server, struct lks_connection *connection,
                           const struct lks_argument *args, size_t count);
void lks_local_client_info(struct lks_server *server, struct lks_connection *connection,
                           const struct lks_argument *args, size_t count);
void lks_local_info(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count);
void lks_local_command(struct lks_server *server, struct lks_connection *connection,
                       const struct lks_argument *args, size_t count);
void lks_local_command_count(struct lks_server *server, struct lks_connection *connection,
                             const struct lks_argument *args, size_t count);
void lks_local_command_docs(struct lks_server *server, struct lks_connection *connection,
                            const struct lks_argument *args, size_t count);
void lks_local_command_info(struct lks_server *server, struct lks_connection *connection,
                            const struct lks_argument *args, size_t count);
void lks_local_command_list(struct lks_server *server, struct lks_connection *connection,
                            const struct lks_argument *args, size_t count);
void lks_local_command_getkeys(struct lks_server *server, struct lks_connection *connection,
                               const struct lks_argument *args, size_t count);
/* settings.c */
void lks_local_config_get(struct lks_server *server, struct lks_connection *connection,
                          const struct lks_argument *args, size_t count);
void lks_local_reset(struct lks_server *server, struct lks_connection *connection,
                     const struct lks_argument *args, size_t count);
void lks_local_wait(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count);
/* connection.c: the backend answers, perhaps later. */
void lks_local_member(struct lks_server *server, struct lks_connection *connection,
                      const struct lks_argument *args, size_t count);
void lks_local_scheduler(struct lks_server *server, struct lks_connection *connection,
                         const struct lks_argument *args, size_t count);
/* HELP of any container: its subcommands with their summaries. */
void lks_local_help(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count);

#endif
