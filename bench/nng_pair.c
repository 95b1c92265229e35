/* SPDX-License-Identifier: MIT */
/* nng, by its own quickest ways for two processes: pair0, and req0 with rep0. Without the library: not built. */
#include "bench.h"

#ifdef BENCH_NNG
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>

enum variant { PAIR, REQUEST };
enum { BUFFERED = 128 }; /* messages; it has no buffers unless told, and is much slower one way then */

struct end {
    nng_socket socket;
    size_t size;
    unsigned char *buffer;
};

static struct end *end_new(int variant, int (*open)(nng_socket *ret_socket), size_t size)
{
    struct end *end = malloc(sizeof *end);
    if (!end)
        bench_fail("out of memory");
    *end = (struct end){.size = size, .buffer = malloc(size)};
    int r = end->buffer ? open(&end->socket) : NNG_ENOMEM;
    if (r == 0)
        r = nng_socket_set_size(end->socket, NNG_OPT_RECVMAXSZ, 0);
    if (r == 0 && variant == PAIR)
        r = nng_socket_set_int(end->socket, NNG_OPT_SENDBUF, BUFFERED);
    if (r == 0 && variant == PAIR)
        r = nng_socket_set_int(end->socket, NNG_OPT_RECVBUF, BUFFERED);
    if (r != 0)
        bench_fail("nng open: %s", nng_strerror(r));
    return end;
}

static void pair_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    int r = nng_send(end->socket, (void *)data, size, 0);
    if (r != 0)
        bench_fail("nng_send: %s", nng_strerror(r));
}

static const unsigned char *pair_receive(void *each, size_t size)
{
    struct end *end = each;
    size_t length = end->size;
    int r = nng_recv(end->socket, end->buffer, &length, 0);
    if (r != 0 || length != size)
        bench_fail("nng_recv: %s", r != 0 ? nng_strerror(r) : "not as long as what was sent");
    return end->buffer;
}

static void *pair_listen(const struct bench_contender *contender, const char *medium, size_t size,
                         char address[BENCH_ADDRESS])
{
    struct end *end = end_new(contender->variant, contender->variant == PAIR ? nng_pair0_open : nng_rep0_open, size);
    bool tcp = strcmp(medium, "tcp") == 0;
    nng_listener listener;
    int port;
    if (tcp)
        snprintf(address, BENCH_ADDRESS, "tcp://127.0.0.1:0");
    else
        snprintf(address, BENCH_ADDRESS, "abstract://%s", bench_unique());
    int r = nng_listen(end->socket, address, &listener, 0);
    if (r == 0 && tcp) {
        r = nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port);
        snprintf(address, BENCH_ADDRESS, "tcp://127.0.0.1:%d", port);
    }
    if (r != 0)
        bench_fail("nng_listen %s: %s", address, nng_strerror(r));
    return end;
}

/* The library connects behind the program's back; a first exchange makes sure that it has. */
static void pair_accept(void *end)
{
    pair_receive(end, 1);
    pair_send(end, "", 1);
}

static void *pair_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    (void)medium;
    struct end *end = end_new(contender->variant, contender->variant == PAIR ? nng_pair0_open : nng_req0_open, size);
    int r = nng_dial(end->socket, address, NULL, 0);
    if (r != 0)
        bench_fail("nng_dial %s: %s", address, nng_strerror(r));
    pair_send(end, "", 1);
    pair_receive(end, 1);
    return end;
}

static void pair_close(void *each)
{
    struct end *end = each;
    nng_close(end->socket);
    free(end->buffer);
    free(end);
}

const struct bench_contender bench_nng_pair = {
    .name = "nng pair0",
    .shows = "nng_send, nng_recv on pair0 sockets",
    .variant = PAIR,
    .listen = pair_listen,
    .accept = pair_accept,
    .dial = pair_dial,
    .send = pair_send,
    .receive = pair_receive,
    .close = pair_close,
};

const struct bench_contender bench_nng_request = {
    .name = "nng req0/rep0",
    .shows = "nng_send, nng_recv on req0 and rep0 sockets",
    .variant = REQUEST,
    .listen = pair_listen,
    .accept = pair_accept,
    .dial = pair_dial,
    .send = pair_send,
    .receive = pair_receive,
    .close = pair_close,
};

#else

const struct bench_contender bench_nng_pair = {.name = "nng pair0"};
const struct bench_contender bench_nng_request = {.name = "nng req0/rep0"};

#endif
