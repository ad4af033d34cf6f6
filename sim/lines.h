/*
 * Persistent memory by cache line: which of its lines a power cut can still change, and into what.
 *
 * A line that was stored to may have been evicted at any time since, so a cut may leave any value
 * that it had since it was last certain, and a mixture of two neighbouring ones by words of 8
 * bytes. A write-back followed by a fence makes the value of the write-back the oldest possible
 * one. What nobody stored to since is certain and costs nothing: the work is by dirty lines only.
 *
 * The owner of the memory does every store through this module. One thread.
 */
#ifndef LKS_SIM_LINES_H
#define LKS_SIM_LINES_H

#include <stdbool.h>
#include <stdint.h>

#define LKS_SIM_LINE_BYTES 64u
#define LKS_SIM_LINE_WORDS 8u

struct lks_sim_lines;

/* `seen`: bytes of the memory as processes see it, a multiple of 64, zeros at the beginning, which
 * are certain; the caller's, and outlives the lines. */
struct lks_sim_lines *lks_sim_lines_new(uint8_t *seen, uint64_t bytes);
void lks_sim_lines_free(struct lks_sim_lines *lines);
/* Makes all of `seen` zeros that was ever touched; the lines are then only to be freed. */
void lks_sim_lines_wipe(struct lks_sim_lines *lines);

/* Stores data (NULL: zeros) at offset, visible at once. Returns false if nothing changed. */
bool lks_sim_lines_store(struct lks_sim_lines *lines, uint64_t offset, const void *data,
                         uint64_t bytes);
/* Somebody else is about to store there: call this before. */
void lks_sim_lines_touch(struct lks_sim_lines *lines, uint64_t offset, uint64_t bytes);
/* The owner's write-back of the lines of a range, and its fence. */
void lks_sim_lines_write_back(struct lks_sim_lines *lines, uint64_t offset, uint64_t bytes);
void lks_sim_lines_fence(struct lks_sim_lines *lines);
/* Both at once, of these lines alone: somebody else's flush. */
void lks_sim_lines_persist(struct lks_sim_lines *lines, uint64_t offset, uint64_t bytes);

/* ---- power cuts --------------------------------------------------------------------------- */

/* An uncertain line. Value 0 is the one that is certain to have been reached, `values - 1` the one
 * that is seen. `order` grows with the time of the last store, over all lines of this memory. */
struct lks_sim_line {
    uint64_t offset;
    uint64_t order;
    uint32_t values; /* at least 2 */
};

/* How many lines are uncertain, and the one at `place`; places are valid until the next call that
 * changes the lines. */
uint32_t lks_sim_lines_count(const struct lks_sim_lines *lines);
struct lks_sim_line lks_sim_lines_at(const struct lks_sim_lines *lines, uint32_t place);

/* What becomes of the line at place: value `value`, of which the words in `torn` (bit by bit; 0:
 * none) are those of the next value. value + 1 < values unless torn is 0. */
struct lks_sim_line_fate {
    uint32_t value;
    uint8_t torn;
};

/* The 64 bytes that a fate makes of the line at place. */
void lks_sim_lines_fated(const struct lks_sim_lines *lines, uint32_t place,
                         const struct lks_sim_line_fate *fate, uint8_t *value);

/* Power is cut: each uncertain line meets its fate, and everything is certain then. Returns how
 * many lines do not hold what was seen. */
typedef struct lks_sim_line_fate (*lks_sim_lines_choose)(void *ctx,
                                                         const struct lks_sim_line *line);
uint64_t lks_sim_lines_cut(struct lks_sim_lines *lines, lks_sim_lines_choose choose, void *ctx);

/* ---- looking closely ---------------------------------------------------------------------- */

/* The first line of the range that was changed behind the back of this module, as its offset;
 * UINT64_MAX: none was. Costs the length of the range. */
uint64_t lks_sim_lines_stranger(const struct lks_sim_lines *lines, uint64_t offset,
                                uint64_t bytes);

/* Stores made since the beginning, and intermediate values of lines that were given up because a
 * line had too many: a cut cannot choose those. */
uint64_t lks_sim_lines_stores(const struct lks_sim_lines *lines);
uint64_t lks_sim_lines_forgotten(const struct lks_sim_lines *lines);

/* What is certain, as bytes. */
const uint8_t *lks_sim_lines_certain(const struct lks_sim_lines *lines);

/* A hash over what is certain: the sum of _line_hash over all lines. The first call looks at all of
 * them, later ones cost nothing. */
uint64_t lks_sim_lines_hash(struct lks_sim_lines *lines);
/* The part that a line with these 64 bytes at this offset has in such a sum; 0 for zeros. */
uint64_t lks_sim_lines_line_hash(uint64_t offset, const uint8_t *bytes);

#endif
