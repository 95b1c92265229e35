/* SPDX-License-Identifier: MIT */
/*
 * Death: either side may be killed between any two of its steps; then, or when it closes in order, the socket gives end of file (read_ended() and
 * find_nothing() in src/medium/shm/input.c).
 *
 * Modelled: a writer that sends N records and a goodbye over a ring of SLOTS records of one size, and waits for room; a reader; the doorbell as in
 * sleep.pml. Of the stores of a dead process some reach the memory; the rest does too, or is lost. Then the end of file comes: a process closes its socket
 * itself, in the kernel, behind all its stores. A bell that cannot be rung, for the other is gone, is no news: the ring may hold more. An end of file
 * may be seen while bytes are left in the socket; where a peer leaves bells unread, the kernel says ECONNRESET for it: the ring alone tells which end it was.
 * Left out: a child that holds the socket of its dead parent (a pidfd is for that), decisions (withdraw.pml), records of several sizes (ring.pml).
 *
 * Right: the reader receives every record that is complete in the memory, none torn, and says closed if there is a goodbye, else reset; after an orderly end
 * always closed; the writer's last count is the reader's; nobody sleeps for ever (end states).
 *
 * BUG_1   the reader does not look into the ring again once it saw the end of file
 * BUG_2   it takes one record more, not all
 * BUG_3   it says reset, whatever the last record was
 * BUG_4   a record is completed before its body is written
 * BUG_5   a sleeper waits for bells only
 * BUG_6   the socket is closed before the goodbye is published
 * BUG_7   the writer does not look at `head` again once it saw the end of file
 * BUG_8   the word behind a record is not zeroed
 * BUG_9   a bell that cannot be rung ends the channel
 * BUG_10  the end of file comes before the last stores of the dead
 *
 * variants: weak = WEAK_STORES N=1 SLOTS=2
 * whole: N=3
 */
#ifndef N
#define N 2     /* records, without the goodbye */
#endif
#ifndef SLOTS
#define SLOTS 3 /* one of them is the zero behind */
#endif

#define TSO_PROCESSES 2
#define WHAT(position) ((position) % SLOTS)
#define BODY(position) (SLOTS + (position) % SLOTS)
#define HEAD (2 * SLOTS)
#define ASLEEP_IN (2 * SLOTS + 1)
#define ASLEEP_OUT (2 * SLOTS + 2)
#define TSO_WORDS (2 * SLOTS + 3)
#include "tso.pml"

#define WRITER 0
#define READER 1
#define BYE 100
#define CLOSED 1
#define RESET 2

byte bytes[2]; /* bells on the way to each */
bool gone[2];  /* its end of the socket is closed */
byte killed;   /* 0: nobody; else WRITER + 1 or READER + 1 */
bool orderly;  /* the writer closed */
byte begun;    /* records that were begun to be completed */

/* Wakes `to`, if it sleeps. */
inline ring(p, word, to)
{
    tso_load(p, word, asleep);
    if
    :: asleep != 0 && asleep != last ->
        last = asleep;
        if
        :: atomic { !gone[to] -> bytes[to] = 1 }
        :: gone[to] ->
#ifdef BUG_9
            ends = true
#else
            skip
#endif
        fi
    :: else
    fi;
    asleep = 0
}

inline block(p, from)
{
    if
    :: atomic { bytes[p] > 0 -> bytes[p]-- }
#ifndef BUG_5
    :: gone[from] -> ends = true
#endif
    fi
}

/* A record, or the goodbye. */
inline publish(what)
{
#ifdef BUG_4
    atomic { begun++; tso_release(WRITER, WHAT(at), what) };
#endif
    tso_store(WRITER, BODY(at), what);
#ifndef BUG_8
    tso_store(WRITER, WHAT(at + 1), 0);
#endif
#ifndef BUG_4
    atomic { begun++; tso_release(WRITER, WHAT(at), what) };
#endif
    at++
}

active proctype writer()
{
    byte at, head, sleeps, asleep, last;
    bool ends;

    d_step { /* old words that look like the records that are expected */
        tso_i = 1;
        do
        :: tso_i < SLOTS -> memory[WHAT(tso_i)] = tso_i + 1; tso_i++
        :: else -> break
        od
    };
    {
        do
        :: at + 2 - head <= SLOTS ->
            if
            :: at < N -> publish(at + 1); ring(WRITER, ASLEEP_IN, READER)
            :: else ->
#ifdef BUG_6
                gone[WRITER] = true;
#endif
                publish(BYE);
                ring(WRITER, ASLEEP_IN, READER);
                orderly = true;
                break
            fi;
            if
            :: ends -> break
            :: else
            fi
        :: else ->
            if
            :: ends -> assert(head == memory[HEAD]); break
            :: else
            fi;
            tso_load(WRITER, HEAD, head);
            if
            :: at + 2 - head <= SLOTS
            :: else ->
                sleeps++;
                tso_store(WRITER, ASLEEP_OUT, sleeps);
                tso_membarrier(WRITER);
                tso_load(WRITER, HEAD, head);
                if
                :: at + 2 - head <= SLOTS
                :: else -> block(WRITER, READER)
                fi;
                tso_store(WRITER, ASLEEP_OUT, 0);
#ifndef BUG_7
                if
                :: ends -> tso_load(WRITER, HEAD, head)
                :: else
                fi
#endif
            fi
        od
    } unless { killed == WRITER + 1 };
#ifdef BUG_10
    gone[WRITER] = true;
#endif
    if
    :: killed == WRITER + 1 && !orderly -> tso_die(WRITER)
    :: tso_fence(WRITER)
    fi;
    gone[WRITER] = true
}

active proctype reader()
{
    byte at, what, body, sleeps, asleep, last, result;
    bool ends;

    {
        do
        :: tso_load(READER, WHAT(at), what);
            if
            :: what == BYE -> result = CLOSED; break
            :: what != 0 && what != BYE ->
                tso_load(READER, BODY(at), body);
                assert(at < begun && what == at + 1 && body == what);
                at++;
                atomic { tso_release(READER, HEAD, at); what = 0; body = 0 };
                ring(READER, ASLEEP_OUT, WRITER);
#if defined(BUG_2) || defined(BUG_9)
                if
                :: ends -> result = RESET; break
                :: else
                fi
#endif
            :: what == 0 && ends -> result = RESET; break
            :: what == 0 && !ends ->
                sleeps++;
                tso_store(READER, ASLEEP_IN, sleeps);
                tso_membarrier(READER);
                tso_load(READER, WHAT(at), what);
                if
                :: what != 0
                :: else -> block(READER, WRITER)
                fi;
                atomic { tso_store(READER, ASLEEP_IN, 0); what = 0 };
#if defined(BUG_1) || defined(BUG_3)
                if
                :: ends ->
#ifdef BUG_3
                    do
                    :: memory[WHAT(at)] != 0 -> at++
                    :: else -> break
                    od;
#endif
                    result = RESET;
                    break
                :: else
                fi
#endif
            fi
        od;
        assert(result == CLOSED || memory[WHAT(at)] == 0);
        assert(result == CLOSED || !orderly)
    } unless { killed == READER + 1 };
    if
    :: killed == READER + 1 -> tso_die(READER)
    :: tso_fence(READER)
    fi;
    gone[READER] = true
}

active proctype killer()
{
    if
    :: killed = WRITER + 1
    :: killed = READER + 1
    :: true
    fi
}
