/* Golden traces; see core_golden.h. */
#include "tests/support/core_golden.h"

#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_BYTES ((size_t)256 << 10)
#define PATH_BYTES 512

static bool g_update;

void golden_init(int argc, char **argv)
{
    g_update = argc == 2 && strcmp(argv[1], "--update") == 0;
}

void golden_begin(struct rig *rig, uint32_t nodes)
{
    if (rig->trace == NULL) {
        rig->trace = malloc(TRACE_BYTES);
        LKS_ASSERT(rig->trace != NULL);
    }
    rig->trace_bytes = TRACE_BYTES;
    rig->trace_used = 0;
    rig->trace_probes = false;
    rig->trace_nodes = nodes;
}

static size_t read_file(const char *path, char *text, size_t bytes)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    const size_t length = fread(text, 1, bytes, file);
    LKS_ASSERT(fclose(file) == 0);
    return length;
}

void golden_end(struct rig *rig, const char *rule, const char *shows)
{
    char path[PATH_BYTES];
    const int length = snprintf(path, sizeof path, "%s/%s.trace", LKS_GOLDEN_DIRECTORY, rule);
    LKS_ASSERT(length > 0);
    LKS_ASSERT(length < PATH_BYTES);
    static char text[TRACE_BYTES];
    const int head = snprintf(text, sizeof text, "# %s: %s\n", rule, shows);
    LKS_ASSERT(head > 0);
    const size_t bytes = (size_t)head + rig->trace_used;
    LKS_ASSERT(bytes < sizeof text);
    memcpy(text + head, rig->trace, rig->trace_used);
    rig->trace_nodes = 0;
    rig->trace_used = 0;
    if (g_update) {
        FILE *file = fopen(path, "w");
        LKS_ASSERT(file != NULL);
        LKS_ASSERT(fwrite(text, 1, bytes, file) == bytes);
        LKS_ASSERT(fclose(file) == 0);
        return;
    }
    static char known[TRACE_BYTES];
    if (read_file(path, known, sizeof known) != bytes || memcmp(known, text, bytes) != 0) {
        fprintf(stderr, "%s\nis no longer what happens; now:\n%.*s", path, (int)bytes, text);
        rig_fail(rig, "golden trace %s differs (--update rewrites it)", rule);
    }
}
