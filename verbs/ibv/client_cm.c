/* The connection manager, as clients' lanes use it; see client_cm.h. */
#include "verbs/ibv/client_cm.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#define ACK_TIMEOUT 13

int lks_client_ibv_parse_place(const struct lks_rdma_place *place, struct sockaddr_storage *into)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    (void)snprintf(port, sizeof port, "%u", place->port);
    if (place->port == 0 || getaddrinfo(place->address, port, &hints, &found) != 0) {
        return -EINVAL;
    }
    memset(into, 0, sizeof *into);
    memcpy(into, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

int lks_client_ibv_make_non_blocking(int fd)
{
    const int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? 0 : -errno;
}

bool lks_client_ibv_next_event(struct rdma_event_channel *channel,
                               struct lks_client_ibv_event *event)
{
    struct rdma_cm_event *taken = NULL;
    if (rdma_get_cm_event(channel, &taken) != 0) {
        return false;
    }
    *event = (struct lks_client_ibv_event){
        .kind = taken->event, .status = taken->status, .id = taken->id};
    const bool with_data = taken->event == RDMA_CM_EVENT_CONNECT_REQUEST ||
                           taken->event == RDMA_CM_EVENT_ESTABLISHED ||
                           taken->event == RDMA_CM_EVENT_REJECTED;
    if (with_data && taken->param.conn.private_data != NULL) {
        event->bytes = taken->param.conn.private_data_len;
        memcpy(event->data, taken->param.conn.private_data, event->bytes);
    }
    /* Acknowledged before it is worked off: destroying its id waits for that. */
    (void)rdma_ack_cm_event(taken);
    return true;
}

void lks_client_ibv_set_options(struct rdma_cm_id *id, uint8_t exponent, uint8_t traffic)
{
    uint8_t timeout = exponent != 0 ? exponent : ACK_TIMEOUT;
    uint8_t class = traffic;
    /* A kernel that does not know an option keeps its own, slower one. */
    (void)rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
                          sizeof timeout);
    if (class != 0) {
        (void)rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &class, sizeof class);
    }
}
