/*
 * The address by which this machine's RDMA devices are reached, for a new configuration that names
 * none. Reads sysfs and the interfaces' addresses; main thread.
 */
#ifndef LKS_CLIENT_RDMA_ADDRESS_H
#define LKS_CLIENT_RDMA_ADDRESS_H

#include "base/error.h"
#include "node/value.h"

#define LKS_RDMA_ADDRESS_SYSFS "/sys/class/infiniband"

/*
 * The first IPv4 address of an interface that a device below `sysfs` belongs to, devices in the
 * order of their names: RoCE tells the interface by its GIDs, InfiniBand by the IPoIB interface of
 * the same adapter. -ENODEV: there is none, or it has no address; err says the way out.
 */
int lks_rdma_address_find(const char *sysfs, char address[LKS_ADDRESS_TEXT_MAX],
                          struct lks_error *err);

#endif
