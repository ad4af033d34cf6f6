/*
 * The files of simulated replicas: names, sizes, descriptors and locks. What they hold is
 * sim/storage.h's. The calls by which pmem/ handles files are stood in for at link time (--wrap):
 * while somebody has entered, names are those of files that exist in this process alone, and so is
 * what a descriptor of such a file stands for, at any time; all else goes to the kernel. So a start
 * costs no system call, and a fork takes the files along. One thread.
 */
#ifndef LKS_SIM_FILES_H
#define LKS_SIM_FILES_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* From now on names are those of simulated files, or of real ones. Returns what was before. */
bool lks_sim_files_enter(bool simulated);

/* What simulated files are said to lie on from now on: a file system on a disk, or memory. */
void lks_sim_files_lie_on_disk(bool on_disk);

/* The number of the simulated file behind a descriptor, or by a name; 0: it is none. No two files
 * ever have the same. */
uint64_t lks_sim_files_number(int fd);
uint64_t lks_sim_files_named(const char *path);
uint64_t lks_sim_files_bytes(int fd);

/* 0 or -ENOENT. Whoever has it open keeps it. */
int lks_sim_files_remove(const char *path);

/* Takes the locks off all files, whoever holds them: a run has one process in truth. */
void lks_sim_files_unlock_all(void);
/* Nothing is there any more, and nothing open. */
void lks_sim_files_forget_all(void);

/* The names that the linker puts in place. */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_stat(const char *path, struct stat *status);
int __wrap_stat(const char *path, struct stat *status);
int __real_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status);
int __real_fstatfs(int fd, struct statfs *status);
int __wrap_fstatfs(int fd, struct statfs *status);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_ftruncate(int fd, off_t bytes);
int __wrap_ftruncate(int fd, off_t bytes);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);

#endif
