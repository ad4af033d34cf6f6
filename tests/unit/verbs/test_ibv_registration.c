/*
 * Why a registration was refused: each cause is one sentence that names the thing, the value and
 * the way out; what a device is found to be able to do; what memory is found to lie on. No device:
 * ibv_query_device_ex is that of a context made of functions.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "verbs/ibv/registration.h"

#define MIB (UINT64_C(1) << 20)

static struct lks_ibv_refusal refusal_of_the_log(int code)
{
    return (struct lks_ibv_refusal){.what = "the log",
                                    .device = "rxe7",
                                    .code = code,
                                    .bytes = 64 * MIB,
                                    .kernel_major = 6,
                                    .kernel_minor = 8,
                                    .locked_bytes_max = UINT64_MAX,
                                    .ring_bytes = 64 * MIB,
                                    .rings = 3};
}

static void assert_says(const struct lks_ibv_refusal *refusal, const char *text)
{
    struct lks_error err = {0};
    assert_int_equal(lks_ibv_refusal_explain(refusal, &err), refusal->code);
    assert_int_equal(err.code, refusal->code);
    if (strstr(err.text, text) == NULL) {
        fail_msg("\"%s\" is not said, but: %s", text, err.text);
    }
}

static void explain__locked_memory_too_small__limit_need_and_way_out(void **state)
{
    (void)state;
    struct lks_ibv_refusal refusal = refusal_of_the_log(-ENOMEM);
    refusal.locked_bytes_max = 8 * MIB;
    assert_says(&refusal, "the log, 64 MiB, cannot be registered: locked memory is limited to 8 "
                          "MiB, and this replica needs 3 rings of 64 MiB; raise it (ulimit -l, "
                          "LimitMEMLOCK= of its unit)");
    refusal.locked_bytes_max = 200 * MIB; /* the rings fit, the rest does not */
    assert_says(&refusal, "limited to 200 MiB, of which the 3 rings of 64 MiB take 192 MiB");
    assert_says(&refusal, "LimitMEMLOCK=");
}

static void explain__no_memory_and_no_limit__the_limit_is_not_blamed(void **state)
{
    (void)state;
    const struct lks_ibv_refusal refusal = refusal_of_the_log(-ENOMEM);
    assert_says(&refusal, "locked memory is not limited to less, but this machine or RDMA device "
                          "rxe7 has no room for it");
    assert_says(&refusal, "`lockstep init --ring`");
}

static void explain__longer_than_the_device_takes__said_with_its_limit(void **state)
{
    (void)state;
    struct lks_ibv_refusal refusal = refusal_of_the_log(-EINVAL);
    refusal.abilities.region_bytes_max = 32 * MIB;
    assert_says(&refusal, "RDMA device rxe7 takes regions of at most 32 MiB");
    refusal.abilities.region_bytes_max = 64 * MIB;
    refusal.backing = LKS_IBV_BACKING_FILE;
    assert_says(&refusal, "ordinary file");
}

static void explain__ordinary_file__by_the_kernel_s_version(void **state)
{
    (void)state;
    static const int codes[] = {-EFAULT, -EOPNOTSUPP, -EINVAL, -EIO};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct lks_ibv_refusal refusal = refusal_of_the_log(codes[i]);
        refusal.backing = LKS_IBV_BACKING_FILE;
        if (codes[i] != -EFAULT) { /* not that check's answer */
            assert_says(&refusal, "it lies in an ordinary file, which RDMA device and file system "
                                  "together refuse here, under Linux 6.8; put it on device DAX");
            continue;
        }
        assert_says(&refusal, "it lies in an ordinary file, which Linux refuses for remote writing "
                              "since 6.4: this is Linux 6.8; put it on device DAX, tmpfs or "
                              "hugetlbfs");
        refusal.kernel_minor = 4;
        assert_says(&refusal, "since 6.4: this is Linux 6.4;");
        refusal.kernel_minor = 3;
        assert_says(&refusal, "under Linux 6.3; put it on device DAX");
        refusal.kernel_major = 7;
        assert_says(&refusal, "since 6.4: this is Linux 7.3;");
    }
}

static void explain__file_with_dax__on_demand_paging_named(void **state)
{
    (void)state;
    struct lks_ibv_refusal refusal = refusal_of_the_log(-EOPNOTSUPP);
    refusal.backing = LKS_IBV_BACKING_DAX_FILE;
    assert_says(&refusal, "that takes on-demand paging, which RDMA device rxe7 has not; put it on "
                          "device DAX (`ndctl create-namespace --mode=devdax`)");
    refusal.abilities.on_demand_paging = true;
    assert_says(&refusal, "which RDMA device rxe7 has, but this version does not use; put it on");
}

static void explain__control_group__named(void **state)
{
    (void)state;
    const struct lks_ibv_refusal refusal = refusal_of_the_log(-EAGAIN);
    assert_says(&refusal, "the rdma control group of this process allows no more objects of RDMA "
                          "device rxe7: raise its rdma.max");
}

static void explain__anything_else__what_was_seen(void **state)
{
    (void)state;
    struct lks_ibv_refusal refusal = refusal_of_the_log(-EPERM);
    assert_says(&refusal, "the log cannot be registered with RDMA device rxe7: Operation not "
                          "permitted");
    refusal = refusal_of_the_log(-EINVAL); /* of device DAX: no file is to blame */
    refusal.backing = LKS_IBV_BACKING_DEVICE;
    assert_says(&refusal, "with RDMA device rxe7: Invalid argument");
}

/* ---- the limit of locked memory ---- */

/* Without CAP_IPC_LOCK, which a child gives up, only what is above the limit is refused by it. */
static void locked_bytes_max__only_where_it_is_in_the_way(void **state)
{
    (void)state;
    const struct rlimit small = {.rlim_cur = 8 * MIB, .rlim_max = 8 * MIB};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const bool given_up = setrlimit(RLIMIT_MEMLOCK, &small) == 0 &&
                              syscall(SYS_capset, &header, none) == 0;
        _exit(!given_up                                            ? 3
              : lks_ibv_locked_bytes_max(9 * MIB) != 8 * MIB       ? 4
              : lks_ibv_locked_bytes_max(8 * MIB) != UINT64_MAX    ? 5
                                                                   : 0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* ---- what there is -------------------------------------------------------------------------- */

static void backing_of__what_it_is_told_by_the_kernel(void **state)
{
    (void)state;
    char path[] = "lockstep-backing.XXXXXX"; /* in the build folder, as ctest has it */
    const int memory = memfd_create("backing", MFD_CLOEXEC);
    const int device = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int file = mkstemp(path);
    assert_true(memory >= 0 && device >= 0 && file >= 0);
    (void)unlink(path);
    assert_int_equal(lks_ibv_backing_of(-1), LKS_IBV_BACKING_ANONYMOUS);
    assert_int_equal(lks_ibv_backing_of(memory), LKS_IBV_BACKING_MEMORY);
    assert_int_equal(lks_ibv_backing_of(device), LKS_IBV_BACKING_DEVICE);
    const enum lks_ibv_backing kind = lks_ibv_backing_of(file); /* that may be a tmpfs */
    assert_true(kind == LKS_IBV_BACKING_FILE || kind == LKS_IBV_BACKING_MEMORY);
    (void)close(memory);
    (void)close(device);
    (void)close(file);
    assert_int_equal(lks_ibv_backing_of(file), LKS_IBV_BACKING_ANONYMOUS); /* not open any more */
}

static struct ibv_device_attr_ex g_attributes;
static int g_query_code;

static int query_device_ex(struct ibv_context *context, const struct ibv_query_device_ex_input *in,
                           struct ibv_device_attr_ex *attributes, size_t bytes)
{
    (void)context;
    (void)in;
    assert_int_equal(bytes, sizeof *attributes);
    *attributes = g_attributes;
    return g_query_code;
}

static void find(struct lks_ibv_abilities *abilities)
{
    struct verbs_context *device = calloc(1, sizeof *device);
    assert_non_null(device);
    device->sz = sizeof *device;
    device->query_device_ex = query_device_ex;
    device->context.abi_compat = __VERBS_ABI_IS_EXTENDED;
    lks_ibv_abilities_find(&device->context, abilities);
    free(device);
}

static void abilities__paging_needs_both_directions(void **state)
{
    (void)state;
    struct lks_ibv_abilities abilities;
    g_query_code = 0;
    g_attributes = (struct ibv_device_attr_ex){.orig_attr.max_mr_size = 5 * MIB};
    find(&abilities);
    assert_true(abilities.known);
    assert_false(abilities.on_demand_paging);
    assert_int_equal(abilities.region_bytes_max, 5 * MIB);
    g_attributes.odp_caps.general_caps = IBV_ODP_SUPPORT;
    g_attributes.odp_caps.per_transport_caps.rc_odp_caps = IBV_ODP_SUPPORT_READ;
    find(&abilities);
    assert_false(abilities.on_demand_paging);
    g_attributes.odp_caps.per_transport_caps.rc_odp_caps |= IBV_ODP_SUPPORT_WRITE;
    find(&abilities);
    assert_true(abilities.on_demand_paging);
    g_query_code = EINVAL; /* (EOPNOTSUPP: the older call is made instead) */
    find(&abilities);
    assert_false(abilities.known);
}

static void abilities__flush__said_as_what_is_made_of_it(void **state)
{
    (void)state;
    struct lks_ibv_abilities abilities;
    char text[400];
    g_query_code = 0;
    g_attributes = (struct ibv_device_attr_ex){0};
    find(&abilities);
    lks_ibv_abilities_describe(&abilities, text, sizeof text);
    assert_string_equal(text, "on-demand paging: no; RDMA FLUSH: no");
    g_attributes.device_cap_flags_ex = LKS_IBV_FLUSH_GLOBAL;
    find(&abilities);
    lks_ibv_abilities_describe(&abilities, text, sizeof text);
    assert_non_null(strstr(text, "RDMA FLUSH: the device has it, but not to persistence, not used: "
                                 "a READ behind the writes stands in for it"));
    g_attributes.device_cap_flags_ex |= LKS_IBV_FLUSH_PERSISTENT;
    find(&abilities);
    lks_ibv_abilities_describe(&abilities, text, sizeof text);
    assert_non_null(strstr(text, "to persistence too"));
    abilities.known = false;
    lks_ibv_abilities_describe(&abilities, text, sizeof text);
    assert_non_null(strstr(text, "the device does not tell"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locked_bytes_max__only_where_it_is_in_the_way),
        cmocka_unit_test(explain__locked_memory_too_small__limit_need_and_way_out),
        cmocka_unit_test(explain__no_memory_and_no_limit__the_limit_is_not_blamed),
        cmocka_unit_test(explain__longer_than_the_device_takes__said_with_its_limit),
        cmocka_unit_test(explain__ordinary_file__by_the_kernel_s_version),
        cmocka_unit_test(explain__file_with_dax__on_demand_paging_named),
        cmocka_unit_test(explain__control_group__named),
        cmocka_unit_test(explain__anything_else__what_was_seen),
        cmocka_unit_test(backing_of__what_it_is_told_by_the_kernel),
        cmocka_unit_test(abilities__paging_needs_both_directions),
        cmocka_unit_test(abilities__flush__said_as_what_is_made_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
