/* SPDX-License-Identifier: MIT */
/* The life of a channel: made from a dialed or accepted link, entered by one thread a direction, asked about, freed. */
#include "channel/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/event.h"
#include "os/fork.h"

int telex_channel_new(struct telex_link *link, const struct telex_settings *settings, telex_channel **ret_channel)
{
    telex_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL) {
        link->ops->free(link);
        return telex_say(-ENOMEM, "no memory for a channel");
    }
    channel->link = link;
    channel->generation = telex_generation();
    channel->full = settings->full;
    telex_inbox_init(&channel->inbox);
    telex_channel_calls_init(channel);
    atomic_init(&channel->watch.epoll, -1);
    channel->watch.bell = -1;
    atomic_init(&channel->baton, -1);
    link->ops->peer(link, &channel->peer);
    int64_t peer = channel->peer.pid >= 0 ? channel->peer.pid : link->pid;
    for (int direction = 0; direction < CHANNEL_DIRECTIONS; direction++) {
        atomic_init(&channel->bell[direction], -1);
        telex_lock_init(&channel->busy[direction]);
        telex_waiter_init(&channel->waiter[direction], settings->wait, peer);
    }
    int r = link->helped ? telex_helper_join(channel) : 0;
    if (r < 0) {
        telex_channel_free(channel);
        return r;
    }
    *ret_channel = channel;
    return 0;
}

void telex_channel_free(telex_channel *channel)
{
    if (channel->generation != telex_generation()) {
        /* A forked child: the descriptors are closed already, their numbers may be somebody else's, and the locks may be held by
           threads that do not exist here. Only the handle itself can be given back. */
        telex_child_free(channel->child);
        free(channel);
        return;
    }
    telex_helper_leave(channel);
    telex_child_free(channel->child);
    telex_channel_unwatch(channel);
    for (int direction = 0; direction < CHANNEL_DIRECTIONS; direction++) {
        telex_shut(atomic_load(&channel->bell[direction]));
        telex_lock_deinit(&channel->busy[direction]);
    }
    telex_inbox_deinit(&channel->inbox);
    telex_channel_calls_free(channel);
    channel->link->ops->free(channel->link);
    free(channel);
}

int telex_channel_admit(telex_channel *channel, uint32_t code, const char *sentence)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->in);
    telex_lock(&link->out);
    int r = link->ops->admit(link, code, sentence);
    telex_unlock(&link->out);
    telex_unlock(&link->in);
    return r;
}

/* ---- entering and leaving ---- */

int telex_channel_foreign(telex_channel *channel)
{
    telex_say(-ECHILD, "this channel is the parent process's; a child made by fork() must dial anew");
    telex_said_about(channel);
    return -ECHILD;
}

int telex_channel_enter(telex_channel *channel, enum channel_direction direction)
{
    if (channel->generation != telex_generation())
        return telex_channel_foreign(channel);
    if (!telex_lock_try(&channel->busy[direction])) {
        telex_say(-EBUSY, "another thread is %s on this channel", direction == CHANNEL_SEND ? "sending" : "receiving");
        telex_said_about(channel);
        return -EBUSY;
    }
    /* Relaxed: compared with the own thread only; who else came in between is seen by the next doze at the latest. */
    atomic_store_explicit(&channel->user_thread[direction], telex_thread(), memory_order_relaxed);
    atomic_store_explicit(&channel->link->entered[direction], true, memory_order_relaxed);
    return 0;
}

int telex_channel_enter_shortly(telex_channel *channel, enum channel_direction direction)
{
    if (channel->generation != telex_generation() || !telex_lock_try(&channel->busy[direction]))
        return -EBUSY; /* the long way says which */
    atomic_store_explicit(&channel->user_thread[direction], telex_thread(), memory_order_relaxed); /* as in telex_channel_enter() */
    return 0;
}

int telex_channel_leave(telex_channel *channel, enum channel_direction direction, int result)
{
    if (direction == CHANNEL_SEND && atomic_load_explicit(&channel->link->blocked, memory_order_relaxed) &&
        atomic_load(&channel->asleep[CHANNEL_RECEIVE]))
        telex_channel_wake(channel, CHANNEL_RECEIVE); /* it sleeps for the link: it must now also wait for room */
    if (telex_channel_is_watched(channel))
        telex_channel_settle(channel);
    if (result == -EAGAIN)
        telex_say_constant(direction == CHANNEL_SEND ? "it would have to wait: the queue is full, or no answer has come yet"
                                                     : "it would have to wait: nothing has come yet");
    if (result < 0)
        telex_said_about(channel);
    atomic_store_explicit(&channel->link->entered[direction], false, memory_order_relaxed);
    telex_unlock(&channel->busy[direction]);
    return result;
}

const char *telex_reason(const telex_channel *channel)
{
    if (channel == NULL)
        return telex_said();
    const char *said = telex_said_of(channel);
    if (said != NULL)
        return said;
    if (channel->generation != telex_generation())
        return "";
    /* Written once, before any call answers with the end; a reader that comes earlier sees "". */
    pthread_mutex_lock(&channel->link->reason_lock);
    const char *reason = channel->link->reason;
    pthread_mutex_unlock(&channel->link->reason_lock);
    return reason;
}

/* ---- dialing ---- */

/* 0; 1: the deadline has passed, whether or not more has come: a peer that greets byte by byte is not waited for any longer; or -errno. */
static int wait_for_link(struct telex_link *link, int64_t deadline)
{
    telex_lock(&link->in);
    telex_lock(&link->out);
    int events = link->ops->arm(link, TELEX_ARM_IN | TELEX_ARM_OUT);
    telex_unlock(&link->out);
    telex_unlock(&link->in);
    struct pollfd fds[3];
    unsigned count = events < 0 ? 0 : telex_link_polled(link, events, fds);
    if (link->ops->death != NULL)
        fds[count++] = (struct pollfd){.fd = link->ops->death(link), .events = POLLIN};
    int r = events < 0 ? 1 : telex_poll(fds, count, deadline);
    if (r == -EINTR)
        return telex_say(r, "a signal ended the wait for the peer's greeting");
    return r < 0 ? r : r == 0 || telex_clock() >= deadline;
}

static int greet(struct telex_link *link, int64_t deadline)
{
    for (int over = 0;;) {
        telex_lock(&link->in);
        telex_lock(&link->out);
        int r = link->ops->greet(link);
        telex_unlock(&link->out);
        telex_unlock(&link->in);
        if (r != -EAGAIN)
            return r;
        if (over)
            return deadline == TELEX_NOW ? telex_say(-EAGAIN, "it would have to wait: the peer has not greeted yet")
                                         : telex_say(-ETIMEDOUT, "the peer did not greet by the deadline: does it speak wire=telex?");
        over = wait_for_link(link, deadline);
        if (over < 0)
            return over;
    }
}

/* A server that refuses a peer greets it and says goodbye in one breath: then dialing has failed. */
static int refused(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    if (!(link->wire->can & TELEX_CAN_GREET))
        return 0;
    telex_lock(&link->in);
    int r = telex_channel_pump(channel);
    telex_unlock(&link->in);
    if (r != -ECONNREFUSED && r != -EPROTONOSUPPORT)
        return 0;
    return telex_link_say_reason(link, r);
}

int telex_channel_open(struct telex_link *link, const struct telex_settings *settings, telex_time deadline, bool passive, telex_channel **ret_channel)
{
    int r = greet(link, deadline);
    if (r < 0) {
        link->ops->free(link);
        return r;
    }
    telex_channel *channel;
    r = telex_channel_new(link, settings, &channel);
    if (r < 0)
        return r;
    if (passive)
        telex_channel_admit(channel, 0, NULL); /* an error shows at the channel's first call */
    else
        r = refused(channel);
    if (r < 0) {
        telex_channel_free(channel);
        return r;
    }
    *ret_channel = channel;
    return 0;
}

int telex_dial(const char *address, const telex_options *options, telex_time deadline, telex_channel **ret_channel)
{
    struct telex_address parsed;
    int r = telex_address_parse(address, options, &parsed);
    const struct telex_medium *medium = r < 0 ? NULL : telex_medium_of(&parsed);
    if (medium == NULL)
        return -EINVAL;
    struct telex_link *link;
    r = medium->dial(medium, &parsed, deadline, &link);
    return r < 0 ? r : telex_channel_open(link, &parsed.settings, deadline, false, ret_channel);
}

/* ---- asking ---- */

int telex_peer_of(telex_channel *channel, telex_peer *ret_peer)
{
    if (channel->generation != telex_generation())
        return telex_channel_foreign(channel);
    if (ret_peer->size < sizeof *ret_peer)
        return telex_say(-EINVAL, "telex_peer.size must be set to sizeof(telex_peer)");
    *ret_peer = (telex_peer){
        .size = sizeof *ret_peer,
        .pid = channel->peer.pid,
        .uid = channel->peer.uid,
        .gid = channel->peer.gid,
        .address = channel->peer.address,
        .program = channel->link->program,
    };
    memcpy(ret_peer->life, channel->link->life, sizeof ret_peer->life);
    return 0;
}

int telex_counters_of(telex_channel *channel, telex_counters *ret_counters)
{
    if (channel->generation != telex_generation())
        return telex_channel_foreign(channel);
    if (ret_counters->size < sizeof *ret_counters)
        return telex_say(-EINVAL, "telex_counters.size must be set to sizeof(telex_counters)");
    struct telex_link *link = channel->link;
    telex_counters counters = {.size = sizeof counters};
    telex_lock(&link->in);
    telex_lock(&link->out);
    link->ops->count(link, &counters);
    counters.dropped += channel->dropped;
    counters.received += channel->received;
    counters.received_bytes = channel->received_bytes + link->quick_received_bytes;
    counters.late = channel->late;
    telex_unlock(&link->out);
    telex_unlock(&link->in);
    for (int direction = 0; direction < CHANNEL_DIRECTIONS; direction++) {
        counters.sleeps += atomic_load_explicit(&channel->waiter[direction].sleeps, memory_order_relaxed);
        counters.tries += atomic_load_explicit(&channel->waiter[direction].tries, memory_order_relaxed);
    }
    *ret_counters = counters;
    return 0;
}

int64_t telex_max(telex_channel *channel)
{
    return channel->generation != telex_generation() ? telex_channel_foreign(channel) : (int64_t)channel->link->max;
}

void telex_set_user(telex_channel *channel, void *user)
{
    channel->user = user;
}

void *telex_user(const telex_channel *channel)
{
    return channel->user;
}

const char *telex_version(void)
{
#define TEXT_OF(number) #number
#define VERSION(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)
    return VERSION(TELEX_VERSION_MAJOR, TELEX_VERSION_MINOR, TELEX_VERSION_PATCH);
}

telex_time telex_now(void)
{
    return telex_clock();
}

telex_time telex_after(int64_t ns)
{
    int64_t now = telex_clock();
    if (ns >= 0 && now > TELEX_NEVER - ns)
        return TELEX_NEVER;
    return now + ns > 0 ? now + ns : 1;
}
