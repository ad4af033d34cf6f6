/* Gates, owner's side: grant, revoke, and the end of a writer that does not leave; see gate.h. */
#include "verbs/shm/gate.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#define INCARNATION_MAX UINT32_C(0x7fffffff)
#define GENERATION_MAX (UINT64_C(1) << 62)
#define WATCH_INTERVAL_NS (UINT64_C(20) * LKS_NS_PER_US) /* between two looks at a process */
#define RUNNABLE_PATIENCE 4u /* a writer that is not stopped may be silent this many times longer */

static struct lks_shm_gate *gate_of(const struct lks_shm_gates *gates, uint32_t writer)
{
    LKS_ASSERT(writer >= 1 && writer <= LKS_REPLICAS_MAX);
    return &gates->head->gates[writer - 1];
}

static uint64_t next_generation(struct lks_shm_gates *gates)
{
    gates->last_generation += 2;
    LKS_ASSERT(gates->last_generation < GENERATION_MAX);
    /* Before use: a life that ends here must not let the next one use the number again. */
    lks_word_publish(&gates->head->last_generation, gates->last_generation);
    return gates->last_generation;
}

/* From here on the writer starts no section under an older grant. It may be inside one. */
static void close_gate(struct lks_shm_gates *gates, uint32_t writer)
{
    lks_word_publish(&gate_of(gates, writer)->generation, next_generation(gates));
    /* Twin of the fence in lks_shm_gate_enter(). Without it the look at busy (next) could be done
     * while the new generation still waits in the store buffer: busy reads 0, the writer enters
     * under the old generation, and stores after the revocation was reported. */
    lks_fence_full();
    struct lks_shm_gate_owner *owner = &gates->owners[writer];
    owner->state = LKS_SHM_GATE_CLOSING;
    owner->watched = false;
    owner->killed = false;
    owner->reported = false;
    owner->silent_ns = 0;
}

static void gate_closed(struct lks_shm_gate_owner *owner)
{
    if (owner->pidfd >= 0) {
        (void)close(owner->pidfd);
        owner->pidfd = -1;
    }
    owner->state = LKS_SHM_GATE_CLOSED;
}

/* The writer inside has ended: nobody will reset its busy word but us. */
static void writer_ended(struct lks_shm_gates *gates, uint32_t writer)
{
    lks_log_info(gates->log_sink, "r%u ended inside its write to this log; its gate is closed",
                 writer);
    lks_word_publish(&gate_of(gates, writer)->busy, 0);
    gate_closed(&gates->owners[writer]);
}

/* Starts to watch the process that is inside. */
static void watch_writer(struct lks_shm_gates *gates, uint32_t writer, uint64_t now_ns)
{
    struct lks_shm_gate_owner *owner = &gates->owners[writer];
    const struct lks_shm_gate *gate = gate_of(gates, writer);
    const uint64_t pid = lks_word_read(&gate->writer_pid);
    /* What lies there is a claim: a number that is no pid names no process. */
    owner->writer.pid = pid <= INT32_MAX ? (uint32_t)pid : 0;
    owner->writer.start_time = lks_word_read(&gate->writer_start_time);
    owner->watched = true;
    owner->watched_ns = now_ns;
    owner->silent_ns = 0;
    if (gates->shared_process || owner->writer.pid == gates->self.pid) {
        return; /* a thread of this process: it leaves by itself */
    }
    const int code = lks_shm_process_open(&owner->writer, &owner->pidfd);
    if (code == -ESRCH) {
        writer_ended(gates, writer);
    } else if (code != 0 && !owner->reported) {
        owner->reported = true;
        lks_log_error(gates->log_sink, "r%u (pid %u) is inside its write and cannot be watched: %s",
                      writer, owner->writer.pid, lks_error_text(code));
    }
}

/* True if the writer has been inside for too long. Only time that this side was awake to see
 * counts, and a writer that merely waits for a processor gets more of it than a stopped one. */
static bool too_long(const struct lks_shm_gates *gates, struct lks_shm_gate_owner *owner,
                     uint64_t now_ns)
{
    const uint64_t limit_ns = gates->silent_writer_ns;
    const uint64_t passed_ns = now_ns - owner->watched_ns;
    owner->silent_ns += passed_ns < limit_ns / 4 ? passed_ns : limit_ns / 4;
    owner->watched_ns = now_ns;
    if (owner->silent_ns < limit_ns) {
        return false;
    }
    return owner->silent_ns / RUNNABLE_PATIENCE >= limit_ns ||
           lks_shm_process_stopped(owner->writer.pid);
}

static void kill_writer(struct lks_shm_gates *gates, uint32_t writer)
{
    struct lks_shm_gate_owner *owner = &gates->owners[writer];
    owner->killed = true; /* once: its death, not this call, ends the wait */
    lks_log_warn(gates->log_sink,
                 "r%u (pid %u) has been silent inside its write to this log for %llu ms: "
                 "killing it",
                 writer, owner->writer.pid,
                 (unsigned long long)(owner->silent_ns / LKS_NS_PER_MS));
    if (pidfd_send_signal(owner->pidfd, SIGKILL, NULL, 0) != 0 && errno != ESRCH) {
        lks_log_error(gates->log_sink, "r%u (pid %u) cannot be killed: %s; its permission stays "
                      "until it leaves or ends", writer, owner->writer.pid, lks_error_text(-errno));
    }
}

/* Ends CLOSING if the writer is out or dead. */
static void check_writer(struct lks_shm_gates *gates, uint32_t writer, uint64_t now_ns)
{
    struct lks_shm_gate_owner *owner = &gates->owners[writer];
    if (lks_word_read(&gate_of(gates, writer)->busy) == 0) {
        gate_closed(owner);
        return;
    }
    if (owner->watched && now_ns - owner->watched_ns < WATCH_INTERVAL_NS) {
        return;
    }
    if (!owner->watched || (owner->pidfd < 0 && owner->reported)) {
        watch_writer(gates, writer, now_ns);
        return;
    }
    if (owner->pidfd < 0) {
        return;
    }
    if (lks_shm_process_ended(owner->pidfd)) {
        writer_ended(gates, writer);
        return;
    }
    if (!owner->killed && too_long(gates, owner, now_ns)) {
        kill_writer(gates, writer);
    }
}

static void end_first(struct lks_shm_gates *gates, uint32_t writer, int status,
                      uint64_t generation)
{
    struct lks_shm_gate_owner *owner = &gates->owners[writer];
    const struct lks_shm_gate_end end = {.grant = owner->posted[0].grant,
                                         .writer = writer,
                                         .id = owner->posted[0].id,
                                         .status = status,
                                         .generation = generation};
    owner->posted_count--;
    memmove(owner->posted, owner->posted + 1, owner->posted_count * sizeof owner->posted[0]);
    owner->first_begun = false;
    if (owner->posted_count == 0) {
        gates->pending &= ~(1u << writer);
        owner->standing = owner->state == LKS_SHM_GATE_OPEN;
    }
    gates->on_end(gates->ctx, &end);
}

/* Does what is posted for one gate, as far as possible. now_ns 0: do not watch the writer yet. */
static void advance_gate(struct lks_shm_gates *gates, uint32_t writer, uint64_t now_ns)
{
    struct lks_shm_gate_owner *owner = &gates->owners[writer];
    while (owner->posted_count > 0) {
        const bool grant = owner->posted[0].grant;
        if (!grant && !owner->first_begun && owner->state != LKS_SHM_GATE_CLOSING) {
            close_gate(gates, writer);
        }
        owner->first_begun = true;
        if (owner->state == LKS_SHM_GATE_CLOSING) {
            if (lks_word_read(&gate_of(gates, writer)->busy) == 0) {
                gate_closed(owner);
            } else if (now_ns != 0) {
                check_writer(gates, writer, now_ns);
            }
        }
        if (owner->state == LKS_SHM_GATE_CLOSING) {
            return;
        }
        if (!grant) {
            end_first(gates, writer, 0, 0);
            continue;
        }
        LKS_ASSERT(owner->state == LKS_SHM_GATE_CLOSED);
        if (!gates->connected(gates->ctx, writer)) {
            end_first(gates, writer, -LKS_EBROKEN, 0);
            continue;
        }
        const uint64_t generation = next_generation(gates);
        lks_word_publish(&gate_of(gates, writer)->generation, generation);
        owner->state = LKS_SHM_GATE_OPEN;
        end_first(gates, writer, 0, generation);
    }
}

int lks_shm_gates_post(struct lks_shm_gates *gates, uint32_t writer, bool grant, uint64_t id)
{
    struct lks_shm_gate_owner *owner = &gates->owners[writer];
    if (grant) {
        LKS_ASSERT(!owner->standing);
    }
    if (owner->posted_count == LKS_SHM_GATE_POSTED_MAX) {
        return -LKS_EBUSY;
    }
    owner->posted[owner->posted_count] = (struct lks_shm_gate_post){.grant = grant, .id = id};
    owner->posted_count++;
    owner->standing = grant;
    gates->pending |= 1u << writer;
    advance_gate(gates, writer, 0);
    return 0;
}

void lks_shm_gates_advance(struct lks_shm_gates *gates, uint64_t now_ns)
{
    for (uint32_t writer = 1; writer <= gates->replicas; writer++) {
        if ((gates->pending & (1u << writer)) != 0) {
            advance_gate(gates, writer, now_ns);
        }
    }
}

/* Brings the head into a state of this boot; the highest generation ever used is kept. */
static int take_over_head(struct lks_shm_gates *gates, uint64_t incarnation,
                          struct lks_error *err)
{
    struct lks_shm_head *head = gates->head;
    uint8_t boot_id[16];
    const int code = lks_shm_boot_id(boot_id);
    if (code != 0) {
        return lks_error_set(err, code, "the host's boot id cannot be read: %s",
                             lks_error_text(code));
    }
    const bool known =
        head->magic == LKS_SHM_HEAD_MAGIC && head->version == LKS_SHM_HEAD_VERSION;
    if (known && memcmp(head->boot_id, boot_id, sizeof boot_id) != 0) {
        memset(head, 0, LKS_SHM_HEAD_BYTES); /* its writers ended with that boot */
    }
    /* The incarnation lifts the generations even where the head was lost. */
    uint64_t last = incarnation << 32;
    if (known) {
        const uint64_t stored = lks_word_read(&head->last_generation) & ~UINT64_C(1);
        last = stored > last ? stored : last;
    }
    if (last >= GENERATION_MAX - UINT32_MAX) {
        return lks_error_set(err, -LKS_EDAMAGED,
                             "log memory: generation %llu of its head is out of range; restart "
                             "the host, or zero the head while no replica runs",
                             (unsigned long long)last);
    }
    gates->last_generation = last;
    memcpy(head->boot_id, boot_id, sizeof boot_id);
    head->version = LKS_SHM_HEAD_VERSION;
    head->reserved = 0;
    head->magic = LKS_SHM_HEAD_MAGIC;
    return 0;
}

int lks_shm_gates_init(struct lks_shm_gates *gates, uint64_t incarnation, struct lks_error *err)
{
    if (incarnation > INCARNATION_MAX) {
        return lks_error_set(err, -EINVAL, "incarnation %llu is above %u",
                             (unsigned long long)incarnation, INCARNATION_MAX);
    }
    for (uint32_t writer = 0; writer <= LKS_REPLICAS_MAX; writer++) {
        gates->owners[writer].pidfd = -1;
    }
    const int code = take_over_head(gates, incarnation, err);
    if (code != 0) {
        return code;
    }
    for (uint32_t writer = 1; writer <= LKS_REPLICAS_MAX; writer++) {
        close_gate(gates, writer);
        if (lks_word_read(&gate_of(gates, writer)->busy) == 0) {
            gate_closed(&gates->owners[writer]);
        }
    }
    return 0;
}

void lks_shm_gates_fini(struct lks_shm_gates *gates)
{
    if (gates->head == NULL || gates->last_generation == 0) {
        return;
    }
    for (uint32_t writer = 1; writer <= LKS_REPLICAS_MAX; writer++) {
        close_gate(gates, writer);
        gate_closed(&gates->owners[writer]);
    }
}
