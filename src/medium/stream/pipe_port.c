/* SPDX-License-Identifier: MIT */
/*
 * Listening at pipe:///PATH. The FIFO there is proof of life: it can be opened for writing only while somebody has it open for reading, so a
 * path that a dead process left refuses, and is replaced. The listener has it open both ways, so that it never ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/reason.h"
#include "medium/stream/pipe.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/runtime.h"

enum {
    STALE_TRIES = 3,       /* at a path that others replace at the same time without the lock */
    HELLOS_AT_A_TIME = 256, /* looked at in one accept, garbage included: a flood of them keeps nobody else waiting for long */
    YOUNG = 1,             /* s: what was made so lately may belong to a client that has not opened it yet */
};

static const int64_t sweep_every = INT64_C(10000000000); /* ns */

struct pipe_port {
    struct telex_bytes_port base;
    struct telex_fifos fifos;
    int fd;
    unsigned generation; /* a forked child does not remove its parent's path */
    dev_t device;
    ino_t inode;
    int64_t swept;       /* when what killed clients left was last looked for */
    size_t have;
    char hello[TELEX_HELLO_SIZE]; /* what was read of the next one: never more, so that the FIFO stays readable while a whole one waits */
    char address[TELEX_ADDRESS_MAX];
};

static struct pipe_port *port_of(struct telex_bytes_port *port)
{
    return (struct pipe_port *)port;
}

static int own(int fd)
{
    return telex_own(fd < 0 ? -errno : fd);
}

/* ---- accepting ---- */

/* 0: a whole hello lies there; -EAGAIN: more has to come; 1: go on. */
static int read_hello(struct pipe_port *self)
{
    if (self->have < sizeof self->hello) {
        ssize_t got = read(self->fd, self->hello + self->have, sizeof self->hello - self->have);
        if (got <= 0)
            return -EAGAIN;
        self->have += (size_t)got;
    }
    size_t skipped = telex_hello_skip(self->hello, self->have);
    self->have -= skipped;
    memmove(self->hello, self->hello + skipped, self->have);
    return self->have == sizeof self->hello ? 0 : 1;
}

/*
 * Up first, then down: if that has a reader, the client lived when both were open here. Up is opened for writing besides, and closed again: where the client has
 * ended its direction already, poll(2) would else say nothing of that, as of a FIFO whose first writer is yet to come.
 */
static int open_ends(const struct telex_fifos *fifos, const char *up, const char *down, struct telex_pipe_ends *ret_ends)
{
    struct stat above, below;
    int in = telex_fifo_open_private(fifos, up, O_RDONLY, &above);
    if (in < 0)
        return in;
    int touched = telex_fifo_open_private(fifos, up, O_WRONLY, &above);
    telex_shut(touched);
    int out = touched < 0 ? touched : telex_fifo_open_private(fifos, down, O_WRONLY, &below);
    if (out >= 0 && above.st_uid != below.st_uid) {
        telex_shut(out);
        out = -EPERM;
    }
    if (out < 0) {
        telex_shut(in);
        return out;
    }
    telex_fifo_sign(out);
    *ret_ends = (struct telex_pipe_ends){.in = in, .out = out, .pid = telex_fifo_writer(in), .uid = above.st_uid, .gid = above.st_gid};
    return 0;
}

static bool is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

/* 0, a shortage of this process, or an error that is the client's. The names are removed once all is open: it sees that. */
static int attach(struct pipe_port *self, struct telex_bytes **ret_bytes)
{
    char token[TELEX_HELLO_TOKEN + 1], up[NAME_MAX + 1], down[NAME_MAX + 1];
    telex_hello_token(self->hello, token);
    telex_fifo_name(&self->fifos, token, TELEX_FIFO_UP, up);
    telex_fifo_name(&self->fifos, token, TELEX_FIFO_DOWN, down);
    struct telex_pipe_ends ends;
    int r = open_ends(&self->fifos, up, down, &ends);
    if (is_shortage(r))
        return telex_say(r, "a peer waits to be accepted: %s", strerror(-r));
    if (r == 0 || r == -ENXIO) { /* ENXIO: both are private FIFOs, and nobody reads: the client has died */
        telex_fifo_remove(&self->fifos, token, TELEX_FIFO_UP);
        telex_fifo_remove(&self->fifos, token, TELEX_FIFO_DOWN);
    }
    return r < 0 ? r : telex_pipe_new(&ends, ret_bytes);
}

/* A hello that cannot be served now goes back into the FIFO, which then is readable; where there is no room for it, it is so anyway. */
static void give_back(struct pipe_port *self)
{
    if (write(self->fd, self->hello, sizeof self->hello) == (ssize_t)sizeof self->hello)
        self->have = 0;
}

static void sweep_now_and_then(struct pipe_port *self)
{
    int64_t now = telex_clock();
    if (now - self->swept < sweep_every)
        return;
    self->swept = now;
    telex_fifos_sweep(&self->fifos, YOUNG);
}

static int pipe_accept(struct telex_bytes_port *port, struct telex_bytes **ret_bytes)
{
    struct pipe_port *self = port_of(port);
    sweep_now_and_then(self);
    for (int i = 0; i < HELLOS_AT_A_TIME; i++) {
        int r = read_hello(self);
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        r = attach(self, ret_bytes);
        if (is_shortage(r)) {
            give_back(self);
            return r;
        }
        self->have = 0;
        if (r == 0)
            return 0;
    }
    return -EAGAIN;
}

static int pipe_port_descriptor(struct telex_bytes_port *port)
{
    return port_of(port)->fd;
}

static const char *pipe_address(struct telex_bytes_port *port)
{
    return port_of(port)->address;
}

/* Clients that wait to be accepted see that nobody reads the FIFO any more, and remove their own. */
static void pipe_port_close(struct telex_bytes_port *port)
{
    struct pipe_port *self = port_of(port);
    if (self->inode != 0 && self->generation == telex_generation()) {
        int lock = telex_runtime_lock();
        struct stat facts;
        /* The inode's number cannot have been given to another file: this process still has it open. */
        if (fstatat(self->fifos.directory, self->fifos.name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && facts.st_dev == self->device && facts.st_ino == self->inode)
            unlinkat(self->fifos.directory, self->fifos.name, 0);
        telex_shut(self->fd); /* under the lock: whoever gets it next finds neither path nor listener */
        telex_shut(lock);
        telex_fifos_sweep(&self->fifos, 0);
    } else {
        telex_shut(self->fd);
    }
    telex_fifos_close(&self->fifos);
    free(self);
}

static const struct telex_bytes_port_ops port_ops = {
    .accept = pipe_accept,
    .descriptor = pipe_port_descriptor,
    .address = pipe_address,
    .close = pipe_port_close,
};

/* ---- listening ---- */

/* Removes the path if a dead process left it: 0, or -EADDRINUSE with a sentence. */
static int remove_stale(const struct telex_address *address, const struct telex_fifos *fifos)
{
    struct stat facts;
    if (fstatat(fifos->directory, fifos->name, &facts, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : telex_say(-EADDRINUSE, "pipe://%s: %m", address->where);
    if (!S_ISFIFO(facts.st_mode))
        return telex_say(-EADDRINUSE, "pipe://%s: there is a file of that name that is no FIFO; telex does not remove it", address->where);
    int fd = own(openat(fifos->directory, fifos->name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
    telex_shut(fd);
    if (fd == -ENOENT)
        return 0;
    if (fd == -EACCES || fd == -EPERM)
        return telex_say(-EADDRINUSE, "pipe://%s: there is a FIFO of another user", address->where);
    if (fd >= 0)
        return telex_say(-EADDRINUSE, "pipe://%s: somebody listens there (telex list tells who); choose another path", address->where);
    if (fd != -ENXIO)
        return telex_say(-EADDRINUSE, "pipe://%s: %s", address->where, strerror(-fd));
    if (unlinkat(fifos->directory, fifos->name, 0) < 0 && errno != ENOENT)
        return telex_say(-EADDRINUSE, "pipe://%s: a dead process left it, and it cannot be removed: %m", address->where);
    return 0;
}

/* 0 or -errno: -EEXIST. Not every file system can rename without replacing; a second name does as well. */
static int rename_over_nothing(int directory, const char *now, const char *name)
{
    if (renameat2(directory, now, directory, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    if (linkat(directory, now, directory, name, 0) < 0)
        return -errno;
    unlinkat(directory, now, 0);
    return 0;
}

/* Gives the FIFO its name, in place of one that was left. Nobody ever finds it without a reader, so whoever finds it so may remove it. */
static int name_it(const struct telex_address *address, const struct telex_fifos *fifos, const char *now)
{
    int error = -EEXIST;
    for (int i = 0; i < STALE_TRIES && error == -EEXIST; i++) {
        error = rename_over_nothing(fifos->directory, now, fifos->name);
        if (error == 0)
            return 0;
        int stale = error == -EEXIST ? remove_stale(address, fifos) : 0;
        if (stale < 0)
            return stale;
    }
    return telex_say(error == -EEXIST ? -EADDRINUSE : error, "pipe://%s: %s", address->where, strerror(-error));
}

/* Others may write hellos, if mode= says so; to read them is the listener's alone. */
static mode_t mode_of(const struct telex_address *address)
{
    return (mode_t)address->settings.mode & ~(mode_t)(S_IRGRP | S_IROTH);
}

static int listen_as(struct pipe_port *self, const struct telex_address *address, const char *now)
{
    struct stat facts;
    if (mkfifoat(self->fifos.directory, now, 0600) < 0)
        return telex_say(-errno, "pipe://%s: no FIFO can be made in its directory: %m", address->where);
    self->fd = telex_fifo_open_private(&self->fifos, now, O_RDWR, &facts);
    int r = self->fd < 0 ? self->fd : fchmod(self->fd, mode_of(address)) < 0 ? -errno : 0;
    if (r < 0)
        return telex_say(r, "pipe://%s: its FIFO cannot be opened: %s", address->where, strerror(-r));
    self->device = facts.st_dev;
    r = name_it(address, &self->fifos, now);
    if (r == 0)
        self->inode = facts.st_ino;
    return r;
}

static int listen_at(struct pipe_port *self, const struct telex_address *address)
{
    char token[TELEX_HELLO_TOKEN + 1], now[NAME_MAX + 1];
    int r = telex_fifos_open(address, &self->fifos);
    if (r == 0)
        r = telex_pipe_token(token);
    if (r < 0)
        return r == -ENOENT ? telex_say(r, "pipe://%s: its directory does not exist: make it first", address->where) : r;
    telex_fifo_name(&self->fifos, token, TELEX_FIFO_NEW, now);
    int lock = telex_runtime_lock(); /* without a runtime directory it goes on unlocked, as unix:// does */
    r = listen_as(self, address, now);
    if (r < 0)
        unlinkat(self->fifos.directory, now, 0);
    telex_shut(lock);
    return r;
}

int telex_pipe_listen(const struct telex_address *address, struct telex_bytes_port **ret_port)
{
    struct pipe_port *self = calloc(1, sizeof *self);
    if (self == NULL)
        return telex_say(-ENOMEM, "out of memory");
    self->base.ops = &port_ops;
    self->fd = self->fifos.directory = -1;
    self->generation = telex_generation();
    telex_address_write("pipe", address->where, self->address, sizeof self->address);
    int r = listen_at(self, address);
    if (r < 0) {
        telex_shut(self->fd);
        telex_fifos_close(&self->fifos);
        free(self);
        return r;
    }
    self->swept = telex_clock();
    telex_fifos_sweep(&self->fifos, YOUNG);
    *ret_port = &self->base;
    return 0;
}
