# Errors, assertions, checksums, clocks.
lks_test(unit/base/test_crc32c.c lks_base)
lks_test(unit/base/test_sha256.c lks_base)
lks_test(unit/base/test_touch.c lks_base)
# The checks of a debug build, whatever this one is.
target_sources(unit_base_test_touch PRIVATE ${PROJECT_SOURCE_DIR}/base/touch.c)
target_compile_definitions(unit_base_test_touch PRIVATE $<$<NOT:$<CONFIG:Debug>>:LKS_TOUCH_CHECKS>)
