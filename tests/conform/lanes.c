/* SPDX-License-Identifier: MIT */
/* Lanes and credit: what is called for passes a hundred megabytes that wait, and never more than the agreed messages wait untaken. */
#include "conform/conform.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { PIECE = 1000000 };

static unsigned pieces(void)
{
    return is_short() ? 10 : 100;
}

static uint64_t queued_bytes(struct talk *talk)
{
    telex_counters counters = {.size = sizeof counters};
    assert_good(telex_counters_of(talk->channel, &counters));
    return counters.queued_bytes;
}

static void queue_bulk(struct talk *talk)
{
    for (unsigned i = 0; i < pieces(); i++) {
        telex_message bulk = telex_binary(pattern(i, PIECE), PIECE);
        assert_gives(telex_send(talk->channel, &bulk, 0, SECONDS(10)), 0, talk->channel);
    }
}

static void answer(struct talk *talk, telex_message *request)
{
    telex_message reply = telex_text("here");
    assert_int_equal(request->lane, 1);
    assert_gives(telex_reply(talk->channel, request, &reply, 0, SECONDS(10)), 0, talk->channel);
}

static void call_on_lane_1(struct talk *talk)
{
    telex_message request = telex_text("where?"), reply = {0};
    request.lane = 1;
    assert_gives(telex_call(talk->channel, &request, &reply, SECONDS(30)), 0, talk->channel);
    assert_int_equal(reply.lane, 1);
    assert_int_equal(reply.length, 4);
    telex_release(&reply);
}

static void queue_bulk_and_answer(struct talk *talk)
{
    telex_message request = {0};
    queue_bulk(talk);
    talk_say(talk, 'q');
    assert_gives(telex_receive(talk->channel, &request, SECONDS(30)), 0, talk->channel);
    answer(talk, &request);
    telex_release(&request);
    assert_true(queued_bytes(talk) > (uint64_t)(pieces() - 5) * PIECE);
    talk_say(talk, 'm'); /* most of it still waits here */
    assert_gives(telex_close(talk->channel, SECONDS(60), NULL), 0, NULL);
    talk->channel = NULL;
}

/* The caller takes nothing of the bulk before its reply is there. */
static void a_reply_passes_what_is_queued(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=128MiB", queue_bulk_and_answer);
    talk_hear(&talk, 'q');
    call_on_lane_1(&talk);
    talk_hear(&talk, 'm');
    telex_counters counters = {.size = sizeof counters};
    assert_good(telex_counters_of(talk.channel, &counters));
    assert_int_equal(counters.received, 1);
    for (unsigned i = 0; i < pieces(); i++)
        expect_pattern(&talk, i, PIECE);
    talk_end(&talk);
}

static void take_bulk_and_answer(struct talk *talk)
{
    talk_hear(talk, 'q');
    telex_message message = {0};
    unsigned before = 0;
    while (telex_receive(talk->channel, &message, SECONDS(30)) == 0 && message.lane == 0)
        assert_memory_equal(message.data, pattern(before++, PIECE), PIECE);
    answer(talk, &message);
    telex_release(&message);
    assert_true(before <= 6); /* what the window had let through, and what was being written */
    talk_hear_moving(talk, 'm');
    for (unsigned i = before; i < pieces(); i++)
        expect_pattern(talk, i, PIECE);
}

/* Nor does the request wait for the bulk of its own side. */
static void a_request_passes_what_is_queued(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=128MiB", take_bulk_and_answer);
    queue_bulk(&talk);
    talk_say(&talk, 'q');
    call_on_lane_1(&talk);
    assert_true(queued_bytes(&talk) > (uint64_t)pieces() / 2 * PIECE);
    talk_say(&talk, 'm');
    uint64_t untaken = 9;
    assert_gives(telex_close(talk.channel, SECONDS(60), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

/* ---- credit by messages ---- */

enum { CREDITED = 150 };

static atomic_uint *taking; /* messages that the receiver has asked for; in memory of both processes */

static void share_taking(void)
{
    taking = mmap(NULL, sizeof *taking, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(taking != MAP_FAILED);
}

static size_t longest_credited; /* written before there is a second process */

static size_t credited_length(unsigned number)
{
    return number % 7 == 0 ? 0 : number % 11 == 0 ? longest_credited : number % 5 * 900;
}

static void take_credited(struct talk *talk)
{
    for (unsigned i = 0; i < CREDITED; i++) {
        if (i % 16 == 0)
            nap(3); /* the sender runs into its bound */
        atomic_fetch_add(taking, 1);
        expect_pattern(talk, i, credited_length(i));
    }
}

/* The next `count` messages, by one call. */
static void send_credited(struct talk *talk, unsigned sent, unsigned count, bool sync)
{
    telex_message messages[4];
    for (unsigned i = 0; i < count; i++)
        messages[i] = telex_binary(pattern(sent + i, credited_length(sent + i)), credited_length(sent + i));
    if (count == 1) {
        assert_gives(telex_send(talk->channel, messages, sync ? TELEX_SYNC : 0, SECONDS(20)), 0, talk->channel);
        return;
    }
    int r = 0;
    for (unsigned done = 0; done < count; done += (unsigned)r) {
        r = telex_send_many(talk->channel, messages + done, count - done, SECONDS(20));
        assert_true(r > 0);
    }
}

/* What was admitted and not asked for is untaken, wherever it is; so it never exceeds the queue. */
static void the_queue_is_never_exceeded(void **state)
{
    static const unsigned queues[] = {1, 3, 8};
    const struct conform_setup *setup = *state;
    longest_credited = setup->medium->faulty ? 9000 : 90000; /* byte by byte it takes long */
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        struct talk talk;
        char options[32];
        snprintf(options, sizeof options, "queue=%u", queues[i]);
        share_taking();
        talk_begin(&talk, *state, options, take_credited);
        for (unsigned sent = 0; sent < CREDITED;) {
            unsigned count = sent % 6 == 5 && sent + 4 <= CREDITED ? 4 : 1;
            send_credited(&talk, sent, count, sent % 4 == 3);
            sent += count;
            assert_true(sent <= atomic_load(taking) + queues[i]);
        }
        uint64_t untaken = 1;
        assert_gives(telex_close(talk.channel, SECONDS(20), &untaken), 0, NULL);
        assert_int_equal(untaken, 0);
        talk.channel = NULL;
        talk_end(&talk);
        munmap(taking, sizeof *taking);
    }
}

static void wait_for_two(struct talk *talk)
{
    for (unsigned i = 0; i < 20; i++) {
        talk_hear_moving(talk, 't'); /* what it granted may still wait for the medium */
        nap(i % 4 == 0 ? 10 : 0); /* the sender sleeps by then, or not yet */
        for (unsigned j = 0; j < i % 3; j++) /* what has come may be at hand by then, or not yet */
            assert_good(telex_process(talk->channel));
        expect_pattern(talk, i, 10);
    }
    talk_hear_moving(talk, 'r');
    for (unsigned i = 20; i < 22; i++)
        expect_pattern(talk, i, 10);
}

/* One taken lets one more in, at once, and no second one. */
static void each_one_taken_lets_one_in(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "queue=2", wait_for_two);
    for (unsigned i = 0; i < 2; i++)
        send_pattern(&talk, i, 10);
    for (unsigned i = 2; i < 22; i++) {
        talk_say(&talk, 't');
        send_pattern(&talk, i, 10); /* waits for it */
        telex_message more = message_of(&talk, pattern(i + 1, 10), 10);
        assert_gives(telex_send(talk.channel, &more, 0, TELEX_NOW), -EAGAIN, talk.channel);
    }
    talk_say(&talk, 'r');
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"a_reply_passes_what_is_queued", a_reply_passes_what_is_queued, ON_TELEX, NO_FAULTS, 90},
    {"a_request_passes_what_is_queued", a_request_passes_what_is_queued, ON_TELEX, NO_FAULTS, 90},
    {"the_queue_is_never_exceeded", the_queue_is_never_exceeded, ON_TELEX, ANY_MEDIUM, 90},
    {"each_one_taken_lets_one_in", each_one_taken_lets_one_in, ON_TELEX, ANY_MEDIUM, 0},
};

const struct conform_theme conform_lanes = {cases, sizeof cases / sizeof *cases};
