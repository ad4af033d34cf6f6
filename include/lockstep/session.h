/*
 * Commands of a client's session: what a client on the fabric puts around each command of the
 * service, so that it takes effect once, however often and through whatever replica it is sent
 * (docs/client-protocol.md). Part of the journal's format. Pure; any thread.
 *
 * A session is named by 128 random bits that the client chose, and by the log index of the entry
 * that opened it. Its partition, where the table of sessions is kept, follows from the bits alone.
 */
#ifndef LOCKSTEP_SESSION_H
#define LOCKSTEP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The first byte. No service may give it to a command of its own. */
#define LKS_SESSION_MARK 0xE5u

#define LKS_SESSION_WINDOW 64u           /* calls without an answer, and replies kept */
#define LKS_SESSION_REPLY_KEPT_MAX 512u  /* bytes of a reply that is kept; longer ones are not */
#define LKS_SESSION_LEASE_MS_MIN 1000u
#define LKS_SESSION_LEASE_MS_MAX 3600000u

enum lks_session_kind {
    LKS_SESSION_OPEN = 1,  /* begins it; again with the same bits: the same one */
    LKS_SESSION_CALL = 2,  /* a command of the service stands behind the header */
    LKS_SESSION_CLOSE = 3, /* ends it */
    LKS_SESSION_TOUCH = 4, /* keeps it */
    LKS_SESSION_SKIP = 5   /* in the place of a CALL that no replica takes: uses its sequence up */
};

/* Little-endian, unaligned where it lies; behind it, of CALL alone, the service's command. */
struct lks_session_header {
    uint8_t mark;
    uint8_t kind;
    uint8_t zero[2];
    uint32_t lease_ms; /* OPEN: kept so long after its last command, in logged time; else 0 */
    uint64_t nonce[2];
    uint64_t id;       /* log index of its OPEN; in OPEN 0 */
    uint64_t sequence; /* CALL, SKIP: 1, 2, ...; else 0 */
};

_Static_assert(sizeof(struct lks_session_header) == 40, "session header layout");
_Static_assert(offsetof(struct lks_session_header, id) == 24, "session header layout");

/*
 * The answer: an array of an integer, one of these, and, where it is OK, the service's reply (of
 * OPEN the session's id, of CLOSE, TOUCH and SKIP null).
 */
enum lks_session_status {
    LKS_SESSION_STATUS_OK = 0,
    LKS_SESSION_STATUS_UNKNOWN = 1, /* there is no such session (any more): no effect */
    LKS_SESSION_STATUS_GAP = 2,     /* an earlier sequence is missing: no effect */
    LKS_SESSION_STATUS_REPLY_LOST = 3, /* took effect earlier, once; its reply was too long to be
                                          kept, or is older than the window */
    LKS_SESSION_STATUS_FULL = 4,    /* OPEN: no room in its partition; no effect: draw others */
    LKS_SESSION_STATUS_MALFORMED = 5  /* no effect */
};

/* What an answer whose status is OK begins with; the service's reply follows. */
#define LKS_SESSION_OK_PREFIX "*2\r\n:0\r\n"
#define LKS_SESSION_OK_PREFIX_BYTES 8u

static inline bool lks_session_is_command(const void *data, size_t bytes)
{
    return bytes > 0 && *(const uint8_t *)data == LKS_SESSION_MARK;
}

/* Takes a header. False: these bytes are no command of a session; *header is then undefined. */
static inline bool lks_session_decode(const void *data, size_t bytes,
                                      struct lks_session_header *header)
{
    if (bytes < sizeof *header) {
        return false;
    }
    memcpy(header, data, sizeof *header);
    const bool open = header->kind == LKS_SESSION_OPEN;
    const bool call = header->kind == LKS_SESSION_CALL;
    const bool counted = call || header->kind == LKS_SESSION_SKIP;
    const bool lease = header->lease_ms >= LKS_SESSION_LEASE_MS_MIN &&
                       header->lease_ms <= LKS_SESSION_LEASE_MS_MAX;
    const uint8_t *command = (const uint8_t *)data + sizeof *header;
    return header->mark == LKS_SESSION_MARK && header->kind >= LKS_SESSION_OPEN &&
           header->kind <= LKS_SESSION_SKIP && header->zero[0] == 0 && header->zero[1] == 0 &&
           (open ? lease : header->lease_ms == 0) && open == (header->id == 0) &&
           counted == (header->sequence != 0) && call == (bytes > sizeof *header) &&
           (!call || !lks_session_is_command(command, bytes - sizeof *header));
}

/* Bits of the name that say where the session is kept, as in struct lks_footprint. */
static inline uint64_t lks_session_identity(const struct lks_session_header *header)
{
    return header->nonce[0] & INT64_MAX;
}

#endif
