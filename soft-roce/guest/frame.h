/*
 * What the lab's two ends say to each other over a guest's port, a stream of bytes: frames of a
 * head and up to LKS_FRAME_BYTES_MAX bytes. The host (call.c) speaks first and for each command
 * anew; the guest (agent.c) answers. Both ends run on the same processor architecture, so integers
 * are in its own order.
 */
#ifndef LKS_SOFT_ROCE_GUEST_FRAME_H
#define LKS_SOFT_ROCE_GUEST_FRAME_H

#include <stdint.h>

/* Longest payload of one frame, in bytes; a command with its environment must fit. */
#define LKS_FRAME_BYTES_MAX 65536u

enum lks_frame_kind {
    /* Host: 8 bytes that it made up. Whatever still runs on this port is killed; the guest answers
     * with the same bytes, and what came before that answer belongs to nobody. */
    LKS_FRAME_HELLO = 0x4c4b5301,
    /* Host: folder, "N" variables, N times NAME=VALUE, then the words of the command, each closed
     * by a zero byte. */
    LKS_FRAME_RUN = 0x4c4b5302,
    /* Guest: bytes of the command's standard output, and of its standard error. */
    LKS_FRAME_OUTPUT = 0x4c4b5303,
    LKS_FRAME_ERROR = 0x4c4b5304,
    /* Guest: the command has ended; a uint32_t, its exit status as a shell would give it. */
    LKS_FRAME_EXIT = 0x4c4b5305,
};

struct lks_frame_head {
    uint32_t kind;  /* enum lks_frame_kind */
    uint32_t bytes; /* of the payload behind this head */
};

_Static_assert(sizeof(struct lks_frame_head) == 8, "the head of a frame is 8 bytes");

#endif
