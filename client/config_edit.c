/* Adding a replica's block to a configuration; see config_edit.h. */
#include "client/config_edit.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- text ----------------------------------------------------------------------------------- */

/* Where the list of replicas stands, in the block style that `lockstep init` writes. */
struct section {
    size_t end;    /* behind its last line that says something */
    size_t indent; /* of each replica's "-" */
    bool found;
};

static size_t spaces(const char *line, size_t bytes)
{
    size_t count = 0;
    while (count < bytes && line[count] == ' ') {
        count++;
    }
    return count;
}

static size_t line_bytes(const char *text, size_t bytes)
{
    const char *end = memchr(text, '\n', bytes);
    return end != NULL ? (size_t)(end - text) + 1 : bytes;
}

static bool is_blank(const char *line, size_t bytes)
{
    const size_t indent = spaces(line, bytes);
    return indent == bytes || strchr("#\r\n", line[indent]) != NULL;
}

static struct section find_section(const char *text, size_t bytes)
{
    static const char key[] = "replicas:";
    struct section section = {.found = false};
    bool inside = false;
    for (size_t at = 0; at < bytes;) {
        const char *line = text + at;
        const size_t length = line_bytes(line, bytes - at);
        const size_t indent = spaces(line, length);
        at += length;
        if (is_blank(line, length)) {
            continue;
        }
        if (inside && (indent > 0 || line[0] == '-')) {
            if (line[indent] == '-' && !section.found) {
                section.found = true;
                section.indent = indent;
            }
            section.end = at;
            continue;
        }
        inside = length >= sizeof key - 1 && memcmp(line, key, sizeof key - 1) == 0 &&
                 is_blank(line + sizeof key - 1, length - (sizeof key - 1));
    }
    return section;
}

/* A value in single quotes, those within it doubled. */
static void put_quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputc('\'', out);
        }
        fputc(*text, out);
    }
    fputs("'\n", out);
}

static void put_key(FILE *out, size_t indent, const char *key, const char *value)
{
    fprintf(out, "%*s%s: ", (int)indent + 2, "", key);
    put_quoted(out, value);
}

static void put_block(FILE *out, size_t indent, const struct lks_config_addition *addition)
{
    fprintf(out, "%*s- id: %u\n", (int)indent, "", addition->id);
    put_key(out, indent, "journal", addition->journal);
    if (addition->snapshots != NULL) {
        put_key(out, indent, "snapshots", addition->snapshots);
    }
    put_key(out, indent, "listen", addition->listen);
    if (addition->rdma != NULL) {
        put_key(out, indent, "rdma", addition->rdma);
    }
}

int lks_config_text_add(const char *text, size_t bytes, const char *file,
                        const struct lks_config_addition *addition, char **changed,
                        struct lks_error *err)
{
    const struct section section = find_section(text, bytes);
    if (!section.found) {
        return lks_error_set(err, -LKS_ECONFIG,
                             "%s: its list of replicas is not written one line a value: add this "
                             "one yourself: {id: %u, journal: '%s', listen: '%s'%s%s%s}",
                             file, addition->id, addition->journal, addition->listen,
                             addition->rdma != NULL ? ", rdma: '" : "",
                             addition->rdma != NULL ? addition->rdma : "",
                             addition->rdma != NULL ? "'" : "");
    }
    size_t made = 0;
    FILE *out = open_memstream(changed, &made);
    if (out == NULL) {
        return lks_error_set(err, -ENOMEM, "%s: out of memory", file);
    }
    (void)fwrite(text, 1, section.end, out);
    if (section.end > 0 && text[section.end - 1] != '\n') {
        fputc('\n', out);
    }
    put_block(out, section.indent, addition);
    (void)fwrite(text + section.end, 1, bytes - section.end, out);
    if (fclose(out) != 0) {
        free(*changed);
        *changed = NULL;
        return lks_error_set(err, -ENOMEM, "%s: out of memory", file);
    }
    struct lks_config config;
    const int rc = lks_config_parse(&config, *changed, made, file, err);
    if (rc != 0) {
        free(*changed);
        *changed = NULL;
    }
    return rc;
}

/* ---- file ----------------------------------------------------------------------------------- */

static int read_file(const char *path, char **text, size_t *bytes, mode_t *mode,
                     struct lks_error *err)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        const int code = -errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return lks_error_set(err, code, "%s: %s", path, lks_error_text(code));
    }
    *text = malloc(LKS_CONFIG_FILE_BYTES_MAX);
    const ssize_t got = *text != NULL ? read(fd, *text, LKS_CONFIG_FILE_BYTES_MAX) : -1;
    (void)close(fd);
    if (got < 0) {
        free(*text);
        return lks_error_set(err, -EIO, "%s: cannot be read", path);
    }
    *bytes = (size_t)got;
    *mode = status.st_mode & 0777;
    return 0;
}

static int sync_folder(const char *path)
{
    char copy[LKS_CONFIG_PATH_MAX];
    (void)snprintf(copy, sizeof copy, "%s", path);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = fd < 0 || fsync(fd) != 0 ? -errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

/* Another file under the same name, or the old one. */
static int replace_file(const char *path, const char *text, mode_t mode, struct lks_error *err)
{
    char beside[LKS_CONFIG_PATH_MAX + 8];
    (void)snprintf(beside, sizeof beside, "%s.XXXXXX", path);
    const int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0) {
        return lks_error_set(err, -errno, "%s: cannot be changed: %s", path,
                             lks_error_text(-errno));
    }
    const size_t bytes = strlen(text);
    int code = 0;
    if (write(fd, text, bytes) != (ssize_t)bytes || fchmod(fd, mode) != 0 || fsync(fd) != 0 ||
        rename(beside, path) != 0) {
        code = errno != 0 ? -errno : -EIO;
        (void)unlink(beside);
    }
    (void)close(fd);
    code = code == 0 ? sync_folder(path) : code;
    return code == 0 ? 0
                     : lks_error_set(err, code, "%s: cannot be changed: %s", path,
                                     lks_error_text(code));
}

/* What the block would say, as a loaded configuration has it, against what stands there. */
static bool same_address(const char *text, const char *address, uint16_t port)
{
    char host[LKS_ADDRESS_TEXT_MAX];
    uint16_t number = 0;
    return lks_value_address(text, host, &number) == 0 && strcmp(host, address) == 0 &&
           number == port;
}

static int compare(const struct lks_config *config, const char *path,
                   const struct lks_config_addition *addition, struct lks_error *err)
{
    const struct lks_config_replica *there = &config->replicas[addition->id];
    const size_t suffix = strlen(addition->journal);
    const size_t length = strlen(there->journal);
    const bool journal = length >= suffix &&
                         strcmp(there->journal + length - suffix, addition->journal) == 0;
    if (journal && same_address(addition->listen, there->address, there->port) &&
        (addition->rdma == NULL ||
         same_address(addition->rdma, there->rdma_address, there->rdma_port))) {
        return 0;
    }
    return lks_error_set(err, -LKS_ECONFIG,
                         "%s: replica %u is there already, with journal %s and %s:%u: leave "
                         "--journal, --listen and --rdma out, or edit that block",
                         path, addition->id, there->journal, there->address, there->port);
}

int lks_config_add_replica(struct lks_config *config, const char *path,
                           const struct lks_config_addition *addition, struct lks_error *err)
{
    char *text = NULL;
    char *changed = NULL;
    size_t bytes = 0;
    mode_t mode = 0600;
    int rc = lks_config_load(config, path, err);
    if (rc != 0) {
        return rc;
    }
    if (addition->id <= config->replicas_count) {
        return compare(config, path, addition, err);
    }
    if (addition->id != config->replicas_count + 1) {
        return lks_error_set(err, -LKS_ECONFIG,
                             "%s: replica %u: it names replicas 1 to %u, the next one is %u", path,
                             addition->id, config->replicas_count, config->replicas_count + 1);
    }
    rc = read_file(path, &text, &bytes, &mode, err);
    if (rc == 0) {
        rc = lks_config_text_add(text, bytes, path, addition, &changed, err);
        free(text);
    }
    if (rc == 0) {
        rc = replace_file(path, changed, mode, err);
        free(changed);
    }
    return rc == 0 ? lks_config_load(config, path, err) : rc;
}

/* ---- the cluster's id ----------------------------------------------------------------------- */

/* A file beside, that must not exist. */
static int keep_copy(const char *path, const char *text, size_t bytes, struct lks_error *err)
{
    char aside[LKS_CONFIG_PATH_MAX + 32];
    (void)snprintf(aside, sizeof aside, "%s.old-%" PRIu64, path,
                   lks_clock_realtime_ns() / LKS_NS_PER_S);
    const int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int code = fd < 0 ? -errno : 0;
    if (fd >= 0 && (write(fd, text, bytes) != (ssize_t)bytes || fsync(fd) != 0)) {
        code = errno != 0 ? -errno : -EIO;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (code == 0) {
        printf("the old configuration: %s\n", aside);
    }
    return code == 0 ? 0
                     : lks_error_set(err, code, "%s: cannot be written: %s", aside,
                                     lks_error_text(code));
}

/* The text with another value behind its `id:`; NULL: there is no such line, or no memory. */
static char *with_id(const char *text, size_t bytes, const char *id)
{
    static const char key[] = "id:";
    char *changed = NULL;
    size_t made = 0;
    bool found = false;
    FILE *out = open_memstream(&changed, &made);
    for (size_t at = 0; out != NULL && at < bytes;) {
        const size_t length = line_bytes(text + at, bytes - at);
        if (!found && length > sizeof key && memcmp(text + at, key, sizeof key - 1) == 0) {
            fprintf(out, "id: %s\n", id);
            found = true;
        } else {
            (void)fwrite(text + at, 1, length, out);
        }
        at += length;
    }
    if (out == NULL || fclose(out) != 0 || !found) {
        free(changed);
        return NULL;
    }
    return changed;
}

int lks_config_replace_id(const char *path, const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES],
                          struct lks_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    mode_t mode = 0600;
    char id[LKS_CLUSTER_ID_TEXT];
    struct lks_config config;
    lks_value_cluster_id_text(cluster_id, id);
    int rc = read_file(path, &text, &bytes, &mode, err);
    if (rc != 0) {
        return rc;
    }
    char *changed = with_id(text, bytes, id);
    if (changed == NULL) {
        rc = lks_error_set(err, -LKS_ECONFIG, "%s: no line begins with `id:`: write the id on a "
                           "line of its own", path);
    }
    if (rc == 0) {
        rc = lks_config_parse(&config, changed, strlen(changed), path, err);
    }
    if (rc == 0) {
        rc = keep_copy(path, text, bytes, err);
    }
    if (rc == 0) {
        rc = replace_file(path, changed, mode, err);
    }
    free(changed);
    free(text);
    return rc;
}
