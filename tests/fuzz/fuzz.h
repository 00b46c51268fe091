/* SPDX-License-Identifier: MIT */
/* fuzz.h - what all fuzzers share. Each is called as fuzz_NAME [runs [seed]]; the same seed gives the same runs. */
#ifndef CHASQUI_TESTS_FUZZ_H
#define CHASQUI_TESTS_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed;

/* From 0 to n - 1. */
static inline unsigned pick(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed >> 16) % n);
}

#define PICK(array) ((array)[pick(sizeof(array) / sizeof *(array))])

/* How many runs are asked for. Sets the seed. */
static inline unsigned long runs_of(int argc, char **argv)
{
    seed = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1) * 0x9e3779b97f4a7c15u | 1;
    return argc > 1 ? strtoul(argv[1], NULL, 10) : 50000;
}

/* A copy without a byte more, so that reading past its end shows. The caller frees it. */
static inline char *exact_copy(const void *data, size_t len)
{
    char *copy = malloc(len ? len : 1);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

#endif
