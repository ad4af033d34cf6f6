/*
 * What a client on the fabric and the replica that it is attached to write into each other's
 * memory: two rings like those of gateways (ingress.h), requests one way and replies the other,
 * both open from the beginning, as the memory is new for each client (verbs/shm/lane.h). In a
 * record, `sequence` is the request's number, and `session` the lane's number (as the writer) with
 * one of the values below. Constants only; any thread.
 */
#ifndef LKS_NODE_CLIENT_WIRE_H
#define LKS_NODE_CLIENT_WIRE_H

#include "node/inbox_layout.h"
#include "node/ingress.h"

#define LKS_CLIENT_AREA_BYTES LKS_REPLICA_INBOX_BYTES

/* Rings that are opened without an offer by message. */
#define LKS_CLIENT_RING_TERM 1u
#define LKS_CLIENT_RING_INCARNATION 1u

enum lks_client_request {
    LKS_CLIENT_REQUEST_CALL = 1, /* a command of a session (lockstep/session.h) */
    LKS_CLIENT_REQUEST_READ = 2  /* a command of the service that changes nothing */
};

enum lks_client_said {
    LKS_CLIENT_SAID_OK = 1,        /* the answer follows */
    LKS_CLIENT_SAID_UNKNOWN = 2,   /* it is in the log; what it answered is not known here: ask
                                       again */
    LKS_CLIENT_SAID_BUSY = 3,      /* not taken: again later */
    LKS_CLIENT_SAID_NO_LEADER = 4, /* not taken: here or elsewhere */
    LKS_CLIENT_SAID_RING_FULL = 5, /* not taken: the log has no room */
    LKS_CLIENT_SAID_TOO_BIG = 6,   /* not taken: longer than the cluster's limit */
    LKS_CLIENT_SAID_MALFORMED = 7, /* not taken: no command of a session; no read */
    LKS_CLIENT_SAID_LONG = 8,      /* the answer does not fit a record */
    LKS_CLIENT_SAID_FORBIDDEN = 9  /* not taken: the replica's configuration does not allow it */
};

#endif
