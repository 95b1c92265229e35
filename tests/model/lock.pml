/* SPDX-License-Identifier: MIT */
/*
 * A lock that leans towards the thread that uses it (src/os/lock.h and lock.c; functions have the same names here, without `telex_`).
 *
 * Modelled: THREADS threads, each of which takes the lock ROUNDS times, by lock() or by lock_try(), as it comes; the owner's two plain stores, taking the
 * lock away, giving it back by a try that failed, and giving it up for good after LOSSES_MOST. The mutex: taking it empties the store buffer, giving it
 * back is a release store only (less than what pthread_mutex_unlock does). What stands under the mutex alone (streak, losses, last) is plain.
 * `held` is one for each number of losses: so each is written by one thread only (see BUG_12), and `owner` tells which it is.
 * Left out: a try by the thread that has the lock; that waiting naps; membarrier that is missing (then losses begins at LOSSES_MOST, and nobody ever owns).
 *
 * Right: one thread at a time, which sees what the former ones wrote; who waits gets the lock (end states); the mutex is given back by whoever has it.
 *
 * BUG_1   the owner does not look at `owner` again after it stored `held`
 * BUG_2   who takes the lock away has no barrier
 * BUG_3   who takes the lock away does not wait until it is not held
 * BUG_4   who comes to own the lock does not store `held`
 * BUG_5   who comes to own the lock leaves `by_mutex` true
 * BUG_6   a quick attempt in vain leaves `held` true
 * BUG_7   a try in vain gives the lock back after it gave back the mutex
 * BUG_8   a try in vain gives the lock back, but got it
 * BUG_9   (WEAK_STORES) `held` is given back by a plain store
 * BUG_10  `owner` is stored after the mutex was given back
 * BUG_11  who waits for the lock looks at the `held` of the number that comes next, not of the last owner
 * BUG_12  one `held` for all owners: a former one, slow in its attempt in vain, makes it false while the next one holds the lock
 *
 * variants: weak = WEAK_STORES; many = LOSSES_MOST=4
 * whole: ROUNDS=5 LOSSES_MOST=4
 */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef ROUNDS
#define ROUNDS 4
#endif
#ifndef STREAK
#define STREAK 2
#endif
#ifndef LOSSES_MOST
#define LOSSES_MOST 3
#endif

#define TSO_PROCESSES THREADS
#define OWNER 0 /* 0, or the thread's number, one more than that of its buffer, and which `held` is its */
#define HOW 1   /* 0: the lock is held by the mutex; else by this `held`, and one */
#define MUTEX 2
#define DATA 3  /* how often the lock was held */
#ifdef BUG_12
#define HELD(i) 4
#else
#define HELD(i) (4 + (i))
#endif
#define TSO_WORDS (4 + LOSSES_MOST)
#define OWNED_BY(thread, i) ((thread) + 4 * (i))
#define THREAD_OF(owner) (owner % 4)
#define HELD_OF(owner) HELD(owner / 4)
#include "tso.pml"

#define ME (_pid - 1)

byte streak, losses, last, latest; /* guarded by the mutex; latest: which `held` the last owner has */
byte inside, mutex_of;     /* for the assertions: who has the lock, and the mutex */
byte times;                /* and how often the lock was held */

#ifdef BUG_9
#define GIVE_BACK(p, word) tso_store(p, word, 0)
#else
#define GIVE_BACK(p, word) tso_release(p, word, 0)
#endif

inline mutex_lock(p)
{
    atomic {
        memory[MUTEX] == 0 ->
        d_step {
            tso_empty(p);
            memory[MUTEX] = 1;
            mutex_of = p + 1
        }
    }
}

inline mutex_unlock(p)
{
    atomic {
        assert(mutex_of == p + 1);
        mutex_of = 0;
        tso_release(p, MUTEX, 0)
    }
}

inline lock_quickly(p)
{
    tso_load(p, OWNER, owner);
    if
    :: THREAD_OF(owner) != p + 1
    :: else ->
        tso_store(p, HELD_OF(owner), 1);
#ifdef BUG_1
        got = true
#else
        tso_load(p, OWNER, again);
        if
        :: owner == again -> got = true
#ifdef BUG_6
        :: else
#else
        :: else -> GIVE_BACK(p, HELD_OF(owner))
#endif
        fi;
        again = 0
#endif
    fi
}

inline take_away(p)
{
    tso_store(p, OWNER, 0);
    if
    :: THREAD_OF(owner) == p + 1
    :: else ->
        losses = (losses < LOSSES_MOST -> losses + 1 : losses);
#ifndef BUG_2
        tso_membarrier(p)
#endif
    fi
}

inline taken(p)
{
    atomic {
        streak = (last == p + 1 -> streak + 1 : 1);
        last = p + 1
    };
    if
    :: streak < STREAK || losses >= LOSSES_MOST -> 
        streak = (streak > STREAK -> STREAK : streak);
        tso_store(p, HOW, 0)
    :: else ->
        atomic { streak = 0; latest = losses };
#ifndef BUG_5
        tso_store(p, HOW, latest + 1);
#endif
#ifndef BUG_4
        tso_store(p, HELD(latest), 1);
#endif
#ifdef BUG_10
        mutex_unlock(p);
        tso_store(p, OWNER, OWNED_BY(p + 1, latest))
#else
        tso_store(p, OWNER, OWNED_BY(p + 1, latest));
        mutex_unlock(p)
#endif
    fi;
    got = true
}

#ifdef BUG_11
#define LATEST (losses % LOSSES_MOST)
#else
#define LATEST latest
#endif

inline lock_slowly(p)
{
    mutex_lock(p);
    tso_load(p, OWNER, owner);
    if
    :: owner != 0 -> take_away(p)
    :: else
    fi;
#ifndef BUG_3
    do
    :: tso_load(p, HELD(LATEST), held);
        if
        :: held -> memory[HELD(LATEST)] == 0
        :: else -> break
        fi
    od;
#endif
    taken(p)
}

inline lock_try_slowly(p)
{
    atomic {
        tso_fence(p);
        mine = (memory[MUTEX] == 0);
        if
        :: mine -> memory[MUTEX] = 1; mutex_of = p + 1
        :: else
        fi
    };
    if
    :: mine ->
        mine = false;
        tso_load(p, OWNER, owner);
        if
        :: owner != 0 -> take_away(p)
        :: else
        fi;
        tso_load(p, HELD(latest), held);
        if
        :: held ->
#ifdef BUG_7
            mutex_unlock(p);
#endif
            if
            :: losses < LOSSES_MOST -> tso_store(p, OWNER, owner)
            :: else
            fi;
#ifndef BUG_7
            mutex_unlock(p);
#endif
            held = 0
        :: else ->
            taken(p);
#ifdef BUG_8
            if
            :: owner != 0 && THREAD_OF(owner) != p + 1 -> tso_store(p, OWNER, owner)
            :: else
            fi
#endif
        fi
    :: else
    fi
}

inline lock_try(p)
{
    tso_load(p, OWNER, owner);
    slow = true;
    if
    :: THREAD_OF(owner) == p + 1 -> lock_quickly(p); slow = !got
    :: else
    fi;
    if
    :: slow -> slow = false; lock_try_slowly(p)
    :: else
    fi
}

inline unlock(p)
{
    tso_load(p, HOW, how);
    if
    :: how == 0 -> mutex_unlock(p)
    :: else -> GIVE_BACK(p, HELD(how - 1))
    fi;
    how = 0
}

active [THREADS] proctype thread()
{
    byte round, owner, again, held, how, data;
    bool got, mine, slow;

    do
    :: round < ROUNDS ->
        round++;
        if
        :: lock_quickly(ME);
            if
            :: got
            :: else -> lock_slowly(ME)
            fi
        :: lock_try(ME)
        fi;
        if
        :: got ->
            atomic { assert(inside == 0); inside = _pid; got = false; owner = 0; held = 0 };
            tso_load(ME, DATA, data);
            atomic { assert(data == times); tso_store(ME, DATA, data + 1); times++; data = 0 };
            inside = 0;
            unlock(ME)
        :: else -> owner = 0
        fi
    :: else -> break
    od
}
