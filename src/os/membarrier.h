/* SPDX-License-Identifier: MIT */
/*
 * Barriers of unequal weight. Where one side stores A and loads B, and the other stores B and loads A, both need a full barrier between, or both may
 * miss what the other stored. When one side does this a million times as often, it takes the light one, which costs nothing and only keeps the
 * compiler from reordering, and the other the heavy one: membarrier(2) makes every running thread of the registered processes pass a full barrier.
 */
#ifndef TELEX_OS_MEMBARRIER_H
#define TELEX_OS_MEMBARRIER_H

#include <stdatomic.h>
#include <stdbool.h>

/* Registers this process, once in its life. Whether telex_barrier_of_threads() and telex_barrier_of_all() may be called. Any thread. */
bool telex_membarrier_ready(void);

/* The heavy side among threads of this process. */
void telex_barrier_of_threads(void);

/* The heavy side among all processes that are registered. */
void telex_barrier_of_all(void);

/* The light side: forbids the compiler to move the load after it before the store that precedes it; pairs with the heavy barriers above. */
static inline void telex_barrier_light(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* A full barrier, for both sides where membarrier is not to be had. */
static inline void telex_barrier_full(void)
{
    __sync_synchronize();
}

#endif
