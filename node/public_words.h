/*
 * The public words of a replica: what every peer may read at any time, one-sidedly. Written by
 * the owner's replica thread alone. Each word is whole, the line is not: two words may be of
 * different moments. Nothing here ever feeds the commit rule.
 */
#ifndef LKS_NODE_PUBLIC_WORDS_H
#define LKS_NODE_PUBLIC_WORDS_H

#include "base/remote_memory.h"

enum lks_public_flags {
    LKS_PUBLIC_LEADING = 1,
    LKS_PUBLIC_AMNESIAC = 2,
    LKS_PUBLIC_RING_FULL = 4 /* leader: takes no commands until the ring has room */
};

struct lks_public_words {
    _Alignas(64) lks_word beat; /* moves while its owner leads, or stands for election */
    lks_word term;              /* of the owner's promise */
    lks_word flags;             /* enum lks_public_flags */
    lks_word applied_index;
    lks_word applied_offset;
    lks_word durable_offset;    /* for `status` only */
    lks_word base_offset;       /* what lies below it in the owner's ring may be overwritten;
                                   published when the base slot is durable, never before */
    lks_word reserved;
};

_Static_assert(sizeof(struct lks_public_words) == 64, "public words are one cache line");

#endif
