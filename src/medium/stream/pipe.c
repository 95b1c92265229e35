/* SPDX-License-Identifier: MIT */
/*
 * Named pipes: pipe:///PATH, over two FIFOs a client (docs/pipe.md).
 *
 * The client makes two FIFOs next to the listener's, opens them, writes their token into the listener's FIFO, and goes on: connecting does not wait for accept. Until
 * the listener has both open, and has removed their names by that, nothing in the kernel connects the two processes. Meanwhile the client
 *   - keeps its outgoing FIFO open for reading, too (`keeper`): what it writes stays there, and raises no EPIPE;
 *   - takes a read of 0 for "not yet";
 *   - keeps the listener's FIFO open (`knock`): that has an error once nobody reads it, and this is how the listener's death shows.
 * That the names are gone is what the client sees: the link count of its incoming FIFO. From then on each side writes one and reads the other, and the kernel
 * tells of the end: 0 when the writer is gone, EPIPE when the reader is.
 */
#include "medium/stream/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/reason.h"
#include "medium/stream/pipes.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/process.h"

enum {
    DIALS = 3,                /* times that FIFOs are made: who cleans up next to the listener may take one for left behind, right after it was made */
    BUSY_SIZE = 256 * 1024,   /* bytes of a pipe that was full once: about what a Unix socket holds; the kernel begins with 64 KiB, and few need more */
    KNOCK = 1,                /* in epoll: the listener's FIFO; 0: the incoming one */
};

struct pipe_bytes {
    struct telex_bytes base;
    int in;
    atomic_int out;           /* -1 once it was ended. Relaxed, all of these: each is a number of its own, and closing it is no news to anybody who waits */
    int keeper;               /* [out] the outgoing FIFO, for reading: until attached, and after the end */
    atomic_int knock;         /* the client's, until attached; -1 */
    int epoll;                /* the client's: `in` and `knock` in one descriptor; -1 */
    char *stem;               /* the client's: its FIFOs are called that, and .up, .down */
    atomic_bool read_out;     /* the incoming FIFO has ended */
    bool grown, lost;         /* [out] the pipe was made larger; it is not known, and never will be, that all was read */
    _Atomic int64_t pid;      /* of the peer; -1 */
    int64_t uid, gid;
    char address[128];
};

static struct pipe_bytes *of(struct telex_bytes *bytes)
{
    return (struct pipe_bytes *)bytes;
}

static int load(atomic_int *descriptor)
{
    return atomic_load_explicit(descriptor, memory_order_relaxed);
}

static int own(int fd)
{
    return telex_own(fd < 0 ? -errno : fd);
}

/* ---- attached, or not yet ---- */

static void attached(struct pipe_bytes *self)
{
    telex_shut(atomic_exchange_explicit(&self->knock, -1, memory_order_relaxed));
}

/* Whether the listener has both FIFOs open; any direction may ask. */
static bool is_attached(struct pipe_bytes *self)
{
    struct stat facts;
    if (load(&self->knock) < 0)
        return true;
    if (fstat(self->in, &facts) < 0 || facts.st_nlink > 0) /* it removes this name last */
        return false;
    attached(self);
    return true;
}

/* Of a client that was not attached: -EAGAIN: it still is not, 0: read again, for it is now, or somebody came and went; or the listener is dead. */
static int look_for_listener(struct pipe_bytes *self)
{
    struct epoll_event events[2];
    int count = epoll_wait(self->epoll, events, 2, 0);
    bool gone = false, left = false;
    for (int i = 0; i < count; i++) {
        gone = gone || (events[i].data.u32 == KNOCK && (events[i].events & EPOLLERR) != 0);
        left = left || (events[i].data.u32 != KNOCK && (events[i].events & EPOLLHUP) != 0);
    }
    if (is_attached(self)) /* after the look: a listener may attach its last client, and then be closed */
        return 0;
    if (gone)
        return telex_say(-ECONNRESET, "the listener ended before it accepted");
    return left ? 0 : -EAGAIN;
}

/* ---- a stream ---- */

static ssize_t pipe_read(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    struct pipe_bytes *self = of(bytes);
    (void)fds;
    (void)count;
    bool was_attached = is_attached(self);
    ssize_t got = telex_pipe_read(self->in, parts, part_count);
    if (got > 0 && !was_attached)
        attached(self); /* also where a removed name goes on to count, as on NFS */
    if (got == 0 && !was_attached) {
        got = look_for_listener(self);
        if (got == 0)
            got = telex_pipe_read(self->in, parts, part_count);
    }
    if (got == 0 || got == -ECONNRESET)
        atomic_store_explicit(&self->read_out, true, memory_order_relaxed);
    return got;
}

static int pipe_descriptor(struct telex_bytes *bytes)
{
    return of(bytes)->epoll >= 0 ? of(bytes)->epoll : of(bytes)->in;
}

static int pipe_inlet(struct telex_bytes *bytes)
{
    return of(bytes)->in;
}

static ssize_t pipe_doze(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    int r = telex_pipe_doze(is_attached(of(bytes)) ? of(bytes)->in : of(bytes)->epoll);
    return r < 0 ? r : pipe_read(bytes, parts, part_count, fds, count);
}

/* [out] Gives the keeper back, once it keeps nothing any more. */
static bool drop_keeper(struct pipe_bytes *self)
{
    if (!is_attached(self))
        return false;
    telex_shut(self->keeper);
    self->keeper = -1;
    return true;
}

static ssize_t pipe_write(struct telex_bytes *bytes, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count)
{
    struct pipe_bytes *self = of(bytes);
    int out = load(&self->out);
    (void)fds;
    if (fd_count > 0)
        return telex_say(-EOPNOTSUPP, "descriptors do not travel over pipes");
    if (out < 0)
        return telex_say(-EPIPE, "this side has ended its direction");
    if (self->keeper >= 0 && !drop_keeper(self)) {
        int r = look_for_listener(self);
        if (r < 0 && r != -EAGAIN)
            return r;
    }
    ssize_t sent = telex_pipe_write(out, parts, part_count);
    if (sent != -EAGAIN || self->grown)
        return sent;
    self->grown = true;
    return fcntl(out, F_SETPIPE_SZ, BUSY_SIZE) < 0 ? sent : telex_pipe_write(out, parts, part_count);
}

static int pipe_outlet(struct telex_bytes *bytes)
{
    return load(&of(bytes)->out);
}

/* The same FIFO once more: names are gone by now. -errno: there is no /proc, or no descriptor to be had. */
static int reopen(int fd, int flags)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return own(open(path, flags | O_CLOEXEC));
}

/* A keeper, so that it can be told later whether the peer read everything; it does not keep the peer from seeing the end. */
static int pipe_end(struct telex_bytes *bytes)
{
    struct pipe_bytes *self = of(bytes);
    int out = load(&self->out);
    if (out < 0)
        return 0;
    if (self->keeper < 0)
        self->keeper = reopen(out, O_RDONLY | O_NONBLOCK);
    self->lost = self->keeper < 0 && telex_pipe_unread(out) != 0; /* nobody will be able to tell */
    atomic_store_explicit(&self->out, -1, memory_order_relaxed);
    telex_shut(out);
    return 0;
}

/*
 * After the end, with bytes unread, and nothing coming in any more: is somebody there to read them, or only the keeper? That is what opening for writing tells, if
 * the keeper is closed meanwhile.
 */
static bool has_reader(struct pipe_bytes *self)
{
    int handle = reopen(self->keeper, O_PATH);
    if (handle < 0)
        return true;
    telex_shut(self->keeper);
    int writer = reopen(handle, O_WRONLY | O_NONBLOCK);
    self->keeper = writer == -ENXIO ? -1 : reopen(handle, O_RDONLY | O_NONBLOCK);
    telex_shut(writer);
    telex_shut(handle);
    return writer != -ENXIO && self->keeper >= 0; /* who reads the rest and goes in that very moment is taken for one that did not read it */
}

static int64_t pipe_unsent(struct telex_bytes *bytes)
{
    struct pipe_bytes *self = of(bytes);
    int out = load(&self->out);
    if (out >= 0)
        return telex_pipe_unread(out);
    if (self->lost)
        return telex_say(-ECONNRESET, "the peer ended before it had read everything");
    if (self->keeper < 0)
        return 0; /* all was read before the end */
    int64_t left = telex_pipe_unread(self->keeper);
    bool over = atomic_load_explicit(&self->read_out, memory_order_relaxed);
    if (left <= 0 || !over || has_reader(self))
        return left;
    self->lost = true;
    return telex_say(-ECONNRESET, "the peer ended before it had read everything");
}

/* Until it is attached the client alone has the pipe, and what is in it is gone with this process. */
static bool pipe_survives(struct telex_bytes *bytes)
{
    return is_attached(of(bytes));
}

static void pipe_peer(struct telex_bytes *bytes, struct telex_medium_peer *ret_peer)
{
    struct pipe_bytes *self = of(bytes);
    int64_t pid = atomic_load_explicit(&self->pid, memory_order_relaxed);
    if (pid < 0) {
        pid = telex_fifo_writer(self->in);
        atomic_store_explicit(&self->pid, pid, memory_order_relaxed);
    }
    *ret_peer = (struct telex_medium_peer){.pid = pid, .uid = self->uid, .gid = self->gid};
    snprintf(ret_peer->address, sizeof ret_peer->address, "%s", self->address);
}

static void remove_names(struct pipe_bytes *self)
{
    char path[PATH_MAX];
    static const char *const suffixes[] = {".up", ".down"};
    for (int i = 0; i < 2; i++)
        if (snprintf(path, sizeof path, "%s%s", self->stem, suffixes[i]) < (int)sizeof path)
            unlink(path);
}

static void pipe_close(struct telex_bytes *bytes)
{
    struct pipe_bytes *self = of(bytes);
    if (self->stem != NULL && !is_attached(self))
        remove_names(self);
    telex_shut(load(&self->out));
    telex_shut(self->in);
    telex_shut(self->keeper);
    telex_shut(load(&self->knock));
    telex_shut(self->epoll);
    free(self->stem);
    free(self);
}

static const struct telex_bytes_ops bytes_ops = {
    .read = pipe_read,
    .doze = pipe_doze,
    .write = pipe_write,
    .end = pipe_end,
    .unsent = pipe_unsent,
    .survives = pipe_survives,
    .descriptor = pipe_descriptor,
    .inlet = pipe_inlet,
    .outlet = pipe_outlet,
    .peer = pipe_peer,
    .close = pipe_close,
};

static struct pipe_bytes *bytes_new(const struct telex_pipe_ends *ends)
{
    struct pipe_bytes *self = calloc(1, sizeof *self);
    if (self == NULL) {
        telex_shut(ends->in);
        telex_shut(ends->out);
        telex_say(-ENOMEM, "out of memory");
        return NULL;
    }
    self->base.ops = &bytes_ops;
    self->in = ends->in;
    atomic_init(&self->out, ends->out);
    self->keeper = self->epoll = -1;
    atomic_init(&self->knock, -1);
    atomic_init(&self->pid, ends->pid);
    self->uid = ends->uid;
    self->gid = ends->gid;
    return self;
}

int telex_pipe_new(const struct telex_pipe_ends *ends, struct telex_bytes **ret_bytes)
{
    struct pipe_bytes *self = bytes_new(ends);
    if (self == NULL)
        return -ENOMEM;
    *ret_bytes = &self->base;
    return 0;
}

/* ---- dialing ---- */

int telex_pipe_token(char ret_token[TELEX_HELLO_TOKEN + 1])
{
    unsigned char bytes[TELEX_HELLO_TOKEN / 2];
    int r = telex_random(bytes, sizeof bytes);
    if (r < 0)
        return telex_say(r, "no random numbers: %s", strerror(-r));
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret_token + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static int explain(int error, const struct telex_address *address)
{
    static const struct {
        int error, result;
        const char *sentence;
    } known[] = {
        {ENXIO, ECONNREFUSED, "nobody listens there"},
        {EPIPE, ECONNREFUSED, "nobody listens there any more"},
        {ENOENT, ENOENT, "there is no such path: nobody listens there"},
        {ELOOP, ECONNREFUSED, "this is a symbolic link; dial the path that it leads to"},
        {ENOTTY, ECONNREFUSED, "this is no FIFO: nobody listens there"},
        {EACCES, EACCES, "permission denied: the listener's mode= says who may come"},
        {EAGAIN, EAGAIN, "the listener's FIFO is full"},
        {ETIMEDOUT, ETIMEDOUT, "the listener's FIFO stayed full until the deadline"},
        {EINTR, EINTR, "interrupted"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].error == -error)
            return telex_say(-known[i].result, "pipe://%s: %s", address->where, known[i].sentence);
    return telex_say(error, "pipe://%s: %s", address->where, strerror(-error));
}

/* Opens the listener's FIFO. A stranger's would never be served: the client's FIFOs are for one user, and root. */
static int open_knock(struct pipe_bytes *self, const struct telex_address *address, const struct telex_fifos *fifos)
{
    struct stat facts;
    if (fstatat(fifos->directory, fifos->name, &facts, AT_SYMLINK_NOFOLLOW) < 0)
        return explain(-errno, address);
    if (!S_ISFIFO(facts.st_mode)) /* not even opened: that has effects with some files */
        return explain(S_ISLNK(facts.st_mode) ? -ELOOP : -ENOTTY, address);
    int knock = own(openat(fifos->directory, fifos->name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
    if (knock < 0)
        return explain(knock, address);
    atomic_store_explicit(&self->knock, knock, memory_order_relaxed);
    if (fstat(knock, &facts) < 0 || !S_ISFIFO(facts.st_mode))
        return explain(-ENOTTY, address);
    if (facts.st_uid != geteuid() && facts.st_uid != 0)
        return telex_say(-EACCES, "pipe://%s: it is user %u who listens there; pipes connect one user's processes, or a user's to root's: use unix://",
                         address->where, (unsigned)facts.st_uid);
    self->uid = facts.st_uid;
    self->gid = facts.st_gid;
    snprintf(self->address, sizeof self->address, "%.*s", (int)sizeof self->address - 1, address->where);
    return 0;
}

static int open_ends(struct pipe_bytes *self, const struct telex_fifos *fifos, const char *up, const char *down)
{
    struct stat facts;
    self->keeper = telex_fifo_open_private(fifos, up, O_RDONLY, &facts);
    if (self->keeper < 0)
        return self->keeper;
    int out = telex_fifo_open_private(fifos, up, O_WRONLY, &facts);
    if (out < 0)
        return out;
    atomic_store_explicit(&self->out, out, memory_order_relaxed);
    self->in = telex_fifo_open_private(fifos, down, O_RDONLY, &facts);
    if (self->in < 0)
        return self->in;
    telex_fifo_sign(out);
    return 0;
}

static void shut_ends(struct pipe_bytes *self)
{
    telex_shut(self->keeper);
    telex_shut(load(&self->out));
    telex_shut(self->in);
    self->keeper = self->in = -1;
    atomic_store_explicit(&self->out, -1, memory_order_relaxed);
}

/* Makes and opens the two FIFOs of one token. -ENOENT, -ENXIO, -EEXIST: again with another one. */
static int make_ends(struct pipe_bytes *self, const struct telex_fifos *fifos, const char *token)
{
    char up[NAME_MAX + 1], down[NAME_MAX + 1];
    telex_fifo_name(fifos, token, TELEX_FIFO_UP, up);
    telex_fifo_name(fifos, token, TELEX_FIFO_DOWN, down);
    int r = mkfifoat(fifos->directory, up, 0600) < 0 ? -errno : 0;
    if (r < 0)
        return r;
    if (mkfifoat(fifos->directory, down, 0600) < 0)
        r = -errno;
    if (r == 0)
        r = open_ends(self, fifos, up, down);
    if (r == 0)
        return 0;
    shut_ends(self);
    unlinkat(fifos->directory, up, 0);
    unlinkat(fifos->directory, down, 0);
    return r;
}

static int make_fifos(struct pipe_bytes *self, const struct telex_address *address, const struct telex_fifos *fifos, char *ret_token)
{
    int r = -ENOENT;
    for (int i = 0; i < DIALS && (r == -ENOENT || r == -ENXIO || r == -EEXIST); i++) {
        r = telex_pipe_token(ret_token);
        if (r < 0)
            return r;
        r = make_ends(self, fifos, ret_token);
    }
    if (r == -EACCES || r == -EROFS)
        return telex_say(r, "pipe://%s: a client makes two FIFOs next to the listener's, but its directory cannot be written: %s", address->where, strerror(-r));
    if (r == -EPERM)
        return telex_say(r, "pipe://%s: the FIFOs that a client makes next to the listener's came out with other owners or permissions", address->where);
    if (r < 0)
        return telex_say(r, "pipe://%s: no FIFO can be made next to the listener's: %s", address->where, strerror(-r));
    if (asprintf(&self->stem, "%s.%s", address->where, ret_token) < 0) {
        self->stem = NULL;
        telex_fifo_remove(fifos, ret_token, TELEX_FIFO_UP);
        telex_fifo_remove(fifos, ret_token, TELEX_FIFO_DOWN);
        return telex_say(-ENOMEM, "out of memory");
    }
    return 0;
}

/* One descriptor that tells of bytes, of their end, and until it is attached of the listener's, too. */
static int watch_both(struct pipe_bytes *self)
{
    struct epoll_event in = {.events = EPOLLIN}, knock = {.events = 0, .data.u32 = KNOCK}; /* an error is told without asking */
    self->epoll = own(epoll_create1(EPOLL_CLOEXEC));
    int r = self->epoll;
    if (r >= 0 && (epoll_ctl(self->epoll, EPOLL_CTL_ADD, self->in, &in) < 0 || epoll_ctl(self->epoll, EPOLL_CTL_ADD, load(&self->knock), &knock) < 0))
        r = -errno;
    return r < 0 ? telex_say(r, "no descriptor to wait on: %s", strerror(-r)) : 0;
}

static int say_hello(struct pipe_bytes *self, const struct telex_address *address, const char *token, int64_t deadline)
{
    char hello[TELEX_HELLO_SIZE];
    struct iovec whole = {hello, sizeof hello};
    telex_hello_encode(token, hello);
    for (;;) {
        ssize_t sent = telex_pipe_write(load(&self->knock), &whole, 1); /* all of it or nothing: it is shorter than PIPE_BUF */
        if (sent > 0)
            return 0;
        if (sent != -EAGAIN || deadline <= 0)
            return explain((int)sent, address);
        struct pollfd room = {.fd = load(&self->knock), .events = POLLOUT};
        int ready = telex_clock() >= deadline ? 0 : telex_poll(&room, 1, deadline); /* others may take the room each time */
        if (ready <= 0)
            return explain(ready < 0 ? ready : -ETIMEDOUT, address);
    }
}

static int pipe_dial(const struct telex_address *address, int64_t deadline, struct telex_bytes **ret_bytes)
{
    struct telex_fifos fifos;
    int r = telex_fifos_open(address, &fifos);
    if (r < 0)
        return r;
    char token[TELEX_HELLO_TOKEN + 1];
    struct pipe_bytes *self = bytes_new(&(struct telex_pipe_ends){.in = -1, .out = -1, .pid = -1});
    r = self == NULL ? -ENOMEM : open_knock(self, address, &fifos);
    if (r == 0)
        r = make_fifos(self, address, &fifos, token);
    if (r == 0)
        r = watch_both(self);
    if (r == 0)
        r = say_hello(self, address, token, deadline);
    telex_fifos_close(&fifos);
    if (r == 0)
        *ret_bytes = &self->base;
    else if (self != NULL)
        pipe_close(&self->base);
    return r;
}

const struct telex_bytes_medium telex_bytes_pipe = {.dial = pipe_dial, .listen = telex_pipe_listen};
