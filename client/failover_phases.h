/*
 * Where the time of a failover goes: what the new leader says of its way to leadership
 * (`takeover_*` in INFO), between the loss of the old one and the answer that a client got. One
 * thread.
 */
#ifndef LKS_CLIENT_FAILOVER_PHASES_H
#define LKS_CLIENT_FAILOVER_PHASES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* In their order; together they are the whole time. */
enum lks_failover_phase {
    LKS_FAILOVER_DETECT, /* until the next leader suspected it */
    LKS_FAILOVER_FENCE,  /* pre-vote won, own ring fenced and durable */
    LKS_FAILOVER_VOTE,   /* a majority granted */
    LKS_FAILOVER_ADOPT,  /* the latest log of them adopted */
    LKS_FAILOVER_COMMIT, /* the first entry of the term committed */
    LKS_FAILOVER_ANSWER, /* the client's command committed, executed, answered */
    LKS_FAILOVER_PHASES
};

#define LKS_FAILOVER_ROUNDS_MAX 100000u

struct lks_failover_round {
    bool told; /* else the phases are 0: another replica led meanwhile, or the lost one */
    uint64_t total_ns;
    uint64_t phases_ns[LKS_FAILOVER_PHASES];
};

/* What the new leader's INFO says of the time between lost_ns and answered_ns, of the monotonic
 * clock of this host. */
void lks_failover_round_take(struct lks_failover_round *round, const char *info, uint64_t lost_ns,
                             uint64_t answered_ns);

/* The medians as text, one line, and as members of a JSON object, with each round's; both of those
 * rounds alone that were told. */
void lks_failover_print_text(FILE *file, const struct lks_failover_round *rounds, uint32_t count);
void lks_failover_print_json(FILE *file, const struct lks_failover_round *rounds, uint32_t count);

#endif
