/* SPDX-License-Identifier: MIT */
/*
 * Names: shm://NAME is a Unix socket in the runtime directory, shm:///PATH one at PATH, inproc://NAME one in the abstract namespace that only this process
 * knows. Over it peers attach.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "medium/shm/shm.h"
#include "medium/stream/unix.h"
#include "os/process.h"
#include "os/runtime.h"

enum { DESCRIPTORS_WANTED = 5 }; /* the socket, the peer's process, three memories */

struct shm_port {
    struct telex_port port;
    struct telex_bytes_port *bytes;
    struct telex_settings settings;
    bool local;
};

static bool is_local(const struct telex_medium *medium)
{
    return medium->driver != NULL;
}

/* ---- names ---- */

static int check_name(const struct telex_address *address)
{
    const char *name = address->where;
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
        return telex_say(-EINVAL, "\"%s://%.100s\": it wants a name without slashes that begins with no dot%s", address->scheme, name,
                         strcmp(address->scheme, "shm") == 0 ? ", or a path from the root (three slashes: shm:///tmp/name)" : "");
    return 0;
}

/* Threads of one process find each other by its life, which no other process can have. */
static int local_name(const struct telex_address *address, char *ret_name, size_t size)
{
    const unsigned char *life = telex_life();
    int length = snprintf(ret_name, size, "@telex-inproc-");
    for (int i = 0; i < 8; i++)
        length += snprintf(ret_name + length, size - (size_t)length, "%02x", life[i]);
    length += snprintf(ret_name + length, size - (size_t)length, "-%s", address->where);
    return (size_t)length < size ? 0 : telex_say(-EINVAL, "\"inproc://%.40s...\": the name is too long", address->where);
}

static int socket_name(const struct telex_medium *medium, const struct telex_address *address, char *ret_name, size_t size)
{
    if (address->settings.wire != &telex_wire_telex)
        return telex_say(-EINVAL, "option wire=%s: shared memory carries messages as they are, wire=telex; choose unix:// or tcp://",
                         address->settings.wire->name);
    if (address->faulty)
        return telex_say(-EINVAL, "fault+%s://: faults are for byte streams, such as unix:// and tcp://", address->scheme);
    if (!is_local(medium) && address->where[0] == '/') {
        snprintf(ret_name, size, "%s", address->where);
        return 0;
    }
    int r = check_name(address);
    if (r < 0 || is_local(medium))
        return r < 0 ? r : local_name(address, ret_name, size);
    r = telex_runtime_path(ret_name, size);
    if (r < 0)
        return r;
    size_t length = strlen(ret_name);
    if ((size_t)snprintf(ret_name + length, size - length, "/%s.shm", address->where) >= size - length)
        return telex_say(-EINVAL, "\"shm://%.40s...\": the name is too long", address->where);
    return 0;
}

/* ---- a listener ---- */

static struct shm_port *port_of(struct telex_port *port)
{
    return (struct shm_port *)port;
}

/* A peer that attaches needs as many: better that it waits to be accepted than that it is turned away midway. */
static int check_descriptors(int fd)
{
    int spare[DESCRIPTORS_WANTED], count = 0, error = 0;
    while (count < DESCRIPTORS_WANTED && error == 0) {
        spare[count] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        error = spare[count] < 0 ? -errno : 0;
        count += error == 0;
    }
    while (count > 0)
        close(spare[--count]);
    return error < 0 ? telex_say(error, "a peer waits to be accepted: %s", strerror(-error)) : 0;
}

static int port_accept(struct telex_port *port, struct telex_link **ret_link)
{
    struct shm_port *at = port_of(port);
    struct telex_bytes *bytes;
    int r = check_descriptors(at->bytes->ops->descriptor(at->bytes));
    if (r == 0)
        r = at->bytes->ops->accept(at->bytes, &bytes);
    return r < 0 ? r : telex_shm_new(bytes, &at->settings, true, at->local, ret_link);
}

static int port_descriptor(struct telex_port *port)
{
    struct shm_port *at = port_of(port);
    return at->bytes->ops->descriptor(at->bytes);
}

static const char *port_address(struct telex_port *port)
{
    struct shm_port *at = port_of(port);
    return at->bytes->ops->address(at->bytes);
}

static void port_close(struct telex_port *port)
{
    struct shm_port *at = port_of(port);
    at->bytes->ops->close(at->bytes);
    free(at);
}

static const struct telex_port_ops port_ops = {port_accept, port_descriptor, port_address, port_close};

int telex_shm_dial(const struct telex_medium *medium, const struct telex_address *address, int64_t deadline, struct telex_link **ret_link)
{
    char name[PATH_MAX];
    struct telex_bytes *bytes;
    int r = socket_name(medium, address, name, sizeof name);
    if (r == 0)
        r = telex_unix_dial(address, name, true, deadline, &bytes);
    return r < 0 ? r : telex_shm_new(bytes, &address->settings, false, is_local(medium), ret_link);
}

int telex_shm_listen(const struct telex_medium *medium, const struct telex_address *address, struct telex_port **ret_port)
{
    char name[PATH_MAX];
    struct shm_port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return telex_say(-ENOMEM, "no memory for a listener");
    port->port.ops = &port_ops;
    port->settings = address->settings;
    port->local = port->port.unlisted = is_local(medium);
    int r = socket_name(medium, address, name, sizeof name);
    if (r == 0)
        r = telex_unix_listen(address, name, true, &port->bytes);
    if (r < 0) {
        free(port);
        return r;
    }
    *ret_port = &port->port;
    return 0;
}
