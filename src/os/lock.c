/* SPDX-License-Identifier: MIT */
#include "os/lock.h"

#include <sched.h>
#include <time.h>

enum {
    STREAK = 4,      /* times in a row, after which a thread owns the lock */
    LOSSES_MOST = TELEX_LOCK_LOSSES_MOST,
    YIELDS = 64,
    NAP_NS = 50000,
};

_Thread_local uint64_t telex_thread_number;

uint64_t telex_thread_make_number(void)
{
    static _Atomic uint64_t last;
    /* Relaxed: only that it is a number of its own matters. */
    return telex_thread_number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

void telex_lock_init(struct telex_lock *lock)
{
    *lock = (struct telex_lock){.how = 0};
    if (!telex_membarrier_ready())
        lock->losses = LOSSES_MOST;
    pthread_mutex_init(&lock->mutex, NULL);
}

void telex_lock_deinit(struct telex_lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

/* Under the mutex: nobody owns the lock afterwards, though its last owner may hold it still. */
static void take_away(struct telex_lock *lock, uint64_t owner)
{
    atomic_store_explicit(&lock->owner, 0, memory_order_relaxed);
    if (owner / LOSSES_MOST == telex_thread())
        return;
    if (lock->losses < LOSSES_MOST)
        lock->losses++;
    telex_barrier_of_threads(); /* (b) in lock.h */
}

/* Under the mutex, with the lock taken: this thread comes to own it, if it often takes it. */
static void taken(struct telex_lock *lock)
{
    uint64_t me = telex_thread();
    lock->streak = lock->last == me ? lock->streak + 1 : 1;
    lock->last = me;
    lock->how = 0;
    if (lock->streak < STREAK || lock->losses >= LOSSES_MOST) {
        lock->streak = lock->streak > STREAK ? STREAK : lock->streak;
        return;
    }
    lock->streak = 0;
    lock->latest = lock->losses;
    lock->how = lock->latest + 1; /* from here on it is held as its owner holds it */
    atomic_store_explicit(&lock->held[lock->latest], true, memory_order_relaxed);
    atomic_store_explicit(&lock->owner, me * LOSSES_MOST + lock->latest, memory_order_relaxed); /* the mutex that is given back orders it for others */
    pthread_mutex_unlock(&lock->mutex);
}

void telex_lock_slowly(struct telex_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    uint64_t owner = atomic_load_explicit(&lock->owner, memory_order_relaxed);
    if (owner != 0)
        take_away(lock, owner);
    /* Acquire: pairs with the release in telex_unlock(). Waiting is rare, and as long as the owner is at it. */
    for (unsigned i = 0; atomic_load_explicit(&lock->held[lock->latest], memory_order_acquire); i++) {
        if (i < YIELDS)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
    taken(lock);
}

bool telex_lock_try_slowly(struct telex_lock *lock)
{
    if (pthread_mutex_trylock(&lock->mutex) != 0)
        return false;
    uint64_t owner = atomic_load_explicit(&lock->owner, memory_order_relaxed);
    if (owner != 0)
        take_away(lock, owner);
    if (atomic_load_explicit(&lock->held[lock->latest], memory_order_acquire)) {
        /* It may keep it; a thread that asks again and again takes it away for good in the end. */
        if (lock->losses < LOSSES_MOST)
            atomic_store_explicit(&lock->owner, owner, memory_order_relaxed);
        pthread_mutex_unlock(&lock->mutex);
        return false;
    }
    taken(lock);
    return true;
}

void telex_unlock_slowly(struct telex_lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
}
