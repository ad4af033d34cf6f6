/* Why memory can be registered, or not; see registration.h. */
#include "verbs/ibv/registration.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
/* Since this version files whose pages are written back are refused for remote writing. */
#define FILES_REFUSED_MAJOR 6u
#define FILES_REFUSED_MINOR 4u

/* ---- abilities ------------------------------------------------------------------------------ */

void lks_ibv_abilities_find(struct ibv_context *context, struct lks_ibv_abilities *abilities)
{
    struct ibv_device_attr_ex attributes = {0};
    *abilities = (struct lks_ibv_abilities){0};
    if (ibv_query_device_ex(context, NULL, &attributes) != 0) {
        return;
    }
    const uint32_t wanted = IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ;
    const struct ibv_odp_caps *paging = &attributes.odp_caps;
    const uint32_t connected = paging->per_transport_caps.rc_odp_caps;
    *abilities = (struct lks_ibv_abilities){
        .known = true,
        .on_demand_paging =
            (paging->general_caps & IBV_ODP_SUPPORT) != 0 && (connected & wanted) == wanted,
        .flush_global = (attributes.device_cap_flags_ex & LKS_IBV_FLUSH_GLOBAL) != 0,
        .flush_persistent = (attributes.device_cap_flags_ex & LKS_IBV_FLUSH_PERSISTENT) != 0,
        .region_bytes_max = attributes.orig_attr.max_mr_size};
}

void lks_ibv_abilities_describe(const struct lks_ibv_abilities *abilities, char *text,
                                size_t bytes)
{
#ifdef LKS_HAVE_IBV_FLUSH
    const char *build = "";
#else
    const char *build = ", and this build's libibverbs (before 45) cannot ask for it";
#endif
    if (!abilities->known) {
        (void)snprintf(text, bytes, "on-demand paging and RDMA FLUSH: the device does not tell");
        return;
    }
    const bool flush = abilities->flush_global || abilities->flush_persistent;
    (void)snprintf(text, bytes, "on-demand paging: %s; RDMA FLUSH: %s%s",
                   abilities->on_demand_paging ? "the device has it, not used" : "no",
                   abilities->flush_persistent ? "the device has it, to persistence too"
                   : flush                     ? "the device has it, but not to persistence"
                                               : "no",
                   flush ? ", not used: a READ behind the writes stands in for it" : "");
    if (flush) {
        const size_t length = strnlen(text, bytes);
        (void)snprintf(text + length, bytes - length, "%s", build);
    }
}

/* ---- what memory lies on -------------------------------------------------------------------- */

enum lks_ibv_backing lks_ibv_backing_of(int fd)
{
    struct stat status;
    struct statfs system;
    struct statx extended = {0};
    if (fd < 0 || fstat(fd, &status) != 0) {
        return LKS_IBV_BACKING_ANONYMOUS;
    }
    if (S_ISCHR(status.st_mode)) {
        return LKS_IBV_BACKING_DEVICE;
    }
    if (fstatfs(fd, &system) == 0 &&
        (system.f_type == TMPFS_MAGIC || system.f_type == HUGETLBFS_MAGIC)) {
        return LKS_IBV_BACKING_MEMORY;
    }
    const bool dax = statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended) == 0 &&
                     (extended.stx_attributes & STATX_ATTR_DAX) != 0;
    return dax ? LKS_IBV_BACKING_DAX_FILE : LKS_IBV_BACKING_FILE;
}

/* ---- refusals ------------------------------------------------------------------------------- */

#define FIRST_USER_NAMESPACE "user:[4026531837]"
#define CAP_IPC_LOCK_BIT 14u

static bool may_lock_anything(uint64_t effective)
{
    char name[64] = "";
    const ssize_t length = readlink("/proc/self/ns/user", name, sizeof name - 1);
    return length > 0 && strcmp(name, FIRST_USER_NAMESPACE) == 0 &&
           (effective >> CAP_IPC_LOCK_BIT & 1) != 0;
}

uint64_t lks_ibv_locked_bytes_max(uint64_t bytes)
{
    struct rlimit limit;
    unsigned long long pinned_kib = 0;
    unsigned long long effective = 0;
    char line[256];
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return UINT64_MAX;
    }
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        (void)sscanf(line, "VmPin: %llu", &pinned_kib);
        (void)sscanf(line, "CapEff: %llx", &effective);
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    const bool fits = bytes <= limit.rlim_cur && pinned_kib * 1024 <= limit.rlim_cur - bytes;
    return fits || may_lock_anything(effective) ? UINT64_MAX : limit.rlim_cur;
}

static int no_memory(const struct lks_ibv_refusal *refusal, struct lks_error *err)
{
    const uint64_t needed = refusal->rings * refusal->ring_bytes;
    if (refusal->locked_bytes_max != UINT64_MAX && needed > refusal->locked_bytes_max) {
        return lks_error_set(err, refusal->code, "%s, %llu MiB, cannot be registered: locked "
                             "memory is limited to %llu MiB, and this replica needs %u rings of "
                             "%llu MiB; raise it (ulimit -l, LimitMEMLOCK= of its unit)",
                             refusal->what, (unsigned long long)(refusal->bytes / MIB),
                             (unsigned long long)(refusal->locked_bytes_max / MIB),
                             refusal->rings, (unsigned long long)(refusal->ring_bytes / MIB));
    }
    if (refusal->locked_bytes_max != UINT64_MAX) {
        return lks_error_set(err, refusal->code, "%s, %llu MiB, cannot be registered: locked "
                             "memory is limited to %llu MiB, of which the %u rings of %llu MiB "
                             "take %llu MiB, and snapshots, inboxes and clients come on top; "
                             "raise it (ulimit -l, LimitMEMLOCK= of its unit)", refusal->what,
                             (unsigned long long)(refusal->bytes / MIB),
                             (unsigned long long)(refusal->locked_bytes_max / MIB),
                             refusal->rings, (unsigned long long)(refusal->ring_bytes / MIB),
                             (unsigned long long)(needed / MIB));
    }
    return lks_error_set(err, refusal->code, "%s, %llu MiB, cannot be registered: locked memory is "
                         "not limited to less, but this machine or RDMA device %s has no room for "
                         "it: free memory, or choose a smaller ring (`lockstep init --ring`)",
                         refusal->what, (unsigned long long)(refusal->bytes / MIB),
                         refusal->device);
}

static int no_file(const struct lks_ibv_refusal *refusal, struct lks_error *err)
{
    const bool since = refusal->code == -EFAULT && /* that check's answer */
                       (refusal->kernel_major > FILES_REFUSED_MAJOR ||
                        (refusal->kernel_major == FILES_REFUSED_MAJOR &&
                         refusal->kernel_minor >= FILES_REFUSED_MINOR));
    return lks_error_set(err, refusal->code, "%s cannot be registered (%s): it lies in an ordinary "
                         "file, %s Linux %u.%u; put it on device DAX, tmpfs or hugetlbfs",
                         refusal->what, lks_error_text(refusal->code),
                         since ? "which Linux refuses for remote writing since 6.4: this is"
                               : "which RDMA device and file system together refuse here, under",
                         refusal->kernel_major, refusal->kernel_minor);
}

static int no_dax_file(const struct lks_ibv_refusal *refusal, struct lks_error *err)
{
    return lks_error_set(err, refusal->code, "%s cannot be registered (%s): it lies in a file of a "
                         "file system with DAX, whose pages cannot be held still for RDMA; that "
                         "takes on-demand paging, which RDMA device %s %s; put it on device DAX "
                         "(`ndctl create-namespace --mode=devdax`)", refusal->what,
                         lks_error_text(refusal->code), refusal->device,
                         refusal->abilities.on_demand_paging ? "has, but this version does not use"
                                                             : "has not");
}

int lks_ibv_refusal_explain(const struct lks_ibv_refusal *refusal, struct lks_error *err)
{
    const int code = refusal->code;
    const uint64_t most = refusal->abilities.region_bytes_max;
    const bool unfit = code == -EOPNOTSUPP || code == -EFAULT || code == -EINVAL || code == -EIO;
    if (most != 0 && refusal->bytes > most) {
        return lks_error_set(err, code, "%s, %llu MiB, cannot be registered: RDMA device %s takes "
                             "regions of at most %llu MiB: choose a smaller ring (`lockstep init "
                             "--ring`)", refusal->what, (unsigned long long)(refusal->bytes / MIB),
                             refusal->device, (unsigned long long)(most / MIB));
    }
    if (code == -ENOMEM) {
        return no_memory(refusal, err);
    }
    if (code == -EAGAIN) { /* of the kernel's controller of RDMA resources */
        return lks_error_set(err, code, "%s cannot be registered: the rdma control group of this "
                             "process allows no more objects of RDMA device %s: raise its rdma.max",
                             refusal->what, refusal->device);
    }
    if (unfit && refusal->backing == LKS_IBV_BACKING_DAX_FILE) {
        return no_dax_file(refusal, err);
    }
    if (unfit && refusal->backing == LKS_IBV_BACKING_FILE) {
        return no_file(refusal, err);
    }
    return lks_error_set(err, code, "%s cannot be registered with RDMA device %s: %s; the kernel's "
                         "log (`dmesg`) may say more", refusal->what, refusal->device,
                         lks_error_text(code));
}
