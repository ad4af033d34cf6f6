/*
 * Connecting a path's two queue pairs: by the way that the control queue pair has found, with the
 * numbers that OFFER and ANSWER carried. Any thread; usually the helper's, because a device may
 * take its time. No state.
 */
#include "verbs/ibv/ibv.h"

#define RECEIVER_PATIENCE 1 /* 0.01 ms between tries at a receiver that is not ready */
#define RECEIVER_RETRIES 7  /* for ever */

int lks_ibv_queue_pair_init(struct ibv_qp *qp, const struct ibv_qp_attr *way, int access)
{
    struct ibv_qp_attr attributes = {.qp_state = IBV_QPS_INIT,
                                     .pkey_index = way->pkey_index,
                                     .port_num = way->port_num,
                                     .qp_access_flags = (unsigned)access};
    return -ibv_modify_qp(qp, &attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
                                               IBV_QP_ACCESS_FLAGS);
}

int lks_ibv_queue_pair_connect(struct ibv_qp *qp, const struct lks_ibv_ends *ends)
{
    struct ibv_qp_attr attributes = {.qp_state = IBV_QPS_RTR,
                                     .ah_attr = ends->way->ah_attr,
                                     .path_mtu = ends->way->path_mtu,
                                     .dest_qp_num = ends->peer_queue_pair,
                                     .rq_psn = ends->peer_first_packet,
                                     .max_dest_rd_atomic = ends->read_depth,
                                     .min_rnr_timer = RECEIVER_PATIENCE};
    const int code = -ibv_modify_qp(qp, &attributes,
                                    IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                        IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
                                        IBV_QP_MIN_RNR_TIMER);
    if (code != 0) {
        return code;
    }
    attributes = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTS,
                                      .timeout = ends->way->timeout,
                                      .retry_cnt = ends->way->retry_cnt,
                                      .rnr_retry = RECEIVER_RETRIES,
                                      .sq_psn = ends->first_packet,
                                      .max_rd_atomic = ends->read_depth};
    return -ibv_modify_qp(qp, &attributes, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                                               IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                                               IBV_QP_MAX_QP_RD_ATOMIC);
}
