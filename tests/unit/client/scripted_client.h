/* A client at a scripted gateway, and what its calls were answered. */
#ifndef LKS_TESTS_UNIT_CLIENT_SCRIPTED_CLIENT_H
#define LKS_TESTS_UNIT_CLIENT_SCRIPTED_CLIENT_H

#include "base/clock.h"
#include "lockstep/client.h"
#include "tests/unit/client/scripted_gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX 32u
#define NOT_ANSWERED 1 /* no status */

/* What one call was answered. */
struct heard {
    int status;
    unsigned times;
    unsigned place; /* among all answers, from 1 */
    char text[TEXT_MAX];
};

static unsigned g_heard_count;

static void note_answer(void *ctx, int status, const void *reply, size_t bytes)
{
    struct heard *heard = ctx;
    assert_true(bytes < TEXT_MAX);
    heard->status = status;
    heard->times++;
    heard->place = ++g_heard_count;
    if (bytes > 0) {
        memcpy(heard->text, reply, bytes);
    }
    heard->text[bytes] = '\0';
}

static inline struct lks_client *connect_with(uint64_t lease_ms)
{
    struct lks_client *client = NULL;
    const struct lks_client_options options = {.directory = "/nowhere",
                                               .replicas = 3,
                                               .lease_ms = lease_ms};
    g_heard_count = 0;
    assert_int_equal(lks_client_connect(&client, &options), 0);
    return client;
}

static inline void give_call(struct lks_client *client, const char *command, struct heard *heard)
{
    *heard = (struct heard){.status = NOT_ANSWERED};
    assert_int_equal(
        lks_client_call_async(client, command, strlen(command), note_answer, heard), 0);
}

static inline void give_read(struct lks_client *client, const char *command, struct heard *heard)
{
    *heard = (struct heard){.status = NOT_ANSWERED};
    assert_int_equal(
        lks_client_read_async(client, command, strlen(command), note_answer, heard), 0);
}

static inline struct lks_client_state state_of(const struct lks_client *client)
{
    struct lks_client_state state;
    lks_client_state(client, &state);
    return state;
}

/* Request `index` is this one. */
static inline void expect_request(uint32_t index, char first, uint64_t sequence)
{
    assert_true(index < g_gateway.count);
    const struct scripted_request *request = &g_gateway.requests[index];
    assert_int_equal(request->first, first);
    assert_int_equal(request->header.sequence, sequence);
}

/* The controls are answered again, whatever the test has done: it closes without waiting. */
static inline void end(struct lks_client *client)
{
    g_gateway.answers_control = g_gateway.answers_calls = true;
    g_gateway.on_wait = NULL;
    lks_client_close(client);
    assert_int_equal(g_gateway.replica, 0);
}

static inline int reset_gateway(void **state)
{
    (void)state;
    scripted_gateway_reset();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, reset_gateway)

#endif
