/* SPDX-License-Identifier: MIT */
/* Streams over named pipes: both ways, before anybody accepts, their ends; and that no write ever raises SIGPIPE, on any kernel. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "medium/stream/pipes.h"
#include "unit/fifos.h"

static void both_ways(void **state)
{
    (void)state;
    struct streams streams = pipe_streams();
    assert_int_equal(fifos_there(), 1); /* the listener's alone: the client's are removed once both sides have them */
    streams_expect(streams.accepted, "", 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(streams_write(streams.dialed, "up", 2), 2);
        streams_expect(streams.accepted, "up", 2);
        assert_int_equal(streams_write(streams.accepted, "down", 4), 4);
        streams_expect(streams.dialed, "down", 4);
    }
    char byte;
    assert_int_equal(streams_read(streams.dialed, &byte, 1), -EAGAIN);
    assert_int_equal(streams_read(streams.accepted, &byte, 1), -EAGAIN);
    assert_int_equal(streams_pass(streams.dialed, "x", (int[]){0}, 1), -EOPNOTSUPP);
    assert_int_equal(streams_write(streams.dialed, "unread", 6), 6);
    assert_int_equal(streams.dialed->ops->unsent(streams.dialed), 6);
    streams_free(&streams);
}

/* What a client says before it is accepted stays, and its end shows to poll(2). */
static void before_anybody_accepts(void **state)
{
    (void)state;
    struct streams streams = pipe_streams_unaccepted();
    char byte;
    assert_int_equal(streams_read(streams.dialed, &byte, 1), -EAGAIN); /* nobody writes yet: that is no end */
    struct pollfd poll = {.fd = streams.dialed->ops->descriptor(streams.dialed), .events = POLLIN};
    assert_int_equal(telex_poll(&poll, 1, 0), 0);
    assert_int_equal(streams_write(streams.dialed, "early", 5), 5);
    assert_false(streams.dialed->ops->survives(streams.dialed));
    streams.dialed->ops->end(streams.dialed);
    assert_int_equal(streams.dialed->ops->unsent(streams.dialed), 5);
    streams.accepted = streams_accept(streams.port);
    assert_true(streams.dialed->ops->survives(streams.dialed));
    assert_int_equal(streams_read(streams.accepted, (char[8]){0}, 5), 5);
    streams_ready(streams.accepted->ops->descriptor(streams.accepted), POLLIN); /* the end */
    assert_int_equal(streams_read(streams.accepted, &byte, 1), 0);
    assert_int_equal(streams.dialed->ops->unsent(streams.dialed), 0);
    assert_int_equal(streams_write(streams.accepted, "late", 4), 4); /* the other direction lives on */
    streams_expect(streams.dialed, "late", 4);
    streams_free(&streams);
}

static void ends(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 2; i++) {
        struct streams streams = pipe_streams();
        struct telex_bytes **gone = i == 0 ? &streams.dialed : &streams.accepted, *left = i == 0 ? streams.accepted : streams.dialed;
        assert_int_equal(streams_write(left, "x", 1), 1); /* and the client knows by then that it was accepted */
        assert_int_equal(streams_write(*gone, "last", 4), 4);
        (*gone)->ops->close(*gone);
        *gone = NULL;
        streams_expect(left, "last", 4);
        streams_ready(left->ops->descriptor(left), POLLIN);
        assert_int_equal(streams_read(left, (char[1]){0}, 1), 0);
        assert_int_equal(streams_write(left, "x", 1), -EPIPE);
        left->ops->end(left);
        assert_int_equal(left->ops->outlet(left), -1);
        assert_int_equal(streams_write(left, "x", 1), -EPIPE);
        streams_free(&streams);
    }
}

/* Whether the peer had read everything is known also when it is gone. */
static void what_was_read_before_the_end(void **state)
{
    (void)state;
    for (int reads = 0; reads < 2; reads++) {
        struct streams streams = pipe_streams();
        struct telex_bytes *dialed = streams.dialed;
        assert_int_equal(streams_write(dialed, "last", 4), 4);
        dialed->ops->end(dialed);
        assert_int_equal(dialed->ops->unsent(dialed), 4);
        if (reads)
            streams_expect(streams.accepted, "last", 4);
        streams.accepted->ops->end(streams.accepted);
        streams_ready(dialed->ops->descriptor(dialed), POLLIN);
        assert_int_equal(streams_read(dialed, (char[1]){0}, 1), 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(dialed->ops->unsent(dialed), reads ? 0 : 4); /* it may still read them */
        streams.accepted->ops->close(streams.accepted);
        streams.accepted = NULL;
        for (int i = 0; i < 2; i++)
            assert_int_equal(dialed->ops->unsent(dialed), reads ? 0 : -ECONNRESET);
        streams_free(&streams);
    }
}

/* Without a descriptor to look by, what was not read before the end is never said to have been. */
static void no_descriptor_at_the_end(void **state)
{
    (void)state;
    for (int reads = 0; reads < 2; reads++) {
        struct streams streams = pipe_streams();
        struct rlimit limit, none;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(streams_write(streams.accepted, "last", 4), 4);
        if (reads)
            streams_expect(streams.dialed, "last", 4);
        none = (struct rlimit){3, limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        streams.accepted->ops->end(streams.accepted);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(streams.accepted->ops->unsent(streams.accepted), reads ? 0 : -ECONNRESET);
        streams_free(&streams);
    }
}

/* A pipe that is full becomes larger, once; then it takes no more. */
static void full(void **state)
{
    (void)state;
    static char bytes[65536];
    struct streams streams = pipe_streams();
    ssize_t sent, all = 0;
    while ((sent = streams_write(streams.dialed, bytes, sizeof bytes)) > 0)
        all += sent;
    assert_int_equal(sent, -EAGAIN);
    assert_true(all >= 128 * 1024);
    struct pollfd room = {.fd = streams.dialed->ops->outlet(streams.dialed), .events = POLLOUT};
    assert_int_equal(telex_poll(&room, 1, 0), 0);
    assert_int_equal(streams_read(streams.accepted, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(telex_poll(&room, 1, streams_soon()), 1);
    assert_true(streams_write(streams.dialed, bytes, sizeof bytes) > 0);
    streams_free(&streams);
}

static void on_alarm(int number)
{
    (void)number;
}

static void dozing(void **state)
{
    (void)state;
    struct streams streams = pipe_streams_unaccepted();
    struct iovec part = {(char[8]){0}, 8};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(streams.dialed->ops->doze(streams.dialed, &part, 1, NULL, NULL), -EAGAIN);
        if (i == 0)
            streams.accepted = streams_accept(streams.port);
    }
    assert_int_equal(streams_write(streams.accepted, "x", 1), 1);
    assert_int_equal(streams.dialed->ops->doze(streams.dialed, &part, 1, NULL, NULL), 1);
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    ssize_t r = -EAGAIN;
    for (int i = 0; i < 1000 && r == -EAGAIN; i++) {
        ualarm(1000, 0);
        r = streams.accepted->ops->doze(streams.accepted, &part, 1, NULL, NULL);
    }
    ualarm(0, 0);
    assert_int_equal(r, -EINTR);
    streams_free(&streams);
}

/* ---- SIGPIPE ---- */

static bool is_pending(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE);
}

static void write_in_vain(int fd)
{
    struct iovec parts[] = {streams_part("in "), streams_part("vain")};
    assert_int_equal(telex_pipe_write(fd, parts, 2), -EPIPE);
    assert_int_equal(telex_pipe_write(fd, parts, 1), -EPIPE);
}

static void never_a_sigpipe(void)
{
    int ends[2];
    sigset_t set, now;
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    struct iovec parts[] = {streams_part("not in "), streams_part("vain")};
    assert_int_equal(telex_pipe_write(ends[1], parts, 2), 11);
    close(ends[0]);
    signal(SIGPIPE, SIG_DFL);
    write_in_vain(ends[1]); /* it would kill */
    signal(SIGPIPE, SIG_IGN);
    write_in_vain(ends[1]);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    write_in_vain(ends[1]);
    assert_false(is_pending());
    raise(SIGPIPE); /* the program's own */
    write_in_vain(ends[1]);
    assert_true(is_pending());
    assert_int_equal(sigtimedwait(&set, NULL, &(struct timespec){0}), SIGPIPE);
    sigprocmask(SIG_SETMASK, NULL, &now);
    assert_true(sigismember(&now, SIGPIPE)); /* as it was */
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    write_in_vain(ends[1]);
    sigprocmask(SIG_SETMASK, NULL, &now);
    assert_false(sigismember(&now, SIGPIPE));
    close(ends[1]);
}

static void no_sigpipe(void **state)
{
    (void)state;
    never_a_sigpipe();
}

static void no_sigpipe_on_an_old_kernel(void **state)
{
    (void)state;
    fail_calls(SYS_pwritev2, EOPNOTSUPP); /* as a kernel before 6.18 answers: no flag of it keeps SIGPIPE away */
    never_a_sigpipe();
    struct streams streams = pipe_streams();
    assert_int_equal(streams_write(streams.accepted, "x", 1), 1);
    streams.dialed->ops->close(streams.dialed);
    streams.dialed = NULL;
    assert_int_equal(streams_write(streams.accepted, "x", 1), -EPIPE);
    streams_free(&streams);
}

/* ---- many ---- */

static void ten_thousand_clients_leave_nothing(void **state)
{
    (void)state;
    int clients = getenv("CONFORM_SHORT") != NULL ? 1000 : 10000;
    struct streams streams = pipe_streams();
    int first = dup(0);
    close(first);
    for (int i = 0; i < clients; i++) {
        struct streams one = {.port = streams.port};
        assert_int_equal(streams_dial(streams.port->ops->address(streams.port), streams_soon(), &one.dialed), 0);
        if (i % 4 == 0) { /* it goes before it is accepted: that costs nobody anything */
            one.dialed->ops->close(one.dialed);
            assert_int_equal(streams.port->ops->accept(streams.port, &one.accepted), -EAGAIN);
            continue;
        }
        one.accepted = streams_accept(streams.port);
        assert_int_equal(streams_write(one.dialed, "x", 1), 1);
        streams_expect(one.accepted, "x", 1);
        one.dialed->ops->close(one.dialed);
        one.accepted->ops->close(one.accepted);
    }
    assert_int_equal(fifos_there(), 1);
    int last = dup(0);
    close(last);
    assert_int_equal(last, first);
    streams_free(&streams);
    assert_int_equal(fifos_there(), 0);
}

/* A hello that cannot be served for want of descriptors is not lost. */
static void out_of_descriptors(void **state)
{
    (void)state;
    struct streams streams = pipe_streams_unaccepted(), second = {0};
    struct rlimit limit, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(0);
    close(next);
    for (int room = 0; room < 2; room++) { /* not even one, and not the second */
        low = (struct rlimit){(rlim_t)(next + room), limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        assert_int_equal(streams.port->ops->accept(streams.port, &streams.accepted), -EMFILE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        streams_ready(streams.port->ops->descriptor(streams.port), POLLIN);
    }
    assert_int_equal(streams_dial(streams.port->ops->address(streams.port), streams_soon(), &second.dialed), 0);
    streams.accepted = streams_accept(streams.port);
    second.accepted = streams_accept(streams.port);
    second.dialed->ops->close(second.dialed);
    second.accepted->ops->close(second.accepted);
    streams_free(&streams);
}

static const struct testing_case cases[] = {
    TESTING_CASE(both_ways),
    TESTING_CASE(before_anybody_accepts),
    TESTING_CASE(ends),
    TESTING_CASE(what_was_read_before_the_end),
    TESTING_CASE(no_descriptor_at_the_end),
    TESTING_CASE(full),
    TESTING_CASE(dozing),
    TESTING_CASE(no_sigpipe),
    TESTING_CASE(no_sigpipe_on_an_old_kernel),
    TESTING_CASE_LIMIT(ten_thousand_clients_leave_nothing, 60),
    TESTING_CASE(out_of_descriptors),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "unit.pipes", cases, sizeof cases / sizeof *cases);
}
