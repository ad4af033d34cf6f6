# Errors, assertions, checksums, clocks.
lks_test(unit/base/test_crc32c.c lks_base)
lks_test(unit/base/test_sha256.c lks_base)
