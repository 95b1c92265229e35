/* SPDX-License-Identifier: MIT */
/* flush=helper: what a loop of sends leaves waiting is moved by the helper, and by nobody else. */
#include "conform/conform.h"

#include <dirent.h>
#include <sys/wait.h>

enum { BURST = 2000, SMALL = 64 };

/* ---- nobody calls, and it arrives ---- */

static void take_a_burst(struct talk *talk)
{
    for (unsigned i = 0; i < BURST; i++)
        expect_pattern(talk, i, SMALL);
    talk_say(talk, 'd');
    for (unsigned i = 0; i < 2; i++)
        expect_pattern(talk, i, SMALL);
    talk_say(talk, 'd');
}

static void a_burst_arrives_by_itself(void **state)
{
    struct talk talk;
    /* In shared memory nobody moves on what a full ring leaves waiting (docs/media.md), however slow the receiver is: all of it fits. */
    talk_begin(&talk, *state, decides(*state) ? "flush=helper&ring=1MiB" : "flush=helper", take_a_burst);
    for (unsigned i = 0; i < BURST; i++)
        send_pattern(&talk, i, SMALL);
    talk_hear(&talk, 'd'); /* without a call on the channel meanwhile */
    for (unsigned i = 0; i < 2; i++)
        send_pattern(&talk, i, SMALL);
    talk_hear(&talk, 'd');
    talk_end(&talk);
}

static void take_many(struct talk *talk)
{
    talk_hear(talk, 'g');
    for (unsigned i = 0; i < BURST; i++)
        expect_pattern(talk, i, 2000);
    talk_say(talk, 'd');
}

/* 4 MB at a window of 1 MiB: the medium is full, then the credit is used up, again and again. */
static void a_backlog_moves_by_itself(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "flush=helper&buffer=16MiB", take_many);
    for (unsigned i = 0; i < BURST; i++)
        send_pattern(&talk, i, 2000);
    talk_say(&talk, 'g');
    talk_hear(&talk, 'd');
    talk_end(&talk);
}

static void take_pairs(struct talk *talk)
{
    telex_message messages[16] = {0};
    unsigned received = 0;
    while (received < BURST) {
        unsigned most = BURST - received < 16 ? BURST - received : 16;
        int count = telex_receive_many(talk->channel, messages, most, SECONDS(10));
        assert_true(count > 0);
        for (int i = 0; i < count; i++, received++) {
            assert_int_equal(messages[i].length, 1 + received * 37 % 300);
            assert_memory_equal(messages[i].data, pattern(received, messages[i].length), messages[i].length);
        }
    }
    for (unsigned i = 0; i < 16; i++)
        telex_release(&messages[i]);
    expect_text(talk, "taken");
}

/* Lengths of all kinds, with and without TELEX_MORE, many at a time, and a rendezvous behind them. */
static void order_of_all_ways(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "flush=helper", take_pairs);
    for (unsigned i = 0; i < BURST;) {
        telex_message message = message_of(&talk, pattern(i, 1 + i * 37 % 300), 1 + i * 37 % 300);
        if (i % 100 == 50 && i + 3 <= BURST) {
            telex_message three[3];
            for (unsigned k = 0; k < 3; k++)
                three[k] = message_of(&talk, pattern(i + k, 1 + (i + k) * 37 % 300), 1 + (i + k) * 37 % 300);
            assert_int_equal(telex_send_many(talk.channel, three, 3, SECONDS(10)), 3);
            i += 3;
            continue;
        }
        assert_gives(telex_send(talk.channel, &message, i % 7 == 0 ? TELEX_MORE : 0, SECONDS(10)), 0, talk.channel);
        i++;
    }
    telex_message last = telex_text("taken");
    assert_gives(telex_send(talk.channel, &last, talk.setup->on == ON_TELEX ? TELEX_SYNC : 0, SECONDS(10)), 0, talk.channel);
    uint64_t untaken = 1;
    assert_gives(telex_close(talk.channel, SECONDS(10), &untaken), 0, NULL);
    assert_int_equal(untaken, 0);
    talk.channel = NULL;
    talk_end(&talk);
}

/* ---- the thread ---- */

/* How many helpers this process has; *ret_helper: one of them. */
static unsigned helpers(pid_t *ret_helper)
{
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        if (task->d_name[0] == '.')
            continue;
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *comm = fopen(path, "re");
        if (comm != NULL && fgets(name, sizeof name, comm) != NULL && strcmp(name, "telex-helper\n") == 0) {
            *ret_helper = (pid_t)atoi(task->d_name);
            count++;
        }
        if (comm != NULL)
            fclose(comm);
    }
    closedir(tasks);
    return count;
}

static unsigned long long blocked_signals(pid_t thread)
{
    char path[64], line[256];
    unsigned long long mask = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
    FILE *status = fopen(path, "re");
    assert_non_null(status);
    while (fgets(line, sizeof line, status) != NULL)
        sscanf(line, "SigBlk: %llx", &mask);
    fclose(status);
    return mask;
}

/* Both ends in this process, which no fork has touched: on wire=raw nobody waits for a greeting. */
static void one_helper_while_it_is_wanted(void **state)
{
    char listened_at[512], address[512];
    conform_address(*state, "flush=helper", listened_at, sizeof listened_at);
    telex_listener *listener;
    assert_good(telex_listen(listened_at, NULL, &listener));
    conform_dialable(listened_at, telex_listener_address(listener), address, sizeof address);
    pid_t helper = 0;
    assert_int_equal(helpers(&helper), 0);

    telex_channel *ends[2];
    assert_good(telex_dial(address, NULL, SECONDS(10), &ends[0]));
    while (helpers(&helper) == 0) /* it gives itself its name */
        ;
    for (int signal = 1; signal < 32; signal++)
        assert_true(signal == SIGKILL || signal == SIGSTOP || (blocked_signals(helper) >> (signal - 1) & 1) != 0);
    assert_good(telex_accept(listener, SECONDS(10), &ends[1]));
    telex_listener_close(listener);
    for (unsigned i = 0; i < BURST; i++) {
        telex_message message = telex_text("b");
        assert_gives(telex_send(ends[0], &message, 0, SECONDS(10)), 0, ends[0]);
    }
    assert_int_equal(helpers(&helper), 1);
    telex_close(ends[0], TELEX_NOW, NULL);
    assert_int_equal(helpers(&helper), 1);
    telex_close(ends[1], TELEX_NOW, NULL);
    while (helpers(&helper) > 0) /* joined it is; the kernel may still be at it */
        ;
}

static void forks_while_it_works(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "flush=helper", take_many);
    talk_say(&talk, 'g');
    for (unsigned i = 0; i < BURST; i++) {
        send_pattern(&talk, i, 2000);
        if (i % 100 != 0)
            continue;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            pid_t helper;
            telex_message message = telex_text("x");
            bool fine = helpers(&helper) == 0 && telex_send(talk.channel, &message, 0, TELEX_NOW) == -ECHILD;
            telex_close(talk.channel, TELEX_NOW, NULL);
            _exit(fine ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    talk_hear(&talk, 'd');
    talk_end(&talk);
}

static void answer_and_go_on(struct talk *talk)
{
    for (unsigned i = 0; i < 3; i++) {
        expect_pattern(talk, i, 50);
        send_pattern(talk, i, 50);
    }
    telex_message two[2] = {message_of(talk, pattern(3, 50), 50), message_of(talk, pattern(4, 50), 50)};
    assert_int_equal(telex_send_many(talk->channel, two, 2, SECONDS(5)), 2);
    expect_pattern(talk, 5, 50);
}

/* What lies read in memory, and a descriptor that is open, are the parent's: also where a call of the parent would be over before it has looked at anything else. */
static void the_short_ways_are_not_for_a_child(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", answer_and_go_on);
    for (unsigned i = 0; i < 3; i++) {
        send_pattern(&talk, i, 50);
        expect_pattern(&talk, i, 50);
    }
    telex_message message = {0};
    assert_good(telex_receive(talk.channel, &message, SECONDS(5)));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        telex_message more = telex_binary(pattern(5, 50), 50);
        bool fine = telex_receive(talk.channel, &message, TELEX_NOW) == -ECHILD && telex_send(talk.channel, &more, 0, TELEX_NOW) == -ECHILD &&
                    telex_send(talk.channel, &more, TELEX_MORE, TELEX_NOW) == -ECHILD && telex_send_many(talk.channel, &more, 1, TELEX_NOW) == -ECHILD;
        _exit(fine ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    telex_release(&message);
    expect_pattern(&talk, 4, 50);
    send_pattern(&talk, 5, 50);
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"a_burst_arrives_by_itself", a_burst_arrives_by_itself, ON_MESSAGES, NO_FAULTS, 0},
    {"a_backlog_moves_by_itself", a_backlog_moves_by_itself, ON_TELEX, NO_FAULTS | BYTE_STREAMS, 0},
    {"order_of_all_ways", order_of_all_ways, ON_MESSAGES, NO_FAULTS, 0},
    {"one_helper_while_it_is_wanted", one_helper_while_it_is_wanted, ON_RAW, NO_FAULTS | MANY_PEERS, 0},
    {"the_short_ways_are_not_for_a_child", the_short_ways_are_not_for_a_child, ON_MESSAGES, PROCESSES, 0},
    {"forks_while_it_works", forks_while_it_works, ON_TELEX, NO_FAULTS | BYTE_STREAMS, 0},
};

const struct conform_theme conform_gathering = {cases, sizeof cases / sizeof *cases};
