/* The configuration on disk: reading and writing the file; see config.h. */
#include "node/config.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPIN_NS (20 * LKS_NS_PER_US)

static int read_file(const char *path, char *text, size_t text_bytes, size_t *bytes,
                     struct lks_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        const int code = -errno;
        return lks_error_set(err, code, "%s: %s: give the cluster's file with --config, or make "
                             "one with `lockstep init --dir D`", path, lks_error_text(code));
    }
    size_t got = 0;
    int rc = 0;
    while (got < text_bytes) {
        const ssize_t part = read(fd, text + got, text_bytes - got);
        if (part < 0 && errno == EINTR) {
            continue;
        }
        if (part < 0) {
            rc = lks_error_set(err, -errno, "%s: cannot read: %s", path, lks_error_text(-errno));
            break;
        }
        if (part == 0) {
            break;
        }
        got += (size_t)part;
    }
    (void)close(fd);
    if (rc == 0 && got == text_bytes) {
        rc = lks_error_set(err, -LKS_ECONFIG, "%s: larger than %u bytes: not a configuration",
                           path, LKS_CONFIG_FILE_BYTES_MAX);
    }
    *bytes = got;
    return rc;
}

int lks_config_load(struct lks_config *config, const char *path, struct lks_error *err)
{
    const size_t text_bytes = LKS_CONFIG_FILE_BYTES_MAX + 1;
    char *text = malloc(text_bytes);
    if (text == NULL) {
        return lks_error_set(err, -ENOMEM, "%s: out of memory", path);
    }
    size_t bytes = 0;
    int rc = read_file(path, text, text_bytes, &bytes, err);
    if (rc == 0) {
        rc = lks_config_parse(config, text, bytes, path, err);
    }
    free(text);
    return rc;
}

uint64_t lks_config_spin_ns(const struct lks_config *config, unsigned cores)
{
    if (config->spin_ns != LKS_CONFIG_SPIN_AUTO) {
        return config->spin_ns;
    }
    return cores > config->replicas_count ? SPIN_NS : 0;
}

bool lks_config_default_snapshots(struct lks_config_replica *replica)
{
    static const char ending[] = ".snapshots";
    const size_t length = strlen(replica->journal);
    if (length + sizeof ending > sizeof replica->snapshots) {
        return false;
    }
    memcpy(replica->snapshots, replica->journal, length);
    memcpy(replica->snapshots + length, ending, sizeof ending);
    return true;
}

static void write_timing(FILE *out, const struct lks_config *config)
{
    char text[32];
    fprintf(out, "spin: %s\n",
            config->spin_ns == LKS_CONFIG_SPIN_AUTO
                ? "auto"
                : lks_value_duration_text(config->spin_ns, text, sizeof text));
    fprintf(out, "busy_poll: %s\n", config->busy_poll ? "yes" : "no");
    fprintf(out, "log: %s\n", lks_log_level_name(config->log_level));
    fprintf(out, "connections_max: %" PRIu64 "\n", config->connections_max);
    fprintf(out, "pending_max: %s\n",
            lks_value_size_text(config->pending_bytes_max, text, sizeof text));
    fprintf(out, "client_answers_max: %s\n",
            lks_value_size_text(config->client_answers_bytes_max, text, sizeof text));
    fprintf(out, "snapshots_max: %s\n",
            lks_value_size_text(config->snapshots_bytes_max, text, sizeof text));
    fprintf(out, "debug_commands: %s\n", config->debug_commands ? "yes" : "no");
    fprintf(out, "scheduler:\n  kind: %s\n  workers: %" PRIu64 "\n",
            lks_scheduler_kind_name(config->scheduler), config->workers);
    fprintf(out, "timing:\n");
    fprintf(out, "  election_timeout: %s\n",
            lks_value_duration_text(config->election_timeout_ns, text, sizeof text));
    fprintf(out, "  heartbeat: %s\n",
            lks_value_duration_text(config->heartbeat_ns, text, sizeof text));
    fprintf(out, "  silent_writer: %s\n",
            lks_value_duration_text(config->silent_writer_ns, text, sizeof text));
}

/* Keys that say `the default` by being left out are. */
static void write_rdma(FILE *out, const struct lks_config *config)
{
    const struct lks_config_rdma *rdma = &config->rdma;
    char text[32];
    fprintf(out, "rdma:\n  traffic_class: %" PRIu64 "\n  service_level: %" PRIu64 "\n",
            rdma->traffic_class, rdma->service_level);
    if (rdma->pkey != 0) {
        fprintf(out, "  pkey: 0x%04x\n", rdma->pkey);
    }
    if (rdma->gid_index != LKS_CONFIG_GID_AUTO) {
        fprintf(out, "  gid_index: %" PRIu32 "\n", rdma->gid_index);
    }
    fprintf(out, "  ack_timeout: %s\n  retries: %" PRIu64 "\n",
            lks_value_duration_text(rdma->ack_timeout_ns, text, sizeof text), rdma->retries);
    if (rdma->direct_write_asserted) {
        fprintf(out, "  direct_write_to_pmem: asserted\n");
    }
}

/* A printable text as a YAML scalar: single quotes, doubled inside. */
static void write_text(FILE *out, const char *text)
{
    fputc('\'', out);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '\'') {
            fputc('\'', out);
        }
        fputc(*at, out);
    }
    fputs("'\n", out);
}

static void write_address(FILE *out, const char *key, const char *address, uint16_t port)
{
    const bool bracket = strchr(address, ':') != NULL;
    fprintf(out, "    %s: '%s%s%s:%u'\n", key, bracket ? "[" : "", address, bracket ? "]" : "",
            port);
}

static void write_key(FILE *out, const char *name, const uint8_t key[LKS_CONFIG_KEY_BYTES])
{
    fprintf(out, "%s: ", name);
    for (unsigned i = 0; i < LKS_CONFIG_KEY_BYTES; i++) {
        fprintf(out, "%02x", key[i]);
    }
    fputc('\n', out);
}

static void write_all(FILE *out, const struct lks_config *config)
{
    char id[LKS_CLUSTER_ID_TEXT];
    char text[32];
    lks_value_cluster_id_text(config->cluster_id, id);
    fprintf(out, "# One Lockstep cluster; every replica reads this same file.\n");
    fprintf(out, "name: ");
    write_text(out, config->name);
    fprintf(out, "id: %s\ndirectory: ", id);
    write_text(out, config->directory);
    fprintf(out, "fabric: %s\n", lks_config_fabric_name(config->fabric));
    if (config->fabric == LKS_CONFIG_FABRIC_RDMA) {
        write_key(out, "cluster_key", config->cluster_key);
    }
    if (config->takes_clients) {
        write_key(out, "client_key", config->client_key);
    }
    fprintf(out, "durability: %s\n", lks_durability_name(config->durability));
    fprintf(out, "ring: %s\n", lks_value_size_text(config->ring_bytes, text, sizeof text));
    fprintf(out, "entry_max: %s\n",
            lks_value_size_text(config->entry_bytes_max, text, sizeof text));
    write_timing(out, config);
    if (config->fabric == LKS_CONFIG_FABRIC_RDMA) {
        write_rdma(out, config);
    }
    fprintf(out, "replicas:\n");
    for (uint32_t id_number = 1; id_number <= config->replicas_count; id_number++) {
        const struct lks_config_replica *replica = &config->replicas[id_number];
        fprintf(out, "  - id: %u\n    journal: ", id_number);
        write_text(out, replica->journal);
        if (replica->snapshots[0] != '\0') {
            fprintf(out, "    snapshots: ");
            write_text(out, replica->snapshots);
        }
        write_address(out, "listen", replica->address, replica->port);
        if (replica->rdma_port != 0) {
            write_address(out, "rdma", replica->rdma_address, replica->rdma_port);
        }
    }
}

/* Paths of a file pass this when they are read; those of the command line have not. */
static int check_printable(const struct lks_config *config, struct lks_error *err)
{
    const char *texts[1 + 2 * LKS_REPLICAS_MAX] = {config->directory};
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        texts[2 * id - 1] = config->replicas[id].journal;
        texts[2 * id] = config->replicas[id].snapshots;
    }
    for (size_t i = 0; i <= 2 * config->replicas_count; i++) {
        const int at = lks_value_unprintable(texts[i]);
        if (at >= 0) {
            return lks_error_set(err, -EINVAL, "byte %d of a path, 0x%02x, begins no printable "
                                 "character, which a configuration cannot hold: %.*s...: rename "
                                 "what it names", at + 1, (unsigned char)texts[i][at], at,
                                 texts[i]);
        }
    }
    return 0;
}

int lks_config_write(const struct lks_config *config, const char *path, struct lks_error *err)
{
    const int unfit = check_printable(config, err);
    if (unfit != 0) {
        return unfit;
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        const int code = -errno;
        return lks_error_set(err, code, "%s: %s%s", path, lks_error_text(code),
                             code == -EEXIST ? ": nothing is overwritten; use it with --config, "
                                               "or name another folder"
                                             : "");
    }
    FILE *out = fdopen(fd, "w");
    if (out == NULL) {
        const int code = -errno;
        (void)close(fd);
        (void)unlink(path);
        return lks_error_set(err, code, "%s: %s", path, lks_error_text(code));
    }
    write_all(out, config);
    const bool failed = fflush(out) != 0 || ferror(out) != 0 || fsync(fd) != 0;
    const int code = failed ? (errno != 0 ? -errno : -EIO) : 0;
    (void)fclose(out);
    if (code != 0) {
        (void)unlink(path);
        return lks_error_set(err, code, "%s: cannot write: %s", path, lks_error_text(code));
    }
    return 0;
}
