/*
 * One client's connection; see internal.h. Bytes are read into a buffer of the port; only what
 * is left over, a command that is not whole or one that cannot be carried out yet, is kept with
 * the connection. Commands for the backend are given on at once, many at a time. Whatever must
 * be answered here (a local command, an error, a refusal) waits until all earlier commands of the
 * connection have been answered and is then looked at again: so replies keep their order. An
 * answer that the backend gives before that of an earlier command is held until its turn.
 */
#include "server/internal.h"

#include "base/assert.h"
#include "server/commands.h"
#include "services/kv/encode.h"
#include "services/kv/kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define INPUT_FIRST_BYTES 128u
#define SEQUENCE_MASK ((1u << LKS_SERVER_SEQUENCE_BITS) - 1)

enum verdict {
    VERDICT_DONE, /* the command is answered or given to the backend */
    VERDICT_WAIT  /* it must be looked at again later */
};

static uint32_t pending(const struct lks_connection *connection)
{
    return connection->submitted - connection->answered;
}

static size_t buffers_bytes(const struct lks_server *server)
{
    return server->pool.bytes + server->input_bytes + server->held_bytes;
}

/* code 0: the port has no more room. */
static void overrun(struct lks_server *server, struct lks_connection *connection, int code)
{
    server->stats.overruns++;
    lks_log_warn(server->options.log_sink, "client %llu closed: %s",
                 (unsigned long long)connection->id,
                 code != 0 ? lks_error_text(code) : "the buffers of all clients are full");
    lks_server_close(server, connection);
}

void lks_connection_answer(struct lks_server *server, struct lks_connection *connection,
                           const void *reply, size_t bytes)
{
    const int result =
        lks_output_reply(&connection->out, &server->pool, connection->protocol, reply, bytes);
    if (result == 0 && buffers_bytes(server) <= server->buffers_max) {
        lks_server_mark_dirty(server, connection);
        return;
    }
    overrun(server, connection, result);
}

/* Sends what the last handler left in server->reply. */
static void answer_local(struct lks_server *server, struct lks_connection *connection)
{
    lks_connection_answer(server, connection, server->reply.data, server->reply.bytes);
    lks_reply_clear(&server->reply);
}

/* An error reply after which nothing more is read. */
static void answer_last(struct lks_server *server, struct lks_connection *connection)
{
    connection->closing = true;
    answer_local(server, connection);
}

static void reply_refusal(struct lks_server *server, int code, size_t bytes)
{
    struct lks_reply *reply = &server->reply;
    switch (code) {
    case -LKS_EBUSY:
        lks_reply_error(reply, "BUSY too many commands are waiting; try again later");
        break;
    case -LKS_ERINGFULL:
        lks_reply_error(reply, "RINGFULL the log ring is full: too few replicas keep up");
        break;
    case -LKS_ENOLEADER:
        lks_reply_error(reply, "CLUSTERDOWN no leader is known; a majority may be down");
        break;
    case -LKS_ETOOBIG:
        lks_reply_error(reply,
                        "ERR command of %zu bytes exceeds the entry limit of %zu bytes "
                        "(entry_max in the configuration)",
                        bytes, server->options.command_bytes_max);
        break;
    default:
        lks_reply_error(reply, "ERR %s", lks_error_text(code));
    }
}

static bool reserve_encoded(struct lks_server *server, size_t bytes)
{
    if (bytes <= server->encoded_capacity) {
        return true;
    }
    uint8_t *grown = realloc(server->encoded, bytes);
    if (grown == NULL) {
        return false;
    }
    server->encoded = grown;
    server->encoded_capacity = bytes;
    return true;
}

static uint64_t make_cookie(const struct lks_server *server,
                            const struct lks_connection *connection, bool large)
{
    const uint64_t slot = lks_connection_slot(server, connection);
    const uint64_t sequence = connection->submitted & SEQUENCE_MASK;
    return ((slot << LKS_SERVER_GENERATION_BITS | connection->generation)
                << LKS_SERVER_SEQUENCE_BITS |
            sequence) << 1 |
           (large ? 1u : 0u);
}

/* Reads of a connection that waits for nothing else do not wait for other connections either. */
static int submit_encoded(struct lks_server *server, struct lks_connection *connection,
                          size_t bytes, uint64_t cookie)
{
    const struct lks_server_backend *backend = &server->options.backend;
    const bool read = backend->read != NULL && lks_kv_service.is_read(server->encoded, bytes);
    const uint32_t ahead = connection->last_ordered - connection->answered;
    const bool ordered = !read || (ahead > 0 && ahead <= LKS_SERVER_PENDING_MAX);
    connection->submitted++; /* before: the answer may come from inside the call */
    if (ordered) {
        connection->last_ordered = connection->submitted;
    }
    return read ? backend->read(backend->ctx, server->encoded, bytes, cookie, ordered)
                : backend->submit(backend->ctx, server->encoded, bytes, cookie);
}

/* Gives a command to the backend; false: server->reply says why not. */
static bool submit(struct lks_server *server, struct lks_connection *connection,
                   const struct lks_command_row *row)
{
    const struct lks_arguments *args = &server->args;
    if (server->options.other_service != NULL) {
        lks_reply_error(&server->reply,
                        "ERR this cluster replicates '%s': its commands come by the client "
                        "library, not over this port",
                        server->options.other_service);
        return false;
    }
    if (!reserve_encoded(server, args->bytes + LKS_KV_ENCODE_OVERHEAD(args->count))) {
        reply_refusal(server, -ENOMEM, 0);
        return false;
    }
    const struct lks_kv_arguments arguments = {.items = args->items,
                                               .count = args->count,
                                               .value_bytes_max =
                                                   server->options.command_bytes_max,
                                               .burn_rounds_per_us = server->burn_rounds_per_us};
    const size_t bytes =
        lks_kv_encode(row->request, &arguments, server->encoded, &server->reply);
    if (bytes == 0) {
        return false;
    }
    if (bytes > server->options.command_bytes_max) {
        reply_refusal(server, -LKS_ETOOBIG, bytes);
        return false;
    }
    const bool large = lks_commands_reply_is_large(row, args->count);
    const uint64_t cookie = make_cookie(server, connection, large);
    /* Counted before: the answer may come from inside the call, and even close the connection. */
    const uint32_t generation = connection->generation;
    connection->pending_large += large ? 1 : 0;
    const int result = submit_encoded(server, connection, bytes, cookie);
    if (result == 0 || connection->generation != generation) {
        return true;
    }
    connection->submitted--;
    connection->pending_large -= large ? 1 : 0;
    reply_refusal(server, result, bytes);
    return false;
}

void lks_local_member(struct lks_server *server, struct lks_connection *connection,
                      const struct lks_argument *args, size_t count)
{
    const struct lks_server_backend *backend = &server->options.backend;
    if (backend->member == NULL) {
        lks_reply_error(&server->reply, "ERR no cluster stands behind this port");
        return;
    }
    const uint32_t ordered_before = connection->last_ordered;
    const uint64_t cookie = make_cookie(server, connection, false);
    connection->submitted++;
    connection->last_ordered = connection->submitted;
    if (backend->member(backend->ctx, args, count, cookie, &server->reply)) {
        connection->submitted--;
        connection->last_ordered = ordered_before;
    }
}

void lks_local_scheduler(struct lks_server *server, struct lks_connection *connection,
                         const struct lks_argument *args, size_t count)
{
    const struct lks_server_backend *backend = &server->options.backend;
    (void)connection;
    if (backend->scheduler == NULL) {
        lks_reply_error(&server->reply, "ERR no scheduler stands behind this port");
    } else {
        backend->scheduler(backend->ctx, args, count, &server->reply);
    }
}

/* Finds the command and checks the number of its arguments; NULL: server->reply says why not. */
static const struct lks_command_row *find_row(struct lks_server *server)
{
    const struct lks_arguments *args = &server->args;
    const struct lks_command_row *row = lks_commands_find(&args->items[0]);
    if (row == NULL) {
        lks_commands_reply_unknown(&server->reply, args->items, args->count);
        return NULL;
    }
    if ((row->flags & LKS_COMMAND_CONTAINER) != 0 && args->count > 1) {
        const struct lks_command_row *container = row;
        row = lks_commands_find_sub(container, &args->items[1]);
        if (row == NULL) {
            lks_commands_reply_unknown_sub(&server->reply, container, &args->items[1]);
            return NULL;
        }
    }
    if (!lks_commands_arity_fits(row, args->count)) {
        lks_reply_error(&server->reply, "ERR wrong number of arguments for '%s' command",
                        row->name);
        return NULL;
    }
    return row;
}

static enum verdict execute(struct lks_server *server, struct lks_connection *connection)
{
    const struct lks_command_row *row = find_row(server);
    const bool local = row == NULL || row->local != NULL;
    if (!local) {
        connection->last_command = row->name;
        if (submit(server, connection, row)) {
            return VERDICT_DONE;
        }
    }
    if (pending(connection) > 0) {
        lks_reply_clear(&server->reply);
        return VERDICT_WAIT;
    }
    if (local && row != NULL) {
        connection->last_command = row->name;
        row->local(server, connection, server->args.items, server->args.count);
    }
    if (server->reply.bytes != 0) { /* else the backend answers later */
        answer_local(server, connection);
    }
    return VERDICT_DONE;
}

static enum verdict refuse_too_big(struct lks_server *server, struct lks_connection *connection)
{
    const struct lks_parser *parser = &connection->parser;
    const size_t limit = server->options.command_bytes_max;
    const bool value = parser->value_bytes_max > limit;
    lks_reply_error(&server->reply,
                    "ERR %s of %llu bytes exceeds the entry limit of %zu bytes "
                    "(entry_max in the configuration)",
                    value ? "value" : "command",
                    (unsigned long long)(value ? parser->value_bytes_max : parser->cost), limit);
    answer_local(server, connection);
    return VERDICT_DONE;
}

static bool at_bound(const struct lks_server *server, const struct lks_connection *connection)
{
    return connection->closing || server->draining ||
           pending(connection) >= LKS_SERVER_PENDING_MAX ||
           connection->pending_large >= LKS_SERVER_PENDING_LARGE_MAX ||
           connection->out.bytes >= LKS_SERVER_OUTPUT_BYTES_MAX;
}

/* Enough of what stalled the connection has gone. */
static bool may_resume(const struct lks_server *server, const struct lks_connection *connection)
{
    const uint32_t pending_max = connection->waiting ? 0 : LKS_SERVER_PENDING_MAX / 2;
    return !connection->closing && !server->draining && pending(connection) <= pending_max &&
           connection->pending_large <= LKS_SERVER_PENDING_LARGE_MAX / 2 &&
           connection->out.bytes <= LKS_SERVER_OUTPUT_BYTES_MAX / 2;
}

static void resume_if_possible(struct lks_server *server, struct lks_connection *connection)
{
    if (connection->stalled && may_resume(server, connection)) {
        lks_server_mark_resume(server, connection);
    }
}

/* What one call of lks_parser_next gave. */
static enum verdict handle(struct lks_server *server, struct lks_connection *connection,
                           enum lks_parse parse)
{
    if (parse == LKS_PARSE_COMMAND) {
        const enum verdict verdict = execute(server, connection);
        if (verdict == VERDICT_DONE) {
            server->stats.commands++;
            server->turn_commands++;
        }
        return verdict;
    }
    if (pending(connection) > 0) {
        return VERDICT_WAIT;
    }
    if (parse == LKS_PARSE_TOO_BIG) {
        return refuse_too_big(server, connection);
    }
    server->stats.errors++;
    lks_reply_error(&server->reply, "%s", connection->parser.error);
    answer_last(server, connection);
    return VERDICT_DONE;
}

/* Carries out the commands in data; returns how many bytes are done with. The connection may be
 * closed by that: see its generation. */
static size_t run_commands(struct lks_server *server, struct lks_connection *connection,
                           const char *data, size_t bytes)
{
    const uint32_t generation = connection->generation;
    size_t done = 0;
    for (uint32_t i = 0; done < bytes; i++) {
        if (at_bound(server, connection) || i == LKS_SERVER_COMMANDS_TURN_MAX) {
            connection->stalled = true;
            resume_if_possible(server, connection);
            break;
        }
        size_t consumed = 0;
        const enum lks_parse parse = lks_parser_next(&connection->parser, &server->args,
                                                     data + done, bytes - done, &consumed);
        if (parse == LKS_PARSE_MORE) {
            done += consumed;
            break;
        }
        const enum verdict verdict = handle(server, connection, parse);
        if (connection->generation != generation || connection->closing) {
            return bytes;
        }
        connection->too_big = verdict == VERDICT_WAIT && parse == LKS_PARSE_TOO_BIG;
        if (verdict == VERDICT_DONE || connection->too_big) {
            done += consumed;
        }
        if (verdict == VERDICT_WAIT) {
            connection->waiting = true;
            connection->stalled = true;
            break;
        }
    }
    return done;
}

static void free_input(struct lks_server *server, struct lks_connection *connection)
{
    server->input_bytes -= connection->in_capacity;
    free(connection->in);
    connection->in = NULL;
    connection->in_bytes = 0;
    connection->in_capacity = 0;
}

/* Gives the input buffer this capacity; false: too much, or no memory. */
static bool resize_input(struct lks_server *server, struct lks_connection *connection,
                         size_t capacity)
{
    const size_t others = server->input_bytes - connection->in_capacity;
    if (buffers_bytes(server) - connection->in_capacity + capacity > server->buffers_max) {
        return false;
    }
    char *grown = realloc(connection->in, capacity);
    if (grown == NULL) {
        return false;
    }
    connection->in = grown;
    connection->in_capacity = capacity;
    server->input_bytes = others + capacity;
    return true;
}

/* Appends to the input buffer. It grows with what has come, never with what was announced. */
static bool keep_input(struct lks_server *server, struct lks_connection *connection,
                       const char *data, size_t bytes)
{
    const size_t total = connection->in_bytes + bytes;
    if (total > connection->in_capacity) {
        const size_t needed = lks_parser_needed(&connection->parser);
        size_t capacity = total < INPUT_FIRST_BYTES ? INPUT_FIRST_BYTES : total + total / 2;
        if (needed >= total && needed < capacity) {
            capacity = needed;
        }
        if (!resize_input(server, connection, capacity)) {
            return false;
        }
    }
    memcpy(connection->in + connection->in_bytes, data, bytes);
    connection->in_bytes = total;
    return true;
}

/* Carries out what the connection's own buffer holds. */
static void run_kept(struct lks_server *server, struct lks_connection *connection)
{
    const uint32_t generation = connection->generation;
    const size_t done = run_commands(server, connection, connection->in, connection->in_bytes);
    if (connection->generation != generation) {
        return;
    }
    connection->in_bytes -= done;
    if (connection->in_bytes == 0 || connection->closing) {
        free_input(server, connection);
    } else if (done > 0) {
        memmove(connection->in, connection->in + done, connection->in_bytes);
        if (connection->in_bytes < connection->in_capacity / 4) {
            (void)resize_input(server, connection, connection->in_bytes); /* smaller: cannot fail */
        }
    }
}

/* The client has sent all that it will. */
static void end_of_input(struct lks_server *server, struct lks_connection *connection)
{
    connection->closing = true;
    free_input(server, connection);
    if (pending(connection) == 0 && connection->out.bytes == 0) {
        lks_server_close(server, connection);
        return;
    }
    connection->deaf = true;
    lks_server_watch(server, connection);
}

/* Reads behind what is kept already, and into the port's buffer what does not fit there. */
static ssize_t receive(struct lks_server *server, struct lks_connection *connection)
{
    if (connection->in == NULL) {
        return recv(connection->fd, server->read_buffer, LKS_SERVER_READ_BYTES, 0);
    }
    struct iovec parts[2] = {
        {connection->in + connection->in_bytes, connection->in_capacity - connection->in_bytes},
        {server->read_buffer, LKS_SERVER_READ_BYTES}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return recvmsg(connection->fd, &message, 0);
}

static void run_received(struct lks_server *server, struct lks_connection *connection,
                         size_t bytes)
{
    const uint32_t generation = connection->generation;
    if (connection->in != NULL) {
        const size_t room = connection->in_capacity - connection->in_bytes;
        const size_t direct = bytes < room ? bytes : room;
        connection->in_bytes += direct;
        if (!keep_input(server, connection, server->read_buffer, bytes - direct)) {
            overrun(server, connection, 0);
            return;
        }
        run_kept(server, connection);
        return;
    }
    const size_t done = run_commands(server, connection, server->read_buffer, bytes);
    if (connection->generation == generation && done < bytes &&
        !keep_input(server, connection, server->read_buffer + done, bytes - done)) {
        overrun(server, connection, 0);
    }
}

int lks_connection_readable(struct lks_server *server, struct lks_connection *connection)
{
    if (connection->stalled || at_bound(server, connection)) {
        connection->stalled = true;
        connection->deaf = true;
        lks_server_watch(server, connection);
        return 0;
    }
    const ssize_t bytes = receive(server, connection);
    if (bytes < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return 0;
        }
        lks_server_close(server, connection);
        return 1;
    }
    if (bytes == 0) {
        end_of_input(server, connection);
        return 1;
    }
    connection->active_ns = server->now_ns;
    server->stats.input_bytes += (uint64_t)bytes;
    run_received(server, connection, (size_t)bytes);
    return 1;
}

int lks_connection_resume(struct lks_server *server, struct lks_connection *connection)
{
    if (!connection->stalled || !may_resume(server, connection)) {
        return 0;
    }
    const uint32_t generation = connection->generation;
    connection->stalled = false;
    connection->waiting = false;
    if (connection->too_big) {
        connection->too_big = false;
        (void)refuse_too_big(server, connection);
    }
    if (connection->generation == generation && connection->in != NULL) {
        run_kept(server, connection);
    }
    if (connection->generation == generation && !connection->stalled && connection->deaf) {
        connection->deaf = false;
        lks_server_watch(server, connection);
    }
    return 1;
}

void lks_connection_send(struct lks_server *server, struct lks_connection *connection)
{
    const int result = lks_output_send(&connection->out, &server->pool, connection->fd,
                                       &server->stats.output_bytes);
    if (result != 0 && result != -EAGAIN) {
        lks_server_close(server, connection);
        return;
    }
    const bool blocked = result == -EAGAIN;
    if (blocked != connection->watch_output) {
        connection->watch_output = blocked;
        lks_server_watch(server, connection);
    }
    if (connection->closing && pending(connection) == 0 && connection->out.bytes == 0) {
        lks_server_close(server, connection);
        return;
    }
    resume_if_possible(server, connection);
}

/* The answer to the connection's oldest command without one. */
static void answer_next(struct lks_server *server, struct lks_connection *connection, bool large,
                        const void *reply, size_t bytes)
{
    connection->answered++;
    connection->pending_large -= large ? 1 : 0;
    lks_connection_answer(server, connection, reply, bytes);
}

static void hold(struct lks_server *server, struct lks_connection *connection, uint32_t ahead,
                 bool large, const void *reply, size_t bytes)
{
    const size_t before = connection->held.bytes;
    const int result = lks_held_add(&connection->held, connection->answered,
                                    connection->answered + ahead, large, reply, bytes);
    server->held_bytes += connection->held.bytes - before;
    if (result != 0 || buffers_bytes(server) > server->buffers_max) {
        overrun(server, connection, result);
    }
}

/* Answers that waited for the one just given. */
static void answer_held(struct lks_server *server, struct lks_connection *connection)
{
    const uint32_t generation = connection->generation;
    while (connection->generation == generation && connection->held.first != NULL) {
        const size_t before = connection->held.bytes;
        struct lks_held_answer *answer =
            lks_held_take(&connection->held, connection->answered);
        if (answer == NULL) {
            return;
        }
        server->held_bytes -= before - connection->held.bytes;
        answer_next(server, connection, answer->large, answer->data, answer->bytes);
        free(answer);
    }
}

/* Whether the command took effect is not known: what is known is sent, then the client must find
 * out for itself. */
static void end_unknown(struct lks_server *server, struct lks_connection *connection)
{
    const uint32_t generation = connection->generation;
    lks_log_info(server->options.log_sink,
                 "client %llu closed: the outcome of a command is not known",
                 (unsigned long long)connection->id);
    lks_connection_send(server, connection);
    if (connection->generation == generation) {
        lks_server_close(server, connection);
    }
}

void lks_server_reply(struct lks_server *server, uint64_t cookie, const void *reply, size_t bytes)
{
    const bool large = (cookie & 1) != 0;
    cookie >>= 1;
    const uint32_t sequence = (uint32_t)cookie & SEQUENCE_MASK;
    cookie >>= LKS_SERVER_SEQUENCE_BITS;
    const uint32_t generation = (uint32_t)cookie & ((1u << LKS_SERVER_GENERATION_BITS) - 1);
    const uint64_t slot = cookie >> LKS_SERVER_GENERATION_BITS;
    if (slot >= server->options.connections_max) {
        return;
    }
    struct lks_connection *connection = &server->connections[slot];
    if (connection->fd < 0 || connection->generation != generation) {
        return;
    }
    const uint32_t ahead = (sequence - connection->answered) & SEQUENCE_MASK;
    LKS_ASSERT(ahead < pending(connection));
    if (bytes == 0) {
        end_unknown(server, connection);
        return;
    }
    if (ahead > 0) {
        hold(server, connection, ahead, large, reply, bytes);
        return;
    }
    answer_next(server, connection, large, reply, bytes);
    if (connection->generation == generation) {
        answer_held(server, connection);
    }
    if (connection->generation == generation) {
        resume_if_possible(server, connection);
    }
}
