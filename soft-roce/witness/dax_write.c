/*
 * Shows that the lab is what it says: one process maps a device DAX and registers it, another, in
 * another guest, writes into it by RDMA; the first then finds the bytes in its memory.
 *
 *   dax_write serve DEVICE          waits for a writer, prints what it has written
 *   dax_write write HOST TEXT       writes TEXT at WRITTEN_AT of the server's device
 *   dax_write show DEVICE           prints what lies there, for instance after a power cut
 *
 * One thread. It keeps nothing: every end of the process gives all resources back.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PORT 18515
#define MAPPED_BYTES (2u << 20)
#define WRITTEN_AT 4096u
#define TEXT_BYTES 256u
#define CONNECT_TRIES 200
#define COMPLETION_TRIES 2000

/* What each end tells the other, over TCP; both are guests of one lab. */
struct end {
    union ibv_gid gid;
    uint64_t address;
    uint32_t rkey;
    uint32_t queue_pair;
};

struct side {
    struct ibv_context *device;
    struct ibv_pd *domain;
    struct ibv_cq *completions;
    struct ibv_qp *queue_pair;
    struct ibv_mr *region;
    uint8_t gid_index;
    union ibv_gid gid;
};

static void check(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "dax_write: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void pause_ms(int ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};

    nanosleep(&time, NULL);
}

/* The RoCE v2 entry with an IPv4 address: the index differs from machine to machine. */
static void choose_gid(struct side *side)
{
    struct ibv_gid_entry entry;
    static const uint8_t ipv4_prefix[12] = {[10] = 0xff, [11] = 0xff};

    for (uint32_t i = 0; i < 64; i++) {
        if (ibv_query_gid_ex(side->device, 1, i, &entry, 0) == 0 &&
            entry.gid_type == IBV_GID_TYPE_ROCE_V2 &&
            memcmp(entry.gid.raw, ipv4_prefix, sizeof(ipv4_prefix)) == 0) {
            side->gid_index = (uint8_t)i;
            side->gid = entry.gid;
            return;
        }
    }
    errno = ENOENT;
    check(0, "a GID of RoCE v2 with an IPv4 address");
}

static void open_side(struct side *side, void *memory, size_t bytes)
{
    struct ibv_device **devices = ibv_get_device_list(NULL);

    check(devices != NULL && devices[0] != NULL, "a device");
    side->device = ibv_open_device(devices[0]);
    check(side->device != NULL, "ibv_open_device");
    ibv_free_device_list(devices);
    choose_gid(side);
    side->domain = ibv_alloc_pd(side->device);
    check(side->domain != NULL, "ibv_alloc_pd");
    side->completions = ibv_create_cq(side->device, 8, NULL, NULL, 0);
    check(side->completions != NULL, "ibv_create_cq");
    struct ibv_qp_init_attr attributes = {
        .send_cq = side->completions,
        .recv_cq = side->completions,
        .cap = {.max_send_wr = 4, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1},
        .qp_type = IBV_QPT_RC,
    };
    side->queue_pair = ibv_create_qp(side->domain, &attributes);
    check(side->queue_pair != NULL, "ibv_create_qp");
    side->region = ibv_reg_mr(side->domain, memory, bytes,
                              IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                  IBV_ACCESS_REMOTE_READ);
    check(side->region != NULL, "ibv_reg_mr");
}

static struct end end_of(const struct side *side)
{
    return (struct end){side->gid, (uintptr_t)side->region->addr, side->region->rkey,
                        side->queue_pair->qp_num};
}

static void connect_side(struct side *side, const struct end *peer)
{
    struct ibv_qp_attr attributes = {
        .qp_state = IBV_QPS_INIT,
        .port_num = 1,
        .qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
    };

    check(ibv_modify_qp(side->queue_pair, &attributes,
                        IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) == 0,
          "queue pair to INIT");
    attributes = (struct ibv_qp_attr){
        .qp_state = IBV_QPS_RTR,
        .path_mtu = IBV_MTU_1024,
        .dest_qp_num = peer->queue_pair,
        .max_dest_rd_atomic = 1,
        .min_rnr_timer = 12,
        .ah_attr = {.is_global = 1,
                    .port_num = 1,
                    .grh = {.dgid = peer->gid, .sgid_index = side->gid_index, .hop_limit = 1}},
    };
    check(ibv_modify_qp(side->queue_pair, &attributes,
                        IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                            IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) == 0,
          "queue pair to RTR");
    attributes = (struct ibv_qp_attr){
        .qp_state = IBV_QPS_RTS,
        .timeout = 17,
        .retry_cnt = 7,
        .rnr_retry = 7,
        .max_rd_atomic = 1,
    };
    check(ibv_modify_qp(side->queue_pair, &attributes,
                        IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                            IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) == 0,
          "queue pair to RTS");
}

/* Posts one request to the peer's memory and waits until it has completed. */
static void carry_out(struct side *side, const struct end *peer, enum ibv_wr_opcode opcode,
                      void *local)
{
    struct ibv_sge piece = {(uintptr_t)local, TEXT_BYTES, side->region->lkey};
    struct ibv_send_wr request = {
        .sg_list = &piece,
        .num_sge = 1,
        .opcode = opcode,
        .send_flags = IBV_SEND_SIGNALED,
        .wr.rdma = {.remote_addr = peer->address + WRITTEN_AT, .rkey = peer->rkey},
    };
    struct ibv_send_wr *refused;
    struct ibv_wc completion;
    int count = 0;

    check(ibv_post_send(side->queue_pair, &request, &refused) == 0, "ibv_post_send");
    for (int i = 0; i < COMPLETION_TRIES && count == 0; i++) {
        count = ibv_poll_cq(side->completions, 1, &completion);
        if (count == 0)
            pause_ms(5);
    }
    errno = ETIMEDOUT;
    check(count == 1, "completion");
    errno = EIO;
    check(completion.status == IBV_WC_SUCCESS, ibv_wc_status_str(completion.status));
}

static char *map_device(const char *path)
{
    int file = open(path, O_RDWR | O_CLOEXEC);

    check(file >= 0, path);
    char *memory = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    check(memory != MAP_FAILED, "mmap");
    close(file);
    return memory;
}

static void show(const char *memory)
{
    printf("%.*s\n", (int)TEXT_BYTES, memory + WRITTEN_AT);
}

static void serve(const char *path)
{
    struct side side = {0};
    struct end mine, peer;
    char word;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    char *memory = map_device(path);

    open_side(&side, memory, MAPPED_BYTES);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    check(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
    check(listen(listener, 1) == 0, "listen");
    int writer = accept(listener, NULL, NULL);
    check(writer >= 0, "accept");
    mine = end_of(&side);
    check(recv(writer, &peer, sizeof(peer), MSG_WAITALL) == sizeof(peer), "the writer's end");
    connect_side(&side, &peer);
    check(send(writer, &mine, sizeof(mine), 0) == sizeof(mine), "our end");
    check(recv(writer, &word, 1, MSG_WAITALL) == 1, "the writer's word that it has written");
    show(memory);
}

static int connect_to(const char *host)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    char port[8];
    int server = -1;

    snprintf(port, sizeof(port), "%d", PORT);
    errno = ENOENT;
    check(getaddrinfo(host, port, &hints, &found) == 0, host);
    for (int i = 0; i < CONNECT_TRIES; i++) {
        server = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(server, found->ai_addr, found->ai_addrlen) == 0)
            break;
        close(server);
        server = -1;
        pause_ms(100);
    }
    check(server >= 0, "connect");
    freeaddrinfo(found);
    return server;
}

static void write_there(const char *host, const char *text)
{
    struct side side = {0};
    struct end mine, peer;
    static char memory[2 * TEXT_BYTES];
    int server = connect_to(host);

    snprintf(memory, TEXT_BYTES, "%s", text);
    open_side(&side, memory, sizeof(memory));
    mine = end_of(&side);
    check(send(server, &mine, sizeof(mine), 0) == sizeof(mine), "our end");
    check(recv(server, &peer, sizeof(peer), MSG_WAITALL) == sizeof(peer), "the server's end");
    connect_side(&side, &peer);
    carry_out(&side, &peer, IBV_WR_RDMA_WRITE, memory);
    carry_out(&side, &peer, IBV_WR_RDMA_READ, memory + TEXT_BYTES);
    errno = EIO;
    check(memcmp(memory, memory + TEXT_BYTES, TEXT_BYTES) == 0, "what was read back");
    check(send(server, "w", 1, 0) == 1, "the word that it is written");
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve(argv[2]);
    else if (argc == 4 && strcmp(argv[1], "write") == 0)
        write_there(argv[2], argv[3]);
    else if (argc == 3 && strcmp(argv[1], "show") == 0)
        show(map_device(argv[2]));
    else {
        fprintf(stderr, "usage: dax_write serve DEVICE | write HOST TEXT | show DEVICE\n");
        return 2;
    }
    return 0;
}
