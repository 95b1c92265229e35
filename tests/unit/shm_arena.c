/* SPDX-License-Identifier: MIT */
/* The arena and the log of what came back, both ends of it in one process: any order, many laps, and a log full of lies. */
#include "medium/shm/arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "medium/shm/area.h"
#include "unit/testing.h"

enum { GRANULE = 4096, THREADS = 4 };

struct both {
    struct shm_arena arena; /* the owner's map */
    struct shm_area other;  /* the side that gives back: its page holds the log */
    struct shm_page *pages; /* the other's, and one that is looked at by whoever gives back */
};

static struct both both_new(unsigned slots)
{
    struct both both = {.pages = aligned_alloc(SHM_PAGE, 2 * sizeof(struct shm_page))};
    assert_non_null(both.pages);
    memset(both.pages, 0, 2 * sizeof(struct shm_page));
    struct shm_memory memory = {.slots = slots, .granule = GRANULE};
    telex_shm_arena_init(&both.arena, &memory);
    both.other.own.page = &both.pages[0];
    both.other.theirs.page = &both.pages[1];
    pthread_mutex_init(&both.other.lock, NULL);
    return both;
}

static void both_free(struct both *both)
{
    pthread_mutex_destroy(&both->other.lock);
    free(both->pages);
}

static int take(struct both *both, unsigned granules)
{
    return telex_shm_arena_take(&both->arena, (uint64_t)granules * GRANULE, both->pages);
}

static int take_and_lend(struct both *both, unsigned granules)
{
    int slot = take(both, granules);
    if (slot >= 0)
        telex_shm_arena_lend(&both->arena, (unsigned)slot);
    return slot;
}

static void give_back(struct both *both, int slot)
{
    telex_shm_give_back(&both->other, (unsigned)slot);
}

static bool reclaim(struct both *both)
{
    bool returns = telex_shm_arena_returns(both->arena.log, both->pages), any = telex_shm_arena_reclaim(&both->arena, both->pages);
    assert_true(returns || !any);
    return any;
}

static void assert_all_free(struct both *both)
{
    while (reclaim(both))
        ;
    int whole = take(both, both->arena.slots);
    assert_int_equal(whole, 0);
    telex_shm_arena_free(&both->arena, 0);
    assert_int_equal(both->arena.lent_count, 0);
}

static void sizes(void **state)
{
    (void)state;
    struct both both = both_new(8);
    for (unsigned bytes = 0; bytes <= 8 * GRANULE; bytes += 1000) {
        int slot = telex_shm_arena_take(&both.arena, bytes, NULL);
        assert_true(slot >= 0);
        assert_int_equal(both.arena.count[slot], bytes == 0 ? 1 : (bytes + GRANULE - 1) / GRANULE);
        telex_shm_arena_free(&both.arena, (unsigned)slot);
    }
    assert_int_equal(take(&both, 9), -EAGAIN);
    assert_int_equal(telex_shm_arena_take(&both.arena, UINT64_MAX - GRANULE, NULL), -EAGAIN);
    assert_all_free(&both);
    both_free(&both);

    struct both none = both_new(0);
    assert_int_equal(take(&none, 1), -EAGAIN);
    assert_int_equal(telex_shm_arena_take(&none.arena, 0, none.pages), -EAGAIN);
    both_free(&none);
}

/* ---- any order ---- */

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}

enum { FREE = 0, KEPT = 1, LENT = 2, BACK = 3 };

struct model { /* what the arena should think */
    unsigned slots, chunk_of[SHM_SLOTS]; /* 0: free; else the chunk's first granule, and one more */
    int state[SHM_SLOTS];                /* by first granule */
    unsigned count[SHM_SLOTS];
};

static bool has_run(const struct model *model, unsigned count)
{
    unsigned run = 0;
    for (unsigned i = 0; i < model->slots; i++) {
        unsigned chunk = model->chunk_of[i];
        run = chunk == 0 || model->state[chunk - 1] == BACK ? run + 1 : 0;
        if (run == count)
            return true;
    }
    return false;
}

static void model_free(struct model *model, unsigned slot)
{
    memset(&model->chunk_of[slot], 0, model->count[slot] * sizeof model->chunk_of[slot]);
    model->state[slot] = FREE;
}

/* What came back is taken back by a look at the log, be it that of a take. */
static void settle(struct model *model, const struct both *both)
{
    for (unsigned i = 0; i < model->slots; i++)
        if (model->state[i] == BACK && (both->arena.used[i / 64] >> i % 64 & 1) == 0)
            model_free(model, i);
}

static void model_take(struct model *model, struct both *both, unsigned count)
{
    int slot = take(both, count);
    if (slot < 0) {
        assert_int_equal(slot, -EAGAIN);
        assert_false(has_run(model, count));
        return;
    }
    assert_true((unsigned)slot + count <= model->slots);
    for (unsigned i = (unsigned)slot; i < (unsigned)slot + count; i++) {
        if (model->chunk_of[i] != 0) {
            assert_int_equal(model->state[model->chunk_of[i] - 1], BACK);
            model_free(model, model->chunk_of[i] - 1);
        }
        model->chunk_of[i] = (unsigned)slot + 1;
    }
    model->state[slot] = KEPT;
    model->count[slot] = count;
    settle(model, both);
}

static void model_move(struct model *model, struct both *both, unsigned slot, bool lends)
{
    if (model->state[slot] == KEPT && lends) {
        telex_shm_arena_lend(&both->arena, slot);
        model->state[slot] = LENT;
    } else if (model->state[slot] == KEPT) {
        telex_shm_arena_free(&both->arena, slot);
        model_free(model, slot);
    } else if (model->state[slot] == LENT) {
        give_back(both, (int)slot);
        model->state[slot] = BACK;
    }
}

static void any_order(void **state)
{
    (void)state;
    static const unsigned sizes_of[] = {1, 2, 63, 64, 65, 100, 127, 1024};
    for (size_t at = 0; at < sizeof sizes_of / sizeof *sizes_of; at++) {
        struct both both = both_new(sizes_of[at]);
        static struct model model;
        model = (struct model){.slots = sizes_of[at]};
        unsigned seed = (unsigned)at + 1;
        for (unsigned i = 0; i < 20000; i++) {
            unsigned what = next_random(&seed) % 8, most = model.slots < 20 ? model.slots : 20;
            if (what < 3)
                model_take(&model, &both, 1 + next_random(&seed) % (next_random(&seed) % 50 == 0 ? model.slots : most));
            else
                model_move(&model, &both, next_random(&seed) % model.slots, what % 4 != 0);
            if (what == 7 && next_random(&seed) % 100 == 0) {
                reclaim(&both);
                settle(&model, &both);
            }
        }
        for (unsigned i = 0; i < model.slots; i++)
            for (int moves = 0; moves < 2; moves++)
                model_move(&model, &both, i, true);
        assert_all_free(&both);
        both_free(&both);
    }
}

/* What is free, but not in a row, is not enough; what came back may make it enough, also across the place where the last search ended. */
static void fragments(void **state)
{
    (void)state;
    enum { SLOTS = 130 };
    struct both both = both_new(SLOTS);
    for (int i = 0; i < SLOTS; i++)
        assert_int_equal(take_and_lend(&both, 1), i);
    for (int i = 0; i < SLOTS; i += 2)
        give_back(&both, i);
    assert_int_equal(take(&both, 2), -EAGAIN);
    assert_int_equal(both.arena.lent_count, SLOTS / 2);
    give_back(&both, 63); /* 62, 63 and 64 are now free: across two words of the map */
    assert_int_equal(take(&both, 4), -EAGAIN);
    assert_int_equal(take_and_lend(&both, 3), 62);
    give_back(&both, 1);
    assert_int_equal(take_and_lend(&both, 3), 0);
    give_back(&both, 0);
    give_back(&both, 62);
    for (int i = 3; i < SLOTS; i += 2)
        if (i != 63)
            give_back(&both, i);
    assert_all_free(&both);
    both_free(&both);
}

/* ---- the log ---- */

static void go_round(struct both *both, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        int slot = take_and_lend(both, 1);
        assert_true(slot >= 0);
        give_back(both, slot);
    }
    assert_all_free(both);
}

static void log_goes_round(void **state)
{
    (void)state;
    struct both few = both_new(3), many = both_new(SHM_SLOTS);
    go_round(&few, 5 * SHM_SLOTS + 7);
    assert_int_equal(few.arena.log, 5 * SHM_SLOTS + 7);
    for (int laps = 0; laps < 3; laps++) { /* as full as it gets */
        for (unsigned i = 0; i < SHM_SLOTS; i++)
            assert_true(take_and_lend(&many, 1) >= 0);
        assert_int_equal(take(&many, 1), -EAGAIN);
        for (int i = SHM_SLOTS - 1; i >= 0; i--)
            give_back(&many, i);
        assert_all_free(&many);
    }
    both_free(&few);
    both_free(&many);
}

/* The number of the lap has 22 bits: it goes round, too. */
static void laps_go_round(void **state)
{
    (void)state;
    struct both both = both_new(5);
    uint64_t laps = (UINT64_C(1) << (32 - SHM_RELEASED_SLOT)) - 3, at = laps * SHM_SLOTS;
    for (unsigned i = 0; i < SHM_SLOTS; i++)
        atomic_store(&both.pages->released[i], (uint32_t)(laps << SHM_RELEASED_SLOT));
    both.arena.log = at;
    atomic_store(&both.other.given_back, at);
    assert_false(reclaim(&both));
    go_round(&both, 6 * SHM_SLOTS + 1);
    assert_int_equal(both.arena.log, at + 6 * SHM_SLOTS + 1);
    both_free(&both);
}

/* A peer can say what it likes: of chunks that it has not, and twice, and of laps that are not. Nothing of ours is free by that. */
static void log_of_lies(void **state)
{
    (void)state;
    struct both both = both_new(100);
    unsigned seed = 7;
    int kept = take(&both, 10), lent = take_and_lend(&both, 10);
    assert_true(kept == 0 && lent == 10);

    for (unsigned i = 0; i < SHM_SLOTS; i++) /* other laps: nothing is read */
        atomic_store(&both.pages->released[i], (i % 2 == 0 ? UINT32_C(2) : UINT32_C(0)) << SHM_RELEASED_SLOT | (uint32_t)lent);
    assert_false(reclaim(&both));
    assert_int_equal(both.arena.log, 0);

    for (unsigned i = 0; i < SHM_SLOTS; i++) { /* this lap: every chunk but the one that it has */
        unsigned slot = next_random(&seed) % SHM_SLOTS;
        atomic_store(&both.pages->released[i], UINT32_C(1) << SHM_RELEASED_SLOT | (slot == (unsigned)lent ? 0 : slot));
    }
    assert_false(reclaim(&both));
    assert_int_equal(both.arena.log, SHM_SLOTS);
    assert_int_equal(both.arena.lent_count, 1);
    assert_int_equal(take(&both, 81), -EAGAIN);

    for (unsigned i = 0; i < SHM_SLOTS; i++) /* the next lap: the one that it has, again and again */
        atomic_store(&both.pages->released[i], UINT32_C(2) << SHM_RELEASED_SLOT | (uint32_t)lent);
    assert_true(reclaim(&both));
    assert_int_equal(both.arena.lent_count, 0);
    assert_int_equal(take(&both, 91), -EAGAIN);
    assert_int_equal(take(&both, 90), 10);
    assert_int_equal(both.arena.count[kept], 10);
    both_free(&both);
}

/* ---- threads ---- */

struct giver {
    struct both *both;
    int first;
};

static void *give_back_every_fourth(void *with)
{
    struct giver *giver = with;
    for (int i = giver->first; i < SHM_SLOTS; i += THREADS)
        give_back(giver->both, i);
    return NULL;
}

static void given_back_by_many(void **state)
{
    (void)state;
    struct both both = both_new(SHM_SLOTS);
    for (int laps = 0; laps < 5; laps++) {
        pthread_t ids[THREADS];
        struct giver givers[THREADS];
        for (int i = 0; i < SHM_SLOTS; i++)
            assert_true(take_and_lend(&both, 1) >= 0);
        for (int i = 0; i < THREADS; i++) {
            givers[i] = (struct giver){&both, i};
            assert_int_equal(pthread_create(&ids[i], NULL, give_back_every_fourth, &givers[i]), 0);
        }
        while (both.arena.lent_count > 0)
            telex_shm_arena_reclaim(&both.arena, both.pages);
        for (int i = 0; i < THREADS; i++)
            pthread_join(ids[i], NULL);
        assert_all_free(&both);
    }
    both_free(&both);
}

static const struct testing_case cases[] = {
    TESTING_CASE(sizes),
    TESTING_CASE(any_order),
    TESTING_CASE(fragments),
    TESTING_CASE(log_goes_round),
    TESTING_CASE(laps_go_round),
    TESTING_CASE(log_of_lies),
    TESTING_CASE(given_back_by_many),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "shm_arena", cases, sizeof cases / sizeof *cases);
}
