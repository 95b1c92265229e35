/* SPDX-License-Identifier: MIT */
/* Byte streams as the media give them, unix and tcp alike, below any framing. */
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "unit/testing.h"

#include "unit/scratch.h"
#include "unit/streams.h"

#include "medium/stream/resolve.h"

static bool has_ipv6(void)
{
    struct telex_bytes_port *port;
    if (streams_listen("tcp://[::1]:0", &port) < 0)
        return false;
    port->ops->close(port);
    return true;
}

/* Runs `body` on a pair of ends over each medium. */
static void over_each(void (*body)(struct streams *))
{
    const char *const addresses[] = {scratch_path("socket"), "unix://@telex-unit-bytes", "tcp://127.0.0.1:0", "tcp://localhost:0", "tcp://[::1]:0"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        char text[256];
        if (i == 4 && !has_ipv6())
            continue;
        snprintf(text, sizeof text, "%s%s", i == 0 ? "unix://" : "", addresses[i]);
        struct streams streams = streams_new(text, "");
        body(&streams);
        streams_free(&streams);
    }
}

#define OVER_EACH(name)                                                                                                \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        scratch_begin();                                                                                               \
        over_each(name##_over);                                                                                        \
        scratch_end();                                                                                                 \
    }

static void moves_bytes_over(struct streams *streams)
{
    struct telex_bytes *one = streams->dialed, *other = streams->accepted;
    char first[3] = {0}, second[8] = {0};
    struct iovec from[3] = {{"ab", 2}, {"", 0}, {"cdef", 4}}, to[2] = {{first, 3}, {second, 8}};
    assert_int_equal(streams_read(one, first, 3), -EAGAIN);
    assert_int_equal(one->ops->write(one, from, 3, NULL, 0), 6);
    streams_ready(other->ops->descriptor(other), POLLIN);
    assert_int_equal(other->ops->read(other, to, 2, NULL, NULL), 6);
    assert_memory_equal(first, "abc", 3);
    assert_memory_equal(second, "def", 3);
    assert_int_equal(streams_write(other, "back", 4), 4);
    streams_expect(one, "back", 4);

    /* One direction ends, the other goes on. */
    assert_int_equal(streams_write(one, "last", 4), 4);
    assert_int_equal(one->ops->end(one), 0);
    streams_expect(other, "last", 4);
    streams_ready(other->ops->descriptor(other), POLLIN);
    assert_int_equal(streams_read(other, first, 3), 0);
    assert_int_equal(streams_read(other, first, 3), 0);
    assert_int_equal(streams_write(other, "still", 5), 5);
    streams_expect(one, "still", 5);
    assert_int_equal(streams_write(one, "x", 1), -EPIPE);
}
OVER_EACH(moves_bytes)

static void fills_up_over(struct streams *streams)
{
    static unsigned char block[65536];
    struct telex_bytes *one = streams->dialed, *other = streams->accepted;
    uint64_t sent = 0, seen = 0;
    ssize_t moved;
    for (;;) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (unsigned char)((sent + i) % 251);
        if ((moved = streams_write(one, block, sizeof block)) < 0)
            break;
        sent += (uint64_t)moved;
    }
    assert_int_equal(moved, -EAGAIN);
    assert_true(one->ops->unsent(one) > 0);
    while (seen < sent) {
        streams_ready(other->ops->descriptor(other), POLLIN);
        moved = streams_read(other, block, sizeof block);
        assert_true(moved > 0);
        for (ssize_t i = 0; i < moved; i++)
            if (block[i] != (seen + (uint64_t)i) % 251)
                fail_msg("byte %llu is wrong", (unsigned long long)(seen + (uint64_t)i));
        seen += (uint64_t)moved;
    }
    streams_ready(one->ops->descriptor(one), POLLOUT);
    for (int64_t deadline = streams_soon(); one->ops->unsent(one) != 0;)
        assert_true(telex_clock() < deadline);
}
OVER_EACH(fills_up)

/* What was sent before the peer closed is read first; then the end; writing gives an error and no signal. */
static void peer_closes_over(struct streams *streams)
{
    char byte;
    assert_int_equal(streams_write(streams->dialed, "bye", 3), 3);
    streams->dialed->ops->close(streams->dialed);
    streams->dialed = NULL;
    streams_expect(streams->accepted, "bye", 3);
    streams_ready(streams->accepted->ops->descriptor(streams->accepted), POLLIN);
    assert_int_equal(streams_read(streams->accepted, &byte, 1), 0);
    ssize_t result = 0;
    for (int64_t deadline = streams_soon(); result >= 0 && telex_clock() < deadline;)
        result = streams_write(streams->accepted, "x", 1);
    assert_true(result == -EPIPE || result == -ECONNRESET);
}
OVER_EACH(peer_closes)

/* It closes with unread bytes: the other side learns that they were lost. */
static void peer_breaks_over(struct streams *streams)
{
    char byte;
    assert_int_equal(streams_write(streams->accepted, "unread", 6), 6);
    streams_ready(streams->dialed->ops->descriptor(streams->dialed), POLLIN);
    streams->dialed->ops->close(streams->dialed);
    streams->dialed = NULL;
    streams_ready(streams->accepted->ops->descriptor(streams->accepted), POLLIN);
    if (!streams->accepted->delivered_when_written)
        assert_true(streams->accepted->ops->unsent(streams->accepted) <= 0);
    assert_int_equal(streams_read(streams->accepted, &byte, 1), -ECONNRESET);
    assert_true(telex_said()[0] != '\0');
}
OVER_EACH(peer_breaks)

static void knows_its_peer_over(struct streams *streams)
{
    struct telex_medium_peer peer;
    streams->accepted->ops->peer(streams->accepted, &peer);
    bool local = streams->accepted->carries_descriptors;
    assert_int_equal(peer.pid, local ? getpid() : -1);
    assert_int_equal(peer.uid, local ? (int)getuid() : -1);
    assert_int_equal(peer.gid, local ? (int)getgid() : -1);
    assert_int_equal(peer.address[0] == '\0', local);
    streams->dialed->ops->peer(streams->dialed, &peer);
    const char *address = strstr(streams->port->ops->address(streams->port), "://") + 3;
    assert_string_equal(peer.address, address);
    assert_int_equal(streams->accepted->delivered_when_written, local);
}
OVER_EACH(knows_its_peer)

static void out_of_descriptors_over(struct streams *streams)
{
    struct telex_bytes *more, *accepted;
    struct rlimit kept, none;
    assert_int_equal(streams_dial(streams->port->ops->address(streams->port), streams_soon(), &more), 0);
    getrlimit(RLIMIT_NOFILE, &kept);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = kept.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    int error = streams->port->ops->accept(streams->port, &accepted);
    struct telex_bytes *dialed;
    int dial_error = streams_dial(streams->port->ops->address(streams->port), streams_soon(), &dialed);
    setrlimit(RLIMIT_NOFILE, &kept);
    assert_int_equal(error, -EMFILE);
    assert_int_equal(dial_error, -EMFILE);
    accepted = streams_accept(streams->port); /* it stayed in the queue */
    assert_int_equal(streams->port->ops->accept(streams->port, &(struct telex_bytes *){NULL}), -EAGAIN);
    accepted->ops->close(accepted);
    more->ops->close(more);
}
OVER_EACH(out_of_descriptors)

/* ---- descriptors ---- */

static int file_number(int index)
{
    char name[16];
    snprintf(name, sizeof name, "file%d", index);
    int fd = open(scratch_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void same_file(int fd, int index)
{
    char name[16];
    struct stat one, other;
    snprintf(name, sizeof name, "file%d", index);
    assert_int_equal(fstat(fd, &one), 0);
    assert_int_equal(stat(scratch_path(name), &other), 0);
    assert_true(one.st_ino == other.st_ino && one.st_dev == other.st_dev);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static struct streams unix_streams(const char *options)
{
    char text[256];
    scratch_begin();
    snprintf(text, sizeof text, "unix://%s%s", scratch_path("socket"), options);
    return streams_new(text, "");
}

/* Messages with 0, 1, 0, 2 descriptors, written one by one or read byte by byte: the descriptors come in order, with their first byte or later. */
static void descriptors_come_along(size_t chunk, bool split)
{
    struct streams streams = unix_streams("");
    struct telex_bytes *one = streams.dialed, *other = streams.accepted;
    int files[3], fds[TELEX_BYTES_DESCRIPTORS * 3];
    unsigned count = 0, at_byte[12] = {0};
    for (int i = 0; i < 3; i++)
        files[i] = file_number(i);
    assert_int_equal(streams_write(one, "aaa", 3), 3);
    assert_int_equal(one->ops->write(one, &(struct iovec){"bbb", 3}, 1, files, 1), 3);
    assert_int_equal(streams_write(one, "ccc", 3), 3);
    struct iovec parts[2] = {{"d", 1}, {"dd", 2}};
    assert_int_equal(one->ops->write(one, parts, split ? 1 : 2, files + 1, 2), split ? 1 : 3);
    if (split)
        assert_int_equal(streams_write(one, "dd", 2), 2);

    char text[12];
    for (size_t at = 0; at < sizeof text;) {
        size_t wanted = sizeof text - at < chunk ? sizeof text - at : chunk;
        ssize_t got = other->ops->read(other, &(struct iovec){text + at, wanted}, 1, fds, &count);
        assert_true(got > 0);
        at += (size_t)got;
        at_byte[at - 1] = count;
    }
    assert_memory_equal(text, "aaabbbcccddd", 12);
    assert_int_equal(count, 3);
    if (chunk == 1) {
        assert_int_equal(at_byte[2], 0);
        assert_int_equal(at_byte[3], 1);
        assert_int_equal(at_byte[8], 1);
        assert_int_equal(at_byte[9], 3);
    }
    for (int i = 0; i < 3; i++) {
        same_file(fds[i], i);
        telex_shut(fds[i]);
        assert_int_equal(fcntl(fds[i], F_GETFD), -1); /* it was owned */
        close(files[i]);
    }
    streams_free(&streams);
    scratch_end();
}

static void descriptors_coalesced(void **state)
{
    (void)state;
    descriptors_come_along(100, false);
    descriptors_come_along(100, true);
    descriptors_come_along(4, false);
}

static void descriptors_byte_by_byte(void **state)
{
    (void)state;
    descriptors_come_along(1, false);
    descriptors_come_along(1, true);
}

/* A large write with a descriptor that the socket takes only in part. */
static void descriptors_with_a_partial_write(void **state)
{
    (void)state;
    static char block[4 << 20];
    struct streams streams = unix_streams("");
    struct telex_bytes *one = streams.dialed, *other = streams.accepted;
    int file = file_number(0), fds[TELEX_BYTES_DESCRIPTORS];
    unsigned count = 0;
    ssize_t sent = one->ops->write(one, &(struct iovec){block, sizeof block}, 1, &file, 1);
    assert_true(sent > 0 && sent < (ssize_t)sizeof block);
    ssize_t got = other->ops->read(other, &(struct iovec){block, 10}, 1, fds, &count);
    assert_int_equal(got, 10);
    assert_int_equal(count, 1);
    while (got < sent)
        got += other->ops->read(other, &(struct iovec){block, sizeof block}, 1, fds, &count);
    assert_int_equal(got, sent);
    assert_int_equal(count, 1);
    same_file(fds[0], 0);
    telex_shut(fds[0]);
    close(file);
    streams_free(&streams);
    scratch_end();
}

static int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void descriptors_nobody_wants(void **state)
{
    (void)state;
    static const char *const options[] = {"", "?descriptors=0"};
    for (int i = 0; i < 2; i++) {
        struct streams streams = unix_streams(options[i]);
        struct telex_bytes *one = streams.dialed, *other = streams.accepted;
        int file = file_number(0), fds[TELEX_BYTES_DESCRIPTORS], before = count_open();
        unsigned count = 0;
        char byte;
        assert_int_equal(one->ops->write(one, &(struct iovec){"x", 1}, 1, &file, 1), 1);
        assert_int_equal(other->ops->read(other, &(struct iovec){&byte, 1}, 1, i == 0 ? NULL : fds, i == 0 ? NULL : &count), 1);
        assert_int_equal(count, 0);
        assert_int_equal(count_open(), before);
        close(file);
        streams_free(&streams);
        scratch_end();
    }
}

static void too_many_descriptors(void **state)
{
    (void)state;
    struct streams streams = unix_streams("");
    struct telex_bytes *one = streams.dialed, *other = streams.accepted;
    enum { MANY = TELEX_BYTES_DESCRIPTORS + 1 };
    int file = file_number(0), many[MANY], fds[TELEX_BYTES_DESCRIPTORS], before = count_open();
    unsigned count = 0;
    char byte;
    for (int i = 0; i < MANY; i++)
        many[i] = file;
    assert_int_equal(one->ops->write(one, &(struct iovec){"x", 1}, 1, many, MANY), -EINVAL);
    assert_int_equal(one->ops->write(one, &(struct iovec){"x", 1}, 1, many, MANY - 1), 1);
    assert_int_equal(other->ops->read(other, &(struct iovec){&byte, 1}, 1, fds, &count), 1);
    assert_int_equal(count, MANY - 1);
    while (count > 0)
        telex_shut(fds[--count]);

    /* A peer that is not telex sends more than one read has room for. */
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof many)];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof many), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), many, sizeof many);
    struct msghdr message = {.msg_iov = &(struct iovec){"x", 1}, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    assert_int_equal(sendmsg(one->ops->descriptor(one), &message, 0), 1);
    assert_int_equal(other->ops->read(other, &(struct iovec){&byte, 1}, 1, fds, &count), -EMFILE);
    assert_int_equal(count, 0);
    assert_non_null(strstr(telex_said(), "descriptors"));

    /* This process can open no more. */
    struct rlimit kept, none;
    assert_int_equal(one->ops->write(one, &(struct iovec){"x", 1}, 1, &file, 1), 1);
    getrlimit(RLIMIT_NOFILE, &kept);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = kept.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    ssize_t result = other->ops->read(other, &(struct iovec){&byte, 1}, 1, fds, &count);
    setrlimit(RLIMIT_NOFILE, &kept);
    assert_int_equal(result, -EMFILE);
    assert_int_equal(count, 0);
    assert_int_equal(count_open(), before);
    close(file);
    streams_free(&streams);
    scratch_end();
}

/* ---- paths ---- */

static bool exists(const char *path)
{
    struct stat facts;
    return lstat(path, &facts) == 0;
}

static int listen_path(const char *name, const char *options, struct telex_bytes_port **ret_port)
{
    char text[256];
    snprintf(text, sizeof text, "unix://%s%s", scratch_path(name), options);
    return streams_listen(text, ret_port);
}

/* A path left by a process that was killed. */
static void leave_stale(const char *name)
{
    pid_t child = fork();
    if (child == 0) {
        struct telex_bytes_port *port;
        listen_path(name, "", &port);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    assert_true(exists(scratch_path(name)));
}

static void paths(void **state)
{
    (void)state;
    struct telex_bytes_port *port, *other;
    struct stat facts;
    scratch_begin();
    leave_stale("a");
    assert_int_equal(listen_path("a", "?mode=0640", &port), 0);
    assert_int_equal(stat(scratch_path("a"), &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0640);
    assert_int_equal(listen_path("a", "", &other), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), "somebody listens"));
    struct telex_bytes *probe = streams_accept(port); /* all that the living one saw of it */
    probe->ops->close(probe);
    port->ops->close(port);
    assert_false(exists(scratch_path("a")));

    fclose(fopen(scratch_path("b"), "w"));
    assert_int_equal(listen_path("b", "", &port), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), "no socket"));
    assert_true(exists(scratch_path("b")));
    assert_int_equal(symlink("nowhere", scratch_path("c")), 0);
    assert_int_equal(listen_path("c", "", &port), -EADDRINUSE);
    assert_true(exists(scratch_path("c")));
    assert_int_equal(listen_path("no/d", "", &port), -ENOENT);

    /* Somebody else's path by now. */
    assert_int_equal(listen_path("e", "", &port), 0);
    assert_int_equal(unlink(scratch_path("e")), 0);
    assert_int_equal(listen_path("e", "", &other), 0);
    port->ops->close(port);
    assert_true(exists(scratch_path("e")));
    other->ops->close(other);
    assert_false(exists(scratch_path("e")));
    scratch_end();
}

static void a_datagram_socket_is_somebody(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    scratch_begin();
    strcpy(name.sun_path, scratch_path("a"));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen_path("a", "", &port), -EADDRINUSE);
    assert_int_equal(streams_dial(strcat(strcpy((char[256]){0}, "unix://"), name.sun_path), streams_soon(), &bytes), -EPROTOTYPE);
    close(fd);
    scratch_end();
}

static void paths_without_a_runtime_directory(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    scratch_begin();
    fclose(fopen(scratch_path("telex"), "w"));
    leave_stale("a");
    assert_int_equal(listen_path("a", "", &port), 0);
    port->ops->close(port);
    assert_false(exists(scratch_path("a")));
    scratch_end();
}

static void a_forked_child_keeps_the_path(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    char text[256];
    scratch_begin();
    assert_int_equal(listen_path("a", "", &port), 0);
    snprintf(text, sizeof text, "%s", port->ops->address(port));
    pid_t child = fork();
    if (child == 0) {
        port->ops->close(port);
        _exit(exists(scratch_path("a")) ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);

    /* A child that lives on does not make its dead parent look alive. */
    int gone[2];
    assert_int_equal(pipe(gone), 0);
    port->ops->close(port);
    child = fork();
    if (child == 0) {
        listen_path("a", "", &port);
        pid_t heir = fork();
        if (heir == 0) {
            telex_poll(NULL, 0, streams_soon());
            _exit(0);
        }
        _exit(write(gone[1], &heir, sizeof heir) == sizeof heir ? 0 : 1);
    }
    waitpid(child, &status, 0);
    pid_t heir;
    assert_int_equal(read(gone[0], &heir, sizeof heir), sizeof heir);
    telex_poll(NULL, 0, telex_clock() + 20 * MS);
    assert_int_equal(streams_dial(text, streams_soon(), &bytes), -ECONNREFUSED);
    assert_int_equal(listen_path("a", "", &port), 0);
    port->ops->close(port);
    kill(heir, SIGKILL);
    close(gone[0]);
    close(gone[1]);
    scratch_end();
}

static void abstract_names(void **state)
{
    (void)state;
    struct telex_bytes_port *port, *other;
    struct telex_bytes *bytes;
    assert_int_equal(streams_listen("unix://@telex-unit-name", &port), 0);
    assert_string_equal(port->ops->address(port), "unix://@telex-unit-name");
    assert_int_equal(streams_listen("unix://@telex-unit-name", &other), -EADDRINUSE);
    port->ops->close(port);
    assert_int_equal(streams_dial("unix://@telex-unit-name", streams_soon(), &bytes), -ECONNREFUSED);
    assert_int_equal(streams_listen("unix://@telex-unit-name", &port), 0);
    port->ops->close(port);
}

/* ---- dialing ---- */

static void malformed(void **state)
{
    (void)state;
    char long_path[200] = "unix:///";
    memset(long_path + 8, 'x', 107);
    const char *const both[] = {"unix://relative", "unix://", "unix:///", "unix://@", long_path, "tcp://", "tcp://127.0.0.1", "tcp://::1:80", "tcp://[::1]"};
    const char *const dialed[] = {"tcp://:80", "tcp://*:80", "tcp://127.0.0.1:0"};
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
        assert_int_equal(streams_listen(both[i], &port), -EINVAL);
        assert_int_equal(streams_dial(both[i], streams_soon(), &bytes), -EINVAL);
    }
    for (size_t i = 0; i < sizeof dialed / sizeof *dialed; i++)
        assert_int_equal(streams_dial(dialed[i], streams_soon(), &bytes), -EINVAL);
    scratch_begin();
    assert_int_equal(listen_path("with space?and%percent" + 0, "", &port), -EINVAL); /* a bare percent sign */
    char text[256];
    snprintf(text, sizeof text, "unix://%s", scratch_path("with%20space%3Fand%25"));
    assert_int_equal(streams_listen(text, &port), 0);
    assert_string_equal(port->ops->address(port), text);
    assert_true(exists(scratch_path("with space?and%")));
    port->ops->close(port);
    scratch_end();
}

static void nobody_listens(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    char text[256];
    scratch_begin();
    assert_int_equal(streams_listen("tcp://127.0.0.1:0", &port), 0);
    snprintf(text, sizeof text, "%s", port->ops->address(port));
    port->ops->close(port);
    assert_int_equal(streams_dial(text, INT64_MAX, &bytes), -ECONNREFUSED);
    assert_int_equal(streams_dial(text, 0, &bytes), -ECONNREFUSED);
    assert_non_null(strstr(telex_said(), text));
    leave_stale("a");
    snprintf(text, sizeof text, "unix://%s", scratch_path("a"));
    assert_int_equal(streams_dial(text, INT64_MAX, &bytes), -ECONNREFUSED);
    assert_non_null(strstr(telex_said(), text));
    snprintf(text, sizeof text, "unix://%s", scratch_path("b"));
    assert_int_equal(streams_dial(text, INT64_MAX, &bytes), -ENOENT);
    scratch_end();
}

static void not_permitted(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    char text[256];
    if (geteuid() == 0 && setresuid(12345, 12345, 12345) < 0)
        return; /* root may do everything */
    scratch_begin();
    assert_int_equal(listen_path("a", "?mode=0", &port), 0);
    snprintf(text, sizeof text, "unix://%s", scratch_path("a"));
    assert_int_equal(streams_dial(text, streams_soon(), &bytes), -EACCES);
    assert_non_null(strstr(telex_said(), "mode="));
    port->ops->close(port);
    scratch_end();
}

/* A listener whose queue is full: until the deadline, and until there is room. */
static void full_queue(int family, struct sockaddr *name, socklen_t length, const char *text)
{
    int listening = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct telex_bytes *queued[8], *late;
    assert_int_equal(bind(listening, name, length), 0);
    assert_int_equal(listen(listening, 0), 0);
    char address[256];
    getsockname(listening, name, &length);
    snprintf(address, sizeof address, text, ntohs(((struct sockaddr_in *)name)->sin_port));
    int count = 0, error;
    while (count < 8 && (error = streams_dial(address, telex_clock() + 100 * MS, &queued[count])) == 0)
        count++;
    assert_true(count > 0 && count < 8);
    assert_int_equal(error, -ETIMEDOUT);
    assert_int_equal(streams_dial(address, 0, &late), -EAGAIN);
    int64_t begin = telex_clock();
    assert_int_equal(streams_dial(address, begin + 200 * MS, &late), -ETIMEDOUT);
    assert_true(telex_clock() - begin >= 200 * MS && telex_clock() - begin < 2000 * MS);

    pid_t child = fork();
    if (child == 0) {
        telex_poll(NULL, 0, telex_clock() + 100 * MS);
        for (int i = 0; i < 8; i++) {
            struct pollfd poll = {.fd = listening, .events = POLLIN};
            telex_poll(&poll, 1, telex_clock() + 2000 * MS);
            accept4(listening, NULL, NULL, SOCK_NONBLOCK);
        }
        _exit(0);
    }
    assert_int_equal(streams_dial(address, telex_clock() + (int64_t)10000 * MS, &late), 0);
    late->ops->close(late);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    while (count > 0) {
        count--;
        queued[count]->ops->close(queued[count]);
    }
    close(listening);
}

static void full_queues(void **state)
{
    (void)state;
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_in v4;
    } name = {.local = {.sun_family = AF_UNIX}};
    strcpy(name.local.sun_path + 1, "telex-unit-full");
    full_queue(AF_UNIX, &name.any, offsetof(struct sockaddr_un, sun_path) + 16, "unix://@telex-unit-full");
    name.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    full_queue(AF_INET, &name.any, sizeof name.v4, "tcp://127.0.0.1:%u");
}

static void ignore(int number)
{
    (void)number;
}

static void dialing_is_interrupted(void **state)
{
    (void)state;
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0telex-unit-interrupt"};
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 21), 0);
    assert_int_equal(listen(listening, 0), 0);
    struct telex_bytes *queued, *bytes;
    assert_int_equal(streams_dial("unix://@telex-unit-interrupt", 0, &queued), 0);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = ignore}, NULL);
    ualarm(50000, 0);
    assert_int_equal(streams_dial("unix://@telex-unit-interrupt", streams_soon(), &bytes), -EINTR);
    queued->ops->close(queued);
    close(listening);
}

/* ---- tcp ---- */

static void every_interface(void **state)
{
    (void)state;
    static const char *const listened[] = {"tcp://*:0", "tcp://:0"};
    static const char *const dialed[] = {"tcp://127.0.0.1:%s", "tcp://localhost:%s", "tcp://[::1]:%s"};
    for (int i = 0; i < 2; i++) {
        struct telex_bytes_port *port;
        assert_int_equal(streams_listen(listened[i], &port), 0);
        const char *number = strrchr(port->ops->address(port), ':') + 1;
        for (int j = 0; j < (has_ipv6() ? 3 : 2); j++) {
            char text[64];
            struct telex_bytes *bytes, *accepted;
            struct telex_medium_peer peer;
            snprintf(text, sizeof text, dialed[j], number);
            assert_int_equal(streams_dial(text, streams_soon(), &bytes), 0);
            accepted = streams_accept(port);
            accepted->ops->peer(accepted, &peer);
            assert_int_equal(strncmp(peer.address, j == 2 ? "[::1]:" : "127.0.0.1:", 6), 0);
            accepted->ops->close(accepted);
            bytes->ops->close(bytes);
        }
        struct telex_bytes *bytes; /* what it says of itself can be dialed, too */
        assert_int_equal(streams_dial(port->ops->address(port), streams_soon(), &bytes), 0);
        bytes->ops->close(bytes);
        port->ops->close(port);
    }
}

static void ports_in_use(void **state)
{
    (void)state;
    struct streams streams = streams_new("tcp://127.0.0.1:0", "");
    struct telex_bytes_port *other;
    char text[64];
    snprintf(text, sizeof text, "%s", streams.port->ops->address(streams.port));
    assert_int_equal(streams_listen(text, &other), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), text));
    streams.accepted->ops->close(streams.accepted); /* this end stays in TIME_WAIT, which does not hinder */
    streams.accepted = NULL;
    streams_free(&streams);
    assert_int_equal(streams_listen(text, &other), 0);
    other->ops->close(other);
}

static int option_of(struct telex_bytes *bytes, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    getsockopt(bytes->ops->descriptor(bytes), level, name, &value, &length);
    return value;
}

static void tuning_is_inherited(void **state)
{
    (void)state;
    struct streams streams = streams_new("tcp://127.0.0.1:0", "");
    for (int i = 0; i < 2; i++) {
        struct telex_bytes *bytes = i == 0 ? streams.dialed : streams.accepted;
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(option_of(bytes, SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_KEEPIDLE), 20);
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_KEEPINTVL), 5);
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_KEEPCNT), 4);
        assert_true((fcntl(bytes->ops->descriptor(bytes), F_GETFD) & FD_CLOEXEC) != 0);
        assert_true((fcntl(bytes->ops->descriptor(bytes), F_GETFL) & O_NONBLOCK) != 0);
    }
    int fd = 0;
    assert_int_equal(streams.dialed->ops->write(streams.dialed, &(struct iovec){"x", 1}, 1, &fd, 1), -EOPNOTSUPP);
    streams_free(&streams);
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* In a network of its own with one port to pick, a socket that dials this port gets it as its own end. */
static void never_dials_itself(void **state)
{
    (void)state;
    struct ifreq interface = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return; /* not permitted here */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = ioctl(fd, SIOCSIFFLAGS, &interface) == 0;
    close(fd);
    if (!up || !write_file("/proc/sys/net/ipv4/ip_local_port_range", "40001 40001"))
        return;
    struct telex_bytes *bytes;
    assert_int_equal(streams_dial("tcp://127.0.0.1:40001", streams_soon(), &bytes), -ECONNREFUSED);
    assert_int_equal(streams_dial("tcp://[::1]:40001", streams_soon(), &bytes), -ECONNREFUSED);
}

static void names_are_looked_up(void **state)
{
    (void)state;
    struct telex_resolved resolved;
    assert_int_equal(telex_resolve("localhost", 80, streams_soon(), &resolved), 0);
    bool found = false;
    for (unsigned i = 0; i < resolved.count; i++) {
        found = found || (resolved.hosts[i].any.sa_family == AF_INET && resolved.hosts[i].v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
        assert_int_equal(ntohs(resolved.hosts[i].v4.sin_port), 80);
    }
    assert_true(found);
    assert_int_equal(telex_resolve("::1", 80, 0, &resolved), 0);
    assert_int_equal(resolved.count, 1);
    assert_int_equal(resolved.hosts[0].any.sa_family, AF_INET6);
    assert_int_equal(telex_resolve("fe80::1%lo", 80, 0, &resolved), 0);
    assert_int_equal(resolved.hosts[0].v6.sin6_scope_id, 1);
    assert_int_equal(telex_resolve("fe80::1%nosuch0", 80, 0, &resolved), -EINVAL);
    assert_non_null(strstr(telex_said(), "nosuch0"));
    assert_int_equal(telex_resolve("a..b", 80, streams_soon(), &resolved), -EINVAL);
}

static const struct testing_case cases[] = {
    TESTING_CASE(moves_bytes),
    TESTING_CASE(fills_up),
    TESTING_CASE(peer_closes),
    TESTING_CASE(peer_breaks),
    TESTING_CASE(knows_its_peer),
    TESTING_CASE(out_of_descriptors),
    TESTING_CASE(descriptors_coalesced),
    TESTING_CASE(descriptors_byte_by_byte),
    TESTING_CASE(descriptors_with_a_partial_write),
    TESTING_CASE(descriptors_nobody_wants),
    TESTING_CASE(too_many_descriptors),
    TESTING_CASE(paths),
    TESTING_CASE(a_datagram_socket_is_somebody),
    TESTING_CASE(paths_without_a_runtime_directory),
    TESTING_CASE(a_forked_child_keeps_the_path),
    TESTING_CASE(abstract_names),
    TESTING_CASE(malformed),
    TESTING_CASE(nobody_listens),
    TESTING_CASE(not_permitted),
    TESTING_CASE(full_queues),
    TESTING_CASE(dialing_is_interrupted),
    TESTING_CASE(every_interface),
    TESTING_CASE(ports_in_use),
    TESTING_CASE(tuning_is_inherited),
    TESTING_CASE(never_dials_itself),
    TESTING_CASE(names_are_looked_up),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "bytes", cases, sizeof cases / sizeof *cases);
}
