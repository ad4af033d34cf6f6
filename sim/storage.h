/*
 * The medium under one replica's journal: the file itself, which is what processes see, and a
 * second copy of the log that holds only what was made durable. At a power cut each cache line
 * that differs is kept, lost or torn by chance. Everything else of the journal is written
 * synchronously and survives. One thread.
 *
 * What the replica makes durable itself is seen by standing in for lks_journal_persist_range at
 * link time (--wrap); what a writer flushes, by lks_sim_storage_persisted.
 */
#ifndef LKS_SIM_STORAGE_H
#define LKS_SIM_STORAGE_H

#include "base/error.h"
#include "pmem/journal.h"
#include "sim/random.h"

#include <stdint.h>

struct lks_sim_storage;

/* `options.path` is copied. Creates no file. */
struct lks_sim_storage *lks_sim_storage_new(const struct lks_journal_options *options);
/* Removes the file too. The journal must be closed. */
void lks_sim_storage_free(struct lks_sim_storage *storage);

/* Formats a new journal, in place of an old one. Errors of lks_journal_create. */
int lks_sim_storage_create(struct lks_sim_storage *storage, bool fresh_cluster,
                           struct lks_error *err);

/* Opens the journal under the present boot id. Errors of lks_journal_open. */
int lks_sim_storage_open(struct lks_sim_storage *storage, struct lks_error *err);
void lks_sim_storage_close(struct lks_sim_storage *storage, bool clean);
const char *lks_sim_storage_path(const struct lks_sim_storage *storage);
struct lks_journal *lks_sim_storage_journal(const struct lks_sim_storage *storage);

/* Bytes of the log memory [offset, offset + bytes) are durable as they are now. */
void lks_sim_storage_persisted(struct lks_sim_storage *storage, uint64_t offset, uint64_t bytes);

/* From now on nothing is made durable, and whoever tries is told `status` (a negative errno);
 * 0: it works again. */
void lks_sim_storage_fail(struct lks_sim_storage *storage, int status);

/* The host loses power and gets a new boot id. The journal must be closed. Returns how many
 * lines were lost or torn. */
uint64_t lks_sim_storage_power_cut(struct lks_sim_storage *storage,
                                   struct lks_sim_random *random);

/* Storages opened by a run that was abandoned are not known any more. */
void lks_sim_storage_forget_all(void);

/* The two names that the linker puts in place of the journal's function. */
int __real_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to);
int __wrap_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to);

#endif
