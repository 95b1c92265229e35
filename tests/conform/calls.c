/* SPDX-License-Identifier: MIT */
/* Calls: one reply to each request, whatever the order, and what happens when none comes. */
#include "conform/conform.h"

static void take_request(struct talk *talk, telex_message *request)
{
    assert_gives(telex_receive(talk->channel, request, SECONDS(10)), 0, talk->channel);
    assert_true(request->flags & TELEX_IS_CALL);
}

static void answer_with(struct talk *talk, const telex_message *request, const char *text)
{
    telex_message reply = telex_text(text);
    assert_gives(telex_reply(talk->channel, request, &reply, 0, SECONDS(5)), 0, talk->channel);
}

static void expect_reply(const telex_message *reply, const char *text)
{
    assert_int_equal(reply->length, strlen(text));
    assert_memory_equal(reply->data, text, reply->length);
    assert_true(reply->flags & TELEX_IS_REPLY);
}

/* ---- one after the other ---- */

static void echo_200(struct talk *talk)
{
    telex_message request = {0};
    for (int i = 0; i < 200; i++) {
        assert_gives(telex_receive(talk->channel, &request, SECONDS(10)), 0, talk->channel);
        if (talk->setup->on == ON_LINES)
            assert_gives(telex_send(talk->channel, &request, 0, SECONDS(5)), 0, talk->channel);
        else
            assert_gives(telex_reply(talk->channel, &request, &request, i % 10 == 0 ? TELEX_SYNC : 0, SECONDS(5)), 0,
                         talk->channel);
    }
    telex_release(&request);
}

static void one_by_one(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", echo_200);
    telex_message reply = {0};
    for (unsigned i = 0; i < 200; i++) {
        telex_message request = message_of(&talk, pattern(i, i * 10), i * 10);
        request.lane = talk.setup->on == ON_TELEX ? (uint8_t)(i % 3) : 0;
        assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), 0, talk.channel);
        assert_int_equal(reply.length, i * 10);
        if (i > 0)
            assert_memory_equal(reply.data, pattern(i, i * 10), i * 10);
        assert_int_equal(reply.lane, request.lane);
        assert_int_equal(reply.request, request.number);
    }
    telex_release(&reply);
    talk_end(&talk);
}

static void send_long_and_short_then_answer(struct talk *talk)
{
    telex_message request = {0};
    take_request(talk, &request);
    for (unsigned i = 0; i < 8; i++)
        send_pattern(talk, i, i % 2 ? 5000 * i : 30);
    answer_with(talk, &request, "that was all");
    telex_release(&request);
}

/* What arrives during a call is received afterwards, however it came. */
static void messages_wait_behind_a_call(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", send_long_and_short_then_answer);
    telex_message request = telex_text("all?"), reply = {0};
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), 0, talk.channel);
    expect_reply(&reply, "that was all");
    telex_release(&reply);
    for (unsigned i = 0; i < 8; i++)
        expect_pattern(&talk, i, i % 2 ? 5000 * i : 30);
    talk_end(&talk);
}

/* ---- several outstanding ---- */

static const size_t tight_sizes[] = {65510, 65536, 65500, 65536};
enum { TIGHT_CALLS = sizeof tight_sizes / sizeof *tight_sizes };

static void answer_tightly(struct talk *talk)
{
    telex_message requests[TIGHT_CALLS] = {{0}};
    for (unsigned i = 0; i < TIGHT_CALLS; i++)
        take_request(talk, &requests[i]);
    for (unsigned i = 0; i < TIGHT_CALLS; i++) {
        telex_message reply = telex_binary(pattern(i, tight_sizes[i]), tight_sizes[i]);
        assert_gives(telex_reply(talk->channel, &requests[i], &reply, 0, SECONDS(10)), 0, talk->channel);
        telex_release(&requests[i]);
    }
    assert_gives(telex_flush(talk->channel, SECONDS(10)), 0, talk->channel);
}

static void notices_then_answer(struct talk *talk)
{
    telex_message request, notice = telex_binary(pattern(1, 4000), 4000), reply = telex_text("reply");
    take_request(talk, memset(&request, 0, sizeof request));
    notice.lane = 7;
    int r;
    while ((r = telex_send(talk->channel, &notice, 0, TELEX_NOW)) == 0)
        ;
    assert_gives(r, -EAGAIN, talk->channel);
    assert_gives(telex_reply(talk->channel, &request, &reply, 0, SECONDS(10)), 0, talk->channel);
    telex_release(&request);
    talk_hear_moving(talk, 'x');
}

/* The caller takes nothing else, and its window and the other's queue are full: the reply comes all the same. */
static void replies_pass_what_waits(void **state, const char *options)
{
    struct talk talk;
    talk_begin(&talk, *state, options, notices_then_answer);
    telex_message request = telex_text("?"), reply = {0};
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), 0, talk.channel);
    expect_reply(&reply, "reply");
    talk_say(&talk, 'x');
    telex_release(&reply);
    talk_end(&talk);
}

static void a_reply_passes_full_windows(void **state)
{
    replies_pass_what_waits(state, "window=128KiB&buffer=64KiB");
}

static void a_reply_passes_a_full_queue(void **state)
{
    replies_pass_what_waits(state, "queue=1");
}

static void say_then_answer_at_once(struct talk *talk)
{
    telex_message request = {0}, first = telex_text("first"), reply = telex_text("reply");
    take_request(talk, &request);
    assert_gives(telex_send(talk->channel, &first, 0, SECONDS(5)), 0, talk->channel);
    assert_gives(telex_reply(talk->channel, &request, &reply, TELEX_SYNC, SECONDS(10)), 0, talk->channel);
    assert_int_equal(telex_outcome(talk->channel, first.number), TELEX_OFFERED);
    assert_int_equal(telex_outcome(talk->channel, reply.number), TELEX_TAKEN);
    talk_say(talk, 'o');
    telex_release(&request);
    talk_hear_moving(talk, 'x');
}

/* A rendezvous of a reply ends though an older message of its lane waits untaken. */
static void a_synchronous_reply_overtakes(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", say_then_answer_at_once);
    telex_message request = telex_text("?"), reply = {0};
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), 0, talk.channel);
    expect_reply(&reply, "reply");
    talk_hear_moving(&talk, 'o');
    talk_say(&talk, 'x');
    expect_text(&talk, "first");
    telex_release(&reply);
    talk_end(&talk);
}

/* In the smallest window the longest frame fits once and almost twice: what was taken must be told before the next would not fit. */
static void the_smallest_window(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "window=128KiB", answer_tightly);
    telex_message requests[TIGHT_CALLS], reply = {0};
    for (unsigned i = 0; i < TIGHT_CALLS; i++) {
        requests[i] = telex_text("how much?");
        assert_gives(telex_call_start(talk.channel, &requests[i], SECONDS(5)), 0, talk.channel);
    }
    for (unsigned i = 0; i < TIGHT_CALLS; i++) {
        assert_gives(telex_call_finish(talk.channel, requests[i].number, &reply, SECONDS(10)), 0, talk.channel);
        assert_int_equal(reply.length, tight_sizes[i]);
        assert_memory_equal(reply.data, pattern(i, tight_sizes[i]), tight_sizes[i]);
    }
    telex_release(&reply);
    talk_end(&talk);
}

static void answer_backwards(struct talk *talk)
{
    telex_message requests[10] = {0};
    for (int i = 0; i < 10; i++)
        take_request(talk, &requests[i]);
    send_text(talk, "in between");
    for (int i = 9; i >= 0; i--) {
        telex_message reply = telex_binary(requests[i].data, requests[i].length);
        assert_good(telex_reply(talk->channel, &requests[i], &reply, 0, SECONDS(5)));
        assert_gives(telex_reply(talk->channel, &requests[i], &reply, 0, SECONDS(5)), -ENOENT, talk->channel);
        telex_release(&requests[i]);
    }
}

static void several_outstanding(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", answer_backwards);
    uint64_t numbers[10];
    for (unsigned i = 0; i < 10; i++) {
        telex_message request = telex_binary(pattern(i, 50 + i), 50 + i);
        assert_good(telex_call_start(talk.channel, &request, SECONDS(5)));
        numbers[i] = request.number;
    }
    telex_message reply = {0};
    for (unsigned i = 0; i < 5; i++) {
        assert_gives(telex_call_finish(talk.channel, numbers[i], &reply, SECONDS(10)), 0, talk.channel);
        assert_int_equal(reply.length, 50 + i);
        assert_memory_equal(reply.data, pattern(i, 50 + i), 50 + i);
    }
    bool seen[10] = {false};
    for (unsigned i = 5; i < 10; i++) { /* whichever comes first */
        assert_gives(telex_call_finish(talk.channel, 0, &reply, SECONDS(10)), 0, talk.channel);
        assert_true(reply.length >= 55 && reply.length < 60 && !seen[reply.length - 50]);
        seen[reply.length - 50] = true;
    }
    assert_gives(telex_call_finish(talk.channel, 0, &reply, SECONDS(1)), -ENOENT, talk.channel);
    assert_gives(telex_call_finish(talk.channel, numbers[0], &reply, SECONDS(1)), -ENOENT, talk.channel);
    expect_text(&talk, "in between"); /* what is no reply is for receive */
    telex_release(&reply);
    talk_end(&talk);
}

static void say_then_answer(struct talk *talk)
{
    telex_message request = {0}, first = telex_text("first"), reply = telex_text("\xff");
    take_request(talk, &request);
    first.lane = 2;
    assert_gives(telex_send(talk->channel, &first, 0, SECONDS(5)), 0, talk->channel);
    assert_gives(telex_reply(talk->channel, &request, &reply, 0, SECONDS(5)), -EILSEQ, talk->channel); /* no effect */
    reply = telex_text("reply");
    assert_gives(telex_reply(talk->channel, &request, &reply, TELEX_SYNC, SECONDS(10)), 0, talk->channel);
    assert_int_equal(telex_outcome(talk->channel, first.number), TELEX_OFFERED); /* though a later one was taken */
    talk_say(talk, 'o');
    talk_hear(talk, 'x');
    telex_release(&request);
}

/* A reply is taken while an older message of another lane still waits: the one is known to be taken, the other is not. */
static void a_reply_overtakes_another_lane(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", say_then_answer);
    telex_message request = telex_text("?"), reply = {0};
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), 0, talk.channel);
    expect_reply(&reply, "reply");
    talk_hear_moving(&talk, 'o');
    expect_text(&talk, "first");
    talk_say(&talk, 'x');
    telex_release(&reply);
    talk_end(&talk);
}

static void finish_in_vain_keeps(struct talk *talk)
{
    telex_message request = {0};
    take_request(talk, &request);
    talk_hear(talk, 'g');
    answer_with(talk, &request, "late but welcome");
    telex_release(&request);
}

static void a_finish_in_vain_keeps_the_call(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", finish_in_vain_keeps);
    telex_message request = telex_text("?"), reply = {0};
    assert_good(telex_call_start(talk.channel, &request, SECONDS(5)));
    assert_gives(telex_call_finish(talk.channel, request.number, &reply, TELEX_NOW), -EAGAIN, talk.channel);
    assert_gives(telex_call_finish(talk.channel, request.number, &reply, MILLISECONDS(20)), -ETIMEDOUT, talk.channel);
    talk_say(&talk, 'g');
    assert_gives(telex_call_finish(talk.channel, request.number, &reply, SECONDS(5)), 0, talk.channel);
    expect_reply(&reply, "late but welcome");
    telex_release(&reply);
    talk_end(&talk);
}

/* ---- no reply in time ---- */

static void answer_late(struct talk *talk)
{
    telex_message first = {0}, second = {0};
    take_request(talk, &first);
    talk_hear(talk, 'g');
    take_request(talk, &second);
    answer_with(talk, &first, "to the first");
    answer_with(talk, &second, "to the second");
    telex_release(&first);
    telex_release(&second);
}

static void late_replies_are_dropped(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", answer_late);
    telex_message request = telex_text("one"), reply = {0};
    assert_gives(telex_call(talk.channel, &request, &reply, MILLISECONDS(50)), -ETIMEDOUT, talk.channel);
    talk_say(&talk, 'g');
    request = telex_text("two");
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(5)), 0, talk.channel);
    expect_reply(&reply, "to the second");
    telex_counters counters = {.size = sizeof counters};
    assert_good(telex_counters_of(talk.channel, &counters));
    assert_int_equal(counters.late, 1);
    telex_release(&reply);
    talk_end(&talk);
}

static void answer_lines_late(struct talk *talk)
{
    expect_text(talk, "one");
    talk_hear(talk, 'g');
    send_text(talk, "to the first");
    expect_text(talk, "two");
    send_text(talk, "to the second");
    send_text(talk, "unasked");
}

static void late_lines_are_dropped(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", answer_lines_late);
    telex_message request = telex_text("one"), reply = {0};
    assert_gives(telex_call(talk.channel, &request, &reply, MILLISECONDS(50)), -ETIMEDOUT, talk.channel);
    talk_say(&talk, 'g');
    request = telex_text("two");
    assert_good(telex_call_start(talk.channel, &request, SECONDS(5)));
    telex_message third = telex_text("three");
    assert_gives(telex_call_start(talk.channel, &third, SECONDS(5)), -EBUSY, talk.channel);
    assert_gives(telex_call_finish(talk.channel, request.number, &reply, SECONDS(5)), 0, talk.channel);
    expect_reply(&reply, "to the second");
    expect_text(&talk, "unasked");
    telex_release(&reply);
    talk_end(&talk);
}

static void watch_cancelling(struct talk *talk)
{
    telex_message request = {0}, other = {0};
    take_request(talk, &request);
    assert_int_equal(telex_cancelled(talk->channel, &request), 0);
    talk_say(talk, 't');
    for (int tries = 0; telex_cancelled(talk->channel, &request) == 0; tries++) {
        assert_true(tries < 5000);
        nap(1);
    }
    assert_int_equal(telex_cancelled(talk->channel, &request), 1);
    answer_with(talk, &request, "for nobody");
    assert_int_equal(telex_cancelled(talk->channel, &request), -ENOENT);
    talk_hear(talk, 'g');
    assert_good(telex_process(talk->channel)); /* both and the cancellation are read now, whatever was read before */
    /* Of the next two one was cancelled before anybody took it: it is not even seen. */
    take_request(talk, &other);
    assert_int_equal(other.length, 4);
    answer_with(talk, &other, "ok");
    telex_release(&request);
    telex_release(&other);
}

static void cancelling(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", watch_cancelling);
    telex_message request = telex_text("?"), unseen = telex_text("unseen"), seen = telex_text("seen"), reply = {0};
    assert_good(telex_call_start(talk.channel, &request, SECONDS(5)));
    talk_hear(&talk, 't');
    assert_good(telex_call_cancel(talk.channel, request.number));
    assert_gives(telex_call_cancel(talk.channel, request.number), -ENOENT, talk.channel);
    /* Held back, so that it is cancelled before it leaves, or read together with its cancellation. */
    assert_good(telex_call_start(talk.channel, &unseen, SECONDS(5)));
    assert_good(telex_call_cancel(talk.channel, unseen.number));
    assert_good(telex_flush(talk.channel, SECONDS(5)));
    nap(50);
    assert_good(telex_call_start(talk.channel, &seen, SECONDS(5)));
    assert_good(telex_flush(talk.channel, SECONDS(5)));
    nap(50);
    talk_say(&talk, 'g');
    assert_gives(telex_call_finish(talk.channel, seen.number, &reply, SECONDS(5)), 0, talk.channel);
    expect_reply(&reply, "ok");
    telex_release(&reply);
    uint64_t untaken = 1; /* what was cancelled before anybody took it counts as taken */
    assert_gives(telex_close(talk.channel, SECONDS(5), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

static void expect_only_the_next(struct talk *talk)
{
    talk_hear(talk, 'g');
    expect_text(talk, "after");
}

/* Cancelled when half of it has left: the rest does not, and nobody sees the request. */
static void cancelled_midway(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=16MiB", expect_only_the_next);
    telex_message request = telex_binary(pattern(0, 10000000), 10000000);
    assert_gives(telex_call_start(talk.channel, &request, TELEX_NOW), 0, talk.channel);
    telex_counters counters = {.size = sizeof counters};
    assert_good(telex_counters_of(talk.channel, &counters));
    assert_true(counters.queued_bytes > 0 && counters.queued_bytes < 10000000);
    assert_gives(telex_call_cancel(talk.channel, request.number), 0, talk.channel);
    telex_message after = telex_text("after");
    assert_gives(telex_send(talk.channel, &after, 0, TELEX_NOW), 0, talk.channel);
    talk_say(&talk, 'g');
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(10), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

static void fail_each(struct talk *talk)
{
    telex_message request = {0};
    for (unsigned failure = TELEX_FAILURE_NO_HANDLER; failure <= TELEX_FAILURE_CANCELLED; failure++) {
        take_request(talk, &request);
        assert_good(telex_fail(talk->channel, &request, failure, failure == 2 ? "the paper ran out" : NULL));
        assert_gives(telex_fail(talk->channel, &request, failure, NULL), -ENOENT, talk->channel);
    }
    assert_gives(telex_fail(talk->channel, &request, 77, NULL), -EINVAL, talk->channel);
    take_request(talk, &request);
    static char long_sentence[5001];
    memset(long_sentence, 'l', 5000);
    assert_good(telex_fail(talk->channel, &request, TELEX_FAILURE_LIMIT, long_sentence));
    telex_release(&request);
}

static void failing(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", fail_each);
    static const int expected[] = {-ENOSYS, -EREMOTEIO, -EDQUOT, -EACCES, -ECANCELED};
    telex_message reply = {0};
    for (int i = 0; i < 5; i++) {
        telex_message request = telex_text("?");
        assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(5)), expected[i], talk.channel);
        if (i == 1)
            assert_string_equal(telex_reason(talk.channel), "the paper ran out");
    }
    telex_message request = telex_text("?");
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(5)), -EDQUOT, talk.channel);
    assert_true(strlen(telex_reason(talk.channel)) > 400);
    talk_end(&talk);
}

/* ---- beside other traffic ---- */

static void chatter(struct talk *talk)
{
    telex_message request = {0};
    for (int i = 0; i < 300; i++) {
        send_text(talk, "tick");
        take_request(talk, &request);
        answer_with(talk, &request, "tock");
    }
    telex_release(&request);
}

static void *receive_ticks(void *with)
{
    struct talk *talk = with;
    telex_message message = {0};
    for (int i = 0; i < 300; i++)
        if (telex_receive(talk->channel, &message, SECONDS(15)) != 0 || message.length != 4)
            return "a tick is missing";
    telex_release(&message);
    return NULL;
}

static void a_call_beside_a_receiving_thread(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", chatter);
    pthread_t thread;
    assert_good(pthread_create(&thread, NULL, receive_ticks, &talk));
    telex_message reply = {0};
    for (int i = 0; i < 300; i++) {
        telex_message request = telex_text("tick?");
        assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(15)), 0, talk.channel);
        expect_reply(&reply, "tock");
    }
    void *failed;
    pthread_join(thread, &failed);
    assert_null(failed);
    telex_release(&reply);
    talk_end(&talk);
}

static void die_in_a_call(struct talk *talk)
{
    telex_message request = {0};
    take_request(talk, &request);
    _exit(0);
}

static void the_answering_side_dies(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", die_in_a_call);
    telex_message request = telex_text("?"), reply = {0};
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), -ECONNRESET, talk.channel);
    talk_end(&talk);
}

static void send_before_and_behind_the_answer(struct talk *talk)
{
    telex_message request = {0}, empty = telex_binary("", 0), reply = telex_text("answer");
    for (unsigned i = 0; i < 32; i++)
        send_pattern(talk, i, 40);
    take_request(talk, &request);
    send_pattern(talk, 1, 40);
    assert_gives(telex_reply(talk->channel, &request, &reply, 0, SECONDS(5)), 0, talk->channel);
    assert_gives(telex_send(talk->channel, &empty, 0, SECONDS(5)), 0, talk->channel);
    assert_gives(telex_flush(talk->channel, SECONDS(5)), 0, talk->channel);
    talk_say(talk, 's');
    telex_release(&request);
}

/* What a call has read is received first, however short what came later is. */
static void an_empty_message_waits_its_turn(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", send_before_and_behind_the_answer);
    telex_message message = {0}, request = telex_text("?"), reply = {0};
    for (unsigned i = 0; i < 32; i++)
        assert_gives(telex_receive(talk.channel, &message, SECONDS(10)), 0, talk.channel);
    assert_gives(telex_call(talk.channel, &request, &reply, SECONDS(10)), 0, talk.channel);
    talk_hear(&talk, 's');
    assert_gives(telex_receive(talk.channel, &message, SECONDS(10)), 0, talk.channel);
    assert_int_equal(message.length, 40);
    assert_gives(telex_receive(talk.channel, &message, SECONDS(10)), 0, talk.channel);
    assert_int_equal(message.length, 0);
    telex_release(&message);
    telex_release(&reply);
    talk_end(&talk);
}

static void receive_till_the_end(struct talk *talk)
{
    talk_hear(talk, 'r');
    telex_message message = {0};
    int r;
    while ((r = telex_receive(talk->channel, &message, SECONDS(10))) == 0)
        ;
    assert_gives(r, -EPIPE, talk->channel);
    telex_release(&message);
}

/* A request is given up midway while nothing fits any more but a message shorter than that word: this one must not pass it. */
static void nothing_passes_a_withdrawal(void **state)
{
    static const unsigned lasts[] = {640, 656, 672, 688, 704};
    for (unsigned i = 0; i < sizeof lasts / sizeof *lasts; i++) {
        struct talk talk;
        talk_begin(&talk, *state, "ring=16KiB&arena=4KiB", receive_till_the_end);
        telex_message request = telex_binary(pattern(0, 20000), 20000), filling = telex_binary(pattern(1, 1024), 1024);
        assert_gives(telex_call_start(talk.channel, &request, TELEX_NOW), 0, talk.channel);
        filling.lane = 1;
        for (unsigned j = 0; j < 16; j++) {
            filling.length = j < 15 ? 1024 : lasts[i];
            assert_gives(telex_send(talk.channel, &filling, 0, TELEX_NOW), 0, talk.channel);
        }
        assert_gives(telex_call_cancel(talk.channel, request.number), 0, talk.channel);
        telex_message empty = telex_binary("", 0);
        assert_gives(telex_send(talk.channel, &empty, 0, TELEX_NOW), 0, talk.channel);
        talk_say(&talk, 'r');
        talk_end(&talk);
    }
}

static const struct conform_case cases[] = {
    {"one_by_one", one_by_one, ON_MESSAGES, ANY_MEDIUM, 40},
    {"messages_wait_behind_a_call", messages_wait_behind_a_call, ON_TELEX, ANY_MEDIUM, 0},
    {"an_empty_message_waits_its_turn", an_empty_message_waits_its_turn, ON_TELEX, ANY_MEDIUM, 0},
    {"several_outstanding", several_outstanding, ON_TELEX, ANY_MEDIUM, 0},
    {"a_reply_passes_full_windows", a_reply_passes_full_windows, ON_TELEX, ANY_MEDIUM, 0},
    {"a_reply_passes_a_full_queue", a_reply_passes_a_full_queue, ON_TELEX, ANY_MEDIUM, 0},
    {"a_synchronous_reply_overtakes", a_synchronous_reply_overtakes, ON_TELEX, ANY_MEDIUM, 0},
    {"the_smallest_window", the_smallest_window, ON_TELEX, ANY_MEDIUM, 40},
    {"a_reply_overtakes_another_lane", a_reply_overtakes_another_lane, ON_TELEX, ANY_MEDIUM, 0},
    {"a_finish_in_vain_keeps_the_call", a_finish_in_vain_keeps_the_call, ON_TELEX, ANY_MEDIUM, 0},
    {"late_replies_are_dropped", late_replies_are_dropped, ON_TELEX, ANY_MEDIUM, 0},
    {"late_lines_are_dropped", late_lines_are_dropped, ON_LINES, ANY_MEDIUM, 0},
    {"cancelling", cancelling, ON_TELEX, NO_FAULTS, 0},
    {"cancelled_midway", cancelled_midway, ON_TELEX, NO_FAULTS, 0},
    {"nothing_passes_a_withdrawal", nothing_passes_a_withdrawal, ON_TELEX, NO_FAULTS, 40},
    {"failing", failing, ON_TELEX, ANY_MEDIUM, 0},
    {"a_call_beside_a_receiving_thread", a_call_beside_a_receiving_thread, ON_TELEX, ANY_MEDIUM, 40},
    {"the_answering_side_dies", the_answering_side_dies, ON_TELEX, PROCESSES, 0},
};

const struct conform_theme conform_calls = {cases, sizeof cases / sizeof *cases};
