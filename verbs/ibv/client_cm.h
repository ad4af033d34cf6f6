/*
 * What both ends of clients' lanes ask of the connection manager. Any thread, one at a time for a
 * channel; no state.
 */
#ifndef LKS_VERBS_IBV_CLIENT_CM_H
#define LKS_VERBS_IBV_CLIENT_CM_H

#include "verbs/rdma.h"

#include <netinet/in.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_CLIENT_IBV_RETRIES 6u
/* How often a wake-up without a receive is sent again: for ever; who lets it wait is found by
 * lks_client_ibv_end_check. */
#define LKS_CLIENT_IBV_NOT_READY_RETRIES 7u

struct lks_client_ibv_event {
    enum rdma_cm_event_type kind;
    int status;
    struct rdma_cm_id *id;
    size_t bytes; /* of data; 0: none */
    uint8_t data[UINT8_MAX];
};

/* A numeric address and a port above 0. -EINVAL. */
int lks_client_ibv_parse_place(const struct lks_rdma_place *place, struct sockaddr_storage *into);

int lks_client_ibv_make_non_blocking(int fd);

/* Takes the channel's next event, acknowledged; false: there is none. */
bool lks_client_ibv_next_event(struct rdma_event_channel *channel,
                               struct lks_client_ibv_event *event);

/* Before an id is connected or accepted. exponent 0: 13, which is 34 ms; traffic 0: the
 * system's. */
void lks_client_ibv_set_options(struct rdma_cm_id *id, uint8_t exponent, uint8_t traffic);

#endif
