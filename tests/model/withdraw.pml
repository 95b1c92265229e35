/* SPDX-License-Identifier: MIT */
/*
 * Whether a synchronous message was taken: one word that both write, by compare-and-swap (shm_decisions in layout.h).
 *
 *     sender = finish_record() and telex_shm_withdraw() in output.c; receiver = telex_shm_claim() in input.c
 *
 * Modelled: N messages on one direction; each is synchronous or not, as it comes. The sender stores OFFERED(n), publishes the record, then waits patiently
 * until it is taken, or sees that it is, or gives up at any moment. The word serves the next synchronous message at once, while the withdrawn record still
 * lies in the ring. The receiver asks for a decision when it reaches a synchronous record. The receiver may end (is killed) at any moment: then nobody
 * waits patiently, but what the word says still holds.
 * Left out: the ring (ring.pml; here record n has a word of its own), sleeping (sleep.pml), numbers that wrap (there are 2^62).
 *
 * Right: the sender's verdict and the receiver's action agree; each message is decided once; there is always a verdict; who waits patiently does not
 * wait for ever, while the receiver lives (end states).
 *
 * BUG_1   the sender withdraws by a load and a store
 * BUG_2   the receiver takes by a load and a store
 * BUG_3   the word says OFFERED, not which message
 * BUG_4   the record is published before the offer is stored
 * BUG_5   a sender whose withdrawal failed says withdrawn
 * BUG_6   a sender that gives up says withdrawn without asking the word
 * BUG_7   (WEAK_STORES) the record is published by a plain store
 * BUG_8   a receiver that finds another state than OFFERED hands the message over
 * BUG_9   the receiver hands the message over, then takes it
 * BUG_10  the offer of the next message is stored before the former is decided
 *
 * variants: weak = WEAK_STORES
 * whole: N=6
 */
#ifndef N
#define N 4 /* messages */
#endif

#define TSO_PROCESSES 2
#define WORD 0
#define RECORD(n) (n) /* 0, or PLAIN or SYNC; messages count from 1 */
#define TSO_WORDS (N + 1)
#include "tso.pml"

#define SENDER 0
#define RECEIVER 1
#define PLAIN 1
#define SYNC 2

#define OFFERED 1
#define TAKEN 2
#define WITHDRAWN 3
#ifdef BUG_3
#define DECISION(n, decision) (decision)
#else
#define DECISION(n, decision) ((n) * 4 + (decision))
#endif

byte verdict[N + 1]; /* what the sender says: 0 (none yet), TAKEN, WITHDRAWN */
byte action[N + 1];  /* what the receiver did */
bool dead;           /* the receiver */

/* Whatever comes second must agree with what came first. */
#define decide(side, n, decision) \
    atomic { \
        assert(side[n] == 0); \
        side[n] = decision; \
        assert(verdict[n] == 0 || action[n] == 0 || verdict[n] == action[n]) \
    }

#ifdef BUG_7
#define PUBLISH(n, kind) tso_store(SENDER, RECORD(n), kind)
#else
#define PUBLISH(n, kind) tso_release(SENDER, RECORD(n), kind)
#endif

active proctype sender()
{
    byte n, seen;
    bool sync, patient;

    do
    :: n < N ->
        atomic {
            n++;
            if
            :: sync = true
            :: sync = false
            fi
        };
        if
        :: sync ->
#ifdef BUG_4
            PUBLISH(n, SYNC);
            tso_store(SENDER, WORD, DECISION(n, OFFERED));
#else
            tso_store(SENDER, WORD, DECISION(n, OFFERED));
            PUBLISH(n, SYNC);
#endif
#ifdef BUG_10
            if
            :: n < N -> tso_store(SENDER, WORD, DECISION(n + 1, OFFERED))
            :: else
            fi;
#endif
            if
            :: patient = true
            :: patient = false
            fi;
            if
            :: patient -> (memory[WORD] != DECISION(n, OFFERED) && tso[SENDER].length == 0) || dead
            :: else
            fi;
            tso_load(SENDER, WORD, seen);
            if
            :: seen == DECISION(n, TAKEN) -> decide(verdict, n, TAKEN)
            :: else ->
#ifdef BUG_1
                tso_load(SENDER, WORD, seen);
                if
                :: seen == DECISION(n, OFFERED) -> tso_store(SENDER, WORD, DECISION(n, WITHDRAWN)); decide(verdict, n, WITHDRAWN)
                :: else -> decide(verdict, n, TAKEN)
                fi
#elif defined(BUG_5)
                tso_swap(SENDER, WORD, DECISION(n, OFFERED), DECISION(n, WITHDRAWN), seen);
                decide(verdict, n, WITHDRAWN)
#elif defined(BUG_6)
                decide(verdict, n, WITHDRAWN)
#else
                tso_swap(SENDER, WORD, DECISION(n, OFFERED), DECISION(n, WITHDRAWN), seen);
                if
                :: seen == DECISION(n, OFFERED) -> decide(verdict, n, WITHDRAWN)
                :: else -> assert(seen == DECISION(n, TAKEN)); decide(verdict, n, TAKEN)
                fi
#endif
            fi;
            patient = false
        :: else -> PUBLISH(n, PLAIN)
        fi
    :: else -> break
    od
}

active proctype receiver()
{
    byte n, kind, seen;

    do
    :: n < N ->
        n++;
        memory[RECORD(n)] != 0;
        tso_load(RECEIVER, RECORD(n), kind);
        if
        :: kind == PLAIN -> skip
        :: else ->
#ifdef BUG_9
            decide(action, n, TAKEN);
#endif
#ifdef BUG_2
            tso_load(RECEIVER, WORD, seen);
            if
            :: seen == DECISION(n, OFFERED) -> tso_store(RECEIVER, WORD, DECISION(n, TAKEN))
            :: else
            fi;
#else
            tso_swap(RECEIVER, WORD, DECISION(n, OFFERED), DECISION(n, TAKEN), seen);
#endif
            if
#ifdef BUG_8
            :: true -> decide(action, n, TAKEN)
#elif defined(BUG_9)
            :: true -> skip
#else
            :: seen == DECISION(n, OFFERED) -> decide(action, n, TAKEN)
            :: else -> decide(action, n, WITHDRAWN)
#endif
            fi
        fi;
        if
        :: true
        :: break /* it dies */
        fi
    :: else -> break
    od;
    dead = true
}
