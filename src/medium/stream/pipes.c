/* SPDX-License-Identifier: MIT */
/* Pipes, in the words of a byte stream. */
#include "medium/stream/pipes.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "base/reason.h"
#include "medium/stream/bytes.h"
#include "medium/stream/sockets.h"
#include "os/quiet.h"

static ssize_t outcome(ssize_t moved)
{
    if (moved >= 0)
        return moved;
    if (moved == -EINTR) /* nothing here sleeps, so nothing is lost */
        return -EAGAIN;
    errno = (int)-moved;
    return telex_socket_failed();
}

ssize_t telex_pipe_read(int fd, const struct iovec *parts, int part_count)
{
    return outcome(telex_read_quietly(fd, parts, part_count, false));
}

ssize_t telex_pipe_write(int fd, const struct iovec *parts, int part_count)
{
    return outcome(telex_write_quietly(fd, parts, part_count, false));
}

int telex_pipe_doze(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    static const struct timespec patience = {.tv_nsec = TELEX_BYTES_DOZE_NS};
    int ready = ppoll(&poll, 1, &patience, NULL);
    return ready > 0 ? 0 : ready == 0 ? -EAGAIN : -errno;
}

int64_t telex_pipe_unread(int fd)
{
    int bytes;
    return ioctl(fd, FIONREAD, &bytes) < 0 ? telex_socket_failed() : bytes;
}
