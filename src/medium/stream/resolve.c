/* SPDX-License-Identifier: MIT */
/*
 * Names by c-ares: its sockets are polled here until the deadline, and live only during the call. They are made by the functions
 * below, so that a forked child does not keep them and a name server that hangs up raises no SIGPIPE.
 */
#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/reason.h"
#include "medium/stream/resolve.h"
#include "os/clock.h"
#include "os/fork.h"

socklen_t telex_host_length(const union telex_host *host)
{
    return host->any.sa_family == AF_INET6 ? sizeof host->v6 : sizeof host->v4;
}

/* ---- literals ---- */

static bool read_scope(const char *text, uint32_t *ret_scope)
{
    unsigned index = if_nametoindex(text);
    if (index == 0 && text[0] != '\0' && strspn(text, "0123456789") == strlen(text))
        index = (unsigned)strtoul(text, NULL, 10);
    *ret_scope = index;
    return index != 0;
}

/* 1: it is a literal; 0: it is none; -EINVAL with a sentence: it is one of an interface that is not there. */
static int read_literal(const char *text, uint16_t port, union telex_host *ret_host)
{
    char bare[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "%");
    *ret_host = (union telex_host){.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    if (inet_pton(AF_INET, text, &ret_host->v4.sin_addr) == 1)
        return 1;
    if (length >= sizeof bare)
        return 0;
    memcpy(bare, text, length);
    bare[length] = '\0';
    *ret_host = (union telex_host){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    if (inet_pton(AF_INET6, bare, &ret_host->v6.sin6_addr) != 1)
        return 0;
    if (text[length] == '%' && !read_scope(text + length + 1, &ret_host->v6.sin6_scope_id))
        return telex_say(-EINVAL, "\"%.100s\": there is no network interface \"%.32s\"", text, text + length + 1);
    return 1;
}

/* ---- names ---- */

static ares_socket_t make_socket(int family, int type, int protocol, void *user)
{
    (void)user;
    int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    return telex_own(fd) < 0 ? ARES_SOCKET_BAD : fd;
}

static int close_socket(ares_socket_t fd, void *user)
{
    (void)user;
    telex_shut(fd);
    return 0;
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t length, void *user)
{
    (void)user;
    return connect(fd, to, length);
}

static ares_ssize_t receive_from(ares_socket_t fd, void *bytes, size_t length, int flags, struct sockaddr *from,
                                 ares_socklen_t *from_length, void *user)
{
    (void)user;
    return recvfrom(fd, bytes, length, flags, from, from_length);
}

static ares_ssize_t send_parts(ares_socket_t fd, const struct iovec *parts, int part_count, void *user)
{
    (void)user;
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)part_count};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {make_socket, close_socket, connect_socket, receive_from,
                                                              send_parts};

struct look_up {
    uint16_t port;
    bool done;
    int status; /* of c-ares */
    struct telex_resolved *resolved;
};

static void found(void *user, int status, int timeouts, struct ares_addrinfo *result)
{
    (void)timeouts;
    struct look_up *look_up = user;
    struct telex_resolved *resolved = look_up->resolved;
    look_up->done = true;
    look_up->status = status;
    for (struct ares_addrinfo_node *node = result == NULL ? NULL : result->nodes; node != NULL; node = node->ai_next) {
        union telex_host *host = &resolved->hosts[resolved->count];
        if (resolved->count == TELEX_RESOLVED_MAX || node->ai_addrlen > sizeof *host)
            continue;
        memcpy(host, node->ai_addr, node->ai_addrlen);
        if (node->ai_family == AF_INET)
            host->v4.sin_port = htons(look_up->port);
        else if (node->ai_family == AF_INET6)
            host->v6.sin6_port = htons(look_up->port);
        else
            continue;
        resolved->count++;
    }
    if (result != NULL)
        ares_freeaddrinfo(result);
}

/* Until when to sleep at most: the deadline, or c-ares's own next timer. */
static int64_t next_wake(ares_channel channel, int64_t deadline)
{
    struct timeval timer;
    if (deadline <= 0 || ares_timeout(channel, NULL, &timer) == NULL)
        return deadline;
    int64_t wake = telex_clock() + (int64_t)timer.tv_sec * 1000000000 + (int64_t)timer.tv_usec * 1000;
    return wake < deadline ? wake : deadline;
}

/* Lets c-ares go on until the look-up is done: 0, or why it was given up. */
static int wait_for(ares_channel channel, const struct look_up *look_up, int64_t deadline)
{
    while (!look_up->done) {
        ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
        struct pollfd fds[ARES_GETSOCK_MAXNUM];
        unsigned count = 0;
        int bits = ares_getsock(channel, sockets, ARES_GETSOCK_MAXNUM);
        for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
            int events = (ARES_GETSOCK_READABLE(bits, i) ? POLLIN : 0) | (ARES_GETSOCK_WRITABLE(bits, i) ? POLLOUT : 0);
            if (events != 0)
                fds[count++] = (struct pollfd){.fd = sockets[i], .events = (short)events};
        }
        int ready = telex_poll(fds, count, next_wake(channel, deadline));
        if (ready < 0)
            return ready;
        for (unsigned i = 0; i < count; i++) {
            ares_socket_t in = fds[i].revents & ~POLLOUT ? fds[i].fd : ARES_SOCKET_BAD;
            ares_socket_t out = fds[i].revents & POLLOUT ? fds[i].fd : ARES_SOCKET_BAD;
            if (fds[i].revents != 0)
                ares_process_fd(channel, in, out);
        }
        if (ready == 0) {
            ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* its timers */
            if (!look_up->done && (deadline <= 0 || telex_clock() >= deadline))
                return deadline <= 0 ? -EAGAIN : -ETIMEDOUT;
        }
    }
    return 0;
}

static int explain(const char *host, int status)
{
    static const struct {
        int status, error;
        const char *sentence;
    } known[] = {
        {ARES_ENOTFOUND, -ENOENT, "no host is called so"},
        {ARES_ENODATA, -ENOENT, "the name has no address"},
        {ARES_EBADNAME, -EINVAL, "this cannot be the name of a host"},
        {ARES_ETIMEOUT, -ETIMEDOUT, "no name server has answered"},
        {ARES_ENOMEM, -ENOMEM, "out of memory"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].status == status)
            return telex_say(known[i].error, "host \"%.100s\": %s", host, known[i].sentence);
    return telex_say(-EAGAIN, "host \"%.100s\" cannot be looked up just now: %s", host, ares_strerror(status));
}

static int library_status;

static void begin_library(void)
{
    library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

static int look_name_up(const char *host, uint16_t port, int64_t deadline, struct telex_resolved *resolved)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_library);
    ares_channel channel;
    int status = library_status != ARES_SUCCESS ? library_status : ares_init(&channel);
    if (status != ARES_SUCCESS)
        return explain(host, status);
    ares_set_socket_functions(channel, &socket_functions, NULL);

    struct look_up look_up = {.port = port, .resolved = resolved};
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(channel, host, NULL, &hints, found, &look_up);
    int error = wait_for(channel, &look_up, deadline);
    ares_destroy(channel); /* calls `found` if it was not called yet */
    if (error < 0)
        return telex_say(error, "host \"%.100s\": the look-up was not finished %s", host,
                         error == -EINTR ? "when interrupted" : "by the deadline");
    if (look_up.status != ARES_SUCCESS)
        return explain(host, look_up.status);
    return resolved->count > 0 ? 0 : explain(host, ARES_ENODATA);
}

int telex_resolve(const char *host, uint16_t port, int64_t deadline, struct telex_resolved *ret_resolved)
{
    struct telex_resolved resolved = {0};
    int literal = read_literal(host, port, &resolved.hosts[0]);
    if (literal < 0)
        return literal;
    resolved.count = (unsigned)literal;
    int error = literal ? 0 : look_name_up(host, port, deadline, &resolved);
    if (error == 0)
        *ret_resolved = resolved;
    return error;
}
