/*
 * The raw floor of replication over RDMA: the same bytes written to each of some peers at once, by
 * bare verbs calls, and where asked a READ behind each write; the time until the first peer's
 * completion has been seen. Nothing of Lockstep in it, so that it shows what a device and its
 * driver cost at least. Peers are processes that lend their memory and sleep. One thread.
 */
#ifndef LKS_BENCH_RAW_WRITE_H
#define LKS_BENCH_RAW_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#define LKS_RAW_PEERS_MAX 6u

struct lks_raw_write;

struct lks_raw_write_options {
    const char *address; /* numeric, of the RDMA device; all peers use the same */
    uint32_t peers;      /* 1..LKS_RAW_PEERS_MAX */
    bool read_behind;    /* a READ of 8 bytes behind each write, and its completion counts */
    uint64_t region_bytes;
    const char *media[LKS_RAW_PEERS_MAX]; /* what each peer's memory lies on; NULL: plain memory */
    uint64_t offsets[LKS_RAW_PEERS_MAX];
};

/* Starts the peers' processes, before this one opens a device. The options' strings stay the
 * caller's and must outlive it. -EINVAL, -ENOMEM, errno. */
int lks_raw_write_new(struct lks_raw_write **raw, const struct lks_raw_write_options *options);
/* Opens the device and connects to the peers: -ENODEV, errno of verbs, here or at a peer. */
int lks_raw_write_connect(struct lks_raw_write *raw);
/* Accepts NULL. The peers' processes have ended when it returns. */
void lks_raw_write_free(struct lks_raw_write *raw);

/* To every peer at once; or to the first alone, and to the others when that has completed: what is
 * least where a write is done within the call that posts it, as software RDMA does. */
enum lks_raw_order { LKS_RAW_AT_ONCE, LKS_RAW_IN_TURN };

/* Posts one write (and READ) to every peer, waits for all of them; *first_ns: from before the first
 * post until the first peer's completion was polled. bytes: at most an eighth of the region.
 * -EIO: a completion was an error. */
int lks_raw_write_once(struct lks_raw_write *raw, uint32_t bytes, enum lks_raw_order order,
                       uint64_t *first_ns);

#endif
