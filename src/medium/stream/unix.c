/* SPDX-License-Identifier: MIT */
/*
 * Unix sockets: unix:///PATH and unix://@NAME (abstract). A path that a dead process left refuses connections; it is replaced,
 * under the runtime directory's lock, so that of two that start at the same time one finds the other alive.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/reason.h"
#include "medium/stream/bytes.h"
#include "medium/stream/sockets.h"
#include "medium/stream/unix.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/runtime.h"

enum {
    MS = 1000000,
    LONGEST_PAUSE = 20 * MS, /* between tries at a listener whose queue is full */
    STALE_TRIES = 3,         /* at a path that others replace at the same time without the lock */
};

struct unix_bytes {
    struct telex_bytes base;
    int fd;
    bool takes_descriptors;
};

struct unix_port {
    struct telex_bytes_port base;
    int fd;
    bool takes_descriptors;
    unsigned generation; /* a forked child does not remove its parent's path */
    dev_t device;
    ino_t inode; /* 0: abstract */
    char path[sizeof(struct sockaddr_un)];
    char address[512];
};

/* ---- names ---- */

static int name_of(const char *scheme, const char *where, struct sockaddr_un *ret_name, socklen_t *ret_length)
{
    size_t length = strlen(where);
    *ret_name = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (where[0] != '/' && where[0] != '@')
        return telex_say(
            -EINVAL,
            "\"%s://%.100s\": it wants a path from the root (three slashes: unix:///tmp/name) or unix://@NAME",
            scheme, where);
    if (length == 1)
        return telex_say(-EINVAL, "\"%s://%s\": the name is empty", scheme, where);
    if (length >= sizeof ret_name->sun_path)
        return telex_say(
            -EINVAL, "\"%s://%.40s...\" has %zu bytes after the two slashes; a Unix socket's name has at most %zu", scheme,
            where, length, sizeof ret_name->sun_path - 1);
    memcpy(ret_name->sun_path, where, length);
    bool abstract = where[0] == '@';
    if (abstract)
        ret_name->sun_path[0] = '\0';
    *ret_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract);
    return 0;
}

/* ---- a stream ---- */

static struct unix_bytes *of(struct telex_bytes *bytes)
{
    return (struct unix_bytes *)bytes;
}

union control { /* room for the descriptors of one message */
    struct cmsghdr align;
    char bytes[CMSG_SPACE(TELEX_BYTES_DESCRIPTORS * sizeof(int))];
};

/* Appends the descriptors that came with `message` to fds. -EMFILE, and none are kept, if there were more than fitted or could be opened. */
static int take_descriptors(struct msghdr *message, int *fds, unsigned *count)
{
    unsigned before = *count;
    int error = (message->msg_flags & MSG_CTRUNC) != 0 ? -EMFILE : 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t number = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < number; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            fd = telex_own(fd);
            if (fd >= 0)
                fds[(*count)++] = fd;
            else
                error = fd;
        }
    }
    if (error == 0)
        return 0;
    while (*count > before)
        telex_shut(fds[--*count]);
    return telex_say(error,
                     "descriptors that came with a message were lost: more than %d at a time, or this process has too "
                     "many open (ulimit -n)",
                     TELEX_BYTES_DESCRIPTORS);
}

ssize_t telex_unix_read(int fd, const struct iovec *parts, int part_count, int *fds, unsigned *count, int flags)
{
    if (fds == NULL)
        return telex_socket_read(fd, parts, part_count, flags); /* without room for them the kernel closes any that came */
    union control control;
    struct msghdr message = {.msg_iov = (struct iovec *)parts,
                             .msg_iovlen = (size_t)part_count,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return telex_socket_failed();
    if (message.msg_controllen == 0 && (message.msg_flags & MSG_CTRUNC) == 0)
        return got;
    int error = take_descriptors(&message, fds, count);
    return error < 0 ? error : got;
}

static ssize_t unix_read(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds,
                         unsigned *count)
{
    struct unix_bytes *self = of(bytes);
    return telex_unix_read(self->fd, parts, part_count, self->takes_descriptors ? fds : NULL, count, MSG_DONTWAIT);
}

static ssize_t unix_doze(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds,
                         unsigned *count)
{
    struct unix_bytes *self = of(bytes);
    return telex_unix_read(self->fd, parts, part_count, self->takes_descriptors ? fds : NULL, count, 0);
}

ssize_t telex_unix_write(int fd, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    if (fd_count == 0)
        return telex_socket_write(fd, parts, part_count, NULL, 0);
    if (fd_count > TELEX_BYTES_DESCRIPTORS)
        return telex_say(-EINVAL, "%u descriptors in one message; at most %d are possible", fd_count,
                         TELEX_BYTES_DESCRIPTORS);
    union control control = {
        .align = {.cmsg_len = CMSG_LEN(fd_count * sizeof *fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.align), fds, fd_count * sizeof *fds);
    return telex_socket_write(fd, parts, part_count, control.bytes, CMSG_SPACE(fd_count * sizeof *fds));
}

static ssize_t unix_write(struct telex_bytes *bytes, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    return telex_unix_write(of(bytes)->fd, parts, part_count, fds, fd_count);
}

static int unix_end(struct telex_bytes *bytes)
{
    return telex_socket_end(of(bytes)->fd);
}

static int64_t unix_unsent(struct telex_bytes *bytes)
{
    return telex_socket_unsent(of(bytes)->fd);
}

static int unix_descriptor(struct telex_bytes *bytes)
{
    return of(bytes)->fd;
}

void telex_unix_peer(int fd, struct telex_medium_peer *ret_peer)
{
    struct ucred user;
    socklen_t length = sizeof user;
    *ret_peer = (struct telex_medium_peer){.pid = -1, .uid = -1, .gid = -1};
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &length) == 0) {
        ret_peer->pid = user.pid > 0 ? user.pid : -1; /* 0: it lives in a pid namespace that we cannot see */
        ret_peer->uid = user.uid;
        ret_peer->gid = user.gid;
    }
    struct sockaddr_un name;
    length = sizeof name;
    if (getpeername(fd, (struct sockaddr *)&name, &length) < 0 || length <= offsetof(struct sockaddr_un, sun_path))
        return;
    size_t size = length - offsetof(struct sockaddr_un, sun_path);
    if (size > sizeof name.sun_path)
        size = sizeof name.sun_path;
    if (name.sun_path[0] == '\0')
        snprintf(ret_peer->address, sizeof ret_peer->address, "@%.*s", (int)size - 1, name.sun_path + 1);
    else
        snprintf(ret_peer->address, sizeof ret_peer->address, "%.*s", (int)size, name.sun_path);
}

static void unix_peer(struct telex_bytes *bytes, struct telex_medium_peer *ret_peer)
{
    telex_unix_peer(of(bytes)->fd, ret_peer);
}

static void unix_close(struct telex_bytes *bytes)
{
    telex_shut(of(bytes)->fd);
    free(bytes);
}

static const struct telex_bytes_ops bytes_ops = {
    .read = unix_read,
    .doze = unix_doze,
    .write = unix_write,
    .end = unix_end,
    .unsent = unix_unsent,
    .descriptor = unix_descriptor,
    .peer = unix_peer,
    .close = unix_close,
};

int telex_unix_over(int fd, bool takes_descriptors, struct telex_bytes **ret_bytes)
{
    struct unix_bytes *self = malloc(sizeof *self);
    int error = self == NULL ? telex_say(-ENOMEM, "out of memory") : telex_socket_make_dozing(fd);
    if (error < 0) {
        telex_shut(fd);
        free(self);
        return error;
    }
    *self =
        (struct unix_bytes){.base = {.ops = &bytes_ops, .carries_descriptors = true, .delivered_when_written = true},
                            .fd = fd,
                            .takes_descriptors = takes_descriptors};
    *ret_bytes = &self->base;
    return 0;
}

/* ---- dialing ---- */

static int explain(int error, const struct telex_address *address)
{
    static const struct {
        int error;
        const char *sentence;
    } known[] = {
        {ECONNREFUSED, "nobody listens there"},
        {ENOENT, "there is no such path: nobody listens there"},
        {ENOTDIR, "a part of the path is no directory"},
        {EACCES, "permission denied: the listener's mode= says who may come"},
        {EPROTOTYPE, "somebody listens there, but not with a stream socket"},
        {EAGAIN, "the listener's queue is full"},
        {ETIMEDOUT, "the listener's queue stayed full until the deadline"},
        {EINTR, "interrupted"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].error == -error)
            return telex_say(error, "%s://%s: %s", address->scheme, address->where, known[i].sentence);
    return telex_say(error, "%s://%s: %s", address->scheme, address->where, strerror(-error));
}

/* A full queue is -EAGAIN at once, and poll cannot wait for it: so this asks again, after pauses that grow. */
static int connect_until(int fd, const struct sockaddr_un *name, socklen_t length, int64_t deadline)
{
    for (int64_t pause = MS;; pause = 2 * pause < LONGEST_PAUSE ? 2 * pause : LONGEST_PAUSE) {
        if (connect(fd, (const struct sockaddr *)name, length) == 0)
            return 0;
        if (errno != EAGAIN)
            return -errno;
        if (deadline <= 0)
            return -EAGAIN;
        int64_t now = telex_clock();
        if (now >= deadline)
            return -ETIMEDOUT;
        int error = telex_poll(NULL, 0, deadline - now < pause ? deadline : now + pause);
        if (error < 0)
            return error;
    }
}

int telex_unix_dial(const struct telex_address *address, const char *where, bool takes_descriptors, int64_t deadline, struct telex_bytes **ret_bytes)
{
    struct sockaddr_un name;
    socklen_t length;
    int error = name_of(address->scheme, where, &name, &length);
    if (error < 0)
        return error;
    int fd = telex_socket_new(AF_UNIX);
    if (fd < 0)
        return fd;
    error = connect_until(fd, &name, length, deadline);
    if (error < 0) {
        telex_shut(fd);
        return explain(error, address);
    }
    return telex_unix_over(fd, takes_descriptors, ret_bytes);
}

static int unix_dial(const struct telex_address *address, int64_t deadline, struct telex_bytes **ret_bytes)
{
    return telex_unix_dial(address, address->where, address->settings.descriptors > 0, deadline, ret_bytes);
}

/* ---- listening ---- */

static struct unix_port *port_of(struct telex_bytes_port *port)
{
    return (struct unix_port *)port;
}

static int unix_accept(struct telex_bytes_port *port, struct telex_bytes **ret_bytes)
{
    int fd = telex_socket_accept(port_of(port)->fd);
    return fd < 0 ? fd : telex_unix_over(fd, port_of(port)->takes_descriptors, ret_bytes);
}

static int unix_port_descriptor(struct telex_bytes_port *port)
{
    return port_of(port)->fd;
}

static const char *unix_address(struct telex_bytes_port *port)
{
    return port_of(port)->address;
}

static void unix_port_close(struct telex_bytes_port *port)
{
    struct unix_port *self = port_of(port);
    if (self->inode != 0 && self->generation == telex_generation()) {
        int lock = telex_runtime_lock();
        struct stat facts;
        /* The inode's number cannot have been given to another file: our socket still holds it. */
        if (lstat(self->path, &facts) == 0 && facts.st_dev == self->device && facts.st_ino == self->inode)
            unlink(self->path);
        telex_shut(self->fd); /* under the lock: whoever gets it next finds neither path nor listener */
        telex_shut(lock);
    } else {
        telex_shut(self->fd);
    }
    free(self);
}

static const struct telex_bytes_port_ops port_ops = {
    .accept = unix_accept,
    .descriptor = unix_port_descriptor,
    .address = unix_address,
    .close = unix_port_close,
};

/* Removes the path if a dead process left it: 0, or -EADDRINUSE with a sentence. */
static int remove_stale(const struct telex_address *address, const struct sockaddr_un *name, socklen_t length)
{
    const char *path = name->sun_path;
    struct stat facts;
    if (lstat(path, &facts) < 0)
        return errno == ENOENT ? 0 : telex_say(-EADDRINUSE, "%s://%s: %m", address->scheme, address->where);
    if (!S_ISSOCK(facts.st_mode))
        return telex_say(-EADDRINUSE,
                         "%s://%s: there is a file of that name that is no socket; telex does not remove it", address->scheme, address->where);
    int fd = telex_socket_new(AF_UNIX);
    if (fd < 0)
        return fd;
    int error = connect(fd, (const struct sockaddr *)name, length) < 0 ? errno : 0;
    telex_shut(fd);
    if (error == ENOENT)
        return 0;
    if (error == EACCES || error == EPERM)
        return telex_say(-EADDRINUSE, "%s://%s: there is a socket of another user", address->scheme, address->where);
    if (error != ECONNREFUSED)
        return telex_say(-EADDRINUSE, "%s://%s: somebody listens there (telex list tells who); choose another path", address->scheme, address->where);
    if (unlink(path) < 0 && errno != ENOENT)
        return telex_say(-EADDRINUSE, "%s://%s: a dead process left it, and it cannot be removed: %m", address->scheme, address->where);
    return 0;
}

static int bind_path(int fd, const struct telex_address *address, const struct sockaddr_un *name, socklen_t length)
{
    int error = -EADDRINUSE;
    for (int i = 0; i < STALE_TRIES && error == -EADDRINUSE; i++) {
        if (bind(fd, (const struct sockaddr *)name, length) == 0)
            return 0;
        error = -errno;
        if (error == -EADDRINUSE) {
            int stale = remove_stale(address, name, length);
            if (stale < 0)
                return stale;
        }
    }
    return telex_say(error, "%s://%s: %s", address->scheme, address->where,
                     error == -ENOENT ? "its directory does not exist: make it first" : strerror(-error));
}

/* Nobody can connect before listen(2), so the mode is right before the first peer comes. */
static int listen_path(struct unix_port *self, const struct telex_address *address, const struct sockaddr_un *name, socklen_t length)
{
    int error = bind_path(self->fd, address, name, length);
    if (error < 0)
        return error;
    struct stat facts;
    if (fchmodat(AT_FDCWD, name->sun_path, (mode_t)address->settings.mode, AT_SYMLINK_NOFOLLOW) < 0 ||
        lstat(name->sun_path, &facts) < 0 || listen(self->fd, SOMAXCONN) < 0) {
        error = telex_say(-errno, "%s://%s: %m", address->scheme, address->where);
        unlink(name->sun_path);
        return error;
    }
    self->device = facts.st_dev;
    self->inode = facts.st_ino;
    self->generation = telex_generation();
    memcpy(self->path, name->sun_path, sizeof name->sun_path);
    return 0;
}

static int listen_at(struct unix_port *self, const struct telex_address *address, const char *where)
{
    struct sockaddr_un name;
    socklen_t length;
    int error = name_of(address->scheme, where, &name, &length);
    if (error < 0)
        return error;
    if (where[0] == '@') {
        if (bind(self->fd, (struct sockaddr *)&name, length) == 0 && listen(self->fd, SOMAXCONN) == 0)
            return 0;
        error = errno == EADDRINUSE ? telex_say(-EADDRINUSE, "%s://%s: somebody listens there (telex list tells who); choose another name", address->scheme, address->where)
                                    : telex_say(-errno, "%s://%s: %m", address->scheme, address->where);
        return error;
    }
    int lock = telex_runtime_lock(); /* without a runtime directory it goes on unlocked: nothing else needs one here */
    error = listen_path(self, address, &name, length);
    telex_shut(lock);
    return error;
}

int telex_unix_listen(const struct telex_address *address, const char *where, bool takes_descriptors, struct telex_bytes_port **ret_port)
{
    struct unix_port *self = calloc(1, sizeof *self);
    if (self == NULL)
        return telex_say(-ENOMEM, "out of memory");
    self->base.ops = &port_ops;
    self->takes_descriptors = takes_descriptors;
    telex_address_write(address->scheme, address->where, self->address, sizeof self->address);
    int error = self->fd = telex_socket_new(AF_UNIX);
    if (error >= 0)
        error = listen_at(self, address, where);
    if (error < 0) {
        telex_shut(self->fd);
        free(self);
        return error;
    }
    *ret_port = &self->base;
    return 0;
}

static int unix_listen(const struct telex_address *address, struct telex_bytes_port **ret_port)
{
    return telex_unix_listen(address, address->where, address->settings.descriptors > 0, ret_port);
}

const struct telex_bytes_medium telex_bytes_unix = {.dial = unix_dial, .listen = unix_listen};
