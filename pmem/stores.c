/* Stores, write-backs and fences; see stores.h. Nothing in this file calls its neighbour: a call
 * within one file could not be seen by who stands in for it. */
#include "pmem/stores.h"

#include <errno.h>
#include <libpmem.h>
#include <string.h>

void lks_store_copy(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

void lks_store_zero(void *to, size_t bytes)
{
    memset(to, 0, bytes);
}

void lks_store_write_back(const void *address, size_t bytes)
{
    pmem_flush(address, bytes);
}

void lks_store_fence(void)
{
    pmem_drain();
}

int lks_store_sync(const void *address, size_t bytes)
{
    return pmem_msync(address, bytes) < 0 ? -errno : 0;
}
