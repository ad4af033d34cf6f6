/*
 * Words that the protocol shares with its surroundings: positions in the log, term runs, messages.
 *
 * Plain data without behaviour. Messages travel as they are (little-endian, fixed size, checked
 * by lks_message_check on arrival): nothing in them is trusted before that.
 */
#ifndef LKS_CONSENSUS_TYPES_H
#define LKS_CONSENSUS_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_CORE_REPLICAS_MAX 7u
#define LKS_CORE_PEERS (LKS_CORE_REPLICAS_MAX + 1u) /* arrays are indexed by replica id, 1..7 */
#define LKS_MESSAGE_RUNS_MAX 16u
#define LKS_KEY_WORDS 4u

/* No term, index, offset or number in a message reaches this: nothing that is computed from them
 * overflows. */
#define LKS_MESSAGE_NUMBER_MAX (UINT64_C(1) << 62)

/* The point behind an entry. The zeroed one is the beginning of the log. */
struct lks_position {
    uint64_t index;
    uint64_t term;
    uint64_t offset; /* bytes from the beginning of the log */
    uint64_t chain;  /* checksum of the entry before: equal chains mean equal logs */
};

/* Consecutive entries of one term. Its end is the next run's beginning, or the tail. */
struct lks_run {
    uint64_t term;
    uint64_t first_offset;
};

/*
 * Who belongs to the cluster. Bit p of a mask is replica p; bit 0 is unused. Majorities are of the
 * voters; learners hold the log and count for nothing. `number` counts up by one with each change
 * (0: the bootstrap members, which stand in no log). `end_offset`: the end of the entry that
 * brought them; 0 for bootstrap; at or below the own base: committed.
 */
struct lks_members {
    uint64_t number;
    uint64_t end_offset;
    uint8_t voters;
    uint8_t learners;
    uint8_t reserved[6];
};

_Static_assert(sizeof(struct lks_members) == 24, "members layout");

enum lks_message_kind {
    LKS_MESSAGE_PREVOTE_REQUEST = 1, /* would you grant me term? */
    LKS_MESSAGE_PREVOTE_REPLY,       /* accepted or not */
    LKS_MESSAGE_VOTE_REQUEST,        /* grant me write permission in term */
    LKS_MESSAGE_VOTE_REPLY,          /* granted: key, tail, runs */
    LKS_MESSAGE_VOTE_REFUSAL,        /* term: the promise that forbids it */
    LKS_MESSAGE_DURABLE,             /* pmem-ack: offset is durable here under this grant */
    LKS_MESSAGE_TRANSFER,            /* leader to follower: become candidate now */
    LKS_MESSAGE_AMNESIA_OVER,        /* leader to amnesiac: you hold what you may have forgotten */
    LKS_MESSAGE_AMNESIA_CLEARED,     /* amnesiac to leader: recorded durably */
    LKS_MESSAGE_INSTALL,             /* leader to a granted follower: take a snapshot first */
    LKS_MESSAGE_INSTALLED,           /* follower to leader: done (or not); what the log now is */
    LKS_MESSAGE_KIND_END
};

enum lks_message_flags {
    LKS_MESSAGE_ACCEPTED = 1,     /* PREVOTE_REPLY */
    LKS_MESSAGE_ESTABLISHED = 2,  /* VOTE_REQUEST: the sender leads, its no-op has committed */
    LKS_MESSAGE_AMNESIAC = 4,     /* VOTE_REPLY, VOTE_REFUSAL: the sender is amnesiac */
    LKS_MESSAGE_PROMISE_LOST = 8, /* VOTE_REPLY: and may have forgotten its promise */
    LKS_MESSAGE_TERM_TAKEN = 16,  /* VOTE_REFUSAL: this very term is promised to another one */
    LKS_MESSAGE_FAILED = 32,      /* INSTALLED: no snapshot could be installed */
    LKS_MESSAGE_NOT_MEMBER = 64   /* PREVOTE_REPLY, VOTE_REFUSAL: the receiver is no member under
                                     the committed members `members_number` */
};

struct lks_message {
    uint32_t kind;
    uint32_t flags;
    uint64_t term;
    uint64_t incarnation;   /* requests: the candidate's; DURABLE: the leader's, as granted */
    uint64_t request;       /* requests count up per sender's life; replies repeat theirs */
    struct lks_position base; /* VOTE_REPLY, INSTALLED: the sender's; INSTALL: the least wanted */
    struct lks_position tail;
    uint64_t commit_offset; /* greatest commit word the sender has seen */
    uint64_t durable_offset; /* DURABLE */
    uint64_t key[LKS_KEY_WORDS]; /* VOTE_REPLY: key[0] is the grant's number; DURABLE, AMNESIA_*,
                                    INSTALL, INSTALLED: key[0]; INSTALL: key[1] is the donor;
                                    AMNESIA_OVER: key[1] are the bootstrap voters */
    uint32_t runs_count;
    uint32_t members_number; /* of the members in force at the sender; NOT_MEMBER: see there */
    struct lks_run runs[LKS_MESSAGE_RUNS_MAX]; /* the last ones, rising, above the base */
};

_Static_assert(sizeof(struct lks_message) == 152 + 16 * LKS_MESSAGE_RUNS_MAX, "message layout");
_Static_assert(offsetof(struct lks_message, runs) == 152, "message layout");

/* True if a received message is well-formed and no number in it is absurd; says nothing about its
 * truth. */
bool lks_message_check(const struct lks_message *message);

#endif
