/* Answers that wait for earlier ones; see held.h. */
#include "server/held.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lks_held_add(struct lks_held *held, uint32_t answered, uint32_t sequence, bool large,
                 const void *data, size_t bytes)
{
    struct lks_held_answer *answer = malloc(sizeof *answer + bytes);
    if (answer == NULL) {
        return -ENOMEM;
    }
    struct lks_held_answer **place = &held->first;
    while (*place != NULL && (*place)->sequence - answered < sequence - answered) {
        place = &(*place)->next;
    }
    LKS_ASSERT(*place == NULL || (*place)->sequence != sequence); /* one answer a command */
    *answer = (struct lks_held_answer){
        .next = *place, .sequence = sequence, .large = large, .bytes = bytes};
    memcpy(answer->data, data, bytes);
    *place = answer;
    held->bytes += sizeof *answer + bytes;
    return 0;
}

struct lks_held_answer *lks_held_take(struct lks_held *held, uint32_t sequence)
{
    struct lks_held_answer *answer = held->first;
    if (answer == NULL || answer->sequence != sequence) {
        return NULL;
    }
    held->first = answer->next;
    held->bytes -= sizeof *answer + answer->bytes;
    return answer;
}

void lks_held_clear(struct lks_held *held)
{
    while (held->first != NULL) {
        struct lks_held_answer *next = held->first->next;
        free(held->first);
        held->first = next;
    }
    held->bytes = 0;
}
