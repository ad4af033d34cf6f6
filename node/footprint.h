/*
 * What a command touches, as the log has it: the leader asks the service once and writes the answer
 * with the entry; every replica, recovery and replay included, takes it from there. Pure; any
 * thread.
 *
 * A word is 16 bits: an identity (lks_footprint_identity, or a partition's number) shifted left by
 * one, plus 1 where it is written. One word that names a key lies in the entry's header
 * (footprint_word). Otherwise these bytes stand before the command (little-endian):
 *
 *   flags (1) | words (1) | words, 2 bytes each | zeros up to a multiple of 8
 *
 * Nothing read is trusted: what is of another form, length or order, or absent, as in entries of
 * older versions, touches everything (docs/journal-format.md).
 */
#ifndef LKS_NODE_FOOTPRINT_H
#define LKS_NODE_FOOTPRINT_H

#include "lockstep/service.h"
#include "pmem/journal.h"

#define LKS_FOOTPRINT_FLAG_ALL 1u  /* no words: all partitions */
#define LKS_FOOTPRINT_FLAG_TIED 2u
#define LKS_FOOTPRINT_FLAG_KEYS 4u /* words name keys; else partitions */
#define LKS_FOOTPRINT_FLAGS 7u

/* What is logged of a footprint, among so many partitions. */
void lks_footprint_encode(struct lks_entry_footprint *logged, uint32_t partitions,
                          const struct lks_footprint *footprint);

/* What the log says. False: nothing that can be used; *footprint then says ALL, not tied. */
bool lks_footprint_decode(struct lks_footprint *footprint, uint32_t partitions,
                          const struct lks_entry *entry);

/* The command of an entry, behind what its footprint takes. */
static inline const void *lks_entry_command(const struct lks_entry *entry, size_t *bytes)
{
    const uint32_t before = lks_entry_footprint_bytes(entry->header);
    *bytes = entry->header->payload_bytes - before;
    return (const uint8_t *)entry->payload + before;
}

#endif
