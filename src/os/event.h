/* SPDX-License-Identifier: MIT */
/* A bell between threads or from a signal handler to a sleeper: an eventfd, owned (fork.h). */
#ifndef TELEX_OS_EVENT_H
#define TELEX_OS_EVENT_H

int telex_event_new(void);         /* a descriptor or -errno */
void telex_event_ring(int event);  /* makes it readable; async-signal-safe; keeps errno */
void telex_event_clear(int event); /* makes it unreadable */

#endif
