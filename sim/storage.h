/*
 * The media under one replica's files: memory that stands for them, by cache line (lines.h), and
 * what a power cut, a full disk or a failing medium make of it. The files themselves, which are
 * opened, locked and sized, no more, are those of sim/files.h. One thread.
 *
 * The storage stands in, when the program is linked (--wrap), for the functions of pmem/stores.h
 * and for allocating and mapping of pmem/medium.h, and so sees every store, write-back and fence of
 * the code as it is. What the network stores and flushes is told by lks_sim_storage_touched and
 * _persisted. The first pages of a log memory (fabric head and control page) are volatile: of them
 * a power cut leaves anything.
 */
#ifndef LKS_SIM_STORAGE_H
#define LKS_SIM_STORAGE_H

#include "base/error.h"
#include "pmem/journal.h"
#include "sim/lines.h"
#include "sim/random.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_SIM_STORAGE_FILES_MAX 4u /* of one replica */

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
/* Its files lie on a disk: pages, made durable by msync, and no memory that lines are written back
 * to. Before anything is created. */
void lks_sim_storage_lie_on_disk(struct lks_sim_storage *storage);

/* What the journal is opened and formatted as from now on. */
void lks_sim_storage_set_cluster(struct lks_sim_storage *storage,
                                 const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES]);
const char *lks_sim_storage_path(const struct lks_sim_storage *storage);
struct lks_journal *lks_sim_storage_journal(const struct lks_sim_storage *storage);

/* Files that are mapped from now on belong to this storage; NULL: to none, they are real ones.
 * _create and _open do so by themselves. Returns whose they were before. */
struct lks_sim_storage *lks_sim_storage_enter(struct lks_sim_storage *storage);

/* A file of this storage that is not the journal's, and that nobody has open or mapped, is removed;
 * one that is made by that name later is all zeros. It need not exist. */
void lks_sim_storage_remove(struct lks_sim_storage *storage, const char *path);

/* Files beside the journal and its snapshot area, which nobody has open, are gone. */
void lks_sim_storage_forget_others(struct lks_sim_storage *storage);

/* ---- what the network does ---------------------------------------------------------------- */

/* A peer, or a read of the owner's, is about to store to [offset, offset + bytes) of the log
 * memory. */
void lks_sim_storage_touched(struct lks_sim_storage *storage, uint64_t offset, uint64_t bytes);
/* These bytes of the log memory are durable as they are now: a writer's flush. */
void lks_sim_storage_persisted(struct lks_sim_storage *storage, uint64_t offset, uint64_t bytes);

/* ---- faults ------------------------------------------------------------------------------- */

/* From now on nothing of the log is made durable, and whoever tries is told `status` (a negative
 * errno); 0: it works again. */
void lks_sim_storage_fail(struct lks_sim_storage *storage, int status);

/* While it fails so: what the journal says of itself cannot be made durable either. */
void lks_sim_storage_fail_records(struct lks_sim_storage *storage);

/* The same as _fail for the snapshot area alone. */
void lks_sim_storage_fail_area(struct lks_sim_storage *storage, int status);
int lks_sim_storage_area_fails(const struct lks_sim_storage *storage);

/* From now on no file grows, -ENOSPC; false: there is room again. */
void lks_sim_storage_fill_disk(struct lks_sim_storage *storage, bool full);

/* The host loses power and gets a new boot id. The journal must be closed. Returns how many
 * lines were lost or torn. */
uint64_t lks_sim_storage_power_cut(struct lks_sim_storage *storage,
                                   struct lks_sim_random *random);

/* As _power_cut, with the fate of each uncertain line chosen by the caller: `line->offset` counts
 * from the beginning of the file. */
uint64_t lks_sim_storage_cut(struct lks_sim_storage *storage, lks_sim_lines_choose choose,
                             void *ctx);

/* Flips one bit of what is certain in a file while the journal is closed. offset in bytes from the
 * beginning of the file, below its size. */
void lks_sim_storage_rot(struct lks_sim_storage *storage, uint64_t offset, uint32_t bit);

/* The same in the snapshot area's file, while that is closed. False: there is none. */
bool lks_sim_storage_rot_area(struct lks_sim_storage *storage, uint64_t offset, uint32_t bit);

/* The same at a place in a mapped file of this storage, in use or not. */
void lks_sim_storage_rot_at(struct lks_sim_storage *storage, uint8_t *place, uint32_t bit);

/* Bytes of the journal's file as they are; and, while it is closed, what an operator's tool writes
 * there, durably. */
void lks_sim_storage_read(const struct lks_sim_storage *storage, uint64_t offset, void *bytes,
                          uint64_t count);
void lks_sim_storage_write(struct lks_sim_storage *storage, uint64_t offset, const void *bytes,
                           uint64_t count);

/* A copy of the journal as it would be after a power cut that loses all it can; and putting such a
 * copy in the journal's place, while it is closed. The copy is the caller's to free. */
struct lks_sim_storage_copy {
    uint8_t *bytes;
    uint64_t count;
};
void lks_sim_storage_take_copy(const struct lks_sim_storage *storage,
                               struct lks_sim_storage_copy *copy);
void lks_sim_storage_put_copy(struct lks_sim_storage *storage,
                              const struct lks_sim_storage_copy *copy);

/* ---- looking on --------------------------------------------------------------------------- */

enum lks_sim_storage_access {
    LKS_SIM_ACCESS_STORE,
    LKS_SIM_ACCESS_WRITE_BACK,
    LKS_SIM_ACCESS_FENCE, /* or sync: write-back and fence at once */
    LKS_SIM_ACCESS_REMOTE_STORE,
    LKS_SIM_ACCESS_REMOTE_FLUSH
};

/* Hears of every access just before it takes effect. It may leave by a jump: then the storage is as
 * if the access had not been tried. */
struct lks_sim_storage_watcher {
    void (*before)(void *ctx, uint32_t replica, enum lks_sim_storage_access access);
    void *ctx;
};
/* One watcher for all storages; NULL: none. Copied. */
void lks_sim_storage_watch(const struct lks_sim_storage_watcher *watcher);

/* The lines of a file, by number: 0 is the journal's. NULL: there are no more. */
struct lks_sim_lines *lks_sim_storage_lines(const struct lks_sim_storage *storage, uint32_t file);

/* What it was made with: good for its own process alone. */
const struct lks_journal_options *lks_sim_storage_options(const struct lks_sim_storage *storage);
bool lks_sim_storage_is_full(const struct lks_sim_storage *storage);

/* Size of the journal's file, and where its ring begins. */
uint64_t lks_sim_storage_bytes(const struct lks_sim_storage *storage);
uint64_t lks_sim_storage_ring_at(const struct lks_sim_storage *storage);

/* ---- when a run is given up --------------------------------------------------------------- */

/* The process has ended inside a call: its open journal is forgotten, not closed. */
void lks_sim_storage_abandon(struct lks_sim_storage *storage);

/* Storages opened by a run that was abandoned are not known any more. */
void lks_sim_storage_forget_all(void);

#endif
