/* SPDX-License-Identifier: MIT */
/* Whether bytes are well-formed UTF-8 (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF). */
#ifndef TELEX_BASE_UTF8_H
#define TELEX_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool telex_utf8_valid(const void *bytes, size_t length);

#endif
