/* SPDX-License-Identifier: MIT */
/*
 * Which barriers the bell has (src/medium/shm/area.h, "Fences"): who sleeps often asks who publishes for full barriers, and makes do with one, too. What
 * else there is about the bell is in sleep.pml.
 *
 *     sleeper = choose_barrier(), telex_shm_wakeful(), telex_shm_announce(), telex_shm_awake(), shm_bell_settle(); publisher = shm_bell_message()
 *
 * Modelled: a sleeper that switches to full barriers before a sleep, whenever it likes, and back to heavy ones at any time, also while it says that it
 * sleeps. It may wake for no reason; then it still says so, and sleeps again under the same number and without another barrier. A byte may lie in the
 * socket from before. With THREADS: no such byte; two publishers, each with a count of its own; they share the number last rung, a plain variable as in
 * telex_shm_ring().
 * Left out: when it is worth while to switch; the other direction, which has a word of its own.
 *
 * Right: nobody sleeps for ever while there is something published (end states).
 *
 * BUG_1   no heavy barrier at the switch on
 * BUG_2   the word is read before the publication
 * BUG_3   who publishes has the light barrier though the word says 1
 * BUG_4   switched off in the word, but the sleeper goes on with full barriers
 * BUG_5   switched on, but not in the word
 * BUG_6   at the switch on, the heavy barrier comes before the word
 * BUG_7   who publishes loads the number before the word, as without an acquire load (if the word says 1, then again after the full barrier)
 * BUG_8   the full barrier comes before the publication
 * BUG_9   only the first switch on has the heavy barrier
 * BUG_10  who publishes reads the word once, and remembers it
 * BUG_11  the sleeper has no barrier while the word says 1
 * BUG_12  (WEAK_STORES) switched off between the number and the full barrier
 * BUG_13  (THREADS) the heavy barrier at the switch on is for one of the threads
 *
 * variants: weak_stores = WEAK_STORES; threads = THREADS SWITCHES=2
 * whole: N=4 SWITCHES=5 IDLE=2
 */
#ifndef N
#define N 2        /* things that are published */
#endif
#ifndef EACH
#define EACH 1     /* (THREADS) by each thread */
#endif
#ifndef SWITCHES
#define SWITCHES 3 /* on, off, on */
#endif
#ifndef IDLE
#define IDLE 1     /* how often the sleeper wakes for no reason */
#endif

#ifdef THREADS
#undef N
#define N EACH
#define PUBLISHERS 2
#define TSO_PROCESSES 3
#else
#define PUBLISHERS 1
#define TSO_PROCESSES 2
#endif
#define ASLEEP 0
#define FENCES 1
#define COUNT(publisher) (1 + (publisher)) /* of things published */
#define TSO_WORDS (2 + PUBLISHERS)
#include "tso.pml"

#define SLEEPER 0
#define ME (_pid - 1)

bool ringing; /* a byte is in the socket, which holds no more */
byte last;    /* the number last rung */

/* ---- who sleeps */

#ifdef THREADS
#define LOOK atomic { tso_load(SLEEPER, COUNT(1), seen); tso_load(SLEEPER, COUNT(2), others); seen = seen + others; others = 0 }
#else
#define LOOK tso_load(SLEEPER, COUNT(1), seen)
#endif

#if defined(BUG_1) || defined(BUG_6)
#define ONE_LAST_BARRIER skip
#elif defined(BUG_9)
#define ONE_LAST_BARRIER if :: switches == 1 -> tso_membarrier(SLEEPER) :: else fi
#elif defined(BUG_13)
#define ONE_LAST_BARRIER tso_fence(SLEEPER); tso_fence(1)
#else
#define ONE_LAST_BARRIER tso_membarrier(SLEEPER)
#endif

inline switch_on()
{
    switches++;
#ifdef BUG_6
    tso_membarrier(SLEEPER);
#endif
#ifndef BUG_5
    tso_store(SLEEPER, FENCES, 1);
#endif
    ONE_LAST_BARRIER;
    fences = true
}

inline switch_off()
{
    switches++;
#ifndef BUG_4
    fences = false;
#endif
    tso_store(SLEEPER, FENCES, 0)
}

inline settle()
{
    if
    :: fences ->
#ifdef BUG_12
        if
        :: switches < SWITCHES -> switch_off()
        :: true
        fi;
#endif
#ifdef BUG_11
        skip
#else
        tso_fence(SLEEPER)
#endif
    :: else -> tso_membarrier(SLEEPER)
    fi
}

inline awake()
{
    announced = false;
    tso_store(SLEEPER, ASLEEP, 0)
}

active proctype sleeper()
{
    byte taken, seen, sleeps, switches, idle;
    bool fences, announced;
#ifdef THREADS
    byte others;
#endif

#ifndef THREADS
    if
    :: ringing = true
    :: true
    fi;
#endif
    do
    :: taken < N * PUBLISHERS ->
        if
        :: fences && switches < SWITCHES -> switch_off()
        :: true
        fi;
        LOOK;
        if
        :: seen > taken ->
            taken++;
            if
            :: announced -> awake()
            :: else
            fi
        :: else ->
            if
            :: !announced ->
                if
                :: !fences && switches < SWITCHES -> switch_on()
                :: true
                fi;
                sleeps++;
                announced = true;
                tso_store(SLEEPER, ASLEEP, sleeps);
                settle()
            :: else
            fi;
            LOOK;
            if
            :: seen > taken -> awake()
            :: else ->
                if
                :: atomic { ringing -> ringing = false }; awake()
                :: idle < IDLE -> idle++
                fi
            fi
        fi
    :: else -> break
    od
}

/* ---- who publishes */

#ifdef BUG_10
#define READ_WORD if :: !knows -> knows = true; tso_load(ME, FENCES, fences) :: else fi
#else
#define READ_WORD tso_load(ME, FENCES, fences)
#endif

#ifdef BUG_3
#define FULL_BARRIER skip
#else
#define FULL_BARRIER tso_fence(ME)
#endif

active [PUBLISHERS] proctype publisher()
{
    byte number, fences, asleep;
#ifdef BUG_10
    bool knows;
#endif

    do
    :: number < N ->
        number++;
#ifdef BUG_2
        READ_WORD;
#endif
#ifdef BUG_8
        READ_WORD;
        if
        :: fences -> FULL_BARRIER
        :: else
        fi;
        tso_release(ME, COUNT(ME), number);
#else
        tso_release(ME, COUNT(ME), number);
#ifdef BUG_7
        tso_load(ME, ASLEEP, asleep);
#endif
#ifndef BUG_2
        READ_WORD;
#endif
        if
        :: fences -> FULL_BARRIER
        :: else
        fi;
#endif
#ifdef BUG_7
        if
        :: fences -> tso_load(ME, ASLEEP, asleep)
        :: else
        fi;
#else
        tso_load(ME, ASLEEP, asleep);
#endif
        if
        :: asleep != 0 && asleep != last -> last = asleep; ringing = true
        :: else
        fi;
        asleep = 0
#ifndef BUG_10
        ; fences = 0
#endif
    :: else -> break
    od
}
