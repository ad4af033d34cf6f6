/*
 * Which process is which: a pid alone is used again, a pid with its start time is not (within one
 * boot). Used by the gates, which must know that a writer can store nothing any more, and by the
 * meeting of two replicas. Fabric's thread. Invariant: "ended" is said only when no thread of the
 * process can execute user code again; doubt counts as living.
 */
#ifndef LKS_VERBS_SHM_PROCESS_H
#define LKS_VERBS_SHM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct lks_shm_process {
    uint32_t pid;
    uint64_t start_time; /* clock ticks since boot: field 22 of /proc/PID/stat */
};

/* This process. Errors: errno of reading /proc. */
int lks_shm_process_self(struct lks_shm_process *process);

/* Opens a pidfd of exactly this process. 0; -ESRCH: it has ended (or never was); other errors:
 * not known. The descriptor is the caller's. */
int lks_shm_process_open(const struct lks_shm_process *process, int *pidfd);

/* True once the process behind the pidfd has ended: a zombie, or reaped. */
bool lks_shm_process_ended(int pidfd);

/* True if the process is stopped by a signal or a debugger. */
bool lks_shm_process_stopped(uint32_t pid);

/* True if the process could run, and waits for a processor or its disk. */
bool lks_shm_process_waits(uint32_t pid);

/* The pid behind a pidfd as this process sees it; -EBADF: no pidfd, or ended and reaped. */
int lks_shm_process_of_pidfd(int pidfd, uint32_t *pid);

/* The host's boot id, 16 bytes. Errors: errno, -EBADMSG. */
int lks_shm_boot_id(uint8_t boot_id[16]);

#endif
