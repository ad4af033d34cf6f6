/*
 * A service that does nothing but count: what remains is the cost of replication. Used by
 * benchmarks and tests, on the replica's thread.
 */
#ifndef LKS_BENCH_NULL_SERVICE_H
#define LKS_BENCH_NULL_SERVICE_H

#include "lockstep/service.h"

extern const struct lks_service lks_null_service;

#endif
