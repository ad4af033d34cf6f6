/*
 * Sessions of clients on the fabric, around any service: a service of its own that passes plain
 * commands on, and lets each command of a session (lockstep/session.h) take effect once. The table
 * of sessions is part of the replicated state: a session lies in one partition, with that
 * partition's snapshots, and a command of it touches that partition beside those of the service's
 * command. Called as lockstep/service.h says.
 *
 * Invariant: a session is created by its OPEN alone; it executes each sequence once, in order, and
 * keeps the last LKS_SESSION_WINDOW replies; it ends by CLOSE, or when logged time has passed its
 * lease.
 */
#ifndef LKS_SERVICES_SESSIONS_SESSIONS_H
#define LKS_SERVICES_SESSIONS_SESSIONS_H

#include "lockstep/service.h"

/* In each partition. Memory of one: 34 KB. */
#define LKS_CLIENT_SESSIONS_PARTITION_MAX 32u

int lks_client_sessions_open(const struct lks_service *inner, void **state,
                             const struct lks_service_options *options);
void lks_client_sessions_close(void *state);
void lks_client_sessions_footprint(const struct lks_service *inner, const void *data, size_t bytes,
                                   struct lks_footprint *footprint);
void lks_client_sessions_execute(void *state, const struct lks_command *command,
                                 struct lks_reply *reply);
void lks_client_sessions_read(void *state, const struct lks_command *command,
                              struct lks_reply *reply);
bool lks_client_sessions_is_read(const struct lks_service *inner, const void *data, size_t bytes);
bool lks_client_sessions_tick(void *state, uint64_t time_ns);
uint64_t lks_client_sessions_next_expiry_ns(void *state);
uint64_t lks_client_sessions_snapshot_begin(void *state, uint32_t partition);
int lks_client_sessions_snapshot_step(void *state, uint32_t partition,
                                      const struct lks_snapshot_writer *writer, size_t bytes_max,
                                      bool *done);
void lks_client_sessions_snapshot_end(void *state, uint32_t partition);
uint64_t lks_client_sessions_snapshot_kept(void *state);
void lks_client_sessions_restore_begin(void *state, uint32_t partition);
int lks_client_sessions_restore_chunk(void *state, uint32_t partition, const void *data,
                                      size_t bytes);
int lks_client_sessions_restore_end(void *state, uint32_t partition);
uint64_t lks_client_sessions_partition_hash(void *state, uint32_t partition);

/* The state of the service inside, for who looks into it (the simulator). */
void *lks_client_sessions_inner(void *state);

/* Sessions in the whole table, those included that have expired and were not removed yet. */
uint32_t lks_client_sessions_count(const void *state);

/* Any service with sessions around it, under its name: one of them a process, in static storage. */
const struct lks_service *lks_client_sessions_around(const struct lks_service *inner);

/* The key-value service with sessions around it. */
extern const struct lks_service lks_kv_sessions_service;

/* What every service with sessions around it has in its table, whatever is inside. */
#define LKS_CLIENT_SESSIONS_FUNCTIONS \
    .close = lks_client_sessions_close, \
    .apply = lks_client_sessions_execute, \
    .read = lks_client_sessions_read, \
    .tick = lks_client_sessions_tick, \
    .next_expiry_ns = lks_client_sessions_next_expiry_ns, \
    .snapshot_begin = lks_client_sessions_snapshot_begin, \
    .snapshot_step = lks_client_sessions_snapshot_step, \
    .snapshot_end = lks_client_sessions_snapshot_end, \
    .snapshot_kept = lks_client_sessions_snapshot_kept, \
    .restore_begin = lks_client_sessions_restore_begin, \
    .restore_chunk = lks_client_sessions_restore_chunk, \
    .restore_end = lks_client_sessions_restore_end, \
    .hash = lks_client_sessions_partition_hash

#endif
