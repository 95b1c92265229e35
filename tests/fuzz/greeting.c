/* SPDX-License-Identifier: MIT */
/* Bytes as a greeting: every part gives the same answer as the whole, or asks for more; what was understood survives being written and read. */
#include <errno.h>

#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "wire/wire.h"

static void check_greeting(const struct telex_greeting *greeting)
{
    require(greeting->lowest >= 1 && greeting->lowest <= greeting->highest);
    require(greeting->window >= TELEX_WINDOW_LEAST);
    require(greeting->pid >= -1);
    size_t program = strnlen(greeting->program, sizeof greeting->program);
    require(program < sizeof greeting->program && telex_utf8_valid(greeting->program, program));
}

static void check_again(const struct telex_greeting *greeting)
{
    uint8_t bytes[TELEX_GREETING_MAX];
    struct telex_greeting again = {0};
    size_t length = telex_greeting_encode(greeting, bytes), whole = 0;
    require(length <= sizeof bytes);
    require(telex_greeting_decode(bytes, length, &again, &whole) == 0 && whole == length);
    require(again.lowest == greeting->lowest && again.highest == greeting->highest && again.features == greeting->features);
    require(again.descriptors == greeting->descriptors && again.max == greeting->max && again.window == greeting->window);
    require(again.queue == greeting->queue && again.fixed == greeting->fixed && again.pid == greeting->pid);
    require(memcmp(again.life, greeting->life, sizeof again.life) == 0 && strcmp(again.program, greeting->program) == 0);
}

static void check_version(const struct telex_greeting *theirs)
{
    const struct telex_greeting ours = {.lowest = TELEX_WIRE_VERSION, .highest = TELEX_WIRE_VERSION};
    int version = telex_greeting_agree(&ours, theirs);
    require(version == (theirs->lowest <= TELEX_WIRE_VERSION ? TELEX_WIRE_VERSION : -EPROTONOSUPPORT));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct telex_greeting greeting;
    size_t whole = 0;
    int r = telex_greeting_decode(bytes, length, &greeting, &whole);
    require(r == 0 || r == -EAGAIN || r == -EPROTO);
    require(r != -EAGAIN || length < TELEX_GREETING_MAX);
    size_t parts = r == 0 ? whole : length < TELEX_GREETING_MAX ? length : TELEX_GREETING_MAX;
    for (size_t part = 0; part <= parts; part += part < 256 ? 1 : 61) {
        uint8_t *copy = fuzz_copy(bytes, part);
        struct telex_greeting got;
        size_t got_whole;
        int answer = telex_greeting_decode(copy, part, &got, &got_whole);
        free(copy);
        require(answer == r || answer == -EAGAIN);
        require(answer != 0 || (part == whole && got_whole == whole));
    }
    if (r != 0)
        return 0;
    require(whole >= TELEX_GREETING_FIXED && whole <= TELEX_GREETING_MAX && whole <= length);
    check_greeting(&greeting);
    check_again(&greeting);
    check_version(&greeting);
    return 0;
}
