/*
 * A client of a Lockstep cluster on its fabric: commands go into the memory of a replica of this
 * host, answers come back into memory here; no TCP. Each call takes effect exactly once, also where
 * the replica that it was given to dies: the client then attaches to another one and repeats what
 * is unanswered (docs/client-protocol.md).
 *
 * Commands are the replicated service's own bytes, replies one RESP3 value each. A client is used
 * by one thread at a time. Nothing happens but inside calls of these functions: a session whose
 * client does not call them for as long as its lease ends.
 */
#ifndef LOCKSTEP_CLIENT_H
#define LOCKSTEP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_CLIENT_OUTSTANDING_MAX 64u /* calls and reads without an answer */
#define LKS_CLIENT_COMMAND_MAX (500u << 10) /* bytes; a cluster may allow fewer */

struct lks_client;

/* How a call ended. Negative codes that are none of these are errno's. */
enum lks_client_status {
    LKS_CLIENT_OK = 0,
    LKS_CLIENT_BUSY = -2001,            /* as many calls as may be are unanswered: poll first */
    LKS_CLIENT_TOO_BIG = -2002,         /* no effect: longer than the cluster's limit */
    LKS_CLIENT_NOT_A_READ = -2003,      /* no effect: a read was asked for, but it changes things */
    LKS_CLIENT_TIMEOUT = -2004,         /* no answer in time: it may take effect yet, once */
    LKS_CLIENT_REPLY_LOST = -2005,      /* it took effect, once; its reply is not known any more */
    LKS_CLIENT_REPLY_TOO_BIG = -2006,   /* the reply, of a read, or of a call (which took effect,
                                           once), is longer than what fits */
    LKS_CLIENT_SESSION_LOST = -2007,    /* no effect: the session has ended */
    LKS_CLIENT_OUTCOME_UNKNOWN = -2008, /* the session ended while it was under way: whether it
                                           took effect, once, cannot be known */
    LKS_CLIENT_SESSIONS_FULL = -2009,   /* as many clients are attached, or have sessions, as may */
    LKS_CLIENT_REFUSED = -2010,         /* the replica does not understand this client */
    LKS_CLIENT_FORBIDDEN = -2011        /* no effect: the cluster's configuration does not allow
                                           this command */
};

/* The sentence of a status; never NULL, valid for the process's life. */
const char *lks_client_status_text(int status);

/* Zero: the default. */
struct lks_client_options {
    const char *directory; /* of the cluster on this host: where its sockets are; required */
    uint32_t replicas;     /* ids 1..replicas are tried in turn; default 7 */
    uint32_t first;        /* is tried first; default 1 */
    uint64_t timeout_ns;   /* of connecting, and of lks_client_call and _read; default 10 s */
    uint64_t lease_ms;     /* a silent session is kept so long; 1000 to 3600000, default 60000 */
    uint64_t spin_ns;      /* a wait spins so long before it sleeps; default 0 */
};

/* Attaches to a replica and opens a session. LKS_CLIENT_TIMEOUT (no answer), LKS_CLIENT_REFUSED,
 * LKS_CLIENT_SESSIONS_FULL, -EINVAL, -ENOMEM; -ENOENT, -ECONNREFUSED: no replica runs there.
 * *client is untouched then. */
int lks_client_connect(struct lks_client **client, const struct lks_client_options *options);

/* Where a cluster whose fabric is `rdma`, and whose configuration has a client_key, is reached. */
struct lks_client_rdma_options {
    const char *addresses;  /* "10.0.0.1:7001,10.0.0.2:7001,...", replicas 1, 2, ... in this order:
                               each the numeric address of `rdma` with the port of `listen`; an
                               IPv6 address in brackets */
    const char *client_key; /* 64 hexadecimal digits, secret */
};

/*
 * The same over RDMA, from any host of the fabric; options->directory and replicas are not looked
 * at. Programs that call it link libibverbs and librdmacm. The process must not fork while the
 * client is there, but to execute another program at once: the adapter writes this process's
 * memory. Locked memory: 2.1 MiB a client (`ulimit -l`).
 * Also: -EINVAL (addresses, key), -ENODEV (no RDMA device reaches the replicas), -EHOSTUNREACH,
 * -ENOTSUP (the library was built without RDMA). LKS_CLIENT_REFUSED: not the cluster's client_key.
 */
int lks_client_connect_rdma(struct lks_client **client, const struct lks_client_options *options,
                            const struct lks_client_rdma_options *rdma);

/* Ends the session (for at most a second), and frees; NULL is allowed. Callbacks of what is
 * unanswered are not called. */
void lks_client_close(struct lks_client *client);

/* status: one of enum lks_client_status. reply: one RESP3 value, during the call only; NULL unless
 * status is LKS_CLIENT_OK. It may call lks_client_call_async and _read_async, no other function. */
typedef void (*lks_client_answered)(void *ctx, int status, const void *reply, size_t bytes);

/*
 * Takes a command (copied) that may change something; one that cannot is refused. `answered` is
 * called once, from inside a later lks_client_poll (or _call, _read). Calls take effect in the
 * order in which they were given.
 * LKS_CLIENT_BUSY, LKS_CLIENT_TOO_BIG, LKS_CLIENT_SESSION_LOST: not taken. -ENOMEM.
 */
int lks_client_call_async(struct lks_client *client, const void *command, size_t bytes,
                          lks_client_answered answered, void *ctx);

/* The same for a command that changes nothing: answered linearizably, after the calls given before
 * it; but where a replica has died meanwhile, it may see calls given behind it. */
int lks_client_read_async(struct lks_client *client, const void *command, size_t bytes,
                          lks_client_answered answered, void *ctx);

/* Sends, takes answers, repeats; waits for wait_ns at most while nothing comes. Returns how many
 * calls and reads ended, with whatever status: each counts once, when its callback is called (also
 * one that lks_client_call or _read has given up). */
int lks_client_poll(struct lks_client *client, uint64_t wait_ns);

/* What one call was answered. */
struct lks_client_answer {
    void *data; /* grows as needed, reused; free() it at the end. Zeroed: none yet */
    size_t bytes;
    size_t capacity;
};

/* One command and its answer. Others' callbacks are called meanwhile. A status as above; after
 * LKS_CLIENT_TIMEOUT it is still repeated. */
int lks_client_call(struct lks_client *client, const void *command, size_t bytes,
                    struct lks_client_answer *answer);
int lks_client_read(struct lks_client *client, const void *command, size_t bytes,
                    struct lks_client_answer *answer);

struct lks_client_state {
    uint32_t replica;     /* attached to; 0: none at the moment */
    uint32_t outstanding; /* calls and reads without an answer */
    bool session_lost;
    uint64_t attachments; /* times that a replica was attached to */
    uint64_t repeated;    /* times that a call was sent again */
};

void lks_client_state(const struct lks_client *client, struct lks_client_state *state);

#endif
