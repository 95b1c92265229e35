/* SPDX-License-Identifier: MIT */
/*
 * Readiness for poll loops: telex_fd, and what a server watches. The link's descriptor is watched for what arm() says, so for room
 * only while bytes wait that the medium did not take. Work that no descriptor shows (decoded messages, whole frames in the input
 * buffer, the end) is told through `tell`. Both are settled at the end of each call on the channel, and only changes cost a system call.
 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "channel/channel.h"
#include "os/event.h"
#include "os/fork.h"

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT, "arm() speaks poll, the kernel's epoll has the same bits");

void telex_channel_settle(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    struct channel_watch *watch = &channel->watch;
    telex_lock(&link->in);
    telex_lock(&link->out);
    bool holds_back = telex_channel_holds_back(channel);
    /* What still arrives at a channel that closes is thrown away, at the latest at its closer's next look: there is no hurry. */
    bool reads = !holds_back && !channel->closing && telex_channel_may_pump(channel);
    int events = link->ops->arm(link, reads ? TELEX_ARM_IN | TELEX_ARM_OUT : TELEX_ARM_OUT);
    bool ready = events < 0 || (telex_inbox_first(&channel->inbox) != NULL && !holds_back && !channel->closing);
    if (events < 0)
        events = link->ops->arm(link, TELEX_ARM_OUT);
    if (!reads && !channel->closing)
        events &= ~POLLIN;
    int epoll = watch->epoll;
    if (epoll >= 0 && (uint32_t)events != watch->events) {
        telex_link_watch(link, epoll, watch->events, (uint32_t)events, watch->tag);
        watch->events = (uint32_t)events;
    }
    bool changed = epoll >= 0 && ready != watch->ready;
    watch->ready = ready;
    if (changed)
        watch->tell(channel, ready);
    telex_unlock(&link->out);
    telex_channel_spread_news(channel);
    telex_unlock(&link->in);
}

static void tell_bell(telex_channel *channel, bool ready)
{
    if (ready)
        telex_event_ring(channel->watch.bell);
    else
        telex_event_clear(channel->watch.bell);
}

/* Readable from the peer's death on, and so is the channel: every receive tells of it then. */
static void watch_death(telex_channel *channel, int epoll, void *tag)
{
    struct telex_link *link = channel->link;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    int death = link->ops->death != NULL ? link->ops->death(link) : -1;
    if (death >= 0) /* without it the end of the link's own descriptor must do */
        epoll_ctl(epoll, EPOLL_CTL_ADD, death, &event);
}

int telex_channel_watch(telex_channel *channel, int epoll, void *tag, void (*tell)(telex_channel *, bool))
{
    int r = telex_link_watch(channel->link, epoll, 0, EPOLLIN, tag);
    if (r < 0)
        return telex_say(r, "the channel cannot be watched: out of memory or of watches");
    watch_death(channel, epoll, tag);
    telex_lock(&channel->link->in);
    channel->watch.tag = tag;
    channel->watch.tell = tell;
    channel->watch.events = EPOLLIN;
    telex_lock(&channel->link->out); /* whoever is just sending is through with it, and the next one sees that it is watched */
    atomic_store_explicit(&channel->link->watched, true, memory_order_relaxed);
    telex_unlock(&channel->link->out);
    channel->watch.epoll = epoll;
    telex_unlock(&channel->link->in);
    return 0;
}

void telex_channel_unwatch(telex_channel *channel)
{
    struct channel_watch *watch = &channel->watch;
    if (watch->epoll < 0)
        return;
    telex_link_watch(channel->link, watch->epoll, watch->events, 0, NULL);
    watch->events = 0;
    if (channel->link->ops->death != NULL && channel->link->ops->death(channel->link) >= 0)
        epoll_ctl(watch->epoll, EPOLL_CTL_DEL, channel->link->ops->death(channel->link), NULL);
    if (watch->bell >= 0) { /* telex_fd's own */
        telex_shut(watch->bell);
        telex_shut(watch->epoll);
    }
    watch->epoll = -1;
    atomic_store_explicit(&channel->link->watched, false, memory_order_relaxed);
    watch->bell = -1;
}

static int make_descriptor(telex_channel *channel)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll = telex_own(epoll < 0 ? -errno : epoll);
    int bell = epoll < 0 ? epoll : telex_event_new();
    struct epoll_event event = {.events = EPOLLIN};
    if (bell < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, bell, &event) < 0) {
        int r = telex_say(bell < 0 ? bell : -errno, "no descriptor to wait on: this process is at its limit of open files");
        telex_shut(bell);
        telex_shut(epoll);
        return r;
    }
    channel->watch.bell = bell;
    int r = telex_channel_watch(channel, epoll, NULL, tell_bell);
    if (r < 0) {
        channel->watch.bell = -1;
        telex_shut(bell);
        telex_shut(epoll);
        return r;
    }
    return 0;
}

int telex_fd(telex_channel *channel)
{
    int r = telex_channel_enter(channel, CHANNEL_RECEIVE);
    if (r < 0)
        return r;
    if (!telex_channel_is_watched(channel))
        r = make_descriptor(channel);
    else if (channel->watch.bell < 0)
        r = telex_say(-EOPNOTSUPP, "this channel is a server's; its descriptor is telex_server_fd()");
    return telex_channel_leave(channel, CHANNEL_RECEIVE, r < 0 ? r : channel->watch.epoll);
}
