/*
 * Whether a service keeps to the footprints that it declares (service.h): it calls lks_touch at
 * each access to a key's state, and a debug build asserts that the command which this thread
 * executes has declared the access. Other builds compile it away. Any thread.
 */
#ifndef LOCKSTEP_TOUCH_H
#define LOCKSTEP_TOUCH_H

#include "lockstep/service.h"

#ifdef LKS_TOUCH_CHECKS
/* identity: as in struct lks_footprint, not shifted. Outside a command of a replica (a test, a
 * snapshot) nothing is checked. */
void lks_touch(uint64_t identity, bool write);

/* For whoever calls the service: what this thread's next accesses are checked against, among so
 * many partitions; NULL: against nothing. Stays the caller's, until it is replaced. */
void lks_touch_expect(const struct lks_footprint *footprint, uint32_t partitions);
#else
static inline void lks_touch(uint64_t identity, bool write)
{
    (void)identity;
    (void)write;
}

static inline void lks_touch_expect(const struct lks_footprint *footprint, uint32_t partitions)
{
    (void)footprint;
    (void)partitions;
}
#endif

#endif
