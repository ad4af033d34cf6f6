/*
 * What the files of the client library share: client.c takes calls and gives answers back,
 * exchange.c attaches, sends and repeats. Calls lie in one ring, in the order in which they were
 * given; they are sent, and sent again, in that order only. The caller's thread.
 *
 * Invariant: a sequence is sent under one session with the same bytes each time, and not before
 * the one LKS_SESSION_WINDOW before it was answered.
 */
#ifndef LKS_CLIENT_LIBRARY_INTERNAL_H
#define LKS_CLIENT_LIBRARY_INTERNAL_H

#include "lockstep/client.h"
#include "lockstep/session.h"
#include "node/attachment.h"

/* One call or read. */
struct lks_client_call {
    bool write;
    bool done;          /* answered; its place is free once all before it are */
    uint32_t sendings;  /* so far, also by earlier attachments */
    uint64_t number;    /* of the last sending, while its reply may still come; 0: to be sent */
    uint64_t sequence;  /* of a write */
    uint8_t *message;   /* of a write the header, then the command; its capacity is kept */
    size_t message_bytes;
    size_t message_capacity;
    lks_client_answered answered; /* NULL: nobody waits */
    void *ctx;
};

struct lks_client;

/* How a replica is reached: one for each kind of fabric. */
struct lks_client_way {
    uint64_t attach_max_ns; /* how long attaching may take */
    /* Attaches to it; blocks, for timeout_ns at most. Errors: those of the backend's attaching. */
    int (*attach)(const struct lks_client *client, uint32_t replica, uint64_t timeout_ns,
                  struct lks_attachment **attachment);
};

/* OPEN, TOUCH or CLOSE; one at a time. */
struct lks_client_control {
    uint8_t kind;    /* 0: none */
    uint64_t number; /* as in a call */
};

struct lks_client {
    struct lks_client_options options;
    const struct lks_client_way *way;  /* to a replica */
    void *places;                      /* the way's, freed with the client; or NULL */
    struct lks_attachment *attachment; /* NULL: none */
    uint32_t replica;                  /* of it, or tried last */
    uint64_t attach_ns;                /* not tried again before */
    uint64_t until_ns;                 /* the caller wants to have control again then */
    uint64_t resume_ns;                /* nothing is sent before: the replica was busy */
    uint64_t heard_ns;                 /* a reply, or when there was nothing to wait for */
    uint64_t renewed_ns;               /* when the session was last used */
    uint64_t numbers;                  /* given so far */
    uint64_t nonce[2];
    uint64_t session; /* its id; 0: not open yet */
    uint64_t sequences;
    uint32_t nonces_tried;
    int attach_status; /* of the last try */
    bool full;
    bool refused;        /* by a replica that has proved to be one of the cluster */
    uint32_t refused_by; /* bit by replica: its last word was that it does not take this client */
    bool lost;
    struct lks_client_control control;
    uint64_t head; /* calls given, of which those below are answered */
    uint64_t tail;
    uint64_t ended; /* calls and reads whose callers were told */
    uint64_t attachments;
    uint64_t repeated;
    struct lks_client_call calls[LKS_CLIENT_OUTSTANDING_MAX];
};

static inline struct lks_client_call *lks_client_call_at(struct lks_client *client, uint64_t at)
{
    return &client->calls[at % LKS_CLIENT_OUTSTANDING_MAX];
}

/* A call that nobody executes, and whose caller was told: only its sequence is still sent. */
static inline bool lks_client_is_skipped(const struct lks_client_call *call)
{
    return call->write && call->message_bytes == sizeof(struct lks_session_header);
}

/* Tells the caller, once. The place stays the call's. */
void lks_client_tell(struct lks_client *client, struct lks_client_call *call, int status,
                     const void *reply, size_t bytes);

/* Ends a call and tells the caller, if that is still to be done; its place may be used again from
 * then on. */
void lks_client_finish(struct lks_client *client, struct lks_client_call *call, int status,
                       const void *reply, size_t bytes);

/* What connecting is, whatever the way. places is the client's from here on, also if it fails;
 * options are checked, but for its directory. */
int lks_client_connect_by(struct lks_client **client, const struct lks_client_options *options,
                          const struct lks_client_way *way, void *places);

/* Whether every replica refuses this client: one alone may be of another version, or an impostor
 * whose word proves nothing. */
bool lks_client_is_refused(const struct lks_client *client);

/* Attaches where needed, sends what is to be sent, takes what has come. */
void lks_client_exchange(struct lks_client *client);

/* Waits until something comes, for wait_ns at most. */
void lks_client_wait(struct lks_client *client, uint64_t wait_ns);

/* New random bits for a session that is not open. -ENOSYS, errno. */
int lks_client_draw_nonce(struct lks_client *client);

#endif
