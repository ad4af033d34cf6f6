/*
 * Gates: the right to write a log memory, one gate a writer, in the head page of the owner's log
 * memory. They lie there, and not in the owner's segment, because the log memory outlives its
 * owner: a writer that was let in by an earlier life still has it mapped, and the next life must
 * be able to fence that writer. docs/decisions/0002 tells the protocol.
 *
 * Owner's side: lks_shm_gates_*, called by the fabric on its thread. Writer's side: the inline
 * functions at the end, on the writer's fabric thread. Invariants: a generation is never used
 * twice; once a gate is closed, no store into the log memory by its writer follows.
 */
#ifndef LKS_VERBS_SHM_GATE_H
#define LKS_VERBS_SHM_GATE_H

#include "base/error.h"
#include "base/log.h"
#include "base/remote_memory.h"
#include "verbs/fabric.h"
#include "verbs/shm/process.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_SHM_HEAD_BYTES 4096u
#define LKS_SHM_HEAD_MAGIC UINT64_C(0x6c6b732d67617465) /* "lks-gate" */
#define LKS_SHM_HEAD_VERSION 1u
#define LKS_SHM_SECTION_BYTES_MAX 4096u /* most bytes copied between two looks at the gate */
#define LKS_SHM_GATE_POSTED_MAX 8u
#define LKS_SHM_LINE_BYTES 128u /* two cache lines: the neighbour is prefetched along */

/* One gate. Generations are even and rise; the writer's busy word is odd while inside. */
struct lks_shm_gate {
    alignas(LKS_SHM_LINE_BYTES) lks_word generation; /* written by the owner */
    alignas(LKS_SHM_LINE_BYTES) lks_word busy; /* by the writer: generation | 1 inside a section,
                                                  else 0; by the owner once the writer is dead */
    lks_word writer_pid;        /* by the writer, before its first section */
    lks_word writer_start_time; /* by the writer */
};

struct lks_shm_head {
    uint64_t magic;
    uint32_t version;
    uint32_t reserved;
    uint8_t boot_id[16];      /* of the boot that everything below belongs to */
    lks_word last_generation; /* written by the owner, before the generation is used */
    struct lks_shm_gate gates[LKS_REPLICAS_MAX]; /* writer w has gates[w - 1] */
};

_Static_assert(sizeof(struct lks_shm_gate) == 256, "gate layout");
_Static_assert(offsetof(struct lks_shm_head, gates) == 128, "head layout");
_Static_assert(sizeof(struct lks_shm_head) <= LKS_SHM_HEAD_BYTES, "the head fits its page");

enum lks_shm_gate_state {
    LKS_SHM_GATE_CLOSED,  /* nothing can land */
    LKS_SHM_GATE_CLOSING, /* the generation is new; the writer may still be inside */
    LKS_SHM_GATE_OPEN     /* granted in this life */
};

struct lks_shm_gate_post {
    bool grant; /* else revoke */
    uint64_t id;
};

/* The owner's view of one gate. */
struct lks_shm_gate_owner {
    enum lks_shm_gate_state state;
    struct lks_shm_gate_post posted[LKS_SHM_GATE_POSTED_MAX]; /* in order, not yet done */
    uint32_t posted_count;
    bool first_begun; /* posted[0] is a revocation whose generation is out */
    bool standing;    /* a grant stands once everything posted is done */
    /* While CLOSING: the writer inside. */
    bool watched;
    bool killed;
    bool reported;
    int pidfd; /* -1: none */
    struct lks_shm_process writer;
    uint64_t watched_ns; /* time of the last look */
    uint64_t silent_ns;  /* how long it has been inside, by our looks */
};

/* What a gate has to tell: the end of a posted grant or revocation. */
struct lks_shm_gate_end {
    bool grant;
    uint32_t writer;
    uint64_t id;
    int status;
    uint64_t generation; /* of a grant */
};

struct lks_shm_gates {
    struct lks_shm_head *head; /* in the caller's log memory */
    uint32_t replicas;
    uint32_t pending; /* bit w: gate of writer w has posted operations */
    uint64_t last_generation;
    uint64_t silent_writer_ns;
    bool shared_process;
    struct lks_shm_process self;
    const struct lks_log *log_sink;
    struct lks_shm_gate_owner owners[LKS_REPLICAS_MAX + 1]; /* by writer's id */
    /* Called for each end, in order; may not post. `connected` says if a grant may be given. */
    void (*on_end)(void *ctx, const struct lks_shm_gate_end *end);
    bool (*connected)(void *ctx, uint32_t writer);
    void *ctx;
};

/* Takes over the head (resets it after a restart of the host) and gives every gate a new
 * generation: writers of earlier lives start no section any more. All other fields are filled in
 * by the caller. Errors: -LKS_EDAMAGED, -EINVAL (incarnation), errno. */
int lks_shm_gates_init(struct lks_shm_gates *gates, uint64_t incarnation, struct lks_error *err);

/* Gives every gate a new generation, waits for nobody. Accepts a zeroed object. */
void lks_shm_gates_fini(struct lks_shm_gates *gates);

/* Posts; the end may come at once. -LKS_EBUSY: too many posted. */
int lks_shm_gates_post(struct lks_shm_gates *gates, uint32_t writer, bool grant, uint64_t id);

/* Looks after closing gates; call while pending != 0. */
void lks_shm_gates_advance(struct lks_shm_gates *gates, uint64_t now_ns);

/* ---- writer's side ------------------------------------------------------------------------- */

/* Before the first section under a grant: says who will be inside. */
static inline void lks_shm_gate_sign(struct lks_shm_gate *gate,
                                     const struct lks_shm_process *writer)
{
    /* A dead earlier life of this writer may have left it set. */
    lks_word_publish(&gate->busy, 0);
    lks_word_publish(&gate->writer_pid, writer->pid);
    lks_word_publish(&gate->writer_start_time, writer->start_time);
}

/* Enters a section; false: the grant has been revoked, and nothing may be stored. */
static inline bool lks_shm_gate_enter(struct lks_shm_gate *gate, uint64_t generation)
{
    /* Release: who sees busy also sees who is inside (_sign). */
    lks_word_publish(&gate->busy, generation | 1);
    /* Without this fence the look at the generation could be done while the store to busy still
     * waits in the store buffer (on x86 too): the owner changes the generation, sees busy == 0,
     * reports the revocation, and then this side, which saw the old generation, stores. With it,
     * and its twin in the owner's close_gate(), at least one side sees the other's store. */
    lks_fence_full();
    if (__builtin_expect(lks_word_read(&gate->generation) == generation, 1)) {
        return true;
    }
    lks_word_publish(&gate->busy, 0);
    return false;
}

/* Leaves it. Release: the owner that sees 0 sees every ordinary store of the section. Stores that
 * a release does not order (non-temporal ones) must have been drained before. */
static inline void lks_shm_gate_leave(struct lks_shm_gate *gate)
{
    lks_word_publish(&gate->busy, 0);
}

#endif
