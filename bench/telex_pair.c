/* SPDX-License-Identifier: MIT */
/* telex as a program uses it: asynchronous messages, loans, or calls and replies; contenders for each way to wait. */
#include <stdlib.h>
#include <string.h>
#include <telex/telex.h>

#include "bench.h"

enum {
    LONG = 65536,
    SMALL = 64,
    BATCH = 32,
    RUN = 1024,   /* messages with TELEX_MORE before one without */
    MANY = 512,   /* messages in a call */
    FEW = 6,      /* more than go at once with flush=helper */
    HELPER = 16,  /* in a contender's variant, beside how it waits */
    BULK = 65536, /* bytes of a message of the transfer that others are beside of, */
    WORK_NS = 50000, /* that the receiver of each of these needs */
    BULKS = 15,   /* and how many of these are sent at once: as many as wait without holding up who sends them */
};

static const int64_t PATIENCE = 1000000000;

struct end {
    telex_listener *listener;
    telex_channel *channel;
    telex_message message; /* the last one that came; its memory is used again */
    const char *fifos;     /* medium fd: where its pipes are, until they are open */
    telex_options options;
    unsigned held;         /* sent with TELEX_MORE, since one without; or gathered for one call */
    telex_message *many;   /* MANY of them, sent or received in one call */
    unsigned at, count;    /* of the received ones: the next, and how many there are */
    unsigned char *bulk;
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
    return (telex_options){.size = sizeof(telex_options),
                           .wait = (uint32_t)(contender->variant & ~HELPER),
                           .flush = contender->variant & HELPER ? TELEX_FLUSH_HELPER : TELEX_FLUSH_CALL};
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
    telex_options options = end->options = options_of(contender);
    if (strcmp(medium, "fd") == 0) {
        bench_fifos_make(address);
        end->fifos = address;
        return end;
    }
    if (strcmp(medium, "tcp") == 0)
        snprintf(address, BENCH_ADDRESS, "tcp://127.0.0.1:0");
    else if (strcmp(medium, "pipe") == 0)
        snprintf(address, BENCH_ADDRESS, "pipe:///tmp/%s", bench_unique());
    else
        snprintf(address, BENCH_ADDRESS, "%s://%s%s", medium, strcmp(medium, "shm") == 0 ? "" : "@", bench_unique());
    enlarge(address, medium, size);
    if (telex_listen(address, &options, &end->listener) < 0)
        bench_fail("telex_listen: %s", telex_reason(NULL));
    snprintf(address, BENCH_ADDRESS, "%s", telex_listener_address(end->listener));
    return end;
}

static void fd_address(const char *fifos, bool active, char address[BENCH_ADDRESS])
{
    int fds[2];
    bench_fifos_open(fifos, active, fds);
    snprintf(address, BENCH_ADDRESS, "fd:%d,%d", fds[0], fds[1]);
}

static void pair_accept(void *each)
{
    struct end *end = each;
    if (end->fifos) {
        char address[BENCH_ADDRESS];
        fd_address(end->fifos, false, address);
        if (telex_listen(address, &end->options, &end->listener) < 0)
            bench_fail("telex_listen: %s", telex_reason(NULL));
    }
    if (telex_accept(end->listener, telex_after(PATIENCE), &end->channel) < 0)
        bench_fail("telex_accept: %s", telex_reason(NULL));
}

static void *pair_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    struct end *end = end_new();
    telex_options options = options_of(contender);
    char where[BENCH_ADDRESS];
    snprintf(where, sizeof where, "%s", address);
    if (strcmp(medium, "fd") == 0)
        fd_address(address, true, where);
    enlarge(where, medium, size);
    if (telex_dial(where, &options, telex_after(PATIENCE), &end->channel) < 0)
        bench_fail("telex_dial: %s", telex_reason(NULL));
    return end;
}

static void pair_close(void *each)
{
    struct end *end = each;
    telex_release(&end->message);
    for (unsigned i = 0; end->many && i < MANY; i++)
        telex_release(&end->many[i]);
    free(end->many);
    free(end->bulk);
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

/* Gathers whole buffers. */
static void run_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    telex_message message = telex_binary(data, size);
    end->held = (end->held + 1) % RUN;
    if (telex_send(end->channel, &message, end->held > 0 ? TELEX_MORE : 0, TELEX_NEVER) < 0)
        bench_fail("telex_send: %s", telex_reason(end->channel));
}

static telex_message *make_many(struct end *end)
{
    if (!end->many && !(end->many = calloc(MANY, sizeof *end->many)))
        bench_fail("out of memory");
    return end->many;
}

static void send_gathered(struct end *end)
{
    for (unsigned sent = 0; sent < end->held;) {
        int r = telex_send_many(end->channel, end->many + sent, end->held - sent, TELEX_NEVER);
        if (r < 0)
            bench_fail("telex_send_many: %s", telex_reason(end->channel));
        sent += (unsigned)r;
    }
    end->held = 0;
}

/* The bytes of all are the same; only the last message's first byte differs, and it is in the last call. */
static void many_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    make_many(end)[end->held++] = telex_binary(data, size);
    if (end->held == MANY || *(const unsigned char *)data == BENCH_LAST)
        send_gathered(end);
}

static const unsigned char *many_receive(void *each, size_t size)
{
    struct end *end = each;
    if (end->at == end->count) {
        int r = telex_receive_many(end->channel, make_many(end), MANY, TELEX_NEVER);
        if (r < 0)
            bench_fail("telex_receive_many: %s", telex_reason(end->channel));
        end->at = 0;
        end->count = (unsigned)r;
    }
    const telex_message *message = &end->many[end->at++];
    if (message->length != size)
        bench_fail("%zu bytes came where %zu were sent", message->length, size);
    return message->data;
}

/* Some messages one behind the other, and one answer to the last of them: how late that one comes. */
static void few_exchange(void *each, const void *data, size_t size)
{
    for (unsigned i = 0; i < FEW; i++)
        pair_send(each, data, size);
    pair_receive(each, size);
}

static const unsigned char *few_answer(void *each, size_t size)
{
    const unsigned char *data = NULL;
    for (unsigned i = 0; i < FEW; i++)
        data = pair_receive(each, size);
    pair_send(each, data, size);
    return data;
}

static void call_on(struct end *end, const void *data, size_t size, uint8_t lane)
{
    telex_message request = telex_binary(data, size);
    request.lane = lane;
    if (telex_call(end->channel, &request, &end->message, TELEX_NEVER) < 0)
        bench_fail("telex_call: %s", telex_reason(end->channel));
    whole(end, size);
}

/* Nearly a megabyte, and at once a call, on a lane of its own or behind it: how long that takes. Then all is taken before it begins anew. */
static int64_t call_with_bulk(struct end *end, const void *data, size_t size, uint8_t lane)
{
    if (!end->bulk && !(end->bulk = calloc(1, BULK)))
        bench_fail("out of memory");
    telex_message bulk = telex_binary(end->bulk, BULK);
    for (unsigned i = 0; i < BULKS; i++)
        if (telex_send(end->channel, &bulk, 0, TELEX_NEVER) < 0)
            bench_fail("telex_send: %s", telex_reason(end->channel));
    int64_t begin = bench_now();
    call_on(end, data, size, lane);
    int64_t part = bench_now() - begin;
    if (*(const unsigned char *)data != BENCH_LAST) /* after that nobody answers */
        call_on(end, data, size, 0);
    return part;
}

static int64_t beside_part(void *each, const void *data, size_t size)
{
    return call_with_bulk(each, data, size, 1);
}

static int64_t behind_part(void *each, const void *data, size_t size)
{
    return call_with_bulk(each, data, size, 0);
}

static const unsigned char *beside_answer(void *each, size_t size)
{
    struct end *end = each;
    for (;;) {
        if (telex_receive(end->channel, &end->message, TELEX_NEVER) < 0)
            bench_fail("telex_receive: %s", telex_reason(end->channel));
        if (end->message.flags & TELEX_IS_CALL)
            break;
        for (int64_t until = bench_now() + WORK_NS; bench_now() < until;)
            ;
    }
    telex_message reply = telex_binary(end->message.data, size);
    if (telex_reply(end->channel, &end->message, &reply, 0, TELEX_NEVER) < 0)
        bench_fail("telex_reply: %s", telex_reason(end->channel));
    return whole(end, size);
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
#define TELEX_ASKING(NAME, WAIT, EXCHANGE, ANSWER, SHOWS)                                                              \
    {                                                                                                                  \
        .name = NAME, .shows = SHOWS, .variant = WAIT, .listen = pair_listen, .accept = pair_accept,                   \
        .dial = pair_dial, .exchange = EXCHANGE, .answer = ANSWER, .close = pair_close,                                \
    }
#define TELEX_BESIDE(NAME, PART, SHOWS)                                                                                \
    {                                                                                                                  \
        .name = NAME, .shows = SHOWS, .variant = TELEX_WAIT_ADAPTIVE, .listen = pair_listen, .accept = pair_accept,    \
        .dial = pair_dial, .part = PART, .answer = beside_answer, .close = pair_close,                                 \
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
const struct bench_contender bench_telex_more =
    TELEX_BY("telex more", TELEX_WAIT_ADAPTIVE, more_send, pair_receive,
             "telex_send with TELEX_MORE but for each 32nd, telex_receive; wait=adaptive, the default");
const struct bench_contender bench_telex_helper =
    TELEX_PAIR("telex helper", TELEX_WAIT_ADAPTIVE | HELPER, "a plain loop of telex_send, telex_receive; flush=helper");
const struct bench_contender bench_telex_run =
    TELEX_BY("telex run", TELEX_WAIT_ADAPTIVE, run_send, pair_receive, "telex_send with TELEX_MORE but for each 1,024th, telex_receive");
const struct bench_contender bench_telex_many =
    TELEX_BY("telex many", TELEX_WAIT_ADAPTIVE, many_send, many_receive, "telex_send_many, telex_receive_many of 512");
const struct bench_contender bench_telex_few_call =
    TELEX_ASKING("telex call, six", TELEX_WAIT_ADAPTIVE, few_exchange, few_answer, "six telex_send, one answer; flush=call");
const struct bench_contender bench_telex_few_helper =
    TELEX_ASKING("telex helper, six", TELEX_WAIT_ADAPTIVE | HELPER, few_exchange, few_answer, "six telex_send, one answer; flush=helper");
const struct bench_contender bench_telex_beside =
    TELEX_BESIDE("telex, own lane", beside_part,
                 "15 messages of 64 KiB, with each of which the receiver is busy for 50 us; then telex_call on a lane of its own, measured alone");
const struct bench_contender bench_telex_behind =
    TELEX_BESIDE("telex, same lane", behind_part, "the same on the lane of the long messages");
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
