/* The raw floor of replication; see floor.h. */
#include "bench/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int map_region(void **address, const char *directory, uint64_t bytes)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/floor-XXXXXX", directory);
    const int fd = mkstemp(path);
    if (fd < 0) {
        return -errno;
    }
    (void)unlink(path);
    int rc = -posix_fallocate(fd, 0, (off_t)bytes);
    if (rc == 0) {
        *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        rc = *address == MAP_FAILED ? -errno : 0;
    }
    (void)close(fd);
    return rc;
}

int lks_floor_init(struct lks_floor *lowest, const char *directory, uint32_t regions,
                   uint64_t region_bytes, bool durable, struct lks_error *err)
{
    *lowest = (struct lks_floor){.region_bytes = region_bytes, .durable = durable};
    for (uint32_t i = 0; i < regions && i < LKS_FLOOR_REGIONS_MAX; i++) {
        const int rc = map_region(&lowest->address[i], directory, region_bytes);
        if (rc != 0) {
            lks_floor_fini(lowest);
            return lks_error_set(err, rc, "%s: no room for %llu bytes of floor: %s", directory,
                                 (unsigned long long)region_bytes, lks_error_text(rc));
        }
        lowest->regions = i + 1;
    }
    return 0;
}

void lks_floor_fini(struct lks_floor *lowest)
{
    for (uint32_t i = 0; i < lowest->regions; i++) {
        (void)munmap(lowest->address[i], lowest->region_bytes);
    }
    memset(lowest, 0, sizeof *lowest);
}

void lks_floor_copy(struct lks_floor *lowest, const void *source, uint64_t bytes)
{
    if (lowest->offset + bytes > lowest->region_bytes) {
        lowest->offset = 0;
    }
    for (uint32_t i = 0; i < lowest->regions; i++) {
        char *to = (char *)lowest->address[i] + lowest->offset;
        if (lowest->durable) {
            (void)pmem_memcpy_persist(to, source, bytes);
        } else {
            memcpy(to, source, bytes);
        }
    }
    lowest->offset += bytes;
}
