/* SPDX-License-Identifier: MIT */
/* Byte streams as the media give them, unix and tcp alike, below any framing. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/scratch.h"
#include "unit/streams.h"

/* Runs `body` on a pair of ends over each medium. */
static void over_each(void (*body)(struct streams *))
{
    const char *const addresses[] = {scratch_path("socket"), streams_abstract("", ""), "tcp://127.0.0.1:0",
                                     "tcp://localhost:0", "tcp://[::1]:0"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        char text[256];
        if (i == 4 && !streams_ipv6())
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
        over_each(name##_over);                                                                                        \
    }

static void moves_bytes_over(struct streams *streams)
{
    struct telex_bytes *one = streams->dialed, *other = streams->accepted;
    char first[3] = {0}, second[8] = {0};
    struct iovec from[3] = {streams_part("ab"), streams_part(""), streams_part("cdef")},
                 to[2] = {{first, 3}, {second, 8}};
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

static void ring(int number)
{
    (void)number;
}

/* A read that sleeps: not longer than it should, ended by bytes and by a signal, even one whose handler restarts system calls. */
static void dozes_over(struct streams *streams)
{
    struct telex_bytes *one = streams->dialed, *other = streams->accepted;
    char text[4];
    struct iovec part = {text, sizeof text};
    int64_t begin = telex_clock();
    assert_int_equal(other->ops->doze(other, &part, 1, NULL, NULL), -EAGAIN);
    assert_true(telex_clock() - begin >= TELEX_BYTES_DOZE_NS && telex_clock() - begin < (int64_t)1000 * MS);
    assert_int_equal(streams_write(one, "abc", 3), 3);
    for (ssize_t got = -EAGAIN; got != 3;) {
        got = other->ops->doze(other, &part, 1, NULL, NULL);
        assert_true(got == 3 || got == -EAGAIN);
    }
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = ring, .sa_flags = SA_RESTART}, NULL);
    ssize_t got = -EAGAIN;
    ualarm(10000, 1000);
    for (int64_t deadline = streams_soon(); got == -EAGAIN && telex_clock() < deadline;)
        got = other->ops->doze(other, &part, 1, NULL, NULL);
    ualarm(0, 0);
    assert_int_equal(got, -EINTR);
}
OVER_EACH(dozes)

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
    snprintf(text, sizeof text, "unix://%s%s", scratch_path("socket"), options);
    return streams_new(text, "");
}

/* Messages with 0, 1, 0, 2 descriptors, written one by one or read byte by byte: the descriptors come in order, with their first byte or later. */
static void descriptors_come_along(size_t chunk, bool split)
{
    struct streams streams = unix_streams("?descriptors=16");
    struct telex_bytes *one = streams.dialed, *other = streams.accepted;
    int files[3], fds[TELEX_BYTES_DESCRIPTORS * 3];
    unsigned count = 0, at_byte[12] = {0};
    for (int i = 0; i < 3; i++)
        files[i] = file_number(i);
    assert_int_equal(streams_write(one, "aaa", 3), 3);
    assert_int_equal(streams_pass(one, "bbb", files, 1), 3);
    assert_int_equal(streams_write(one, "ccc", 3), 3);
    struct iovec parts[2] = {streams_part("d"), streams_part("dd")};
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
    struct streams streams = unix_streams("?descriptors=16");
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
    static const char *const options[] = {"?descriptors=16", "?descriptors=0"};
    for (int i = 0; i < 2; i++) {
        struct streams streams = unix_streams(options[i]);
        struct telex_bytes *one = streams.dialed, *other = streams.accepted;
        int file = file_number(0), fds[TELEX_BYTES_DESCRIPTORS], before = count_open();
        unsigned count = 0;
        char byte;
        assert_int_equal(streams_pass(one, "x", &file, 1), 1);
        assert_int_equal(
            other->ops->read(other, &(struct iovec){&byte, 1}, 1, i == 0 ? NULL : fds, i == 0 ? NULL : &count), 1);
        assert_int_equal(count, 0);
        assert_int_equal(count_open(), before);
        close(file);
        streams_free(&streams);
    }
}

static void too_many_descriptors(void **state)
{
    (void)state;
    struct streams streams = unix_streams("?descriptors=16");
    struct telex_bytes *one = streams.dialed, *other = streams.accepted;
    enum { MANY = TELEX_BYTES_DESCRIPTORS + 1 };
    int file = file_number(0), many[MANY], fds[TELEX_BYTES_DESCRIPTORS], before = count_open();
    unsigned count = 0;
    char byte;
    for (int i = 0; i < MANY; i++)
        many[i] = file;
    assert_int_equal(streams_pass(one, "x", many, MANY), -EINVAL);
    assert_int_equal(streams_pass(one, "x", many, MANY - 1), 1);
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
    struct msghdr message = {.msg_iov = &(struct iovec){&byte, 1},
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    assert_int_equal(sendmsg(one->ops->descriptor(one), &message, 0), 1);
    assert_int_equal(other->ops->read(other, &(struct iovec){&byte, 1}, 1, fds, &count), -EMFILE);
    assert_int_equal(count, 0);
    assert_non_null(strstr(telex_said(), "descriptors"));

    /* This process can open no more. */
    struct rlimit kept, none;
    assert_int_equal(streams_pass(one, "x", &file, 1), 1);
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
}

static const struct testing_case cases[] = {
    TESTING_CASE(moves_bytes),
    TESTING_CASE(fills_up),
    TESTING_CASE(peer_closes),
    TESTING_CASE(peer_breaks),
    TESTING_CASE(dozes),
    TESTING_CASE(knows_its_peer),
    TESTING_CASE(out_of_descriptors),
    TESTING_CASE(descriptors_coalesced),
    TESTING_CASE(descriptors_byte_by_byte),
    TESTING_CASE(descriptors_with_a_partial_write),
    TESTING_CASE(descriptors_nobody_wants),
    TESTING_CASE(too_many_descriptors),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "bytes", cases, sizeof cases / sizeof *cases);
}
