/* SPDX-License-Identifier: MIT */
/*
 * One run: two fresh processes (four for two pairs) meet by way of a contender, wait for each other, talk for a while
 * and leave. What they share besides the contender's medium is one mapping, made before all else, in which they leave
 * their figures.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { PAIRS = 2, TRIES = 2, SAMPLES = 1 << 22, PAGE = 4096, POLL = 200000, RARELY = 10000000, GUARD = 20 };

static const int64_t PATIENCE = 5000000000, WARM_UP = 50000000;

enum side { PASSIVE, ACTIVE, SIDES };

/* How far a side is; only ever goes up. Its release store pairs with the acquire load of whoever waits for it. */
enum stage { STARTED, LISTENING, CONNECTED, FINISHED };

struct talk {
    _Atomic int stage[SIDES];
    char address[BENCH_ADDRESS];
    int64_t begin, end;
    uint64_t count;
    uint32_t samples[SAMPLES]; /* ns a round trip */
};

static struct shared {
    _Atomic int go; /* release by the parent when all are connected */
    _Atomic int failures;
    char error[BENCH_ERROR]; /* by whoever raised `failures` from 0 */
    struct talk talks[PAIRS];
} * shared;

void bench_measure_init(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED) {
        fprintf(stderr, "telex-bench: cannot map %zu bytes: %s\n", sizeof *shared, strerror(errno));
        exit(1);
    }
}

void bench_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (atomic_fetch_add(&shared->failures, 1) == 0)
        vsnprintf(shared->error, sizeof shared->error, format, arguments);
    va_end(arguments);
    _exit(1);
}

const char *bench_unique(void)
{
    static char name[64];
    snprintf(name, sizeof name, "telex-bench-%d-%lld", (int)getpid(), (long long)bench_now());
    return name;
}

int64_t bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void bench_pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

bool bench_cores(int cores[2])
{
    cpu_set_t set;
    int found = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int core = 0; core < CPU_SETSIZE && found < 2; core++) {
            if (CPU_ISSET(core, &set))
                cores[found++] = core;
        }
    }
    if (found < 2)
        cores[1] = cores[0];
    return found == 2;
}

/* Ticks of all cores since the start that were not idle; "cpu user nice system idle iowait irq softirq steal". */
static double ticks_in_use(void)
{
    unsigned long long ticks[8] = {0};
    FILE *file = fopen("/proc/stat", "r");
    int found = !file ? 0
                      : fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[0], &ticks[1], &ticks[2],
                               &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]);
    if (file)
        fclose(file);
    return found < 8 ? 0 : (double)(ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]);
}

double bench_busy(void)
{
    double before = ticks_in_use();
    int64_t start = bench_now();
    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    double seconds = (double)(bench_now() - start) / 1e9;
    return (ticks_in_use() - before) / (double)sysconf(_SC_CLK_TCK) / seconds;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = POLL}, NULL);
}

/* ---- the two sides --------------------------------------------------------------------------------------- */

static void reach(struct talk *talk, enum side side, enum stage stage)
{
    atomic_store_explicit(&talk->stage[side], (int)stage, memory_order_release);
}

static bool reached(struct talk *talk, enum side side, enum stage stage)
{
    return atomic_load_explicit(&talk->stage[side], memory_order_acquire) >= (int)stage;
}

/* Neither side closes before both are done, since some contenders throw away what they have not yet sent. */
static void leave(struct talk *talk, enum side side, const struct bench_contender *contender, void *end)
{
    reach(talk, side, FINISHED);
    while (!reached(talk, !side, FINISHED))
        nap();
    contender->close(end);
}

static void wait_for_go(void)
{
    while (!atomic_load_explicit(&shared->go, memory_order_acquire))
        nap();
}

/* Returns how long it took; 0: all the time. */
static int64_t exchange(const struct bench_contender *contender, void *end, const void *data, size_t size)
{
    if (contender->part)
        return contender->part(end, data, size);
    if (contender->exchange) {
        contender->exchange(end, data, size);
    } else {
        contender->send(end, data, size);
        contender->receive(end, size);
    }
    return 0;
}

static const unsigned char *answer(const struct bench_contender *contender, void *end, size_t size)
{
    if (contender->answer)
        return contender->answer(end, size);
    const unsigned char *data = contender->receive(end, size);
    contender->send(end, data, size);
    return data;
}

static void ask(struct talk *talk, const struct bench_job *job, void *end, unsigned char *message)
{
    for (size_t i = 0; i < SAMPLES; i += PAGE / sizeof *talk->samples)
        ((volatile uint32_t *)talk->samples)[i] = 0; /* the first touch of a page costs more than a round trip */
    message[0] = BENCH_GO;
    for (int64_t warm = bench_now() + WARM_UP; bench_now() < warm;)
        exchange(job->contender, end, message, job->size);

    int64_t begin = bench_now(), last = begin;
    uint64_t count = 0;
    while (count < SAMPLES && last - begin < job->duration) {
        int64_t part = exchange(job->contender, end, message, job->size), now = bench_now();
        talk->samples[count++] = (uint32_t)(part > 0 ? part : now - last);
        last = now;
    }
    talk->begin = begin;
    talk->end = last;
    talk->count = count;
    message[0] = BENCH_LAST;
    exchange(job->contender, end, message, job->size);
}

static void give(struct talk *talk, const struct bench_job *job, void *end, unsigned char *message)
{
    const unsigned batch = job->size < PAGE ? (unsigned)(PAGE / job->size) : 1; /* between two looks at the clock */
    message[0] = BENCH_GO;
    talk->begin = bench_now();
    for (int64_t until = talk->begin + job->duration; bench_now() < until;) {
        for (unsigned i = 0; i < batch; i++)
            job->contender->send(end, message, job->size);
    }
    message[0] = BENCH_LAST;
    job->contender->send(end, message, job->size);
    if (job->contender->finish)
        job->contender->finish(end);
}

/* Counted, and the clock stopped, where messages arrive: what lies in buffers has not been carried yet. */
static void take(struct talk *talk, const struct bench_job *job, void *end)
{
    uint64_t count = 0;
    if (job->contender->drain) {
        count = job->contender->drain(end, job->size);
    } else {
        while (job->contender->receive(end, job->size)[0] != BENCH_LAST)
            count++;
        count++;
    }
    talk->end = bench_now();
    talk->count = count;
}

static void passive(struct talk *talk, const struct bench_job *job)
{
    void *end = job->contender->listen(job->contender, job->medium, job->size, talk->address);
    reach(talk, PASSIVE, LISTENING);
    job->contender->accept(end);
    reach(talk, PASSIVE, CONNECTED);
    if (bench_is_one_way(job->shape)) {
        take(talk, job, end);
    } else {
        while (answer(job->contender, end, job->size)[0] != BENCH_LAST)
            ;
        if (job->contender->finish)
            job->contender->finish(end); /* the last answer, too */
    }
    leave(talk, PASSIVE, job->contender, end);
}

static void active(struct talk *talk, const struct bench_job *job)
{
    while (!reached(talk, PASSIVE, LISTENING))
        nap();
    unsigned char *message = malloc(job->size);
    if (!message)
        bench_fail("out of memory");
    memset(message, 'x', job->size);
    void *end = job->contender->dial(job->contender, job->medium, job->size, talk->address);
    reach(talk, ACTIVE, CONNECTED);
    wait_for_go();
    (bench_is_one_way(job->shape) ? give : ask)(talk, job, end, message);
    leave(talk, ACTIVE, job->contender, end);
    free(message);
}

/* ---- the parent ------------------------------------------------------------------------------------------ */

static pid_t start(struct talk *talk, const struct bench_job *job, enum side side)
{
    pid_t parent = getpid(), child = fork();
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(GUARD); /* seconds; the parent's patience ends first, unless the parent hangs */
    if (getppid() != parent)
        _exit(1);
    if (bench_pinned(job->shape))
        bench_pin(job->cores[side]);
    (side == PASSIVE ? passive : active)(talk, job);
    _exit(0);
}

static bool all_connected(unsigned pairs)
{
    for (unsigned i = 0; i < pairs; i++) {
        if (!reached(&shared->talks[i], PASSIVE, CONNECTED) || !reached(&shared->talks[i], ACTIVE, CONNECTED))
            return false;
    }
    return true;
}

static void kill_all(const pid_t *children, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (children[i] > 0)
            kill(children[i], SIGKILL);
    }
}

/* Reaps those that have ended; returns how many are left. `ret_good` becomes false if one ended badly. */
static unsigned reap(pid_t *children, unsigned count, bool *ret_good)
{
    unsigned left = 0;
    for (unsigned i = 0; i < count; i++) {
        int status;
        if (children[i] <= 0)
            continue;
        if (waitpid(children[i], &status, WNOHANG) == 0) {
            left++;
            continue;
        }
        children[i] = 0;
        *ret_good = *ret_good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    return left;
}

/* Gives the start signal when all are there, then nearly keeps off the cores. Kills all if one fails or time is up. */
static bool tend(pid_t *children, unsigned count, unsigned pairs, int64_t deadline)
{
    bool good = true, gone = false;
    for (unsigned i = 0; i < count; i++)
        good = good && children[i] > 0;
    while (reap(children, count, &good) > 0) {
        if (!good || bench_now() > deadline) {
            good = false;
            kill_all(children, count);
        }
        if (!gone && all_connected(pairs)) {
            atomic_store_explicit(&shared->go, 1, memory_order_release);
            gone = true;
        }
        nanosleep(&(struct timespec){.tv_nsec = gone ? RARELY : POLL}, NULL);
    }
    return good;
}

static int by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

/* The least time that is not shorter than `percent` of all (nearest rank). */
static double percentile(const uint32_t *sorted, uint64_t count, unsigned percent)
{
    uint64_t rank = (count * percent + 99) / 100;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static void trips(struct bench_run *run, unsigned pairs)
{
    uint64_t count = 0;
    double time = 0;
    for (unsigned i = 0; i < pairs; i++) {
        count += shared->talks[i].count;
        time += (double)(shared->talks[i].end - shared->talks[i].begin);
    }
    uint32_t *all = malloc((count ? count : 1) * sizeof *all);
    if (!all || count == 0) {
        free(all);
        run->failed = true;
        return;
    }
    uint64_t at = 0;
    for (unsigned i = 0; i < pairs; i++) {
        memcpy(all + at, shared->talks[i].samples, shared->talks[i].count * sizeof *all);
        at += shared->talks[i].count;
    }
    qsort(all, count, sizeof *all, by_value);
    run->count = count;
    run->figure[BENCH_P50] = percentile(all, count, 50);
    run->figure[BENCH_P99] = percentile(all, count, 99);
    run->figure[BENCH_MEAN] = time / (double)count;
    free(all);
}

static void rates(struct bench_run *run, size_t size)
{
    const struct talk *talk = &shared->talks[0];
    double seconds = (double)(talk->end - talk->begin) / 1e9;
    run->count = talk->count;
    run->figure[BENCH_MESSAGES] = (double)talk->count / seconds;
    run->figure[BENCH_BYTES] = (double)talk->count * (double)size / seconds;
}

bool bench_is_one_way(enum bench_shape shape)
{
    return shape == BENCH_ONE_WAY || shape == BENCH_LOOSE_WAY;
}

bool bench_pinned(enum bench_shape shape)
{
    return shape == BENCH_TRIP || shape == BENCH_ONE_WAY;
}

static void once(const struct bench_job *job, struct bench_run *ret_run)
{
    const unsigned pairs = job->shape == BENCH_PAIRS ? PAIRS : 1;
    pid_t children[PAIRS * SIDES];
    memset(shared, 0, offsetof(struct shared, talks));
    for (unsigned i = 0; i < pairs; i++)
        memset(&shared->talks[i], 0, offsetof(struct talk, samples));
    fflush(NULL);

    *ret_run = (struct bench_run){.probe[0] = bench_probe(job->cores)};
    for (unsigned i = 0; i < pairs * SIDES; i++)
        children[i] = start(&shared->talks[i / SIDES], job, i % SIDES);
    ret_run->failed = !tend(children, pairs * SIDES, pairs, bench_now() + job->duration + PATIENCE);
    ret_run->probe[1] = bench_probe(job->cores);
    ret_run->tag = bench_tag_of(ret_run->probe[0], ret_run->probe[1]);

    if (ret_run->failed)
        fprintf(stderr, "telex-bench: %s over %s failed: %s\n", job->contender->name, job->medium,
                shared->error[0] ? shared->error : "killed, or not done in time");
    else if (bench_is_one_way(job->shape))
        rates(ret_run, job->size);
    else
        trips(ret_run, pairs);
}

/* A run during which the cores moved says nothing about either state: it is made again, within reason. */
void bench_measure(const struct bench_job *job, struct bench_run *ret_run)
{
    for (unsigned i = 0; i < TRIES; i++) {
        once(job, ret_run);
        if (ret_run->failed || ret_run->tag != BENCH_MIXED)
            return;
    }
}
