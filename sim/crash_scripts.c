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

/* The operations that scripts with such areas are made of, and how many one has at most. */
static const struct {
    uint32_t operations_max;
    uint32_t kinds;
    enum lks_sim_script_operation kind[LKS_SIM_SCRIPT_OPERATIONS];
} g_families[LKS_SIM_SCRIPT_AREAS] = {
    [LKS_SIM_SCRIPT_NO_AREA] = {LKS_SIM_SCRIPT_OPERATIONS_MAX,
                                3,
                                {LKS_SIM_SCRIPT_WRITE, LKS_SIM_SCRIPT_COUNT,
                                 LKS_SIM_SCRIPT_READ}},
    [LKS_SIM_SCRIPT_SNAPSHOTS] = {2, 2, {LKS_SIM_SCRIPT_FILL, LKS_SIM_SCRIPT_COUNT}},
    [LKS_SIM_SCRIPT_INSTALL] = {1, 2, {LKS_SIM_SCRIPT_FILL, LKS_SIM_SCRIPT_COUNT}},
};

static uint32_t sequences_of(enum lks_sim_script_area area, uint32_t operations)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < operations; i++) {
        count *= g_families[area].kinds;
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

static const enum lks_durability g_modes[] = {LKS_DURABILITY_WRITER_FLUSH,
                                              LKS_DURABILITY_PMEM_ACK};

/* Script number *place of those with such an area and so many operations; false, and *place less by
 * their number: it is behind the last of them. */
static bool script_among(uint32_t *place, enum lks_sim_script_area area, uint32_t operations,
                         struct lks_sim_script *script)
{
    const uint32_t modes = (uint32_t)LKS_COUNT_OF(g_modes);
    const uint32_t scripts = modes * changes_of(operations) * sequences_of(area, operations);
    if (*place >= scripts) {
        *place -= scripts;
        return false;
    }
    uint32_t rest = *place;
    *script = (struct lks_sim_script){.area = area,
                                      .operations_count = operations,
                                      .durability = g_modes[rest % modes]};
    rest /= modes;
    fill_change(script, rest % changes_of(operations));
    rest /= changes_of(operations);
    for (uint32_t i = 0; i < operations; i++) {
        script->operations[i] = g_families[area].kind[rest % g_families[area].kinds];
        rest /= g_families[area].kinds;
    }
    return true;
}

bool lks_sim_script_at(uint32_t place, struct lks_sim_script *script)
{
    for (uint32_t area = 0; area < LKS_SIM_SCRIPT_AREAS; area++) {
        for (uint32_t count = 0; count <= g_families[area].operations_max; count++) {
            if (script_among(&place, (enum lks_sim_script_area)area, count, script)) {
                return true;
            }
        }
    }
    return false;
}

void lks_sim_script_print(const struct lks_sim_script *script, char *text, size_t bytes)
{
    static const char *const operations[] = {"write", "count", "read", "fill"};
    static const char *const areas[] = {"", "+snapshots", "+install"};
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
    (void)snprintf(text, bytes, "%s%s:%s/%s",
                   script->durability == LKS_DURABILITY_PMEM_ACK ? "ack" : "flush",
                   areas[script->area], list, change);
}
