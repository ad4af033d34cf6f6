/*
 * Write permission on the logs of the simulated network: grants, revocations, openings, and the
 * writes that outlive their path. A revocation has two moments: its effect, after which nothing
 * more passes the permission check, and its completion, by which everything that had passed has
 * landed or never will. What one owner posts for one peer takes effect in the order of posting.
 */
#include "sim/network_internal.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_RETRY_NS 200000u
#define PASSES_PPM 500000u /* how often a stray has passed the check when a fence begins */
#define STRAYS_FIRST 16u

void lks_sim_gate_drop_strays(struct lks_sim_gate *gate)
{
    for (uint32_t i = 0; i < gate->strays_count; i++) {
        free(gate->strays[i].data);
    }
    gate->strays_count = 0;
}

void lks_sim_gate_fini(struct lks_sim_gate *gate)
{
    lks_sim_gate_drop_strays(gate);
    free(gate->strays);
}

bool lks_sim_gate_passes(const struct lks_sim_gate *gate, uint64_t grant)
{
    return gate->standing && !gate->closing && gate->grant == grant;
}

void lks_sim_gate_land(struct lks_sim_gate *gate, uint64_t offset, const uint8_t *data,
                       uint64_t bytes)
{
    struct lks_sim_network *network = gate->network;
    const struct lks_sim_store *store = &network->hosts[gate->owner].store;
    if (store->bytes == NULL) {
        return;
    }
    LKS_ASSERT(bytes <= store->size && offset <= store->size - bytes);
    memcpy(store->bytes + offset, data, bytes);
    network->counts.landed++;
    if (!gate->standing) {
        LKS_ASSERT(network->options.profile.untrusted_fence);
        network->counts.unfenced_landed++;
    } else if (gate->closing) {
        network->counts.late_landed++;
    }
    lks_sim_trace_network(network, &(struct lks_sim_record){.what = "landed",
                                                            .a = gate->writer,
                                                            .b = gate->owner,
                                                            .x = offset,
                                                            .y = bytes,
                                                            .quiet = true});
}

/* ---- strays ------------------------------------------------------------------------------- */

static void stray_lands(void *ctx, uint64_t serial)
{
    struct lks_sim_gate *gate = ctx;
    uint32_t place = 0;
    while (place < gate->strays_count && gate->strays[place].serial != serial) {
        place++;
    }
    if (place == gate->strays_count) {
        return; /* fenced or dropped meanwhile */
    }
    const struct lks_sim_stray stray = gate->strays[place];
    gate->strays_count--;
    memmove(&gate->strays[place], &gate->strays[place + 1],
            (gate->strays_count - place) * sizeof stray);
    if (stray.passed || lks_sim_gate_passes(gate, stray.grant)) {
        lks_sim_gate_land(gate, stray.offset, stray.data, stray.bytes);
        gate->network->counts.strays_landed++;
        lks_sim_trace_network(gate->network, &(struct lks_sim_record){.what = "stray landed",
                                                                      .a = gate->writer,
                                                                      .b = gate->owner,
                                                                      .x = stray.offset,
                                                                      .y = stray.bytes});
    }
    free(stray.data);
}

void lks_sim_gate_add_stray(struct lks_sim_gate *gate, const struct lks_sim_stray *stray,
                            uint64_t due_ns)
{
    if (gate->strays_count == gate->strays_capacity) {
        const uint32_t capacity =
            gate->strays_capacity == 0 ? STRAYS_FIRST : gate->strays_capacity * 2;
        LKS_ASSERT(capacity <= LKS_SIM_STRAYS_MAX);
        gate->strays = realloc(gate->strays, capacity * sizeof *gate->strays);
        LKS_ASSERT(gate->strays != NULL);
        gate->strays_capacity = capacity;
    }
    struct lks_sim_stray *added = &gate->strays[gate->strays_count++];
    *added = *stray;
    added->serial = ++gate->strays_serial;
    added->data = malloc(stray->bytes);
    LKS_ASSERT(added->data != NULL);
    memcpy(added->data, stray->data, stray->bytes);
    lks_sim_timeline_post(gate->network->options.timeline, due_ns, stray_lands, gate,
                          added->serial);
}

/* From now on nothing passes the check: a first part of the strays has passed it already. */
static void close_now(struct lks_sim_gate *gate)
{
    gate->closing = true;
    for (uint32_t i = 0; i < gate->strays_count; i++) {
        if (!gate->strays[i].passed &&
            !lks_sim_random_chance(&gate->network->random, PASSES_PPM)) {
            break;
        }
        gate->strays[i].passed = true;
    }
}

void lks_sim_gate_close(struct lks_sim_gate *gate)
{
    if (gate->standing) {
        close_now(gate);
    }
}

/* Everything that has passed lands, up to a random point, and nothing else ever will. */
static void fence_strays(struct lks_sim_gate *gate)
{
    const uint64_t landing =
        lks_sim_random_below(&gate->network->random, (uint64_t)gate->strays_count + 1);
    for (uint32_t i = 0; i < landing && gate->strays[i].passed; i++) {
        lks_sim_gate_land(gate, gate->strays[i].offset, gate->strays[i].data,
                          gate->strays[i].bytes);
        gate->network->counts.strays_landed++;
    }
    lks_sim_gate_drop_strays(gate);
}

/* ---- posted changes ----------------------------------------------------------------------- */

static struct lks_sim_control *control_new(struct lks_sim_network *network, uint32_t self,
                                           uint32_t peer, enum lks_fabric_event_kind kind)
{
    struct lks_sim_control *control = calloc(1, sizeof *control);
    LKS_ASSERT(control != NULL);
    control->network = network;
    control->kind = kind;
    control->self = self;
    control->peer = peer;
    control->life = network->hosts[self].life;
    control->epoch = network->sides[self][peer].epoch;
    control->next = network->controls;
    if (control->next != NULL) {
        control->next->previous = control;
    }
    network->controls = control;
    return control;
}

static void control_free(struct lks_sim_control *control)
{
    if (control->previous != NULL) {
        control->previous->next = control->next;
    } else {
        control->network->controls = control->next;
    }
    if (control->next != NULL) {
        control->next->previous = control->previous;
    }
    free(control);
}

static bool is_stale(const struct lks_sim_control *control)
{
    const struct lks_sim_host *self = &control->network->hosts[control->self];
    return control->cancelled || !self->alive || self->life != control->life;
}

static void control_done(struct lks_sim_control *control, int status)
{
    const struct lks_fabric_event event = {.kind = control->kind,
                                           .peer = control->peer,
                                           .id = control->id,
                                           .status = status,
                                           .key = control->key};
    static const char *const texts[] = {[LKS_FABRIC_GRANTED] = "granted",
                                        [LKS_FABRIC_REVOKED] = "revoked",
                                        [LKS_FABRIC_OPENED] = "opened"};
    lks_sim_trace_network(control->network,
                          &(struct lks_sim_record){.what = texts[control->kind],
                                                   .a = control->self,
                                                   .b = control->peer,
                                                   .x = control->key.grant,
                                                   .y = (uint64_t)-status});
    lks_sim_host_push(control->network, control->self, &event, NULL);
}

void lks_sim_gate_fail_controls(struct lks_sim_network *network, uint32_t self, uint32_t peer)
{
    for (struct lks_sim_control *control = network->controls; control != NULL;
         control = control->next) {
        if (control->self == self && control->peer == peer && !is_stale(control) &&
            control->kind != LKS_FABRIC_REVOKED) {
            control->cancelled = true;
            control_done(control, -LKS_EBROKEN);
        }
    }
}

static void grant_takes_effect(void *ctx, uint64_t unused);
static void revocation_takes_effect(void *ctx, uint64_t unused);

static void change_begins(struct lks_sim_control *control)
{
    struct lks_sim_network *network = control->network;
    if (control->kind == LKS_FABRIC_GRANTED) {
        lks_sim_later(network, &network->options.profile.control, grant_takes_effect, control, 0);
    } else {
        lks_sim_later(network, &network->options.profile.fence, revocation_takes_effect, control,
                      0);
    }
}

/* Puts a change behind those posted earlier for the same gate. */
static void change_post(struct lks_sim_control *control)
{
    struct lks_sim_gate *gate = &control->network->gates[control->self][control->peer];
    struct lks_sim_control **end = &gate->changes;
    while (*end != NULL) {
        end = &(*end)->successor;
    }
    *end = control;
    if (gate->changes == control) {
        change_begins(control);
    }
}

static void change_ends(struct lks_sim_control *control)
{
    struct lks_sim_gate *gate = &control->network->gates[control->self][control->peer];
    LKS_ASSERT(gate->changes == control);
    gate->changes = control->successor;
    control_free(control);
    if (gate->changes != NULL) {
        change_begins(gate->changes);
    }
}

/* Whether a grant will stand once everything posted has taken effect. */
static bool will_stand(const struct lks_sim_gate *gate)
{
    bool standing = gate->standing;
    for (const struct lks_sim_control *control = gate->changes; control != NULL;
         control = control->successor) {
        if (!is_stale(control)) {
            standing = control->kind == LKS_FABRIC_GRANTED;
        }
    }
    return standing;
}

static void grant_takes_effect(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_control *control = ctx;
    struct lks_sim_network *network = control->network;
    if (!is_stale(control)) {
        struct lks_sim_gate *gate = &network->gates[control->self][control->peer];
        LKS_ASSERT(!gate->standing);
        gate->standing = true;
        gate->closing = false;
        gate->grant = control->key.grant;
        gate->epoch = control->epoch;
        if (network->options.observer.granted != NULL) {
            network->options.observer.granted(network->options.observer.ctx, control->self,
                                              control->peer);
        }
        control_done(control, 0);
    }
    change_ends(control);
}

static void misuse(struct lks_sim_network *network, uint32_t replica, const char *text)
{
    LKS_ASSERT(network->options.observer.misuse != NULL);
    network->options.observer.misuse(network->options.observer.ctx, replica, text);
}

int lks_sim_gate_grant(struct lks_sim_network *network, uint32_t owner, uint32_t writer,
                       uint64_t id)
{
    struct lks_sim_gate *gate = &network->gates[owner][writer];
    if (will_stand(gate)) {
        misuse(network, owner, "grant while an earlier grant to the peer is not revoked");
        return -EINVAL;
    }
    struct lks_sim_control *control = control_new(network, owner, writer, LKS_FABRIC_GRANTED);
    control->id = id;
    if (!network->sides[owner][writer].announced) {
        control_done(control, -LKS_EBROKEN);
        control_free(control);
        return 0;
    }
    control->key = (struct lks_fabric_key){.grant = ++network->hosts[owner].grants,
                                           .words = {owner, writer, control->epoch}};
    change_post(control);
    return 0;
}

static void revocation_completes(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_control *control = ctx;
    struct lks_sim_network *network = control->network;
    if (!is_stale(control)) {
        struct lks_sim_gate *gate = &network->gates[control->self][control->peer];
        if (gate->grant == control->key.grant) {
            if (!network->options.profile.untrusted_fence) {
                struct lks_sim_channel *path = &network->sides[gate->writer][gate->owner].path;
                if (path->grant == gate->grant) {
                    lks_sim_channel_fence(path);
                }
                fence_strays(gate);
            }
            gate->standing = gate->closing = false;
        }
        if (network->options.observer.revoked != NULL) {
            network->options.observer.revoked(network->options.observer.ctx, control->self,
                                              control->peer);
        }
        control_done(control, 0);
    }
    change_ends(control);
}

static void revocation_takes_effect(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_control *control = ctx;
    if (is_stale(control)) {
        change_ends(control);
        return;
    }
    struct lks_sim_gate *gate = &control->network->gates[control->self][control->peer];
    control->key.grant = gate->grant;
    if (gate->standing && !gate->closing) {
        close_now(gate);
    }
    lks_sim_later(control->network, &control->network->options.profile.fence,
                  revocation_completes, control, 0);
}

int lks_sim_gate_revoke(struct lks_sim_network *network, uint32_t owner, uint32_t writer,
                        uint64_t id)
{
    struct lks_sim_control *control = control_new(network, owner, writer, LKS_FABRIC_REVOKED);
    control->id = id;
    change_post(control);
    return 0;
}

static void opening_takes_effect(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_control *control = ctx;
    struct lks_sim_network *network = control->network;
    if (is_stale(control)) {
        control_free(control);
        return;
    }
    struct lks_sim_side *side = &network->sides[control->self][control->peer];
    const struct lks_sim_host *owner = &network->hosts[control->peer];
    const bool blocked = network->links[control->self][control->peer].down ||
                         network->links[control->peer][control->self].down;
    if (blocked) {
        lks_sim_side_blocked(side);
    }
    if (blocked || !owner->alive || owner->life != side->peer_life ||
        (side->broken && !side->carries)) {
        /* Waits for the link, or for the break to be noticed, which cancels this. */
        lks_sim_timeline_post(network->options.timeline, lks_sim_now(network) + OPEN_RETRY_NS,
                              opening_takes_effect, control, 0);
        return;
    }
    const struct lks_sim_gate *gate = &network->gates[control->peer][control->self];
    const bool good = lks_sim_gate_passes(gate, control->key.grant) &&
                      gate->epoch == side->epoch && control->key.words[0] == control->peer &&
                      control->key.words[1] == control->self &&
                      control->key.words[2] == side->epoch;
    if (good) {
        lks_sim_channel_open(&side->path, network->hosts[control->self].options.outstanding_max);
        side->path.grant = control->key.grant;
    }
    control_done(control, good ? 0 : -LKS_EREVOKED);
    control_free(control);
}

int lks_sim_gate_open(struct lks_sim_network *network, uint32_t writer, uint32_t owner,
                      const struct lks_fabric_key *key, uint64_t id)
{
    struct lks_sim_side *side = &network->sides[writer][owner];
    lks_sim_channel_fail(&side->path, -LKS_EBROKEN, side->announced);
    for (struct lks_sim_control *control = network->controls; control != NULL;
         control = control->next) {
        if (control->self == writer && control->peer == owner && !is_stale(control) &&
            control->kind == LKS_FABRIC_OPENED) {
            control->cancelled = true;
            control_done(control, -LKS_EBROKEN);
        }
    }
    struct lks_sim_control *control = control_new(network, writer, owner, LKS_FABRIC_OPENED);
    control->id = id;
    control->key = *key;
    if (!side->announced) {
        control_done(control, -LKS_EBROKEN);
        control_free(control);
        return 0;
    }
    lks_sim_later(network, &network->options.profile.control, opening_takes_effect, control, 0);
    return 0;
}
