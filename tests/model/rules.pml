/*
 * Rules of docs/protocol.md, each of which a macro takes out. With one taken out, only what a user
 * would notice is asserted (invariants.pml): `run` must find a run of steps that breaks it.
 */
#if defined(WITHOUT_FENCE_BEFORE_GRANT) || defined(WITHOUT_OWN_RING_REVOKED_FIRST)
/* A write that passed the check of an old permission, and all behind it on its connection, lands
 * after the new permission was given. */
#define LATE_WRITES
byte late[N];      /* as path[], */
byte late_term[N]; /* of the leader of this term */
#define RULES_BYTES(X) X(late) X(late_term)
#endif

#ifdef WITHOUT_PROMISE_BEFORE_GRANT
byte stored_term[N]; /* term[] and promised[] are not durable yet */
byte stored_promised[N];
#define RULES_BYTES(X) X(stored_term)
#define RULES_NAMES(X) X(stored_promised)
#endif

#ifdef WITHOUT_TAIL_FROM_BASE
byte measured[N]; /* the durable index: how long the log was at the hand-over before */
#define TAIL_BEGIN(r) measured[r]
#define RULES_BYTES(X) X(measured)
#elif defined(COMMIT_WORDS)
/* "The whole tail, from the commit word": known at the hand-over before. */
byte word[N]; /* how many entries the replica knows to be committed; zeroed by a restart */
byte tail_from[N];
#define TAIL_BEGIN(r) tail_from[r]
#define RULES_BYTES(X) X(word) X(tail_from)
#else
#define TAIL_BEGIN(r) 0
#endif

#ifdef WITHOUT_FLUSH_VOID_AFTER_REFUSED_WRITE
byte wrote[N * N]; /* has had a path there, as a leader */
#define WROTE(c, p) wrote[(c) * N + (p)]
#define RULES_TABLES(X) X(wrote)
#endif

#ifndef RULES_BYTES
#define RULES_BYTES(X)
#endif
#ifndef RULES_NAMES
#define RULES_NAMES(X)
#endif
#ifndef RULES_TABLES
#define RULES_TABLES(X)
#endif

#if defined(WITHOUT_FENCE_BEFORE_GRANT) || defined(WITHOUT_OWN_RING_REVOKED_FIRST) ||  \
    defined(WITHOUT_PROMISE_BEFORE_GRANT) || defined(WITHOUT_TAIL_FROM_BASE) ||        \
    defined(WITHOUT_FLUSH_VOID_AFTER_REFUSED_WRITE) || defined(WITHOUT_CHAIN) ||       \
    defined(WITHOUT_OWN_TAIL_PERSISTED) || defined(WITHOUT_RENEWAL_TAIL) ||            \
    defined(WITHOUT_OWN_TERM_COMMIT) || defined(WITHOUT_LATEST_LOG)
#define RULE_TAKEN_OUT
#endif

/* ---- the steps of a hand-over, as the rules have them ---------------------------------------- */

/* Revokes the permission to write the own ring and waits until nothing more can land. */
inline fence(r)
{
#ifdef WITHOUT_FENCE_BEFORE_GRANT
    if
    :: path[r] >= BEGUN && late[r] == NO_PATH -> late[r] = path[r]; late_term[r] = term[r]
    :: else
    fi;
#endif
    path[r] = NO_PATH
}

inline fence_own(candidate)
{
#ifdef WITHOUT_OWN_RING_REVOKED_FIRST
    if /* revoked only when it leads */
    :: path[candidate] >= BEGUN && late[candidate] == NO_PATH ->
        late[candidate] = path[candidate];
        late_term[candidate] = term[candidate]
    :: else
    fi;
    path[candidate] = NO_PATH
#else
    fence(candidate)
#endif
}

inline end_late_writes(r)
{
#ifdef WITHOUT_OWN_RING_REVOKED_FIRST
    late[r] = NO_PATH;
    late_term[r] = 0
#else
    skip
#endif
}

/* The promise, made durable. */
inline promise(r, to, in_term)
{
    term[r] = in_term;
    promised[r] = to
#ifdef WITHOUT_PROMISE_BEFORE_GRANT
    ;
    if
    :: r == to -> stored_term[r] = in_term; stored_promised[r] = to
    :: else /* stored later */
    fi
#endif
}

#ifdef WITHOUT_PROMISE_BEFORE_GRANT
#define PROMISE_PENDING(r) (stored_term[r] != term[r] || stored_promised[r] != promised[r])
inline store_promise(r)
{
    stored_term[r] = term[r];
    stored_promised[r] = promised[r];
    printf("replica %d stores its promise of term %d\n", name[r], term[r])
}
#define HAS_MORE_TO_LOSE(r) PROMISE_PENDING(r)
#elif defined(COMMIT_WORDS)
#define HAS_MORE_TO_LOSE(r) (word[r] != 0 || tail_from[r] != 0)
#else
#define HAS_MORE_TO_LOSE(r) false
#endif

/* After the tail was made durable: from where to do so the next time. */
inline note_tail(r, length)
{
#if defined(WITHOUT_TAIL_FROM_BASE)
    measured[r] = length
#elif defined(COMMIT_WORDS)
    tail_from[r] = word[r]
#else
    skip
#endif
}

inline note_commit(r, length)
{
#ifdef COMMIT_WORDS
    word[r] = MAX(word[r], length)
#else
    skip
#endif
}

inline note_wrote(from_replica, to_replica)
{
#ifdef WITHOUT_FLUSH_VOID_AFTER_REFUSED_WRITE
    WROTE(from_replica, to_replica) = true
#else
    skip
#endif
}

inline forget_wrote(who)
{
#ifdef WITHOUT_FLUSH_VOID_AFTER_REFUSED_WRITE
    WROTE(who, 0) = false;
    WROTE(who, 1) = false;
    WROTE(who, 2) = false
#else
    skip
#endif
}

/* What a restart costs, beyond what every replica loses. */
inline forget(r)
{
#ifdef LATE_WRITES
    late[r] = NO_PATH;
    late_term[r] = 0;
#endif
#ifdef WITHOUT_PROMISE_BEFORE_GRANT
    term[r] = stored_term[r];
    promised[r] = stored_promised[r];
#endif
#ifdef WITHOUT_TAIL_FROM_BASE
    measured[r] = 0;
#endif
#ifdef COMMIT_WORDS
    word[r] = 0;
    tail_from[r] = 0;
#endif
    skip
}

inline start_rules()
{
#ifdef WITHOUT_PROMISE_BEFORE_GRANT
    stored_promised[0] = NOBODY;
    stored_promised[1] = NOBODY;
    stored_promised[2] = NOBODY;
#endif
    skip
}
