/*
 * The functions of pmem/ that the simulated storage stands in for: the linker makes every call of
 * `name` a call of `__wrap_name`, and `__real_name` is the function as it is. sim/CMakeLists.txt
 * lists the same names. Included by sim/storage.c alone.
 */
#ifndef LKS_SIM_MEDIUM_WRAPS_H
#define LKS_SIM_MEDIUM_WRAPS_H

#include "pmem/journal.h"
#include "pmem/medium.h"
#include "pmem/stores.h"

void __real_lks_store_copy(void *to, const void *from, size_t bytes);
void __wrap_lks_store_copy(void *to, const void *from, size_t bytes);
void __real_lks_store_zero(void *to, size_t bytes);
void __wrap_lks_store_zero(void *to, size_t bytes);
void __real_lks_store_write_back(const void *address, size_t bytes);
void __wrap_lks_store_write_back(const void *address, size_t bytes);
void __real_lks_store_fence(void);
void __wrap_lks_store_fence(void);
int __real_lks_store_sync(const void *address, size_t bytes);
int __wrap_lks_store_sync(const void *address, size_t bytes);

int __real_lks_medium_allocate(int fd, uint64_t bytes);
int __wrap_lks_medium_allocate(int fd, uint64_t bytes);
int __real_lks_medium_extend(int fd, uint64_t from, uint64_t bytes);
int __wrap_lks_medium_extend(int fd, uint64_t from, uint64_t bytes);
int __real_lks_medium_map(const struct lks_medium *medium, int fd, uint64_t bytes, bool writable,
                          struct lks_mapping *mapping);
int __wrap_lks_medium_map(const struct lks_medium *medium, int fd, uint64_t bytes, bool writable,
                          struct lks_mapping *mapping);
void __real_lks_medium_unmap(struct lks_mapping *mapping);
void __wrap_lks_medium_unmap(struct lks_mapping *mapping);
int __real_lks_medium_persist(const struct lks_medium *medium, const void *address, size_t bytes);
int __wrap_lks_medium_persist(const struct lks_medium *medium, const void *address, size_t bytes);
int __real_lks_medium_store(const struct lks_medium *medium, void *to, const void *from,
                            size_t bytes);
int __wrap_lks_medium_store(const struct lks_medium *medium, void *to, const void *from,
                            size_t bytes);

int __real_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to);
int __wrap_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to);

#endif
