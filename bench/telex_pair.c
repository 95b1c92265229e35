/* SPDX-License-Identifier: MIT */
/* telex as a program uses it: asynchronous messages, or calls and replies; one contender for each way to wait. */
#include <stdlib.h>
#include <string.h>
#include <telex/telex.h>

#include "bench.h"

static const int64_t PATIENCE = 1000000000;

struct end {
    telex_listener *listener;
    telex_channel *channel;
    telex_message message; /* the last one that came; its memory is used again */
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

static void *pair_listen(const struct bench_contender *contender, const char *medium, size_t size,
                         char address[BENCH_ADDRESS])
{
    (void)size;
    struct end *end = end_new();
    telex_options options = options_of(contender);
    if (strcmp(medium, "tcp") == 0)
        snprintf(address, BENCH_ADDRESS, "tcp://127.0.0.1:0");
    else
        snprintf(address, BENCH_ADDRESS, "%s://@%s", medium, bench_unique());
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
    (void)medium, (void)size;
    struct end *end = end_new();
    telex_options options = options_of(contender);
    if (telex_dial(address, &options, telex_after(PATIENCE), &end->channel) < 0)
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

#define TELEX_PAIR(NAME, WAIT, SHOWS)                                                                                  \
    {                                                                                                                  \
        .name = NAME, .shows = SHOWS, .variant = WAIT, .listen = pair_listen, .accept = pair_accept,                   \
        .dial = pair_dial, .send = pair_send, .receive = pair_receive, .finish = pair_finish, .close = pair_close,     \
    }
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
const struct bench_contender bench_telex_call_block =
    TELEX_CALL("telex call block", TELEX_WAIT_BLOCK, "telex_call, telex_reply; wait=block");
const struct bench_contender bench_telex_call_adaptive =
    TELEX_CALL("telex call adaptive", TELEX_WAIT_ADAPTIVE, "telex_call, telex_reply; wait=adaptive, the default");
const struct bench_contender bench_telex_call_spin =
    TELEX_CALL("telex call spin", TELEX_WAIT_SPIN, "telex_call, telex_reply; wait=spin");
