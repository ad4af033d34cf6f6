/* The configuration: defaults, every error's sentence, and the way to disk and back. */
#include "node/config.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ID "id: 00112233-4455-6677-8899-aabbccddeeff\n"
#define REPLICA(id, port) \
    "  - id: " id "\n    journal: r" id ".journal\n    listen: 127.0.0.1:" port "\n"
#define THREE "replicas:\n" REPLICA("1", "7001") REPLICA("2", "7002") REPLICA("3", "7003")
#define GOOD "name: demo\n" ID THREE

static int parse(const char *text, struct lks_config *config, struct lks_error *err)
{
    *err = (struct lks_error){0};
    return lks_config_parse(config, text, strlen(text), "cluster.yaml", err);
}

static void expect_error(const char *text, const char *expected)
{
    struct lks_config config;
    struct lks_error err;
    memset(&config, 0x5a, sizeof config);
    struct lks_config before = config;
    assert_int_equal(parse(text, &config, &err), -LKS_ECONFIG);
    assert_int_equal(err.code, -LKS_ECONFIG);
    assert_string_equal(err.text, expected);
    assert_memory_equal(&config, &before, sizeof config);
}

static void parse__only_what_is_needed__gives_the_documented_defaults(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err;
    assert_int_equal(parse(GOOD, &config, &err), 0);
    assert_string_equal(config.name, "demo");
    assert_int_equal(config.cluster_id[0], 0x00);
    assert_int_equal(config.cluster_id[15], 0xff);
    assert_string_equal(config.directory, ".");
    assert_int_equal(config.durability, LKS_DURABILITY_AUTO);
    assert_int_equal(config.ring_bytes, 64 << 20);
    assert_int_equal(config.entry_bytes_max, 512 << 10);
    assert_int_equal(config.spin_ns, LKS_CONFIG_SPIN_AUTO);
    assert_false(config.busy_poll);
    assert_int_equal(config.log_level, LKS_LOG_INFO);
    assert_int_equal(config.connections_max, 10240);
    assert_int_equal(config.pending_bytes_max, 32 << 20);
    assert_int_equal(config.client_answers_bytes_max, 128 << 20);
    assert_int_equal(config.election_timeout_ns, 25000000);
    assert_int_equal(config.heartbeat_ns, 5000000);
    assert_int_equal(config.silent_writer_ns, 10000000);
    assert_int_equal(config.replicas_count, 3);
    assert_string_equal(config.replicas[2].journal, "r2.journal");
    assert_string_equal(config.replicas[2].snapshots, "r2.journal.snapshots");
    assert_int_equal(config.snapshots_bytes_max, UINT64_C(4) << 30);
    assert_int_equal(config.scheduler, LKS_SEQUENTIAL);
    assert_int_equal(config.workers, 0);
    assert_false(config.debug_commands);
    assert_string_equal(config.replicas[2].address, "127.0.0.1");
    assert_int_equal(config.replicas[2].port, 7002);
}

static void parse__every_key__is_taken(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err;
    const char *text = "{name: all, id: 00112233445566778899AABBCCDDEEFF, directory: /run/x,\n"
                       " fabric: shm, durability: memory, ring: 1G, entry_max: 64KiB, spin: 0,\n"
                       " busy_poll: yes, log: debug, connections_max: 5, pending_max: 1MB,\n"
                       " client_answers_max: 1G,\n"
                       " debug_commands: yes, scheduler: {kind: adaptive, workers: 7},\n"
                       " timing: {election_timeout: 1s, heartbeat: 100ms, silent_writer: 20ms},\n"
                       " replicas: [{id: 1, journal: /j/1, listen: '[::1]:7001'}]}\n";
    assert_int_equal(parse(text, &config, &err), 0);
    assert_string_equal(config.directory, "/run/x");
    assert_int_equal(config.durability, LKS_DURABILITY_MEMORY);
    assert_int_equal(config.ring_bytes, 1 << 30);
    assert_int_equal(config.entry_bytes_max, 64 << 10);
    assert_int_equal(config.spin_ns, 0);
    assert_true(config.busy_poll);
    assert_int_equal(config.log_level, LKS_LOG_DEBUG);
    assert_int_equal(config.connections_max, 5);
    assert_int_equal(config.pending_bytes_max, 1 << 20);
    assert_int_equal(config.client_answers_bytes_max, 1 << 30);
    assert_int_equal(config.election_timeout_ns, 1000000000);
    assert_int_equal(config.heartbeat_ns, 100000000);
    assert_int_equal(config.silent_writer_ns, 20000000);
    assert_int_equal(config.scheduler, LKS_ADAPTIVE);
    assert_int_equal(config.workers, 7);
    assert_true(config.debug_commands);
    assert_string_equal(config.replicas[1].address, "::1");
    assert_string_equal(config.replicas[1].journal, "/j/1");
}

static void parse__file_in_a_folder__relative_paths_begin_there(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err = {0};
    const char *text = "directory: sockets\n" GOOD;
    assert_int_equal(lks_config_parse(&config, text, strlen(text), "/etc/a/c.yaml", &err), 0);
    assert_string_equal(config.directory, "/etc/a/sockets");
    assert_string_equal(config.replicas[3].journal, "/etc/a/r3.journal");
    assert_int_equal(lks_config_parse(&config, GOOD, strlen(GOOD), "/etc/a/c.yaml", &err), 0);
    assert_string_equal(config.directory, "/etc/a");
}

static void parse__scheduler__each_bad_value_is_named(void **state)
{
    (void)state;
    expect_error(GOOD "scheduler:\n  kind: lazy\n  workers: 2\n",
                 "cluster.yaml:14: scheduler.kind: scheduler lazy: is one of sequential, early, "
                 "late, hybrid, adaptive");
    expect_error(GOOD "scheduler:\n  kind: late\n",
                 "cluster.yaml:14: scheduler.kind: 'late' needs workers: give scheduler.workers 1 "
                 "to 63, or kind sequential");
    expect_error(GOOD "scheduler:\n  workers: 64\n",
                 "cluster.yaml:14: scheduler.workers: '64' is out of range: must be 0 to 63");
    expect_error(GOOD "scheduler:\n  workers: some\n",
                 "cluster.yaml:14: scheduler.workers: 'some' is not a whole number");
}

static void parse__not_yaml__names_the_line(void **state)
{
    (void)state;
    expect_error("name: demo\nreplicas: [1, 2\n",
                 "cluster.yaml:3: not YAML: did not find expected ',' or ']', while parsing a flow "
                 "sequence");
    expect_error("", "cluster.yaml:1: the file is empty");
    expect_error("- 1\n", "cluster.yaml:1: Expecting MAPPING, got event: SEQUENCE_START");
}

static void parse__unknown_key__is_named_with_its_line(void **state)
{
    (void)state;
    expect_error("nam: demo\n" ID THREE, "cluster.yaml:1: nam: unknown key: correct or remove it");
    expect_error(GOOD "timing:\n  heartbeet: 5ms\n",
                 "cluster.yaml:14: timing.heartbeet: unknown key: correct or remove it");
    expect_error("name: demo\n" ID "replicas:\n" REPLICA("1", "7001") "    port: 1\n",
                 "cluster.yaml:7: replicas[0].port: unknown key: correct or remove it");
}

static void parse__wrong_shape__is_named_with_its_line(void **state)
{
    (void)state;
    expect_error(GOOD "ring: [1]\n",
                 "cluster.yaml:13: ring: Expecting STRING, got event: SEQUENCE_START");
    expect_error("name: a\nname: b\n" ID THREE,
                 "cluster.yaml:1: name: Mapping field already seen: name");
}

static void parse__missing_keys__are_named(void **state)
{
    (void)state;
    expect_error(ID THREE, "cluster.yaml:1: name is missing: write `name: demo`");
    expect_error("name: a\n" THREE, "cluster.yaml:1: id is missing: 32 hexadecimal digits, new for "
                                    "each cluster");
    expect_error("name: a\n" ID, "cluster.yaml:1: replicas are missing: give 1 to 7");
    expect_error("name: a\n" ID "replicas:\n  - id: 1\n    journal: x\n",
                 "cluster.yaml:4: replicas[0]: listen is missing");
    expect_error("name: a\n" ID "replicas:\n  - id: 1\n    listen: x\n",
                 "cluster.yaml:4: replicas[0]: journal is missing");
    expect_error("name: a\n" ID "replicas:\n  - listen: x\n",
                 "cluster.yaml:4: replicas[0]: id is missing");
}

static void parse__bad_identity__says_what_is_allowed(void **state)
{
    (void)state;
    expect_error("name: Demo\n" ID THREE,
                 "cluster.yaml:1: name: 'Demo' may hold a-z, 0-9 and - only");
    expect_error("name: ''\n" ID THREE,
                 "cluster.yaml:1: name: '' must have 1 to 32 characters");
    expect_error("name: a\nid: 0011\n" THREE,
                 "cluster.yaml:2: id: '0011' is not 32 hexadecimal digits");
    expect_error("directory: ''\n" GOOD, "cluster.yaml:1: directory: a path must not be empty");
    char text[512];
    char expected[512];
    char longest[110];
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    (void)snprintf(text, sizeof text, "directory: %s\n%s", longest, GOOD);
    (void)snprintf(expected, sizeof expected,
                   "cluster.yaml:1: directory: '%s' has more than 99 bytes, too long for a "
                   "socket's name: use a shorter path",
                   longest);
    expect_error(text, expected);
}

static void parse__bad_modes__say_what_is_allowed(void **state)
{
    (void)state;
    expect_error(GOOD "fabric: tcp\n",
                 "cluster.yaml:13: fabric: 'tcp' is unknown: use shm or rdma");
    expect_error(GOOD "durability: pmem-read\n",
                 "cluster.yaml:13: durability: 'pmem-read' needs an RDMA fabric: use auto, memory, "
                 "writer-flush or pmem-ack");
    expect_error(GOOD "durability: most\n",
                 "cluster.yaml:13: durability: 'most' is unknown: use auto, memory, writer-flush "
                 "or pmem-ack");
    expect_error(GOOD "log: loud\n",
                 "cluster.yaml:13: log: 'loud' is unknown: use error, warn, info or debug");
    expect_error(GOOD "busy_poll: 2\n",
                 "cluster.yaml:13: busy_poll: '2' is neither yes nor no");
}

#define KEY_TEXT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1EfF"

static void parse__rdma__needs_a_key_and_addresses(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err;
    expect_error(GOOD "fabric: rdma\n",
                 "cluster.yaml:1: cluster_key is missing: with `fabric: rdma` give 64 hexadecimal "
                 "digits, the same for all replicas and secret (`openssl rand -hex 32` makes "
                 "some)");
    expect_error(GOOD "fabric: rdma\ncluster_key: 12\n",
                 "cluster.yaml:14: cluster_key: it is not 64 hexadecimal digits");
    expect_error(GOOD "fabric: rdma\ncluster_key: " KEY_TEXT "\n",
                 "cluster.yaml:4: replicas[0].rdma: it is missing: with `fabric: rdma` give the "
                 "address of an RDMA port, and a port of its own");
    assert_int_equal(parse("name: demo\n" ID "fabric: rdma\ncluster_key: " KEY_TEXT "\n"
                           "durability: pmem-read\n"
                           "replicas:\n  - {id: 1, journal: a, listen: '127.0.0.1:7001', "
                           "rdma: '10.0.0.1:7101'}\n",
                           &config, &err),
                     0);
    assert_int_equal(config.fabric, LKS_CONFIG_FABRIC_RDMA);
    assert_int_equal(config.durability, LKS_DURABILITY_PMEM_READ);
    assert_int_equal(config.cluster_key[1], 1);
    assert_int_equal(config.cluster_key[30], 0x1e);
    assert_int_equal(config.cluster_key[31], 0xff);
    assert_string_equal(config.replicas[1].rdma_address, "10.0.0.1");
    /* Files of the same names, on different hosts; but not on one. */
    assert_int_equal(parse("name: demo\n" ID "fabric: rdma\ncluster_key: " KEY_TEXT "\n"
                           "replicas:\n"
                           "  - {id: 1, journal: a, listen: '10.0.0.1:7001', "
                           "rdma: '10.0.0.1:7101'}\n"
                           "  - {id: 2, journal: a, listen: '10.0.0.2:7001', "
                           "rdma: '10.0.0.2:7101'}\n",
                           &config, &err),
                     0);
    expect_error("name: demo\n" ID "fabric: rdma\ncluster_key: " KEY_TEXT "\n"
                 "replicas:\n"
                 "  - {id: 1, journal: a, listen: '10.0.0.1:7001', rdma: '10.0.0.1:7101'}\n"
                 "  - {id: 2, journal: a, listen: '10.0.0.1:7002', rdma: '10.0.0.1:7102'}\n",
                 "cluster.yaml:7: replicas[1].journal: 'a' is replica 1's journal too: give each "
                 "its own");
    expect_error("name: demo\n" ID "fabric: rdma\ncluster_key: " KEY_TEXT "\n"
                 "replicas:\n"
                 "  - {id: 1, journal: a, listen: '10.0.0.1:7001', rdma: '10.0.0.1:7101'}\n"
                 "  - {id: 2, journal: b, listen: '10.0.0.1:7002', rdma: '10.0.0.1:7101'}\n",
                 "cluster.yaml:7: replicas[1].rdma: '10.0.0.1:7101' is replica 1's address too: "
                 "give each its own");
    assert_int_equal(parse("name: demo\n" ID "fabric: rdma\ncluster_key: " KEY_TEXT "\n"
                           "replicas:\n  - {id: 1, journal: a, listen: '127.0.0.1:7001', "
                           "rdma: '10.0.0.1:7101'}\n",
                           &config, &err),
                     0);
    assert_int_equal(config.replicas[1].rdma_port, 7101);
}

#define RDMA_ONE                                                     \
    "name: demo\n" ID "fabric: rdma\ncluster_key: " KEY_TEXT "\n"     \
    "replicas:\n  - {id: 1, journal: a, listen: '127.0.0.1:7001', " \
    "rdma: '10.0.0.1:7101'}\n"

#define CLIENT_KEY_TEXT "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"

static void parse__client_key__taken_if_it_is_another_and_its_port_is_free(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err;
#define WITH_CLIENTS(key, ports)                                                          \
    "name: demo\n" ID "fabric: rdma\ncluster_key: " KEY_TEXT "\nclient_key: " key "\n"    \
    "replicas:\n  - {id: 1, journal: a, listen: '127.0.0.1:7001', rdma: '10.0.0.1:7101'}\n" \
    "  - {id: 2, journal: b, " ports "}\n"
    assert_int_equal(parse(WITH_CLIENTS(CLIENT_KEY_TEXT,
                                        "listen: '127.0.0.1:7002', rdma: '10.0.0.1:7102'"),
                           &config, &err),
                     0);
    assert_true(config.takes_clients);
    assert_int_equal(config.client_key[0], 0xff);
    expect_error(WITH_CLIENTS("12", "listen: '127.0.0.1:7002', rdma: '10.0.0.1:7102'"),
                 "cluster.yaml:5: client_key: it is not 64 hexadecimal digits");
    expect_error(WITH_CLIENTS(KEY_TEXT, "listen: '127.0.0.1:7002', rdma: '10.0.0.1:7102'"),
                 "cluster.yaml:5: client_key: it is the cluster_key: give clients another one "
                 "(`openssl rand -hex 32`), else each can pass for a replica");
    expect_error(WITH_CLIENTS(CLIENT_KEY_TEXT,
                              "listen: '127.0.0.2:7101', rdma: '10.0.0.1:7102'"),
                 "cluster.yaml:8: replicas[1].listen: clients over RDMA call 10.0.0.1 at the port "
                 "of `listen`, 7101, which is in use by replica 1: choose another port there");
    expect_error(WITH_CLIENTS(CLIENT_KEY_TEXT,
                              "listen: '127.0.0.2:7001', rdma: '10.0.0.1:7102'"),
                 "cluster.yaml:8: replicas[1].listen: clients over RDMA call 10.0.0.1 at the port "
                 "of `listen`, 7001, which is in use by replica 1: choose another port there");
    assert_int_equal(parse(WITH_CLIENTS(CLIENT_KEY_TEXT,
                                        "listen: '127.0.0.2:7101', rdma: '10.0.0.2:7102'"),
                           &config, &err),
                     0);
    expect_error(GOOD "client_key: " CLIENT_KEY_TEXT "\n",
                 "cluster.yaml:13: client_key: it is for `fabric: rdma`, but the fabric is shm, "
                 "where clients are the replicas' user: leave it out");
    assert_int_equal(parse(RDMA_ONE, &config, &err), 0);
    assert_false(config.takes_clients);
#undef WITH_CLIENTS
}

static void parse__rdma_keys__are_taken_and_have_defaults(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err;
    assert_int_equal(parse(RDMA_ONE, &config, &err), 0);
    assert_int_equal(config.rdma.traffic_class, 0);
    assert_int_equal(config.rdma.service_level, 0);
    assert_int_equal(config.rdma.pkey, 0);
    assert_int_equal(config.rdma.gid_index, LKS_CONFIG_GID_AUTO);
    assert_int_equal(config.rdma.ack_timeout_ns, 33000000);
    assert_int_equal(config.rdma.retries, 6);
    assert_false(config.rdma.direct_write_asserted);
    assert_int_equal(parse(RDMA_ONE "rdma: {traffic_class: 104, service_level: 3, pkey: 0x8012, "
                                    "gid_index: 5, ack_timeout: 4ms, retries: 7, "
                                    "direct_write_to_pmem: asserted}\n",
                           &config, &err),
                     0);
    assert_int_equal(config.rdma.traffic_class, 104);
    assert_int_equal(config.rdma.service_level, 3);
    assert_int_equal(config.rdma.pkey, 0x8012);
    assert_int_equal(config.rdma.gid_index, 5);
    assert_int_equal(config.rdma.ack_timeout_ns, 4000000);
    assert_int_equal(config.rdma.retries, 7);
    assert_true(config.rdma.direct_write_asserted);
    assert_int_equal(parse(RDMA_ONE "rdma: {gid_index: auto, direct_write_to_pmem: no}\n", &config,
                           &err),
                     0);
    assert_int_equal(config.rdma.gid_index, LKS_CONFIG_GID_AUTO);
    assert_false(config.rdma.direct_write_asserted);
}

static void parse__bad_rdma_keys__name_line_value_and_way_out(void **state)
{
    (void)state;
    expect_error(GOOD "rdma:\n  retries: 3\n",
                 "cluster.yaml:13: rdma: it is for `fabric: rdma`, but the fabric is shm: choose "
                 "the fabric, or remove it");
    expect_error(RDMA_ONE "rdma:\n  pkey: 0\n",
                 "cluster.yaml:8: rdma.pkey: '0' is not a partition key such as 0x8001, 0x1 to "
                 "0xffff: `cat /sys/class/infiniband/*/ports/*/pkeys/*` shows a port's");
    expect_error(RDMA_ONE "rdma:\n  gid_index: first\n",
                 "cluster.yaml:8: rdma.gid_index: 'first' is neither auto nor 0 to 255: `rdma "
                 "link` and /sys/class/infiniband/*/ports/*/gids show a port's");
    expect_error(RDMA_ONE "rdma:\n  direct_write_to_pmem: yes\n",
                 "cluster.yaml:8: rdma.direct_write_to_pmem: 'yes' is unknown: use no, or asserted "
                 "if every adapter's writes go past the processors' caches");
    expect_error(RDMA_ONE "rdma:\n  service_level: 16\n",
                 "cluster.yaml:8: rdma.service_level: '16' is out of range: must be 0 to 15");
    expect_error(RDMA_ONE "rdma:\n  traffic_class: 256\n",
                 "cluster.yaml:8: rdma.traffic_class: '256' is out of range: must be 0 to 255");
    expect_error(RDMA_ONE "rdma:\n  retries: 0\n",
                 "cluster.yaml:8: rdma.retries: '0' is out of range: must be 1 to 7");
    expect_error(RDMA_ONE "rdma:\n  ack_timeout: 1us\n",
                 "cluster.yaml:8: rdma.ack_timeout: '1us' is out of range: must be 10us to 8s");
    expect_error(RDMA_ONE "rdma:\n  ack: 1us\n",
                 "cluster.yaml:8: rdma.ack: unknown key: correct or remove it");
}

static void parse__values_out_of_limits__name_value_and_limits(void **state)
{
    (void)state;
    expect_error(GOOD "ring: 64X\n",
                 "cluster.yaml:13: ring: '64X' is not a size such as 64K, 16M or 1G");
    expect_error(GOOD "ring: 4K\n",
                 "cluster.yaml:13: ring: '4K' is out of range: must be 64K to 1T");
    expect_error(GOOD "ring: 99999999999T\n",
                 "cluster.yaml:13: ring: '99999999999T' is out of range: must be 64K to 1T");
    expect_error(GOOD "ring: 100000\n",
                 "cluster.yaml:13: ring: '100000' is not a multiple of 4096 bytes");
    expect_error(GOOD "entry_max: 2M\n",
                 "cluster.yaml:13: entry_max: '2M' is out of range: must be 1K to 512K");
    expect_error(GOOD "ring: 1M\nentry_max: 256K\n",
                 "cluster.yaml:14: entry_max: '256K' is more than an eighth of the ring of 1M: at "
                 "most 128K, or a greater ring");
    expect_error(GOOD "spin: 20\n",
                 "cluster.yaml:13: spin: '20' is not auto or a time such as 20us");
    expect_error(GOOD "timing:\n  heartbeat: auto\n",
                 "cluster.yaml:14: timing.heartbeat: 'auto' is not a time such as 20us, 5ms or "
                 "1s");
    expect_error(GOOD "spin: 1s\n",
                 "cluster.yaml:13: spin: '1s' is out of range: must be 0ns to 10ms");
    expect_error(GOOD "connections_max: many\n",
                 "cluster.yaml:13: connections_max: 'many' is not a whole number");
    expect_error(GOOD "connections_max: 0\n",
                 "cluster.yaml:13: connections_max: '0' is out of range: must be 1 to 1000000");
    expect_error(GOOD "timing:\n  election_timeout: 1ms\n",
                 "cluster.yaml:14: timing.election_timeout: '1ms' is out of range: must be 2ms to "
                 "60s");
    expect_error(GOOD "timing:\n  heartbeat: 20ms\n",
                 "cluster.yaml:13: timing: heartbeat 20ms must be at most half of election_timeout "
                 "25ms");
}

static void spin__auto__needs_a_core_for_each_replica(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err;
    assert_int_equal(parse(GOOD "spin: auto\n", &config, &err), 0);
    assert_int_equal(lks_config_spin_ns(&config, 3), 0);
    assert_int_equal(lks_config_spin_ns(&config, 4), 20000);
    config.spin_ns = 7000;
    assert_int_equal(lks_config_spin_ns(&config, 1), 7000);
}

static void parse__small_ring__lowers_the_default_entry_limit(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err;
    assert_int_equal(parse(GOOD "ring: 1M\n", &config, &err), 0);
    assert_int_equal(config.entry_bytes_max, 128 << 10);
}

static void parse__bad_replicas__name_which(void **state)
{
    (void)state;
    const char *head = "name: a\n" ID "replicas:\n";
    char text[1024];
    (void)snprintf(text, sizeof text, "%s%s%s", head, REPLICA("1", "7001"), REPLICA("2", "7002"));
    struct lks_config config;
    struct lks_error err;
    assert_int_equal(parse(text, &config, &err), 0); /* as members come and go */
    assert_int_equal(config.replicas_count, 2);
    (void)snprintf(text, sizeof text, "%s%s", head, REPLICA("2", "7001"));
    expect_error(text, "cluster.yaml:4: replicas[0].id: '2': the ids of 1 replicas are 1 to 1");
    (void)snprintf(text, sizeof text, "%s%s%s%s", head, REPLICA("1", "7001"),
                   REPLICA("2", "7002"), REPLICA("2", "7003"));
    expect_error(text, "cluster.yaml:10: replicas[2].id: '2' is given twice");
    (void)snprintf(text, sizeof text, "%s%s%s%s", head, REPLICA("1", "7001"),
                   "  - id: 2\n    journal: r1.journal\n    listen: 127.0.0.1:7002\n",
                   REPLICA("3", "7003"));
    expect_error(text, "cluster.yaml:8: replicas[1].journal: 'r1.journal' is replica 1's journal "
                       "too: give each its own");
    (void)snprintf(text, sizeof text, "%s%s%s", head, REPLICA("1", "7001"),
                   "    snapshots: r1.journal\n");
    expect_error(text, "cluster.yaml:7: replicas[0].snapshots: 'r1.journal' is replica 1's "
                       "journal: give another file");
    (void)snprintf(text, sizeof text, "%s%s%s%s%s", head, REPLICA("1", "7001"),
                   REPLICA("2", "7002"), "    snapshots: r1.journal.snapshots\n",
                   REPLICA("3", "7003"));
    expect_error(text, "cluster.yaml:10: replicas[1].snapshots: 'r1.journal.snapshots' is a file "
                       "of replica 1 too: give each its own");
    expect_error("name: a\n" ID "replicas:\n  - id: 1\n    journal: /dev/dax0.0\n"
                 "    listen: 127.0.0.1:7001\n",
                 "cluster.yaml:4: replicas[0].snapshots: a journal that is a device has no place "
                 "beside it: give the path of a file for the snapshots");
    (void)snprintf(text, sizeof text, "%s%s%s%s", head, REPLICA("1", "7001"),
                   REPLICA("2", "7002"), REPLICA("3", "7001"));
    expect_error(text, "cluster.yaml:12: replicas[2].listen: '127.0.0.1:7001' is replica 1's "
                       "address too: give each its own");
}

static void parse__bad_addresses__say_why(void **state)
{
    (void)state;
    const char *head = "name: a\n" ID "replicas:\n";
    static const char *const cases[][2] = {
        {"99999", "'127.0.0.1:99999': port must be 1..65535"},
        {"0", "'127.0.0.1:0': port must be 1..65535"},
        {"x", "'127.0.0.1:x': port must be 1..65535"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        char expected[256];
        (void)snprintf(text, sizeof text,
                       "%s  - id: 1\n    journal: r1.journal\n    listen: 127.0.0.1:%s\n", head,
                       cases[i][0]);
        (void)snprintf(expected, sizeof expected, "cluster.yaml:6: replicas[0].listen: %s",
                       cases[i][1]);
        expect_error(text, expected);
    }
    expect_error("name: a\n" ID "replicas:\n  - id: 1\n    journal: j\n"
                 "    listen: localhost:7001\n",
                 "cluster.yaml:6: replicas[0].listen: 'localhost:7001': the address must be "
                 "numeric, such as 127.0.0.1:7001 or [::1]:7001");
    expect_error("name: a\n" ID "replicas:\n  - id: 1\n    journal: j\n    listen: '7001'\n",
                 "cluster.yaml:6: replicas[0].listen: '7001' is not of the form address:port");
}

static void parse__any_prefix_of_a_good_file__never_crashes(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err;
    for (size_t bytes = 0; bytes < sizeof GOOD - 2; bytes++) {
        const int rc = lks_config_parse(&config, GOOD, bytes, "cluster.yaml", &err);
        assert_true(rc == 0 || rc == -LKS_ECONFIG);
    }
}

static void load__file_missing__says_the_way_out(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err = {0};
    assert_int_equal(lks_config_load(&config, "/nonexistent/c.yaml", &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/c.yaml: No such file or directory: give the"));
}

static void write__then_load__gives_the_same_and_never_overwrites(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_config loaded;
    struct lks_error err = {0};
    char folder[64];
    char path[96];
    (void)snprintf(folder, sizeof folder, "%s/lockstep-config-XXXXXX", scratch_folder());
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/it's.yaml", folder);
    assert_int_equal(parse(GOOD "spin: 7us\ndirectory: /x'y\n", &config, &err), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        (void)snprintf(config.replicas[id].journal, sizeof config.replicas[id].journal,
                       "/data/r%u", id);
        config.replicas[id].snapshots[0] = '\0';
    }
    (void)snprintf(config.replicas[2].snapshots, sizeof config.replicas[2].snapshots,
                   "/snapshots/two");
    config.fabric = LKS_CONFIG_FABRIC_RDMA;
    memset(config.cluster_key, 0xa5, sizeof config.cluster_key);
    memset(config.client_key, 0x5a, sizeof config.client_key);
    config.takes_clients = true;
    for (uint32_t id = 1; id <= 3; id++) {
        (void)snprintf(config.replicas[id].rdma_address, sizeof config.replicas[id].rdma_address,
                       "fe80::%u", id);
        config.replicas[id].rdma_port = (uint16_t)(7100 + id);
    }
    config.rdma = (struct lks_config_rdma){.traffic_class = 96,
                                           .service_level = 2,
                                           .ack_timeout_ns = 4000000,
                                           .retries = 5,
                                           .pkey = 0x8007,
                                           .gid_index = 3,
                                           .direct_write_asserted = true};
    assert_int_equal(lks_config_write(&config, path, &err), 0);
    assert_int_equal(lks_config_load(&loaded, path, &err), 0);
    assert_int_equal(loaded.rdma.traffic_class, 96);
    assert_int_equal(loaded.rdma.service_level, 2);
    assert_int_equal(loaded.rdma.ack_timeout_ns, 4000000);
    assert_int_equal(loaded.rdma.retries, 5);
    assert_int_equal(loaded.rdma.pkey, 0x8007);
    assert_int_equal(loaded.rdma.gid_index, 3);
    assert_true(loaded.rdma.direct_write_asserted);
    assert_string_equal(loaded.name, config.name);
    assert_memory_equal(loaded.cluster_id, config.cluster_id, sizeof config.cluster_id);
    assert_string_equal(loaded.directory, "/x'y");
    assert_int_equal(loaded.spin_ns, 7000);
    assert_int_equal(loaded.ring_bytes, config.ring_bytes);
    assert_int_equal(loaded.heartbeat_ns, config.heartbeat_ns);
    assert_string_equal(loaded.replicas[3].journal, "/data/r3");
    assert_string_equal(loaded.replicas[2].snapshots, "/snapshots/two");
    assert_string_equal(loaded.replicas[3].snapshots, "/data/r3.snapshots");
    assert_int_equal(loaded.snapshots_bytes_max, config.snapshots_bytes_max);
    assert_int_equal(loaded.replicas[3].port, 7003);
    assert_int_equal(loaded.fabric, LKS_CONFIG_FABRIC_RDMA);
    assert_memory_equal(loaded.cluster_key, config.cluster_key, sizeof config.cluster_key);
    assert_true(loaded.takes_clients);
    assert_memory_equal(loaded.client_key, config.client_key, sizeof config.client_key);
    assert_string_equal(loaded.replicas[2].rdma_address, "fe80::2");
    assert_int_equal(loaded.replicas[2].rdma_port, 7102);
    assert_int_equal(lks_config_write(&config, path, &err), -EEXIST);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void write__name_of_a_dash__is_read_back(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_config loaded;
    struct lks_error err = {0};
    char path[96];
    (void)snprintf(path, sizeof path, "%s/lockstep-config-%d.yaml", scratch_folder(),
                   (int)getpid());
    assert_int_equal(parse("name: '-'\n" ID THREE, &config, &err), 0);
    assert_int_equal(lks_config_write(&config, path, &err), 0);
    assert_int_equal(lks_config_load(&loaded, path, &err), 0);
    assert_string_equal(loaded.name, "-");
    assert_int_equal(unlink(path), 0);
}

static void parse__path_that_does_not_print__is_refused_with_its_line(void **state)
{
    (void)state;
    expect_error(GOOD "directory: \"/x/a\\nb\"\n",
                 "cluster.yaml:13: directory: byte 5 of the path, 0x0a, begins no printable "
                 "character: rename what it names");
    /* A plain scalar over several lines holds their ends. */
    expect_error("name: a\n" ID "replicas: [{id: 1, listen: 127.0.0.1:1, journal: a\n\nb}]\n",
                 "cluster.yaml:3: replicas[0].journal: byte 2 of the path, 0x0a, begins no "
                 "printable character: rename what it names");
    expect_error("name: a\n" ID "replicas: [{id: 1, listen: 127.0.0.1:1, journal: a, snapshots: "
                 "\"\\x01\"}]\n",
                 "cluster.yaml:3: replicas[0].snapshots: byte 1 of the path, 0x01, begins no "
                 "printable character: rename what it names");
}

static void write__path_that_does_not_print__is_refused_and_leaves_no_file(void **state)
{
    (void)state;
    struct lks_config config;
    struct lks_error err = {0};
    char path[96];
    (void)snprintf(path, sizeof path, "%s/lockstep-config-%d.yaml", scratch_folder(),
                   (int)getpid());
    assert_int_equal(parse(GOOD, &config, &err), 0);
    (void)snprintf(config.replicas[3].snapshots, sizeof config.replicas[3].snapshots,
                   "/caf\xe9/s");
    assert_int_equal(lks_config_write(&config, path, &err), -EINVAL);
    assert_non_null(strstr(err.text, "byte 5 of a path, 0xe9, begins no printable character"));
    assert_non_null(strstr(err.text, ": /caf...: rename"));
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__only_what_is_needed__gives_the_documented_defaults),
        cmocka_unit_test(parse__every_key__is_taken),
        cmocka_unit_test(parse__file_in_a_folder__relative_paths_begin_there),
        cmocka_unit_test(parse__path_that_does_not_print__is_refused_with_its_line),
        cmocka_unit_test(write__name_of_a_dash__is_read_back),
        cmocka_unit_test(write__path_that_does_not_print__is_refused_and_leaves_no_file),
        cmocka_unit_test(parse__scheduler__each_bad_value_is_named),
        cmocka_unit_test(parse__not_yaml__names_the_line),
        cmocka_unit_test(parse__unknown_key__is_named_with_its_line),
        cmocka_unit_test(parse__wrong_shape__is_named_with_its_line),
        cmocka_unit_test(parse__missing_keys__are_named),
        cmocka_unit_test(parse__bad_identity__says_what_is_allowed),
        cmocka_unit_test(parse__bad_modes__say_what_is_allowed),
        cmocka_unit_test(parse__rdma__needs_a_key_and_addresses),
        cmocka_unit_test(parse__client_key__taken_if_it_is_another_and_its_port_is_free),
        cmocka_unit_test(parse__rdma_keys__are_taken_and_have_defaults),
        cmocka_unit_test(parse__bad_rdma_keys__name_line_value_and_way_out),
        cmocka_unit_test(parse__values_out_of_limits__name_value_and_limits),
        cmocka_unit_test(spin__auto__needs_a_core_for_each_replica),
        cmocka_unit_test(parse__small_ring__lowers_the_default_entry_limit),
        cmocka_unit_test(parse__bad_replicas__name_which),
        cmocka_unit_test(parse__bad_addresses__say_why),
        cmocka_unit_test(parse__any_prefix_of_a_good_file__never_crashes),
        cmocka_unit_test(load__file_missing__says_the_way_out),
        cmocka_unit_test(write__then_load__gives_the_same_and_never_overwrites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
