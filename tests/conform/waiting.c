/* SPDX-License-Identifier: MIT */
/* Deadlines, interrupts, signals, and what waiting costs. Only hang guards look at a clock. */
#include "conform/conform.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/time.h>

static void wait_for_x(struct talk *talk)
{
    talk_hear(talk, 'x');
}

static void deadlines(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", wait_for_x);
    telex_message message = {0};
    assert_gives(telex_receive(talk.channel, &message, TELEX_NOW), -EAGAIN, talk.channel);
    assert_gives(telex_receive(talk.channel, &message, telex_now() - 1000), -ETIMEDOUT, talk.channel);
    assert_gives(telex_receive(talk.channel, &message, 1), -ETIMEDOUT, talk.channel);
    static const int64_t waits[] = {1000, 300000, 8000000, 60000000};
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        telex_time deadline = telex_after(waits[i]);
        assert_gives(telex_receive(talk.channel, &message, deadline), -ETIMEDOUT, talk.channel);
        assert_true(telex_now() >= deadline); /* never early */
    }
    assert_true(telex_after(INT64_MAX) == TELEX_NEVER);
    assert_true(telex_after(-INT64_MAX) != TELEX_NOW);
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static void answer_after_a_while(struct talk *talk)
{
    nap(120);
    send_text(talk, "at last");
}

static void a_long_wait_ends_with_the_message(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", answer_after_a_while);
    expect_text(&talk, "at last");
    talk_end(&talk);
}

/* ---- interrupts ---- */

static const char *const waits[] = {"wait=adaptive", "wait=spin", "wait=block"};

static void *interrupt_soon(void *channel)
{
    nap(40);
    telex_interrupt(channel);
    return NULL;
}

/* Until it stays full: the kernel lets a tcp connection's buffers grow for a while. */
static void fill_up(struct talk *talk)
{
    static char bytes[10000];
    memset(bytes, 'x', sizeof bytes);
    for (int full = 0; full < 8;) {
        telex_message message = message_of(talk, bytes, sizeof bytes);
        int r = telex_send(talk->channel, &message, 0, TELEX_NOW);
        assert_true(r == 0 || r == -EAGAIN);
        full = r == 0 ? 0 : full + 1;
        if (r < 0)
            nap(10);
    }
}

static void interrupted_from_a_thread(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct talk talk;
        char options[64];
        snprintf(options, sizeof options, "buffer=64KiB&%s", waits[i]);
        talk_begin(&talk, *state, options, wait_for_x);
        telex_message message = {0};
        pthread_t thread;
        assert_good(pthread_create(&thread, NULL, interrupt_soon, talk.channel));
        assert_gives(telex_receive(talk.channel, &message, SECONDS(15)), -EINTR, talk.channel);
        pthread_join(thread, NULL);
        fill_up(&talk); /* does not wait: the other direction's interrupt is still there */
        message = message_of(&talk, "x", 1);
        assert_gives(telex_send(talk.channel, &message, 0, SECONDS(15)), -EINTR, talk.channel);
        assert_good(pthread_create(&thread, NULL, interrupt_soon, talk.channel));
        assert_gives(telex_send(talk.channel, &message, 0, SECONDS(15)), -EINTR, talk.channel);
        pthread_join(thread, NULL);
        telex_close(talk.channel, TELEX_NOW, NULL);
        talk.channel = NULL;
        talk_say(&talk, 'x');
        talk_end(&talk);
    }
}

static void sticky(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", wait_for_x);
    telex_message message = {0};
    assert_good(telex_interrupt(talk.channel));
    assert_good(telex_interrupt(talk.channel));
    assert_gives(telex_receive(talk.channel, &message, TELEX_NOW), -EAGAIN, talk.channel); /* no wait, no interrupt */
    assert_gives(telex_receive(talk.channel, &message, SECONDS(15)), -EINTR, talk.channel);
    assert_gives(telex_receive(talk.channel, &message, MILLISECONDS(5)), -ETIMEDOUT, talk.channel); /* once */
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static telex_channel *to_interrupt;

static void on_alarm(int number)
{
    (void)number;
    if (to_interrupt != NULL)
        telex_interrupt(to_interrupt);
}

/* A bare signal may come just between two sleeps, and then ends none: so it is repeated. An interrupt is sticky: once must do. */
static void ring_in(unsigned milliseconds, bool repeatedly)
{
    suseconds_t microseconds = (suseconds_t)milliseconds * 1000;
    struct itimerval timer = {.it_value = {.tv_usec = microseconds},
                              .it_interval = {.tv_usec = repeatedly ? microseconds : 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* A signal ends a sleep, whatever SA_RESTART says; an interrupt from its handler ends spinning too, and only this wait. */
static void signals(void **state)
{
    static const int flags[] = {0, SA_RESTART};
    for (int with_interrupt = 0; with_interrupt < 2; with_interrupt++)
        for (int i = 0; i < 3; i++)
            for (int restart = 0; restart < 2; restart++) {
                if (i == 1 && !with_interrupt)
                    continue; /* who spins does not sleep */
                struct talk talk;
                talk_begin(&talk, *state, waits[i], wait_for_x);
                struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags[restart]};
                sigaction(SIGALRM, &action, NULL);
                to_interrupt = with_interrupt ? talk.channel : NULL;
                telex_message message = {0};
                static const unsigned whens[] = {2, 40}; /* while it dozes, and once it sleeps for long */
                for (int when = 0; when < 2; when++) {
                    ring_in(whens[when], !with_interrupt);
                    assert_gives(telex_receive(talk.channel, &message, SECONDS(15)), -EINTR, talk.channel);
                    ring_in(0, false);
                    assert_gives(telex_receive(talk.channel, &message, MILLISECONDS(1)), -ETIMEDOUT, talk.channel);
                }
                to_interrupt = NULL;
                signal(SIGALRM, SIG_DFL);
                talk_say(&talk, 'x');
                talk_end(&talk);
            }
}

/* A synchronous message that left before the interrupt is treated as after a time-out. */
static void interrupted_rendezvous(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", wait_for_x);
    static const size_t lengths[] = {10, 5000000};
    for (int i = 0; i < 2; i++) {
        telex_message message = telex_binary(pattern(0, lengths[i]), lengths[i]);
        pthread_t thread;
        assert_good(pthread_create(&thread, NULL, interrupt_soon, talk.channel));
        int r = telex_send(talk.channel, &message, TELEX_SYNC, SECONDS(15));
        pthread_join(thread, NULL);
        int outcome = telex_outcome(talk.channel, message.number);
        assert_true((r == -EINTR && outcome == TELEX_WITHDRAWN) ||
                    (r == -ETIMEDOUT && (outcome == TELEX_UNKNOWN || outcome == TELEX_WITHDRAWN)));
        telex_message received = {0};
        telex_receive(talk.channel, &received, MILLISECONDS(1)); /* the other direction's interrupt */
    }
    telex_close(talk.channel, TELEX_NOW, NULL);
    talk.channel = NULL;
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static void a_signal_ends_a_send(void **state)
{
    for (int i = 0; i < 3; i += 2) { /* not while it spins: who spins does not sleep */
        struct talk talk;
        char options[64];
        snprintf(options, sizeof options, "buffer=64KiB&%s", waits[i]);
        talk_begin(&talk, *state, options, wait_for_x);
        fill_up(&talk);
        struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
        sigaction(SIGALRM, &action, NULL);
        telex_message message = message_of(&talk, "x", 1);
        ring_in(20, true);
        assert_gives(telex_send(talk.channel, &message, 0, SECONDS(15)), -EINTR, talk.channel);
        ring_in(0, false);
        assert_int_equal(message.number, 0); /* no effect */
        signal(SIGALRM, SIG_DFL);
        telex_close(talk.channel, TELEX_NOW, NULL);
        talk.channel = NULL;
        talk_say(&talk, 'x');
        talk_end(&talk);
    }
}

static void interrupted_call(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", wait_for_x);
    telex_message request = telex_text("?"), reply = {0};
    pthread_t thread;
    assert_good(pthread_create(&thread, NULL, interrupt_soon, talk.channel));
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(15)), -EINTR, talk.channel);
    pthread_join(thread, NULL);
    assert_gives(telex_call_cancel(talk.channel, request.number), -ENOENT, talk.channel); /* it was given up already */
    if (talk.setup->on == ON_TELEX) {
        request = telex_text("?");
        assert_good(telex_call_start(talk.channel, &request, SECONDS(5)));
        assert_good(pthread_create(&thread, NULL, interrupt_soon, talk.channel));
        assert_gives(telex_call_finish(talk.channel, request.number, &reply, SECONDS(15)), -EINTR, talk.channel);
        pthread_join(thread, NULL);
        assert_gives(telex_call_cancel(talk.channel, request.number), 0, talk.channel); /* it was still outstanding */
    }
    talk_say(&talk, 'x');
    talk_end(&talk);
}

/* ---- the price of waiting ---- */

static telex_counters counters_of(struct talk *talk)
{
    telex_counters counters = {.size = sizeof counters};
    assert_good(telex_counters_of(talk->channel, &counters));
    return counters;
}

static void adaptive_learns(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", wait_for_x);
    telex_message message = {0};
    uint64_t tries[2];
    for (int half = 0; half < 2; half++) {
        uint64_t before = counters_of(&talk).tries;
        for (int i = 0; i < 60; i++)
            assert_gives(telex_receive(talk.channel, &message, MILLISECONDS(1)), -ETIMEDOUT, talk.channel);
        tries[half] = counters_of(&talk).tries - before;
    }
    assert_true(2 * tries[1] <= tries[0]); /* with one core there are none at all */
    assert_true(counters_of(&talk).sleeps >= 100);
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static void idle_uses_no_processor(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", wait_for_x);
    telex_message message = {0};
    struct rusage before, after;
    telex_receive(talk.channel, &message, MILLISECONDS(50));
    getrusage(RUSAGE_SELF, &before);
    assert_gives(telex_receive(talk.channel, &message, MILLISECONDS(400)), -ETIMEDOUT, talk.channel);
    getrusage(RUSAGE_SELF, &after);
    int64_t used =
        (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
        after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    assert_true(used < 100000); /* of 400,000 us: a hang guard for spinning */
    assert_true(after.ru_nvcsw - before.ru_nvcsw < 20);
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static void one_core_never_tries(void **state)
{
    cpu_set_t all, one;
    assert_good(sched_getaffinity(0, sizeof all, &all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all)) {
            CPU_SET(i, &one);
            break;
        }
    assert_good(sched_setaffinity(0, sizeof one, &one)); /* the peer inherits it */
    struct talk talk;
    talk_begin(&talk, *state, "wait=spin", wait_for_x);
    telex_message message = {0};
    for (int i = 0; i < 10; i++)
        assert_gives(telex_receive(talk.channel, &message, MILLISECONDS(2)), -ETIMEDOUT, talk.channel);
    assert_int_equal(counters_of(&talk).tries, 0);
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static void third_threads_are_turned_away_peer(struct talk *talk)
{
    talk_hear(talk, 'x');
}

static void *receive_until_interrupted(void *with)
{
    telex_message message = {0};
    int r;
    do
        r = telex_receive(with, &message, SECONDS(15));
    while (r == -EBUSY); /* the other thread looked first */
    return (void *)(intptr_t)r;
}

static void third_threads_are_turned_away(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", third_threads_are_turned_away_peer);
    pthread_t thread;
    assert_good(pthread_create(&thread, NULL, receive_until_interrupted, talk.channel));
    while (telex_process(talk.channel) != -EBUSY) /* until the other thread is at it */
        nap(1);
    telex_message message = {0};
    assert_gives(telex_receive(talk.channel, &message, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_process(talk.channel), -EBUSY, talk.channel);
    message = message_of(&talk, "x", 1);
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), 0, talk.channel); /* the other direction is free */
    telex_interrupt(talk.channel);
    void *r;
    pthread_join(thread, &r);
    assert_int_equal((intptr_t)r, -EINTR);
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static void *call_until_interrupted(void *with)
{
    telex_message request = telex_text("?"), reply = {0};
    int r;
    do
        r = telex_call(with, &request, &reply, SECONDS(15));
    while (r == -EBUSY); /* the other thread looked first */
    return (void *)(intptr_t)r;
}

/* The same in the other direction: call, reply, flush and loan count as sending, close as both. */
static void third_senders_are_turned_away(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", wait_for_x);
    pthread_t thread;
    telex_message message = telex_text("x"), reply = {0};
    assert_good(pthread_create(&thread, NULL, call_until_interrupted, talk.channel));
    for (int tries = 0; telex_flush(talk.channel, TELEX_NOW) != -EBUSY; tries++, nap(1)) /* until it is in its call */
        assert_true(tries < 10000);
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_send_many(talk.channel, &message, 1, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_call(talk.channel, &message, &reply, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_call_start(talk.channel, &message, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_call_finish(talk.channel, 0, &reply, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_call_cancel(talk.channel, 1), -EBUSY, talk.channel);
    assert_gives(telex_reply(talk.channel, &message, &reply, 0, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_fail(talk.channel, &message, TELEX_FAILURE_FAILED, NULL), -EBUSY, talk.channel);
    assert_gives(telex_loan(talk.channel, 1, &reply, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_close(talk.channel, SECONDS(5), NULL), -EBUSY, talk.channel); /* and the handle lives on */
    assert_gives(telex_receive(talk.channel, &reply, TELEX_NOW), -EAGAIN, talk.channel); /* the other direction is free */
    telex_interrupt(talk.channel);
    void *r;
    pthread_join(thread, &r);
    assert_int_equal((intptr_t)r, -EINTR);
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"third_senders_are_turned_away", third_senders_are_turned_away, ON_MESSAGES, NO_FAULTS, 0},
    {"deadlines", deadlines, ON_ALL, ANY_MEDIUM, 0},
    {"a_long_wait_ends_with_the_message", a_long_wait_ends_with_the_message, ON_MESSAGES, ANY_MEDIUM, 0},
    {"interrupted_from_a_thread", interrupted_from_a_thread, ON_MESSAGES, NO_FAULTS, 0},
    {"sticky", sticky, ON_ALL, ANY_MEDIUM, 0},
    {"signals", signals, ON_MESSAGES, NO_FAULTS, 0},
    {"interrupted_rendezvous", interrupted_rendezvous, ON_TELEX, NO_FAULTS, 0},
    {"a_signal_ends_a_send", a_signal_ends_a_send, ON_MESSAGES, NO_FAULTS, 0},
    {"interrupted_call", interrupted_call, ON_MESSAGES, ANY_MEDIUM, 0},
    {"adaptive_learns", adaptive_learns, ON_TELEX, NO_FAULTS, 0},
    {"idle_uses_no_processor", idle_uses_no_processor, ON_ALL, NO_FAULTS, 0},
    {"one_core_never_tries", one_core_never_tries, ON_TELEX, NO_FAULTS, 0},
    {"third_threads_are_turned_away", third_threads_are_turned_away, ON_ALL, NO_FAULTS, 0},
};

const struct conform_theme conform_waiting = {cases, sizeof cases / sizeof *cases};
