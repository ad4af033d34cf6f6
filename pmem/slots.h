/*
 * A pair of slots: one small record that is replaced as a whole or not at all, and of which no
 * acknowledged value is ever mistaken for a torn write.
 *
 * Generation g lies in page g & 1, twice: the first copy is made durable before the second is
 * touched. So a write that is cut short leaves at least one whole copy in its page, and a page
 * without any is damage, never a tear. Used by the journal on its own thread.
 */
#ifndef LKS_PMEM_SLOTS_H
#define LKS_PMEM_SLOTS_H

#include "pmem/medium.h"

#include <stdint.h>

#define LKS_SLOT_BYTES 256u
#define LKS_SLOT_PAYLOAD_MAX 232u
#define LKS_SLOT_SECOND_COPY_AT 2048u

/* On the medium. */
struct lks_slot {
    uint32_t checksum; /* CRC32C over the other 252 bytes */
    uint32_t kind;
    uint64_t generation;
    uint32_t payload_bytes;
    uint32_t reserved;
    uint8_t payload[LKS_SLOT_PAYLOAD_MAX]; /* zeros behind payload_bytes */
};

_Static_assert(sizeof(struct lks_slot) == LKS_SLOT_BYTES, "slot layout");

enum lks_slot_kind {
    LKS_SLOT_IDENTITY = 0x4e454449, /* "IDEN" */
    LKS_SLOT_PROMISE = 0x4d4f5250,  /* "PROM" */
    LKS_SLOT_BASE = 0x45534142      /* "BASE" */
};

struct lks_slots {
    unsigned char *pages; /* two, 4096 bytes each; not owned */
    const struct lks_medium *medium;
    enum lks_slot_kind kind;
    uint32_t payload_bytes;
    uint64_t generation; /* of the value that load, format or write left */
};

/* Nothing is read or written yet. pages and medium must outlive slots. */
void lks_slots_init(struct lks_slots *slots, void *pages, const struct lks_medium *medium,
                    enum lks_slot_kind kind, uint32_t payload_bytes);

/* Makes payload the value of both pages, durably. For a journal under creation. Errors: errno. */
int lks_slots_format(struct lks_slots *slots, const void *payload);

/* Finds the newest value and copies it to payload; changes nothing. -LKS_EDAMAGED: a page has no
 * whole copy, or the pages do not belong together; payload is untouched. */
int lks_slots_load(struct lks_slots *slots, void *payload);

/* After a load: makes both copies of each page whole and equal again, and everything loaded
 * durable (a value of a killed process may be visible without being durable). Errors: errno. */
int lks_slots_repair(struct lks_slots *slots);

/* Replaces the value; durable when it returns 0. Errors: errno; then either value may be found
 * by a later load. */
int lks_slots_write(struct lks_slots *slots, const void *payload);

#endif
