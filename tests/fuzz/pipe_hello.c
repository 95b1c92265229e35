/* SPDX-License-Identifier: MIT */
/*
 * Bytes as a listener's FIFO gives them, read in steps as long as the first byte says and never past the hello that is being read: the hellos found are
 * those that a look at every place finds.
 */
#include "fuzz/fuzz.h"
#include "medium/stream/hello.h"

static bool is_hello(const uint8_t *bytes)
{
    static const char front[] = "telex pipe 1 ";
    size_t length = sizeof front - 1;
    if (memcmp(bytes, front, length) != 0 || bytes[TELEX_HELLO_SIZE - 1] != '\n')
        return false;
    for (size_t i = length; i < TELEX_HELLO_SIZE - 1; i++)
        if (bytes[i] == '\0' || strchr("0123456789abcdef", bytes[i]) == NULL)
            return false;
    return true;
}

/* The next place from `at` on where a hello lies; `length`: there is none. */
static size_t find(const uint8_t *bytes, size_t at, size_t length)
{
    for (; at + TELEX_HELLO_SIZE <= length; at++)
        if (is_hello(bytes + at))
            return at;
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length < 1)
        return 0;
    size_t step = 1u + bytes[0] % TELEX_HELLO_SIZE, at = 0, from = 0, have = 0;
    char hello[TELEX_HELLO_SIZE];
    bytes++, length--;
    while (at < length) {
        size_t room = sizeof hello - have, more = step < room ? step : room;
        more = more < length - at ? more : length - at;
        memcpy(hello + have, bytes + at, more);
        at += more;
        have += more;
        char *copy = fuzz_copy(hello, have);
        size_t skipped = telex_hello_skip(copy, have);
        free(copy);
        require(skipped <= have);
        have -= skipped;
        memmove(hello, hello + skipped, have);
        if (have < sizeof hello)
            continue;
        from = find(bytes, from, length);
        require(from == at - sizeof hello);
        char token[TELEX_HELLO_TOKEN + 1], again[TELEX_HELLO_SIZE];
        telex_hello_token(hello, token);
        telex_hello_encode(token, again);
        require(memcmp(again, bytes + from, sizeof again) == 0);
        from += TELEX_HELLO_SIZE;
        have = 0;
    }
    require(find(bytes, from, length) == length);
    return 0;
}
