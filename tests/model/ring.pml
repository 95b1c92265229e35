/* SPDX-License-Identifier: MIT */
/*
 * The ring: records of variable length, one writer, one reader, the word in band that says whether a record is there (src/medium/shm/ring.h).
 *
 *     writer = shm_ring_put() and shm_ring_commit(); reader = shm_ring_look() and shm_ring_pass(); `head` = shm_progress.head
 *
 * Modelled: positions that run free; room, and that it is looked for again only when short; the zero behind a record; TELEX_MORE, where the first record
 * of a batch is completed last; the reader's lazy `head`; a ring that begins in the middle of its life, full of words that look like headers.
 * A unit (SHM_RECORD bytes) is one word: of the header `what` and `number` together, for they are written like the body and only `what` orders; each
 * word of a body looks like a header, too. Waiting is by looking again and again; sleep.pml is about sleeping.
 * Left out: the second mapping (a position is taken modulo the size, nothing else), sizes that are lies, descriptors, chunks.
 *
 * Right: what is received is what was sent, whole, in order, once; and nobody is stuck (end states).
 *
 * BUG_1   the word behind a record is not zeroed
 * BUG_2   a record is completed before the word behind it is zeroed
 * BUG_3   a record is completed before its body is written
 * BUG_4   the room for the zero behind a record is not counted
 * BUG_5   the reader publishes `head` before it has read the record (no release)
 * BUG_6   the writer writes before it has read `head` (no acquire)
 * BUG_7   the writer waits for room and keeps the first record of its batch back
 * BUG_8   nothing is zeroed behind a record that is kept back
 * BUG_9   the reader does not publish `head` when nothing is left to receive
 * BUG_10  the reader reads the body before it has seen `what` (no acquire)
 * BUG_11  (WEAK_STORES) a record is completed by a plain store
 * BUG_12  `head` that was seen once is taken to be one lap further
 *
 * variants: weak = WEAK_STORES
 * whole: N=5 SIZE=8 LONGEST=3 LAZY=2
 */
#ifndef N
#define N 4       /* messages */
#endif
#ifndef SIZE
#define SIZE 4    /* units of the ring */
#endif
#ifndef LONGEST
#define LONGEST 3 /* units of a record: 2 or 3 */
#endif
#ifndef LAZY
#define LAZY 2    /* units that are given back together (a quarter, where rings are longer) */
#endif

#define TSO_PROCESSES 2
#define HEAD SIZE
#define TSO_WORDS (SIZE + 1)
#include "tso.pml"

#define WRITER 0
#define READER 1
#define UNIT(position) ((position) % SIZE)
#define HEADER(number, length) (1 + (number) * LONGEST + (length) - 1)
#define BODY(number, k) HEADER(((number) + (k)) % N, 1)

/* What the program knows, for the assertions alone. */
byte length_of[N];
byte begun;    /* messages whose record was begun to be completed, all those before it too */
byte received;

#ifdef BUG_11
#define COMPLETE(a, v) tso_store(WRITER, a, v)
#else
#define COMPLETE(a, v) tso_release(WRITER, a, v)
#endif

#define ROOM (end + 1 - seen <= SIZE)

active proctype writer()
{
    byte at, end, seen, number, length, k;
    bool more, holds;
    byte held_at, held_what;

    d_step { /* as after many laps: the reader waits at the first unit, and old words lie in all others */
        tso_i = 1;
        do
        :: tso_i < SIZE -> memory[tso_i] = HEADER(0, 1); tso_i++
        :: else -> break
        od
    };
    do
    :: number < N ->
        atomic {
            if /* how long, and whether more follows at once */
            :: length = 1
            :: length = 2
#if LONGEST > 2
            :: length = 3
#endif
            fi;
            if
            :: number < N - 1 -> more = true
            :: more = false
            fi;
            length_of[number] = length;
            end = at + length
        }
#ifdef BUG_4
#undef ROOM
#define ROOM (end - seen <= SIZE)
#endif
#ifdef BUG_6
        tso_store(WRITER, UNIT(at + length - 1), BODY(number, 1));
#endif
        do
        :: ROOM -> break
        :: else ->
            tso_load(WRITER, HEAD, seen);
#ifdef BUG_12
            seen = seen + 1;
#endif
            if
            :: ROOM -> break
            :: else
            fi;
#ifndef BUG_7
            if
            :: holds ->
                atomic { begun = number; COMPLETE(UNIT(held_at), held_what); holds = false; held_at = 0; held_what = 0 }
            :: else
            fi;
#endif
            memory[HEAD] != seen
        od;
#ifdef BUG_3
        if
        :: more
        :: else -> atomic { begun = number + 1; COMPLETE(UNIT(at), HEADER(number, length)) }
        fi;
#endif
        do
        :: k + 1 < length -> tso_store(WRITER, UNIT(at + k + 1), BODY(number, k + 1)); k++
        :: else -> k = 0; break
        od;
#ifdef BUG_2
        if
        :: !more && !holds -> atomic { begun = number + 1; COMPLETE(UNIT(at), HEADER(number, length)) }
        :: else
        fi;
#endif
#ifdef BUG_8
        if
        :: more && !holds
        :: else -> tso_store(WRITER, UNIT(end), 0)
        fi;
#elif !defined(BUG_1)
        tso_store(WRITER, UNIT(end), 0);
#endif
        if
        :: more && !holds -> atomic { holds = true; held_at = at; held_what = HEADER(number, length) }
        :: else ->
            atomic {
                if
                :: !holds -> begun = number + 1
                :: else
                fi;
                COMPLETE(UNIT(at), HEADER(number, length))
            };
            if
            :: holds && !more ->
                atomic { begun = number + 1; COMPLETE(UNIT(held_at), held_what); holds = false; held_at = 0; held_what = 0 }
            :: else
            fi
        fi;
        atomic { at = end; number++ }
    :: else -> break
    od
}

active proctype reader()
{
    byte at, published, what, length, k, word;
#ifdef BUG_10
    byte early;
#endif

    do
    :: received < N ->
#ifdef BUG_10
        tso_load(READER, UNIT(at + 1), early);
#endif
        tso_load(READER, UNIT(at), what);
        if
        :: what == 0 ->
#ifndef BUG_9
            if
            :: at != published -> atomic { tso_release(READER, HEAD, at); published = at }
            :: else
            fi;
#endif
            memory[UNIT(at)] != 0
        :: else ->
            atomic {
                assert(received < begun);
                length = length_of[received];
                assert(what == HEADER(received, length))
            }
#ifdef BUG_5
            tso_release(READER, HEAD, at + length);
            published = at + length;
#endif
            do
            :: k + 1 < length ->
                atomic {
                    tso_load(READER, UNIT(at + k + 1), word);
#ifdef BUG_10
                    word = (k == 0 -> early : word);
#endif
                    assert(word == BODY(received, k + 1));
                    word = 0;
                    k++
                }
            :: else -> k = 0; break
            od;
            atomic { at = at + length; received++; what = 0; length = 0 }
            if
            :: at - published >= LAZY -> atomic { tso_release(READER, HEAD, at); published = at }
            :: else
            fi
        fi
    :: else -> break
    od
}
