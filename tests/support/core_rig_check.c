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

/* An amnesiac's word counts again: it must hold all that was committed with its help. */
void rig_check_amnesia_over(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    const struct rig_entry *entries = rig->durability == RIG_MEMORY ? node->ring : node->disk;
    for (uint32_t i = 0; i < rig->committed_count; i++) {
        if (node->amnesiac && node->forgotten[i] == rig->committed[i] &&
            entries[i].chain != rig->committed[i]) {
            rig_fail(rig, "replica %u has not got committed entry %u back", n, i + 1);
        }
        node->forgotten[i] = 0;
    }
}

void rig_write_slot(struct rig *rig, uint32_t owner, uint32_t slot, const struct rig_entry *entry)
{
    struct rig_entry *old = &rig->nodes[owner].ring[slot];
    if (slot < rig->committed_count && old->chain == rig->committed[slot] &&
        entry->chain != old->chain) {
        rig_fail(rig, "committed entry %u of ring %u is overwritten", slot + 1, owner);
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
        leader->chains[i] = node->ring[i].chain;
        if (node->disk[i].chain != node->ring[i].chain && rig->durability != RIG_MEMORY) {
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

static void check_durable(struct rig *rig, uint32_t slot, uint64_t chain)
{
    uint32_t holders = 0;
    for (uint32_t p = 1; p <= rig->n; p++) {
        const struct rig_node *node = &rig->nodes[p];
        const struct rig_entry *entries = rig->durability == RIG_MEMORY ? node->ring : node->disk;
        /* An amnesiac may have lost it between its flush and the leader's hearing of it. */
        const bool lost = node->amnesiac && node->forgotten[slot] == chain;
        holders += entries[slot].chain == chain || lost ? 1 : 0;
    }
    if (holders <= rig->n / 2) {
        rig_fail(rig, "entry %u was acknowledged, but is durable on %u of %u only", slot + 1,
                 holders, rig->n);
    }
}

static void check_commit(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    const struct lks_core_view *view = rig_view(rig, n);
    const uint64_t count = view->commit_offset / RIG_ENTRY;
    for (uint64_t i = node->checked_commit; i < count; i++) {
        const uint64_t chain = node->ring[i].chain;
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
        check_durable(rig, (uint32_t)i, chain);
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

void rig_check_step(struct rig *rig, uint32_t n)
{
    const struct lks_core_view *view = rig_view(rig, n);
    if (view->role == LKS_CORE_LEADER) {
        check_elected(rig, n);
    }
    check_commit(rig, n);
    if (view->grant.peer != 0 && rig->permission[n][view->grant.peer] != view->grant.number) {
        rig_fail(rig, "replica %u shows a grant that does not stand", n);
    }
}
