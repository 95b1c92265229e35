/* SPDX-License-Identifier: MIT */
/* Opening streams: dialing, listening, accepting. The bytes are the medium's, what flows over them is the driver's. */
#include <errno.h>
#include <stdlib.h>

#include "medium/stream/fd.h"
#include "medium/stream/stream.h"
#include "medium/stream/unix.h"
#include "os/fork.h"

struct stream_port {
    struct telex_port port;
    struct telex_bytes_port *bytes;
    struct telex_settings settings;
};

static struct stream_port *port_of(struct telex_port *port)
{
    return (struct stream_port *)port;
}

static int port_accept(struct telex_port *port, struct telex_link **ret_link)
{
    struct stream_port *at = port_of(port);
    struct telex_bytes *bytes;
    int r = at->bytes->ops->accept(at->bytes, &bytes);
    return r < 0 ? r : telex_stream_new(bytes, &at->settings, true, ret_link);
}

static int port_descriptor(struct telex_port *port)
{
    struct stream_port *at = port_of(port);
    return at->bytes->ops->descriptor(at->bytes);
}

static const char *port_address(struct telex_port *port)
{
    struct stream_port *at = port_of(port);
    return at->bytes->ops->address(at->bytes);
}

static void port_close(struct telex_port *port)
{
    struct stream_port *at = port_of(port);
    at->bytes->ops->close(at->bytes);
    free(at);
}

static const struct telex_port_ops port_ops = {port_accept, port_descriptor, port_address, port_close};

int telex_stream_dial(const struct telex_medium *medium, const struct telex_address *address, int64_t deadline, struct telex_link **ret_link)
{
    const struct telex_bytes_medium *driver = medium->driver;
    struct telex_bytes *bytes;
    int r = driver->dial(address, deadline, &bytes);
    return r < 0 ? r : telex_stream_new(bytes, &address->settings, false, ret_link);
}

int telex_stream_listen(const struct telex_medium *medium, const struct telex_address *address, struct telex_port **ret_port)
{
    const struct telex_bytes_medium *driver = medium->driver;
    struct stream_port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return telex_say(-ENOMEM, "no memory for a listener");
    port->port.ops = &port_ops;
    port->settings = address->settings;
    int r = driver->listen(address, &port->bytes);
    if (r < 0) {
        free(port);
        return r;
    }
    port->port.single = port->port.unlisted = port->bytes->single;
    *ret_port = &port->port;
    return 0;
}

int telex_link_over(int in, int out, int death, const struct telex_settings *settings, bool passive, struct telex_link **ret_link)
{
    struct telex_bytes *bytes;
    int r = in == out ? telex_unix_over(in, settings->descriptors > 0, &bytes) : telex_fd_over(in, out, &bytes);
    if (r == 0)
        r = telex_stream_new(bytes, settings, passive, ret_link);
    if (r == 0)
        stream_of(*ret_link)->death = death;
    else
        telex_shut(death);
    return r;
}
