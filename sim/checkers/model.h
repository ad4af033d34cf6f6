/*
 * The reference model: what the key-value service must answer, written anew over a handful of
 * keys and their bytes, without any of the service's code. One thread.
 */
#ifndef LKS_SIM_CHECKERS_MODEL_H
#define LKS_SIM_CHECKERS_MODEL_H

#include "sim/operation.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_model {
    struct {
        bool present;
        uint32_t bytes;
        uint64_t expires_ms; /* gone when the log's time is later; 0: never */
        char value[LKS_SIM_LARGE_VALUE_BYTES_MAX];
    } keys[LKS_SIM_KEYS];
};

/* Executes a command at the time that its log entry carries (a read that has none: of the state
 * that it was answered from; it changes nothing); fills *expected with the answer that
 * its client must have got. */
void lks_sim_model_apply(struct lks_sim_model *model, const struct lks_sim_operation *operation,
                         uint64_t time_ns, struct lks_sim_answer *expected);

#endif
