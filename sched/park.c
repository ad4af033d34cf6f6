/* Sleeping on a futex; see park.h. */
#include "sched/park.h"

#include "base/clock.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void lks_park_wait(_Atomic uint32_t *parked, uint64_t timeout_ns)
{
    const struct timespec timeout = {
        .tv_sec = (time_t)(timeout_ns / LKS_NS_PER_S),
        .tv_nsec = (long)(timeout_ns % LKS_NS_PER_S),
    };
    /* Whatever ends it (woken, the value had changed, time is over), the caller looks for work. */
    (void)syscall(SYS_futex, parked, FUTEX_WAIT_PRIVATE, 1, &timeout, NULL, 0);
    lks_park_cancel(parked);
}

bool lks_park_wake(_Atomic uint32_t *parked)
{
    /* Relaxed: the caller's full fence orders this load behind what it published; pairs with the
     * fence of lks_park_announce. */
    if (atomic_load_explicit(parked, memory_order_relaxed) == 0 ||
        atomic_exchange_explicit(parked, 0, memory_order_relaxed) == 0) {
        return false;
    }
    (void)syscall(SYS_futex, parked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return true;
}
