/* SPDX-License-Identifier: MIT */
/* The sentence that goes with an error: what was at fault, and what to do. One for each thread; no system calls. */
#ifndef TELEX_BASE_REASON_H
#define TELEX_BASE_REASON_H

#define TELEX_REASON_SIZE 512

/* Keeps the sentence as this thread's last one, about no handle yet, and returns `error` (a negative errno). */
int telex_say(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a short sentence without arguments: quick enough for polling loops. */
void telex_say_constant(const char *text);

/* This thread's last sentence; "" before the first. */
const char *telex_said(void);

/* The last sentence of this thread is about `handle`. */
void telex_said_about(const void *handle);

/* This thread's last sentence if it is about `handle`, else NULL. */
const char *telex_said_of(const void *handle);

#endif
