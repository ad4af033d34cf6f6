/*
 * The session table: which command of each gateway was the last to take effect. It is part of
 * the replicated state: every replica applies the same log to it and skips the same duplicates.
 * A leader keeps a second table over its whole log, appended or applied, and takes only the next
 * sequence of each session; so no log ever holds a gap. Plain data, used on one thread.
 */
#ifndef LKS_NODE_SESSIONS_H
#define LKS_NODE_SESSIONS_H

#include "verbs/fabric.h"

#include <stddef.h>
#include <stdint.h>

/* A session is one life of a gateway. */
#define LKS_SESSION_INCARNATION_BITS 48
#define LKS_SESSION_INCARNATION_MAX ((UINT64_C(1) << LKS_SESSION_INCARNATION_BITS) - 1)

static inline uint64_t lks_session_make(uint32_t replica, uint64_t incarnation)
{
    return (uint64_t)replica << LKS_SESSION_INCARNATION_BITS | incarnation;
}
static inline uint32_t lks_session_replica(uint64_t session)
{
    return (uint32_t)(session >> LKS_SESSION_INCARNATION_BITS);
}
static inline uint64_t lks_session_incarnation(uint64_t session)
{
    return session & LKS_SESSION_INCARNATION_MAX;
}

/* Copied by assignment; zeroed: no session has been seen. Never contains padding. */
struct lks_sessions {
    struct {
        uint64_t incarnation;   /* the newest logged; 0: none */
        uint64_t last_sequence; /* of that incarnation */
    } gateways[LKS_REPLICAS_MAX + 1]; /* by replica; 0 is unused */
};

enum lks_session_verdict {
    LKS_SESSION_NEXT,      /* to be executed (or appended): the next one of its session */
    LKS_SESSION_DUPLICATE, /* at or below the last one: no effect */
    LKS_SESSION_FENCED,    /* of an older incarnation: no effect */
    LKS_SESSION_GAP,       /* an earlier one is missing: never to be appended */
    LKS_SESSION_UNKNOWN    /* not a session at all: replica or incarnation out of range, or
                              sequence 0: never to be appended */
};

/* What the command would be, without changing the table. */
enum lks_session_verdict lks_sessions_expect(const struct lks_sessions *sessions, uint64_t session,
                                             uint64_t sequence);

/*
 * Enters a logged command: NEXT (it takes effect), DUPLICATE or FENCED (it does not). GAP and
 * UNKNOWN are asserted impossible: a leader appends only what is NEXT over its whole log, so
 * every prefix of every log holds, for each session, each sequence up to its last.
 */
enum lks_session_verdict lks_sessions_apply(struct lks_sessions *sessions, uint64_t session,
                                            uint64_t sequence);

/* A hash of the table: equal on replicas that applied the same prefix. */
uint64_t lks_sessions_hash(const struct lks_sessions *sessions);

/* The table as it stands in a snapshot: version, gateways 1..7, CRC32C; little-endian. */
#define LKS_SESSIONS_BYTES (8u + 16u * LKS_REPLICAS_MAX)
void lks_sessions_encode(const struct lks_sessions *sessions, uint8_t bytes[LKS_SESSIONS_BYTES]);

/* -EBADMSG: damaged or of an unknown version; *sessions is untouched then. */
int lks_sessions_decode(struct lks_sessions *sessions, const uint8_t bytes[LKS_SESSIONS_BYTES]);

#endif
