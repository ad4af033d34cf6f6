/*
 * The files of a cluster on this machine: configuration, folder, journals. Used by the commands
 * on the main thread. Nothing that exists is ever overwritten.
 */
#ifndef LKS_CLIENT_CLUSTER_FILES_H
#define LKS_CLIENT_CLUSTER_FILES_H

#include "base/error.h"
#include "client/cluster_options.h"
#include "node/config.h"

#include <stdbool.h>

/* Writes "<directory>/cluster.yaml". -ENAMETOOLONG. */
int lks_cluster_config_path(const char *directory, char path[LKS_CONFIG_PATH_MAX],
                            struct lks_error *err);

/* Makes the folder (mode 0700) unless it exists. errno. */
int lks_cluster_make_directory(const char *directory, struct lks_error *err);

/* Writes a new cluster's configuration, with a new id, into options->directory and loads it.
 * No file is left behind on failure. */
int lks_cluster_new_config(struct lks_config *config, const struct lks_cluster_options *options,
                           char path[LKS_CONFIG_PATH_MAX], struct lks_error *err);

/*
 * Creates all journals and snapshot areas of a cluster that never ran, showing progress. All or
 * none: those made are removed again on failure; -EEXIST before anything is made if one is there.
 */
int lks_cluster_create_replicas(const struct lks_config *config, struct lks_error *err);

/* Creates one replica's; see `fresh_cluster` of lks_journal_create. lives: of the journal that it
 * replaces, as lks_cluster_set_aside said; 0: not known. Both or none. */
int lks_cluster_create_replica(const struct lks_config *config, uint32_t replica,
                               bool fresh_cluster, uint64_t lives, struct lks_error *err);

/* Renames a replica's journal and snapshot area, as far as they are files that exist, to
 * <name>.old-<seconds>, and says so. *lives: of the journal so far, as far as it can be read (else
 * untouched): its successor may be made within the same second. -EBUSY (a process has one of them
 * open), errno. */
int lks_cluster_set_aside(const struct lks_config *config, uint32_t replica, uint64_t *lives,
                          struct lks_error *err);

/* Whether a replica that joins can run on the journal that is there: it is this cluster's and this
 * replica's, and was not in use when the replica was removed. err says the way out. */
int lks_cluster_check_journal(const struct lks_config *config, uint32_t replica,
                              struct lks_error *err);

/* Prints one line: where the journal is and what its medium survives. */
int lks_cluster_print_medium(const struct lks_config *config, uint32_t replica,
                             struct lks_error *err);

#endif
