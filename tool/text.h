/* SPDX-License-Identifier: MIT */
/* Bytes of strangers, looked at before they are shown. */
#ifndef TELEX_TOOL_TEXT_H
#define TELEX_TOOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the UTF-8 character that `bytes` begin with, and the character; 0: they begin with none. */
size_t tool_utf8_character(const void *bytes, size_t length, uint32_t *ret_character);

bool tool_utf8_valid(const void *bytes, size_t length);

/* How many of the first `most` of `length` bytes of valid text can be shown without cutting a character. */
size_t tool_utf8_cut(const void *bytes, size_t length, size_t most);

/* Appends the UTF-8 bytes of `character` at `to` (room for 4). How many. */
size_t tool_utf8_write(uint32_t character, char *to);

#endif
