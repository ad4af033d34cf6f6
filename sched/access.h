/*
 * What a command touches, in the form in which it travels and in which the schedulers take it: a
 * few words, each an identity and read or write. The identity is the hash of a key, or the number
 * of a class or partition: whichever the service declares, it declares for all of its commands.
 *
 * Two commands conflict if they name the same identity and one of them writes it. A scheduler may
 * see a conflict where there is none (two identities that fall together), never the other way.
 * Pure; any thread.
 */
#ifndef LKS_SCHED_ACCESS_H
#define LKS_SCHED_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Words that one command may have; a command that touches more says LKS_ACCESS_ALL. */
#define LKS_ACCESS_MAX 12u

/* In the place of a count: the command conflicts with every other one. */
#define LKS_ACCESS_ALL UINT32_MAX

typedef uint64_t lks_access;

/* The top bit of the identity is lost. */
static inline lks_access lks_access_of(uint64_t identity, bool write)
{
    return identity << 1 | (write ? 1u : 0u);
}

static inline uint64_t lks_access_identity(lks_access access)
{
    return access >> 1;
}

static inline bool lks_access_writes(lks_access access)
{
    return (access & 1) != 0;
}

#endif
