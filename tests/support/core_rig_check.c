/*
 * What must hold of the cluster as a whole, checked after every step of any core (design 3.7):
 * one leader a term, one writer a ring, committed prefixes agree and are durable on a majority,
 * no committed entry is overwritten, each elected leader holds what was committed before it.
 * Independent of the core: looks at views, rings and durable bytes only.
 */
#include "tests/support/core_rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void rig_fail(const struct rig *rig, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (rig->trace != NULL) {
        fwrite(rig->trace, 1, rig->trace_used, stderr);
    }
    fprintf(stderr, "core rig: seed %llu, n %u, step %llu: ", (unsigned long long)rig->seed,
            rig->n, (unsigned long long)rig->steps);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

void rig_check_grant(struct rig *rig, uint32_t owner, uint32_t writer)
{
    for (uint32_t p = 1; p <= rig->n; p++) {
        if (rig->permission[owner][p] != 0) {
            rig_fail(rig, "ring %u is granted to %u while %u may still write it", owner, writer, p);
        }
    }
    const struct rig_node *node = &rig->nodes[owner];
    const uint64_t term = rig_view(rig, owner)->term;
    if (node->promise_term != term || node->promise_candidate != writer) {
        rig_fail(rig, "ring %u is granted to %u before the promise is durable", owner, writer);
    }
}

/* What replica n holds at a place of the log, in its snapshot or in its ring; 0: nothing. */
uint64_t rig_chain_at(const struct rig *rig, uint32_t n, uint64_t index, bool durable)
{
    const struct rig_node *node = &rig->nodes[n];
    if (index < node->snapshot.index) {
        return rig->committed[index]; /* checked when the snapshot came to be */
    }
    const struct rig_entry *entry =
        durable ? &node->disk[index % rig->slots] : &node->ring[index % rig->slots];
    return entry->index == index ? entry->chain : 0;
}

/* Everything in a snapshot is committed. */
void rig_check_snapshot(const struct rig *rig, uint32_t n, const struct lks_position *point)
{
    if (point->index > rig->committed_count ||
        (point->index > 0 && rig->committed[point->index - 1] != point->chain)) {
        rig_fail(rig, "the snapshot of %u holds what is not committed, up to entry %llu", n,
                 (unsigned long long)point->index);
    }
}

/* Entry number index is appended: no write in flight may still be read from that slot. */
void rig_check_source(const struct rig *rig, uint32_t n, uint64_t index)
{
    for (uint32_t p = 1; p <= rig->n; p++) {
        const struct rig_side *side = &rig->nodes[n].sides[p];
        for (uint32_t k = 0; k < side->ops_count; k++) {
            const struct rig_op *op = &side->ops[(side->ops_first + k) % RIG_QUEUE];
            for (uint64_t i = op->from / RIG_ENTRY; i < op->to / RIG_ENTRY; i++) {
                if (op->kind == LKS_EFFECT_WRITE && !op->complete && i != index &&
                    i % rig->slots == index % rig->slots) {
                    rig_fail(rig, "replica %u appends over entry %llu, on its way to %u", n,
                             (unsigned long long)i + 1, p);
                }
            }
        }
    }
}

/* An amnesiac's word counts again: it must hold all that was committed with its help. */
void rig_check_amnesia_over(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    for (uint32_t i = 0; i < rig->committed_count; i++) {
        if (node->amnesiac && node->forgotten[i] == rig->committed[i] &&
            rig_chain_at(rig, n, i, rig->durability != RIG_MEMORY) != rig->committed[i]) {
            rig_fail(rig, "replica %u has not got committed entry %u back", n, i + 1);
        }
        node->forgotten[i] = 0;
    }
}

/* Entry number index of the log is written, wherever the bytes come from. */
void rig_write_slot(struct rig *rig, uint32_t owner, uint64_t index,
                    const struct rig_entry *entry)
{
    const uint64_t base = rig->nodes[owner].base.index;
    struct rig_entry *old = rig_slot(rig, owner, index);
    if (index < base || index >= base + rig->slots) {
        rig_fail(rig, "entry %llu is written to ring %u, whose base is %llu",
                 (unsigned long long)index + 1, owner, (unsigned long long)base);
    }
    if (old->index >= base && old->index < rig->committed_count &&
        old->chain == rig->committed[old->index] && entry->chain != old->chain) {
        rig_fail(rig, "committed entry %llu of ring %u is overwritten",
                 (unsigned long long)old->index + 1, owner);
    }
    *old = *entry;
}

static void check_elected(struct rig *rig, uint32_t n)
{
    const struct rig_node *node = &rig->nodes[n];
    const uint64_t term = rig_view(rig, n)->term;
    if (term >= RIG_TERMS) {
        rig_fail(rig, "more than %u terms", RIG_TERMS);
    }
    struct rig_leader *leader = &rig->leaders[term];
    if (leader->replica != 0) {
        if (leader->replica != n || leader->incarnation != node->incarnation) {
            rig_fail(rig, "two leaders in term %llu: %u and %u", (unsigned long long)term,
                     leader->replica, n);
        }
        return;
    }
    leader->replica = n;
    leader->incarnation = node->incarnation;
    leader->length = (uint32_t)(rig_view(rig, n)->tail.offset / RIG_ENTRY);
    for (uint32_t i = 0; i < leader->length; i++) {
        leader->chains[i] = rig_chain_at(rig, n, i, false);
        if (rig_chain_at(rig, n, i, true) != leader->chains[i] &&
            rig->durability != RIG_MEMORY) {
            rig_fail(rig, "leader %u was elected with entry %u not durable", n, i + 1);
        }
    }
    for (uint32_t i = 0; term > rig->term_max && i < rig->committed_count; i++) {
        if (i >= leader->length || leader->chains[i] != rig->committed[i]) {
            rig_fail(rig, "leader %u of term %llu lacks committed entry %u", n,
                     (unsigned long long)term, i + 1);
        }
    }
    rig->term_max = term > rig->term_max ? term : rig->term_max;
}

static void check_durable(struct rig *rig, uint32_t leader, uint32_t slot, uint64_t chain)
{
    const uint32_t voters = rig_view(rig, leader)->members.voters;
    uint32_t holders = 0;
    uint32_t n = 0;
    for (uint32_t p = 1; p <= rig->n; p++) {
        if ((voters & 1u << p) == 0) {
            continue;
        }
        n++;
        const struct rig_node *node = &rig->nodes[p];
        const bool holds =
            rig_chain_at(rig, p, slot, rig->durability != RIG_MEMORY) == chain;
        /* An amnesiac may have lost it between its flush and the leader's hearing of it. */
        const bool lost = node->amnesiac && node->forgotten[slot] == chain;
        holders += holds || lost ? 1 : 0;
    }
    if (holders <= n / 2) {
        rig_fail(rig, "entry %u was acknowledged, but is durable on %u of %u only", slot + 1,
                 holders, n);
    }
}

static void check_commit(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    const struct lks_core_view *view = rig_view(rig, n);
    const uint64_t count = view->commit_offset / RIG_ENTRY;
    for (uint64_t i = node->checked_commit; i < count; i++) {
        const uint64_t chain = rig_chain_at(rig, n, i, false);
        if (i < rig->committed_count) {
            if (chain != rig->committed[i]) {
                rig_fail(rig, "replica %u commits another entry %llu", n,
                         (unsigned long long)i + 1);
            }
            continue;
        }
        if (view->role != LKS_CORE_LEADER) {
            rig_fail(rig, "replica %u learns of commit %llu before its leader", n,
                     (unsigned long long)i + 1);
        }
        check_durable(rig, n, (uint32_t)i, chain);
        rig_members_committed(rig, n, i);
        rig->committed[i] = chain;
        rig->committed_count = (uint32_t)i + 1;
        for (uint64_t term = view->term + 1; term <= rig->term_max; term++) {
            const struct rig_leader *later = &rig->leaders[term];
            if (later->replica != 0 && (later->length <= i || later->chains[i] != chain)) {
                rig_fail(rig, "entry %llu commits in term %llu, leader %u of term %llu lacks it",
                         (unsigned long long)i + 1, (unsigned long long)view->term,
                         later->replica, (unsigned long long)term);
            }
        }
    }
    node->checked_commit = count;
}

/* A confirmed read sees everything that anybody had committed when it came. */
static void check_reads(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    const struct lks_core_view *view = rig_view(rig, n);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->reads_count; i++) {
        const struct rig_read_wait *read = &node->reads[i];
        if (view->role != LKS_CORE_LEADER || view->term != read->term) {
            continue; /* failed: to be asked again elsewhere */
        }
        if (view->reads.confirmed < read->round) {
            node->reads[kept++] = *read;
            continue;
        }
        rig->confirmed++;
        if (view->reads.point / RIG_ENTRY < read->committed) {
            rig_fail(rig, "a read at %u sees %llu entries, but %u were committed when it came", n,
                     (unsigned long long)(view->reads.point / RIG_ENTRY), read->committed);
        }
    }
    node->reads_count = kept;
}

void rig_check_step(struct rig *rig, uint32_t n)
{
    const struct lks_core_view *view = rig_view(rig, n);
    if (view->role == LKS_CORE_LEADER) {
        check_elected(rig, n);
    }
    check_commit(rig, n);
    check_reads(rig, n);
    rig_check_members(rig, n);
    if (view->grant.peer != 0 && rig->permission[n][view->grant.peer] != view->grant.number) {
        rig_fail(rig, "replica %u shows a grant that does not stand", n);
    }
}
