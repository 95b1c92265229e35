/* SPDX-License-Identifier: MIT */
/* Bytes written as hexadecimal digits, with blanks where they help the eye. */
#ifndef TELEX_TESTS_HEX_H
#define TELEX_TESTS_HEX_H

#include <string.h>

#include "unit/testing.h"

static inline unsigned hex_digit(char digit)
{
    const char *at = digit != '\0' ? strchr("0123456789ABCDEF", digit) : NULL;
    assert_non_null(at);
    return (unsigned)(at - "0123456789ABCDEF");
}

/* Writes the bytes that `text` spells; returns how many. */
static inline size_t hex_bytes(const char *text, uint8_t *to, size_t room)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        if (*text == ' ')
            continue;
        assert_true(count < room);
        to[count++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
        text++;
    }
    return count;
}

static inline void assert_hex(const uint8_t *bytes, size_t length, const char *text)
{
    uint8_t expected[4096];
    size_t count = hex_bytes(text, expected, sizeof expected);
    assert_int_equal(length, count);
    assert_memory_equal(bytes, expected, count);
}

#endif
