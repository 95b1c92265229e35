/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the ASCII run at `at`, eight at a time. */
static size_t ascii_run(const uint8_t *at, size_t length)
{
    size_t run = 0;
    for (uint64_t eight; run + sizeof eight <= length; run += sizeof eight) {
        memcpy(&eight, at + run, sizeof eight);
        if (eight & UINT64_C(0x8080808080808080))
            break;
    }
    while (run < length && at[run] < 0x80)
        run++;
    return run;
}

/* What may follow a first byte from 0xC0 on (Unicode 15, table 3-7): only the second byte's range varies. Length 0: no first byte at all. */
static const struct follow {
    uint8_t length, low, high;
} follows[64] = {
#define FOLLOW2 {2, 0x80, 0xBF}
#define FOLLOW3 {3, 0x80, 0xBF}
#define FOLLOW4 {4, 0x80, 0xBF}
    {0, 0, 0}, {0, 0, 0}, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, /* C0, C1: overlong */
    FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2,
    FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2,
    FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2, FOLLOW2,
    {3, 0xA0, 0xBF}, FOLLOW3, FOLLOW3, FOLLOW3, FOLLOW3, FOLLOW3, FOLLOW3, FOLLOW3, /* E0: overlong below A0 */
    FOLLOW3, FOLLOW3, FOLLOW3, FOLLOW3, FOLLOW3, {3, 0x80, 0x9F}, FOLLOW3, FOLLOW3, /* ED: surrogates above 9F */
    {4, 0x90, 0xBF}, FOLLOW4, FOLLOW4, FOLLOW4, {4, 0x80, 0x8F}, /* F0: overlong below 90; F4: ends at U+10FFFF */
};

/* The length of the well-formed character at `at`, whose first byte is not ASCII; 0 if there is none. */
static size_t character(const uint8_t *at, size_t length)
{
    if (at[0] < 0xC0)
        return 0;
    const struct follow *follow = &follows[at[0] - 0xC0];
    if (follow->length == 0 || length < follow->length || at[1] < follow->low || at[1] > follow->high)
        return 0;
    for (size_t further = 2; further < follow->length; further++)
        if ((at[further] & 0xC0) != 0x80)
            return 0;
    return follow->length;
}

bool telex_utf8_valid(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    while (length > 0) {
        size_t step = *at < 0x80 ? ascii_run(at, length) : character(at, length);
        if (step == 0)
            return false;
        at += step;
        length -= step;
    }
    return true;
}
