/* A progress bar for creating a journal; see progress.h. */
#include "client/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define SHOW_AFTER_NS LKS_NS_PER_S
#define REDRAW_NS (100 * LKS_NS_PER_MS)

struct creation {
    const struct lks_journal_options *options;
    bool fresh_cluster;
    struct lks_error *err;
    int rc;             /* the helper writes it before `done` */
    _Atomic bool done;  /* the helper writes, the main thread reads */
};

static void *create(void *argument)
{
    struct creation *creation = argument;
    creation->rc =
        lks_journal_create(creation->options, creation->fresh_cluster, creation->err);
    atomic_store_explicit(&creation->done, true, memory_order_release);
    return NULL;
}

/* How much of the file lies allocated by now, in percent; devices show 0. */
static unsigned allocated_percent(const struct lks_journal_options *options)
{
    struct stat found;
    if (stat(options->path, &found) != 0 || !S_ISREG(found.st_mode)) {
        return 0;
    }
    const uint64_t percent = (uint64_t)found.st_blocks * 512 * 100 / options->ring_bytes;
    return percent > 100 ? 100 : (unsigned)percent;
}

void lks_progress_draw(const char *label, unsigned percent)
{
    char bar[BAR_WIDTH + 1];
    const unsigned filled = percent * BAR_WIDTH / 100;
    for (unsigned i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %3u %%", label, bar, percent);
    (void)fflush(stderr);
}

void lks_progress_clear(void)
{
    fprintf(stderr, "\r\033[K");
}

int lks_progress_create_journal(const struct lks_journal_options *options, bool fresh_cluster,
                                const char *label, struct lks_error *err)
{
    if (isatty(STDERR_FILENO) == 0) {
        return lks_journal_create(options, fresh_cluster, err);
    }
    struct creation creation = {options, fresh_cluster, err, 0, false};
    pthread_t helper;
    if (pthread_create(&helper, NULL, create, &creation) != 0) {
        return lks_journal_create(options, fresh_cluster, err);
    }
    const uint64_t began_ns = lks_clock_monotonic_ns();
    uint64_t drawn_ns = began_ns + SHOW_AFTER_NS - REDRAW_NS;
    bool drawn = false;
    while (!atomic_load_explicit(&creation.done, memory_order_acquire)) {
        const struct timespec pause = {.tv_nsec = (long)(2 * LKS_NS_PER_MS)};
        (void)nanosleep(&pause, NULL);
        const uint64_t now_ns = lks_clock_monotonic_ns();
        if (now_ns - began_ns >= SHOW_AFTER_NS && now_ns - drawn_ns >= REDRAW_NS) {
            lks_progress_draw(label, allocated_percent(options));
            drawn_ns = now_ns;
            drawn = true;
        }
    }
    (void)pthread_join(helper, NULL);
    if (drawn) {
        lks_progress_clear();
    }
    return creation.rc;
}
