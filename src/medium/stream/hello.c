/* SPDX-License-Identifier: MIT */
#include "medium/stream/hello.h"

#include <stdbool.h>
#include <string.h>

static const char magic[] = "telex pipe 1 "; /* then the token, then a newline */

enum { MAGIC = sizeof magic - 1 };

_Static_assert(MAGIC + TELEX_HELLO_TOKEN + 1 == TELEX_HELLO_SIZE, "docs/pipe.md");

static bool fits(char byte, size_t place)
{
    if (place < MAGIC)
        return byte == magic[place];
    if (place == TELEX_HELLO_SIZE - 1)
        return byte == '\n';
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
}

void telex_hello_encode(const char *token, char ret_hello[TELEX_HELLO_SIZE])
{
    memcpy(ret_hello, magic, MAGIC);
    memcpy(ret_hello + MAGIC, token, TELEX_HELLO_TOKEN);
    ret_hello[TELEX_HELLO_SIZE - 1] = '\n';
}

size_t telex_hello_skip(const char *bytes, size_t length)
{
    for (size_t skipped = 0; skipped < length; skipped++) {
        size_t at = skipped;
        while (at < length && fits(bytes[at], at - skipped))
            at++;
        if (at == length)
            return skipped;
    }
    return length;
}

void telex_hello_token(const char hello[TELEX_HELLO_SIZE], char ret_token[TELEX_HELLO_TOKEN + 1])
{
    memcpy(ret_token, hello + MAGIC, TELEX_HELLO_TOKEN);
    ret_token[TELEX_HELLO_TOKEN] = '\0';
}
