/*
 * Reads that wait; see read_queue.h. In each list the reads with a point come first, then those
 * that a request under way covers, then the rest: all three in the order of arrival, so a number
 * of arrival says where one ends.
 */
#include "node/read_queue.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64u
#define SLOTS_MAX (1u << 18)

struct list {
    struct lks_read *first;
    struct lks_read *last;
    struct lks_read *unconfirmed; /* the first one without a point */
};

struct lks_read_queue {
    struct list lists[2]; /* by `ordered` */
    struct lks_read *slots;
    struct lks_read *free;
    uint64_t slots_count;
    uint64_t slots_used;  /* ever; below it free ones are in the list */
    uint64_t long_bytes;  /* of reads that do not fit their slots */
    uint64_t bytes_max;
    uint64_t arrived;
    uint64_t asked;       /* reads up to this arrival are covered by a request, or have a point */
    uint64_t confirmed;   /* reads up to this arrival have one */
    uint64_t request;     /* number of the last request */
    uint32_t requests_under_way;
    uint64_t covers[LKS_READ_REQUESTS_MAX]; /* arrival that each covers, by its number */
    uint64_t waiting;
    uint64_t refused;
};

int lks_read_queue_new(struct lks_read_queue **queue,
                       const struct lks_read_queue_options *options)
{
    struct lks_read_queue *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    const uint64_t wanted = options->bytes_max / sizeof *made->slots;
    made->slots_count = wanted < SLOTS_MIN ? SLOTS_MIN : wanted < SLOTS_MAX ? wanted : SLOTS_MAX;
    made->bytes_max = options->bytes_max;
    made->slots = malloc(made->slots_count * sizeof *made->slots); /* set when they are taken */
    if (made->slots == NULL) {
        free(made);
        return -ENOMEM;
    }
    *queue = made;
    return 0;
}

static void free_data(struct lks_read_queue *queue, struct lks_read *read)
{
    if (read->data != read->inlined) {
        queue->long_bytes -= read->bytes;
        free((void *)(uintptr_t)read->data);
    }
    read->data = NULL;
}

void lks_read_queue_free(struct lks_read_queue *queue)
{
    if (queue == NULL) {
        return;
    }
    for (uint64_t i = 0; i < queue->slots_used; i++) {
        if (queue->slots[i].data != NULL) {
            free_data(queue, &queue->slots[i]);
        }
    }
    free(queue->slots);
    free(queue);
}

/* ---- coming and going ----------------------------------------------------------------------- */

static struct lks_read *take_slot(struct lks_read_queue *queue)
{
    struct lks_read *read = queue->free;
    if (read != NULL) {
        queue->free = read->next;
    } else if (queue->slots_used < queue->slots_count) {
        read = &queue->slots[queue->slots_used];
        read->data = NULL;
        queue->slots_used++;
    }
    return read;
}

static void give_slot(struct lks_read_queue *queue, struct lks_read *read)
{
    read->next = queue->free;
    queue->free = read;
}

static bool copy_command(struct lks_read_queue *queue, struct lks_read *read,
                         const struct lks_read_arrival *arrival)
{
    uint8_t *data = read->inlined;
    if (arrival->bytes > sizeof read->inlined) {
        data = queue->long_bytes + arrival->bytes > queue->bytes_max ? NULL
                                                                     : malloc(arrival->bytes);
        if (data == NULL) {
            return false;
        }
        queue->long_bytes += arrival->bytes;
    }
    if (arrival->bytes > 0) {
        memcpy(data, arrival->command, arrival->bytes);
    }
    read->data = data;
    read->bytes = (uint32_t)arrival->bytes;
    return true;
}

int lks_read_queue_add(struct lks_read_queue *queue, const struct lks_read_arrival *arrival)
{
    struct lks_read *read = arrival->bytes <= UINT32_MAX ? take_slot(queue) : NULL;
    if (read == NULL || !copy_command(queue, read, arrival)) {
        if (read != NULL) {
            give_slot(queue, read);
        }
        queue->refused++;
        return -LKS_EBUSY;
    }
    queue->arrived++;
    queue->waiting++;
    read->next = NULL;
    read->arrival = queue->arrived;
    read->after = arrival->after;
    read->point = LKS_READ_UNCONFIRMED;
    read->time_ns = 0;
    read->cookie = arrival->cookie;
    read->ordered = arrival->ordered;
    struct list *list = &queue->lists[read->ordered];
    if (list->last == NULL) {
        list->first = read;
    } else {
        LKS_ASSERT(list->last->after <= read->after);
        list->last->next = read;
    }
    list->last = read;
    if (list->unconfirmed == NULL) {
        list->unconfirmed = read;
    }
    return 0;
}

static struct lks_read *take_first(struct list *list)
{
    struct lks_read *read = list->first;
    list->first = read->next;
    if (list->unconfirmed == read) {
        list->unconfirmed = read->next;
    }
    if (list->first == NULL) {
        list->last = NULL;
    }
    read->next = NULL;
    return read;
}

void lks_read_queue_put_back(struct lks_read_queue *queue, struct lks_read *read)
{
    struct list *list = &queue->lists[read->ordered];
    LKS_ASSERT(read->point != LKS_READ_UNCONFIRMED);
    struct lks_read **place = &list->first;
    while (*place != list->unconfirmed && (*place)->arrival < read->arrival) {
        place = &(*place)->next;
    }
    read->next = *place;
    *place = read;
    if (read->next == NULL) {
        list->last = read;
    }
}

void lks_read_queue_release(struct lks_read_queue *queue, struct lks_read *read)
{
    LKS_ASSERT(queue->waiting > 0);
    queue->waiting--;
    free_data(queue, read);
    give_slot(queue, read);
}

/* ---- requests ------------------------------------------------------------------------------- */

static bool waits_behind(const struct list *list, uint64_t arrival)
{
    return list->last != NULL && list->last->arrival > arrival;
}

bool lks_read_queue_may_ask(const struct lks_read_queue *queue)
{
    return queue->requests_under_way < LKS_READ_REQUESTS_MAX &&
           (waits_behind(&queue->lists[0], queue->asked) ||
            waits_behind(&queue->lists[1], queue->asked));
}

uint64_t lks_read_queue_ask(struct lks_read_queue *queue)
{
    LKS_ASSERT(queue->requests_under_way < LKS_READ_REQUESTS_MAX);
    queue->request++;
    queue->requests_under_way++;
    queue->asked = queue->arrived;
    queue->covers[queue->request % LKS_READ_REQUESTS_MAX] = queue->arrived;
    return queue->request;
}

uint64_t lks_read_queue_asked(const struct lks_read_queue *queue)
{
    return queue->request;
}

bool lks_read_queue_asking(const struct lks_read_queue *queue)
{
    return queue->requests_under_way > 0;
}

bool lks_read_queue_confirm(struct lks_read_queue *queue, uint64_t request, uint64_t point)
{
    if (request > queue->request || queue->request - request >= queue->requests_under_way) {
        return false;
    }
    LKS_ASSERT(point != LKS_READ_UNCONFIRMED);
    queue->requests_under_way = (uint32_t)(queue->request - request);
    const uint64_t arrival = queue->covers[request % LKS_READ_REQUESTS_MAX];
    LKS_ASSERT(arrival >= queue->confirmed);
    LKS_ASSERT(arrival <= queue->asked);
    queue->confirmed = arrival;
    for (int i = 0; i < 2; i++) {
        struct lks_read *read = queue->lists[i].unconfirmed;
        while (read != NULL && read->arrival <= arrival) {
            read->point = point;
            read = read->next;
        }
        queue->lists[i].unconfirmed = read;
    }
    return true;
}

void lks_read_queue_void(struct lks_read_queue *queue)
{
    queue->requests_under_way = 0;
    queue->asked = queue->confirmed;
}

/* ---- taking out ----------------------------------------------------------------------------- */

struct lks_read *lks_read_queue_ready(struct lks_read_queue *queue, uint64_t applied_offset,
                                      uint64_t answered)
{
    for (int ordered = 1; ordered >= 0; ordered--) {
        struct list *list = &queue->lists[ordered];
        const struct lks_read *read = list->first;
        if (read != NULL && read->point != LKS_READ_UNCONFIRMED && read->point <= applied_offset &&
            (ordered == 0 || read->after <= answered)) {
            return take_first(list);
        }
    }
    return NULL;
}

struct lks_read *lks_read_queue_before(struct lks_read_queue *queue, uint64_t sequence)
{
    struct list *chosen = NULL;
    for (int i = 0; i < 2; i++) {
        struct list *list = &queue->lists[i];
        if (list->first != NULL && list->first->after < sequence &&
            (chosen == NULL || list->first->arrival < chosen->first->arrival)) {
            chosen = list;
        }
    }
    return chosen != NULL ? take_first(chosen) : NULL;
}

void lks_read_queue_counts(const struct lks_read_queue *queue,
                           struct lks_read_queue_counts *counts)
{
    *counts = (struct lks_read_queue_counts){.waiting = queue->waiting,
                                             .arrived = queue->arrived,
                                             .requests = queue->request,
                                             .refused = queue->refused};
}
