/* SPDX-License-Identifier: MIT */
/* fd: and stdio: on everything that a descriptor can stand for: whose it is afterwards, what is refused, and that nothing of it is changed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/quiet.h"
#include "telex/telex.h"
#include "unit/scratch.h"
#include "unit/testing.h"

#define SOON telex_after(10 * INT64_C(1000000000))

static const unsigned denials[] = {0, TELEX_SKILL_REOPEN, TELEX_SKILL_REOPEN | TELEX_SKILL_NOWAIT, TELEX_SKILL_REOPEN | TELEX_SKILL_NOWAIT | TELEX_SKILL_NOSIGNAL};

enum { DENIALS = sizeof denials / sizeof *denials };

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static const char *address_of(int in, int out, const char *options)
{
    static char text[128];
    char numbers[2][16] = {"-", "-"};
    if (in >= 0)
        snprintf(numbers[0], sizeof numbers[0], "%d", in);
    if (out >= 0)
        snprintf(numbers[1], sizeof numbers[1], "%d", out);
    snprintf(text, sizeof text, "fd:%s,%s%s%s", numbers[0], numbers[1], options[0] != '\0' ? "?" : "", options);
    return text;
}

static telex_channel *dial(int in, int out, const char *options)
{
    telex_channel *channel;
    assert_good(telex_dial(address_of(in, out, options), NULL, SOON, &channel));
    return channel;
}

static void send_line(telex_channel *channel, const char *text)
{
    telex_message message = telex_text(text);
    assert_good(telex_send(channel, &message, 0, SOON));
}

static void expect_line(telex_channel *channel, const char *text)
{
    telex_message message = {0};
    assert_good(telex_receive(channel, &message, SOON));
    char *got = telex_string(&message);
    assert_string_equal(got, text);
    free(got);
    telex_release(&message);
}

static void expect_end(telex_channel *channel, int error)
{
    telex_message message = {0};
    assert_int_equal(telex_receive(channel, &message, SOON), error);
    assert_true(strlen(telex_reason(channel)) > 0);
}

/* ---- what is refused, and stays the program's ---- */

static void refused(int in, int out, const char *options, int error, const char *words)
{
    telex_channel *channel;
    telex_listener *listener;
    int flags[2] = {fcntl(in, F_GETFL), fcntl(out, F_GETFL)};
    int r = telex_dial(address_of(in, out, options), NULL, SOON, &channel);
    if (r != error || strstr(telex_reason(NULL), words) == NULL)
        fail_msg("%s: %d, not %d: \"%s\" does not speak of \"%s\"", address_of(in, out, options), r, error, telex_reason(NULL), words);
    assert_int_equal(telex_listen(address_of(in, out, options), NULL, &listener), error);
    assert_int_equal(fcntl(in, F_GETFL), flags[0]); /* as open as before */
    assert_int_equal(fcntl(out, F_GETFL), flags[1]);
}

static void wrong_ones(void **state)
{
    (void)state;
    int pair[2], datagrams[2], records[2], stream[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, records), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), 0);
    int epoll = epoll_create1(EPOLL_CLOEXEC), event = eventfd(0, EFD_CLOEXEC), directory = open("/", O_RDONLY | O_CLOEXEC), path = open("/", O_PATH | O_CLOEXEC);
    int lonely = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(listening, 1), 0);

    refused(pair[1], pair[0], "", -EINVAL, "not open for reading");
    refused(pair[0], pair[0], "", -EINVAL, "not open for writing");
    refused(-1, pair[0], "wire=raw", -EINVAL, "not open for writing");
    refused(stream[0], pair[0], "", -EINVAL, "not open for writing");
    refused(pair[0], 999, "", -EBADF, "descriptor 999 is not open");
    refused(999, pair[1], "", -EBADF, "descriptor 999 is not open");
    refused(datagrams[0], datagrams[0], "", -EINVAL, "no stream");
    refused(records[0], records[0], "", -EINVAL, "no stream");
    refused(lonely, lonely, "", -EINVAL, "not connected");
    refused(listening, listening, "", -EINVAL, "listening");
    refused(epoll, epoll, "", -EINVAL, "epoll");
    refused(event, event, "", -EINVAL, "event");
    refused(directory, pair[1], "", -EINVAL, "directory");
    refused(path, pair[1], "", -EINVAL, "not open for reading");
    refused(pair[0], -1, "", -EINVAL, "both directions");
    refused(-1, pair[1], "", -EINVAL, "both directions");

    telex_channel *channel;
    assert_int_equal(telex_dial("stdio:3", NULL, SOON, &channel), -EINVAL);
    telex_channel *raw = dial(stream[0], stream[0], "wire=raw");
    refused(telex_fd(raw), telex_fd(raw), "", -EBADF, "telex's own");
    telex_close(raw, SOON, NULL);
    const int all[] = {pair[0], pair[1], datagrams[0], datagrams[1], records[0], records[1], stream[1], epoll, event, directory, path, lonely, listening};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_int_equal(close(all[i]), 0);
}

/* ---- whose they are ---- */

static void numbers_above_two_are_taken_over(void **state)
{
    (void)state;
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        int pair[2];
        assert_int_equal(pipe(pair), 0);
        telex_channel *channel = dial(-1, pair[1], "wire=lines");
        assert_false(is_open(pair[1]));
        send_line(channel, "one");
        char text[8];
        assert_int_equal(read(pair[0], text, sizeof text), 4);
        assert_good(telex_close(channel, SOON, NULL));
        assert_int_equal(read(pair[0], text, sizeof text), 0); /* nobody has the other end any more */
        close(pair[0]);
    }
}

static void standard_streams_stay(void **state)
{
    (void)state;
    int kept[2] = {fcntl(0, F_DUPFD_CLOEXEC, 3), fcntl(1, F_DUPFD_CLOEXEC, 3)}, pair[2], other[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_int_equal(pipe2(other, O_CLOEXEC), 0);
    assert_true(dup2(pair[0], 0) == 0 && dup2(other[1], 1) == 1);
    telex_channel *channel;
    assert_good(telex_dial("stdio:?wire=lines", NULL, SOON, &channel));
    assert_int_equal(write(pair[1], "ping\n", 5), 5);
    expect_line(channel, "ping");
    send_line(channel, "pong");
    char text[8];
    assert_int_equal(read(other[0], text, sizeof text), 5);
    assert_good(telex_close(channel, SOON, NULL));
    assert_int_equal(write(1, "more", 4), 4); /* still the program's */
    assert_int_equal(read(other[0], text, sizeof text), 4);
    for (int i = 0; i < 2; i++) {
        dup2(kept[i], i);
        close(kept[i]);
        close(pair[i]);
        close(other[i]);
    }
}

static void flags_stay(void **state)
{
    (void)state;
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        for (int kind = 0; kind < 3; kind++) {
            int a[2], b[2];
            if (kind == 0) {
                assert_int_equal(pipe2(a, O_CLOEXEC), 0);
                assert_int_equal(pipe2(b, O_CLOEXEC), 0);
            } else if (kind == 1) {
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
            } else {
                assert_int_equal(openpty(&a[0], &a[1], NULL, NULL, NULL), 0);
                assert_int_equal(openpty(&b[0], &b[1], NULL, NULL, NULL), 0);
            }
            int in = fcntl(a[0], F_DUPFD_CLOEXEC, 3), out = fcntl(b[1], F_DUPFD_CLOEXEC, 3); /* who shares the open files */
            int before[2] = {fcntl(in, F_GETFL), fcntl(out, F_GETFL)};
            telex_channel *channel = dial(a[0], b[1], "wire=lines");
            telex_message message = {0};
            assert_int_equal(telex_receive(channel, &message, telex_after(1000000)), -ETIMEDOUT);
            assert_int_equal(telex_receive(channel, &message, telex_after(50000000)), -ETIMEDOUT); /* long enough to doze */
            send_line(channel, "x");
            assert_int_equal(fcntl(in, F_GETFL), before[0]);
            assert_int_equal(fcntl(out, F_GETFL), before[1]);
            struct timeval patience = {9, 9};
            socklen_t length = sizeof patience;
            assert_true(kind != 1 || (getsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &patience, &length) == 0 && patience.tv_sec == 0 && patience.tv_usec == 0));
            telex_close(channel, TELEX_NOW, NULL);
            close(a[1]), close(b[0]), close(in), close(out);
        }
    }
}

/* ---- every kind ---- */

static void files(void **state)
{
    (void)state;
    const char *path = scratch_path("file");
    int out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    telex_channel *channel = dial(-1, out, "wire=lines");
    telex_message message = {0};
    assert_int_equal(telex_receive(channel, &message, SOON), -EPIPE); /* nothing ever comes */
    for (int i = 0; i < 1000; i++)
        send_line(channel, "a line of a file");
    assert_good(telex_close(channel, SOON, NULL));

    channel = dial(open(path, O_RDONLY | O_CLOEXEC), -1, "wire=lines");
    struct pollfd ready = {.fd = telex_fd(channel), .events = POLLIN};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(poll(&ready, 1, 10000), 1);
        expect_line(channel, "a line of a file");
    }
    assert_int_equal(poll(&ready, 1, 10000), 1);
    expect_end(channel, -EPIPE);
    message = telex_text("x");
    assert_int_equal(telex_send(channel, &message, 0, SOON), -EPIPE);
    assert_good(telex_close(channel, SOON, NULL));

    channel = dial(open("/dev/null", O_RDWR | O_CLOEXEC), -1, "wire=lines");
    expect_end(channel, -EPIPE);
    assert_good(telex_close(channel, SOON, NULL));
    channel = dial(open("/dev/zero", O_RDONLY | O_CLOEXEC), open("/dev/null", O_WRONLY | O_CLOEXEC), "wire=raw");
    assert_good(telex_receive(channel, &message, SOON));
    assert_true(message.length > 0 && ((char *)message.data)[0] == '\0');
    telex_release(&message);
    message = telex_text("nowhere");
    assert_good(telex_send(channel, &message, 0, SOON));
    telex_close(channel, TELEX_NOW, NULL);
}

static void terminals(void **state)
{
    (void)state;
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        int master, slave;
        assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
        telex_channel *screen = dial(master, master, "wire=lines"), *program = dial(slave, slave, "wire=lines");
        send_line(screen, "typed");
        expect_line(program, "typed");
        expect_line(screen, "typed"); /* the echo */
        send_line(program, "printed");
        expect_line(screen, "printed");
        telex_close(program, telex_after(100000000), NULL);
        expect_end(screen, -EPIPE); /* hung up */
        telex_close(screen, TELEX_NOW, NULL);
    }
}

static void fifos(void **state)
{
    (void)state;
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        const char *path = scratch_path("fifo");
        assert_int_equal(mkfifo(path, 0600), 0);
        int in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), out = open(path, O_WRONLY | O_CLOEXEC);
        fcntl(in, F_SETFL, 0); /* it would wait */
        telex_channel *reader = dial(in, -1, "wire=lines"), *writer = dial(-1, out, "wire=lines&full=fail&buffer=4KiB");
        telex_message message = {0};
        assert_int_equal(telex_receive(reader, &message, TELEX_NOW), -EAGAIN);
        send_line(writer, "through a name");
        expect_line(reader, "through a name");
        char line[1000];
        memset(line, 'x', sizeof line);
        int sent = 0, r = 0;
        for (; r == 0 && sent < 1000; sent += r == 0) {
            message = telex_binary(line, sizeof line);
            message.kind = TELEX_TEXT;
            r = telex_send(writer, &message, 0, TELEX_NOW);
        }
        assert_int_equal(r, -EAGAIN); /* full, and nobody waited */
        message = (telex_message){0};
        for (int got = 0; got < sent; got++)
            do
                telex_process(writer);
            while ((r = telex_receive(reader, &message, telex_after(1000000))) == -ETIMEDOUT);
        assert_int_equal(message.length, sizeof line);
        telex_release(&message);
        assert_good(telex_close(writer, SOON, NULL));
        expect_end(reader, -EPIPE);
        assert_good(telex_close(reader, SOON, NULL));
        unlink(path);
    }
}

/* SIGPIPE would end the case. */
static void nobody_reads(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        for (int socket = 0; socket < 2; socket++) {
            int pair[2];
            assert_int_equal(socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) : pipe2(pair, O_CLOEXEC), 0);
            telex_channel *channel = dial(-1, pair[1], "wire=raw");
            close(pair[0]);
            telex_message message = telex_text("x");
            assert_int_equal(telex_send(channel, &message, 0, SOON), -EPIPE);
            telex_close(channel, SOON, NULL);
        }
        int pair[2];
        assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
        telex_channel *channel = dial(-1, pair[1], "wire=lines"); /* what lies unread was not taken, and never will be */
        send_line(channel, "unread");
        close(pair[0]);
        uint64_t untaken = 0;
        assert_int_equal(telex_close(channel, TELEX_NEVER, &untaken), -ECONNRESET);
        assert_int_equal(untaken, 1);
    }
}

/* ---- the passive side ---- */

static void one_peer_comes(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    telex_listener *listener;
    telex_channel *channel, *another;
    assert_good(telex_listen(address_of(pair[0], pair[0], "wire=lines"), NULL, &listener));
    assert_false(is_open(pair[0]));
    struct pollfd ready = {.fd = telex_listener_fd(listener), .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 0), 1);
    assert_good(telex_accept(listener, TELEX_NOW, &channel));
    assert_int_equal(telex_accept(listener, TELEX_NEVER, &another), -ESHUTDOWN);
    assert_non_null(strstr(telex_reason(NULL), "nobody comes any more"));
    assert_int_equal(poll(&ready, 1, 0), 0);
    telex_listener_close(listener);
    assert_int_equal(write(pair[1], "hello\n", 6), 6);
    expect_line(channel, "hello");
    telex_close(channel, SOON, NULL);
    char byte;
    assert_int_equal(read(pair[1], &byte, 1), 0);
    close(pair[1]);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0); /* never accepted */
    assert_good(telex_listen(address_of(pair[0], pair[0], "wire=lines"), NULL, &listener));
    telex_listener_close(listener);
    assert_int_equal(read(pair[1], &byte, 1), 0);
    close(pair[1]);
}

static void count_lines(telex_server *server, telex_channel *channel, telex_message *message, void *user)
{
    (void)server, (void)channel, (void)message;
    ++*(int *)user;
}

/* A server that nobody else can come to ends by itself. */
static void a_server_ends_with_its_last_peer(void **state)
{
    (void)state;
    int pair[2], other[2], lines = 0;
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_int_equal(pipe2(other, O_CLOEXEC), 0);
    telex_handlers handlers = {.size = sizeof handlers, .message = count_lines};
    telex_server *server;
    assert_good(telex_server_new(&handlers, NULL, &lines, &server));
    assert_good(telex_server_listen(server, address_of(pair[0], -1, "wire=lines"), NULL, NULL));
    assert_good(telex_server_listen(server, address_of(other[0], -1, "wire=lines"), NULL, NULL));
    assert_int_equal(write(pair[1], "1\n2\n", 4), 4);
    close(pair[1]);
    for (int i = 0; i < 20; i++)
        assert_good(telex_server_process(server)); /* one may still speak */
    assert_int_equal(write(other[1], "3\n", 2), 2);
    close(other[1]);
    assert_good(telex_server_run(server));
    assert_int_equal(lines, 3);
    assert_good(telex_server_close(server, SOON));
}

/* ---- one direction ends ---- */

static void ended_one_way(void **state)
{
    (void)state;
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        for (int socket = 0; socket < 2; socket++) {
            int there[2], back[2];
            assert_int_equal(socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, there) : pipe2(there, O_CLOEXEC), 0);
            if (!socket)
                assert_int_equal(pipe2(back, O_CLOEXEC), 0);
            telex_channel *channel = dial(socket ? there[1] : back[0], there[1], "wire=lines");
            send_line(channel, "last words");
            assert_good(telex_end(channel, SOON));
            telex_message message = telex_text("more");
            assert_int_equal(telex_send(channel, &message, 0, SOON), -ESHUTDOWN);
            char text[32];
            assert_int_equal(read(there[0], text, sizeof text), 11);
            assert_int_equal(read(there[0], text, sizeof text), 0);
            assert_int_equal(write(socket ? there[0] : back[1], "answer\n", 7), 7);
            expect_line(channel, "answer");
            assert_good(telex_end(channel, SOON));
            uint64_t untaken = 9;
            assert_good(telex_close(channel, SOON, &untaken));
            assert_int_equal(untaken, 0);
            close(there[0]);
            if (!socket)
                close(back[1]);
        }
    }
}

/* ---- kernels that lack it ---- */

static void refuse_system_calls(const int *calls, unsigned count, int error)
{
    struct sock_filter filter[16] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned at = 1;
    for (unsigned i = 0; i < count; i++)
        filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], (unsigned char)(count - i), 0);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
    struct sock_fprog program = {(unsigned short)at, filter};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        skip();
}

/* The calls that know flags are refused: to the probe, or only afterwards, by a descriptor whose driver knows none. */
static void flags_are_unknown(bool probed_before)
{
    static const int calls[] = {SYS_preadv2, SYS_pwritev2};
    void *state = NULL;
    if (probed_before)
        telex_skilled(TELEX_SKILL_NOWAIT);
    refuse_system_calls(calls, 2, EOPNOTSUPP);
    for (int denied = 0; denied < 2; denied++) {
        telex_skills_denied = denied ? TELEX_SKILL_REOPEN : 0;
        int there[2], back[2];
        assert_int_equal(pipe2(there, O_CLOEXEC), 0);
        assert_int_equal(pipe2(back, O_CLOEXEC), 0);
        telex_channel *here = dial(back[0], there[1], "wire=lines"), *peer = dial(there[0], back[1], "wire=lines");
        send_line(here, "over");
        expect_line(peer, "over");
        send_line(peer, "and back");
        expect_line(here, "and back");
        telex_message message = {0};
        assert_int_equal(telex_receive(here, &message, TELEX_NOW), -EAGAIN);
        assert_good(telex_close(peer, SOON, NULL));
        message = telex_text("x");
        assert_int_equal(telex_send(here, &message, 0, SOON), -EPIPE);
        telex_close(here, SOON, NULL);
    }
    fifos(&state);
    nobody_reads(&state);
}

static void an_old_kernel(void **state)
{
    (void)state;
    flags_are_unknown(false);
}

static void an_old_driver(void **state)
{
    (void)state;
    flags_are_unknown(true);
}

static const struct testing_case cases[] = {
    TESTING_CASE(an_old_kernel), TESTING_CASE(an_old_driver),
    TESTING_CASE(wrong_ones), TESTING_CASE(numbers_above_two_are_taken_over), TESTING_CASE(standard_streams_stay),
    TESTING_CASE(flags_stay), TESTING_CASE(files), TESTING_CASE(terminals), TESTING_CASE(fifos), TESTING_CASE(nobody_reads),
    TESTING_CASE(one_peer_comes), TESTING_CASE(a_server_ends_with_its_last_peer), TESTING_CASE(ended_one_way),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "fd", cases, sizeof cases / sizeof *cases);
}
