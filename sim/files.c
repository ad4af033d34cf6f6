/* Files of simulated replicas; see files.h. */
#include "sim/files.h"

#include "base/assert.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>

#define FILES_MAX 64u
#define OPEN_MAX 512u
#define OPEN_FIRST (1 << 20) /* descriptors from here are simulated: the kernel gives out none */
#define PATH_BYTES 320u
#define SECTOR_BYTES 512

struct file {
    uint64_t number; /* 0: the place is free */
    uint64_t bytes;
    char path[PATH_BYTES]; /* "": removed, and still open */
    uint32_t opened;
    uint32_t locked; /* by the open file at this place + 1; 0: by none */
};

/* An open file: as the kernel's, it has a lock of its own. */
struct description {
    bool used;
    struct file *file; /* NULL: a directory */
};

static bool g_entered;
static bool g_on_disk;
static uint64_t g_numbers;
static struct file g_files[FILES_MAX];
static struct description g_open[OPEN_MAX];

bool lks_sim_files_enter(bool simulated)
{
    const bool before = g_entered;
    g_entered = simulated;
    return before;
}

void lks_sim_files_lie_on_disk(bool on_disk)
{
    g_on_disk = on_disk;
}

static int fail(int code)
{
    errno = code;
    return -1;
}

static bool is_simulated(int fd)
{
    return fd >= OPEN_FIRST;
}

static struct description *description_of(int fd)
{
    LKS_ASSERT(is_simulated(fd) && (uint32_t)(fd - OPEN_FIRST) < OPEN_MAX);
    struct description *found = &g_open[fd - OPEN_FIRST];
    LKS_ASSERT(found->used);
    return found;
}

static struct file *find(const char *path)
{
    for (uint32_t i = 0; i < FILES_MAX; i++) {
        if (g_files[i].number != 0 && strcmp(g_files[i].path, path) == 0) {
            return &g_files[i];
        }
    }
    return NULL;
}

static void forget_unused(struct file *file)
{
    if (file->opened == 0 && file->path[0] == '\0') {
        *file = (struct file){0};
    }
}

uint64_t lks_sim_files_number(int fd)
{
    const struct file *file = is_simulated(fd) ? description_of(fd)->file : NULL;
    return file != NULL ? file->number : 0;
}

uint64_t lks_sim_files_named(const char *path)
{
    const struct file *file = find(path);
    return file != NULL ? file->number : 0;
}

uint64_t lks_sim_files_bytes(int fd)
{
    const struct file *file = description_of(fd)->file;
    return file != NULL ? file->bytes : 0;
}

int lks_sim_files_remove(const char *path)
{
    struct file *file = find(path);
    if (file == NULL) {
        return -ENOENT;
    }
    file->path[0] = '\0';
    forget_unused(file);
    return 0;
}

void lks_sim_files_unlock_all(void)
{
    for (uint32_t i = 0; i < FILES_MAX; i++) {
        g_files[i].locked = 0;
    }
}

void lks_sim_files_forget_all(void)
{
    memset(g_files, 0, sizeof g_files);
    memset(g_open, 0, sizeof g_open);
    g_entered = false;
}

/* ---- calls of the kernel ------------------------------------------------------------------ */

static struct file *create(const char *path)
{
    uint32_t place = 0;
    while (place < FILES_MAX && g_files[place].number != 0) {
        place++;
    }
    LKS_ASSERT(place < FILES_MAX);
    struct file *file = &g_files[place];
    const size_t length = strlen(path);
    LKS_ASSERT(length > 0 && length < PATH_BYTES);
    memcpy(file->path, path, length + 1);
    file->number = ++g_numbers;
    return file;
}

static int open_simulated(const char *path, int flags)
{
    struct file *file = NULL;
    if ((flags & O_DIRECTORY) == 0) {
        file = find(path);
        if (file == NULL && (flags & O_CREAT) == 0) {
            return fail(ENOENT);
        }
        if (file != NULL && (flags & O_EXCL) != 0) {
            return fail(EEXIST);
        }
        file = file == NULL ? create(path) : file;
        file->opened++;
    }
    uint32_t place = 0;
    while (place < OPEN_MAX && g_open[place].used) {
        place++;
    }
    LKS_ASSERT(place < OPEN_MAX);
    g_open[place] = (struct description){.used = true, .file = file};
    return OPEN_FIRST + (int)place;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return g_entered ? open_simulated(path, flags) : __real_open(path, flags, mode);
}

int __wrap_close(int fd)
{
    if (!is_simulated(fd)) {
        return __real_close(fd);
    }
    struct description *closed = description_of(fd);
    struct file *file = closed->file;
    *closed = (struct description){0};
    if (file != NULL) {
        const uint32_t holder = (uint32_t)(fd - OPEN_FIRST) + 1;
        LKS_ASSERT(file->opened > 0);
        file->opened--;
        file->locked = file->locked == holder ? 0 : file->locked;
        forget_unused(file);
    }
    return 0;
}

static void describe(const struct file *file, struct stat *status)
{
    *status = (struct stat){.st_mode = file != NULL ? S_IFREG | 0600 : S_IFDIR | 0700,
                            .st_ino = file != NULL ? file->number : 0,
                            .st_size = file != NULL ? (off_t)file->bytes : 0,
                            .st_blocks = file != NULL ? (blkcnt_t)file->bytes / SECTOR_BYTES : 0};
}

int __wrap_stat(const char *path, struct stat *status)
{
    if (!g_entered) {
        return __real_stat(path, status);
    }
    const struct file *file = find(path);
    if (file == NULL) {
        return fail(ENOENT);
    }
    describe(file, status);
    return 0;
}

int __wrap_fstat(int fd, struct stat *status)
{
    if (!is_simulated(fd)) {
        return __real_fstat(fd, status);
    }
    describe(description_of(fd)->file, status);
    return 0;
}

int __wrap_fstatfs(int fd, struct statfs *status)
{
    if (!is_simulated(fd)) {
        return __real_fstatfs(fd, status);
    }
    *status =
        (struct statfs){.f_type = g_on_disk ? EXT4_SUPER_MAGIC : TMPFS_MAGIC, .f_bsize = 4096};
    return 0;
}

/* Whole files are locked, by their open files. */
static int lock_simulated(int fd, int command, struct flock *lock)
{
    struct file *file = description_of(fd)->file;
    const uint32_t holder = (uint32_t)(fd - OPEN_FIRST) + 1;
    LKS_ASSERT(file != NULL && (command == F_OFD_SETLK || command == F_OFD_GETLK));
    const bool held = file->locked != 0 && file->locked != holder;
    if (command == F_OFD_GETLK) {
        lock->l_type = held ? F_WRLCK : F_UNLCK;
        return 0;
    }
    if (lock->l_type == F_UNLCK) {
        file->locked = held ? file->locked : 0;
        return 0;
    }
    if (held) {
        return fail(EAGAIN);
    }
    file->locked = holder;
    return 0;
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return is_simulated(fd) ? lock_simulated(fd, command, argument)
                            : __real_fcntl(fd, command, argument);
}

int __wrap_fsync(int fd)
{
    if (!is_simulated(fd)) {
        return __real_fsync(fd);
    }
    (void)description_of(fd);
    return 0;
}

int __wrap_ftruncate(int fd, off_t bytes)
{
    if (!is_simulated(fd)) {
        return __real_ftruncate(fd, bytes);
    }
    struct file *file = description_of(fd)->file;
    LKS_ASSERT(file != NULL && bytes >= 0);
    file->bytes = (uint64_t)bytes;
    return 0;
}

int __wrap_unlink(const char *path)
{
    if (!g_entered) {
        return __real_unlink(path);
    }
    const int status = lks_sim_files_remove(path);
    return status < 0 ? fail(-status) : 0;
}
