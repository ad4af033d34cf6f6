/* Equal committed prefixes; see prefix.h. */
#include "sim/checkers/prefix.h"

#include "base/assert.h"
#include "node/sessions.h"

#include <inttypes.h>

void lks_sim_prefix_restarted(struct lks_sim_prefix *prefix, uint32_t replica,
                              const struct lks_journal *journal)
{
    lks_journal_base(journal, &prefix->cursors[replica]);
}

static void note_command(struct lks_sim_prefix *prefix, const struct lks_entry_header *header)
{
    if (header->kind == LKS_ENTRY_COMMAND) {
        const struct lks_sim_logged_command command = {
            .index = header->index,
            .gateway = lks_session_replica(header->session),
            .life = lks_session_incarnation(header->session),
            .sequence = header->sequence,
        };
        lks_sim_logged_next(&prefix->logged, prefix->verdict, &command);
    }
}

/* What lies below the base is gone from the ring: the base itself stands for it. */
static void skip_to_base(struct lks_sim_prefix *prefix, uint32_t replica,
                         const struct lks_journal *journal)
{
    struct lks_log_point base;
    lks_journal_base(journal, &base);
    if (base.offset <= prefix->cursors[replica].offset) {
        return;
    }
    prefix->verdict->checks++;
    if (base.index <= prefix->last_index && prefix->chain[base.index] != base.chain) {
        lks_sim_verdict_break(prefix->verdict, "committed entries agree",
                              "the log of replica %" PRIu32 " begins behind entry %" PRIu64
                              " of term %" PRIu64 "; another of term %" PRIu64
                              " was applied elsewhere",
                              replica, base.index, base.term, prefix->term[base.index]);
    }
    prefix->cursors[replica] = base;
}

void lks_sim_prefix_applied(struct lks_sim_prefix *prefix, uint32_t replica,
                            const struct lks_journal *journal,
                            const struct lks_sim_applied *applied)
{
    struct lks_log_point *cursor = &prefix->cursors[replica];
    skip_to_base(prefix, replica, journal);
    while (cursor->offset < applied->offset) {
        struct lks_entry entry;
        if (lks_journal_next(journal, cursor, applied->offset, &entry) < 0) {
            lks_sim_verdict_break(prefix->verdict, "applied entries stay",
                                  "replica %" PRIu32 " applied up to entry %" PRIu64
                                  "; entry %" PRIu64 " at offset %" PRIu64 " is not there",
                                  replica, applied->index, cursor->index + 1, cursor->offset);
            return;
        }
        const uint64_t index = cursor->index;
        prefix->verdict->checks++;
        LKS_ASSERT(index < LKS_SIM_ENTRIES_MAX);
        if (index > prefix->last_index) {
            LKS_ASSERT(index == prefix->last_index + 1);
            prefix->last_index = index;
            prefix->chain[index] = cursor->chain;
            prefix->term[index] = cursor->term;
            note_command(prefix, entry.header);
        }
        if (prefix->chain[index] != cursor->chain || prefix->term[index] != cursor->term) {
            lks_sim_verdict_break(prefix->verdict, "committed entries agree",
                                  "replica %" PRIu32 " applied entry %" PRIu64 " of term %" PRIu64
                                  "; another of term %" PRIu64 " was applied elsewhere",
                                  replica, index, cursor->term, prefix->term[index]);
            return;
        }
    }
    if (cursor->index != applied->index || cursor->offset != applied->offset) {
        lks_sim_verdict_break(prefix->verdict, "applied entries stay",
                              "replica %" PRIu32 " says it applied entry %" PRIu64
                              " up to offset %" PRIu64 "; its log has entry %" PRIu64
                              " up to offset %" PRIu64,
                              replica, applied->index, applied->offset, cursor->index,
                              cursor->offset);
    }
}

void lks_sim_prefix_elected(struct lks_sim_prefix *prefix, uint32_t replica,
                            const struct lks_sim_elected *elected)
{
    uint64_t index = prefix->last_index;
    prefix->verdict->checks++;
    while (index > 0 && prefix->term[index] >= elected->term) {
        index--;
    }
    if (index > elected->last_index) {
        lks_sim_verdict_break(prefix->verdict, "a leader's log is complete",
                              "replica %" PRIu32 " leads term %" PRIu64 " with a log up to entry %"
                              PRIu64 "; entry %" PRIu64 " of term %" PRIu64 " is committed",
                              replica, elected->term, elected->last_index, index,
                              prefix->term[index]);
    }
}
