/* SPDX-License-Identifier: MIT */
#include "medium/shm/area.h"

#include <stdlib.h>
#include <sys/uio.h>

#include "os/fork.h"

struct shm_held { /* what a message's memory keeps behind its struct */
    struct shm_area *area;
    unsigned slot;
    bool sent; /* a loan: its chunk is the receiver's now */
    struct telex_memory *next; /* of loans that were released unsent */
};

static struct shm_held *held_by(const struct telex_memory *memory)
{
    return (struct shm_held *)memory->bytes;
}

struct shm_area *telex_shm_area_new(struct telex_bytes *bytes)
{
    struct shm_area *area = calloc(1, sizeof *area);
    if (area == NULL) {
        bytes->ops->close(bytes);
        return NULL;
    }
    atomic_init(&area->references, 1);
    area->generation = telex_generation();
    area->bytes = bytes;
    pthread_mutex_init(&area->lock, NULL);
    return area;
}

void telex_shm_area_unref(struct shm_area *area)
{
    /* Release and acquire: whoever frees comes after all that others did with it. */
    if (atomic_fetch_sub_explicit(&area->references, 1, memory_order_acq_rel) > 1)
        return;
    while (telex_shm_returned_loan(area) >= 0)
        ;
    free(atomic_load(&area->spare_lent));
    free(atomic_load(&area->spare_loan));
    telex_shm_memory_close(&area->own);
    telex_shm_memory_close(&area->theirs);
    telex_shm_decisions_close(area->decisions);
    pthread_mutex_destroy(&area->lock);
    free(area);
}

void telex_shm_area_leave(struct shm_area *area)
{
    pthread_mutex_lock(&area->lock);
    area->bytes->ops->close(area->bytes);
    area->bytes = NULL;
    pthread_mutex_unlock(&area->lock);
    telex_shm_area_unref(area);
}

void telex_shm_ring(struct shm_area *area, _Atomic uint64_t *rung, uint64_t number)
{
    static char ring[1] = {'!'};
    if (atomic_load_explicit(rung, memory_order_relaxed) == number)
        return;
    atomic_store_explicit(rung, number, memory_order_relaxed);
    struct iovec part = {ring, sizeof ring};
    area->bytes->ops->write(area->bytes, &part, 1, NULL, 0); /* a full socket has rings in it; of a broken one the reader sees the end */
}

void telex_shm_give_back(struct shm_area *area, unsigned slot)
{
    /* Relaxed: it only gives each thread an entry of its own; the reader waits for the entry itself. */
    uint64_t at = atomic_fetch_add_explicit(&area->given_back, 1, memory_order_relaxed);
    uint32_t entry = (uint32_t)(at / SHM_SLOTS + 1) << SHM_RELEASED_SLOT | slot;
    /* Release: pairs with the acquire in reclaim(): all that was read of the chunk was read before. */
    atomic_store_explicit(&area->own.page->released[at % SHM_SLOTS], entry, memory_order_release);
    shm_bell_barrier(area);
    uint64_t number = atomic_load_explicit(&area->theirs.page->asleep_out, memory_order_relaxed);
    if (number == 0)
        return;
    pthread_mutex_lock(&area->lock);
    if (area->bytes != NULL)
        telex_shm_ring(area, &area->rung_out, number);
    pthread_mutex_unlock(&area->lock);
}

/* ---- memory of messages ---- */

static struct telex_memory *new_held(struct telex_memory *_Atomic *spare, void (*release)(struct telex_memory *))
{
    /* Acquire: pairs with the release of put_aside(). */
    struct telex_memory *memory = atomic_exchange_explicit(spare, NULL, memory_order_acquire);
    if (memory == NULL) {
        memory = malloc(sizeof *memory + sizeof(struct shm_held));
        if (memory == NULL)
            return NULL;
    }
    *memory = (struct telex_memory){.release = release};
    return memory;
}

static void put_aside(struct telex_memory *_Atomic *spare, struct telex_memory *memory)
{
    free(atomic_exchange_explicit(spare, memory, memory_order_acq_rel));
}

static void release_lent(struct telex_memory *memory)
{
    struct shm_held *held = held_by(memory);
    struct shm_area *area = held->area;
    if (area->generation != telex_generation()) { /* a forked child: nothing is mapped here, nothing is its own */
        free(memory);
        return;
    }
    telex_shm_give_back(area, held->slot);
    put_aside(&area->spare_lent, memory);
    telex_shm_area_unref(area);
}

struct telex_memory *telex_shm_lent(struct shm_area *area, unsigned slot)
{
    struct telex_memory *memory = new_held(&area->spare_lent, release_lent);
    if (memory == NULL)
        return NULL;
    *held_by(memory) = (struct shm_held){.area = area, .slot = slot};
    atomic_fetch_add_explicit(&area->references, 1, memory_order_relaxed); /* by who holds one already */
    return memory;
}

/* ---- loans ---- */

/* Only the sending side may touch the map of chunks: an unsent one waits for it in a list. */
static void release_loan(struct telex_memory *memory)
{
    struct shm_held *held = held_by(memory);
    struct shm_area *area = held->area;
    if (area->generation != telex_generation()) {
        free(memory);
        return;
    }
    if (held->sent) {
        put_aside(&area->spare_loan, memory);
    } else {
        held->next = atomic_load_explicit(&area->returned, memory_order_relaxed);
        /* Release: pairs with the acquire below, which takes the whole list: so no entry can come back between load and exchange. */
        while (!atomic_compare_exchange_weak_explicit(&area->returned, &held->next, memory, memory_order_release, memory_order_relaxed))
            ;
    }
    telex_shm_area_unref(area);
}

int telex_shm_returned_loan(struct shm_area *area)
{
    if (area->returning == NULL && atomic_load_explicit(&area->returned, memory_order_relaxed) != NULL)
        area->returning = atomic_exchange_explicit(&area->returned, NULL, memory_order_acquire);
    struct telex_memory *memory = area->returning;
    if (memory == NULL)
        return -1;
    int slot = (int)held_by(memory)->slot;
    area->returning = held_by(memory)->next;
    free(memory);
    return slot;
}

void telex_shm_loan_sent(struct telex_memory *memory)
{
    held_by(memory)->sent = true;
}

bool telex_shm_is_loan(const struct shm_area *area, const struct telex_memory *memory, unsigned *ret_slot)
{
    if (memory == NULL || memory->release != release_loan || held_by(memory)->area != area)
        return false;
    *ret_slot = held_by(memory)->slot;
    return true;
}

struct telex_memory *telex_shm_loan(struct shm_area *area, unsigned slot, size_t capacity)
{
    struct telex_memory *memory = new_held(&area->spare_loan, release_loan);
    if (memory == NULL)
        return NULL;
    memory->loan = true;
    memory->capacity = capacity;
    *held_by(memory) = (struct shm_held){.area = area, .slot = slot};
    atomic_fetch_add_explicit(&area->references, 1, memory_order_relaxed);
    return memory;
}
