/*
 * A log entry as it lies in the ring, and the point in the log behind an entry.
 *
 * The ring is byte-identical on all replicas: where entry i lies follows from the log's content
 * alone. An offset counts bytes from the beginning of the log and never goes back; its place in
 * the ring is offset mod ring_bytes. An entry never wraps: where the rest of the ring is too
 * short, an entry of kind PAD, with an index of its own, fills it. All sizes are multiples of 64,
 * so that no two entries share a cache line. Format: docs/journal-format.md.
 */
#ifndef LKS_PMEM_ENTRY_H
#define LKS_PMEM_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#define LKS_ENTRY_ALIGN 64u

/* No term, index, offset or incarnation in a journal reaches this, which a log that grows by 1 GB
 * a second would do after 146 years: nothing that is computed from them overflows. */
#define LKS_JOURNAL_NUMBER_MAX (UINT64_C(1) << 62)

enum lks_entry_kind {
    LKS_ENTRY_NOOP = 1,    /* first entry of a term */
    LKS_ENTRY_COMMAND = 2, /* payload: a command of the service */
    LKS_ENTRY_PAD = 3,     /* payload: zeros up to the end of the ring */
    LKS_ENTRY_TICK = 4,    /* no payload: the leader's time moves on */
    LKS_ENTRY_MEMBERS = 5  /* payload: struct lks_members_record */
};

#define LKS_ENTRY_KINDS 6u /* one more than the last kind */

/* Little-endian, 64 bytes, at a 64-byte boundary, followed by the payload and zeros to 64. */
struct lks_entry_header {
    uint32_t checksum;      /* CRC32C over bytes 4..63 and the payload, seeded with the
                               checksum of the entry before: the chain */
    uint32_t payload_bytes; /* without the zeros behind it */
    uint64_t index;         /* 1 for the first entry of the log */
    uint64_t term;
    uint64_t previous_term; /* term of entry index - 1; 0 for the first */
    uint16_t kind;          /* enum lks_entry_kind */
    uint16_t flags;         /* 0; others are refused */
    uint16_t footprint_bytes; /* COMMAND: of its footprint, before the command in the payload; 0:
                                 none; LKS_ENTRY_FOOTPRINT_HERE: footprint_word is all of it */
    uint16_t footprint_word;  /* else 0, or LKS_ENTRY_FOOTPRINT_BEHIND where some bytes are */
    uint64_t session;       /* COMMAND: gateway (replica << 48 | incarnation); else 0 */
    uint64_t sequence;      /* COMMAND: 1, 2, ... within the session; else 0 */
    uint64_t time_ns;       /* the leader's time, CLOCK_REALTIME; never goes back in a log */
};

_Static_assert(sizeof(struct lks_entry_header) == 64, "entry header is one cache line");
_Static_assert(offsetof(struct lks_entry_header, session) == 40, "entry header layout");
_Static_assert(offsetof(struct lks_entry_header, footprint_bytes) == 36, "entry header layout");

/*
 * A command's footprint as it travels: what its bytes mean is the replica's business
 * (node/footprint.h). One word fits into the header; more stand before the command. The word that
 * goes with them is such that a version that knows no footprints refuses the entry: it would take
 * both fields for one length, which no payload has.
 */
#define LKS_ENTRY_FOOTPRINT_MAX 40u     /* bytes, a multiple of 8 */
#define LKS_ENTRY_FOOTPRINT_HERE 0xffffu
#define LKS_ENTRY_FOOTPRINT_BEHIND 0xffffu

struct lks_entry_footprint {
    uint16_t bytes; /* as footprint_bytes */
    uint16_t word;  /* as footprint_word */
    uint8_t data[LKS_ENTRY_FOOTPRINT_MAX];
};

/* Bytes of the payload before the command. */
static inline uint32_t lks_entry_footprint_bytes(const struct lks_entry_header *header)
{
    return header->footprint_bytes == LKS_ENTRY_FOOTPRINT_HERE ? 0 : header->footprint_bytes;
}

/*
 * The point behind an entry: everything needed to check or append the next one. The zeroed point
 * is the beginning of the log.
 */
struct lks_log_point {
    uint64_t index;  /* of the entry before this point */
    uint64_t term;   /* of that entry */
    uint64_t offset; /* first byte behind it */
    uint32_t chain;  /* its checksum */
    uint32_t reserved;
};

/* Bytes that an entry with this payload takes in the ring. */
static inline uint64_t lks_entry_span(uint64_t payload_bytes)
{
    return sizeof(struct lks_entry_header) +
           ((payload_bytes + LKS_ENTRY_ALIGN - 1) & ~(uint64_t)(LKS_ENTRY_ALIGN - 1));
}

/* The checksum that header (its checksum field is ignored) and payload have after `chain`. */
uint32_t lks_entry_checksum(const struct lks_entry_header *header, const void *payload,
                            uint32_t chain);

/* The same for a payload in two parts: the footprint, and what follows it. */
uint32_t lks_entry_checksum_parts(const struct lks_entry_header *header, const void *footprint,
                                  const void *command, uint32_t chain);

#endif
