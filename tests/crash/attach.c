/* SPDX-License-Identifier: MIT */
/*
 * Death while attaching. Before it is done nothing is shared but a socket: so between two system calls of the victim its peer sees no difference, and real kills
 * before and after each of them are all that there is.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/crash.h"

enum { STOPS_MOST = 2000, PEER_TRIES = 5000, NAPS = 1000, NAP_US = 100 };

static const struct plan attaching = {.least = 8, .most = 8};

/* Lets the victim go to its next system call, or out of it. false: it has ended, or (if it may sleep) does not come out of it. */
static bool next_stop(pid_t victim, bool may_sleep)
{
    int status;
    pid_t stopped = 0;
    ptrace(PTRACE_SYSCALL, victim, NULL, NULL);
    for (int i = 0; i < NAPS && stopped == 0; i++) {
        stopped = waitpid(victim, &status, may_sleep ? WNOHANG : 0);
        if (stopped == 0)
            usleep(NAP_US);
    }
    return stopped == victim && WIFSTOPPED(status);
}

static pid_t start(void (*run)(void))
{
    int status;
    fflush(NULL);
    pid_t victim = fork();
    if (victim == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        duel_stand_ready();
        run();
        _exit(0);
    }
    assert_int_equal(waitpid(victim, &status, 0), victim);
    assert_true(WIFSTOPPED(status));
    ptrace(PTRACE_SETOPTIONS, victim, NULL, PTRACE_O_EXITKILL);
    return victim;
}

static void finish(pid_t victim)
{
    int status;
    kill(victim, SIGKILL);
    while (waitpid(victim, &status, 0) == victim && WIFSTOPPED(status))
        ;
}

/* What came of the dead: the end, in time. */
static void expect_end(telex_channel *channel)
{
    telex_message message = {0};
    int r = telex_receive(channel, &message, SECONDS(5));
    if (r != -ECONNRESET && r != -EPIPE)
        crash_fail("telex_receive from who died while attaching gave %d: %s", r, telex_reason(channel));
    r = telex_close(channel, SECONDS(5), NULL);
    if (r != 0 && r != -ECONNRESET)
        crash_fail("telex_close gave %d", r);
}

static void note(const char *name, unsigned stops, telex_time since)
{
    crash_totals->stops += stops;
    crash_note("%s: death at each of %u stops, before and after system calls; %.1f s", name, stops, (double)(telex_now() - since) / 1e9);
}

/* ---- the dialer dies ---- */

static void dial(void)
{
    telex_channel *channel;
    if (telex_dial(crash_address(), NULL, SECONDS(20), &channel) < 0)
        _exit(1);
    telex_close(channel, TELEX_NOW, NULL);
}

static void dial_and_greet(void *with)
{
    (void)with;
    telex_channel *channel;
    telex_message message = telex_text("hello");
    assert_good(telex_dial(crash_address(), NULL, SECONDS(10), &channel));
    assert_good(telex_send(channel, &message, TELEX_SYNC, SECONDS(10)));
    assert_good(telex_close(channel, SECONDS(10), NULL));
}

/* Whoever dials next is served. */
static void serve_next(telex_listener *listener)
{
    pid_t next = testing_fork(dial_and_greet, NULL);
    telex_channel *channel;
    for (int served = 0; served == 0;) {
        telex_message message = {0};
        if (telex_accept(listener, SECONDS(10), &channel) < 0) {
            crash_fail("the next dialer was not accepted: %s", telex_reason(NULL));
            break;
        }
        served = telex_receive(channel, &message, SECONDS(5)) == 0; /* it may be the dead one's, still */
        telex_release(&message);
        telex_close(channel, SECONDS(5), NULL);
    }
    testing_wait(next);
}

/* Kills a dialer after `stops`. Whether it lived to the end. `watches`: the listener looks at each stop, else only once the dialer is dead. */
static bool kill_dialer(telex_listener *listener, unsigned stops, bool watches)
{
    int open = crash_count_open();
    telex_channel *channel = NULL;
    pid_t victim = start(dial);
    bool lives = true;
    for (unsigned i = 0; i < stops && lives; i++) {
        lives = next_stop(victim, !watches);
        if (watches && channel == NULL)
            telex_accept(listener, TELEX_NOW, &channel);
    }
    finish(victim);
    if (channel == NULL)
        telex_accept(listener, telex_after(1000000), &channel);
    if (channel != NULL)
        expect_end(channel);
    if (stops % 8 == 0)
        serve_next(listener);
    telex_accept(listener, TELEX_NOW, &channel); /* it notices the death of whoever did not come so far */
    if (crash_count_open() != open)
        crash_fail("%d descriptors are open, before there were %d (death at stop %u)", crash_count_open(), open, stops);
    return !lives;
}

static void die_dialing(bool watches)
{
    telex_listener *listener;
    telex_time since = telex_now();
    unsigned stops = 0;
    assert_good(telex_listen(crash_address(), NULL, &listener));
    while (stops < STOPS_MOST && board->why[0] == '\0' && !kill_dialer(listener, stops, watches))
        stops++;
    crash_end();
    assert_in_range(stops, 20, STOPS_MOST - 1); /* all of the way, but not for ever */
    serve_next(listener);
    crash_end();
    telex_listener_close(listener);
    note(watches ? "dials, watched" : "dials", stops, since);
}

void crash_dials(void **state)
{
    (void)state;
    crash_begin(&attaching);
    die_dialing(true);
    die_dialing(false);
}

/* ---- the listener dies ---- */

static void accept_one(void)
{
    telex_listener *listener;
    telex_channel *channel;
    if (telex_listen(crash_address(), NULL, &listener) < 0 || telex_accept(listener, SECONDS(20), &channel) < 0)
        _exit(1);
    telex_close(channel, TELEX_NOW, NULL);
    telex_listener_close(listener);
}

/* A dialer that tries until somebody listens, and is answered or told of the end in time. */
static void dial_once(void *with)
{
    (void)with;
    telex_channel *channel;
    for (int i = 0; i < PEER_TRIES; i++, usleep(1000)) {
        int open = crash_count_open(), r = telex_dial(crash_address(), NULL, SECONDS(10), &channel);
        if (r == 0)
            expect_end(channel);
        else if (r != -ECONNRESET && r != -ECONNREFUSED && r != -ENOENT)
            crash_fail("telex_dial gave %d: %s", r, telex_reason(NULL));
        if (crash_count_open() != open)
            crash_fail("%d descriptors are open, before there were %d", crash_count_open(), open);
        if (r == 0 || r == -ECONNRESET || board->closing)
            break;
    }
}

static bool kill_listener(unsigned stops)
{
    board->closing = false;
    pid_t victim = start(accept_one), peer = testing_fork(dial_once, NULL);
    bool lives = true;
    for (unsigned i = 0; i < stops && lives; i++)
        lives = next_stop(victim, false);
    board->closing = true; /* nobody comes any more */
    finish(victim);
    testing_wait(peer);
    return !lives;
}

void crash_accepts(void **state)
{
    (void)state;
    crash_begin(&attaching);
    telex_time since = telex_now();
    unsigned stops = 0;
    while (stops < STOPS_MOST && board->why[0] == '\0' && !kill_listener(stops))
        stops++;
    crash_end();
    assert_in_range(stops, 20, STOPS_MOST - 1);
    note("accepts", stops, since);
}
