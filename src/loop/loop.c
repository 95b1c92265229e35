/* SPDX-License-Identifier: MIT */
#include "loop/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/reason.h"
#include "os/clock.h"
#include "os/event.h"
#include "os/fork.h"

enum { MOST_EVENTS = 128 };

int telex_loop_init(struct telex_loop *loop)
{
    *loop = (struct telex_loop){.bell = -1, .timer = -1, .timer_at = INT64_MAX};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->epoll = telex_own(epoll < 0 ? -errno : epoll);
    if (loop->epoll >= 0)
        loop->bell = telex_event_new();
    if (loop->bell >= 0) {
        int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        loop->timer = telex_own(timer < 0 ? -errno : timer);
    }
    int r = loop->epoll < 0 ? loop->epoll : loop->bell < 0 ? loop->bell : loop->timer < 0 ? loop->timer : 0;
    if (r == 0)
        r = telex_loop_watch(loop, loop->bell, EPOLLIN, &loop->bell);
    if (r == 0)
        r = telex_loop_watch(loop, loop->timer, EPOLLIN, &loop->timer);
    if (r < 0) {
        telex_loop_deinit(loop);
        return telex_say(r, "no descriptors for a loop: this process is at its limit of open files");
    }
    return 0;
}

void telex_loop_deinit(struct telex_loop *loop)
{
    telex_shut(loop->timer);
    telex_shut(loop->bell);
    telex_shut(loop->epoll);
    loop->epoll = loop->bell = loop->timer = -1;
}

static int control(struct telex_loop *loop, int operation, int fd, uint32_t events, void *tag)
{
    struct epoll_event event = {.events = events, .data.ptr = tag};
    return epoll_ctl(loop->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int telex_loop_watch(struct telex_loop *loop, int fd, uint32_t events, void *tag)
{
    int r = control(loop, EPOLL_CTL_ADD, fd, events, tag);
    return r < 0 ? telex_say(r, "the kernel cannot watch one descriptor more: %s", strerror(-r)) : 0;
}

void telex_loop_change(struct telex_loop *loop, int fd, uint32_t events, void *tag)
{
    control(loop, EPOLL_CTL_MOD, fd, events, tag);
}

void telex_loop_set_timer(struct telex_loop *loop, int64_t at)
{
    if (at == loop->timer_at)
        return;
    loop->timer_at = at;
    struct itimerspec spec = {0};
    if (at != INT64_MAX)
        spec.it_value = (struct timespec){.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    timerfd_settime(loop->timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

int telex_loop_ready(struct telex_loop *loop, struct telex_loop_event *ret_events, int most)
{
    struct epoll_event events[MOST_EVENTS];
    int found = epoll_wait(loop->epoll, events, most < MOST_EVENTS ? most : MOST_EVENTS, 0);
    int count = 0;
    for (int i = 0; i < found; i++) {
        if (events[i].data.ptr == &loop->bell) {
            telex_event_clear(loop->bell);
        } else if (events[i].data.ptr == &loop->timer) {
            telex_loop_set_timer(loop, INT64_MAX); /* disarming also makes it unreadable */
        } else {
            ret_events[count++] = (struct telex_loop_event){events[i].data.ptr, events[i].events};
        }
    }
    return count;
}

void telex_loop_ring(struct telex_loop *loop)
{
    telex_event_ring(loop->bell);
}
