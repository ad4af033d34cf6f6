/*
 * Moving bytes: writes, reads and flushes. On shared memory they are done when posted; only their
 * completion waits for poll. The hot path of the whole house: no system call, lock or allocation.
 * Invariant: a store into a peer's log happens only inside a section (gate.h), at most
 * LKS_SHM_SECTION_BYTES_MAX of them at a time, and within the checked bounds.
 */
#include "verbs/shm/shm.h"

#include <errno.h>
#include <libpmem.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/assert.h"

#define LINE_BYTES 64u
#define LINES_COPIED_MAX 4u
#define FLAGS_ALL                                                           \
    ((uint32_t)(LKS_FABRIC_INLINE | LKS_FABRIC_WAKE | LKS_FABRIC_DURABLE | \
                LKS_FABRIC_MORE))

#define NON_TEMPORAL_BYTES_MIN 512u

#define unlikely(x) __builtin_expect(!!(x), 0)

/* True if [offset, offset + bytes) lies within [first, limit). */
static inline bool within(uint64_t offset, uint64_t bytes, uint64_t first, uint64_t limit)
{
    return bytes != 0 && offset >= first && offset <= limit && bytes <= limit - offset;
}

static inline bool inside(const void *address, uint64_t bytes, const void *area,
                          uint64_t area_bytes)
{
    return within((uintptr_t)address, bytes, (uintptr_t)area, (uintptr_t)area + area_bytes);
}

/* An aligned word moves as one, after everything before it; the rest as bytes. */
static inline void copy_to_peer(uint8_t *target, const void *source, uint64_t bytes)
{
    if (bytes == sizeof(uint64_t) && (uintptr_t)target % sizeof(uint64_t) == 0) {
        uint64_t value;
        memcpy(&value, source, sizeof value);
        lks_word_publish((lks_word *)(void *)target, value);
        return;
    }
    if (bytes % LINE_BYTES == 0 && bytes <= LINES_COPIED_MAX * LINE_BYTES) {
        /* Short entries: of a length that is not known, compilers make one slow string move. */
        for (uint64_t done = 0; done < bytes; done += LINE_BYTES) {
            memcpy(target + done, (const uint8_t *)source + done, LINE_BYTES);
        }
        return;
    }
    memcpy(target, source, bytes);
}

static inline void copy_from_peer(void *target, const uint8_t *source, uint64_t bytes)
{
    if (bytes == sizeof(uint64_t) && (uintptr_t)source % sizeof(uint64_t) == 0) {
        const uint64_t value = lks_word_read((const lks_word *)(const void *)source);
        memcpy(target, &value, sizeof value);
        return;
    }
    memcpy(target, source, bytes);
}

/* Copies and starts the way to the medium; drain() waits for it. Short pieces are stored and
 * written back, which leaves them in the cache for the owner; long ones go around the cache, which
 * is faster from here on (measured: half the time for 1 KiB, a third for 4 KiB). */
static inline void copy_durably(uint8_t *target, const uint8_t *source, uint64_t bytes)
{
    if (bytes >= NON_TEMPORAL_BYTES_MIN) {
        (void)pmem_memcpy(target, source, bytes, PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NONTEMPORAL);
        return;
    }
    copy_to_peer(target, source, bytes);
    pmem_flush(target, bytes);
}

/* Waits until written-back lines and non-temporal stores have left this processor. */
static inline void drain(void)
{
#if defined(__x86_64__)
    _mm_sfence();
#else
    pmem_drain();
#endif
}

static inline void complete(struct lks_shm_fabric *shm, uint32_t peer, enum lks_shm_lane lane,
                            uint64_t id, int status)
{
    struct lks_shm_event *event = lks_shm_events_push(&shm->events);
    event->id = id;
    event->number = 0;
    event->status = status;
    event->kind = LKS_FABRIC_COMPLETED;
    event->peer = (uint8_t)peer;
    event->lane = (uint8_t)lane;
    event->peer_dead = 0;
    shm->peers[peer].outstanding[lane]++;
}

/* Ends an operation on a path that a refused write broke. The refusal itself is told once, to
 * the first operation that has an id to tell it by. */
static int complete_broken(struct lks_shm_fabric *shm, uint32_t peer, uint64_t id)
{
    struct lks_shm_peer *to = &shm->peers[peer];
    if (id != 0) {
        complete(shm, peer, LKS_SHM_LANE_PATH, id, to->path_status);
        to->path_status = -LKS_EBROKEN;
    }
    return 0;
}

static void break_path(struct lks_shm_peer *to)
{
    to->path = LKS_SHM_PATH_BROKEN;
    to->path_status = -LKS_EREVOKED;
}

/* Copies in sections; false if the gate was found closed (then the rest is not stored). */
static inline bool store_to_log(const struct lks_shm_peer *to, uint64_t offset,
                                const uint8_t *source, uint64_t bytes, bool durable)
{
    do {
        const uint64_t part = bytes <= LKS_SHM_SECTION_BYTES_MAX ? bytes
                                                                : LKS_SHM_SECTION_BYTES_MAX;
        uint8_t *target = to->log + offset;
        if (unlikely(!lks_shm_gate_enter(to->gate, to->path_grant))) {
            return false;
        }
        if (durable) {
            copy_durably(target, source, part);
            /* Inside the section: a release store orders neither write-backs nor non-temporal
             * stores. Without it, busy == 0 could be seen while they are still under way, and
             * they would land after the revocation was reported. */
            drain();
        } else {
            copy_to_peer(target, source, part);
        }
        lks_shm_gate_leave(to->gate);
        /* A log is written in order: the next section's full fence need not wait for lines that
         * are on their way already. (Beyond the mapping's end a prefetch does nothing.) */
        __builtin_prefetch(target + part, 1);
        __builtin_prefetch(target + part + LKS_SHM_LINE_BYTES, 1);
        offset += part;
        source += part;
        bytes -= part;
    } while (unlikely(bytes != 0));
    return true;
}

int lks_shm_write_log(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                      const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    if (unlikely(!lks_shm_is_peer(shm, peer) || (flags & ~FLAGS_ALL) != 0 ||
                 !within(offset, bytes, LKS_SHM_HEAD_BYTES, shm->log.bytes))) {
        return -EINVAL;
    }
    if ((flags & LKS_FABRIC_INLINE) != 0
            ? unlikely(bytes > LKS_FABRIC_INLINE_MAX)
            : unlikely(!inside(source, bytes, shm->log.address, shm->log.bytes))) {
        return -EINVAL;
    }
    struct lks_shm_peer *to = &shm->peers[peer];
    if (unlikely(to->path == LKS_SHM_PATH_NONE)) {
        return -LKS_EBROKEN;
    }
    if (unlikely(id != 0 && to->outstanding[LKS_SHM_LANE_PATH] >= shm->outstanding_max)) {
        return -LKS_EBUSY;
    }
    if (unlikely(to->path == LKS_SHM_PATH_BROKEN)) {
        return complete_broken(shm, peer, id);
    }
    if (unlikely(!store_to_log(to, offset, source, bytes, (flags & LKS_FABRIC_DURABLE) != 0))) {
        break_path(to);
        return complete_broken(shm, peer, id);
    }
    if ((flags & LKS_FABRIC_WAKE) != 0) {
        lks_shm_wake_peer(shm, to);
    }
    if (id != 0) {
        complete(shm, peer, LKS_SHM_LANE_PATH, id, 0);
    }
    return 0;
}

int lks_shm_flush(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    if (unlikely(!lks_shm_is_peer(shm, peer))) {
        return -EINVAL;
    }
    struct lks_shm_peer *to = &shm->peers[peer];
    if (unlikely(to->path == LKS_SHM_PATH_NONE)) {
        return -LKS_EBROKEN;
    }
    if (unlikely(id != 0 && to->outstanding[LKS_SHM_LANE_PATH] >= shm->outstanding_max)) {
        return -LKS_EBUSY;
    }
    if (unlikely(to->path == LKS_SHM_PATH_BROKEN)) {
        return complete_broken(shm, peer, id);
    }
    /* Every DURABLE write was drained in its own section: nothing is left to do. */
    if (id != 0) {
        complete(shm, peer, LKS_SHM_LANE_PATH, id, 0);
    }
    return 0;
}

int lks_shm_write_inbox(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                        const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    if (unlikely(!lks_shm_is_peer(shm, peer) || (flags & ~FLAGS_ALL) != 0 ||
                 !within(offset, bytes, 0, shm->sizes.inbox_bytes))) {
        return -EINVAL;
    }
    if ((flags & LKS_FABRIC_INLINE) != 0
            ? unlikely(bytes > LKS_FABRIC_INLINE_MAX)
            : unlikely(!inside(source, bytes, shm->scratch, shm->options.scratch_bytes))) {
        return -EINVAL;
    }
    struct lks_shm_peer *to = &shm->peers[peer];
    if (unlikely(!to->connected)) {
        return -LKS_EBROKEN;
    }
    if (unlikely(id != 0 && to->outstanding[LKS_SHM_LANE_CONNECTION] >= shm->outstanding_max)) {
        return -LKS_EBUSY;
    }
    copy_to_peer(to->link.view.inbox + offset, source, bytes);
    if ((flags & LKS_FABRIC_WAKE) != 0) {
        lks_shm_wake_peer(shm, to);
    }
    if (id != 0) {
        complete(shm, peer, LKS_SHM_LANE_CONNECTION, id, 0);
    }
    return 0;
}

int lks_shm_read(struct lks_fabric *fabric, uint32_t peer, enum lks_fabric_region region,
                 uint64_t offset, void *destination, uint64_t bytes, uint64_t id)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    if (unlikely(!lks_shm_is_peer(shm, peer) ||
                 (!inside(destination, bytes, shm->scratch, shm->options.scratch_bytes) &&
                  !inside(destination, bytes, shm->log.address, shm->log.bytes)))) {
        return -EINVAL;
    }
    struct lks_shm_peer *from = &shm->peers[peer];
    const uint8_t *memory = NULL;
    uint64_t limit = 0;
    switch (region) {
    case LKS_FABRIC_LOG:
        memory = from->log;
        limit = shm->log.bytes;
        break;
    case LKS_FABRIC_WORDS:
        memory = from->link.view.words;
        limit = shm->sizes.words_bytes;
        break;
    case LKS_FABRIC_INBOX:
        memory = from->link.view.inbox;
        limit = shm->sizes.inbox_bytes;
        break;
    case LKS_FABRIC_SNAPSHOTS:
        if (unlikely(!from->connected)) {
            return -LKS_EBROKEN; /* how many bytes the peer has is not known */
        }
        memory = from->link.view.snapshots;
        limit = from->link.view.snapshots_bytes;
        break;
    }
    if (unlikely(!within(offset, bytes, 0, limit))) {
        return -EINVAL;
    }
    if (unlikely(!from->connected)) {
        return -LKS_EBROKEN;
    }
    if (unlikely(id != 0 && from->outstanding[LKS_SHM_LANE_CONNECTION] >= shm->outstanding_max)) {
        return -LKS_EBUSY;
    }
    copy_from_peer(destination, memory + offset, bytes);
    if (id != 0) {
        complete(shm, peer, LKS_SHM_LANE_CONNECTION, id, 0);
    }
    return 0;
}

/* Whether a key opens the gate as it stands now. */
static int try_key(const struct lks_shm_peer *to, const struct lks_fabric_key *key)
{
    if (!to->connected) {
        return -LKS_EBROKEN;
    }
    if (key->words[1] != LKS_SHM_KEY_MARK || key->grant == 0 || key->grant % 2 != 0) {
        return -EINVAL;
    }
    if (key->words[0] != to->link.incarnation) {
        return -LKS_EREVOKED; /* of an earlier life of that peer */
    }
    const struct lks_shm_gate *gate = to->gate;
    return lks_word_read(&gate->generation) == key->grant ? 0 : -LKS_EREVOKED;
}

int lks_shm_open(struct lks_fabric *fabric, uint32_t peer, const struct lks_fabric_key *key,
                 uint64_t id)
{
    struct lks_shm_fabric *shm = lks_shm_of(fabric);
    if (!lks_shm_is_peer(shm, peer) || key == NULL) {
        return -EINVAL;
    }
    struct lks_shm_peer *to = &shm->peers[peer];
    if (to->outstanding[LKS_SHM_LANE_CONTROL] >= LKS_SHM_CONTROL_MAX) {
        return -LKS_EBUSY;
    }
    const int status = try_key(to, key);
    to->path = LKS_SHM_PATH_NONE;
    if (status == 0) {
        lks_shm_gate_sign(to->gate, &shm->process);
        to->path_grant = key->grant;
        to->path_status = 0;
        to->path = LKS_SHM_PATH_OPEN;
    }
    struct lks_shm_event *event = lks_shm_events_push(&shm->events);
    *event = (struct lks_shm_event){.id = id,
                                    .status = status,
                                    .kind = LKS_FABRIC_OPENED,
                                    .peer = (uint8_t)peer,
                                    .lane = LKS_SHM_LANE_CONTROL};
    to->outstanding[LKS_SHM_LANE_CONTROL]++;
    return 0;
}
