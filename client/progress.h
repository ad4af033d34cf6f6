/*
 * A progress bar on a terminal for what takes longer than a second, creating a journal above all.
 * Called on the main thread; the journal is created on a helper thread that ends before the call
 * returns.
 */
#ifndef LKS_CLIENT_PROGRESS_H
#define LKS_CLIENT_PROGRESS_H

#include "base/error.h"
#include "pmem/journal.h"

#include <stdbool.h>

/* lks_journal_create, with a bar on standard error if that is a terminal. */
int lks_progress_create_journal(const struct lks_journal_options *options, bool fresh_cluster,
                                const char *label, struct lks_error *err);

/* Draws or redraws the bar on standard error; removes it. The caller knows that this is a
 * terminal and that a second has passed. */
void lks_progress_draw(const char *label, unsigned percent);
void lks_progress_clear(void);

#endif
