/*
 * Write permission on the logs of the simulated network: grants, revocations, openings. A
 * revocation has two moments: its effect, after which nothing more passes the permission check,
 * and its completion, by which everything that had passed has landed or never will. What one
 * owner posts for one peer takes effect in the order of posting.
 */
#include "sim/network_internal.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>

#define OPEN_RETRY_NS 200000u

void lks_sim_gate_fini(struct lks_sim_gate *gate)
{
    lks_sim_strays_drop(gate);
    free(gate->strays);
}

bool lks_sim_gate_passes(const struct lks_sim_gate *gate, uint64_t grant)
{
    return gate->standing && !gate->closing && gate->grant == grant;
}

uint8_t *lks_sim_gate_landing(struct lks_sim_gate *gate, uint64_t offset, uint64_t bytes)
{
    struct lks_sim_network *network = gate->network;
    const struct lks_sim_network_observer *observer = &network->options.observer;
    const struct lks_sim_store *store = &network->hosts[gate->owner].store;
    if (store->bytes == NULL) {
        return NULL;
    }
    LKS_ASSERT(bytes <= store->size && offset <= store->size - bytes);
    network->counts.landed++;
    if (gate->standing) {
        network->counts.late_landed += gate->closing;
    } else {
        const struct lks_sim_network_profile *profile = &network->options.profile;
        LKS_ASSERT(profile->untrusted_fence || profile->gate_steps);
        network->counts.unfenced_landed++;
        if (!profile->untrusted_fence && observer->unfenced != NULL) {
            observer->unfenced(observer->ctx, gate->owner, gate->writer);
        }
    }
    lks_sim_trace_network(network, &(struct lks_sim_record){.what = "landed",
                                                            .a = gate->writer,
                                                            .b = gate->owner,
                                                            .x = offset,
                                                            .y = bytes,
                                                            .quiet = true});
    if (observer->stores != NULL) {
        observer->stores(observer->ctx, gate->owner, offset, bytes);
    }
    return store->bytes + offset;
}

void lks_sim_gate_close(struct lks_sim_gate *gate)
{
    if (gate->standing && !gate->closing) {
        gate->closing = true;
        lks_sim_strays_close(gate);
    }
    gate->generation_stored = true;
    lks_sim_section_drain_owner(gate);
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
        gate->generation_stored = false;
        gate->generation = control->key.grant;
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

/* As many as the fabric's contract allows are under way with one peer. */
static bool is_full(const struct lks_sim_network *network, uint32_t self, uint32_t peer)
{
    uint32_t count = 0;
    for (const struct lks_sim_control *control = network->controls; control != NULL;
         control = control->next) {
        count += control->self == self && control->peer == peer && !is_stale(control);
    }
    return count >= LKS_FABRIC_CHANGES_MAX;
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
    if (is_full(network, owner, writer)) {
        return -LKS_EBUSY;
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

static void revoked(struct lks_sim_control *control)
{
    struct lks_sim_network *network = control->network;
    struct lks_sim_gate *gate = &network->gates[control->self][control->peer];
    if (gate->grant == control->key.grant) {
        gate->standing = gate->closing = false;
    }
    if (network->options.observer.revoked != NULL) {
        network->options.observer.revoked(network->options.observer.ctx, control->self,
                                          control->peer);
    }
    control_done(control, 0);
    change_ends(control);
}

/* Everything that has passed the check lands now, or never. */
static void fence(struct lks_sim_gate *gate)
{
    struct lks_sim_channel *path = &gate->network->sides[gate->writer][gate->owner].path;
    if (path->grant == gate->grant) {
        lks_sim_channel_fence(path);
    }
    lks_sim_strays_fence(gate);
}

static void revocation_completes(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_control *control = ctx;
    struct lks_sim_network *network = control->network;
    if (is_stale(control)) {
        change_ends(control);
        return;
    }
    struct lks_sim_gate *gate = &network->gates[control->self][control->peer];
    if (gate->grant == control->key.grant && !network->options.profile.untrusted_fence) {
        fence(gate);
    }
    revoked(control);
}

static void generation_is_seen(void *ctx, uint64_t unused)
{
    (void)unused;
    lks_sim_section_drain_owner(ctx);
}

/* The same on shared memory, one step at a time. */
static void revocation_goes_on(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_control *control = ctx;
    struct lks_sim_network *network = control->network;
    if (is_stale(control)) {
        change_ends(control);
        return;
    }
    if (!lks_sim_section_revoke_step(control)) {
        lks_sim_later(network, &network->options.profile.step, revocation_goes_on, control, 0);
        return;
    }
    struct lks_sim_gate *gate = &network->gates[control->self][control->peer];
    if (gate->generation_stored) {
        /* (Without the owner's fence: still in its store buffer.) */
        lks_sim_later(network, &network->options.profile.stray, generation_is_seen, gate, 0);
    }
    revoked(control);
}

static void revocation_takes_effect(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_control *control = ctx;
    struct lks_sim_network *network = control->network;
    if (is_stale(control)) {
        change_ends(control);
        return;
    }
    struct lks_sim_gate *gate = &network->gates[control->self][control->peer];
    control->key.grant = gate->grant;
    if (gate->standing && !gate->closing) {
        gate->closing = true;
        lks_sim_strays_close(gate);
    }
    if (network->options.profile.gate_steps) {
        revocation_goes_on(control, 0);
        return;
    }
    lks_sim_later(network, &network->options.profile.fence, revocation_completes, control, 0);
}

int lks_sim_gate_revoke(struct lks_sim_network *network, uint32_t owner, uint32_t writer,
                        uint64_t id)
{
    if (is_full(network, owner, writer)) {
        return -LKS_EBUSY;
    }
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
    if (is_full(network, writer, owner)) {
        return -LKS_EBUSY;
    }
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
