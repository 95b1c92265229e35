/* SPDX-License-Identifier: MIT */
/* Bytes of strangers, looked at before they are shown. */
#include "text.h"

size_t tool_utf8_character(const void *bytes, size_t length, uint32_t *ret_character)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least; /* a smaller character in so many bytes is an overlong form */
    } forms[] = {{0x80, 0x00, 0}, {0xE0, 0xC0, 0x80}, {0xF0, 0xE0, 0x800}, {0xF8, 0xF0, 0x10000}};
    const uint8_t *at = bytes;
    size_t form = 0;
    while (length > 0 && form < 4 && (at[0] & forms[form].mask) != forms[form].lead)
        form++;
    if (length == 0 || form == 4 || length <= form)
        return 0;
    uint32_t character = at[0] & (uint8_t)~forms[form].mask;
    for (size_t i = 1; i <= form; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
        character = character << 6 | (at[i] & 0x3F);
    }
    if (character < forms[form].least || character > 0x10FFFF || (character >= 0xD800 && character <= 0xDFFF))
        return 0;
    *ret_character = character;
    return form + 1;
}

bool tool_utf8_valid(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    uint32_t character;
    while (length > 0) {
        size_t count = tool_utf8_character(at, length, &character);
        if (count == 0)
            return false;
        at += count;
        length -= count;
    }
    return true;
}

size_t tool_utf8_cut(const void *bytes, size_t length, size_t most)
{
    const uint8_t *at = bytes;
    if (length <= most)
        return length;
    while (most > 0 && (at[most] & 0xC0) == 0x80)
        most--;
    return most;
}

size_t tool_utf8_write(uint32_t character, char *to)
{
    if (character < 0x80) {
        to[0] = (char)character;
        return 1;
    }
    size_t count = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = count; i-- > 1; character >>= 6)
        to[i] = (char)(0x80 | (character & 0x3F));
    to[0] = (char)(leads[count] | character);
    return count;
}
