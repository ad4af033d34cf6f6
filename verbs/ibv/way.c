/*
 * The way of a path through the network, where the configuration has a say: GID, partition key,
 * service level. (The control queue pair goes the way that the connection manager has found.)
 * Fabric's thread; no state but what was found at start. Invariant: a GID entry in use holds the
 * own address, whatever its type, so that the peer knows the packets for ours.
 */
#include "verbs/ibv/ibv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_UNIT_NS UINT64_C(4096)
#define TIMEOUT_EXPONENT_MAX 31u
#define PKEY_NUMBER 0x7fffu /* without the bit of full membership */

uint8_t lks_rdma_timeout_exponent(uint64_t ns)
{
    uint8_t exponent = 1;
    while (exponent < TIMEOUT_EXPONENT_MAX && TIMEOUT_UNIT_NS << exponent < ns) {
        exponent++;
    }
    return exponent;
}

static const char *type_name(uint32_t type)
{
    return type == IBV_GID_TYPE_ROCE_V2 ? "RoCE v2" : type == IBV_GID_TYPE_ROCE_V1 ? "RoCE v1"
                                                                                    : "InfiniBand";
}

void lks_ibv_own_gid(const struct lks_ibv_fabric *ibv, union ibv_gid *gid)
{
    const struct sockaddr_storage *own = &ibv->peers[ibv->self].place;
    memset(gid, 0, sizeof *gid);
    if (own->ss_family == AF_INET6) {
        memcpy(gid->raw, &((const struct sockaddr_in6 *)(const void *)own)->sin6_addr, 16);
        return;
    }
    gid->raw[10] = gid->raw[11] = 0xff;
    memcpy(gid->raw + 12, &((const struct sockaddr_in *)(const void *)own)->sin_addr, 4);
}

static int check_gid(const struct lks_ibv_fabric *ibv, uint8_t port, struct lks_error *err)
{
    const uint8_t index = ibv->rdma.gid_index;
    const char *name = ibv_get_device_name(ibv->context->device);
    struct ibv_gid_entry entry;
    union ibv_gid own;
    char text[INET6_ADDRSTRLEN] = "nothing";
    lks_ibv_own_gid(ibv, &own);
    const bool there = ibv_query_gid_ex(ibv->context, port, index, &entry, 0) == 0;
    if (there && (entry.gid_type == IBV_GID_TYPE_IB ||
                  memcmp(&entry.gid, &own, sizeof own) == 0)) {
        return 0;
    }
    if (there) {
        (void)inet_ntop(AF_INET6, entry.gid.raw, text, sizeof text);
    }
    char others[96] = "";
    size_t used = 0;
    struct ibv_gid_entry entries[LKS_IBV_GIDS_MAX];
    const ssize_t count = ibv_query_gid_table(ibv->context, entries, LKS_IBV_GIDS_MAX, 0);
    for (ssize_t i = 0; i < count && used < sizeof others - 24; i++) {
        if (entries[i].port_num == port && memcmp(&entries[i].gid, &own, sizeof own) == 0) {
            used += (size_t)snprintf(others + used, sizeof others - used, "%s%u (%s)",
                                     used != 0 ? ", " : "", entries[i].gid_index,
                                     type_name(entries[i].gid_type));
        }
    }
    return lks_error_set(err, -EINVAL, "rdma.gid_index %u: that entry of device %s port %u holds "
                         "%s, not the address %s: use auto, or one of: %s", index, name, port, text,
                         ibv->rdma.places[ibv->self].address, used != 0 ? others : "none has it");
}

static int find_pkey(struct lks_ibv_fabric *ibv, uint8_t port, struct lks_error *err)
{
    struct ibv_port_attr attributes;
    int code = -ibv_query_port(ibv->context, port, &attributes);
    for (uint16_t i = 0; code == 0 && i < attributes.pkey_tbl_len; i++) {
        __be16 pkey = 0;
        if (ibv_query_pkey(ibv->context, port, i, &pkey) == 0 &&
            ((ntohs(pkey) ^ ibv->rdma.pkey) & PKEY_NUMBER) == 0) {
            ibv->pkey_index = i;
            return 0;
        }
    }
    return lks_error_set(err, code != 0 ? code : -EINVAL, "rdma.pkey 0x%04x: device %s port %u is "
                         "not a member of that partition: `cat /sys/class/infiniband/%s/ports/%u/"
                         "pkeys/*` shows its partitions, the subnet manager gives them",
                         ibv->rdma.pkey, ibv_get_device_name(ibv->context->device), port,
                         ibv_get_device_name(ibv->context->device), port);
}

int lks_ibv_way_init(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    const uint8_t port = ibv->listener->port_num;
    int code = ibv->rdma.gid_chosen ? check_gid(ibv, port, err) : 0;
    if (code == 0 && ibv->rdma.pkey != 0) {
        code = find_pkey(ibv, port, err);
    }
    return code;
}

/* The same GID as RoCE v2, if the port has it. */
static bool find_routable(const struct lks_ibv_fabric *ibv, const struct ibv_gid_entry *like,
                          uint8_t *index)
{
    struct ibv_gid_entry entries[LKS_IBV_GIDS_MAX];
    const ssize_t count = ibv_query_gid_table(ibv->context, entries, LKS_IBV_GIDS_MAX, 0);
    for (ssize_t i = 0; i < count; i++) {
        if (entries[i].port_num == like->port_num && entries[i].gid_type == IBV_GID_TYPE_ROCE_V2 &&
            memcmp(&entries[i].gid, &like->gid, sizeof like->gid) == 0) {
            *index = (uint8_t)entries[i].gid_index;
            return true;
        }
    }
    return false;
}

void lks_ibv_way_choose(const struct lks_ibv_fabric *ibv, uint32_t peer, struct ibv_qp_attr *way)
{
    struct ibv_gid_entry entry;
    if (ibv->rdma.pkey != 0) {
        way->pkey_index = ibv->pkey_index;
    }
    if (ibv->rdma.service_level != 0) {
        way->ah_attr.sl = ibv->rdma.service_level;
    }
    if (way->ah_attr.is_global == 0) {
        return; /* InfiniBand within a subnet: no GIDs in its packets */
    }
    if (ibv->rdma.traffic_class != 0) {
        way->ah_attr.grh.traffic_class = ibv->rdma.traffic_class;
    }
    if (ibv->rdma.gid_chosen) {
        way->ah_attr.grh.sgid_index = ibv->rdma.gid_index;
        return;
    }
    /* The connection manager has chosen by the own address; the most reported defect of all is one
     * that a router drops. */
    const uint8_t index = way->ah_attr.grh.sgid_index;
    if (ibv_query_gid_ex(ibv->context, way->port_num, index, &entry, 0) != 0 ||
        entry.gid_type != IBV_GID_TYPE_ROCE_V1) {
        return;
    }
    const bool routable = find_routable(ibv, &entry, &way->ah_attr.grh.sgid_index);
    lks_log_warn(ibv->options.log_sink, "r%u: the connection goes over RoCE v1, which no router "
                 "carries%s: set the port's default with cma_roce_mode to RoCE v2", peer,
                 routable ? " (the writes to logs go over RoCE v2)" : "");
}
