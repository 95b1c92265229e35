/* SPDX-License-Identifier: MIT */
/* Bytes as UTF-8, judged a second time by decoding every character to its number. */
#include "base/utf8.h"
#include "fuzz/fuzz.h"

/* The length of the character at `at`, 0 if there is none: shortest form, no surrogate, at most U+10FFFF. */
static size_t character(const uint8_t *at, size_t length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : at[0] >> 3 == 30 ? 4 : 0;
    if (size == 0 || size > length)
        return 0;
    uint32_t point = size == 1 ? at[0] : at[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if (at[i] >> 6 != 2)
            return 0;
        point = point << 6 | (at[i] & 0x3Fu);
    }
    return point < least[size] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF) ? 0 : size;
}

static bool valid(const uint8_t *at, size_t length)
{
    for (size_t size; length > 0; at += size, length -= size) {
        size = character(at, length);
        if (size == 0)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    bool all = telex_utf8_valid(bytes, length);
    require(all == valid(bytes, length));
    for (size_t cut = 0; cut < length && cut < 64; cut++) {
        uint8_t *front = fuzz_copy(bytes, cut);
        bool front_valid = telex_utf8_valid(front, cut);
        free(front);
        require(front_valid == valid(bytes, cut));
        /* Valid text that is cut between characters is valid on both sides. */
        require(!front_valid || telex_utf8_valid(bytes + cut, length - cut) == all);
    }
    return 0;
}
