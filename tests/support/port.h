/*
 * A client port in the test's own process and thread, over the key-value service: commands are
 * applied at once, or kept until the test lets them go, or refused. Clients are sockets of the
 * same process; waiting means giving the port turns.
 */
#ifndef LKS_TESTS_SUPPORT_PORT_H
#define LKS_TESTS_SUPPORT_PORT_H

#include "server/server.h"
#include "services/kv/kv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test_port_command {
    void *data;
    size_t bytes;
    uint64_t cookie;
    bool read;    /* changes nothing */
    bool ordered; /* ... and has to come after those before it */
};

struct test_port {
    struct lks_server *server;
    void *state;
    struct lks_reply reply;
    uint64_t index;
    uint64_t time_ns; /* what commands carry; 1,700,000,000.123456 s at first */
    uint64_t submitted;
    uint32_t followers; /* what WAIT counts */
    bool delayed;     /* keep commands until test_port_release */
    int refusal;      /* what submit returns instead of taking a command; 0: takes it */
    struct test_port_command *kept;
    size_t kept_count;
    size_t kept_capacity;
};

struct test_port_options {
    uint32_t connections_max;
    size_t command_bytes_max;
    bool debug_commands;
    const char *other_service;
};

/* Every function fails the test on an error of the environment. */
void test_port_start(struct test_port *port, const struct test_port_options *options);
void test_port_stop(struct test_port *port);

/* A client's non-blocking socket; the caller closes it. */
int test_port_connect(struct test_port *port);

/* Sends all bytes, giving the port turns while the socket is full. False: it closed. */
bool test_port_send(struct test_port *port, int fd, const void *data, size_t bytes);

/* Receives up to `bytes` bytes, ending early when the port closes or is quiet for `turns` turns
 * of the loop (a bounded wait each). Returns the bytes received. closed may be NULL. */
size_t test_port_receive(struct test_port *port, int fd, void *data, size_t bytes, int turns,
                         bool *closed);

/* Sends a request and asserts that exactly this answer comes back. */
void test_port_expect(struct test_port *port, int fd, const char *request, size_t request_bytes,
                      const char *answer, size_t answer_bytes);

/* The same for literals, and that the port closes the connection behind the answer. */
#define TEST_PORT_EXPECT(port, fd, request, answer) \
    test_port_expect(port, fd, request, sizeof(request) - 1, answer, sizeof(answer) - 1)
void test_port_expect_close(struct test_port *port, int fd, const char *request,
                            size_t request_bytes, const char *answer, size_t answer_bytes);
#define TEST_PORT_EXPECT_CLOSE(port, fd, request, answer) \
    test_port_expect_close(port, fd, request, sizeof(request) - 1, answer, sizeof(answer) - 1)

/* Gives the port turns until it has nothing to do for a while. */
void test_port_settle(struct test_port *port);

/* Applies and answers up to `count` kept commands, oldest first; returns how many. */
size_t test_port_release(struct test_port *port, size_t count);

/* Answers the kept command at this place (0: the oldest) before the others; unknown: its outcome is
 * not known. */
void test_port_release_at(struct test_port *port, size_t place, bool unknown);

#endif
