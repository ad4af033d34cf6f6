/* Allocations that fail on demand; see allocations.h. */
#include "tests/support/allocations.h"

#include <errno.h>
#include <hwloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static bool g_watching;
static uint64_t g_failing;
static uint64_t g_calls;
static int64_t g_live;

void allocations_begin(uint64_t failing)
{
    g_failing = failing;
    g_calls = 0;
    g_live = 0;
    g_watching = true;
}

bool allocations_end(void)
{
    g_watching = false;
    return g_calls >= g_failing || (g_failing == ALLOCATIONS_ALL && g_calls > 0);
}

uint64_t allocations_calls(void)
{
    return g_calls;
}

int64_t allocations_live(void)
{
    return g_live;
}

/* Whether the call that comes now fails. */
static bool fails(void)
{
    if (!g_watching) {
        return false;
    }
    g_calls++;
    return g_failing == ALLOCATIONS_ALL || g_calls == g_failing;
}

static void note(int64_t change)
{
    g_live += g_watching ? change : 0;
}

static void *given(void *block)
{
    note(block != NULL);
    return block;
}

#define WRAPPED(type, name, ...) \
    type __real_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

WRAPPED(void *, malloc, size_t bytes)
{
    return fails() ? NULL : given(__real_malloc(bytes));
}

WRAPPED(void *, calloc, size_t members, size_t bytes)
{
    return fails() ? NULL : given(__real_calloc(members, bytes));
}

WRAPPED(void *, aligned_alloc, size_t alignment, size_t bytes)
{
    return fails() ? NULL : given(__real_aligned_alloc(alignment, bytes));
}

WRAPPED(void, free, void *block)
{
    note(-(block != NULL));
    __real_free(block);
}

WRAPPED(void *, mmap, void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (fails()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *mapped = __real_mmap(address, bytes, protection, flags, fd, offset);
    note(mapped != MAP_FAILED);
    return mapped;
}

WRAPPED(int, munmap, void *address, size_t bytes)
{
    note(-1);
    return __real_munmap(address, bytes);
}

WRAPPED(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes,
        void *(*run)(void *), void *argument)
{
    const int rc = fails() ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
    note(rc == 0);
    return rc;
}

WRAPPED(int, pthread_join, pthread_t thread, void **result)
{
    note(-1);
    return __real_pthread_join(thread, result);
}

WRAPPED(int, eventfd, unsigned value, int flags)
{
    if (fails()) {
        errno = EMFILE;
        return -1;
    }
    return __real_eventfd(value, flags);
}

WRAPPED(int, hwloc_topology_init, hwloc_topology_t *topology)
{
    if (fails()) {
        errno = ENOMEM;
        return -1;
    }
    const int rc = __real_hwloc_topology_init(topology);
    note(rc == 0);
    return rc;
}

WRAPPED(int, hwloc_topology_load, hwloc_topology_t topology)
{
    if (fails()) {
        errno = ENOMEM;
        return -1;
    }
    return __real_hwloc_topology_load(topology);
}

WRAPPED(void, hwloc_topology_destroy, hwloc_topology_t topology)
{
    note(-1);
    __real_hwloc_topology_destroy(topology);
}

WRAPPED(hwloc_bitmap_t, hwloc_bitmap_alloc, void)
{
    return fails() ? NULL : given(__real_hwloc_bitmap_alloc());
}

WRAPPED(void, hwloc_bitmap_free, hwloc_bitmap_t bitmap)
{
    note(-(bitmap != NULL));
    __real_hwloc_bitmap_free(bitmap);
}
