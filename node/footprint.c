/* Footprints in the log; see footprint.h. */
#include "node/footprint.h"

#include "base/assert.h"

#include <string.h>

#define HEAD_BYTES 2u
#define WORD_BYTES 2u

_Static_assert(HEAD_BYTES + WORD_BYTES * LKS_FOOTPRINT_MAX <= LKS_ENTRY_FOOTPRINT_MAX,
               "the longest footprint fits");
_Static_assert(LKS_PARTITIONS_MAX <= LKS_FOOTPRINT_IDENTITIES, "a word can name any partition");

static uint32_t rounded(uint32_t words)
{
    return (HEAD_BYTES + WORD_BYTES * words + 7) / 8 * 8;
}

/* ---- writing -------------------------------------------------------------------------------- */

static uint16_t key_word(uint64_t key, uint32_t partitions)
{
    return (uint16_t)(lks_footprint_identity(key >> 1, partitions) << 1 | (key & 1));
}

static uint16_t partition_word(const struct lks_footprint *footprint, uint32_t i)
{
    const bool reads = (footprint->reads >> i & 1) != 0;
    return (uint16_t)(footprint->partitions[i] << 1 | (reads ? 0 : 1));
}

static void put_word(uint8_t *at, uint16_t word)
{
    at[0] = (uint8_t)word;
    at[1] = (uint8_t)(word >> 8);
}

void lks_footprint_encode(struct lks_entry_footprint *logged, uint32_t partitions,
                          const struct lks_footprint *footprint)
{
    const bool all = footprint->count == LKS_FOOTPRINT_ALL;
    const bool keys = !all && footprint->keys_count != 0;
    LKS_ASSERT(all || footprint->count <= LKS_FOOTPRINT_MAX);
    LKS_ASSERT(footprint->keys_count <= LKS_FOOTPRINT_MAX);
    if (keys && footprint->keys_count == 1 && !footprint->tied) {
        logged->bytes = LKS_ENTRY_FOOTPRINT_HERE;
        logged->word = key_word(footprint->keys[0], partitions);
        return;
    }
    const uint32_t words = all ? 0 : keys ? footprint->keys_count : footprint->count;
    logged->bytes = (uint16_t)rounded(words);
    logged->word = LKS_ENTRY_FOOTPRINT_BEHIND;
    memset(logged->data, 0, logged->bytes);
    logged->data[0] = (uint8_t)((all ? LKS_FOOTPRINT_FLAG_ALL : 0) |
                                (footprint->tied ? LKS_FOOTPRINT_FLAG_TIED : 0) |
                                (keys ? LKS_FOOTPRINT_FLAG_KEYS : 0));
    logged->data[1] = (uint8_t)words;
    for (uint32_t i = 0; i < words; i++) {
        put_word(logged->data + HEAD_BYTES + WORD_BYTES * i,
                 keys ? key_word(footprint->keys[i], partitions) : partition_word(footprint, i));
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Enters a word's partition at its place. */
static void add_partition(struct lks_footprint *footprint, uint16_t partition, bool write)
{
    uint32_t place = 0;
    while (place < footprint->count && footprint->partitions[place] < partition) {
        place++;
    }
    const uint16_t bit = (uint16_t)(1u << place);
    if (place < footprint->count && footprint->partitions[place] == partition) {
        footprint->reads = write ? footprint->reads & (uint16_t)~bit : footprint->reads;
        return;
    }
    for (uint32_t i = footprint->count; i > place; i--) {
        footprint->partitions[i] = footprint->partitions[i - 1];
    }
    const uint16_t below = footprint->reads & (uint16_t)(bit - 1);
    const uint16_t above = (uint16_t)((footprint->reads & ~(bit - 1)) << 1);
    footprint->reads = (uint16_t)(below | above | (write ? 0 : bit));
    footprint->partitions[place] = partition;
    footprint->count++;
}

static void take_key(struct lks_footprint *footprint, uint32_t partitions, uint16_t word)
{
    const uint16_t identity = word >> 1;
    footprint->keys[footprint->keys_count] = word;
    footprint->keys_count++;
    add_partition(footprint, (uint16_t)(identity % partitions), (word & 1) != 0);
}

static bool say_all(struct lks_footprint *footprint)
{
    *footprint = (struct lks_footprint){.count = LKS_FOOTPRINT_ALL};
    return false;
}

static bool read_words(struct lks_footprint *footprint, uint32_t partitions, const uint8_t *data,
                       uint32_t words)
{
    const bool keys = (data[0] & LKS_FOOTPRINT_FLAG_KEYS) != 0;
    for (uint32_t i = 0; i < words; i++) {
        const uint8_t *at = data + HEAD_BYTES + WORD_BYTES * i;
        const uint16_t word = (uint16_t)(at[0] | at[1] << 8);
        if (keys) {
            take_key(footprint, partitions, word);
        } else if ((word >> 1) < partitions) {
            add_partition(footprint, word >> 1, (word & 1) != 0);
        } else {
            return false;
        }
    }
    return true;
}

static bool read_behind(struct lks_footprint *footprint, uint32_t partitions,
                        const struct lks_entry *entry)
{
    const uint8_t *data = entry->payload;
    const uint32_t bytes = entry->header->footprint_bytes;
    const uint32_t words = bytes >= HEAD_BYTES ? data[1] : UINT32_MAX;
    if (words > LKS_FOOTPRINT_MAX || bytes != rounded(words) ||
        (data[0] & ~LKS_FOOTPRINT_FLAGS) != 0) {
        return say_all(footprint);
    }
    const bool all = (data[0] & LKS_FOOTPRINT_FLAG_ALL) != 0;
    const bool keys = (data[0] & LKS_FOOTPRINT_FLAG_KEYS) != 0;
    if ((all && words != 0) || (keys && (all || words == 0)) ||
        !read_words(footprint, partitions, data, words)) {
        return say_all(footprint);
    }
    footprint->tied = (data[0] & LKS_FOOTPRINT_FLAG_TIED) != 0;
    footprint->count = all ? LKS_FOOTPRINT_ALL : footprint->count;
    return true;
}

bool lks_footprint_decode(struct lks_footprint *footprint, uint32_t partitions,
                          const struct lks_entry *entry)
{
    lks_footprint_clear(footprint);
    if (entry->header->footprint_bytes == LKS_ENTRY_FOOTPRINT_HERE) {
        take_key(footprint, partitions, entry->header->footprint_word);
        return true;
    }
    return entry->header->footprint_bytes == 0 ? say_all(footprint)
                                               : read_behind(footprint, partitions, entry);
}
