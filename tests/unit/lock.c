/* SPDX-License-Identifier: MIT */
/* The lock that leans towards one thread: it excludes, whoever owns it, and however often that changes. */
#include "os/lock.h"

#include <sched.h>
#include <signal.h>
#include <time.h>

#include "unit/testing.h"

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__ /* each step takes ten times as long */
enum { ROUNDS = 1500, REPEATS = 1 };
#else
enum { ROUNDS = 5000, REPEATS = 3 /* a lock is owned by few threads in its life */ };
#endif
enum { THREADS_MOST = 4, ENOUGH = 16 /* times in a row, after which a thread owns a lock */ };

struct shared {
    struct telex_lock lock;
    uint64_t count; /* plain: only the lock orders it */
    unsigned inside;
    unsigned meetings; /* of two threads in there */
    atomic_bool go;
    atomic_uint entered, tried; /* how often by the other thread */
    atomic_uint running;
};

static void nap(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void within(struct shared *shared)
{
    shared->meetings += ++shared->inside != 1;
    if (shared->count++ % 8 == 0)
        sched_yield();
    shared->meetings += shared->inside-- != 1;
}

/* This thread's, and free: a look at what lock.h keeps to itself. */
static bool is_mine(struct telex_lock *lock)
{
    uint64_t owner = atomic_load(&lock->owner);
    return owner / TELEX_LOCK_LOSSES_MOST == telex_thread() && !atomic_load(&lock->held[owner % TELEX_LOCK_LOSSES_MOST]);
}

/* This thread owns the lock afterwards, if there are owners on this machine. Whether there are. */
static bool come_to_own(struct telex_lock *lock)
{
    for (int i = 0; i < ENOUGH; i++) {
        telex_lock(lock);
        telex_unlock(lock);
    }
    bool own = is_mine(lock);
    assert_true(own || !telex_membarrier_ready() || lock->losses > 0);
    return own;
}

/* ---- excluding ---- */

struct hammer {
    struct shared *shared;
    unsigned seed, successes;
};

/* Stops a thread wherever it just is, for so long that others come to own the lock meanwhile. */
static void stumble(int number)
{
    (void)number;
    nap(200);
}

/* Runs of one thread, in which it comes to own the lock, and single ones; by waiting and by trying. */
static void *hammer(void *with)
{
    struct hammer *hammer = with;
    struct shared *shared = hammer->shared;
    while (!atomic_load(&shared->go))
        sched_yield();
    for (unsigned i = 0; i < ROUNDS; i++) {
        hammer->seed = hammer->seed * 1103515245 + 12345;
        bool tries = (hammer->seed >> 16) % 4 == 0;
        if (tries && !telex_lock_try(&shared->lock))
            continue;
        if (!tries)
            telex_lock(&shared->lock);
        within(shared);
        telex_unlock(&shared->lock);
        hammer->successes++;
    }
    atomic_fetch_sub(&shared->running, 1);
    return NULL;
}

static void excludes_among(unsigned threads)
{
    struct shared shared = {.count = 0};
    struct hammer hammers[THREADS_MOST];
    pthread_t ids[THREADS_MOST];
    uint64_t successes = 0;
    telex_lock_init(&shared.lock);
    atomic_store(&shared.running, threads);
    for (unsigned i = 0; i < threads; i++) {
        hammers[i] = (struct hammer){.shared = &shared, .seed = i + 1};
        assert_int_equal(pthread_create(&ids[i], NULL, hammer, &hammers[i]), 0);
    }
    atomic_store(&shared.go, true);
    for (unsigned i = 0; atomic_load(&shared.running) == threads; i++) {
        pthread_kill(ids[i % threads], SIGUSR1);
        nap(10);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        successes += hammers[i].successes;
    }
    assert_int_equal(shared.meetings, 0);
    assert_true(successes > ROUNDS);
    assert_int_equal(shared.count, successes);
    telex_lock_deinit(&shared.lock);
}

static void excludes(void **state)
{
    (void)state;
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = stumble, .sa_flags = SA_RESTART}, NULL);
    for (unsigned i = 0; i < REPEATS; i++)
        for (unsigned threads = 2; threads <= THREADS_MOST; threads++)
            excludes_among(threads);
}

/* ---- owners ---- */

static void *enter(void *with)
{
    struct shared *shared = with;
    telex_lock(&shared->lock);
    within(shared);
    atomic_fetch_add(&shared->entered, 1);
    telex_unlock(&shared->lock);
    return NULL;
}

static void *try(void *with)
{
    struct shared *shared = with;
    atomic_fetch_add(&shared->tried, 1);
    if (telex_lock_try(&shared->lock)) {
        within(shared);
        atomic_fetch_add(&shared->entered, 1);
        telex_unlock(&shared->lock);
    }
    return NULL;
}

static void run(void *(*body)(void *), struct shared *shared)
{
    pthread_t id;
    assert_int_equal(pthread_create(&id, NULL, body, shared), 0);
    pthread_join(id, NULL);
}

/* Who wants it while its owner holds it waits, and gets it. */
static void taken_away_while_held(void **state)
{
    (void)state;
    struct shared shared = {.count = 0};
    telex_lock_init(&shared.lock);
    for (unsigned i = 1; i <= 20; i++) { /* also when it is nobody's any more */
        pthread_t id;
        come_to_own(&shared.lock);
        telex_lock(&shared.lock);
        assert_int_equal(pthread_create(&id, NULL, enter, &shared), 0);
        within(&shared);
        nap(2000);
        assert_int_equal(atomic_load(&shared.entered), i - 1);
        telex_unlock(&shared.lock);
        pthread_join(id, NULL);
        assert_int_equal(atomic_load(&shared.entered), i);
    }
    assert_int_equal(shared.count, 40);
    assert_int_equal(shared.meetings, 0);
    telex_lock_deinit(&shared.lock);
}

static void tries(void **state)
{
    (void)state;
    struct shared shared = {.count = 0};
    struct telex_lock *lock = &shared.lock;
    telex_lock_init(lock);

    /* Held by the mutex, then by its owner: not even the holder gets it a second time. */
    assert_true(telex_lock_try(lock));
    assert_false(telex_lock_try(lock));
    run(try, &shared);
    assert_int_equal(atomic_load(&shared.entered), 0);
    telex_unlock(lock);
    bool owned = come_to_own(lock);
    telex_lock(lock);
    assert_false(telex_lock_try(lock));
    run(try, &shared);
    assert_int_equal(atomic_load(&shared.entered), 0);
    telex_unlock(lock);
    assert_int_equal(owned, is_mine(lock)); /* a try in vain takes nothing away */

    /* Free, but owned: it is to be had. */
    run(try, &shared);
    assert_int_equal(atomic_load(&shared.entered), 1);
    assert_true(telex_lock_try(lock));
    telex_unlock(lock);
    assert_int_equal(atomic_load(&shared.tried), 3);
    telex_lock_deinit(lock);
}

/* Who asks again and again while it is held gets it in the end, and leaves it whole. */
static void *try_until(void *with)
{
    struct shared *shared = with;
    while (!telex_lock_try(&shared->lock))
        sched_yield();
    within(shared);
    telex_unlock(&shared->lock);
    return NULL;
}

static void tried_again_and_again(void **state)
{
    (void)state;
    struct shared shared = {.count = 0};
    telex_lock_init(&shared.lock);
    for (int i = 0; i < 20; i++) {
        pthread_t id;
        come_to_own(&shared.lock);
        telex_lock(&shared.lock);
        assert_int_equal(pthread_create(&id, NULL, try_until, &shared), 0);
        for (int holds = 0; holds < 50; holds++) {
            within(&shared);
            telex_unlock(&shared.lock);
            telex_lock(&shared.lock);
        }
        telex_unlock(&shared.lock);
        pthread_join(id, NULL);
    }
    assert_int_equal(shared.count, 20 * 51);
    assert_int_equal(shared.meetings, 0);
    telex_lock_deinit(&shared.lock);
}

/* An owner that was stopped in the middle of taking it goes on when the lock has another owner, and that one is in it. */
static void *own_and_hold(void *with)
{
    struct shared *shared = with;
    come_to_own(&shared->lock);
    telex_lock(&shared->lock);
    atomic_store(&shared->go, true);
    while (atomic_load(&shared->go))
        sched_yield();
    telex_unlock(&shared->lock);
    return NULL;
}

static void late_owner(void **state)
{
    (void)state;
    struct shared shared = {.count = 0};
    struct telex_lock *lock = &shared.lock;
    telex_lock_init(lock);
    if (come_to_own(lock)) {
        uint64_t seen = atomic_load(&lock->owner);
        atomic_bool *held = &lock->held[seen % TELEX_LOCK_LOSSES_MOST];
        pthread_t id;
        assert_int_equal(pthread_create(&id, NULL, own_and_hold, &shared), 0);
        while (!atomic_load(&shared.go))
            sched_yield();
        atomic_store(held, true); /* the rest of telex_lock_quickly(), after its first look */
        assert_true(atomic_load(&lock->owner) != seen);
        atomic_store(held, false);
        assert_false(telex_lock_try(lock)); /* it is held all the same */
        run(try, &shared);
        assert_int_equal(atomic_load(&shared.entered), 0);
        atomic_store(&shared.go, false);
        pthread_join(id, NULL);
    }
    assert_true(telex_lock_try(lock));
    telex_unlock(lock);
    telex_lock_deinit(lock);
}

/* ---- handing over ---- */

struct turns {
    struct shared *shared;
    uint64_t mine;
};

/* Each round so many times in a row that it would own the lock, then it is the other's turn. */
static void *take_turns(void *with)
{
    struct turns *turns = with;
    struct shared *shared = turns->shared;
    for (uint64_t rounds = 0; rounds < 2000;) {
        telex_lock(&shared->lock);
        bool now = shared->count / ENOUGH % 2 == turns->mine;
        if (now)
            within(shared);
        rounds += now && shared->count % ENOUGH == 0;
        telex_unlock(&shared->lock);
        if (!now)
            sched_yield();
    }
    return NULL;
}

static void changes_hands(void **state)
{
    (void)state;
    struct shared shared = {.count = 0};
    struct turns one = {&shared, 0}, other = {&shared, 1};
    pthread_t id;
    telex_lock_init(&shared.lock);
    assert_int_equal(pthread_create(&id, NULL, take_turns, &other), 0);
    take_turns(&one);
    pthread_join(id, NULL);
    assert_int_equal(shared.count, 4000 * ENOUGH);
    assert_int_equal(shared.meetings, 0);

    /* To take it away costs; after so often it is nobody's. */
    assert_false(come_to_own(&shared.lock));
    assert_false(telex_lock_quickly(&shared.lock));
    telex_lock_deinit(&shared.lock);
}

static const struct testing_case cases[] = {
    TESTING_CASE_LIMIT(excludes, 60),
    TESTING_CASE(taken_away_while_held),
    TESTING_CASE(tries),
    TESTING_CASE(tried_again_and_again),
    TESTING_CASE(late_owner),
    TESTING_CASE_LIMIT(changes_hands, 60),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "lock", cases, sizeof cases / sizeof *cases);
}
