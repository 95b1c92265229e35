/* SPDX-License-Identifier: MIT */
/*
 * telex-bench: telex beside raw sockets, bare shared memory and other libraries, in one run. The table of cells is what
 * is asked, with the bounds that telex sets itself.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { ROUNDS = 5, QUICK_ROUNDS = 1 };

static const int64_t DURATION = 250000000, QUICK_DURATION = 50000000;

/* ---- what is asked --------------------------------------------------------------------------------------- */

#define TRIP(MEDIUM, SIZE)                                                                                             \
    {                                                                                                                  \
        .name = "trip-" MEDIUM "-" #SIZE, .shape = BENCH_TRIP, .medium = MEDIUM, .size = SIZE,                         \
        .contenders = {&bench_raw_blocking, &bench_telex_block, &bench_raw_busy, &bench_telex_adaptive,                \
                       &bench_telex_spin,   &bench_zmq_pair,    &bench_nng_pair, &bench_nanomsg_pair},                 \
        .ratios = {                                                                                                    \
            {&bench_telex_block, &bench_raw_blocking, BENCH_P50, false, {1.20}},                                       \
            {&bench_telex_adaptive, &bench_raw_busy, BENCH_P50, false, {1.25}},                                        \
            {&bench_telex_adaptive, &bench_raw_busy, BENCH_P99, false, {2.00}},                                        \
            {&bench_telex_spin, &bench_raw_busy, BENCH_P50, false, {0}},                                               \
            {&bench_telex_block, &bench_zmq_pair, BENCH_P50, false, {1.00}},                                           \
            {&bench_telex_block, &bench_nng_pair, BENCH_P50, false, {1.00}},                                           \
            {&bench_telex_adaptive, &bench_zmq_pair, BENCH_P50, false, {1.00}},                                        \
            {&bench_telex_adaptive, &bench_nng_pair, BENCH_P50, false, {1.00}},                                        \
            {&bench_telex_adaptive, &bench_nanomsg_pair, BENCH_P50, false, {1.00}},                                    \
        },                                                                                                             \
    }

#define CALL(MEDIUM, SIZE)                                                                                             \
    {                                                                                                                  \
        .name = "call-" MEDIUM "-" #SIZE, .shape = BENCH_TRIP, .medium = MEDIUM, .size = SIZE,                         \
        .contenders = {&bench_raw_blocking,    &bench_telex_call_block, &bench_raw_busy,   &bench_telex_call_adaptive, \
                       &bench_telex_call_spin, &bench_zmq_request,      &bench_nng_request},                           \
        .ratios = {                                                                                                    \
            {&bench_telex_call_block, &bench_raw_blocking, BENCH_P50, false, {1.20}},                                  \
            {&bench_telex_call_adaptive, &bench_raw_busy, BENCH_P50, false, {1.25}},                                   \
            {&bench_telex_call_adaptive, &bench_raw_busy, BENCH_P99, false, {2.00}},                                   \
            {&bench_telex_call_spin, &bench_raw_busy, BENCH_P50, false, {0}},                                          \
            {&bench_telex_call_block, &bench_zmq_request, BENCH_P50, false, {1.00}},                                   \
            {&bench_telex_call_block, &bench_nng_request, BENCH_P50, false, {1.00}},                                   \
            {&bench_telex_call_adaptive, &bench_zmq_request, BENCH_P50, false, {1.00}},                                \
            {&bench_telex_call_adaptive, &bench_nng_request, BENCH_P50, false, {1.00}},                                \
        },                                                                                                             \
    }

/*
 * Unpinned, the kernel may put both sides on one core, where a sleep and a wake cost a tenth of what they do across
 * cores; libraries with threads of their own gain most by it. So the peers are met on both grounds.
 */
#define LOOSE(MEDIUM, SIZE)                                                                                            \
    {                                                                                                                  \
        .name = "loose-" MEDIUM "-" #SIZE, .shape = BENCH_LOOSE, .medium = MEDIUM, .size = SIZE,                       \
        .contenders = {&bench_telex_block, &bench_telex_adaptive, &bench_raw_blocking, &bench_zmq_pair,                \
                       &bench_nng_pair},                                                                               \
        .ratios = {                                                                                                    \
            {&bench_telex_block, &bench_raw_blocking, BENCH_P50, false, {0}},                                          \
            {&bench_telex_block, &bench_zmq_pair, BENCH_P50, false, {1.00}},                                           \
            {&bench_telex_block, &bench_nng_pair, BENCH_P50, false, {1.00}},                                           \
            {&bench_telex_adaptive, &bench_zmq_pair, BENCH_P50, false, {1.00}},                                        \
            {&bench_telex_adaptive, &bench_nng_pair, BENCH_P50, false, {1.00}},                                        \
        },                                                                                                             \
    }

/* Judged by the mean: a naive spin has a fine median, and whole time slices of waste between. */
#define PAIRS(MEDIUM, SIZE)                                                                                            \
    {                                                                                                                  \
        .name = "pairs-" MEDIUM "-" #SIZE, .shape = BENCH_PAIRS, .medium = MEDIUM, .size = SIZE,                       \
        .contenders = {&bench_telex_block, &bench_telex_adaptive, &bench_telex_spin, &bench_raw_blocking,              \
                       &bench_raw_busy},                                                                               \
        .ratios = {                                                                                                    \
            {&bench_telex_adaptive, &bench_telex_block, BENCH_MEAN, false, {1.10}},                                    \
            {&bench_telex_spin, &bench_telex_block, BENCH_MEAN, false, {0}},                                           \
            {&bench_raw_busy, &bench_raw_blocking, BENCH_MEAN, false, {0}},                                            \
        },                                                                                                             \
    }

#define RATE(MEDIUM, SIZE)                                                                                             \
    {                                                                                                                  \
        .name = "rate-" MEDIUM "-" #SIZE, .shape = BENCH_ONE_WAY, .medium = MEDIUM, .size = SIZE,                      \
        .contenders = {&bench_raw_each, &bench_telex_adaptive, &bench_zmq_pair, &bench_nng_pair, &bench_nanomsg_pair}, \
        .ratios = {                                                                                                    \
            {&bench_telex_adaptive, &bench_raw_each, BENCH_MESSAGES, true, {0.90}},                                    \
            {&bench_telex_adaptive, &bench_zmq_pair, BENCH_MESSAGES, true, {0}},                                       \
            {&bench_telex_adaptive, &bench_nng_pair, BENCH_MESSAGES, true, {1.00}},                                    \
            {&bench_telex_adaptive, &bench_nanomsg_pair, BENCH_MESSAGES, true, {1.00}},                                \
        },                                                                                                             \
    }

/* Messages that follow each other: what sharing a system call is worth. Pinned or not: a library with threads of its own gains by either. */
#define RUN(NAME, SHAPE, MEDIUM, SIZE)                                                                                 \
    {                                                                                                                  \
        .name = NAME "-" MEDIUM "-" #SIZE, .shape = SHAPE, .medium = MEDIUM, .size = SIZE,                             \
        .contenders = {&bench_raw_packed, &bench_telex_run, &bench_telex_many, &bench_telex_helper, &bench_zmq_pair,   \
                       &bench_zmq_push, &bench_nanomsg_pair, &bench_nng_pair},                                         \
        .ratios = {                                                                                                    \
            {&bench_telex_run, &bench_raw_packed, BENCH_MESSAGES, true, {0.40}},                                       \
            {&bench_telex_many, &bench_raw_packed, BENCH_MESSAGES, true, {0.40}},                                      \
            {&bench_telex_helper, &bench_zmq_pair, BENCH_MESSAGES, true, {3.00}},                                      \
            {&bench_telex_helper, &bench_zmq_push, BENCH_MESSAGES, true, {3.00}},                                      \
            {&bench_telex_helper, &bench_nanomsg_pair, BENCH_MESSAGES, true, {1.00}},                                  \
            {&bench_telex_helper, &bench_nng_pair, BENCH_MESSAGES, true, {1.00}},                                      \
        },                                                                                                             \
    }

/* Pipes: the same for two that open them themselves, and for pipe://, which no other library has. */
#define PIPE_RUN(MEDIUM, SIZE)                                                                                         \
    {                                                                                                                  \
        .name = "run-" MEDIUM "-" #SIZE, .shape = BENCH_ONE_WAY, .medium = MEDIUM, .size = SIZE,                       \
        .contenders = {&bench_raw_packed, &bench_telex_run, &bench_telex_many, &bench_telex_helper},                   \
        .ratios = {                                                                                                    \
            {&bench_telex_run, &bench_raw_packed, BENCH_MESSAGES, true, {0.40}},                                       \
            {&bench_telex_many, &bench_raw_packed, BENCH_MESSAGES, true, {0.40}},                                      \
        },                                                                                                             \
    }

#define PIPE_TRIP(MEDIUM, SIZE)                                                                                        \
    {                                                                                                                  \
        .name = "trip-" MEDIUM "-" #SIZE, .shape = BENCH_TRIP, .medium = MEDIUM, .size = SIZE,                         \
        .contenders = {&bench_raw_blocking, &bench_telex_block, &bench_raw_busy, &bench_telex_adaptive},               \
        .ratios = {                                                                                                    \
            {&bench_telex_block, &bench_raw_blocking, BENCH_P50, false, {1.20}},                                       \
            {&bench_telex_adaptive, &bench_raw_busy, BENCH_P50, false, {1.25}},                                        \
        },                                                                                                             \
    }

/* How late the last of a few messages is that are sent at once, of which flush=helper gathers some. */
#define LATE(MEDIUM, SIZE)                                                                                             \
    {                                                                                                                  \
        .name = "late-" MEDIUM "-" #SIZE, .shape = BENCH_TRIP, .medium = MEDIUM, .size = SIZE,                         \
        .contenders = {&bench_telex_few_call, &bench_telex_few_helper},                                                \
        .ratios = {                                                                                                    \
            {&bench_telex_few_helper, &bench_telex_few_call, BENCH_P50, false, {0}},                                   \
            {&bench_telex_few_helper, &bench_telex_few_call, BENCH_P99, false, {0}},                                   \
        },                                                                                                             \
    }

#define BESIDE(MEDIUM, SIZE)                                                                                           \
    {                                                                                                                  \
        .name = "beside-" MEDIUM "-" #SIZE, .shape = BENCH_TRIP, .medium = MEDIUM, .size = SIZE,                       \
        .contenders = {&bench_telex_beside, &bench_telex_behind, &bench_telex_call_adaptive},                          \
        .ratios = {                                                                                                    \
            {&bench_telex_beside, &bench_telex_behind, BENCH_P50, false, {0}},                                         \
            {&bench_telex_beside, &bench_telex_call_adaptive, BENCH_P50, false, {0}},                                  \
        },                                                                                                             \
    }

#define BULK(MEDIUM, SIZE)                                                                                             \
    {                                                                                                                  \
        .name = "bulk-" MEDIUM "-" #SIZE, .shape = BENCH_ONE_WAY, .medium = MEDIUM, .size = SIZE,                      \
        .contenders = {&bench_raw_blocking, &bench_telex_adaptive, &bench_zmq_pair, &bench_nng_pair,                   \
                       &bench_nanomsg_pair},                                                                           \
        .ratios = {                                                                                                    \
            {&bench_telex_adaptive, &bench_raw_blocking, BENCH_BYTES, true, {0.90}},                                   \
            {&bench_telex_adaptive, &bench_zmq_pair, BENCH_BYTES, true, {1.00}},                                       \
            {&bench_telex_adaptive, &bench_nng_pair, BENCH_BYTES, true, {1.00}},                                       \
            {&bench_telex_adaptive, &bench_nanomsg_pair, BENCH_BYTES, true, {1.00}},                                   \
        },                                                                                                             \
    }

/*
 * Over shared memory nearly all of the time is what the cores need to see each other's cache lines, so some bounds
 * depend on how far apart they are (FAR; 0: the same). Who sleeps there is held against others who sleep. Both lists
 * end at the first NULL: no FUTEX, no bound on it.
 */
#define SHM_TRIP(SIZE, BOUND, FAR, BLOCK, FUTEX)                                                                       \
    {                                                                                                                  \
        .name = "trip-shm-" #SIZE, .shape = BENCH_TRIP, .medium = "shm", .size = SIZE,                                 \
        .contenders = {&bench_ring,        &bench_telex_spin,    &bench_telex_adaptive, &bench_ucx, &bench_iceoryx,    \
                       &bench_telex_block, &bench_iceoryx_block, &bench_zmq_pair,       FUTEX},                        \
        .ratios = {                                                                                                    \
            {&bench_telex_spin, &bench_ring, BENCH_P50, false, {BOUND, FAR}},                                          \
            {&bench_telex_adaptive, &bench_telex_spin, BENCH_P50, false, {1.15}},                                      \
            {&bench_telex_spin, &bench_ucx, BENCH_P50, false, {1.00}},                                                 \
            {&bench_telex_spin, &bench_iceoryx, BENCH_P50, false, {1.00}},                                             \
            {&bench_telex_adaptive, &bench_zmq_pair, BENCH_P50, false, {1.00}},                                        \
            {&bench_telex_block, &bench_iceoryx_block, BENCH_P50, false, {1.00}},                                      \
            {&bench_telex_block, &bench_zmq_pair, BENCH_P50, false, {1.00}},                                           \
            {BLOCK, FUTEX, BENCH_P50, false, {1.15}},                                                                  \
        },                                                                                                             \
    }

/* What a loan of any length costs, against a message of 64 bytes. */
#define SHM_LOAN(SIZE)                                                                                                 \
    {                                                                                                                  \
        .name = "loan-shm-" #SIZE, .shape = BENCH_TRIP, .medium = "shm", .size = SIZE,                                 \
        .contenders = {&bench_telex_small, &bench_telex_loan},                                                         \
        .ratios = {                                                                                                    \
            {&bench_telex_loan, &bench_telex_small, BENCH_P50, false, {1.30}},                                         \
        },                                                                                                             \
    }

#define SHM_RATE(SIZE)                                                                                                 \
    {                                                                                                                  \
        .name = "rate-shm-" #SIZE, .shape = BENCH_ONE_WAY, .medium = "shm", .size = SIZE,                              \
        .contenders = {&bench_ring, &bench_telex_adaptive, &bench_ring_batch, &bench_telex_more, &bench_ring_rarely,   \
                       &bench_ucx,  &bench_iceoryx,        &bench_zmq_pair},                                           \
        .ratios = {                                                                                                    \
            {&bench_telex_adaptive, &bench_ring, BENCH_MESSAGES, true, {0.60, 1.50}},                                  \
            {&bench_telex_more, &bench_ring_batch, BENCH_MESSAGES, true, {0.45}},                                      \
            {&bench_telex_adaptive, &bench_ring_rarely, BENCH_MESSAGES, true, {0}},                                    \
            {&bench_telex_adaptive, &bench_ucx, BENCH_MESSAGES, true, {1.00}},                                         \
            {&bench_telex_adaptive, &bench_iceoryx, BENCH_MESSAGES, true, {1.00}},                                     \
            {&bench_telex_adaptive, &bench_zmq_pair, BENCH_MESSAGES, true, {1.00}},                                    \
        },                                                                                                             \
    }

#define SHM_BULK(SIZE, BOUND)                                                                                          \
    {                                                                                                                  \
        .name = "rate-shm-" #SIZE, .shape = BENCH_ONE_WAY, .medium = "shm", .size = SIZE,                              \
        .contenders = {&bench_copy, &bench_ring, &bench_telex_adaptive, &bench_ucx, &bench_iceoryx, &bench_zmq_pair},  \
        .ratios = {                                                                                                    \
            {&bench_telex_adaptive, &bench_ring, BENCH_BYTES, true, {BOUND}},                                          \
            {&bench_telex_adaptive, &bench_copy, BENCH_BYTES, true, {0}},                                              \
            {&bench_telex_adaptive, &bench_ucx, BENCH_BYTES, true, {1.00}},                                            \
            {&bench_telex_adaptive, &bench_iceoryx, BENCH_BYTES, true, {1.00}},                                        \
            {&bench_telex_adaptive, &bench_zmq_pair, BENCH_BYTES, true, {1.00}},                                       \
        },                                                                                                             \
    }

static const struct bench_cell cells[] = {
    TRIP("unix", 64),
    TRIP("unix", 1024),
    TRIP("tcp", 64),
    TRIP("tcp", 1024),
    SHM_TRIP(64, 1.25, 1.15, &bench_telex_block, &bench_futex),
    SHM_TRIP(1024, 0, 0, NULL, NULL),
    SHM_TRIP(65536, 1.40, 0, NULL, NULL),
    SHM_TRIP(1048576, 0, 0, NULL, NULL),
    SHM_LOAN(1048576),
    CALL("unix", 64),
    CALL("unix", 1024),
    CALL("tcp", 64),
    CALL("tcp", 1024),
    LOOSE("unix", 64),
    LOOSE("unix", 1024),
    LOOSE("tcp", 64),
    LOOSE("tcp", 1024),
    PAIRS("unix", 64),
    PAIRS("tcp", 64),
    RATE("unix", 64),
    RATE("tcp", 64),
    RUN("run", BENCH_ONE_WAY, "unix", 64),
    RUN("run", BENCH_ONE_WAY, "tcp", 64),
    RUN("loose-run", BENCH_LOOSE_WAY, "unix", 64),
    RUN("loose-run", BENCH_LOOSE_WAY, "tcp", 64),
    PIPE_TRIP("pipe", 64),
    PIPE_TRIP("pipe", 1024),
    PIPE_TRIP("fd", 64),
    PIPE_TRIP("fd", 1024),
    PIPE_RUN("pipe", 64),
    PIPE_RUN("fd", 64),
    LATE("unix", 64),
    LATE("tcp", 64),
    BESIDE("unix", 64),
    BESIDE("tcp", 64),
    SHM_RATE(64),
    SHM_BULK(1024, 0),
    SHM_BULK(65536, 0.90),
    SHM_BULK(1048576, 0),
    BULK("unix", 65536),
    BULK("unix", 1048576),
    BULK("tcp", 65536),
    BULK("tcp", 1048576),
};

enum { CELLS = sizeof cells / sizeof *cells };

/* ---- asking ---------------------------------------------------------------------------------------------- */

struct request {
    struct bench_session session;
    bool json, strict, list;
    const char *only; /* comma-separated beginnings of names; NULL: all */
};

static bool wanted(const char *only, const char *name)
{
    for (const char *word = only; word; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL) {
        size_t length = strcspn(word, ",");
        if (length > 0 && strncmp(name, word, length) == 0)
            return true;
    }
    return !only;
}

/* A B C A B C ...: what drifts, drifts for all alike. Returns whether every run succeeded. */
static bool measure(const struct bench_cell *cell, const struct bench_session *session, struct bench_result *ret_result)
{
    bool good = true;
    *ret_result = (struct bench_result){.cell = cell, .rounds = session->rounds};
    for (unsigned round = 0; round < session->rounds; round++) {
        for (unsigned i = 0; cell->contenders[i]; i++) {
            const struct bench_job job = {cell->contenders[i], cell->shape,       cell->medium,
                                          cell->size,          session->duration, session->cores};
            if (!job.contender->listen)
                continue;
            bench_measure(&job, &ret_result->runs[i][round]);
            good = good && !ret_result->runs[i][round].failed;
        }
    }
    return good;
}

static void judge(const struct bench_result *result, struct bench_score *score)
{
    for (const struct bench_ratio *ratio = result->cell->ratios; ratio->of; ratio++) {
        struct bench_finding findings[BENCH_FINDINGS];
        unsigned count = bench_find(result, ratio, findings);
        for (unsigned i = 0; i < count; i++) {
            if (findings[i].bound == 0)
                continue;
            if (findings[i].is.count == 0)
                score->unmeasured++;
            else
                *(bench_holds(ratio, &findings[i]) ? &score->held : &score->missed) += 1;
        }
    }
}

static int run(const struct request *request)
{
    static struct bench_result result;
    struct bench_score score = {0};
    bool good = true, first = true;
    (request->json ? bench_json_begin : bench_table_begin)(stdout, &request->session);
    for (unsigned i = 0; i < CELLS; i++) {
        if (!wanted(request->only, cells[i].name))
            continue;
        good = measure(&cells[i], &request->session, &result) && good;
        judge(&result, &score);
        if (request->json)
            bench_json_cell(stdout, &result, first);
        else
            bench_table_cell(stdout, &result);
        first = false;
    }
    (request->json ? bench_json_end : bench_table_end)(stdout, &score);
    if (fflush(stdout) != 0 || ferror(stdout))
        good = false;
    return !good || (request->strict && score.missed + score.unmeasured > 0);
}

/* ---- the command ----------------------------------------------------------------------------------------- */

static void usage(FILE *out)
{
    fprintf(out, "usage: telex-bench [--json] [--only NAME,...] [--quick] [--runs N] [--strict] [--list]\n"
                 "  --json     one JSON document instead of tables\n"
                 "  --only     the cells whose names begin so (trip-unix,rate)\n"
                 "  --quick    one short round, to see whether it works: not a measurement\n"
                 "  --runs N   rounds, 5 unless told\n"
                 "  --strict   exit status 1 also when a bound is missed or not measured\n"
                 "  --list     the names of the cells\n");
}

static int bad_usage(const char *why)
{
    if (why)
        fprintf(stderr, "telex-bench: %s\n", why);
    usage(stderr);
    return 2;
}

/* Returns the exit status, or -1 to go on. */
static int parse(int argc, char **argv, struct request *request)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},   {"only", required_argument, NULL, 'o'},
        {"quick", no_argument, NULL, 'q'},  {"runs", required_argument, NULL, 'r'},
        {"strict", no_argument, NULL, 's'}, {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},   {0},
    };
    int option, runs = 0;
    bool quick = false;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        request->json = request->json || option == 'j';
        request->strict = request->strict || option == 's';
        request->list = request->list || option == 'l';
        quick = quick || option == 'q';
        if (option == 'o')
            request->only = optarg;
        if (option == 'r' && ((runs = atoi(optarg)) < 1 || runs > BENCH_RUNS))
            return bad_usage("--runs is from 1 to 99");
        if (option == 'h')
            return usage(stdout), 0;
        if (option == '?')
            return bad_usage(NULL);
    }
    if (optind < argc)
        return bad_usage("there are no arguments, only options");
    request->session.rounds = runs ? (unsigned)runs : quick ? QUICK_ROUNDS : ROUNDS;
    request->session.duration = quick ? QUICK_DURATION : DURATION;
    return -1;
}

static unsigned list(const char *only, FILE *out)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CELLS; i++) {
        if (!wanted(only, cells[i].name))
            continue;
        count++;
        if (out)
            fprintf(out, "%s\n", cells[i].name);
    }
    return count;
}

static void warn(const struct request *request, bool two)
{
    if (!two)
        fprintf(stderr, "telex-bench: one core is allowed: nothing that spins can be measured\n");
    if (request->session.busy > 0.25)
        fprintf(stderr, "telex-bench: others use %.1f cores just now: these figures are not worth keeping\n",
                request->session.busy);
}

int main(int argc, char **argv)
{
    struct request request = {0};
    int status = parse(argc, argv, &request);
    if (status >= 0)
        return status;
    if (list(request.only, request.list ? stdout : NULL) == 0)
        return bad_usage("no cell has a name that begins so; --list tells them");
    if (request.list)
        return 0;
    bool two = bench_cores(request.session.cores);
    request.session.busy = bench_busy();
    warn(&request, two);
    bench_measure_init();
    return run(&request);
}
