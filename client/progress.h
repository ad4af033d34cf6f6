/*
 * A progress bar on a terminal for creating a journal, once that takes longer than a second.
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

#endif
