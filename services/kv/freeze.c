/*
 * The frozen content of a table, visited in steps while commands go on; see table.h. The visit
 * advances by positions, so that growing, shrinking and emptying do not disturb it: whatever the
 * shape of the table, each step asks it for the bucket that holds the next position.
 */
#include "services/kv/garbage.h"
#include "services/kv/table.h"

#include <stdlib.h>

#define LOOK_BYTES 128u /* looking at an entry or a bucket counts as so many bytes of work */

struct visit {
    int (*visit)(void *ctx, struct lks_kv_entry *entry, uint64_t expires_ms);
    void *ctx;
    size_t work;
};

void lks_kv_table_freeze(struct lks_kv_table *table)
{
    table->frozen = true;
    table->version++;
    table->visited = 0;
}

static uint64_t block_bytes(const struct lks_kv_entry *entry)
{
    return sizeof *entry + entry->key_bytes + entry->value_capacity;
}

void lks_kv_table_keep(struct lks_kv_table *table, struct lks_kv_entry *entry,
                       uint64_t expires_ms)
{
    entry->kept_expires_ms = expires_ms;
    entry->next = table->kept;
    table->kept = entry;
    table->kept_bytes += block_bytes(entry);
}

static int visit_one(struct visit *visit, struct lks_kv_entry *entry, uint64_t expires_ms)
{
    visit->work += LOOK_BYTES + (size_t)entry->key_bytes + entry->value_bytes;
    return visit->visit(visit->ctx, entry, expires_ms);
}

/* What was kept aside goes first: its memory is wanted back. */
static int visit_kept(struct lks_kv_table *table, struct visit *visit)
{
    struct lks_kv_entry *entry = table->kept;
    const int result = visit_one(visit, entry, entry->kept_expires_ms);
    if (result == 0) {
        table->kept = entry->next;
        table->kept_bytes -= block_bytes(entry);
        free(entry);
    }
    return result;
}

/* The least position from `from` on, below `end`, of a frozen entry in this bucket; or `end`. */
static uint64_t next_position(const struct lks_kv_table *table, const struct lks_kv_entry *entry,
                              uint64_t from, uint64_t end)
{
    for (; entry != NULL; entry = entry->next) {
        const uint64_t position = lks_kv_position(entry->hash);
        if (position >= from && position < end && entry->version != table->version) {
            end = position;
        }
    }
    return end;
}

/* Visits all frozen entries of the next position that has any in the next bucket. */
static int visit_position(struct lks_kv_table *table, struct visit *visit)
{
    const bool emptied = table->emptied != NULL;
    const struct lks_kv_index *index = emptied ? &table->emptied->index : &table->index;
    const struct lks_kv_timers *timers = emptied ? &table->emptied->timers : &table->timers;
    uint64_t end;
    struct lks_kv_entry *first = lks_kv_index_at(index, table->visited, &end);
    const uint64_t position = next_position(table, first, table->visited, end);
    visit->work += LOOK_BYTES;
    if (position == end) {
        table->visited = end;
        return 0;
    }
    for (struct lks_kv_entry *entry = first; entry != NULL; entry = entry->next) {
        if (lks_kv_position(entry->hash) == position && entry->version != table->version) {
            const uint64_t expires_ms =
                entry->timer == 0 ? 0 : lks_kv_timers_at(timers, entry->timer)->expires_ms;
            const int result = visit_one(visit, entry, expires_ms);
            if (result != 0) {
                return result;
            }
        }
    }
    table->visited = position + 1;
    return 0;
}

int lks_kv_table_visit_frozen(struct lks_kv_table *table, size_t work_bytes_max,
                              int (*visit)(void *ctx, struct lks_kv_entry *entry,
                                           uint64_t expires_ms),
                              void *ctx, bool *done)
{
    struct visit state = {.visit = visit, .ctx = ctx};
    int result = 0;
    do {
        if (table->kept != NULL) {
            result = visit_kept(table, &state);
        } else if (table->visited < LKS_KV_POSITIONS) {
            result = visit_position(table, &state);
        } else {
            break;
        }
    } while (result == 0 && state.work < work_bytes_max);
    *done = table->kept == NULL && table->visited >= LKS_KV_POSITIONS;
    return result;
}

void lks_kv_table_thaw(struct lks_kv_table *table)
{
    if (table->emptied != NULL) {
        lks_kv_garbage_push(&table->garbage, table->emptied);
    }
    if (table->kept != NULL) {
        lks_kv_garbage_push(&table->garbage, lks_kv_garbage_of_entries(table->kept));
    }
    table->emptied = NULL;
    table->kept = NULL;
    table->kept_bytes = 0;
    table->frozen = false;
}
