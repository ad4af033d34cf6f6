/* The raw floor of replication over RDMA; see rdma_floor.h. */
#include "bench/rdma_floor.h"

#include <errno.h>

#ifdef LKS_WITH_RDMA
#include "bench/raw/raw_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define REGION_BYTES (UINT64_C(4) << 20)
#define JOURNAL_EXTRA_BYTES (UINT64_C(1) << 20) /* more than a journal has beside its ring */

/* Bytes of a character device, which is device DAX; 0: none, or not known. */
static uint64_t device_bytes(const char *path)
{
    struct stat status;
    char name[96];
    unsigned long long bytes = 0;
    if (stat(path, &status) != 0 || !S_ISCHR(status.st_mode)) {
        return 0;
    }
    (void)snprintf(name, sizeof name, "/sys/dev/char/%u:%u/size", major(status.st_rdev),
                   minor(status.st_rdev));
    FILE *file = fopen(name, "re");
    if (file != NULL) {
        if (fscanf(file, "%llu", &bytes) != 1) {
            bytes = 0;
        }
        (void)fclose(file);
    }
    return bytes;
}

int lks_rdma_floor_init(struct lks_rdma_floor *lowest, const struct lks_config *config,
                        bool read_behind, struct lks_error *err)
{
    struct lks_raw_write_options options = {.address = config->replicas[1].rdma_address,
                                            .peers = config->replicas_count - 1,
                                            .read_behind = read_behind,
                                            .region_bytes = REGION_BYTES};
    *lowest = (struct lks_rdma_floor){0};
    for (uint32_t id = 2; id <= config->replicas_count; id++) {
        const char *journal = config->replicas[id].journal;
        const uint64_t bytes = device_bytes(journal);
        if (bytes == 0) {
            continue;
        }
        const uint64_t needed = config->ring_bytes + JOURNAL_EXTRA_BYTES + REGION_BYTES;
        if (bytes < needed) {
            return lks_error_set(err, -ENOSPC, "%s: %" PRIu64 " MiB, but a ring of %" PRIu64
                                 " MiB and the floor's memory behind it need %" PRIu64 " MiB: "
                                 "give --ring, or a larger device", journal, bytes >> 20,
                                 config->ring_bytes >> 20, needed >> 20);
        }
        options.media[id - 2] = journal;
        options.offsets[id - 2] = (bytes - REGION_BYTES) / REGION_BYTES * REGION_BYTES;
    }
    const int code = lks_raw_write_new(&lowest->raw, &options);
    return code == 0 ? 0
                     : lks_error_set(err, code, "the floor's processes: %s", lks_error_text(code));
}

int lks_rdma_floor_connect(struct lks_rdma_floor *lowest, const struct lks_config *config,
                           struct lks_error *err)
{
    const int code = lks_raw_write_connect(lowest->raw);
    return code == 0 ? 0
                     : lks_error_set(err, code, "the floor on the RDMA device of %s: %s",
                                     config->replicas[1].rdma_address, lks_error_text(code));
}

void lks_rdma_floor_fini(struct lks_rdma_floor *lowest)
{
    lks_raw_write_free(lowest->raw);
    *lowest = (struct lks_rdma_floor){0};
}

int lks_rdma_floor_write(struct lks_rdma_floor *lowest, uint32_t bytes, bool in_turn,
                         uint64_t *first_ns, struct lks_error *err)
{
    const int code = lks_raw_write_once(lowest->raw, bytes,
                                        in_turn ? LKS_RAW_IN_TURN : LKS_RAW_AT_ONCE, first_ns);
    return code == 0 ? 0
                     : lks_error_set(err, code, "the floor's write of %u bytes: %s", bytes,
                                     lks_error_text(code));
}

#else

int lks_rdma_floor_init(struct lks_rdma_floor *lowest, const struct lks_config *config,
                        bool read_behind, struct lks_error *err)
{
    (void)config;
    (void)read_behind;
    *lowest = (struct lks_rdma_floor){0};
    return lks_error_set(err, -ENOTSUP, "this build has no RDMA: build with -DLKS_RDMA=ON");
}

int lks_rdma_floor_connect(struct lks_rdma_floor *lowest, const struct lks_config *config,
                           struct lks_error *err)
{
    (void)lowest;
    (void)config;
    return lks_error_set(err, -ENOTSUP, "this build has no RDMA");
}

void lks_rdma_floor_fini(struct lks_rdma_floor *lowest)
{
    *lowest = (struct lks_rdma_floor){0};
}

int lks_rdma_floor_write(struct lks_rdma_floor *lowest, uint32_t bytes, bool in_turn,
                         uint64_t *first_ns, struct lks_error *err)
{
    (void)lowest;
    (void)bytes;
    (void)in_turn;
    (void)first_ns;
    return lks_error_set(err, -ENOTSUP, "this build has no RDMA");
}

#endif
