/* SPDX-License-Identifier: MIT */
/* How two processes find each other: dialing, greeting, agreeing, accepting; and those who come but do not greet. */
#include "conform/victim.h"

#include <sys/time.h>

/* ---- the silent ---- */

static telex_channel *silent[128];
static int silent_count;

/* Connects and says nothing: wire=raw sends no greeting. */
static void connect_silently(const char *address)
{
    char raw[600];
    raw_address(address, raw, sizeof raw);
    assert_good(telex_dial(raw, NULL, SECONDS(5), &silent[silent_count]));
    silent_count++;
}

static void close_silent(void)
{
    while (silent_count > 0)
        telex_close(silent[--silent_count], TELEX_NOW, NULL);
}

static void the_silent_delay_nobody(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "greeting=60s");
    for (int i = 0; i < 100; i++)
        connect_silently(victim.address);
    telex_channel *channel;
    assert_good(telex_dial(victim.address, NULL, SECONDS(10), &channel));
    telex_message request = telex_text("through"), reply = {0};
    assert_gives(telex_call(channel, &request, &reply, SECONDS(10)), 0, channel);
    telex_release(&reply);
    telex_close(channel, SECONDS(5), NULL);
    victim_close(&victim);
    close_silent();
}

static void the_silent_are_thrown_out(void **state)
{
    const struct conform_setup *setup = *state;
    char address[512];
    conform_address(setup, "greeting=50ms&pending=2", address, sizeof address);
    telex_listener *listener;
    assert_good(telex_listen(address, NULL, &listener));
    char dialed[512];
    conform_dialable(address, telex_listener_address(listener), dialed, sizeof dialed);
    for (int i = 0; i < 6; i++)
        connect_silently(dialed);
    telex_channel *channel;
    telex_message message = {0};
    for (int i = 0; i < 6; i++) { /* six of them, two at a time: each is hung up on while the listener works */
        int r = -EAGAIN;
        for (int tries = 0; tries < 200 && r == -EAGAIN; tries++) {
            assert_gives(telex_accept(listener, MILLISECONDS(25), &channel), -ETIMEDOUT, NULL);
            r = telex_receive(silent[i], &message, TELEX_NOW);
        }
        assert_true(r == -EPIPE || r == -ECONNRESET);
    }
    telex_listener_close(listener);
    close_silent();
}

/* As a port scanner does, or a client that dies at once. */
static void they_hang_up_before_they_greet(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    for (size_t i = 0; i < 20; i++) {
        bytes.length = i % 2 == 0 ? 0 : i * 3;
        if (bytes.length == 0)
            connect_silently(victim.address);
        else
            telex_close(shout(&victim, &bytes), TELEX_NOW, NULL);
        close_silent();
    }
    victim_close(&victim);
}

/* ---- dialing in vain ---- */

static void on_alarm(int number)
{
    (void)number;
}

/* The kernel connects, but nobody greets. */
static void nobody_greets(void **state)
{
    struct conform_setup mute = *(const struct conform_setup *)*state;
    char address[512], dialed[512], telex[600];
    mute.wire = "raw";
    conform_address(&mute, "", address, sizeof address);
    telex_listener *listener;
    telex_channel *channel = NULL;
    assert_good(telex_listen(address, NULL, &listener));
    conform_dialable(address, telex_listener_address(listener), dialed, sizeof dialed);
    char *wire = strstr(dialed, "wire=raw");
    snprintf(telex, sizeof telex, "%.*swire=telex%s", (int)(wire - dialed), dialed, wire + strlen("wire=raw"));
    assert_gives(telex_dial(telex, NULL, TELEX_NOW, &channel), -EAGAIN, NULL);
    assert_gives(telex_dial(telex, NULL, 1, &channel), -ETIMEDOUT, NULL);
    telex_time deadline = MILLISECONDS(30);
    assert_gives(telex_dial(telex, NULL, deadline, &channel), -ETIMEDOUT, NULL);
    assert_true(telex_now() >= deadline);
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval timer = {{.tv_usec = 20000}, {.tv_usec = 20000}}, none = {.it_value = {0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    assert_gives(telex_dial(telex, NULL, SECONDS(15), &channel), -EINTR, NULL);
    setitimer(ITIMER_REAL, &none, NULL);
    assert_null(channel);
    telex_listener_close(listener);
}

/* Its port has somebody in it, whom it never accepts. */
static void die_at_the_first_peer(void *with)
{
    const struct talk *talk = with;
    telex_listener *listener;
    char address[512], dialed[512];
    conform_address(talk->setup, "", address, sizeof address);
    assert_good(telex_listen(address, NULL, &listener));
    conform_dialable(address, telex_listener_address(listener), dialed, sizeof dialed);
    assert_int_equal(write(talk->out, dialed, sizeof dialed), sizeof dialed);
    struct pollfd peer = {.fd = telex_listener_fd(listener), .events = POLLIN};
    poll(&peer, 1, 10000);
    nap(20); /* so that the other one sleeps, mostly */
    kill(getpid(), SIGKILL);
}

static void the_listener_dies_before_it_accepts(void **state)
{
    int fds[2];
    assert_good(pipe(fds));
    struct talk talk = {.setup = *state, .out = fds[1]};
    pid_t child = testing_fork(die_at_the_first_peer, &talk);
    assert_int_equal(read(fds[0], talk.address, sizeof talk.address), sizeof talk.address);
    telex_channel *channel;
    telex_message message = {0};
    int r = telex_dial(talk.address, NULL, TELEX_NEVER, &channel);
    if (r == 0) { /* no greeting on this wire */
        r = telex_receive(channel, &message, TELEX_NEVER);
        assert_true(r == -ECONNRESET || r == -EPIPE);
        telex_close(channel, SECONDS(1), NULL);
    } else {
        assert_gives(r, -ECONNRESET, NULL);
    }
    waitpid(child, NULL, 0);
    close(fds[0]);
    close(fds[1]);
}

struct stranger {
    const struct conform_setup *setup;
    const char *words; /* said instead of a greeting; then it hangs up */
    int out;
};

static void be_a_stranger(void *with)
{
    const struct stranger *stranger = with;
    struct conform_setup raw = *stranger->setup;
    char address[512], dialed[512];
    raw.wire = "raw";
    conform_address(&raw, "", address, sizeof address);
    telex_listener *listener;
    telex_channel *channel;
    assert_good(telex_listen(address, NULL, &listener));
    conform_dialable(address, telex_listener_address(listener), dialed, sizeof dialed);
    assert_int_equal(write(stranger->out, dialed, sizeof dialed), sizeof dialed);
    assert_good(telex_accept(listener, SECONDS(10), &channel));
    telex_message words = telex_text(stranger->words);
    if (words.length > 0)
        telex_send(channel, &words, 0, SECONDS(5));
    telex_close(channel, SECONDS(2), NULL);
    telex_listener_close(listener);
}

static void strangers(void **state)
{
    static const struct {
        const char *words;
        int expected;
    } each[] = {{"HTTP/1.1 400 Bad Request\r\n\r\n", -EPROTO}, {"telex\r\n", -ECONNRESET}, {"", -ECONNRESET}};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        int fds[2];
        char dialed[512], telex[600];
        assert_good(pipe(fds));
        struct stranger stranger = {*state, each[i].words, fds[1]};
        pid_t child = testing_fork(be_a_stranger, &stranger);
        assert_int_equal(read(fds[0], dialed, sizeof dialed), sizeof dialed);
        char *wire = strstr(dialed, "wire=raw");
        snprintf(telex, sizeof telex, "%.*swire=telex%s", (int)(wire - dialed), dialed, wire + strlen("wire=raw"));
        telex_channel *channel = NULL;
        assert_gives(telex_dial(telex, NULL, SECONDS(10), &channel), each[i].expected, NULL);
        assert_true(strlen(telex_reason(NULL)) > 0);
        assert_null(channel);
        testing_wait(child);
        close(fds[0]);
        close(fds[1]);
    }
}

/* ---- agreeing ---- */

static void take_what_comes(struct talk *talk)
{
    telex_message message = {0};
    while (telex_receive(talk->channel, &message, SECONDS(10)) == 0)
        ;
    telex_release(&message);
}

struct sizes {
    const char *theirs, *ours;
    int64_t max;      /* agreed; 0: refused */
    uint64_t fixed;   /* agreed; 0: variable */
    const char *part; /* of the refusal */
};

struct agreeing {
    struct talk talk;
    const struct sizes *sizes;
    int out;
};

static void listen_for_one(void *with)
{
    struct agreeing *agreeing = with;
    char address[512], dialed[512];
    conform_address(agreeing->talk.setup, agreeing->sizes->theirs, address, sizeof address);
    telex_listener *listener;
    assert_good(telex_listen(address, NULL, &listener));
    conform_dialable(address, telex_listener_address(listener), dialed, sizeof dialed);
    assert_int_equal(write(agreeing->out, dialed, sizeof dialed), sizeof dialed);
    int r =
        telex_accept(listener, agreeing->sizes->max != 0 ? SECONDS(10) : MILLISECONDS(100), &agreeing->talk.channel);
    assert_gives(r, agreeing->sizes->max != 0 ? 0 : -ETIMEDOUT, NULL);
    if (r == 0) {
        assert_int_equal(telex_max(agreeing->talk.channel), agreeing->sizes->max);
        take_what_comes(&agreeing->talk);
        telex_close(agreeing->talk.channel, SECONDS(5), NULL);
    }
    telex_listener_close(listener);
}

static void keeps_to(telex_channel *channel, const struct sizes *sizes)
{
    assert_int_equal(telex_max(channel), sizes->max);
    static char bytes[10000];
    size_t fits = sizes->fixed != 0 ? sizes->fixed : (size_t)sizes->max;
    telex_message message = telex_binary(bytes, fits + 1);
    assert_gives(telex_send(channel, &message, 0, SECONDS(5)), -EMSGSIZE, channel);
    message.length = fits - 1;
    assert_gives(telex_send(channel, &message, 0, SECONDS(5)), sizes->fixed != 0 ? -EMSGSIZE : 0, channel);
    message.length = fits;
    assert_gives(telex_send(channel, &message, 0, SECONDS(5)), 0, channel);
    assert_gives(telex_close(channel, SECONDS(5), NULL), 0, NULL);
}

static void sizes_are_agreed(void **state)
{
    static const struct sizes each[] = {
        {"max=5000", "max=9000", 5000, 0, NULL},
        {"max=5000", "max=800", 800, 0, NULL},
        {"max=5000", "max=5000&size=32", 5000, 32, NULL},
        {"size=32", "max=5000", 5000, 32, NULL},
        {"size=32", "size=40", 0, 0, "40"},
        {"size=6000", "max=5000", 0, 0, "6000"},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        int fds[2];
        char dialed[512], ours[600];
        assert_good(pipe(fds));
        struct agreeing agreeing = {.talk = {.setup = *state}, .sizes = &each[i], .out = fds[1]};
        pid_t child = testing_fork(listen_for_one, &agreeing);
        assert_int_equal(read(fds[0], dialed, sizeof dialed), sizeof dialed);
        char *theirs = strstr(dialed, each[i].theirs);
        snprintf(ours, sizeof ours, "%.*s%s", (int)(theirs - dialed), dialed, each[i].ours);
        telex_channel *channel;
        int r = telex_dial(ours, NULL, SECONDS(10), &channel);
        assert_gives(r, each[i].max != 0 ? 0 : -ECONNREFUSED, NULL);
        if (r == 0)
            keeps_to(channel, &each[i]);
        else
            because(NULL, each[i].part);
        testing_wait(child);
        close(fds[0]);
        close(fds[1]);
    }
}

/* ---- accepting ---- */

static void *interrupt_listener(void *listener)
{
    nap(40);
    telex_listener_interrupt(listener);
    return NULL;
}

static void accepting_is_interrupted(void **state)
{
    char address[512];
    conform_address(*state, "", address, sizeof address);
    telex_listener *listener;
    telex_channel *channel;
    assert_good(telex_listen(address, NULL, &listener));
    pthread_t thread;
    assert_good(pthread_create(&thread, NULL, interrupt_listener, listener));
    assert_gives(telex_accept(listener, SECONDS(10), &channel), -EINTR, NULL);
    pthread_join(thread, NULL);
    telex_listener_interrupt(listener); /* sticky */
    assert_gives(telex_accept(listener, SECONDS(10), &channel), -EINTR, NULL);
    assert_gives(telex_accept(listener, MILLISECONDS(10), &channel), -ETIMEDOUT, NULL);
    assert_true(telex_listener_fd(listener) >= 0);
    telex_listener_close(listener);
}

/* A signal ends it, too. It is repeated: a single one may come just before the sleep. */
static void a_signal_ends_accepting(void **state)
{
    char address[512];
    conform_address(*state, "", address, sizeof address);
    telex_listener *listener;
    telex_channel *channel = NULL;
    assert_good(telex_listen(address, NULL, &listener));
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval timer = {{.tv_usec = 20000}, {.tv_usec = 20000}}, none = {.it_value = {0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    assert_gives(telex_accept(listener, SECONDS(15), &channel), -EINTR, NULL);
    setitimer(ITIMER_REAL, &none, NULL);
    assert_null(channel);
    telex_listener_close(listener);
}

static void know_the_dialer(struct talk *talk)
{
    telex_peer peer = {.size = sizeof peer};
    assert_good(telex_peer_of(talk->channel, &peer));
    if (talk->setup->medium->local) {
        assert_int_equal(peer.pid, getppid());
        assert_int_equal(peer.uid, getuid());
        assert_int_equal(peer.gid, getgid());
    } else {
        assert_int_equal(peer.uid, -1);
        assert_true(talk->setup->medium->pair != NO_PAIR || strstr(peer.address, ":") != NULL);
    }
    if (talk->setup->on == ON_TELEX) {
        static const unsigned char none[16];
        assert_string_equal(peer.program, "conform");
        assert_true(memcmp(peer.life, none, sizeof none) != 0);
    }
    send_text(talk, "known");
}

static void peers_are_known(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", know_the_dialer);
    expect_text(&talk, "known");
    telex_set_user(talk.channel, &talk);
    assert_ptr_equal(telex_user(talk.channel), &talk);
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"they_hang_up_before_they_greet", they_hang_up_before_they_greet, ON_TELEX, BYTE_STREAMS | MANY_PEERS, 0},
    {"nobody_greets", nobody_greets, ON_TELEX, BYTE_STREAMS | MANY_PEERS, 0},
    {"the_listener_dies_before_it_accepts", the_listener_dies_before_it_accepts, ON_ALL, PROCESSES | MANY_PEERS, 0},
    {"strangers", strangers, ON_TELEX, BYTE_STREAMS | MANY_PEERS, 0},
    {"sizes_are_agreed", sizes_are_agreed, ON_TELEX, PROCESSES | MANY_PEERS, 0},
    {"the_silent_delay_nobody", the_silent_delay_nobody, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 0},
    {"the_silent_are_thrown_out", the_silent_are_thrown_out, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 0},
    {"accepting_is_interrupted", accepting_is_interrupted, ON_TELEX, NO_FAULTS | MANY_PEERS, 0},
    {"a_signal_ends_accepting", a_signal_ends_accepting, ON_TELEX, NO_FAULTS | MANY_PEERS, 0},
    {"peers_are_known", peers_are_known, ON_MESSAGES, PROCESSES, 0},
};

const struct conform_theme conform_meeting = {cases, sizeof cases / sizeof *cases};
