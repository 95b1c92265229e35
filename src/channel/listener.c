/* SPDX-License-Identifier: MIT */
/*
 * Listening. Peers that have connected greet all at a time, each within its time; who has finished waits in a queue for accept. The
 * listener's one descriptor (loop.h) tells of new peers, of greetings, and of the time that ran out.
 */
#include "channel/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "loop/loop.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/runtime.h"

enum {
    ACCEPTS_AT_A_TIME = 64,     /* so that a flood of newcomers does not keep those that greet waiting */
    EVENTS_AT_A_TIME = 64,
    PAUSE_NS = 100000000,       /* out of descriptors: nobody is accepted for so long */
};

struct greeting_peer {
    struct greeting_peer *next, **at; /* at: what points here */
    struct telex_link *link;
    int64_t until;
    uint32_t events;
};

struct telex_listener {
    struct telex_port *port;
    struct telex_settings settings;
    struct telex_loop loop;
    struct telex_entry entry;
    unsigned generation;
    atomic_bool busy, interrupted;
    struct greeting_peer *greeting, **greeting_last; /* oldest first, so earliest deadline first */
    struct greeting_peer *finished, **finished_last;
    uint32_t greeting_count;
    int64_t paused_until; /* 0: accepting */
    bool port_watched;
    bool had_one;         /* a peer has come; of a port that brings a single one, nobody comes any more */
};

static void queue(struct greeting_peer ***last, struct greeting_peer *peer)
{
    peer->next = NULL;
    peer->at = *last;
    **last = peer;
    *last = &peer->next;
}

static void unqueue(struct greeting_peer ***last, struct greeting_peer *peer)
{
    *peer->at = peer->next;
    if (peer->next != NULL)
        peer->next->at = peer->at;
    else
        *last = peer->at;
}

static void watch_port(telex_listener *listener, bool watch)
{
    if (watch == listener->port_watched)
        return;
    listener->port_watched = watch;
    telex_loop_change(&listener->loop, listener->port->ops->descriptor(listener->port), watch ? EPOLLIN : 0, listener);
}

int telex_listen(const char *address, const telex_options *options, telex_listener **ret_listener)
{
    struct telex_address parsed;
    int r = telex_address_parse(address, options, &parsed);
    const struct telex_medium *medium = r < 0 ? NULL : telex_medium_of(&parsed);
    if (medium == NULL)
        return -EINVAL;
    telex_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return telex_say(-ENOMEM, "no memory for a listener");
    listener->generation = telex_generation();
    listener->settings = parsed.settings;
    listener->greeting_last = &listener->greeting;
    listener->finished_last = &listener->finished;
    listener->entry.fd = -1;
    listener->port_watched = true;
    r = telex_loop_init(&listener->loop);
    if (r == 0) {
        r = medium->listen(medium, &parsed, &listener->port);
        if (r == 0)
            r = telex_loop_watch(&listener->loop, listener->port->ops->descriptor(listener->port), EPOLLIN, listener);
    }
    if (r < 0) {
        telex_listener_close(listener);
        return r;
    }
    if (!listener->port->unlisted)
        telex_entry_add(&listener->entry, listener->port->ops->address(listener->port)); /* unlisted it serves as well */
    *ret_listener = listener;
    return 0;
}

static void peer_free(struct greeting_peer *peer)
{
    peer->link->ops->free(peer->link);
    free(peer);
}

void telex_listener_close(telex_listener *listener)
{
    if (listener == NULL)
        return;
    if (listener->generation != telex_generation()) {
        free(listener); /* a forked child: the port and the path are the parent's, the descriptors closed already */
        return;
    }
    for (struct greeting_peer *peer = listener->greeting, *next; peer != NULL; peer = next) {
        next = peer->next;
        peer_free(peer);
    }
    for (struct greeting_peer *peer = listener->finished, *next; peer != NULL; peer = next) {
        next = peer->next;
        peer_free(peer);
    }
    telex_entry_remove(&listener->entry);
    if (listener->port != NULL)
        listener->port->ops->close(listener->port);
    telex_loop_deinit(&listener->loop);
    free(listener);
}

static int foreign(void)
{
    return telex_say(-ECHILD, "this listener is the parent process's");
}

const char *telex_listener_address(const telex_listener *listener)
{
    return listener->port->ops->address(listener->port);
}

int telex_listener_fd(telex_listener *listener)
{
    return listener->generation != telex_generation() ? foreign() : listener->loop.epoll;
}

int telex_listener_interrupt(telex_listener *listener)
{
    if (listener->generation != telex_generation())
        return -ECHILD;
    atomic_store(&listener->interrupted, true);
    telex_loop_ring(&listener->loop);
    return 0;
}

/* ---- greeting ---- */

static void done_greeting(telex_listener *listener, struct greeting_peer *peer)
{
    unqueue(&listener->greeting_last, peer);
    listener->greeting_count--;
    telex_link_watch(peer->link, listener->loop.epoll, peer->events, 0, NULL);
}

/* One step of a peer's greeting. */
static void advance(telex_listener *listener, struct greeting_peer *peer)
{
    struct telex_link *link = peer->link;
    telex_lock(&link->in);
    telex_lock(&link->out);
    int r = link->ops->greet(link);
    int events = r == -EAGAIN ? link->ops->arm(link, TELEX_ARM_IN | TELEX_ARM_OUT) : 0;
    telex_unlock(&link->out);
    telex_unlock(&link->in);
    if (r == -EAGAIN) {
        if (events >= 0) {
            telex_link_watch(link, listener->loop.epoll, peer->events, (uint32_t)events, peer);
            peer->events = (uint32_t)events;
        }
        return;
    }
    done_greeting(listener, peer);
    if (r < 0)
        peer_free(peer); /* it was told why, if it understands */
    else
        queue(&listener->finished_last, peer);
}

static int accept_one(telex_listener *listener)
{
    struct telex_link *link;
    int r = listener->port->ops->accept(listener->port, &link);
    if (r < 0)
        return r;
    struct greeting_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        link->ops->free(link);
        return telex_say(-ENOMEM, "no memory for a peer");
    }
    listener->had_one = true;
    peer->link = link;
    peer->until = telex_clock() + listener->settings.greeting;
    peer->events = EPOLLIN;
    r = telex_link_watch(link, listener->loop.epoll, 0, EPOLLIN, peer);
    if (r < 0) {
        peer_free(peer);
        return telex_say(r, "a peer cannot be watched");
    }
    queue(&listener->greeting_last, peer);
    listener->greeting_count++;
    advance(listener, peer); /* its greeting may be there already */
    return 0;
}

static int accept_some(telex_listener *listener)
{
    int r = 0;
    for (int i = 0; i < ACCEPTS_AT_A_TIME && r == 0; i++) {
        if (listener->greeting_count >= listener->settings.pending)
            return -EAGAIN;
        r = accept_one(listener);
    }
    if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS || r == -ENOSPC)
        listener->paused_until = telex_clock() + PAUSE_NS;
    return r;
}

static void expire(telex_listener *listener)
{
    int64_t now = telex_clock();
    while (listener->greeting != NULL && listener->greeting->until <= now) {
        struct greeting_peer *peer = listener->greeting;
        done_greeting(listener, peer);
        peer_free(peer);
    }
    if (listener->paused_until != 0 && listener->paused_until <= now)
        listener->paused_until = 0;
}

/* The timer, and whether the port is watched, follow from what waits. */
static void settle(telex_listener *listener)
{
    int64_t at = listener->greeting != NULL ? listener->greeting->until : INT64_MAX;
    if (listener->paused_until != 0 && listener->paused_until < at)
        at = listener->paused_until;
    telex_loop_set_timer(&listener->loop, at);
    watch_port(listener, listener->paused_until == 0 && listener->greeting_count < listener->settings.pending);
    if (listener->finished != NULL) /* more to hand out: the descriptor stays readable */
        telex_loop_ring(&listener->loop);
}

/* Moves everything that can be moved. 0, or what accepting failed with for good or for now. */
static int step(telex_listener *listener)
{
    struct telex_loop_event events[EVENTS_AT_A_TIME];
    int count = telex_loop_ready(&listener->loop, events, EVENTS_AT_A_TIME), r = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].tag != listener) {
            advance(listener, events[i].tag);
            continue;
        }
        r = accept_some(listener);
    }
    expire(listener);
    return r == -EAGAIN ? 0 : r;
}

static int hand_out(telex_listener *listener, telex_channel **ret_channel)
{
    struct greeting_peer *peer = listener->finished;
    unqueue(&listener->finished_last, peer);
    struct telex_link *link = peer->link;
    free(peer);
    return telex_channel_new(link, &listener->settings, ret_channel);
}

int telex_listener_next(telex_listener *listener, telex_channel **ret_channel)
{
    int r = 0;
    if (listener->finished == NULL)
        r = step(listener);
    if (listener->finished != NULL)
        r = hand_out(listener, ret_channel);
    else if (r == 0)
        r = telex_listener_is_through(listener) ? -ESHUTDOWN : -EAGAIN;
    settle(listener);
    return r;
}

bool telex_listener_is_through(const telex_listener *listener)
{
    return listener->port->single && listener->had_one && listener->greeting == NULL && listener->finished == NULL;
}

/* ---- accepting ---- */

static int accept_until(telex_listener *listener, telex_time deadline, telex_channel **ret_channel)
{
    for (bool over = false;;) {
        int r = telex_listener_next(listener, ret_channel);
        if (r == -EAGAIN && deadline == TELEX_NOW)
            telex_say_constant("it would have to wait: no peer has come yet");
        if (r == -ESHUTDOWN)
            return telex_say(r, "%s: nobody comes any more: its one peer has come", telex_listener_address(listener));
        if (r != -EAGAIN || deadline == TELEX_NOW)
            return r;
        /* After the step, which may have cleared the bell: the flag was set before the bell was rung. */
        if (atomic_exchange(&listener->interrupted, false))
            return telex_say(-EINTR, "the wait for a peer was interrupted");
        if (over)
            return telex_say(-ETIMEDOUT, "no peer came by the deadline");
        struct pollfd fd = {.fd = listener->loop.epoll, .events = POLLIN};
        r = telex_poll(&fd, 1, deadline);
        if (r < 0)
            return r == -EINTR ? telex_say(r, "a signal ended the wait for a peer") : r;
        over = r == 0 || telex_clock() >= deadline; /* those that greet slowly, or hang up, may keep it ready for ever */
    }
}

int telex_accept(telex_listener *listener, telex_time deadline, telex_channel **ret_channel)
{
    if (listener->generation != telex_generation())
        return foreign();
    /* Acquire and release: one thread at a time, each sees what the last one did. */
    if (atomic_exchange_explicit(&listener->busy, true, memory_order_acquire))
        return telex_say(-EBUSY, "another thread is accepting on this listener");
    telex_channel *channel = NULL;
    int r = accept_until(listener, deadline, &channel);
    atomic_store_explicit(&listener->busy, false, memory_order_release);
    if (r < 0)
        return r;
    telex_channel_admit(channel, 0, NULL); /* an error shows at the channel's first call */
    *ret_channel = channel;
    return 0;
}

/* ---- listing ---- */

struct listing {
    int (*each)(const telex_listing *listing, void *user);
    void *user;
};

static int list_one(const struct telex_entry_facts *facts, void *with)
{
    const struct listing *listing = with;
    telex_listing one = {
        .size = sizeof one,
        .address = facts->address,
        .program = facts->program,
        .pid = facts->pid,
        .since = facts->since,
    };
    return listing->each(&one, listing->user);
}

int telex_list(int (*each)(const telex_listing *listing, void *user), void *user)
{
    struct listing listing = {each, user};
    return telex_entry_walk(list_one, &listing);
}
