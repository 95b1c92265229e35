/* SPDX-License-Identifier: MIT */
/*
 * How far the two cores are from each other just now. The host of a virtual machine moves its cores about, and what
 * they share changes with it: a cache line then takes ten times as long. Figures from either state are right, but not
 * comparable.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { BATCH = 100, BATCHES = 4096, PROBE_TIME = 12000000, START_TIME = 100000000, FAR = 250, GUARD = 5 };

struct line {
    _Alignas(64) _Atomic uint32_t ball; /* odd: the other side's; UINT32_MAX: the game is over */
};

/* Each acquire load sees the release store of the other side; nothing else is shared. */
static void return_the_balls(struct line *line)
{
    for (;;) {
        uint32_t seen = atomic_load_explicit(&line->ball, memory_order_acquire);
        if (seen == UINT32_MAX)
            _exit(0);
        if (seen & 1)
            atomic_store_explicit(&line->ball, seen + 1, memory_order_release);
    }
}

static bool trip(struct line *line, uint32_t ball, int64_t deadline)
{
    atomic_store_explicit(&line->ball, ball, memory_order_release);
    for (unsigned tries = 1; atomic_load_explicit(&line->ball, memory_order_acquire) != ball + 1; tries++) {
        if (tries % 65536 == 0 && bench_now() > deadline)
            return false;
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* The median of batches: a core that is lost for a while spoils one batch, not the answer. */
static double play(struct line *line)
{
    static double batches[BATCHES];
    unsigned count = 0;
    uint32_t ball = 1;
    if (!trip(line, ball, bench_now() + START_TIME))
        return 0;
    int64_t start = bench_now(), end = start + PROBE_TIME;
    for (int64_t before = start; before < end && count < BATCHES;) {
        for (unsigned i = 0; i < BATCH; i++) {
            ball += 2;
            if (!trip(line, ball, end + START_TIME))
                return 0;
        }
        int64_t now = bench_now();
        batches[count++] = (double)(now - before) / BATCH;
        before = now;
    }
    qsort(batches, count, sizeof *batches, by_value);
    return batches[count / 2];
}

/* Pinning stays with the process that is pinned, so both players are children. */
double bench_probe(const int cores[2])
{
    struct {
        struct line line;
        double result;
    } *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 0;
    pid_t players[2] = {-1, -1};
    for (int i = 0; i < 2; i++) {
        players[i] = fork();
        if (players[i] == 0) {
            alarm(GUARD); /* seconds; should all else fail, nobody spins on */
            bench_pin(cores[i]);
            if (i == 1)
                return_the_balls(&shared->line);
            shared->result = play(&shared->line);
            atomic_store_explicit(&shared->line.ball, UINT32_MAX, memory_order_release);
            _exit(0);
        }
    }
    if (players[0] > 0)
        waitpid(players[0], NULL, 0);
    if (players[1] > 0) {
        kill(players[1], SIGKILL);
        waitpid(players[1], NULL, 0);
    }
    double result = shared->result;
    munmap(shared, sizeof *shared);
    return result;
}

enum bench_tag bench_tag_of(double before, double after)
{
    if (before == 0 || after == 0 || (before < FAR) != (after < FAR))
        return BENCH_MIXED;
    return before < FAR ? BENCH_NEAR : BENCH_FAR;
}
