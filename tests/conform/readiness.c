/* SPDX-License-Identifier: MIT */
/* telex_fd: readable exactly while receive would not answer -EAGAIN, or process has work that it can do now. */
#include "conform/victim.h"

#include <sys/epoll.h>

static bool readable(struct talk *talk)
{
    struct pollfd by_poll = {.fd = telex_fd(talk->channel), .events = POLLIN};
    assert_true(by_poll.fd >= 0);
    bool ready = poll(&by_poll, 1, 0) == 1;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    assert_good(epoll_ctl(epoll, EPOLL_CTL_ADD, by_poll.fd, &event));
    bool ready_by_epoll = epoll_wait(epoll, &event, 1, 0) == 1;
    close(epoll);
    if (ready_by_epoll && !ready) /* something came meanwhile */
        ready = poll(&by_poll, 1, 0) == 1;
    assert_int_equal(ready_by_epoll, ready);
    return ready;
}

/* Process until nothing is left to do; then only messages or the end may make it readable. */
static bool readable_at_rest(struct talk *talk)
{
    for (int i = 0; i < 20 && readable(talk); i++)
        telex_process(talk->channel);
    return readable(talk);
}

static bool becomes_readable(struct talk *talk)
{
    struct pollfd fd = {.fd = telex_fd(talk->channel), .events = POLLIN};
    return poll(&fd, 1, 5000) == 1;
}

static int receive_now(struct talk *talk)
{
    telex_message message = {0};
    int r = telex_receive(talk->channel, &message, TELEX_NOW);
    telex_release(&message);
    return r;
}

static void on_command(struct talk *talk)
{
    for (;;) {
        char command = 0;
        if (read(talk->in, &command, 1) != 1 || command == 'q')
            return;
        if (command >= '1' && command <= '9') {
            for (int i = 0; i < command - '0'; i++)
                send_text(talk, "message");
            assert_good(telex_flush(talk->channel, SECONDS(5)));
        } else if (command == 'r') {
            telex_message message = {0};
            while (telex_receive(talk->channel, &message, MILLISECONDS(300)) == 0)
                ;
            telex_release(&message);
        } else if (command == 'p') { /* reads, but takes nothing */
            for (telex_time until = MILLISECONDS(300); telex_now() < until; nap(1))
                assert_good(telex_process(talk->channel));
        } else if (command == 'c') {
            telex_close(talk->channel, MILLISECONDS(100), NULL);
            talk->channel = NULL;
        }
        talk_say(talk, 'd');
    }
}

static void command(struct talk *talk, char word)
{
    talk_say(talk, word);
    talk_hear(talk, 'd');
}

static void the_rule(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", on_command);
    int fd = telex_fd(talk.channel);
    assert_int_equal(telex_fd(talk.channel), fd);
    assert_false(readable_at_rest(&talk));
    assert_gives(receive_now(&talk), -EAGAIN, talk.channel);
    command(&talk, '5');
    assert_true(becomes_readable(&talk));
    for (int i = 0; i < 5; i++) { /* several were decoded at once: readable until the last is out */
        assert_true(becomes_readable(&talk));
        int r = receive_now(&talk);
        while (r == -EAGAIN && becomes_readable(&talk))
            r = receive_now(&talk);
        assert_gives(r, 0, talk.channel);
    }
    assert_gives(receive_now(&talk), -EAGAIN, talk.channel);
    assert_false(readable_at_rest(&talk));
    /* Messages that another call read while it waited for something else. */
    command(&talk, '3');
    assert_true(becomes_readable(&talk));
    for (int i = 0; i < 50; i++, nap(1))
        assert_good(telex_process(talk.channel));
    assert_true(readable(&talk));
    for (int i = 0; i < 3; i++)
        assert_gives(receive_now(&talk), 0, talk.channel);
    assert_false(readable_at_rest(&talk));
    command(&talk, 'c');
    assert_true(becomes_readable(&talk));
    for (int i = 0; receive_now(&talk) == -EAGAIN && i < 1000; i++)
        nap(1);
    assert_gives(receive_now(&talk), -EPIPE, talk.channel);
    assert_true(readable(&talk)); /* the end stays */
    talk_say(&talk, 'q');
    talk_end(&talk);
}

/* Bytes that wait for room in the medium, or for credit, are no work that can be done now. */
static void bytes_that_wait(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "buffer=4MiB", on_command);
    static char bytes[60000];
    memset(bytes, 'x', sizeof bytes);
    int r;
    do {
        telex_message message = message_of(&talk, bytes, sizeof bytes);
        r = telex_send(talk.channel, &message, 0, TELEX_NOW);
    } while (r == 0);
    assert_gives(r, -EAGAIN, talk.channel);
    assert_false(readable_at_rest(&talk));
    nap(20);
    assert_false(readable_at_rest(&talk));
    talk_say(&talk, 'r'); /* the peer takes everything: process has work, until all is gone */
    telex_counters counters = {.size = sizeof counters, .queued = 1};
    for (int i = 0; i < 5000 && counters.queued > 0; i++) {
        if (becomes_readable(&talk))
            assert_good(telex_process(talk.channel));
        assert_good(telex_counters_of(talk.channel, &counters));
    }
    assert_int_equal(counters.queued, 0);
    talk_hear(&talk, 'd');
    assert_false(readable_at_rest(&talk));
    talk_say(&talk, 'q');
    talk_end(&talk);
}

/* The peer reads and takes nothing: the bytes wait for credit, and the medium has room. */
static void bytes_that_wait_for_credit(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "window=128KiB&buffer=4MiB", on_command);
    static char bytes[60000];
    for (int i = 0; i < 20; i++) {
        telex_message message = telex_binary(bytes, sizeof bytes);
        assert_good(telex_send(talk.channel, &message, 0, TELEX_NOW));
    }
    talk_say(&talk, 'p');
    talk_hear_moving(&talk, 'd');
    telex_counters counters = {.size = sizeof counters};
    assert_good(telex_counters_of(talk.channel, &counters));
    assert_true(counters.queued > 0);
    assert_false(readable_at_rest(&talk));
    nap(20);
    assert_false(readable_at_rest(&talk));
    talk_say(&talk, 'r');
    for (int i = 0; i < 5000 && counters.queued > 0; i++) {
        if (becomes_readable(&talk))
            assert_good(telex_process(talk.channel));
        assert_good(telex_counters_of(talk.channel, &counters));
    }
    assert_int_equal(counters.queued, 0);
    talk_hear(&talk, 'd');
    talk_say(&talk, 'q');
    talk_end(&talk);
}

/* A frame that has only begun is no message: not readable once its bytes were read. */
static void partial_frames(void **state)
{
    telex_listener *listener;
    char address[512], raw[512];
    conform_address(*state, "", address, sizeof address);
    snprintf(raw, sizeof raw, "%.*s?wire=raw", (int)strcspn(address, "?"), address);
    assert_good(telex_listen(address, NULL, &listener));
    telex_channel *dialed;
    struct talk talk = {.setup = *state};
    assert_good(telex_dial(raw, NULL, SECONDS(5), &dialed));
    assert_good(telex_accept(listener, SECONDS(5), &talk.channel));
    telex_message bytes = telex_binary("half a li", 9);
    assert_good(telex_send(dialed, &bytes, 0, SECONDS(5)));
    assert_true(becomes_readable(&talk)); /* to be read */
    assert_false(readable_at_rest(&talk));
    assert_gives(receive_now(&talk), -EAGAIN, talk.channel);
    bytes = telex_binary("ne\nand", 6);
    assert_good(telex_send(dialed, &bytes, 0, SECONDS(5)));
    assert_true(becomes_readable(&talk));
    expect_text(&talk, "half a line");
    assert_false(readable_at_rest(&talk));
    telex_close(dialed, SECONDS(1), NULL);
    assert_true(becomes_readable(&talk));
    telex_message message = {0};
    assert_gives(telex_receive(talk.channel, &message, SECONDS(5)), -ECONNRESET, talk.channel); /* an unfinished line */
    telex_close(talk.channel, TELEX_NOW, NULL);
    telex_listener_close(listener);
}

static void say_bytes(telex_channel *raw, const struct bytes *bytes, size_t from, size_t to)
{
    telex_message message = telex_binary(bytes->at + from, to - from);
    assert_good(telex_send(raw, &message, 0, SECONDS(5)));
    assert_good(telex_flush(raw, SECONDS(5)));
}

/* The same of wire=telex: cut within the header, within the bytes, within the second piece, within a control frame. */
static void partial_telex_frames(void **state)
{
    static const size_t cuts[] = {1, 15, 16, 20};
    telex_listener *listener;
    char address[512], dialed[512], raw[512];
    conform_address(*state, "", address, sizeof address);
    assert_good(telex_listen(address, NULL, &listener));
    conform_dialable(address, telex_listener_address(listener), dialed, sizeof dialed);
    raw_address(dialed, raw, sizeof raw);
    telex_channel *peer;
    struct talk talk = {.setup = *state};
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    assert_good(telex_dial(raw, NULL, SECONDS(5), &peer));
    telex_message greeting = telex_binary(bytes.at, bytes.length);
    assert_good(telex_send(peer, &greeting, 0, SECONDS(5))); /* not flushed: on pipes that takes somebody who has accepted */
    assert_good(telex_accept(listener, SECONDS(5), &talk.channel));
    telex_peer facts = {.size = sizeof facts};
    assert_good(telex_peer_of(talk.channel, &facts));
    assert_memory_equal(facts.life, "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16); /* as put_greeting says */
    for (uint64_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        bytes.length = 0;
        put_message(&bytes, 0, TELEX_TEXT, i + 1, "hello");
        say_bytes(peer, &bytes, 0, cuts[i]);
        assert_true(becomes_readable(&talk)); /* to be read */
        assert_false(readable_at_rest(&talk));
        assert_gives(receive_now(&talk), -EAGAIN, talk.channel);
        assert_false(readable_at_rest(&talk));
        say_bytes(peer, &bytes, cuts[i], bytes.length);
        assert_true(becomes_readable(&talk));
        expect_text(&talk, "hello");
        assert_false(readable_at_rest(&talk));
    }
    telex_close(peer, TELEX_NOW, NULL);
    assert_true(becomes_readable(&talk));
    telex_message message = {0};
    assert_gives(telex_receive(talk.channel, &message, SECONDS(5)), -ECONNRESET, talk.channel);
    telex_close(talk.channel, TELEX_NOW, NULL);
    telex_listener_close(listener);
}

static void *send_while_polled(void *with)
{
    struct talk *talk = with;
    for (int i = 0; i < 300; i++) {
        telex_message request = telex_text("x");
        if (telex_send(talk->channel, &request, 0, SECONDS(10)) < 0)
            return "send failed";
    }
    return NULL;
}

static void echo_300(struct talk *talk)
{
    for (int i = 0; i < 300; i++) {
        expect_text(talk, "x");
        send_text(talk, "y");
    }
    assert_good(telex_flush(talk->channel, SECONDS(10))); /* what is queued moves in calls only */
    talk_hear(talk, 'q');
}

/* One thread sends, and so may read; the other one polls: no message may be left lying with the descriptor unreadable. */
static void beside_a_sending_thread(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", echo_300);
    assert_true(telex_fd(talk.channel) >= 0);
    pthread_t thread;
    assert_good(pthread_create(&thread, NULL, send_while_polled, &talk));
    for (int got = 0; got < 300;) {
        assert_true(becomes_readable(&talk));
        got += receive_now(&talk) == 0;
    }
    void *failed;
    pthread_join(thread, &failed);
    assert_null(failed);
    talk_say(&talk, 'q');
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"the_rule", the_rule, ON_MESSAGES, ANY_MEDIUM, 0},
    {"bytes_that_wait", bytes_that_wait, ON_TELEX, NO_FAULTS, 0},
    {"bytes_that_wait_for_credit", bytes_that_wait_for_credit, ON_TELEX, NO_FAULTS, 0},
    {"partial_frames", partial_frames, ON_LINES, LOCAL_ONLY | NO_FAULTS | MANY_PEERS, 0},
    {"partial_telex_frames", partial_telex_frames, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 0},
    {"beside_a_sending_thread", beside_a_sending_thread, ON_MESSAGES, ANY_MEDIUM, 0},
};

const struct conform_theme conform_readiness = {cases, sizeof cases / sizeof *cases};
