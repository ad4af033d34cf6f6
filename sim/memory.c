/* Zeroed memory for regions; see memory.h. */
#include "sim/memory.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096u
#define GRAIN_BYTES 512u /* what is marked as touched, and zeroed, at once */
#define POOL_MAX 256u
#define STAGGER_BYTES 320u /* odd in cache lines: regions begin in all sets of a cache in turn */
#define ZEROED_BY_HAND_MAX 8192u /* touched grains; above that the kernel takes them all back */

static struct lks_sim_memory g_pool[POOL_MAX]; /* all zero, nothing touched */
static uint32_t g_pool_count;

static uint64_t grains_of(uint64_t size)
{
    return (size + GRAIN_BYTES - 1) / GRAIN_BYTES;
}

static uint64_t marks_of(uint64_t size)
{
    return (grains_of(size) + 63) / 64;
}

/* What was mapped for it: from here, a page more than its size. */
static uint8_t *first_page(const struct lks_sim_memory *memory)
{
    return memory->bytes - (uintptr_t)memory->bytes % PAGE_BYTES;
}

static void zero_by_hand(struct lks_sim_memory *memory)
{
    for (uint64_t mark = 0; mark < marks_of(memory->size); mark++) {
        while (memory->touched[mark] != 0) {
            const uint64_t grain = mark * 64 + (uint64_t)__builtin_ctzll(memory->touched[mark]);
            memory->touched[mark] &= memory->touched[mark] - 1;
            const uint64_t left = memory->size - grain * GRAIN_BYTES;
            memset(memory->bytes + grain * GRAIN_BYTES, 0,
                   left < GRAIN_BYTES ? left : GRAIN_BYTES);
        }
    }
}

static void zero(struct lks_sim_memory *memory)
{
    uint64_t touched = 0;
    for (uint64_t mark = 0; mark < marks_of(memory->size); mark++) {
        touched += (uint64_t)__builtin_popcountll(memory->touched[mark]);
    }
    if (touched <= ZEROED_BY_HAND_MAX) {
        zero_by_hand(memory);
        return;
    }
    const int emptied = madvise(first_page(memory), memory->size + PAGE_BYTES, MADV_DONTNEED);
    LKS_ASSERT(emptied == 0);
    memset(memory->touched, 0, marks_of(memory->size) * sizeof *memory->touched);
}

/* Regions are alike, and their busy lines lie at the same offsets: if all began with a page, these
 * would drive each other out of the processor's first cache. */
static struct lks_sim_memory take(uint64_t size)
{
    static uint32_t stagger;
    for (uint32_t i = g_pool_count; i > 0; i--) {
        if (g_pool[i - 1].size == size) {
            const struct lks_sim_memory found = g_pool[i - 1];
            g_pool_count--;
            g_pool[i - 1] = g_pool[g_pool_count];
            return found;
        }
    }
    uint8_t *mapped = mmap(NULL, size + PAGE_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    LKS_ASSERT(mapped != MAP_FAILED);
    (void)madvise(mapped, size + PAGE_BYTES, MADV_NOHUGEPAGE); /* most of it is never touched */
    stagger = (stagger + STAGGER_BYTES) % PAGE_BYTES;
    uint64_t *touched = calloc(marks_of(size), sizeof *touched);
    LKS_ASSERT(touched != NULL);
    return (struct lks_sim_memory){.bytes = mapped + stagger, .size = size, .touched = touched};
}

void lks_sim_memory_release(struct lks_sim_memory *memory)
{
    if (memory->bytes != NULL && g_pool_count < POOL_MAX) {
        zero(memory);
        g_pool[g_pool_count] = *memory;
        g_pool_count++;
    } else if (memory->bytes != NULL) {
        const int unmapped = munmap(first_page(memory), memory->size + PAGE_BYTES);
        LKS_ASSERT(unmapped == 0);
        free(memory->touched);
    }
    *memory = (struct lks_sim_memory){0};
}

void lks_sim_memory_renew(struct lks_sim_memory *memory, uint64_t size)
{
    if (memory->bytes != NULL && memory->size == size) {
        zero(memory);
        return;
    }
    lks_sim_memory_release(memory);
    if (size > 0) {
        *memory = take(size);
    }
}

void lks_sim_memory_touch(struct lks_sim_memory *memory, uint64_t offset, uint64_t bytes)
{
    LKS_ASSERT(bytes > 0 && bytes <= memory->size && offset <= memory->size - bytes);
    const uint64_t last = (offset + bytes - 1) / GRAIN_BYTES;
    for (uint64_t grain = offset / GRAIN_BYTES; grain <= last; grain++) {
        memory->touched[grain / 64] |= UINT64_C(1) << (grain % 64);
    }
}

void lks_sim_memory_zero_touched(const struct lks_sim_memory *memory, uint8_t *image)
{
    for (uint64_t mark = 0; mark < marks_of(memory->size); mark++) {
        for (uint64_t left = memory->touched[mark]; left != 0; left &= left - 1) {
            const uint64_t at = (mark * 64 + (uint64_t)__builtin_ctzll(left)) * GRAIN_BYTES;
            const uint64_t rest = memory->size - at;
            memset(image + at, 0, rest < GRAIN_BYTES ? rest : GRAIN_BYTES);
        }
    }
}

void lks_sim_memory_touch_all(struct lks_sim_memory *memory)
{
    const uint64_t grains = grains_of(memory->size);
    for (uint64_t grain = 0; grain < grains; grain++) {
        memory->touched[grain / 64] |= UINT64_C(1) << (grain % 64);
    }
}
