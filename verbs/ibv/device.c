/*
 * The RDMA device behind the own address: opened by librdmacm, checked for what the backend needs,
 * with one completion queue for everything and one protection domain for control. Fabric's thread.
 * Invariant: nothing is taken for granted that the device can be asked for; what it lacks is said
 * with a way out.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define READ_DEPTH_MAX 16
#define PACKET_MASK 0xffffffu /* packet numbers have 24 bits */
#define QUEUES_A_PEER 3u
#define DEPTH_MIN 128u
#define MESSAGE_BYTES_MAX (UINT64_C(1) << 30)
#define SYSFS_DEVICE "/sys/class/infiniband/%s/device/driver"

static int make_non_blocking(int fd)
{
    const int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? 0 : -errno;
}

int lks_ibv_parse_place(const struct lks_rdma_place *place, struct sockaddr_storage *into)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    (void)snprintf(port, sizeof port, "%u", place->port);
    if (place->port == 0 || getaddrinfo(place->address, port, &hints, &found) != 0) {
        return -EINVAL;
    }
    memcpy(into, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

static int parse_places(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        const struct lks_rdma_place *place = &ibv->rdma.places[id];
        if (id != ibv->self && place->address[0] == '\0') {
            continue; /* not in use: it is not dialed, but may call */
        }
        if (lks_ibv_parse_place(place, &ibv->peers[id].place) != 0) {
            return lks_error_set(err, -EINVAL, "replica %u: \"%s\" port %u is no RDMA place: a "
                                 "numeric IPv4 or IPv6 address and a port above 0 are needed",
                                 id, place->address, place->port);
        }
    }
    return 0;
}

/* The kernel driver's name; "" for a device without hardware, as software drivers make them. */
static void find_driver(const struct ibv_context *context, char driver[32])
{
    char path[128];
    char target[PATH_MAX];
    (void)snprintf(path, sizeof path, SYSFS_DEVICE, ibv_get_device_name(context->device));
    const ssize_t length = readlink(path, target, sizeof target - 1);
    driver[0] = '\0';
    if (length > 0) {
        target[length] = '\0';
        const char *name = strrchr(target, '/');
        (void)snprintf(driver, 32, "%.31s", name != NULL ? name + 1 : target);
    }
}

static int no_connection_manager(int code, struct lks_error *err)
{
    return lks_error_set(err, code == -ENOENT ? -ENODEV : code, "no RDMA connection manager (%s): "
                         "load the kernel module rdma_ucm", lks_error_text(code));
}

static int no_device(const char *address, struct lks_error *err)
{
    return lks_error_set(err, -ENODEV, "no RDMA device has the address %s: see `rdma link` and "
                         "`ip address`; Soft-RoCE is added by `rdma link add rxe0 type rxe netdev "
                         "NAME`", address);
}

int lks_rdma_find_device(const char *address, struct lks_rdma_device *device,
                         struct lks_error *err)
{
    struct lks_rdma_place place = {.port = 1}; /* any: none is taken */
    struct sockaddr_storage own;
    struct rdma_cm_id *id = NULL;
    int code = strlen(address) < sizeof place.address ? 0 : -EINVAL;
    if (code == 0) {
        (void)strcpy(place.address, address);
        code = lks_ibv_parse_place(&place, &own);
    }
    if (code != 0) {
        return lks_error_set(err, code, "\"%s\" is no numeric IPv4 or IPv6 address", address);
    }
    ((struct sockaddr_in *)(void *)&own)->sin_port = 0; /* (at the same place in both families) */
    if (rdma_create_id(NULL, &id, NULL, RDMA_PS_TCP) != 0) {
        return no_connection_manager(errno != 0 ? -errno : -ENODEV, err);
    }
    code = rdma_bind_addr(id, (struct sockaddr *)&own) == 0 ? 0 : -errno;
    if (code == -ENODEV || code == -EADDRNOTAVAIL || (code == 0 && id->verbs == NULL)) {
        code = no_device(address, err);
    } else if (code != 0) {
        code = lks_error_set(err, code, "RDMA address %s: %s", address, lks_error_text(code));
    } else {
        (void)snprintf(device->name, sizeof device->name, "%.63s",
                       ibv_get_device_name(id->verbs->device));
        find_driver(id->verbs, device->driver);
        device->hardware = device->driver[0] != '\0';
    }
    (void)rdma_destroy_id(id);
    return code;
}

static int bind_listener(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    const struct lks_rdma_place *place = &ibv->rdma.places[ibv->self];
    ibv->channel = rdma_create_event_channel();
    if (ibv->channel == NULL) {
        return no_connection_manager(errno != 0 ? -errno : -ENODEV, err);
    }
    int code = make_non_blocking(ibv->channel->fd);
    if (code == 0 && rdma_create_id(ibv->channel, &ibv->listener, NULL, RDMA_PS_TCP) != 0) {
        code = -errno;
    }
    if (code == 0 &&
        rdma_bind_addr(ibv->listener, (struct sockaddr *)&ibv->peers[ibv->self].place) != 0) {
        code = -errno;
    }
    if (code == -EADDRINUSE) {
        return lks_error_set(err, code, "RDMA address %s port %u is in use: another process is "
                             "this replica, or choose another port", place->address, place->port);
    }
    if (code == -ENODEV || code == -EADDRNOTAVAIL || (code == 0 && ibv->listener->verbs == NULL)) {
        return no_device(place->address, err);
    }
    if (code != 0) {
        return lks_error_set(err, code, "RDMA address %s port %u: %s", place->address,
                             place->port, lks_error_text(code));
    }
    ibv->context = ibv->listener->verbs;
    return 0;
}

/* The greatest size that the device copies from a work request itself. */
static uint32_t find_inline_max(const struct lks_ibv_fabric *ibv)
{
    static const uint32_t sizes[] = {LKS_FABRIC_INLINE_MAX, 220, 128, 64, 32};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct ibv_qp_init_attr attributes = lks_ibv_queue_attributes(ibv, ibv->depth, 1);
        attributes.cap.max_inline_data = sizes[i];
        struct ibv_qp *qp = ibv_create_qp(ibv->pd, &attributes);
        if (qp != NULL) {
            (void)ibv_destroy_qp(qp);
            return sizes[i];
        }
    }
    return 0;
}

struct ibv_qp_init_attr lks_ibv_queue_attributes(const struct lks_ibv_fabric *ibv, uint32_t sends,
                                                 uint32_t receives)
{
    return (struct ibv_qp_init_attr){
        .send_cq = ibv->cq,
        .recv_cq = ibv->cq,
        .cap = {.max_send_wr = sends,
                .max_recv_wr = receives,
                .max_send_sge = 1,
                .max_recv_sge = 1,
                .max_inline_data = ibv->inline_max},
        .qp_type = IBV_QPT_RC,
    };
}

uint32_t lks_ibv_random_packet(void)
{
    uint32_t number = 0;
    const ssize_t got = getrandom(&number, sizeof number, 0);
    (void)got; /* a packet number needs no secrecy: zero would do */
    return number & PACKET_MASK;
}

static int check_device(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    struct ibv_device_attr device;
    const char *name = ibv_get_device_name(ibv->context->device);
    const int code = -ibv_query_device(ibv->context, &device);
    if (code != 0) {
        return lks_error_set(err, code, "RDMA device %s cannot be asked what it can: %s", name,
                             lks_error_text(code));
    }
    if (ibv->context->device->transport_type != IBV_TRANSPORT_IB) {
        return lks_error_set(err, -ENOTSUP, "RDMA device %s is iWARP or another transport: RoCE or "
                             "InfiniBand is needed (paths are connected without the connection "
                             "manager)", name);
    }
    const bool windows = (device.device_cap_flags & (int)(IBV_DEVICE_MEM_WINDOW_TYPE_2A |
                                                          IBV_DEVICE_MEM_WINDOW_TYPE_2B)) != 0;
    find_driver(ibv->context, ibv->driver);
    lks_ibv_abilities_find(ibv->context, &ibv->abilities);
    ibv->fence = lks_ibv_fence_for(ibv->driver, windows);
    const int reads = device.max_qp_rd_atom < device.max_qp_init_rd_atom
                          ? device.max_qp_rd_atom
                          : device.max_qp_init_rd_atom;
    if (reads < 1) {
        return lks_error_set(err, -ENOTSUP, "RDMA device %s allows no RDMA reads", name);
    }
    ibv->read_depth = (uint8_t)(reads < READ_DEPTH_MAX ? reads : READ_DEPTH_MAX);
    const uint64_t most = (uint64_t)device.max_qp_wr;
    if (ibv->depth > most || LKS_IBV_RECEIVES > most) {
        return lks_error_set(err, -ENOTSUP, "RDMA device %s: queues of %u work requests are "
                             "needed, it allows %llu", name, ibv->depth,
                             (unsigned long long)most);
    }
    return 0;
}

/* So long that it cannot overrun: a peer's control queue pair, the open path, one that is being
 * destroyed, and the receives. */
static uint32_t completions_max(const struct lks_ibv_fabric *ibv)
{
    const uint32_t a_peer = QUEUES_A_PEER * ibv->depth + 2 * LKS_IBV_RECEIVES +
                            LKS_IBV_OWNER_DEPTH;
    return a_peer * (ibv->replicas > 1 ? ibv->replicas - 1 : 1);
}

static int make_queues(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    struct ibv_device_attr device;
    const int code = -ibv_query_device(ibv->context, &device);
    /* Shorter queues refuse earlier; a completion that finds no room would be lost. */
    while (code == 0 && completions_max(ibv) > (uint32_t)device.max_cqe &&
           ibv->depth > DEPTH_MIN) {
        ibv->depth /= 2;
    }
    const uint32_t entries = completions_max(ibv);
    if (code == 0 && entries > (uint32_t)device.max_cqe) {
        return lks_error_set(err, -ENOTSUP, "RDMA device: a completion queue of %u entries is "
                             "needed so that none is lost, it allows %d", entries,
                             device.max_cqe);
    }
    ibv->pd = ibv_alloc_pd(ibv->context);
    ibv->completions = ibv->pd != NULL ? ibv_create_comp_channel(ibv->context) : NULL;
    ibv->cq = ibv->completions != NULL
                  ? ibv_create_cq(ibv->context, (int)entries, NULL, ibv->completions, 0)
                  : NULL;
    if (ibv->cq == NULL || make_non_blocking(ibv->completions->fd) != 0 ||
        make_non_blocking(ibv->context->async_fd) != 0) {
        const int failure = errno != 0 ? -errno : -EIO;
        return lks_error_set(err, failure, "RDMA protection domain and completion queue: %s",
                             lks_error_text(failure));
    }
    ibv->inline_max = find_inline_max(ibv);
    struct ibv_port_attr port;
    ibv->message_bytes_max = MESSAGE_BYTES_MAX;
    if (ibv_query_port(ibv->context, ibv->listener->port_num, &port) == 0 &&
        port.max_msg_sz != 0 && port.max_msg_sz < MESSAGE_BYTES_MAX) {
        ibv->message_bytes_max = port.max_msg_sz;
    }
    return 0;
}

int lks_ibv_device_init(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    int code = parse_places(ibv, err);
    if (code == 0) {
        code = bind_listener(ibv, err);
    }
    if (code == 0) {
        code = check_device(ibv, err);
    }
    if (code == 0) {
        code = make_queues(ibv, err);
    }
    return code == 0 ? lks_ibv_way_init(ibv, err) : code;
}

void lks_ibv_deafen(struct lks_ibv_fabric *ibv)
{
    if (ibv->listener != NULL) {
        (void)rdma_destroy_id(ibv->listener);
        ibv->listener = NULL;
    }
}

void lks_ibv_device_fini(struct lks_ibv_fabric *ibv)
{
    if (ibv->cq != NULL) {
        (void)ibv_destroy_cq(ibv->cq);
    }
    if (ibv->completions != NULL) {
        (void)ibv_destroy_comp_channel(ibv->completions);
    }
    if (ibv->pd != NULL) {
        (void)ibv_dealloc_pd(ibv->pd);
    }
    lks_ibv_deafen(ibv);
    if (ibv->channel != NULL) {
        rdma_destroy_event_channel(ibv->channel);
    }
}
