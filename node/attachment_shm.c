/* An attachment over shared memory; see attachment.h. */
#include "node/attachment.h"
#include "verbs/shm/lane.h"

int lks_attachment_open_shm(struct lks_attachment **attachment,
                            const struct lks_attachment_shm_options *options)
{
    const struct lks_lane_shm_options wanted = {.directory = options->directory,
                                                .replica = options->replica,
                                                .any_cluster = true,
                                                .area_bytes = LKS_CLIENT_AREA_BYTES,
                                                .timeout_ns = options->timeout_ns};
    struct lks_lane *lane = NULL;
    int rc = lks_lane_shm_attach(&lane, &wanted);
    if (rc == 0) {
        rc = lks_attachment_open(attachment, lane);
        if (rc != 0) {
            lks_lane_free(lane);
        }
    }
    return rc;
}
