/* SPDX-License-Identifier: MIT */
/*
 * The yardsticks: what the sockets themselves do, without any library, in the plain way in which a careful programmer
 * writes it. Whole messages of a known size need no framing here, which every library must pay for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"

enum { BLOCK = 65536 };

struct end {
    int listener, fd;
    unsigned char *buffer;
};

static struct end *end_new(size_t size)
{
    struct end *end = malloc(sizeof *end);
    unsigned char *buffer = malloc(size > BLOCK ? size : BLOCK);
    if (!end || !buffer)
        bench_fail("out of memory");
    *end = (struct end){.listener = -1, .fd = -1, .buffer = buffer};
    return end;
}

static socklen_t unix_address(struct sockaddr_un *ret_address, const char *name)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strncpy(ret_address->sun_path + 1, name, sizeof ret_address->sun_path - 2);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

static int unix_listen(char address[BENCH_ADDRESS])
{
    struct sockaddr_un name;
    snprintf(address, BENCH_ADDRESS, "%s", bench_unique());
    socklen_t length = unix_address(&name, address);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, length) < 0 || listen(fd, 1) < 0)
        bench_fail("unix socket: %s", strerror(errno));
    return fd;
}

static int unix_dial(const char *address)
{
    struct sockaddr_un name;
    socklen_t length = unix_address(&name, address);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&name, length) < 0)
        bench_fail("unix connect: %s", strerror(errno));
    return fd;
}

static int tcp_listen(char address[BENCH_ADDRESS])
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, length) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &length) < 0)
        bench_fail("tcp socket: %s", strerror(errno));
    snprintf(address, BENCH_ADDRESS, "%u", (unsigned)ntohs(name.sin_port));
    return fd;
}

static void set_nodelay(int fd)
{
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
        bench_fail("TCP_NODELAY: %s", strerror(errno));
}

static int tcp_dial(const char *address)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)atoi(address))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof name) < 0)
        bench_fail("tcp connect: %s", strerror(errno));
    set_nodelay(fd);
    return fd;
}

static bool is_tcp(const char *medium)
{
    return strcmp(medium, "tcp") == 0;
}

static void *raw_listen(const struct bench_contender *contender, const char *medium, size_t size,
                        char address[BENCH_ADDRESS])
{
    (void)contender;
    struct end *end = end_new(size);
    end->listener = is_tcp(medium) ? tcp_listen(address) : unix_listen(address);
    return end;
}

static void raw_accept(void *each)
{
    struct end *end = each;
    int domain;
    socklen_t length = sizeof domain;
    end->fd = accept(end->listener, NULL, NULL);
    if (end->fd < 0 || getsockopt(end->fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0)
        bench_fail("accept: %s", strerror(errno));
    if (domain == AF_INET)
        set_nodelay(end->fd);
}

static void *raw_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    (void)contender;
    struct end *end = end_new(size);
    end->fd = is_tcp(medium) ? tcp_dial(address) : unix_dial(address);
    return end;
}

static void raw_close(void *each)
{
    struct end *end = each;
    close(end->fd);
    if (end->listener >= 0)
        close(end->listener);
    free(end->buffer);
    free(end);
}

static void raw_write(void *each, const void *data, size_t size)
{
    struct end *end = each;
    const unsigned char *from = data;
    while (size > 0) {
        ssize_t n = write(end->fd, from, size);
        if (n < 0)
            bench_fail("write: %s", strerror(errno));
        from += n;
        size -= (size_t)n;
    }
}

static const unsigned char *raw_read(void *each, size_t size)
{
    struct end *end = each;
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(end->fd, end->buffer + got, size - got);
        if (n <= 0)
            bench_fail("read: %s", n < 0 ? strerror(errno) : "end of stream");
        got += (size_t)n;
    }
    return end->buffer;
}

/* As raw_read(), but tries again where nothing has come, and never sleeps. */
static const unsigned char *raw_poll(void *each, size_t size)
{
    struct end *end = each;
    size_t got = 0;
    while (got < size) {
        ssize_t n = recv(end->fd, end->buffer + got, size - got, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            continue;
        if (n <= 0)
            bench_fail("recv: %s", n < 0 ? strerror(errno) : "end of stream");
        got += (size_t)n;
    }
    return end->buffer;
}

static void raw_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    if (send(end->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        bench_fail("send: %s", strerror(errno));
}

static uint64_t raw_drain(void *each, size_t size)
{
    struct end *end = each;
    uint64_t bytes = 0;
    ssize_t n;
    while ((n = read(end->fd, end->buffer, BLOCK)) > 0)
        bytes += (uint64_t)n;
    if (n < 0)
        bench_fail("read: %s", strerror(errno));
    return bytes / size;
}

static void raw_finish(void *each)
{
    struct end *end = each;
    if (shutdown(end->fd, SHUT_WR) < 0)
        bench_fail("shutdown: %s", strerror(errno));
}

const struct bench_contender bench_raw_blocking = {
    .name = "raw blocking",
    .shows = "write(2) and a blocking read(2)",
    .listen = raw_listen,
    .accept = raw_accept,
    .dial = raw_dial,
    .send = raw_write,
    .receive = raw_read,
    .close = raw_close,
};

const struct bench_contender bench_raw_busy = {
    .name = "raw busy-polled",
    .shows = "write(2) and recv(2) with MSG_DONTWAIT until something has come",
    .listen = raw_listen,
    .accept = raw_accept,
    .dial = raw_dial,
    .send = raw_write,
    .receive = raw_poll,
    .close = raw_close,
};

const struct bench_contender bench_raw_each = {
    .name = "raw, one send each",
    .shows = "send(2) for each message; the receiver reads 64 KiB at a time",
    .listen = raw_listen,
    .accept = raw_accept,
    .dial = raw_dial,
    .send = raw_send,
    .drain = raw_drain,
    .finish = raw_finish,
    .close = raw_close,
};
