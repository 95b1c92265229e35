/* SPDX-License-Identifier: MIT */
/* Synchronous messages: taken or withdrawn, never both, and no doubt about which while the peer lives. */
#include "conform/conform.h"

#include <sys/mman.h>

static int send_sync(struct talk *talk, unsigned seed, size_t length, telex_time deadline, uint64_t *ret_number)
{
    telex_message message = telex_binary(pattern(seed, length), length);
    int r = telex_send(talk->channel, &message, TELEX_SYNC, deadline);
    *ret_number = message.number;
    return r;
}

static void take_three(struct talk *talk)
{
    for (unsigned i = 0; i < 3; i++) {
        nap(30);
        talk_say(talk, 'r'); /* about to receive: the sender must still be waiting, or it returned too early */
        telex_message message = {0};
        assert_good(telex_receive(talk->channel, &message, SECONDS(10)));
        assert_int_equal(message.flags, TELEX_IS_SYNC);
        assert_int_equal(message.length, i * 100000);
        telex_release(&message);
    }
    talk_hear(talk, 'x');
}

static void returns_when_taken(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_three);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t number;
        assert_gives(send_sync(&talk, i, i * 100000, SECONDS(10), &number), 0, talk.channel);
        struct pollfd said = {.fd = talk.in, .events = POLLIN};
        assert_int_equal(poll(&said, 1, 0), 1); /* the receiver had begun before send returned */
        talk_hear(&talk, 'r');
        assert_int_equal(telex_outcome(talk.channel, number), TELEX_TAKEN);
    }
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static void take_only_the_last(struct talk *talk)
{
    talk_hear(talk, 'g');
    expect_pattern(talk, 9, 10);
    telex_message message = {0};
    assert_gives(telex_receive(talk->channel, &message, SECONDS(10)), -EPIPE, talk->channel);
}

/* The peer lives but does not receive: all of these time out, are withdrawn, and must never be taken. */
static void withdrawn_is_never_taken(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_only_the_last);
    /* The second one and its withdrawal must lie in the medium together, else it may be taken as well: a pipe holds 64 KiB. */
    const size_t second = talk.setup->medium->pair == PAIR_OF_PIPES ? 20000 : 65536, lengths[] = {10, second, 300000, 3000000};
    uint64_t numbers[8] = {0};
    for (unsigned i = 0; i < 4; i++) {
        assert_gives(send_sync(&talk, i, lengths[i], MILLISECONDS(20), &numbers[i]), -ETIMEDOUT, talk.channel);
        assert_true(numbers[i] > 0);
    }
    assert_gives(send_sync(&talk, 0, 10, TELEX_NOW, &numbers[4]), -EAGAIN, talk.channel);
    assert_int_equal(telex_outcome(talk.channel, numbers[4]), TELEX_WITHDRAWN);
    telex_message last = telex_binary(pattern(9, 10), 10);
    assert_good(telex_send(talk.channel, &last, 0, SECONDS(5)));
    talk_say(&talk, 'g');
    for (int tries = 0; telex_outcome(talk.channel, last.number) != TELEX_TAKEN; tries++) {
        assert_true(tries < 3000);
        nap(1);
    }
    for (unsigned i = 0; i < 5; i++) /* an OUTCOME precedes the TAKEN that covers its number, so all are known now */
        assert_int_equal(telex_outcome(talk.channel, numbers[i]), TELEX_WITHDRAWN);
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(5), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

static void count_until_end(struct talk *talk)
{
    telex_message message = {0};
    char count = 0;
    int r;
    while ((r = telex_receive(talk->channel, &message, SECONDS(10))) == 0 ||
           r == -EINTR) /* being stopped is a signal, too */
        count = (char)(count + (r == 0));
    telex_release(&message);
    assert_int_equal(write(talk->out, &count, 1), 1);
}

/* It has stopped when this returns, not some time later. */
static void stop(pid_t process)
{
    int status;
    kill(process, SIGSTOP);
    assert_int_equal(waitpid(process, &status, WUNTRACED), process);
    assert_true(WIFSTOPPED(status));
}

/* A stopped peer cannot say: UNKNOWN. Once it goes on the outcome is TAKEN or WITHDRAWN, and what it received agrees. */
static void unknown_becomes_known(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", count_until_end);
    stop(talk.peer);
    uint64_t number;
    assert_gives(send_sync(&talk, 0, 100, MILLISECONDS(40), &number), -ETIMEDOUT, talk.channel);
    int outcome = telex_outcome(talk.channel, number);
    assert_int_equal(outcome, decides(*state) ? TELEX_WITHDRAWN : TELEX_UNKNOWN);
    kill(talk.peer, SIGCONT);
    for (int tries = 0; outcome == TELEX_UNKNOWN && tries < 5000; tries++) {
        nap(1);
        outcome = telex_outcome(talk.channel, number);
    }
    assert_true(outcome == TELEX_TAKEN || outcome == TELEX_WITHDRAWN);
    telex_close(talk.channel, SECONDS(5), NULL);
    talk.channel = NULL;
    char count = 9;
    assert_int_equal(read(talk.in, &count, 1), 1);
    assert_int_equal(count, outcome == TELEX_TAKEN ? 1 : 0);
    talk_end(&talk);
}

/* The peer is stopped in the middle of a long message: what was begun is given up, and the lane lives on. */
static void withdrawn_midway(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", count_until_end);
    stop(talk.peer);
    uint64_t number;
    assert_gives(send_sync(&talk, 0, 10000000, MILLISECONDS(40), &number), -ETIMEDOUT, talk.channel);
    assert_int_equal(telex_outcome(talk.channel, number), TELEX_WITHDRAWN);
    kill(talk.peer, SIGCONT);
    assert_gives(send_sync(&talk, 1, 200000, SECONDS(10), &number), 0, talk.channel);
    telex_close(talk.channel, SECONDS(5), NULL);
    talk.channel = NULL;
    char count = 9;
    assert_int_equal(read(talk.in, &count, 1), 1);
    assert_int_equal(count, 1);
    talk_end(&talk);
}

static unsigned char *received; /* shared: how often each was received */

static void receive_slowly(struct talk *talk)
{
    unsigned seed = 1;
    telex_message message = {0};
    while (telex_receive(talk->channel, &message, SECONDS(10)) == 0) {
        unsigned which;
        memcpy(&which, message.data, sizeof which);
        received[which]++;
        seed = seed * 1103515245 + 12345;
        if (seed / 65536 % 3 == 0)
            usleep(seed / 65536 % 400);
    }
    telex_release(&message);
}

/* Deadlines race with a receiver: for each message exactly one story, at both ends. */
static void races(void **state)
{
    enum { COUNT = 1000 };
    received = mmap(NULL, COUNT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static int results[COUNT], outcomes[COUNT];
    static uint64_t numbers[COUNT];
    struct talk talk;
    talk_begin(&talk, *state, "", receive_slowly);
    for (unsigned i = 0; i < COUNT; i++) {
        telex_message message = telex_binary(&i, sizeof i);
        results[i] = telex_send(talk.channel, &message, TELEX_SYNC, telex_after(1 + (i * 7919 % 200) * 1000));
        assert_true(results[i] == 0 || results[i] == -ETIMEDOUT);
        numbers[i] = message.number;
    }
    for (unsigned i = 0; i < COUNT; i++)
        for (int tries = 0; tries < 3000; tries++, nap(1)) {
            outcomes[i] = numbers[i] == 0 ? TELEX_WITHDRAWN : telex_outcome(talk.channel, numbers[i]);
            if (outcomes[i] == TELEX_TAKEN || outcomes[i] == TELEX_WITHDRAWN)
                break;
        }
    telex_close(talk.channel, SECONDS(5), NULL);
    talk.channel = NULL;
    talk_end(&talk);
    for (unsigned i = 0; i < COUNT; i++) {
        if (results[i] == 0)
            assert_int_equal(outcomes[i], TELEX_TAKEN);
        assert_int_equal(received[i], outcomes[i] == TELEX_TAKEN ? 1 : 0);
    }
    munmap(received, COUNT);
}

static void die_without_receiving(struct talk *talk)
{
    struct pollfd arrived = {.fd = telex_fd(talk->channel), .events = POLLIN};
    poll(&arrived, 1, 10000); /* so that the message has left its sender */
    _exit(0);
}

static void peer_dies(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", die_without_receiving);
    uint64_t number, untaken = 0;
    assert_gives(send_sync(&talk, 0, 100, SECONDS(10), &number), -ECONNRESET, talk.channel);
    int outcome = telex_outcome(talk.channel, number);
    assert_true(outcome == TELEX_OFFERED || outcome == TELEX_UNKNOWN);
    assert_gives(telex_close(talk.channel, SECONDS(5), &untaken), -ECONNRESET, NULL);
    assert_int_equal(untaken, 1);
    talk.channel = NULL;
    talk_end(&talk);
}

enum { REMEMBERED = 1024 };

static void take_what_is_remembered(struct talk *talk)
{
    telex_message message = {0};
    for (unsigned i = 0; i < REMEMBERED; i++)
        assert_gives(telex_receive(talk->channel, &message, SECONDS(10)), 0, talk->channel);
    telex_release(&message);
    talk_say(talk, 't');
    take_only_the_last(talk);
}

/* What became of the message whose place in the memory of outcomes this one has is no outcome of this one. */
static void an_old_outcome_is_forgotten(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_what_is_remembered);
    uint64_t number;
    assert_gives(send_sync(&talk, 0, 10, SECONDS(10), &number), 0, talk.channel);
    for (unsigned i = 1; i < REMEMBERED; i++)
        send_pattern(&talk, i, 10);
    talk_hear_moving(&talk, 't');
    assert_gives(send_sync(&talk, 1, 300000, MILLISECONDS(100), &number), -ETIMEDOUT, talk.channel);
    assert_int_equal(number, REMEMBERED + 1);
    if (decides(talk.setup))
        assert_int_equal(telex_outcome(talk.channel, number), TELEX_WITHDRAWN);
    talk_say(&talk, 'g');
    send_pattern(&talk, 9, 10);
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"returns_when_taken", returns_when_taken, ON_TELEX, NO_FAULTS, 0},
    {"withdrawn_is_never_taken", withdrawn_is_never_taken, ON_TELEX, NO_FAULTS, 0},
    {"unknown_becomes_known", unknown_becomes_known, ON_TELEX, NO_FAULTS | PROCESSES, 0},
    {"withdrawn_midway", withdrawn_midway, ON_TELEX, NO_FAULTS | PROCESSES, 0},
    {"an_old_outcome_is_forgotten", an_old_outcome_is_forgotten, ON_TELEX, NO_FAULTS, 0},
    {"races", races, ON_TELEX, ANY_MEDIUM, 40},
    {"peer_dies", peer_dies, ON_TELEX, PROCESSES, 0},
};

const struct conform_theme conform_rendezvous = {cases, sizeof cases / sizeof *cases};
