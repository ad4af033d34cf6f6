/*
 * With what pages memory is mapped. A ring in pages of 2 MiB costs a device and a processor fewer
 * look-ups than one in pages of 4 KiB; whether a mapping gets them is the kernel's to decide, so
 * they are asked for, and what came of it is read and said. At start, any thread; no state.
 */
#ifndef LKS_PMEM_PAGES_H
#define LKS_PMEM_PAGES_H

#include <stdint.h>

#define LKS_PAGES_SMAPS "/proc/self/smaps"

struct lks_pages {
    uint64_t mapped_bytes; /* of the mapping that the address lies in */
    uint64_t page_bytes;   /* its page size: 4 KiB; more on hugetlbfs and device DAX */
    uint64_t huge_bytes;   /* of mapped_bytes, in pages of 2 MiB though page_bytes is 4 KiB */
};

/* Asks for huge pages in the whole 2 MiB pieces of [address, address + bytes), and where the kernel
 * can (Linux 6.1) makes them at once of what is there; not where a device has pinned it. A wish:
 * memory that cannot have them, or a kernel that has none to give, changes nothing. */
void lks_pages_make_huge(void *address, uint64_t bytes);

/* What the mapping at address has, by a file like LKS_PAGES_SMAPS. -ENOENT: it tells nothing of
 * that address; errno. */
int lks_pages_look(const char *smaps, const void *address, struct lks_pages *pages);

#endif
