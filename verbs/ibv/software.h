/*
 * What a software driver (rxe, siw) does in an adapter's place, and is known to do worse: it copies
 * by the kernel's memcpy. Any thread, at start; no state.
 */
#ifndef LKS_VERBS_IBV_SOFTWARE_H
#define LKS_VERBS_IBV_SOFTWARE_H

#include <stdbool.h>

#define LKS_IBV_CPUINFO "/proc/cpuinfo"

/* Whether the kernel copies by `rep movsb` (the processor flag erms), for which no manual promises
 * that an aligned word is written or read as one. Fabric and protocol count on that: a word seen
 * half written makes a replica take its log for damaged. cpuinfo: a file like LKS_IBV_CPUINFO. */
bool lks_ibv_software_copies_bytes(const char *cpuinfo);

#endif
