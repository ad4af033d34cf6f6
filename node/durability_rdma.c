/*
 * Durability of a medium that peers write by RDMA; see durability.h. A READ behind the writes makes
 * them durable only where what the adapter has put into memory, or into the processor's cache, is
 * already safe (design 3.3): everything that is missing or not known means pmem-ack.
 */
#include "node/durability.h"

#include <stdio.h>
#include <stdlib.h>

#define ASSERTED                                                                           \
    "asserted, not checked: the configuration says (direct_write_to_pmem) that what the " \
    "adapter writes goes past the processors' caches"

/* Why pmem-read would promise too much; NULL: it would not. */
static const char *why_not_read(const struct lks_medium *medium,
                                const struct lks_durability_adapter *adapter)
{
    if (medium->kind == LKS_MEDIUM_FSDAX) {
        return "a file with DAX needs on-demand paging, which this fabric does not use: use device "
               "DAX";
    }
    if (medium->kind != LKS_MEDIUM_DEVDAX) {
        return "the journal does not lie on device DAX";
    }
    if (getenv("PMEM_IS_PMEM_FORCE") != NULL) {
        return "PMEM_IS_PMEM_FORCE is set: what the medium is was not found out but claimed";
    }
    switch (medium->domain) {
    case LKS_DOMAIN_CPU_CACHE:
        return NULL;
    case LKS_DOMAIN_MEMORY_CONTROLLER:
        if (!adapter->direct_write_asserted) {
            return "the region's persistence domain is memory_controller: what RDMA writes may "
                   "stay in the processor's cache";
        }
        /* A driver stores like any program, whatever the root port does. */
        return adapter->hardware ? NULL
                                 : "direct_write_to_pmem is asserted, but the RDMA device is a "
                                   "software driver, whose stores stay in the processor's cache "
                                   "(persistence domain memory_controller)";
    default:
        return "the region's persistence domain is not known to be cpu_cache";
    }
}

static int choose(struct lks_durability_choice *choice, enum lks_durability durability,
                  const char *reason)
{
    choice->durability = durability;
    (void)snprintf(choice->reason, sizeof choice->reason, "%s", reason);
    return 0;
}

int lks_durability_resolve_rdma(struct lks_durability_choice *choice, enum lks_durability wish,
                                const struct lks_medium *medium,
                                const struct lks_durability_adapter *adapter,
                                const char *journal_path, struct lks_error *err)
{
    const char *why_not = why_not_read(medium, adapter);
    const bool cached = medium->domain == LKS_DOMAIN_CPU_CACHE;
    switch (wish) {
    case LKS_DURABILITY_MEMORY:
        return choose(choice, wish, "configured: nothing is flushed, a power cut of a majority "
                                    "loses acknowledged commands");
    case LKS_DURABILITY_PMEM_ACK:
        return choose(choice, wish, "configured");
    case LKS_DURABILITY_AUTO:
    case LKS_DURABILITY_PMEM_READ:
        return why_not == NULL
                   ? choose(choice, LKS_DURABILITY_PMEM_READ,
                            cached ? "device DAX whose persistence domain is cpu_cache: a READ "
                                     "behind the writes is enough"
                                   : ASSERTED)
                   : choose(choice, LKS_DURABILITY_PMEM_ACK, why_not);
    case LKS_DURABILITY_WRITER_FLUSH:
        break;
    }
    return lks_error_set(err, -LKS_ECONFIG, "journal %s: durability writer-flush is for `fabric: "
                         "shm` only, whose writer can write cache lines back: use auto, "
                         "pmem-ack, pmem-read or memory", journal_path);
}
