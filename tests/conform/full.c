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
    assert_int_equal(telex_outcome(talk.channel, message.number), decides(*state) ? TELEX_WITHDRAWN : TELEX_UNKNOWN);
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

static void receive_nothing(struct talk *talk)
{
    talk_hear(talk, 'x');
}

static uint64_t queued(struct talk *talk, uint64_t *ret_bytes)
{
    telex_counters counters = {.size = sizeof counters};
    assert_good(telex_counters_of(talk->channel, &counters));
    *ret_bytes = counters.queued_bytes;
    return counters.queued;
}

/* The bound is on telex's own memory: it is passed by one message at most, and empty messages count, too. */
static void the_bound_is_kept(void **state)
{
    static const size_t sizes[] = {10000, 1, 0};
    const struct conform_setup *setup = *state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct talk talk;
        if (is_short() && setup->on == ON_LINES && i > 0)
            continue; /* a million lines, for the kernel's buffers */
        talk_begin(&talk, *state, "buffer=64KiB&window=16MiB", receive_nothing);
        uint64_t bytes = 0, messages = 0;
        static char zeros[10000];
        memset(zeros, 'x', sizeof zeros);
        for (int r = 0, in_a_row = 0; in_a_row < 20; in_a_row = r > 0 ? 0 : in_a_row + 1, nap(r > 0 ? 0 : 5)) {
            telex_message many[50]; /* else it takes long until a kernel has enough of the short ones */
            for (unsigned j = 0; j < 50; j++)
                many[j] = message_of(&talk, zeros, sizes[i]);
            r = telex_send_many(talk.channel, many, 50, TELEX_NOW);
            assert_true(r > 0 || r == -EAGAIN);
            messages = queued(&talk, &bytes);
            assert_true(bytes < 65536 + sizes[i] && messages <= 65536 / 40);
        }
        telex_close(talk.channel, TELEX_NOW, NULL);
        talk.channel = NULL;
        talk_say(&talk, 'x');
        talk_end(&talk);
    }
}

static void answer_all_calls(struct talk *talk)
{
    talk_hear(talk, 'g');
    telex_message message = {0};
    unsigned calls = 0;
    while (telex_receive(talk->channel, &message, SECONDS(10)) == 0)
        if (message.flags & TELEX_IS_CALL) {
            telex_message reply = telex_binary(message.data, 4);
            assert_good(telex_reply(talk->channel, &message, &reply, 0, SECONDS(5)));
            calls++;
        }
    assert_int_equal(calls, 5);
    telex_release(&message);
}

/* Only asynchronous messages are dropped: a request is admitted, or refused and the caller knows. */
static void calls_are_never_dropped(void **state)
{
    static const char *const policies[] = {"buffer=64KiB&full=drop-newest", "buffer=64KiB&full=drop-oldest"};
    static char bytes[10000];
    for (int policy = 0; policy < 2; policy++) {
        struct talk talk;
        talk_begin(&talk, *state, policies[policy], answer_all_calls);
        uint64_t numbers[5], waiting = 0;
        while (queued(&talk, &waiting), waiting == 0) /* until something waits here: what follows is queued, too */
            assert_gives(send_numbered(&talk, 1, 10000, TELEX_NOW, NULL), 0, talk.channel);
        telex_message request, reply = {0};
        for (int i = 0; i < 5; i++) {
            memcpy(bytes, &i, sizeof i);
            request = telex_binary(bytes, 100);
            assert_gives(telex_call_start(talk.channel, &request, TELEX_NOW), 0, talk.channel);
            numbers[i] = request.number;
        }
        uint64_t before = dropped(&talk);
        while (dropped(&talk) < before + 20)
            assert_gives(send_numbered(&talk, 2, 10000, TELEX_NOW, NULL), 0, talk.channel);
        request = telex_binary(bytes, 10000);
        for (int i = 0, r = 0; i < 20 && r == 0; i++) { /* it may fit just so; then there is one more call than was counted on */
            before = dropped(&talk);
            assert_gives(send_numbered(&talk, 3, 10000, TELEX_NOW, NULL), 0, talk.channel);
            if (dropped(&talk) > before)
                break;
        }
        if (policy == 0) {
            assert_gives(telex_call_start(talk.channel, &request, TELEX_NOW), -EAGAIN, talk.channel);
            assert_int_equal(request.number, 0);
        }
        talk_say(&talk, 'g');
        for (int i = 0; i < 5; i++) {
            assert_gives(telex_call_finish(talk.channel, numbers[i], &reply, SECONDS(10)), 0, talk.channel);
            assert_memory_equal(reply.data, &i, sizeof i);
        }
        telex_release(&reply);
        talk_end(&talk);
    }
}

static void read_for_a_while(struct talk *talk)
{
    talk_say(talk, 'r');
    for (telex_time until = MILLISECONDS(400); telex_now() < until; nap(1)) /* reads, takes nothing */
        assert_gives(telex_process(talk->channel), 0, talk->channel);
    for (unsigned i = 0; i < 5; i++)
        expect_pattern(talk, i, 40000);
}

/* What was withdrawn gives its bytes back: five times the window goes this way. */
static void window_after_withdrawals(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "window=128KiB", read_for_a_while);
    talk_hear(&talk, 'r');
    for (int i = 0; i < 16; i++) {
        telex_message message = telex_binary(pattern(0, 40000), 40000);
        assert_gives(telex_send(talk.channel, &message, TELEX_SYNC, MILLISECONDS(15)), -ETIMEDOUT, talk.channel);
    }
    for (unsigned i = 0; i < 5; i++)
        send_pattern(&talk, i, 40000);
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(10), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

static void read_then_take(struct talk *talk)
{
    talk_say(talk, 'r');
    for (telex_time until = MILLISECONDS(400); telex_now() < until; nap(1))
        assert_gives(telex_process(talk->channel), 0, talk->channel);
    for (unsigned i = 0; i < 1000; i++)
        expect_pattern(talk, i, 1000);
}

/* Small messages, which go out at once each, stop at the window as well: the peer reads all the time and takes nothing. */
static void small_messages_keep_to_the_window(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "window=128KiB&buffer=4MiB", read_then_take);
    talk_hear(&talk, 'r');
    for (unsigned i = 0; i < 1000; i++) {
        if (i % 20 == 0)
            nap(1); /* so that what was written is read, and the next goes out directly */
        send_pattern(&talk, i, 1000);
    }
    assert_gives(telex_flush(talk.channel, SECONDS(10)), 0, talk.channel);
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"the_bound_is_kept", the_bound_is_kept, ON_MESSAGES, NO_FAULTS, 0},
    {"calls_are_never_dropped", calls_are_never_dropped, ON_TELEX, NO_FAULTS, 0},
    {"window_after_withdrawals", window_after_withdrawals, ON_TELEX, NO_FAULTS, 0},
    {"small_messages_keep_to_the_window", small_messages_keep_to_the_window, ON_TELEX, NO_FAULTS, 0},
    {"full_queue", full_queue, ON_MESSAGES, NO_FAULTS, 0},
    {"queue_after_a_withdrawal", queue_after_a_withdrawal, ON_TELEX, NO_FAULTS, 0},
    {"full_fail", full_fail, ON_MESSAGES, NO_FAULTS, 0},
    {"full_drop_newest", full_drop_newest, ON_MESSAGES, NO_FAULTS, 0},
    {"full_drop_oldest", full_drop_oldest, ON_MESSAGES, NO_FAULTS, 0},
    {"queue_bounds_untaken", queue_bounds_untaken, ON_TELEX, ANY_MEDIUM, 0},
};

const struct conform_theme conform_full = {cases, sizeof cases / sizeof *cases};
