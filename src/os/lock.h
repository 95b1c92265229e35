/* SPDX-License-Identifier: MIT */
/*
 * A lock that leans towards the thread that uses it. A locked instruction costs as much as a message through shared memory, and nearly every lock of a
 * channel is only ever taken by one thread. So a thread that takes a lock several times in a row comes to own it: from then on it takes it by two plain
 * stores. Any other thread may take the lock away again, once and for all where that happens often; then it is a common mutex.
 *
 * Why it is a lock. Owner: (1) stores `held`, (2) light barrier, (3) loads `owner`; if that is still itself, it has the lock. Other, under the mutex:
 * (a) stores 0 to `owner`, (b) barrier of all threads, (c) waits until `held` is false. Were (3) to see the old `owner` and (c) a
 * `held` that is false, then (1) would be ordered after (c) and (a) after (3), which (2) and (b) forbid: either (1) is before the barrier in the owner's
 * order, and (c) sees it, or (3) is after it, and sees (a). What the owner wrote under the lock is seen by the other by the release of `held` and its
 * acquire in (c); what others wrote before is seen by the owner by the mutex, under which alone `owner` is set, by the thread itself.
 *
 * An owner may lose the lock between its look at `owner` and (1), be held up there, and go on when another thread owns the lock: what it then stores, true
 * and false again, must not be the next owner's `held`. So there is one for each number of losses, and `owner` tells which: each has one writer.
 * tests/model/lock.pml is this, step by step.
 */
#ifndef TELEX_OS_LOCK_H
#define TELEX_OS_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/membarrier.h"

enum { TELEX_LOCK_LOSSES_MOST = 8 }; /* then it is nobody's any more: to take it away costs some us */

struct telex_lock {
    _Atomic uint64_t owner; /* the thread that takes it without the mutex, and in its lowest three bits which `held` it has; 0: nobody */
    atomic_bool held[TELEX_LOCK_LOSSES_MOST]; /* by the owner; only it writes this */
    uint8_t how;            /* guarded by the lock: 0: it is held by the mutex; else by held[how - 1] */
    uint8_t streak, losses; /* guarded by the mutex, as the next two: how often in a row one thread took it; how often an owner lost it */
    uint8_t latest;         /* which `held` the last owner has */
    uint64_t last;
    pthread_mutex_t mutex;
};

extern _Thread_local uint64_t telex_thread_number __attribute__((tls_model("initial-exec"), visibility("hidden")));

uint64_t telex_thread_make_number(void);

/* This thread's own number, never given to another one. */
static inline uint64_t telex_thread(void)
{
    uint64_t number = telex_thread_number;
    return __builtin_expect(number != 0, 1) ? number : telex_thread_make_number();
}

void telex_lock_init(struct telex_lock *lock);
void telex_lock_deinit(struct telex_lock *lock);
void telex_lock_slowly(struct telex_lock *lock);
bool telex_lock_try_slowly(struct telex_lock *lock);
void telex_unlock_slowly(struct telex_lock *lock);

static inline bool telex_lock_quickly(struct telex_lock *lock)
{
    uint64_t owner = atomic_load_explicit(&lock->owner, memory_order_relaxed);
    if (owner / TELEX_LOCK_LOSSES_MOST != telex_thread())
        return false;
    atomic_bool *held = &lock->held[owner % TELEX_LOCK_LOSSES_MOST];
    atomic_store_explicit(held, true, memory_order_relaxed);
    telex_barrier_light(); /* (2) above; pairs with telex_barrier_of_threads() in lock.c */
    if (__builtin_expect(atomic_load_explicit(&lock->owner, memory_order_relaxed) == owner, 1))
        return true;
    atomic_store_explicit(held, false, memory_order_release);
    return false;
}

static inline void telex_lock(struct telex_lock *lock)
{
    if (!telex_lock_quickly(lock))
        telex_lock_slowly(lock);
}

/* false: somebody holds it, be it this thread itself. */
static inline bool telex_lock_try(struct telex_lock *lock)
{
    uint64_t owner = atomic_load_explicit(&lock->owner, memory_order_relaxed);
    if (owner / TELEX_LOCK_LOSSES_MOST == telex_thread())
        return !atomic_load_explicit(&lock->held[owner % TELEX_LOCK_LOSSES_MOST], memory_order_relaxed) && (telex_lock_quickly(lock) || telex_lock_try_slowly(lock));
    return telex_lock_try_slowly(lock);
}

static inline void telex_unlock(struct telex_lock *lock)
{
    if (__builtin_expect(lock->how != 0, 1))
        atomic_store_explicit(&lock->held[lock->how - 1], false, memory_order_release); /* pairs with the acquire of whoever takes the lock away */
    else
        telex_unlock_slowly(lock);
}

#endif
