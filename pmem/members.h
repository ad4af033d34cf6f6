/*
 * The cluster's members as the log and the snapshots hold them: the payload of a MEMBERS entry, and
 * a part of each snapshot's meta. Plain data; whoever appends it has had it checked by the core.
 * Format: docs/journal-format.md, "Members".
 */
#ifndef LKS_PMEM_MEMBERS_H
#define LKS_PMEM_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_MEMBERS_SLOTS 7u
#define LKS_MEMBERS_VERSION 1u
#define LKS_MEMBERS_ADDRESS_BYTES 64u

/* Where a member is reached; texts end with a zero byte, empty: the configuration says it. */
struct lks_member_addresses {
    char clients[LKS_MEMBERS_ADDRESS_BYTES];
    char fabric[LKS_MEMBERS_ADDRESS_BYTES];
};

/* Little-endian. Bit p of a mask is replica p; bit 0 is unused. */
struct lks_members_record {
    uint32_t version; /* LKS_MEMBERS_VERSION */
    uint8_t voters;
    uint8_t learners;
    uint8_t manual;   /* learners that are not promoted automatically */
    uint8_t reserved;
    uint64_t number;  /* counts up by one with each change; 0: the bootstrap members, which stand
                         in each journal's header and not here */
    struct lks_member_addresses addresses[LKS_MEMBERS_SLOTS]; /* of replica p at p - 1 */
};

_Static_assert(sizeof(struct lks_members_record) == 16 + 128 * LKS_MEMBERS_SLOTS,
               "members record layout");
_Static_assert(offsetof(struct lks_members_record, number) == 8, "members record layout");
_Static_assert(offsetof(struct lks_members_record, addresses) == 16, "members record layout");

/* Copies a record from `bytes` bytes at `data`. -EBADMSG: of another length or version, or nothing
 * that this code would write; *record is untouched then. */
int lks_members_record_read(struct lks_members_record *record, const void *data, size_t bytes);

#endif
