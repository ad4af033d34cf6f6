/* A peer of the floor; see raw_peer.h. */
#include "bench/raw/raw_peer.h"

#include "bench/raw/raw_device.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int map_memory(const struct lks_raw_peer_options *options, void **memory)
{
    if (options->medium == NULL) {
        *memory = mmap(NULL, options->region_bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        return *memory != MAP_FAILED ? 0 : -errno;
    }
    const int fd = open(options->medium, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    *memory = mmap(NULL, options->region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                   (off_t)options->offset);
    const int code = *memory != MAP_FAILED ? 0 : -errno;
    (void)close(fd);
    return code;
}

int lks_raw_peer_run(const struct lks_raw_peer_options *options, int socket)
{
    struct lks_raw_device device;
    struct lks_raw_end own = {0};
    struct lks_raw_end other;
    struct ibv_qp *qp = NULL;
    struct ibv_mr *region = NULL;
    void *memory = NULL;
    uint32_t inline_max = 0;
    char end;
    int code = map_memory(options, &memory);
    if (code == 0) {
        code = lks_raw_device_open(&device, options->address);
    }
    if (code == 0) {
        qp = lks_raw_queue_pair(&device, &inline_max);
        region = qp != NULL ? ibv_reg_mr(device.pd, memory, options->region_bytes,
                                         IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                             IBV_ACCESS_REMOTE_READ)
                            : NULL;
        code = region != NULL ? 0 : errno != 0 ? -errno : -EIO;
    }
    if (code == 0) {
        own = (struct lks_raw_end){.gid = device.gid,
                                   .address = (uintptr_t)memory,
                                   .rkey = region->rkey,
                                   .queue_pair = qp->qp_num,
                                   .lid = device.lid};
    }
    own.failed = (uint16_t)-code;
    if (send(socket, &own, sizeof own, MSG_NOSIGNAL) != (ssize_t)sizeof own || code != 0 ||
        recv(socket, &other, sizeof other, MSG_WAITALL) != (ssize_t)sizeof other) {
        return 1;
    }
    code = lks_raw_connect(&device, qp, &other);
    own.failed = (uint16_t)-code;
    if (send(socket, &own, sizeof own, MSG_NOSIGNAL) != (ssize_t)sizeof own || code != 0) {
        return 1;
    }
    (void)!recv(socket, &end, 1, 0); /* until the other side ends; the process's end frees all */
    return 0;
}
