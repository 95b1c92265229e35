/* SPDX-License-Identifier: MIT */
/*
 * What listeners and servers stand on: an epoll descriptor that watches many, with a bell (rung from other threads and
 * signal handlers) and a timer inside it, so that one descriptor tells of everything.
 */
#ifndef TELEX_LOOP_LOOP_H
#define TELEX_LOOP_LOOP_H

#include <stdint.h>

struct telex_loop {
    int epoll, bell, timer;
    int64_t timer_at; /* ns; INT64_MAX: not set */
};

struct telex_loop_event {
    void *tag;       /* as given to watch */
    uint32_t events;
};

int telex_loop_init(struct telex_loop *loop); /* 0 or -errno with a sentence */
void telex_loop_deinit(struct telex_loop *loop);

/* Watches `fd` for `events` (EPOLL...), level-triggered. `tag` must not be NULL. 0 or -errno. */
int telex_loop_watch(struct telex_loop *loop, int fd, uint32_t events, void *tag);
void telex_loop_change(struct telex_loop *loop, int fd, uint32_t events, void *tag);

/* Makes the epoll descriptor readable from `at` (absolute ns) on; INT64_MAX: no more. */
void telex_loop_set_timer(struct telex_loop *loop, int64_t at);

/* What is ready now, without waiting: how many events were written. The bell is cleared, a timer that fired is unset; neither shows as an event. */
int telex_loop_ready(struct telex_loop *loop, struct telex_loop_event *ret_events, int most);

void telex_loop_ring(struct telex_loop *loop); /* any thread; async-signal-safe */

#endif
