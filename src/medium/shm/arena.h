/* SPDX-License-Identifier: MIT */
/*
 * Which granules of the own arena are in use: a map that its owner alone reads and writes. Chunks are taken in turn, and come back, in any
 * order, through the log in the other's page (layout.h). The log is read only when a chunk is wanted and none is free: each look at it costs a cache line's
 * way between the cores.
 */
#ifndef TELEX_MEDIUM_SHM_ARENA_H
#define TELEX_MEDIUM_SHM_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "medium/shm/memory.h"

enum { SHM_WORDS = SHM_SLOTS / 64 };

struct shm_arena { /* [out] */
    unsigned slots;
    uint64_t granule;
    unsigned next;                /* where the next search begins */
    uint64_t used[SHM_WORDS];     /* a bit a granule */
    uint16_t count[SHM_SLOTS];    /* granules of the chunk that begins there; 0: none does */
    uint64_t lent[SHM_WORDS];     /* a bit for each first granule of a chunk that the other has */
    unsigned lent_count;
    uint64_t log;                 /* entries of the other's log that were read */
};

void telex_shm_arena_init(struct shm_arena *arena, const struct shm_memory *memory);

/* The first granule of a chunk for `length` bytes; -EAGAIN: none is free now. `theirs`: NULL, or the page with the log. */
int telex_shm_arena_take(struct shm_arena *arena, uint64_t length, struct shm_page *theirs);

/* Takes back what the other gave back. Whether there was anything. */
bool telex_shm_arena_reclaim(struct shm_arena *arena, struct shm_page *theirs);

/* Whether it would find anything where `log` entries were read; no lock: a hint. */
bool telex_shm_arena_returns(uint64_t log, struct shm_page *theirs);

/* The chunk was handed over with a message: it comes back through the log. */
void telex_shm_arena_lend(struct shm_arena *arena, unsigned slot);

/* The chunk was not handed over. */
void telex_shm_arena_free(struct shm_arena *arena, unsigned slot);

#endif
