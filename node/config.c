/*
 * The configuration of a cluster; see config.h. libcyaml brings the file into strings and refuses
 * keys that do not exist (config_raw.h); the table below turns each string into a value within its
 * limits.
 */
#include "node/config.h"

#include "base/assert.h"
#include "base/clock.h"
#include "node/client_port.h"
#include "node/config_lines.h"
#include "node/config_raw.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- values and their limits -------------------------------------------------------------- */

#define SNAPSHOTS_BYTES_MIN (UINT64_C(16) << 20)

enum value_kind { VALUE_SIZE, VALUE_DURATION, VALUE_SPIN, VALUE_COUNT, VALUE_BOOLEAN };

struct value_field {
    const char *path;
    enum value_kind kind;
    size_t raw_offset;
    size_t offset;
    uint64_t min;
    uint64_t max;
    const char *default_text;
};

#define VALUE_FIELD(path, kind, raw, member, min, max, text)                                     \
    {path, kind, offsetof(struct lks_config_raw, raw), offsetof(struct lks_config, member), min, \
     max, text}

static const struct value_field value_fields[] = {
    VALUE_FIELD("ring", VALUE_SIZE, ring, ring_bytes, LKS_JOURNAL_RING_MIN, LKS_JOURNAL_RING_MAX,
                "64M"),
    VALUE_FIELD("entry_max", VALUE_SIZE, entry_max, entry_bytes_max, 1024,
                LKS_CONFIG_ENTRY_BYTES_MAX, "512K"),
    VALUE_FIELD("spin", VALUE_SPIN, spin, spin_ns, 0, 10 * LKS_NS_PER_MS, "auto"),
    VALUE_FIELD("busy_poll", VALUE_BOOLEAN, busy_poll, busy_poll, 0, 1, "no"),
    VALUE_FIELD("connections_max", VALUE_COUNT, connections_max, connections_max, 1, 1000000,
                "10240"),
    VALUE_FIELD("pending_max", VALUE_SIZE, pending_max, pending_bytes_max, UINT64_C(64) << 10,
                UINT64_C(1) << 30, "32M"),
    VALUE_FIELD("client_answers_max", VALUE_SIZE, client_answers_max, client_answers_bytes_max,
                LKS_CLIENT_PORT_ALL_HELD_BYTES_MIN, UINT64_C(1) << 36, "128M"),
    VALUE_FIELD("snapshots_max", VALUE_SIZE, snapshots_max, snapshots_bytes_max,
                SNAPSHOTS_BYTES_MIN, UINT64_C(1) << 44, "4G"),
    VALUE_FIELD("debug_commands", VALUE_BOOLEAN, debug_commands, debug_commands, 0, 1, "no"),
    VALUE_FIELD("scheduler.workers", VALUE_COUNT, scheduler.workers, workers, 0, LKS_WORKERS_MAX,
                "0"),
    VALUE_FIELD("timing.election_timeout", VALUE_DURATION, timing.election_timeout,
                election_timeout_ns, 2 * LKS_NS_PER_MS, 60 * LKS_NS_PER_S, "25ms"),
    VALUE_FIELD("timing.heartbeat", VALUE_DURATION, timing.heartbeat, heartbeat_ns,
                100 * LKS_NS_PER_US, 10 * LKS_NS_PER_S, "5ms"),
    VALUE_FIELD("timing.silent_writer", VALUE_DURATION, timing.silent_writer, silent_writer_ns,
                LKS_NS_PER_MS, 10 * LKS_NS_PER_S, "10ms"),
    VALUE_FIELD("rdma.traffic_class", VALUE_COUNT, rdma.traffic_class, rdma.traffic_class, 0,
                UINT8_MAX, "0"),
    VALUE_FIELD("rdma.service_level", VALUE_COUNT, rdma.service_level, rdma.service_level, 0, 15,
                "0"),
    VALUE_FIELD("rdma.ack_timeout", VALUE_DURATION, rdma.ack_timeout, rdma.ack_timeout_ns,
                10 * LKS_NS_PER_US, 8 * LKS_NS_PER_S, "33ms"),
    VALUE_FIELD("rdma.retries", VALUE_COUNT, rdma.retries, rdma.retries, 1, 7, "6"),
};

struct loader {
    struct lks_config *config;
    const char *file;
    struct lks_config_lines *lines;
    struct lks_error *err;
    char message[160]; /* libcyaml's complaint, and where: from the innermost place outwards */
    char trail[256];
};

__attribute__((format(printf, 3, 4))) static int complain(const struct loader *loader,
                                                          const char *path, const char *format,
                                                          ...)
{
    char text[LKS_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return lks_error_set(loader->err, -LKS_ECONFIG, "%s:%u: %s%s%s", loader->file,
                         lks_config_lines_find(loader->lines, path), path,
                         path[0] != '\0' ? ": " : "", text);
}

static const char *limit_text(const struct value_field *field, uint64_t value, char *text,
                              size_t bytes)
{
    switch (field->kind) {
    case VALUE_SIZE:
        return lks_value_size_text(value, text, bytes);
    case VALUE_DURATION:
    case VALUE_SPIN:
        return lks_value_duration_text(value, text, bytes);
    case VALUE_COUNT:
    case VALUE_BOOLEAN:
        (void)snprintf(text, bytes, "%" PRIu64, value);
        return text;
    }
    return text;
}

static int set_boolean(const struct loader *loader, const struct value_field *field,
                       const char *text)
{
    bool value = false;
    if (lks_value_boolean(text, &value) != 0) {
        return complain(loader, field->path, "'%s' is neither yes nor no", text);
    }
    memcpy((char *)loader->config + field->offset, &value, sizeof value);
    return 0;
}

static int read_value(enum value_kind kind, const char *text, uint64_t *value)
{
    switch (kind) {
    case VALUE_SIZE:
        return lks_value_size(text, value);
    case VALUE_SPIN:
        if (strcmp(text, "auto") == 0) {
            *value = LKS_CONFIG_SPIN_AUTO;
            return 0;
        }
        return lks_value_duration(text, value);
    case VALUE_DURATION:
        return lks_value_duration(text, value);
    case VALUE_COUNT:
    case VALUE_BOOLEAN:
        return lks_value_count(text, value);
    }
    return -EINVAL;
}

static int set_value(const struct loader *loader, const struct value_field *field,
                     const char *text)
{
    static const char *const forms[] = {
        [VALUE_SIZE] = "a size such as 64K, 16M or 1G",
        [VALUE_DURATION] = "a time such as 20us, 5ms or 1s",
        [VALUE_SPIN] = "auto or a time such as 20us",
        [VALUE_COUNT] = "a whole number",
    };
    if (field->kind == VALUE_BOOLEAN) {
        return set_boolean(loader, field, text);
    }
    uint64_t value = 0;
    const int rc = read_value(field->kind, text, &value);
    if (rc == -EINVAL) {
        return complain(loader, field->path, "'%s' is not %s", text, forms[field->kind]);
    }
    const bool is_auto = field->kind == VALUE_SPIN && value == LKS_CONFIG_SPIN_AUTO;
    if (rc != 0 || (!is_auto && (value < field->min || value > field->max))) {
        char low[32];
        char high[32];
        return complain(loader, field->path, "'%s' is out of range: must be %s to %s", text,
                        limit_text(field, field->min, low, sizeof low),
                        limit_text(field, field->max, high, sizeof high));
    }
    memcpy((char *)loader->config + field->offset, &value, sizeof value);
    return 0;
}

void lks_config_defaults(struct lks_config *config)
{
    memset(config, 0, sizeof *config);
    config->log_level = LKS_LOG_INFO;
    config->durability = LKS_DURABILITY_AUTO;
    config->rdma.gid_index = LKS_CONFIG_GID_AUTO;
    const struct loader loader = {.config = config};
    for (size_t i = 0; i < LKS_COUNT_OF(value_fields); i++) {
        const int rc = set_value(&loader, &value_fields[i], value_fields[i].default_text);
        LKS_ASSERT(rc == 0);
    }
}

/* ---- keys with rules of their own --------------------------------------------------------- */

static int check_name(const struct loader *loader, const char *text)
{
    if (text == NULL) {
        return complain(loader, "", "name is missing: write `name: demo`");
    }
    const size_t length = strlen(text);
    if (length == 0 || length >= LKS_CONFIG_NAME_MAX) {
        return complain(loader, "name", "'%s' must have 1 to %u characters", text,
                        LKS_CONFIG_NAME_MAX - 1);
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (!islower((unsigned char)*at) && !isdigit((unsigned char)*at) && *at != '-') {
            return complain(loader, "name", "'%s' may hold a-z, 0-9 and - only", text);
        }
    }
    memcpy(loader->config->name, text, length + 1);
    return 0;
}

/* Relative paths begin at the file's folder. */
static int resolve_path(const struct loader *loader, const char *key, const char *text,
                        char path[LKS_CONFIG_PATH_MAX])
{
    if (text[0] == '\0') {
        return complain(loader, key, "a path must not be empty");
    }
    const int unprintable = lks_value_unprintable(text);
    if (unprintable >= 0) {
        return complain(loader, key, "byte %d of the path, 0x%02x, begins no printable character: "
                        "rename what it names", unprintable + 1, (unsigned char)text[unprintable]);
    }
    const char *slash = strrchr(loader->file, '/');
    int length = 0;
    if (text[0] == '/' || slash == NULL) {
        length = snprintf(path, LKS_CONFIG_PATH_MAX, "%s", text);
    } else if (strcmp(text, ".") == 0) {
        length = snprintf(path, LKS_CONFIG_PATH_MAX, "%.*s",
                          slash == loader->file ? 1 : (int)(slash - loader->file), loader->file);
    } else {
        length = snprintf(path, LKS_CONFIG_PATH_MAX, "%.*s/%s", (int)(slash - loader->file),
                          loader->file, text);
    }
    if (length < 0 || (size_t)length >= LKS_CONFIG_PATH_MAX) {
        return complain(loader, key, "the path is longer than %u bytes", LKS_CONFIG_PATH_MAX - 1);
    }
    return 0;
}

static int check_directory(const struct loader *loader, const char *text)
{
    struct lks_config *config = loader->config;
    const int rc = resolve_path(loader, "directory", text != NULL ? text : ".", config->directory);
    if (rc != 0) {
        return rc;
    }
    const size_t longest = sizeof ((struct sockaddr_un *)0)->sun_path - sizeof "/r7.sock";
    if (strlen(config->directory) > longest) {
        return complain(loader, "directory",
                        "'%s' has more than %zu bytes, too long for a socket's name: use a "
                        "shorter path",
                        config->directory, longest);
    }
    return 0;
}

/* Whoever has it can give commands, but must not be able to pass for a replica. */
static int check_client_key(const struct loader *loader, const struct lks_config_raw *raw)
{
    struct lks_config *config = loader->config;
    if (raw->client_key == NULL) {
        return 0;
    }
    if (config->fabric != LKS_CONFIG_FABRIC_RDMA) {
        return complain(loader, "client_key", "it is for `fabric: rdma`, but the fabric is shm, "
                        "where clients are the replicas' user: leave it out");
    }
    if (lks_config_key_parse(raw->client_key, config->client_key) != 0) {
        return complain(loader, "client_key", "it is not %u hexadecimal digits",
                        2 * LKS_CONFIG_KEY_BYTES);
    }
    if (memcmp(config->client_key, config->cluster_key, sizeof config->client_key) == 0) {
        return complain(loader, "client_key", "it is the cluster_key: give clients another one "
                        "(`openssl rand -hex 32`), else each can pass for a replica");
    }
    config->takes_clients = true;
    return 0;
}

static int check_modes(const struct loader *loader, const struct lks_config_raw *raw)
{
    struct lks_config *config = loader->config;
    if (raw->fabric != NULL && lks_config_fabric_parse(raw->fabric, &config->fabric) != 0) {
        return complain(loader, "fabric", "'%s' is unknown: use shm or rdma", raw->fabric);
    }
    if (raw->cluster_key != NULL &&
        lks_config_key_parse(raw->cluster_key, config->cluster_key) != 0) {
        return complain(loader, "cluster_key", "it is not %u hexadecimal digits",
                        2 * LKS_CONFIG_KEY_BYTES);
    }
    if (config->fabric == LKS_CONFIG_FABRIC_RDMA && raw->cluster_key == NULL) {
        return complain(loader, "", "cluster_key is missing: with `fabric: rdma` give %u "
                        "hexadecimal digits, the same for all replicas and secret (`openssl rand "
                        "-hex 32` makes some)", 2 * LKS_CONFIG_KEY_BYTES);
    }
    const int rc = check_client_key(loader, raw);
    if (rc != 0) {
        return rc;
    }
    if (raw->durability != NULL &&
        lks_durability_parse(raw->durability, &config->durability) != 0) {
        return complain(loader, "durability",
                        "'%s' is unknown: use auto, memory, writer-flush or pmem-ack",
                        raw->durability);
    }
    if (config->durability == LKS_DURABILITY_PMEM_READ &&
        config->fabric != LKS_CONFIG_FABRIC_RDMA) {
        return complain(loader, "durability",
                        "'pmem-read' needs an RDMA fabric: use auto, memory, writer-flush or "
                        "pmem-ack");
    }
    struct lks_error err = {0};
    const char *kind = raw->scheduler.kind;
    if (kind != NULL && lks_scheduler_kind_parse(kind, &config->scheduler, &err) != 0) {
        return complain(loader, "scheduler.kind", "%s", err.text);
    }
    if (raw->log != NULL) {
        for (int level = LKS_LOG_ERROR; level <= LKS_LOG_DEBUG; level++) {
            if (strcmp(raw->log, lks_log_level_name((enum lks_log_level)level)) == 0) {
                config->log_level = (enum lks_log_level)level;
                return 0;
            }
        }
        return complain(loader, "log", "'%s' is unknown: use error, warn, info or debug",
                        raw->log);
    }
    return 0;
}

/* What the table of values cannot say. */
static int check_rdma_keys(const struct loader *loader, const struct lks_config_raw_rdma *raw)
{
    struct lks_config_rdma *rdma = &loader->config->rdma;
    static const struct lks_config_raw_rdma nothing;
    if (loader->config->fabric != LKS_CONFIG_FABRIC_RDMA &&
        memcmp(raw, &nothing, sizeof nothing) != 0) {
        return complain(loader, "rdma", "it is for `fabric: rdma`, but the fabric is shm: choose "
                        "the fabric, or remove it");
    }
    if (raw->pkey != NULL && lks_config_pkey_parse(raw->pkey, &rdma->pkey) != 0) {
        return complain(loader, "rdma.pkey", "'%s' is not a partition key such as 0x8001, 0x1 to "
                        "0xffff: `cat /sys/class/infiniband/*/ports/*/pkeys/*` shows a port's",
                        raw->pkey);
    }
    if (raw->gid_index != NULL &&
        lks_config_gid_index_parse(raw->gid_index, &rdma->gid_index) != 0) {
        return complain(loader, "rdma.gid_index", "'%s' is neither auto nor 0 to 255: `rdma link` "
                        "and /sys/class/infiniband/*/ports/*/gids show a port's", raw->gid_index);
    }
    if (raw->direct_write_to_pmem != NULL) {
        rdma->direct_write_asserted = strcmp(raw->direct_write_to_pmem, "asserted") == 0;
        if (!rdma->direct_write_asserted && strcmp(raw->direct_write_to_pmem, "no") != 0) {
            return complain(loader, "rdma.direct_write_to_pmem", "'%s' is unknown: use no, or "
                            "asserted if every adapter's writes go past the processors' caches",
                            raw->direct_write_to_pmem);
        }
    }
    return 0;
}

static int check_address(const struct loader *loader, const char *path, const char *text,
                         char address[LKS_ADDRESS_TEXT_MAX], uint16_t *port)
{
    switch (lks_value_address(text, address, port)) {
    case 0:
        return 0;
    case -ERANGE:
        return complain(loader, path, "'%s': port must be 1..65535", text);
    case -EADDRNOTAVAIL:
        return complain(loader, path,
                        "'%s': the address must be numeric, such as 127.0.0.1:7001 or [::1]:7001",
                        text);
    default:
        return complain(loader, path, "'%s' is not of the form address:port", text);
    }
}

/* Beside the journal, unless a path is given. */
static int check_snapshots(const struct loader *loader, const struct lks_config_raw_replica *raw,
                           unsigned at, struct lks_config_replica *replica)
{
    char path[40];
    (void)snprintf(path, sizeof path, "replicas[%u].snapshots", at);
    if (raw->snapshots != NULL) {
        return resolve_path(loader, path, raw->snapshots, replica->snapshots);
    }
    if (strncmp(replica->journal, "/dev/dax", 8) == 0) {
        return complain(loader, path,
                        "a journal that is a device has no place beside it: give the path of a "
                        "file for the snapshots");
    }
    return lks_config_default_snapshots(replica)
               ? 0
               : complain(loader, path, "the path beside the journal is longer than %u bytes",
                          LKS_CONFIG_PATH_MAX - 1);
}

/* Where the replica's peers reach it by RDMA. */
static int check_rdma(const struct loader *loader, const struct lks_config_raw_replica *raw,
                      unsigned at, uint32_t id)
{
    struct lks_config *config = loader->config;
    struct lks_config_replica *replica = &config->replicas[id];
    char path[40];
    (void)snprintf(path, sizeof path, "replicas[%u].rdma", at);
    if (raw->rdma == NULL) {
        return config->fabric != LKS_CONFIG_FABRIC_RDMA
                   ? 0
                   : complain(loader, path, "it is missing: with `fabric: rdma` give the address "
                              "of an RDMA port, and a port of its own");
    }
    const int rc =
        check_address(loader, path, raw->rdma, replica->rdma_address, &replica->rdma_port);
    for (uint32_t other = 1; rc == 0 && other <= config->replicas_count; other++) {
        const struct lks_config_replica *taken = &config->replicas[other];
        if (other != id && taken->rdma_port == replica->rdma_port &&
            strcmp(taken->rdma_address, replica->rdma_address) == 0) {
            return complain(loader, path, "'%s' is replica %u's address too: give each its own",
                            raw->rdma, other);
        }
    }
    return rc;
}

/* Clients over RDMA call the RDMA address at the port of `listen`. */
static int check_client_places(const struct loader *loader, const char *path, uint32_t id)
{
    const struct lks_config *config = loader->config;
    const struct lks_config_replica *replica = &config->replicas[id];
    for (uint32_t other = 1; config->takes_clients && other <= config->replicas_count; other++) {
        const struct lks_config_replica *taken = &config->replicas[other];
        if (taken->port == 0 || strcmp(taken->rdma_address, replica->rdma_address) != 0) {
            continue; /* not read yet, or elsewhere */
        }
        if (taken->rdma_port == replica->port || replica->rdma_port == taken->port ||
            (other != id && taken->port == replica->port)) {
            return complain(loader, path, "clients over RDMA call %s at the port of `listen`, %u, "
                            "which is in use by replica %u: choose another port there",
                            replica->rdma_address, replica->port, other);
        }
    }
    return 0;
}

/* Every file serves one purpose of one replica. */
static int check_files(const struct loader *loader, unsigned at, uint32_t id)
{
    const struct lks_config *config = loader->config;
    const struct lks_config_replica *replica = &config->replicas[id];
    char path[40];
    for (uint32_t other = 1; other <= config->replicas_count; other++) {
        const struct lks_config_replica *taken = &config->replicas[other];
        if (!lks_config_share_host(config, id, other)) {
            continue;
        }
        (void)snprintf(path, sizeof path, "replicas[%u].journal", at);
        if (other != id && strcmp(taken->journal, replica->journal) == 0) {
            return complain(loader, path, "'%s' is replica %u's journal too: give each its own",
                            replica->journal, other);
        }
        (void)snprintf(path, sizeof path, "replicas[%u].snapshots", at);
        if (strcmp(taken->journal, replica->snapshots) == 0) {
            return complain(loader, path, "'%s' is replica %u's journal: give another file",
                            replica->snapshots, other);
        }
        if (other != id && (strcmp(taken->snapshots, replica->snapshots) == 0 ||
                            strcmp(taken->snapshots, replica->journal) == 0)) {
            return complain(loader, path, "'%s' is a file of replica %u too: give each its own",
                            taken->snapshots, other);
        }
    }
    return 0;
}

static int check_replica(const struct loader *loader, const struct lks_config_raw_replica *raw,
                         unsigned at)
{
    struct lks_config *config = loader->config;
    char path[40];
    (void)snprintf(path, sizeof path, "replicas[%u]", at);
    const char *missing = raw->id == NULL        ? "id"
                          : raw->journal == NULL ? "journal"
                          : raw->listen == NULL  ? "listen"
                                                 : NULL;
    if (missing != NULL) {
        return complain(loader, path, "%s is missing", missing);
    }
    (void)snprintf(path, sizeof path, "replicas[%u].id", at);
    uint64_t id = 0;
    if (lks_value_count(raw->id, &id) != 0 || id < 1 || id > config->replicas_count) {
        return complain(loader, path, "'%s': the ids of %u replicas are 1 to %u", raw->id,
                        config->replicas_count, config->replicas_count);
    }
    struct lks_config_replica *replica = &config->replicas[id];
    if (replica->port != 0) {
        return complain(loader, path, "'%s' is given twice", raw->id);
    }
    (void)snprintf(path, sizeof path, "replicas[%u].journal", at);
    int rc = resolve_path(loader, path, raw->journal, replica->journal);
    if (rc != 0) {
        return rc;
    }
    rc = check_snapshots(loader, raw, at, replica);
    if (rc == 0) {
        rc = check_rdma(loader, raw, at, (uint32_t)id);
    }
    if (rc == 0) {
        rc = check_files(loader, at, (uint32_t)id);
    }
    if (rc != 0) {
        return rc;
    }
    (void)snprintf(path, sizeof path, "replicas[%u].listen", at);
    rc = check_address(loader, path, raw->listen, replica->address, &replica->port);
    for (uint32_t other = 1; rc == 0 && other <= config->replicas_count; other++) {
        const struct lks_config_replica *taken = &config->replicas[other];
        if (other != id && taken->port == replica->port &&
            strcmp(taken->address, replica->address) == 0) {
            return complain(loader, path, "'%s' is replica %u's address too: give each its own",
                            raw->listen, other);
        }
    }
    return rc == 0 ? check_client_places(loader, path, (uint32_t)id) : rc;
}

static int check_replicas(const struct loader *loader, const struct lks_config_raw *raw)
{
    const unsigned count = raw->replicas_count;
    if (raw->replicas == NULL || count == 0) {
        return complain(loader, "", "replicas are missing: give 1 to %u", LKS_REPLICAS_MAX);
    }
    if (count > LKS_REPLICAS_MAX) {
        return complain(loader, "replicas", "there are %u: at most %u", count, LKS_REPLICAS_MAX);
    }
    loader->config->replicas_count = count;
    for (unsigned i = 0; i < count; i++) {
        const int rc = check_replica(loader, &raw->replicas[i], i);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* Rules between values. */
static int check_together(const struct loader *loader, const struct lks_config_raw *raw)
{
    struct lks_config *config = loader->config;
    char left[32];
    char right[32];
    if (config->ring_bytes % 4096 != 0) {
        return complain(loader, "ring", "'%s' is not a multiple of 4096 bytes", raw->ring);
    }
    if (config->snapshots_bytes_max % LKS_SNAPSHOTS_AREA_UNIT != 0) {
        return complain(loader, "snapshots_max", "'%s' is not a multiple of 1M",
                        raw->snapshots_max);
    }
    if (config->entry_bytes_max > config->ring_bytes / 8) {
        if (raw->entry_max != NULL) {
            return complain(loader, "entry_max",
                            "'%s' is more than an eighth of the ring of %s: at most %s, or a "
                            "greater ring",
                            raw->entry_max,
                            lks_value_size_text(config->ring_bytes, left, sizeof left),
                            lks_value_size_text(config->ring_bytes / 8, right, sizeof right));
        }
        config->entry_bytes_max = config->ring_bytes / 8;
    }
    if (config->scheduler != LKS_SEQUENTIAL && config->workers == 0) {
        return complain(loader, "scheduler.kind",
                        "'%s' needs workers: give scheduler.workers 1 to %u, or kind sequential",
                        lks_scheduler_kind_name(config->scheduler), LKS_WORKERS_MAX);
    }
    if (config->heartbeat_ns * 2 > config->election_timeout_ns) {
        return complain(loader, "timing",
                        "heartbeat %s must be at most half of election_timeout %s",
                        lks_value_duration_text(config->heartbeat_ns, left, sizeof left),
                        lks_value_duration_text(config->election_timeout_ns, right,
                                                sizeof right));
    }
    return 0;
}

static int check_all(const struct loader *loader, const struct lks_config_raw *raw)
{
    int rc = check_name(loader, raw->name);
    if (rc == 0 && raw->id == NULL) {
        rc = complain(loader, "", "id is missing: 32 hexadecimal digits, new for each cluster");
    }
    if (rc == 0 && lks_value_cluster_id(raw->id, loader->config->cluster_id) != 0) {
        rc = complain(loader, "id", "'%s' is not 32 hexadecimal digits", raw->id);
    }
    if (rc == 0) {
        rc = check_directory(loader, raw->directory);
    }
    if (rc == 0) {
        rc = check_modes(loader, raw);
    }
    if (rc == 0) {
        rc = check_rdma_keys(loader, &raw->rdma);
    }
    for (size_t i = 0; rc == 0 && i < LKS_COUNT_OF(value_fields); i++) {
        const char *text = NULL;
        memcpy(&text, (const char *)raw + value_fields[i].raw_offset, sizeof text);
        if (text != NULL) {
            rc = set_value(loader, &value_fields[i], text);
        }
    }
    if (rc == 0) {
        rc = check_together(loader, raw);
    }
    if (rc == 0) {
        rc = check_replicas(loader, raw);
    }
    return rc;
}

/* ---- libcyaml ----------------------------------------------------------------------------- */

/*
 * libcyaml tells what is wrong and then, from the inside out, where ("in mapping field 'timing'",
 * "in sequence entry '2'"). The first is kept as it is, the second becomes a key path.
 */
static void on_cyaml_message(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
    struct loader *loader = ctx;
    char line[256];
    (void)level;
    (void)vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    char part[80] = "";
    unsigned entry = 0;
    if (strstr(text, "in mapping field '") != NULL) {
        const char *name = strchr(text, '\'') + 1;
        (void)snprintf(part, sizeof part, ".%.*s", (int)strcspn(name, "'"), name);
    } else if (sscanf(text, "  in sequence entry '%u'", &entry) == 1) {
        (void)snprintf(part, sizeof part, "[%u]", entry - 1);
    } else if (loader->message[0] == '\0') {
        (void)snprintf(loader->message, sizeof loader->message, "%.*s",
                       (int)sizeof loader->message - 1, text);
    }
    char longer[sizeof loader->trail];
    (void)snprintf(longer, sizeof longer, "%.79s%.170s", part, loader->trail);
    memcpy(loader->trail, longer, sizeof longer);
}

static int complain_cyaml(const struct loader *loader, const char *otherwise)
{
    const char *path = loader->trail[0] == '.' ? loader->trail + 1 : loader->trail;
    const char unexpected[] = "Unexpected key: ";
    if (strncmp(loader->message, unexpected, sizeof unexpected - 1) == 0) {
        char full[420];
        (void)snprintf(full, sizeof full, "%s%s%s", path, path[0] != '\0' ? "." : "",
                       loader->message + sizeof unexpected - 1);
        return complain(loader, full, "unknown key: correct or remove it");
    }
    return complain(loader, path, "%s",
                    loader->message[0] != '\0' ? loader->message : otherwise);
}

static int load_text(struct loader *loader, const char *text, size_t bytes)
{
    const cyaml_config_t settings = {
        .log_fn = on_cyaml_message,
        .log_ctx = loader,
        .log_level = CYAML_LOG_ERROR,
        .mem_fn = cyaml_mem,
    };
    void *loaded = NULL;
    const cyaml_err_t status = cyaml_load_data((const uint8_t *)text, bytes, &settings,
                                               &lks_config_schema, &loaded, NULL);
    if (status != CYAML_OK) {
        return complain_cyaml(loader, cyaml_strerror(status));
    }
    if (loaded == NULL) {
        return complain(loader, "", "the file is empty");
    }
    const int rc = check_all(loader, loaded);
    (void)cyaml_free(&settings, &lks_config_schema, loaded, 0);
    return rc;
}

int lks_config_parse(struct lks_config *config, const char *text, size_t bytes, const char *file,
                     struct lks_error *err)
{
    struct lks_config made;
    lks_config_defaults(&made);
    struct loader loader = {.config = &made, .file = file, .err = err};
    int rc = lks_config_lines_new(&loader.lines, text, bytes, file, err);
    if (rc != 0) {
        return rc;
    }
    rc = load_text(&loader, text, bytes);
    lks_config_lines_free(loader.lines);
    if (rc == 0) {
        *config = made;
    }
    return rc;
}
