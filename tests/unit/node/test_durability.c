/* What each wish becomes on each medium, and what a peer's hello may say. */
#include "node/durability.h"
#include "node/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct lks_medium media[] = {
    {LKS_MEDIUM_DEVDAX, LKS_DOMAIN_MEMORY_CONTROLLER, true, true, "device DAX"},
    {LKS_MEDIUM_FSDAX, LKS_DOMAIN_CPU_CACHE, true, true, "MAP_SYNC"},
    {LKS_MEDIUM_MEMORY, LKS_DOMAIN_NONE, true, false, "tmpfs"},
    {LKS_MEDIUM_FILE, LKS_DOMAIN_STORAGE, false, true, "ext4"},
};

static void expect(enum lks_durability wish, size_t medium, enum lks_durability expected)
{
    struct lks_durability_choice choice;
    struct lks_error err = {0};
    assert_int_equal(lks_durability_resolve(&choice, wish, &media[medium], "j", &err), 0);
    assert_int_equal(choice.durability, expected);
    assert_true(choice.reason[0] != '\0');
    assert_int_equal(err.code, 0);
}

static void resolve__auto__takes_the_best_of_the_medium(void **state)
{
    (void)state;
    expect(LKS_DURABILITY_AUTO, 0, LKS_DURABILITY_WRITER_FLUSH);
    expect(LKS_DURABILITY_AUTO, 1, LKS_DURABILITY_WRITER_FLUSH);
    expect(LKS_DURABILITY_AUTO, 2, LKS_DURABILITY_WRITER_FLUSH);
    expect(LKS_DURABILITY_AUTO, 3, LKS_DURABILITY_PMEM_ACK);
}

static void resolve__wish_that_the_medium_keeps__is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof media / sizeof media[0]; i++) {
        expect(LKS_DURABILITY_MEMORY, i, LKS_DURABILITY_MEMORY);
        expect(LKS_DURABILITY_PMEM_ACK, i, LKS_DURABILITY_PMEM_ACK);
    }
    expect(LKS_DURABILITY_WRITER_FLUSH, 0, LKS_DURABILITY_WRITER_FLUSH);
}

static void expect_rdma(enum lks_durability wish, const struct lks_medium *medium,
                        enum lks_durability expected, const char *reason)
{
    struct lks_durability_choice choice;
    struct lks_error err = {0};
    const struct lks_durability_adapter adapter = {.hardware = true};
    assert_int_equal(lks_durability_resolve_rdma(&choice, wish, medium, &adapter, "j", &err), 0);
    assert_int_equal(choice.durability, expected);
    assert_non_null(strstr(choice.reason, reason));
}

static void expect_asserted(const struct lks_medium *medium, bool hardware,
                            enum lks_durability expected, const char *reason)
{
    const struct lks_durability_adapter adapter = {.hardware = hardware,
                                                   .direct_write_asserted = true};
    struct lks_durability_choice choice;
    struct lks_error err = {0};
    assert_int_equal(lks_durability_resolve_rdma(&choice, LKS_DURABILITY_PMEM_READ, medium,
                                                 &adapter, "j", &err),
                     0);
    assert_int_equal(choice.durability, expected);
    assert_non_null(strstr(choice.reason, reason));
}

/* The operator's word counts for an adapter on a domain that needs it, and for nothing else. */
static void resolve_rdma__direct_write_asserted__read_for_hardware_only(void **state)
{
    (void)state;
    static const struct lks_medium cached = {LKS_MEDIUM_DEVDAX, LKS_DOMAIN_CPU_CACHE, true, true,
                                             "device DAX"};
    static const struct lks_medium unknown = {LKS_MEDIUM_DEVDAX, LKS_DOMAIN_UNKNOWN, true, true,
                                              "device DAX"};
    assert_int_equal(unsetenv("PMEM_IS_PMEM_FORCE"), 0);
    expect_asserted(&media[0], true, LKS_DURABILITY_PMEM_READ, "asserted, not checked");
    expect_asserted(&media[0], false, LKS_DURABILITY_PMEM_ACK, "software driver");
    expect_asserted(&cached, false, LKS_DURABILITY_PMEM_READ, "cpu_cache");
    expect_asserted(&unknown, true, LKS_DURABILITY_PMEM_ACK, "not known");
    expect_asserted(&media[1], true, LKS_DURABILITY_PMEM_ACK, "on-demand paging");
    expect_asserted(&media[2], true, LKS_DURABILITY_PMEM_ACK, "not lie on device DAX");
}

static void resolve_rdma__read_only_where_it_is_enough__else_ack_with_the_reason(void **state)
{
    (void)state;
    static const struct lks_medium cached = {LKS_MEDIUM_DEVDAX, LKS_DOMAIN_CPU_CACHE, true, true,
                                             "device DAX"};
    static const struct lks_medium unknown = {LKS_MEDIUM_DEVDAX, LKS_DOMAIN_UNKNOWN, true, true,
                                              "device DAX"};
    static const enum lks_durability wishes[] = {LKS_DURABILITY_AUTO, LKS_DURABILITY_PMEM_READ};
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        assert_int_equal(unsetenv("PMEM_IS_PMEM_FORCE"), 0);
        expect_rdma(wishes[i], &cached, LKS_DURABILITY_PMEM_READ, "cpu_cache");
        expect_rdma(wishes[i], &media[0], LKS_DURABILITY_PMEM_ACK, "memory_controller");
        expect_rdma(wishes[i], &media[1], LKS_DURABILITY_PMEM_ACK, "on-demand paging");
        expect_rdma(wishes[i], &media[2], LKS_DURABILITY_PMEM_ACK, "not lie on device DAX");
        expect_rdma(wishes[i], &media[3], LKS_DURABILITY_PMEM_ACK, "not lie on device DAX");
        expect_rdma(wishes[i], &unknown, LKS_DURABILITY_PMEM_ACK, "not known");
        assert_int_equal(setenv("PMEM_IS_PMEM_FORCE", "1", 1), 0);
        expect_rdma(wishes[i], &cached, LKS_DURABILITY_PMEM_ACK, "PMEM_IS_PMEM_FORCE");
        assert_int_equal(unsetenv("PMEM_IS_PMEM_FORCE"), 0);
    }
    expect_rdma(LKS_DURABILITY_MEMORY, &media[2], LKS_DURABILITY_MEMORY, "configured");
    expect_rdma(LKS_DURABILITY_PMEM_ACK, &cached, LKS_DURABILITY_PMEM_ACK, "configured");
}

static void resolve_rdma__writer_flush__refused_with_the_way_out(void **state)
{
    (void)state;
    struct lks_durability_choice choice;
    struct lks_error err = {0};
    const struct lks_durability_adapter adapter = {.hardware = true};
    assert_int_equal(lks_durability_resolve_rdma(&choice, LKS_DURABILITY_WRITER_FLUSH, &media[0],
                                                 &adapter, "/j", &err),
                     -LKS_ECONFIG);
    assert_non_null(strstr(err.text, "journal /j: durability writer-flush is for `fabric: shm`"));
}

static void resolve__wish_that_cannot_be_kept__is_refused_with_the_way_out(void **state)
{
    (void)state;
    struct lks_durability_choice choice;
    struct lks_error err = {0};
    assert_int_equal(lks_durability_resolve(&choice, LKS_DURABILITY_WRITER_FLUSH, &media[3],
                                            "/data/r1.journal", &err),
                     -LKS_ECONFIG);
    assert_string_equal(err.text,
                        "journal /data/r1.journal: durability writer-flush was asked for, but "
                        "cache line write-back does not make this medium durable (ext4): use "
                        "`durability: pmem-ack` or `auto`, or put the journal on persistent "
                        "memory");
    assert_int_equal(lks_durability_resolve(&choice, LKS_DURABILITY_PMEM_READ, &media[0], "j",
                                            &err),
                     -LKS_ECONFIG);
    assert_non_null(strstr(err.text, "needs an RDMA fabric"));
}

static void parse__names__both_ways(void **state)
{
    (void)state;
    for (int i = LKS_DURABILITY_AUTO; i <= LKS_DURABILITY_PMEM_READ; i++) {
        enum lks_durability back = LKS_DURABILITY_AUTO;
        const char *name = lks_durability_name((enum lks_durability)i);
        assert_int_equal(lks_durability_parse(name, &back), 0);
        assert_int_equal(back, i);
    }
    enum lks_durability unchanged = LKS_DURABILITY_MEMORY;
    assert_int_equal(lks_durability_parse("Memory", &unchanged), -EINVAL);
    assert_int_equal(unchanged, LKS_DURABILITY_MEMORY);
}

static void hello_read__bytes_of_a_peer__are_checked(void **state)
{
    (void)state;
    struct lks_hello sent = {.version = LKS_HELLO_VERSION,
                             .durability = LKS_DURABILITY_PMEM_ACK,
                             .medium = LKS_MEDIUM_FILE,
                             .domain = LKS_DOMAIN_STORAGE,
                             .boot_id = "a-boot"};
    struct lks_hello got = {0};
    uint8_t bytes[LKS_FABRIC_HELLO_BYTES];
    memcpy(bytes, &sent, sizeof bytes);
    assert_int_equal(lks_hello_read(&got, bytes), 0);
    assert_memory_equal(&got, &sent, sizeof got);
    const struct lks_hello wrong[] = {
        {.version = LKS_HELLO_VERSION, .durability = LKS_DURABILITY_AUTO},
        {.version = LKS_HELLO_VERSION, .durability = LKS_DURABILITY_PMEM_READ + 1},
        {.version = LKS_HELLO_VERSION, .durability = 1, .medium = LKS_MEDIUM_FILE + 1},
        {.version = LKS_HELLO_VERSION, .durability = 1, .domain = LKS_DOMAIN_UNKNOWN + 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(bytes, &wrong[i], sizeof bytes);
        assert_int_equal(lks_hello_read(&got, bytes), -EINVAL);
    }
    memset(sent.boot_id, 'x', sizeof sent.boot_id);
    memcpy(bytes, &sent, sizeof bytes);
    assert_int_equal(lks_hello_read(&got, bytes), -EINVAL);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(lks_hello_read(&got, bytes), -LKS_EVERSION);
}

static void hello_is_outlived__older_or_the_same_in_another_life(void **state)
{
    (void)state;
    const struct lks_hello hello = {.incarnation = 5, .life = 70};
    const struct {
        struct lks_hello_known known;
        bool outlived;
    } cases[] = {
        {{.incarnation = 0}, false},
        {{.incarnation = 4, .life = 60}, false},
        {{.incarnation = 5, .life = 70}, false}, /* it comes again */
        {{.incarnation = 5, .life = 71}, true},
        {{.incarnation = 5}, false}, /* from the log */
        {{.incarnation = 6}, true},
        {{.incarnation = 6, .life = 70}, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(lks_hello_is_outlived(&hello, &cases[i].known), cases[i].outlived);
    }
    const struct lks_hello silent = {.incarnation = 0};
    assert_false(lks_hello_is_outlived(&silent, &cases[6].known));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolve_rdma__read_only_where_it_is_enough__else_ack_with_the_reason),
        cmocka_unit_test(resolve_rdma__direct_write_asserted__read_for_hardware_only),
        cmocka_unit_test(resolve_rdma__writer_flush__refused_with_the_way_out),
        cmocka_unit_test(resolve__auto__takes_the_best_of_the_medium),
        cmocka_unit_test(resolve__wish_that_the_medium_keeps__is_taken),
        cmocka_unit_test(resolve__wish_that_cannot_be_kept__is_refused_with_the_way_out),
        cmocka_unit_test(parse__names__both_ways),
        cmocka_unit_test(hello_read__bytes_of_a_peer__are_checked),
        cmocka_unit_test(hello_is_outlived__older_or_the_same_in_another_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
