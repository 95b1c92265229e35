/* SPDX-License-Identifier: MIT */
/*
 * The log of chunks given back (shm_page.released in layout.h): any thread of the receiver appends, the sender reads in order.
 *
 *     receiver = telex_shm_give_back() in area.c; sender = telex_shm_arena_reclaim() in arena.c, before it takes a chunk
 *
 * Modelled: an arena of SLOTS chunks and a log of as many entries, N messages, each in any free chunk. Two threads of the receiver take messages (one at
 * a time, as under the lock of receiving), read the chunk, and give it back as they come to it: fetch-add of the index, which they alone share, then a
 * release store of the entry: the number of the lap, modulo LAPS, and the chunk. The sender reads entries in order until one is not of the lap that it
 * expects. Two laps are told apart by one bit already, so that the 22 bits of the C code may well wrap.
 * Left out: chunks of several granules, the ring (a word for each message), sleeping for a chunk (sleep.pml).
 *
 * Right: the sender never writes a chunk that the receiver still reads; every chunk comes back (end states).
 *
 * BUG_1   the index is increased by a load and a store
 * BUG_2   the sender does not look at the lap
 * BUG_3   an entry is stored before the chunk is read to the end
 * BUG_4   the sender believes the index, not the entries
 * BUG_5   laps count from 0, as the memory does
 * BUG_6   the sender passes over an entry that is not there yet
 * BUG_7   an entry is stored at the index, which is increased afterwards
 * BUG_8   all laps have the same number
 * BUG_9   (WEAK_STORES) the message is published by a plain store
 * BUG_10  the sender expects the number of the lap before
 *
 * variants: weak = WEAK_STORES; laps = LAPS=3
 * whole: N=6
 */
#ifndef N
#define N 5     /* messages */
#endif
#ifndef SLOTS
#define SLOTS 2 /* chunks */
#endif
#ifndef LAPS
#define LAPS 2
#endif

#define TSO_PROCESSES 3
#define ENTRY(i) ((i) % SLOTS)
#define CHUNK(slot) (SLOTS + (slot)) /* what lies there: the number of the message */
#define RECORD(n) (2 * SLOTS + (n))  /* 0, or the slot and one */
#define NEXT (2 * SLOTS + N)         /* entries that threads of the receiver have begun */
#define TSO_WORDS (2 * SLOTS + N + 1)
#include "tso.pml"

#define SENDER 0
#define ME (_pid - 1)

#ifdef BUG_5
#define LAP(i) (((i) / SLOTS) % LAPS)
#elif defined(BUG_8)
#define LAP(i) 1
#else
#define LAP(i) (((i) / SLOTS + 1) % LAPS)
#endif
#define RELEASED(i, slot) (LAP(i) * SLOTS + (slot))

bool busy[SLOTS];  /* for the assertion: the receiver reads it, or will */
byte taken;        /* messages that threads of the receiver have taken */

#ifdef BUG_9
#define PUBLISH(n, slot) tso_store(SENDER, RECORD(n), (slot) + 1)
#else
#define PUBLISH(n, slot) tso_release(SENDER, RECORD(n), (slot) + 1)
#endif

#if defined(BUG_2)
#define IS_THERE(entry, i) true
#elif defined(BUG_4)
#define IS_THERE(entry, i) (memory[NEXT] > i)
#elif defined(BUG_10)
#define IS_THERE(entry, i) (entry / SLOTS == LAP(i + SLOTS * (LAPS - 1)))
#else
#define IS_THERE(entry, i) (entry / SLOTS == LAP(i))
#endif

/* What is given back is free again. */
inline reclaim()
{
    do
    :: read < N ->
        tso_load(SENDER, ENTRY(read), entry);
        if
        :: IS_THERE(entry, read) -> atomic { assert(!free[entry % SLOTS]); free[entry % SLOTS] = true; read++ }
#ifdef BUG_6
        :: else -> read++; break
#else
        :: else -> break
#endif
        fi
    :: else -> break
    od;
    entry = 0
}

active proctype sender()
{
    byte n, read, entry, slot;
    bool free[SLOTS] = true;

    do
    :: n < N ->
        reclaim();
        if
        :: atomic { free[0] -> slot = 0 }
        :: atomic { free[1] -> slot = 1 }
        :: else -> IS_THERE(memory[ENTRY(read)], read)
        fi;
        if
        :: free[slot] ->
            atomic { assert(!busy[slot]); free[slot] = false; busy[slot] = true };
            tso_store(SENDER, CHUNK(slot), n + 1);
            PUBLISH(n, slot);
            n++
        :: else
        fi;
        slot = 0
    :: else -> break
    od;
    do /* all come back */
    :: free[0] && free[1] -> break
    :: else -> IS_THERE(memory[ENTRY(read)], read); reclaim()
    od
}

inline give_back(p, slot)
{
    busy[slot] = false;
#ifdef BUG_1
    tso_load(p, NEXT, index);
    tso_store(p, NEXT, index + 1);
#elif defined(BUG_7)
    tso_load(p, NEXT, index);
#else
    tso_add(p, NEXT, index);
#endif
    tso_release(p, ENTRY(index), RELEASED(index, slot));
#ifdef BUG_7
    tso_add(p, NEXT, index);
#endif
    index = 0
}

active [2] proctype receiver()
{
    byte n, slot, seen, index;

    do
    :: atomic { taken < N -> n = taken; taken++ };
        memory[RECORD(n)] != 0;
        atomic { tso_load(ME, RECORD(n), slot); slot-- };
#ifdef BUG_3
        give_back(ME, slot);
#endif
        atomic { tso_load(ME, CHUNK(slot), seen); assert(seen == n + 1); seen = 0 };
#ifndef BUG_3
        give_back(ME, slot);
#endif
        atomic { slot = 0; n = 0 }
    :: taken == N -> break
    od
}
