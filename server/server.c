/*
 * The client port; see server.h. Listens and accepts, keeps the table of connections, and gives
 * each connection its turns: those that may read on first, then whatever the sockets have, then
 * all output, once for each connection. Every turn is bounded, and what is left over is found
 * again: by the level-triggered descriptors, or by the resume list with its eventfd.
 */
#include "server/server.h"

#include "base/assert.h"
#include "base/clock.h"
#include "server/commands.h"
#include "server/debug.h"
#include "server/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LISTEN_BACKLOG 511
#define ACCEPTS_TURN_MAX 64
#define KEEPALIVE_S 300
#define ACCEPT_PAUSE_NS (100 * 1000 * 1000)

/* What epoll reports that is not a connection: above every (generation, slot). */
enum { EVENT_LISTEN = 1, EVENT_RESUME, EVENT_TIMER };
#define EVENT_OWN_BIT (UINT64_C(1) << 63)

static int watch_own(struct lks_server *server, int fd, uint64_t event)
{
    struct epoll_event description = {.events = EPOLLIN, .data.u64 = EVENT_OWN_BIT | event};
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &description) == 0 ? 0 : -errno;
}

static uint64_t connection_event(const struct lks_server *server,
                                 const struct lks_connection *connection)
{
    return (uint64_t)connection->generation << 32 | lks_connection_slot(server, connection);
}

void lks_server_watch(struct lks_server *server, struct lks_connection *connection)
{
    struct epoll_event description = {.events = (connection->deaf ? 0 : EPOLLIN) |
                                                (connection->watch_output ? EPOLLOUT : 0),
                                      .data.u64 = connection_event(server, connection)};
    const int result =
        epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &description);
    LKS_ASSERT(result == 0); /* the descriptor is in the set: nothing can fail */
}

static int list_init(struct lks_slot_list *list, uint32_t capacity)
{
    list->slots = malloc(capacity * sizeof *list->slots);
    list->count = 0;
    return list->slots != NULL ? 0 : -ENOMEM;
}

void lks_server_mark_dirty(struct lks_server *server, struct lks_connection *connection)
{
    if (!connection->in_dirty) {
        connection->in_dirty = true;
        server->dirty.slots[server->dirty.count++] = lks_connection_slot(server, connection);
    }
}

void lks_server_mark_resume(struct lks_server *server, struct lks_connection *connection)
{
    if (connection->in_resume) {
        return;
    }
    connection->in_resume = true;
    server->resume.slots[server->resume.count++] = lks_connection_slot(server, connection);
    if (!server->resume_armed) {
        const uint64_t one = 1;
        const ssize_t written = write(server->resume_fd, &one, sizeof one);
        LKS_ASSERT(written == sizeof one); /* the counter is at most 1 */
        server->resume_armed = true;
    }
}

static void free_slot(struct lks_server *server, uint32_t slot)
{
    const uint32_t none = server->options.connections_max;
    server->connections[slot].fd = -1;
    server->connections[slot].next_free = none;
    if (server->free_first == none) {
        server->free_first = slot;
    } else {
        server->connections[server->free_last].next_free = slot;
    }
    server->free_last = slot;
}

static int make_slots(struct lks_server *server)
{
    const uint32_t count = server->options.connections_max;
    server->connections = calloc(count, sizeof *server->connections);
    if (server->connections == NULL || list_init(&server->dirty, count) != 0 ||
        list_init(&server->resume, count) != 0 || list_init(&server->resuming, count) != 0) {
        return -ENOMEM;
    }
    server->free_first = count;
    for (uint32_t i = 0; i < count; i++) {
        free_slot(server, i);
    }
    return 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

void lks_server_close(struct lks_server *server, struct lks_connection *connection)
{
    /* Unread input would turn the close into a reset, which can overtake the last reply. */
    (void)recv(connection->fd, server->read_buffer, LKS_SERVER_READ_BYTES, MSG_DONTWAIT);
    (void)close(connection->fd);
    lks_output_clear(&connection->out, &server->pool);
    server->input_bytes -= connection->in_capacity;
    free(connection->in);
    server->held_bytes -= connection->held.bytes;
    lks_held_clear(&connection->held);
    if (connection->names != NULL) {
        free(connection->names->name);
        free(connection->names->library);
        free(connection->names->library_version);
        free(connection->names);
    }
    const uint32_t generation =
        (connection->generation + 1) & ((1u << LKS_SERVER_GENERATION_BITS) - 1);
    const bool in_dirty = connection->in_dirty;
    const bool in_resume = connection->in_resume;
    memset(connection, 0, sizeof *connection);
    connection->generation = generation;
    connection->in_dirty = in_dirty;
    connection->in_resume = in_resume;
    free_slot(server, lks_connection_slot(server, connection));
    server->connections_count--;
}

/* Replies leave at once, and a client whose host has gone is noticed. An option that cannot be
 * set costs only that. */
static void prepare_socket(int fd)
{
    const int one = 1;
    const int idle_s = KEEPALIVE_S;
    const int interval_s = KEEPALIVE_S / 3;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
}

/* Takes an accepted socket, or refuses it with a word. */
static void take_client(struct lks_server *server, int fd)
{
    static const char full[] = "-ERR max number of clients reached\r\n";
    const uint32_t slot = server->free_first;
    if (slot == server->options.connections_max) {
        server->stats.rejected++;
        (void)send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)close(fd);
        return;
    }
    struct lks_connection *connection = &server->connections[slot];
    struct epoll_event description = {.events = EPOLLIN,
                                      .data.u64 = connection_event(server, connection)};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &description) != 0) {
        server->stats.rejected++;
        (void)close(fd);
        return;
    }
    prepare_socket(fd);
    server->free_first = connection->next_free;
    connection->fd = fd;
    connection->id = ++server->next_id;
    connection->protocol = 2;
    connection->parser.command_bytes_max = server->options.command_bytes_max;
    connection->last_command = "NULL";
    connection->opened_ns = server->now_ns;
    connection->active_ns = server->now_ns;
    server->connections_count++;
    server->stats.accepted++;
}

/* Descriptors have run out: one is given up to accept a client and tell it so. */
static bool refuse_with_spare(struct lks_server *server)
{
    static const char full[] = "-ERR max number of clients reached (no descriptors left)\r\n";
    close_fd(&server->spare_fd);
    const int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        server->stats.rejected++;
        (void)send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)close(fd);
    }
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

/* The level-triggered listener would wake the loop for ever: look away for a while. */
static void pause_accepting(struct lks_server *server, int error)
{
    lks_log_warn(server->options.log_sink, "port %u: cannot accept a client: %s",
                 (unsigned)server->port, lks_error_text(-error));
    const struct itimerspec pause = {.it_value = {.tv_nsec = ACCEPT_PAUSE_NS}};
    (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, server->listen_fd, NULL);
    (void)timerfd_settime(server->timer_fd, 0, &pause, NULL);
}

static int accept_clients(struct lks_server *server)
{
    int count = 0;
    while (count < ACCEPTS_TURN_MAX) {
        const int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_client(server, fd);
            count++;
            continue;
        }
        const int error = errno;
        if (error == EAGAIN) {
            return count;
        }
        if (error == EMFILE && server->spare_fd >= 0 && refuse_with_spare(server)) {
            count++;
            continue;
        }
        if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS) {
            pause_accepting(server, error);
            return count;
        }
        count++; /* an error of that one client's connection */
    }
    return count;
}

static void accept_again(struct lks_server *server)
{
    uint64_t expirations;
    const ssize_t bytes = read(server->timer_fd, &expirations, sizeof expirations);
    if (bytes == sizeof expirations && server->listen_fd >= 0) {
        (void)watch_own(server, server->listen_fd, EVENT_LISTEN);
    }
}

static int handle_event(struct lks_server *server, const struct epoll_event *event)
{
    const uint64_t data = event->data.u64;
    if (data == (EVENT_OWN_BIT | EVENT_LISTEN)) {
        return accept_clients(server);
    }
    if (data == (EVENT_OWN_BIT | EVENT_TIMER)) {
        accept_again(server);
        return 1;
    }
    if ((data & EVENT_OWN_BIT) != 0) {
        return 0; /* the resume list is looked at in every turn */
    }
    struct lks_connection *connection = &server->connections[(uint32_t)data];
    const uint32_t generation = (uint32_t)(data >> 32);
    if (connection->fd < 0 || connection->generation != generation) {
        return 0;
    }
    if ((event->events & (EPOLLERR | EPOLLHUP)) != 0) {
        lks_server_close(server, connection);
        return 1;
    }
    int work = 0;
    if ((event->events & EPOLLOUT) != 0) {
        lks_server_mark_dirty(server, connection);
        work++;
    }
    if ((event->events & EPOLLIN) != 0) {
        work += lks_connection_readable(server, connection);
    }
    return work;
}

static int run_resume_list(struct lks_server *server)
{
    if (server->resume_armed) {
        uint64_t count;
        const ssize_t bytes = read(server->resume_fd, &count, sizeof count);
        LKS_ASSERT(bytes == sizeof count);
        server->resume_armed = false;
    }
    const struct lks_slot_list list = server->resume;
    server->resume = server->resuming;
    server->resume.count = 0;
    server->resuming = list;
    int work = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        struct lks_connection *connection = &server->connections[list.slots[i]];
        connection->in_resume = false;
        if (connection->fd < 0) {
            continue;
        }
        if (server->turn_commands >= LKS_SERVER_TURN_COMMANDS_MAX) {
            lks_server_mark_resume(server, connection);
        } else {
            work += lks_connection_resume(server, connection);
        }
    }
    return work;
}

int lks_server_poll(struct lks_server *server)
{
    server->now_ns = lks_clock_monotonic_ns();
    server->turn_commands = 0;
    int work = 0;
    if (server->resume.count > 0) {
        work += run_resume_list(server);
    }
    struct epoll_event events[LKS_SERVER_TURN_EVENTS_MAX];
    const int count = epoll_wait(server->epoll_fd, events, LKS_SERVER_TURN_EVENTS_MAX, 0);
    for (int i = 0; i < count && server->turn_commands < LKS_SERVER_TURN_COMMANDS_MAX; i++) {
        work += handle_event(server, &events[i]);
    }
    lks_server_flush(server);
    return work;
}

void lks_server_flush(struct lks_server *server)
{
    for (uint32_t i = 0; i < server->dirty.count; i++) {
        struct lks_connection *connection = &server->connections[server->dirty.slots[i]];
        connection->in_dirty = false;
        if (connection->fd >= 0) {
            lks_connection_send(server, connection);
        }
    }
    server->dirty.count = 0;
}

void lks_server_drain(struct lks_server *server)
{
    server->draining = true;
    close_fd(&server->listen_fd); /* this also takes it out of the epoll set */
}

uint16_t lks_server_port(const struct lks_server *server)
{
    return server->port;
}

int lks_server_fd(const struct lks_server *server)
{
    return server->epoll_fd;
}

/* Fills a socket address from numeric text; its length or -EINVAL. */
static int parse_address(const char *text, uint16_t port, struct sockaddr_storage *address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof *v4;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return sizeof *v6;
    }
    return -EINVAL;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                              : ((struct sockaddr_in6 *)&address)->sin6_port);
}

static int start_listening(struct lks_server *server, struct lks_error *err)
{
    const char *text = server->options.address;
    const unsigned port = server->options.port;
    struct sockaddr_storage address;
    const int length = parse_address(text, (uint16_t)port, &address);
    if (length < 0) {
        return lks_error_set(err, -EINVAL, "'%s' is not a numeric IPv4 or IPv6 address", text);
    }
    server->listen_fd =
        socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int one = 1;
    if (server->listen_fd < 0 ||
        setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(server->listen_fd, (struct sockaddr *)&address, (socklen_t)length) != 0 ||
        listen(server->listen_fd, LISTEN_BACKLOG) != 0) {
        const int code = -errno;
        return lks_error_set(err, code, "cannot listen on %s port %u: %s", text, port,
                             lks_error_text(code));
    }
    server->port = bound_port(server->listen_fd);
    return 0;
}

static int open_descriptors(struct lks_server *server)
{
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->resume_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (server->epoll_fd < 0 || server->resume_fd < 0 || server->timer_fd < 0 ||
        server->spare_fd < 0) {
        return -errno;
    }
    int result = watch_own(server, server->listen_fd, EVENT_LISTEN);
    result = result == 0 ? watch_own(server, server->resume_fd, EVENT_RESUME) : result;
    return result == 0 ? watch_own(server, server->timer_fd, EVENT_TIMER) : result;
}

int lks_server_new(struct lks_server **server, const struct lks_server_options *options,
                   struct lks_error *err)
{
    if (options->connections_max == 0 || options->connections_max >= LKS_SERVER_CONNECTIONS_MAX) {
        return lks_error_set(err, -EINVAL, "connections_max is %u: it must be 1 to %u",
                             options->connections_max, LKS_SERVER_CONNECTIONS_MAX - 1);
    }
    struct lks_server *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for a client port");
    }
    made->options = *options;
    made->epoll_fd = made->listen_fd = made->resume_fd = made->timer_fd = made->spare_fd = -1;
    made->started_ns = lks_clock_monotonic_ns();
    made->burn_rounds_per_us = options->debug_commands ? lks_server_debug_calibrate() : 0;
    lks_commands_prepare();
    made->buffers_max = options->command_bytes_max * LKS_SERVER_BUFFERS_COMMANDS;
    if (made->buffers_max < LKS_SERVER_BUFFERS_BYTES_MIN) {
        made->buffers_max = LKS_SERVER_BUFFERS_BYTES_MIN;
    }
    made->read_buffer = malloc(LKS_SERVER_READ_BYTES);
    int result = made->read_buffer != NULL ? make_slots(made) : -ENOMEM;
    if (result != 0) {
        (void)lks_error_set(err, result, "no memory for %u connections",
                            options->connections_max);
    } else {
        result = start_listening(made, err);
    }
    if (result == 0 && (result = open_descriptors(made)) != 0) {
        (void)lks_error_set(err, result, "client port: %s", lks_error_text(result));
    }
    if (result != 0) {
        lks_server_free(made);
        return result;
    }
    *server = made;
    return 0;
}

void lks_server_free(struct lks_server *server)
{
    if (server == NULL) {
        return;
    }
    if (server->connections != NULL) {
        for (uint32_t i = 0; i < server->options.connections_max; i++) {
            if (server->connections[i].fd >= 0 && server->connections[i].id != 0) {
                lks_server_close(server, &server->connections[i]);
            }
        }
    }
    free(server->connections);
    free(server->dirty.slots);
    free(server->resume.slots);
    free(server->resuming.slots);
    lks_output_pool_fini(&server->pool);
    lks_arguments_fini(&server->args);
    lks_reply_fini(&server->reply);
    free(server->encoded);
    free(server->read_buffer);
    close_fd(&server->listen_fd);
    close_fd(&server->epoll_fd);
    close_fd(&server->resume_fd);
    close_fd(&server->timer_fd);
    close_fd(&server->spare_fd);
    free(server);
}
