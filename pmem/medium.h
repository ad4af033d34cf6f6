/*
 * What the bytes of a journal lie on: how that is found out, how such bytes are allocated and
 * mapped, and which of stores.h makes them durable. The one place that knows about sysfs.
 * Detection and mapping: the journal's thread; _persist: any thread.
 */
#ifndef LKS_PMEM_MEDIUM_H
#define LKS_PMEM_MEDIUM_H

#include "base/error.h"
#include "pmem/journal.h"

#include <stddef.h>
#include <stdint.h>

/* Where the kernel describes its devices; tests give a tree of their own. */
#define LKS_MEDIUM_SYSFS "/sys"

/*
 * Fills medium for the open file or device fd. path is for the messages only.
 * Errors: -EINVAL (neither a regular file nor device DAX), errno of fstat and statfs.
 */
int lks_medium_detect(int fd, const char *path, const char *sysfs, struct lks_medium *medium,
                      struct lks_error *err);

/* Size of a device DAX and the alignment of its mappings, in bytes. Errors: -ENODEV. */
int lks_medium_device_geometry(int fd, const char *sysfs, uint64_t *bytes, uint64_t *alignment);

/* A mapping, owned by whoever mapped it. */
struct lks_mapping {
    unsigned char *address; /* 2 MiB aligned */
    uint64_t bytes;         /* at least what was asked for */
};

/* Makes sure that a new file has room for all its bytes, which read as zeros. Errors: -ENOSPC,
 * -EDQUOT, -EFBIG and other errno of posix_fallocate. */
int lks_medium_allocate(int fd, uint64_t bytes);

/* The same for a part of a sparse file, within its size. */
int lks_medium_extend(int fd, uint64_t from, uint64_t bytes);

/* Maps the first `bytes` of fd, shared, not inherited by fork; a writable mapping of memory-like
 * media has its pages from the beginning, unless the file is sparse. Errors: errno of mmap. */
int lks_medium_map(const struct lks_medium *medium, int fd, uint64_t bytes, bool writable,
                   struct lks_mapping *mapping);
void lks_medium_unmap(struct lks_mapping *mapping);

/* Makes bytes already stored at address durable. Errors: errno of msync. */
int lks_medium_persist(const struct lks_medium *medium, const void *address, size_t bytes);

/* Copies and makes durable. Errors: errno of msync. */
int lks_medium_store(const struct lks_medium *medium, void *to, const void *from, size_t bytes);

#endif
