/* Where a configuration's threads run: replicas of one host side by side, the node of a device. */
#include "node/placement.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct lks_config make_config(enum lks_config_fabric fabric)
{
    struct lks_config config;
    lks_config_defaults(&config);
    config.fabric = fabric;
    config.replicas_count = 3;
    for (uint32_t id = 1; id <= 3; id++) {
        /* Replicas 1 and 3 share a host. No machine has these addresses. */
        snprintf(config.replicas[id].rdma_address, sizeof(config.replicas[id].rdma_address),
                 "192.0.2.%u", id == 2 ? 2 : 1);
    }
    return config;
}

static void make__shm__every_replica_has_its_cores(void **state)
{
    (void)state;
    struct lks_topology_plan plan;
    const struct lks_config config = make_config(LKS_CONFIG_FABRIC_SHM);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(lks_placement_make(&plan, &config, id, 1, "core:6 pu:1", NULL), 0);
        assert_int_equal(plan.places, 3);
        assert_int_equal(plan.dispatcher.core, (id - 1) * 2);
        assert_int_equal(plan.worker[0].core, (id - 1) * 2 + 1);
    }
}

static void make__rdma__shares_with_those_of_its_address(void **state)
{
    (void)state;
    struct lks_topology_plan plan;
    const struct lks_config config = make_config(LKS_CONFIG_FABRIC_RDMA);
    assert_int_equal(lks_placement_make(&plan, &config, 2, 1, "core:6 pu:1", NULL), 0);
    assert_int_equal(plan.places, 1);
    assert_int_equal(plan.dispatcher.core, 0);
    assert_int_equal(lks_placement_make(&plan, &config, 3, 1, "core:6 pu:1", NULL), 0);
    assert_int_equal(plan.places, 2);
    assert_int_equal(plan.dispatcher.core, 2);
}

static void read_node__what_the_system_writes__is_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int node;
    } cases[] = {{"0\n", 0}, {"1\n", 1}, {"-1\n", -1}, {"", -1}, {"none\n", -1}};
    char path[128];
    snprintf(path, sizeof(path), "%s/lockstep-placement.XXXXXX", scratch_folder());
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0),
                         (ssize_t)strlen(cases[i].text));
        assert_int_equal(lks_placement_read_node(path), cases[i].node);
    }
    close(fd);
    unlink(path);
    assert_int_equal(lks_placement_read_node(path), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make__shm__every_replica_has_its_cores),
        cmocka_unit_test(make__rdma__shares_with_those_of_its_address),
        cmocka_unit_test(read_node__what_the_system_writes__is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
