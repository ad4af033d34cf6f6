/* The price of write permission on an RDMA device; see permission.h. */
#include "bench/permission.h"

#include <errno.h>

#ifdef LKS_WITH_RDMA
#include "bench/raw/raw_permission.h"
#include "bench/samples.h"

#include <inttypes.h>
#include <stdio.h>

#define STEP(step) (1u << (LKS_RAW_##step))

static const char *const step_names[LKS_RAW_STEPS] = {
    [LKS_RAW_REGISTER] = "register the ring",
    [LKS_RAW_CONNECT] = "queue pair made, RTS",
    [LKS_RAW_ALLOC_WINDOW] = "window allocated",
    [LKS_RAW_BIND] = "window bound",
    [LKS_RAW_INVALIDATE] = "LOCAL_INV",
    [LKS_RAW_DEALLOC_WINDOW] = "window deallocated",
    [LKS_RAW_ACCESS_FLAGS] = "access flags (no fence)",
    [LKS_RAW_ERROR] = "error state (no fence)",
    [LKS_RAW_DESTROY] = "queue pair destroyed",
    [LKS_RAW_DEREGISTER] = "deregister the ring",
};

/* What each mechanism of the fence's table is made of: until nothing can land any more, and until
 * the next holder can write. (What a mechanism does afterwards, beside the next grant, is not in
 * it: a region that was deregistered counts, for the next grant needs it.) */
static const struct mechanism {
    const char *name;
    const char *key;
    uint32_t revoke;
    uint32_t grant;
} mechanisms[] = {
    {"software (rxe, siw, unknown)", "software",
     STEP(INVALIDATE) | STEP(DEALLOC_WINDOW) | STEP(DEREGISTER),
     STEP(REGISTER) | STEP(CONNECT) | STEP(ALLOC_WINDOW) | STEP(BIND)},
    {"hardware", "hardware", STEP(INVALIDATE), STEP(CONNECT) | STEP(ALLOC_WINDOW) | STEP(BIND)},
    {"hardware, dead queue pair", "hardware_dead", STEP(DEALLOC_WINDOW) | STEP(DESTROY),
     STEP(CONNECT) | STEP(ALLOC_WINDOW) | STEP(BIND)},
    {"no windows", "windowless", STEP(DEREGISTER), STEP(REGISTER) | STEP(CONNECT)},
};

#define MECHANISMS (sizeof mechanisms / sizeof mechanisms[0])

struct measured {
    struct lks_samples steps[LKS_RAW_STEPS];
    struct lks_samples revoke[MECHANISMS];
    struct lks_samples change[MECHANISMS]; /* revoke and grant */
};

static uint64_t sum_of(uint32_t steps, const uint64_t *took_ns)
{
    uint64_t sum_ns = 0;
    for (uint32_t i = 0; i < LKS_RAW_STEPS; i++) {
        sum_ns += (steps >> i & 1u) != 0 ? took_ns[i] : 0;
    }
    return sum_ns;
}

static void note_round(struct measured *measured, const uint64_t *took_ns)
{
    const bool invalidated = took_ns[LKS_RAW_INVALIDATE] != 0;
    for (uint32_t i = 0; i < LKS_RAW_STEPS; i++) {
        if (took_ns[i] != 0) {
            lks_samples_add(&measured->steps[i], took_ns[i]);
        }
    }
    for (uint32_t m = 0; m < MECHANISMS; m++) {
        if (((mechanisms[m].revoke & STEP(INVALIDATE)) != 0) != invalidated) {
            continue; /* (no windows: the rounds without an invalidation) */
        }
        const uint64_t revoke_ns = sum_of(mechanisms[m].revoke, took_ns);
        lks_samples_add(&measured->revoke[m], revoke_ns);
        lks_samples_add(&measured->change[m], revoke_ns + sum_of(mechanisms[m].grant, took_ns));
    }
}

static void print_row(FILE *table, const char *name, struct lks_samples *samples)
{
    lks_samples_sort(samples);
    fprintf(table, "  %-38s %10.1f %10.1f %10.1f\n", name,
            (double)lks_samples_percentile(samples, 0.5) / 1e3,
            (double)lks_samples_percentile(samples, 0.99) / 1e3,
            (double)lks_samples_max(samples) / 1e3);
}

static void report(const struct lks_bench_permission_options *options, struct measured *measured)
{
    FILE *table = options->json ? stderr : stdout;
    char name[64];
    fprintf(table, "permission: device of %s, ring of %" PRIu64 " MiB, %u rounds\n",
            options->address, options->ring_bytes >> 20, options->rounds);
    fprintf(table, "  %-38s %10s %10s %10s\n", "us", "p50", "p99", "max");
    for (uint32_t i = 0; i < LKS_RAW_STEPS; i++) {
        print_row(table, step_names[i], &measured->steps[i]);
    }
    for (uint32_t m = 0; m < MECHANISMS; m++) {
        (void)snprintf(name, sizeof name, "revoke: %s", mechanisms[m].name);
        print_row(table, name, &measured->revoke[m]);
        (void)snprintf(name, sizeof name, "  and grant: %s", mechanisms[m].name);
        print_row(table, name, &measured->change[m]);
    }
    if (options->json) {
        printf("{");
        for (uint32_t m = 0; m < MECHANISMS; m++) {
            printf("\"%s_revoke_p50_ns\":%" PRIu64 ",\"%s_change_p50_ns\":%" PRIu64 ",",
                   mechanisms[m].key, lks_samples_percentile(&measured->revoke[m], 0.5),
                   mechanisms[m].key, lks_samples_percentile(&measured->change[m], 0.5));
        }
        printf("\"ring_bytes\":%" PRIu64 ",\"rounds\":%u,\"commit\":\"%s\"}\n",
               options->ring_bytes, options->rounds, LKS_COMMIT);
    }
}

static int init_samples(struct measured *measured, uint32_t rounds)
{
    int code = 0;
    for (uint32_t i = 0; i < LKS_RAW_STEPS && code == 0; i++) {
        code = lks_samples_init(&measured->steps[i], rounds);
    }
    for (uint32_t m = 0; m < MECHANISMS && code == 0; m++) {
        code = lks_samples_init(&measured->revoke[m], rounds);
        code = code == 0 ? lks_samples_init(&measured->change[m], rounds) : code;
    }
    return code;
}

static void fini_samples(struct measured *measured)
{
    for (uint32_t i = 0; i < LKS_RAW_STEPS; i++) {
        lks_samples_fini(&measured->steps[i]);
    }
    for (uint32_t m = 0; m < MECHANISMS; m++) {
        lks_samples_fini(&measured->revoke[m]);
        lks_samples_fini(&measured->change[m]);
    }
}

int lks_bench_permission(const struct lks_bench_permission_options *options,
                         struct lks_error *err)
{
    struct measured measured = {0};
    struct lks_raw_permission *permission = NULL;
    uint64_t took_ns[LKS_RAW_STEPS] = {0};
    int code = init_samples(&measured, options->rounds);
    if (code == 0) {
        code = lks_raw_permission_new(&permission, options->address, options->ring_bytes);
    }
    for (uint32_t round = 0; round < options->rounds && code == 0; round++) {
        code = lks_raw_permission_round(permission, took_ns);
        if (code == 0) {
            note_round(&measured, took_ns);
        }
    }
    if (code == 0) {
        report(options, &measured);
    } else {
        code = lks_error_set(err, code, "permission on the RDMA device of %s: %s",
                             options->address, lks_error_text(code));
    }
    lks_raw_permission_free(permission);
    fini_samples(&measured);
    return code;
}

#else

int lks_bench_permission(const struct lks_bench_permission_options *options,
                         struct lks_error *err)
{
    (void)options;
    return lks_error_set(err, -ENOTSUP, "this build has no RDMA: build with -DLKS_RDMA=ON");
}

#endif
