/* Persistent memory by cache line; see lines.h. */
#include "sim/lines.h"

#include "base/assert.h"
#include "sim/heap.h"
#include "sim/memory.h"

#include <stdlib.h>
#include <string.h>

#define BETWEEN_MAX 6u /* values of a line between the certain one and the one that is seen */
#define DIRTY_FIRST 64u
#define LINES_COMPARED 32u /* at a time: most are certain, and the same */

/*
 * An uncertain line. Its values are numbered: 0 is in `certain`, 1 to `between` in a block of the
 * pool, between + 1 is in `seen`.
 */
struct dirty {
    uint64_t order;
    uint32_t line;
    uint32_t block;        /* of the pool, from 1; 0: none yet */
    uint32_t between;
    uint32_t written_back; /* number of the value; 0: none is under way */
};

struct block {
    uint8_t values[BETWEEN_MAX][LKS_SIM_LINE_BYTES];
};

struct lks_sim_lines {
    uint8_t *seen;
    uint8_t *certain; /* in certain_memory, which knows the pages that were stored to */
    uint64_t bytes;
    uint32_t *place_of; /* by line: its place in dirty + 1; 0: certain */
    struct lks_sim_memory certain_memory;
    struct lks_sim_memory place_memory;
    struct dirty *dirty;
    uint32_t dirty_count;
    uint32_t dirty_capacity;
    struct block *blocks; /* [0] is not used */
    uint32_t *free_blocks;
    uint32_t blocks_count;
    uint32_t free_count;
    uint32_t *pending; /* lines with a write-back since the last fence */
    uint32_t pending_count;
    uint32_t pending_capacity;
    uint64_t stores;
    uint64_t forgotten;
    bool hashed;   /* somebody has asked for the hash: it is kept up from then on */
    uint64_t hash; /* of what is certain */
};

static uint64_t places_bytes(const struct lks_sim_lines *lines)
{
    return lines->bytes / LKS_SIM_LINE_BYTES * sizeof *lines->place_of;
}

/* The world's memory, though a replica stores: not among what the replica holds. */
static void *grow(void *block, size_t bytes)
{
    const uint32_t entered = lks_sim_heap_enter(0);
    void *grown = realloc(block, bytes);
    (void)lks_sim_heap_enter(entered);
    return grown;
}

struct lks_sim_lines *lks_sim_lines_new(uint8_t *seen, uint64_t bytes)
{
    LKS_ASSERT(bytes > 0 && bytes % LKS_SIM_LINE_BYTES == 0);
    LKS_ASSERT(bytes / LKS_SIM_LINE_BYTES < UINT32_MAX);
    struct lks_sim_lines *lines = calloc(1, sizeof *lines);
    LKS_ASSERT(lines != NULL);
    lines->seen = seen;
    lines->bytes = bytes;
    lks_sim_memory_renew(&lines->certain_memory, bytes);
    lks_sim_memory_renew(&lines->place_memory, places_bytes(lines));
    lines->certain = lines->certain_memory.bytes;
    lines->place_of = (uint32_t *)(void *)lines->place_memory.bytes;
    return lines;
}

void lks_sim_lines_free(struct lks_sim_lines *lines)
{
    if (lines == NULL) {
        return;
    }
    for (uint32_t i = 0; i < lines->dirty_count; i++) {
        lines->place_of[lines->dirty[i].line] = 0; /* zeros again, though nobody touched it */
    }
    lks_sim_memory_release(&lines->certain_memory);
    lks_sim_memory_release(&lines->place_memory);
    free(lines->dirty);
    free(lines->blocks);
    free(lines->free_blocks);
    free(lines->pending);
    free(lines);
}

void lks_sim_lines_wipe(struct lks_sim_lines *lines)
{
    lks_sim_memory_zero_touched(&lines->certain_memory, lines->seen);
}

static uint8_t *line_in(uint8_t *image, uint32_t line)
{
    return image + (uint64_t)line * LKS_SIM_LINE_BYTES;
}

/* ---- what is certain ---------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 31;
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

uint64_t lks_sim_lines_line_hash(uint64_t offset, const uint8_t *bytes)
{
    uint64_t words[LKS_SIM_LINE_WORDS];
    uint64_t any = 0;
    memcpy(words, bytes, sizeof words);
    for (uint32_t i = 0; i < LKS_SIM_LINE_WORDS; i++) {
        any |= words[i];
    }
    if (any == 0) {
        return 0;
    }
    uint64_t hash = mix(offset / LKS_SIM_LINE_BYTES + 1);
    for (uint32_t i = 0; i < LKS_SIM_LINE_WORDS; i++) {
        hash = mix(hash ^ words[i]) + hash;
    }
    return hash;
}

static void make_certain(struct lks_sim_lines *lines, uint32_t line, const uint8_t *value)
{
    uint8_t *certain = line_in(lines->certain, line);
    const uint64_t offset = (uint64_t)line * LKS_SIM_LINE_BYTES;
    if (lines->hashed) {
        lines->hash += lks_sim_lines_line_hash(offset, value) -
                       lks_sim_lines_line_hash(offset, certain);
    }
    memcpy(certain, value, LKS_SIM_LINE_BYTES);
}

/* ---- blocks of values --------------------------------------------------------------------- */

static uint32_t take_block(struct lks_sim_lines *lines)
{
    if (lines->free_count > 0) {
        return lines->free_blocks[--lines->free_count];
    }
    const uint32_t count = lines->blocks_count == 0 ? DIRTY_FIRST : 2 * lines->blocks_count;
    lines->blocks = grow(lines->blocks, count * sizeof *lines->blocks);
    lines->free_blocks = grow(lines->free_blocks, count * sizeof *lines->free_blocks);
    LKS_ASSERT(lines->blocks != NULL);
    LKS_ASSERT(lines->free_blocks != NULL);
    for (uint32_t block = count - 1; block >= lines->blocks_count && block > 0; block--) {
        lines->free_blocks[lines->free_count++] = block;
    }
    lines->blocks_count = count;
    return lines->free_blocks[--lines->free_count];
}

static void give_block(struct lks_sim_lines *lines, struct dirty *dirty)
{
    if (dirty->block != 0) {
        lines->free_blocks[lines->free_count++] = dirty->block;
        dirty->block = 0;
    }
}

static uint8_t *value_at(const struct lks_sim_lines *lines, const struct dirty *dirty,
                         uint32_t value)
{
    if (value == 0) {
        return line_in(lines->certain, dirty->line);
    }
    return value > dirty->between ? line_in(lines->seen, dirty->line)
                                  : lines->blocks[dirty->block].values[value - 1];
}

/* Gives up values [1, 1 + count): what comes behind moves down. */
static void drop_values(struct lks_sim_lines *lines, struct dirty *dirty, uint32_t first,
                        uint32_t count)
{
    LKS_ASSERT(first >= 1 && first + count - 1 <= dirty->between);
    uint8_t(*values)[LKS_SIM_LINE_BYTES] = lines->blocks[dirty->block].values;
    memmove(values[first - 1], values[first - 1 + count],
            (size_t)(dirty->between - (first - 1) - count) * LKS_SIM_LINE_BYTES);
    dirty->between -= count;
}

/* ---- becoming uncertain and certain ------------------------------------------------------- */

static struct dirty *dirty_of(const struct lks_sim_lines *lines, uint32_t line)
{
    const uint32_t place = lines->place_of[line];
    return place == 0 ? NULL : &lines->dirty[place - 1];
}

static struct dirty *begin_dirty(struct lks_sim_lines *lines, uint32_t line)
{
    if (lines->dirty_count == lines->dirty_capacity) {
        lines->dirty_capacity =
            lines->dirty_capacity == 0 ? DIRTY_FIRST : 2 * lines->dirty_capacity;
        lines->dirty = grow(lines->dirty, lines->dirty_capacity * sizeof *lines->dirty);
        LKS_ASSERT(lines->dirty != NULL);
    }
    lines->place_of[line] = lines->dirty_count + 1;
    lks_sim_memory_touch(&lines->certain_memory, (uint64_t)line * LKS_SIM_LINE_BYTES,
                         LKS_SIM_LINE_BYTES);
    struct dirty *dirty = &lines->dirty[lines->dirty_count++];
    *dirty = (struct dirty){.line = line};
    return dirty;
}

static void end_dirty(struct lks_sim_lines *lines, struct dirty *dirty)
{
    give_block(lines, dirty);
    lines->place_of[dirty->line] = 0;
    const struct dirty last = lines->dirty[--lines->dirty_count];
    if (last.line != dirty->line) {
        *dirty = last;
        lines->place_of[last.line] = (uint32_t)(dirty - lines->dirty) + 1;
    }
}

/* The value that is seen will be one of those between. */
static void keep_seen(struct lks_sim_lines *lines, struct dirty *dirty)
{
    if (dirty->between == BETWEEN_MAX) {
        /* A value under way to the medium stays: it may become the certain one. */
        const uint32_t dropped = dirty->written_back == 1 ? 2 : 1;
        drop_values(lines, dirty, dropped, 1);
        lines->forgotten++;
        if (dirty->written_back > dropped) {
            dirty->written_back--;
        }
    }
    if (dirty->block == 0) {
        dirty->block = take_block(lines);
    }
    memcpy(lines->blocks[dirty->block].values[dirty->between],
           line_in(lines->seen, dirty->line), LKS_SIM_LINE_BYTES);
    dirty->between++;
}

/* The line is about to change: what is seen now becomes one of its values. */
static void touch_line(struct lks_sim_lines *lines, uint32_t line)
{
    struct dirty *dirty = dirty_of(lines, line);
    if (dirty == NULL) {
        dirty = begin_dirty(lines, line);
    } else {
        keep_seen(lines, dirty);
    }
    dirty->order = ++lines->stores;
}

static bool is_zero(const uint8_t *bytes, uint64_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

/* Stores into one line; [at, at + bytes) lies within it. */
static bool store_in_line(struct lks_sim_lines *lines, uint64_t at, const uint8_t *data,
                          uint64_t bytes)
{
    uint8_t *there = lines->seen + at;
    if (data == NULL ? is_zero(there, bytes) : memcmp(there, data, bytes) == 0) {
        return false;
    }
    touch_line(lines, (uint32_t)(at / LKS_SIM_LINE_BYTES));
    if (data == NULL) {
        memset(there, 0, bytes);
    } else {
        memcpy(there, data, bytes);
    }
    return true;
}

bool lks_sim_lines_store(struct lks_sim_lines *lines, uint64_t offset, const void *data,
                         uint64_t bytes)
{
    LKS_ASSERT(bytes <= lines->bytes && offset <= lines->bytes - bytes);
    const uint8_t *from = data;
    bool changed = false;
    while (bytes > 0) {
        const uint64_t room = LKS_SIM_LINE_BYTES - offset % LKS_SIM_LINE_BYTES;
        const uint64_t part = bytes < room ? bytes : room;
        changed = store_in_line(lines, offset, from, part) || changed;
        offset += part;
        bytes -= part;
        from = from == NULL ? NULL : from + part;
    }
    return changed;
}

/* The write-back that is under way has ended. */
static void reach(struct lks_sim_lines *lines, uint32_t line)
{
    struct dirty *dirty = dirty_of(lines, line);
    if (dirty == NULL || dirty->written_back == 0) {
        return; /* somebody else has persisted it meanwhile */
    }
    const uint32_t value = dirty->written_back;
    make_certain(lines, line, value_at(lines, dirty, value));
    if (value > dirty->between) {
        end_dirty(lines, dirty);
        return;
    }
    drop_values(lines, dirty, 1, value);
    dirty->written_back = 0;
}

static uint32_t first_line(uint64_t offset)
{
    return (uint32_t)(offset / LKS_SIM_LINE_BYTES);
}

static uint32_t end_line(const struct lks_sim_lines *lines, uint64_t offset, uint64_t bytes)
{
    LKS_ASSERT(bytes <= lines->bytes && offset <= lines->bytes - bytes);
    return (uint32_t)((offset + bytes + LKS_SIM_LINE_BYTES - 1) / LKS_SIM_LINE_BYTES);
}

void lks_sim_lines_touch(struct lks_sim_lines *lines, uint64_t offset, uint64_t bytes)
{
    const uint32_t end = end_line(lines, offset, bytes);
    for (uint32_t line = first_line(offset); bytes > 0 && line < end; line++) {
        touch_line(lines, line);
    }
}

void lks_sim_lines_write_back(struct lks_sim_lines *lines, uint64_t offset, uint64_t bytes)
{
    const uint32_t end = end_line(lines, offset, bytes);
    for (uint32_t line = first_line(offset); bytes > 0 && line < end; line++) {
        struct dirty *dirty = dirty_of(lines, line);
        if (dirty == NULL) {
            continue;
        }
        if (dirty->written_back == 0) {
            if (lines->pending_count == lines->pending_capacity) {
                lines->pending_capacity =
                    lines->pending_capacity == 0 ? DIRTY_FIRST : 2 * lines->pending_capacity;
                lines->pending =
                    grow(lines->pending, lines->pending_capacity * sizeof *lines->pending);
                LKS_ASSERT(lines->pending != NULL);
            }
            lines->pending[lines->pending_count++] = line;
        }
        dirty->written_back = dirty->between + 1;
    }
}

void lks_sim_lines_fence(struct lks_sim_lines *lines)
{
    for (uint32_t i = 0; i < lines->pending_count; i++) {
        reach(lines, lines->pending[i]);
    }
    lines->pending_count = 0;
}

void lks_sim_lines_persist(struct lks_sim_lines *lines, uint64_t offset, uint64_t bytes)
{
    const uint32_t end = end_line(lines, offset, bytes);
    for (uint32_t line = first_line(offset); bytes > 0 && line < end; line++) {
        struct dirty *dirty = dirty_of(lines, line);
        if (dirty != NULL) {
            make_certain(lines, line, line_in(lines->seen, line));
            end_dirty(lines, dirty);
        }
    }
}

/* ---- power cuts --------------------------------------------------------------------------- */

uint32_t lks_sim_lines_count(const struct lks_sim_lines *lines)
{
    return lines->dirty_count;
}

static struct lks_sim_line describe(const struct dirty *dirty)
{
    return (struct lks_sim_line){.offset = (uint64_t)dirty->line * LKS_SIM_LINE_BYTES,
                                 .order = dirty->order,
                                 .values = dirty->between + 2};
}

struct lks_sim_line lks_sim_lines_at(const struct lks_sim_lines *lines, uint32_t place)
{
    LKS_ASSERT(place < lines->dirty_count);
    return describe(&lines->dirty[place]);
}

/* What a fate makes of a line. */
static void fated(const struct lks_sim_lines *lines, const struct dirty *dirty,
                  const struct lks_sim_line_fate *fate, uint8_t *value)
{
    LKS_ASSERT(fate->value <= dirty->between + 1);
    LKS_ASSERT(fate->torn == 0 || fate->value <= dirty->between);
    memcpy(value, value_at(lines, dirty, fate->value), LKS_SIM_LINE_BYTES);
    for (uint32_t word = 0; word < LKS_SIM_LINE_WORDS; word++) {
        if ((fate->torn >> word & 1) != 0) {
            memcpy(value + 8 * (size_t)word,
                   value_at(lines, dirty, fate->value + 1) + 8 * (size_t)word, 8);
        }
    }
}

void lks_sim_lines_fated(const struct lks_sim_lines *lines, uint32_t place,
                         const struct lks_sim_line_fate *fate, uint8_t *value)
{
    LKS_ASSERT(place < lines->dirty_count);
    fated(lines, &lines->dirty[place], fate, value);
}

uint64_t lks_sim_lines_cut(struct lks_sim_lines *lines, lks_sim_lines_choose choose, void *ctx)
{
    uint64_t lost = 0;
    for (uint32_t place = 0; place < lines->dirty_count; place++) {
        struct dirty *dirty = &lines->dirty[place];
        const struct lks_sim_line line = describe(dirty);
        const struct lks_sim_line_fate fate = choose(ctx, &line);
        uint8_t value[LKS_SIM_LINE_BYTES];
        fated(lines, dirty, &fate, value);
        uint8_t *seen = line_in(lines->seen, dirty->line);
        lost += memcmp(seen, value, LKS_SIM_LINE_BYTES) != 0;
        memcpy(seen, value, LKS_SIM_LINE_BYTES);
        make_certain(lines, dirty->line, value);
        lines->place_of[dirty->line] = 0;
        give_block(lines, dirty);
    }
    lines->dirty_count = 0;
    lines->pending_count = 0;
    return lost;
}

/* ---- looking closely ---------------------------------------------------------------------- */

uint64_t lks_sim_lines_stranger(const struct lks_sim_lines *lines, uint64_t offset,
                                uint64_t bytes)
{
    const uint32_t end = bytes > 0 ? end_line(lines, offset, bytes) : 0;
    for (uint32_t line = first_line(offset); line < end;) {
        const uint32_t alike = end - line < LINES_COMPARED ? end - line : LINES_COMPARED;
        if (memcmp(line_in(lines->seen, line), line_in(lines->certain, line),
                   (size_t)alike * LKS_SIM_LINE_BYTES) == 0) {
            line += alike;
            continue;
        }
        for (uint32_t next = line + alike; line < next; line++) {
            if (lines->place_of[line] == 0 &&
                memcmp(line_in(lines->seen, line), line_in(lines->certain, line),
                       LKS_SIM_LINE_BYTES) != 0) {
                return (uint64_t)line * LKS_SIM_LINE_BYTES;
            }
        }
    }
    return UINT64_MAX;
}

uint64_t lks_sim_lines_stores(const struct lks_sim_lines *lines)
{
    return lines->stores;
}

uint64_t lks_sim_lines_forgotten(const struct lks_sim_lines *lines)
{
    return lines->forgotten;
}

const uint8_t *lks_sim_lines_certain(const struct lks_sim_lines *lines)
{
    return lines->certain;
}

uint64_t lks_sim_lines_hash(struct lks_sim_lines *lines)
{
    for (uint64_t at = 0; !lines->hashed && at < lines->bytes; at += LKS_SIM_LINE_BYTES) {
        lines->hash += lks_sim_lines_line_hash(at, lines->certain + at);
    }
    lines->hashed = true;
    return lines->hash;
}
