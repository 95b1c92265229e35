/* SPDX-License-Identifier: MIT */
/*
 * Sleep and doorbell: who finds nothing to do sleeps in a read of the socket, and who publishes something wakes it, without a fence (src/medium/shm/area.h).
 *
 *     sleeper = telex_shm_announce() with shm_bell_settle(), then a read; publisher = shm_bell_message(), shm_bell_progress(), telex_shm_give_back()
 *
 * Modelled: a sender that waits for room, a receiver that waits for messages and publishes `head` lazily, in one ring of CAPACITY units that ring.pml
 * has proved, so that two positions stand for it; every second record takes two units. A socket buffer of BELLS bytes, full or empty at first (bytes left
 * from before); a byte that finds it full is dropped. A sleeper takes one byte or all, and may wake for no reason (a signal, a deadline).
 * With THREADS: only the sender sleeps, and two threads of the receiver wake it, which give back room or chunks; they share the number last rung, which is
 * read first, and changed by compare-and-swap; whose swap fails does not ring, for another one rings after this one has published. With PLAIN also: a
 * plain variable, as in telex_shm_ring(), which wakes as well, though at times by more than one byte.
 * With FENCES: no membarrier, a full fence at both sides.
 * Left out: the end of file (death.pml), what trying without sleeping adds (it only looks more often).
 *
 * Right: nobody sleeps for ever (end states); no sleep is rung for more than once (without PLAIN).
 *
 * BUG_1   the sleeper has no heavy barrier
 * BUG_2   the sleeper looks again before it says that it sleeps
 * BUG_3   who publishes looks whether the other sleeps before it publishes
 * BUG_4   (FENCES) who publishes has no fence
 * BUG_5   who publishes remembers that it rang, not for which sleep
 * BUG_6   who wakes for nothing sleeps again under the same number
 * BUG_7   the receiver that finds nothing publishes `head`, and rings no bell
 * BUG_8   nobody remembers the number last rung
 * BUG_9   the receiver that finds nothing keeps `head` back
 * BUG_10  the number last rung is compared by "greater", and each sleep has one less than the former
 * BUG_11  the sleeper does not look again after it said that it sleeps
 * BUG_12  (FENCES) the sleeper has no fence
 * BUG_13  (THREADS) one of the threads rings no bell
 * BUG_14  (THREADS) the number last rung is compared and stored by two accesses: rings more than once
 * BUG_15  (THREADS) the number last rung is read after the number of the sleep: it may go back, and rings more than once
 * BUG_16  (THREADS) the sleeper looks again at one of the words that it waits for, not at the other
 *
 * variants: fences = FENCES; weak = WEAK_STORES; threads = THREADS IDLE=0; threads_plain = THREADS PLAIN IDLE=0
 * whole: N=4
 */
#ifndef N
#define N 3        /* messages */
#endif
#ifndef CAPACITY
#define CAPACITY 2 /* units of the ring */
#endif
#ifndef LAZY
#define LAZY 2     /* units that are given back together */
#endif
#ifndef BELLS
#define BELLS 1    /* bytes that the socket holds */
#endif
#ifndef IDLE
#define IDLE 1     /* how often somebody wakes for no reason */
#endif
#ifndef EACH
#define EACH 2     /* (THREADS) how often each thread gives something back */
#endif

#ifdef THREADS
#define TSO_PROCESSES 3
#else
#define TSO_PROCESSES 2
#endif
#define TAIL 0       /* units published: stands for `what` */
#define HEAD 1       /* units done with */
#define ASLEEP_IN 2  /* of the receiver */
#define ASLEEP_OUT 3 /* of the sender */
#define GIVEN 4      /* chunks given back */
#define TSO_WORDS 5
#include "tso.pml"

#define UNITS(number) (1 + (number) % 2)
#define SENDER 0
#define RECEIVER 1

byte bytes[2];     /* in the socket, on the way to the sender and to the receiver */
byte last_in;      /* the number that the sender rang last */
byte last_out;     /* and the receiver */
byte idle;
byte rung[2];      /* for the assertion: the number that each was rung for last */

#if defined(FENCES) && !defined(BUG_4)
#define LIGHT(p) tso_fence(p);
#else
#define LIGHT(p)
#endif

#if defined(BUG_1) || defined(BUG_12)
#define HEAVY(p)
#elif defined(FENCES)
#define HEAVY(p) tso_fence(p)
#else
#define HEAVY(p) tso_membarrier(p)
#endif

#ifdef BUG_10
#define IS_NEW(number, last) ((number) > last)
#define NEXT(number) number = (number == 0 -> 254 : number - 1)
#else
#define IS_NEW(number, last) ((number) != last)
#define NEXT(number) number++
#endif

#ifdef BUG_8
#define REMEMBER(last, number) skip
#elif defined(BUG_5)
#define REMEMBER(last, number) last = 255
#undef IS_NEW
#define IS_NEW(number, last) (last == 0)
#else
#define REMEMBER(last, number) last = number
#endif

inline byte_to(to)
{
    atomic {
#ifndef PLAIN
        assert(asleep != rung[to]);
        rung[to] = asleep;
#endif
        if
        :: bytes[to] < BELLS -> bytes[to]++
        :: else
        fi
    }
}

/* After a publication: wakes `to`, if it sleeps and was not woken from this sleep. */
inline ring(p, word, last, to)
{
#ifndef BUG_3
    LIGHT(p)
    tso_load(p, word, asleep);
#endif
    if
    :: asleep != 0 && IS_NEW(asleep, last) -> REMEMBER(last, asleep); byte_to(to)
    :: else
    fi;
    asleep = 0
}

#if !defined(BUG_14) && !defined(PLAIN)
/* The same, where several threads ring. */
inline ring_shared(p, word, last, to)
{
#ifndef BUG_15
    was = last;
#endif
    LIGHT(p)
    tso_load(p, word, asleep);
#ifdef BUG_15
    was = last;
#endif
    if
    :: asleep != 0 && asleep != was ->
        if
        :: atomic { last == was -> last = asleep }; byte_to(to)
        :: else
        fi
    :: else
    fi;
    asleep = 0;
    was = 0
}
#else
#define ring_shared ring
#endif

/* Says that it sleeps; whoever calls this looks again, then blocks, if nothing is there, then calls awake(). */
inline asleep_soon(p, word)
{
#ifdef BUG_6
    if
    :: again
    :: else -> NEXT(sleeps)
    fi;
#else
    NEXT(sleeps);
#endif
    tso_store(p, word, sleeps);
    HEAVY(p)
}

inline block(p)
{
    if
    :: atomic { bytes[p] > 0 -> bytes[p]-- }
    :: atomic { bytes[p] > 1 -> bytes[p] = 0 }
    :: atomic { idle < IDLE -> idle++ }
    fi
}

inline awake(p, word)
{
    tso_store(p, word, 0)
}

#ifdef BUG_3
#define BEFORE(p, word) tso_load(p, word, asleep);
#else
#define BEFORE(p, word)
#endif

#if defined(BUG_2)
#define LOOK_EARLY(look) look;
#define LOOK_AGAIN(look)
#elif defined(BUG_11)
#define LOOK_EARLY(look)
#define LOOK_AGAIN(look)
#else
#define LOOK_EARLY(look)
#define LOOK_AGAIN(look) look;
#endif

#ifndef THREADS

#define LOOK_OUT tso_load(SENDER, HEAD, head)
#define ROOM (sent + UNITS(number) - head <= CAPACITY)

active proctype sender()
{
    byte number, sent, head, sleeps, asleep;
#ifdef BUG_6
    bool again;
#endif

    atomic {
        if
        :: bytes[SENDER] = BELLS; bytes[RECEIVER] = BELLS
        :: true
        fi
    };
    do
    :: number < N ->
        do
        :: ROOM -> break
        :: else ->
            LOOK_OUT;
            if
            :: ROOM -> break
            :: else
            fi;
            LOOK_EARLY(LOOK_OUT)
            asleep_soon(SENDER, ASLEEP_OUT);
            LOOK_AGAIN(LOOK_OUT)
            if
            :: ROOM
            :: else -> block(SENDER)
            fi;
#ifdef BUG_6
            again = !ROOM;
#endif
            awake(SENDER, ASLEEP_OUT)
        od;
        BEFORE(SENDER, ASLEEP_IN)
        sent = sent + UNITS(number);
        number++;
        tso_release(SENDER, TAIL, sent);
        ring(SENDER, ASLEEP_IN, last_in, RECEIVER)
    :: else -> break
    od
}

#define LOOK_IN tso_load(RECEIVER, TAIL, tail)

active proctype receiver()
{
    byte number, received, tail, published, sleeps, asleep;
#ifdef BUG_6
    bool again;
#endif

    do
    :: number < N ->
        LOOK_IN;
        if
        :: tail > received ->
            received = received + UNITS(number);
            number++;
            if
            :: received - published >= LAZY ->
                BEFORE(RECEIVER, ASLEEP_OUT)
                published = received;
                tso_release(RECEIVER, HEAD, published);
                ring(RECEIVER, ASLEEP_OUT, last_out, SENDER)
            :: else
            fi
        :: else ->
#ifndef BUG_9
            if
            :: published < received ->
                BEFORE(RECEIVER, ASLEEP_OUT)
                published = received;
                tso_release(RECEIVER, HEAD, published);
#ifndef BUG_7
                ring(RECEIVER, ASLEEP_OUT, last_out, SENDER)
#endif
            :: else
            fi;
#endif
            LOOK_EARLY(LOOK_IN)
            asleep_soon(RECEIVER, ASLEEP_IN);
            LOOK_AGAIN(LOOK_IN)
            if
            :: tail > received
            :: else -> block(RECEIVER)
            fi;
#ifdef BUG_6
            again = tail == received;
#endif
            awake(RECEIVER, ASLEEP_IN)
        fi
    :: else -> break
    od
}

#else

#define LOOK_OUT atomic { tso_load(SENDER, HEAD, head); tso_load(SENDER, GIVEN, given) }

active proctype sender()
{
    byte used, head, given, sleeps, asleep;

    do
    :: used < 2 * EACH ->
        LOOK_OUT;
        if
        :: head + given > used
        :: else ->
            asleep_soon(SENDER, ASLEEP_OUT);
#ifdef BUG_16
            tso_load(SENDER, HEAD, head);
#else
            LOOK_OUT;
#endif
            if
            :: head + given > used
            :: else -> block(SENDER)
            fi;
            awake(SENDER, ASLEEP_OUT)
        fi;
        if
        :: head + given > used -> used++
        :: else
        fi
    :: else -> break
    od
}

active [2] proctype thread()
{
    byte done, asleep;
#if !defined(BUG_14) && !defined(PLAIN)
    byte was;
#endif

    do
    :: done < EACH ->
        done++;
        tso_release(_pid - 1, (_pid == 2 -> HEAD : GIVEN), done);
#ifdef BUG_13
        if
        :: _pid == 2 -> ring_shared((_pid - 1), ASLEEP_OUT, last_out, SENDER)
        :: else
        fi
#else
        ring_shared((_pid - 1), ASLEEP_OUT, last_out, SENDER)
#endif
    :: else -> break
    od
}

#endif
