/* SPDX-License-Identifier: MIT */
/* Reading and writing descriptors that are no sockets: without SIGPIPE on every kernel, without waiting where the kernel can. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/fork.h"
#include "os/quiet.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* linux/fs.h of 6.18 */
#endif

atomic_uint telex_skills_denied;

static unsigned skills = TELEX_SKILL_REOPEN; /* written once, before pthread_once() returns */

/* A kernel that does not know a flag answers EOPNOTSUPP, and writes nothing. Flags are looked at only where there are bytes to move. */
static void probe(void)
{
    static const struct {
        enum telex_skill skill;
        int flag;
    } each[] = {{TELEX_SKILL_NOSIGNAL, RWF_NOSIGNAL}, {TELEX_SKILL_NOWAIT, RWF_NOWAIT}};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return; /* out of descriptors: the slower ways do the same */
    char byte = 0;
    struct iovec part = {&byte, 1};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        if (pwritev2(ends[1], &part, 1, -1, each[i].flag) == 1 &&
            (each[i].skill != TELEX_SKILL_NOWAIT || preadv2(ends[0], &part, 1, -1, each[i].flag) == 1))
            skills |= each[i].skill;
    close(ends[0]);
    close(ends[1]);
}

bool telex_skilled(enum telex_skill skill)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, probe);
    /* Relaxed: set by a test before there is anything to use them. */
    return (skills & ~atomic_load_explicit(&telex_skills_denied, memory_order_relaxed) & skill) != 0;
}

ssize_t telex_read_quietly(int fd, const struct iovec *parts, int part_count, bool nowait)
{
    ssize_t got;
    if (nowait)
        got = preadv2(fd, parts, part_count, -1, RWF_NOWAIT);
    else
        got = part_count == 1 ? read(fd, parts->iov_base, parts->iov_len) : readv(fd, parts, part_count);
    return got < 0 ? -errno : got;
}

/*
 * The signal is this thread's own (write(2) sends it to the thread that writes), so it can be blocked, and taken back where it is new. Whoever had it
 * unblocked cannot have had one pending; else the kernel tells.
 */
static ssize_t write_masked(int fd, const struct iovec *parts, int part_count, int flags)
{
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    bool waits = sigismember(&before, SIGPIPE) == 1 && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    ssize_t sent = flags != 0 ? pwritev2(fd, parts, part_count, -1, flags) : writev(fd, parts, part_count);
    int error = errno;
    if (sent < 0 && error == EPIPE && !waits)
        while (sigtimedwait(&pipe_only, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sent < 0 ? -error : sent;
}

ssize_t telex_write_quietly(int fd, const struct iovec *parts, int part_count, bool nowait)
{
    int flags = nowait ? RWF_NOWAIT : 0;
    if (!telex_skilled(TELEX_SKILL_NOSIGNAL))
        return write_masked(fd, parts, part_count, flags);
    ssize_t sent = pwritev2(fd, parts, part_count, -1, flags | RWF_NOSIGNAL);
    if (sent < 0 && errno == EOPNOTSUPP) /* a driver of the older kind, which takes no flags at all */
        return write_masked(fd, parts, part_count, flags);
    return sent < 0 ? -errno : sent;
}

int telex_reopen(int fd, int access)
{
    struct stat facts;
    unsigned number;
    if (!telex_skilled(TELEX_SKILL_REOPEN))
        return -EACCES;
    if (fstat(fd, &facts) < 0)
        return -errno;
    /* The controlling end of a pseudo-terminal is no file that could be opened again: it would be another pair. */
    bool terminal = S_ISCHR(facts.st_mode) && isatty(fd) && ioctl(fd, TIOCGPTN, &number) < 0;
    if (!S_ISFIFO(facts.st_mode) && !terminal)
        return -ENODEV;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return telex_own(own < 0 ? -errno : own);
}
