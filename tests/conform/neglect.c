/* SPDX-License-Identifier: MIT */
/* What must happen though nobody helps: wake-ups, reports, held messages, answers that a peer does not fetch, waits without descriptors. */
#include "conform/conform.h"

#include <semaphore.h>
#include <sys/resource.h>

/* ---- no wake-up is lost ---- */

struct listening_thread {
    telex_channel *channel;
    sem_t got;
};

static void *receive_for_ever(void *with)
{
    struct listening_thread *self = with;
    telex_message message = {0};
    unsigned seed = 77;
    for (;;) {
        for (telex_time until = telex_after(rand_r(&seed) % 120000); telex_now() < until;)
            ; /* at all moments of what the other thread does */
        if (telex_receive(self->channel, &message, TELEX_NEVER) < 0)
            break;
        sem_post(&self->got);
    }
    telex_release(&message);
    return NULL;
}

static void say_when_asked(struct talk *talk)
{
    char word;
    telex_message request = {0};
    assert_gives(telex_receive(talk->channel, &request, SECONDS(10)), 0, talk->channel); /* never answered */
    while (read(talk->in, &word, 1) == 1 && word == 'm') {
        telex_message message = telex_text("m");
        assert_gives(telex_send(talk->channel, &message, 0, SECONDS(10)), 0, talk->channel);
    }
    telex_release(&request);
}

/* One thread receives, the other one looks at outcomes and waits for a reply: whoever reads a message, the receiver gets it. */
static void a_receiver_beside_a_busy_thread(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "wait=block", say_when_asked);
    telex_message request = telex_text("?"), reply = {0};
    assert_gives(telex_call_start(talk.channel, &request, SECONDS(10)), 0, talk.channel);
    struct listening_thread listening = {.channel = talk.channel};
    sem_init(&listening.got, 0, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, receive_for_ever, &listening), 0);
    telex_time until = MILLISECONDS(is_evidence() ? 60000 : is_short() ? 300 : 1500);
    for (unsigned i = 0; telex_now() < until; i++) {
        talk_say(&talk, 'm');
        if (i % 2 == 0)
            telex_call_finish(talk.channel, request.number, &reply, telex_after(50000));
        for (int looks = 0; i % 2 != 0 && looks < 200; looks++)
            telex_outcome(talk.channel, request.number);
        sem_wait(&listening.got); /* the case's time limit is the hang guard */
    }
    talk_say(&talk, 'x');
    assert_int_equal(pthread_join(thread, NULL), 0);
    sem_destroy(&listening.got);
    talk_end(&talk);
}

static void answer_and_say_more(struct talk *talk)
{
    telex_message request = {0}, more = telex_text("m");
    while (telex_receive(talk->channel, &request, SECONDS(20)) == 0) {
        telex_message reply = telex_text("reply");
        assert_gives(telex_reply(talk->channel, &request, &reply, TELEX_MORE, SECONDS(10)), 0, talk->channel);
        assert_gives(telex_send(talk->channel, &more, 0, SECONDS(10)), 0, talk->channel);
    }
    telex_release(&request);
}

/* A call reads its reply, and behind it in the same bytes lies a message: the thread that sleeps in receive gets it. */
static void behind_a_reply(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "wait=block", answer_and_say_more);
    struct listening_thread listening = {.channel = talk.channel};
    sem_init(&listening.got, 0, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, receive_for_ever, &listening), 0);
    telex_message reply = {0};
    for (unsigned i = 0; i < 50; i++) {
        nap(2); /* so that it sleeps; the promise holds whether or not it does */
        telex_message request = telex_text("?");
        assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), 0, talk.channel);
        sem_wait(&listening.got); /* the case's time limit is the hang guard */
    }
    telex_release(&reply);
    for (; pthread_tryjoin_np(thread, NULL) != 0; nap(1))
        telex_interrupt(talk.channel);
    sem_destroy(&listening.got);
    talk_end(&talk);
}

/* ---- what was taken is told ---- */

static void take_three_and_go_on(struct talk *talk)
{
    for (unsigned i = 0; i < 3; i++)
        expect_pattern(talk, i, 10);
    talk_say(talk, 't');
    telex_message message = {0};
    assert_gives(telex_receive(talk->channel, &message, SECONDS(10)), -EPIPE, talk->channel);
    talk_hear(talk, 'x'); /* busy with something else; the channel stays open */
}

static void the_end_tells_what_was_taken(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_three_and_go_on);
    for (unsigned i = 0; i < 3; i++)
        send_pattern(&talk, i, 10);
    talk_hear_moving(&talk, 't');
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(10), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_say(&talk, 'x');
    talk_end(&talk);
}

enum { MANY_LANES = 200 };

static void take_from_all_lanes(struct talk *talk)
{
    telex_message message = {0};
    talk_hear(talk, 'g');
    for (unsigned i = 0; i < MANY_LANES; i++)
        assert_gives(telex_receive(talk->channel, &message, SECONDS(10)), 0, talk->channel);
    telex_release(&message);
    send_pattern(talk, 1, 3000); /* little room is left beside it */
    int r = telex_receive(talk->channel, &message, MILLISECONDS(20));
    assert_true(r == -ETIMEDOUT || r == -EPIPE); /* the other side may have seen enough */
    for (struct pollfd said = {.fd = talk->in, .events = POLLIN}; poll(&said, 1, 1) == 0;)
        telex_process(talk->channel);
}

/* More counts than fit beside one message: the rest goes out, too. */
static void every_lane_is_told(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_from_all_lanes);
    uint64_t first = 0;
    for (unsigned i = 0; i < MANY_LANES; i++) {
        telex_message message = telex_text("x");
        message.lane = (uint8_t)i;
        assert_gives(telex_send(talk.channel, &message, 0, SECONDS(10)), 0, talk.channel);
        first = i == 0 ? message.number : first;
    }
    talk_say(&talk, 'g');
    assert_good(telex_flush(talk.channel, SECONDS(10)));
    expect_pattern(&talk, 1, 3000);
    for (unsigned i = 0; i < MANY_LANES; i++)
        while (telex_outcome(talk.channel, first + i) != TELEX_TAKEN)
            nap(1);
    talk_say(&talk, 'x');
    talk_end(&talk);
}

/* ---- what was held leaves ---- */

static void answer_what_came(struct talk *talk)
{
    expect_text(talk, "more follows");
    send_text(talk, "heard");
}

static void a_wait_sends_what_was_held(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", answer_what_came);
    telex_message message = telex_text("more follows");
    assert_gives(telex_send(talk.channel, &message, TELEX_MORE, SECONDS(5)), 0, talk.channel);
    expect_text(&talk, "heard");
    talk_end(&talk);
}

/* ---- a peer that asks and asks ---- */

static void ask_70000(struct talk *talk)
{
    telex_message request = telex_text("?");
    int r;
    unsigned asked = 0;
    while ((r = telex_call_start(talk->channel, &request, SECONDS(10))) == 0 && asked < 100000)
        asked++;
    assert_true(asked >= 65536 && asked < 100000);
    assert_gives(r, -EPIPE, talk->channel);
    because(talk->channel, "65536");
}

static void unanswered_requests_are_bounded(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", ask_70000);
    telex_message request = {0};
    unsigned taken = 0;
    int r;
    while ((r = telex_receive(talk.channel, &request, SECONDS(20))) == 0)
        taken++;
    assert_gives(r, -EPROTO, talk.channel);
    assert_int_equal(taken, 65536);
    telex_release(&request);
    talk_end(&talk);
}

static void fail_in_latin1(struct talk *talk)
{
    telex_message request = {0};
    assert_gives(telex_receive(talk->channel, &request, SECONDS(10)), 0, talk->channel);
    assert_good(telex_fail(talk->channel, &request, TELEX_FAILURE_REFUSED, "caf\xe9 is closed"));
    send_text(talk, "the channel lives");
    assert_good(telex_flush(talk->channel, SECONDS(10)));
    telex_release(&request);
    talk_hear(talk, 'x');
}

static void a_sentence_that_is_no_utf8(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", fail_in_latin1);
    telex_message request = telex_text("?"), reply = {0};
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), -EACCES, talk.channel);
    because(talk.channel, "caf? is closed");
    expect_text(&talk, "the channel lives");
    talk_say(&talk, 'x');
    talk_end(&talk);
}

/* ---- out of descriptors ---- */

static void say_late(struct talk *talk)
{
    nap(50);
    send_text(talk, "late");
    expect_text(talk, "taken");
}

static void waits_without_descriptors(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "wait=block", say_late);
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 2; /* not 0: poll(2) of two descriptors wants that much */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    expect_text(&talk, "late");
    telex_message message = telex_text("taken");
    assert_gives(telex_send(talk.channel, &message, TELEX_SYNC, SECONDS(10)), 0, talk.channel);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    talk_end(&talk);
}

/* ---- an interrupt that comes first ---- */

static void take_all_slowly(struct talk *talk)
{
    talk_hear(talk, 'g');
    for (unsigned i = 0; i < 50; i++) {
        expect_pattern(talk, i, 20000);
        nap(i % 10 == 0);
    }
}

/* What ended a receiving thread must not cost the messages that close waits for. */
static void interrupted_before_the_close(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_all_slowly);
    for (unsigned i = 0; i < 50; i++)
        send_pattern(&talk, i, 20000);
    telex_message message = {0};
    assert_good(telex_interrupt(talk.channel));
    assert_gives(telex_receive(talk.channel, &message, SECONDS(10)), -EINTR, talk.channel);
    talk_say(&talk, 'g');
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(50), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

static void flood_and_die(struct talk *talk)
{
    static const char bytes[65536];
    for (unsigned vain = 0; vain < 50; nap(1)) {
        telex_message message = message_of(talk, bytes, sizeof bytes);
        vain = telex_send(talk->channel, &message, 0, TELEX_NOW) == -EAGAIN ? vain + 1 : 0;
    }
    talk_say(talk, 'f');
    talk_hear(talk, 'k');
    kill(getpid(), SIGKILL);
}

/* Whoever does not receive has its end of the connection unread behind what fills its inbox. */
static void flush_ends_though_nobody_reads_on(void **state)
{
    static const char bytes[16384];
    struct talk talk;
    talk_begin(&talk, *state, "window=128KiB&buffer=256KiB", flood_and_die);
    char word = 0;
    struct pollfd flooded = {.fd = talk.in, .events = POLLIN};
    while (poll(&flooded, 1, 1) == 0)
        assert_good(telex_process(talk.channel));
    assert_int_equal(read(talk.in, &word, 1), 1);
    int r = 0;
    for (unsigned i = 0; i < 10000 && r == 0 && unsent_here() == 0; i++) { /* on tcp: until the other host takes no more */
        telex_message message = message_of(&talk, bytes, sizeof bytes);
        r = telex_send(talk.channel, &message, 0, TELEX_NOW);
        for (int k = 0; k < 5 && r == 0 && unsent_here() > 0; k++)
            nap(10);
    }
    bool unsent = unsent_here() > 0;
    talk_say(&talk, 'k');
    assert_int_equal(waitpid(talk.peer, NULL, 0), talk.peer);
    talk.peer = 0;
    r = telex_flush(talk.channel, SECONDS(10));
    assert_true(unsent ? r == -ECONNRESET || r == -EPIPE : r != -ETIMEDOUT);
    telex_close(talk.channel, TELEX_NOW, NULL);
    talk.channel = NULL;
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"a_receiver_beside_a_busy_thread", a_receiver_beside_a_busy_thread, ON_TELEX, NO_FAULTS, 90},
    {"behind_a_reply", behind_a_reply, ON_TELEX, NO_FAULTS, 0},
    {"the_end_tells_what_was_taken", the_end_tells_what_was_taken, ON_TELEX, NO_FAULTS, 0},
    {"every_lane_is_told", every_lane_is_told, ON_TELEX, ANY_MEDIUM, 0},
    {"a_wait_sends_what_was_held", a_wait_sends_what_was_held, ON_MESSAGES, ANY_MEDIUM, 0},
    {"unanswered_requests_are_bounded", unanswered_requests_are_bounded, ON_TELEX, NO_FAULTS, 60},
    {"a_sentence_that_is_no_utf8", a_sentence_that_is_no_utf8, ON_TELEX, ANY_MEDIUM, 0},
    {"waits_without_descriptors", waits_without_descriptors, ON_TELEX, ANY_MEDIUM, 0},
    {"interrupted_before_the_close", interrupted_before_the_close, ON_TELEX, ANY_MEDIUM, 60},
    {"flush_ends_though_nobody_reads_on", flush_ends_though_nobody_reads_on, ON_RAW, NO_FAULTS | PROCESSES, 0},
};

const struct conform_theme conform_neglect = {cases, sizeof cases / sizeof *cases};
