/*
 * The client port's reading side: a stream of bytes as any client may send it, through the parser,
 * the table of commands and the encoder to the key-value service. Held to: no crash; what is parsed
 * does not depend on where the stream is cut; each command gets exactly one reply of whole RESP3;
 * no argument lies outside the stream or the parser's own text.
 */
#include "base/assert.h"
#include "server/commands.h"
#include "server/parser.h"
#include "services/kv/kv.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/resp_value.h"

#include <stdlib.h>

#define COMMANDS_MAX 4096u
#define HASH_START UINT64_C(14695981039346656037)

static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *next = data;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ next[i]) * UINT64_C(1099511628211);
    }
    return (hash ^ bytes) * UINT64_C(1099511628211);
}

struct run {
    uint64_t hash; /* of everything that the parser said */
    uint32_t commands;
    void *state; /* of the service; NULL: commands are not executed */
    struct lks_reply reply;
};

static void execute(struct run *run, const struct lks_arguments *args, size_t limit)
{
    const struct lks_command_row *row = lks_commands_find(&args->items[0]);
    lks_reply_clear(&run->reply);
    if (row == NULL || row->local != NULL || !lks_commands_arity_fits(row, args->count)) {
        return;
    }
    uint8_t *encoded = malloc(args->bytes + LKS_KV_ENCODE_OVERHEAD(args->count));
    LKS_ASSERT(encoded != NULL);
    const struct lks_kv_arguments arguments = {args->items, args->count, limit, 1};
    const size_t bytes = lks_kv_encode(row->request, &arguments, encoded, &run->reply);
    LKS_ASSERT(bytes <= args->bytes + LKS_KV_ENCODE_OVERHEAD(args->count));
    LKS_ASSERT((bytes == 0) == (run->reply.bytes > 0));
    if (bytes > 0) {
        const struct lks_command command = {
            .index = run->commands, .time_ns = run->commands, .data = encoded, .bytes = bytes};
        if (lks_kv_service.is_read(encoded, bytes)) {
            lks_kv_service.read(run->state, &command, &run->reply);
        } else {
            lks_kv_service.apply(run->state, &command, &run->reply);
        }
    }
    LKS_ASSERT(resp_value_whole(run->reply.data, run->reply.bytes));
    free(encoded);
}

static void note_command(struct run *run, const struct lks_arguments *args, size_t limit)
{
    LKS_ASSERT(args->count > 0);
    size_t bytes = 0;
    for (size_t i = 0; i < args->count; i++) {
        LKS_ASSERT(args->items[i].data != NULL);
        run->hash = mix(run->hash, args->items[i].data, args->items[i].bytes);
        bytes += args->items[i].bytes;
    }
    LKS_ASSERT(args->bytes == bytes);
    LKS_ASSERT(bytes <= limit + LKS_PARSER_INLINE_BYTES_MAX);
    run->commands++;
    if (run->state != NULL) {
        execute(run, args, limit);
    }
}

/* Feeds the stream in pieces as a port does: a piece is added, then parsed until more is wanted. */
static void feed(struct run *run, const uint8_t *data, size_t size, size_t limit, size_t step)
{
    struct lks_parser parser = {.command_bytes_max = limit};
    struct lks_arguments args = {0};
    size_t begin = 0;
    size_t end = 0;
    run->hash = HASH_START;
    while (run->commands < COMMANDS_MAX) {
        /* A copy of its own for each look: the parser must keep no pointer into the last one. */
        const size_t bytes = end - begin;
        char *piece = malloc(bytes > 0 ? bytes : 1);
        LKS_ASSERT(piece != NULL);
        memcpy(piece, data + begin, bytes);
        size_t consumed = 0;
        const enum lks_parse parse = lks_parser_next(&parser, &args, piece, bytes, &consumed);
        LKS_ASSERT(consumed <= bytes);
        if (parse == LKS_PARSE_COMMAND) {
            note_command(run, &args, limit);
        } else if (parse == LKS_PARSE_TOO_BIG) {
            run->hash = mix(run->hash, "big", 3);
        } else if (parse == LKS_PARSE_ERROR) {
            run->hash = mix(run->hash, parser.error, strlen(parser.error));
        }
        free(piece);
        begin += consumed;
        if (parse == LKS_PARSE_ERROR || (parse == LKS_PARSE_MORE && end == size)) {
            break;
        }
        if (parse == LKS_PARSE_MORE) {
            end = size - end < step ? size : end + step;
        }
    }
    lks_arguments_fini(&args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input(data, size);
    const size_t limit = 1 + fuzz_below(&input, 2048);
    const size_t step = 1 + fuzz_byte(&input) % 64;
    lks_commands_prepare();
    struct run whole = {0};
    struct run pieces = {0};
    const struct lks_service_options options = {.command_bytes_max = limit + 4096};
    LKS_ASSERT(lks_kv_service.open(&whole.state, &options) == 0);
    feed(&whole, input.next, fuzz_left(&input), limit, SIZE_MAX);
    feed(&pieces, input.next, fuzz_left(&input), limit, step);
    LKS_ASSERT(whole.commands == pieces.commands);
    LKS_ASSERT(whole.hash == pieces.hash);
    lks_reply_fini(&whole.reply);
    lks_kv_service.close(whole.state);
    return 0;
}
