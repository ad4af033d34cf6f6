/*
 * Entries that wait for partitions; see waiting.h. Entries stand in one ring, in the order of the
 * log; links join an entry to the queues of its partitions. All memory comes from one reservation,
 * of which untouched pages cost nothing.
 */
#include "node/waiting.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>

#define NONE UINT32_MAX
#define LINKS_PER_ENTRY 2u /* on average; an entry of all partitions takes more */

struct link {
    uint32_t entry; /* its place in the ring */
    uint32_t partition;
    uint32_t next_in_queue;
    uint32_t next_of_entry;
};

struct queue {
    uint32_t first; /* links */
    uint32_t last;
    bool ready;
};

struct lks_waiting {
    uint32_t partitions;
    uint32_t entries_max;
    uint64_t head; /* entries are numbered as they come; place: number % entries_max */
    uint64_t tail;
    uint32_t undone;
    uint32_t links_max;
    uint32_t links_used; /* ever; below it free ones are in the list */
    uint32_t links_count;
    uint32_t links_free;
    uint32_t runnable_first;
    uint32_t runnable_last;
    uint32_t unready;
    struct lks_waiting_entry *entries;
    struct link *links;
    struct queue *queues;
};

int lks_waiting_new(struct lks_waiting **waiting, const struct lks_waiting_options *options)
{
    LKS_ASSERT(options->partitions >= 1);
    LKS_ASSERT(options->entries_max >= options->partitions);
    struct lks_waiting *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->partitions = options->partitions;
    made->entries_max = options->entries_max;
    made->links_max = options->entries_max * LINKS_PER_ENTRY + options->partitions;
    made->links_free = NONE;
    made->runnable_first = NONE;
    made->runnable_last = NONE;
    made->unready = options->partitions;
    /* (Each entry and each link is set when it is taken.) */
    made->entries = malloc(made->entries_max * sizeof *made->entries);
    made->links = malloc(made->links_max * sizeof *made->links);
    made->queues = calloc(made->partitions, sizeof *made->queues);
    if (made->entries == NULL || made->links == NULL || made->queues == NULL) {
        lks_waiting_free(made);
        return -ENOMEM;
    }
    for (uint32_t p = 0; p < made->partitions; p++) {
        made->queues[p] = (struct queue){.first = NONE, .last = NONE};
    }
    *waiting = made;
    return 0;
}

void lks_waiting_free(struct lks_waiting *waiting)
{
    if (waiting != NULL) {
        free(waiting->entries);
        free(waiting->links);
        free(waiting->queues);
        free(waiting);
    }
}

static bool holds_up(const struct queue *queue)
{
    return !queue->ready || queue->first != NONE;
}

bool lks_waiting_must(const struct lks_waiting *waiting, const uint16_t *partitions,
                      uint32_t count)
{
    if (partitions == NULL) {
        return waiting->unready != 0 || waiting->undone != 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        LKS_ASSERT(partitions[i] < waiting->partitions);
        if (holds_up(&waiting->queues[partitions[i]])) {
            return true;
        }
    }
    return false;
}

/* ---- links -------------------------------------------------------------------------------- */

static uint32_t take_link(struct lks_waiting *waiting)
{
    uint32_t place = waiting->links_free;
    if (place != NONE) {
        waiting->links_free = waiting->links[place].next_in_queue;
    } else {
        LKS_ASSERT(waiting->links_used < waiting->links_max);
        place = waiting->links_used;
        waiting->links_used++;
    }
    waiting->links_count++;
    return place;
}

static void give_link(struct lks_waiting *waiting, uint32_t place)
{
    waiting->links[place].next_in_queue = waiting->links_free;
    waiting->links_free = place;
    waiting->links_count--;
}

/* Joins an entry to the end of a partition's queue. */
static void join(struct lks_waiting *waiting, uint32_t place, uint32_t partition)
{
    struct lks_waiting_entry *entry = &waiting->entries[place];
    struct queue *queue = &waiting->queues[partition];
    if (holds_up(queue)) {
        entry->blocked++;
    }
    const uint32_t at = take_link(waiting);
    waiting->links[at] = (struct link){.entry = place,
                                       .partition = partition,
                                       .next_in_queue = NONE,
                                       .next_of_entry = entry->first_link};
    entry->first_link = at;
    if (queue->first == NONE) {
        queue->first = at;
    } else {
        waiting->links[queue->last].next_in_queue = at;
    }
    queue->last = at;
}

static void make_runnable(struct lks_waiting *waiting, uint32_t place)
{
    waiting->entries[place].next_runnable = NONE;
    if (waiting->runnable_first == NONE) {
        waiting->runnable_first = place;
    } else {
        waiting->entries[waiting->runnable_last].next_runnable = place;
    }
    waiting->runnable_last = place;
}

/* One thing less that the first entry of this queue waits for. */
static void unblock_first(struct lks_waiting *waiting, const struct queue *queue)
{
    const uint32_t place = waiting->links[queue->first].entry;
    struct lks_waiting_entry *entry = &waiting->entries[place];
    LKS_ASSERT(entry->blocked > 0);
    entry->blocked--;
    if (entry->blocked == 0) {
        make_runnable(waiting, place);
    }
}

/* ---- entries ------------------------------------------------------------------------------ */

bool lks_waiting_has_room(const struct lks_waiting *waiting)
{
    return waiting->entries_max - (waiting->tail - waiting->head) >= waiting->partitions &&
           waiting->links_max - waiting->links_count >= waiting->partitions;
}

bool lks_waiting_has_room_for_two(const struct lks_waiting *waiting)
{
    return waiting->entries_max - (waiting->tail - waiting->head) > waiting->partitions &&
           waiting->links_max - waiting->links_count >= 2 * waiting->partitions;
}

struct lks_waiting_entry *lks_waiting_add(struct lks_waiting *waiting, const uint16_t *partitions,
                                          uint32_t count)
{
    const uint32_t joined = partitions == NULL ? waiting->partitions : count;
    LKS_ASSERT(joined >= 1);
    if (waiting->tail - waiting->head == waiting->entries_max ||
        waiting->links_max - waiting->links_count < joined) {
        return NULL;
    }
    const uint32_t place = (uint32_t)(waiting->tail % waiting->entries_max);
    struct lks_waiting_entry *entry = &waiting->entries[place];
    *entry = (struct lks_waiting_entry){.part = LKS_WAITING_WHOLE,
                                         .first_link = NONE,
                                         .next_runnable = NONE};
    for (uint32_t i = 0; i < joined; i++) {
        join(waiting, place, partitions == NULL ? i : partitions[i]);
    }
    LKS_ASSERT(entry->blocked > 0); /* else it should have run at once */
    waiting->tail++;
    waiting->undone++;
    return entry;
}

void lks_waiting_ready(struct lks_waiting *waiting, uint32_t partition)
{
    LKS_ASSERT(partition < waiting->partitions);
    struct queue *queue = &waiting->queues[partition];
    LKS_ASSERT(!queue->ready);
    queue->ready = true;
    waiting->unready--;
    if (queue->first != NONE) {
        unblock_first(waiting, queue);
    }
}

struct lks_waiting_entry *lks_waiting_next(struct lks_waiting *waiting)
{
    return waiting->runnable_first != NONE ? &waiting->entries[waiting->runnable_first] : NULL;
}

static void drop_done(struct lks_waiting *waiting)
{
    while (waiting->head != waiting->tail &&
           waiting->entries[waiting->head % waiting->entries_max].done) {
        waiting->head++;
    }
}

void lks_waiting_done(struct lks_waiting *waiting, struct lks_waiting_entry *entry)
{
    LKS_ASSERT(entry == lks_waiting_next(waiting));
    waiting->runnable_first = entry->next_runnable;
    for (uint32_t at = entry->first_link; at != NONE;) {
        const struct link link = waiting->links[at];
        struct queue *queue = &waiting->queues[link.partition];
        LKS_ASSERT(queue->first == at);
        queue->first = link.next_in_queue;
        give_link(waiting, at);
        if (queue->first != NONE) {
            unblock_first(waiting, queue);
        }
        at = link.next_of_entry;
    }
    entry->done = true;
    waiting->undone--;
    drop_done(waiting);
}

struct lks_waiting_entry *lks_waiting_oldest(const struct lks_waiting *waiting)
{
    return waiting->head != waiting->tail
               ? &waiting->entries[waiting->head % waiting->entries_max]
               : NULL;
}

uint32_t lks_waiting_count(const struct lks_waiting *waiting)
{
    return waiting->undone;
}

bool lks_waiting_for(const struct lks_waiting *waiting, uint32_t partition)
{
    return waiting->queues[partition].first != NONE;
}

struct lks_waiting_entry *lks_waiting_forget(struct lks_waiting *waiting)
{
    struct lks_waiting_entry *entry = lks_waiting_oldest(waiting);
    if (entry != NULL) {
        entry->done = true;
        waiting->undone--;
        drop_done(waiting);
    }
    return entry;
}
