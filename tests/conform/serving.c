/* SPDX-License-Identifier: MIT */
/* Servers: many peers, limits, handlers, foreign loops, stopping. The server is the child process, the case its clients. */
#include "conform/hall.h"

/*
 * The server refuses whoever dials, and says why. Its goodbye comes in one write with its greeting, so dial knows; where the medium cuts
 * between the two (faults), the first call does.
 */
static void turned_away(const struct conform_setup *setup, struct hall *hall, int address, const char *why)
{
    telex_channel *channel = NULL;
    int r = telex_dial(hall->addresses[address], NULL, SECONDS(10), &channel);
    if (r == 0 && setup->medium->faulty) {
        telex_message message = {0};
        assert_gives(telex_receive(channel, &message, SECONDS(10)), -EPIPE, channel);
    } else {
        assert_gives(r, -ECONNREFUSED, channel);
    }
    because(channel, why);
    telex_close(channel, SECONDS(1), NULL);
}

/* ---- handlers ---- */

static int say_open(telex_server *server, telex_channel *channel, void *user)
{
    (void)server, (void)channel, (void)user;
    say('o');
    return 0;
}

static void say_message(telex_server *server, telex_channel *channel, telex_message *message, void *user)
{
    (void)server, (void)channel, (void)user;
    say(message->length > 0 ? *(char *)message->data : '0');
}

static void say_close(telex_server *server, telex_channel *channel, int why, void *user)
{
    (void)server, (void)channel, (void)user;
    say(why == -EPIPE        ? 'p'
        : why == -ECONNRESET ? 'r'
        : why == -EPROTO     ? 'b'
        : why == -ESHUTDOWN  ? 's'
        : why == -ECANCELED  ? 'd'
                             : '?');
}

/* ---- cases ---- */

static void several_addresses_at_once_by(void **state, bool foreign_loop)
{
    struct hall hall;
    hall_open(&hall,
              (struct hall_side){.setup = *state, .handlers = {.call = echo_call}, .foreign_loop = foreign_loop});
    telex_channel *channels[20];
    for (int i = 0; i < 20; i++)
        channels[i] = enter(&hall, i % 2);
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < 20; i++)
            echoes(channels[i], i % 3 ? "hello" : "a somewhat longer request than the others have");
    for (int i = 0; i < 20; i++)
        assert_gives(telex_close(channels[i], SECONDS(5), NULL), 0, NULL);
    hall_close(&hall);
}

static void several_addresses_at_once(void **state)
{
    several_addresses_at_once_by(state, false);
}

static void in_a_foreign_loop(void **state)
{
    several_addresses_at_once_by(state, true);
}

static void handlers_are_told(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state,
                                        .handlers = {.open = say_open, .message = say_message, .close = say_close}});
    telex_channel *channel = enter(&hall, 0);
    said(&hall, 'o');
    telex_message message = telex_text("A"), reply = {0};
    assert_good(telex_send(channel, &message, 0, SECONDS(5)));
    assert_good(telex_flush(channel, SECONDS(5)));
    said(&hall, 'A');
    message = telex_text("B");
    assert_gives(telex_send(channel, &message, TELEX_SYNC, SECONDS(5)), 0, channel);
    said(&hall, 'B');
    assert_gives(telex_call(channel, &message, &reply, SECONDS(5)), -ENOSYS, channel); /* nobody answers calls here */
    assert_good(telex_close(channel, SECONDS(5), NULL));
    said(&hall, 'p');
    channel = enter(&hall, 1);
    said(&hall, 'o');
    hall_stop(&hall); /* it sees a client that is still there, and tells it */
    said(&hall, 's');
    assert_gives(telex_receive(channel, &reply, SECONDS(5)), -EPIPE, channel);
    telex_close(channel, SECONDS(1), NULL);
    hall_close(&hall);
}

static void full_house(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.call = echo_call}, .limits = {.channels = 3}});
    telex_channel *channels[3];
    for (int i = 0; i < 3; i++) {
        channels[i] = enter(&hall, i % 2);
        echoes(channels[i], "in");
    }
    for (int i = 0; i < 5; i++)
        turned_away(*state, &hall, i % 2, "full");
    for (int i = 0; i < 3; i++)
        echoes(channels[i], "still served");
    assert_good(telex_close(channels[0], SECONDS(5), NULL));
    int r = -1;
    for (int tries = 0; tries < 1000 && r != 0; tries++, nap(1))
        r = telex_dial(hall.addresses[0], NULL, SECONDS(10), &channels[0]);
    assert_int_equal(r, 0); /* there is room again */
    for (int i = 0; i < 3; i++)
        telex_close(channels[i], SECONDS(5), NULL);
    hall_close(&hall);
}

static void each_user_has_a_share(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.call = echo_call}, .limits = {.per_user = 2}});
    telex_channel *channels[2], *more;
    for (int i = 0; i < 2; i++)
        channels[i] = enter(&hall, 0);
    turned_away(*state, &hall, 0, "for user");
    assert_good(telex_dial(hall.addresses[1], NULL, SECONDS(10), &more)); /* tcp does not know its users */
    telex_close(more, SECONDS(5), NULL);
    for (int i = 0; i < 2; i++)
        telex_close(channels[i], SECONDS(5), NULL);
    hall_close(&hall);
}

static int refuse_all(telex_server *server, telex_channel *channel, void *user)
{
    (void)server, (void)channel, (void)user;
    return -EACCES;
}

static void refused_at_the_door(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.open = refuse_all}});
    for (int i = 0; i < 2; i++)
        turned_away(*state, &hall, i, "Permission denied");
    hall_close(&hall);
}

static void send_to_all(telex_server *server, telex_channel *channel, telex_message *message, void *user)
{
    (void)channel, (void)user;
    char count = (char)('0' + telex_server_send_all(server, message, NULL, NULL));
    say(count);
    if (*(char *)message->data == 'x')
        telex_server_drop(server, channel);
    say((char)('0' + telex_server_count(server)));
}

static void sent_to_all_and_dropped(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.message = send_to_all, .close = say_close}});
    struct talk talks[4];
    for (int i = 0; i < 4; i++)
        talks[i] = (struct talk){.setup = *state, .channel = enter(&hall, i % 2)};
    send_text(&talks[1], "news");
    assert_good(telex_flush(talks[1].channel, SECONDS(5)));
    said(&hall, '4');
    said(&hall, '4');
    for (int i = 0; i < 4; i++)
        expect_text(&talks[i], "news");
    send_text(&talks[2], "x");
    assert_good(telex_flush(talks[2].channel, SECONDS(5)));
    said(&hall, '4');
    said(&hall, '4');
    said(&hall, 'd');
    telex_message message = {0};
    expect_text(&talks[2], "x"); /* what was sent before the drop still comes */
    assert_gives(telex_receive(talks[2].channel, &message, SECONDS(5)), -EPIPE, talks[2].channel);
    for (int i = 0; i < 4; i++)
        telex_close(talks[i].channel, SECONDS(5), NULL);
    hall_close(&hall);
}

static telex_message kept[3];
static telex_channel *kept_from;
static int kept_count;

/* Three requests are kept, then answered backwards: by their numbers alone. */
static void answer_later(telex_server *server, telex_channel *channel, telex_message *request, void *user)
{
    (void)server, (void)user;
    kept[kept_count++] = *request;
    *request = (telex_message){0};
    kept_from = channel;
    for (int i = 2; i >= 0 && kept_count == 3; i--) {
        telex_message reply = telex_binary(kept[i].data, kept[i].length);
        if (telex_reply(kept_from, &kept[i], &reply, 0, TELEX_NOW) != 0)
            abort();
        telex_release(&kept[i]);
    }
}

static void deferred_replies(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.call = answer_later}});
    telex_channel *channel = enter(&hall, 0);
    uint64_t numbers[3];
    static const char *const words[] = {"one", "two", "three"};
    for (int i = 0; i < 3; i++) {
        telex_message request = telex_text(words[i]);
        assert_good(telex_call_start(channel, &request, SECONDS(5)));
        numbers[i] = request.number;
    }
    telex_message reply = {0};
    for (int i = 0; i < 3; i++) {
        assert_gives(telex_call_finish(channel, numbers[i], &reply, SECONDS(10)), 0, channel);
        assert_int_equal(reply.length, strlen(words[i]));
    }
    telex_release(&reply);
    telex_close(channel, SECONDS(5), NULL);
    hall_close(&hall);
}

static void clients_die(void *address)
{
    telex_channel *channel;
    assert_good(telex_dial(address, NULL, SECONDS(10), &channel));
    echoes(channel, "alive");
    kill(getpid(), SIGKILL);
}

static void clients_come_and_die(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.call = echo_call, .close = say_close}});
    telex_channel *steady = enter(&hall, 0);
    for (int i = 0; i < 10; i++) {
        pid_t child = testing_fork(clients_die, hall.addresses[i % 2]);
        waitpid(child, NULL, 0);
        said(&hall, 'r');
        echoes(steady, "steady");
    }
    telex_close(steady, SECONDS(5), NULL);
    said(&hall, 'p');
    hall_close(&hall);
}

static void send_on(telex_server *server, telex_channel *channel, telex_message *message, void *user)
{
    (void)channel, (void)user;
    say((char)('0' + telex_server_send_all(server, message, NULL, NULL)));
}

/* One client never reads: it misses what its queue cannot hold, the other one misses nothing and is not kept waiting. */
static void a_slow_reader_costs_only_itself(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .options = "buffer=64KiB", .handlers = {.message = send_on}});
    telex_channel *slow = enter(&hall, 0);
    struct talk quick = {.setup = *state, .channel = enter(&hall, 0)};
    unsigned for_slow = 0, rounds = 0;
    for (bool full = false; !full; rounds++) {
        assert_true(rounds < 2000);
        send_pattern(&quick, rounds, 20000);
        expect_pattern(&quick, rounds, 20000);
        char count = 0;
        assert_int_equal(read(hall.in, &count, 1), 1);
        assert_true(count == '1' || count == '2');
        full = count == '1';
        for_slow += count == '2';
    }
    struct talk slow_talk = {.setup = *state, .channel = slow};
    for (unsigned i = 0; i < for_slow; i++) /* what was sent to it is all there */
        expect_pattern(&slow_talk, i, 20000);
    telex_close(slow, SECONDS(5), NULL);
    telex_close(quick.channel, SECONDS(5), NULL);
    hall_close(&hall);
}

/* Those inside are served, those outside wait, nothing spins; with descriptors free again the next come in. */
static void out_of_descriptors(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.call = echo_call}, .files = 32});
    telex_channel *channels[40], *more = NULL;
    int count = 0, r = 0;
    while (r == 0 && count < 40) {
        r = telex_dial(hall.addresses[0], NULL, MILLISECONDS(500), &channels[count]);
        count += r == 0;
    }
    assert_true(r == -ETIMEDOUT || r == -ECONNRESET || r == -EPROTO || r == -ECONNREFUSED);
    assert_true(count > 2);
    unsigned long before = ticks_of(hall.server);
    nap(500);
    assert_true(ticks_of(hall.server) - before <
                (unsigned long)sysconf(_SC_CLK_TCK) / 4); /* of half a second: a quarter at most */
    for (int i = 0; i < count; i++)
        echoes(channels[i], "inside");
    for (int i = 0; i < 3; i++)
        telex_close(channels[--count], SECONDS(5), NULL);
    assert_gives(telex_dial(hall.addresses[0], NULL, SECONDS(10), &more), 0, NULL);
    echoes(more, "inside, too");
    telex_close(more, SECONDS(5), NULL);
    while (count > 0)
        telex_close(channels[--count], SECONDS(5), NULL);
    hall_close(&hall);
}

static void send_much(telex_server *server, telex_channel *channel, telex_message *message, void *user)
{
    (void)server, (void)message, (void)user;
    for (unsigned i = 0; i < 20; i++) {
        telex_message much = telex_binary(pattern(i, 200000), 200000);
        if (telex_send(channel, &much, 0, TELEX_NOW) != 0)
            abort();
    }
    say('s');
}

/* What waits in the server's queues when it is told to stop still arrives. */
static void it_drains_before_it_ends(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .options = "buffer=16MiB", .handlers = {.message = send_much}});
    struct talk talk = {.setup = *state, .channel = enter(&hall, 0)};
    send_text(&talk, "go");
    assert_good(telex_flush(talk.channel, SECONDS(5)));
    said(&hall, 's');
    hall_stop(&hall);
    nap(50);
    for (unsigned i = 0; i < 20; i++)
        expect_pattern(&talk, i, 200000);
    telex_message message = {0};
    assert_gives(telex_receive(talk.channel, &message, SECONDS(5)), -EPIPE, talk.channel);
    telex_close(talk.channel, SECONDS(5), NULL);
    hall_close(&hall);
}

static size_t resident_of(pid_t process)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)process);
    FILE *file = fopen(path, "r");
    size_t total = 0, resident = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &total, &resident), 2);
    fclose(file);
    return resident;
}

/* 150 that have talked and are silent now: no buffer of 64 KiB or more for any of them. */
static void the_idle_hold_no_buffers(void **state)
{
    enum { COUNT = 150, SIZE = 40000 };
    if (is_short())
        return; /* sanitizers give nothing back */
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.call = echo_call}});
    static telex_channel *channels[COUNT];
    telex_message reply = {0};
    size_t before = 0;
    for (int i = 0; i < COUNT; i++) {
        channels[i] = enter(&hall, 0);
        telex_message request = telex_binary(pattern(0, SIZE), SIZE);
        assert_gives(telex_call(channels[i], &request, &reply, SECONDS(10)), 0, channels[i]);
        before = i == 9 ? resident_of(hall.server) : before;
    }
    assert_true(resident_of(hall.server) < before + 1024); /* 4 MiB; two buffers each would be 17 MiB */
    telex_release(&reply);
    for (int i = 0; i < COUNT; i++)
        telex_close(channels[i], SECONDS(5), NULL);
    hall_close(&hall);
}

static void *run_server(void *server)
{
    return (void *)(intptr_t)telex_server_run(server);
}

/* No signal wakes it here: stop must. */
static void stopped_from_a_thread(void **state)
{
    char address[512];
    conform_address(*state, "", address, sizeof address);
    const telex_handlers handlers = {.size = sizeof handlers};
    telex_server *server;
    pthread_t thread;
    void *r;
    assert_good(telex_server_new(&handlers, NULL, NULL, &server));
    assert_good(telex_server_listen(server, address, NULL, NULL));
    assert_good(pthread_create(&thread, NULL, run_server, server));
    nap(50);
    telex_server_stop(server);
    pthread_join(thread, &r);
    assert_null(r);
    assert_good(telex_server_close(server, SECONDS(1)));
}

/* ---- lines ---- */

static void lines_are_calls(void **state)
{
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = *state, .handlers = {.call = echo_call}});
    struct talk talk = {.setup = *state, .channel = enter(&hall, 0)};
    for (int i = 0; i < 50; i++) /* many lines at once: each is answered, in order */
        send_text(&talk, i % 2 ? "odd" : "even");
    for (int i = 0; i < 50; i++)
        expect_text(&talk, i % 2 ? "odd" : "even");
    telex_close(talk.channel, SECONDS(5), NULL);
    hall_close(&hall);
}

static const struct conform_case cases[] = {
    {"several_addresses_at_once", several_addresses_at_once, ON_MESSAGES, MANY_PEERS, 0},
    {"in_a_foreign_loop", in_a_foreign_loop, ON_MESSAGES, MANY_PEERS, 0},
    {"handlers_are_told", handlers_are_told, ON_TELEX, MANY_PEERS, 0},
    {"full_house", full_house, ON_TELEX, MANY_PEERS, 0},
    {"each_user_has_a_share", each_user_has_a_share, ON_TELEX, LOCAL_ONLY | PROCESSES | MANY_PEERS, 0},
    {"refused_at_the_door", refused_at_the_door, ON_TELEX, MANY_PEERS, 0},
    {"sent_to_all_and_dropped", sent_to_all_and_dropped, ON_TELEX, MANY_PEERS, 0},
    {"deferred_replies", deferred_replies, ON_TELEX, MANY_PEERS, 0},
    {"a_slow_reader_costs_only_itself", a_slow_reader_costs_only_itself, ON_TELEX, NO_FAULTS | MANY_PEERS, 40},
    {"out_of_descriptors", out_of_descriptors, ON_TELEX, NO_FAULTS | PROCESSES | MANY_PEERS, 40},
    {"stopped_from_a_thread", stopped_from_a_thread, ON_TELEX, NO_FAULTS | MANY_PEERS, 0},
    {"it_drains_before_it_ends", it_drains_before_it_ends, ON_TELEX, NO_FAULTS | MANY_PEERS, 0},
    {"the_idle_hold_no_buffers", the_idle_hold_no_buffers, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 40},
    {"clients_come_and_die", clients_come_and_die, ON_TELEX, PROCESSES | MANY_PEERS, 0},
    {"lines_are_calls", lines_are_calls, ON_LINES, MANY_PEERS, 0},
};

const struct conform_theme conform_serving = {cases, sizeof cases / sizeof *cases};
