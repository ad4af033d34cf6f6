/*
 * The parser: whole commands, every split of them, byte at a time, limits, errors in Redis's
 * words, and random garbage, of which nothing is known but that the parser survives it and that
 * the result does not depend on how it is cut.
 */
#include "server/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT 1000u
#define LOG_MAX (256u << 10)
#define GARBAGE_ROUNDS 3000
#define GARBAGE_BYTES 300

/* What a stream of bytes was read as, as text. */
struct transcript {
    char text[LOG_MAX];
    size_t bytes;
};

static void note(struct transcript *transcript, const char *data, size_t bytes)
{
    assert_true(transcript->bytes + bytes < LOG_MAX);
    memcpy(transcript->text + transcript->bytes, data, bytes);
    transcript->bytes += bytes;
}

static void note_command(struct transcript *transcript, const struct lks_arguments *args)
{
    note(transcript, "[", 1);
    size_t bytes = 0;
    for (size_t i = 0; i < args->count; i++) {
        if (i > 0) {
            note(transcript, ",", 1);
        }
        note(transcript, args->items[i].data, args->items[i].bytes);
        bytes += args->items[i].bytes;
    }
    assert_int_equal(args->bytes, bytes);
    note(transcript, "]", 1);
}

/* Reads what is there; returns the bytes consumed. False in *alive: a protocol error. */
static size_t drain(struct lks_parser *parser, struct lks_arguments *args, const char *data,
                    size_t bytes, struct transcript *transcript, bool *alive)
{
    size_t done = 0;
    for (;;) {
        size_t consumed = 0;
        const enum lks_parse parse =
            lks_parser_next(parser, args, data + done, bytes - done, &consumed);
        assert_true(consumed <= bytes - done);
        done += consumed;
        if (parse == LKS_PARSE_COMMAND) {
            note_command(transcript, args);
        } else if (parse == LKS_PARSE_TOO_BIG) {
            char text[64];
            const int length = snprintf(text, sizeof text, "(%llu)",
                                        (unsigned long long)parser->value_bytes_max);
            note(transcript, text, (size_t)length);
        } else if (parse == LKS_PARSE_ERROR) {
            note(transcript, parser->error, strlen(parser->error));
            *alive = false;
            return done;
        } else {
            return done;
        }
    }
}

/* Feeds data in pieces that `next_piece` chooses, each time from a fresh copy of exactly the
 * unconsumed bytes, so that a sanitizer sees every byte read too many. */
static void feed(const char *data, size_t bytes, size_t (*next_piece)(void *ctx), void *ctx,
                 struct transcript *transcript)
{
    struct lks_parser parser = {.command_bytes_max = LIMIT};
    struct lks_arguments args = {0};
    size_t start = 0;
    size_t end = 0;
    bool alive = true;
    transcript->bytes = 0;
    while (alive && end < bytes) {
        const size_t piece = next_piece(ctx);
        end = bytes - end < piece ? bytes : end + piece;
        char *copy = malloc(end - start);
        assert_non_null(copy);
        memcpy(copy, data + start, end - start);
        start += drain(&parser, &args, copy, end - start, transcript, &alive);
        free(copy);
    }
    transcript->text[transcript->bytes] = '\0';
    lks_arguments_fini(&args);
}

static size_t one_byte(void *ctx)
{
    (void)ctx;
    return 1;
}

static size_t everything(void *ctx)
{
    (void)ctx;
    return SIZE_MAX / 2;
}

/* First a piece of *ctx bytes, then the rest. */
static size_t two_pieces(void *ctx)
{
    size_t *first = ctx;
    const size_t piece = *first;
    *first = SIZE_MAX / 2;
    return piece;
}

static size_t random_piece(void *ctx)
{
    return 1 + (size_t)rand_r(ctx) % 40;
}

static void expect(const char *data, size_t bytes, const char *wanted)
{
    static struct transcript transcript;
    feed(data, bytes, everything, NULL, &transcript);
    assert_string_equal(transcript.text, wanted);
    feed(data, bytes, one_byte, NULL, &transcript);
    assert_string_equal(transcript.text, wanted);
    for (size_t cut = 1; cut < bytes; cut++) {
        size_t first = cut;
        feed(data, bytes, two_pieces, &first, &transcript);
        assert_string_equal(transcript.text, wanted);
    }
}

#define EXPECT(data, wanted) expect(data, sizeof(data) - 1, wanted)

static void array__any_split__same_commands(void **state)
{
    (void)state;
    EXPECT("*1\r\n$4\r\nPING\r\n", "[PING]");
    EXPECT("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\n1\r\n23\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
           "[SET,a,1\r\n23][GET,]");
    EXPECT("*0\r\n*-1\r\n*-7\r\n*1\r\n$1\r\nx\r\n", "[x]");
    EXPECT("*1\r\n$0\r\n\r\n", "[]");
}

static void inline__any_split__words(void **state)
{
    (void)state;
    EXPECT("PING\r\n", "[PING]");
    EXPECT("\r\n\n  \r\nPING\nGET  a\t\r\n", "[PING][GET,a]");
    EXPECT("set a \"b c\\x41\\n\\\"\" 'd\\'e\\x41'\r\n", "[set,a,b cA\n\",d'e\\x41]");
    EXPECT("a\"b\" \"\" ''\r\n", "[ab,,]");
    EXPECT("PING\r\n*1\r\n$1\r\nx\r\nPING\r\n", "[PING][x][PING]");
}

static void inline__unbalanced_quotes__error(void **state)
{
    (void)state;
    EXPECT("a \"b\r\n", "ERR Protocol error: unbalanced quotes in request");
    EXPECT("a \"b\"c\r\n", "ERR Protocol error: unbalanced quotes in request");
    EXPECT("a 'b\\'\r\n", "ERR Protocol error: unbalanced quotes in request");
    EXPECT("a \"b\\\r\n", "ERR Protocol error: unbalanced quotes in request");
}

static void array__bad_length__error(void **state)
{
    (void)state;
    EXPECT("*abc\r\n", "ERR Protocol error: invalid multibulk length");
    EXPECT("*\r\n", "ERR Protocol error: invalid multibulk length");
    EXPECT("*+1\r\n", "ERR Protocol error: invalid multibulk length");
    EXPECT("*01\r\n", "ERR Protocol error: invalid multibulk length");
    EXPECT("*1x\r\n", "ERR Protocol error: invalid multibulk length");
    EXPECT("*1\rx", "ERR Protocol error: invalid multibulk length");
    EXPECT("*-0\r\n", "ERR Protocol error: invalid multibulk length");
    EXPECT("*1048577\r\n", "ERR Protocol error: invalid multibulk length");
    EXPECT("*99999999999999999999999\r\n", "ERR Protocol error: invalid multibulk length");
    EXPECT("PING\r\n*9223372036854775808\r\n",
           "[PING]ERR Protocol error: invalid multibulk length");
}

static void bulk__bad_length__error(void **state)
{
    (void)state;
    EXPECT("*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length");
    EXPECT("*1\r\n$\r\n", "ERR Protocol error: invalid bulk length");
    EXPECT("*1\r\n$4x\r\n", "ERR Protocol error: invalid bulk length");
    EXPECT("*1\r\n$536870913\r\n", "ERR Protocol error: invalid bulk length");
    EXPECT("*1\r\n$18446744073709551615\r\n", "ERR Protocol error: invalid bulk length");
    EXPECT("*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'");
    EXPECT("*2\r\n$1\r\na\r\nxyz", "ERR Protocol error: expected '$', got 'x'");
    EXPECT("*1\r\n$1\r\nab\r", "ERR Protocol error: no CRLF behind a bulk string");
}

/* A request whose one long argument has this many bytes. */
static size_t long_request(char *out, size_t argument_bytes)
{
    int bytes = sprintf(out, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", argument_bytes);
    memset(out + bytes, 'v', argument_bytes);
    bytes += (int)argument_bytes;
    return (size_t)(bytes + sprintf(out + bytes, "\r\n*1\r\n$4\r\nPING\r\n"));
}

static void command__beyond_limit__skipped_and_in_step(void **state)
{
    (void)state;
    static char data[8192];
    static struct transcript transcript;
    const size_t lengths[] = {1200, 1062, 1500, 5000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char wanted[64];
        (void)snprintf(wanted, sizeof wanted, "(%zu)[PING]", lengths[i]);
        const size_t bytes = long_request(data, lengths[i]);
        feed(data, bytes, everything, NULL, &transcript);
        assert_string_equal(transcript.text, wanted);
        feed(data, bytes, one_byte, NULL, &transcript);
        assert_string_equal(transcript.text, wanted);
        unsigned seed = 7;
        feed(data, bytes, random_piece, &seed, &transcript);
        assert_string_equal(transcript.text, wanted);
    }
}

static void command__oversize__nothing_is_kept(void **state)
{
    (void)state;
    struct lks_parser parser = {.command_bytes_max = LIMIT};
    struct lks_arguments args = {0};
    static const char head[] = "*2\r\n$3\r\nGET\r\n$400000000\r\n";
    size_t consumed = 0;
    assert_int_equal(lks_parser_next(&parser, &args, head, sizeof head - 1, &consumed),
                     LKS_PARSE_MORE);
    assert_int_equal(consumed, sizeof head - 1);
    assert_int_equal(lks_parser_needed(&parser), 0);
    static char chunk[1 << 20];
    uint64_t left = 400000000;
    while (left > 0) {
        const size_t bytes = left < sizeof chunk ? (size_t)left : sizeof chunk;
        assert_int_equal(lks_parser_next(&parser, &args, chunk, bytes, &consumed),
                         LKS_PARSE_MORE);
        assert_int_equal(consumed, bytes);
        left -= bytes;
    }
    assert_int_equal(lks_parser_next(&parser, &args, "\r\n", 2, &consumed), LKS_PARSE_TOO_BIG);
    assert_int_equal(parser.value_bytes_max, 400000000);
    assert_int_equal(args.capacity <= 16, 1);
    lks_arguments_fini(&args);
}

static void command__many_arguments_beyond_limit__skipped(void **state)
{
    (void)state;
    static char data[32768];
    static struct transcript transcript;
    int bytes = sprintf(data, "*2000\r\n");
    for (int i = 0; i < 2000; i++) {
        bytes += sprintf(data + bytes, "$1\r\nx\r\n");
    }
    bytes += sprintf(data + bytes, "PING\r\n");
    feed(data, (size_t)bytes, everything, NULL, &transcript);
    assert_string_equal(transcript.text, "(1)[PING]");
    feed(data, (size_t)bytes, one_byte, NULL, &transcript);
    assert_string_equal(transcript.text, "(1)[PING]");
}

static void inline__too_long__error(void **state)
{
    (void)state;
    const size_t bytes = LKS_PARSER_INLINE_BYTES_MAX + 10;
    char *data = malloc(bytes);
    assert_non_null(data);
    memset(data, 'a', bytes);
    struct lks_parser parser = {.command_bytes_max = LIMIT};
    struct lks_arguments args = {0};
    size_t consumed;
    assert_int_equal(lks_parser_next(&parser, &args, data, bytes, &consumed), LKS_PARSE_ERROR);
    assert_string_equal(parser.error, "ERR Protocol error: too big inline request");
    data[bytes - 1] = '\n';
    memset(&parser, 0, sizeof parser);
    assert_int_equal(lks_parser_next(&parser, &args, data, bytes, &consumed), LKS_PARSE_ERROR);
    lks_arguments_fini(&args);
    free(data);
}

/* Bytes that look enough like the protocol to get somewhere. */
static size_t make_garbage(char *out, unsigned *seed)
{
    static const char *const parts[] = {"*",  "$",  "\r\n", "1", "3",       "0",    "-1",
                                        "99", "\"", "'",    " ", "PING\r\n", "\\x4", "\0",
                                        "*1\r\n$4\r\nPING\r\n", "*2\r\n$3\r\nGET\r\n$1\r\n", "a"};
    const size_t length = (size_t)rand_r(seed) % GARBAGE_BYTES;
    size_t bytes = 0;
    while (bytes < length) {
        if (rand_r(seed) % 4 == 0) {
            out[bytes++] = (char)rand_r(seed);
            continue;
        }
        const char *part = parts[(size_t)rand_r(seed) % (sizeof parts / sizeof parts[0])];
        const size_t part_bytes = *part != '\0' ? strlen(part) : 1;
        memcpy(out + bytes, part, part_bytes);
        bytes += part_bytes;
    }
    return bytes;
}

static void garbage__any_split__same_result(void **state)
{
    (void)state;
    static struct transcript whole;
    static struct transcript split;
    char data[GARBAGE_BYTES + 64];
    for (unsigned round = 0; round < GARBAGE_ROUNDS; round++) {
        unsigned seed = round;
        const size_t bytes = make_garbage(data, &seed);
        feed(data, bytes, everything, NULL, &whole);
        feed(data, bytes, one_byte, NULL, &split);
        assert_int_equal(whole.bytes, split.bytes);
        assert_memory_equal(whole.text, split.text, whole.bytes);
        feed(data, bytes, random_piece, &seed, &split);
        assert_int_equal(whole.bytes, split.bytes);
        assert_memory_equal(whole.text, split.text, whole.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(array__any_split__same_commands),
        cmocka_unit_test(inline__any_split__words),
        cmocka_unit_test(inline__unbalanced_quotes__error),
        cmocka_unit_test(array__bad_length__error),
        cmocka_unit_test(bulk__bad_length__error),
        cmocka_unit_test(command__beyond_limit__skipped_and_in_step),
        cmocka_unit_test(command__oversize__nothing_is_kept),
        cmocka_unit_test(command__many_arguments_beyond_limit__skipped),
        cmocka_unit_test(inline__too_long__error),
        cmocka_unit_test(garbage__any_split__same_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
