/* SPDX-License-Identifier: MIT */
/* What every link has, whatever carries it: its locks and the reason of its end. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "medium/medium.h"
#include "os/process.h"
#include "wire/wire.h"

void telex_link_init(struct telex_link *link, const struct telex_link_ops *ops, const struct telex_wire *wire)
{
    link->ops = ops;
    link->wire = wire;
    link->fixed = UINT64_MAX;
    link->pid = -1;
    telex_lock_init(&link->in);
    telex_lock_init(&link->out);
    pthread_mutex_init(&link->reason_lock, NULL);
}

void telex_link_deinit(struct telex_link *link)
{
    telex_lock_deinit(&link->in);
    telex_lock_deinit(&link->out);
    pthread_mutex_destroy(&link->reason_lock);
}

int telex_link_blame(struct telex_link *link, int error)
{
    pthread_mutex_lock(&link->reason_lock);
    if (link->reason[0] == '\0')
        snprintf(link->reason, sizeof link->reason, "%s", telex_said());
    pthread_mutex_unlock(&link->reason_lock);
    return error;
}

int telex_link_say_reason(struct telex_link *link, int error)
{
    pthread_mutex_lock(&link->reason_lock);
    telex_say(error, "%s", link->reason[0] != '\0' ? link->reason : "the peer reads no more");
    pthread_mutex_unlock(&link->reason_lock);
    return error;
}

int telex_link_break(struct telex_link *link, int error)
{
    pthread_mutex_lock(&link->reason_lock); /* also over a goodbye that the peer went on after */
    snprintf(link->reason, sizeof link->reason, "%s", telex_said());
    pthread_mutex_unlock(&link->reason_lock);
    link->in_end = error;
    telex_lock(&link->out);
    link->ops->finish(link, TELEX_BYE_PROTOCOL, telex_said(), true);
    link->out_end = error;
    telex_unlock(&link->out);
    link->news++;
    return error;
}

/* ---- descriptors ---- */

static bool is_parted(struct telex_link *link)
{
    return link->ops->outlet != NULL && link->ops->outlet(link) != link->ops->descriptor(link);
}

unsigned telex_link_polled(struct telex_link *link, int events, struct pollfd ret_fds[2])
{
    unsigned count = 0;
    int out = is_parted(link) ? events & POLLOUT : 0, in = events & ~out;
    if (in != 0)
        ret_fds[count++] = (struct pollfd){.fd = link->ops->descriptor(link), .events = (short)in};
    if (out != 0)
        ret_fds[count++] = (struct pollfd){.fd = link->ops->outlet(link), .events = (short)out};
    return count;
}

static int watch_one(int epoll, int fd, uint32_t before, uint32_t now, void *tag)
{
    if (before == now || fd < 0)
        return 0;
    int change = now == 0 ? EPOLL_CTL_DEL : before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    struct epoll_event event = {.events = now, .data.ptr = tag};
    /* EPERM: a plain file, which never waits; whoever has it says that there is work without being told. */
    return epoll_ctl(epoll, change, fd, &event) < 0 && errno != EPERM ? -errno : 0;
}

int telex_link_watch(struct telex_link *link, int epoll, uint32_t before, uint32_t now, void *tag)
{
    int in = link->ops->descriptor(link);
    if (!is_parted(link))
        return watch_one(epoll, in, before, now, tag);
    int r = watch_one(epoll, in, before & ~(uint32_t)EPOLLOUT, now & ~(uint32_t)EPOLLOUT, tag);
    int out = watch_one(epoll, link->ops->outlet(link), before & EPOLLOUT, now & EPOLLOUT, tag);
    return r < 0 ? r : out;
}

/* ---- greeting ---- */

struct telex_greeting telex_link_greeting(const struct telex_settings *settings, bool descriptors)
{
    struct telex_greeting greeting = {
        .lowest = TELEX_WIRE_VERSION,
        .highest = TELEX_WIRE_VERSION,
        .features = descriptors && settings->descriptors > 0 ? TELEX_FEATURE_DESCRIPTORS : 0,
        .descriptors = settings->descriptors,
        .max = settings->max,
        .window = settings->window,
        .queue = settings->queue,
        .fixed = settings->fixed,
        .pid = getpid(),
    };
    memcpy(greeting.life, telex_life(), sizeof greeting.life);
    memcpy(greeting.program, settings->program, sizeof greeting.program);
    return greeting;
}

uint64_t telex_link_lesser(uint64_t ours, uint64_t theirs)
{
    if (ours == 0 && theirs == 0)
        return UINT64_MAX;
    return ours == 0 || (theirs != 0 && theirs < ours) ? theirs : ours;
}

int telex_link_agree(struct telex_link *link, const struct telex_greeting *ours, const struct telex_greeting *theirs, uint32_t *ret_bye)
{
    *ret_bye = TELEX_BYE_VERSION;
    int r = telex_greeting_agree(ours, theirs);
    if (r < 0)
        return r;
    *ret_bye = TELEX_BYE_REFUSED;
    if (ours->fixed != UINT64_MAX && theirs->fixed != UINT64_MAX && ours->fixed != theirs->fixed)
        return telex_say(-ECONNREFUSED, "one side wants messages of %llu bytes, the other of %llu (option size)",
                         (unsigned long long)ours->fixed, (unsigned long long)theirs->fixed);
    link->fixed = ours->fixed != UINT64_MAX ? ours->fixed : theirs->fixed;
    link->max = ours->max < theirs->max ? ours->max : theirs->max;
    if (link->fixed != UINT64_MAX && link->fixed > link->max)
        return telex_say(-ECONNREFUSED, "messages of %llu bytes are wanted (option size), but one side accepts at most %llu",
                         (unsigned long long)link->fixed, (unsigned long long)link->max);
    link->descriptors = ours->features & theirs->features & TELEX_FEATURE_DESCRIPTORS ? theirs->descriptors : 0;
    memcpy(link->life, theirs->life, sizeof link->life);
    link->pid = theirs->pid;
    memcpy(link->program, theirs->program, sizeof link->program);
    return 0;
}
