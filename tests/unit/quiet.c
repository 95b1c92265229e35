/* SPDX-License-Identifier: MIT */
/* Writing without SIGPIPE and without waiting, by every way that there is: with what the kernel can, and with it taken away. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/fork.h"
#include "os/quiet.h"
#include "unit/testing.h"

static const unsigned denials[] = {0, TELEX_SKILL_NOSIGNAL, TELEX_SKILL_NOWAIT, TELEX_SKILL_NOSIGNAL | TELEX_SKILL_NOWAIT | TELEX_SKILL_REOPEN};

enum { DENIALS = sizeof denials / sizeof *denials };

static volatile sig_atomic_t caught;

static void on_pipe(int number)
{
    (void)number;
    caught++;
}

static int broken_pipe(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    return ends[1];
}

static ssize_t write_byte(int fd, bool nowait)
{
    char byte = 'x';
    struct iovec part = {&byte, 1};
    return telex_write_quietly(fd, &part, 1, nowait);
}

static bool is_pending(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void set_mask(int how)
{
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(how, &pipe_only, NULL);
}

static bool is_blocked(void)
{
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, SIGPIPE) == 1;
}

/* By default SIGPIPE would end the process; a handler would count it; blocked, it would be pending. */
static void no_signal_is_raised(void **state)
{
    (void)state;
    void (*const dispositions[])(int) = {SIG_DFL, SIG_IGN, on_pipe};
    int fd = broken_pipe();
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        for (int way = 0; way < 3; way++) {
            signal(SIGPIPE, dispositions[way]);
            for (int nowait = 0; nowait <= telex_skilled(TELEX_SKILL_NOWAIT); nowait++)
                assert_int_equal(write_byte(fd, nowait), -EPIPE);
            assert_int_equal(caught, 0);
            assert_false(is_pending());
            assert_false(is_blocked());
            set_mask(SIG_BLOCK);
            assert_int_equal(write_byte(fd, false), -EPIPE);
            assert_false(is_pending());
            assert_true(is_blocked());
            set_mask(SIG_UNBLOCK);
        }
    }
    close(fd);
}

/* One that the program has, and keeps blocked, is the program's. */
static void a_signal_that_waits_stays(void **state)
{
    (void)state;
    signal(SIGPIPE, on_pipe);
    int fd = broken_pipe();
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        caught = 0;
        set_mask(SIG_BLOCK);
        raise(SIGPIPE);
        assert_int_equal(write_byte(fd, false), -EPIPE);
        assert_true(is_pending());
        assert_int_equal(caught, 0);
        set_mask(SIG_UNBLOCK);
        assert_int_equal(caught, 1);
    }
    close(fd);
}

static void bytes_arrive(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    for (int i = 0; i < DENIALS; i++) {
        telex_skills_denied = denials[i];
        for (int nowait = 0; nowait <= telex_skilled(TELEX_SKILL_NOWAIT); nowait++) {
            struct iovec two[2] = {{"abc", 3}, {"defg", 4}};
            char first[2], second[8];
            struct iovec into[2] = {{first, sizeof first}, {second, sizeof second}};
            assert_int_equal(telex_write_quietly(ends[1], two, 2, nowait), 7);
            assert_int_equal(telex_read_quietly(ends[0], into, 2, nowait), 7);
            assert_memory_equal(first, "ab", 2);
            assert_memory_equal(second, "cdefg", 5);
        }
    }
    close(ends[1]);
    char byte;
    struct iovec part = {&byte, 1};
    assert_int_equal(telex_read_quietly(ends[0], &part, 1, false), 0);
    close(ends[0]);
    assert_int_equal(telex_read_quietly(ends[0], &part, 1, false), -EBADF);
    assert_int_equal(telex_write_quietly(ends[1], &part, 1, false), -EBADF);
}

/* On a descriptor that waits: without this the case would hang. */
static void without_waiting(void **state)
{
    (void)state;
    if (!telex_skilled(TELEX_SKILL_NOWAIT))
        skip();
    int ends[2];
    char bytes[4096] = {0};
    struct iovec part = {bytes, sizeof bytes};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(telex_read_quietly(ends[0], &part, 1, true), -EAGAIN);
    ssize_t sent;
    for (int i = 0; (sent = telex_write_quietly(ends[1], &part, 1, true)) > 0; i++)
        assert_true(i < 1000);
    assert_int_equal(sent, -EAGAIN);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

static void opened_again(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int in = telex_reopen(ends[0], O_RDONLY), out = telex_reopen(ends[1], O_WRONLY);
    assert_true(in >= 0 && out >= 0);
    assert_true(telex_owns(in) && (fcntl(in, F_GETFL) & O_NONBLOCK) && (fcntl(in, F_GETFD) & FD_CLOEXEC));
    assert_int_equal(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(write_byte(out, false), 1);
    char byte = 0;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    telex_shut(in);
    telex_shut(out);

    telex_skills_denied = TELEX_SKILL_REOPEN;
    assert_int_equal(telex_reopen(ends[0], O_RDONLY), -EACCES);
    telex_skills_denied = 0;
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(telex_reopen(ends[0], O_RDONLY), -EBADF);

    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_int_equal(telex_reopen(file, O_RDONLY), -ENODEV);
    assert_int_equal(telex_reopen(master, O_RDWR), -ENODEV); /* it would be another terminal */
    close(file);
    close(master);
}

static const struct testing_case cases[] = {
    TESTING_CASE(no_signal_is_raised), TESTING_CASE(a_signal_that_waits_stays), TESTING_CASE(bytes_arrive), TESTING_CASE(without_waiting), TESTING_CASE(opened_again),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "quiet", cases, sizeof cases / sizeof *cases);
}
