/* Patterns of KEYS, SCAN and CONFIG GET, as Redis understands them. No state. */
#ifndef LKS_SERVICES_KV_GLOB_H
#define LKS_SERVICES_KV_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/* The whole text matches: * any bytes, ? one, [a-z] [^a-z] one of a set, \ the next as it is. */
struct lks_kv_glob {
    const char *pattern;
    size_t bytes;
    bool any_case; /* ASCII letters match in either case */
};

/* The work is at most the product of the two lengths. */
bool lks_kv_glob_matches(const struct lks_kv_glob *glob, const char *text, size_t bytes);

#endif
