/* SPDX-License-Identifier: MIT */
/* Peers that ring, hand over descriptors, send and ask without end: calls end in time, memory and descriptors stay within their limits, others are served. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "hostile/hostile.h"

enum { MUCH = 32 << 20 /* bytes of memory that no attack may cost beyond what was agreed */ };

static size_t resident_bytes(pid_t process)
{
    char path[64];
    size_t total = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)process);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &total, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- bells ---- */

struct bells {
    int socket;
    bool with_descriptors;
    atomic_bool over;
    uint64_t rung;
};

static void *ring_all_the_time(void *with)
{
    struct bells *bells = with;
    char rings[512] = {0};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {rings, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (bells->with_descriptors) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(8 * sizeof(int))};
        for (int i = 0; i < 8; i++)
            memcpy(CMSG_DATA(head) + (size_t)i * sizeof(int), &bells->socket, sizeof(int));
    }
    while (!atomic_load(&bells->over)) {
        part.iov_len = bells->rung % 3 == 0 ? sizeof rings : 1;
        if (sendmsg(bells->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
            bells->rung++;
        else if (errno != EAGAIN && errno != ETOOMANYREFS)
            break;
    }
    return NULL;
}

struct waiter {
    const char *path, *options;
    int in, out;
};

static void note(struct told *told, const char *call, telex_time deadline, int result)
{
    int64_t late = telex_after(0) - deadline;
    if (late > told->late_ns) {
        told->late_ns = late;
        snprintf(told->late_call, sizeof told->late_call, "%s", call);
    }
    if (result != -ETIMEDOUT && told->result == 0)
        told->result = result;
}

/* Waits in every way that there is, and tells how that ended and how many descriptors there are then. */
static void wait_in_every_way(void *with)
{
    const struct waiter *side = with;
    char address[400], go;
    telex_channel *channel;
    shm_address(side->path, side->options, address, sizeof address);
    assert_good(telex_dial(address, NULL, SECONDS(10), &channel));
    assert_int_equal(telex_fd(channel) >= 0, 1);
    size_t descriptors = open_descriptors(0);
    struct told told = {0};
    assert_int_equal(read(side->in, &go, 1), 1);
    for (int i = 0; i < 3 && told.result == 0; i++) {
        telex_message message = {0}, request = telex_text("nobody answers");
        telex_time deadline = MILLISECONDS(60);
        note(&told, "receive", deadline, telex_receive(channel, &message, deadline));
        deadline = MILLISECONDS(60);
        note(&told, "send sync", deadline, telex_send(channel, &request, TELEX_SYNC, deadline));
        deadline = MILLISECONDS(60);
        note(&told, "call", deadline, telex_call(channel, &request, &message, deadline));
        telex_release(&message);
        for (deadline = MILLISECONDS(60); telex_after(0) < deadline && told.result == 0;) {
            struct pollfd fd = {.fd = telex_fd(channel), .events = POLLIN};
            poll(&fd, 1, 10);
            int r = telex_process(channel);
            note(&told, "process", deadline, r == 0 ? -ETIMEDOUT : r);
        }
    }
    snprintf(told.sentence, sizeof told.sentence, "%s", telex_reason(channel));
    told.received = open_descriptors(0) > descriptors ? open_descriptors(0) - descriptors : 0;
    tell(side->out, &told);
    assert_int_equal(read(side->in, &go, 1), 1);
    telex_close(channel, MILLISECONDS(50), NULL);
}

static void flood_with_bells(const char *options, bool with_descriptors, bool talks, int result)
{
    int here[2], there[2];
    char path[200];
    snprintf(path, sizeof path, "%s/liar", testing_directory());
    int listening = attacker_listen(path);
    assert_good(pipe2(here, O_CLOEXEC));
    assert_good(pipe2(there, O_CLOEXEC));
    struct waiter side = {path, options, there[0], here[1]};
    pid_t victim = testing_fork(wait_in_every_way, &side);
    close(here[1]);
    close(there[0]);
    struct attacker attacker;
    attacker_init(&attacker, false, NULL);
    assert_true(attacker_attach(&attacker, attacker_accept(listening, 10000)));
    size_t before = resident_bytes(victim);
    struct bells bells = {.socket = attacker.socket, .with_descriptors = with_descriptors};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ring_all_the_time, &bells), 0);
    assert_int_equal(write(there[1], "g", 1), 1);
    struct pollfd tells = {.fd = here[0], .events = POLLIN};
    for (uint64_t number = 1; talks && poll(&tells, 1, 0) == 0;) { /* so that sleeps end by themselves, too */
        if (attacker_has_room(&attacker, 64))
            attacker_put(&attacker, 0, 0, number++, "hello", 5);
        usleep(200);
    }
    struct told told;
    hear_told(here[0], &told);
    size_t after = resident_bytes(victim);
    atomic_store(&bells.over, true);
    pthread_join(thread, NULL);
    if (told.result != result || told.late_ns > slack_ns() || after > before + MUCH)
        fprintf(stderr, "%s: %d %s; %s came back %lld ms after its deadline; %zu bytes, then %zu\n", options, told.result, told.sentence, told.late_call,
                (long long)told.late_ns / 1000000, before, after);
    assert_true(bells.rung > 100 || with_descriptors);
    assert_int_equal(told.result, result);
    assert_true(told.late_ns < slack_ns());
    assert_true(after < before + MUCH);
    assert_true(told.received < (result == 0 ? 8 : 140)); /* a few of its own; of those that no message claims none, or a bounded number until the end */
    assert_int_equal(write(there[1], "g", 1), 1);
    testing_wait(victim);
    attacker_deinit(&attacker);
    close(here[0]);
    close(there[1]);
    close(listening);
}

static void bells(void **state)
{
    (void)state;
    flood_with_bells("wait=block", false, false, 0);
    flood_with_bells("wait=spin", false, false, 0);
    flood_with_bells("wait=adaptive", false, false, 0);
}

static void bells_with_descriptors(void **state)
{
    (void)state;
    flood_with_bells("wait=block", true, false, 0); /* who takes none never sees them */
    flood_with_bells("wait=adaptive", true, false, 0);
    flood_with_bells("wait=block&descriptors=4", true, false, -EPROTO);
    flood_with_bells("wait=spin&descriptors=4", true, false, -EPROTO);
    for (int i = 0; i < 3; i++)
        flood_with_bells("wait=block&descriptors=4", true, true, -EPROTO);
}

/* More descriptors than may wait, noticed just when a sleep is announced, by a program that uses telex_fd. */
static void descriptors_too_many(void **state)
{
    (void)state;
    char path[200], address[400];
    telex_listener *listener;
    telex_channel *victim;
    struct attacker attacker;
    snprintf(path, sizeof path, "%s/victim", testing_directory());
    shm_address(path, "descriptors=8", address, sizeof address);
    assert_good(telex_listen(address, NULL, &listener));
    attacker_init(&attacker, true, NULL);
    attacker_greet(&attacker, attacker_connect(path), NULL);
    assert_good(telex_accept(listener, SECONDS(10), &victim));
    assert_int_equal(attacker_hear(&attacker, 10000), 1);
    assert_true(telex_fd(victim) >= 0);
    telex_message message = {0};
    int r = -EAGAIN;
    for (uint64_t i = 1; i < 40 && r == -EAGAIN; i++) {
        attacker_send_descriptors(&attacker, i % 10 == 9 ? 8 : 9);
        r = telex_receive(victim, &message, TELEX_NOW);
        if (r == -EAGAIN && i >= 8) { /* now with a message beside it */
            attacker_put(&attacker, 0, 0, i, "hello", 5);
            r = telex_receive(victim, &message, TELEX_NOW);
            r = r == 0 ? -EAGAIN : r;
        }
    }
    assert_int_equal(r, -EPROTO);
    assert_non_null(strstr(telex_reason(victim), "descriptors"));
    telex_release(&message);
    telex_close(victim, TELEX_NOW, NULL);
    telex_listener_close(listener);
    attacker_deinit(&attacker);
}

/* ---- messages ---- */

/* More than there is credit for, to a program that takes nothing: found out; what was granted is still handed out. */
static void credit_overrun(void **state)
{
    (void)state;
    char path[200], address[400];
    static const char body[4000];
    telex_listener *listener;
    telex_channel *victim;
    struct attacker attacker;
    snprintf(path, sizeof path, "%s/victim", testing_directory());
    shm_address(path, "window=256KiB", address, sizeof address);
    assert_good(telex_listen(address, NULL, &listener));
    attacker_init(&attacker, true, NULL);
    attacker_greet(&attacker, attacker_connect(path), NULL);
    assert_good(telex_accept(listener, SECONDS(10), &victim));
    assert_int_equal(attacker_hear(&attacker, 10000), 1);
    for (uint64_t number = 1; number < 200; number++) {
        attacker_put(&attacker, 0, 0, number, body, sizeof body);
        assert_good(telex_process(victim)); /* reads, takes nothing: there is something to receive */
    }
    telex_message message = {0};
    int got = 0, r;
    while ((r = telex_receive(victim, &message, SECONDS(5))) == 0)
        got++;
    assert_int_equal(r, -EPROTO);
    assert_non_null(strstr(telex_reason(victim), "credit"));
    assert_true(got > 0 && got <= 256 * 1024 / 4016);
    telex_release(&message);
    telex_close(victim, TELEX_NOW, NULL);
    telex_listener_close(listener);
    attacker_deinit(&attacker);
}

/* Requests without end by who never reads an answer, and control frames without end: bounded, and others are served. */
static void flood_a_server(void (*say)(struct attacker *attacker))
{
    struct host host;
    struct attacker attacker;
    host_open(&host, "");
    size_t before = resident_bytes(host.server);
    attacker_init(&attacker, true, NULL);
    assert_true(attacker_attach(&attacker, attacker_connect(host.path)));
    int64_t until = now_ms() + 700, serve = now_ms();
    while (now_ms() < until && !attacker_hung_up(&attacker)) {
        for (int i = 0; i < 100 && attacker_has_room(&attacker, 1100); i++)
            say(&attacker);
        if (now_ms() > serve) {
            host_serves(&host);
            serve = now_ms() + 50;
        }
    }
    host_serves(&host);
    size_t after = resident_bytes(host.server);
    if (after > before + 2 * MUCH)
        fprintf(stderr, "%zu bytes, then %zu\n", before, after);
    assert_true(after < before + 2 * MUCH);
    attacker_deinit(&attacker);
    host_says(&host, 0, NULL);
    host_forgets(&host);
    host_close(&host);
}

static void say_call(struct attacker *attacker)
{
    static const char body[1000];
    attacker_put(attacker, SHM_CALL, 0, ++attacker->number, body, sizeof body);
}

static void say_message(struct attacker *attacker)
{
    attacker_put(attacker, 0, (unsigned)(attacker->number % 255), attacker->number + 1, "x", 1);
    attacker->number++;
}

static void say_piece(struct attacker *attacker)
{
    static const uint8_t body[1000] = {0, 0, 16};
    uint64_t number = ++attacker->number;
    attacker_put(attacker, SHM_MORE, (unsigned)(number % 250), number, body, sizeof body);
    attacker_put_control(attacker, 3, number, "", 0);
}

static void calls(void **state)
{
    (void)state;
    flood_a_server(say_call);
}

static void messages(void **state)
{
    (void)state;
    flood_a_server(say_message);
}

static void pieces(void **state)
{
    (void)state;
    flood_a_server(say_piece);
}

static const struct testing_case cases[] = {
    {"floods.bells", bells, 30, NULL},
    {"floods.bells_with_descriptors", bells_with_descriptors, 30, NULL},
    {"floods.descriptors_too_many", descriptors_too_many, 0, NULL},
    {"floods.credit_overrun", credit_overrun, 0, NULL},
    {"floods.calls", calls, 0, NULL},
    {"floods.messages", messages, 0, NULL},
    {"floods.pieces", pieces, 0, NULL},
};

const struct theme hostile_floods = {cases, sizeof cases / sizeof *cases};
