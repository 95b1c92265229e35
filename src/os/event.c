/* SPDX-License-Identifier: MIT */
/* A bell between threads or from a signal handler to a sleeper. */
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "os/event.h"
#include "os/fork.h"

int telex_event_new(void)
{
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return telex_own(event < 0 ? -errno : event);
}

void telex_event_ring(int event)
{
    if (event < 0)
        return;
    int kept = errno;
    /* It fails only when the counter is full, and then the bell rings already. */
    ssize_t written = write(event, &(uint64_t){1}, sizeof(uint64_t));
    (void)written;
    errno = kept;
}

void telex_event_clear(int event)
{
    int kept = errno;
    uint64_t rung;
    ssize_t taken = read(event, &rung, sizeof rung);
    (void)taken;
    errno = kept;
}
