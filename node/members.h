/*
 * The cluster's members as this replica knows them, and their changes.
 *
 * The record in force at the applied point is a part of the replicated state: entries of the log
 * bring it, snapshots carry it. What is in force in the whole own log, committed or not, is the
 * core's matter (consensus/core.h, view.members); scans of the log tell it. A leader changes the
 * members by one entry at a time: an administrator asks for it, or a learner has caught up.
 * Part of struct lks_replica; replica's thread.
 */
#ifndef LKS_NODE_MEMBERS_H
#define LKS_NODE_MEMBERS_H

#include "base/error.h"
#include "consensus/types.h"
#include "node/sessions.h"
#include "pmem/members.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lks_member_action {
    LKS_MEMBER_ADD,     /* as a learner */
    LKS_MEMBER_PROMOTE, /* learner to voter */
    LKS_MEMBER_REMOVE,
    LKS_MEMBER_TRANSFER /* of leadership; no change of members */
};

struct lks_member_request {
    enum lks_member_action action;
    uint32_t id;         /* TRANSFER: 0: to whom it suits best */
    bool manual;         /* ADD: not to be promoted automatically */
    const char *address; /* ADD: where its clients connect, at most 63 bytes; NULL: as configured */
    const char *fabric_address; /* ADD: likewise, where its peers reach it */
    uint64_t cookie;
};

/* A change on its way: one at a time. */
struct lks_member_change {
    bool active;
    bool asked; /* by an administrator, who waits for the answer */
    struct lks_member_request request;
    uint64_t term;       /* of the leader that began it: this replica */
    uint64_t number;     /* of the members that it brings */
    uint64_t began_ns;
};

struct lks_replica_members {
    struct lks_members_record applied; /* number 0: the bootstrap members */
    uint64_t applied_end;              /* end of the entry that brought them, or of the snapshot */
    struct lks_member_change change;
    uint32_t named;                    /* members when the fabric was last told whom to expect */
    uint32_t expected;                 /* peers that the fabric was told to expect, as a mask */
    uint64_t placed;                   /* applied members whose places the fabric was told */
    uint64_t promote_ns;               /* learners are looked at again then */
    uint32_t promoting_warned;         /* learner whose promotion was refused, said once */
};

/* What a snapshot says beside its point and time: the sessions, then the members. */
#define LKS_META_BYTES (LKS_SESSIONS_BYTES + sizeof(struct lks_members_record))

struct lks_meta {
    struct lks_sessions sessions;
    struct lks_members_record members;
};

void lks_meta_encode(const struct lks_sessions *sessions, const struct lks_members_record *members,
                     uint8_t bytes[LKS_META_BYTES]);
/* Also takes what was written before there were changes of members: sessions alone. -EBADMSG:
 * damaged or of an unknown form; *meta is untouched then. */
int lks_meta_decode(struct lks_meta *meta, const void *bytes, size_t count);

/* For the replica that it concerns; its id, twice. */
#define LKS_REMOVED_TEXT \
    "replica %u was removed from the cluster: it ends, and its journal stays as it is; to bring " \
    "it back, add it with a new journal: `lockstep member add %u --rejoin`"

/* As the core wants them. */
struct lks_members lks_members_of(const struct lks_members_record *record, uint64_t end_offset);

/* The next record: `now`, changed as asked. now_voters: of `now`, bootstrap members resolved. 0; 1:
 * that is how it is already; -EINVAL: err says why it cannot be, and the way out. */
int lks_members_change(struct lks_members_record *next, const struct lks_members_record *now,
                       uint32_t now_voters, const struct lks_member_request *request,
                       struct lks_error *err);

#endif
