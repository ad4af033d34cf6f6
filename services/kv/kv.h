/*
 * The key-value service: binary-safe strings under binary-safe keys, as Redis 7 keeps them. The
 * key space is cut into 64 partitions by the hash of the key; nothing but DBSIZE and FLUSHALL
 * looks at more than the partitions of its keys. What clients send is encoded by encode.h; how
 * the bytes of a command look is in format.h. Called as lockstep/service.h says.
 */
#ifndef LKS_SERVICES_KV_KV_H
#define LKS_SERVICES_KV_KV_H

#include "lockstep/service.h"

extern const struct lks_service lks_kv_service;

/* Whether the bytes are a command that is for measurements only (DEBUG BURN): a replica takes it
 * from clients only where its configuration says so. Any thread. */
bool lks_kv_is_debug(const void *data, size_t bytes);

#endif
