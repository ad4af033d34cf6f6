/*
 * CRC32C (Castagnoli), by the SSE4.2 instruction where the machine has it, by table elsewhere.
 * Used for log entries, slots and messages. Any thread; no state.
 */
#ifndef LKS_BASE_CRC32C_H
#define LKS_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * Continues a checksum: seed is 0 for a new one, else the value returned before, so that
 * crc32c(crc32c(0, a), b) == crc32c(0, a followed by b).
 */
uint32_t lks_crc32c(uint32_t seed, const void *data, size_t bytes);

#endif
