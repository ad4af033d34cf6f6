/*
 * The key-value service against a log and snapshots that no encoder wrote: any bytes as commands,
 * any reads. Held to: no crash; one whole reply for each command; a second state that is given
 * the same commands answers and hashes the same, although its memory differs.
 */
#include "base/assert.h"
#include "services/kv/kv.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/resp_value.h"

#include <stdlib.h>

#define COMMANDS_MAX 256u
#define COMMAND_BYTES_MAX 1024u

struct machine {
    void *state;
    struct lks_reply reply;
};

static void execute(struct machine *machine, const struct lks_command *command)
{
    lks_reply_clear(&machine->reply);
    if (lks_kv_service.is_read(command->data, command->bytes)) {
        lks_kv_service.read(machine->state, command, &machine->reply);
    } else {
        lks_kv_service.apply(machine->state, command, &machine->reply);
    }
    LKS_ASSERT(resp_value_whole(machine->reply.data, machine->reply.bytes));
}

/* A command: mostly one of the known operations on one of a few keys, sometimes any bytes. */
static size_t make_command(struct fuzz_input *input, uint8_t bytes[COMMAND_BYTES_MAX])
{
    const size_t wanted = fuzz_byte(input);
    fuzz_take(input, bytes, wanted);
    if (wanted > 0 && bytes[0] >= 128) {
        bytes[0] &= 63;
    }
    return wanted;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input(data, size);
    const struct lks_service_options options = {.command_bytes_max = COMMAND_BYTES_MAX};
    struct machine machines[2] = {0};
    for (unsigned i = 0; i < 2; i++) {
        LKS_ASSERT(lks_kv_service.open(&machines[i].state, &options) == 0);
    }
    uint64_t time_ns = 1;
    for (uint64_t index = 1; index <= COMMANDS_MAX && fuzz_left(&input) > 0; index++) {
        uint8_t bytes[COMMAND_BYTES_MAX];
        const size_t length = make_command(&input, bytes);
        time_ns += fuzz_byte(&input);
        const struct lks_command command = {
            .index = index, .time_ns = time_ns, .data = bytes, .bytes = length};
        execute(&machines[0], &command);
        execute(&machines[1], &command);
        LKS_ASSERT(machines[0].reply.bytes == machines[1].reply.bytes);
        LKS_ASSERT(memcmp(machines[0].reply.data, machines[1].reply.data,
                          machines[0].reply.bytes) == 0);
    }
    for (uint32_t part = 0; part < lks_kv_service.partitions; part++) {
        LKS_ASSERT(lks_kv_service.hash(machines[0].state, part) ==
                   lks_kv_service.hash(machines[1].state, part));
    }
    for (unsigned i = 0; i < 2; i++) {
        lks_reply_fini(&machines[i].reply);
        lks_kv_service.close(machines[i].state);
    }
    return 0;
}
