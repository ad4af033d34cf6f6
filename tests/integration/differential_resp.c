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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define COMMANDS 30000
#define ARGUMENTS_MAX 9
#define SKIPPED 77
#define NS_PER_MS 1000000u
#define TTL_TOLERANCE_MS 5000 /* both decide by their own clocks, one after the other */
#define START_TRIES 200
#define START_WAIT_US 25000

/* The port in a thread of its own: hiredis blocks. */
static struct test_port g_port;
static atomic_bool g_stop;
static pid_t g_redis;
static unsigned g_seed = 20240607;

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

static void *run_port(void *ctx)
{
    (void)ctx;
    struct pollfd ready = {.fd = lks_server_fd(g_port.server), .events = POLLIN};
    while (!atomic_load(&g_stop)) {
        g_port.time_ns = now_ms() * NS_PER_MS;
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
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also if this test is killed */
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

/* How the replies of the two are compared. */
enum comparison {
    EXACT,
    TIMES,  /* milliseconds or seconds that may differ a little */
    SORTED, /* the same elements in any order */
    SCAN,   /* a whole scan finds the same keys */
    RANDOM, /* nothing, or any key */
    COUNTED /* Redis counts keys that have expired until it comes across them */
};

/* A command and how its arguments are chosen; see random_argument. Odd numbers of arguments are
 * added at random. */
static const struct {
    const char *name;
    const char *arguments;
    unsigned weight;
    enum comparison comparison;
} g_commands[] = {
    {"get", "k", 10, EXACT},         {"set", "kv", 10, EXACT},
    {"set", "kvo", 6, EXACT},        {"set", "kvoo", 6, EXACT},
    {"set", "kvooo", 4, EXACT},      {"set", "kvxt", 10, EXACT},
    {"set", "kvoxt", 6, EXACT},      {"set", "kvxto", 6, EXACT},
    {"del", "k", 3, EXACT},          {"del", "kkk", 2, EXACT},
    {"exists", "kkkk", 4, EXACT},    {"incr", "k", 8, EXACT},
    {"decr", "k", 8, EXACT},         {"incrby", "kv", 8, EXACT},
    {"decrby", "kv", 8, EXACT},      {"incrbyfloat", "kf", 12, EXACT},
    {"strlen", "k", 5, EXACT},       {"append", "kv", 8, EXACT},
    {"setnx", "kv", 4, EXACT},       {"setex", "ktv", 6, EXACT},
    {"psetex", "ktv", 6, EXACT},     {"getset", "kv", 4, EXACT},
    {"getdel", "k", 3, EXACT},       {"getex", "k", 2, EXACT},
    {"getex", "kxt", 8, EXACT},      {"getex", "ko", 4, EXACT},
    {"mget", "kkk", 6, EXACT},       {"mset", "kvkv", 4, EXACT},
    {"mset", "kvk", 1, EXACT},       {"msetnx", "kvkv", 4, EXACT},
    {"getrange", "knn", 10, EXACT},  {"setrange", "knv", 8, EXACT},
    {"unlink", "kk", 2, EXACT},      {"type", "k", 3, EXACT},
    {"expire", "kt", 6, EXACT},      {"expire", "ktc", 6, EXACT},
    {"expire", "ktcc", 4, EXACT},    {"pexpire", "kt", 6, EXACT},
    {"pexpire", "ktc", 6, EXACT},    {"expireat", "kt", 6, EXACT},
    {"expireat", "ktc", 4, EXACT},   {"pexpireat", "kt", 6, EXACT},
    {"pexpireat", "ktc", 4, EXACT},  {"persist", "k", 4, EXACT},
    {"ttl", "k", 6, TIMES},          {"pttl", "k", 6, TIMES},
    {"expiretime", "k", 6, TIMES},   {"pexpiretime", "k", 6, TIMES},
    {"keys", "p", 4, SORTED},        {"scan", "0", 2, SCAN},
    {"scan", "0mp", 4, SCAN},        {"scan", "0Nn", 4, SCAN},
    {"scan", "0mpNn", 4, SCAN},      {"scan", "0Ty", 2, SCAN},
    {"scan", "v", 3, SCAN},          {"randomkey", "", 3, RANDOM},
    {"dbsize", "", 3, COUNTED},      {"flushall", "a", 1, EXACT},
    {"flushall", "", 1, EXACT},      {"flushdb", "a", 1, EXACT},
    {"ping", "", 2, EXACT},          {"ping", "v", 2, EXACT},
    {"echo", "v", 3, EXACT},         {"select", "s", 2, EXACT},
    {"client", "l", 2, EXACT},       {"command", "d", 2, EXACT},
    {"config", "C", 2, EXACT},       {"reset", "", 1, EXACT},
    {"wait", "vE", 2, EXACT},        {"nosuch", "vv", 2, EXACT},
    {"hello", "h", 2, EXACT},        {"", "v", 1, EXACT},
};

/* What one kind of argument may be. Times are past, or far away, in seconds and in milliseconds. */
static const struct {
    char kind;
    const char *texts[12];
} g_kinds[] = {
    {'o', {"nx", "xx", "get", "NX", "XX", "GET", "foo", "", "n", "keepttl", "persist"}},
    {'x', {"ex", "px", "exat", "pxat", "EX", "PX", "EXAT", "pXAT"}},
    {'c', {"nx", "XX", "gt", "LT", "xx", "foo", ""}},
    {'n', {"0", "1", "-1", "5", "-5", "100", "-100", "x", "", "9223372036854775807",
           "-9223372036854775808"}},
    {'f', {"1", "-1", "1.5", "0.1", "1e3", "-2.5e-3", "1e300", "inf", "nan", "0x10", "x",
           "3.14159265358979323846"}},
    {'p', {"*", "k*", "k?", "k[1-5]", "k[^1-5]*", "\\*", "*\n*", "", "?", "K*", "[", "k1[0-1]"}},
    {'0', {"0"}},
    {'m', {"match", "MATCH"}},
    {'N', {"count", "COUNT"}},
    {'T', {"type", "TYPE"}},
    {'y', {"string", "hash", "STRING", "", "foo"}},
    {'a', {"async", "SYNC", "foo", ""}},
    {'s', {"0", "00", "x", "-1", "99999", "99999999999", ""}},
    {'C', {"foo", "getx", "get"}},
    {'E', {"x", "", "-1", "1.5"}}, /* otherwise WAIT tells how many replicas there are */
    {'l', {"getname", "foo", "setname"}}, /* IDs differ */
    {'d', {"foo", "getkeys", "count2"}},
    {'h', {"1", "4", "x", "", "22222222222222222222"}},
};

static void random_time(struct argument *argument)
{
    static const char *const texts[] = {"-1", "0", "x", "", "100000", "200000", "1.5",
                                        "9223372036854775807", "9223372036854775", "-100000"};
    char text[32];
    const unsigned choice = below(18);
    if (choice < sizeof texts / sizeof texts[0]) {
        set_text(argument, texts[choice]);
        return;
    }
    const uint64_t later_ms = now_ms() + 1000000u + below(10) * 1000;
    (void)snprintf(text, sizeof text, "%llu",
                   (unsigned long long)(choice % 2 == 0 ? later_ms : later_ms / 1000));
    set_text(argument, text);
}

static void random_argument(struct argument *argument, char kind)
{
    if (kind == 'k') {
        random_key(argument);
        return;
    }
    if (kind == 't') {
        random_time(argument);
        return;
    }
    for (size_t i = 0; i < sizeof g_kinds / sizeof g_kinds[0]; i++) {
        if (g_kinds[i].kind == kind) {
            unsigned count = 0;
            while (count < 12 && g_kinds[i].texts[count] != NULL) {
                count++;
            }
            set_text(argument, g_kinds[i].texts[below(count)]);
            return;
        }
    }
    random_value(argument);
}

/* Returns the number of arguments; *chosen: which command. */
static size_t random_command(struct argument *args, size_t *chosen)
{
    unsigned total = 0;
    for (size_t i = 0; i < sizeof g_commands / sizeof g_commands[0]; i++) {
        total += g_commands[i].weight;
    }
    unsigned place = below(total);
    *chosen = 0;
    while (place >= g_commands[*chosen].weight) {
        place -= g_commands[*chosen].weight;
        ++*chosen;
    }
    size_t count = 1;
    set_name(&args[0], g_commands[*chosen].name);
    for (const char *kind = g_commands[*chosen].arguments; *kind != '\0'; kind++) {
        random_argument(&args[count++], *kind);
    }
    /* Alone, COMMAND and HELLO describe the server, and servers differ. */
    const bool describes = strpbrk(g_commands[*chosen].arguments, "dhCE") != NULL;
    if (below(30) == 0 && count > 1 && !describes) {
        count--;
    } else if (below(30) == 0 && count < ARGUMENTS_MAX && !describes) {
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

static redisReply *run(redisContext *context, const struct argument *args, size_t count)
{
    const char *texts[ARGUMENTS_MAX + 1];
    size_t lengths[ARGUMENTS_MAX + 1];
    for (size_t j = 0; j < count; j++) {
        texts[j] = args[j].data;
        lengths[j] = args[j].bytes;
    }
    return redisCommandArgv(context, (int)count, texts, lengths);
}

static int compare_texts(const void *a, const void *b)
{
    const redisReply *const *left = a;
    const redisReply *const *right = b;
    const size_t both = (size_t)((*left)->len < (*right)->len ? (*left)->len : (*right)->len);
    const int order = memcmp((*left)->str, (*right)->str, both);
    return order != 0 ? order : (int)(*left)->len - (int)(*right)->len;
}

static void sort_elements(redisReply *reply)
{
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
        qsort(reply->element, reply->elements, sizeof reply->element[0], compare_texts);
    }
}

/* Goes on with a scan to its end; all keys are put, sorted, into the first reply's array. Keys that
 * come twice (Redis may do that) count once. */
static void finish_scan(redisContext *context, redisReply *first, const struct argument *args,
                        size_t count)
{
    struct argument next[ARGUMENTS_MAX + 1];
    redisReply *keys = first->element[1];
    memcpy(next, args, count * sizeof args[0]);
    redisReply *last = first;
    while (strcmp(last->element[0]->str, "0") != 0) {
        set_text(&next[1], last->element[0]->str);
        if (last != first) {
            freeReplyObject(last);
        }
        last = run(context, next, count);
        assert_non_null(last);
        assert_int_equal(last->type, REDIS_REPLY_ARRAY);
        redisReply *more = last->element[1];
        keys->element =
            realloc(keys->element, (keys->elements + more->elements + 1) * sizeof keys->element[0]);
        assert_non_null(keys->element);
        for (size_t i = 0; i < more->elements; i++) {
            keys->element[keys->elements++] = more->element[i];
        }
        more->elements = 0;
    }
    if (last != first) {
        freeReplyObject(last);
    }
    sort_elements(keys);
    size_t kept = 0;
    for (size_t i = 0; i < keys->elements; i++) {
        if (kept > 0 && compare_texts(&keys->element[kept - 1], &keys->element[i]) == 0) {
            freeReplyObject(keys->element[i]);
        } else {
            keys->element[kept++] = keys->element[i];
        }
    }
    keys->elements = kept;
}

static bool both_are(const redisReply *const replies[2], int type)
{
    return replies[0]->type == type && replies[1]->type == type;
}

/* Limits differ, and each names its own. */
static bool both_too_long(const redisReply *const replies[2])
{
    static const char text[] = "ERR string exceeds maximum allowed size";
    return both_are(replies, REDIS_REPLY_ERROR) &&
           strncmp(replies[0]->str, text, sizeof text - 1) == 0 &&
           strncmp(replies[1]->str, text, sizeof text - 1) == 0;
}

static bool same(redisContext *const contexts[2], redisReply *replies[2], enum comparison kind,
                 const struct argument *args, size_t count)
{
    const redisReply *const both[2] = {replies[0], replies[1]};
    if (replies[0] == NULL || replies[1] == NULL || both_too_long(both)) {
        return replies[0] != NULL && replies[1] != NULL;
    }
    if (kind == TIMES && both_are(both, REDIS_REPLY_INTEGER) && replies[0]->integer > 0) {
        return llabs(replies[0]->integer - replies[1]->integer) <= TTL_TOLERANCE_MS;
    }
    if (kind == RANDOM && both_are(both, REDIS_REPLY_STRING)) {
        return true;
    }
    if (kind == SORTED) {
        sort_elements(replies[0]);
        sort_elements(replies[1]);
    }
    if (kind == SCAN && both_are(both, REDIS_REPLY_ARRAY)) {
        if (args[1].bytes != 1 || args[1].data[0] != '0') {
            return true; /* a cursor that nobody gave out */
        }
        finish_scan(contexts[0], replies[0], args, count);
        finish_scan(contexts[1], replies[1], args, count);
        return same_reply(replies[0]->element[1], replies[1]->element[1]);
    }
    return same_reply(replies[0], replies[1]);
}

static void print_difference(int number, const struct argument *args, size_t count,
                             redisReply *const replies[2])
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
    for (int i = 0; i < 2; i++) {
        const redisReply *reply = replies[i];
        print_error("\n%s: type %d %lld %zu elements %s", i == 0 ? "ours" : "redis",
                    reply != NULL ? reply->type : 0, reply != NULL ? reply->integer : 0,
                    reply != NULL ? reply->elements : 0,
                    reply != NULL && reply->str != NULL ? reply->str : "");
    }
    print_error("\n");
}

static void random_commands__same_replies(void **state)
{
    redisContext *const *contexts = *state;
    print_message("seed %u\n", g_seed);
    for (int i = 0; i < COMMANDS; i++) {
        struct argument args[ARGUMENTS_MAX + 1];
        size_t chosen;
        const size_t count = random_command(args, &chosen);
        if (g_commands[chosen].comparison == COUNTED) {
            freeReplyObject(redisCommand(contexts[1], "SCAN 0 COUNT 1000"));
        }
        redisReply *replies[2] = {run(contexts[0], args, count), run(contexts[1], args, count)};
        const bool equal =
            same(contexts, replies, g_commands[chosen].comparison, args, count);
        if (!equal) {
            print_difference(i, args, count, replies);
        }
        freeReplyObject(replies[0]);
        freeReplyObject(replies[1]);
        assert_true(equal);
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
