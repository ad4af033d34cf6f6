/* A fabric in one process for tests; see fake_fabric.h. */
#include "tests/support/fake_fabric.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CELL 8u /* the unit in which bytes become visible */
#define CELLS_MAX (LKS_FABRIC_INLINE_MAX / CELL + 1)
#define WINDOW 16u /* writes that may overtake one another */
#define EVENTS_MAX 64u
#define REPLICAS (LKS_REPLICAS_MAX + 1)

struct write {
    uint64_t offset;
    uint32_t bytes;
    uint32_t flags;
    uint32_t unlanded; /* cells still to land */
    bool landed[CELLS_MAX];
    uint8_t data[LKS_FABRIC_INLINE_MAX];
};

/* One way from one replica to another. */
struct way {
    struct write *writes; /* oldest first */
    uint32_t count;
    struct write *late; /* of connections that are gone */
    uint32_t late_count;
};

struct fake_fabric {
    struct lks_fabric base;
    struct fake_net *net;
    uint32_t replica;
    uint8_t *inbox[REPLICAS];
    uint64_t connection[REPLICAS]; /* 0: not connected */
    uint64_t wakes;
    struct lks_fabric_event events[EVENTS_MAX];
    uint32_t events_count;
};

struct fake_net {
    struct fake_net_options options;
    uint64_t random;
    uint64_t connections;
    struct fake_fabric fabrics[REPLICAS];
    struct way ways[REPLICAS][REPLICAS]; /* from, to */
};

uint64_t fake_net_random(struct fake_net *net, uint64_t below)
{
    net->random += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t value = net->random;
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return (value ^ value >> 31) % below;
}

/* ---- delivery ------------------------------------------------------------------------------ */

static uint64_t first_cell(const struct write *write)
{
    return write->offset / CELL;
}

static uint32_t cells_of(const struct write *write)
{
    return (uint32_t)((write->offset + write->bytes - 1) / CELL - first_cell(write) + 1);
}

static bool is_word(const struct write *write)
{
    return write->bytes == CELL && write->offset % CELL == 0;
}

static void land_cell(struct fake_net *net, uint32_t from, uint32_t to, struct write *write,
                      uint32_t cell)
{
    const uint64_t begin = (first_cell(write) + cell) * CELL;
    const uint64_t end = begin + CELL;
    const uint64_t low = begin > write->offset ? begin : write->offset;
    const uint64_t high = end < write->offset + write->bytes ? end : write->offset + write->bytes;
    memcpy(net->fabrics[to].inbox[from] + low, write->data + (low - write->offset), high - low);
    write->landed[cell] = true;
    write->unlanded--;
    if (write->unlanded == 0 && (write->flags & LKS_FABRIC_WAKE) != 0) {
        net->fabrics[to].wakes++;
    }
}

/* A word waits for everything before it; a cell waits for what is to land there before it. */
static bool may_land(const struct way *way, uint32_t index, uint32_t cell)
{
    if (is_word(&way->writes[index])) {
        return index == 0;
    }
    const uint64_t place = first_cell(&way->writes[index]) + cell;
    for (uint32_t i = 0; i < index; i++) {
        const struct write *earlier = &way->writes[i];
        if (place >= first_cell(earlier) && place < first_cell(earlier) + cells_of(earlier) &&
            !earlier->landed[place - first_cell(earlier)]) {
            return false;
        }
    }
    return true;
}

static void drop_landed(struct way *way)
{
    uint32_t landed = 0;
    while (landed < way->count && way->writes[landed].unlanded == 0) {
        landed++;
    }
    if (landed > 0) {
        way->count -= landed;
        memmove(way->writes, way->writes + landed, way->count * sizeof *way->writes);
    }
}

static void deliver_one(struct fake_net *net, uint32_t from, uint32_t to)
{
    struct way *way = &net->ways[from][to];
    const uint32_t window = way->count < WINDOW ? way->count : WINDOW;
    uint32_t index = (uint32_t)fake_net_random(net, window);
    struct write *write = &way->writes[index];
    uint32_t cell = (uint32_t)fake_net_random(net, cells_of(write));
    if (write->landed[cell] || !may_land(way, index, cell)) {
        index = 0;
        write = &way->writes[0];
        cell = 0;
        while (write->landed[cell]) {
            cell++;
        }
    }
    land_cell(net, from, to, write, cell);
    drop_landed(way);
}

static void deliver_late(struct fake_net *net, uint32_t from, uint32_t to)
{
    struct way *way = &net->ways[from][to];
    const uint32_t index = (uint32_t)fake_net_random(net, way->late_count);
    struct write *write = &way->late[index];
    const uint32_t cell = (uint32_t)fake_net_random(net, cells_of(write));
    if (!write->landed[cell]) {
        land_cell(net, from, to, write, cell);
    }
    if (write->unlanded == 0) {
        way->late[index] = way->late[--way->late_count];
    }
}

bool fake_net_deliver(struct fake_net *net)
{
    const uint32_t replicas = net->options.replicas;
    const uint32_t first = (uint32_t)fake_net_random(net, replicas * replicas);
    for (uint32_t i = 0; i < replicas * replicas; i++) {
        const uint32_t pair = (first + i) % (replicas * replicas);
        const uint32_t from = pair / replicas + 1;
        const uint32_t to = pair % replicas + 1;
        const struct way *way = &net->ways[from][to];
        if (way->late_count > 0 && (way->count == 0 || fake_net_random(net, 8) == 0)) {
            deliver_late(net, from, to);
            return true;
        }
        if (way->count > 0) {
            deliver_one(net, from, to);
            return true;
        }
    }
    return false;
}

void fake_net_deliver_all(struct fake_net *net)
{
    while (fake_net_deliver(net)) {
    }
}

/* ---- connections --------------------------------------------------------------------------- */

static void push_event(struct fake_fabric *fabric, enum lks_fabric_event_kind kind, uint32_t peer,
                       uint64_t connection)
{
    LKS_ASSERT(fabric->events_count < EVENTS_MAX);
    fabric->events[fabric->events_count++] =
        (struct lks_fabric_event){.kind = kind, .peer = peer, .connection = connection};
}

bool fake_net_joined(const struct fake_net *net, uint32_t a, uint32_t b)
{
    return net->fabrics[a].connection[b] != 0;
}

void fake_net_join(struct fake_net *net, uint32_t a, uint32_t b)
{
    LKS_ASSERT(a != b && !fake_net_joined(net, a, b));
    net->connections++;
    const uint32_t sides[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        struct fake_fabric *fabric = &net->fabrics[sides[i]];
        const uint32_t peer = sides[1 - i];
        if (!net->options.zero_late) {
            memset(fabric->inbox[peer], 0, net->options.inbox_bytes);
        }
        fabric->connection[peer] = net->connections;
        push_event(fabric, LKS_FABRIC_CONNECTED, peer, net->connections);
    }
}

/* Some of what is under way still lands; the rest is dropped, or lands late. */
static void break_way(struct fake_net *net, uint32_t from, uint32_t to)
{
    struct way *way = &net->ways[from][to];
    for (uint64_t i = fake_net_random(net, 64); i > 0 && way->count > 0; i--) {
        deliver_one(net, from, to);
    }
    for (uint32_t i = 0; net->options.late && i < way->count; i++) {
        if (way->late_count < net->options.outstanding_max && way->writes[i].unlanded > 0) {
            way->late[way->late_count++] = way->writes[i];
        }
    }
    way->count = 0;
}

void fake_net_break(struct fake_net *net, uint32_t a, uint32_t b)
{
    LKS_ASSERT(fake_net_joined(net, a, b));
    const uint32_t sides[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        struct fake_fabric *fabric = &net->fabrics[sides[i]];
        const uint32_t peer = sides[1 - i];
        push_event(fabric, LKS_FABRIC_DISCONNECTED, peer, fabric->connection[peer]);
        fabric->connection[peer] = 0;
        break_way(net, sides[i], peer);
    }
}

void fake_net_restart(struct fake_net *net, uint32_t replica)
{
    for (uint32_t peer = 1; peer <= net->options.replicas; peer++) {
        if (peer == replica) {
            continue;
        }
        if (fake_net_joined(net, replica, peer)) {
            fake_net_break(net, replica, peer);
        }
        net->ways[peer][replica].late_count = 0; /* the memory that it would land in is gone */
        memset(net->fabrics[replica].inbox[peer], 0, net->options.inbox_bytes);
    }
    net->fabrics[replica].events_count = 0;
}

/* ---- the fabric's calls -------------------------------------------------------------------- */

static struct fake_fabric *fake_of(struct lks_fabric *fabric)
{
    return (struct fake_fabric *)(void *)fabric;
}

static void *fake_inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    return ((const struct fake_fabric *)(const void *)fabric)->inbox[peer];
}

static int fake_write_inbox(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                            const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct fake_fabric *fake = fake_of(fabric);
    struct fake_net *net = fake->net;
    if (id != 0 || (flags & LKS_FABRIC_INLINE) == 0 || bytes == 0 ||
        bytes > LKS_FABRIC_INLINE_MAX || offset > net->options.inbox_bytes - bytes) {
        return -EINVAL;
    }
    if (fake->connection[peer] == 0) {
        return -LKS_EBROKEN;
    }
    struct way *way = &net->ways[fake->replica][peer];
    if (way->count == net->options.outstanding_max ||
        fake_net_random(net, 100) < net->options.busy_percent) {
        return -LKS_EBUSY;
    }
    struct write *write = &way->writes[way->count++];
    memset(write, 0, sizeof *write);
    write->offset = offset;
    write->bytes = (uint32_t)bytes;
    write->flags = flags;
    write->unlanded = cells_of(write);
    memcpy(write->data, source, bytes);
    return 0;
}

static int fake_poll(struct lks_fabric *fabric, struct lks_fabric_event *events,
                     uint32_t events_max)
{
    struct fake_fabric *fake = fake_of(fabric);
    const uint32_t count = fake->events_count < events_max ? fake->events_count : events_max;
    memcpy(events, fake->events, count * sizeof *events);
    fake->events_count -= count;
    memmove(fake->events, fake->events + count, fake->events_count * sizeof *events);
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].kind == LKS_FABRIC_CONNECTED && fake->net->options.zero_late) {
            memset(fake->inbox[events[i].peer], 0, fake->net->options.inbox_bytes);
        }
    }
    return (int)count;
}

static const struct lks_fabric_ops fake_ops = {
    .name = "fake",
    .inbox = fake_inbox,
    .write_inbox = fake_write_inbox,
    .poll = fake_poll,
};

/* ---- life ---------------------------------------------------------------------------------- */

static void *zeroed(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    LKS_ASSERT(memory != NULL);
    return memory;
}

struct fake_net *fake_net_new(const struct fake_net_options *options)
{
    LKS_ASSERT(options->replicas <= LKS_REPLICAS_MAX);
    struct fake_net *net = zeroed(1, sizeof *net);
    net->options = *options;
    net->random = options->seed;
    for (uint32_t a = 1; a <= options->replicas; a++) {
        struct fake_fabric *fabric = &net->fabrics[a];
        fabric->base.ops = &fake_ops;
        fabric->net = net;
        fabric->replica = a;
        for (uint32_t b = 1; b <= options->replicas; b++) {
            fabric->inbox[b] = aligned_alloc(64, options->inbox_bytes);
            LKS_ASSERT(fabric->inbox[b] != NULL);
            memset(fabric->inbox[b], 0, options->inbox_bytes);
            net->ways[a][b].writes = zeroed(options->outstanding_max, sizeof(struct write));
            net->ways[a][b].late = zeroed(options->outstanding_max, sizeof(struct write));
        }
    }
    return net;
}

void fake_net_free(struct fake_net *net)
{
    for (uint32_t a = 1; a <= net->options.replicas; a++) {
        for (uint32_t b = 1; b <= net->options.replicas; b++) {
            free(net->fabrics[a].inbox[b]);
            free(net->ways[a][b].writes);
            free(net->ways[a][b].late);
        }
    }
    free(net);
}

struct lks_fabric *fake_net_fabric(struct fake_net *net, uint32_t replica)
{
    return &net->fabrics[replica].base;
}

uint64_t fake_net_wakes(const struct fake_net *net, uint32_t replica)
{
    return net->fabrics[replica].wakes;
}
