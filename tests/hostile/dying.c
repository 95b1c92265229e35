/* SPDX-License-Identifier: MIT */
/* Peers that are stopped, and never taken for dead; peers that die while another process holds their socket, and are seen to be dead. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "hostile/hostile.h"

static const char *const waits[] = {"wait=block", "wait=spin", "wait=adaptive"};

enum { WAITS = sizeof waits / sizeof *waits };

static bool is_evidence(void)
{
    return getenv("TELEX_EVIDENCE") != NULL;
}

/* ---- stopped ---- */

enum { STREAM = 3000 };

static size_t length_of(unsigned i)
{
    return i % 50 == 0 ? 100000 : i % 7 == 0 ? 5000 : i % 300;
}

struct streamer {
    const char *address;
    bool sends;
};

/* Who was stopped in a sleep may be told -EINTR once it goes on: signal(7), "Interruption of system calls by stop signals". */
static void stream(telex_channel *channel)
{
    static char bytes[100000];
    for (unsigned i = 0; i < STREAM; i++) {
        telex_message message = telex_binary(bytes, length_of(i));
        message.type = (uint16_t)i;
        memset(bytes, (int)i, message.length);
        bool sync = i % 40 == 0;
        int r;
        do
            r = telex_send(channel, &message, sync ? TELEX_SYNC : i % 5 == 0 ? TELEX_MORE : 0, SECONDS(60));
        while (r == -EINTR && !(sync && telex_outcome(channel, message.number) == TELEX_TAKEN));
        assert_true(r == 0 || r == -EINTR);
    }
}

static int receive_though_stopped(telex_channel *channel, telex_message *message)
{
    int r;
    do
        r = telex_receive(channel, message, SECONDS(60));
    while (r == -EINTR);
    return r;
}

static void check_message(const telex_message *message, unsigned i)
{
    assert_int_equal(message->type, i);
    assert_int_equal(message->length, length_of(i));
    const char *bytes = message->data;
    assert_true(message->length == 0 || (bytes[0] == (char)i && bytes[message->length - 1] == (char)i));
}

static void be_streamer(void *with)
{
    const struct streamer *side = with;
    telex_channel *channel;
    assert_good(telex_dial(side->address, NULL, SECONDS(10), &channel));
    if (side->sends) {
        stream(channel);
    } else {
        telex_message message = {0};
        for (unsigned i = 0; i < STREAM; i++) {
            assert_good(receive_though_stopped(channel, &message));
            check_message(&message, i);
        }
        telex_release(&message);
    }
    int r;
    while ((r = telex_flush(channel, SECONDS(60))) == -EINTR)
        ;
    assert_good(r);
    r = telex_close(channel, SECONDS(30), NULL);
    assert_true(r == 0 || r == -EINTR);
}

/* Stops the other now and then, for a while each time, as a process of its own would. */
static pid_t begin_stopping(pid_t whom)
{
    pid_t stopper = fork();
    if (stopper != 0)
        return stopper;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint64_t seed = (uint64_t)getpid() * 2654435761u + 1;
    for (int i = 0; i < (is_evidence() ? 300 : 12); i++) {
        usleep((useconds_t)(any(&seed) % 6000));
        if (kill(whom, SIGSTOP) < 0)
            break;
        usleep((useconds_t)(20000 + any(&seed) % 40000));
        kill(whom, SIGCONT);
    }
    _exit(0);
}

static void stop_midway(const char *options, bool it_sends)
{
    char path[200], address[400];
    telex_listener *listener;
    telex_channel *channel;
    snprintf(path, sizeof path, "%s/stop", testing_directory());
    shm_address(path, options, address, sizeof address);
    assert_good(telex_listen(address, NULL, &listener));
    struct streamer side = {address, it_sends};
    pid_t peer = testing_fork(be_streamer, &side);
    assert_good(telex_accept(listener, SECONDS(10), &channel));
    pid_t stopper = begin_stopping(peer);
    telex_message message = {0};
    static char bytes[100000];
    for (unsigned i = 0; i < STREAM;) {
        int r;
        if (it_sends) {
            r = telex_receive(channel, &message, MILLISECONDS(5));
            if (r == 0)
                check_message(&message, i);
        } else {
            telex_message out = telex_binary(bytes, length_of(i));
            out.type = (uint16_t)i;
            memset(bytes, (int)i, out.length);
            r = telex_send(channel, &out, 0, MILLISECONDS(5));
        }
        if (r != 0 && r != -ETIMEDOUT)
            fprintf(stderr, "message %u: %d %s\n", i, r, telex_reason(channel));
        assert_true(r == 0 || r == -ETIMEDOUT); /* never -ECONNRESET */
        i += r == 0;
    }
    telex_release(&message);
    assert_good(telex_close(channel, SECONDS(30), NULL));
    testing_wait(stopper);
    testing_wait(peer);
    telex_listener_close(listener);
}

static void a_sender_is_stopped(void **state)
{
    (void)state;
    for (int i = 0; i < WAITS; i++)
        stop_midway(waits[i], true);
}

static void a_receiver_is_stopped(void **state)
{
    (void)state;
    for (int i = 0; i < WAITS; i++)
        stop_midway(waits[i], false);
}

/* For as long as some time-outs of other media: still alive, and it goes on where it was. */
static void stopped_for_long(void **state)
{
    (void)state;
    char path[200], address[400];
    telex_listener *listener;
    telex_channel *channel;
    snprintf(path, sizeof path, "%s/stop", testing_directory());
    shm_address(path, "", address, sizeof address);
    assert_good(telex_listen(address, NULL, &listener));
    struct streamer side = {address, true};
    pid_t peer = testing_fork(be_streamer, &side);
    assert_good(telex_accept(listener, SECONDS(10), &channel));
    telex_message message = {0};
    unsigned i = 0;
    assert_good(telex_receive(channel, &message, SECONDS(10)));
    check_message(&message, i++);
    kill(peer, SIGSTOP);
    int r;
    while ((r = telex_receive(channel, &message, MILLISECONDS(is_evidence() ? 60000 : 1000))) == 0)
        check_message(&message, i++);
    assert_int_equal(r, -ETIMEDOUT);
    struct pollfd fd = {.fd = telex_fd(channel), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 100), 0);
    kill(peer, SIGCONT);
    for (; i < STREAM; i++) {
        assert_good(telex_receive(channel, &message, SECONDS(10)));
        check_message(&message, i);
    }
    assert_int_equal(telex_receive(channel, &message, SECONDS(10)), -EPIPE);
    telex_release(&message);
    telex_close(channel, SECONDS(5), NULL);
    testing_wait(peer);
    telex_listener_close(listener);
}

/* ---- dead ---- */

struct grave { /* shared by all */
    _Atomic int64_t killed_ns;
    _Atomic int holder; /* the process that keeps the socket */
};

struct mortal {
    const char *address;
    struct grave *grave;
    bool held;   /* a child that the library does not know of keeps the descriptors */
    uint64_t seed;
};

/* No fork(): so no handler closes anything in the child. */
static void leave_a_holder(struct grave *grave)
{
    long child = syscall(SYS_clone, 0UL, 0UL, 0UL, 0UL, 0UL);
    if (child == 0) {
        for (;;)
            syscall(SYS_pause);
    }
    atomic_store(&grave->holder, (int)child);
}

static void live_and_die(void *with)
{
    const struct mortal *side = with;
    uint64_t seed = side->seed;
    telex_channel *channel;
    assert_good(telex_dial(side->address, NULL, SECONDS(10), &channel));
    if (side->held)
        leave_a_holder(side->grave);
    telex_message message = telex_text("I am");
    assert_good(telex_send(channel, &message, 0, SECONDS(5)));
    usleep((useconds_t)(2000 + any(&seed) % 8000));
    atomic_store(&side->grave->killed_ns, telex_after(0));
    kill(getpid(), SIGKILL);
}

enum watching { BY_RECEIVE = 0, BY_CALL, BY_FD, WATCHINGS };

/* How the survivor learns of it. */
static int wait_for_death(telex_channel *channel, enum watching watching)
{
    telex_message message = {0}, reply = {0};
    int r = telex_receive(channel, &message, SECONDS(10));
    assert_good(r);
    telex_release(&message);
    message = telex_text("who?");
    if (watching == BY_CALL)
        return telex_call(channel, &message, &reply, telex_after(INT64_C(10000000000) * slow()));
    if (watching == BY_RECEIVE) {
        r = telex_receive(channel, &reply, telex_after(INT64_C(10000000000) * slow()));
        return r;
    }
    struct pollfd fd = {.fd = telex_fd(channel), .events = POLLIN};
    do
        r = poll(&fd, 1, 10000 * (int)slow()) == 1 ? telex_receive(channel, &reply, TELEX_NOW) : -ETIMEDOUT;
    while (r == -EAGAIN);
    return r;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum { KILLS_MOST = 2000 };

static unsigned kills(void)
{
    const char *wanted = getenv("TELEX_KILLS");
    unsigned count = wanted != NULL ? (unsigned)atoi(wanted) : is_evidence() ? 200 : 15;
    return count < KILLS_MOST ? count : KILLS_MOST;
}

static void watch_them_die(const char *options, bool held, enum watching watching, const char *name)
{
    static int64_t delays[KILLS_MOST];
    char path[200], address[400];
    telex_listener *listener;
    snprintf(path, sizeof path, "%s/mortal", testing_directory());
    shm_address(path, options, address, sizeof address);
    assert_good(telex_listen(address, NULL, &listener));
    struct grave *grave = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(grave != MAP_FAILED);
    unsigned count = kills();
    for (unsigned i = 0; i < count; i++) {
        telex_channel *channel;
        struct mortal side = {address, grave, held, i + 1};
        atomic_store(&grave->holder, 0);
        pid_t peer = testing_fork(live_and_die, &side);
        assert_good(telex_accept(listener, SECONDS(10), &channel));
        int r = wait_for_death(channel, watching);
        delays[i] = telex_after(0) - atomic_load(&grave->killed_ns);
        if (r != -ECONNRESET)
            fprintf(stderr, "%s %s: %d %s\n", options, name, r, telex_reason(channel));
        assert_int_equal(r, -ECONNRESET);
        assert_true(telex_reason(channel)[0] != '\0');
        assert_true(delays[i] < slack_ns());
        telex_close(channel, TELEX_NOW, NULL);
        assert_int_equal(waitpid(peer, NULL, 0), peer);
        if (held) {
            kill(atomic_load(&grave->holder), SIGKILL);
            waitpid(atomic_load(&grave->holder), NULL, __WALL);
        }
    }
    qsort(delays, count, sizeof *delays, compare);
    fprintf(stderr, "death seen by %-8s %-14s %-12s p50 %7.0f us, p99 %7.0f us, max %7.0f us (%u kills)\n", name, options, held ? "socket held" : "",
            (double)delays[count / 2] / 1e3, (double)delays[count * 99 / 100] / 1e3, (double)delays[count - 1] / 1e3, count);
    munmap(grave, 4096);
    telex_listener_close(listener);
}

static void deaths(bool held)
{
    static const char *const names[WATCHINGS] = {"receive", "call", "fd"};
    for (int wait = 0; wait < WAITS; wait++)
        for (int watching = 0; watching < WATCHINGS; watching++)
            watch_them_die(waits[wait], held, (enum watching)watching, names[watching]);
}

static void death_is_seen(void **state)
{
    (void)state;
    deaths(false);
}

static void death_is_seen_though_the_socket_lives(void **state)
{
    (void)state;
    deaths(true);
}

/* By a server, and by who only sends. */
static void a_server_sees_it(void **state)
{
    (void)state;
    struct host host;
    host_open(&host, "");
    struct grave *grave = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < 10; i++) {
        struct mortal side = {host.address, grave, true, i + 1};
        atomic_store(&grave->holder, 0);
        pid_t peer = testing_fork(live_and_die, &side);
        host_says(&host, -ECONNRESET, "died");
        int64_t delay = telex_after(0) - atomic_load(&grave->killed_ns);
        assert_true(delay < slack_ns());
        assert_int_equal(waitpid(peer, NULL, 0), peer);
        kill(atomic_load(&grave->holder), SIGKILL);
        waitpid(atomic_load(&grave->holder), NULL, __WALL);
    }
    munmap(grave, 4096);
    host_forgets(&host);
    host_close(&host);
}

static void a_sender_sees_it(void **state)
{
    (void)state;
    char path[200], address[400];
    telex_listener *listener;
    snprintf(path, sizeof path, "%s/mortal", testing_directory());
    struct grave *grave = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 2 * WAITS; i++) {
        telex_channel *channel;
        shm_address(path, waits[i / 2], address, sizeof address);
        assert_good(telex_listen(address, NULL, &listener));
        struct mortal side = {address, grave, true, (uint64_t)i + 1};
        pid_t peer = testing_fork(live_and_die, &side);
        assert_good(telex_accept(listener, SECONDS(10), &channel));
        int r = 0;
        for (unsigned sent = 0; r == 0 && sent < 1000000; sent++) {
            telex_message message = telex_text("still there?");
            r = telex_send(channel, &message, i % 2 ? TELEX_SYNC : 0, telex_after(INT64_C(10000000000) * slow()));
        }
        assert_int_equal(r, -ECONNRESET);
        assert_true(telex_after(0) - atomic_load(&grave->killed_ns) < slack_ns());
        telex_close(channel, TELEX_NOW, NULL);
        assert_int_equal(waitpid(peer, NULL, 0), peer);
        kill(atomic_load(&grave->holder), SIGKILL);
        waitpid(atomic_load(&grave->holder), NULL, __WALL);
        telex_listener_close(listener);
    }
    munmap(grave, 4096);
}

static const struct testing_case cases[] = {
    {"dying.a_sender_is_stopped", a_sender_is_stopped, 300, NULL},
    {"dying.a_receiver_is_stopped", a_receiver_is_stopped, 300, NULL},
    {"dying.stopped_for_long", stopped_for_long, 90, NULL},
    {"dying.death_is_seen", death_is_seen, 300, NULL},
    {"dying.death_is_seen_though_the_socket_lives", death_is_seen_though_the_socket_lives, 300, NULL},
    {"dying.a_server_sees_it", a_server_sees_it, 0, NULL},
    {"dying.a_sender_sees_it", a_sender_sees_it, 30, NULL},
};

const struct theme hostile_dying = {cases, sizeof cases / sizeof *cases};
