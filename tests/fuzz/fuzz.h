/* SPDX-License-Identifier: MIT */
/* What the fuzz targets share: an assertion that is never compiled out, and input in memory of exactly its size. */
#ifndef TELEX_TESTS_FUZZ_H
#define TELEX_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define require(truth)                                                                                                 \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #truth);                                        \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* A copy with nothing behind it, so that the address sanitizer sees a step too far. To be freed. */
static inline void *fuzz_copy(const void *bytes, size_t length)
{
    void *copy = malloc(length > 0 ? length : 1);
    require(copy != NULL);
    if (length > 0)
        memcpy(copy, bytes, length);
    return copy;
}

#endif
