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

/* The length of the well-formed character at `at`, whose first byte is not ASCII; 0 if there is none. */
static size_t character(const uint8_t *at, size_t length)
{
    static const struct {
        uint8_t first_low, first_high, second_low, second_high, length;
    } table[] = { /* Unicode 15, table 3-7: only the second byte's range varies */
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
        {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
        {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (at[0] < table[i].first_low || at[0] > table[i].first_high)
            continue;
        if (length < table[i].length || at[1] < table[i].second_low || at[1] > table[i].second_high)
            return 0;
        for (size_t further = 2; further < table[i].length; further++)
            if ((at[further] & 0xC0) != 0x80)
                return 0;
        return table[i].length;
    }
    return 0;
}

bool telex_utf8_valid(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    for (;;) {
        size_t run = length > 0 ? ascii_run(at, length) : 0;
        length -= run;
        if (length == 0)
            return true;
        at += run;
        size_t taken = character(at, length);
        if (taken == 0)
            return false;
        at += taken;
        length -= taken;
    }
}
