/* Media; see medium.h. */
#include "pmem/medium.h"

#include "pmem/layout.h"
#include "pmem/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define ATTRIBUTE_BYTES_MAX 64
#define NAME_SHOWN_MAX 48 /* of names from sysfs within a reason */
#define XFS_MAGIC 0x58465342
#define FUSE_MAGIC 0x65735546

/* ---- sysfs ------------------------------------------------------------------------------- */

/* Reads the first line of an attribute; -ENOENT and other errno. */
static int read_attribute(const char *path, char *text, size_t bytes)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return -errno;
    }
    const bool got = fgets(text, (int)bytes, file) != NULL;
    (void)fclose(file);
    if (!got) {
        return -EIO;
    }
    text[strcspn(text, "\n")] = '\0';
    return 0;
}

/* The real path of a device in sysfs; type is "char" or "block". */
static int device_path(const char *sysfs, const char *type, dev_t device, char path[PATH_MAX])
{
    char link[PATH_MAX];
    (void)snprintf(link, sizeof link, "%s/dev/%s/%u:%u", sysfs, type, major(device),
                   minor(device));
    return realpath(link, path) != NULL ? 0 : -errno;
}

static bool is_device_dax(const char *sysfs, dev_t device)
{
    char path[PATH_MAX + sizeof "/subsystem"];
    char subsystem[PATH_MAX];
    if (device_path(sysfs, "char", device, path) < 0) {
        return false;
    }
    strcat(path, "/subsystem");
    if (realpath(path, subsystem) == NULL) {
        return false;
    }
    const char *name = strrchr(subsystem, '/');
    return name != NULL && strcmp(name + 1, "dax") == 0;
}

static enum lks_persistence_domain parse_domain(const char *text)
{
    if (strcmp(text, "cpu_cache") == 0) {
        return LKS_DOMAIN_CPU_CACHE;
    }
    if (strcmp(text, "memory_controller") == 0) {
        return LKS_DOMAIN_MEMORY_CONTROLLER;
    }
    return LKS_DOMAIN_UNKNOWN;
}

/*
 * The persistence domain of the region that a device belongs to: the nearest directory above it
 * that says one. `how` becomes a clause for the reason.
 */
static enum lks_persistence_domain find_domain(const char *sysfs, const char *type, dev_t device,
                                               char *how, size_t how_bytes)
{
    char path[PATH_MAX];
    if (device_path(sysfs, type, device, path) < 0) {
        (void)snprintf(how, how_bytes, "its device is not in %.32s", sysfs);
        return LKS_DOMAIN_UNKNOWN;
    }
    for (char *cut = strrchr(path, '/'); cut != NULL && cut != path; cut = strrchr(path, '/')) {
        char attribute[PATH_MAX + sizeof "/persistence_domain"];
        char text[ATTRIBUTE_BYTES_MAX];
        (void)snprintf(attribute, sizeof attribute, "%s/persistence_domain", path);
        if (read_attribute(attribute, text, sizeof text) == 0) {
            (void)snprintf(how, how_bytes, "%.*s says persistence domain %.*s", NAME_SHOWN_MAX,
                           cut + 1, NAME_SHOWN_MAX, text);
            return parse_domain(text);
        }
        *cut = '\0';
    }
    (void)snprintf(how, how_bytes, "no region above its device says a persistence domain");
    return LKS_DOMAIN_UNKNOWN;
}

int lks_medium_device_geometry(int fd, const char *sysfs, uint64_t *bytes, uint64_t *alignment)
{
    struct stat status;
    char device[PATH_MAX];
    char path[PATH_MAX + sizeof "/align"];
    char text[ATTRIBUTE_BYTES_MAX];
    if (fstat(fd, &status) < 0 || device_path(sysfs, "char", status.st_rdev, device) < 0) {
        return -ENODEV;
    }
    (void)snprintf(path, sizeof path, "%s/size", device);
    if (read_attribute(path, text, sizeof text) < 0) {
        return -ENODEV;
    }
    const uint64_t size = strtoull(text, NULL, 0);
    uint64_t align = 0;
    (void)snprintf(path, sizeof path, "%s/align", device);
    if (read_attribute(path, text, sizeof text) == 0) {
        align = strtoull(text, NULL, 0);
    }
    if (size == 0 || (align & (align - 1)) != 0) {
        return -ENODEV;
    }
    *bytes = size;
    *alignment = align != 0 ? align : LKS_JOURNAL_HUGE_PAGE; /* older kernels do not say */
    return 0;
}

/* ---- detection --------------------------------------------------------------------------- */

static const char *filesystem_name(uint64_t type)
{
    switch (type) {
    case TMPFS_MAGIC:
        return "tmpfs";
    case HUGETLBFS_MAGIC:
        return "hugetlbfs";
    case RAMFS_MAGIC:
        return "ramfs";
    case EXT4_SUPER_MAGIC:
        return "ext4";
    case XFS_MAGIC:
        return "xfs";
    case BTRFS_SUPER_MAGIC:
        return "btrfs";
    case NFS_SUPER_MAGIC:
        return "nfs";
    case OVERLAYFS_SUPER_MAGIC:
        return "overlayfs";
    case FUSE_MAGIC:
        return "fuse";
    default:
        return "file system";
    }
}

/* Whether the file system lets this file be mapped so that CPU write-backs make it durable. */
static bool accepts_map_sync(int fd)
{
    void *probe = mmap(NULL, LKS_JOURNAL_PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
    if (probe == MAP_FAILED) {
        return false;
    }
    (void)munmap(probe, LKS_JOURNAL_PAGE);
    return true;
}

/* libpmem leaves write-backs out when told so by its environment: then nothing may be promised. */
static bool write_back_is_off(void)
{
    const char *value = getenv("PMEM_NO_FLUSH");
    return value != NULL && strcmp(value, "1") == 0;
}

static void describe_dax(struct lks_medium *medium, enum lks_medium_kind kind,
                         enum lks_persistence_domain domain, const char *what, const char *how)
{
    if (write_back_is_off()) {
        domain = LKS_DOMAIN_UNKNOWN;
        how = "PMEM_NO_FLUSH is set: nothing is written back";
    }
    medium->kind = kind;
    medium->domain = domain;
    medium->flush_by_cpu = true;
    medium->survives_power =
        domain == LKS_DOMAIN_CPU_CACHE || domain == LKS_DOMAIN_MEMORY_CONTROLLER;
    (void)snprintf(medium->reason, sizeof medium->reason, "%s; %s", what, how);
}

static void describe_file(struct lks_medium *medium, const char *name, bool below_is_hidden)
{
    medium->kind = LKS_MEDIUM_FILE;
    medium->domain = below_is_hidden ? LKS_DOMAIN_UNKNOWN : LKS_DOMAIN_STORAGE;
    medium->survives_power = !below_is_hidden;
    (void)snprintf(medium->reason, sizeof medium->reason, "%s; %s", name,
                   below_is_hidden ? "what lies below it is not visible"
                                   : "MAP_SYNC refused: the page cache stands between, and a "
                                     "page survives once msync'ed");
}

static void describe_memory(struct lks_medium *medium, const char *name)
{
    medium->kind = LKS_MEDIUM_MEMORY;
    medium->domain = LKS_DOMAIN_NONE;
    medium->flush_by_cpu = true;
    (void)snprintf(medium->reason, sizeof medium->reason,
                   "%s; this host's memory: survives processes, not a power cut", name);
}

int lks_medium_detect(int fd, const char *path, const char *sysfs, struct lks_medium *medium,
                      struct lks_error *err)
{
    struct stat status;
    struct statfs filesystem;
    char how[ATTRIBUTE_BYTES_MAX * 2];
    struct lks_medium found = {.kind = LKS_MEDIUM_FILE};
    if (fstat(fd, &status) < 0 || fstatfs(fd, &filesystem) < 0) {
        const int code = -errno;
        return lks_error_set(err, code, "journal %s: %s", path, lks_error_text(code));
    }
    if (S_ISCHR(status.st_mode) && is_device_dax(sysfs, status.st_rdev)) {
        const enum lks_persistence_domain domain =
            find_domain(sysfs, "char", status.st_rdev, how, sizeof how);
        describe_dax(&found, LKS_MEDIUM_DEVDAX, domain, "device DAX", how);
    } else if (!S_ISREG(status.st_mode)) {
        return lks_error_set(err, -EINVAL,
                             "journal %s: neither a regular file nor a device DAX: give a path "
                             "in a directory, or a /dev/dax device",
                             path);
    } else {
        const uint64_t type = (uint64_t)filesystem.f_type;
        const char *name = filesystem_name(type);
        if (type == TMPFS_MAGIC || type == HUGETLBFS_MAGIC || type == RAMFS_MAGIC) {
            describe_memory(&found, name);
        } else if (accepts_map_sync(fd)) {
            const enum lks_persistence_domain domain =
                find_domain(sysfs, "block", status.st_dev, how, sizeof how);
            describe_dax(&found, LKS_MEDIUM_FSDAX, domain, "MAP_SYNC accepted", how);
        } else {
            describe_file(&found, name, type == OVERLAYFS_SUPER_MAGIC || type == FUSE_MAGIC);
        }
    }
    *medium = found;
    return 0;
}

/* ---- mapping and persisting --------------------------------------------------------------- */

/* An address range at a multiple of alignment, so that the ring can be mapped by huge pages. */
static unsigned char *reserve(uint64_t bytes, uint64_t alignment)
{
    unsigned char *start = mmap(NULL, bytes + alignment, PROT_NONE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    const uint64_t skip = -(uintptr_t)start & (alignment - 1);
    if (skip > 0) {
        (void)munmap(start, skip);
    }
    (void)munmap(start + skip + bytes, alignment - skip);
    return start + skip;
}

/* What address and length of a mapping must be multiples of. */
static int mapping_granule(const struct lks_medium *medium, int fd, uint64_t *granule)
{
    struct statfs filesystem;
    uint64_t size = 0;
    *granule = LKS_JOURNAL_PAGE;
    if (medium->kind == LKS_MEDIUM_DEVDAX) {
        return lks_medium_device_geometry(fd, LKS_MEDIUM_SYSFS, &size, granule);
    }
    if (fstatfs(fd, &filesystem) < 0) {
        return -errno;
    }
    if ((uint64_t)filesystem.f_type == HUGETLBFS_MAGIC) {
        *granule = (uint64_t)filesystem.f_bsize;
    }
    return 0;
}

int lks_medium_allocate(int fd, uint64_t bytes)
{
    return -posix_fallocate(fd, 0, (off_t)bytes);
}

int lks_medium_extend(int fd, uint64_t from, uint64_t bytes)
{
    return -posix_fallocate(fd, (off_t)from, (off_t)bytes);
}

/* A sparse file grows with what is stored; its holes must not be filled by reading ahead. */
static bool is_sparse(const struct lks_medium *medium, int fd, uint64_t bytes)
{
    struct stat status;
    return medium->kind != LKS_MEDIUM_DEVDAX && fstat(fd, &status) == 0 &&
           (uint64_t)status.st_blocks * 512 < bytes;
}

int lks_medium_map(const struct lks_medium *medium, int fd, uint64_t bytes, bool writable,
                   struct lks_mapping *mapping)
{
    const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    const int sharing =
        medium->kind == LKS_MEDIUM_FSDAX ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;
    uint64_t granule = 0;
    const int rc = mapping_granule(medium, fd, &granule);
    if (rc < 0) {
        return rc;
    }
    bytes = (bytes + granule - 1) & ~(granule - 1);
    unsigned char *address =
        reserve(bytes, granule > LKS_JOURNAL_HUGE_PAGE ? granule : LKS_JOURNAL_HUGE_PAGE);
    if (address == NULL) {
        return -errno;
    }
    if (mmap(address, bytes, protection, sharing | MAP_FIXED, fd, 0) == MAP_FAILED) {
        const int code = -errno;
        (void)munmap(address, bytes);
        return code;
    }
    (void)madvise(address, bytes, MADV_DONTFORK);
    if (writable && medium->flush_by_cpu && !is_sparse(medium, fd, bytes)) {
        /* No page fault on the way of a command. A kernel that cannot: the first lap pays. */
        (void)madvise(address, bytes, MADV_POPULATE_WRITE);
    }
    *mapping = (struct lks_mapping){.address = address, .bytes = bytes};
    return 0;
}

void lks_medium_unmap(struct lks_mapping *mapping)
{
    if (mapping->address != NULL) {
        (void)munmap(mapping->address, mapping->bytes);
    }
    *mapping = (struct lks_mapping){.address = NULL};
}

int lks_medium_persist(const struct lks_medium *medium, const void *address, size_t bytes)
{
    if (!medium->flush_by_cpu) {
        return lks_store_sync(address, bytes);
    }
    lks_store_write_back(address, bytes);
    lks_store_fence();
    return 0;
}

int lks_medium_store(const struct lks_medium *medium, void *to, const void *from, size_t bytes)
{
    lks_store_copy(to, from, bytes);
    return lks_medium_persist(medium, to, bytes);
}
