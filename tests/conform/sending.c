/* SPDX-License-Identifier: MIT */
/* Asynchronous messages: order, sizes, kinds, both ways at once, counts. */
#include "conform/conform.h"

/* ---- order, sizes, kinds ---- */

static size_t size_at(const struct talk *talk, unsigned i)
{
    return (i * 37) % 900 + (i % 50 == 7 && !talk->setup->medium->faulty ? 70000 : 0);
}

static void receive_500(struct talk *talk)
{
    for (unsigned i = 0; i < 500; i++)
        expect_pattern(talk, i, size_at(talk, i));
    send_pattern(talk, 1, 5);
}

static void order(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", receive_500);
    for (unsigned i = 0; i < 500; i++)
        send_pattern(&talk, i, size_at(&talk, i));
    expect_pattern(&talk, 1, 5);
    talk_end(&talk);
}

static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 200000, 1048576};

static void receive_sizes(struct talk *talk)
{
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        expect_pattern(talk, i, sizes[i]);
    if (talk->setup->on == ON_TELEX)
        expect_pattern(talk, 2, 16777216);
    expect_pattern(talk, 3, 3);
}

static void all_sizes(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", receive_sizes);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        send_pattern(&talk, i, sizes[i]);
    if (talk.setup->on == ON_TELEX) {
        send_pattern(&talk, 2, 16777216);
        assert_int_equal(telex_max(talk.channel), 16777216);
        telex_message over = telex_binary(pattern(1, 16777217), 16777217);
        assert_gives(telex_send(talk.channel, &over, 0, SECONDS(5)), -EMSGSIZE, talk.channel);
        because(talk.channel, "16777217");
    }
    send_pattern(&talk, 3, 3); /* the channel lives on */
    talk_end(&talk);
}

static void expect_kinds(struct talk *talk)
{
    telex_message message = {0};
    assert_good(telex_receive(talk->channel, &message, SECONDS(5)));
    assert_int_equal(message.kind, TELEX_TEXT);
    assert_int_equal(message.type, 7);
    assert_int_equal(message.lane, 3);
    assert_int_equal(message.flags, 0);
    assert_int_equal(message.number, 1);
    assert_good(telex_receive(talk->channel, &message, SECONDS(5)));
    assert_int_equal(message.kind, TELEX_BINARY);
    assert_int_equal(message.length, 4);
    assert_memory_equal(message.data, "\xff\0\n\xc0", 4);
    assert_int_equal(message.number, 2);
    telex_release(&message);
    assert_int_equal(message.length, 0);
}

static void kinds(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", expect_kinds);
    telex_message text = telex_text("gr\xc3\xbc\xc3\x9f dich");
    text.type = 7;
    text.lane = 3;
    assert_good(telex_send(talk.channel, &text, 0, SECONDS(5)));
    assert_int_equal(text.number, 1);
    telex_message binary = telex_binary("\xff\0\n\xc0", 4);
    assert_good(telex_send(talk.channel, &binary, 0, SECONDS(5)));
    talk_end(&talk);
}

static void expect_after(struct talk *talk)
{
    expect_text(talk, "after");
}

static void bad_text_is_refused(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", expect_after);
    static const char *const bad[] = {"\xff", "\xc0\x80", "\xed\xa0\x80", "a\xe2\x82", "\xf4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        telex_message message = telex_text(bad[i]);
        assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EILSEQ, talk.channel);
    }
    telex_message message = telex_text("x");
    message.kind = 9;
    assert_true(telex_send(talk.channel, &message, 0, SECONDS(5)) < 0);
    send_text(&talk, "after");
    talk_end(&talk);
}

static void what_lines_cannot(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", expect_after);
    telex_message message = telex_text("two\nlines");
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EINVAL, talk.channel);
    message = telex_text("ends with\r");
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EINVAL, talk.channel);
    message = telex_binary("x", 1);
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EOPNOTSUPP, talk.channel);
    message = telex_text("x");
    assert_gives(telex_send(talk.channel, &message, TELEX_SYNC, SECONDS(5)), -EOPNOTSUPP, talk.channel);
    message.lane = 1;
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EOPNOTSUPP, talk.channel);
    send_text(&talk, "after");
    talk_end(&talk);
}

static void receive_raw(struct talk *talk)
{
    size_t total = 0;
    telex_message message = {0};
    int r;
    while ((r = telex_receive(talk->channel, &message, SECONDS(5))) == 0) {
        assert_int_equal(message.kind, TELEX_BINARY);
        assert_true(message.length > 0);
        assert_memory_equal(message.data, pattern(2, 300000) + total, message.length);
        total += message.length;
    }
    assert_gives(r, -EPIPE, talk->channel);
    assert_int_equal(total, 300000);
    telex_release(&message);
}

static void raw_bytes(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", receive_raw);
    telex_message message = telex_binary("", 0), reply = {0};
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EINVAL, talk.channel);
    message = telex_binary("x", 1);
    assert_gives(telex_call(talk.channel, &message, &reply, SECONDS(5)), -EOPNOTSUPP, talk.channel);
    for (size_t at = 0; at < 300000; at += 1000) {
        message = telex_binary(pattern(2, 300000) + at, 1000);
        assert_good(telex_send(talk.channel, &message, 0, SECONDS(10)));
    }
    uint64_t untaken = 9;
    assert_gives(telex_close(talk.channel, SECONDS(10), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

static void receive_raw_cut(struct talk *talk)
{
    size_t total = 0;
    telex_message message = {0};
    while (telex_receive(talk->channel, &message, SECONDS(5)) == 0) {
        assert_true(message.length > 0 && message.length <= 1000);
        assert_memory_equal(message.data, pattern(2, 50000) + total, message.length);
        total += message.length;
    }
    assert_int_equal(total, 50000);
    telex_release(&message);
}

/* What comes at once is handed out in parts of at most max. */
static void raw_bytes_in_parts(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "max=1000", receive_raw_cut);
    for (size_t at = 0; at < 50000; at += 1000) {
        telex_message message = telex_binary(pattern(2, 50000) + at, 1000);
        assert_good(telex_send(talk.channel, &message, TELEX_MORE, SECONDS(10)));
    }
    assert_good(telex_close(talk.channel, SECONDS(10), NULL));
    talk.channel = NULL;
    talk_end(&talk);
}

static void expect_fixed(struct talk *talk)
{
    expect_pattern(talk, 0, 32);
}

static void fixed_length(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "size=32", expect_fixed);
    telex_message message = telex_binary(pattern(0, 33), 33);
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EMSGSIZE, talk.channel);
    message.length = 31;
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EMSGSIZE, talk.channel);
    send_pattern(&talk, 0, 32);
    talk_end(&talk);
}

/* ---- both ways at once ---- */

static unsigned crowd(const struct talk *talk)
{
    return talk->setup->medium->faulty ? 1000 : is_short() ? 5000 : 100000;
}

static void one_loop(struct talk *talk)
{
    unsigned count = crowd(talk), sent = 0, received = 0;
    telex_message message = {0};
    int fd = telex_fd(talk->channel);
    assert_true(fd >= 0);
    while (sent < count || received < count) {
        bool moved = false;
        for (int r = 0; sent < count && r == 0;) {
            char text[32];
            telex_message out = message_of(talk, text, (size_t)snprintf(text, sizeof text, "%u", sent));
            r = telex_send(talk->channel, &out, 0, TELEX_NOW);
            assert_true(r == 0 || r == -EAGAIN);
            sent += r == 0;
            moved |= r == 0;
            if (sent % 64 == 0)
                break;
        }
        for (int r = 0; r == 0 && received < count;) {
            r = telex_receive(talk->channel, &message, TELEX_NOW);
            if (r == -EAGAIN)
                break;
            assert_gives(r, 0, talk->channel);
            char text[32] = "";
            memcpy(text, message.data, message.length);
            assert_int_equal(atoi(text), received);
            received++;
            moved = true;
        }
        if (!moved) {
            struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
            assert_true(poll(&poll_fd, 1, 10000) == 1);
        }
    }
    assert_good(telex_flush(talk->channel, SECONDS(10)));
    telex_release(&message);
}

static void both_ways_in_one_loop(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", one_loop);
    one_loop(&talk);
    talk_end(&talk);
}

static void *send_all(void *with)
{
    struct talk *talk = with;
    for (unsigned i = 0, count = crowd(talk); i < count; i++) {
        char text[32];
        telex_message message = message_of(talk, text, (size_t)snprintf(text, sizeof text, "%u", i));
        int r = telex_send(talk->channel, &message, i % 4 == 1 ? TELEX_MORE : 0, SECONDS(30));
        if (r < 0)
            return "send failed";
    }
    return telex_flush(talk->channel, SECONDS(30)) == 0 ? NULL : "flush failed";
}

static void two_threads(struct talk *talk)
{
    pthread_t sender;
    assert_good(pthread_create(&sender, NULL, send_all, talk));
    telex_message message = {0};
    for (unsigned i = 0, count = crowd(talk); i < count; i++) {
        assert_gives(telex_receive(talk->channel, &message, SECONDS(30)), 0, talk->channel);
        char text[32] = "";
        memcpy(text, message.data, message.length);
        assert_int_equal(atoi(text), i);
    }
    void *failed;
    pthread_join(sender, &failed);
    assert_null(failed);
    telex_release(&message);
}

static void both_ways_with_two_threads(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", two_threads);
    two_threads(&talk);
    talk_end(&talk);
}

/* ---- many, more, loans, lanes ---- */

static void receive_in_bulk(struct talk *talk)
{
    telex_message messages[16] = {0};
    for (unsigned got = 0; got < 100;) {
        int r = telex_receive_many(talk->channel, messages, 16, SECONDS(10));
        assert_true(r >= 1 && r <= 16);
        for (int i = 0; i < r; i++, got++) {
            assert_int_equal(messages[i].length, got % 60);
            assert_memory_equal(messages[i].data, pattern(got, 60), got % 60);
        }
    }
    for (int i = 0; i < 16; i++)
        telex_release(&messages[i]);
    assert_true(telex_receive_many(talk->channel, messages, 16, TELEX_NOW) < 0);
}

static void many(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", receive_in_bulk);
    telex_message messages[10];
    static char bytes[100][60];
    for (unsigned got = 0; got < 100; got += 10) {
        for (unsigned i = 0; i < 10; i++) {
            memcpy(bytes[got + i], pattern(got + i, 60), 60);
            messages[i] = message_of(&talk, bytes[got + i], (got + i) % 60);
        }
        assert_int_equal(telex_send_many(talk.channel, messages, 10, SECONDS(5)), 10);
        if (talk.setup->on == ON_TELEX)
            assert_int_equal(messages[9].number, got + 10);
    }
    talk_end(&talk);
}

static void expect_two(struct talk *talk)
{
    telex_message message = {0};
    talk_hear(talk, '1');
    assert_gives(telex_receive(talk->channel, &message, MILLISECONDS(50)), -ETIMEDOUT, talk->channel);
    talk_say(talk, '2');
    expect_pattern(talk, 0, 20);
    expect_pattern(talk, 1, 20);
    expect_pattern(talk, 2, 20);
}

static void more_is_held_back(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "flush=call", expect_two);
    telex_message message = message_of(&talk, pattern(0, 20), 20);
    assert_good(telex_send(talk.channel, &message, TELEX_MORE, SECONDS(5)));
    talk_say(&talk, '1');
    talk_hear(&talk, '2');
    message = message_of(&talk, pattern(1, 20), 20);
    assert_good(telex_send(talk.channel, &message, 0, SECONDS(5)));
    message = message_of(&talk, pattern(2, 20), 20);
    assert_good(telex_send(talk.channel, &message, TELEX_MORE, SECONDS(5)));
    assert_good(telex_flush(talk.channel, SECONDS(5)));
    talk_end(&talk);
}

static void expect_loans(struct talk *talk)
{
    expect_pattern(talk, 1, 500);
    expect_pattern(talk, 2, 300000);
    expect_pattern(talk, 3, 10);
}

static void loans(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", expect_loans);
    static const size_t lengths[] = {500, 300000, 10};
    for (unsigned i = 0; i < 3; i++) {
        telex_message loan = {0};
        assert_good(telex_loan(talk.channel, lengths[i], &loan, SECONDS(1)));
        assert_int_equal(loan.length, lengths[i]);
        memcpy(loan.data, pattern(i + 1, lengths[i]), lengths[i]);
        loan.kind = talk.setup->on == ON_LINES ? TELEX_TEXT : TELEX_BINARY;
        assert_good(telex_send(talk.channel, &loan, 0, SECONDS(5)));
        assert_null(loan.memory); /* consumed */
        telex_release(&loan);
    }
    telex_message unsent = {0};
    assert_good(telex_loan(talk.channel, 100, &unsent, SECONDS(1)));
    telex_release(&unsent);
    assert_gives(telex_loan(talk.channel, (size_t)1 << 40, &unsent, SECONDS(1)), -EMSGSIZE, talk.channel);
    assert_good(telex_loan(talk.channel, 100, &unsent, SECONDS(1)));
    telex_message refused = unsent; /* a send that fails consumes nothing */
    refused.kind = 9;
    assert_true(telex_send(talk.channel, &refused, 0, SECONDS(1)) < 0);
    telex_close(talk.channel, SECONDS(5), NULL);
    talk.channel = NULL;
    memset(unsent.data, 'x', 100);
    telex_release(&unsent); /* also after the channel's end */
    talk_end(&talk);
}

static void expect_passing(struct talk *talk)
{
    talk_hear(talk, 'g');
    telex_message message = {0};
    unsigned order = 0, small_at = 99;
    for (; order < 3; order++) {
        assert_good(telex_receive(talk->channel, &message, SECONDS(15)));
        if (message.lane == 1)
            small_at = order;
        else
            assert_int_equal(message.length, 8000000);
    }
    assert_int_equal(small_at, 0); /* it came before the large one that was begun earlier */
    telex_release(&message);
}

static void a_lane_passes_another(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=64MiB", expect_passing);
    for (int i = 0; i < 2; i++) {
        telex_message large = telex_binary(pattern(0, 8000000), 8000000);
        assert_good(telex_send(talk.channel, &large, 0, TELEX_NOW));
    }
    telex_message small = telex_text("urgent");
    small.lane = 1;
    assert_good(telex_send(talk.channel, &small, 0, TELEX_NOW));
    talk_say(&talk, 'g');
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(15), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

static void expect_two_large(struct talk *talk)
{
    talk_hear(talk, 'g');
    telex_message message = {0};
    for (int i = 0; i < 2; i++) {
        assert_gives(telex_receive(talk->channel, &message, SECONDS(15)), 0, talk->channel);
        assert_int_equal(message.length, 10000000);
        assert_memory_equal(message.data, pattern(message.lane, 10000000), 10000000);
    }
    telex_release(&message);
}

/* Two lanes with messages that together are longer than max: their pieces must not be under way at the same time. */
static void large_messages_on_two_lanes(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=64MiB", expect_two_large);
    for (unsigned lane = 0; lane < 2; lane++) {
        telex_message large = telex_binary(pattern(lane, 10000000), 10000000);
        large.lane = (uint8_t)lane;
        assert_good(telex_send(talk.channel, &large, 0, TELEX_NOW));
    }
    talk_say(&talk, 'g');
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(15), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

/* ---- memory and counts ---- */

static void send_eight(struct talk *talk)
{
    for (unsigned i = 0; i < 8; i++)
        send_pattern(talk, i, i * 1000);
    assert_good(telex_flush(talk->channel, SECONDS(10)));
    talk_hear(talk, 'x');
}

static void *release_elsewhere(void *message)
{
    telex_release(message);
    return NULL;
}

static void several_are_held(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", send_eight);
    telex_message held[8] = {0}, copy;
    for (unsigned i = 0; i < 8; i++)
        assert_good(telex_receive(talk.channel, &held[i], SECONDS(5)));
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(held[i].length, i * 1000);
        if (i > 0)
            assert_memory_equal(held[i].data, pattern(i, i * 1000), i * 1000);
    }
    pthread_t thread;
    assert_good(pthread_create(&thread, NULL, release_elsewhere, &held[3]));
    pthread_join(thread, NULL);
    char *string = telex_string(&held[1]);
    assert_int_equal(strlen(string), 1000);
    free(string);
    talk_say(&talk, 'x');
    copy = held[7];
    telex_close(talk.channel, SECONDS(5), NULL);
    talk.channel = NULL;
    assert_memory_equal(copy.data, pattern(7, 7000), 7000); /* also after the channel's end */
    for (unsigned i = 0; i < 8; i++)
        telex_release(&held[i]);
    telex_release(NULL);
    talk_end(&talk);
}

static void take_300(struct talk *talk)
{
    for (unsigned i = 0; i < 300; i++)
        expect_pattern(talk, i, 100);
    telex_message message = {0};
    assert_gives(telex_receive(talk->channel, &message, TELEX_NOW), -EAGAIN, talk->channel); /* tells what was taken */
    assert_good(telex_flush(talk->channel, SECONDS(10)));
    talk_say(talk, 't');
    talk_hear(talk, 'x');
}

static void taken_is_counted(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_300);
    for (unsigned i = 0; i < 300; i++)
        send_pattern(&talk, i, 100);
    assert_good(telex_flush(talk.channel, SECONDS(10)));
    talk_hear_moving(&talk, 't');
    telex_counters counters = {.size = sizeof counters};
    for (int i = 0; i < 2000 && counters.taken < 300; i++) {
        assert_good(telex_process(talk.channel));
        assert_good(telex_counters_of(talk.channel, &counters));
        nap(1);
    }
    assert_int_equal(counters.sent, 300);
    assert_int_equal(counters.taken, 300);
    assert_int_equal(counters.sent_bytes, 30000);
    assert_int_equal(telex_outcome(talk.channel, 300), TELEX_TAKEN);
    assert_int_equal(telex_outcome(talk.channel, 1), TELEX_TAKEN);
    assert_int_equal(telex_outcome(talk.channel, 301), -ENOENT);
    assert_int_equal(telex_outcome(talk.channel, 0), -ENOENT);
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static void take_2000(struct talk *talk)
{
    talk_hear(talk, 'g');
    for (unsigned i = 0; i < 2000; i++)
        expect_pattern(talk, i, 10);
    talk_hear(talk, 'x');
}

static void outcomes_are_remembered(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_2000);
    for (unsigned i = 0; i < 2000; i++)
        send_pattern(&talk, i, 10);
    for (uint64_t number = 2000 - 1023; number <= 2000; number++)
        assert_int_equal(telex_outcome(talk.channel, number), TELEX_OFFERED);
    assert_int_equal(telex_outcome(talk.channel, 1), -ENOENT);
    talk_say(&talk, 'g');
    talk_say(&talk, 'x');
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"order", order, ON_MESSAGES, ANY_MEDIUM, 0},
    {"all_sizes", all_sizes, ON_MESSAGES, NO_FAULTS, 40},
    {"kinds", kinds, ON_TELEX, ANY_MEDIUM, 0},
    {"bad_text_is_refused", bad_text_is_refused, ON_MESSAGES, ANY_MEDIUM, 0},
    {"what_lines_cannot", what_lines_cannot, ON_LINES, ANY_MEDIUM, 0},
    {"raw_bytes", raw_bytes, ON_RAW, NO_FAULTS, 0},
    {"raw_bytes_in_parts", raw_bytes_in_parts, ON_RAW, NO_FAULTS, 0},
    {"fixed_length", fixed_length, ON_TELEX, ANY_MEDIUM, 0},
    {"both_ways_in_one_loop", both_ways_in_one_loop, ON_MESSAGES, ANY_MEDIUM, 60},
    {"both_ways_with_two_threads", both_ways_with_two_threads, ON_MESSAGES, ANY_MEDIUM, 60},
    {"many", many, ON_MESSAGES, ANY_MEDIUM, 0},
    {"more_is_held_back", more_is_held_back, ON_MESSAGES, ANY_MEDIUM, 0},
    {"loans", loans, ON_MESSAGES, NO_FAULTS, 0},
    {"a_lane_passes_another", a_lane_passes_another, ON_TELEX, NO_FAULTS, 40},
    {"large_messages_on_two_lanes", large_messages_on_two_lanes, ON_TELEX, NO_FAULTS, 40},
    {"several_are_held", several_are_held, ON_MESSAGES, ANY_MEDIUM, 0},
    {"taken_is_counted", taken_is_counted, ON_TELEX, ANY_MEDIUM, 0},
    {"outcomes_are_remembered", outcomes_are_remembered, ON_TELEX, NO_FAULTS, 0},
};

const struct conform_theme conform_sending = {cases, sizeof cases / sizeof *cases};
