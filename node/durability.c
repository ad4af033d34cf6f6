/* Which durability mode a replica really runs with; see durability.h. */
#include "node/durability.h"

#include "base/assert.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const durability_names[] = {
    [LKS_DURABILITY_AUTO] = "auto",
    [LKS_DURABILITY_MEMORY] = "memory",
    [LKS_DURABILITY_WRITER_FLUSH] = "writer-flush",
    [LKS_DURABILITY_PMEM_ACK] = "pmem-ack",
    [LKS_DURABILITY_PMEM_READ] = "pmem-read",
};

const char *lks_durability_name(enum lks_durability durability)
{
    LKS_ASSERT((size_t)durability < LKS_COUNT_OF(durability_names));
    return durability_names[durability];
}

int lks_durability_parse(const char *name, enum lks_durability *durability)
{
    for (size_t i = 0; i < LKS_COUNT_OF(durability_names); i++) {
        if (strcmp(name, durability_names[i]) == 0) {
            *durability = (enum lks_durability)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int choose(struct lks_durability_choice *choice, enum lks_durability durability,
                  const char *reason)
{
    choice->durability = durability;
    (void)snprintf(choice->reason, sizeof choice->reason, "%s", reason);
    return 0;
}

int lks_durability_resolve(struct lks_durability_choice *choice, enum lks_durability wish,
                           const struct lks_medium *medium, const char *journal_path,
                           struct lks_error *err)
{
    switch (wish) {
    case LKS_DURABILITY_MEMORY:
        return choose(choice, wish, "configured: nothing is flushed, a power cut of a majority "
                                    "loses acknowledged commands");
    case LKS_DURABILITY_AUTO:
        if (medium->flush_by_cpu) {
            return choose(choice, LKS_DURABILITY_WRITER_FLUSH,
                          medium->survives_power
                              ? "the writer's cache line write-back reaches this medium"
                              : "the writer writes cache lines back as on persistent memory, "
                                "but this medium does not survive a power cut");
        }
        return choose(choice, LKS_DURABILITY_PMEM_ACK,
                      "the page cache stands before this medium: its owner syncs, then "
                      "acknowledges");
    case LKS_DURABILITY_WRITER_FLUSH:
        if (medium->flush_by_cpu) {
            return choose(choice, wish, "configured");
        }
        return lks_error_set(err, -LKS_ECONFIG,
                             "journal %s: durability writer-flush was asked for, but cache line "
                             "write-back does not make this medium durable (%s): use `durability: "
                             "pmem-ack` or `auto`, or put the journal on persistent memory",
                             journal_path, medium->reason);
    case LKS_DURABILITY_PMEM_ACK:
        return choose(choice, wish, "configured");
    case LKS_DURABILITY_PMEM_READ:
        break;
    }
    return lks_error_set(err, -LKS_ECONFIG,
                         "journal %s: durability pmem-read needs an RDMA fabric; with `fabric: "
                         "shm` use auto, writer-flush, pmem-ack or memory",
                         journal_path);
}

const char *lks_medium_name(enum lks_medium_kind kind)
{
    static const char *const names[] = {
        [LKS_MEDIUM_DEVDAX] = "devdax",
        [LKS_MEDIUM_FSDAX] = "fsdax",
        [LKS_MEDIUM_MEMORY] = "memory",
        [LKS_MEDIUM_FILE] = "file",
    };
    LKS_ASSERT((size_t)kind < LKS_COUNT_OF(names));
    return names[kind];
}

const char *lks_domain_name(enum lks_persistence_domain domain)
{
    static const char *const names[] = {
        [LKS_DOMAIN_NONE] = "none",
        [LKS_DOMAIN_CPU_CACHE] = "cpu-cache",
        [LKS_DOMAIN_MEMORY_CONTROLLER] = "memory-controller",
        [LKS_DOMAIN_STORAGE] = "storage",
        [LKS_DOMAIN_UNKNOWN] = "unknown",
    };
    LKS_ASSERT((size_t)domain < LKS_COUNT_OF(names));
    return names[domain];
}
