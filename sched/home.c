/* Memory of one home; see home.h. */
#include "sched/home.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LINE ((size_t)64)
#define PAGE ((size_t)4096)
#define PAGES_LEAST ((size_t)64 << 10) /* mapped at once for small pieces */
#define LARGE ((size_t)1 << 20)
#define NUMBERS 16u /* homes that begin at different lines of their first page */
#define LINES_APART 4u

struct lks_home_piece {
    struct lks_home_piece *next;
    void *memory;
    size_t mapped; /* 0: the allocator's */
};

void lks_home_init(struct lks_home *home, struct lks_numa *numa, uint64_t nodes, uint32_t number)
{
    *home = (struct lks_home){.numa = nodes != 0 ? numa : NULL, .nodes = nodes, .number = number};
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* Whole pages, untouched; large ones where the system has them. */
static void *map_pages(struct lks_home *home, size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    lks_numa_place(home->numa, memory, bytes, home->nodes);
    if (bytes >= LARGE) {
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* a wish */
    }
    return memory;
}

/* A piece of its own. mapped: bytes of whole pages; else from the allocator. */
static void *add_piece(struct lks_home *home, size_t bytes, size_t mapped)
{
    struct lks_home_piece *piece = malloc(sizeof *piece);
    if (piece == NULL) {
        return NULL;
    }
    piece->mapped = mapped;
    piece->memory = mapped != 0 ? map_pages(home, mapped) : aligned_alloc(LINE, bytes);
    if (piece->memory == NULL) {
        free(piece);
        return NULL;
    }
    piece->next = home->pieces;
    home->pieces = piece;
    return piece->memory;
}

/* From pages of the home's nodes. The first piece of a home begins where its number says. */
static void *take_from_pages(struct lks_home *home, size_t bytes)
{
    if (bytes > home->rest_bytes) {
        const size_t skipped =
            home->rest == NULL ? home->number % NUMBERS * LINES_APART * LINE : 0;
        const size_t mapped =
            round_up(bytes + skipped > PAGES_LEAST ? bytes + skipped : PAGES_LEAST, PAGE);
        unsigned char *pages = add_piece(home, 0, mapped);
        if (pages == NULL) {
            return NULL;
        }
        home->rest = pages + skipped;
        home->rest_bytes = mapped - skipped;
    }
    unsigned char *taken = home->rest;
    home->rest += bytes;
    home->rest_bytes -= bytes;
    return taken;
}

void *lks_home_take(struct lks_home *home, size_t count, size_t bytes)
{
    LKS_ASSERT(count > 0 && bytes > 0 && bytes <= SIZE_MAX / 2 / count);
    const size_t all = round_up(count * bytes, LINE);
    if (all >= LARGE) {
        return add_piece(home, all, round_up(all, PAGE));
    }
    void *memory = home->numa != NULL ? take_from_pages(home, all) : add_piece(home, all, 0);
    if (memory != NULL) {
        memset(memory, 0, all); /* touched now, and not by the first commands */
    }
    return memory;
}

void lks_home_fini(struct lks_home *home)
{
    struct lks_home_piece *piece = home->pieces;
    while (piece != NULL) {
        struct lks_home_piece *next = piece->next;
        if (piece->mapped != 0) {
            (void)munmap(piece->memory, piece->mapped);
        } else {
            free(piece->memory);
        }
        free(piece);
        piece = next;
    }
    *home = (struct lks_home){0};
}
