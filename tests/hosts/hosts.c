/* SPDX-License-Identifier: MIT */
/*
 * tcp between two hosts: network namespaces of their own with a cable (veth) between them, that is pulled and put back. A short cut loses nothing; a host that is
 * gone without a word is found. The case's process is the near host, a child of it the far one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "telex/telex.h"
#include "unit/testing.h"

#define SECONDS(n) telex_after((int64_t)(n)*1000000000)
#define MILLISECONDS(n) telex_after((int64_t)(n)*1000000)

enum {
    GUARD = 60,    /* s: what should end by itself has ended */
    MESSAGES = 400,
    LENGTH = 6000,
};

struct hosts {
    pid_t far, holder; /* holder: keeps the far host's namespace when its program is dead */
    int talk;          /* to the far host */
    char address[256]; /* where it listens */
};

typedef void far_program(int talk);

/* ---- hosts and cables ---- */

static void command(const char *format, int number)
{
    char text[300];
    snprintf(text, sizeof text, format, number);
    int status = system(text);
    if (status != 0)
        fprintf(stderr, "status %d: %s\n", status, text);
    assert_int_equal(status, 0);
}

static bool put_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/* A namespace for networks; who is not root becomes it in one for users. */
static bool leave_the_world(void)
{
    if (unshare(CLONE_NEWNET) == 0)
        return true;
    char map[64];
    snprintf(map, sizeof map, "0 %d 1", (int)getuid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && put_text("/proc/self/uid_map", map);
}

/* Whether this machine lets us have hosts: tried in a child, which is thrown away. */
static bool possible(void)
{
    pid_t child = fork();
    if (child == 0) {
        bool can = leave_the_world() && system("ip link add near type veth peer name far && ip addr add 10.77.0.1/24 dev near && ip link set near up") == 0;
        _exit(can ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}

struct far {
    far_program *program;
    int talk;
};

static void be_far(void *with)
{
    const struct far *far = with;
    char word;
    assert_good(unshare(CLONE_NEWNET) < 0 ? -errno : 0);
    assert_int_equal(write(far->talk, "n", 1), 1);
    assert_int_equal(read(far->talk, &word, 1), 1); /* the cable is in */
    command("ip addr add 10.77.0.2/24 dev far && ip link set far up && ip link set lo up", 0);
    far->program(far->talk);
}

static void hosts_begin(struct hosts *hosts, far_program *program)
{
    int ends[2];
    char word;
    assert_true(leave_the_world());
    assert_good(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0);
    struct far far = {program, ends[1]};
    hosts->far = testing_fork(be_far, &far);
    close(ends[1]);
    hosts->talk = ends[0];
    assert_int_equal(read(hosts->talk, &word, 1), 1);
    command("ip link add near type veth peer name far netns %d && ip addr add 10.77.0.1/24 dev near && ip link set near up && ip link set lo up", hosts->far);
    char text[64];
    snprintf(text, sizeof text, "/proc/%d/ns/net", (int)hosts->far);
    int space = open(text, O_RDONLY | O_CLOEXEC);
    assert_true(space >= 0);
    hosts->holder = fork();
    if (hosts->holder == 0) {
        setns(space, CLONE_NEWNET);
        pause();
        _exit(0);
    }
    close(space);
    assert_int_equal(write(hosts->talk, "c", 1), 1);
}

/* The cable lies at the far host: the near one only sees that nothing comes any more. */
static void pull(struct hosts *hosts)
{
    command("nsenter -t %d -n ip link set far down", hosts->holder);
}

static void put_back(struct hosts *hosts)
{
    command("nsenter -t %d -n ip link set far up", hosts->holder);
}

static void kill_far(struct hosts *hosts)
{
    int status;
    kill(hosts->far, SIGKILL);
    assert_int_equal(waitpid(hosts->far, &status, 0), hosts->far);
    hosts->far = 0;
}

static void hosts_end(struct hosts *hosts)
{
    kill(hosts->holder, SIGKILL);
    waitpid(hosts->holder, NULL, 0);
    close(hosts->talk);
    if (hosts->far > 0)
        testing_wait(hosts->far);
}

/* ---- programs of the far host ---- */

static telex_channel *accept_one(int talk, const char *options)
{
    char address[256] = "";
    snprintf(address, sizeof address, "tcp://10.77.0.2:0%s", options);
    telex_listener *listener;
    telex_channel *channel;
    assert_good(telex_listen(address, NULL, &listener));
    snprintf(address, sizeof address, "%s", telex_listener_address(listener));
    assert_int_equal(write(talk, address, sizeof address), sizeof address);
    assert_good(telex_accept(listener, SECONDS(20), &channel));
    telex_listener_close(listener);
    return channel;
}

static telex_channel *dial_far(struct hosts *hosts, const char *options)
{
    char address[300];
    telex_channel *channel;
    assert_int_equal(read(hosts->talk, hosts->address, sizeof hosts->address), sizeof hosts->address);
    snprintf(address, sizeof address, "%s%s", hosts->address, options);
    assert_good(telex_dial(address, NULL, SECONDS(20), &channel));
    return channel;
}

static const char *numbered(unsigned number)
{
    static char bytes[LENGTH];
    memset(bytes, 'a' + number % 26, sizeof bytes);
    snprintf(bytes, 12, "%010u", number);
    return bytes;
}

static void expect_numbered(telex_channel *channel, unsigned number)
{
    telex_message message = {0};
    assert_good(telex_receive(channel, &message, SECONDS(GUARD)));
    assert_int_equal(message.length, LENGTH);
    assert_memory_equal(message.data, numbered(number), LENGTH);
    telex_release(&message);
}

/* Sends back what comes. */
static void mirror(int talk)
{
    telex_channel *channel = accept_one(talk, "");
    for (unsigned i = 0; i < MESSAGES; i++) {
        expect_numbered(channel, i);
        telex_message message = telex_binary(numbered(i), LENGTH);
        assert_good(telex_send(channel, &message, 0, SECONDS(GUARD)));
    }
    assert_good(telex_close(channel, SECONDS(GUARD), NULL));
}

static void sit(int talk)
{
    telex_channel *channel = accept_one(talk, "");
    assert_int_equal(write(talk, "r", 1), 1);
    for (;;)
        pause();
    telex_close(channel, TELEX_NOW, NULL);
}

static void dial_and_sit(int talk)
{
    char address[256];
    telex_channel *channel;
    assert_int_equal(read(talk, address, sizeof address), sizeof address);
    assert_good(telex_dial(address, NULL, SECONDS(20), &channel));
    assert_int_equal(write(talk, "r", 1), 1);
    for (;;)
        pause();
    telex_close(channel, TELEX_NOW, NULL);
}

/* ---- cases ---- */

/* Both sides send while the cable is out; nothing is lost, all is in order, and nobody is told of it. */
static void a_short_cut_loses_nothing(void **state)
{
    (void)state;
    struct hosts hosts;
    hosts_begin(&hosts, mirror);
    telex_channel *channel = dial_far(&hosts, "");
    unsigned sent = 0, got = 0, cuts = 0;
    telex_time back = 0;
    while (got < MESSAGES) {
        if (back == 0 && sent >= 100 * (cuts + 1) && cuts < 2) {
            pull(&hosts);
            back = MILLISECONDS(700);
            cuts++;
        }
        if (back != 0 && telex_now() >= back) {
            put_back(&hosts);
            back = 0;
        }
        telex_message message = telex_binary(numbered(sent), LENGTH);
        int r = sent < MESSAGES ? telex_send(channel, &message, 0, MILLISECONDS(5)) : -ETIMEDOUT;
        sent += r == 0;
        assert_true(r == 0 || r == -ETIMEDOUT);
        telex_message answer = {0};
        r = telex_receive(channel, &answer, MILLISECONDS(2));
        assert_true(r == 0 || r == -ETIMEDOUT);
        if (r == 0) {
            assert_int_equal(answer.length, LENGTH);
            assert_memory_equal(answer.data, numbered(got), LENGTH);
            got++;
        }
        telex_release(&answer);
    }
    assert_int_equal(cuts, 2);
    uint64_t untaken = 9;
    assert_good(telex_close(channel, SECONDS(GUARD), &untaken));
    assert_int_equal(untaken, 0);
    hosts_end(&hosts);
}

static void expect_silence(int r, const telex_channel *channel)
{
    if (r != -ECONNRESET)
        fprintf(stderr, "gave %d: %s\n", r, telex_reason(channel));
    assert_int_equal(r, -ECONNRESET);
    assert_true(strstr(telex_reason(channel), "fell silent") != NULL || strstr(telex_reason(channel), "broke") != NULL);
}

static void wait_ready(struct hosts *hosts)
{
    char word;
    assert_int_equal(read(hosts->talk, &word, 1), 1);
}

/* A channel on which nothing is said: the kernel asks now and then. */
static void silent_while_receiving(const char *options)
{
    struct hosts hosts;
    hosts_begin(&hosts, sit);
    telex_channel *channel = dial_far(&hosts, options);
    wait_ready(&hosts);
    pull(&hosts);
    kill_far(&hosts);
    telex_message message = {0};
    expect_silence(telex_receive(channel, &message, SECONDS(GUARD)), channel);
    uint64_t untaken = 9;
    telex_close(channel, SECONDS(GUARD), &untaken);
    assert_int_equal(untaken, 0);
    hosts_end(&hosts);
}

static void a_silent_host_is_found_by_a_receiver(void **state)
{
    (void)state;
    silent_while_receiving("?keepalive=4s");
}

static void a_silent_host_is_found_within_the_usual_time(void **state)
{
    (void)state;
    if (getenv("TELEX_EVIDENCE") != NULL) /* it takes all of 40 s */
        silent_while_receiving("");
}

/* Bytes are on their way, and the sender waits for room: repeating them in vain tells. `gone`: the host itself is no more, with its end of the cable. */
static void silent_while_sending(const char *options, bool gone)
{
    struct hosts hosts;
    hosts_begin(&hosts, sit);
    if (options[0] != '\0') /* how often it is repeated can be said for a host only; with the usual number it takes 15 s at least */
        assert_true(put_text("/proc/sys/net/ipv4/tcp_retries2", "3"));
    telex_channel *channel = dial_far(&hosts, options);
    wait_ready(&hosts);
    pull(&hosts);
    kill_far(&hosts);
    if (gone)
        kill(hosts.holder, SIGKILL);
    int r;
    uint64_t admitted = 0;
    do {
        telex_message message = telex_binary(numbered(0), LENGTH);
        r = telex_send(channel, &message, 0, SECONDS(GUARD));
        admitted += r == 0;
    } while (r == 0);
    expect_silence(r, channel);
    uint64_t untaken = 0;
    assert_int_equal(telex_close(channel, SECONDS(GUARD), &untaken), -ECONNRESET);
    assert_int_equal(untaken, admitted);
    hosts_end(&hosts);
}

static void a_silent_host_is_found_by_a_sender(void **state)
{
    (void)state;
    silent_while_sending("?keepalive=4s", false);
}

static void a_host_that_is_gone_is_found_by_a_sender(void **state)
{
    (void)state;
    silent_while_sending("?keepalive=4s", true);
}

static void a_sender_finds_it_within_the_usual_time(void **state)
{
    (void)state;
    if (getenv("TELEX_EVIDENCE") != NULL) /* some 27 s */
        silent_while_sending("", false);
}

static void on_close(telex_server *server, telex_channel *channel, int why, void *user)
{
    (void)server;
    expect_silence(why, channel);
    *(bool *)user = true;
}

static void a_server_hears_of_it(void **state)
{
    (void)state;
    struct hosts hosts;
    hosts_begin(&hosts, dial_and_sit);
    bool heard = false;
    telex_server *server;
    const char *real;
    char address[256] = "";
    const telex_handlers handlers = {.size = sizeof handlers, .close = on_close};
    assert_good(telex_server_new(&handlers, NULL, &heard, &server));
    assert_good(telex_server_listen(server, "tcp://10.77.0.1:0?keepalive=4s", NULL, &real));
    snprintf(address, sizeof address, "%s", real);
    assert_int_equal(write(hosts.talk, address, sizeof address), sizeof address);
    bool cut = false;
    for (telex_time until = SECONDS(GUARD); !heard && telex_now() < until;) {
        struct pollfd ready[2] = {{.fd = telex_server_fd(server), .events = POLLIN}, {.fd = cut ? -1 : hosts.talk, .events = POLLIN}};
        poll(ready, 2, 1000);
        assert_good(telex_server_process(server));
        if (ready[1].revents == 0)
            continue;
        wait_ready(&hosts);
        pull(&hosts);
        kill_far(&hosts);
        cut = true;
    }
    assert_true(heard);
    assert_int_equal(telex_server_count(server), 0);
    assert_good(telex_server_close(server, SECONDS(5)));
    hosts_end(&hosts);
}

static const struct testing_case cases[] = {
    TESTING_CASE_LIMIT(a_short_cut_loses_nothing, GUARD),
    TESTING_CASE_LIMIT(a_silent_host_is_found_by_a_receiver, 2 * GUARD),
    TESTING_CASE_LIMIT(a_silent_host_is_found_by_a_sender, 2 * GUARD),
    TESTING_CASE_LIMIT(a_host_that_is_gone_is_found_by_a_sender, 2 * GUARD),
    TESTING_CASE_LIMIT(a_server_hears_of_it, 2 * GUARD),
    TESTING_CASE_LIMIT(a_silent_host_is_found_within_the_usual_time, 2 * GUARD),
    TESTING_CASE_LIMIT(a_sender_finds_it_within_the_usual_time, 2 * GUARD),
};

enum { COUNT = sizeof cases / sizeof *cases };

int main(int argc, char **argv)
{
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
    if (list || possible())
        return testing_main(argc, argv, "hosts", cases, COUNT);
    printf("note: no network namespaces here (they take root, or user namespaces, and ip)\n");
    for (int i = 0; i < COUNT; i++)
        printf("ok hosts.%s # skip\n", cases[i].name);
    return 0;
}
