/*
 * Every command of the table through a real socket: the exact bytes of its replies in RESP2 and
 * RESP3, its errors, and that the table agrees with itself.
 */
#include "server/commands.h"
#include "tests/support/port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HELLO3_HEAD \
    "%7\r\n$6\r\nserver\r\n$8\r\nlockstep\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n"
#define HELLO_TAIL \
    "$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"

struct fixture {
    struct test_port port;
    int fd;
};

static int setup(void **state)
{
    static struct fixture fixture;
    test_port_start(&fixture.port, &(struct test_port_options){.connections_max = 16,
                                                               .command_bytes_max = 4096});
    fixture.fd = test_port_connect(&fixture.port);
    *state = &fixture;
    return 0;
}

static int setup_debug(void **state)
{
    static struct fixture fixture;
    test_port_start(&fixture.port, &(struct test_port_options){.connections_max = 16,
                                                               .command_bytes_max = 4096,
                                                               .debug_commands = true});
    fixture.fd = test_port_connect(&fixture.port);
    *state = &fixture;
    return 0;
}

static int setup_other(void **state)
{
    static struct fixture fixture;
    test_port_start(&fixture.port, &(struct test_port_options){.connections_max = 16,
                                                               .command_bytes_max = 4096,
                                                               .other_service = "bank"});
    fixture.fd = test_port_connect(&fixture.port);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    (void)close(fixture->fd);
    test_port_stop(&fixture->port);
    return 0;
}

#define EXPECT(request, answer) TEST_PORT_EXPECT(&f->port, f->fd, request "\r\n", answer)

static void connection_commands__resp2__replies(void **state)
{
    struct fixture *f = *state;
    EXPECT("PING", "+PONG\r\n");
    EXPECT("ping hello", "$5\r\nhello\r\n");
    EXPECT("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n");
    EXPECT("ECHO \"a\\x00b\"", "$3\r\na\0b\r\n");
    EXPECT("ECHO", "-ERR wrong number of arguments for 'echo' command\r\n");
    EXPECT("SELECT 0", "+OK\r\n");
    EXPECT("SELECT 1", "-ERR DB index is out of range\r\n");
    EXPECT("SELECT x", "-ERR value is not an integer or out of range\r\n");
    EXPECT("CLIENT ID", ":1\r\n");
    EXPECT("CLIENT GETNAME", "$-1\r\n");
    EXPECT("CLIENT SETNAME me", "+OK\r\n");
    EXPECT("CLIENT GETNAME", "$2\r\nme\r\n");
    EXPECT("CLIENT SETNAME \"\"", "+OK\r\n");
    EXPECT("CLIENT GETNAME", "$-1\r\n");
    EXPECT("CLIENT SETNAME \"a b\"",
           "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    EXPECT("CLIENT SETINFO LIB-NAME x", "+OK\r\n");
    EXPECT("CLIENT SETINFO lib-ver 1.0", "+OK\r\n");
    EXPECT("CLIENT SETINFO foo 1.0", "-ERR Unrecognized option 'foo'\r\n");
    EXPECT("CLIENT SETINFO lib-ver \"1 0\"",
           "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n");
    EXPECT("CLIENT NO-EVICT on", "+OK\r\n");
    EXPECT("CLIENT NO-EVICT maybe", "-ERR syntax error\r\n");
    EXPECT("CLIENT", "-ERR wrong number of arguments for 'client' command\r\n");
    EXPECT("CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command\r\n");
    EXPECT("CLIENT foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n");
}

static void hello__versions_and_options__replies(void **state)
{
    struct fixture *f = *state;
    EXPECT("HELLO", "*14\r\n$6\r\nserver\r\n$8\r\nlockstep\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"
                    "$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n" HELLO_TAIL);
    EXPECT("HELLO 3 SETNAME me", HELLO3_HEAD ":3\r\n$2\r\nid\r\n:1\r\n" HELLO_TAIL);
    EXPECT("CLIENT GETNAME", "$2\r\nme\r\n");
    EXPECT("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    EXPECT("HELLO 1", "-NOPROTO unsupported protocol version\r\n");
    EXPECT("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n");
    EXPECT("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n");
    EXPECT("HELLO 2 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n");
    EXPECT("HELLO 2 AUTH default secret",
           "-WRONGPASS this server knows no users and passwords; connect without them\r\n");
    EXPECT("GET missing", "_\r\n"); /* refused HELLOs changed nothing */
    EXPECT("CLIENT SETNAME \"\"", "+OK\r\n");
    EXPECT("CLIENT GETNAME", "_\r\n");
    TEST_PORT_EXPECT_CLOSE(&f->port, f->fd, "QUIT\r\nPING\r\n", "+OK\r\n");
    f->fd = test_port_connect(&f->port);
}

static void string_commands__resp2__replies(void **state)
{
    struct fixture *f = *state;
    EXPECT("GET a", "$-1\r\n");
    EXPECT("SET a 1", "+OK\r\n");
    EXPECT("GET a", "$1\r\n1\r\n");
    EXPECT("SET a 2 NX", "$-1\r\n");
    EXPECT("SET b 2 xx", "$-1\r\n");
    EXPECT("SET a 2 XX", "+OK\r\n");
    EXPECT("SET a 3 GET", "$1\r\n2\r\n");
    EXPECT("SET a 4 NX GET", "$1\r\n3\r\n");
    EXPECT("GET a", "$1\r\n3\r\n");
    EXPECT("SET c 4 get nx", "$-1\r\n");
    EXPECT("SET d 4 XX GET", "$-1\r\n");
    EXPECT("EXISTS a b c d c", ":3\r\n");
    EXPECT("SET a 1 NX XX", "-ERR syntax error\r\n");
    EXPECT("SET a 1 EX", "-ERR syntax error\r\n");
    EXPECT("SET a 1 EX 10 KEEPTTL", "-ERR syntax error\r\n");
    EXPECT("SET a", "-ERR wrong number of arguments for 'set' command\r\n");
    EXPECT("SET \"\" \"\"", "+OK\r\n");
    EXPECT("GET \"\"", "$0\r\n\r\n");
    EXPECT("DBSIZE", ":3\r\n");
    EXPECT("DEL a a c nothing", ":2\r\n");
    EXPECT("APPEND s abc", ":3\r\n");
    EXPECT("APPEND s \"\\x00\\r\\n\"", ":6\r\n");
    EXPECT("GET s", "$6\r\nabc\0\r\n\r\n");
    EXPECT("STRLEN s", ":6\r\n");
    EXPECT("STRLEN nothing", ":0\r\n");
    EXPECT("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n");
    EXPECT("FLUSHALL later", "-ERR syntax error\r\n");
    EXPECT("FLUSHALL ASYNC SYNC", "-ERR syntax error\r\n");
    EXPECT("FLUSHALL async", "+OK\r\n");
    EXPECT("DBSIZE", ":0\r\n");
    EXPECT("FLUSHALL SYNC", "+OK\r\n");
    EXPECT("FLUSHALL", "+OK\r\n");
}

static void integer_commands__bounds__replies(void **state)
{
    struct fixture *f = *state;
    EXPECT("INCR n", ":1\r\n");
    EXPECT("DECR n", ":0\r\n");
    EXPECT("DECR n", ":-1\r\n");
    EXPECT("INCRBY n 10", ":9\r\n");
    EXPECT("INCRBY n -9", ":0\r\n");
    EXPECT("GET n", "$1\r\n0\r\n");
    EXPECT("INCRBY n x", "-ERR value is not an integer or out of range\r\n");
    EXPECT("INCRBY n 1.0", "-ERR value is not an integer or out of range\r\n");
    EXPECT("INCRBY n +1", "-ERR value is not an integer or out of range\r\n");
    EXPECT("INCRBY n 01", "-ERR value is not an integer or out of range\r\n");
    EXPECT("INCRBY n 9223372036854775808", "-ERR value is not an integer or out of range\r\n");
    EXPECT("SET n 9223372036854775807", "+OK\r\n");
    EXPECT("INCR n", "-ERR increment or decrement would overflow\r\n");
    EXPECT("INCRBY n -9223372036854775808", ":-1\r\n");
    EXPECT("SET n -9223372036854775808", "+OK\r\n");
    EXPECT("DECR n", "-ERR increment or decrement would overflow\r\n");
    EXPECT("SET n \"1 \"", "+OK\r\n");
    EXPECT("INCR n", "-ERR value is not an integer or out of range\r\n");
    EXPECT("SET n \"\"", "+OK\r\n");
    EXPECT("INCR n", "-ERR value is not an integer or out of range\r\n");
    EXPECT("GET n", "$0\r\n\r\n");
}

static void string_commands__resp3__nulls_and_arrays(void **state)
{
    struct fixture *f = *state;
    EXPECT("HELLO 3", HELLO3_HEAD ":3\r\n$2\r\nid\r\n:1\r\n" HELLO_TAIL);
    EXPECT("GET a", "_\r\n");
    EXPECT("SET a 1 XX", "_\r\n");
    EXPECT("SET a 1 GET", "_\r\n");
    EXPECT("SET a 2 NX", "_\r\n");
    EXPECT("SET a 2 GET", "$1\r\n1\r\n");
    EXPECT("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n");
    EXPECT("INFO lockstep", "=27\r\ntxt:# Lockstep\r\nrole:test\r\n\r\n");
    EXPECT("INFO nothing", "=4\r\ntxt:\r\n");
    EXPECT("COMMAND INFO ping nothing",
           "*2\r\n*10\r\n$4\r\nping\r\n:-1\r\n~1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n"
           "~2\r\n+@fast\r\n+@connection\r\n~0\r\n~0\r\n*0\r\n_\r\n");
}

static void connection__settings_reset_wait__replies(void **state)
{
    struct fixture *f = *state;
    EXPECT("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
    EXPECT("config get SAVE appendonl? nothing",
           "*4\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n$4\r\nsave\r\n$0\r\n\r\n");
    EXPECT("CONFIG GET proto-max-bulk-len maxclients",
           "*4\r\n$10\r\nmaxclients\r\n$2\r\n16\r\n$18\r\nproto-max-bulk-len\r\n$4\r\n4096\r\n");
    EXPECT("CONFIG GET nothing", "*0\r\n");
    EXPECT("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command\r\n");
    EXPECT("CONFIG SET save x", "-ERR unknown subcommand 'SET'. Try CONFIG HELP.\r\n");
    EXPECT("HELLO 3 SETNAME me",
           HELLO3_HEAD ":3\r\n$2\r\nid\r\n:1\r\n" HELLO_TAIL);
    EXPECT("CONFIG GET save", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n");
    EXPECT("RESET", "+RESET\r\n");
    EXPECT("CLIENT GETNAME", "$-1\r\n");
    EXPECT("RESET x", "-ERR wrong number of arguments for 'reset' command\r\n");
    EXPECT("WAIT 1 0", ":0\r\n");
    f->port.followers = 2;
    EXPECT("WAIT 1 0", ":2\r\n");
    EXPECT("WAIT x 0", "-ERR value is not an integer or out of range\r\n");
    EXPECT("WAIT 1 x", "-ERR timeout is not an integer or out of range\r\n");
    EXPECT("WAIT 1 -1", "-ERR timeout is negative\r\n");
}

static void debug__not_allowed__says_how_to_allow_it(void **state)
{
    struct fixture *f = *state;
    EXPECT("DEBUG BURN 1 a", "-ERR DEBUG is not allowed: set `debug_commands: yes` in the "
                             "configuration and restart this replica\r\n");
    EXPECT("EXISTS a", ":0\r\n");
}

/* Its bytes would mean something else to that service. */
static void other_service__commands_of_the_key_value_service_refused(void **state)
{
    struct fixture *f = *state;
    EXPECT("SET a b", "-ERR this cluster replicates 'bank': its commands come by the client "
                      "library, not over this port\r\n");
    EXPECT("PING", "+PONG\r\n");
    assert_int_equal(f->port.submitted, 0);
}

static void debug__allowed__burns_and_writes(void **state)
{
    struct fixture *f = *state;
    EXPECT("DEBUG BURN 50 a b", "+OK\r\n");
    EXPECT("STRLEN a", ":16\r\n");
    EXPECT("EXISTS a b", ":2\r\n");
    EXPECT("DEBUG BURN 0 c", "+OK\r\n");
    EXPECT("DEBUG BURN 10001 a", "-ERR 10001 microseconds: 0 to 10000 can be burnt\r\n");
    EXPECT("DEBUG BURN -1 a", "-ERR -1 microseconds: 0 to 10000 can be burnt\r\n");
    EXPECT("DEBUG BURN x a", "-ERR value is not an integer or out of range\r\n");
    EXPECT("DEBUG BURN 1", "-ERR wrong number of arguments for 'debug|burn' command\r\n");
    EXPECT("DEBUG SLEEP 1", "-ERR unknown subcommand 'SLEEP'. Try DEBUG HELP.\r\n");
}

static void unknown__quoted_as_redis_does(void **state)
{
    struct fixture *f = *state;
    EXPECT("foo", "-ERR unknown command 'foo', with args beginning with: \r\n");
    EXPECT("FOO a \"b c\"", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b c' \r\n");
    EXPECT("FOO \"a\\r\\nb\"", "-ERR unknown command 'FOO', with args beginning with: 'a  b' \r\n");
    EXPECT("\"\"", "-ERR unknown command '', with args beginning with: \r\n");
    EXPECT("\"client|id\"",
           "-ERR unknown command 'client|id', with args beginning with: \r\n");
    EXPECT("MULTI", "-ERR unknown command 'MULTI', with args beginning with: \r\n");
    EXPECT("averyveryverylongcommandname x",
           "-ERR unknown command 'averyveryverylongcommandname', with args beginning with: 'x' "
           "\r\n");
}

static void command__subcommands__replies(void **state)
{
    struct fixture *f = *state;
    size_t rows_count;
    size_t commands = 0;
    const struct lks_command_row *rows = lks_commands_rows(&rows_count);
    for (size_t i = 0; i < rows_count; i++) {
        commands += strchr(rows[i].name, '|') == NULL ? 1 : 0;
    }
    char count[32];
    (void)snprintf(count, sizeof count, ":%zu\r\n", commands);
    test_port_expect(&f->port, f->fd, "COMMAND COUNT\r\n", 15, count, strlen(count));
    EXPECT("COMMAND COUNT x", "-ERR wrong number of arguments for 'command|count' command\r\n");
    EXPECT("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\r\n");
    EXPECT("COMMAND DOCS get nothing",
           "*2\r\n$3\r\nget\r\n*8\r\n$7\r\nsummary\r\n$22\r\nGet the value of a key\r\n"
           "$5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n"
           "$10\r\ncomplexity\r\n$4\r\nO(1)\r\n");
    EXPECT("COMMAND INFO get",
           "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
           "*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n"
           "*2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
           "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n"
           "$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n"
           "$5\r\nlimit\r\n:0\r\n*0\r\n");
    EXPECT("COMMAND INFO client|id",
           "*1\r\n*10\r\n$9\r\nclient|id\r\n:2\r\n*0\r\n:0\r\n:0\r\n:0\r\n*2\r\n+@slow\r\n"
           "+@connection\r\n*0\r\n*0\r\n*0\r\n");
    EXPECT("COMMAND GETKEYS set a b", "*1\r\n$1\r\na\r\n");
    EXPECT("COMMAND GETKEYS del a b c", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    EXPECT("COMMAND GETKEYS ping x", "-ERR The command has no key arguments\r\n");
    EXPECT("COMMAND GETKEYS foo x", "-ERR Invalid command specified\r\n");
    EXPECT("COMMAND GETKEYS get a b",
           "-ERR Invalid number of arguments specified for command\r\n");
    EXPECT("COMMAND LIST FILTERBY MODULE x", "*0\r\n");
    EXPECT("COMMAND LIST FOO", "-ERR syntax error\r\n");
}

static void value__beyond_limit__clear_error_and_in_step(void **state)
{
    struct fixture *f = *state;
    char request[12000];
    int bytes = sprintf(request, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000\r\n%05000d\r\nPING\r\n", 0);
    static const char too_long[] =
        "-ERR value of 5000 bytes exceeds the entry limit of 4096 bytes (entry_max in the "
        "configuration)\r\n+PONG\r\n";
    test_port_expect(&f->port, f->fd, request, (size_t)bytes, too_long, sizeof too_long - 1);
    bytes = sprintf(request, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4096\r\n%04096d\r\nPING\r\n", 0);
    static const char encoded_too_long[] =
        "-ERR command of 4100 bytes exceeds the entry limit of 4096 bytes (entry_max in the "
        "configuration)\r\n+PONG\r\n";
    test_port_expect(&f->port, f->fd, request, (size_t)bytes, encoded_too_long,
                     sizeof encoded_too_long - 1);
    bytes = sprintf(request, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4092\r\n%04092d\r\n", 0);
    test_port_expect(&f->port, f->fd, request, (size_t)bytes, "+OK\r\n", 5);
    EXPECT("APPEND k 12345", "-ERR string exceeds maximum allowed size (entry_max)\r\n");
    EXPECT("APPEND k 1234", ":4096\r\n");
    EXPECT("STRLEN k", ":4096\r\n");
}

/* Every row is found by its name, COMMAND describes all of them, and RESP3 is well formed. */
static void table__every_row__found(void **state)
{
    (void)state;
    size_t count;
    lks_commands_prepare();
    const struct lks_command_row *rows = lks_commands_rows(&count);
    for (size_t i = 0; i < count; i++) {
        const struct lks_argument name = {rows[i].name, strlen(rows[i].name)};
        const char *bar = strchr(rows[i].name, '|');
        if (bar == NULL) {
            assert_ptr_equal(lks_commands_find(&name), &rows[i]);
            assert_true(i == 0 || strcmp(rows[i - 1].name, rows[i].name) < 0);
            continue;
        }
        const struct lks_argument container = {rows[i].name, (size_t)(bar - rows[i].name)};
        const struct lks_argument sub = {bar + 1, strlen(bar + 1)};
        assert_null(lks_commands_find(&name));
        assert_ptr_equal(lks_commands_find_sub(lks_commands_find(&container), &sub), &rows[i]);
    }
}

static void long_replies__both_protocols__end_in_step(void **state)
{
    struct fixture *f = *state;
    static const char *const requests[] = {"COMMAND\r\n",      "COMMAND DOCS\r\n",
                                           "COMMAND INFO\r\n", "COMMAND LIST\r\n",
                                           "INFO\r\n",         "INFO server clients foo\r\n",
                                           "INFO everything\r\n", "CLIENT LIST\r\n",
                                           "CLIENT INFO\r\n",  "CLIENT HELP\r\n",
                                           "COMMAND HELP\r\n"};
    static char got[256 << 10];
    for (int protocol = 2; protocol <= 3; protocol++) {
        for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
            assert_true(test_port_send(&f->port, f->fd, requests[i], strlen(requests[i])));
            assert_true(test_port_send(&f->port, f->fd, "ECHO end\r\n", 10));
            const size_t bytes =
                test_port_receive(&f->port, f->fd, got, sizeof got, 5, NULL);
            assert_true(bytes > 60);
            assert_memory_equal(got + bytes - 9, "$3\r\nend\r\n", 9);
            assert_true(got[0] != '-');
        }
        assert_true(test_port_send(&f->port, f->fd, "HELLO 3\r\n", 9));
        (void)test_port_receive(&f->port, f->fd, got, sizeof got, 5, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connection_commands__resp2__replies, setup, teardown),
        cmocka_unit_test_setup_teardown(hello__versions_and_options__replies, setup, teardown),
        cmocka_unit_test_setup_teardown(string_commands__resp2__replies, setup, teardown),
        cmocka_unit_test_setup_teardown(integer_commands__bounds__replies, setup, teardown),
        cmocka_unit_test_setup_teardown(string_commands__resp3__nulls_and_arrays, setup, teardown),
        cmocka_unit_test_setup_teardown(connection__settings_reset_wait__replies, setup, teardown),
        cmocka_unit_test_setup_teardown(debug__not_allowed__says_how_to_allow_it, setup, teardown),
        cmocka_unit_test_setup_teardown(debug__allowed__burns_and_writes, setup_debug, teardown),
        cmocka_unit_test_setup_teardown(other_service__commands_of_the_key_value_service_refused,
                                        setup_other, teardown),
        cmocka_unit_test_setup_teardown(unknown__quoted_as_redis_does, setup, teardown),
        cmocka_unit_test_setup_teardown(command__subcommands__replies, setup, teardown),
        cmocka_unit_test_setup_teardown(value__beyond_limit__clear_error_and_in_step, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(long_replies__both_protocols__end_in_step, setup,
                                        teardown),
        cmocka_unit_test(table__every_row__found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
