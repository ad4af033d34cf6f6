/*
 * Whether bytes are exactly one value of RESP3, by a reader of its own: written from the
 * protocol's description and independent of the code that it checks. For fuzz targets.
 */
#ifndef LKS_TESTS_FUZZ_RESP_VALUE_H
#define LKS_TESTS_FUZZ_RESP_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool resp_value_whole(const char *data, size_t bytes);

#endif
