/*
 * The port over the key-value service beside a real redis-server 7: both get the same random
 * commands of the supported set, valid and not, over connections in both protocols, and must
 * give the same replies. Prints the seed; `differential_resp SEED` repeats a run. Skipped, with
 * the reason, where no redis-server 7 is installed.
 */
#include "tests/support/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COMMANDS 30000
#define ARGUMENTS_MAX 6
#define SKIPPED 77
#define START_TRIES 200
#define START_WAIT_US 25000

/* The port in a thread of its own: hiredis blocks. */
static struct test_port g_port;
static atomic_bool g_stop;
static pid_t g_redis;
static unsigned g_seed = 20240607;

static void *run_port(void *ctx)
{
    (void)ctx;
    struct pollfd ready = {.fd = lks_server_fd(g_port.server), .events = POLLIN};
    while (!atomic_load(&g_stop)) {
        if (lks_server_poll(g_port.server) == 0) {
            (void)poll(&ready, 1, 20);
        }
    }
    return NULL;
}

/* A port that was free a moment ago. */
static uint16_t free_tcp_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static redisContext *connect_to(uint16_t port)
{
    for (int i = 0; i < START_TRIES; i++) {
        redisContext *context = redisConnect("127.0.0.1", port);
        if (context != NULL && context->err == 0) {
            return context;
        }
        redisFree(context);
        (void)usleep(START_WAIT_US); /* the process is starting */
    }
    return NULL;
}

/* Starts redis-server without persistence; 0: there is none. */
static pid_t start_redis(uint16_t port)
{
    char text[8];
    (void)snprintf(text, sizeof text, "%u", (unsigned)port);
    const pid_t child = fork();
    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, STDOUT_FILENO);
        (void)execlp("redis-server", "redis-server", "--port", text, "--bind", "127.0.0.1",
                     "--save", "", "--appendonly", "no", "--daemonize", "no", (char *)NULL);
        _exit(127);
    }
    int status;
    (void)usleep(START_WAIT_US);
    return waitpid(child, &status, WNOHANG) == 0 ? child : 0;
}

static unsigned below(unsigned limit)
{
    return (unsigned)rand_r(&g_seed) % limit;
}

struct argument {
    char data[64];
    size_t bytes;
};

static void set_argument(struct argument *argument, const char *text, size_t bytes)
{
    memcpy(argument->data, text, bytes);
    argument->bytes = bytes;
}

static void set_text(struct argument *argument, const char *text)
{
    set_argument(argument, text, strlen(text));
}

/* The command's name in random case. */
static void set_name(struct argument *argument, const char *name)
{
    set_text(argument, name);
    for (size_t i = 0; i < argument->bytes; i++) {
        if (below(3) == 0 && argument->data[i] >= 'a' && argument->data[i] <= 'z') {
            argument->data[i] = (char)(argument->data[i] & ~0x20);
        }
    }
}

static void random_key(struct argument *argument)
{
    static const struct {
        const char *text;
        size_t bytes;
    } odd[] = {{"", 0}, {"\0", 1}, {"a\r\nb", 4}, {"$3", 2}, {"\xff\xfe", 2}, {"a b", 3}};
    const unsigned choice = below(20);
    if (choice < sizeof odd / sizeof odd[0]) {
        set_argument(argument, odd[choice].text, odd[choice].bytes);
    } else {
        char text[16];
        (void)snprintf(text, sizeof text, "k%u", below(12));
        set_text(argument, text);
    }
}

static void random_value(struct argument *argument)
{
    static const char *const values[] = {
        "0",   "1",  "-1",   "10",  "9223372036854775807", "-9223372036854775808",
        "9223372036854775806", "9223372036854775808", "-9223372036854775809", "01", "+1", "-0",
        "1.5", " 1", "1 ",   "",    "abc", "12345678901234567890123", "0x10", "1e3"};
    const unsigned choice = below(24);
    if (choice < sizeof values / sizeof values[0]) {
        set_text(argument, values[choice]);
        return;
    }
    argument->bytes = below(sizeof argument->data);
    for (size_t i = 0; i < argument->bytes; i++) {
        argument->data[i] = (char)below(256);
    }
}

static void random_option(struct argument *argument)
{
    static const char *const options[] = {"nx", "xx", "get", "NX", "XX", "GET", "foo", "", "n"};
    set_text(argument, options[below(sizeof options / sizeof options[0])]);
}

/* A command and how its arguments are chosen: k key, v value, i integer-like, o option, r key
 * or nothing repeatedly, a FLUSHALL's argument. Odd numbers of arguments are added at random. */
static const struct {
    const char *name;
    const char *arguments;
    unsigned weight;
} g_commands[] = {
    {"get", "k", 10},     {"set", "kv", 10},     {"set", "kvo", 6},   {"set", "kvoo", 4},
    {"set", "kvooo", 2},  {"del", "k", 3},       {"del", "kkk", 2},   {"exists", "kkkk", 4},
    {"incr", "k", 8},     {"decr", "k", 8},      {"incrby", "kv", 8}, {"strlen", "k", 5},
    {"append", "kv", 8},  {"dbsize", "", 3},     {"flushall", "a", 1}, {"flushall", "", 1},
    {"ping", "", 2},      {"ping", "v", 2},      {"echo", "v", 3},    {"select", "s", 2},
    {"client", "c", 2},   {"command", "d", 2},   {"nosuch", "vv", 2}, {"hello", "h", 2},
    {"", "v", 1},
};

static void random_argument(struct argument *argument, char kind)
{
    static const char *const flush[] = {"async", "SYNC", "foo", ""};
    static const char *const select[] = {"0", "00", "x", "-1", "99999", "99999999999", ""};
    static const char *const client[] = {"getname", "foo", "setname"}; /* IDs differ */
    static const char *const command[] = {"foo", "getkeys", "count2"};
    static const char *const hello[] = {"1", "4", "x", "", "22222222222222222222"};
    switch (kind) {
    case 'k':
        random_key(argument);
        break;
    case 'o':
        random_option(argument);
        break;
    case 'a':
        set_text(argument, flush[below(4)]);
        break;
    case 's':
        set_text(argument, select[below(7)]);
        break;
    case 'c':
        set_text(argument, client[below(3)]);
        break;
    case 'd':
        set_text(argument, command[below(3)]);
        break;
    case 'h':
        set_text(argument, hello[below(5)]);
        break;
    default:
        random_value(argument);
    }
}

static size_t random_command(struct argument *args)
{
    unsigned total = 0;
    size_t chosen = 0;
    for (size_t i = 0; i < sizeof g_commands / sizeof g_commands[0]; i++) {
        total += g_commands[i].weight;
    }
    unsigned place = below(total);
    while (place >= g_commands[chosen].weight) {
        place -= g_commands[chosen].weight;
        chosen++;
    }
    size_t count = 1;
    set_name(&args[0], g_commands[chosen].name);
    for (const char *kind = g_commands[chosen].arguments; *kind != '\0'; kind++) {
        random_argument(&args[count++], *kind);
    }
    /* Alone, COMMAND and HELLO describe the server, and servers differ. */
    const bool describes = strpbrk(g_commands[chosen].arguments, "dh") != NULL;
    if (below(30) == 0 && count > 1 && !describes) {
        count--;
    } else if (below(30) == 0 && count < ARGUMENTS_MAX) {
        random_value(&args[count++]);
    }
    return count;
}

static bool same_reply(const redisReply *a, const redisReply *b)
{
    if (a == NULL || b == NULL || a->type != b->type || a->elements != b->elements) {
        return a == b;
    }
    for (size_t i = 0; i < a->elements; i++) {
        if (!same_reply(a->element[i], b->element[i])) {
            return false;
        }
    }
    const bool text = a->type == REDIS_REPLY_STRING || a->type == REDIS_REPLY_STATUS ||
                      a->type == REDIS_REPLY_ERROR;
    if (text) {
        return (size_t)a->len == (size_t)b->len && memcmp(a->str, b->str, (size_t)a->len) == 0;
    }
    return a->integer == b->integer;
}

static void print_difference(int number, const struct argument *args, size_t count,
                             const redisReply *ours, const redisReply *theirs)
{
    print_error("command %d:", number);
    for (size_t i = 0; i < count; i++) {
        print_error(" \"");
        for (size_t j = 0; j < args[i].bytes; j++) {
            const unsigned char c = (unsigned char)args[i].data[j];
            print_error(c >= 0x20 && c < 0x7f ? "%c" : "\\x%02x", c);
        }
        print_error("\"");
    }
    print_error("\nours: type %d %lld %s\nredis: type %d %lld %s\n", ours != NULL ? ours->type : 0,
                ours != NULL ? ours->integer : 0,
                ours != NULL && ours->str != NULL ? ours->str : "",
                theirs != NULL ? theirs->type : 0, theirs != NULL ? theirs->integer : 0,
                theirs != NULL && theirs->str != NULL ? theirs->str : "");
}

static void random_commands__same_replies(void **state)
{
    redisContext *const *contexts = *state;
    print_message("seed %u\n", g_seed);
    for (int i = 0; i < COMMANDS; i++) {
        struct argument args[ARGUMENTS_MAX + 1];
        const char *texts[ARGUMENTS_MAX + 1];
        size_t lengths[ARGUMENTS_MAX + 1];
        const size_t count = random_command(args);
        for (size_t j = 0; j < count; j++) {
            texts[j] = args[j].data;
            lengths[j] = args[j].bytes;
        }
        redisReply *ours = redisCommandArgv(contexts[0], (int)count, texts, lengths);
        redisReply *theirs = redisCommandArgv(contexts[1], (int)count, texts, lengths);
        const bool same = ours != NULL && same_reply(ours, theirs);
        if (!same) {
            print_difference(i, args, count, ours, theirs);
        }
        freeReplyObject(ours);
        freeReplyObject(theirs);
        assert_true(same);
    }
}

/* Sends bytes on a socket of its own and reads until both ends are quiet or closed. */
static size_t raw_exchange(uint16_t port, const char *request, char *got, size_t bytes_max)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_usec = 100000};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    size_t total = 0;
    ssize_t part;
    while (total < bytes_max && (part = recv(fd, got + total, bytes_max - total, 0)) > 0) {
        total += (size_t)part;
    }
    (void)close(fd);
    return total;
}

/* Bytes on the wire, RESP3 and errors of the protocol included. */
static void raw_bytes__same_answers(void **state)
{
    redisContext *const *contexts = *state;
    static const char *const requests[] = {
        "FLUSHALL\r\nGET a\r\nSET a 1 NX\r\nSET a 1 NX\r\nGET a\r\n",
        "PING\r\n\r\nPING\n*0\r\n*-1\r\nPING x\r\n",
        "*2\r\n$3\r\nGET\r\n$1\r\na\r\nGET a\r\n",
        "SET q \"a\\x41\\n\\\"b\" \r\nGET q\r\nECHO 'x\\'y'\r\n",
        "*x\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n\r\n",
        "GET \"a\r\n",
        "GET \"a\"b\r\n",
        "*1\r\n$600000000\r\n",
        "FOO \"a\\r\\nb\" c\r\nQUIT\r\nPING\r\n",
        "*1\r\n$0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char ours[4096];
        char theirs[4096];
        const size_t a =
            raw_exchange((uint16_t)contexts[0]->tcp.port, requests[i], ours, sizeof ours);
        const size_t b =
            raw_exchange((uint16_t)contexts[1]->tcp.port, requests[i], theirs, sizeof theirs);
        if (a != b || memcmp(ours, theirs, a) != 0) {
            print_error("request %zu:\n%s\nours:\n%.*s\nredis:\n%.*s\n", i, requests[i], (int)a,
                        ours, (int)b, theirs);
            fail();
        }
    }
}

static redisContext *g_contexts[2];

static int setup(void **state)
{
    *state = g_contexts;
    return 0;
}

static bool is_redis_7(redisContext *context)
{
    redisReply *reply = redisCommand(context, "INFO server");
    const bool yes = reply != NULL && reply->str != NULL &&
                     strstr(reply->str, "redis_version:7.") != NULL;
    freeReplyObject(reply);
    return yes;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        g_seed = (unsigned)strtoul(argv[1], NULL, 10);
    }
    const uint16_t redis_port = free_tcp_port();
    g_redis = start_redis(redis_port);
    if (g_redis == 0) {
        (void)printf("SKIP: redis-server is not installed\n");
        return SKIPPED;
    }
    test_port_start(&g_port, &(struct test_port_options){.connections_max = 16,
                                                         .command_bytes_max = 1u << 20});
    pthread_t thread;
    int result = pthread_create(&thread, NULL, run_port, NULL);
    assert_int_equal(result, 0);
    g_contexts[0] = connect_to(lks_server_port(g_port.server));
    g_contexts[1] = connect_to(redis_port);
    assert_non_null(g_contexts[0]);
    assert_non_null(g_contexts[1]);
    if (is_redis_7(g_contexts[1])) {
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(random_commands__same_replies, setup, NULL),
            cmocka_unit_test_setup_teardown(raw_bytes__same_answers, setup, NULL),
        };
        result = cmocka_run_group_tests(tests, NULL, NULL);
    } else {
        (void)printf("SKIP: redis-server is not of version 7\n");
        result = SKIPPED;
    }
    redisFree(g_contexts[0]);
    redisFree(g_contexts[1]);
    atomic_store(&g_stop, true);
    (void)pthread_join(thread, NULL);
    test_port_stop(&g_port);
    (void)kill(g_redis, SIGTERM);
    (void)waitpid(g_redis, NULL, 0);
    return result;
}
