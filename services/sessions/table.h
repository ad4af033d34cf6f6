/*
 * The table of sessions, as its files see it: sessions.c executes, snapshot.c writes and restores.
 * Threads as lockstep/service.h says: a partition's sessions are touched by one command at a time.
 */
#ifndef LKS_SERVICES_SESSIONS_TABLE_H
#define LKS_SERVICES_SESSIONS_TABLE_H

#include "lockstep/session.h"
#include "services/sessions/sessions.h"

/* The reply to one sequence. */
struct lks_client_session_kept {
    uint16_t bytes;
    uint16_t lost; /* 1: it was too long */
    uint8_t data[LKS_SESSION_REPLY_KEPT_MAX];
};

struct lks_client_session {
    uint64_t id; /* log index of its OPEN */
    uint64_t nonce[2];
    uint64_t last; /* sequence that was executed last */
    uint64_t expires_ns; /* logged time from which on it does not exist */
    uint32_t lease_ms;
    uint32_t unused;
    struct lks_client_session_kept kept[LKS_SESSION_WINDOW]; /* of sequence s at s % WINDOW */
};

struct lks_client_session_partition {
    uint32_t count;
    struct lks_client_session *sessions[LKS_CLIENT_SESSIONS_PARTITION_MAX]; /* the first `count`,
                                                                              ids rising */
    /* A snapshot under way: its chunks, each behind its length (4), as they were when it began. */
    uint8_t *frozen;
    size_t frozen_bytes;
    size_t frozen_written;
    /* A restore under way: of so many sessions, how many have come; and whether the service's own
     * chunks have begun. */
    uint32_t restore_total;
    uint32_t restored;
    bool restore_inner;
};

struct lks_client_sessions_state {
    const struct lks_service *inner;
    void *inner_state;
    uint64_t time_ns;     /* of the last tick */
    uint64_t sweep_ns;    /* when expired sessions are next looked for */
    struct lks_client_session_partition partitions[]; /* inner->partitions of them */
};

/* Ends the process where there is no memory, as replies do. */
void *lks_client_session_allocate(void *old, size_t bytes);

/* Removes all sessions of a partition, and what a snapshot or restore under way has. */
void lks_client_session_partition_clear(struct lks_client_session_partition *partition);

#endif
