/* SPDX-License-Identifier: MIT */
/* What is stepped. Only the calls of the library are: what lies between two markers. */
#include <errno.h>
#include <unistd.h>

#include "crash/crash.h"

static uint32_t heard;
static telex_message held[HELD];

static uint32_t warm; /* calls that are not stepped yet, so that rings and logs have come round anywhere */

/* The tracer, at an int3, looks whether to step what follows or to let it run to the next one. */
static void begin(void)
{
    if (warm > 0) {
        warm--;
        return;
    }
    board->steps = true;
    __asm__ volatile("int3" ::: "memory");
}

static void end(void)
{
    if (!board->steps)
        return;
    board->steps = false;
    __asm__ volatile("int3" ::: "memory");
}

void victim_attached(void)
{
    end();
}

void victim_warms_up(uint32_t calls)
{
    warm = calls;
}

static void check(bool good)
{
    if (!good)
        _exit(1);
}

/* What the library still keeps for itself dies with this process. */
static void count_sure(telex_channel *channel)
{
    telex_counters counters = {.size = sizeof counters};
    check(telex_counters_of(channel, &counters) == 0);
    if (counters.queued == 0)
        board->sure = board->started;
}

static uint32_t next_length(void)
{
    return plan->least + crash_random() % (plan->most - plan->least + 1);
}

static void send_one(telex_channel *channel, unsigned flags)
{
    static uint8_t bytes[LONGEST];
    static int descriptor = STDERR_FILENO;
    uint32_t length = next_length();
    telex_message message = {0}, reply = {0};
    if (plan->loans) {
        begin();
        int r = telex_loan(channel, length, &message, SECONDS(60));
        end();
        check(r == 0 || r == -ENOBUFS);
    }
    if (message.data == NULL)
        message = telex_binary(bytes, length);
    crash_fill(message.data, board->started, length);
    if (plan->descriptors && board->started % 2 == 1) {
        message.descriptors = &descriptor;
        message.descriptor_count = 1;
    }
    board->started++;
    board->taking += plan->calls;
    begin();
    int r = plan->calls ? telex_call(channel, &message, &reply, SECONDS(60)) : telex_send(channel, &message, flags, SECONDS(60));
    end();
    check(r == 0 && (!plan->calls || crash_is(&reply, board->started - 1)));
    if (!(flags & TELEX_MORE))
        count_sure(channel);
    if (message.memory != NULL) {
        begin();
        telex_release(&message);
        end();
    }
    telex_release(&reply);
}

static int receive_one(telex_channel *channel, telex_time deadline)
{
    telex_message *into = &held[heard % HELD];
    if (into->memory != NULL && crash_random() % 2 == 0) {
        begin();
        telex_release(into);
        end();
    }
    board->taking++;
    begin();
    int r = telex_receive(channel, into, deadline);
    end();
    if (r < 0) {
        board->taking--;
        return r;
    }
    check(crash_is(into, heard++));
    if (!(into->flags & TELEX_IS_CALL))
        return 0;
    telex_message reply = telex_binary(into->data, into->length);
    begin();
    r = telex_reply(channel, into, &reply, 0, SECONDS(60));
    end();
    check(r == 0);
    return 0;
}

static _Noreturn void close_all(telex_channel *channel, telex_time deadline)
{
    board->closing = true;
    warm = 0;
    begin();
    if (telex_close(channel, deadline, NULL) == 0)
        board->sure = board->started;
    for (int i = 0; i < HELD; i++)
        telex_release(&held[i]);
    end();
    _exit(0);
}

void victim_sends(telex_channel *channel)
{
    for (;;)
        send_one(channel, plan->flags & TELEX_MORE ? (crash_random() % 4 != 0 ? TELEX_MORE : 0u) : plan->flags);
}

void victim_receives(telex_channel *channel)
{
    int r;
    while ((r = receive_one(channel, SECONDS(60))) == 0)
        ;
    check(r == -EPIPE);
    close_all(channel, TELEX_NOW);
}

void victim_does_both(telex_channel *channel)
{
    for (;;)
        if (crash_random() % 2 == 0) {
            send_one(channel, crash_random() % 3 == 0 ? TELEX_MORE : 0u);
        } else {
            int r = receive_one(channel, TELEX_NOW);
            check(r == 0 || r == -EAGAIN);
        }
}

void victim_closes(telex_channel *channel)
{
    for (unsigned i = plan->floods ? 30 + crash_random() % 20 : crash_random() % 4; i > 0; i--)
        send_one(channel, 0);
    if (crash_random() % 2 == 0)
        receive_one(channel, TELEX_NOW);
    close_all(channel, SECONDS(60));
}

/* Sends, with loans, batches, rendezvous and calls, and receives, until it is killed. */
void victim_chats(telex_channel *channel)
{
    static struct plan mine;
    warm = UINT32_MAX;
    mine = *plan;
    plan = &mine;
    for (;;) {
        uint32_t what = crash_random() % 8;
        mine.loans = what == 2;
        mine.calls = what == 3;
        mine.least = what == 2 || what == 4 ? 1100 : 8;
        mine.most = what == 5 ? LONGEST : what == 2 || what == 4 ? 4000 : 900;
        if (what < 6)
            send_one(channel, what == 1 ? TELEX_SYNC : what == 0 ? TELEX_MORE : 0);
        for (int i = 0; i < 4; i++) {
            int r = receive_one(channel, TELEX_NOW);
            check(r == 0 || r == -EAGAIN);
        }
    }
}
