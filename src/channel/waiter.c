/* SPDX-License-Identifier: MIT */
#include "channel/waiter.h"

#include "os/process.h"

enum {
    TRY_NS = 50000,        /* about what a sleep and a wake cost: 53 us measured on unix sockets, two cores */
    LOST_NS = 20000,       /* a gap as long as this between two tries means that the core was lost */
    PENALTY_MOST = 1024,   /* one probe of TRY_NS in so many waits: at most 50 ns a wait */
    WINS_TO_FORGIVE = 16,
};

void telex_waiter_init(struct telex_waiter *waiter, enum telex_wait mode, int64_t peer)
{
    *waiter = (struct telex_waiter){.mode = telex_cores(peer) > 1 ? mode : TELEX_WAIT_BLOCK, .penalty = 1};
}

void telex_pause_begin(struct telex_pause *pause, struct telex_waiter *waiter)
{
    *pause = (struct telex_pause){.waiter = waiter, .trying = waiter->mode != TELEX_WAIT_BLOCK};
    if (waiter->mode == TELEX_WAIT_ADAPTIVE && waiter->skip > 0) {
        waiter->skip--;
        pause->trying = false;
    }
}

static void lost(struct telex_waiter *waiter)
{
    waiter->skip = waiter->penalty;
    waiter->wins = 0;
    if (waiter->penalty < PENALTY_MOST)
        waiter->penalty *= 2;
}

/* One thread writes, so that no locked instruction is needed. */
static void count(_Atomic uint64_t *figure)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + 1, memory_order_relaxed);
}

bool telex_pause_again(struct telex_pause *pause, int64_t now)
{
    struct telex_waiter *waiter = pause->waiter;
    if (!pause->trying) {
        count(&waiter->sleeps);
        return false;
    }
    count(&waiter->tries);
    if (waiter->mode == TELEX_WAIT_SPIN || now == TELEX_NOT_LOOKED)
        return true;
    if (pause->started == 0) {
        pause->started = pause->last = now;
        return true;
    }
    bool gone = now - pause->last > LOST_NS;
    pause->last = now;
    if (!gone && now - pause->started < TRY_NS)
        return true;
    pause->trying = false;
    lost(waiter);
    count(&waiter->sleeps);
    return false;
}

static void won(struct telex_waiter *waiter)
{
    if (++waiter->wins < WINS_TO_FORGIVE)
        return;
    waiter->wins = 0;
    if (waiter->penalty > 1)
        waiter->penalty /= 2;
}

void telex_waiter_won(struct telex_waiter *waiter)
{
    count(&waiter->tries);
    if (waiter->mode == TELEX_WAIT_ADAPTIVE)
        won(waiter);
}

void telex_pause_won(struct telex_pause *pause)
{
    if (pause->trying && pause->waiter->mode == TELEX_WAIT_ADAPTIVE)
        won(pause->waiter);
}
