/* What a log lies in: the line that `status` shows, for media and nodes of all kinds. */
#include "node/ring_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define BYTES ((size_t)8 << 20)

static struct lks_log_memory g_memory;

static int set_up(void **state)
{
    (void)state;
    g_memory.address = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    g_memory.bytes = BYTES;
    memset(g_memory.address, 'x', BYTES);
    return g_memory.address != MAP_FAILED ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return munmap(g_memory.address, BYTES);
}

static const char *prepare(enum lks_medium_kind kind, int node)
{
    static struct lks_ring_memory ring;
    const struct lks_medium medium = {.kind = kind};
    lks_ring_memory_prepare(&ring, &medium, &g_memory, node);
    lks_ring_memory_settled(&ring);
    assert_null(ring.near);
    const unsigned char *bytes = g_memory.address;
    for (size_t i = 0; i < BYTES; i += 512) {
        assert_int_equal(bytes[i], 'x');
    }
    assert_non_null(strstr(ring.text, "pages of 4 KiB, "));
    return ring.text;
}

static void prepare__device_without_a_node__said(void **state)
{
    (void)state;
    assert_non_null(strstr(prepare(LKS_MEDIUM_MEMORY, -1), "; the device has no NUMA node"));
}

static void prepare__node_is_there__placed_or_why_not(void **state)
{
    (void)state;
    const char *text = prepare(LKS_MEDIUM_MEMORY, 0);
    assert_true(strstr(text, "; on NUMA node 0, the device's") != NULL ||
                strstr(text, "; not placed by NUMA node: memory of NUMA node 0") != NULL);
}

static void prepare__medium_has_its_own_place__left_there(void **state)
{
    (void)state;
    const char *text = prepare(LKS_MEDIUM_DEVDAX, 0);
    assert_true(strstr(text, "the device is on NUMA node 0, the medium where it is") != NULL ||
                strstr(text, "; not placed by NUMA node: memory of NUMA node 0") != NULL);
}

static void prepare__no_such_node__said(void **state)
{
    (void)state;
    assert_non_null(strstr(prepare(LKS_MEDIUM_MEMORY, 4321),
                           "; not placed by NUMA node: this machine has no NUMA node 4321"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prepare__device_without_a_node__said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(prepare__node_is_there__placed_or_why_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(prepare__medium_has_its_own_place__left_there, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(prepare__no_such_node__said, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
