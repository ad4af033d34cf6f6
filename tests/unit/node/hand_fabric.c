/* A fabric moved by hand; see hand_fabric.h. */
#include "tests/unit/node/hand_fabric.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/remote_memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLICAS (LKS_REPLICAS_MAX + 1)
#define EVENTS_MAX 8192u
#define HELD_MAX 1024u
#define UNFLUSHED_MAX 64u
#define HEAD_BYTES 4096u

struct op {
    enum hand_call call;
    uint64_t id;
    int fail; /* negative: completes so */
    uint64_t offset;
    uint64_t bytes;
    uint32_t flags;
    const void *source; /* NULL: inlined */
    void *destination;
    enum lks_fabric_region region;
    struct lks_fabric_key key;
    uint8_t inlined[LKS_FABRIC_INLINE_MAX];
};

struct lane {
    bool hold;
    uint32_t count;
    struct op *ops; /* HELD_MAX of them */
};

struct failure {
    bool armed;
    bool at_completion;
    enum hand_call call;
    uint32_t skip;
    int code;
};

enum path_state { PATH_NONE, PATH_OPEN, PATH_BROKEN };

struct peer {
    bool connected;
    uint64_t connection;
    enum path_state path;
    uint64_t path_grant;
    int path_status;  /* of the first operation with an id after a refusal */
    struct {
        uint64_t offset;
        uint64_t bytes;
    } unflushed[UNFLUSHED_MAX]; /* written on the path, to be flushed; the newest */
    uint32_t unflushed_count;
    uint64_t gate;    /* grant that this peer holds on the own log; 0: none */
    bool standing;    /* granted and not revoked, as posted */
    uint32_t outstanding[HAND_LANES];
    uint8_t hello[LKS_FABRIC_HELLO_BYTES];
    uint8_t *inbox;
    char place[80]; /* where it was last said to listen */
    struct lane lanes[HAND_LANES];
};

struct hand {
    struct lks_fabric base;
    struct hand_net *net;
    uint32_t self;
    bool alive;
    struct lks_fabric_options options;
    uint8_t *words;
    uint8_t *scratch;
    struct peer peers[REPLICAS];
    struct lks_fabric_event events[EVENTS_MAX];
    uint32_t events_count;
    bool lost; /* for good */
    struct failure failure;
    bool failed;
    uint64_t calls[HAND_CALLS];
};

struct hand_net {
    uint32_t replicas;
    struct lks_fabric_ops ops;
    hand_durable durable;
    void *ctx;
    uint64_t grants;
    uint64_t connections;
    struct hand *hands[REPLICAS];
};

static struct hand *hand_of(const struct lks_fabric *fabric)
{
    union {
        const struct lks_fabric *given;
        struct hand *hand;
    } both = {.given = fabric};
    return both.hand;
}

/* ---- failures ------------------------------------------------------------------------------ */

/* 0, or the code that the present call must end with; *at_completion says when. */
static int failure_of(struct hand *hand, enum hand_call call, bool has_id, bool *at_completion)
{
    struct failure *failure = &hand->failure;
    hand->calls[call]++;
    *at_completion = false;
    if (!failure->armed || failure->call != call || (failure->at_completion && !has_id)) {
        return 0;
    }
    if (failure->skip > 0) {
        failure->skip--;
        return 0;
    }
    failure->armed = false;
    hand->failed = true;
    *at_completion = failure->at_completion;
    return failure->code;
}

static void arm_failure(struct hand_net *net, uint32_t replica, const struct failure *failure)
{
    net->hands[replica]->failure = *failure;
    net->hands[replica]->failed = false;
}

void hand_fail(struct hand_net *net, uint32_t replica, enum hand_call call, uint32_t skip,
               int code)
{
    arm_failure(net, replica, &(struct failure){true, false, call, skip, code});
}

void hand_fail_completion(struct hand_net *net, uint32_t replica, enum hand_call call,
                          uint32_t skip, int code)
{
    arm_failure(net, replica, &(struct failure){true, true, call, skip, code});
}

uint64_t hand_calls(const struct hand_net *net, uint32_t replica, enum hand_call call)
{
    return net->hands[replica]->calls[call];
}

bool hand_failed(const struct hand_net *net, uint32_t replica)
{
    return net->hands[replica]->failed;
}

/* ---- events -------------------------------------------------------------------------------- */

static struct lks_fabric_event *push(struct hand *hand, enum lks_fabric_event_kind kind,
                                     uint32_t peer, uint64_t id, int status)
{
    LKS_ASSERT(hand->events_count < EVENTS_MAX);
    struct lks_fabric_event *event = &hand->events[hand->events_count];
    hand->events_count++;
    *event =
        (struct lks_fabric_event){.kind = kind, .peer = peer, .id = id, .status = status};
    return event;
}

static enum hand_lane lane_of(const struct op *op)
{
    switch (op->call) {
    case HAND_GRANT:
    case HAND_REVOKE:
    case HAND_OPEN:
        return HAND_CONTROL;
    case HAND_WRITE_LOG:
    case HAND_FLUSH:
        return HAND_PATH;
    case HAND_READ:
        return op->region == LKS_FABRIC_LOG ? HAND_LOG_READS : HAND_CONNECTION;
    default:
        return HAND_CONNECTION;
    }
}

static int hand_poll(struct lks_fabric *fabric, struct lks_fabric_event *events,
                     uint32_t events_max)
{
    struct hand *hand = hand_of(fabric);
    uint32_t count = 0;
    bool parted[REPLICAS] = {false};
    while (count < events_max && count < hand->events_count) {
        const struct lks_fabric_event *event = &hand->events[count];
        if (event->kind == LKS_FABRIC_CONNECTED && parted[event->peer]) {
            break; /* never out of one call with the break before it */
        }
        parted[event->peer] = parted[event->peer] || event->kind == LKS_FABRIC_DISCONNECTED;
        events[count] = *event;
        count++;
    }
    hand->events_count -= count;
    memmove(hand->events, hand->events + count, hand->events_count * sizeof *hand->events);
    return count == 0 && hand->lost ? -LKS_EBROKEN : (int)count;
}

/* ---- doing what was posted ----------------------------------------------------------------- */

static void completed(struct hand *hand, uint32_t peer, const struct op *op, int status)
{
    if (op->id != 0) {
        (void)push(hand, LKS_FABRIC_COMPLETED, peer, op->id, status);
    }
}

static void copy(void *to, const void *from, uint64_t bytes)
{
    if (bytes == sizeof(uint64_t) && (uintptr_t)to % sizeof(uint64_t) == 0) {
        uint64_t value;
        memcpy(&value, from, sizeof value);
        lks_word_publish(to, value);
    } else {
        memcpy(to, from, bytes);
    }
}

static void note_unflushed(struct peer *peer, const struct op *op)
{
    if ((op->flags & LKS_FABRIC_DURABLE) == 0) {
        return;
    }
    LKS_ASSERT(peer->unflushed_count < UNFLUSHED_MAX);
    peer->unflushed[peer->unflushed_count].offset = op->offset;
    peer->unflushed[peer->unflushed_count].bytes = op->bytes;
    peer->unflushed_count++;
}

static void flush(struct hand *hand, uint32_t p)
{
    struct peer *peer = &hand->peers[p];
    for (uint32_t i = 0; i < peer->unflushed_count; i++) {
        hand->net->durable(hand->net->ctx, p, peer->unflushed[i].offset,
                           peer->unflushed[i].bytes);
    }
    peer->unflushed_count = 0;
}

static void do_path(struct hand *hand, uint32_t p, const struct op *op)
{
    struct peer *peer = &hand->peers[p];
    struct hand *owner = hand->net->hands[p];
    int status = op->fail;
    if (peer->path == PATH_OPEN && status == 0 && op->call == HAND_WRITE_LOG) {
        if (owner->peers[hand->self].gate != peer->path_grant) {
            status = -LKS_EREVOKED;
        } else {
            copy((uint8_t *)owner->options.log.address + op->offset,
                 op->source != NULL ? op->source : op->inlined, op->bytes);
            note_unflushed(peer, op);
        }
    } else if (peer->path == PATH_OPEN && status == 0) {
        flush(hand, p);
    }
    if (peer->path == PATH_OPEN && status != 0) {
        peer->path = PATH_BROKEN;
        peer->path_status = status;
    }
    if (peer->path == PATH_BROKEN && op->id != 0) {
        status = peer->path_status;
        peer->path_status = -LKS_EBROKEN;
    }
    completed(hand, p, op, status);
}

static void do_connection(struct hand *hand, uint32_t p, const struct op *op)
{
    struct hand *other = hand->net->hands[p];
    if (op->fail == 0 && op->call == HAND_WRITE_INBOX) {
        copy(other->peers[hand->self].inbox + op->offset, op->inlined, op->bytes);
    } else if (op->fail == 0) {
        const uint8_t *from = op->region == LKS_FABRIC_LOG     ? other->options.log.address
                              : op->region == LKS_FABRIC_WORDS ? other->words
                                                               : other->options.snapshots.address;
        memcpy(op->destination, from + op->offset, op->bytes);
    }
    completed(hand, p, op, op->fail);
}

static void do_control(struct hand *hand, uint32_t p, const struct op *op)
{
    struct peer *peer = &hand->peers[p];
    if (op->call == HAND_REVOKE) {
        peer->gate = 0;
        (void)push(hand, LKS_FABRIC_REVOKED, p, op->id, op->fail);
        return;
    }
    if (op->call == HAND_GRANT) {
        const int status = op->fail != 0 ? op->fail : peer->connected ? 0 : -LKS_EBROKEN;
        struct lks_fabric_event *event = push(hand, LKS_FABRIC_GRANTED, p, op->id, status);
        if (status == 0) {
            hand->net->grants++;
            peer->gate = hand->net->grants;
            event->key.grant = peer->gate;
        }
        return;
    }
    int status = op->fail;
    if (status == 0 && !peer->connected) {
        status = -LKS_EBROKEN;
    }
    if (status == 0 && hand->net->hands[p]->peers[hand->self].gate != op->key.grant) {
        status = -LKS_EREVOKED;
    }
    peer->unflushed_count = 0;
    peer->path = status == 0 ? PATH_OPEN : PATH_NONE;
    peer->path_grant = op->key.grant;
    (void)push(hand, LKS_FABRIC_OPENED, p, op->id, status);
}

static void do_op(struct hand *hand, uint32_t p, const struct op *op)
{
    if (op->id != 0) {
        LKS_ASSERT(hand->peers[p].outstanding[lane_of(op)] > 0);
        hand->peers[p].outstanding[lane_of(op)]--;
    }
    switch (lane_of(op)) {
    case HAND_PATH:
        do_path(hand, p, op);
        break;
    case HAND_CONNECTION:
    case HAND_LOG_READS:
        do_connection(hand, p, op);
        break;
    default:
        do_control(hand, p, op);
    }
}

static int post(struct hand *hand, uint32_t p, struct op *op)
{
    bool at_completion = false;
    const int failed = failure_of(hand, op->call, op->id != 0, &at_completion);
    if (failed != 0 && !at_completion) {
        return failed;
    }
    op->fail = failed;
    struct peer *peer = &hand->peers[p];
    struct lane *lane = &peer->lanes[lane_of(op)];
    peer->outstanding[lane_of(op)] += op->id != 0 ? 1 : 0;
    LKS_ASSERT(peer->outstanding[HAND_CONTROL] <= 8);
    if (op->call == HAND_GRANT) {
        LKS_ASSERT(!peer->standing);
    }
    if (op->call == HAND_GRANT || op->call == HAND_REVOKE) {
        peer->standing = op->call == HAND_GRANT;
    }
    if (!lane->hold && lane->count == 0) {
        do_op(hand, p, op);
        return 0;
    }
    LKS_ASSERT(lane->count < HELD_MAX);
    lane->ops[lane->count] = *op;
    lane->count++;
    return 0;
}

void hand_hold(struct hand_net *net, uint32_t from, uint32_t to, enum hand_lane lane, bool hold)
{
    net->hands[from]->peers[to].lanes[lane].hold = hold;
    if (!hold) {
        (void)hand_release(net, from, to, lane, UINT32_MAX);
    }
}

uint32_t hand_release(struct hand_net *net, uint32_t from, uint32_t to, enum hand_lane which,
                      uint32_t count)
{
    struct lane *lane = &net->hands[from]->peers[to].lanes[which];
    uint32_t done = 0;
    while (done < count && lane->count > 0) {
        const struct op op = lane->ops[0];
        lane->count--;
        memmove(lane->ops, lane->ops + 1, lane->count * sizeof *lane->ops);
        do_op(net->hands[from], to, &op);
        done++;
    }
    return done;
}

uint32_t hand_held(const struct hand_net *net, uint32_t from, uint32_t to, enum hand_lane lane)
{
    return net->hands[from]->peers[to].lanes[lane].count;
}

bool hand_gate_open(const struct hand_net *net, uint32_t owner, uint32_t writer)
{
    return net->hands[owner]->peers[writer].gate != 0;
}

/* ---- connections --------------------------------------------------------------------------- */

bool hand_joined(const struct hand_net *net, uint32_t a, uint32_t b)
{
    return net->hands[a] != NULL && net->hands[a]->peers[b].connected;
}

void hand_join(struct hand_net *net, uint32_t a, uint32_t b)
{
    const uint32_t sides[2] = {a, b};
    net->connections++;
    for (int i = 0; i < 2; i++) {
        struct hand *hand = net->hands[sides[i]];
        const uint32_t p = sides[1 - i];
        struct peer *peer = &hand->peers[p];
        LKS_ASSERT(!peer->connected);
        memcpy(peer->hello, net->hands[p]->options.hello, sizeof peer->hello);
        memset(peer->inbox, 0, hand->options.inbox_bytes);
        peer->connected = true;
        peer->connection = net->connections;
        push(hand, LKS_FABRIC_CONNECTED, p, 0, 0)->connection = peer->connection;
    }
}

/* What is held on the connection and its path fails, in order. */
static void part(struct hand *hand, uint32_t p, bool dead)
{
    struct peer *peer = &hand->peers[p];
    peer->connected = false;
    for (int which = HAND_CONNECTION; which <= HAND_PATH; which++) {
        struct lane *lane = &peer->lanes[which];
        for (uint32_t i = 0; i < lane->count; i++) {
            completed(hand, p, &lane->ops[i], -LKS_EBROKEN);
        }
        lane->count = 0;
        peer->outstanding[which] = 0;
    }
    peer->path = PATH_NONE;
    struct lks_fabric_event *event = push(hand, LKS_FABRIC_DISCONNECTED, p, 0, 0);
    event->connection = peer->connection;
    event->peer_dead = dead;
}

void hand_break(struct hand_net *net, uint32_t a, uint32_t b)
{
    LKS_ASSERT(hand_joined(net, a, b));
    (void)hand_release(net, a, b, HAND_CONTROL, UINT32_MAX);
    (void)hand_release(net, b, a, HAND_CONTROL, UINT32_MAX);
    part(net->hands[a], b, !net->hands[b]->alive);
    part(net->hands[b], a, !net->hands[a]->alive);
}

void hand_kill(struct hand_net *net, uint32_t replica)
{
    net->hands[replica]->alive = false;
    for (uint32_t p = 1; p <= net->replicas; p++) {
        if (p != replica && hand_joined(net, replica, p)) {
            hand_break(net, replica, p);
        }
    }
}

/* ---- the fabric's calls -------------------------------------------------------------------- */

static int call_connect(struct lks_fabric *fabric, uint32_t peer)
{
    return peer >= 1 && peer <= hand_of(fabric)->net->replicas ? 0 : -EINVAL;
}

static const uint8_t *call_hello(const struct lks_fabric *fabric, uint32_t peer)
{
    return hand_of(fabric)->peers[peer].hello;
}

static void *call_words(const struct lks_fabric *fabric)
{
    return hand_of(fabric)->words;
}

static void *call_inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    return hand_of(fabric)->peers[peer].inbox;
}

static void *call_scratch(const struct lks_fabric *fabric)
{
    return hand_of(fabric)->scratch;
}

static int call_grant(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return post(hand_of(fabric), peer, &(struct op){.call = HAND_GRANT, .id = id});
}

static int call_revoke(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return post(hand_of(fabric), peer, &(struct op){.call = HAND_REVOKE, .id = id});
}

static int call_open(struct lks_fabric *fabric, uint32_t p, const struct lks_fabric_key *key,
                     uint64_t id)
{
    struct hand *hand = hand_of(fabric);
    struct lane *lane = &hand->peers[p].lanes[HAND_PATH];
    struct op op = {.call = HAND_OPEN, .id = id, .key = *key};
    while (lane->count > 0) { /* the older path ends here */
        if (lane->ops[0].id != 0) {
            hand->peers[p].outstanding[HAND_PATH]--;
        }
        completed(hand, p, &lane->ops[0], -LKS_EBROKEN);
        lane->count--;
        memmove(lane->ops, lane->ops + 1, lane->count * sizeof *lane->ops);
    }
    return post(hand, p, &op);
}

static int call_write_log(struct lks_fabric *fabric, uint32_t p, uint64_t offset,
                          const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct hand *hand = hand_of(fabric);
    const struct lks_fabric_memory *log = &hand->options.log;
    struct op op = {
        .call = HAND_WRITE_LOG, .id = id, .offset = offset, .bytes = bytes, .flags = flags};
    LKS_ASSERT(offset >= HEAD_BYTES && bytes > 0 && bytes <= log->bytes - offset);
    if ((flags & LKS_FABRIC_INLINE) != 0) {
        LKS_ASSERT(bytes <= LKS_FABRIC_INLINE_MAX);
        memcpy(op.inlined, source, bytes);
    } else {
        LKS_ASSERT((uintptr_t)source >= (uintptr_t)log->address &&
                   (uintptr_t)source + bytes <= (uintptr_t)log->address + log->bytes);
        op.source = source;
    }
    if (hand->peers[p].path == PATH_NONE) {
        return -LKS_EBROKEN;
    }
    return post(hand, p, &op);
}

static int call_flush(struct lks_fabric *fabric, uint32_t p, uint64_t id)
{
    struct hand *hand = hand_of(fabric);
    if (hand->peers[p].path == PATH_NONE) {
        return -LKS_EBROKEN;
    }
    return post(hand, p, &(struct op){.call = HAND_FLUSH, .id = id});
}

static int call_write_inbox(struct lks_fabric *fabric, uint32_t p, uint64_t offset,
                            const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct hand *hand = hand_of(fabric);
    struct op op = {.call = HAND_WRITE_INBOX, .id = id, .offset = offset, .bytes = bytes};
    LKS_ASSERT((flags & LKS_FABRIC_INLINE) != 0 && bytes > 0 && bytes <= LKS_FABRIC_INLINE_MAX &&
               offset <= hand->options.inbox_bytes - bytes);
    memcpy(op.inlined, source, bytes);
    if (!hand->peers[p].connected) {
        return -LKS_EBROKEN;
    }
    return post(hand, p, &op);
}

static int call_read(struct lks_fabric *fabric, uint32_t p, enum lks_fabric_region region,
                     uint64_t offset, void *destination, uint64_t bytes, uint64_t id)
{
    struct hand *hand = hand_of(fabric);
    struct op op = {.call = HAND_READ,
                    .id = id,
                    .offset = offset,
                    .bytes = bytes,
                    .destination = destination,
                    .region = region};
    LKS_ASSERT(region != LKS_FABRIC_INBOX);
    if (!hand->peers[p].connected) {
        return -LKS_EBROKEN;
    }
    if (region == LKS_FABRIC_SNAPSHOTS) {
        const struct lks_fabric_memory *snapshots = &hand->net->hands[p]->options.snapshots;
        const uint64_t limit = snapshots->address != NULL ? snapshots->bytes : 0;
        if (bytes == 0 || bytes > limit || offset > limit - bytes) {
            return -EINVAL;
        }
    }
    return post(hand, p, &op);
}

static void call_free(struct lks_fabric *fabric)
{
    struct hand *hand = hand_of(fabric);
    hand_kill(hand->net, hand->self);
    hand->net->hands[hand->self] = NULL;
    for (uint32_t p = 1; p <= hand->net->replicas; p++) {
        free(hand->peers[p].inbox);
        for (int lane = 0; lane < HAND_LANES; lane++) {
            free(hand->peers[p].lanes[lane].ops);
        }
    }
    free(hand->words);
    free(hand->scratch);
    free(hand);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void *zeroed(uint64_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) & ~UINT64_C(63));
    LKS_ASSERT(memory != NULL);
    memset(memory, 0, bytes);
    return memory;
}

static int call_place(struct lks_fabric *fabric, uint32_t peer, const char *address,
                      uint16_t port)
{
    struct hand *hand = (struct hand *)(void *)fabric;
    (void)snprintf(hand->peers[peer].place, sizeof hand->peers[peer].place, "%s %u", address,
                   port);
    return 0;
}

const char *hand_place(const struct hand_net *net, uint32_t replica, uint32_t peer)
{
    return net->hands[replica]->peers[peer].place;
}

void hand_lose(struct hand_net *net, uint32_t replica)
{
    net->hands[replica]->lost = true;
}

void hand_post_slowly(struct hand_net *net)
{
    net->ops.writes_while_posting = true;
}

struct hand_net *hand_net_new(uint32_t replicas, bool writes_when_posted, hand_durable durable,
                              void *ctx)
{
    struct hand_net *net = zeroed(sizeof *net);
    net->replicas = replicas;
    net->durable = durable;
    net->ctx = ctx;
    net->ops = (struct lks_fabric_ops){
        .name = "hand",
        .writes_when_posted = writes_when_posted,
        .free = call_free,
        .connect = call_connect,
        .hello = call_hello,
        .words = call_words,
        .inbox = call_inbox,
        .scratch = call_scratch,
        .grant = call_grant,
        .revoke = call_revoke,
        .open = call_open,
        .write_log = call_write_log,
        .flush = call_flush,
        .write_inbox = call_write_inbox,
        .read = call_read,
        .poll = hand_poll,
        .place = call_place,
    };
    return net;
}

void hand_net_free(struct hand_net *net)
{
    free(net);
}

struct lks_fabric *hand_fabric(struct hand_net *net, const struct lks_fabric_options *options)
{
    LKS_ASSERT(net->hands[options->replica] == NULL);
    struct hand *hand = zeroed(sizeof *hand);
    hand->base.ops = &net->ops;
    hand->net = net;
    hand->self = options->replica;
    hand->alive = true;
    hand->options = *options;
    hand->words = zeroed(options->words_bytes);
    hand->scratch = zeroed(options->scratch_bytes);
    for (uint32_t p = 1; p <= net->replicas; p++) {
        hand->peers[p].inbox = zeroed(options->inbox_bytes);
        for (int lane = 0; lane < HAND_LANES; lane++) {
            hand->peers[p].lanes[lane].ops = zeroed(HELD_MAX * sizeof(struct op));
        }
    }
    net->hands[options->replica] = hand;
    return &hand->base;
}
