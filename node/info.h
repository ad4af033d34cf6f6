/*
 * What a replica says of itself in INFO: one `key:value` line each, as Redis does. Called by the
 * server on the loop's thread; allocates nothing.
 */
#ifndef LKS_NODE_INFO_H
#define LKS_NODE_INFO_H

#include "node/assembly.h"
#include "node/client_port.h"

#include <stddef.h>

/*
 * Writes the section that INFO's argument names (in any case): none, "all", "everything",
 * "default" and "lockstep" give "# Lockstep"; "lockstep_hash" gives the hash of the state, which
 * costs a walk over all of it. Returns the bytes written, 0 for other sections. Lines that do not
 * fit in bytes_max are left out.
 */
size_t lks_info_text(const struct lks_assembly *assembly, const char *section, char *text,
                     size_t bytes_max);

/* Writes what is attached to the port for clients on the fabric, in the sections above and in one
 * of its own, "lockstep_clients". As lks_info_text. */
size_t lks_info_clients_text(const struct lks_client_port *port, const char *section, char *text,
                             size_t bytes_max);

#endif
