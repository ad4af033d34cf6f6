/* The workloads of the exhaustive crash points: all of them, numbered; see crash_world.h. */
#include "sim/crash_world.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Changes of the leader that a script of so many operations can have: none; or each kind before
 * each operation and at the end, or with each operation under way. */
static uint32_t changes_of(uint32_t operations)
{
    return 1 + (LKS_SIM_SCRIPT_CHANGES - 1) * (2 * operations + 1);
}

static uint32_t sequences_of(uint32_t operations)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < operations; i++) {
        count *= LKS_SIM_SCRIPT_OPERATIONS;
    }
    return count;
}

static void fill_change(struct lks_sim_script *script, uint32_t number)
{
    if (number == 0) {
        script->change = LKS_SIM_SCRIPT_NO_CHANGE;
        return;
    }
    const uint32_t places = 2 * script->operations_count + 1;
    const uint32_t place = (number - 1) % places;
    script->change = LKS_SIM_SCRIPT_NO_CHANGE + 1 + (number - 1) / places;
    script->change_at = place / 2;
    script->around = place % 2 == 1;
}

bool lks_sim_script_at(uint32_t place, struct lks_sim_script *script)
{
    static const enum lks_durability modes[] = {LKS_DURABILITY_WRITER_FLUSH,
                                                LKS_DURABILITY_PMEM_ACK};
    for (uint32_t count = 0; count <= LKS_SIM_SCRIPT_OPERATIONS_MAX; count++) {
        const uint32_t modes_count = (uint32_t)LKS_COUNT_OF(modes);
        const uint32_t scripts = modes_count * changes_of(count) * sequences_of(count);
        if (place >= scripts) {
            place -= scripts;
            continue;
        }
        *script = (struct lks_sim_script){.operations_count = count,
                                          .durability = modes[place % modes_count]};
        place /= modes_count;
        fill_change(script, place % changes_of(count));
        place /= changes_of(count);
        for (uint32_t i = 0; i < count; i++) {
            script->operations[i] = place % LKS_SIM_SCRIPT_OPERATIONS;
            place /= LKS_SIM_SCRIPT_OPERATIONS;
        }
        return true;
    }
    return false;
}

void lks_sim_script_print(const struct lks_sim_script *script, char *text, size_t bytes)
{
    static const char *const operations[] = {"write", "count", "read"};
    static const char *const changes[] = {"none", "crash", "pause", "transfer"};
    char change[32] = "none";
    char list[64] = "";
    for (uint32_t i = 0; i < script->operations_count; i++) {
        const size_t used = strlen(list);
        (void)snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ",",
                       operations[script->operations[i]]);
    }
    if (script->change != LKS_SIM_SCRIPT_NO_CHANGE) {
        (void)snprintf(change, sizeof change, "%s%c%" PRIu32, changes[script->change],
                       script->around ? '~' : '@', script->change_at);
    }
    (void)snprintf(text, bytes, "%s:%s/%s",
                   script->durability == LKS_DURABILITY_PMEM_ACK ? "ack" : "flush", list,
                   change);
}
