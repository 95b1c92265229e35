/* SPDX-License-Identifier: MIT */
/* What was taken: counted in the order in which messages arrived whole, and told to the other side now and then. */
#include <stdlib.h>

#include "medium/shm/shm.h"

/* Counts what was taken quickly where all else is counted: so many messages, the bytes of the ring that they lay in. Nothing else was under way meanwhile. */
void telex_shm_fold(struct shm_link *shm)
{
    /* Relaxed, both: written in this direction only. */
    uint64_t messages = atomic_load_explicit(&shm->taken_messages, memory_order_relaxed) - shm->taken.messages;
    uint64_t at = atomic_load_explicit(&shm->reader.at, memory_order_relaxed), cost = at - shm->quick_from;
    shm->quick_from = at;
    if (messages == 0)
        return;
    shm->reader.done = at; /* their bytes are copied */
    shm->arrived += messages;
    shm->arrived_cost += cost;
    shm->taken.messages += messages;
    shm->taken.costly += messages;
    shm->taken.cost += cost;
    shm->taken.prefix = shm->arrived;
    if (shm->taken.cost > shm->granted)
        shm->granted = shm->taken.cost;
}

void telex_shm_tell_progress(struct shm_link *shm)
{
    telex_shm_fold(shm);
    struct shm_progress *progress = &shm->area->own.page->progress;
    struct shm_seen *told = &shm->told_progress;
    uint64_t done = shm->reader.done;
    /* Release: see layout.h. */
    atomic_store_explicit(&progress->head, done, memory_order_release);
    atomic_store_explicit(&progress->cost, shm->granted, memory_order_release);
    atomic_store_explicit(&progress->costly, shm->taken.costly, memory_order_release);
    atomic_store_explicit(&progress->prefix, shm->taken.prefix, memory_order_release);
    atomic_store_explicit(&progress->messages, shm->taken.messages, memory_order_release);
    *told = shm->taken;
    told->head = done;
    told->cost = shm->granted;
    telex_shm_wakeful(shm);
    shm_bell_progress(shm->area);
}

bool telex_shm_is_untold(struct shm_link *shm)
{
    telex_shm_fold(shm);
    const struct shm_seen *told = &shm->told_progress;
    return shm->reader.done != told->head || shm->granted != told->cost || shm->taken.costly != told->costly ||
           shm->taken.messages != told->messages || shm->taken.prefix != told->prefix;
}

void telex_shm_tell_if_due(struct shm_link *shm)
{
    const struct shm_seen *told = &shm->told_progress;
    if (shm->reader.done - told->head >= shm->reader.size / 4 || shm->granted - told->cost >= shm->link.window / 4 ||
        (shm->queue != UINT64_MAX && telex_shm_is_untold(shm)))
        telex_shm_tell_progress(shm);
}

void telex_shm_report(struct telex_link *link)
{
    struct shm_link *shm = shm_of(link);
    if (!shm->attached || !shm->admitted)
        return;
    shm->reader.done = atomic_load_explicit(&shm->reader.at, memory_order_relaxed);
    if (telex_shm_is_untold(shm))
        telex_shm_tell_progress(shm);
}

void telex_shm_grant(struct shm_link *shm)
{
    uint64_t cost = shm->taken.cost + shm->assembling_cost;
    if (cost > shm->granted)
        shm->granted = cost;
}

static struct shm_waiting *first_waiting(const struct shm_link *shm)
{
    struct telex_node *first = telex_list_first(&shm->waiting);
    return first != NULL ? TELEX_OF(first, struct shm_waiting, node) : NULL;
}

/* One has arrived whole. The one before it may still wait to be taken. false: out of memory. */
bool telex_shm_count_arrival(struct shm_link *shm, uint64_t number)
{
    if (shm->last != 0) {
        struct shm_waiting *waiting = malloc(sizeof *waiting);
        if (waiting == NULL)
            return false;
        *waiting = (struct shm_waiting){.numbered.number = shm->last, .order = shm->arrived};
        telex_list_append(&shm->waiting, &waiting->node);
        telex_numbers_add(&shm->waiting_numbers, &waiting->numbered);
    }
    shm->arrived++;
    shm->last = number;
    return true;
}

/* It is taken, or never will be. */
static void count_settled(struct shm_link *shm, uint64_t number)
{
    if (number == shm->last) {
        shm->last = 0;
    } else {
        struct telex_numbered *found = telex_numbers_find(&shm->waiting_numbers, number);
        if (found == NULL)
            return;
        struct shm_waiting *waiting = TELEX_OF(found, struct shm_waiting, numbered);
        telex_numbers_remove(&shm->waiting_numbers, found);
        telex_list_remove(&waiting->node);
        free(waiting);
    }
    const struct shm_waiting *first = first_waiting(shm);
    shm->taken.prefix = first != NULL ? first->order - 1 : shm->arrived - (shm->last != 0);
}

void telex_shm_settle(struct shm_link *shm, const telex_message *message, uint64_t cost)
{
    if (!(message->flags & TELEX_IS_REPLY)) {
        shm->taken.cost += cost;
        shm->taken.costly++;
        telex_shm_grant(shm);
    }
    count_settled(shm, message->number);
}

void telex_shm_take(struct telex_link *link, const telex_message *message, uint64_t cost)
{
    struct shm_link *shm = shm_of(link);
    telex_shm_fold(shm);
    atomic_store_explicit(&shm->taken_messages, ++shm->taken.messages, memory_order_relaxed);
    atomic_store_explicit(&shm->slowly_taken, atomic_load_explicit(&shm->slowly_taken, memory_order_relaxed) + 1, memory_order_relaxed);
    telex_shm_settle(shm, message, cost);
    telex_shm_tell_if_due(shm);
    telex_shm_settle_quick(shm);
}

bool telex_shm_claim(struct telex_link *link, const telex_message *message, uint64_t cost)
{
    struct shm_link *shm = shm_of(link);
    telex_shm_fold(shm);
    uint64_t offered = SHM_DECISION(message->number, SHM_OFFERED);
    /* Acquire and release: one of us and the sender wins, and the loser sees what the winner did before. */
    bool won = atomic_compare_exchange_strong_explicit(shm->area->their_decision, &offered, SHM_DECISION(message->number, SHM_TAKEN),
                                                       memory_order_acq_rel, memory_order_acquire);
    if (won) {
        shm_bell_progress(shm->area); /* its sender waits */
        return true;
    }
    telex_shm_settle(shm, message, cost); /* withdrawn: its room is free again, but it does not count as taken */
    telex_shm_tell_if_due(shm);
    telex_shm_settle_quick(shm);
    return false;
}

void telex_shm_waiting_free(struct shm_link *shm)
{
    for (struct shm_waiting *waiting; (waiting = first_waiting(shm)) != NULL;) {
        telex_list_remove(&waiting->node);
        free(waiting);
    }
    telex_numbers_deinit(&shm->waiting_numbers);
}
