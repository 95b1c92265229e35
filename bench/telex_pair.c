/* SPDX-License-Identifier: MIT */
/* telex as a program uses it: asynchronous messages, loans, or calls and replies; contenders for each way to wait. */
#include <stdlib.h>
#include <string.h>
#include <telex/telex.h>

#include "bench.h"

enum { LONG = 65536, SMALL = 64, BATCH = 32 };

static const int64_t PATIENCE = 1000000000;

struct end {
    telex_listener *listener;
    telex_channel *channel;
    telex_message message; /* the last one that came; its memory is used again */
    unsigned held;         /* sent with TELEX_MORE, since one without */
};

static struct end *end_new(void)
{
    struct end *end = calloc(1, sizeof *end);
    if (!end)
        bench_fail("out of memory");
    return end;
}

static telex_options options_of(const struct bench_contender *contender)
{
    return (telex_options){.size = sizeof(telex_options), .wait = (uint32_t)contender->variant};
}

/* As much shared memory as the bare ring has (ring.c), and for long messages room for a few. Both sides ask for it. */
static void enlarge(char address[BENCH_ADDRESS], const char *medium, size_t size)
{
    size_t length = strlen(address);
    if (strcmp(medium, "shm") == 0 && !strstr(address, "ring="))
        snprintf(address + length, BENCH_ADDRESS - length, "%sring=1MiB%s", strchr(address, '?') ? "&" : "?",
                 size > LONG ? "&arena=4MiB&window=16MiB" : "");
}

static void *pair_listen(const struct bench_contender *contender, const char *medium, size_t size,
                         char address[BENCH_ADDRESS])
{
    struct end *end = end_new();
    telex_options options = options_of(contender);
    if (strcmp(medium, "tcp") == 0)
        snprintf(address, BENCH_ADDRESS, "tcp://127.0.0.1:0");
    else
        snprintf(address, BENCH_ADDRESS, "%s://%s%s", medium, strcmp(medium, "shm") == 0 ? "" : "@", bench_unique());
    enlarge(address, medium, size);
    if (telex_listen(address, &options, &end->listener) < 0)
        bench_fail("telex_listen: %s", telex_reason(NULL));
    snprintf(address, BENCH_ADDRESS, "%s", telex_listener_address(end->listener));
    return end;
}

static void pair_accept(void *each)
{
    struct end *end = each;
    if (telex_accept(end->listener, telex_after(PATIENCE), &end->channel) < 0)
        bench_fail("telex_accept: %s", telex_reason(NULL));
}

static void *pair_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    struct end *end = end_new();
    telex_options options = options_of(contender);
    char where[BENCH_ADDRESS];
    snprintf(where, sizeof where, "%s", address);
    enlarge(where, medium, size);
    if (telex_dial(where, &options, telex_after(PATIENCE), &end->channel) < 0)
        bench_fail("telex_dial: %s", telex_reason(NULL));
    return end;
}

static void pair_close(void *each)
{
    struct end *end = each;
    telex_release(&end->message);
    telex_close(end->channel, telex_after(PATIENCE), NULL);
    telex_listener_close(end->listener);
    free(end);
}

static void pair_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    telex_message message = telex_binary(data, size);
    if (telex_send(end->channel, &message, 0, TELEX_NEVER) < 0)
        bench_fail("telex_send: %s", telex_reason(end->channel));
}

static const unsigned char *whole(const struct end *end, size_t size)
{
    if (end->message.length != size)
        bench_fail("%zu bytes came where %zu were sent", end->message.length, size);
    return end->message.data;
}

static const unsigned char *pair_receive(void *each, size_t size)
{
    struct end *end = each;
    if (telex_receive(end->channel, &end->message, TELEX_NEVER) < 0)
        bench_fail("telex_receive: %s", telex_reason(end->channel));
    return whole(end, size);
}

/* There is no thread that would carry on: what a send has kept moves in calls only. */
static void pair_finish(void *each)
{
    struct end *end = each;
    if (telex_flush(end->channel, TELEX_NEVER) < 0)
        bench_fail("telex_flush: %s", telex_reason(end->channel));
}

static void more_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    telex_message message = telex_binary(data, size);
    end->held = (end->held + 1) % BATCH;
    if (telex_send(end->channel, &message, end->held > 0 ? TELEX_MORE : 0, TELEX_NEVER) < 0)
        bench_fail("telex_send: %s", telex_reason(end->channel));
}

/* Of a loan only the beginning is written, and read: what is measured is that nobody touches the rest. */
static void loan_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    telex_message message = {0};
    if (telex_loan(end->channel, size, &message, TELEX_NEVER) < 0)
        bench_fail("telex_loan: %s", telex_reason(end->channel));
    memcpy(message.data, data, SMALL);
    if (telex_send(end->channel, &message, 0, TELEX_NEVER) < 0)
        bench_fail("telex_send: %s", telex_reason(end->channel));
}

/* The one before is given back first, so that it is never copied to make room. */
static const unsigned char *loan_receive(void *each, size_t size)
{
    struct end *end = each;
    telex_release(&end->message);
    return pair_receive(end, size);
}

/* 64 bytes, whatever the size of the cell: what a loan of any size is held against. */
static void small_send(void *each, const void *data, size_t size)
{
    (void)size;
    pair_send(each, data, SMALL);
}

static const unsigned char *small_receive(void *each, size_t size)
{
    (void)size;
    return pair_receive(each, SMALL);
}

static void call_exchange(void *each, const void *data, size_t size)
{
    struct end *end = each;
    telex_message request = telex_binary(data, size);
    if (telex_call(end->channel, &request, &end->message, TELEX_NEVER) < 0)
        bench_fail("telex_call: %s", telex_reason(end->channel));
    whole(end, size);
}

static const unsigned char *call_answer(void *each, size_t size)
{
    struct end *end = each;
    const unsigned char *data = pair_receive(end, size);
    telex_message reply = telex_binary(data, size);
    if (telex_reply(end->channel, &end->message, &reply, 0, TELEX_NEVER) < 0)
        bench_fail("telex_reply: %s", telex_reason(end->channel));
    return data;
}

#define TELEX_BY(NAME, WAIT, SEND, RECEIVE, SHOWS)                                                                     \
    {                                                                                                                  \
        .name = NAME, .shows = SHOWS, .variant = WAIT, .listen = pair_listen, .accept = pair_accept,                   \
        .dial = pair_dial, .send = SEND, .receive = RECEIVE, .finish = pair_finish, .close = pair_close,               \
    }
#define TELEX_PAIR(NAME, WAIT, SHOWS) TELEX_BY(NAME, WAIT, pair_send, pair_receive, SHOWS)
#define TELEX_CALL(NAME, WAIT, SHOWS)                                                                                  \
    {                                                                                                                  \
        .name = NAME, .shows = SHOWS, .variant = WAIT, .listen = pair_listen, .accept = pair_accept,                   \
        .dial = pair_dial, .exchange = call_exchange, .answer = call_answer, .close = pair_close,                      \
    }

const struct bench_contender bench_telex_block =
    TELEX_PAIR("telex block", TELEX_WAIT_BLOCK, "telex_send, telex_receive; wait=block");
const struct bench_contender bench_telex_adaptive =
    TELEX_PAIR("telex adaptive", TELEX_WAIT_ADAPTIVE, "telex_send, telex_receive; wait=adaptive, the default");
const struct bench_contender bench_telex_spin =
    TELEX_PAIR("telex spin", TELEX_WAIT_SPIN, "telex_send, telex_receive; wait=spin");
const struct bench_contender bench_telex_more =
    TELEX_BY("telex more", TELEX_WAIT_ADAPTIVE, more_send, pair_receive,
             "telex_send with TELEX_MORE but for each 32nd, telex_receive; wait=adaptive, the default");
const struct bench_contender bench_telex_loan =
    TELEX_BY("telex loan", TELEX_WAIT_SPIN, loan_send, loan_receive,
             "telex_loan, 64 bytes written, telex_send, telex_receive, telex_release; wait=spin");
const struct bench_contender bench_telex_small = TELEX_BY(
    "telex spin, 64 B", TELEX_WAIT_SPIN, small_send, small_receive, "telex_send, telex_receive of 64 bytes; wait=spin");
const struct bench_contender bench_telex_call_block =
    TELEX_CALL("telex call block", TELEX_WAIT_BLOCK, "telex_call, telex_reply; wait=block");
const struct bench_contender bench_telex_call_adaptive =
    TELEX_CALL("telex call adaptive", TELEX_WAIT_ADAPTIVE, "telex_call, telex_reply; wait=adaptive, the default");
const struct bench_contender bench_telex_call_spin =
    TELEX_CALL("telex call spin", TELEX_WAIT_SPIN, "telex_call, telex_reply; wait=spin");
