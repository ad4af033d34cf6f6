/* An attachment over RDMA; see attachment_rdma.h. */
#include "node/attachment_rdma.h"

#include <errno.h>
#include <string.h>

#ifdef LKS_WITH_RDMA
#include "verbs/rdma_lane.h"

int lks_attachment_open_rdma(struct lks_attachment **attachment,
                             const struct lks_attachment_rdma_options *options)
{
    struct lks_lane_rdma_options wanted = {.place.port = options->port,
                                           .replica = options->replica,
                                           .any_cluster = true,
                                           .area_bytes = LKS_CLIENT_AREA_BYTES,
                                           .timeout_ns = options->timeout_ns};
    _Static_assert(sizeof wanted.place.address == sizeof options->address, "one kind of address");
    _Static_assert(sizeof wanted.client_key == sizeof options->client_key, "one kind of key");
    memcpy(wanted.place.address, options->address, sizeof wanted.place.address);
    memcpy(wanted.client_key, options->client_key, sizeof wanted.client_key);
    struct lks_lane *lane = NULL;
    int rc = lks_lane_rdma_attach(&lane, &wanted);
    if (rc == 0) {
        rc = lks_attachment_open(attachment, lane);
        if (rc != 0) {
            lks_lane_free(lane);
        }
    }
    return rc;
}

#else

int lks_attachment_open_rdma(struct lks_attachment **attachment,
                             const struct lks_attachment_rdma_options *options)
{
    (void)attachment;
    (void)options;
    return -ENOTSUP;
}

#endif
