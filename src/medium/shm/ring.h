/* SPDX-License-Identifier: MIT */
/*
 * The ring: one writer, one reader, records of any length, each complete or not there. No instruction of either side waits for the other.
 *
 * Why it is right. Positions run free: bytes written, read and given back since the beginning; a position modulo the ring's size is a place. The writer
 * alone moves `tail`, the reader alone `at` and `head`. Always head <= at <= tail <= head + size - SHM_RECORD.
 *
 * (1) The reader takes no record that is not complete. At `at` it reads `what`. Either a record begins there, whose `what` the writer stored
 *     last, by release: then the reader's acquire sees all of it. Or none was completed: then `what` is 0, because the writer stored 0 there before it completed
 *     the record that ends at `at` (the first word of a fresh ring is 0 anyhow), and the reader came here by having seen that record complete. Thus neither bytes of
 *     earlier laps nor half a record can be taken for one, whatever they are and wherever the writer died.
 * (2) The writer overwrites nothing that is still read. It writes up to tail + record + SHM_RECORD, at most head + size, where it has read `head` by
 *     acquire and the reader stored it by release after its last load of what lies before. The extra SHM_RECORD is the zero of (1).
 * (3) TELEX_MORE: of a batch the first record's `what` is stored last. The reader stands before it and sees 0 until then, so by (1) it looks at none of
 *     the others; afterwards it sees all.
 * (4) A peer that lies: `what` is read once, its size checked against the ring's, `head` checked against what was written; both then
 *     are locals. What else it does to its ring it does to its own messages.
 */
#ifndef TELEX_MEDIUM_SHM_RING_H
#define TELEX_MEDIUM_SHM_RING_H

#include <stdbool.h>
#include <string.h>

#include "medium/shm/layout.h"

struct shm_writer { /* of the own ring; [out] */
    uint8_t *bytes;
    uint64_t mask, size;
    uint64_t tail;
    uint64_t head; /* as last read: the reader has given back what lies before */
    struct shm_record *held; /* the first record of a batch, complete but for its `what`; NULL: none */
    uint64_t held_what;
    unsigned held_count;
};

struct shm_reader { /* of the other's ring; [in] */
    const uint8_t *bytes;
    uint64_t mask, size;
    _Atomic uint64_t at; /* written under [in]; relaxed: a thread that waits without the lock may look at an old place, and tries then */
    uint64_t done;       /* what lies before may be given back */
};

static inline uint64_t shm_record_size(uint64_t body)
{
    return (SHM_RECORD + body + SHM_RECORD - 1) & ~(uint64_t)(SHM_RECORD - 1);
}

/* Most bytes that the body of a record may have in a ring of this size. */
static inline uint64_t shm_body_most(uint64_t ring)
{
    return ring - 2 * SHM_RECORD;
}

static inline bool shm_ring_fits(const struct shm_writer *writer, uint64_t record)
{
    return writer->tail - writer->head + record + SHM_RECORD <= writer->size;
}

static inline struct shm_record *shm_ring_place(const struct shm_writer *writer, uint64_t position)
{
    return (struct shm_record *)(writer->bytes + (position & writer->mask));
}

/* Where the body of the next record goes; only if it fits. */
static inline uint8_t *shm_ring_body(const struct shm_writer *writer)
{
    return (uint8_t *)(shm_ring_place(writer, writer->tail) + 1);
}

/* Completes what is held. Whether there was anything: then look whether the reader sleeps. */
static inline bool shm_ring_commit(struct shm_writer *writer)
{
    if (writer->held == NULL)
        return false;
    atomic_store_explicit(&writer->held->what, writer->held_what, memory_order_release); /* (1), (3) */
    writer->held = NULL;
    return true;
}

/* The body is written: makes it a record of `record` bytes, while nothing is held. */
static inline void shm_ring_put_one(struct shm_writer *writer, uint64_t record, uint64_t what, uint64_t number)
{
    struct shm_record *at = shm_ring_place(writer, writer->tail);
    writer->tail += record;
    /* Relaxed: the release store that completes this record orders it. */
    atomic_store_explicit(&shm_ring_place(writer, writer->tail)->what, 0, memory_order_relaxed);
    at->number = number;
    atomic_store_explicit(&at->what, what, memory_order_release); /* (1); pairs with shm_ring_look() */
}

/* The same, as part of a batch. `hold`: more follows, and is completed together with it by the next one or shm_ring_commit(). */
static inline void shm_ring_put(struct shm_writer *writer, uint64_t record, uint64_t what, uint64_t number, bool hold)
{
    struct shm_record *at = shm_ring_place(writer, writer->tail);
    writer->tail += record;
    /* Relaxed: the release store that completes this record orders it. */
    atomic_store_explicit(&shm_ring_place(writer, writer->tail)->what, 0, memory_order_relaxed);
    at->number = number;
    if (writer->held == NULL && hold) {
        writer->held = at;
        writer->held_what = what;
        writer->held_count = 1;
        return;
    }
    atomic_store_explicit(&at->what, what, memory_order_release); /* (1); pairs with shm_ring_look() */
    writer->held_count++;
    if (!hold)
        shm_ring_commit(writer);
}

static inline const struct shm_record *shm_ring_next(const struct shm_reader *reader)
{
    return (const struct shm_record *)(reader->bytes + (atomic_load_explicit(&reader->at, memory_order_relaxed) & reader->mask));
}

/* The next record's `what`; 0: there is none. Pairs with the release stores above. */
static inline uint64_t shm_ring_look(const struct shm_reader *reader)
{
    return atomic_load_explicit(&shm_ring_next(reader)->what, memory_order_acquire);
}

static inline void shm_ring_pass(struct shm_reader *reader, uint64_t record)
{
    atomic_store_explicit(&reader->at, atomic_load_explicit(&reader->at, memory_order_relaxed) + record, memory_order_relaxed);
}

#endif
