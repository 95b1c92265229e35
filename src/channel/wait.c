/* SPDX-License-Identifier: MIT */
/*
 * Waiting, once for every call and every medium: try, try again for a while (waiter.h), sleep, until the deadline, an interrupt or a
 * signal.
 *
 * No wake-up is lost. A sleeper (1) reads `events`, (2) tries, (3) sets `asleep`, (4) reads `events` and `interrupted` again, (5) polls. Whoever
 * changes something (a) changes it under its lock, (b) raises `events`, (c) reads `asleep` and rings. All of these are sequentially
 * consistent: were (4) before (b) and (c) before (3) in that order, then (3) would precede (4) and (b) precede (c), a cycle. So either
 * the sleeper sees the event or the waker sees the sleeper.
 *
 * The baton. Of two sleeping threads one polls the link's descriptor, the other its bell only. Who held the baton and leaves the wait
 * gives it back, then reads the other's `asleep` and rings; the other sets `asleep` before it asks for the baton. So either it gets the
 * baton, or it is rung and asks again.
 */
#include <errno.h>
#include <poll.h>

#include "channel/channel.h"
#include "os/clock.h"
#include "os/event.h"
#include "os/fork.h"

enum {
    BATON_FREE = -1,
    TRIES_A_LOOK = 4, /* some 300 ns each */
    DEAF_NS = 5000000, /* a sleep without a bell, out of descriptors */
    DOZE_FROM_NS = 20000000, /* a nearer deadline might be slept through: dozing ends by the kernel's ticks */
};

void telex_channel_wake(telex_channel *channel, enum channel_direction direction)
{
    atomic_fetch_add(&channel->events, 1);
    if (atomic_load(&channel->asleep[direction]))
        telex_event_ring(atomic_load(&channel->bell[direction]));
}

void telex_channel_spread_news(telex_channel *channel)
{
    if (channel->link->disarmed != channel->seen_disarmed) {
        channel->seen_disarmed = channel->link->disarmed;
        telex_channel_wake(channel, CHANNEL_RECEIVE);
        telex_channel_wake(channel, CHANNEL_SEND);
    }
    if (channel->link->news == channel->seen_news)
        return;
    channel->seen_news = channel->link->news;
    telex_channel_wake(channel, CHANNEL_SEND);
}

int telex_interrupt(telex_channel *channel)
{
    if (channel->generation != telex_generation())
        return -ECHILD;
    for (int direction = 0; direction < CHANNEL_DIRECTIONS; direction++) {
        atomic_store(&channel->interrupted[direction], true);
        if (atomic_load(&channel->asleep[direction])) /* its bell was made before it fell asleep */
            telex_event_ring(atomic_load(&channel->bell[direction]));
    }
    return 0;
}

/* -1: there is no descriptor to be had. Then the sleep is short, for nobody can end it. */
static int make_bell(telex_channel *channel, enum channel_direction direction)
{
    int bell = atomic_load(&channel->bell[direction]);
    if (bell >= 0)
        return bell;
    bell = telex_event_new();
    atomic_store(&channel->bell[direction], bell < 0 ? -1 : bell);
    return bell < 0 ? -1 : bell;
}

/* What the sleeper must poll for; -1: there is work now. */
static int arm(telex_channel *channel, enum channel_direction direction)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->in);
    if (direction == CHANNEL_RECEIVE)
        link->ops->report(link);
    /* A synchronous message that the last try left there: more than that try could decode stood behind it. */
    if (direction == CHANNEL_RECEIVE && telex_inbox_first(&channel->inbox) != NULL && !telex_channel_holds_back(channel)) {
        telex_unlock(&link->in);
        return -1;
    }
    unsigned directions = TELEX_ARM_OUT;
    if (direction == CHANNEL_SEND || atomic_load(&channel->asleep[CHANNEL_SEND])) /* who holds the baton sleeps for both */
        directions |= TELEX_ARM_PROGRESS;
    if (link->in_end == 0 && telex_channel_may_pump(channel) && !(direction == CHANNEL_RECEIVE && telex_channel_holds_back(channel)))
        directions |= TELEX_ARM_IN;
    telex_lock(&link->out);
    int events = link->ops->arm(link, directions);
    telex_unlock(&link->out);
    telex_unlock(&link->in);
    return events;
}

static bool interrupted(telex_channel *channel, enum channel_direction direction)
{
    /* Relaxed: only a look, so that the common case writes nothing; the exchange decides. */
    return atomic_load_explicit(&channel->interrupted[direction], memory_order_relaxed) &&
           atomic_exchange(&channel->interrupted[direction], false);
}

/* Whether this thread is the only one that uses the channel, so that nobody needs the lock or a bell while it sleeps in the medium. */
static bool alone(telex_channel *channel, enum channel_direction direction)
{
    enum channel_direction other = direction == CHANNEL_SEND ? CHANNEL_RECEIVE : CHANNEL_SEND;
    uint64_t user = atomic_load_explicit(&channel->user_thread[other], memory_order_relaxed);
    return user == 0 || user == telex_thread();
}

/*
 * The first, short part of a sleep: in the medium's own read. An interrupt from another thread is noticed at its end (some ms); a signal ends
 * it at once. -EOPNOTSUPP: sleep the other way.
 */
static int doze(telex_channel *channel, enum channel_direction direction, telex_time left)
{
    struct telex_link *link = channel->link;
    if (link->ops->doze == NULL || left < DOZE_FROM_NS || !alone(channel, direction) ||
        atomic_load_explicit(&link->blocked, memory_order_relaxed) || !telex_channel_may_pump(channel) ||
        (direction == CHANNEL_RECEIVE && telex_channel_holds_back(channel)))
        return -EOPNOTSUPP;
    telex_lock(&link->in);
    if (direction == CHANNEL_RECEIVE)
        link->ops->report(link);
    int r = link->ops->doze(link, direction == CHANNEL_SEND ? TELEX_ARM_IN | TELEX_ARM_OUT | TELEX_ARM_PROGRESS : TELEX_ARM_IN | TELEX_ARM_OUT);
    telex_unlock(&link->in);
    return r;
}

static int sleep_once(telex_channel *channel, enum channel_direction direction, telex_time deadline, unsigned events, bool *held)
{
    int r = 0, bell = make_bell(channel, direction);
    int64_t until = bell >= 0 ? deadline : telex_after(DEAF_NS);
    atomic_store(&channel->asleep[direction], true); /* before the baton: whoever gives it back later rings */
    int free_baton = BATON_FREE;
    bool baton = atomic_compare_exchange_strong(&channel->baton, &free_baton, (int)direction);
    *held = *held || baton;
    struct pollfd fds[4] = {{.fd = bell, .events = POLLIN}};
    unsigned count = 1;
    bool changed = atomic_load(&channel->events) != events || atomic_load(&channel->interrupted[direction]);
    if (baton && !changed) {
        int wanted = arm(channel, direction);
        changed = wanted < 0;
        if (wanted > 0) /* else nothing is to be had from the medium; polling it would only show its end again and again */
            count += telex_link_polled(channel->link, wanted, &fds[1]);
    }
    unsigned without_death = count;
    if (count > 1 && channel->link->ops->death != NULL)
        fds[count++] = (struct pollfd){.fd = channel->link->ops->death(channel->link), .events = POLLIN};
    /* Relaxed: written by this thread, if it matters. The other one polls for both, and may not know yet that there is something to write. */
    if (!baton && !changed &&
        (atomic_load_explicit(&channel->link->blocked, memory_order_relaxed) || (channel->link->announces && direction == CHANNEL_SEND)))
        telex_channel_wake(channel, direction == CHANNEL_SEND ? CHANNEL_RECEIVE : CHANNEL_SEND);
    if (!baton && direction == CHANNEL_RECEIVE)
        telex_channel_report(channel);
    if (!changed)
        r = telex_poll(fds, count, until < deadline ? until : deadline);
    if (r == -EINVAL && count > without_death) /* a limit of open files so low that the kernel takes no list of so many */
        r = telex_poll(fds, without_death, until < deadline ? until : deadline);
    atomic_store(&channel->asleep[direction], false);
    if (baton)
        atomic_store(&channel->baton, BATON_FREE);
    if (fds[0].revents != 0)
        telex_event_clear(fds[0].fd);
    return r < 0 ? r : 0;
}

static int wait_longer(telex_channel *channel, enum channel_direction direction, telex_time deadline, channel_try *try, void *with,
                       bool *held)
{
    struct telex_pause pause;
    struct telex_link *link = channel->link;
    unsigned directions = direction == CHANNEL_RECEIVE ? TELEX_ARM_IN : TELEX_ARM_IN | TELEX_ARM_OUT;
    bool dozed = false;
    unsigned tries = link->ops->spin != NULL; /* who can look without trying need not look at the clock at once */
    telex_pause_begin(&pause, &channel->waiter[direction]);
    for (bool over = false;;) {
        if (interrupted(channel, direction))
            return telex_say(-EINTR, "the wait was interrupted");
        unsigned events = atomic_load(&channel->events);
        int r = try(channel, with);
        if (r != -EAGAIN) {
            telex_pause_won(&pause);
            if (pause.trying)
                atomic_store_explicit(&channel->link->lively, true, memory_order_relaxed); /* a hint: see medium.h */
            return r;
        }
        if (over)
            return telex_say(-ETIMEDOUT, "the deadline passed");
        if (pause.trying && (link->ops->spin == NULL || link->ops->spin(link, directions)) && tries++ % TRIES_A_LOOK != 0 &&
            telex_pause_again(&pause, TELEX_NOT_LOOKED))
            continue;
        int64_t now = telex_clock();
        if (now < deadline && telex_pause_again(&pause, now))
            continue;
        atomic_store_explicit(&channel->link->lively, false, memory_order_relaxed);
        if (now < deadline) {
            r = dozed ? -EOPNOTSUPP : doze(channel, direction, deadline - now);
            dozed = true;
            if (r == -EOPNOTSUPP)
                r = sleep_once(channel, direction, deadline, events, held);
        }
        if (r == -EINTR) { /* the signal's handler may have interrupted us, too: that was this wait's end */
            interrupted(channel, direction);
            return telex_say(r, "a signal ended the wait");
        }
        if (r < 0 && r != -EAGAIN)
            return r;
        over = now >= deadline;
    }
}

int telex_channel_wait(telex_channel *channel, enum channel_direction direction, telex_time deadline, channel_try *try, void *with)
{
    int r = try(channel, with);
    if (r != -EAGAIN || deadline == TELEX_NOW)
        return r;
    bool held = false;
    r = wait_longer(channel, direction, deadline, try, with, &held);
    enum channel_direction other = direction == CHANNEL_SEND ? CHANNEL_RECEIVE : CHANNEL_SEND;
    if (held && atomic_load(&channel->asleep[other])) /* it may rely on the baton that this thread held */
        telex_channel_wake(channel, other);
    return r;
}
