/* SPDX-License-Identifier: MIT */
/*
 * fault+SCHEME://...?fault=PLAN wraps any byte-stream medium, for tests: it splits, delays, shortens, refuses and cuts what
 * passes. PLAN is NAME:VALUE,... from the table below; what happens to the n-th read and to the n-th write of a stream
 * follows from plan and seed alone.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/reason.h"
#include "base/units.h"
#include "medium/fault/fault.h"
#include "medium/stream/stream.h"
#include "os/clock.h"

enum {
    PARTS = 16,            /* of one read or write that are passed on; it may be shorter than what was asked for */
    LONGEST_NAP = 5000000, /* ns that a read or write may take because of a delay */
};

struct plan { /* 0: no such fault */
    uint64_t split, delay, cut, kill, shortened, again, seed;
};

enum kind { NUMBER, PERCENT, DURATION };

static const struct fault {
    const char *name;
    enum kind kind;
    size_t at;
} faults[] = {
    {"split", NUMBER, offsetof(struct plan, split)},   /* at most so many bytes in one read or write */
    {"delay", DURATION, offsetof(struct plan, delay)}, /* each read and write passes only after this time */
    {"cut", NUMBER, offsetof(struct plan, cut)},   /* after so many bytes, both ways together, the connection breaks */
    {"kill", NUMBER, offsetof(struct plan, kill)}, /* after so many bytes the process kills itself */
    {"short", PERCENT,
     offsetof(struct plan, shortened)},               /* so many of 100 reads and writes get a random shorter length */
    {"again", PERCENT, offsetof(struct plan, again)}, /* so many of 100 reads and writes answer -EAGAIN */
    {"seed", NUMBER, offsetof(struct plan, seed)},    /* of the random numbers */
};

struct way { /* one direction; used by one thread at a time */
    uint64_t random, decided; /* decided: so many decisions were drawn */
    int64_t due; /* when what is delayed may pass; 0: nothing waits */
    short events;
};

struct fault_bytes {
    struct telex_bytes base;
    struct telex_bytes *inner;
    struct plan plan;
    struct way in, out;
    _Atomic uint64_t moved; /* both ways; relaxed: only the sum matters */
    atomic_bool broken;     /* relaxed: whoever misses it is told by the socket */
};

struct fault_port {
    struct telex_bytes_port base;
    struct telex_bytes_port *inner;
    struct plan plan;
    uint64_t accepted;
};

/* ---- the plan ---- */

static int read_value(const struct fault *fault, const char *text, uint64_t *ret_value)
{
    int error =
        fault->kind == DURATION ? telex_parse_duration(text, (int64_t *)ret_value) : telex_parse_size(text, ret_value);
    if (error == 0 && fault->kind == PERCENT && *ret_value > 100)
        error = -ERANGE;
    return error;
}

static int read_fault(const char *text, size_t length, struct plan *plan)
{
    char value[32];
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        size_t name = strlen(faults[i].name);
        if (length <= name || text[name] != ':' || memcmp(text, faults[i].name, name) != 0 ||
            length - name > sizeof value)
            continue;
        memcpy(value, text + name + 1, length - name - 1);
        value[length - name - 1] = '\0';
        uint64_t number;
        if (read_value(&faults[i], value, &number) < 0)
            return telex_say(-EINVAL, "option fault=: \"%s\" is no value for %s", value, faults[i].name);
        memcpy((char *)plan + faults[i].at, &number, sizeof number);
        return 0;
    }
    return telex_say(-EINVAL,
                     "option fault=: \"%.*s\" is no fault; there are split:N delay:TIME cut:N kill:N short:PERCENT "
                     "again:PERCENT seed:N",
                     (int)length, text);
}

static int read_plan(const char *text, struct plan *plan)
{
    *plan = (struct plan){0};
    int error = 0;
    for (const char *next = text[0] != '\0' ? text : NULL; error == 0 && next != NULL;) {
        size_t length = strcspn(next, ",");
        error = read_fault(next, length, plan);
        next = next[length] == ',' ? next + length + 1 : NULL;
    }
    return error;
}

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

void (*telex_fault_watch)(const struct telex_fault_decision *decision);

static struct telex_fault_decision decide(struct way *way)
{
    struct telex_fault_decision decision = {.writes = way->events == POLLOUT, .number = way->decided++};
    decision.again = (unsigned)(draw(&way->random) % 100);
    decision.shortened = (unsigned)(draw(&way->random) % 100);
    decision.length = draw(&way->random);
    if (telex_fault_watch != NULL)
        telex_fault_watch(&decision);
    return decision;
}

/* ---- a stream ---- */

static struct fault_bytes *of(struct telex_bytes *bytes)
{
    return (struct fault_bytes *)bytes;
}

/* 0 when the delay is over, -EAGAIN when it is not, or when the inner stream is not ready at all. */
static int wait_delay(struct fault_bytes *self, struct way *way)
{
    struct telex_bytes *inner = self->inner;
    struct pollfd poll = {.fd = way->events & POLLOUT ? telex_bytes_outlet(inner) : inner->ops->descriptor(inner), .events = way->events};
    if (telex_poll(&poll, 1, TELEX_NOW) <= 0)
        return -EAGAIN;
    int64_t now = telex_clock();
    if (way->due == 0)
        way->due = now + (int64_t)self->plan.delay;
    if (way->due > now) {
        telex_poll(NULL, 0, way->due - now > LONGEST_NAP ? now + LONGEST_NAP : way->due);
        if (way->due > telex_clock())
            return -EAGAIN;
    }
    way->due = 0;
    return 0;
}

/* The bytes that may pass now, at most `wanted`; or -EAGAIN, -ECONNRESET. */
static int64_t allow(struct fault_bytes *self, struct way *way, uint64_t wanted)
{
    const struct plan *plan = &self->plan;
    if (atomic_load_explicit(&self->broken, memory_order_relaxed))
        return telex_say(-ECONNRESET, "the fault medium has cut the connection");
    struct telex_fault_decision decision = decide(way);
    if (decision.again < plan->again)
        return -EAGAIN;
    if (plan->delay > 0 && wait_delay(self, way) < 0)
        return -EAGAIN;
    if (plan->split > 0 && wanted > plan->split)
        wanted = plan->split;
    if (wanted > 1 && decision.shortened < plan->shortened)
        wanted = 1 + decision.length % wanted;
    uint64_t moved = atomic_load_explicit(&self->moved, memory_order_relaxed);
    for (int i = 0; i < 2; i++) {
        uint64_t limit = i == 0 ? plan->cut : plan->kill;
        if (limit > 0 && wanted > limit - moved && moved < limit)
            wanted = limit - moved;
    }
    return wanted > INT64_MAX ? INT64_MAX : (int64_t)wanted;
}

/* Counts bytes that passed, and does what is due after so many. */
static void count(struct fault_bytes *self, uint64_t bytes)
{
    uint64_t moved = atomic_fetch_add_explicit(&self->moved, bytes, memory_order_relaxed) + bytes;
    if (self->plan.kill > 0 && moved >= self->plan.kill)
        kill(getpid(), SIGKILL);
    if (self->plan.cut == 0 || moved < self->plan.cut)
        return;
    atomic_store_explicit(&self->broken, true, memory_order_relaxed);
    shutdown(self->inner->ops->descriptor(self->inner), SHUT_RDWR); /* not closed: somebody may be polling it */
}

static uint64_t sum(const struct iovec *parts, int part_count)
{
    uint64_t length = 0;
    for (int i = 0; i < part_count; i++)
        length += parts[i].iov_len;
    return length;
}

/* The first `length` bytes of `parts`; returns how many parts they take. */
static int clip(const struct iovec *parts, int part_count, uint64_t length, struct iovec *ret_parts)
{
    int used = 0;
    while (used < part_count && used < PARTS && length > 0) {
        ret_parts[used] = parts[used];
        if (ret_parts[used].iov_len > length)
            ret_parts[used].iov_len = (size_t)length;
        length -= ret_parts[used++].iov_len;
    }
    return used;
}

static ssize_t fault_read(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds,
                          unsigned *fd_count)
{
    struct fault_bytes *self = of(bytes);
    struct iovec clipped[PARTS];
    int64_t allowed = allow(self, &self->in, sum(parts, part_count));
    if (allowed < 0)
        return (ssize_t)allowed;
    int used = clip(parts, part_count, (uint64_t)allowed, clipped);
    ssize_t got = self->inner->ops->read(self->inner, clipped, used, fds, fd_count);
    if (got > 0)
        count(self, (uint64_t)got);
    return got;
}

static ssize_t fault_write(struct telex_bytes *bytes, const struct iovec *parts, int part_count, const int *fds,
                           unsigned fd_count)
{
    struct fault_bytes *self = of(bytes);
    struct iovec clipped[PARTS];
    int64_t allowed = allow(self, &self->out, sum(parts, part_count));
    if (allowed < 0)
        return (ssize_t)allowed;
    int used = clip(parts, part_count, (uint64_t)allowed, clipped);
    ssize_t sent = self->inner->ops->write(self->inner, clipped, used, fds, fd_count);
    if (sent > 0)
        count(self, (uint64_t)sent);
    return sent;
}

static int fault_end(struct telex_bytes *bytes)
{
    return of(bytes)->inner->ops->end(of(bytes)->inner);
}

static int64_t fault_unsent(struct telex_bytes *bytes)
{
    return of(bytes)->inner->ops->unsent(of(bytes)->inner);
}

static bool fault_survives(struct telex_bytes *bytes)
{
    struct telex_bytes *inner = of(bytes)->inner;
    return inner->ops->survives != NULL ? inner->ops->survives(inner) : inner->delivered_when_written;
}

static int fault_descriptor(struct telex_bytes *bytes)
{
    return of(bytes)->inner->ops->descriptor(of(bytes)->inner);
}

static int fault_inlet(struct telex_bytes *bytes)
{
    return telex_bytes_inlet(of(bytes)->inner);
}

static int fault_outlet(struct telex_bytes *bytes)
{
    return telex_bytes_outlet(of(bytes)->inner);
}

static void fault_peer(struct telex_bytes *bytes, struct telex_medium_peer *ret_peer)
{
    of(bytes)->inner->ops->peer(of(bytes)->inner, ret_peer);
}

static void fault_close(struct telex_bytes *bytes)
{
    of(bytes)->inner->ops->close(of(bytes)->inner);
    free(bytes);
}

static const struct telex_bytes_ops bytes_ops = {
    .read = fault_read,
    .write = fault_write,
    .end = fault_end,
    .unsent = fault_unsent,
    .survives = fault_survives,
    .descriptor = fault_descriptor,
    .inlet = fault_inlet,
    .outlet = fault_outlet,
    .peer = fault_peer,
    .close = fault_close,
};

/* Takes `inner` over, also when it fails. `number`: that of the stream at its listener, so that they differ. */
static int bytes_new(struct telex_bytes *inner, const struct plan *plan, uint64_t number,
                     struct telex_bytes **ret_bytes)
{
    struct fault_bytes *self = calloc(1, sizeof *self);
    if (self == NULL) {
        inner->ops->close(inner);
        return telex_say(-ENOMEM, "out of memory");
    }
    self->base = *inner;
    self->base.ops = &bytes_ops;
    self->inner = inner;
    self->plan = *plan;
    uint64_t seed = plan->seed + (number << 32);
    self->in = (struct way){.random = draw(&seed), .events = POLLIN};
    self->out = (struct way){.random = draw(&seed), .events = POLLOUT};
    *ret_bytes = &self->base;
    return 0;
}

/* ---- dialing and listening ---- */

/* The medium within, and its plan. NULL with a sentence. */
static const struct telex_bytes_medium *unwrap(const struct telex_address *address, struct telex_address *ret_inner,
                                               struct plan *ret_plan)
{
    *ret_inner = *address;
    ret_inner->faulty = false;
    const struct telex_medium *medium = telex_medium_of(ret_inner);
    if (medium == NULL || read_plan(address->settings.fault, ret_plan) < 0)
        return NULL;
    if (medium->dial != telex_stream_dial) {
        telex_say(-EINVAL, "fault+%s://: faults are possible on byte streams only", address->scheme);
        return NULL;
    }
    return medium->driver;
}

static int fault_dial(const struct telex_address *address, int64_t deadline, struct telex_bytes **ret_bytes)
{
    struct telex_address within;
    struct plan plan;
    struct telex_bytes *inner;
    const struct telex_bytes_medium *medium = unwrap(address, &within, &plan);
    if (medium == NULL)
        return -EINVAL;
    int error = medium->dial(&within, deadline, &inner);
    return error < 0 ? error : bytes_new(inner, &plan, 0, ret_bytes);
}

static struct fault_port *port_of(struct telex_bytes_port *port)
{
    return (struct fault_port *)port;
}

static int fault_accept(struct telex_bytes_port *port, struct telex_bytes **ret_bytes)
{
    struct fault_port *self = port_of(port);
    struct telex_bytes *inner;
    int error = self->inner->ops->accept(self->inner, &inner);
    return error < 0 ? error : bytes_new(inner, &self->plan, ++self->accepted, ret_bytes);
}

static int fault_port_descriptor(struct telex_bytes_port *port)
{
    return port_of(port)->inner->ops->descriptor(port_of(port)->inner);
}

static const char *fault_address(struct telex_bytes_port *port)
{
    return port_of(port)->inner->ops->address(port_of(port)->inner);
}

static void fault_port_close(struct telex_bytes_port *port)
{
    port_of(port)->inner->ops->close(port_of(port)->inner);
    free(port);
}

static const struct telex_bytes_port_ops port_ops = {
    .accept = fault_accept,
    .descriptor = fault_port_descriptor,
    .address = fault_address,
    .close = fault_port_close,
};

static int fault_listen(const struct telex_address *address, struct telex_bytes_port **ret_port)
{
    struct telex_address within;
    struct plan plan;
    const struct telex_bytes_medium *medium = unwrap(address, &within, &plan);
    if (medium == NULL)
        return -EINVAL;
    struct fault_port *self = calloc(1, sizeof *self);
    if (self == NULL)
        return telex_say(-ENOMEM, "out of memory");
    int error = medium->listen(&within, &self->inner);
    if (error < 0) {
        free(self);
        return error;
    }
    self->base = *self->inner;
    self->base.ops = &port_ops;
    self->plan = plan;
    *ret_port = &self->base;
    return 0;
}

const struct telex_bytes_medium telex_bytes_fault = {.dial = fault_dial, .listen = fault_listen};
