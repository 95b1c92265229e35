/* SPDX-License-Identifier: MIT */
/* Little-endian numbers in bytes, wherever they lie. memcpy keeps unaligned access defined; compilers make one move of it. */
#ifndef TELEX_BASE_BYTES_H
#define TELEX_BASE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TELEX_BYTES_NUMBER(bits)                                                                                       \
    static inline uint##bits##_t telex_get##bits(const void *from)                                                     \
    {                                                                                                                  \
        uint##bits##_t value;                                                                                          \
        memcpy(&value, from, sizeof value);                                                                            \
        return le##bits##toh(value);                                                                                   \
    }                                                                                                                  \
    static inline void telex_put##bits(void *to, uint##bits##_t value)                                                 \
    {                                                                                                                  \
        value = htole##bits(value);                                                                                    \
        memcpy(to, &value, sizeof value);                                                                              \
    }

TELEX_BYTES_NUMBER(16)
TELEX_BYTES_NUMBER(32)
TELEX_BYTES_NUMBER(64)

/* For few bytes a call costs more than they do: their first and their last half, which overlap. */
static inline void telex_copy_few(uint8_t *to, const uint8_t *from, size_t length)
{
    enum { HALF = 32 };
    if (length >= HALF && length <= 2 * HALF) {
        memcpy(to, from, HALF);
        memcpy(to + length - HALF, from + length - HALF, HALF);
    } else {
        memcpy(to, from, length);
    }
}

#endif
