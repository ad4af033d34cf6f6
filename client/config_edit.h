/*
 * Changing a configuration that people write: adds a replica's block to the file and leaves every
 * other byte as it is. Main thread.
 */
#ifndef LKS_CLIENT_CONFIG_EDIT_H
#define LKS_CLIENT_CONFIG_EDIT_H

#include "base/error.h"
#include "node/config.h"

/* As in the file; snapshots NULL: the default. */
struct lks_config_addition {
    uint32_t id; /* the next free one */
    const char *journal;
    const char *listen;
    const char *rdma; /* NULL: none */
    const char *snapshots;
};

/*
 * Puts a block behind the last replica's, and loads the result. The file is replaced by a rename:
 * whoever reads it sees the old one or the new one. If the block is there already, with the same
 * values, nothing is changed. Errors: -LKS_ECONFIG (the values are refused as in any configuration;
 * another block of that id; ids with a gap; a form that cannot be edited: err shows the block to be
 * added by hand), errno.
 */
int lks_config_add_replica(struct lks_config *config, const char *path,
                           const struct lks_config_addition *addition, struct lks_error *err);

/* Gives the file another cluster id; a copy of the old one stays beside as <path>.old-<seconds>.
 * -LKS_ECONFIG (no line that begins with `id:`), errno. */
int lks_config_replace_id(const char *path, const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES],
                          struct lks_error *err);

/* The same without files: the new text, to be freed. `at_end` of the old text stays what it was. */
int lks_config_text_add(const char *text, size_t bytes, const char *file,
                        const struct lks_config_addition *addition, char **changed,
                        struct lks_error *err);

#endif
