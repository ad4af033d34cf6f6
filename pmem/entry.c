/* Log entries; see entry.h. */
#include "pmem/entry.h"

#include "base/crc32c.h"

uint32_t lks_entry_checksum(const struct lks_entry_header *header, const void *payload,
                            uint32_t chain)
{
    const unsigned char *bytes = (const unsigned char *)header;
    const uint32_t crc = lks_crc32c(chain, bytes + sizeof header->checksum,
                                    sizeof *header - sizeof header->checksum);
    return header->payload_bytes != 0 ? lks_crc32c(crc, payload, header->payload_bytes) : crc;
}

uint32_t lks_entry_checksum_parts(const struct lks_entry_header *header, const void *footprint,
                                  const void *command, uint32_t chain)
{
    const unsigned char *bytes = (const unsigned char *)header;
    const uint32_t first = lks_entry_footprint_bytes(header);
    const uint32_t rest = header->payload_bytes - first;
    uint32_t crc = lks_crc32c(chain, bytes + sizeof header->checksum,
                              sizeof *header - sizeof header->checksum);
    crc = first != 0 ? lks_crc32c(crc, footprint, first) : crc;
    return rest != 0 ? lks_crc32c(crc, command, rest) : crc;
}
