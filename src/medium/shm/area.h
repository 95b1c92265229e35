/* SPDX-License-Identifier: MIT */
/*
 * All that is mapped for one channel, with its attach socket. It outlives the link as long as the program holds a message or a loan that lies in it.
 *
 * The bell. A sleeper (1) stores a new number to its `asleep` word, (2) heavy barrier, (3) looks again, (4) sleeps in a read of the socket. Whoever
 * publishes (a) stores what it publishes, (b) light barrier, (c) loads `asleep` and rings, once a number. Were (3) not to see (a) and (c) not to see
 * (1), then (a) would come after (2) in the publisher's order, for else the heavy barrier had made it visible to (3), and (1) after (b), while (1) is before
 * (2): a contradiction. A ring is a byte, sent without waiting: if the socket is full, there are unread rings in it already. Rung twice, or late, a bell
 * costs a look in vain. Death and close are the end of that file.
 *
 * Fences. The heavy barrier interrupts the other cores, which hurts who sleeps for every message. So whoever has slept some times in a row asks the other for a
 * full barrier in (b), by the word `fences`, and makes do with one in (2). It stores the word, then passes one last heavy barrier. Of a publication whose load of
 * `fences` comes after that, (b) is a full barrier; of one whose load comes before, (a) does, too, and so is visible to all looks afterwards. On the way back,
 * after many messages without a sleep, it clears the word and takes the heavy barrier again; who reads the old word takes one barrier too many. Where
 * membarrier is not to be had on both sides, (2) and (b) are always full barriers.
 */
#ifndef TELEX_MEDIUM_SHM_AREA_H
#define TELEX_MEDIUM_SHM_AREA_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "medium/medium.h"
#include "medium/shm/memory.h"
#include "medium/stream/bytes.h"
#include "os/membarrier.h"

struct shm_area {
    atomic_uint references;
    unsigned generation;
    struct shm_memory own, theirs;
    struct shm_decisions *decisions;
    _Atomic uint64_t *our_decision, *their_decision; /* about our messages, about theirs */
    bool fenced;                    /* without membarrier, always full barriers; else the word of each side tells */
    pthread_mutex_t lock;           /* guards `bytes` against its end, for those that hold no lock of the link */
    struct telex_bytes *bytes;      /* the socket; NULL once the link is gone */
    _Atomic uint64_t rung_in, rung_out; /* the last sleeps that were ended; relaxed: at worst the bell rings twice */
    _Atomic uint64_t given_back;    /* chunks, by any thread */
    struct telex_memory *_Atomic spare_lent, *_Atomic spare_loan; /* one of each waits for the next */
    struct telex_memory *_Atomic returned; /* loans that were released unsent, by any thread */
    struct telex_memory *returning;        /* those of them that the sending side has fetched; [out] */
};

/* Takes over `bytes`. NULL: out of memory (bytes is closed). */
struct shm_area *telex_shm_area_new(struct telex_bytes *bytes);
void telex_shm_area_unref(struct shm_area *area);

/* The link is gone: the other side sees the end. Then drops its reference. */
void telex_shm_area_leave(struct shm_area *area);

/* Rings for sleep `number`, unless that was done. */
void telex_shm_ring(struct shm_area *area, _Atomic uint64_t *rung, uint64_t number);

/* (b) above. */
static inline void shm_bell_barrier(const struct shm_area *area)
{
    telex_barrier_light(); /* the word is read after the publication ... */
    /* Acquire: ... and before the number, also on machines that reorder loads; what tests/model/fences.pml shows without it, is a sleep that nobody ends. */
    if (__builtin_expect(area->fenced || atomic_load_explicit(&area->theirs.page->fences, memory_order_acquire) != 0, 0))
        telex_barrier_full();
}

/* (b) and (c) above, of a message: in the link's own calls. */
static inline void shm_bell_message(struct shm_area *area)
{
    shm_bell_barrier(area);
    /* Relaxed: the barrier orders it. */
    uint64_t number = atomic_load_explicit(&area->theirs.page->asleep_in, memory_order_relaxed);
    if (__builtin_expect(number != 0, 0))
        telex_shm_ring(area, &area->rung_in, number);
}

/* The same, of progress. */
static inline void shm_bell_progress(struct shm_area *area)
{
    shm_bell_barrier(area);
    uint64_t number = atomic_load_explicit(&area->theirs.page->asleep_out, memory_order_relaxed);
    if (__builtin_expect(number != 0, 0))
        telex_shm_ring(area, &area->rung_out, number);
}

/* (2) above; `fences`: as the own word says. */
static inline void shm_bell_settle(const struct shm_area *area, bool fences)
{
    if (area->fenced || fences)
        telex_barrier_full();
    else
        telex_barrier_of_all();
}

/* The other's chunk at `slot` is done with; any thread, also after the link is gone. */
void telex_shm_give_back(struct shm_area *area, unsigned slot);

/* ---- memory of messages that lies here; each holds a reference ---- */

/* A received message in the other's arena. NULL: out of memory. */
struct telex_memory *telex_shm_lent(struct shm_area *area, unsigned slot);

/* A chunk of the own arena, lent to the program. */
struct telex_memory *telex_shm_loan(struct shm_area *area, unsigned slot, size_t capacity);

/* Whether `memory` is a loan of this area, and of which chunk. */
bool telex_shm_is_loan(const struct shm_area *area, const struct telex_memory *memory, unsigned *ret_slot);

/* The loan was sent: its chunk is no longer its to give back. */
void telex_shm_loan_sent(struct telex_memory *memory);

/* The chunk of a loan that was released unsent, one a call; -1: there is no more. [out] */
int telex_shm_returned_loan(struct shm_area *area);

#endif
