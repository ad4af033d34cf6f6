/*
 * Shared memory of one replica beside its log: a sealed memfd with a bell page, the words that
 * every peer may read, and one inbox area a peer. The owner maps it whole; a peer maps the bell
 * page, the words (read-only) and its own area, and the owner's log memory and (read-only) its
 * snapshots by the descriptors that came along. Fabric's thread. Invariant: a mapping is used only
 * within the sizes that were checked when it was made; shrinking is sealed off.
 */
#ifndef LKS_VERBS_SHM_SEGMENT_H
#define LKS_VERBS_SHM_SEGMENT_H

#include "base/remote_memory.h"
#include "verbs/fabric.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdint.h>

/* The first page: how a sleeping replica is woken. */
struct lks_shm_bell_page {
    alignas(64) lks_word sleeping; /* 1: waits on its descriptors; set by the owner, taken back by
                                      whoever wakes it */
    struct {
        alignas(64) lks_word count; /* by the peer alone: one up for each write with a wake */
    } rung[LKS_REPLICAS_MAX + 1];   /* by the peer's id */
    /* Held by the owner's thread for its life. When that thread ends, however it ends, the kernel
     * marks it first of all, long before a killed process's memory is taken down and its pidfd
     * becomes readable. Peers only look at the mark, they never lock. */
    alignas(64) pthread_mutex_t life;
};

_Static_assert(sizeof(struct lks_shm_bell_page) <= 4096, "the bells fit their page");

struct lks_shm_sizes {
    uint32_t replicas;
    uint64_t words_bytes;
    uint64_t inbox_bytes;
    uint64_t log_bytes;
};

/* The own segment. */
struct lks_shm_segment {
    int fd; /* -1: none */
    uint8_t *address;
    uint64_t bytes;
    struct lks_shm_bell_page *bells;
    uint8_t *words;
    uint8_t *inboxes;
    uint64_t inbox_stride;
};

/* A peer's memory as mapped here. */
struct lks_shm_view {
    struct lks_shm_bell_page *bells;
    uint8_t *words;
    uint64_t words_span; /* of the mapping */
    uint8_t *inbox;      /* own area there */
    uint64_t inbox_span;
    uint8_t *log;
    void *log_mapping; /* may begin before log */
    uint64_t log_span;
    uint64_t log_populated; /* pages of the mapping made present so far, in bytes */
    bool log_in_memory;     /* not a file whose pages would be written back for it */
    uint8_t *snapshots; /* can only be read */
    uint64_t snapshots_bytes; /* 0: none */
};

/* Bytes of a segment of these sizes; 0 if that overflows. */
uint64_t lks_shm_segment_bytes(const struct lks_shm_sizes *sizes);

/* Makes and maps the own segment, zeroed and sealed. Errors: errno, -EINVAL (sizes). */
int lks_shm_segment_init(struct lks_shm_segment *segment, const struct lks_shm_sizes *sizes);
void lks_shm_segment_fini(struct lks_shm_segment *segment);

/* Area of a peer in the own segment. */
uint8_t *lks_shm_segment_inbox(const struct lks_shm_segment *segment, uint32_t peer);

/* Maps a peer's segment, log memory and (bytes 0: none) snapshots. `self` names the area that is
 * ours. Nothing about the descriptors is trusted: kind, seals and sizes are checked. Descriptors
 * stay the caller's. Errors: -EBADMSG (not what it should be), errno; the view is then empty. */
int lks_shm_view_init(struct lks_shm_view *view, const struct lks_shm_sizes *sizes, uint32_t self,
                      int segment_fd, const struct lks_fabric_memory *log,
                      const struct lks_fabric_memory *snapshots);
void lks_shm_view_fini(struct lks_shm_view *view);

/* True if the thread that owns this segment has ended: its process is ending, or has. */
bool lks_shm_view_life_ended(const struct lks_shm_view *view);

/* Makes the next part of the log mapping present, so that no write meets a page fault; bounded
 * work, called from poll until it returns false: nothing is left. */
bool lks_shm_view_populate(struct lks_shm_view *view);

#endif
