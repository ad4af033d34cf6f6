/*
 * A process's end of the simulated network: struct lks_fabric over sim/network.h. Freeing it is
 * the death of the process; the network keeps what was under way.
 */
#ifndef LKS_SIM_FABRIC_H
#define LKS_SIM_FABRIC_H

#include "base/error.h"
#include "sim/network.h"
#include "verbs/fabric.h"

/*
 * Starts a life of options->replica. options->log.fd (if not -1) is mapped once more, so that
 * writes of earlier lives still land while no process holds the journal. Every writer of an
 * earlier life is refused from now on, but what passed before may land until it is revoked.
 * Errors: -EINVAL, -EADDRINUSE (that replica's life has not ended), errno of mmap.
 */
int lks_fabric_sim_new(struct lks_fabric **fabric, struct lks_sim_network *network,
                       const struct lks_fabric_options *options, struct lks_error *err);

#endif
