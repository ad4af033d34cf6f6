/* The price of write permission; see raw_permission.h. */
#include "bench/raw/raw_permission.h"

#include "bench/raw/raw_device.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

struct lks_raw_permission {
    struct lks_raw_device device;
    void *memory;
    uint64_t memory_bytes;
    uint64_t rounds;
    /* Of the round under way. */
    struct ibv_mr *region;
    struct ibv_mw *window;
    struct ibv_qp *owner;
    struct ibv_qp *writer;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int last_error(void)
{
    return errno != 0 ? -errno : -EIO;
}

int lks_raw_permission_new(struct lks_raw_permission **permission, const char *address,
                           uint64_t memory_bytes)
{
    struct ibv_device_attr attributes;
    struct lks_raw_permission *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->memory_bytes = memory_bytes;
    made->memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    int code = made->memory != MAP_FAILED ? 0 : -errno;
    if (code == 0) {
        code = lks_raw_device_open(&made->device, address);
    }
    if (code == 0) {
        code = -ibv_query_device(made->device.context, &attributes);
    }
    if (code == 0 && (attributes.device_cap_flags & (IBV_DEVICE_MEM_WINDOW_TYPE_2A |
                                                     IBV_DEVICE_MEM_WINDOW_TYPE_2B)) == 0) {
        code = -ENOTSUP;
    }
    if (code != 0) {
        lks_raw_permission_free(made);
        return code;
    }
    *permission = made;
    return 0;
}

/* What a round has left. */
static void clear(struct lks_raw_permission *permission)
{
    if (permission->window != NULL) {
        (void)ibv_dealloc_mw(permission->window);
        permission->window = NULL;
    }
    if (permission->owner != NULL) {
        (void)ibv_destroy_qp(permission->owner);
        permission->owner = NULL;
    }
    if (permission->writer != NULL) {
        (void)ibv_destroy_qp(permission->writer);
        permission->writer = NULL;
    }
    if (permission->region != NULL) {
        (void)ibv_dereg_mr(permission->region);
        permission->region = NULL;
    }
}

void lks_raw_permission_free(struct lks_raw_permission *permission)
{
    if (permission == NULL) {
        return;
    }
    clear(permission);
    lks_raw_device_close(&permission->device);
    if (permission->memory != MAP_FAILED) {
        (void)munmap(permission->memory, permission->memory_bytes);
    }
    free(permission);
}

static int do_register(struct lks_raw_permission *permission)
{
    permission->region =
        ibv_reg_mr(permission->device.pd, permission->memory, permission->memory_bytes,
                   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
    return permission->region != NULL ? 0 : last_error();
}

/* The owner's end; the writer's is made beforehand, and connected afterwards. */
static int do_connect(struct lks_raw_permission *permission)
{
    struct lks_raw_device *device = &permission->device;
    const struct lks_raw_end writer = {
        .gid = device->gid, .queue_pair = permission->writer->qp_num, .lid = device->lid};
    uint32_t inline_max = 0;
    permission->owner = lks_raw_queue_pair(device, &inline_max);
    return permission->owner != NULL ? lks_raw_connect(device, permission->owner, &writer)
                                     : last_error();
}

static int do_alloc_window(struct lks_raw_permission *permission)
{
    permission->window = ibv_alloc_mw(permission->device.pd, IBV_MW_TYPE_2);
    return permission->window != NULL ? 0 : last_error();
}

static int post_and_wait(struct lks_raw_permission *permission, struct ibv_send_wr *request)
{
    struct ibv_send_wr *bad = NULL;
    struct ibv_wc completion;
    int count = 0;
    const int code = -ibv_post_send(permission->owner, request, &bad);
    while (code == 0 && count == 0) {
        count = ibv_poll_cq(permission->device.cq, 1, &completion);
    }
    return code != 0 ? code : count == 1 && completion.status == IBV_WC_SUCCESS ? 0 : -EIO;
}

static int do_bind(struct lks_raw_permission *permission)
{
    struct ibv_send_wr request = {.opcode = IBV_WR_BIND_MW, .send_flags = IBV_SEND_SIGNALED};
    request.bind_mw.mw = permission->window;
    request.bind_mw.rkey = ibv_inc_rkey(permission->window->rkey);
    request.bind_mw.bind_info = (struct ibv_mw_bind_info){
        .mr = permission->region,
        .addr = (uintptr_t)permission->memory,
        .length = permission->memory_bytes,
        .mw_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ};
    const int code = post_and_wait(permission, &request);
    permission->window->rkey = request.bind_mw.rkey;
    return code;
}

static int do_invalidate(struct lks_raw_permission *permission)
{
    struct ibv_send_wr request = {.opcode = IBV_WR_LOCAL_INV, .send_flags = IBV_SEND_SIGNALED};
    request.invalidate_rkey = permission->window->rkey;
    return post_and_wait(permission, &request);
}

static int do_dealloc_window(struct lks_raw_permission *permission)
{
    struct ibv_mw *window = permission->window;
    permission->window = NULL;
    return -ibv_dealloc_mw(window);
}

static int do_access_flags(struct lks_raw_permission *permission)
{
    struct ibv_qp_attr attributes = {.qp_access_flags = IBV_ACCESS_REMOTE_READ};
    return -ibv_modify_qp(permission->owner, &attributes, IBV_QP_ACCESS_FLAGS);
}

static int do_error(struct lks_raw_permission *permission)
{
    struct ibv_qp_attr attributes = {.qp_state = IBV_QPS_ERR};
    return -ibv_modify_qp(permission->owner, &attributes, IBV_QP_STATE);
}

static int do_destroy(struct lks_raw_permission *permission)
{
    struct ibv_qp *owner = permission->owner;
    permission->owner = NULL;
    return -ibv_destroy_qp(owner);
}

static int do_deregister(struct lks_raw_permission *permission)
{
    struct ibv_mr *region = permission->region;
    permission->region = NULL;
    return -ibv_dereg_mr(region);
}

int lks_raw_permission_round(struct lks_raw_permission *permission, uint64_t *took_ns)
{
    static int (*const steps[LKS_RAW_STEPS])(struct lks_raw_permission *permission) = {
        [LKS_RAW_REGISTER] = do_register,
        [LKS_RAW_CONNECT] = do_connect,
        [LKS_RAW_ALLOC_WINDOW] = do_alloc_window,
        [LKS_RAW_BIND] = do_bind,
        [LKS_RAW_INVALIDATE] = do_invalidate,
        [LKS_RAW_DEALLOC_WINDOW] = do_dealloc_window,
        [LKS_RAW_ACCESS_FLAGS] = do_access_flags,
        [LKS_RAW_ERROR] = do_error,
        [LKS_RAW_DESTROY] = do_destroy,
        [LKS_RAW_DEREGISTER] = do_deregister,
    };
    const bool dead = permission->rounds++ % 2 != 0;
    uint32_t inline_max = 0;
    permission->writer = lks_raw_queue_pair(&permission->device, &inline_max);
    int code = permission->writer != NULL ? 0 : last_error();
    for (uint32_t i = 0; i < LKS_RAW_STEPS && code == 0; i++) {
        took_ns[i] = 0;
        if (i == LKS_RAW_INVALIDATE && dead) {
            continue;
        }
        const uint64_t before_ns = now_ns();
        code = steps[i](permission);
        took_ns[i] = now_ns() - before_ns;
        if (i == LKS_RAW_CONNECT && code == 0) {
            const struct lks_raw_end owner = {.gid = permission->device.gid,
                                              .queue_pair = permission->owner->qp_num,
                                              .lid = permission->device.lid};
            code = lks_raw_connect(&permission->device, permission->writer, &owner);
        }
    }
    clear(permission);
    return code;
}
