/*
 * One replica's snapshot area in the simulation: a file on the medium of its storage (storage.h),
 * so that power cuts, full disks and rot come to it as to the journal. One thread.
 */
#ifndef LKS_SIM_AREA_H
#define LKS_SIM_AREA_H

#include "base/error.h"
#include "pmem/snapshots.h"
#include "sim/random.h"
#include "sim/storage.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_area;

/* The area lies beside the storage's journal. `options.path` is not used. The storage has to
 * outlive the area. Creates no file. */
struct lks_sim_area *lks_sim_area_new(struct lks_sim_storage *storage,
                                      const struct lks_snapshots_options *options);
/* Closes it and removes the file. NULL is allowed. */
void lks_sim_area_free(struct lks_sim_area *area);

/* Formats an empty one, in place of an old one. Errors of lks_snapshots_create. */
int lks_sim_area_create(struct lks_sim_area *area, struct lks_error *err);
/* Errors of lks_snapshots_open. */
int lks_sim_area_open(struct lks_sim_area *area, struct lks_error *err);
void lks_sim_area_close(struct lks_sim_area *area);

/* The process has ended inside a call: the open area is forgotten, not closed. */
void lks_sim_area_abandon(struct lks_sim_area *area);

const struct lks_snapshots_options *lks_sim_area_options(const struct lks_sim_area *area);
/* What it is opened and formatted as from now on. */
void lks_sim_area_set_cluster(struct lks_sim_area *area,
                              const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES]);
/* NULL while closed. */
struct lks_snapshots *lks_sim_area_store(const struct lks_sim_area *area);

/* Flips one bit somewhere in a snapshot that the manifest names, while the area is open; false if
 * there is none yet. */
bool lks_sim_area_rot(struct lks_sim_area *area, struct lks_sim_random *random);

#endif
