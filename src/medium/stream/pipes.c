/* SPDX-License-Identifier: MIT */
/* Reading and writing pipes without waiting, and without SIGPIPE. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/reason.h"
#include "medium/stream/bytes.h"
#include "medium/stream/pipes.h"
#include "medium/stream/sockets.h"

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* Linux 6.18 */
#endif

ssize_t telex_pipe_read(int fd, const struct iovec *parts, int part_count)
{
    ssize_t got = part_count == 1 ? read(fd, parts->iov_base, parts->iov_len) : readv(fd, parts, part_count);
    if (got < 0)
        return errno == EINTR ? -EAGAIN : telex_socket_failed(); /* it does not sleep, so nothing is lost */
    return got;
}

int telex_pipe_doze(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    static const struct timespec patience = {.tv_nsec = TELEX_BYTES_DOZE_NS};
    int ready = ppoll(&poll, 1, &patience, NULL);
    return ready > 0 ? 0 : ready == 0 ? -EAGAIN : -errno;
}

/*
 * The kernel sends SIGPIPE to the thread that writes, so it is blocked there meanwhile, and taken away if the write raised it. One that
 * was pending before is the program's and stays: it can have been only where the program blocks it itself.
 */
static ssize_t write_without_signal(int fd, const struct iovec *parts, int part_count)
{
    static const struct timespec at_once;
    sigset_t ours, before, pending;
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    bool theirs = sigismember(&before, SIGPIPE) && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE);
    ssize_t sent = writev(fd, parts, part_count);
    int error = errno;
    if (sent < 0 && error == EPIPE && !theirs)
        while (sigtimedwait(&ours, NULL, &at_once) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return sent;
}

ssize_t telex_pipe_write(int fd, const struct iovec *parts, int part_count)
{
    static atomic_bool asked_in_vain; /* relaxed: whoever does not see it yet asks in vain, too */
    ssize_t sent = -1;
    errno = EOPNOTSUPP;
    if (!atomic_load_explicit(&asked_in_vain, memory_order_relaxed)) {
        sent = pwritev2(fd, parts, part_count, -1, RWF_NOSIGNAL);
        if (sent < 0 && errno == EOPNOTSUPP)
            atomic_store_explicit(&asked_in_vain, true, memory_order_relaxed);
    }
    if (sent < 0 && errno == EOPNOTSUPP)
        sent = write_without_signal(fd, parts, part_count);
    if (sent < 0)
        return errno == EINTR ? -EAGAIN : telex_socket_failed();
    return sent;
}

int64_t telex_pipe_unread(int fd)
{
    int bytes;
    return ioctl(fd, FIONREAD, &bytes) < 0 ? telex_socket_failed() : bytes;
}
