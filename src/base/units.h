/* SPDX-License-Identifier: MIT */
/* Numbers with units, as people write them in addresses and on command lines. No system calls. */
#ifndef TELEX_BASE_UNITS_H
#define TELEX_BASE_UNITS_H

#include <stdint.h>

/* "4096", "64KiB", "1MiB", "2GiB", "1kB", "1MB" (powers of 1,000) -> bytes. 0, -EINVAL (not such a number) or -ERANGE. */
int telex_parse_size(const char *text, uint64_t *ret_bytes);

/* "500ms", "2s", "10us", "100ns", "1min"; a bare number is refused -> ns. 0, -EINVAL or -ERANGE. */
int telex_parse_duration(const char *text, int64_t *ret_ns);

#endif
