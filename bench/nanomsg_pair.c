/* SPDX-License-Identifier: MIT */
/* nanomsg, by its own way for two processes: PAIR sockets. Without the library: not built. */
#include "bench.h"

#ifdef BENCH_NANOMSG
#include <arpa/inet.h>
#include <nanomsg/nn.h>
#include <nanomsg/pair.h>
#include <nanomsg/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
    int socket;
    size_t size;
    unsigned char *buffer;
    char path[BENCH_ADDRESS / 2 + 16]; /* to be removed */
};

static const char *why(void)
{
    return nn_strerror(nn_errno());
}

static struct end *end_new(size_t size)
{
    struct end *end = malloc(sizeof *end);
    if (!end)
        bench_fail("out of memory");
    *end = (struct end){.socket = nn_socket(AF_SP, NN_PAIR), .size = size, .buffer = malloc(size)};
    if (end->socket < 0 || !end->buffer || nn_setsockopt(end->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &(int){-1}, sizeof(int)) < 0)
        bench_fail("nn_socket: %s", why());
    if (nn_setsockopt(end->socket, NN_TCP, NN_TCP_NODELAY, &(int){1}, sizeof(int)) < 0) /* as all others here */
        bench_fail("NN_TCP_NODELAY: %s", why());
    return end;
}

static void pair_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    if (nn_send(end->socket, data, size, 0) != (int)size)
        bench_fail("nn_send: %s", why());
}

static const unsigned char *pair_receive(void *each, size_t size)
{
    struct end *end = each;
    if (nn_recv(end->socket, end->buffer, end->size, 0) != (int)size)
        bench_fail("nn_recv: not %zu bytes: %s", size, why());
    return end->buffer;
}

/* The library does not tell which port it got, so it is asked for one that was free a moment ago. */
static unsigned free_port(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, length) < 0 || getsockname(fd, (struct sockaddr *)&name, &length) < 0)
        bench_fail("no free port");
    close(fd);
    return ntohs(name.sin_port);
}

static void *pair_listen(const struct bench_contender *contender, const char *medium, size_t size, char address[BENCH_ADDRESS])
{
    (void)contender;
    struct end *end = end_new(size);
    if (strcmp(medium, "tcp") == 0) {
        snprintf(address, BENCH_ADDRESS, "tcp://127.0.0.1:%u", free_port());
    } else {
        snprintf(end->path, sizeof end->path, "/tmp/%.63s", bench_unique());
        snprintf(address, BENCH_ADDRESS, "ipc://%s", end->path);
    }
    if (nn_bind(end->socket, address) < 0)
        bench_fail("nn_bind: %s", why());
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
    (void)contender, (void)medium;
    struct end *end = end_new(size);
    if (nn_connect(end->socket, address) < 0)
        bench_fail("nn_connect: %s", why());
    pair_send(end, "", 1);
    pair_receive(end, 1);
    return end;
}

static void pair_close(void *each)
{
    struct end *end = each;
    nn_close(end->socket);
    if (end->path[0] != '\0')
        unlink(end->path);
    free(end->buffer);
    free(end);
}

const struct bench_contender bench_nanomsg_pair = {
    .name = "nanomsg PAIR",
    .shows = "nn_send, nn_recv on PAIR sockets",
    .listen = pair_listen,
    .accept = pair_accept,
    .dial = pair_dial,
    .send = pair_send,
    .receive = pair_receive,
    .close = pair_close,
};

#else

const struct bench_contender bench_nanomsg_pair = {.name = "nanomsg PAIR"};

#endif
