/* Memory of simulated replicas; see heap.h. */
#include "sim/heap.h"

#include "base/assert.h"
#include "verbs/fabric.h"

#include <malloc.h>

static int64_t g_bytes[LKS_REPLICAS_MAX + 1];
static uint32_t g_entered;

uint32_t lks_sim_heap_enter(uint32_t replica)
{
    LKS_ASSERT(replica <= LKS_REPLICAS_MAX);
    const uint32_t before = g_entered;
    g_entered = replica;
    return before;
}

int64_t lks_sim_heap_bytes(uint32_t replica)
{
    LKS_ASSERT(replica <= LKS_REPLICAS_MAX);
    return g_bytes[replica];
}

void lks_sim_heap_forget(uint32_t replica)
{
    LKS_ASSERT(replica <= LKS_REPLICAS_MAX);
    g_bytes[replica] = 0;
}

static void *count(void *block)
{
    if (g_entered != 0 && block != NULL) {
        g_bytes[g_entered] += (int64_t)malloc_usable_size(block);
    }
    return block;
}

static void discount(void *block)
{
    if (g_entered != 0 && block != NULL) {
        g_bytes[g_entered] -= (int64_t)malloc_usable_size(block);
    }
}

void *__wrap_malloc(size_t bytes)
{
    return count(__real_malloc(bytes));
}

void *__wrap_calloc(size_t members, size_t bytes)
{
    return count(__real_calloc(members, bytes));
}

void *__wrap_realloc(void *block, size_t bytes)
{
    const size_t before = g_entered != 0 && block != NULL ? malloc_usable_size(block) : 0;
    void *moved = __real_realloc(block, bytes);
    if (moved != NULL) {
        g_bytes[g_entered] -= g_entered != 0 ? (int64_t)before : 0;
        (void)count(moved);
    }
    return moved;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return count(__real_aligned_alloc(alignment, bytes));
}

void __wrap_free(void *block)
{
    discount(block);
    __real_free(block);
}
