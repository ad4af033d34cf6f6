/* What a log lies in where a device is to reach it; see ring_memory.h. */
#include "node/ring_memory.h"

#include "base/error.h"
#include "pmem/pages.h"
#include "sched/memory_node.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#define MIB (UINT64_C(1) << 20)
#define KIB UINT64_C(1024)
#define HEAD_BYTES (LKS_JOURNAL_HEAD_BYTES + LKS_JOURNAL_CONTROL_BYTES) /* before the ring */

static void describe_node(struct lks_ring_memory *ring, const struct lks_medium *medium,
                          const struct lks_log_memory *memory, int node, char *text, size_t bytes)
{
    struct lks_error err = {0};
    if (node < 0) {
        (void)snprintf(text, bytes, "the device has no NUMA node");
        return;
    }
    int code = lks_memory_node_begin(&ring->near, (uint32_t)node, &err);
    if (code != 0) {
        (void)snprintf(text, bytes, "not placed by NUMA node: %.70s", err.text);
    } else if (medium->kind != LKS_MEDIUM_MEMORY) {
        (void)snprintf(text, bytes, "the device is on NUMA node %d, the medium where it is", node);
    } else {
        code = lks_memory_node_take(ring->near, memory->address, memory->bytes);
        (void)snprintf(text, bytes, "%s NUMA node %d, the device's%s%.50s",
                       code == 0 ? "on" : "not on", node, code == 0 ? "" : ": ",
                       code == 0 ? "" : lks_error_text(code));
    }
}

static void describe_pages(const struct lks_log_memory *memory, char *text, size_t bytes)
{
    struct lks_pages pages;
    const unsigned char *first = (const unsigned char *)memory->address + HEAD_BYTES;
    if (lks_pages_look(LKS_PAGES_SMAPS, first, &pages) != 0) {
        (void)snprintf(text, bytes, "pages not known");
    } else if (pages.page_bytes >= 2 * MIB) {
        (void)snprintf(text, bytes, "pages of %" PRIu64 " MiB", pages.page_bytes / MIB);
    } else {
        (void)snprintf(text, bytes, "pages of %" PRIu64 " KiB, %" PRIu64 " of %" PRIu64
                       " MiB in huge pages", pages.page_bytes / KIB, pages.huge_bytes / MIB,
                       pages.mapped_bytes / MIB);
    }
}

void lks_ring_memory_prepare(struct lks_ring_memory *ring, const struct lks_medium *medium,
                             const struct lks_log_memory *memory, int node)
{
    char where[LKS_RING_MEMORY_TEXT_MAX / 2];
    char pages[LKS_RING_MEMORY_TEXT_MAX / 2];
    *ring = (struct lks_ring_memory){0};
    describe_node(ring, medium, memory, node, where, sizeof where);
    if (medium->kind == LKS_MEDIUM_MEMORY) {
        lks_pages_make_huge(memory->address, memory->bytes);
    }
    describe_pages(memory, pages, sizeof pages);
    (void)snprintf(ring->text, sizeof ring->text, "%.98s; %.98s", pages, where);
}

void lks_ring_memory_settled(struct lks_ring_memory *ring)
{
    lks_memory_node_end(ring->near);
    ring->near = NULL;
}
