/* Output of one connection; see output.h. */
#include "server/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BLOCK_BYTES (4u << 10)
#define UNUSED_BLOCKS_MAX 1024u
#define SEND_BLOCKS_MAX 64
#define SENDS_MAX 64 /* a turn, so that one connection cannot hold up the others */

struct lks_output_block {
    struct lks_output_block *next;
    uint32_t capacity;
    uint32_t start; /* first byte not sent */
    uint32_t end;
    uint32_t unused;
    char data[];
};

#define BLOCK_CAPACITY (BLOCK_BYTES - (uint32_t)sizeof(struct lks_output_block))

void lks_output_pool_fini(struct lks_output_pool *pool)
{
    while (pool->unused != NULL) {
        struct lks_output_block *block = pool->unused;
        pool->unused = block->next;
        free(block);
    }
    memset(pool, 0, sizeof *pool);
}

/* Adds a block with room for at least one byte, and for a long rest as a whole. */
static struct lks_output_block *add_block(struct lks_output *output, struct lks_output_pool *pool,
                                          size_t bytes)
{
    struct lks_output_block *block = pool->unused;
    if (bytes > BLOCK_CAPACITY || block == NULL) {
        const size_t limit = UINT32_MAX;
        size_t capacity = bytes > BLOCK_CAPACITY ? bytes : BLOCK_CAPACITY;
        capacity = capacity < limit ? capacity : limit;
        block = malloc(sizeof *block + capacity);
        if (block == NULL) {
            return NULL;
        }
        block->capacity = (uint32_t)capacity;
    } else {
        pool->unused = block->next;
        pool->unused_count--;
    }
    block->next = NULL;
    block->start = 0;
    block->end = 0;
    pool->bytes += block->capacity;
    if (output->last != NULL) {
        output->last->next = block;
    } else {
        output->first = block;
    }
    output->last = block;
    return block;
}

static void drop_first(struct lks_output *output, struct lks_output_pool *pool)
{
    struct lks_output_block *block = output->first;
    output->first = block->next;
    if (output->first == NULL) {
        output->last = NULL;
    }
    pool->bytes -= block->capacity;
    if (block->capacity == BLOCK_CAPACITY && pool->unused_count < UNUSED_BLOCKS_MAX) {
        block->next = pool->unused;
        pool->unused = block;
        pool->unused_count++;
    } else {
        free(block);
    }
}

int lks_output_append(struct lks_output *output, struct lks_output_pool *pool, const void *data,
                      size_t bytes)
{
    const char *in = data;
    while (bytes > 0) {
        struct lks_output_block *block = output->last;
        if (block == NULL || block->end == block->capacity) {
            block = add_block(output, pool, bytes);
            if (block == NULL) {
                return -ENOMEM;
            }
        }
        const size_t room = block->capacity - block->end;
        const size_t part = bytes < room ? bytes : room;
        memcpy(block->data + block->end, in, part);
        block->end += (uint32_t)part;
        output->bytes += part;
        in += part;
        bytes -= part;
    }
    return 0;
}

void lks_output_clear(struct lks_output *output, struct lks_output_pool *pool)
{
    while (output->first != NULL) {
        drop_first(output, pool);
    }
    output->bytes = 0;
}

/* Takes what was sent off the front. */
static void advance(struct lks_output *output, struct lks_output_pool *pool, size_t bytes)
{
    output->bytes -= bytes;
    while (bytes > 0) {
        struct lks_output_block *block = output->first;
        const size_t there = block->end - block->start;
        if (bytes < there) {
            block->start += (uint32_t)bytes;
            return;
        }
        bytes -= there;
        drop_first(output, pool);
    }
}

static ssize_t send_some(const struct lks_output *output, int fd)
{
    const struct lks_output_block *block = output->first;
    if (block->next == NULL) {
        return send(fd, block->data + block->start, block->end - block->start, MSG_NOSIGNAL);
    }
    struct iovec parts[SEND_BLOCKS_MAX];
    size_t count = 0;
    for (struct lks_output_block *next = output->first; next != NULL && count < SEND_BLOCKS_MAX;
         next = next->next) {
        parts[count].iov_base = next->data + next->start;
        parts[count].iov_len = next->end - next->start;
        count++;
    }
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

int lks_output_send(struct lks_output *output, struct lks_output_pool *pool, int fd,
                    uint64_t *sent)
{
    for (int i = 0; i < SENDS_MAX && output->bytes > 0; i++) {
        const ssize_t bytes = send_some(output, fd);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes < 0) {
            return -errno;
        }
        *sent += (uint64_t)bytes;
        advance(output, pool, (size_t)bytes);
    }
    return output->bytes > 0 ? -EAGAIN : 0;
}
