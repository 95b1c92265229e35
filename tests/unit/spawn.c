/* SPDX-License-Identifier: MIT */
/* Programs with a channel to them: real ones (this one again, as somebody else; sh, sort), and every way that they can end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "telex/telex.h"
#include "unit/programs.h"
#include "unit/scratch.h"
#include "unit/testing.h"

/* ---- helpers ---- */

static int try_spawn(const char *const *argv, const char *query, telex_time deadline, telex_channel **ret_channel)
{
    telex_spawn_options how = {.size = sizeof how, .query = query};
    return telex_spawn(argv, &how, NULL, deadline, ret_channel);
}

static telex_channel *spawn(const char *const *argv, const char *query)
{
    telex_channel *channel;
    assert_good(try_spawn(argv, query, SOON, &channel));
    return channel;
}

static telex_channel *run_self(const char *name, const char *query)
{
    return spawn((const char *const[]){"/proc/self/exe", "--as", name, NULL}, query);
}

static telex_channel *run_shell(const char *script)
{
    return spawn((const char *const[]){"sh", "-c", script, NULL}, "wire=lines");
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

static void expect_end(telex_channel *channel, int error, const char *words)
{
    telex_message message = {0};
    int r = telex_receive(channel, &message, SOON);
    if (r != error || strstr(telex_reason(channel), words) == NULL)
        fail_msg("%d, not %d: \"%s\" does not speak of \"%s\"", r, error, telex_reason(channel), words);
}

static int64_t process_of(telex_channel *channel)
{
    telex_peer peer = {.size = sizeof peer};
    assert_good(telex_peer_of(channel, &peer));
    return peer.pid;
}

static void no_children_are_left(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* Kills what a program left running: it became this case's own child. How many there were. */
static int end_orphans(void)
{
    char path[64];
    int count = 0, process;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "r");
    assert_non_null(children);
    for (; fscanf(children, "%d", &process) == 1; count++)
        kill(process, SIGKILL);
    fclose(children);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return count;
}

/* ---- cases ---- */

static void a_worker_answers(void **state)
{
    (void)state;
    telex_channel *channel = run_self("echo", "descriptors=2");
    assert_true(process_of(channel) > 0 && process_of(channel) != getpid());
    int status = 99;
    assert_int_equal(telex_exit_status(channel, TELEX_NOW, &status), -EAGAIN);
    assert_int_equal(telex_exit_status(channel, telex_after(1000000), &status), -ETIMEDOUT);
    assert_int_equal(status, 99);
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    telex_message request = telex_text("are you there?"), reply = {0};
    request.descriptors = &file;
    request.descriptor_count = 1;
    assert_good(telex_call(channel, &request, &reply, SOON));
    assert_int_equal(reply.length, request.length);
    assert_int_equal(reply.descriptor_count, 1);
    telex_release(&reply);
    close(file);
    assert_int_equal(telex_end(channel, SOON), -EOPNOTSUPP);
    uint64_t untaken = 9;
    assert_good(telex_close(channel, SOON, &untaken));
    assert_int_equal(untaken, 0);
    no_children_are_left();
}

static void a_filter(void **state)
{
    (void)state;
    telex_channel *channel = spawn((const char *const[]){"sort", "-r", NULL}, "wire=lines");
    static const char *const lines[] = {"1", "3", "2"};
    for (int i = 0; i < 3; i++) {
        telex_message message = telex_text(lines[i]);
        assert_good(telex_send(channel, &message, 0, SOON));
    }
    assert_good(telex_end(channel, SOON));
    expect_line(channel, "3");
    expect_line(channel, "2");
    expect_line(channel, "1");
    expect_end(channel, -EPIPE, "exited with status 0");
    assert_non_null(strstr(telex_reason(channel), "sort (process "));
    int status = 99;
    assert_good(telex_exit_status(channel, TELEX_NOW, &status));
    assert_int_equal(status, 0);
    assert_good(telex_close(channel, SOON, NULL));
    no_children_are_left();
}

static void how_it_ends(void **state)
{
    (void)state;
    static const struct {
        const char *script, *self; /* one of them */
        int error, status;
        const char *words;
    } each[] = {
        {"exit 3", NULL, -EPIPE, 3 << 8, "exited with status 3"},
        {"kill -9 $$", NULL, -ECONNRESET, SIGKILL, "was killed by signal 9 (Killed)"},
        {"kill -15 $$", NULL, -ECONNRESET, SIGTERM, "was killed by signal 15 (Terminated)"},
        {"printf half", NULL, -ECONNRESET, 0, "exited with status 0"},
        {NULL, "close_and_exit", -EPIPE, 3 << 8, "exited with status 3"},
        {NULL, "exit_at_once", -ECONNRESET, 3 << 8, "exited with status 3"},
        {NULL, "die", -ECONNRESET, SIGKILL, "was killed by signal 9 (Killed)"},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        telex_channel *channel = each[i].script != NULL ? run_shell(each[i].script) : run_self(each[i].self, "");
        expect_end(channel, each[i].error, each[i].words);
        expect_end(channel, each[i].error, each[i].words); /* and again */
        telex_message message = telex_text("x");
        int r = telex_send(channel, &message, 0, SOON), status = 99;
        for (int tries = 0; r == 0 && tries < 100; tries++)
            r = telex_send(channel, &message, 0, SOON);
        assert_true(r == -EPIPE || r == -ECONNRESET);
        assert_non_null(strstr(telex_reason(channel), each[i].words));
        assert_good(telex_exit_status(channel, SOON, &status));
        assert_int_equal(status, each[i].status);
        telex_close(channel, SOON, NULL);
        no_children_are_left();
    }
}

static void it_closes_and_goes_on(void **state)
{
    (void)state;
    telex_channel *channel = run_shell("exec >&-; read line; exit 4");
    expect_end(channel, -EPIPE, "has not ended");
    int status = 99;
    assert_int_equal(telex_exit_status(channel, TELEX_NOW, &status), -EAGAIN);
    telex_message message = telex_text("go");
    assert_good(telex_send(channel, &message, 0, SOON));
    assert_good(telex_exit_status(channel, SOON, &status));
    assert_int_equal(status, 4 << 8);
    expect_end(channel, -EPIPE, "exited with status 4");
    telex_close(channel, SOON, NULL);
}

/* The end of the program is the channel's, whoever has its descriptors. Also for a poll loop. */
static void others_hold_the_channel(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        telex_channel *channel = i % 2 == 0 ? run_shell("exec 3<&0; sleep 8 2>&1 <&3 & exit 2") : run_self("pass_on", "");
        telex_time from = telex_now();
        struct pollfd ready = {.fd = i < 2 ? -1 : telex_fd(channel), .events = POLLIN};
        if (i >= 2)
            assert_int_equal(poll(&ready, 1, 5000), 1);
        expect_end(channel, i % 2 == 0 ? -EPIPE : -ECONNRESET, "exited with status 2");
        telex_message message = telex_text("x");
        int r = telex_send(channel, &message, 0, SOON);
        assert_true(r == -EPIPE || r == -ECONNRESET);
        telex_close(channel, SOON, NULL);
        assert_true(telex_now() - from < INT64_C(6000000000)); /* a hang guard: they hold it for 8 s */
        assert_int_equal(end_orphans(), 1);
    }
}

static void not_started(void **state)
{
    (void)state;
    const char *plain = scratch_path("plain"), *program = scratch_path("program");
    close(open(plain, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    int fd = open(program, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(write(fd, "\x7f no program", 12), 12);
    close(fd);
    const struct {
        const char *argv[2];
        const char *query, *directory;
        int input, error;
        const char *words;
    } each[] = {
        {{"no-such-program", NULL}, NULL, NULL, 0, -ENOENT, "no-such-program cannot be started: there is no such program"},
        {{plain, NULL}, NULL, NULL, 0, -EACCES, "cannot be started: Permission denied"},
        {{program, NULL}, NULL, NULL, 0, -ENOEXEC, "cannot be started: Exec format error"},
        {{"true", NULL}, NULL, "/no/such/directory", 0, -ENOENT, "that is no directory"},
        {{NULL, NULL}, NULL, NULL, 0, -EINVAL, "argv[0]"},
        {{"", NULL}, NULL, NULL, 0, -EINVAL, "argv[0]"},
        {{"true", NULL}, "wire=morse", NULL, 0, -EINVAL, "morse"},
        {{"true", NULL}, "wire=lines", NULL, -1, -EINVAL, "are the channel"},
    };
    telex_channel *channel;
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        telex_spawn_options how = {.size = sizeof how, .query = each[i].query, .directory = each[i].directory, .input = each[i].input};
        int r = telex_spawn(each[i].argv, &how, NULL, SOON, &channel);
        if (r != each[i].error || strstr(telex_reason(NULL), each[i].words) == NULL)
            fail_msg("%zu: %d, not %d: \"%s\" does not speak of \"%s\"", i, r, each[i].error, telex_reason(NULL), each[i].words);
        no_children_are_left();
    }
    telex_spawn_options old = {.size = 8};
    assert_int_equal(telex_spawn((const char *const[]){"true", NULL}, &old, NULL, SOON, &channel), -EINVAL);
    telex_spawn_options newer = {.size = sizeof newer, .room = {1}};
    assert_int_equal(telex_spawn((const char *const[]){"true", NULL}, &newer, NULL, SOON, &channel), -EINVAL);
}

static void it_does_not_greet(void **state)
{
    (void)state;
    telex_channel *channel;
    assert_int_equal(try_spawn((const char *const[]){"sleep", "60", NULL}, NULL, telex_after(100000000), &channel), -ETIMEDOUT);
    assert_non_null(strstr(telex_reason(NULL), "it was ended: sleep"));
    no_children_are_left();
    assert_int_equal(try_spawn((const char *const[]){"sleep", "60", NULL}, NULL, TELEX_NOW, &channel), -EAGAIN);
    no_children_are_left();
    assert_int_equal(try_spawn((const char *const[]){"false", NULL}, NULL, SOON, &channel), -ECONNRESET);
    assert_non_null(strstr(telex_reason(NULL), "exited with status 1 before it greeted: does it call telex_inherit()?"));
    no_children_are_left();
    assert_int_equal(try_spawn((const char *const[]){"sh", "-c", "sleep 60 & exit 1", NULL}, NULL, SOON, &channel), -ECONNRESET);
    assert_int_equal(end_orphans(), 1);
    assert_int_equal(try_spawn((const char *const[]){"/proc/self/exe", "--as", "write_garbage", NULL}, NULL, SOON, &channel), -EPROTO);
    no_children_are_left();
}

/* A program that waits for whatever child there is takes the status from us; the end itself is noticed all the same. */
static void somebody_else_waits(void **state)
{
    (void)state;
    int status = 99;
    telex_channel *channel = run_shell("exit 3");
    assert_int_equal(waitpid(-1, NULL, 0), process_of(channel));
    expect_end(channel, -EPIPE, "how is not known");
    assert_int_equal(telex_exit_status(channel, SOON, &status), -ENODATA);
    telex_close(channel, SOON, NULL);

    signal(SIGCHLD, SIG_IGN);
    channel = run_shell("read line; exit 3");
    assert_int_equal(telex_exit_status(channel, telex_after(1000000), &status), -ETIMEDOUT);
    assert_good(telex_end(channel, SOON));
    expect_end(channel, -EPIPE, "how is not known");
    assert_int_equal(telex_exit_status(channel, SOON, &status), -ENODATA);
    telex_close(channel, SOON, NULL);
    for (int i = 0; i < 20; i++) { /* some are gone before there is a pidfd */
        channel = run_shell("exit 3");
        expect_end(channel, -EPIPE, "how is not known");
        telex_close(channel, SOON, NULL);
    }
    assert_int_equal(status, 99);
}

/* No zombie stays, and nothing is killed. */
static void it_outlives_the_channel(void **state)
{
    (void)state;
    telex_channel *channel = run_shell("exec >&- ; exec sleep 60");
    pid_t process = (pid_t)process_of(channel);
    telex_close(channel, TELEX_NOW, NULL);
    assert_int_equal(kill(process, 0), 0);
    kill(process, SIGKILL);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", (int)process);
    for (int i = 0; i < 1000 && access(path, F_OK) == 0; i++) {
        telex_close(run_shell("exit 0"), SOON, NULL); /* by the way it looks after the other one */
        poll(NULL, 0, 5);
    }
    assert_int_equal(access(path, F_OK), -1);
    no_children_are_left();
}

static void close_waits_for_the_end(void **state)
{
    (void)state;
    const char *path = scratch_path("ended");
    char script[200];
    snprintf(script, sizeof script, "while read line; do :; done; sleep 0.2; echo x >%s", path);
    assert_good(telex_close(run_shell(script), SOON, NULL));
    assert_int_equal(access(path, F_OK), 0);
    no_children_are_left();
}

static void what_it_begins_with(void **state)
{
    (void)state;
    setenv("TELEX_CHANNEL", "fd:77", 1); /* this one's own, not for others */
    signal(SIGPIPE, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    telex_channel *channel = run_self("tell_signals", "wire=lines");
    expect_line(channel, "open default none");
    telex_close(channel, SOON, NULL);

    int errors[2];
    assert_int_equal(pipe2(errors, O_CLOEXEC), 0);
    telex_spawn_options how = {.size = sizeof how,
                               .query = "wire=lines",
                               .environment = (const char *const[]){"NAME=value", "TELEX_CHANNEL=fd:78", NULL},
                               .directory = "/proc/self",
                               .errors = errors[1]};
    const char *const argv[] = {"/bin/sh", "-c", "echo $NAME; echo \"$TELEX_CHANNEL\"; pwd; echo trouble >&2", NULL};
    assert_good(telex_spawn(argv, &how, NULL, SOON, &channel));
    close(errors[1]);
    expect_line(channel, "value");
    expect_line(channel, "");
    telex_message message = {0};
    assert_good(telex_receive(channel, &message, SOON));
    assert_memory_equal(message.data, "/proc/", 6);
    telex_release(&message);
    char text[16];
    assert_int_equal(read(errors[0], text, sizeof text), 8);
    assert_memory_equal(text, "trouble\n", 8);
    close(errors[0]);
    telex_close(channel, SOON, NULL);
}

/* A program that has closed its own standard streams can give others to the ones that it starts. */
static void without_standard_streams(void **state)
{
    (void)state;
    int kept[3];
    for (int i = 0; i < 3; i++) {
        kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
        close(i);
    }
    telex_channel *channel = NULL, *telex = NULL;
    int r = try_spawn((const char *const[]){"cat", NULL}, "wire=lines", SOON, &channel);
    int r2 = try_spawn((const char *const[]){"/proc/self/exe", "--as", "echo", NULL}, NULL, SOON, &telex);
    telex_message message = telex_text("through"), reply = {0};
    int sent = r == 0 ? telex_send(channel, &message, 0, SOON) : r;
    int got = sent == 0 ? telex_receive(channel, &reply, SOON) : sent;
    telex_release(&reply);
    telex_close(channel, SOON, NULL);
    telex_close(telex, SOON, NULL);
    for (int i = 0; i < 3; i++) {
        dup2(kept[i], i);
        close(kept[i]);
    }
    assert_int_equal(r, 0);
    assert_int_equal(r2, 0);
    assert_int_equal(sent, 0);
    assert_int_equal(got, 0);
}

static void nothing_to_inherit(void **state)
{
    (void)state;
    telex_channel *channel;
    telex_options lines = {.size = sizeof lines, .wire = "lines"};
    int pair[2];
    char text[32];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    unsetenv("TELEX_CHANNEL");
    assert_int_equal(telex_inherit(NULL, SOON, &channel), -ENOENT);
    setenv("TELEX_CHANNEL", "fd:999", 1);
    assert_int_equal(telex_inherit(NULL, SOON, &channel), -EBADF);
    assert_int_equal(telex_inherit(&lines, SOON, &channel), -EINVAL);
    snprintf(text, sizeof text, "fd:%d", pair[0]);
    setenv("TELEX_CHANNEL", text, 1);
    assert_int_equal(telex_inherit(NULL, SOON, &channel), -EBADF);
    setenv("TELEX_CHANNEL", "tcp://127.0.0.1:7000", 1);
    assert_int_equal(telex_inherit(NULL, SOON, &channel), -EINVAL);
    assert_int_equal(close(pair[0]), 0); /* still there */
    close(pair[1]);
}

/* ---- programs that mean no good ---- */

static void it_floods(void **state)
{
    (void)state;
    telex_channel *channel = run_shell("yes & yes");
    expect_line(channel, "y");
    assert_good(telex_close(channel, SECONDS_FROM_NOW(10), NULL)); /* nobody reads them any more: they end by SIGPIPE */
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static void it_reads_nothing(void **state)
{
    (void)state;
    telex_channel *channel = run_shell("exec <&-; echo closed; sleep 0.3; echo still here");
    expect_line(channel, "closed");
    telex_message message = telex_text("x");
    assert_int_equal(telex_send(channel, &message, 0, SOON), -EPIPE);
    expect_line(channel, "still here");
    expect_end(channel, -EPIPE, "exited with status 0");
    telex_close(channel, SOON, NULL);

    channel = run_shell("exec sleep 60"); /* it has the pipe, and never looks */
    pid_t process = (pid_t)process_of(channel);
    char line[1000];
    memset(line, 'x', sizeof line);
    int r = 0;
    for (int i = 0; i < 10000 && r == 0; i++) {
        message = telex_binary(line, sizeof line);
        message.kind = TELEX_TEXT;
        r = telex_send(channel, &message, 0, telex_after(20000000));
    }
    assert_int_equal(r, -ETIMEDOUT);
    assert_int_equal(telex_end(channel, telex_after(20000000)), -ETIMEDOUT);
    kill(process, SIGKILL);
    r = telex_end(channel, SOON);
    assert_true(r == -ECONNRESET);
    assert_non_null(strstr(telex_reason(channel), "was killed by signal 9"));
    uint64_t untaken = 0;
    assert_int_equal(telex_close(channel, SOON, &untaken), -ECONNRESET);
    assert_true(untaken > 0);
    no_children_are_left();
}

/* It had the pipe's only other end: what lies there is not waited for. */
static void it_dies_before_it_reads(void **state)
{
    (void)state;
    telex_channel *channel = run_shell("sleep 0.3; kill -9 $$");
    telex_message message = telex_text("unread");
    assert_good(telex_send(channel, &message, 0, SOON));
    assert_good(telex_end(channel, SOON));
    expect_end(channel, -ECONNRESET, "was killed by signal 9");
    uint64_t untaken = 0;
    assert_int_equal(telex_close(channel, TELEX_NEVER, &untaken), -ECONNRESET);
    assert_int_equal(untaken, 1);
}

static void it_writes_garbage(void **state)
{
    (void)state;
    telex_channel *channel = run_shell("printf 'fine\\nbad \\377\\n'; exec sleep 60");
    expect_line(channel, "fine");
    expect_end(channel, -EPROTO, "UTF-8");
    kill((pid_t)process_of(channel), SIGKILL);
    telex_close(channel, SOON, NULL);
    no_children_are_left();
}

/* What the program left is received, what its child goes on writing without a pause is not. */
static void its_child_floods(void **state)
{
    (void)state;
    telex_channel *channel = spawn((const char *const[]){"sh", "-c", "yes & exit 3", NULL}, "wire=raw");
    telex_message message = {0};
    int r;
    while ((r = telex_receive(channel, &message, SOON)) == 0)
        poll(NULL, 0, 1); /* so that no read is ever in vain */
    telex_release(&message);
    assert_int_equal(r, -EPIPE);
    assert_non_null(strstr(telex_reason(channel), "exited with status 3"));
    telex_close(channel, SOON, NULL);
    end_orphans();
}

/* A message that begins, and the process that goes on with it is none of those that were started. */
static void another_goes_on_in_its_place(void **state)
{
    (void)state;
    telex_channel *channel = run_shell("printf half; (sleep 1; echo whole) & exit 5");
    expect_end(channel, -ECONNRESET, "exited with status 5");
    telex_close(channel, SOON, NULL);
    end_orphans();
}

/* ---- the one who started it dies ---- */

static void start_and_wait(void *with)
{
    telex_spawn_options how = {.size = sizeof how, .output = *(int *)with};
    telex_channel *channel;
    assert_good(telex_spawn((const char *const[]){"/proc/self/exe", "--as", "tell_the_end", NULL}, &how, NULL, SOON, &channel));
    poll(NULL, 0, 20000);
    telex_close(channel, TELEX_NOW, NULL);
}

static void the_parent_is_killed(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    pid_t parent = testing_fork(start_and_wait, &pair[1]);
    close(pair[1]);
    FILE *said = fdopen(pair[0], "r");
    char line[512];
    assert_non_null(fgets(line, sizeof line, said));
    assert_memory_equal(line, "ready", 5);
    kill(parent, SIGKILL);
    assert_non_null(fgets(line, sizeof line, said));
    assert_int_equal(atoi(line), -ECONNRESET);
    assert_non_null(strstr(line, "it died"));
    fclose(said);
    while (waitpid(-1, NULL, 0) > 0) /* the parent, and its child, which is this case's now */
        ;
}

static void forked(void *with)
{
    telex_channel *channel = with;
    int status;
    assert_int_equal(telex_exit_status(channel, SOON, &status), -ECHILD);
    assert_int_equal(telex_end(channel, SOON), -ECHILD);
    telex_close(channel, TELEX_NOW, NULL);
    _exit(0); /* what a forked child cannot give back of its parent's is no leak */
}

static void handles_are_foreign_in_a_forked_child(void **state)
{
    (void)state;
    telex_channel *channel = run_shell("read line; exit 3");
    testing_wait(testing_fork(forked, channel));
    int status = 0;
    assert_int_equal(telex_exit_status(channel, TELEX_NOW, &status), -EAGAIN); /* the child did not touch it */
    assert_good(telex_end(channel, SOON));
    assert_good(telex_exit_status(channel, SOON, &status));
    assert_int_equal(status, 3 << 8);
    telex_close(channel, SOON, NULL);
    telex_channel *dialed;
    int pair[2];
    char address[32];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    snprintf(address, sizeof address, "fd:%d,%d?wire=raw", pair[0], pair[1]);
    assert_good(telex_dial(address, NULL, SOON, &dialed));
    assert_int_equal(telex_exit_status(dialed, TELEX_NOW, &status), -EINVAL);
    telex_close(dialed, TELEX_NOW, NULL);
}

/* ---- both at full speed ---- */

static void *pour(void *with)
{
    char line[900];
    memset(line, 'x', sizeof line);
    for (int i = 0; i < 2000; i++) {
        telex_message message = telex_binary(line, (size_t)(i % 900));
        message.kind = TELEX_TEXT;
        if (telex_send(with, &message, 0, SOON) < 0)
            return with;
    }
    return telex_end(with, SOON) < 0 ? with : NULL;
}

static void both_ways(void **state)
{
    (void)state;
    telex_channel *channel = spawn((const char *const[]){"cat", NULL}, "wire=lines");
    pthread_t sender;
    assert_int_equal(pthread_create(&sender, NULL, pour, channel), 0);
    telex_message message = {0};
    for (int i = 0; i < 2000; i++) {
        assert_good(telex_receive(channel, &message, SOON));
        assert_int_equal(message.length, i % 900);
    }
    telex_release(&message);
    expect_end(channel, -EPIPE, "exited with status 0");
    void *failed;
    pthread_join(sender, &failed);
    assert_null(failed);
    assert_good(telex_close(channel, SOON, NULL));
    no_children_are_left();
}

static const struct testing_case cases[] = {
    TESTING_CASE(a_worker_answers), TESTING_CASE(a_filter), TESTING_CASE_LIMIT(how_it_ends, 40), TESTING_CASE(it_closes_and_goes_on),
    TESTING_CASE_LIMIT(others_hold_the_channel, 40), TESTING_CASE(not_started), TESTING_CASE(it_does_not_greet), TESTING_CASE(somebody_else_waits),
    TESTING_CASE(it_outlives_the_channel), TESTING_CASE(close_waits_for_the_end), TESTING_CASE(what_it_begins_with),
    TESTING_CASE(without_standard_streams), TESTING_CASE(nothing_to_inherit), TESTING_CASE(the_parent_is_killed),
    TESTING_CASE(it_floods), TESTING_CASE(it_reads_nothing), TESTING_CASE(it_dies_before_it_reads), TESTING_CASE(it_writes_garbage), TESTING_CASE(its_child_floods), TESTING_CASE(another_goes_on_in_its_place),
    TESTING_CASE(handles_are_foreign_in_a_forked_child), TESTING_CASE(both_ways),
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 2 && strcmp(argv[1], "--as") == 0 && i < sizeof programs / sizeof *programs; i++)
        if (strcmp(argv[2], programs[i].name) == 0)
            return programs[i].run();
    return testing_main(argc, argv, "spawn", cases, sizeof cases / sizeof *cases);
}
