/* SPDX-License-Identifier: MIT */
/*
 * Where named pipes lie: paths that are stale, living or no FIFOs; strangers who write into the listener's FIFO, and what they name
 * there; other users; and processes that are killed between any two system calls while they connect, accept or begin to listen.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "medium/stream/hello.h"
#include "unit/fifos.h"

enum { USER = 12345, OTHER = 23456 };

static const char token[] = "0123456789abcdef0123456789abcdef";

static bool exists(const char *name)
{
    struct stat facts;
    return lstat(scratch_path(name), &facts) == 0;
}

/* ---- paths ---- */

static void leave_stale(const char *name)
{
    pid_t child = fork();
    if (child == 0) {
        struct telex_bytes_port *port;
        streams_listen(pipe_address(name, ""), &port);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    assert_true(exists(name));
}

static void paths(void **state)
{
    (void)state;
    struct telex_bytes_port *port, *other;
    struct stat facts;
    leave_stale("a");
    umask(077);
    assert_int_equal(streams_listen(pipe_address("a", "?mode=0666"), &port), 0);
    umask(022);
    assert_int_equal(stat(scratch_path("a"), &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0622); /* to read hellos is the listener's alone */
    assert_int_equal(streams_listen(pipe_address("a", ""), &other), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), "somebody listens"));
    assert_string_equal(port->ops->address(port), pipe_address("a", ""));
    port->ops->close(port);
    assert_false(exists("a"));

    fclose(fopen(scratch_path("b"), "w"));
    assert_int_equal(streams_listen(pipe_address("b", ""), &port), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), "no FIFO"));
    assert_int_equal(symlink("b", scratch_path("c")), 0);
    assert_int_equal(streams_listen(pipe_address("c", ""), &port), -EADDRINUSE);
    assert_true(exists("b") && exists("c"));
    assert_int_equal(streams_listen(pipe_address("no/d", ""), &port), -ENOENT);
    assert_non_null(strstr(telex_said(), "directory"));

    /* Somebody else's path by now. */
    assert_int_equal(streams_listen(pipe_address("e", ""), &port), 0);
    assert_int_equal(unlink(scratch_path("e")), 0);
    assert_int_equal(streams_listen(pipe_address("e", ""), &other), 0);
    port->ops->close(port);
    assert_true(exists("e"));
    other->ops->close(other);
    assert_false(exists("e"));
    assert_int_equal(fifos_there(), 0);
}

static void without_renaming_over_nothing(void **state)
{
    fail_calls(SYS_renameat2, EINVAL);
    paths(state);
}

static void malformed(void **state)
{
    (void)state;
    char long_name[300] = "pipe:///tmp/";
    memset(long_name + 12, 'x', 218);
    const char *const each[] = {"pipe://relative", "pipe://", "pipe:///", "pipe:///tmp/", "pipe:///tmp/..", "pipe:///tmp/.", long_name};
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        assert_int_equal(streams_listen(each[i], &port), -EINVAL);
        assert_int_equal(streams_dial(each[i], streams_soon(), &bytes), -EINVAL);
    }
    char name[218];
    memset(name, 'y', 217);
    name[217] = '\0';
    char text[300]; /* the longest possible, in full */
    snprintf(text, sizeof text, "pipe://%s/%s", testing_directory(), name);
    struct streams streams = streams_new(text, "");
    assert_int_equal(streams_write(streams.dialed, "x", 1), 1);
    streams_expect(streams.accepted, "x", 1);
    streams_free(&streams);
    streams = streams_new(pipe_address("with%20space%3Fand%25", ""), "");
    assert_true(exists("with space?and%"));
    streams_free(&streams);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct telex_bytes *bytes;
    leave_stale("a");
    fclose(fopen(scratch_path("c"), "w"));
    assert_int_equal(symlink("a", scratch_path("d")), 0);
    static const struct {
        const char *name;
        int expected;
        const char *part;
    } each[] = {{"a", -ECONNREFUSED, "nobody"}, {"b", -ENOENT, "nobody"}, {"c", -ECONNREFUSED, "no FIFO"}, {"d", -ECONNREFUSED, "symbolic"}};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        for (int j = 0; j < 2; j++) {
            assert_int_equal(streams_dial(pipe_address(each[i].name, ""), j == 0 ? INT64_MAX : 0, &bytes), each[i].expected);
            assert_non_null(strstr(telex_said(), each[i].part));
            assert_non_null(strstr(telex_said(), pipe_address(each[i].name, "")));
        }
    assert_int_equal(fifos_there(), 1);
}

static void on_alarm(int number)
{
    (void)number;
}

/* A listener whose FIFO is full: until the deadline, until a signal, and until there is room. */
static void full(void **state)
{
    (void)state;
    static char garbage[4096];
    struct telex_bytes_port *port;
    struct telex_bytes *bytes, *accepted;
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    int fd = open(scratch_path("a"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    while (write(fd, garbage, sizeof garbage) > 0)
        ;
    assert_int_equal(streams_dial(pipe_address("a", ""), 0, &bytes), -EAGAIN);
    int64_t deadline = telex_clock() + 50 * MS;
    assert_int_equal(streams_dial(pipe_address("a", ""), deadline, &bytes), -ETIMEDOUT);
    assert_true(telex_clock() >= deadline);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
    ualarm(20000, 20000);
    assert_int_equal(streams_dial(pipe_address("a", ""), streams_soon(), &bytes), -EINTR);
    ualarm(0, 0);
    assert_int_equal(fifos_there(), 1);
    pid_t child = fork(); /* the listener lives there; its descriptors here are this one's, not telex's */
    if (child == 0) {
        static char taken[4096];
        int reading = open(scratch_path("a"), O_RDONLY | O_CLOEXEC);
        telex_poll(NULL, 0, telex_clock() + 50 * MS);
        _exit(read(reading, taken, sizeof taken) != sizeof taken);
    }
    assert_int_equal(streams_dial(pipe_address("a", ""), streams_soon(), &bytes), 0);
    testing_wait(child);
    int r = -EAGAIN; /* all that garbage in bounded steps: what has come is found behind it */
    for (int i = 0; i < 100 && r == -EAGAIN; i++)
        r = port->ops->accept(port, &accepted);
    assert_int_equal(r, 0);
    accepted->ops->close(accepted);
    bytes->ops->close(bytes);
    port->ops->close(port);
    close(fd);
}

/* ---- strangers ---- */

static void say(const void *bytes, size_t length)
{
    int fd = open(scratch_path("a"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(write(fd, bytes, length), length);
    close(fd);
}

static void say_hello(const char *of)
{
    char hello[TELEX_HELLO_SIZE];
    telex_hello_encode(of, hello);
    say(hello, sizeof hello);
}

static void garbage_wedges_nobody(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    char hello[TELEX_HELLO_SIZE];
    telex_hello_encode(token, hello);
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    unsigned seed = 7;
    for (size_t cut = 0; cut <= 2 * sizeof hello; cut++) {
        char noise[100];
        for (size_t i = 0; i < sizeof noise; i++) {
            seed = seed * 1103515245 + 12345;
            noise[i] = (char)(seed >> 16);
        }
        if (cut < sizeof hello)
            say(hello, cut); /* its beginning */
        else if (cut < 2 * sizeof hello)
            say(hello + cut - sizeof hello, 2 * sizeof hello - cut); /* its end */
        if (cut % 3 == 0)
            say(noise, seed / 65536 % sizeof noise);
        struct telex_bytes *dialed, *accepted = NULL;
        assert_int_equal(streams_dial(pipe_address("a", ""), streams_soon(), &dialed), 0);
        accepted = streams_accept(port);
        assert_int_equal(port->ops->accept(port, &accepted), -EAGAIN);
        assert_int_equal(telex_poll(&(struct pollfd){.fd = port->ops->descriptor(port), .events = POLLIN}, 1, 0), 0);
        accepted->ops->close(accepted);
        dialed->ops->close(dialed);
    }
    port->ops->close(port);
}

static void hellos_without_anybody(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *dialed, *accepted;
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    for (int i = 0; i < 1000; i++) {
        char other[TELEX_HELLO_TOKEN + 1];
        snprintf(other, sizeof other, "%032x", (unsigned)i);
        say_hello(other);
    }
    assert_int_equal(streams_dial(pipe_address("a", ""), streams_soon(), &dialed), 0);
    int calls = 1;
    while (port->ops->accept(port, &accepted) == -EAGAIN)
        calls++;
    assert_true(calls > 1 && calls < 10); /* the work of one call is bounded */
    accepted->ops->close(accepted);
    dialed->ops->close(dialed);
    port->ops->close(port);
}

enum { UP = 1, DOWN = 2 };

/* The name of the token's FIFO. */
static const char *end_path(int which)
{
    char name[64];
    snprintf(name, sizeof name, "a.%s%s", token, which == UP ? ".up" : ".down");
    return scratch_path(name);
}

static void link_instead(int which)
{
    char real[128];
    snprintf(real, sizeof real, "%s", scratch_path("real"));
    assert_int_equal(mkfifo(real, 0600), 0);
    assert_int_equal(symlink(real, end_path(which)), 0);
}

static void file_instead(int which)
{
    int fd = open(end_path(which), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
}

static void fifo_of_mode(int which, mode_t mode)
{
    assert_int_equal(mkfifo(end_path(which), 0600), 0);
    assert_int_equal(chmod(end_path(which), mode), 0);
}

static void open_to_others(int which)
{
    fifo_of_mode(which, 0602);
}

static void twice_there(int which)
{
    fifo_of_mode(which, 0600);
    assert_int_equal(link(end_path(which), scratch_path("twin")), 0);
}

static void of_another_user(int which)
{
    fifo_of_mode(which, 0600);
    assert_int_equal(chown(end_path(which), OTHER, OTHER), 0);
}

static void socket_instead(int which)
{
    assert_int_equal(mknod(end_path(which), S_IFSOCK | 0600, 0), 0);
}

static void directory_instead(int which)
{
    assert_int_equal(mkdir(end_path(which), 0700), 0);
}

/* Whatever a hello names: only FIFOs of this user alone are served, nothing else is read, written or removed. */
static void named_instead(void **state)
{
    (void)state;
    static void (*const each[])(int which) = {link_instead, file_instead, open_to_others, twice_there, socket_instead, directory_instead, of_another_user};
    struct telex_bytes_port *port;
    struct telex_bytes *accepted;
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    for (size_t i = 0; i < sizeof each / sizeof *each - (geteuid() != 0); i++) {
        for (int which = UP; which <= DOWN; which++) {
            int good = which == UP ? DOWN : UP, held = -1;
            fifo_of_mode(good, 0600);
            each[i](which);
            held = open(end_path(good), O_RDWR | O_NONBLOCK | O_CLOEXEC);
            int bad = open(end_path(which), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
            say_hello(token);
            assert_int_equal(port->ops->accept(port, &accepted), -EAGAIN);
            struct stat facts;
            assert_int_equal(lstat(end_path(which), &facts), 0);
            assert_true(!S_ISREG(facts.st_mode) || facts.st_size == 8);
            close(held);
            close(bad);
            remove(end_path(which));
            remove(end_path(good));
            unlink(scratch_path("real"));
            unlink(scratch_path("twin"));
        }
    }
    fifo_of_mode(UP, 0600); /* and the right ones are */
    fifo_of_mode(DOWN, 0600);
    int up = open(end_path(UP), O_RDWR | O_NONBLOCK | O_CLOEXEC), down = open(end_path(DOWN), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    say_hello(token);
    assert_int_equal(port->ops->accept(port, &accepted), 0);
    struct telex_medium_peer peer;
    accepted->ops->peer(accepted, &peer);
    assert_int_equal(peer.uid, getuid());
    assert_int_equal(peer.pid, -1); /* it took no lock: the kernel says nothing of it */
    accepted->ops->close(accepted);
    close(up);
    close(down);
    port->ops->close(port);
    assert_int_equal(fifos_there(), 0);
}

/* ---- other users ---- */

struct visitor {
    const char *address;
    uid_t user;
    int expected;
    const char *part; /* of the sentence */
};

static void visit(void *with)
{
    const struct visitor *visitor = with;
    struct telex_bytes *bytes;
    assert_int_equal(setresgid(visitor->user, visitor->user, visitor->user), 0);
    assert_int_equal(setresuid(visitor->user, visitor->user, visitor->user), 0);
    int r = streams_dial(visitor->address, streams_soon(), &bytes);
    if (r != visitor->expected)
        fprintf(stderr, "%d: %s\n", r, telex_said());
    assert_int_equal(r, visitor->expected);
    if (r < 0) {
        assert_non_null(strstr(telex_said(), visitor->part));
        return;
    }
    assert_int_equal(streams_write(bytes, "hello", 5), 5);
    streams_expect(bytes, "served", 6);
    bytes->ops->close(bytes);
}

static void send_visitor(struct visitor visitor)
{
    testing_wait(testing_fork(visit, &visitor));
}

static void root_serves_everybody(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return;
    struct telex_bytes_port *port;
    assert_int_equal(streams_listen(pipe_address("a", "?mode=0622"), &port), 0);
    const char *address = pipe_address("a", "");
    assert_int_equal(chmod(testing_directory(), 0755), 0);
    send_visitor((struct visitor){address, USER, -EACCES, "directory cannot be written"});
    assert_int_equal(chmod(testing_directory(), 01777), 0);
    struct visitor visitor = {address, USER, 0, NULL};
    pid_t child = testing_fork(visit, &visitor);
    struct telex_bytes *accepted = streams_accept(port);
    struct telex_medium_peer peer;
    accepted->ops->peer(accepted, &peer);
    assert_int_equal(peer.uid, USER);
    assert_int_equal(peer.gid, USER);
    assert_int_equal(peer.pid, child);
    streams_expect(accepted, "hello", 5);
    assert_int_equal(streams_write(accepted, "served", 6), 6);
    testing_wait(child);
    accepted->ops->close(accepted);

    /* Two users' FIFOs under one token: neither would know whom it talks to. */
    fifo_of_mode(UP, 0600);
    fifo_of_mode(DOWN, 0600);
    assert_int_equal(chown(end_path(UP), USER, USER), 0);
    assert_int_equal(chown(end_path(DOWN), OTHER, OTHER), 0);
    int up = open(end_path(UP), O_RDWR | O_NONBLOCK | O_CLOEXEC), down = open(end_path(DOWN), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    say_hello(token);
    assert_int_equal(port->ops->accept(port, &accepted), -EAGAIN);
    close(up);
    close(down);
    port->ops->close(port);
}

static void others_are_told_to_use_sockets(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return;
    assert_int_equal(chmod(testing_directory(), 01777), 0);
    assert_int_equal(mkfifo(scratch_path("a"), 0622), 0);
    assert_int_equal(chmod(scratch_path("a"), 0622), 0);
    int listening = open(scratch_path("a"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(chown(scratch_path("a"), OTHER, OTHER), 0);
    const char *address = pipe_address("a", "");
    send_visitor((struct visitor){address, USER, -EACCES, "unix://"});
    send_visitor((struct visitor){address, 0, -EACCES, "unix://"});
    assert_int_equal(chmod(scratch_path("a"), 0600), 0);
    send_visitor((struct visitor){address, USER, -EACCES, "mode="});
    close(listening);
    struct telex_bytes_port *port;
    setenv("TMPDIR", testing_directory(), 1);
    assert_int_equal(setresuid(USER, USER, USER), 0); /* nor does another one take its path */
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), "another user"));
}

/* It is not the permissions that keep a listener from another user's FIFO: this one could open it. */
static void serve_itself_alone(void *with)
{
    (void)with;
    struct telex_bytes_port *port;
    struct telex_bytes *accepted;
    assert_int_equal(seteuid(USER), 0);
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    setfsuid(0);
    int up = open(end_path(UP), O_RDWR | O_NONBLOCK | O_CLOEXEC), down = open(end_path(DOWN), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(up >= 0 && down >= 0);
    say_hello(token);
    assert_int_equal(port->ops->accept(port, &accepted), -EAGAIN);
    assert_true(exists("a") && fifos_there() == 3);
    close(up);
    close(down);
    port->ops->close(port);
    assert_int_equal(seteuid(0), 0); /* for the look for leaks, which wants to trace this process */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void one_user_alone(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return;
    fifo_of_mode(UP, 0600);
    fifo_of_mode(DOWN, 0600);
    assert_int_equal(chown(end_path(UP), OTHER, OTHER) | chown(end_path(DOWN), OTHER, OTHER) | chmod(testing_directory(), 01777), 0);
    setenv("TMPDIR", testing_directory(), 1); /* for the runtime directory of that user */
    testing_wait(testing_fork(serve_itself_alone, NULL));
}

/* ---- who is there ---- */

static void dial_and_look(void *with)
{
    struct telex_bytes *bytes;
    struct telex_medium_peer peer;
    assert_int_equal(streams_dial(with, streams_soon(), &bytes), 0);
    streams_expect(bytes, "x", 1);
    bytes->ops->peer(bytes, &peer);
    assert_int_equal(peer.pid, getppid());
    assert_int_equal(peer.uid, getuid());
    bytes->ops->close(bytes);
}

static void peers(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    pid_t child = testing_fork(dial_and_look, (void *)pipe_address("a", ""));
    struct telex_bytes *accepted = streams_accept(port);
    struct telex_medium_peer peer;
    accepted->ops->peer(accepted, &peer);
    assert_int_equal(peer.pid, child);
    assert_int_equal(peer.gid, getgid());
    assert_int_equal(streams_write(accepted, "x", 1), 1);
    testing_wait(child);
    accepted->ops->close(accepted);
    port->ops->close(port);
}

/* ---- killed ---- */

/* Lets the traced child go on to its next system call (entry or exit); false: it has ended. */
static bool step(pid_t child)
{
    int status;
    if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) < 0 || waitpid(child, &status, __WALL) != child)
        return false;
    return WIFSTOPPED(status);
}

/* A child that stands still before `run(with)`, whose system calls can be counted; afterwards it ends. */
static pid_t traced(void (*run)(void *with), void *with)
{
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        run(with);
        syscall(SYS_exit_group, 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSTOPPED(status));
    return child;
}

static void kill_it(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void dial_only(void *with)
{
    struct telex_bytes *bytes;
    streams_dial(with, streams_soon(), &bytes);
}

/* A client that is killed at each step of its dial: the listener lives on, and what lies there is gone with it, or before. */
static void clients_killed_at_every_step(void **state)
{
    (void)state;
    bool all = false;
    for (int steps = 1; !all; steps++) {
        struct telex_bytes_port *port;
        struct telex_bytes *accepted, *dialed;
        assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
        pid_t child = traced(dial_only, (void *)pipe_address("a", ""));
        for (int i = 0; i < steps && !all; i++)
            all = !step(child);
        if (!all)
            kill_it(child);
        assert_int_equal(streams_dial(pipe_address("a", ""), streams_soon(), &dialed), 0);
        accepted = streams_accept(port);
        assert_int_equal(port->ops->accept(port, &accepted), -EAGAIN);
        accepted->ops->close(accepted);
        dialed->ops->close(dialed);
        port->ops->close(port);
        assert_int_equal(fifos_there(), 0);
    }
}

static void accept_only(void *with)
{
    struct telex_bytes *bytes;
    (void)with;
    struct telex_bytes_port *port;
    streams_listen(pipe_address("a", ""), &port);
    raise(SIGSTOP);
    streams_ready(port->ops->descriptor(port), POLLIN);
    port->ops->accept(port, &bytes);
}

/* A listener that is killed at each step of accept: its client is told, and removes what it made. */
static void listeners_killed_at_every_step(void **state)
{
    (void)state;
    bool all = false;
    for (int steps = 0; !all; steps++) {
        pid_t child = traced(accept_only, NULL);
        int status;
        ptrace(PTRACE_CONT, child, NULL, NULL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
        struct telex_bytes *dialed;
        assert_int_equal(streams_dial(pipe_address("a", ""), streams_soon(), &dialed), 0);
        assert_int_equal(streams_write(dialed, "x", 1), 1);
        for (int i = 0; i < steps && !all; i++)
            all = !step(child);
        if (!all)
            kill_it(child);
        ssize_t got;
        do {
            streams_ready(dialed->ops->descriptor(dialed), POLLIN);
            got = streams_read(dialed, (char[1]){0}, 1);
        } while (got == -EAGAIN);
        assert_true(got == 0 || got == -ECONNRESET);
        assert_true(streams_write(dialed, "x", 1) < 0);
        dialed->ops->close(dialed);
        assert_int_equal(fifos_there(), 1); /* the path, until somebody listens there */
    }
    struct telex_bytes_port *port;
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    port->ops->close(port);
    assert_int_equal(fifos_there(), 0);
}

static void listen_only(void *with)
{
    struct telex_bytes_port *port;
    streams_listen(with, &port);
}

/* One that is killed at each step of listen: the next one gets the path. */
static void beginners_killed_at_every_step(void **state)
{
    (void)state;
    bool all = false;
    for (int steps = 1; !all; steps++) {
        pid_t child = traced(listen_only, (void *)pipe_address("a", ""));
        for (int i = 0; i < steps && !all; i++)
            all = !step(child);
        if (!all)
            kill_it(child);
        struct telex_bytes_port *port;
        assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
        port->ops->close(port);
        assert_int_equal(fifos_there(), 0);
    }
}

/* What killed clients left is removed when somebody listens there; what may be somebody's, or is another listener's, stays. */
static void leftovers(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    assert_int_equal(mkfifo(end_path(UP), 0600), 0);
    assert_int_equal(mkfifo(end_path(DOWN), 0600), 0);
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    assert_int_equal(fifos_there(), 3); /* just made: its client may be about to open it */
    assert_int_equal(unlink(scratch_path("a")), 0);
    port->ops->close(port); /* it is not asked for again */
    assert_int_equal(fifos_there(), 0);

    char other[128], held[128];
    snprintf(other, sizeof other, "%s", scratch_path("ab.0123456789abcdef0123456789abcdef.up"));
    snprintf(held, sizeof held, "%s", scratch_path("a.00000000000000000000000000000000.up"));
    assert_int_equal(mkfifo(other, 0600), 0);
    assert_int_equal(mkfifo(held, 0600), 0);
    assert_int_equal(mkfifo(scratch_path("a.0123456789abcdef0123456789abcdef.upper"), 0600), 0);
    assert_int_equal(mkfifo(scratch_path("a.0123456789ABCDEF0123456789abcdef.up"), 0600), 0);
    int fd = open(held, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(mkfifo(end_path(UP), 0600), 0);
    assert_int_equal(mkfifo(end_path(DOWN), 0600), 0);
    assert_int_equal(mkfifo(scratch_path("a.ffffffffffffffffffffffffffffffff.down"), 0600), 0);
    telex_poll(NULL, 0, telex_clock() + 2100 * MS);
    assert_int_equal(streams_listen(pipe_address("a", ""), &port), 0);
    assert_int_equal(fifos_there(), 5);
    port->ops->close(port);
    assert_int_equal(fifos_there(), 4);
    close(fd);
}

static const struct testing_case cases[] = {
    TESTING_CASE(paths),
    TESTING_CASE(without_renaming_over_nothing),
    TESTING_CASE(malformed),
    TESTING_CASE(nobody_listens),
    TESTING_CASE(full),
    TESTING_CASE(garbage_wedges_nobody),
    TESTING_CASE(hellos_without_anybody),
    TESTING_CASE(named_instead),
    TESTING_CASE(root_serves_everybody),
    TESTING_CASE(others_are_told_to_use_sockets),
    TESTING_CASE(one_user_alone),
    TESTING_CASE(peers),
    TESTING_CASE_LIMIT(clients_killed_at_every_step, 60),
    TESTING_CASE_LIMIT(listeners_killed_at_every_step, 60),
    TESTING_CASE_LIMIT(beginners_killed_at_every_step, 60),
    TESTING_CASE(leftovers),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "unit.pipe_places", cases, sizeof cases / sizeof *cases);
}
