/*
 * The protocol of docs/protocol.md in Promela: three replicas, whose logs are written one-sidedly,
 * elect leaders by handing out the permission to write. The README beside this file says what is
 * modelled and what is not; `run` explores all of it, and again with one rule taken out at a time,
 * when it must find what goes wrong.
 *
 * One process takes one atomic step after another. What a step merges, and why no behaviour is
 * lost by that, is said at the step; `-DFINE` takes hand-overs apart. Invariants are asserted
 * where they could break (invariants.pml).
 *
 * Bounds, by -D: TERMS (at most 4), SLOTS (entries that a log may hold, at most 3).
 */
#ifndef TERMS
#define TERMS 3
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#define N 3 /* replicas */

/* ---- what survives a crash, and a power cut as far as it is durable -------------------------- */

byte visible[N * SLOTS]; /* the rings as everybody reads them; they outlive their processes */
byte durable[N * SLOTS]; /* what of them the media hold */
byte term[N];            /* the promise: the highest term seen */
byte promised[N];        /* and the one candidate granted in it */
#define NOBODY N

/* ---- what does not --------------------------------------------------------------------------- */

byte role[N];
#define FOLLOWER 0
#define CANDIDATE 1 /* has handed its ring to itself, asks for grants */
#define READING 2   /* adopts the log of from[c]; at[c] is the next entry */
#define LEADER 3
byte own[N]; /* a candidate's own log, as it measured it; a leader's is led[term] */
byte from[N]; /* NOBODY when it reads nothing */
byte at[N];

/* A candidate's: 1 + the log that a grantor reported, 0 without a grant. A leader's: how many
 * entries it counts as durable there, itself included. */
byte known[N * N];

/* The permission to write replica p's ring: none; given to promised[p] in term[p], who does not
 * write yet; or begun: BEGUN + how many entries of the leader's log are there, written or found
 * equal. What the leader has appended may have been posted, and so may land at any time until the
 * fence completes, also when the leader is dead. */
byte path[N];
#define NO_PATH 0
#define GRANTED 1
#define BEGUN 2

/* ---- what nobody knows: history, for the invariants ------------------------------------------ */

byte led[TERMS + 1]; /* the log of the leader of that term */
#define NOT_LED 255
#define FORGOTTEN 254     /* there was one, and its log no longer matters */
byte committed;           /* the longest committed log */
byte committed_in[SLOTS]; /* the lowest term in which each entry of it was committed */

#include "log.pml"
#include "rules.pml"
#include "invariants.pml"

/* ---- fewer states, the same behaviours: reduce.c --------------------------------------------- */

hidden byte name[N]; /* for reports of a run: the first numbers of replicas that were renumbered */
#ifndef NOT_REDUCED
c_code {
    \#define MODEL_TERMS TERMS
    \#define MODEL_SLOTS SLOTS
    \#define MODEL_FOLLOWER FOLLOWER
    \#define MODEL_CANDIDATE CANDIDATE
    \#define MODEL_READING READING
    \#define MODEL_NO_PATH NO_PATH
    \#define MODEL_GRANTED GRANTED
    \#define MODEL_BEGUN BEGUN
    \#define MODEL_FORGOTTEN FORGOTTEN
    \#define MODEL_BYTES(X) X(term) X(role) X(own) X(at) X(path) RULES_BYTES(X)
    \#define MODEL_NAMES(X) X(promised) X(from) RULES_NAMES(X)
    \#define MODEL_ROWS(X) X(visible) X(durable)
    \#define MODEL_TABLES(X) X(known) RULES_TABLES(X)
    \#include "reduce.c"
};
#ifndef RULE_TAKEN_OUT
#define REDUCE c_code { tidy(1); renumber(); }
#else
#define REDUCE c_code { tidy(0); renumber(); }
#endif
#else
#define REDUCE skip
#endif

#define KNOWN(c, p) known[(c) * N + (p)]
#define LOG(c) led[term[c]] /* a leader's */

/* ---- scratch, dead between steps ------------------------------------------------------------- */

hidden byte log;
hidden byte count;
hidden byte entry;
hidden byte peer;

/* ---- roles ----------------------------------------------------------------------------------- */

inline become_follower(r)
{
    role[r] = FOLLOWER;
    own[r] = 0;
    from[r] = NOBODY;
    at[r] = 0;
    KNOWN(r, 0) = 0;
    KNOWN(r, 1) = 0;
    KNOWN(r, 2) = 0;
    forget_wrote(r)
}

/* The leader counts: durable on a majority, and one of its own term among it ("An entry of the own
 * term"). Committing at once is the strongest: whoever commits later commits no more. */
inline advance_commit(leader)
{
    count = MAX(MIN(KNOWN(leader, 0), KNOWN(leader, 1)),
                MIN(KNOWN(leader, 2), MAX(KNOWN(leader, 0), KNOWN(leader, 1))));
    log = PREFIX(LOG(leader), count); /* the median of three: durable on a majority */
    if
#ifndef WITHOUT_OWN_TERM_COMMIT
    :: log != 0 && LAST_TERM(log) == term[leader] ->
#else
    :: log != 0 ->
#endif
        check_commit(log, term[leader]);
        note_commit(leader, count);
        if
        :: LENGTH(log) > LENGTH(committed) -> committed = log
        :: else
        fi;
        slot = 0;
        do
        :: slot < count ->
            if
            :: committed_in[slot] == 0 || committed_in[slot] > term[leader] ->
                committed_in[slot] = term[leader]
            :: else
            fi;
            slot++
        :: else -> break
        od
    :: else
    fi
}

/* ---- electing -------------------------------------------------------------------------------- */

/* A candidate takes a term above everything it has heard of. Terms that nobody has reached are not
 * skipped: their numbers mean nothing. */
#define CAN_STAND(c, t) \
    (term[c] < (t) && (term[0] >= (t) - 1 || term[1] >= (t) - 1 || term[2] >= (t) - 1))

/* "The own ring too": revoke, promise, the whole tail durable, only then measure it. One step: what
 * a crash between two of these leaves behind, a crash before or after all of them leaves too. */
inline stand(c, t)
{
    become_follower(c);
    fence_own(c);
    promise(c, c, t);
    scan(c, log);
#ifndef WITHOUT_OWN_TAIL_PERSISTED
    persist(c, TAIL_BEGIN(c), LENGTH(log));
#endif
    note_tail(c, LENGTH(log));
    own[c] = log;
    role[c] = CANDIDATE;
    printf("replica %d stands in term %d, log %d\n", name[c], t, digits_of[log])
}

/* A grantor refuses older terms, and its term to any other candidate ("One life of one candidate a
 * term"). Requests may be repeated at any time; those of a candidate that has given up meanwhile
 * are left out: granted, they take rights away and give none. */
#define CAN_HAND_OVER(p, c)                                                      \
    (role[c] != FOLLOWER && (term[p] < term[c] || (term[p] == term[c] && promised[p] == c)) && \
     !(path[p] == GRANTED && term[p] == term[c] && KNOWN(c, p) != 0))

/* "Handing a ring over": own appends and reads end, old permission fenced, promise durable, tail
 * durable, granted, reported. One step, as above; a reply that is late does no more than this one,
 * which the candidate need not use yet. Also the renewal of a broken connection: a break by itself
 * only takes away, so it is modelled where the new grant follows. */
inline hand_over(p, c)
{
    become_follower(p);
#ifdef WITHOUT_RENEWAL_TAIL
    entry = (term[p] == term[c]); /* a renewal? */
#endif
    fence(p);
    promise(p, c, term[c]);
    scan(p, log);
#ifdef WITHOUT_RENEWAL_TAIL
    if
    :: entry
    :: else -> persist(p, TAIL_BEGIN(p), LENGTH(log))
    fi;
#else
    persist(p, TAIL_BEGIN(p), LENGTH(log));
#endif
    note_tail(p, LENGTH(log));
    check_no_writer(p);
    path[p] = GRANTED;
    printf("replica %d hands over to %d in term %d, log %d\n", name[p], name[c], term[c],
           digits_of[log]);
    if
    :: LAST_TERM(log) > term[c] -> become_follower(c) /* somebody newer wrote there */
    :: else ->
        if
        :: role[c] == LEADER -> begin_path(c, p, log); advance_commit(c)
        :: else -> KNOWN(c, p) = 1 + log
        fi
    fi
}

#ifdef FINE
/* A hand-over that has come no further than the promise, yet or ever: to go on is to do it all. */
inline begin_hand_over(p, c)
{
    become_follower(p);
    fence(p);
    promise(p, c, term[c]);
    printf("replica %d promises term %d to %d\n", name[p], term[c], name[c])
}
#endif

/* "Where writing begins": the point where the logs part. Up to there the report was durable, and
 * counts even if the grant has gone meanwhile. */
inline begin_path(leader, grantor, reported)
{
    common(LOG(leader), reported, count);
    KNOWN(leader, grantor) = (KNOWN(leader, grantor) > count -> KNOWN(leader, grantor) : count);
    if
    :: path[grantor] == GRANTED && term[grantor] == term[leader] && promised[grantor] == leader ->
        check_overwrite(grantor, count);
        path[grantor] = BEGUN + count;
        note_wrote(leader, grantor)
    :: else
    fi
}

/* "The latest log": with a majority of grants the candidate takes the best log among them. Own and
 * one other are a majority; with both others it takes the best of three, which is what it would
 * take from own and one of them. */
#define CAN_CHOOSE(c, p) (role[c] == CANDIDATE && KNOWN(c, p) != 0)

inline choose(c, p)
{
    log = KNOWN(c, p) - 1;
    if
#ifndef WITHOUT_LATEST_LOG
    :: BETTER(log, own[c]) ->
        common(own[c], log, count);
        check_overwrite(c, count);
        role[c] = READING;
        from[c] = p;
        at[c] = count;
        printf("replica %d adopts the log of %d\n", name[c], name[p])
#endif
    :: else -> lead(c)
    fi
}

/* Its log counts as durable: it was made so when it was measured or read. */
inline lead(winner)
{
    check_leader(own[winner], term[winner]);
    LOG(winner) = own[winner];
    own[winner] = 0;
    role[winner] = LEADER;
    printf("replica %d leads in term %d, log %d\n", name[winner], term[winner],
           digits_of[LOG(winner)]);
    peer = 0;
    do
    :: peer < N ->
        if
        :: peer == winner -> KNOWN(winner, winner) = LENGTH(LOG(winner))
        :: peer != winner && KNOWN(winner, peer) != 0 ->
            log = KNOWN(winner, peer) - 1;
            KNOWN(winner, peer) = 0;
            begin_path(winner, peer, log)
        :: else
        fi;
        peer++
    :: else -> break
    od;
    end_late_writes(winner);
    advance_commit(winner)
}

/* ---- adopting -------------------------------------------------------------------------------- */

/* The reading ends: what the own ring now holds is made durable, and the choice is made again. */
inline end_reading(reader)
{
    scan(reader, log);
    persist(reader, 0, LENGTH(log));
    own[reader] = log;
    KNOWN(reader, from[reader]) = 0;
    from[reader] = NOBODY;
    at[reader] = 0;
    role[reader] = CANDIDATE
}

#ifndef WITHOUT_CHAIN
#define FOLLOWS_OWN(c, entry) FOLLOWS((at[c] == 0 -> 0 : VISIBLE(c, at[c] - 1)), entry)
#define SAME_ENTRY(entry, log) ((entry) == (log))
#else
#define FOLLOWS_OWN(c, entry) FOLLOWS(0, entry)
#define SAME_ENTRY(entry, log) (LAST_TERM(entry) == LAST_TERM(log))
#endif

/* A one-sided read of one entry, whatever it is by now: the grantor may have handed its ring to
 * somebody newer, who writes there. It lands in the own ring before it is checked. */
#define READ_ENTRY(c) VISIBLE(from[c], at[c])

inline read_entry(c)
{
    entry = READ_ENTRY(c);
    log = KNOWN(c, from[c]) - 1; /* what must result */
    VISIBLE(c, at[c]) = entry;
    printf("replica %d reads entry %d: %d\n", name[c], at[c] + 1, digits_of[entry]);
    if
    :: !FOLLOWS_OWN(c, entry) -> end_reading(c) /* overwritten meanwhile: no grant there any more */
    :: FOLLOWS_OWN(c, entry) && LAST_TERM(entry) >= term[c] ->
        end_reading(c); /* "An entry of a higher term" */
        become_follower(c)
    :: else ->
        if
        :: at[c] + 1 < LENGTH(log) -> at[c]++
        :: at[c] + 1 == LENGTH(log) && !SAME_ENTRY(entry, log) -> end_reading(c)
        :: else ->
            persist(c, 0, LENGTH(log));
            own[c] = log;
            from[c] = NOBODY;
            at[c] = 0;
            role[c] = CANDIDATE
        fi
    fi
}
/* ---- leading --------------------------------------------------------------------------------- */

#define CAN_APPEND(c) (role[c] == LEADER && LENGTH(LOG(c)) < SLOTS)

/* The first is the no-op. */
inline append(c)
{
    LOG(c) = LOG(c) * BASE + term[c];
    VISIBLE(c, LENGTH(LOG(c)) - 1) = LOG(c);
    printf("replica %d appends: %d\n", name[c], digits_of[LOG(c)])
}

#define CAN_FLUSH_OWN(c) (role[c] == LEADER && KNOWN(c, c) < LENGTH(LOG(c)))

inline flush_own(c)
{
    persist(c, KNOWN(c, c), LENGTH(LOG(c)));
    KNOWN(c, c) = LENGTH(LOG(c));
    printf("replica %d made its log durable: %d\n", name[c], digits_of[LOG(c)]);
    advance_commit(c)
}

/* One-sided writes, entry after entry, as one connection carries them: of the leader of term
 * `by`, which have come as far as `reached` says. */
#define CAN_LAND(reached, by) ((reached) >= BEGUN && (reached) - BEGUN < LENGTH(led[by]))
#define LANDING(reached, by) PREFIX(led[by], (reached) - BEGUN + 1)

inline land(p, reached, by)
{
    VISIBLE(p, reached - BEGUN) = LANDING(reached, by);
    reached++;
    printf("written to replica %d: %d\n", name[p],
           digits_of[VISIBLE(p, reached - BEGUN - 1)])
}

/* A flush behind the writes: durable there, and the leader counts it. A completion that is counted
 * late commits no more than one that is counted at once. */
#define CAN_FLUSH(c, p, reached, by)                                  \
    (role[c] == LEADER && (by) == term[c] && (reached) >= BEGUN &&    \
     KNOWN(c, p) < (reached) - BEGUN)

inline flush(c, p, reached)
{
    persist(p, 0, reached - BEGUN);
    KNOWN(c, p) = reached - BEGUN;
    printf("replica %d counts %d entries as durable on %d\n", name[c], KNOWN(c, p), name[p]);
    advance_commit(c)
}

#ifdef COMMIT_WORDS
/* "The commit word": behind what it covers, and not before the leader is established. */
#define ESTABLISHED(c) (role[c] == LEADER && LAST_TERM(PREFIX(LOG(c), word[c])) == term[c])
#define CAN_SEND_WORD(c, p)                                                              \
    (ESTABLISHED(c) && term[p] == term[c] && path[p] >= BEGUN && path[p] - BEGUN > word[p] && \
     word[c] > word[p])

inline send_word(c, p)
{
    word[p] = MIN(word[c], path[p] - BEGUN);
    printf("commit word of replica %d: %d\n", name[p], word[p])
}
#endif

#ifdef WITHOUT_FLUSH_VOID_AFTER_REFUSED_WRITE
/* The write was refused; the flush behind it, a read, needs no permission. */
#define CAN_FLUSH_REFUSED(c, p)                                             \
    (role[c] == LEADER && term[p] > term[c] && WROTE(c, p) && \
     KNOWN(c, p) < LENGTH(LOG(c)))

inline flush_refused(c, p)
{
    KNOWN(c, p) = LENGTH(LOG(c));
    printf("replica %d counts refused writes as durable on %d\n", name[c], name[p]);
    advance_commit(c)
}
#endif

/* ---- failing --------------------------------------------------------------------------------- */

/* Crash and restart: roles, reads and answers are gone, the ring's cache lines are not. "Starting":
 * every peer is fenced. One step: what lands while the replica is down could as well have landed
 * before; a replica that stays down takes no steps. */
#define CAN_RESTART(r) (role[r] != FOLLOWER || path[r] != NO_PATH || HAS_MORE_TO_LOSE(r))

inline restart(p)
{
    become_follower(p);
    path[p] = NO_PATH;
    forget(p)
}

/* A power cut: crash and restart, and each unflushed slot is kept, lost or torn. */
#define UNFLUSHED(r, i) (VISIBLE(r, i) != DURABLE(r, i))
#define CAN_keep(r, i) true
#define CAN_lose(r, i) UNFLUSHED(r, i)
#define CAN_tear(r, i) (UNFLUSHED(r, i) && VISIBLE(r, i) != 0 && DURABLE(r, i) != 0)

inline keep(r, i)
{
    DURABLE(r, i) = VISIBLE(r, i)
}

inline lose(r, i)
{
    VISIBLE(r, i) = DURABLE(r, i)
}

inline tear(r, i)
{
    VISIBLE(r, i) = 0;
    DURABLE(r, i) = 0
}

/* ---- all steps ------------------------------------------------------------------------------- */

#define STEP(guard, action) :: d_step { guard -> action; end_step() }

/* A step that overwrites slot i of r with `entry`: with what became of an unflushed one there. */
#define OVERWRITES(r, i, entry) (VISIBLE(r, i) != DURABLE(r, i) && VISIBLE(r, i) != (entry))
#ifndef NO_EVICTION
#define WRITE_STEP(guard, r, i, entry, action)                                              \
    STEP(guard, action)                                                                     \
    STEP(guard && OVERWRITES(r, i, entry), DURABLE(r, i) = VISIBLE(r, i); action)           \
    STEP(guard && OVERWRITES(r, i, entry) && DURABLE(r, i) != 0, DURABLE(r, i) = 0; action)
#else
#define WRITE_STEP(guard, r, i, entry, action) STEP(guard, action)
#endif

#define STAND(t)                              \
    STEP(CAN_STAND(0, t), stand(0, t))        \
    STEP(CAN_STAND(1, t), stand(1, t))        \
    STEP(CAN_STAND(2, t), stand(2, t))

#define OF_ONE(r)                                                                         \
    WRITE_STEP(role[r] == READING, r, at[r], READ_ENTRY(r), read_entry(r))                \
    STEP(role[r] == READING, end_reading(r))                                              \
    WRITE_STEP(CAN_APPEND(r), r, LENGTH(LOG(r)), LOG(r) * BASE + term[r], append(r))      \
    STEP(CAN_FLUSH_OWN(r), flush_own(r))                                                  \
    WRITE_STEP(CAN_LAND(path[r], term[r]), r, path[r] - BEGUN, LANDING(path[r], term[r]), \
               land(r, path[r], term[r]))                                                 \
    STEP(CAN_RESTART(r), restart(r); printf("replica %d restarts\n", name[r]))

#define POWER_CUT(r, guard, outcome) \
    STEP(guard, outcome; restart(r); printf("replica %d loses power\n", name[r]))
#define CUT_1(r, a) POWER_CUT(r, CAN_##a(r, 0), a(r, 0))
#define CUT_2(r, a, b) POWER_CUT(r, CAN_##a(r, 0) && CAN_##b(r, 1), a(r, 0); b(r, 1))
#define CUT_3(r, a, b, c)                                             \
    POWER_CUT(r, CAN_##a(r, 0) && CAN_##b(r, 1) && CAN_##c(r, 2),     \
              a(r, 0); b(r, 1); c(r, 2))
#if SLOTS == 1
#define POWER_CUTS(r) CUT_1(r, lose) CUT_1(r, tear)
#elif SLOTS == 2
#define POWER_CUTS(r)                                                 \
    CUT_2(r, lose, keep) CUT_2(r, lose, lose) CUT_2(r, lose, tear)    \
    CUT_2(r, tear, keep) CUT_2(r, tear, lose) CUT_2(r, tear, tear)    \
    CUT_2(r, keep, lose) CUT_2(r, keep, tear)
#else
#define CUTS_3(r, a)                                                  \
    CUT_3(r, a, lose, keep) CUT_3(r, a, lose, lose) CUT_3(r, a, lose, tear) \
    CUT_3(r, a, tear, keep) CUT_3(r, a, tear, lose) CUT_3(r, a, tear, tear) \
    CUT_3(r, a, keep, lose) CUT_3(r, a, keep, tear)
#define POWER_CUTS(r)                                                 \
    CUTS_3(r, lose) CUTS_3(r, tear) CUTS_3(r, keep)                   \
    CUT_3(r, lose, keep, keep) CUT_3(r, tear, keep, keep)
#endif

#define OF_TWO(c, p)                                                \
    STEP(CAN_HAND_OVER(p, c), hand_over(p, c))                      \
    STEP(CAN_CHOOSE(c, p), choose(c, p))                            \
    STEP(CAN_FLUSH(c, p, path[p], term[p]), flush(c, p, path[p]))

#define EACH_TWO(STEPS) STEPS(0, 1) STEPS(0, 2) STEPS(1, 0) STEPS(1, 2) STEPS(2, 0) STEPS(2, 1)

inline end_step()
{
    check_state();
    REDUCE
}

active proctype cluster()
{
    d_step {
        fill_tables();
        promised[0] = NOBODY;
        promised[1] = NOBODY;
        promised[2] = NOBODY;
        from[0] = NOBODY;
        from[1] = NOBODY;
        from[2] = NOBODY;
        name[0] = 1;
        name[1] = 2;
        name[2] = 3;
        led[0] = FORGOTTEN;
        led[1] = NOT_LED;
#if TERMS >= 2
        led[2] = NOT_LED;
#endif
#if TERMS >= 3
        led[3] = NOT_LED;
#endif
#if TERMS >= 4
        led[4] = NOT_LED;
#endif
        start_rules()
    }
end:
    do
        STAND(1)
#if TERMS >= 2
        STAND(2)
#endif
#if TERMS >= 3
        STAND(3)
#endif
#if TERMS >= 4
        STAND(4)
#endif
        OF_ONE(0)
        OF_ONE(1)
        OF_ONE(2)
        EACH_TWO(OF_TWO)
#ifdef FINE
#define OF_BEGUN(c, p) STEP(CAN_HAND_OVER(p, c), begin_hand_over(p, c))
        EACH_TWO(OF_BEGUN)
#endif
#ifdef COMMIT_WORDS
#define OF_WORDS(c, p) STEP(CAN_SEND_WORD(c, p), send_word(c, p))
        EACH_TWO(OF_WORDS)
#endif
#ifndef NO_POWER_CUT
        POWER_CUTS(0)
        POWER_CUTS(1)
        POWER_CUTS(2)
#endif
#ifdef LATE_WRITES
#define OF_LATE(c, p) STEP(CAN_FLUSH(c, p, late[p], late_term[p]), flush(c, p, late[p]))
#define LATE(p)                                                                          \
    WRITE_STEP(CAN_LAND(late[p], late_term[p]), p, late[p] - BEGUN,                      \
               LANDING(late[p], late_term[p]), land(p, late[p], late_term[p]))
        LATE(0)
        LATE(1)
        LATE(2)
        EACH_TWO(OF_LATE)
#endif
#ifdef WITHOUT_FLUSH_VOID_AFTER_REFUSED_WRITE
#define OF_REFUSED(c, p) STEP(CAN_FLUSH_REFUSED(c, p), flush_refused(c, p))
        EACH_TWO(OF_REFUSED)
#endif
#ifdef WITHOUT_PROMISE_BEFORE_GRANT
#define STORE(r) STEP(PROMISE_PENDING(r), store_promise(r))
        STORE(0)
        STORE(1)
        STORE(2)
#endif
    od
}
