/*
 * What the fuzz targets share: reading an input as a sequence of choices, so that a few bytes lead
 * deep, and the interface of a target, which libFuzzer drives (run) and replay.c replays. A target
 * keeps nothing between two inputs; one thread.
 */
#ifndef LKS_TESTS_FUZZ_FUZZ_H
#define LKS_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The target. Returns 0; a finding ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
    const uint8_t *next;
    const uint8_t *end;
};

static inline struct fuzz_input fuzz_input(const uint8_t *data, size_t size)
{
    return (struct fuzz_input){data, data + size};
}

static inline size_t fuzz_left(const struct fuzz_input *input)
{
    return (size_t)(input->end - input->next);
}

/* The next bytes, zeros behind the end of the input. */
static inline void fuzz_take(struct fuzz_input *input, void *destination, size_t bytes)
{
    const size_t there = bytes < fuzz_left(input) ? bytes : fuzz_left(input);
    memset(destination, 0, bytes);
    if (there > 0) {
        memcpy(destination, input->next, there);
        input->next += there;
    }
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    uint8_t value;
    fuzz_take(input, &value, sizeof value);
    return value;
}

static inline uint64_t fuzz_word(struct fuzz_input *input)
{
    uint64_t value;
    fuzz_take(input, &value, sizeof value);
    return value;
}

/* Of two bytes: 0..below - 1. */
static inline uint32_t fuzz_below(struct fuzz_input *input, uint32_t below)
{
    uint16_t value;
    fuzz_take(input, &value, sizeof value);
    return below == 0 ? 0 : value % below;
}

/* A number as broken software writes it: small, near a power of two, or any. */
static inline uint64_t fuzz_number(struct fuzz_input *input)
{
    const uint8_t kind = fuzz_byte(input);
    switch (kind >> 6) {
    case 0:
        return kind & 63;
    case 1:
        return (UINT64_C(1) << (kind & 63)) - 1 + fuzz_byte(input) % 3;
    case 2:
        return UINT64_MAX - (kind & 63);
    default:
        return fuzz_word(input);
    }
}

#endif
