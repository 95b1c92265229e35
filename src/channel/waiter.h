/* SPDX-License-Identifier: MIT */
/*
 * When to try again and when to sleep: pure arithmetic, written once for every wait of every medium.
 *
 * A sleep and a wake across cores cost some 25 us each; trying again costs the core. Adaptive tries for about as long as a sleep and wake
 * cost, so that it never costs much more than twice the better choice (the ski-rental bound), and learns from each outcome: tries
 * in vain, and a gap between two tries (the core was given to somebody else, perhaps to the very peer that is awaited), make it sleep
 * at once for a growing number of waits before it probes again.
 */
#ifndef TELEX_CHANNEL_WAITER_H
#define TELEX_CHANNEL_WAITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "telex/telex.h"

struct telex_waiter { /* what was learned; one for each direction of a channel */
    enum telex_wait mode;
    unsigned skip;     /* waits that sleep at once before the next probe */
    unsigned penalty;  /* how many the next failure adds */
    unsigned wins;     /* successful probes in a row */
    _Atomic uint64_t tries, sleeps; /* relaxed, written by the waiting thread alone: others only look at the figures */
};

struct telex_pause { /* one wait */
    struct telex_waiter *waiter;
    int64_t started, last; /* ns; 0 before the first try */
    bool trying;
};

/* `peer`: the process that is waited for, -1 if not known. Where it and this thread have one core between them, trying again would only keep it from running. */
void telex_waiter_init(struct telex_waiter *waiter, enum telex_wait mode, int64_t peer);

/* Whether a wait that begins now would try first. */
static inline bool telex_waiter_tries(const struct telex_waiter *waiter)
{
    return waiter->mode == TELEX_WAIT_SPIN || (waiter->mode == TELEX_WAIT_ADAPTIVE && waiter->skip == 0);
}

/* A wait ended with its first try. */
void telex_waiter_won(struct telex_waiter *waiter);

/* A wait begins. */
void telex_pause_begin(struct telex_pause *pause, struct telex_waiter *waiter);

enum { TELEX_NOT_LOOKED = 0 }; /* for `now`: between two looks at the clock, which costs a tenth of a try */

/* A try was in vain at `now`: true: try again at once; false: sleep. */
bool telex_pause_again(struct telex_pause *pause, int64_t now);

/* The wait ended with what was waited for. */
void telex_pause_won(struct telex_pause *pause);

#endif
