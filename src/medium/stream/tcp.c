/* SPDX-License-Identifier: MIT */
/* TCP: tcp://HOST:PORT, tcp://[::1]:PORT; listening also at port 0 (one is picked) and at an empty host or * (every interface). */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/reason.h"
#include "medium/stream/bytes.h"
#include "medium/stream/resolve.h"
#include "medium/stream/sockets.h"
#include "os/clock.h"
#include "os/fork.h"

enum { HOST_MAX = 256, PLACE_MAX = 128 };

static const int64_t listen_look_up =
    INT64_C(10000000000); /* ns: telex_listen() has no deadline, a look-up needs one */

struct tcp_bytes {
    struct telex_bytes base;
    int fd;
};

struct tcp_port {
    struct telex_bytes_port base;
    int fd;
    char address[PLACE_MAX];
};

#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44 /* Linux 6.15; before, it is refused, and that does no harm */
#endif

/*
 * A lone message leaves at once; a host that went silent is found within `keepalive` (40 s): idle after half of it and four questions, an eighth apart;
 * with bytes on their way after 15 repetitions at most a twentieth apart (2 s), some 27 s. The kernel allows no less than 1 s for that, which makes some
 * 15 s, and before Linux 6.15 knows no such bound: some 15 min. TCP_USER_TIMEOUT would find it too, but it also breaks a connection whose
 * peer is alive and only has not read for that long. What a listening socket has, those that it accepts inherit.
 */
static void tune(int fd, int64_t keepalive)
{
    static const int64_t ms = 1000000, s = 1000000000;
    int part = (int)(keepalive / 8 / s), again = (int)(keepalive / 20 / ms);
    const struct {
        int level, name, value;
    } tuning[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, part > 0 ? (int)(keepalive / 2 / s) : 1},
        {IPPROTO_TCP, TCP_KEEPINTVL, part > 0 ? part : 1},
        {IPPROTO_TCP, TCP_KEEPCNT, part > 0 ? 4 : 3},
        {IPPROTO_TCP, TCP_RTO_MAX_MS, again < 1000 ? 1000 : again > 120000 ? 120000 : again},
    };
    for (size_t i = 0; i < sizeof tuning / sizeof *tuning; i++)
        setsockopt(fd, tuning[i].level, tuning[i].name, &tuning[i].value, sizeof tuning[i].value);
}

/* "127.0.0.1:4242" or "[::1]:4242"; an IPv4 peer of an IPv6 socket is written as IPv4. */
static void write_place(const union telex_host *host, char *ret_text, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "?", scope[IF_NAMESIZE + 1] = "";
    if (host->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&host->v6.sin6_addr)) {
        inet_ntop(AF_INET, &host->v6.sin6_addr.s6_addr[12], text, sizeof text);
        snprintf(ret_text, size, "%s:%u", text, ntohs(host->v6.sin6_port));
    } else if (host->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &host->v6.sin6_addr, text, sizeof text);
        if (host->v6.sin6_scope_id != 0) {
            scope[0] = '%';
            if (if_indextoname(host->v6.sin6_scope_id, scope + 1) == NULL)
                snprintf(scope, sizeof scope, "%%%u", host->v6.sin6_scope_id);
        }
        snprintf(ret_text, size, "[%s%s]:%u", text, scope, ntohs(host->v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &host->v4.sin_addr, text, sizeof text);
        snprintf(ret_text, size, "%s:%u", text, ntohs(host->v4.sin_port));
    }
}

/* ---- a stream ---- */

static struct tcp_bytes *of(struct telex_bytes *bytes)
{
    return (struct tcp_bytes *)bytes;
}

static ssize_t tcp_read(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    (void)fds;
    (void)count;
    return telex_socket_read(of(bytes)->fd, parts, part_count, MSG_DONTWAIT);
}

static ssize_t tcp_doze(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds, unsigned *count)
{
    (void)fds;
    (void)count;
    return telex_socket_read(of(bytes)->fd, parts, part_count, 0);
}

static ssize_t tcp_write(struct telex_bytes *bytes, const struct iovec *parts, int part_count, const int *fds,
                         unsigned fd_count)
{
    (void)fds;
    if (fd_count > 0)
        return telex_say(-EOPNOTSUPP, "descriptors do not travel over tcp");
    return telex_socket_write(of(bytes)->fd, parts, part_count, NULL, 0);
}

static int tcp_end(struct telex_bytes *bytes)
{
    return telex_socket_end(of(bytes)->fd);
}

/* A connection that broke keeps its count for ever, so its state is asked as well. */
static int64_t tcp_unsent(struct telex_bytes *bytes)
{
    int fd = of(bytes)->fd;
    int64_t unsent = telex_socket_unsent(fd);
    struct tcp_info info = {0};
    socklen_t length = sizeof info.tcpi_state;
    if (unsent > 0 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state == TCP_CLOSE)
        return telex_say(-ECONNRESET, "the connection broke before the other host had acknowledged everything");
    return unsent;
}

static int tcp_descriptor(struct telex_bytes *bytes)
{
    return of(bytes)->fd;
}

static void tcp_peer(struct telex_bytes *bytes, struct telex_medium_peer *ret_peer)
{
    *ret_peer = (struct telex_medium_peer){.pid = -1, .uid = -1, .gid = -1};
    union telex_host host;
    socklen_t length = sizeof host;
    if (getpeername(of(bytes)->fd, &host.any, &length) == 0)
        write_place(&host, ret_peer->address, sizeof ret_peer->address);
}

static void tcp_close(struct telex_bytes *bytes)
{
    telex_shut(of(bytes)->fd);
    free(bytes);
}

static const struct telex_bytes_ops bytes_ops = {
    .read = tcp_read,
    .doze = tcp_doze,
    .write = tcp_write,
    .end = tcp_end,
    .unsent = tcp_unsent,
    .descriptor = tcp_descriptor,
    .peer = tcp_peer,
    .close = tcp_close,
};

/* Takes `fd` over, also when it fails. */
static int bytes_new(int fd, struct telex_bytes **ret_bytes)
{
    struct tcp_bytes *self = malloc(sizeof *self);
    int error = self == NULL ? telex_say(-ENOMEM, "out of memory") : telex_socket_make_dozing(fd);
    if (error < 0) {
        telex_shut(fd);
        free(self);
        return error;
    }
    *self = (struct tcp_bytes){.base = {.ops = &bytes_ops}, .fd = fd};
    *ret_bytes = &self->base;
    return 0;
}

/* ---- dialing ---- */

static int explain(int error, const union telex_host *host)
{
    char place[PLACE_MAX];
    write_place(host, place, sizeof place);
    const char *sentence = error == -ECONNREFUSED                    ? "nobody listens there"
                           : error == -ETIMEDOUT || error == -EAGAIN ? "not connected by the deadline"
                                                                     : strerror(-error);
    return telex_say(error, "tcp://%s: %s", place, sentence);
}

/*
 * Dialing a port of this host where nobody listens, the kernel may pick that very port for our end: the socket is then
 * connected to itself, and what we send comes back.
 */
static bool is_own_end(int fd)
{
    union telex_host ours = {0}, theirs = {0};
    socklen_t our_length = sizeof ours, their_length = sizeof theirs;
    if (getsockname(fd, &ours.any, &our_length) < 0 || getpeername(fd, &theirs.any, &their_length) < 0)
        return false;
    if (ours.any.sa_family == AF_INET)
        return ours.v4.sin_port == theirs.v4.sin_port && ours.v4.sin_addr.s_addr == theirs.v4.sin_addr.s_addr;
    return ours.v6.sin6_port == theirs.v6.sin6_port && IN6_ARE_ADDR_EQUAL(&ours.v6.sin6_addr, &theirs.v6.sin6_addr);
}

static int finish_connect(int fd, int64_t deadline)
{
    struct pollfd poll = {.fd = fd, .events = POLLOUT};
    int ready = telex_poll(&poll, 1, deadline);
    if (ready <= 0)
        return ready < 0 ? ready : deadline <= 0 ? -EAGAIN : -ETIMEDOUT;
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? -errno : -error;
}

/* An owned descriptor, or -errno with a sentence. */
static int connect_to(const union telex_host *host, int64_t keepalive, int64_t deadline)
{
    int fd = telex_socket_new(host->any.sa_family);
    if (fd < 0)
        return fd;
    tune(fd, keepalive);
    int error = connect(fd, &host->any, telex_host_length(host)) < 0 ? -errno : 0;
    if (error == -EINPROGRESS)
        error = finish_connect(fd, deadline);
    if (error == 0 && is_own_end(fd))
        error = -ECONNREFUSED;
    if (error == 0)
        return fd;
    telex_shut(fd);
    return explain(error, host);
}

/* Until when to try an address when `left` remain: an equal share, so that a host that does not answer leaves time for the others. */
static int64_t share(int64_t deadline, unsigned left)
{
    static const int64_t most = INT64_C(10000000000);
    int64_t now = telex_clock();
    if (left <= 1 || deadline <= now)
        return deadline;
    int64_t part = (deadline - now) / left;
    return now + (part < most ? part : most);
}

static int tcp_dial(const struct telex_address *address, int64_t deadline, struct telex_bytes **ret_bytes)
{
    char host[HOST_MAX];
    uint16_t port;
    int error = telex_address_host_port(address->where, host, sizeof host, &port);
    if (error < 0)
        return error;
    if (host[0] == '\0' || strcmp(host, "*") == 0 || port == 0)
        return telex_say(-EINVAL,
                         "tcp://%.100s: a host and a port are wanted to dial; only a listener may leave them open",
                         address->where);
    struct telex_resolved resolved;
    error = telex_resolve(host, port, deadline, &resolved);
    if (error < 0)
        return error;
    int fd = -ENOENT;
    for (unsigned i = 0; i < resolved.count && fd < 0 && fd != -EINTR; i++)
        fd = connect_to(&resolved.hosts[i], address->settings.keepalive, share(deadline, resolved.count - i));
    return fd < 0 ? fd : bytes_new(fd, ret_bytes);
}

/* ---- listening ---- */

static struct tcp_port *port_of(struct telex_bytes_port *port)
{
    return (struct tcp_port *)port;
}

static int tcp_accept(struct telex_bytes_port *port, struct telex_bytes **ret_bytes)
{
    int fd = telex_socket_accept(port_of(port)->fd);
    return fd < 0 ? fd : bytes_new(fd, ret_bytes);
}

static int tcp_port_descriptor(struct telex_bytes_port *port)
{
    return port_of(port)->fd;
}

static const char *tcp_address(struct telex_bytes_port *port)
{
    return port_of(port)->address;
}

static void tcp_port_close(struct telex_bytes_port *port)
{
    telex_shut(port_of(port)->fd);
    free(port);
}

static const struct telex_bytes_port_ops port_ops = {
    .accept = tcp_accept,
    .descriptor = tcp_port_descriptor,
    .address = tcp_address,
    .close = tcp_port_close,
};

/* An owned descriptor that listens, or -errno with a sentence. */
static int listen_to(const union telex_host *host, int64_t keepalive)
{
    static const int yes = 1, no = 0;
    int fd = telex_socket_new(host->any.sa_family);
    if (fd < 0)
        return fd;
    tune(fd, keepalive);
    if (host->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&host->v6.sin6_addr))
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    /*
     * Past connections of an earlier listener do not hinder if both listeners had SO_REUSEADDR. A port that the kernel picks (the number
     * lies at the same place for both families) is bound without: with it, the kernel could give out one port twice.
     */
    bool picked = host->v4.sin_port == 0;
    if (!picked)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, &host->any, telex_host_length(host)) == 0) {
        if (picked)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (listen(fd, SOMAXCONN) == 0)
            return fd;
    }
    int error = -errno;
    telex_shut(fd);
    char place[PLACE_MAX];
    write_place(host, place, sizeof place);
    const char *sentence = error == -EADDRINUSE      ? "somebody listens there; choose another port, or 0 for any"
                           : error == -EADDRNOTAVAIL ? "this is no address of this host"
                           : error == -EACCES        ? "permission denied: ports below 1024 are for privileged programs"
                                                     : strerror(-error);
    return telex_say(error, "tcp://%s: %s", place, sentence);
}

static int listen_at(const char *where, int64_t keepalive)
{
    char host[HOST_MAX];
    uint16_t port;
    int error = telex_address_host_port(where, host, sizeof host, &port);
    if (error < 0)
        return error;
    struct telex_resolved resolved = {
        .count = 2, /* every interface: IPv6 with IPv4, or IPv4 alone where there is no IPv6 */
        .hosts = {{.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}},
                  {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}}},
    };
    if (host[0] != '\0' && strcmp(host, "*") != 0)
        error = telex_resolve(host, port, telex_clock() + listen_look_up, &resolved);
    if (error < 0)
        return error;
    int fd = -ENOENT;
    for (unsigned i = 0; i < resolved.count && fd < 0 && fd != -EADDRINUSE; i++)
        fd = listen_to(&resolved.hosts[i], keepalive);
    return fd;
}

static int tcp_listen(const struct telex_address *address, struct telex_bytes_port **ret_port)
{
    struct tcp_port *self = calloc(1, sizeof *self);
    if (self == NULL)
        return telex_say(-ENOMEM, "out of memory");
    self->base.ops = &port_ops;
    self->fd = listen_at(address->where, address->settings.keepalive);
    if (self->fd < 0) {
        int error = self->fd;
        free(self);
        return error;
    }
    union telex_host bound = {0};
    socklen_t length = sizeof bound;
    char place[PLACE_MAX];
    getsockname(self->fd, &bound.any, &length);
    write_place(&bound, place, sizeof place);
    telex_address_write("tcp", place, self->address, sizeof self->address);
    *ret_port = &self->base;
    return 0;
}

const struct telex_bytes_medium telex_bytes_tcp = {.dial = tcp_dial, .listen = tcp_listen};
