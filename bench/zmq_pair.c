/* SPDX-License-Identifier: MIT */
/* libzmq, by its own quickest ways for two processes: PAIR, REQ with REP, and PUSH with PULL. Without the library: not built. */
#include "bench.h"

#ifdef BENCH_ZMQ
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct end {
    void *context, *socket;
    bool one_way; /* PUSH, PULL */
    size_t size;
    unsigned char *buffer;
};

/* variant: the type of the dialing socket; the listening one follows from it. */
static struct end *end_new(int type, size_t size)
{
    struct end *end = malloc(sizeof *end);
    if (!end)
        bench_fail("out of memory");
    *end = (struct end){.context = zmq_ctx_new(), .one_way = type == ZMQ_PUSH || type == ZMQ_PULL, .size = size, .buffer = malloc(size)};
    if (!end->context || !end->buffer || !(end->socket = zmq_socket(end->context, type)))
        bench_fail("zmq_socket: %s", zmq_strerror(zmq_errno()));
    return end;
}

static void pair_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    if (zmq_send(end->socket, data, size, 0) < 0)
        bench_fail("zmq_send: %s", zmq_strerror(zmq_errno()));
}

static const unsigned char *pair_receive(void *each, size_t size)
{
    struct end *end = each;
    if (zmq_recv(end->socket, end->buffer, end->size, 0) != (int)size)
        bench_fail("zmq_recv: not %zu bytes: %s", size, zmq_strerror(zmq_errno()));
    return end->buffer;
}

static void *pair_listen(const struct bench_contender *contender, const char *medium, size_t size,
                         char address[BENCH_ADDRESS])
{
    int type = contender->variant;
    struct end *end = end_new(type == ZMQ_REQ ? ZMQ_REP : type == ZMQ_PUSH ? ZMQ_PULL : type, size);
    size_t length = BENCH_ADDRESS;
    if (strcmp(medium, "tcp") == 0)
        snprintf(address, BENCH_ADDRESS, "tcp://127.0.0.1:*");
    else
        snprintf(address, BENCH_ADDRESS, "ipc://@%s", bench_unique());
    if (zmq_bind(end->socket, address) < 0 || zmq_getsockopt(end->socket, ZMQ_LAST_ENDPOINT, address, &length) < 0)
        bench_fail("zmq_bind: %s", zmq_strerror(zmq_errno()));
    return end;
}

/* The library connects behind the program's back; a first exchange makes sure that it has. */
static void pair_accept(void *each)
{
    struct end *end = each;
    pair_receive(end, 1);
    if (!end->one_way)
        pair_send(end, "", 1);
}

static void *pair_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    (void)medium;
    struct end *end = end_new(contender->variant, size);
    if (zmq_connect(end->socket, address) < 0)
        bench_fail("zmq_connect: %s", zmq_strerror(zmq_errno()));
    pair_send(end, "", 1);
    if (!end->one_way)
        pair_receive(end, 1);
    return end;
}

static void pair_close(void *each)
{
    struct end *end = each;
    zmq_close(end->socket);
    zmq_ctx_term(end->context);
    free(end->buffer);
    free(end);
}

const struct bench_contender bench_zmq_pair = {
    .name = "libzmq PAIR",
    .shows = "zmq_send, zmq_recv on PAIR sockets",
    .variant = ZMQ_PAIR,
    .listen = pair_listen,
    .accept = pair_accept,
    .dial = pair_dial,
    .send = pair_send,
    .receive = pair_receive,
    .close = pair_close,
};

const struct bench_contender bench_zmq_request = {
    .name = "libzmq REQ/REP",
    .shows = "zmq_send, zmq_recv on REQ and REP sockets",
    .variant = ZMQ_REQ,
    .listen = pair_listen,
    .accept = pair_accept,
    .dial = pair_dial,
    .send = pair_send,
    .receive = pair_receive,
    .close = pair_close,
};

const struct bench_contender bench_zmq_push = {
    .name = "libzmq PUSH/PULL",
    .shows = "zmq_send, zmq_recv on PUSH and PULL sockets",
    .variant = ZMQ_PUSH,
    .listen = pair_listen,
    .accept = pair_accept,
    .dial = pair_dial,
    .send = pair_send,
    .receive = pair_receive,
    .close = pair_close,
};

#else

const struct bench_contender bench_zmq_push = {.name = "libzmq PUSH/PULL"};
const struct bench_contender bench_zmq_pair = {.name = "libzmq PAIR"};
const struct bench_contender bench_zmq_request = {.name = "libzmq REQ/REP"};

#endif
