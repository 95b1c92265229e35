/* SPDX-License-Identifier: MIT */
/* Ends: in order, by death, by fork, by exit; what is lost is counted, what is left hinders nobody. */
#include "conform/conform.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void send_and_close(struct talk *talk)
{
    for (unsigned i = 0; i < 20; i++)
        send_pattern(talk, i, 1000);
    uint64_t untaken = 9;
    assert_gives(telex_close(talk->channel, SECONDS(10), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk->channel = NULL;
}

static void closed_in_order(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", send_and_close);
    nap(50);
    for (unsigned i = 0; i < 20; i++)
        expect_pattern(&talk, i, 1000);
    telex_message message = {0};
    for (int i = 0; i < 2; i++)
        assert_gives(telex_receive(talk.channel, &message, SECONDS(5)), -EPIPE, talk.channel);
    assert_true(strlen(telex_reason(talk.channel)) > 0);
    message = message_of(&talk, "x", 1);
    for (int i = 0; i < 50 && telex_send(talk.channel, &message, 0, SECONDS(5)) == 0; i++)
        nap(1); /* on lines a first send may still reach the socket of a peer that is gone */
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EPIPE, talk.channel);
    talk_end(&talk);
}

static void take_some_and_close(struct talk *talk)
{
    talk_hear(talk, 'g');
    for (unsigned i = 0; i < 3; i++)
        expect_pattern(talk, i, 10);
    telex_close(talk->channel, SECONDS(5), NULL);
    talk->channel = NULL;
}

static void send_eight(struct talk *talk)
{
    for (unsigned i = 0; i < 8; i++)
        send_pattern(talk, i, 10);
    assert_good(telex_flush(talk->channel, SECONDS(5)));
    talk_say(talk, 'g');
}

static void untaken_is_counted(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_some_and_close);
    send_eight(&talk);
    telex_message none = {0};
    assert_gives(telex_receive(talk.channel, &none, SECONDS(5)), -EPIPE, talk.channel);
    for (uint64_t number = 1; number <= 8; number++) /* and of each message, which it was */
        assert_int_equal(telex_outcome(talk.channel, number), number <= 3 ? TELEX_TAKEN : TELEX_OFFERED);
    uint64_t untaken = 0;
    assert_gives(telex_close(talk.channel, SECONDS(5), &untaken), 0, NULL); /* the peer said so in its goodbye */
    assert_int_equal(untaken, 5);
    talk.channel = NULL;
    talk_end(&talk);
}

static void take_some_and_die(struct talk *talk)
{
    talk_hear(talk, 'g');
    for (unsigned i = 0; i < 3; i++)
        expect_pattern(talk, i, 10);
    kill(getpid(), SIGKILL);
}

static void wait_killed(struct talk *talk)
{
    int status;
    assert_int_equal(waitpid(talk->peer, &status, 0), talk->peer);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    talk->peer = 0;
}

static void untaken_by_the_dead(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", take_some_and_die);
    send_eight(&talk);
    wait_killed(&talk);
    uint64_t untaken = 0;
    assert_gives(telex_close(talk.channel, SECONDS(5), &untaken), -ECONNRESET, NULL);
    assert_true(untaken >= 5 && untaken <= 8);
    talk.channel = NULL;
    talk_end(&talk);
}

static void call_and_die(struct talk *talk)
{
    for (unsigned i = 0; i < 50; i++) {
        telex_message request = telex_text("?");
        assert_gives(telex_call_start(talk->channel, &request, SECONDS(5)), 0, talk->channel);
    }
    assert_good(telex_flush(talk->channel, SECONDS(5)));
    talk_hear(talk, 'd');
    kill(getpid(), SIGKILL);
}

static int fail_number(struct talk *talk, uint64_t number)
{
    telex_message request = {.number = number, .flags = TELEX_IS_CALL};
    return telex_fail(talk->channel, &request, TELEX_FAILURE_FAILED, "nobody hears it");
}

/* In a thread of its own, for which nothing was said yet. Into shared memory it may go well: who would read it is dead. */
static void *fail_the_others(void *with)
{
    struct talk *talk = with;
    for (uint64_t number = 2; number <= 50; number++) {
        int r = fail_number(talk, number);
        if (r < 0)
            return (r == -EPIPE || r == -ECONNRESET) && telex_reason(talk->channel)[0] != '\0' ? NULL : talk;
    }
    return NULL;
}

static void failing_the_calls_of_the_dead(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", call_and_die);
    telex_message request = {0};
    for (unsigned i = 0; i < 50; i++)
        assert_gives(telex_receive(talk.channel, &request, SECONDS(10)), 0, talk.channel);
    telex_release(&request);
    talk_say(&talk, 'd');
    wait_killed(&talk);
    pthread_t thread;
    void *failed;
    fail_number(&talk, 1);
    assert_good(-pthread_create(&thread, NULL, fail_the_others, &talk));
    pthread_join(thread, &failed);
    assert_null(failed);
    talk_end(&talk);
}

static void stay(struct talk *talk)
{
    talk_hear(talk, 'x');
}

static void nobody_takes(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", stay);
    for (unsigned i = 0; i < 4; i++)
        send_pattern(&talk, i, 10);
    uint64_t untaken = 0;
    assert_gives(telex_close(talk.channel, MILLISECONDS(30), &untaken), -ETIMEDOUT, NULL);
    assert_int_equal(untaken, 4);
    talk.channel = NULL;
    talk_say(&talk, 'x');
    talk_end(&talk);
}

/* ---- death at random moments ---- */

static void chatter_until_killed(struct talk *talk)
{
    telex_message message = {0};
    for (unsigned i = 0;; i++) {
        char text[400];
        memset(text, 'x', sizeof text);
        snprintf(text, sizeof text, "%010u", i);
        text[10] = ' ';
        message = message_of(talk, text, 11 + i % 380);
        if (telex_send(talk->channel, &message, i % 7 == 0 && talk->setup->on == ON_TELEX ? TELEX_SYNC : 0,
                       SECONDS(10)) < 0)
            return;
    }
}

static void one_kill(const struct conform_setup *setup, unsigned delay_us)
{
    struct talk talk;
    talk_begin(&talk, setup, "", chatter_until_killed);
    telex_message message = {0};
    telex_time until = telex_after((int64_t)delay_us * 1000);
    unsigned count = 0;
    bool killed = false;
    int r;
    for (;;) {
        if (!killed && telex_now() >= until) {
            kill(talk.peer, SIGKILL);
            killed = true;
        }
        r = telex_receive(talk.channel, &message, SECONDS(10));
        if (r < 0)
            break;
        assert_int_equal(message.length, 11 + count % 380); /* whole, in order, no gap */
        char number[11] = "";
        memcpy(number, message.data, 10);
        assert_int_equal(atoi(number), count);
        count++;
    }
    assert_true(killed);
    assert_true(r == -ECONNRESET ||
                (setup->on == ON_LINES && r == -EPIPE)); /* between two lines death looks like an end */
    telex_release(&message);
    uint64_t untaken;
    telex_close(talk.channel, SECONDS(1), &untaken);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    wait_killed(&talk);
    talk_end(&talk);
}

/* 13 by four media by two wires: 104 in all. */
static void killed_at_random(void **state)
{
    unsigned count = is_evidence() ? 1000 : is_short() ? 3 : 13, seed = (unsigned)getpid();
    for (unsigned i = 0; i < count; i++) {
        seed = seed * 1103515245 + 12345;
        one_kill(*state, seed / 65536 % 4000);
    }
}

/* ---- exit with unread bytes ---- */

static void send_much_and_exit(struct talk *talk, bool by_close)
{
    talk_hear(talk, 'g');             /* there are unread messages in our socket now */
    for (unsigned i = 0; i < 7; i++) /* as much as fits a pipe, of which each line takes two pages: nobody reads yet */
        send_pattern(talk, i, 5000);
    if (by_close) {
        telex_close(talk->channel, SECONDS(10), NULL);
        _exit(0);
    }
    assert_good(telex_flush(talk->channel, SECONDS(10)));
    _exit(0);
}

static void flush_and_exit(struct talk *talk)
{
    send_much_and_exit(talk, false);
}

static void close_and_exit(struct talk *talk)
{
    send_much_and_exit(talk, true);
}

static void nothing_is_lost_by(void **state, conform_peer *peer)
{
    struct talk talk;
    talk_begin(&talk, *state, "", peer);
    for (unsigned i = 0; i < 10; i++)
        send_pattern(&talk, i, 3000);
    assert_good(telex_flush(talk.channel, SECONDS(10)));
    talk_say(&talk, 'g');
    if (peer == flush_and_exit) {
        int status;
        assert_int_equal(waitpid(talk.peer, &status, 0), talk.peer); /* it is gone before we read the first byte */
        assert_int_equal(status, 0);
        talk.peer = 0;
    }
    for (unsigned i = 0; i < 7; i++)
        expect_pattern(&talk, i, 5000);
    telex_message message = {0};
    int r = telex_receive(talk.channel, &message, SECONDS(10));
    assert_true(r == -EPIPE || r == -ECONNRESET);
    talk_end(&talk);
}

static void flush_before_exit(void **state)
{
    nothing_is_lost_by(state, flush_and_exit);
}

static void close_before_exit(void **state)
{
    nothing_is_lost_by(state, close_and_exit);
}

static void receive_with_pauses(struct talk *talk)
{
    talk_hear(talk, 'g');
    for (unsigned i = 0; i < 100; i++) {
        expect_pattern(talk, i, 60000);
        if (i % 10 == 0)
            nap(20);
    }
}

/* flush waits until the other host has everything, not only until telex has written it. */
static void flush_waits_for_the_other_host(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "window=16MiB&buffer=16MiB", receive_with_pauses);
    for (unsigned i = 0; i < 100; i++)
        send_pattern(&talk, i, 60000);
    talk_say(&talk, 'g');
    assert_gives(telex_flush(talk.channel, SECONDS(15)), 0, talk.channel);
    assert_int_equal(unsent_here(), 0);
    talk_end(&talk);
}

/* ---- SIGPIPE, fork ---- */

static void die_at_once(struct talk *talk)
{
    (void)talk;
    kill(getpid(), SIGKILL);
}

static void no_sigpipe(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", die_at_once);
    signal(SIGPIPE, SIG_DFL);
    wait_killed(&talk);
    int r = 0;
    for (int i = 0; i < 1000 && r == 0; i++) {
        telex_message message = message_of(&talk, "x", 1);
        r = telex_send(talk.channel, &message, 0, SECONDS(5));
        nap(1);
    }
    assert_true(r == -ECONNRESET || r == -EPIPE);
    telex_close(talk.channel, SECONDS(1), NULL);
    talk.channel = NULL;
    talk_end(&talk);
}

struct inherited {
    telex_channel *channel;
    telex_listener *listener;
    telex_server *server;
};

static void in_the_child(void *with)
{
    struct inherited *inherited = with;
    telex_channel *channel = inherited->channel, *accepted;
    telex_message message = telex_text("x"), reply = {0};
    assert_int_equal(telex_send(channel, &message, 0, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_receive(channel, &reply, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_call(channel, &message, &reply, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_loan(channel, 1, &reply, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_flush(channel, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_process(channel), -ECHILD);
    assert_int_equal(telex_fd(channel), -ECHILD);
    assert_int_equal(telex_outcome(channel, 1), -ECHILD);
    assert_int_equal(telex_interrupt(channel), -ECHILD);
    assert_int_equal(telex_send_many(channel, &message, 1, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_receive_many(channel, &reply, 1, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_call_start(channel, &message, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_call_finish(channel, 0, &reply, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_call_cancel(channel, 1), -ECHILD);
    assert_int_equal(telex_reply(channel, &message, &reply, 0, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_fail(channel, &message, TELEX_FAILURE_FAILED, NULL), -ECHILD);
    assert_int_equal(telex_cancelled(channel, &message), -ECHILD);
    assert_int_equal(telex_peer_of(channel, &(telex_peer){.size = sizeof(telex_peer)}), -ECHILD);
    assert_int_equal(telex_counters_of(channel, &(telex_counters){.size = sizeof(telex_counters)}), -ECHILD);
    assert_int_equal(telex_max(channel), -ECHILD);
    assert_int_equal(telex_loan(channel, 1, &reply, SECONDS(1)), -ECHILD);
    assert_true(strstr(telex_reason(NULL), "fork") != NULL);
    assert_int_equal(telex_accept(inherited->listener, SECONDS(1), &accepted), -ECHILD);
    assert_int_equal(telex_listener_fd(inherited->listener), -ECHILD);
    assert_int_equal(telex_listener_interrupt(inherited->listener), -ECHILD);
    telex_listener_close(inherited->listener); /* frees the handle, and nothing of the parent's */
    assert_int_equal(telex_server_listen(inherited->server, "tcp://127.0.0.1:0", NULL, NULL), -ECHILD);
    assert_int_equal(telex_server_run(inherited->server), -ECHILD);
    assert_int_equal(telex_server_process(inherited->server), -ECHILD);
    assert_int_equal(telex_server_fd(inherited->server), -ECHILD);
    assert_int_equal(telex_server_close(inherited->server, SECONDS(1)), -ECHILD);
    assert_int_equal(telex_close(channel, SECONDS(1), NULL), -ECHILD);
    _exit(0); /* not through exit(): what lies behind a foreign handle is not given back (telex_channel_free), and would count as leaked */
}

static int count_listing(const telex_listing *listing, void *count)
{
    assert_true(listing->pid > 0 && listing->since > 0 && listing->program[0] != '\0');
    ++*(int *)count;
    return 0;
}

static int listed(void)
{
    int count = 0;
    assert_good(telex_list(count_listing, &count));
    return count;
}

static int count_own(const telex_listing *listing, void *count)
{
    *(int *)count += listing->pid == getpid();
    return 0;
}

static int listed_here(void)
{
    int count = 0;
    assert_good(telex_list(count_own, &count));
    return count;
}

static void echo_two(struct talk *talk)
{
    expect_text(talk, "from the parent");
    send_text(talk, "heard");
}

static void forked_handles_are_foreign(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", echo_two);
    char address[512], dialed[512];
    struct conform_setup elsewhere = *(const struct conform_setup *)*state;
    struct conform_medium medium = *elsewhere.medium;
    if (medium.local)
        medium.address = medium.faulty ? "fault+unix://%s/second" : "unix://%s/second";
    elsewhere.medium = &medium;
    conform_address(&elsewhere, "", address, sizeof address);
    struct inherited inherited = {.channel = talk.channel};
    const telex_handlers handlers = {.size = sizeof handlers};
    assert_good(telex_listen(address, NULL, &inherited.listener));
    assert_good(telex_server_new(&handlers, NULL, NULL, &inherited.server));
    assert_int_equal(listed_here(), 1);
    pid_t child = testing_fork(in_the_child, &inherited);
    testing_wait(child);
    assert_int_equal(listed_here(), 1); /* nor did the child's close take it out of the list */
    send_text(&talk, "from the parent"); /* which works on */
    expect_text(&talk, "heard");
    conform_dialable(address, telex_listener_address(inherited.listener), dialed, sizeof dialed);
    strcpy(strstr(dialed, "wire="),
           "wire=raw"); /* its path is still there, and dialing it wakes the parent's listener */
    telex_channel *channel;
    assert_good(telex_dial(dialed, NULL, SECONDS(5), &channel));
    struct pollfd ready = {.fd = telex_listener_fd(inherited.listener), .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 5000), 1);
    telex_close(channel, TELEX_NOW, NULL);
    telex_listener_close(inherited.listener);
    assert_good(telex_server_close(inherited.server, SECONDS(1)));
    talk_end(&talk);
}

struct last_words {
    pid_t child;
    telex_time died;
};

/* The child lives on, and holds what it was not kept from holding. It does nothing but what a signal handler may do: after _Fork() no more is allowed. */
static void leave_a_child(struct talk *talk, pid_t child)
{
    if (child == 0) { /* not a testing_fork: it must outlive its parent */
        nap(15000);
        _exit(0);
    }
    setpgid(child, child);
    nap(30);
    struct last_words words = {child, telex_now()};
    assert_int_equal(write(talk->out, &words, sizeof words), sizeof words);
    kill(getpid(), SIGKILL);
}

static void fork_and_die(struct talk *talk)
{
    leave_a_child(talk, fork());
}

/* ns from the death of the peer until this side was told, while a child of the dead lives. */
static telex_time told_after(void **state, conform_peer *peer)
{
    struct talk talk;
    talk_begin(&talk, *state, "", peer);
    struct last_words words;
    telex_message message = {0};
    int r = telex_receive(talk.channel, &message, SECONDS(10));
    telex_time told = telex_now();
    if (r == -ETIMEDOUT)
        fprintf(stderr, "not told of the death, while a child lives\n");
    assert_true(r == -ECONNRESET || (talk.setup->on != ON_TELEX && r == -EPIPE));
    assert_int_equal(read(talk.in, &words, sizeof words), sizeof words);
    assert_good(kill(words.child, 0)); /* it is still there */
    kill(words.child, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ; /* the case adopts orphans */
    talk.peer = 0;
    talk_end(&talk);
    return told - words.died;
}

/* A machine that is busy may be late once, or twice; what only looks now and then is late each time. */
static void is_told_at_once(void **state, conform_peer *peer)
{
    enum { TRIES = 10, MOST = 100000000 };
    telex_time best = INT64_MAX;
    for (unsigned i = 0; i < TRIES && best > MOST; i++) {
        telex_time after = told_after(state, peer);
        best = after < best ? after : best;
    }
    assert_true(best <= MOST);
}

static void a_child_does_not_keep_its_dead_parent_alive(void **state)
{
    is_told_at_once(state, fork_and_die);
}

/* A child by a bare clone: no handler of telex runs in it, and it holds every descriptor of its parent. */
static void clone_and_die(struct talk *talk)
{
    long child = syscall(SYS_clone, 0UL, 0UL, 0UL, 0UL, 0UL);
    if (child == 0)
        for (;;)
            syscall(SYS_pause);
    pid_t number = (pid_t)child;
    assert_int_equal(write(talk->out, &number, sizeof number), sizeof number);
    nap(30);
    kill(getpid(), SIGKILL);
}

struct dialer {
    struct talk talk;
    const char *address;
};

static void dial_clone_and_die(void *with)
{
    struct dialer *dialer = with;
    assert_good(telex_dial(dialer->address, NULL, SECONDS(10), &dialer->talk.channel));
    clone_and_die(&dialer->talk);
}

static void told_though_a_clone_lives(telex_channel *channel, int in)
{
    pid_t clone;
    assert_int_equal(read(in, &clone, sizeof clone), sizeof clone);
    telex_message message = {0};
    assert_gives(telex_receive(channel, &message, SECONDS(10)), -ECONNRESET, channel);
    assert_good(kill(clone, 0));
    kill(clone, SIGKILL);
}

/* The dead one dialed, or listened. */
static void nor_does_a_clone(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", clone_and_die);
    told_though_a_clone_lives(talk.channel, talk.in);
    while (waitpid(-1, NULL, __WALL) > 0)
        ;
    talk.peer = 0;
    talk_end(&talk);

    char address[512], dialed[512];
    int in[2];
    assert_good(pipe2(in, O_CLOEXEC));
    conform_address(*state, "", address, sizeof address);
    telex_listener *listener;
    int r = -EADDRINUSE; /* until the clone, which has the listening end, too, is gone */
    for (int i = 0; i < 100 && r == -EADDRINUSE; i++, nap(i > 1 ? 20 : 0))
        r = telex_listen(address, NULL, &listener);
    assert_good(r);
    conform_dialable(address, telex_listener_address(listener), dialed, sizeof dialed);
    struct dialer dialer = {.talk = {.out = in[1]}, .address = dialed};
    pid_t child = testing_fork(dial_clone_and_die, &dialer);
    assert_good(telex_accept(listener, SECONDS(10), &talk.channel));
    told_though_a_clone_lives(talk.channel, in[0]);
    telex_close(talk.channel, SECONDS(1), NULL);
    telex_listener_close(listener);
    assert_true(child > 0);
    while (waitpid(-1, NULL, __WALL) > 0)
        ;
    close(in[0]);
    close(in[1]);
}

/* Who waits without a sleep, or only comes by now and then, is told, too. */
static void a_clone_does_not_fool_who_never_sleeps(void **state)
{
    static const char *const ways[] = {"wait=spin", "wait=spin", "wait=block"};
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct talk talk;
        pid_t clone;
        talk_begin(&talk, *state, ways[i], clone_and_die);
        assert_int_equal(read(talk.in, &clone, sizeof clone), sizeof clone);
        telex_message message = {0};
        telex_time end = SECONDS(10);
        int r = -EAGAIN;
        if (i == 0) {
            r = telex_receive(talk.channel, &message, end);
        } else {
            for (; r == -EAGAIN && telex_now() < end; nap(2))
                r = telex_receive(talk.channel, &message, TELEX_NOW);
        }
        assert_gives(r, -ECONNRESET, talk.channel);
        assert_good(kill(clone, 0));
        kill(clone, SIGKILL);
        while (waitpid(-1, NULL, __WALL) > 0)
            ;
        talk.peer = 0;
        talk_end(&talk);
    }
}

/* ---- names ---- */

static void listen_and_die(void *address)
{
    telex_listener *listener;
    assert_good(telex_listen(address, NULL, &listener));
    kill(getpid(), SIGKILL);
}

static void names_of_the_dead(void **state)
{
    const struct conform_setup *setup = *state;
    char address[512];
    conform_address(setup, "", address, sizeof address);
    telex_listener *listener, *second;
    assert_int_equal(listed(), 0);
    pid_t child = testing_fork(listen_and_die, address);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(listed(), 0);                       /* the killed one is not listed */
    assert_good(telex_listen(address, NULL, &listener)); /* its name is free */
    const int dialable = !setup->medium->threads; /* by other processes: what others cannot dial is not listed */
    assert_int_equal(listed(), dialable);
    if (setup->medium->local) {
        assert_gives(telex_listen(address, NULL, &second), -EADDRINUSE, NULL);
        assert_int_equal(listed(), dialable);
    }
    telex_listener_close(listener);
    assert_int_equal(listed(), 0);
    assert_good(telex_listen(address, NULL, &listener));
    telex_listener_close(listener);
    telex_channel *channel;
    char dialed[512];
    conform_dialable(address, strncmp(setup->medium->address, "tcp:", 4) == 0 ? "tcp://127.0.0.1:1" : address, dialed,
                     sizeof dialed);
    *strchr(dialed, '?') = '\0';
    if (!setup->medium->faulty) {
        int r = telex_dial(dialed, NULL, SECONDS(5), &channel);
        assert_true(r == -ECONNREFUSED || r == -ENOENT);
    }
}

static const struct conform_case cases[] = {
    {"closed_in_order", closed_in_order, ON_MESSAGES, ANY_MEDIUM, 0},
    {"untaken_is_counted", untaken_is_counted, ON_TELEX, ANY_MEDIUM, 0},
    {"untaken_by_the_dead", untaken_by_the_dead, ON_TELEX, PROCESSES, 0},
    {"failing_the_calls_of_the_dead", failing_the_calls_of_the_dead, ON_TELEX, PROCESSES, 0},
    {"nobody_takes", nobody_takes, ON_TELEX, ANY_MEDIUM, 0},
    {"killed_at_random", killed_at_random, ON_MESSAGES, NO_FAULTS | PROCESSES, 600},
    {"flush_waits_for_the_other_host", flush_waits_for_the_other_host, ON_MESSAGES, NO_FAULTS, 0},
    {"flush_before_exit", flush_before_exit, ON_MESSAGES, NO_FAULTS | PROCESSES, 0},
    {"close_before_exit", close_before_exit, ON_MESSAGES, NO_FAULTS | PROCESSES, 0},
    {"no_sigpipe", no_sigpipe, ON_ALL, PROCESSES, 0},
    {"forked_handles_are_foreign", forked_handles_are_foreign, ON_MESSAGES, PROCESSES | MANY_PEERS, 0},
    {"a_child_does_not_keep_its_dead_parent_alive", a_child_does_not_keep_its_dead_parent_alive, ON_ALL, NO_FAULTS | PROCESSES, 0},
    {"nor_does_a_clone", nor_does_a_clone, ON_TELEX, LOCAL_ONLY | NO_FAULTS | PROCESSES | MANY_PEERS, 0},
    {"a_clone_does_not_fool_who_never_sleeps", a_clone_does_not_fool_who_never_sleeps, ON_TELEX, LOCAL_ONLY | NO_FAULTS | PROCESSES | MANY_PEERS, 0},
    {"names_of_the_dead", names_of_the_dead, ON_TELEX, MANY_PEERS, 0},
};

const struct conform_theme conform_ending = {cases, sizeof cases / sizeof *cases};
