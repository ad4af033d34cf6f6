/* Own and mapped shared memory; see segment.h. */
#include "verbs/shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/assert.h"

#define PAGE UINT64_C(4096)
#define POPULATE_BYTES (UINT64_C(1) << 20) /* about 0.1 ms of work */
#define AREA_BYTES_MAX (UINT64_C(1) << 32) /* of words and of one inbox area */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

uint64_t lks_shm_segment_bytes(const struct lks_shm_sizes *sizes)
{
    if (sizes->words_bytes > AREA_BYTES_MAX || sizes->inbox_bytes > AREA_BYTES_MAX ||
        sizes->replicas > LKS_REPLICAS_MAX) {
        return 0;
    }
    return PAGE + round_up(sizes->words_bytes, PAGE) +
           sizes->replicas * round_up(sizes->inbox_bytes, PAGE);
}

/* Takes the mutex that says, by being held, that the owner lives (see segment.h). */
static int begin_life(pthread_mutex_t *life)
{
    pthread_mutexattr_t attributes;
    int code = pthread_mutexattr_init(&attributes);
    if (code != 0) {
        return -code;
    }
    (void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    (void)pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    code = pthread_mutex_init(life, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    return code == 0 ? -pthread_mutex_lock(life) : -code;
}

bool lks_shm_view_life_ended(const struct lks_shm_view *view)
{
    if (view->bells == NULL) {
        return false;
    }
    /* The futex word of a robust mutex, whose marks are part of the kernel's interface. */
    const int word = __atomic_load_n(&view->bells->life.__data.__lock, __ATOMIC_ACQUIRE);
    return ((unsigned)word & FUTEX_OWNER_DIED) != 0;
}

int lks_shm_segment_init(struct lks_shm_segment *segment, const struct lks_shm_sizes *sizes)
{
    const uint64_t bytes = lks_shm_segment_bytes(sizes);
    if (bytes == 0) {
        return -EINVAL;
    }
    const int fd = memfd_create("lockstep", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    int code = 0;
    /* Allocated in full: a full machine shows here, not as SIGBUS later. */
    if (fallocate(fd, 0, 0, (off_t)bytes) != 0 || fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        code = -errno;
        goto close_fd;
    }
    uint8_t *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) {
        code = -errno;
        goto close_fd;
    }
    (void)madvise(address, bytes, MADV_DONTFORK);
    *segment = (struct lks_shm_segment){
        .fd = fd,
        .address = address,
        .bytes = bytes,
        .bells = (struct lks_shm_bell_page *)(void *)address,
        .words = address + PAGE,
        .inboxes = address + PAGE + round_up(sizes->words_bytes, PAGE),
        .inbox_stride = round_up(sizes->inbox_bytes, PAGE),
    };
    code = begin_life(&segment->bells->life);
    if (code != 0) {
        (void)munmap(address, bytes);
        *segment = (struct lks_shm_segment){.fd = -1};
        goto close_fd;
    }
    return 0;
close_fd:
    (void)close(fd);
    return code;
}

void lks_shm_segment_fini(struct lks_shm_segment *segment)
{
    if (segment->address != NULL) {
        (void)pthread_mutex_unlock(&segment->bells->life);
        (void)munmap(segment->address, segment->bytes);
        (void)close(segment->fd);
        *segment = (struct lks_shm_segment){.fd = -1};
    }
}

uint8_t *lks_shm_segment_inbox(const struct lks_shm_segment *segment, uint32_t peer)
{
    LKS_ASSERT(peer >= 1 && peer <= LKS_REPLICAS_MAX);
    return segment->inboxes + (peer - 1) * segment->inbox_stride;
}

static int map_part(int fd, uint64_t offset, uint64_t bytes, int protection, uint8_t **address)
{
    void *mapped = mmap(NULL, bytes, protection, MAP_SHARED, fd, (off_t)offset);
    if (mapped == MAP_FAILED) {
        return -errno;
    }
    (void)madvise(mapped, bytes, MADV_DONTFORK);
    *address = mapped;
    return 0;
}

static int map_segment(struct lks_shm_view *view, const struct lks_shm_sizes *sizes,
                       uint32_t self, int fd)
{
    struct stat status;
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))) {
        return -EBADMSG;
    }
    if (fstat(fd, &status) != 0 || (uint64_t)status.st_size != lks_shm_segment_bytes(sizes)) {
        return -EBADMSG;
    }
    uint8_t *bells = NULL;
    int code = map_part(fd, 0, PAGE, PROT_READ | PROT_WRITE, &bells);
    if (code != 0) {
        return code;
    }
    view->bells = (struct lks_shm_bell_page *)(void *)bells;
    view->words_span = round_up(sizes->words_bytes, PAGE);
    if (view->words_span != 0) {
        code = map_part(fd, PAGE, view->words_span, PROT_READ, &view->words);
    }
    view->inbox_span = round_up(sizes->inbox_bytes, PAGE);
    if (code == 0 && view->inbox_span != 0) {
        code = map_part(fd, PAGE + view->words_span + (self - 1) * view->inbox_span,
                        view->inbox_span, PROT_READ | PROT_WRITE, &view->inbox);
    }
    return code;
}

/* Maps with MAP_SYNC where the file system has it: lines that this writer writes back must not
 * lie in blocks that the file system would forget (fsdax). */
static void *map_log_at(int fd, uint64_t offset, uint64_t bytes)
{
    const int protection = PROT_READ | PROT_WRITE;
    void *mapped = mmap(NULL, bytes, protection, MAP_SHARED_VALIDATE | MAP_SYNC, fd, (off_t)offset);
    if (mapped == MAP_FAILED) {
        mapped = mmap(NULL, bytes, protection, MAP_SHARED, fd, (off_t)offset);
    }
    return mapped;
}

static bool is_in_memory(int fd)
{
    struct statfs status;
    return fstatfs(fd, &status) == 0 &&
           (status.f_type == TMPFS_MAGIC || status.f_type == HUGETLBFS_MAGIC);
}

static int map_log(struct lks_shm_view *view, const struct lks_fabric_memory *log)
{
    /* A device DAX wants its mappings aligned to its own page size. */
    static const uint64_t alignments[] = {PAGE, UINT64_C(2) << 20, UINT64_C(1) << 30};
    struct stat status;
    const int flags = fcntl(log->fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) != O_RDWR || fstat(log->fd, &status) != 0) {
        return -EBADMSG;
    }
    if (log->fd_offset > (uint64_t)INT64_MAX / 2 || log->bytes > (uint64_t)INT64_MAX / 2 ||
        log->fd_offset % PAGE != 0) {
        return -EBADMSG; /* a head across pages would make its words fall apart */
    }
    if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode)) {
        return -EBADMSG;
    }
    if (S_ISREG(status.st_mode) && (uint64_t)status.st_size < log->fd_offset + log->bytes) {
        return -EBADMSG;
    }
    int code = -EINVAL;
    for (size_t i = 0; i < LKS_COUNT_OF(alignments); i++) {
        const uint64_t before = log->fd_offset % alignments[i];
        const uint64_t span = round_up(before + log->bytes, alignments[i]);
        uint8_t *mapped = map_log_at(log->fd, log->fd_offset - before, span);
        if (mapped != MAP_FAILED) {
            (void)madvise(mapped, span, MADV_DONTFORK);
            view->log_mapping = mapped;
            view->log_span = span;
            view->log = mapped + before;
            view->log_in_memory = S_ISCHR(status.st_mode) || is_in_memory(log->fd);
            return 0;
        }
        code = -errno;
        if (code != -EINVAL) {
            break;
        }
    }
    return code;
}

/* Read-only, whatever the descriptor would allow. Pages come when they are read. */
static int map_snapshots(struct lks_shm_view *view, const struct lks_fabric_memory *snapshots)
{
    struct stat status;
    const int flags = fcntl(snapshots->fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY || fstat(snapshots->fd, &status) != 0 ||
        !S_ISREG(status.st_mode)) {
        return -EBADMSG;
    }
    if (snapshots->fd_offset % PAGE != 0 || snapshots->fd_offset > (uint64_t)INT64_MAX / 2 ||
        snapshots->bytes > (uint64_t)INT64_MAX / 2 ||
        (uint64_t)status.st_size < snapshots->fd_offset + snapshots->bytes) {
        return -EBADMSG;
    }
    uint8_t *mapped = NULL;
    const int code =
        map_part(snapshots->fd, snapshots->fd_offset, snapshots->bytes, PROT_READ, &mapped);
    if (code == 0) {
        view->snapshots = mapped;
        view->snapshots_bytes = snapshots->bytes;
    }
    return code;
}

bool lks_shm_view_populate(struct lks_shm_view *view)
{
    if (view->log_mapping == NULL || !view->log_in_memory ||
        view->log_populated >= view->log_span) {
        return false;
    }
    const uint64_t rest = view->log_span - view->log_populated;
    const uint64_t part = rest < POPULATE_BYTES ? rest : POPULATE_BYTES;
    (void)madvise((uint8_t *)view->log_mapping + view->log_populated, part, MADV_POPULATE_WRITE);
    view->log_populated += part;
    return true;
}

int lks_shm_view_init(struct lks_shm_view *view, const struct lks_shm_sizes *sizes, uint32_t self,
                      int segment_fd, const struct lks_fabric_memory *log,
                      const struct lks_fabric_memory *snapshots)
{
    LKS_ASSERT(self >= 1 && self <= sizes->replicas);
    memset(view, 0, sizeof *view);
    int code = map_segment(view, sizes, self, segment_fd);
    if (code == 0) {
        code = map_log(view, log);
    }
    if (code == 0 && snapshots->bytes != 0) {
        code = map_snapshots(view, snapshots);
    }
    if (code != 0) {
        lks_shm_view_fini(view);
    }
    return code;
}

void lks_shm_view_fini(struct lks_shm_view *view)
{
    if (view->bells != NULL) {
        (void)munmap(view->bells, PAGE);
    }
    if (view->words != NULL) {
        (void)munmap(view->words, view->words_span);
    }
    if (view->inbox != NULL) {
        (void)munmap(view->inbox, view->inbox_span);
    }
    if (view->log_mapping != NULL) {
        (void)munmap(view->log_mapping, view->log_span);
    }
    if (view->snapshots != NULL) {
        (void)munmap(view->snapshots, view->snapshots_bytes);
    }
    memset(view, 0, sizeof *view);
}
