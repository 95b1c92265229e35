/* SPDX-License-Identifier: MIT */
/* The sentence that goes with an error: one buffer for each thread. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/reason.h"

static _Thread_local char sentence[TELEX_REASON_SIZE];
static _Thread_local const void *subject;

/* How many of the first `length` bytes to keep, so that a cut does not end in the middle of a UTF-8 character. */
static size_t whole_characters(const char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && length - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return length;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return start - 1 + needed > length ? start - 1 : length;
}

int telex_say(int error, const char *format, ...)
{
    char text[TELEX_REASON_SIZE]; /* made aside: an argument may be the present sentence */
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t length = wanted < 0 ? 0 : (size_t)wanted;
    if (length >= sizeof text)
        length = whole_characters(text, sizeof text - 1);
    memcpy(sentence, text, length);
    sentence[length] = '\0';
    subject = NULL;
    return error;
}

void telex_say_constant(const char *text)
{
    size_t length = strlen(text);
    memcpy(sentence, text, length + 1);
    subject = NULL;
}

const char *telex_said(void)
{
    return sentence;
}

void telex_said_about(const void *handle)
{
    subject = handle;
}

const char *telex_said_of(const void *handle)
{
    return handle != NULL && handle == subject ? sentence : NULL;
}
