/*
 * What the port does for DEBUG commands, where they are allowed: how many rounds of lks_kv_burn
 * take a microsecond here, since commands are logged with rounds. Port's thread, at start.
 */
#ifndef LKS_SERVER_DEBUG_H
#define LKS_SERVER_DEBUG_H

#include <stdint.h>

/* Measures for a few milliseconds: the shortest of several tries, so that others on the processor
 * do not count. At least 1. */
uint64_t lks_server_debug_calibrate(void);

#endif
