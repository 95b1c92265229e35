/* SPDX-License-Identifier: MIT */
/* Numbers with units, and the sentences that go with errors. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/reason.h"
#include "base/units.h"
#include "unit/testing.h"

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"1B", 1},
        {"1kB", 1000},
        {"64KiB", 65536},
        {"1MB", 1000000},
        {"1MiB", 1048576},
        {"2GiB", 2147483648},
        {"3GB", 3000000000},
        {"007", 7},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes = 42;
        assert_int_equal(telex_parse_size(good[i].text, &bytes), 0);
        assert_true(bytes == good[i].bytes);
    }
    static const char *const bad[] = {"",     " 1",   "1 ",   "-1",    "+1",    "1.5MiB", "MiB",
                                      "1mib", "1KIB", "0x10", "1 MiB", "1MiBs", "1ms"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t bytes = 42;
        assert_int_equal(telex_parse_size(bad[i], &bytes), -EINVAL);
        assert_int_equal(bytes, 42);
    }
    static const char *const huge[] = {"18446744073709551616", "99999999999999999999999", "17179869184GiB"};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        uint64_t bytes = 42;
        assert_int_equal(telex_parse_size(huge[i], &bytes), -ERANGE);
        assert_int_equal(bytes, 42);
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {{"0s", 0},
                {"100ns", 100},
                {"10us", 10000},
                {"500ms", 500000000},
                {"2s", 2000000000},
                {"1min", 60000000000},
                {"9223372036854775807ns", INT64_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t ns = 42;
        assert_int_equal(telex_parse_duration(good[i].text, &ns), 0);
        assert_true(ns == good[i].ns);
    }
    static const char *const bad[] = {"", "500", "0", "-1s", "1.5s", "s", "1 s", "1S", "1KiB", "1m"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ns = 42;
        assert_int_equal(telex_parse_duration(bad[i], &ns), -EINVAL);
        assert_int_equal(ns, 42);
    }
    int64_t ns = 42;
    assert_int_equal(telex_parse_duration("9223372036854775808ns", &ns), -ERANGE);
    assert_int_equal(telex_parse_duration("9223372037s", &ns), -ERANGE);
    assert_int_equal(telex_parse_duration("400000000000min", &ns), -ERANGE);
    assert_int_equal(ns, 42);
}

static void *other_thread(void *user)
{
    *(int *)user = telex_said()[0] == '\0' && telex_say(-EIO, "of another thread") == -EIO;
    return NULL;
}

static void sentences(void **state)
{
    (void)state;
    int handle, fresh = 0;
    assert_string_equal(telex_said(), "");
    assert_int_equal(telex_say(-EINVAL, "option %s: %d", "max", 7), -EINVAL);
    assert_string_equal(telex_said(), "option max: 7");

    assert_null(telex_said_of(&handle));
    telex_said_about(&handle);
    assert_string_equal(telex_said_of(&handle), "option max: 7");
    assert_null(telex_said_of(&fresh));
    telex_say(-EINVAL, "again: %s", telex_said()); /* it may quote itself */
    assert_string_equal(telex_said(), "again: option max: 7");
    assert_null(telex_said_of(&handle));
    assert_null(telex_said_of(NULL));

    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &fresh), 0);
    pthread_join(thread, NULL);
    assert_int_equal(fresh, 1);
    assert_string_equal(telex_said(), "again: option max: 7");
}

/* A long sentence is cut between characters: 1, 2, 3 and 4 bytes long ones at every offset. */
static void long_sentences(void **state)
{
    (void)state;
    static const char *const characters[] = {"x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++) {
        size_t width = strlen(characters[i]);
        for (size_t offset = 0; offset < width; offset++) {
            char text[2 * TELEX_REASON_SIZE] = "";
            memset(text, '.', offset);
            while (strlen(text) + width < sizeof text)
                strcat(text, characters[i]);
            telex_say(-EIO, "%s", text);
            size_t length = strlen(telex_said());
            assert_true(length < TELEX_REASON_SIZE && length + width >= TELEX_REASON_SIZE);
            assert_int_equal((length - offset) % width, 0);
            assert_memory_equal(telex_said(), text, length);
        }
    }
}

static const struct testing_case cases[] = {
    TESTING_CASE(sizes),
    TESTING_CASE(durations),
    TESTING_CASE(sentences),
    TESTING_CASE(long_sentences),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "units", cases, sizeof cases / sizeof *cases);
}
