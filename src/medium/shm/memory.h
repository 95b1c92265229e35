/* SPDX-License-Identifier: MIT */
/* The memories: made, sealed and mapped here, or the other's, checked and mapped read-only. All errors come with a sentence. */
#ifndef TELEX_MEDIUM_SHM_MEMORY_H
#define TELEX_MEDIUM_SHM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "medium/shm/layout.h"

struct shm_memory {
    void *base; /* NULL: not mapped */
    struct shm_page *page;
    uint8_t *ring; /* mapped twice in a row */
    uint8_t *arena;
    uint64_t ring_size, arena_size, granule;
    unsigned slots;
};

/*
 * Makes a memory: all of it is there when this returns, so that nothing can fail later (prefault: also mapped, page by page). *ret_fd is the owner's
 * to hand on and close (fork.h). -ENOMEM, -EMFILE, -EFBIG (RLIMIT_FSIZE), ...
 */
int telex_shm_memory_make(uint64_t ring, uint64_t arena, bool prefault, struct shm_memory *ret_memory, int *ret_fd);

/* Maps the other's memory. -EPROTO: it is not sealed, not there as a whole, of another size, ...: mapping it could end in SIGBUS. */
int telex_shm_memory_open(int fd, uint64_t ring, uint64_t arena, bool prefault, struct shm_memory *ret_memory);

void telex_shm_memory_close(struct shm_memory *memory);

/* The page that both write; the side that opens it seals it, so that nobody else can. */
int telex_shm_decisions_make(struct shm_decisions **ret_decisions, int *ret_fd);
int telex_shm_decisions_open(int fd, struct shm_decisions **ret_decisions);
void telex_shm_decisions_close(struct shm_decisions *decisions);

/* What option values become: a power of two of bytes; whole granules. */
uint64_t telex_shm_ring_size(uint64_t wanted);
uint64_t telex_shm_arena_size(uint64_t wanted);

/* Whether a peer may announce such sizes. */
bool telex_shm_sizes_valid(uint64_t ring, uint64_t arena);

#endif
