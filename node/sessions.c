/* The session table; see sessions.h. */
#include "node/sessions.h"

#include "base/assert.h"
#include "base/crc32c.h"

#include <errno.h>
#include <string.h>

#define ENCODING_VERSION 1u

_Static_assert(sizeof(struct lks_sessions) == (LKS_REPLICAS_MAX + 1) * 16, "no padding");

enum lks_session_verdict lks_sessions_expect(const struct lks_sessions *sessions, uint64_t session,
                                             uint64_t sequence)
{
    const uint32_t replica = lks_session_replica(session);
    const uint64_t incarnation = lks_session_incarnation(session);
    if (replica == 0 || replica > LKS_REPLICAS_MAX || incarnation == 0 || sequence == 0) {
        return LKS_SESSION_UNKNOWN;
    }
    const uint64_t known = sessions->gateways[replica].incarnation;
    if (incarnation < known) {
        return LKS_SESSION_FENCED;
    }
    const uint64_t last = incarnation == known ? sessions->gateways[replica].last_sequence : 0;
    if (sequence <= last) {
        return LKS_SESSION_DUPLICATE;
    }
    return sequence == last + 1 ? LKS_SESSION_NEXT : LKS_SESSION_GAP;
}

/*
 * Why a gap cannot be in a log (design 3.6): a leader appends a command only if it is NEXT over
 * its whole log, so appending keeps "each sequence up to the last is there" true of the log. All
 * other ways in which a log changes keep it too: cutting a diverging tail leaves a prefix, and
 * adopting another log takes a leader's log. What is applied is a prefix of such a log.
 */
enum lks_session_verdict lks_sessions_apply(struct lks_sessions *sessions, uint64_t session,
                                            uint64_t sequence)
{
    const enum lks_session_verdict verdict = lks_sessions_expect(sessions, session, sequence);
    LKS_ASSERT(verdict != LKS_SESSION_GAP);
    LKS_ASSERT(verdict != LKS_SESSION_UNKNOWN);
    if (verdict == LKS_SESSION_NEXT) {
        const uint32_t replica = lks_session_replica(session);
        sessions->gateways[replica].incarnation = lks_session_incarnation(session);
        sessions->gateways[replica].last_sequence = sequence;
    }
    return verdict;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + UINT64_C(0x9E3779B97F4A7C15);
    hash *= UINT64_C(0xBF58476D1CE4E5B9);
    hash ^= hash >> 29;
    hash *= UINT64_C(0x94D049BB133111EB);
    return hash ^ hash >> 32;
}

uint64_t lks_sessions_hash(const struct lks_sessions *sessions)
{
    uint64_t hash = 0;
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        hash = mix(hash, sessions->gateways[replica].incarnation);
        hash = mix(hash, sessions->gateways[replica].last_sequence);
    }
    return hash;
}

static void put(uint8_t *bytes, uint64_t value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t get(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value |= (uint64_t)bytes[i] << 8 * i;
    }
    return value;
}

/* checksum (4) · version (4) · for each gateway: incarnation (8), last sequence (8) */
void lks_sessions_encode(const struct lks_sessions *sessions, uint8_t bytes[LKS_SESSIONS_BYTES])
{
    put(bytes + 4, ENCODING_VERSION, 4);
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        uint8_t *gateway = bytes + 8 + 16 * (replica - 1);
        put(gateway, sessions->gateways[replica].incarnation, 8);
        put(gateway + 8, sessions->gateways[replica].last_sequence, 8);
    }
    put(bytes, lks_crc32c(0, bytes + 4, LKS_SESSIONS_BYTES - 4), 4);
}

int lks_sessions_decode(struct lks_sessions *sessions, const uint8_t bytes[LKS_SESSIONS_BYTES])
{
    if (get(bytes, 4) != lks_crc32c(0, bytes + 4, LKS_SESSIONS_BYTES - 4) ||
        get(bytes + 4, 4) != ENCODING_VERSION) {
        return -EBADMSG;
    }
    struct lks_sessions read = {0};
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        const uint8_t *gateway = bytes + 8 + 16 * (replica - 1);
        const uint64_t incarnation = get(gateway, 8);
        const uint64_t last_sequence = get(gateway + 8, 8);
        if (incarnation > LKS_SESSION_INCARNATION_MAX ||
            (incarnation == 0) != (last_sequence == 0)) {
            return -EBADMSG;
        }
        read.gateways[replica].incarnation = incarnation;
        read.gateways[replica].last_sequence = last_sequence;
    }
    *sessions = read;
    return 0;
}
