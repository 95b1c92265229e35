/* SPDX-License-Identifier: MIT */
/* Well-formed UTF-8: every character, every wrong kind of sequence, at every place around a stride of eight bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "unit/hex.h"
#include "unit/testing.h"

static size_t encode(uint32_t point, uint8_t *to)
{
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, point >>= 6)
        to[i] = (uint8_t)(0x80 | (point & 0x3F));
    to[0] = (uint8_t)(0xF00u >> length | point);
    return length;
}

static bool is_character(uint32_t point)
{
    return point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
}

/* Every number that four bytes can spell: a character or refused; and none of them without its last byte, or with one more. */
static void every_character(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < 0x200000; point++) {
        uint8_t bytes[5];
        size_t length = encode(point, bytes);
        bool good = is_character(point);
        if (telex_utf8_valid(bytes, length) != good)
            fail_msg("U+%04X", point);
        if (length > 1 && telex_utf8_valid(bytes, length - 1))
            fail_msg("U+%04X without its last byte", point);
        bytes[length] = 0x80;
        if (telex_utf8_valid(bytes, length + 1))
            fail_msg("U+%04X with a byte too many", point);
    }
}

/* Of all sequences of one, two and three bytes exactly those are good that are encodings of characters. */
static void every_short_sequence(void **state)
{
    (void)state;
    unsigned counts[4] = {0};
    for (uint32_t value = 0; value < 0x1000000; value++) {
        uint8_t bytes[3] = {(uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
        counts[3] += telex_utf8_valid(bytes, 3);
        if (value < 0x10000)
            counts[2] += telex_utf8_valid(bytes + 1, 2);
        if (value < 0x100)
            counts[1] += telex_utf8_valid(bytes + 2, 1);
    }
    const unsigned ascii = 128, two = 1920, three = 61440; /* characters of each length; surrogates are none */
    assert_int_equal(counts[1], ascii);
    assert_int_equal(counts[2], ascii * ascii + two);
    assert_int_equal(counts[3], ascii * ascii * ascii + 2 * ascii * two + three);
}

static const char *const wrong[] = {
    "80",          "BF",          "C0 80",       "C1 BF",       "C2",          "C2 C2",       "DF 7F",       "E0 80 80",    "E0 9F BF",
    "E1 80",       "E1 80 C0",    "ED A0 80",    "ED BF BF",    "EF BF 7F",    "F0 80 80 80", "F0 8F BF BF", "F1 80 80",    "F1 80 80 C0",
    "F4 90 80 80", "F5 80 80 80", "F8 88 80 80", "FC 84 80 80", "FE",          "FF",          "E2 28 A1",    "F0 28 8C BC", "F0 90 28 BC",
};

/* Between ASCII of every length around the stride, and at every alignment. Copied to memory of exactly its size, so that a sanitizer sees a step too far. */
static void at_every_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t bytes[8];
        size_t length = hex_bytes(wrong[i], bytes, sizeof bytes);
        for (size_t before = 0; before <= 24; before++)
            for (size_t after = 0; after <= 17; after += after == 0 ? 1 : 8) {
                size_t whole = before + length + after;
                uint8_t *text = malloc(whole);
                memset(text, 'a', whole);
                assert_true(telex_utf8_valid(text, whole));
                memcpy(text + before, bytes, length);
                if (telex_utf8_valid(text, whole))
                    fail_msg("%s after %zu and before %zu bytes", wrong[i], before, after);
                free(text);
            }
    }
}

static void texts(void **state)
{
    (void)state;
    static const char *const good[] = {"", "a", "plain text, longer than eight bytes", "na\u00EFve caf\u00E9", "\u65E5\u672C\u8A9E",
                                       "\U0001F600 and \U0010FFFF", "\uFFFD\uFEFF\uFFFF", "\u0416\u0443\u043A 12345678 \u0436\u0443\u043A"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(telex_utf8_valid(good[i], strlen(good[i])));
    assert_true(telex_utf8_valid(NULL, 0));
    assert_true(telex_utf8_valid("\0zero bytes are characters\0", 27));
}

static const struct testing_case cases[] = {
    TESTING_CASE(every_character),
    TESTING_CASE(every_short_sequence),
    TESTING_CASE(at_every_place),
    TESTING_CASE(texts),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "utf8", cases, sizeof cases / sizeof *cases);
}
