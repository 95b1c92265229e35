/* SPDX-License-Identifier: MIT */
#include "medium/shm/arena.h"

#include <errno.h>

enum { BITS = 64 };

void telex_shm_arena_init(struct shm_arena *arena, const struct shm_memory *memory)
{
    arena->slots = memory->slots;
    arena->granule = memory->granule;
}

/* The first granule in [from, to) that is used, or (`used` false) free; else `to`. */
static unsigned first(const struct shm_arena *arena, unsigned from, unsigned to, bool used)
{
    while (from < to) {
        uint64_t word = (used ? arena->used[from / BITS] : ~arena->used[from / BITS]) >> from % BITS;
        if (word != 0) {
            from += (unsigned)__builtin_ctzll(word);
            return from < to ? from : to;
        }
        from += BITS - from % BITS;
    }
    return to;
}

static void mark(struct shm_arena *arena, unsigned slot, unsigned count, bool used)
{
    while (count > 0) {
        unsigned at = slot % BITS, now = BITS - at < count ? BITS - at : count;
        uint64_t bits = (now == BITS ? ~UINT64_C(0) : (UINT64_C(1) << now) - 1) << at;
        if (used)
            arena->used[slot / BITS] |= bits;
        else
            arena->used[slot / BITS] &= ~bits;
        slot += now;
        count -= now;
    }
}

/* A run of `count` free granules in [from, to), or -EAGAIN. */
static int find(const struct shm_arena *arena, unsigned from, unsigned to, unsigned count)
{
    while (from + count <= to) {
        unsigned used = first(arena, from, from + count, true);
        if (used == from + count)
            return (int)from;
        from = first(arena, used + 1, to, false);
    }
    return -EAGAIN;
}

static bool is_lent(const struct shm_arena *arena, unsigned slot)
{
    return slot < arena->slots && (arena->lent[slot / BITS] >> slot % BITS & 1) != 0;
}

static uint32_t lap_of(uint64_t entry)
{
    return (uint32_t)(entry / SHM_SLOTS + 1) << SHM_RELEASED_SLOT;
}

bool telex_shm_arena_returns(uint64_t log, struct shm_page *theirs)
{
    uint32_t entry = atomic_load_explicit(&theirs->released[log % SHM_SLOTS], memory_order_relaxed);
    return (entry & ~(uint32_t)(SHM_SLOTS - 1)) == lap_of(log);
}

/* Of a chunk that the other does not have, it can say what it likes. */
bool telex_shm_arena_reclaim(struct shm_arena *arena, struct shm_page *theirs)
{
    bool any = false;
    for (unsigned i = 0; i < SHM_SLOTS; i++) {
        /* Acquire: pairs with the release in shm_give_back(): what it read of the chunk, it has read. */
        uint32_t entry = atomic_load_explicit(&theirs->released[arena->log % SHM_SLOTS], memory_order_acquire);
        unsigned slot = entry % SHM_SLOTS;
        if ((entry & ~(uint32_t)(SHM_SLOTS - 1)) != lap_of(arena->log))
            break;
        arena->log++;
        if (!is_lent(arena, slot))
            continue;
        arena->lent[slot / BITS] &= ~(UINT64_C(1) << slot % BITS);
        arena->lent_count--;
        telex_shm_arena_free(arena, slot);
        any = true;
    }
    return any;
}

int telex_shm_arena_take(struct shm_arena *arena, uint64_t length, struct shm_page *theirs)
{
    uint64_t wanted = length == 0 ? 1 : (length + arena->granule - 1) / arena->granule;
    if (wanted > arena->slots)
        return -EAGAIN;
    unsigned count = (unsigned)wanted;
    for (bool again = theirs != NULL;; again = false) {
        int slot = find(arena, arena->next, arena->slots, count);
        if (slot < 0)
            slot = find(arena, 0, arena->slots, count);
        if (slot >= 0) {
            mark(arena, (unsigned)slot, count, true);
            arena->count[slot] = (uint16_t)count;
            arena->next = (unsigned)slot + count;
            return slot;
        }
        if (!again || arena->lent_count == 0 || !telex_shm_arena_reclaim(arena, theirs))
            return -EAGAIN;
    }
}

void telex_shm_arena_lend(struct shm_arena *arena, unsigned slot)
{
    arena->lent[slot / BITS] |= UINT64_C(1) << slot % BITS;
    arena->lent_count++;
}

void telex_shm_arena_free(struct shm_arena *arena, unsigned slot)
{
    mark(arena, slot, arena->count[slot], false);
    arena->count[slot] = 0;
}
