/* SPDX-License-Identifier: MIT */
/* Time and waiting for descriptors until an absolute deadline. */
#ifndef TELEX_OS_CLOCK_H
#define TELEX_OS_CLOCK_H

#include <poll.h>
#include <stdint.h>

int64_t telex_clock(void); /* ns of CLOCK_MONOTONIC; async-signal-safe */

int64_t telex_clock_roughly(void); /* the same, late by a tick of the kernel's (some ms), for a quarter of what it costs */

/* ppoll until `deadline` (absolute ns; INT64_MAX: none; <= now: does not wait). How many are ready, 0 when the deadline passed, -EINTR, or another -errno. */
int telex_poll(struct pollfd *fds, unsigned count, int64_t deadline);

#endif
