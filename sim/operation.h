/*
 * The commands of the key-value service that the clients of a run send: a table, one row for each
 * form. A row says how the client words it, how often it comes, on which keys, what the reference
 * model makes of it, and what it is to the search for a linear order. One thread.
 *
 * Keys come in families, so that the search has a simple object for each: registers (GET, SET,
 * DEL), counters (INCR and the like), texts, of which it knows the length, and conditionals
 * (SET with NX, XX, GET; EXISTS). Volatile keys expire by the time of the log, which the search
 * does not know. The reference model knows every byte of all of them.
 */
#ifndef LKS_SIM_OPERATION_H
#define LKS_SIM_OPERATION_H

#include "sim/checkers/linearizability.h"
#include "sim/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_SIM_REGISTERS 4u
#define LKS_SIM_COUNTERS 3u
#define LKS_SIM_TEXTS 2u
#define LKS_SIM_CONDITIONALS 2u
#define LKS_SIM_VOLATILES 3u
#define LKS_SIM_KEYS                                                         \
    (LKS_SIM_REGISTERS + LKS_SIM_COUNTERS + LKS_SIM_TEXTS + LKS_SIM_VOLATILES + \
     LKS_SIM_CONDITIONALS)
#define LKS_SIM_FILLER_BYTES_MAX 1600u
#define LKS_SIM_VALUE_BYTES_MAX 2000u /* what APPEND may grow a value to */
/* Where commands are large: ingress rings wrap, a partition fills several blocks of snapshots. */
#define LKS_SIM_LARGE_FILLER_BYTES_MAX 28000u
#define LKS_SIM_LARGE_VALUE_BYTES_MAX 100000u
#define LKS_SIM_COMMAND_BYTES_MAX 29696u

/* One command of one client. */
struct lks_sim_operation {
    uint32_t row; /* in the table */
    uint32_t key;
    uint32_t other; /* second key */
    uint32_t filler_bytes;
    bool large;      /* values may be as long as the larger limits say */
    uint32_t absent; /* keys that never exist, named behind the two of EXISTS or DEL */
    int64_t argument; /* what SET writes, INCRBY adds */
};

/* Draws one; `argument` becomes what a SET writes. Few values are of filler_bytes_max bytes. Where
 * that is above LKS_SIM_FILLER_BYTES_MAX, most may be, and EXISTS and DEL name many keys. */
void lks_sim_operation_draw(struct lks_sim_operation *operation, struct lks_sim_random *random,
                            int64_t argument, uint32_t filler_bytes_max);

/* The bytes that go into the log, by the service's own encoder. number: of the command, never
 * used twice. Returns how many; at most LKS_SIM_COMMAND_BYTES_MAX. */
size_t lks_sim_operation_encode(const struct lks_sim_operation *operation, uint64_t number,
                                uint8_t *bytes);

/* As the client typed it, for people; a long value is cut. */
void lks_sim_operation_print(const struct lks_sim_operation *operation, char *text, size_t bytes);

/* The value that a SET or APPEND writes; returns its length. */
size_t lks_sim_operation_value(const struct lks_sim_operation *operation, char *value);

/* What a command may grow a value to. */
uint32_t lks_sim_operation_value_max(const struct lks_sim_operation *operation);

/* What a key's time to live is set to, ms. */
uint64_t lks_sim_operation_lifetime_ms(const struct lks_sim_operation *operation);

/* The name of a key: r0, c1, t0, v2, x1. */
void lks_sim_operation_key(uint32_t key, char name[4]);

/* What the model does with it (sim/checkers/model.h). */
enum lks_sim_model_kind {
    LKS_SIM_GET,
    LKS_SIM_SET,
    LKS_SIM_SET_ABSENT,
    LKS_SIM_SET_PRESENT,
    LKS_SIM_SET_GET,
    LKS_SIM_SET_BOTH_ABSENT, /* two keys of one family, or neither of them */
    LKS_SIM_SET_EXPIRING,
    LKS_SIM_SET_KEEPING, /* its time to live */
    LKS_SIM_EXPIRE,
    LKS_SIM_PERSIST,
    LKS_SIM_TTL,
    LKS_SIM_PTTL,
    LKS_SIM_DEL,
    LKS_SIM_EXISTS,
    LKS_SIM_STRLEN,
    LKS_SIM_APPEND,
    LKS_SIM_ADD,
    LKS_SIM_SUBTRACT_ONE,
    LKS_SIM_ADD_ONE,
    LKS_SIM_DBSIZE,
    LKS_SIM_FLUSHALL,
    LKS_SIM_TIME
};
enum lks_sim_model_kind lks_sim_operation_kind(const struct lks_sim_operation *operation);
/* The second key counts too. */
bool lks_sim_operation_is_double(const struct lks_sim_operation *operation);
/* Changes nothing: may be answered without an entry of its own. */
bool lks_sim_operation_is_read(const struct lks_sim_operation *operation);

/* An answer, as far as it is remembered. Zeroed: none came. */
struct lks_sim_answer {
    bool known;
    char type; /* first byte: + - : $ _ * */
    bool present;
    int64_t integer; /* ':' its value; '$' the number that the value begins with */
    uint64_t bytes;  /* '$' length of the value */
    uint64_t hash;   /* over the reply */
    char text[24];   /* its beginning, for people */
};
void lks_sim_answer_read(struct lks_sim_answer *answer, const void *reply, size_t bytes);

/*
 * What the search sees of an operation, key by key: fills out[0..LKS_SIM_KEYS) but for the times,
 * and returns how many. 0: nothing (TIME, DBSIZE).
 */
uint32_t lks_sim_operation_project(const struct lks_sim_operation *operation,
                                   const struct lks_sim_answer *answer,
                                   struct lks_history_operation *out);

#endif
