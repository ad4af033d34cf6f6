/*
 * The members of a running cluster, as its leader tells them at its client port; and asking that
 * leader for something. Blocking, with time limits, main thread; what comes back is not trusted.
 */
#ifndef LKS_CLIENT_MEMBERS_H
#define LKS_CLIENT_MEMBERS_H

#include "base/error.h"
#include "client/ask.h"
#include "node/config.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_member_seen {
    bool named; /* a member at all */
    bool voter;
    bool connected;
    bool caught_up;
    bool installing;
    bool manual;
    uint64_t lag_bytes;
    char address[LKS_ADDRESS_TEXT_MAX + 16];
};

struct lks_members_seen {
    uint32_t leader;
    uint64_t term;
    uint64_t number; /* of the members */
    bool committed;
    uint32_t voters; /* how many */
    char leader_address[LKS_ADDRESS_TEXT_MAX + 16];
    struct lks_member_seen members[LKS_REPLICAS_MAX + 1]; /* by id */
};

/* Asks the replicas of the configuration, and whom they name, until one says that it leads; of two
 * the one of the higher term. -LKS_ENOLEADER: none does; err says who was asked. */
int lks_members_find_leader(struct lks_members_seen *seen, const struct lks_config *config,
                            struct lks_error *err);

/* Sends a command (ended by NULL) to the leader found. 0 if it answered +OK; -EPROTO: err is its
 * error; else as lks_ask_command. */
int lks_members_ask(const struct lks_members_seen *seen, const char *const *args,
                    uint64_t timeout_ns, struct lks_error *err);

/* Reads the answer to MEMBER LIST. False: not of that form. */
bool lks_members_read(struct lks_members_seen *seen, const char *text);

#endif
