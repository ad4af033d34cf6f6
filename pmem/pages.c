/* With what pages memory is mapped; see pages.h. */
#include "pmem/pages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES (UINT64_C(2) << 20)
#define KIB UINT64_C(1024)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1; older C libraries do not name it */
#endif

void lks_pages_make_huge(void *address, uint64_t bytes)
{
    const uint64_t skip = -(uintptr_t)address & (HUGE_BYTES - 1);
    if (bytes < skip + HUGE_BYTES) {
        return;
    }
    unsigned char *first = (unsigned char *)address + skip;
    const uint64_t whole = (bytes - skip) & ~(HUGE_BYTES - 1);
    if (madvise(first, whole, MADV_COLLAPSE) != 0 && errno == EINVAL) {
        (void)madvise(first, whole, MADV_HUGEPAGE); /* an older kernel: in its own time */
    }
}

/* "Name:   123 kB" */
static bool is_size(const char *line, const char *name, uint64_t *bytes)
{
    uint64_t kib = 0;
    const size_t length = strlen(name);
    if (strncmp(line, name, length) != 0 || sscanf(line + length, ": %" SCNu64 " kB", &kib) != 1) {
        return false;
    }
    *bytes = kib * KIB;
    return true;
}

static void take_line(const char *line, struct lks_pages *pages)
{
    uint64_t bytes = 0;
    if (is_size(line, "KernelPageSize", &bytes)) {
        pages->page_bytes = bytes;
    } else if (is_size(line, "AnonHugePages", &bytes) || is_size(line, "ShmemPmdMapped", &bytes) ||
               is_size(line, "FilePmdMapped", &bytes)) {
        pages->huge_bytes += bytes;
    }
}

int lks_pages_look(const char *smaps, const void *address, struct lks_pages *pages)
{
    char line[512];
    struct lks_pages found = {0};
    bool inside = false;
    FILE *file = fopen(smaps, "re");
    if (file == NULL) {
        return -errno;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t from = 0;
        uint64_t to = 0;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
            if (found.mapped_bytes != 0) {
                break;
            }
            inside = (uintptr_t)address >= from && (uintptr_t)address < to;
            found.mapped_bytes = inside ? to - from : 0;
        } else if (inside) {
            take_line(line, &found);
        }
    }
    (void)fclose(file);
    if (found.page_bytes == 0) {
        return -ENOENT;
    }
    *pages = found;
    return 0;
}
