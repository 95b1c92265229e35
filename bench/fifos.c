/* SPDX-License-Identifier: MIT */
/* Two named pipes, one each way, for contenders that talk over pipes; their names are gone as soon as both sides have them open. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

static const char *const names[] = {"there", "back"}; /* as the active side sees it */

static void path_of(const char *directory, const char *name, char path[2 * BENCH_ADDRESS])
{
    snprintf(path, 2 * BENCH_ADDRESS, "%s/%s", directory, name);
}

void bench_fifos_make(char address[BENCH_ADDRESS])
{
    char path[2 * BENCH_ADDRESS];
    snprintf(address, BENCH_ADDRESS, "/tmp/telex-bench-XXXXXX");
    if (!mkdtemp(address))
        bench_fail("mkdtemp: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        path_of(address, names[i], path);
        if (mkfifo(path, 0600) < 0)
            bench_fail("mkfifo: %s", strerror(errno));
    }
}

void bench_fifos_open(const char *address, bool active, int ret_fds[2])
{
    for (int i = 0; i < 2; i++) { /* both sides in the same order: each open waits for the other's */
        char path[2 * BENCH_ADDRESS];
        path_of(address, names[i], path);
        bool writes = active == (i == 0);
        int fd = open(path, (writes ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
        if (fd < 0)
            bench_fail("open %s: %s", path, strerror(errno));
        ret_fds[writes] = fd;
        if (!active)
            unlink(path);
    }
    if (!active)
        rmdir(address);
}
