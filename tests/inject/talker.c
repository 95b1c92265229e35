/* SPDX-License-Identifier: MIT */
/*
 * One side of a short conversation that has a bit of everything, for tests/inject/run, which lets its system calls fail: `talker dial|listen ADDRESS BOARD`. Whatever
 * fails, each call of the library does what it says or says why not, within its deadline, and no descriptor is left at the end. Status 0: so it was.
 *
 * Itself it uses only system calls that nobody lets fail: the two sides tell each other through a file (pread, pwrite), looked at without sleeping calls of the
 * library's kind; open descriptors are found by lseek.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "telex/telex.h"

enum {
    BEGIN = 4242, END = 4243, /* marks in the trace: getpriority() of these */
    LARGE = 100000,
    CERTAIN = 0x16,           /* ids of asynchronous messages: of what was withdrawn, answers too late, given up by its caller, close() need not say untaken */
    MOST_FAILURES = 6,
    MOST_DESCRIPTORS = 256,
    GUARD = 40,               /* s */
    LATE = 10,                /* s after its deadline that a call may return; on a loaded machine under a tracer */
};

#define MS INT64_C(1000000)

/* The file that both sides and tests/inject/run share; see there. */
struct board {
    char address[256];
    char listening;       /* 'y', or 'n': it failed */
    char ended[2];        /* 'y': who dials, who listens has ended; written by tests/inject/run */
    char unused[5];
    uint64_t received[2]; /* by who dials, who listens: bits of ids */
    uint64_t claimed[2];  /* by who sent them: they were taken */
    char complaint[2][256];
};

static int board, me;
static telex_channel *channel;
static unsigned failures;
static bool over; /* the channel has ended, or enough has failed */
static unsigned char bytes[LARGE];

static void put(size_t at, const void *from, size_t length)
{
    if (pwrite(board, from, length, (off_t)at) != (ssize_t)length)
        _exit(3);
}

static char look(size_t at)
{
    char byte = 0;
    return pread(board, &byte, 1, (off_t)at) == 1 ? byte : 0;
}

static void wrong(const char *what, int result, const char *why)
{
    char text[256] = "";
    snprintf(text, sizeof text, "%s gave %d: %s (%.180s)", what, result, why, telex_reason(channel));
    put(offsetof(struct board, complaint) + (size_t)me * sizeof text, text, sizeof text);
    _exit(1);
}

/* What came of a call of the library that was to end by `deadline`. */
static bool good(int result, telex_time deadline, const char *what)
{
    if (telex_now() > deadline + LATE * 1000 * MS)
        wrong(what, result, "long after its deadline");
    if (result >= 0)
        return true;
    if (result < -4095)
        wrong(what, result, "this is no error number");
    if (telex_reason(channel)[0] == '\0')
        wrong(what, result, "no sentence");
    if (result == -EFAULT || result == -EBADF || result == -ENOENT || result == -EBUSY || result == -ECHILD)
        wrong(what, result, "this has nothing to do with what failed");
    over = over || result == -EPIPE || result == -ECONNRESET || result == -EPROTO || ++failures >= MOST_FAILURES;
    return false;
}

static telex_time soon(void)
{
    return telex_after(300 * MS);
}

/* ---- messages ---- */

static uint64_t received, claimed, sent;
static uint64_t numbers[16]; /* of sent ids */

static telex_message message_of(unsigned id, size_t length)
{
    telex_message message = telex_binary(bytes + id, length);
    message.type = (uint16_t)id;
    return message;
}

static void keep(const telex_message *message)
{
    received |= UINT64_C(1) << message->type;
    put(offsetof(struct board, received) + (size_t)me * sizeof received, &received, sizeof received);
    if (message->type > 15 || message->length > LARGE - 16 || (message->length > 0 && memcmp(message->data, bytes + message->type, message->length) != 0))
        wrong("receive", 0, "these bytes were not sent");
}

static void say(unsigned id, size_t length, unsigned flags)
{
    telex_time deadline = soon();
    telex_message message = message_of(id, length);
    if (over)
        return;
    int result = telex_send(channel, &message, flags, deadline);
    good(result, deadline, "send");
    numbers[id] = message.number;
    sent |= (uint64_t)(message.number != 0) << id;
    claimed |= (uint64_t)(result == 0 && flags == TELEX_SYNC) << id;
}

static void ask(unsigned id)
{
    telex_time deadline = soon();
    telex_message request = message_of(id, 50), reply = {0};
    if (over)
        return;
    int result = telex_call(channel, &request, &reply, deadline);
    good(result, deadline, "call");
    sent |= (uint64_t)(request.number != 0) << id;
    if (result != 0)
        return;
    claimed |= UINT64_C(1) << id;
    keep(&reply);
    telex_release(&reply);
}

static bool hear(void)
{
    telex_time deadline = soon();
    telex_message message = {0};
    if (!good(telex_receive(channel, &message, deadline), deadline, "receive"))
        return false;
    keep(&message);
    if (message.flags & TELEX_IS_CALL) {
        telex_message reply = message_of(3, 60);
        deadline = soon();
        good(telex_reply(channel, &message, &reply, 0, deadline), deadline, "reply");
        sent |= (uint64_t)(reply.number != 0) << 3;
    }
    telex_release(&message);
    return true;
}

static void converse(void)
{
    if (me == 0) {
        good(telex_fd(channel), TELEX_NEVER - LATE * 1000 * MS, "fd");
        say(1, 40, 0);
        say(2, LARGE - 16, 0);
        say(4, 0, TELEX_MORE);
        say(5, 70, TELEX_SYNC);
        ask(6);
        while (!over && (received & 6) != 6)
            hear();
        telex_time deadline = soon();
        if (!over)
            good(telex_flush(channel, deadline), deadline, "flush");
    } else {
        hear();
        say(1, 30, 0);
        say(2, LARGE - 20, 0);
        while (!over)
            hear();
    }
    for (unsigned id = 1; id < 16; id++)
        if (numbers[id] != 0 && telex_outcome(channel, numbers[id]) == TELEX_TAKEN)
            claimed |= UINT64_C(1) << id;
    telex_time deadline = telex_after(500 * MS);
    uint64_t untaken = 99;
    int result = telex_close(channel, deadline, &untaken);
    channel = NULL;
    good(result, deadline, "close");
    if (result == 0 && untaken == 0)
        claimed |= sent & CERTAIN;
    put(offsetof(struct board, claimed) + (size_t)me * sizeof claimed, &claimed, sizeof claimed);
}

/* ---- meeting ---- */

static void rest(void)
{
    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 2 * MS}, NULL);
}

static void dial(void)
{
    char address[256] = "";
    telex_time deadline = telex_after(2000 * MS);
    if (pread(board, address, sizeof address, offsetof(struct board, address)) < 0)
        _exit(3);
    if (good(telex_dial(address, NULL, deadline, &channel), deadline, "dial"))
        converse();
}

static void listen_at(const char *address)
{
    telex_listener *listener = NULL;
    int result = telex_listen(address, NULL, &listener);
    if (!good(result, TELEX_NEVER - LATE * 1000 * MS, "listen")) {
        put(offsetof(struct board, listening), "n", 1);
        return;
    }
    const char *real = telex_listener_address(listener);
    put(offsetof(struct board, address), real, strlen(real) + 1);
    put(offsetof(struct board, listening), "y", 1);
    while (!over) {
        bool last = look(offsetof(struct board, ended)) == 'y'; /* looked at before: whoever came until then is accepted */
        telex_time deadline = telex_after(100 * MS);
        result = telex_accept(listener, deadline, &channel);
        if (result == 0 || last)
            break;
        if (result != -ETIMEDOUT)
            good(result, deadline, "accept");
        rest();
    }
    telex_listener_close(listener);
    if (channel != NULL)
        converse();
}

static bool is_open(int fd)
{
    return lseek(fd, 0, SEEK_CUR) >= 0 || errno != EBADF;
}

int main(int argc, char **argv)
{
    if (argc != 4 || (board = open(argv[3], O_RDWR | O_CLOEXEC)) < 0)
        return 2;
    me = strcmp(argv[1], "listen") == 0;
    alarm(GUARD);
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    bool before[MOST_DESCRIPTORS];
    for (int fd = 0; fd < MOST_DESCRIPTORS; fd++)
        before[fd] = is_open(fd);
    getpriority(PRIO_PROCESS, BEGIN);
    if (me == 0)
        dial();
    else
        listen_at(argv[2]);
    getpriority(PRIO_PROCESS, END);
    if (getenv("TALKER_MAY_LEAVE_OPEN") == NULL) /* a close that was not carried out */
        for (int fd = 0; fd < MOST_DESCRIPTORS; fd++)
            if (is_open(fd) && !before[fd])
                wrong("the end", fd, "this descriptor is still open");
    _exit(0);
}
