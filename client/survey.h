/*
 * One look at a whole cluster: what each replica says of itself, and what follows from it.
 * Blocking, main thread; used by `status` and `local`.
 */
#ifndef LKS_CLIENT_SURVEY_H
#define LKS_CLIENT_SURVEY_H

#include "client/ask.h"
#include "node/config.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_survey_replica {
    bool reachable;
    char problem[128]; /* why not */
    char info[LKS_ASK_TEXT_MAX];
};

struct lks_survey {
    uint32_t leader;     /* 0: nobody that could be asked leads */
    uint64_t term;       /* the leader's, else the highest seen */
    uint64_t commit_offset; /* the leader's */
    uint32_t followers;  /* replicas that follow that leader in that term, itself included */
    uint32_t serving;    /* of all reachable ones */
    bool majority;       /* followers are one */
    struct lks_survey_replica replicas[LKS_REPLICAS_MAX + 1]; /* by id */
};

/* Asks every replica, each within timeout_ns. survey is big: give it static or heap memory. */
void lks_survey_take(struct lks_survey *survey, const struct lks_config *config,
                     uint64_t timeout_ns);

#endif
