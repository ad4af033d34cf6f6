/* Pairs of slots; see slots.h. */
#include "pmem/slots.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "pmem/layout.h"

#include <string.h>

static struct lks_slot *copy_at(const struct lks_slots *slots, unsigned page, unsigned copy)
{
    return (struct lks_slot *)(slots->pages + page * LKS_JOURNAL_PAGE +
                               copy * (size_t)LKS_SLOT_SECOND_COPY_AT);
}

static uint32_t slot_checksum(const struct lks_slot *slot)
{
    const unsigned char *bytes = (const unsigned char *)slot;
    return lks_crc32c(0, bytes + sizeof slot->checksum, sizeof *slot - sizeof slot->checksum);
}

/* Copies one copy out of a page, if it is whole. */
static bool read_copy(const struct lks_slots *slots, unsigned page, unsigned copy,
                      struct lks_slot *out)
{
    memcpy(out, copy_at(slots, page, copy), sizeof *out);
    return out->checksum == slot_checksum(out) && out->kind == (uint32_t)slots->kind &&
           out->payload_bytes == slots->payload_bytes && out->generation != 0 &&
           (out->generation & 1) == page;
}

/* The newer of the whole copies of a page. */
static bool read_page(const struct lks_slots *slots, unsigned page, struct lks_slot *out)
{
    struct lks_slot second;
    const bool first_whole = read_copy(slots, page, 0, out);
    const bool second_whole = read_copy(slots, page, 1, &second);
    if (second_whole && (!first_whole || second.generation > out->generation)) {
        *out = second;
    }
    return first_whole || second_whole;
}

static int write_copies(const struct lks_slots *slots, unsigned page, const struct lks_slot *slot)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        const int rc = lks_medium_store(slots->medium, copy_at(slots, page, copy), slot,
                                        sizeof *slot);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static void make_slot(const struct lks_slots *slots, uint64_t generation, const void *payload,
                      struct lks_slot *slot)
{
    memset(slot, 0, sizeof *slot);
    slot->kind = (uint32_t)slots->kind;
    slot->generation = generation;
    slot->payload_bytes = slots->payload_bytes;
    memcpy(slot->payload, payload, slots->payload_bytes);
    slot->checksum = slot_checksum(slot);
}

void lks_slots_init(struct lks_slots *slots, void *pages, const struct lks_medium *medium,
                    enum lks_slot_kind kind, uint32_t payload_bytes)
{
    LKS_ASSERT(payload_bytes <= LKS_SLOT_PAYLOAD_MAX);
    *slots = (struct lks_slots){
        .pages = pages, .medium = medium, .kind = kind, .payload_bytes = payload_bytes};
}

int lks_slots_format(struct lks_slots *slots, const void *payload)
{
    struct lks_slot slot;
    for (uint64_t generation = 1; generation <= 2; generation++) {
        make_slot(slots, generation, payload, &slot);
        const int rc = write_copies(slots, generation & 1, &slot);
        if (rc < 0) {
            return rc;
        }
    }
    slots->generation = 2;
    return 0;
}

int lks_slots_load(struct lks_slots *slots, void *payload)
{
    struct lks_slot even;
    struct lks_slot odd;
    if (!read_page(slots, 0, &even) || !read_page(slots, 1, &odd)) {
        return -LKS_EDAMAGED;
    }
    const bool even_is_newer = even.generation > odd.generation;
    const struct lks_slot *newer = even_is_newer ? &even : &odd;
    const struct lks_slot *older = even_is_newer ? &odd : &even;
    if (newer->generation - older->generation != 1) {
        return -LKS_EDAMAGED; /* written in turn: a page that fell further behind was lost */
    }
    slots->generation = newer->generation;
    memcpy(payload, newer->payload, slots->payload_bytes);
    return 0;
}

int lks_slots_repair(struct lks_slots *slots)
{
    for (unsigned page = 0; page < 2; page++) {
        struct lks_slot slot;
        const bool found = read_page(slots, page, &slot);
        LKS_ASSERT(found); /* the load would have failed */
        for (unsigned copy = 0; copy < 2; copy++) {
            struct lks_slot *there = copy_at(slots, page, copy);
            /* Also where it is there already: see store_again in recovery.c. */
            const int rc = lks_medium_store(slots->medium, there, &slot, sizeof slot);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

int lks_slots_write(struct lks_slots *slots, const void *payload)
{
    struct lks_slot slot;
    LKS_ASSERT(slots->generation != 0);
    make_slot(slots, slots->generation + 1, payload, &slot);
    const int rc = write_copies(slots, slot.generation & 1, &slot);
    if (rc < 0) {
        return rc;
    }
    slots->generation = slot.generation;
    return 0;
}
