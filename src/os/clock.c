/* SPDX-License-Identifier: MIT */
/* Time and waiting for descriptors until an absolute deadline. */
#include <errno.h>
#include <time.h>

#include "base/reason.h"
#include "os/clock.h"

enum { NS = 1000000000 };

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS + now.tv_nsec;
}

int64_t telex_clock(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t telex_clock_roughly(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

int telex_poll(struct pollfd *fds, unsigned count, int64_t deadline)
{
    struct timespec left = {0};
    if (deadline > 0 && deadline != INT64_MAX) {
        int64_t ns = deadline - telex_clock();
        if (ns > 0)
            left = (struct timespec){.tv_sec = ns / NS, .tv_nsec = ns % NS};
    }
    int ready = ppoll(fds, count, deadline == INT64_MAX ? NULL : &left, NULL);
    if (ready < 0)
        return errno == EINTR ? -EINTR : telex_say(-errno, "the kernel cannot wait for descriptors: %m");
    return ready;
}
