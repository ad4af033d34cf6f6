/* Memory on the NUMA node of a device, as the kernel then tells it. */
#include "sched/memory_node.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES ((size_t)16 * 4096)

static int thread_policy(void)
{
    int policy = -1;
    assert_int_equal(syscall(SYS_get_mempolicy, &policy, NULL, 0, NULL, 0), 0);
    return policy;
}

static bool can_choose(struct lks_memory_node **memory, struct lks_error *err)
{
    const int code = lks_memory_node_begin(memory, 0, err);
    if (code == -EPERM || code == -ENOSYS) {
        print_message("SKIP: this process may not choose its memory's node: %s\n", err->text);
        return false;
    }
    assert_int_equal(code, 0);
    return true;
}

static void begin__node_is_there__until_the_end(void **state)
{
    (void)state;
    struct lks_error err = {0};
    struct lks_memory_node *memory = NULL;
    const int before = thread_policy();
    if (!can_choose(&memory, &err)) {
        skip();
    }
    assert_int_not_equal(thread_policy(), before);
    lks_memory_node_end(memory);
    assert_int_equal(thread_policy(), before);
}

/* hwloc has one word for what is bound and what is only preferred. */
static void end__operators_policy__is_given_back_as_it_was(void **state)
{
    (void)state;
    static const int policies[] = {MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE};
    const unsigned long first = 1;
    struct lks_error err = {0};
    struct lks_memory_node *memory = NULL;
    if (!can_choose(&memory, &err)) {
        skip();
    }
    lks_memory_node_end(memory);
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        unsigned long nodes[16] = {0};
        int policy = -1;
        assert_int_equal(syscall(SYS_set_mempolicy, policies[i], &first, 64UL), 0);
        assert_true(can_choose(&memory, &err));
        lks_memory_node_end(memory);
        assert_int_equal(syscall(SYS_get_mempolicy, &policy, nodes, 1024UL, NULL, 0UL), 0);
        assert_int_equal(policy, policies[i]);
        assert_int_equal(nodes[0], first);
    }
    assert_int_equal(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL), 0);
}

static void take__memory_with_bytes__on_the_node_and_unchanged(void **state)
{
    (void)state;
    struct lks_error err = {0};
    struct lks_memory_node *memory = NULL;
    if (!can_choose(&memory, &err)) {
        skip();
    }
    unsigned char *area = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    assert_true(area != MAP_FAILED);
    memset(area, 'x', BYTES);
    assert_int_equal(lks_memory_node_take(memory, area, BYTES), 0);
    for (size_t at = 0; at < BYTES; at += 4096) {
        void *page = area + at;
        int node = -1;
        assert_int_equal(syscall(SYS_move_pages, 0, 1UL, &page, NULL, &node, 0), 0);
        assert_int_equal(node, 0);
        assert_int_equal(area[at], 'x');
    }
    assert_int_equal(munmap(area, BYTES), 0);
    assert_true(lks_memory_node_take(memory, area, BYTES) < 0); /* there is nothing any more */
    lks_memory_node_end(memory);
}

static void begin__node_is_not_there__refused_by_its_number(void **state)
{
    (void)state;
    struct lks_error err = {0};
    struct lks_memory_node *memory = NULL;
    assert_int_equal(lks_memory_node_begin(&memory, 4321, &err), -ENOENT);
    assert_null(memory);
    assert_non_null(strstr(err.text, "4321"));
    lks_memory_node_end(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin__node_is_there__until_the_end),
        cmocka_unit_test(end__operators_policy__is_given_back_as_it_was),
        cmocka_unit_test(take__memory_with_bytes__on_the_node_and_unchanged),
        cmocka_unit_test(begin__node_is_not_there__refused_by_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
