/* SPDX-License-Identifier: MIT */
/* Byte streams for tests: both ends of one in this process, without framing. */
#ifndef TELEX_TESTS_STREAMS_H
#define TELEX_TESTS_STREAMS_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/reason.h"
#include "medium/stream/bytes.h"
#include "os/clock.h"
#include "os/fork.h"
#include "unit/testing.h"

enum { MS = 1000000 };

struct streams {
    struct telex_bytes_port *port;
    struct telex_bytes *dialed, *accepted;
};

static inline const struct telex_bytes_medium *streams_medium(const char *text, struct telex_address *ret_address)
{
    if (telex_address_parse(text, NULL, ret_address) < 0)
        fail_msg("%s: %s", text, telex_said());
    return telex_medium_of(ret_address)->driver;
}

static inline int streams_listen(const char *text, struct telex_bytes_port **ret_port)
{
    struct telex_address address;
    return streams_medium(text, &address)->listen(&address, ret_port);
}

static inline int streams_dial(const char *text, int64_t deadline, struct telex_bytes **ret_bytes)
{
    struct telex_address address;
    return streams_medium(text, &address)->dial(&address, deadline, ret_bytes);
}

/* PREFIX unix://@NAME SUFFIX, with a name that is this case's own, that of its directory; good until the eighth call after it. */
static inline const char *streams_abstract(const char *prefix, const char *suffix)
{
    static char texts[8][256];
    static unsigned next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "%sunix://@%s%s", prefix, testing_directory(), suffix);
    return text;
}

/* Whether this machine has IPv6. */
static inline bool streams_ipv6(void)
{
    struct telex_bytes_port *port;
    if (streams_listen("tcp://[::1]:0", &port) < 0)
        return false;
    port->ops->close(port);
    return true;
}

static inline int64_t streams_soon(void)
{
    return telex_clock() + (int64_t)60000 * MS; /* a hang guard, also for a loaded machine under sanitizers */
}

/* Waits until `fd` is ready for `events`. */
static inline void streams_ready(int fd, short events)
{
    struct pollfd poll = {.fd = fd, .events = events};
    assert_int_equal(telex_poll(&poll, 1, streams_soon()), 1);
}

static inline struct telex_bytes *streams_accept(struct telex_bytes_port *port)
{
    struct telex_bytes *bytes;
    streams_ready(port->ops->descriptor(port), POLLIN);
    int error = port->ops->accept(port, &bytes);
    if (error < 0)
        fail_msg("accept: %s", telex_said());
    return bytes;
}

/* `dial`: options for the dialing side's address, "" for none; it follows the listener's real address. */
static inline struct streams streams_new(const char *listen, const char *dial)
{
    struct streams streams;
    char text[512];
    if (streams_listen(listen, &streams.port) < 0)
        fail_msg("%s: %s", listen, telex_said());
    snprintf(text, sizeof text, "%s%s%s", strncmp(dial, "?fault", 6) == 0 ? "fault+" : "", streams.port->ops->address(streams.port), dial);
    if (streams_dial(text, streams_soon(), &streams.dialed) < 0)
        fail_msg("%s: %s", text, telex_said());
    streams.accepted = streams_accept(streams.port);
    return streams;
}

static inline void streams_free(struct streams *streams)
{
    if (streams->dialed != NULL)
        streams->dialed->ops->close(streams->dialed);
    if (streams->accepted != NULL)
        streams->accepted->ops->close(streams->accepted);
    streams->port->ops->close(streams->port);
}

/* The text as a part to write. */
static inline struct iovec streams_part(const char *text)
{
    return (struct iovec){(void *)text, strlen(text)};
}

/* Writes the text with descriptors. */
static inline ssize_t streams_pass(struct telex_bytes *bytes, const char *text, const int *fds, unsigned fd_count)
{
    struct iovec part = streams_part(text);
    return bytes->ops->write(bytes, &part, 1, fds, fd_count);
}

static inline ssize_t streams_write(struct telex_bytes *bytes, const void *data, size_t length)
{
    return bytes->ops->write(bytes, &(struct iovec){(void *)data, length}, 1, NULL, 0);
}

static inline ssize_t streams_read(struct telex_bytes *bytes, void *data, size_t length)
{
    return bytes->ops->read(bytes, &(struct iovec){data, length}, 1, NULL, NULL);
}

/* Reads exactly `length` bytes, waiting for them. */
static inline void streams_expect(struct telex_bytes *bytes, const void *expected, size_t length)
{
    char data[256];
    assert_true(length <= sizeof data);
    for (size_t at = 0; at < length;) {
        streams_ready(bytes->ops->descriptor(bytes), POLLIN);
        ssize_t got = streams_read(bytes, data + at, length - at);
        if (got == -EAGAIN)
            continue;
        if (got <= 0)
            fail_msg("read: %zd, %s", got, telex_said());
        at += (size_t)got;
    }
    assert_memory_equal(data, expected, length);
}

#endif
