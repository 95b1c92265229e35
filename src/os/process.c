/* SPDX-License-Identifier: MIT */
/* Facts about this process and machine, as the kernel tells them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/fork.h"
#include "os/process.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum {
    MOST_CORES = 1 << 20, /* where the search for the size of the kernel's mask ends */
    SCARCE = 8,           /* the part of this process's descriptors that may be spent on comfort */
};

/* Adds the cores of `process` (0: this thread) to `set`. 0 or -errno. */
static int add_cores(pid_t process, cpu_set_t *set, cpu_set_t *one, size_t bytes)
{
    CPU_ZERO_S(bytes, one);
    if (sched_getaffinity(process, bytes, one) < 0)
        return -errno;
    CPU_OR_S(bytes, set, set, one);
    return 0;
}

unsigned telex_cores(int64_t other)
{
    for (unsigned size = CPU_SETSIZE; size <= MOST_CORES; size *= 2) {
        size_t bytes = CPU_ALLOC_SIZE(size);
        cpu_set_t *set = CPU_ALLOC(size), *one = CPU_ALLOC(size);
        int r = -ENOMEM, count = 0;
        if (set != NULL && one != NULL) {
            CPU_ZERO_S(bytes, set);
            r = add_cores(0, set, one, bytes);
            if (r == 0 && other > 0 && other <= INT_MAX)
                add_cores((pid_t)other, set, one, bytes); /* gone, or not of this host: then it adds none */
            count = CPU_COUNT_S(bytes, set);
        }
        CPU_FREE(set);
        CPU_FREE(one);
        if (r == 0)
            return count > 0 ? (unsigned)count : 1;
        if (r != -EINVAL) /* EINVAL: the kernel's mask is longer */
            break;
    }
    return 1;
}

uint64_t telex_memory_available(void)
{
    char text[512]; /* it is the third line */
    int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (length <= 0)
        return UINT64_MAX;
    text[length] = '\0';
    const char *line = strstr(text, "MemAvailable:");
    unsigned long long kib;
    return line != NULL && sscanf(line, "MemAvailable: %llu kB", &kib) == 1 ? (uint64_t)kib * 1024 : UINT64_MAX;
}

bool telex_descriptors_are_scarce(int latest)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) < 0 || (rlim_t)latest >= limit.rlim_cur / SCARCE;
}

int telex_process_watch(int64_t pid, int socket)
{
    int fd = -1;
    socklen_t length = sizeof fd;
    if (pid <= 0 || pid > INT_MAX)
        return -ESRCH;
    if (socket < 0 || getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &length) < 0) /* since Linux 6.5 */
        fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    return telex_own(fd < 0 ? -errno : fd);
}

bool telex_process_ended(int watch)
{
    struct pollfd fd = {.fd = watch, .events = POLLIN};
    return watch >= 0 && telex_poll(&fd, 1, 0) > 0;
}

int telex_random(void *bytes, size_t length)
{
    unsigned char *to = bytes;
    while (length > 0) {
        ssize_t got = getrandom(to, length, 0);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0) {
            to += got;
            length -= (size_t)got;
        }
    }
    return 0;
}

/*
 * The state names the process that made, or is making, the value: a child finds a state that is not its own, whatever another
 * thread of its parent was doing at the moment of the fork. A mutex could be found locked for ever.
 */
const unsigned char *telex_life(void)
{
    static unsigned char life[16];
    static _Atomic uint64_t state;
    uint64_t making = (uint64_t)getpid() << 32 | (uint32_t)(telex_generation() << 1);
    uint64_t made = making | 1;

    uint64_t seen;
    do {
        /* Acquire: pairs with the release below, so that whoever sees `made` sees the bytes. */
        seen = atomic_load_explicit(&state, memory_order_acquire);
        if (seen == made)
            return life;
        if (seen == making)
            sched_yield();
        /* Relaxed: it publishes nothing, it only chooses one thread. */
    } while (seen == making ||
             !atomic_compare_exchange_weak_explicit(&state, &seen, making, memory_order_relaxed, memory_order_relaxed));

    if (telex_random(life, sizeof life) < 0)
        memcpy(life, (uint64_t[2]){(uint64_t)telex_clock(), making}, sizeof life); /* unlike others, if guessable */
    atomic_store_explicit(&state, made, memory_order_release);                     /* pairs with the acquire above */
    return life;
}

const char *telex_program(void)
{
    return program_invocation_short_name != NULL ? program_invocation_short_name : "";
}
