/* SPDX-License-Identifier: MIT */
/*
 * fd:IN,OUT and stdio:, descriptors that are open already: pipes, FIFOs, sockets, terminals, files. Other processes may share what stands behind them, so
 * nothing of it is changed: O_NONBLOCK and SO_RCVTIMEO belong to the open file, not to the descriptor. What takes their place is a way of reading and
 * writing for each kind, in a table. Numbers above 2 are taken over, as fdopen(3) does; 0, 1 and 2 stay, for the C library and whatever is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/reason.h"
#include "medium/stream/bytes.h"
#include "medium/stream/fd.h"
#include "medium/stream/sockets.h"
#include "medium/stream/unix.h"
#include "os/clock.h"
#include "os/event.h"
#include "os/fork.h"
#include "os/quiet.h"
#include "wire/wire.h"

enum { PARTS = 16 }; /* of a write that is cut to PIPE_BUF */

struct way;

struct fd_end {
    atomic_int fd; /* owned; -1: none, or ended. Relaxed: OUT is ended under [out], and whoever only waits may ask for the number meanwhile */
    const struct way *way;
    bool waited; /* it was full once, so somebody may watch it */
    atomic_int keeper; /* owned; a FIFO that was opened both ways, so that the peer may come later: as it was, until the peer has come; -1: none. Relaxed: whoever takes it out closes it */
};

struct fd_bytes {
    struct telex_bytes base;
    struct fd_end in, out; /* one descriptor in both: a socket, a terminal, a FIFO that was opened for both */
    int observer;          /* the reading end of the pipe that was OUT: how much of what was written is still unread; -1: none */
    bool is_pipe;          /* OUT */
    bool lost;             /* nobody was left to read what lay in the pipe when it ended */
    bool takes_descriptors;
};

static struct fd_bytes *of(struct telex_bytes *bytes)
{
    return (struct fd_bytes *)bytes;
}

static int number(const struct fd_end *end)
{
    return atomic_load_explicit(&end->fd, memory_order_relaxed);
}

/* From now on the FIFO ends with the peer. */
static void dismiss(struct fd_end *end)
{
    if (atomic_load_explicit(&end->keeper, memory_order_relaxed) >= 0)
        telex_shut(atomic_exchange_explicit(&end->keeper, -1, memory_order_relaxed));
}

/* ---- ways of reading and writing: bytes, or -errno without a sentence (sockets: with one) ---- */

struct way {
    const char *name;
    ssize_t (*read)(struct fd_bytes *self, const struct iovec *parts, int part_count, int *fds, unsigned *count);
    ssize_t (*write)(struct fd_bytes *self, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count);
};

static ssize_t read_unix(struct fd_bytes *self, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    return telex_unix_read(number(&self->in), parts, part_count, self->takes_descriptors ? fds : NULL, count, MSG_DONTWAIT);
}

static ssize_t write_unix(struct fd_bytes *self, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    return telex_unix_write(number(&self->out), parts, part_count, fds, fd_count);
}

static ssize_t read_socket(struct fd_bytes *self, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    (void)fds, (void)count;
    return telex_socket_read(number(&self->in), parts, part_count, MSG_DONTWAIT);
}

static ssize_t write_socket(struct fd_bytes *self, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    (void)fds, (void)fd_count;
    return telex_socket_write(number(&self->out), parts, part_count, NULL, 0);
}

static ssize_t read_plainly(struct fd_bytes *self, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    (void)fds, (void)count;
    return telex_read_quietly(number(&self->in), parts, part_count, false);
}

static ssize_t write_plainly(struct fd_bytes *self, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    (void)fds, (void)fd_count;
    return telex_write_quietly(number(&self->out), parts, part_count, false);
}

static ssize_t read_nowait(struct fd_bytes *self, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    (void)fds, (void)count;
    return telex_read_quietly(number(&self->in), parts, part_count, true);
}

static ssize_t write_nowait(struct fd_bytes *self, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    (void)fds, (void)fd_count;
    return telex_write_quietly(number(&self->out), parts, part_count, true);
}

static bool is_ready(int fd, short events)
{
    struct pollfd poll = {.fd = fd, .events = events};
    return telex_poll(&poll, 1, TELEX_NOW) > 0;
}

/* Somebody else who reads the same may take the bytes between the look and the read; then this waits for the next ones. No other way is left here. */
static ssize_t read_polled(struct fd_bytes *self, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    return is_ready(number(&self->in), POLLIN) ? read_plainly(self, parts, part_count, fds, count) : -EAGAIN;
}

/* A pipe that polls writable has room for PIPE_BUF bytes, and a write of no more does not wait for readers. */
static ssize_t write_polled(struct fd_bytes *self, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    if (!is_ready(number(&self->out), POLLOUT))
        return -EAGAIN;
    struct iovec few[PARTS];
    int used = 0;
    for (size_t room = PIPE_BUF; used < part_count && used < PARTS && room > 0; used++) {
        few[used] = parts[used];
        if (few[used].iov_len > room)
            few[used].iov_len = room;
        room -= few[used].iov_len;
    }
    return write_plainly(self, few, used, fds, fd_count);
}

static const struct way way_unix = {"unix", read_unix, write_unix}, way_socket = {"socket", read_socket, write_socket},
                        way_plain = {"plain", read_plainly, write_plainly}, /* our own open file, or one that never waits */
                        way_nowait = {"nowait", read_nowait, write_nowait}, way_polled = {"polled", read_polled, write_polled};

/* ---- a stream ---- */

static bool is_socket(const struct way *way)
{
    return way == &way_unix || way == &way_socket;
}

static ssize_t failed(ssize_t error)
{
    errno = (int)-error;
    return telex_socket_failed();
}

static ssize_t fd_read(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    struct fd_bytes *self = of(bytes);
    if (number(&self->in) < 0)
        return 0; /* nothing ever comes */
    ssize_t got = self->in.way->read(self, parts, part_count, fds, count);
    if (got == -EOPNOTSUPP && self->in.way == &way_nowait) { /* a FIFO by name is not asked the same as a pipe, on some kernels */
        self->in.way = &way_polled;
        got = self->in.way->read(self, parts, part_count, fds, count);
    }
    if (got > 0) {
        dismiss(&self->in);
        dismiss(&self->out);
    }
    if (got >= 0 || got == -EAGAIN || is_socket(self->in.way))
        return got;
    if (got == -EINTR) /* of a read that should not have waited */
        return -EAGAIN;
    return got == -EIO && isatty(number(&self->in)) ? 0 : failed(got); /* the other end of the terminal is closed */
}

static ssize_t fd_doze(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    struct pollfd poll = {.fd = number(&of(bytes)->in), .events = POLLIN};
    int r = bytes->always_readable || poll.fd < 0 ? 1 : telex_poll(&poll, 1, telex_clock() + TELEX_BYTES_DOZE_NS);
    return r > 0 ? fd_read(bytes, parts, part_count, fds, count) : r == -EINTR ? r : -EAGAIN;
}

static ssize_t fd_write(struct telex_bytes *bytes, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    struct fd_bytes *self = of(bytes);
    if (number(&self->out) < 0)
        return telex_say(-EPIPE, "nothing can be written: the address names no descriptor to write to (fd:IN,OUT)");
    ssize_t sent = self->out.way->write(self, parts, part_count, fds, fd_count);
    if (sent == -EOPNOTSUPP && self->out.way == &way_nowait) {
        self->out.way = &way_polled;
        sent = self->out.way->write(self, parts, part_count, fds, fd_count);
    }
    if (sent == -EINTR)
        sent = -EAGAIN;
    self->out.waited |= sent == -EAGAIN;
    return sent >= 0 || sent == -EAGAIN || is_socket(self->out.way) ? sent : failed(sent);
}

static int64_t unread(int fd)
{
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) < 0 ? -errno : bytes;
}

static int64_t fd_unsent(struct telex_bytes *bytes)
{
    struct fd_bytes *self = of(bytes);
    if (number(&self->out) >= 0 && is_socket(self->out.way))
        return telex_socket_unsent(number(&self->out));
    if (!self->is_pipe)
        return 0; /* files and terminals have it */
    if (self->lost)
        return -ECONNRESET;
    int fd = number(&self->out) >= 0 ? number(&self->out) : self->observer;
    int64_t left = fd < 0 ? 0 : unread(fd);
    struct pollfd poll = {.fd = number(&self->out)};
    return left > 0 && telex_poll(&poll, 1, TELEX_NOW) > 0 && (poll.revents & POLLERR) ? -ECONNRESET : left;
}

/*
 * A pipe ends with its last writer. What still lies unread in it is then to be seen from the other end only. A descriptor that somebody may watch by epoll
 * and that shares its open file is not closed before the stream is: epoll would go on telling of that file, for a channel that may be gone.
 */
static int fd_end(struct telex_bytes *bytes)
{
    struct fd_bytes *self = of(bytes);
    if (number(&self->out) < 0)
        return 0;
    if (is_socket(self->out.way))
        return telex_socket_end(number(&self->out));
    if (!self->is_pipe || number(&self->out) == number(&self->in) || (self->out.waited && self->out.way != &way_plain))
        return 0;
    if (number(&self->in) < 0 && atomic_load_explicit(&self->out.keeper, memory_order_relaxed) >= 0)
        return 0; /* who will read it may come yet, and would find no writer; no answer waits for the end */
    int64_t left = fd_unsent(bytes);
    self->lost = left == -ECONNRESET;
    self->observer = left > 0 ? telex_reopen(number(&self->out), O_RDONLY) : -1;
    dismiss(&self->out);
    telex_shut(number(&self->out));
    atomic_store_explicit(&self->out.fd, -1, memory_order_relaxed);
    return 0;
}

static int fd_descriptor(struct telex_bytes *bytes)
{
    return number(&of(bytes)->in);
}

static int fd_outlet(struct telex_bytes *bytes)
{
    return number(&of(bytes)->out);
}

static void fd_peer(struct telex_bytes *bytes, struct telex_medium_peer *ret_peer)
{
    struct fd_bytes *self = of(bytes);
    struct fd_end *end = number(&self->in) >= 0 ? &self->in : &self->out;
    *ret_peer = (struct telex_medium_peer){.pid = -1, .uid = -1, .gid = -1};
    if (end->way == &way_unix)
        telex_unix_peer(number(end), ret_peer);
}

static void fd_close(struct telex_bytes *bytes)
{
    struct fd_bytes *self = of(bytes);
    telex_shut(self->observer);
    dismiss(&self->in);
    dismiss(&self->out);
    if (number(&self->out) != number(&self->in))
        telex_shut(number(&self->out));
    telex_shut(number(&self->in));
    free(self);
}

static const struct telex_bytes_ops bytes_ops = {
    .read = fd_read,
    .doze = fd_doze,
    .write = fd_write,
    .end = fd_end,
    .unsent = fd_unsent,
    .descriptor = fd_descriptor,
    .outlet = fd_outlet,
    .peer = fd_peer,
    .close = fd_close,
};

int telex_fd_over(int in, int out, struct telex_bytes **ret_bytes)
{
    struct fd_bytes *self = malloc(sizeof *self);
    if (self == NULL) {
        telex_shut(in);
        telex_shut(out);
        return telex_say(-ENOMEM, "out of memory");
    }
    *self = (struct fd_bytes){
        .base = {.ops = &bytes_ops, .delivered_when_written = true},
        .in = {in, &way_plain, false, -1},
        .out = {out, &way_plain, false, -1},
        .observer = -1,
        .is_pipe = true,
    };
    *ret_bytes = &self->base;
    return 0;
}

/* ---- what a number stands for ---- */

struct found { /* about one number of an address */
    int number, access; /* -1: none; O_RDONLY, O_WRONLY, O_RDWR: what it must be able to do */
    mode_t type;        /* S_IFMT of it */
    int domain;         /* of a socket */
    bool never_waits, both_ways;
    dev_t device;
    ino_t inode;
};

/* Files, and devices such as /dev/null, that epoll refuses to watch. */
static bool never_waits(int fd, mode_t type)
{
    if (!S_ISCHR(type))
        return S_ISREG(type) || S_ISBLK(type);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    bool refused = epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EPERM;
    if (epoll >= 0)
        close(epoll);
    return refused;
}

static int check_socket(struct found *found)
{
    int type = 0, listens = 0;
    socklen_t length = sizeof type;
    if (getsockopt(found->number, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
        return telex_say(-errno, "descriptor %d: %m", found->number);
    if (type != SOCK_STREAM)
        return telex_say(-EINVAL, "descriptor %d is a socket, but no stream: datagrams have bounds of their own, which a wire does not know", found->number);
    length = sizeof listens;
    getsockopt(found->number, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length);
    if (listens)
        return telex_say(-EINVAL, "descriptor %d is a listening socket: it brings connections, and is none", found->number);
    struct sockaddr_storage name;
    length = sizeof name;
    if (getpeername(found->number, (struct sockaddr *)&name, &length) < 0 && errno == ENOTCONN)
        return telex_say(-EINVAL, "descriptor %d is a socket that is not connected", found->number);
    length = sizeof found->domain;
    getsockopt(found->number, SOL_SOCKET, SO_DOMAIN, &found->domain, &length);
    return 0;
}

static int check(struct found *found)
{
    int flags = fcntl(found->number, F_GETFL);
    struct stat facts;
    if (flags < 0 || fstat(found->number, &facts) < 0)
        return telex_say(-EBADF, "descriptor %d is not open in this process", found->number);
    if (telex_owns(found->number))
        return telex_say(-EBADF, "descriptor %d is telex's own: it belongs to a channel or a listener already", found->number);
    int can = flags & O_ACCMODE;
    bool reads = found->access != O_WRONLY, writes = found->access != O_RDONLY;
    if ((flags & O_PATH) || (reads && can == O_WRONLY))
        return telex_say(-EINVAL, "descriptor %d is not open for reading: are IN and OUT of fd:IN,OUT the right way round?", found->number);
    if (writes && can == O_RDONLY)
        return telex_say(-EINVAL, "descriptor %d is not open for writing: are IN and OUT of fd:IN,OUT the right way round?", found->number);
    found->type = facts.st_mode & S_IFMT;
    found->both_ways = can == O_RDWR && found->access != O_RDWR && S_ISFIFO(facts.st_mode) && found->number > STDERR_FILENO;
    found->device = facts.st_dev;
    found->inode = facts.st_ino;
    found->never_waits = never_waits(found->number, found->type);
    if (S_ISSOCK(facts.st_mode))
        return check_socket(found);
    if (found->type == 0 || S_ISDIR(facts.st_mode))
        return telex_say(-EINVAL, "descriptor %d is %s: bytes cannot be streamed through it", found->number,
                         S_ISDIR(facts.st_mode) ? "a directory" : "an event, timer or epoll descriptor, or another of the kernel's own kinds");
    return 0;
}

static int duplicate(const struct found *found)
{
    int fd = fcntl(found->number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return telex_own(fd < 0 ? -errno : fd);
}

/*
 * An owned descriptor for what `found` stands for, and how to read and write it. One of a FIFO that goes one way only would show the end, and
 * be unwritable, while the peer has not come; whoever opened it both ways (`4<>there` in a shell) means to wait for that.
 */
static int take(const struct found *found, struct fd_end *ret_end)
{
    int fd = -ENODEV, keeper = -1;
    const struct way *way = &way_plain;
    if (S_ISSOCK(found->type))
        way = found->domain == AF_UNIX ? &way_unix : &way_socket;
    else if (!found->never_waits) {
        fd = telex_reopen(found->number, found->access);
        if (fd < 0)
            way = S_ISFIFO(found->type) && telex_skilled(TELEX_SKILL_NOWAIT) ? &way_nowait : &way_polled;
    }
    if (fd >= 0 && found->both_ways) {
        keeper = duplicate(found);
        if (keeper < 0)
            telex_shut(fd);
        fd = keeper < 0 ? keeper : fd;
    } else if (fd < 0) {
        fd = duplicate(found);
    }
    if (fd < 0)
        return telex_say(fd, "descriptor %d cannot be duplicated: %s", found->number, strerror(-fd));
    *ret_end = (struct fd_end){fd, way, false, keeper};
    return 0;
}

/* Both ends, duplicated or opened anew. On failure nothing has changed. */
static int take_both(const struct found *in, const struct found *out, struct fd_bytes *self)
{
    int r = in->number >= 0 ? take(in, &self->in) : 0;
    if (r == 0 && out->number == in->number)
        self->out = self->in;
    else if (r == 0 && out->number >= 0)
        r = take(out, &self->out);
    if (r < 0) {
        telex_shut(number(&self->in));
        dismiss(&self->in);
    }
    return r;
}

static void give_up(int number)
{
    if (number > STDERR_FILENO)
        close(number);
}

static int open_stream(const struct telex_address *address, int in_number, int out_number, struct telex_bytes **ret_bytes)
{
    bool same = in_number == out_number;
    struct found in = {.number = in_number, .access = same ? O_RDWR : O_RDONLY}, out = {.number = out_number, .access = O_WRONLY};
    if ((in_number < 0 || out_number < 0) && (address->settings.wire->can & TELEX_CAN_GREET))
        return telex_say(-EINVAL, "wire=%s speaks in both directions, so it wants two descriptors; wire=lines and raw go with one", address->settings.wire->name);
    int r = in_number >= 0 ? check(&in) : 0;
    if (r == 0 && same)
        out = in;
    else if (r == 0 && out_number >= 0)
        r = check(&out);
    if (r < 0)
        return r;
    struct fd_bytes *self = malloc(sizeof *self);
    if (self == NULL)
        return telex_say(-ENOMEM, "out of memory");
    bool one_socket = in.number >= 0 && out.number >= 0 && in.domain == AF_UNIX && S_ISSOCK(in.type) && in.device == out.device && in.inode == out.inode;
    *self = (struct fd_bytes){
        .base = {.ops = &bytes_ops,
                 .carries_descriptors = one_socket,
                 .always_readable = in.number >= 0 && in.never_waits,
                 .delivered_when_written = !S_ISSOCK(out.type) || out.domain == AF_UNIX},
        .in = {.fd = -1, .keeper = -1},
        .out = {.fd = -1, .keeper = -1},
        .observer = -1,
        .is_pipe = S_ISFIFO(out.type),
        .takes_descriptors = one_socket && address->settings.descriptors > 0,
    };
    r = take_both(&in, &out, self);
    if (r < 0) {
        free(self);
        return r;
    }
    give_up(in_number);
    if (!same)
        give_up(out_number);
    *ret_bytes = &self->base;
    return 0;
}

/* ---- dialing and listening ---- */

static int fd_dial(const struct telex_address *address, int64_t deadline, struct telex_bytes **ret_bytes)
{
    (void)deadline;
    int in, out;
    int r = telex_address_descriptors(address->where, &in, &out);
    return r < 0 ? r : open_stream(address, in, out, ret_bytes);
}

static int stdio_dial(const struct telex_address *address, int64_t deadline, struct telex_bytes **ret_bytes)
{
    (void)deadline;
    if (address->where[0] != '\0')
        return telex_say(-EINVAL, "\"stdio:%.100s\": nothing but options follows the colon; other descriptors are fd:IN,OUT", address->where);
    return open_stream(address, STDIN_FILENO, STDOUT_FILENO, ret_bytes);
}

/* The passive side: its one channel is there from the beginning, and nobody else ever comes. */
struct fd_port {
    struct telex_bytes_port base;
    struct telex_bytes *bytes; /* NULL: handed out */
    int bell;                  /* readable until then */
    char address[64];
};

static struct fd_port *port_of(struct telex_bytes_port *port)
{
    return (struct fd_port *)port;
}

static int fd_accept(struct telex_bytes_port *port, struct telex_bytes **ret_bytes)
{
    struct fd_port *self = port_of(port);
    if (self->bytes == NULL)
        return -EAGAIN;
    *ret_bytes = self->bytes;
    self->bytes = NULL;
    telex_event_clear(self->bell);
    return 0;
}

static int fd_port_descriptor(struct telex_bytes_port *port)
{
    return port_of(port)->bell;
}

static const char *fd_address(struct telex_bytes_port *port)
{
    return port_of(port)->address;
}

static void fd_port_close(struct telex_bytes_port *port)
{
    struct fd_port *self = port_of(port);
    if (self->bytes != NULL)
        fd_close(self->bytes);
    telex_shut(self->bell);
    free(self);
}

static const struct telex_bytes_port_ops port_ops = {
    .accept = fd_accept,
    .descriptor = fd_port_descriptor,
    .address = fd_address,
    .close = fd_port_close,
};

static int listen_by(const struct telex_address *address, int (*dial)(const struct telex_address *, int64_t, struct telex_bytes **), struct telex_bytes_port **ret_port)
{
    struct fd_port *self = calloc(1, sizeof *self);
    if (self == NULL)
        return telex_say(-ENOMEM, "out of memory");
    self->base = (struct telex_bytes_port){.ops = &port_ops, .single = true};
    telex_address_write(address->scheme, address->where, self->address, sizeof self->address);
    int r = self->bell = telex_event_new(); /* first: what it is about changes hands last */
    r = r < 0 ? telex_say(r, "no descriptor to wait on: %s", strerror(-r)) : dial(address, TELEX_NOW, &self->bytes);
    if (r < 0) {
        telex_shut(self->bell);
        free(self);
        return r;
    }
    telex_event_ring(self->bell);
    *ret_port = &self->base;
    return 0;
}

static int fd_listen(const struct telex_address *address, struct telex_bytes_port **ret_port)
{
    return listen_by(address, fd_dial, ret_port);
}

static int stdio_listen(const struct telex_address *address, struct telex_bytes_port **ret_port)
{
    return listen_by(address, stdio_dial, ret_port);
}

const struct telex_bytes_medium telex_bytes_fd = {.dial = fd_dial, .listen = fd_listen};
const struct telex_bytes_medium telex_bytes_stdio = {.dial = stdio_dial, .listen = stdio_listen};
