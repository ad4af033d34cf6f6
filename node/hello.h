/*
 * What a replica tells its peers when it connects: how far its own medium can be trusted. The
 * daemon writes it into the fabric's hello bytes; the replica reads a peer's on its core thread.
 * Nothing in it is trusted beyond the ranges that lks_hello_read checks.
 */
#ifndef LKS_NODE_HELLO_H
#define LKS_NODE_HELLO_H

#include "verbs/fabric.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_HELLO_VERSION 0x4c4b0003u /* "LK", then the version of this layout */

/* Little-endian, fixed width. */
struct lks_hello {
    uint32_t version;    /* LKS_HELLO_VERSION */
    uint32_t durability; /* enum lks_durability, resolved: never AUTO */
    uint32_t medium;     /* enum lks_medium_kind */
    uint32_t domain;     /* enum lks_persistence_domain */
    char boot_id[40];    /* of the peer's host, zero-terminated */
    uint32_t incarnation; /* of the peer; 0: it does not say */
    uint32_t life;        /* a number of its own for every start of a process */
};

_Static_assert(sizeof(struct lks_hello) == LKS_FABRIC_HELLO_BYTES, "hello fills its bytes");
_Static_assert(offsetof(struct lks_hello, boot_id) == 16, "hello layout");

/*
 * Takes the bytes that a peer gave. -LKS_EVERSION: another version; -EINVAL: a value that this
 * version does not know, or text without an end. hello is untouched on failure.
 */
int lks_hello_read(struct lks_hello *hello, const uint8_t bytes[LKS_FABRIC_HELLO_BYTES]);

/* The newest life of a peer that is known. Zeroed: none. */
struct lks_hello_known {
    uint64_t incarnation;
    uint32_t life; /* 0: known from the log, which does not say */
};

/*
 * Whether a peer that greets like this lives on an old copy of its journal. Every start raises the
 * incarnation durably, so one below a known one, or the same in another life, has forgotten what
 * was promised and acknowledged since: neither its vote nor its log may count
 * (docs/journal-format.md, "An old copy").
 */
bool lks_hello_is_outlived(const struct lks_hello *hello, const struct lks_hello_known *known);

#endif
