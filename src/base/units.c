/* SPDX-License-Identifier: MIT */
/* Numbers with units: a table of units for each quantity, one reader for all. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/units.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit sizes[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"KiB", UINT64_C(1) << 10},
    {"MB", 1000000},
    {"MiB", UINT64_C(1) << 20},
    {"GB", 1000000000},
    {"GiB", UINT64_C(1) << 30},
    {NULL, 0},
};

/* No unit without a name: whether a bare number meant seconds or milliseconds is guesswork. */
static const struct unit durations[] = {
    {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}, {"min", UINT64_C(60000000000)}, {NULL, 0},
};

static int parse(const char *text, const struct unit *units, uint64_t most, uint64_t *ret_number)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0)
        return -EINVAL;
    while (units->name != NULL && strcmp(units->name, text + digits) != 0)
        units++;
    if (units->name == NULL)
        return -EINVAL;

    uint64_t number = 0;
    for (size_t i = 0; i < digits; i++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return -ERANGE;
    if (__builtin_mul_overflow(number, units->factor, &number) || number > most)
        return -ERANGE;
    *ret_number = number;
    return 0;
}

int telex_parse_size(const char *text, uint64_t *ret_bytes)
{
    return parse(text, sizes, UINT64_MAX, ret_bytes);
}

int telex_parse_duration(const char *text, int64_t *ret_ns)
{
    uint64_t ns;
    int error = parse(text, durations, INT64_MAX, &ns);
    if (error == 0)
        *ret_ns = (int64_t)ns;
    return error;
}
