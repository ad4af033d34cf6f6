/*
 * Answers of one connection that came before an earlier one's: a recovering replica executes what
 * touches ready partitions first. They are kept here, in the order of their commands, until their
 * turn comes. Port's thread only.
 */
#ifndef LKS_SERVER_HELD_H
#define LKS_SERVER_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lks_held_answer {
    struct lks_held_answer *next;
    uint32_t sequence; /* of its command, as the connection counts them; wraps */
    bool large;
    size_t bytes;
    char data[];
};

/* Zeroed: none. */
struct lks_held {
    struct lks_held_answer *first;
    size_t bytes; /* of memory in all of them */
};

/* Copies an answer. `answered` is the connection's count of answers sent, from which sequences are
 * measured. Asserts that no answer with this sequence is held. -ENOMEM. */
int lks_held_add(struct lks_held *held, uint32_t answered, uint32_t sequence, bool large,
                 const void *data, size_t bytes);

/* Takes the answer with this sequence if it is held; the caller frees it. Else NULL. */
struct lks_held_answer *lks_held_take(struct lks_held *held, uint32_t sequence);

/* Forgets all. */
void lks_held_clear(struct lks_held *held);

#endif
