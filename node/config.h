/*
 * The configuration of a cluster: one YAML file, shared by all its replicas. Loaded once at start
 * by the daemon and the client's commands, on their main thread; every value is checked against
 * its limits before anything else begins, and each error names file, line, key, value and the way
 * out. A loaded configuration holds no pointers and needs no freeing.
 *
 *   name: demo                   # [a-z0-9-]{1,32}
 *   id: 4f6e0c1e-...             # 16 bytes in hexadecimal: one cluster's journals and peers
 *   directory: .                 # sockets and pid files; relative to this file's folder
 *   fabric: shm                  # shm: processes of one host; rdma: RoCE or InfiniBand
 *   cluster_key: 64 digits       # rdma: 32 secret bytes in hexadecimal, by which replicas know
 *                                # one another
 *   client_key: 64 digits        # rdma: likewise, by which clients over RDMA are known; none: no
 *                                # such clients
 *   durability: auto             # auto | memory | writer-flush | pmem-ack | pmem-read
 *   ring: 64M                    # bytes of log that each replica keeps
 *   entry_max: 512K              # greatest command, at most 512K and ring / 8
 *   spin: auto                   # look for new work this long before sleeping; auto: 20us where
 *                                # each replica can have a core of its own, else 0
 *   busy_poll: no                # never sleep; for cores that do nothing else
 *   log: info                    # error | warn | info | debug
 *   connections_max: 10240       # clients of one replica
 *   pending_max: 32M             # commands of one replica's clients without an answer
 *   client_answers_max: 128M     # answers of one replica's clients on its fabric that wait, as
 *                                # those do not read them
 *   snapshots_max: 4G            # greatest size of each replica's snapshot area, which takes space
 *                                # only as it is used: at least twice the data
 *   debug_commands: no           # DEBUG BURN is executed: for measurements
 *   scheduler:                   # who executes committed commands (docs/scheduling.md)
 *     kind: sequential           # sequential | early | late | hybrid | adaptive
 *     workers: 0                 # threads for the others, at most 63; each replica has its own
 *   timing:
 *     election_timeout: 25ms     # a leader's counter unmoved this long is suspicious
 *     heartbeat: 5ms             # how often that counter moves at least
 *     silent_writer: 10ms        # a peer stopped inside a write this long is killed
 *   rdma:                        # rdma: all of it may be left out
 *     traffic_class: 0           # of all packets; RoCE v2: DSCP << 2; 0: the system's
 *     service_level: 0           # of the writes to logs; InfiniBand, and the priority of RoCE
 *     pkey: 0x8001               # partition of the writes to logs; default: the address's
 *     gid_index: auto            # auto: the address's entry, RoCE v2 where there is one
 *     ack_timeout: 33ms          # raised to 4.096 us times a power of two
 *     retries: 6                 # a peer that is silent for 1 + retries timeouts counts as gone
 *     direct_write_to_pmem: no   # asserted: what the adapters write does not stay in processors'
 *                                # caches; nothing can check that
 *   replicas:                    # ids 1, 2, ... without gaps, at most 7; a new cluster begins with
 *                                # all of them (1, 3, 5 or 7); of one that has run, this tells
 *                                # where replicas are, its log tells which of them are members
 *     - id: 1
 *       journal: r1.journal      # relative to this file's folder
 *       listen: 127.0.0.1:7001   # clients connect here
 *       rdma: 10.0.0.1:7101      # rdma: an address of an RDMA port, and a port of its own
 *       snapshots: r1.snapshots  # default: the journal's name and .snapshots; a journal that is a
 *                                # device needs it
 *
 * name, id and replicas are needed; everything else has the default shown.
 */
#ifndef LKS_NODE_CONFIG_H
#define LKS_NODE_CONFIG_H

#include "base/error.h"
#include "base/log.h"
#include "node/inbox_layout.h"
#include "node/replica.h"
#include "node/value.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_CONFIG_PATH_MAX 1024u
#define LKS_CONFIG_NAME_MAX 33u
#define LKS_CONFIG_KEY_BYTES 32u
#define LKS_CONFIG_FILE_BYTES_MAX (64u << 10)
#define LKS_CONFIG_SPIN_AUTO UINT64_MAX
#define LKS_CONFIG_GID_AUTO UINT32_MAX
#define LKS_CONFIG_ENTRY_BYTES_MAX LKS_INGRESS_COMMAND_MAX /* any command can be forwarded */

struct lks_config_replica {
    char journal[LKS_CONFIG_PATH_MAX];
    char snapshots[LKS_CONFIG_PATH_MAX]; /* for lks_config_write empty: the default */
    char address[LKS_ADDRESS_TEXT_MAX]; /* numeric */
    uint16_t port;
    char rdma_address[LKS_ADDRESS_TEXT_MAX]; /* numeric; "": none */
    uint16_t rdma_port;
};

enum lks_config_fabric { LKS_CONFIG_FABRIC_SHM, LKS_CONFIG_FABRIC_RDMA };

struct lks_config_rdma {
    uint64_t traffic_class;
    uint64_t service_level;
    uint64_t ack_timeout_ns;
    uint64_t retries;
    uint16_t pkey;       /* 0: the address's */
    uint32_t gid_index;  /* or LKS_CONFIG_GID_AUTO */
    bool direct_write_asserted;
};

struct lks_config {
    char name[LKS_CONFIG_NAME_MAX];
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    char directory[LKS_CONFIG_PATH_MAX];
    enum lks_config_fabric fabric;
    uint8_t cluster_key[LKS_CONFIG_KEY_BYTES]; /* RDMA */
    uint8_t client_key[LKS_CONFIG_KEY_BYTES];  /* RDMA: of clients on the fabric; ... */
    bool takes_clients;                        /* ... there are none, if it is not given */
    enum lks_durability durability; /* as wished; see node/durability.h */
    uint64_t ring_bytes;
    uint64_t entry_bytes_max;
    uint64_t spin_ns; /* LKS_CONFIG_SPIN_AUTO: see lks_config_spin_ns */
    bool busy_poll;
    enum lks_log_level log_level;
    uint64_t connections_max;
    uint64_t pending_bytes_max;
    uint64_t client_answers_bytes_max;
    uint64_t snapshots_bytes_max;
    bool debug_commands;
    enum lks_scheduler_kind scheduler;
    uint64_t workers; /* 0: the core thread executes */
    uint64_t election_timeout_ns;
    uint64_t heartbeat_ns;
    uint64_t silent_writer_ns;
    struct lks_config_rdma rdma;
    uint32_t replicas_count;
    struct lks_config_replica replicas[LKS_REPLICAS_MAX + 1]; /* by id; [0] unused */
};

/* Loads and checks a file. -LKS_ECONFIG, errno of opening or reading it. */
int lks_config_load(struct lks_config *config, const char *path, struct lks_error *err);

/* The same for text in memory. file: what messages call it; relative paths begin at its folder. */
int lks_config_parse(struct lks_config *config, const char *text, size_t bytes, const char *file,
                     struct lks_error *err);

/* Every default, with no name, id, directory and replicas. */
void lks_config_defaults(struct lks_config *config);

/* The replicas of the file as a mask, bit p is replica p: the first members of a new cluster. (The
 * members of one that has run are in its log.) */
static inline uint32_t lks_config_members(const struct lks_config *config)
{
    return (2u << config->replicas_count) - 2u;
}

/* "shm", "rdma". -EINVAL. */
int lks_config_fabric_parse(const char *name, enum lks_config_fabric *fabric);
const char *lks_config_fabric_name(enum lks_config_fabric fabric);

/* Replicas of different hosts may have files of the same names. */
bool lks_config_share_host(const struct lks_config *config, uint32_t a, uint32_t b);

/* 64 hexadecimal digits. -EINVAL. */
int lks_config_key_parse(const char *text, uint8_t key[LKS_CONFIG_KEY_BYTES]);

/* "0x8001" or decimal, 1..0xffff; "auto" or 0..255. -EINVAL. */
int lks_config_pkey_parse(const char *text, uint16_t *pkey);
int lks_config_gid_index_parse(const char *text, uint32_t *index);

/* The snapshot area's place beside the journal. False: the path would be too long. */
bool lks_config_default_snapshots(struct lks_config_replica *replica);

/*
 * How long a loop spins on a machine with that many cores. Measured with three replicas and a
 * client on two cores: spinning does not shorten the median (9.1 us for a SET on one connection,
 * with or without), and takes time from the process that would make the work.
 */
uint64_t lks_config_spin_ns(const struct lks_config *config, unsigned cores);

/* Writes a new file (mode 0600) that _load reads back as the same. -EEXIST, errno; -EINVAL: a path
 * has characters that do not print. err says the way out, and no file is left behind. */
int lks_config_write(const struct lks_config *config, const char *path, struct lks_error *err);

#endif
