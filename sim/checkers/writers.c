/* At most one writer per ring; see writers.h. */
#include "sim/checkers/writers.h"

#include <inttypes.h>

void lks_sim_writers_granted(struct lks_sim_writers *writers, uint32_t owner, uint32_t writer)
{
    const uint32_t others = writers->standing[owner] & ~(1u << writer);
    if (others != 0) {
        lks_sim_verdict_break(writers->verdict, "one writer per ring",
                              "replica %" PRIu32 " let replica %" PRIu32
                              " write while permissions of 0x%" PRIx32 " (bits) stand",
                              owner, writer, others);
    }
    writers->standing[owner] |= 1u << writer;
}

void lks_sim_writers_revoked(struct lks_sim_writers *writers, uint32_t owner, uint32_t writer)
{
    writers->standing[owner] &= ~(1u << writer);
}

void lks_sim_writers_unfenced(struct lks_sim_writers *writers, uint32_t owner, uint32_t writer)
{
    lks_sim_verdict_break(writers->verdict, "one writer per ring",
                          "a write of replica %" PRIu32 " lands in the ring of replica %" PRIu32
                          " after its revocation has completed",
                          writer, owner);
}

void lks_sim_writers_leads(struct lks_sim_writers *writers, uint32_t owner)
{
    if (writers->standing[owner] != 0) {
        lks_sim_verdict_break(writers->verdict, "one writer per ring",
                              "replica %" PRIu32 " leads while permissions of 0x%" PRIx32
                              " (bits) on its ring stand",
                              owner, writers->standing[owner]);
    }
}
