/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing descriptors that are no sockets: without SIGPIPE on every kernel, and, where the kernel can, without a wait though the descriptor
 * itself would wait (O_NONBLOCK belongs to the open file, which other processes may share, and so is nothing to set on a descriptor that was given to us).
 */
#ifndef TELEX_OS_QUIET_H
#define TELEX_OS_QUIET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

enum telex_skill { /* what a kernel, or this process's surroundings, may lack */
    TELEX_SKILL_NOSIGNAL = 1, /* pwritev2(RWF_NOSIGNAL): a write that raises no SIGPIPE; since Linux 6.18 */
    TELEX_SKILL_NOWAIT = 2,   /* RWF_NOWAIT on pipes; since Linux 6.5 */
    TELEX_SKILL_REOPEN = 4,   /* /proc/self/fd/N can be opened: an open file of our own */
};

/* Skills that are not used though they are there: for tests. */
extern atomic_uint telex_skills_denied;

/* Whether there is this skill. Probed once in a process, but for REOPEN, which each open(2) tells by itself. Any thread. */
bool telex_skilled(enum telex_skill skill);

/* readv(2) and writev(2), as bytes or -errno; the write raises no SIGPIPE. `nowait`: only with TELEX_SKILL_NOWAIT; -EAGAIN instead of a wait. */
ssize_t telex_read_quietly(int fd, const struct iovec *parts, int part_count, bool nowait);
ssize_t telex_write_quietly(int fd, const struct iovec *parts, int part_count, bool nowait);

/*
 * Opens what `fd` is once more, as an open file of our own that never waits (`access`: O_RDONLY, O_WRONLY, O_RDWR). An owned descriptor (fork.h), or -errno:
 * it is no pipe, FIFO or terminal, or this user may not open it anew.
 */
int telex_reopen(int fd, int access);

#endif
