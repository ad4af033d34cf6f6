/*
 * What waits to be sent to one client: a chain of blocks, taken from a pool that all connections
 * of a port share, so that an idle connection holds none. Replies are RESP3 values; for a RESP2
 * client they are rewritten on the way in. Port's thread only.
 */
#ifndef LKS_SERVER_OUTPUT_H
#define LKS_SERVER_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lks_output_block;

/* Blocks of one port. Zeroed: empty. */
struct lks_output_pool {
    struct lks_output_block *unused;
    size_t unused_count;
    size_t bytes; /* room in all blocks that outputs hold */
};

void lks_output_pool_fini(struct lks_output_pool *pool);

/* Zeroed: nothing waits. */
struct lks_output {
    struct lks_output_block *first;
    struct lks_output_block *last;
    size_t bytes; /* waiting */
};

/* Appends bytes as they are. -ENOMEM: nothing or a part of them was appended. */
int lks_output_append(struct lks_output *output, struct lks_output_pool *pool, const void *data,
                      size_t bytes);

/* Appends one RESP3 value, for RESP2 (protocol 2) in its terms. -ENOMEM; -EBADMSG: no value. */
int lks_output_reply(struct lks_output *output, struct lks_output_pool *pool, int protocol,
                     const void *reply, size_t bytes);

/* Sends what the socket takes; adds the bytes to *sent. -EAGAIN: some is left; errno. */
int lks_output_send(struct lks_output *output, struct lks_output_pool *pool, int fd,
                    uint64_t *sent);

/* Forgets what waits. */
void lks_output_clear(struct lks_output *output, struct lks_output_pool *pool);

#endif
