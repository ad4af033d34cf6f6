/* Bare verbs; see raw_device.h. */
#include "bench/raw/raw_device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define FIRST_PACKET 0
#define ACK_TIMEOUT 14
#define RETRIES 7
#define GIDS_MAX 256

static int last_error(void)
{
    return errno != 0 ? -errno : -EIO;
}

/* An IP address as a RoCE GID. */
static int parse_address(const char *text, union ibv_gid *gid)
{
    memset(gid, 0, sizeof *gid);
    if (inet_pton(AF_INET6, text, gid->raw) == 1) {
        return 0;
    }
    gid->raw[10] = gid->raw[11] = 0xff;
    return inet_pton(AF_INET, text, gid->raw + 12) == 1 ? 0 : -EINVAL;
}

/* The best of the device's entries for that address: RoCE v2, or InfiniBand. */
static bool find_gid(struct lks_raw_device *device, const union ibv_gid *wanted)
{
    struct ibv_gid_entry entries[GIDS_MAX];
    const ssize_t count = ibv_query_gid_table(device->context, entries, GIDS_MAX, 0);
    for (ssize_t i = 0; i < count; i++) {
        if (entries[i].gid_type != IBV_GID_TYPE_ROCE_V1 &&
            memcmp(&entries[i].gid, wanted, sizeof *wanted) == 0) {
            device->port = (uint8_t)entries[i].port_num;
            device->gid_index = (uint8_t)entries[i].gid_index;
            device->gid = *wanted;
            return true;
        }
    }
    return false;
}

static int open_context(struct lks_raw_device *device, const union ibv_gid *wanted)
{
    int count = 0;
    struct ibv_device **list = ibv_get_device_list(&count);
    int code = -ENODEV;
    for (int i = 0; list != NULL && i < count && code != 0; i++) {
        device->context = ibv_open_device(list[i]);
        if (device->context == NULL) {
            continue;
        }
        if (find_gid(device, wanted)) {
            code = 0;
        } else {
            (void)ibv_close_device(device->context);
            device->context = NULL;
        }
    }
    if (list != NULL) {
        ibv_free_device_list(list);
    }
    return code;
}

int lks_raw_device_open(struct lks_raw_device *device, const char *address)
{
    union ibv_gid wanted;
    struct ibv_port_attr port;
    memset(device, 0, sizeof *device);
    int code = parse_address(address, &wanted);
    if (code == 0) {
        code = open_context(device, &wanted);
    }
    if (code == 0) {
        code = -ibv_query_port(device->context, device->port, &port);
    }
    if (code == 0) {
        device->lid = port.lid;
        device->mtu = port.active_mtu;
        device->pd = ibv_alloc_pd(device->context);
        device->cq = device->pd != NULL
                         ? ibv_create_cq(device->context, 8 * LKS_RAW_DEPTH, NULL, NULL, 0)
                         : NULL;
        code = device->cq != NULL ? 0 : last_error();
    }
    if (code != 0) {
        lks_raw_device_close(device);
    }
    return code;
}

void lks_raw_device_close(struct lks_raw_device *device)
{
    if (device->cq != NULL) {
        (void)ibv_destroy_cq(device->cq);
    }
    if (device->pd != NULL) {
        (void)ibv_dealloc_pd(device->pd);
    }
    if (device->context != NULL) {
        (void)ibv_close_device(device->context);
    }
    memset(device, 0, sizeof *device);
}

struct ibv_qp *lks_raw_queue_pair(struct lks_raw_device *device, uint32_t *inline_max)
{
    struct ibv_qp_init_attr attributes = {.send_cq = device->cq,
                                          .recv_cq = device->cq,
                                          .cap = {.max_send_wr = LKS_RAW_DEPTH,
                                                  .max_recv_wr = 1,
                                                  .max_send_sge = 1,
                                                  .max_recv_sge = 1,
                                                  .max_inline_data = LKS_RAW_INLINE_MAX},
                                          .qp_type = IBV_QPT_RC};
    struct ibv_qp *qp = ibv_create_qp(device->pd, &attributes);
    if (qp == NULL) {
        attributes.cap.max_inline_data = 0;
        qp = ibv_create_qp(device->pd, &attributes);
    }
    if (qp == NULL) {
        return NULL;
    }
    *inline_max = attributes.cap.max_inline_data;
    struct ibv_qp_attr init = {.qp_state = IBV_QPS_INIT,
                               .port_num = device->port,
                               .qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ};
    const int code = ibv_modify_qp(
        qp, &init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    if (code != 0) {
        (void)ibv_destroy_qp(qp);
        errno = code;
        return NULL;
    }
    return qp;
}

int lks_raw_connect(struct lks_raw_device *device, struct ibv_qp *qp,
                    const struct lks_raw_end *peer)
{
    struct ibv_qp_attr attributes = {
        .qp_state = IBV_QPS_RTR,
        .path_mtu = device->mtu,
        .dest_qp_num = peer->queue_pair,
        .rq_psn = FIRST_PACKET,
        .max_dest_rd_atomic = 1,
        .min_rnr_timer = 12,
        .ah_attr = {.is_global = 1,
                    .dlid = peer->lid,
                    .port_num = device->port,
                    .grh = {.dgid = peer->gid,
                            .sgid_index = device->gid_index,
                            .hop_limit = 64}}};
    const int code = -ibv_modify_qp(qp, &attributes,
                                    IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                        IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
                                        IBV_QP_MIN_RNR_TIMER);
    if (code != 0) {
        return code;
    }
    attributes = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTS,
                                      .timeout = ACK_TIMEOUT,
                                      .retry_cnt = RETRIES,
                                      .rnr_retry = RETRIES,
                                      .sq_psn = FIRST_PACKET,
                                      .max_rd_atomic = 1};
    return -ibv_modify_qp(qp, &attributes,
                          IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                              IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}
