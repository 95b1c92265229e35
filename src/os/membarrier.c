/* SPDX-License-Identifier: MIT */
#include "os/membarrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/fork.h"

enum { UNKNOWN = 0, MISSING = 1, READY = 2 };

/* What is known, and of which generation of the process: a forked child registers anew. Relaxed: to register twice does no harm. */
static atomic_uint known;

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

bool telex_membarrier_ready(void)
{
    unsigned mark = telex_generation() << 2, seen = atomic_load_explicit(&known, memory_order_relaxed);
    if (seen == (mark | READY) || seen == (mark | MISSING))
        return (seen & 3) == READY;
    bool ready = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
    atomic_store_explicit(&known, mark | (ready ? READY : MISSING), memory_order_relaxed);
    return ready;
}

void telex_barrier_of_threads(void)
{
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

void telex_barrier_of_all(void)
{
    membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}
