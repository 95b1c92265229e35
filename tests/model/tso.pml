/* SPDX-License-Identifier: MIT */
/*
 * Store buffers by hand, for Spin itself knows only sequential consistency. To include after TSO_PROCESSES and TSO_WORDS are defined.
 *
 * x86-TSO: each process has a FIFO of stores on their way to memory. A store goes in; the process `drains` takes it out at any later moment, the oldest
 * first; a load looks into its own process's buffer first, newest first; locked instructions and full fences empty it.
 *
 * WEAK_STORES (more than x86 does; what the compiler, and other processors, may do): a plain store may overtake older ones to other words, only a
 * release store waits for all that are older. Loads stay in order: they are acquire loads in the C code wherever the order matters.
 *
 * membarrier(2): the buffer of each process is emptied at some moment within the call, not of all at the same one.
 *
 * `p` is always the number of the calling process, `a` a word of `memory`. Each call is one step.
 */
#ifndef TSO_DEPTH
#define TSO_DEPTH 3
#endif

typedef tso_buffer {
    byte length;
    byte at[TSO_DEPTH];
    byte value[TSO_DEPTH];
#ifdef WEAK_STORES
    bool waits[TSO_DEPTH]
#endif
};

tso_buffer tso[TSO_PROCESSES];
byte memory[TSO_WORDS];
hidden byte tso_i, tso_found; /* used within one step only */

/* ---- parts of steps: to be called within d_step */

/* Entry k of the buffer reaches the memory. */
inline tso_out(p, k)
{
    memory[tso[p].at[k]] = tso[p].value[k];
    tso[p].length--;
    tso_i = k;
    do
    :: tso_i < tso[p].length ->
        tso[p].at[tso_i] = tso[p].at[tso_i + 1];
        tso[p].value[tso_i] = tso[p].value[tso_i + 1];
#ifdef WEAK_STORES
        tso[p].waits[tso_i] = tso[p].waits[tso_i + 1];
#endif
        tso_i++
    :: else -> break
    od;
    tso[p].at[tso_i] = 0;
    tso[p].value[tso_i] = 0;
#ifdef WEAK_STORES
    tso[p].waits[tso_i] = false
#endif
}

inline tso_empty(p)
{
    do
    :: tso[p].length > 0 -> tso_out(p, 0)
    :: else -> break
    od
}

inline tso_in(p, a, v, release)
{
    tso[p].at[tso[p].length] = a;
    tso[p].value[tso[p].length] = v;
#ifdef WEAK_STORES
    tso[p].waits[tso[p].length] = release;
#endif
    tso[p].length++
}

/* ---- steps: atomic with a d_step within, for Spin lets no loop end in front of a d_step */

#define tso_store(p, a, v) atomic { tso[p].length < TSO_DEPTH -> d_step { tso_in(p, a, v, false) } }
#define tso_release(p, a, v) atomic { tso[p].length < TSO_DEPTH -> d_step { tso_in(p, a, v, true) } }

inline tso_load(p, a, ret)
{
    atomic {
        true;
        d_step {
            tso_found = memory[a];
            tso_i = 0;
            do
            :: tso_i < tso[p].length ->
                if
                :: tso[p].at[tso_i] == (a) -> tso_found = tso[p].value[tso_i]
                :: else
                fi;
                tso_i++
            :: else -> break
            od;
            ret = tso_found
        }
    }
}

inline tso_fence(p)
{
    atomic {
        true;
        d_step {
            tso_empty(p);
            tso_i = 0
        }
    }
}

/* The process is dead: its stores that have not reached the memory never do. */
inline tso_die(p)
{
    atomic {
        true;
        d_step {
            do
            :: tso[p].length > 0 ->
                tso[p].length--;
                tso[p].at[tso[p].length] = 0;
                tso[p].value[tso[p].length] = 0;
#ifdef WEAK_STORES
                tso[p].waits[tso[p].length] = false
#endif
            :: else -> break
            od;
            tso_i = 0
        }
    }
}

/* Compare-and-swap; ret: what was there. */
inline tso_swap(p, a, old, new, ret)
{
    atomic {
        true;
        d_step {
            tso_empty(p);
            tso_found = memory[a];
            if
            :: tso_found == (old) -> memory[a] = new
            :: else
            fi;
            ret = tso_found
        }
    }
}

/* Fetch-add of 1; ret: what was there. */
inline tso_add(p, a, ret)
{
    atomic {
        true;
        d_step {
            tso_empty(p);
            tso_found = memory[a];
            memory[a] = tso_found + 1;
            ret = tso_found
        }
    }
}

inline tso_membarrier(p)
{
    tso_fence(p);
#if TSO_PROCESSES == 2
    tso_fence((1 - (p)))
#else
    if
    :: tso_fence((((p) + 1) % 3)); tso_fence((((p) + 2) % 3))
    :: tso_fence((((p) + 2) % 3)); tso_fence((((p) + 1) % 3))
    fi
#endif
}

#define TSO_DRAIN(p) :: d_step { tso[p].length > 0 -> tso_out(p, 0) }
#define TSO_OVERTAKES(p, k, older) d_step { tso[p].length > k && !tso[p].waits[k] && (older) -> tso_out(p, k) }
#define TSO_OTHER(p, k, i) (tso[p].at[k] != tso[p].at[i])
#define TSO_OVERTAKE(p) :: TSO_OVERTAKES(p, 1, TSO_OTHER(p, 1, 0)) :: TSO_OVERTAKES(p, 2, TSO_OTHER(p, 2, 0) && TSO_OTHER(p, 2, 1))

active proctype drains()
{
end:
    do
    TSO_DRAIN(0)
    TSO_DRAIN(1)
#if TSO_PROCESSES > 2
    TSO_DRAIN(2)
#endif
#ifdef WEAK_STORES
    TSO_OVERTAKE(0)
    TSO_OVERTAKE(1)
#if TSO_PROCESSES > 2
    TSO_OVERTAKE(2)
#endif
#endif
    od
}
