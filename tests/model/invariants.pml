/*
 * The invariants of docs/protocol.md, 1 to 4. Where a rule is taken out, only those are asserted
 * whose breach a user would notice: two leaders in a term, a leader without a committed entry,
 * committed logs that differ.
 */
hidden byte holders;
hidden byte entries;
hidden byte other_term;

/* `otherwise` is what a counterexample says at its end. */
#define REQUIRE(condition, otherwise)                              \
    if                                                             \
    :: condition                                                   \
    :: else -> printf(#otherwise); assert(false)                   \
    fi

/* 1: at most one leader a term. 3: its log holds every entry committed in an earlier term. */
inline check_leader(begun_with, in_term)
{
    REQUIRE(led[in_term] == NOT_LED, violated: two leaders in a term\n);
    entries = LENGTH(committed);
    do
    :: entries > 0 && committed_in[entries - 1] >= in_term -> entries--
    :: else -> break
    od;
    REQUIRE(PREFIX(begun_with, entries) == PREFIX(committed, entries),
            violated: a leader lacks a committed entry\n)
}

/* 2: committed logs agree. 3: a later leader's log holds what an earlier one commits. */
inline check_commit(now, in_term)
{
    REQUIRE(IS_PREFIX(now, committed) || IS_PREFIX(committed, now),
            violated: committed logs differ\n);
    other_term = in_term + 1;
    do
    :: other_term <= TERMS ->
        REQUIRE(led[other_term] >= FORGOTTEN || IS_PREFIX(now, led[other_term]),
                violated: a later leader lacks an entry that an earlier one commits\n);
        other_term++
    :: else -> break
    od
}

/* Nothing below a commit word ever seen is overwritten with something else. */
inline check_overwrite(r, beginning)
{
#ifdef COMMIT_WORDS
    REQUIRE(beginning >= word[r], violated: overwritten below the commit word\n)
#else
    skip
#endif
}

/* 1: at most one writer a ring: the fence has left nobody when a permission is given. */
inline check_no_writer(p)
{
#ifndef RULE_TAKEN_OUT
    REQUIRE(path[p] == NO_PATH, violated: two writers of a ring\n)
#else
    skip
#endif
}

#ifndef RULE_TAKEN_OUT
#define HOLDS_DURABLY(r, i)                                           \
    ((i) >= LENGTH(committed) || (VISIBLE(r, i) == DURABLE(r, i) && \
                                  VISIBLE(r, i) == PREFIX(committed, (i) + 1)))
#if SLOTS == 1
#define HOLDS_COMMITTED(r) HOLDS_DURABLY(r, 0)
#elif SLOTS == 2
#define HOLDS_COMMITTED(r) (HOLDS_DURABLY(r, 0) && HOLDS_DURABLY(r, 1))
#else
#define HOLDS_COMMITTED(r) (HOLDS_DURABLY(r, 0) && HOLDS_DURABLY(r, 1) && HOLDS_DURABLY(r, 2))
#endif
#endif

/* 4: after every step, what is committed is durable on a majority, whatever power cuts follow. */
inline check_state()
{
#ifndef RULE_TAKEN_OUT
    holders = (HOLDS_COMMITTED(0) -> 1 : 0) + (HOLDS_COMMITTED(1) -> 1 : 0) +
              (HOLDS_COMMITTED(2) -> 1 : 0);
    REQUIRE(holders >= 2, violated: a committed entry is not durable on a majority\n)
#else
    skip
#endif
}
