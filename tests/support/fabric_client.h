/*
 * Commands of the key-value service as a client on the fabric gives them, and what it is answered,
 * for tests and benchmarks of that way. Header only; any thread.
 */
#ifndef LKS_TESTS_SUPPORT_FABRIC_CLIENT_H
#define LKS_TESTS_SUPPORT_FABRIC_CLIENT_H

#include "lockstep/client.h"
#include "services/kv/encode.h"
#include "services/kv/format.h"

#include <assert.h>
#include <string.h>

#define FABRIC_COMMAND_MAX 4096u

struct fabric_command {
    uint8_t data[FABRIC_COMMAND_MAX];
    size_t bytes;
};

/* Encodes a command of up to two arguments behind its name; NULL: there is none. */
static inline struct fabric_command fabric_command(enum lks_kv_request request, const char *first,
                                                   const char *second)
{
    struct fabric_command command;
    struct lks_reply refusal;
    const struct lks_argument items[3] = {{"", 0},
                                          {first != NULL ? first : "",
                                           first != NULL ? strlen(first) : 0},
                                          {second != NULL ? second : "",
                                           second != NULL ? strlen(second) : 0}};
    const struct lks_kv_arguments arguments = {.items = items,
                                               .count = 1u + (first != NULL) + (second != NULL),
                                               .value_bytes_max = LKS_KV_VALUE_BYTES_MAX};
    lks_reply_init(&refusal);
    command.bytes = lks_kv_encode(request, &arguments, command.data, &refusal);
    assert(command.bytes > 0);
    lks_reply_fini(&refusal);
    return command;
}

#endif
