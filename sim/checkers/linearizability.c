/*
 * Wing-Gong-Lowe search. Calls and returns of one key's operations form a list in time order. The
 * search takes an operation whose call stands before the first return out of the list, applies it
 * to the value, and begins again; where nothing fits it puts the last one back and goes on behind
 * it. A set of taken operations with the value after them is visited once. Operations of unknown
 * outcome have no return; they form a list of their own, which is tried after the first.
 *
 * The set is remembered by a 128-bit hash of its members. Should two sets ever collide, a branch
 * is skipped: that can turn a good history into a reported one, never a bad one into "ok".
 */
#include "sim/checkers/linearizability.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONFIGURATIONS_DEFAULT (UINT64_C(4) << 20)
#define CACHE_SLOTS_FIRST UINT64_C(128)
#define NOWHERE SIZE_MAX

#define KNOWN_HEAD 0u
#define UNKNOWN_HEAD 1u
#define HEADS 2u

/* A call or a return, in a list in time order; the first two of the array are the lists' heads. */
struct event {
    uint64_t at_ns;
    size_t operation; /* in the partition's array */
    size_t match;     /* of a call: its return, or NOWHERE; of a return: its call */
    size_t before;
    size_t after;
    bool is_call;
    bool unknown;
};

struct item {
    struct lks_history_operation operation;
    size_t place;    /* in the caller's history */
    size_t earlier;  /* the unknown operation just like it called before, or NOWHERE */
    bool unseen;     /* an unknown SET whose value nobody read; counted, not remembered by name */
    bool taken;
};

struct state {
    bool present;
    bool unobserved; /* the last operation is unknown and must be seen by the next one */
    int64_t value;
};

struct slot {
    uint64_t hash[2]; /* both zero: empty */
    int64_t value;    /* of the register or counter */
    uint64_t unseen;  /* fewest unseen SETs with which this was reached */
};

struct cache {
    struct slot *slots;
    uint64_t slots_count;
    uint64_t used;
};

struct frame {
    size_t event;
    struct state before;
};

struct search {
    struct item *items;
    size_t items_count;
    struct event *events;
    struct frame *stack;
    size_t depth;
    size_t deepest;
    size_t known_left;
    size_t unseen_taken;
    bool register_only; /* nothing but GET, SET and DEL on this key */
    uint64_t hash[2];
    struct state state;
    struct cache cache;
    uint64_t configurations_max;
    size_t stuck_at; /* item whose return stopped the deepest attempt */
};

/* ---- hashing and the cache ------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void hash_toggle(struct search *search, size_t item)
{
    if (search->items[item].unseen) {
        return;
    }
    search->hash[0] ^= mix(2 * (uint64_t)item + 1);
    search->hash[1] ^= mix(mix(2 * (uint64_t)item + 2));
}

static bool slot_is_empty(const struct slot *slot)
{
    return (slot->hash[0] | slot->hash[1]) == 0;
}

static struct slot *cache_find(const struct cache *cache, const struct slot *wanted)
{
    uint64_t place = wanted->hash[0] & (cache->slots_count - 1);
    for (uint64_t steps = 0; steps < cache->slots_count; steps++) {
        struct slot *slot = &cache->slots[place];
        if (slot_is_empty(slot) ||
            (slot->hash[0] == wanted->hash[0] && slot->hash[1] == wanted->hash[1] &&
             slot->value == wanted->value)) {
            return slot;
        }
        place = (place + 1) & (cache->slots_count - 1);
    }
    return NULL;
}

static int cache_grow(struct cache *cache)
{
    struct cache larger = {.slots_count = cache->slots_count == 0 ? CACHE_SLOTS_FIRST
                                                                  : 2 * cache->slots_count,
                           .used = cache->used};
    larger.slots = calloc(larger.slots_count, sizeof(*larger.slots));
    if (larger.slots == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < cache->slots_count; i++) {
        if (!slot_is_empty(&cache->slots[i])) {
            *cache_find(&larger, &cache->slots[i]) = cache->slots[i];
        }
    }
    free(cache->slots);
    *cache = larger;
    return 0;
}

/*
 * Whether taking `item` leads to a configuration worth a visit. 1: it is new, or was reached only
 * with more unseen SETs spent (whatever can be done with fewer left can be done with more left);
 * it is now remembered. 0: seen before. -ENOMEM; -E2BIG.
 */
static int cache_add(struct search *search, size_t item, struct state state)
{
    struct cache *cache = &search->cache;
    if (2 * cache->used >= cache->slots_count) {
        int rc = cache_grow(cache);
        if (rc != 0) {
            return rc;
        }
    }
    hash_toggle(search, item);
    struct slot wanted = {
        .hash = {search->hash[0] ^ mix((uint64_t)state.value + state.present),
                 (search->hash[1] ^ mix(2u * state.present + state.unobserved)) | 1},
        .value = state.value,
        .unseen = search->unseen_taken + search->items[item].unseen,
    };
    hash_toggle(search, item);
    struct slot *slot = cache_find(cache, &wanted);
    LKS_ASSERT(slot != NULL);
    if (!slot_is_empty(slot)) {
        bool better = wanted.unseen < slot->unseen;
        slot->unseen = better ? wanted.unseen : slot->unseen;
        return better;
    }
    if (cache->used >= search->configurations_max) {
        return -E2BIG;
    }
    *slot = wanted;
    cache->used++;
    return 1;
}

/* ---- what an operation does ------------------------------------------------------------------ */

/* Whether the operation's answer fits the state; *state becomes that after it. */
static bool apply(const struct lks_history_operation *operation, struct state *state)
{
    struct state before = *state;
    int64_t value = before.present ? before.value : 0;
    state->unobserved = false;
    switch (operation->kind) {
    case LKS_HISTORY_GET:
        return operation->present == before.present &&
               (!before.present || operation->value == before.value);
    case LKS_HISTORY_SET:
        state->present = true;
        state->value = operation->argument;
        return true;
    case LKS_HISTORY_INCR:
        state->present = true;
        state->value = (int64_t)((uint64_t)value + (uint64_t)operation->argument);
        return !operation->known || operation->value == state->value;
    case LKS_HISTORY_DEL:
        state->present = false;
        state->value = 0;
        return !operation->known || operation->vague || operation->present == before.present;
    case LKS_HISTORY_EXISTS:
        return operation->present == before.present;
    case LKS_HISTORY_SET_ABSENT:
        state->present = true;
        state->value = before.present ? before.value : operation->argument;
        return !operation->known || operation->present == before.present;
    case LKS_HISTORY_SET_PRESENT:
        state->value = before.present ? operation->argument : before.value;
        return !operation->known || operation->present == before.present;
    case LKS_HISTORY_EXCHANGE:
        state->present = true;
        state->value = operation->argument;
        return !operation->known || (operation->present == before.present &&
                                     (!before.present || operation->value == before.value));
    }
    return false;
}

/* ---- the list of events ---------------------------------------------------------------------- */

static void list_remove(struct event *events, size_t at)
{
    events[events[at].before].after = events[at].after;
    if (events[at].after != NOWHERE) {
        events[events[at].after].before = events[at].before;
    }
}

static void list_restore(struct event *events, size_t at)
{
    events[events[at].before].after = at;
    if (events[at].after != NOWHERE) {
        events[events[at].after].before = at;
    }
}

static void take(struct search *search, size_t at, struct state after)
{
    struct event *events = search->events;
    size_t item = events[at].operation;
    search->stack[search->depth++] = (struct frame){at, search->state};
    search->state = after;
    search->items[item].taken = true;
    search->unseen_taken += search->items[item].unseen;
    hash_toggle(search, item);
    list_remove(events, at);
    if (events[at].match != NOWHERE) {
        list_remove(events, events[at].match);
        search->known_left--;
    }
}

/* Undoes the last take; returns the event behind which the search goes on. */
static size_t put_back(struct search *search)
{
    struct frame frame = search->stack[--search->depth];
    struct event *events = search->events;
    size_t item = events[frame.event].operation;
    if (events[frame.event].match != NOWHERE) {
        list_restore(events, events[frame.event].match);
        search->known_left++;
    }
    list_restore(events, frame.event);
    hash_toggle(search, item);
    search->items[item].taken = false;
    search->unseen_taken -= search->items[item].unseen;
    search->state = frame.before;
    return frame.event;
}

/*
 * Whether the operation may come next; *after becomes the state behind it. Two rules keep unknown
 * operations from being tried in every combination, and lose no order:
 *  - Of those that do the same, the one called first goes first: it may stand wherever a later
 *    one may.
 *  - On a key without INCR, one that changes nothing, or that is followed by a write, might as
 *    well not have happened: so it must change the state and be observed by the very next.
 */
static bool may_take(const struct search *search, size_t at, struct state *after)
{
    const struct item *item = &search->items[at];
    struct state before = search->state;
    *after = before;
    if ((item->earlier != NOWHERE && !search->items[item->earlier].taken) ||
        !apply(&item->operation, after)) {
        return false;
    }
    if (!search->register_only) {
        return true;
    }
    if (item->operation.known) {
        return !before.unobserved || item->operation.kind != LKS_HISTORY_SET;
    }
    after->unobserved = true;
    return !before.unobserved &&
           (before.present != after->present || before.value != after->value);
}

/* The return before which the next operation must have been called. */
static const struct event *first_return(const struct search *search)
{
    size_t at = search->events[KNOWN_HEAD].after;
    while (search->events[at].is_call) {
        at = search->events[at].after;
        LKS_ASSERT(at != NOWHERE);
    }
    return &search->events[at];
}

/* The call to try after `at` (KNOWN_HEAD: the first one), or NOWHERE. */
static size_t next_call(const struct search *search, size_t at)
{
    const struct event *events = search->events;
    size_t next = events[at].after;
    if (!events[at].unknown) {
        if (next != NOWHERE && events[next].is_call) {
            return next;
        }
        next = events[UNKNOWN_HEAD].after;
    }
    if (next == NOWHERE || events[next].at_ns > first_return(search)->at_ns) {
        return NOWHERE;
    }
    return next;
}

/* 0: an order was found; 1: there is none; -ENOMEM; -E2BIG. */
static int search_run(struct search *search)
{
    size_t at = search->known_left > 0 ? next_call(search, KNOWN_HEAD) : NOWHERE;
    while (search->known_left > 0) {
        if (at != NOWHERE) {
            struct state after;
            size_t item = search->events[at].operation;
            int fresh = may_take(search, item, &after) ? cache_add(search, item, after) : 0;
            if (fresh < 0) {
                return fresh;
            }
            if (fresh > 0) {
                take(search, at, after);
                at = KNOWN_HEAD;
            }
        } else {
            if (search->stuck_at == NOWHERE || search->depth > search->deepest) {
                search->deepest = search->depth;
                search->stuck_at = first_return(search)->operation;
            }
            if (search->depth == 0) {
                return 1;
            }
            at = put_back(search);
        }
        at = search->known_left > 0 ? next_call(search, at) : NOWHERE;
    }
    return 0;
}

/* ---- preparing one key ----------------------------------------------------------------------- */

struct moment {
    uint64_t at_ns;
    size_t item;
    bool is_call;
};

static int compare_moments(const void *left, const void *right)
{
    const struct moment *a = left;
    const struct moment *b = right;
    if (a->at_ns != b->at_ns) {
        return a->at_ns < b->at_ns ? -1 : 1;
    }
    if (a->is_call != b->is_call) {
        return a->is_call ? -1 : 1;
    }
    return (a->item > b->item) - (a->item < b->item);
}

/* Fills both lists. Returns 0 or -ENOMEM. */
static int lists_build(struct search *search, struct moment *moments)
{
    size_t count = 0;
    for (size_t i = 0; i < search->items_count; i++) {
        const struct lks_history_operation *operation = &search->items[i].operation;
        moments[count++] = (struct moment){operation->call_ns, i, true};
        if (operation->known) {
            moments[count++] = (struct moment){operation->return_ns, i, false};
        }
    }
    qsort(moments, count, sizeof(*moments), compare_moments);
    size_t *calls = calloc(search->items_count + 1, sizeof(*calls));
    if (calls == NULL) {
        return -ENOMEM;
    }
    struct event *events = search->events;
    size_t last[HEADS] = {KNOWN_HEAD, UNKNOWN_HEAD};
    events[KNOWN_HEAD] = (struct event){.after = NOWHERE, .is_call = true};
    events[UNKNOWN_HEAD] = (struct event){.after = NOWHERE, .is_call = true, .unknown = true};
    for (size_t i = HEADS; i < count + HEADS; i++) {
        const struct moment *moment = &moments[i - HEADS];
        bool unknown = !search->items[moment->item].operation.known;
        size_t *before = &last[unknown ? UNKNOWN_HEAD : KNOWN_HEAD];
        events[i] = (struct event){moment->at_ns, moment->item,    NOWHERE, *before,
                                   NOWHERE,       moment->is_call, unknown};
        events[*before].after = i;
        *before = i;
        if (moment->is_call) {
            calls[moment->item] = i;
        } else {
            events[i].match = calls[moment->item];
            events[calls[moment->item]].match = i;
        }
    }
    free(calls);
    return 0;
}

static int compare_calls(const void *left, const void *right)
{
    const struct item *a = left;
    const struct item *b = right;
    if (a->operation.call_ns != b->operation.call_ns) {
        return a->operation.call_ns < b->operation.call_ns ? -1 : 1;
    }
    return (a->place > b->place) - (a->place < b->place);
}

/* By value: which SET wrote it, and when a GET first returned with it. */
struct writer {
    int64_t value;
    size_t item;
    size_t writes;
    uint64_t read_ns; /* UINT64_MAX: nobody read it */
};

static int compare_writers(const void *left, const void *right)
{
    const struct writer *a = left;
    const struct writer *b = right;
    return (a->value > b->value) - (a->value < b->value);
}

static size_t writers_collect(const struct search *search, struct writer *writers)
{
    size_t count = 0;
    for (size_t i = 0; i < search->items_count; i++) {
        if (search->items[i].operation.kind == LKS_HISTORY_SET) {
            writers[count++] = (struct writer){search->items[i].operation.argument, i, 1,
                                               UINT64_MAX};
        }
    }
    qsort(writers, count, sizeof(*writers), compare_writers);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && writers[kept - 1].value == writers[i].value) {
            writers[kept - 1].writes++;
        } else {
            writers[kept++] = writers[i];
        }
    }
    for (size_t i = 0; i < search->items_count; i++) {
        const struct lks_history_operation *operation = &search->items[i].operation;
        if (operation->kind != LKS_HISTORY_GET || !operation->known || !operation->present) {
            continue;
        }
        struct writer wanted = {.value = operation->value};
        struct writer *found = bsearch(&wanted, writers, kept, sizeof(*writers), compare_writers);
        if (found != NULL && operation->return_ns < found->read_ns) {
            found->read_ns = operation->return_ns;
        }
    }
    return kept;
}

/*
 * On a key that is only set, read and deleted, an unknown SET of a value that nobody else writes
 * either was read (then it happened, before that read returned), or its value was never seen:
 * then all such are alike, and without DEL they are invisible and left out.
 */
static int settle_unknown_sets(struct search *search)
{
    bool deletes = false;
    for (size_t i = 0; i < search->items_count; i++) {
        const enum lks_history_kind kind = search->items[i].operation.kind;
        deletes = deletes || kind == LKS_HISTORY_DEL;
        if (kind != LKS_HISTORY_GET && kind != LKS_HISTORY_SET && kind != LKS_HISTORY_DEL) {
            return 0;
        }
    }
    search->register_only = true;
    struct writer *writers = calloc(search->items_count + 1, sizeof(*writers));
    if (writers == NULL) {
        return -ENOMEM;
    }
    size_t count = writers_collect(search, writers);
    const struct lks_history_operation *unseen = NULL;
    for (size_t i = 0; i < count; i++) {
        struct item *item = &search->items[writers[i].item];
        struct lks_history_operation *operation = &item->operation;
        if (writers[i].writes != 1 || operation->known) {
            continue;
        }
        if (writers[i].read_ns == UINT64_MAX) {
            item->taken = !deletes; /* marks it for removal below */
            item->unseen = true;
            operation->argument = unseen != NULL ? unseen->argument : operation->argument;
            unseen = operation;
        } else {
            operation->known = true;
            operation->return_ns = writers[i].read_ns > operation->call_ns ? writers[i].read_ns
                                                                           : operation->call_ns;
        }
    }
    free(writers);
    return 0;
}

/* Leaves out what cannot matter, links unknown operations that do the same, counts the known. */
static void items_settle(struct search *search)
{
    size_t kept = 0;
    for (size_t i = 0; i < search->items_count; i++) {
        struct item item = search->items[i];
        const bool looks = item.operation.kind == LKS_HISTORY_GET ||
                           item.operation.kind == LKS_HISTORY_EXISTS;
        if (item.taken || (looks && !item.operation.known)) {
            continue;
        }
        search->items[kept++] = item;
    }
    search->items_count = kept;
    for (size_t i = 0; i < kept; i++) {
        struct item *item = &search->items[i];
        item->earlier = NOWHERE;
        search->known_left += item->operation.known;
        for (size_t j = i; j-- > 0 && !item->operation.known && item->earlier == NOWHERE;) {
            const struct lks_history_operation *other = &search->items[j].operation;
            if (!other->known && other->kind == item->operation.kind &&
                other->argument == item->operation.argument) {
                item->earlier = j;
            }
        }
    }
}

static void search_fini(struct search *search)
{
    free(search->items);
    free(search->events);
    free(search->stack);
    free(search->cache.slots);
}

/* Takes over `items`, in order of their calls. Result as of search_run. */
static int check_key(struct item *items, size_t count, uint64_t configurations_max,
                     struct lks_linearizability_report *report)
{
    struct search search = {.items = items,
                            .items_count = count,
                            .configurations_max = configurations_max,
                            .stuck_at = NOWHERE};
    int rc = settle_unknown_sets(&search);
    if (rc == 0) {
        items_settle(&search);
        search.events = calloc(2 * count + HEADS, sizeof(*search.events));
        search.stack = calloc(count + 1, sizeof(*search.stack));
        struct moment *moments = calloc(2 * count + 1, sizeof(*moments));
        rc = -ENOMEM;
        if (search.events != NULL && search.stack != NULL && moments != NULL) {
            rc = lists_build(&search, moments);
            rc = rc == 0 ? search_run(&search) : rc;
        }
        free(moments);
    }
    if (search.cache.used > report->configurations) {
        report->configurations = search.cache.used;
    }
    if (rc == 1 || rc == -E2BIG) {
        report->key = search.items[0].operation.key;
        report->operation = search.items[search.stuck_at == NOWHERE ? 0 : search.stuck_at].place;
    }
    search_fini(&search);
    return rc;
}

/* ---- all keys -------------------------------------------------------------------------------- */

static int compare_keys(const void *left, const void *right)
{
    const struct item *a = left;
    const struct item *b = right;
    if (a->operation.key != b->operation.key) {
        return a->operation.key < b->operation.key ? -1 : 1;
    }
    return compare_calls(left, right);
}

static int check_partitions(const struct item *all, size_t count, uint64_t configurations_max,
                            struct lks_linearizability_report *report)
{
    for (size_t from = 0, to = 0; from < count; from = to) {
        while (to < count && all[to].operation.key == all[from].operation.key) {
            to++;
        }
        struct item *items = calloc(to - from, sizeof(*items));
        if (items == NULL) {
            return -ENOMEM;
        }
        memcpy(items, &all[from], (to - from) * sizeof(*items));
        int rc = check_key(items, to - from, configurations_max, report);
        if (rc == -E2BIG) {
            report->verdict = LKS_LINEARIZABILITY_TOO_BIG;
            return 0;
        }
        if (rc != 0) {
            report->verdict = LKS_NOT_LINEARIZABLE;
            return rc < 0 ? rc : 0;
        }
    }
    return 0;
}

int lks_linearizability_check(const struct lks_history_operation *operations, size_t count,
                              const struct lks_linearizability_options *options,
                              struct lks_linearizability_report *report)
{
    uint64_t configurations_max = options != NULL ? options->configurations_max : 0;
    for (size_t i = 0; i < count; i++) {
        if (operations[i].known && operations[i].return_ns < operations[i].call_ns) {
            return -EINVAL;
        }
    }
    struct item *all = calloc(count + 1, sizeof(*all));
    if (all == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct item){.operation = operations[i], .place = i, .earlier = NOWHERE};
    }
    qsort(all, count, sizeof(*all), compare_keys);
    struct lks_linearizability_report found = {.verdict = LKS_LINEARIZABLE};
    int rc = check_partitions(all, count,
                              configurations_max == 0 ? CONFIGURATIONS_DEFAULT
                                                      : configurations_max, &found);
    free(all);
    if (rc == 0) {
        *report = found;
    }
    return rc;
}
