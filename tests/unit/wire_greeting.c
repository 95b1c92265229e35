/* SPDX-License-Identifier: MIT */
/* The greeting of wire=telex: an example byte for byte, cut at every byte; every refusal, as early as the bytes allow; items; versions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/reason.h"
#include "unit/hex.h"
#include "unit/testing.h"
#include "wire/wire.h"

#define MAGIC "74656C65780D0A1A "
#define LIFE "000102030405060708090A0B0C0D0E0F "
#define AFTER_LENGTH "01000000 10000000 0000000100000000 0000100000000000 0000000000000000 FFFFFFFFFFFFFFFF " LIFE
#define PLAIN(length) MAGIC "0100 0100 " length " " AFTER_LENGTH

static const struct telex_greeting example = {
    .lowest = 1,
    .highest = 1,
    .features = TELEX_FEATURE_DESCRIPTORS,
    .descriptors = 16,
    .max = 16 << 20,
    .window = 1 << 20,
    .fixed = UINT64_MAX,
    .life = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .pid = 4711,
    .program = "hello",
};
static const char example_bytes[] = PLAIN("5D000000") "0580 0500 68656C6C6F 0680 0800 6712000000000000";

/* Decodes from memory of exactly `length` bytes, so that a sanitizer sees a step too far. */
static int decode(const uint8_t *bytes, size_t length, struct telex_greeting *ret_greeting, size_t *ret_length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    memcpy(copy, bytes, length);
    int r = telex_greeting_decode(copy, length, ret_greeting, ret_length);
    free(copy);
    return r;
}

static void assert_greeting(const struct telex_greeting *got, const struct telex_greeting *expected)
{
    assert_int_equal(got->lowest, expected->lowest);
    assert_int_equal(got->highest, expected->highest);
    assert_int_equal(got->features, expected->features);
    assert_int_equal(got->descriptors, expected->descriptors);
    assert_true(got->max == expected->max && got->window == expected->window);
    assert_true(got->queue == expected->queue && got->fixed == expected->fixed);
    assert_memory_equal(got->life, expected->life, sizeof got->life);
    assert_true(got->pid == expected->pid);
    assert_string_equal(got->program, expected->program);
}

static void encoded(void **state)
{
    (void)state;
    uint8_t bytes[TELEX_GREETING_MAX];
    assert_hex(bytes, telex_greeting_encode(&example, bytes), example_bytes);
    struct telex_greeting bare = example;
    bare.pid = -1;
    bare.program[0] = '\0';
    assert_hex(bytes, telex_greeting_encode(&bare, bytes), PLAIN("48000000"));
    struct telex_greeting unterminated = example;
    memset(unterminated.program, 'p', sizeof unterminated.program);
    assert_int_equal(telex_greeting_encode(&unterminated, bytes), 72 + 4 + 63 + 12);
}

static void decoded_from_every_part(void **state)
{
    (void)state;
    uint8_t bytes[256] = {0};
    size_t all = hex_bytes(example_bytes, bytes, sizeof bytes);
    for (size_t length = 0; length < all + 40; length++) {
        struct telex_greeting greeting = {.lowest = 99};
        size_t whole = 99;
        int r = decode(bytes, length, &greeting, &whole);
        assert_int_equal(r, length < all ? -EAGAIN : 0);
        if (r < 0) {
            assert_int_equal(greeting.lowest, 99);
            assert_int_equal(whole, 99);
            continue;
        }
        assert_int_equal(whole, all);
        assert_greeting(&greeting, &example);
    }
}

static void there_and_back(void **state)
{
    (void)state;
    const struct telex_greeting greetings[] = {
        {.lowest = 1, .highest = 1, .window = TELEX_WINDOW_LEAST, .pid = -1},
        {.lowest = 2, .highest = 65535, .features = UINT32_MAX, .descriptors = UINT32_MAX, .max = UINT64_MAX, .window = UINT64_MAX,
         .queue = UINT64_MAX, .fixed = 0, .pid = INT64_MAX, .program = "\xC3\xA9t\xC3\xA9"},
        {.lowest = 1, .highest = 3, .window = 1 << 20, .queue = 8, .fixed = 64, .pid = 0,
         .program = "a name of sixty-three bytes, which is the longest there can be."},
    };
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        uint8_t bytes[TELEX_GREETING_MAX];
        struct telex_greeting greeting;
        size_t length = telex_greeting_encode(&greetings[i], bytes), whole;
        assert_int_equal(decode(bytes, length, &greeting, &whole), 0);
        assert_int_equal(whole, length);
        assert_greeting(&greeting, &greetings[i]);
    }
}

/* ---- refusals ---- */

static const struct refusal {
    const char *bytes, *words;
    size_t needs; /* bytes after which it must be noticed */
} refusals[] = {
    {"47455420 2F20 4854", "other bytes", 1},
    {"74656C6578 0A0A1A 0100 0100", "other bytes", 6},
    {"74656C6578 0D0A1B 0100 0100", "other bytes", 8},
    {MAGIC "0000 0100 48000000", "versions 0 to 1", 12},
    {MAGIC "0200 0100 48000000", "versions 2 to 1", 12},
    {MAGIC "0100 0100 47000000 " AFTER_LENGTH, "says it has 71 bytes", 16},
    {MAGIC "0100 0100 01100000 " AFTER_LENGTH, "says it has 4097 bytes", 16},
    {MAGIC "0100 0100 FFFFFFFF " AFTER_LENGTH, "says it has 4294967295 bytes", 16},
    {MAGIC "0100 0100 48000000 00000000 00000000 0000000000000000 FFFF010000000000 ", "window of 131071 bytes", 40},
    {PLAIN("4B000000") "058000", "in the middle of an item", 72},
    {PLAIN("4C000000") "0580 0100", "in the middle of item 5", 76},
    {PLAIN("50000000") "0580 0500 61626364", "in the middle of item 5", 76},
    {PLAIN("4D000000") "0780 0000 00", "in the middle of an item", 76},
    {PLAIN("4C000000") "0700 0000", "insists on item 7", 76},
    {PLAIN("4D000000") "FF7F 0100 00", "insists on item 32767", 77},
    {PLAIN("4E000000") "0000 0200 0000", "insists on item 0", 78},
    {PLAIN("50000000") "0100 0400 62616E6B", "insists on protocol bank,", 80},
    {PLAIN("4D000000") "0100 0100 FF", "insists on a protocol,", 77},
    {PLAIN("50000000") "0200 0400 01000000", "insists on a protocol,", 80},
    {PLAIN("4C000000") "0300 0000", "insists on a protocol,", 76},
    {PLAIN("4D000000") "0400 0100 61", "insists on a protocol,", 77},
    {PLAIN("4E000000") "0580 0200 C328", "too long or no text", 78},
    {PLAIN("4E000000") "0500 0200 6100", "too long or no text", 78},
    {PLAIN("53000000") "0680 0700 01020304050607", "of 7 bytes", 83},
    {PLAIN("4C000000") "0600 0000", "of 0 bytes", 76},
    {PLAIN("52000000") "0580 0100 61 0580 0100 62", "item 5 twice", 81},
    {PLAIN("52000000") "0580 0100 61 0500 0100 62", "item 5 twice", 81},
    {PLAIN("50000000") "FFFF 0000 FFFF 0000", "item 32767 twice", 80},
    {PLAIN("50000000") "0080 0000 0080 0000", "item 0 twice", 80},
};

static void refused_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *refusal = &refusals[i];
        uint8_t bytes[256] = {0};
        size_t all = hex_bytes(refusal->bytes, bytes, sizeof bytes);
        for (size_t length = 0; length <= all; length++) {
            struct telex_greeting greeting = {.lowest = 99};
            size_t whole = 99;
            int r = decode(bytes, length, &greeting, &whole);
            if (r != (length < refusal->needs ? -EAGAIN : -EPROTO))
                fail_msg("%s, %zu bytes of it: %d", refusal->bytes, length, r);
            if (r == -EPROTO && strstr(telex_said(), refusal->words) == NULL)
                fail_msg("%s: %s", refusal->bytes, telex_said());
            assert_int_equal(greeting.lowest, 99);
            assert_int_equal(whole, 99);
        }
    }
}

static void long_program(void **state)
{
    (void)state;
    uint8_t bytes[256] = {0};
    size_t at = hex_bytes(PLAIN("8C000000") "0580 4000", bytes, sizeof bytes);
    memset(bytes + at, 'p', 64);
    struct telex_greeting greeting;
    size_t whole;
    assert_int_equal(decode(bytes, 140, &greeting, &whole), -EPROTO);
    assert_non_null(strstr(telex_said(), "too long"));
}

/* ---- items ---- */

static void unknown_items(void **state)
{
    (void)state;
    static const char *const good[] = {
        PLAIN("5C000000") "0180 0400 62616E6B 0280 0400 01000000 0480 0000", /* an optional protocol */
        PLAIN("51000000") "0780 0000 FFFF 0100 00",
        PLAIN("5C000000") "0080 0000 0780 0000 0880 0000 1080 0000 2080 0000",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint8_t bytes[256];
        size_t all = hex_bytes(good[i], bytes, sizeof bytes), whole;
        struct telex_greeting greeting;
        assert_int_equal(decode(bytes, all, &greeting, &whole), 0);
        assert_int_equal(whole, all);
        assert_true(greeting.pid == -1);
        assert_string_equal(greeting.program, "");
    }
}

static void known_items_need_not_be_optional(void **state)
{
    (void)state;
    uint8_t bytes[256];
    size_t all = hex_bytes(PLAIN("59000000") "0600 0800 FFFFFFFFFFFFFFFF 0500 0100 70", bytes, sizeof bytes), whole;
    struct telex_greeting greeting;
    assert_int_equal(decode(bytes, all, &greeting, &whole), 0);
    assert_true(greeting.pid == INT64_MAX);
    assert_string_equal(greeting.program, "p");
}

/* As long as a greeting can be, with one long item, and with as many short ones as fit. */
static void longest(void **state)
{
    (void)state;
    static uint8_t bytes[TELEX_GREETING_MAX];
    hex_bytes(PLAIN("00100000") "FFFF B40F", bytes, sizeof bytes);
    struct telex_greeting greeting;
    size_t whole = 0;
    assert_int_equal(decode(bytes, sizeof bytes - 1, &greeting, &whole), -EAGAIN);
    assert_int_equal(decode(bytes, sizeof bytes, &greeting, &whole), 0);
    assert_int_equal(whole, TELEX_GREETING_MAX);
    for (size_t at = TELEX_GREETING_FIXED, type = 0x8007; at < sizeof bytes; at += 4, type++) {
        telex_put16(bytes + at, (uint16_t)type);
        telex_put16(bytes + at + 2, 0);
    }
    assert_int_equal(decode(bytes, sizeof bytes, &greeting, &whole), 0);
    assert_int_equal(whole, TELEX_GREETING_MAX);
}

/* ---- versions ---- */

static void versions(void **state)
{
    (void)state;
    static const struct {
        uint16_t ours[2], theirs[2];
        int agreed;
    } pairs[] = {
        {{1, 1}, {1, 1}, 1},        {{1, 1}, {1, 9}, 1},         {{1, 3}, {2, 9}, 3},   {{2, 9}, {1, 3}, 3},
        {{5, 5}, {1, 65535}, 5},    {{1, 65535}, {1, 65535}, 65535}, {{1, 1}, {2, 2}, 0}, {{2, 3}, {1, 1}, 0},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct telex_greeting ours = {.lowest = pairs[i].ours[0], .highest = pairs[i].ours[1]};
        struct telex_greeting theirs = {.lowest = pairs[i].theirs[0], .highest = pairs[i].theirs[1]};
        assert_int_equal(telex_greeting_agree(&ours, &theirs), pairs[i].agreed != 0 ? pairs[i].agreed : -EPROTONOSUPPORT);
    }
    assert_non_null(strstr(telex_said(), "versions 2 to 3"));
    assert_non_null(strstr(telex_said(), "1 to 1"));
}

static const struct testing_case cases[] = {
    TESTING_CASE(encoded),
    TESTING_CASE(decoded_from_every_part),
    TESTING_CASE(there_and_back),
    TESTING_CASE(refused_at_once),
    TESTING_CASE(long_program),
    TESTING_CASE(unknown_items),
    TESTING_CASE(known_items_need_not_be_optional),
    TESTING_CASE(longest),
    TESTING_CASE(versions),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "wire_greeting", cases, sizeof cases / sizeof *cases);
}
