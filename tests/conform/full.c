/* SPDX-License-Identifier: MIT */
/* Full queues: the sender's policies, and bounds that the receiver sets. */
#include "conform/conform.h"

static void receive_counted(struct talk *talk)
{
    talk_hear(talk, 'g');
    unsigned count = 0;
    telex_message message = {0};
    int r;
    unsigned last = 0;
    while ((r = telex_receive(talk->channel, &message, SECONDS(10))) == 0) {
        char text[16] = "";
        memcpy(text, message.data, 10);
        assert_true(count == 0 || (unsigned)atoi(text) > last);
        last = (unsigned)atoi(text);
        count++;
    }
    assert_gives(r, -EPIPE, talk->channel);
    telex_release(&message);
    char told[32] = "";
    snprintf(told, sizeof told, "%u %u", count, last);
    assert_int_equal(write(talk->out, told, sizeof told), sizeof told);
}

static int send_numbered(struct talk *talk, unsigned number, size_t size, telex_time deadline, uint64_t *ret_number)
{
    static char bytes[400000];
    memset(bytes, 'x', sizeof bytes);
    snprintf(bytes, 16, "%010u", number);
    telex_message message = message_of(talk, bytes, size);
    int r = telex_send(talk->channel, &message, 0, deadline);
    if (ret_number != NULL)
        *ret_number = message.number;
    return r;
}

static void finish_counted(struct talk *talk, unsigned expected_count, unsigned expected_last)
{
    talk_say(talk, 'g');
    uint64_t untaken = 1;
    assert_gives(telex_close(talk->channel, SECONDS(10), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk->channel = NULL;
    char told[32], expected[32];
    assert_int_equal(read(talk->in, told, sizeof told), sizeof told);
    snprintf(expected, sizeof expected, "%u %u", expected_count, expected_last);
    assert_string_equal(told, expected);
    talk_end(talk);
}

/* Fills the queue; returns how many were admitted. The kernel may make more room a little later (tcp), so full means: it stays so for a while. */
static unsigned fill(struct talk *talk, size_t size)
{
    unsigned count = 0;
    int r;
    while ((r = send_numbered(talk, count, size, MILLISECONDS(300), NULL)) == 0)
        assert_true(++count < 100000);
    assert_int_equal(r, -ETIMEDOUT);
    return count;
}

static void full_queue(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=64KiB", receive_counted);
    unsigned count = fill(&talk, 10000);
    uint64_t number = 0;
    assert_gives(send_numbered(&talk, 77777, 10000, TELEX_NOW, &number), -EAGAIN, talk.channel);
    assert_int_equal(number, 0);
    assert_gives(send_numbered(&talk, 77777, 10000, MILLISECONDS(30), &number), -ETIMEDOUT, talk.channel);
    assert_int_equal(number, 0);
    finish_counted(&talk, count, count - 1);
}

static void take_five(struct talk *talk)
{
    talk_hear(talk, 'g');
    for (unsigned i = 0; i < 5; i++)
        expect_pattern(talk, i, 10);
}

/* What was withdrawn gives its place back: with queue=1 a single lost credit would stop everything. */
static void queue_after_a_withdrawal(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "queue=1", take_five);
    telex_message message = telex_binary("in vain", 7);
    assert_gives(telex_send(talk.channel, &message, TELEX_SYNC, MILLISECONDS(20)), -ETIMEDOUT, talk.channel);
    assert_int_equal(telex_outcome(talk.channel, message.number), TELEX_UNKNOWN);
    talk_say(&talk, 'g');
    for (unsigned i = 0; i < 5; i++)
        send_pattern(&talk, i, 10);
    assert_int_equal(telex_outcome(talk.channel, message.number), TELEX_WITHDRAWN);
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(10), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

static void full_fail(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=64KiB&full=fail", receive_counted);
    unsigned count = 0;
    for (int r = 0, in_a_row = 0; in_a_row < 30; in_a_row = r == 0 ? 0 : in_a_row + 1, nap(r == 0 ? 0 : 10)) {
        r = send_numbered(&talk, count, 10000, SECONDS(600), NULL);
        assert_true(r == 0 || r == -EAGAIN);
        count += r == 0;
    }
    finish_counted(&talk, count, count - 1);
}

static uint64_t dropped(struct talk *talk)
{
    telex_counters counters = {.size = sizeof counters};
    assert_good(telex_counters_of(talk->channel, &counters));
    return counters.dropped;
}

static void full_drop_newest(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=64KiB&full=drop-newest", receive_counted);
    unsigned sent = 0;
    while (dropped(&talk) < 5)
        assert_gives(send_numbered(&talk, sent++, 10000, SECONDS(600), NULL), 0, talk.channel);
    finish_counted(&talk, sent - 5, sent - 6);
}

/* The frame that is half written when the queue fills up must be finished, and nothing before it is lost. */
static void full_drop_oldest(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=400KiB&full=drop-oldest", receive_counted);
    unsigned sent = 0;
    for (; dropped(&talk) < 20; sent++)
        assert_gives(send_numbered(&talk, sent, sent % 3 == 0 ? 150000 : 30000, SECONDS(600), NULL), 0, talk.channel);
    uint64_t lost = dropped(&talk);
    finish_counted(&talk, sent - (unsigned)lost, sent - 1);
}

static void take_when_told(struct talk *talk)
{
    for (unsigned i = 0; i < 13; i++) {
        if (i == 0 || i == 5)
            talk_hear(talk, 'g');
        expect_pattern(talk, i, 10);
        if (i != 4)
            continue;
        assert_good(telex_flush(talk->channel, SECONDS(5))); /* what it granted may still wait for the medium */
        talk_say(talk, 't');
    }
}

static void queue_bounds_untaken(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "queue=5", take_when_told);
    telex_message message;
    for (unsigned i = 0; i < 5; i++)
        send_pattern(&talk, i, 10);
    assert_good(telex_flush(talk.channel, SECONDS(5)));
    message = telex_binary(pattern(5, 10), 10);
    assert_gives(telex_send(talk.channel, &message, 0, TELEX_NOW), -EAGAIN, talk.channel);
    assert_gives(telex_send(talk.channel, &message, 0, MILLISECONDS(30)), -ETIMEDOUT, talk.channel);
    talk_say(&talk, 'g');
    talk_hear_moving(&talk, 't');
    for (unsigned i = 5; i < 10; i++)
        send_pattern(&talk, i, 10);
    assert_good(telex_flush(talk.channel, SECONDS(5)));
    message = telex_binary(pattern(10, 10), 10);
    assert_gives(telex_send(talk.channel, &message, 0, MILLISECONDS(30)), -ETIMEDOUT, talk.channel);
    talk_say(&talk, 'g');
    for (unsigned i = 10; i < 13; i++)
        send_pattern(&talk, i, 10);
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"full_queue", full_queue, ON_MESSAGES, NO_FAULTS, 0},
    {"queue_after_a_withdrawal", queue_after_a_withdrawal, ON_TELEX, NO_FAULTS, 0},
    {"full_fail", full_fail, ON_MESSAGES, NO_FAULTS, 0},
    {"full_drop_newest", full_drop_newest, ON_MESSAGES, NO_FAULTS, 0},
    {"full_drop_oldest", full_drop_oldest, ON_MESSAGES, NO_FAULTS, 0},
    {"queue_bounds_untaken", queue_bounds_untaken, ON_TELEX, ANY_MEDIUM, 0},
};

const struct conform_theme conform_full = {cases, sizeof cases / sizeof *cases};
