/* SPDX-License-Identifier: MIT */
/* What stream sockets of every family have in common. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/reason.h"
#include "medium/stream/bytes.h"
#include "medium/stream/sockets.h"
#include "os/fork.h"

enum { ACCEPT_TRIES = 64 }; /* peers that may have gone away again before we look elsewhere */

int telex_socket_new(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    fd = telex_own(fd < 0 ? -errno : fd);
    return fd < 0 ? telex_say(fd, "no socket: %s", strerror(-fd)) : fd;
}

int telex_socket_accept(int listening)
{
    for (int i = 0; i < ACCEPT_TRIES; i++) {
        int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            return telex_own(fd);
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return telex_say(-errno, "a peer waits to be accepted: %m");
        if (errno == EAGAIN)
            break;
        /* Anything else is an error of that peer's connection, as accept(2) says; it has left the queue. */
    }
    return -EAGAIN;
}

int telex_socket_failed(void)
{
    switch (errno) {
    case EAGAIN:
        return -EAGAIN;
    case EINTR: /* only a read that dozes sleeps */
        return telex_say(-EINTR, "a signal ended the wait");
    case EPIPE:
        return telex_say(-EPIPE, "the peer has closed its end");
    case ETIMEDOUT: /* from the kernel's own timers (tcp); here it would read as a deadline */
        return telex_say(-ECONNRESET, "the other host fell silent");
    case ECONNRESET:
    case ECONNABORTED:
    case ECONNREFUSED:
    case ENOTCONN:
    case ENETDOWN:
    case ENETRESET:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
        return telex_say(-ECONNRESET, "the connection broke: %m");
    default:
        return telex_say(-errno, "the connection failed: %m");
    }
}

int telex_socket_make_dozing(int fd)
{
    static const struct timeval patience = {.tv_usec = TELEX_BYTES_DOZE_NS / 1000};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        return telex_say(-errno, "a socket cannot be set up: %m");
    return 0;
}

ssize_t telex_socket_read(int fd, const struct iovec *parts, int part_count, int flags)
{
    ssize_t got;
    if (part_count == 1) {
        got = recv(fd, parts->iov_base, parts->iov_len, flags);
    } else {
        struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)part_count};
        got = recvmsg(fd, &message, flags);
    }
    if (got < 0 && errno == EINTR && (flags & MSG_DONTWAIT)) /* it did not sleep, so nobody need know */
        return -EAGAIN;
    return got < 0 ? telex_socket_failed() : got;
}

ssize_t telex_socket_write(int fd, const struct iovec *parts, int part_count, void *control, size_t control_length)
{
    ssize_t sent;
    if (part_count == 1 && control_length == 0) {
        sent = send(fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
        struct msghdr message = {.msg_iov = (struct iovec *)parts,
                                 .msg_iovlen = (size_t)part_count,
                                 .msg_control = control,
                                 .msg_controllen = control_length};
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (sent < 0)
        return errno == EINTR ? -EAGAIN : telex_socket_failed();
    return sent;
}

int telex_socket_end(int fd)
{
    return shutdown(fd, SHUT_WR) < 0 ? telex_socket_failed() : 0;
}

int64_t telex_socket_unsent(int fd)
{
    int bytes;
    return ioctl(fd, SIOCOUTQ, &bytes) < 0 ? telex_socket_failed() : bytes;
}
