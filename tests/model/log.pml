/*
 * Logs as numbers, and the memory that holds them.
 *
 * A log is the sequence of its entries' terms: a term has one leader, which appends one entry at
 * each index, so (index, term) names an entry, its content included. As a number to the base
 * TERMS + 1 the sequence is what the chained checksum stands for: equal numbers are equal logs from
 * the first entry on. A slot of a ring holds the number of the log up to its entry, as if written
 * by a checksum that never collides; 0 is a slot that holds no entry, or a torn one.
 */
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

#define BASE (TERMS + 1)
#define LAST_TERM(log) ((log) % BASE)
#if SLOTS == 1
#define LOGS BASE
#elif SLOTS == 2
#define LOGS (BASE * BASE)
#else
#define LOGS (BASE * BASE * BASE)
#endif

hidden byte slot; /* of loops within one step */

/* Tables, filled at the start and constant from then on: no part of the state. */
hidden byte length_of[LOGS];
hidden byte prefix_of[LOGS * (SLOTS + 1)];
hidden short digits_of[LOGS]; /* for reports of a run: the terms, one digit each */
#define LENGTH(log) length_of[log]
#define PREFIX(log, count) prefix_of[(log) * (SLOTS + 1) + (count)] /* its first `count` entries */

inline fill_tables()
{
    log = 1;
    do
    :: log < LOGS ->
        length_of[log] = length_of[log / BASE] + 1;
        digits_of[log] = digits_of[log / BASE] * 10 + log % BASE;
        log++
    :: else -> break
    od;
    log = 0;
    do
    :: log < LOGS ->
        count = SLOTS;
        entry = log;
        do
        :: length_of[entry] > count -> entry = entry / BASE
        :: else ->
            prefix_of[log * (SLOTS + 1) + count] = entry;
            if
            :: count == 0 -> break
            :: else -> count--
            fi
        od;
        log++
    :: else -> break
    od
}
#define IS_PREFIX(short, log) (PREFIX(log, LENGTH(short)) == (short))
/* The order in which a candidate chooses: last term, then length. */
#define BETTER(one, other)               \
    (LAST_TERM(one) > LAST_TERM(other) || \
     (LAST_TERM(one) == LAST_TERM(other) && LENGTH(one) > LENGTH(other)))

#define VISIBLE(r, i) visible[(r) * SLOTS + (i)]
#define DURABLE(r, i) durable[(r) * SLOTS + (i)]

/* How many entries two logs have in common: what runs.c finds from the runs of their terms. */
inline common(one, other, in_common)
{
    in_common = (LENGTH(one) < LENGTH(other) -> LENGTH(one) : LENGTH(other));
    do
    :: in_common > 0 && PREFIX(one, in_common) != PREFIX(other, in_common) -> in_common--
    :: else -> break
    od
}

/* The visible log of a ring: as far as the chain holds. A leftover behind a gap is not part of it,
 * and becomes part of it again when the gap is filled with what it was chained on. */
#ifndef WITHOUT_CHAIN
#define FOLLOWS(log, entry) ((entry) != 0 && (entry) / BASE == (log))
#define EXTENDED(log, entry) (entry)
#else /* each entry has a checksum of its own only */
#define FOLLOWS(log, entry) ((entry) != 0)
#define EXTENDED(log, entry) ((log) * BASE + LAST_TERM(entry))
#endif

inline scan(r, found)
{
    found = 0;
    slot = 0;
    do
    :: slot < SLOTS && FOLLOWS(found, VISIBLE(r, slot)) ->
        found = EXTENDED(found, VISIBLE(r, slot));
        slot++
    :: else -> break
    od
}

/* Makes slots [begin, end) durable. */
inline persist(r, begin, end)
{
    slot = begin;
    do
    :: slot < end -> DURABLE(r, slot) = VISIBLE(r, slot); slot++
    :: else -> break
    od
}
