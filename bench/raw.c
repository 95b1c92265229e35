/* SPDX-License-Identifier: MIT */
/*
 * The yardsticks: what the sockets and pipes themselves do, without any library, in the plain way in which a careful programmer
 * writes it. Whole messages of a known size need no framing here, which every library must pay for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"

enum { BLOCK = 65536, BUSY = 1 };

struct end {
    int listener, in, out;
    const struct bench_contender *contender;
    const char *fifos; /* pipes: where they are, until they are open */
    unsigned char *buffer;
    size_t filled; /* packed */
};

static struct end *end_new(size_t size)
{
    struct end *end = malloc(sizeof *end);
    unsigned char *buffer = malloc(size > BLOCK ? size : BLOCK);
    if (!end || !buffer)
        bench_fail("out of memory");
    *end = (struct end){.listener = -1, .in = -1, .out = -1, .buffer = buffer};
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

static bool is_pipe(const char *medium)
{
    return strcmp(medium, "pipe") == 0 || strcmp(medium, "fd") == 0;
}

/* A pipe knows no MSG_DONTWAIT: whoever never sleeps there says so once. */
static void open_pipes(const struct bench_contender *contender, const char *address, bool active, struct end *end)
{
    int fds[2];
    bench_fifos_open(address, active, fds);
    end->in = fds[0];
    end->out = fds[1];
    if (contender->variant == BUSY && fcntl(end->in, F_SETFL, O_NONBLOCK) < 0)
        bench_fail("O_NONBLOCK: %s", strerror(errno));
}

static void *raw_listen(const struct bench_contender *contender, const char *medium, size_t size,
                        char address[BENCH_ADDRESS])
{
    struct end *end = end_new(size);
    end->contender = contender;
    if (is_pipe(medium)) {
        bench_fifos_make(address);
        end->fifos = address;
        return end;
    }
    end->listener = is_tcp(medium) ? tcp_listen(address) : unix_listen(address);
    return end;
}

static void raw_accept(void *each)
{
    struct end *end = each;
    int domain;
    socklen_t length = sizeof domain;
    if (end->fifos) {
        open_pipes(end->contender, end->fifos, false, end);
        return;
    }
    end->in = end->out = accept(end->listener, NULL, NULL);
    if (end->in < 0 || getsockopt(end->in, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0)
        bench_fail("accept: %s", strerror(errno));
    if (domain == AF_INET)
        set_nodelay(end->in);
}

static void *raw_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    struct end *end = end_new(size);
    if (is_pipe(medium))
        open_pipes(contender, address, true, end);
    else
        end->in = end->out = is_tcp(medium) ? tcp_dial(address) : unix_dial(address);
    return end;
}

static void raw_close(void *each)
{
    struct end *end = each;
    close(end->in);
    if (end->out != end->in)
        close(end->out);
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
        ssize_t n = write(end->out, from, size);
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
        ssize_t n = read(end->in, end->buffer + got, size - got);
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
        ssize_t n = end->in == end->out ? recv(end->in, end->buffer + got, size - got, MSG_DONTWAIT)
                                        : read(end->in, end->buffer + got, size - got);
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
    ssize_t n = end->in == end->out ? send(end->out, data, size, MSG_NOSIGNAL) : write(end->out, data, size);
    if (n != (ssize_t)size)
        bench_fail("send: %s", strerror(errno));
}

static uint64_t raw_drain(void *each, size_t size)
{
    struct end *end = each;
    uint64_t bytes = 0;
    ssize_t n;
    while ((n = read(end->in, end->buffer, BLOCK)) > 0)
        bytes += (uint64_t)n;
    if (n < 0)
        bench_fail("read: %s", strerror(errno));
    return bytes / size;
}

static void raw_finish(void *each)
{
    struct end *end = each;
    if (end->in != end->out) {
        close(end->out);
        end->out = end->in;
    } else if (shutdown(end->out, SHUT_WR) < 0) {
        bench_fail("shutdown: %s", strerror(errno));
    }
}

/* Many messages in a write, as large as the receiver's reads. */
static void packed_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    if (end->filled + size > BLOCK) {
        raw_write(end, end->buffer, end->filled);
        end->filled = 0;
    }
    memcpy(end->buffer + end->filled, data, size);
    end->filled += size;
}

static void packed_finish(void *each)
{
    struct end *end = each;
    raw_write(end, end->buffer, end->filled);
    raw_finish(end);
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
    .shows = "write(2) and recv(2) with MSG_DONTWAIT (pipes: read(2) with O_NONBLOCK) until something has come",
    .variant = BUSY,
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

const struct bench_contender bench_raw_packed = {
    .name = "raw, packed",
    .shows = "the messages one behind the other in 64 KiB, one write(2) for each 64 KiB; the receiver reads 64 KiB at a time",
    .listen = raw_listen,
    .accept = raw_accept,
    .dial = raw_dial,
    .send = packed_send,
    .drain = raw_drain,
    .finish = packed_finish,
    .close = raw_close,
};
