/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the benchmark share. A cell (main.c) is a question, asked to several contenders side by side; a
 * contender (raw.c, ring.c, telex_pair.c, and NAME_pair.c for each peer) is one way to carry messages between two
 * processes; a run (measure.c) is one contender in fresh processes for a fraction of a second; a round is one run of
 * each contender, one right after the other.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { BENCH_CONTENDERS = 9, BENCH_RATIOS = 9, BENCH_RUNS = 99, BENCH_ADDRESS = 128, BENCH_ERROR = 256 };

/* The first byte of every message; the last one of a run says that it is, so that the other side knows. */
enum { BENCH_LAST = 0, BENCH_GO = 1 };

/* ---- contenders ------------------------------------------------------------------------------------------ */

/*
 * One way to carry messages. Each function runs in a process of its own side, made for the run, and ends it by
 * bench_fail() when anything goes wrong. An end is the contender's own: what it needs of one side of the conversation.
 */
struct bench_contender {
    const char *name;  /* in tables and in --json */
    const char *shows; /* what it is, in a sentence */
    int variant;       /* tells contenders apart that share their functions */

    /* The passive side: tells in `address` what to dial; then waits for the other. NULL: not built. */
    void *(*listen)(const struct bench_contender *contender, const char *medium, size_t size,
                    char address[BENCH_ADDRESS]);
    void (*accept)(void *end);
    /* The active side. */
    void *(*dial)(const struct bench_contender *contender, const char *medium, size_t size, const char *address);

    void (*send)(void *end, const void *data, size_t size);
    /* A whole message of `size` bytes, in place; good until the next one. */
    const unsigned char *(*receive)(void *end, size_t size);

    /* Ask and answer; NULL: by send and receive. answer() returns the message that it answered. */
    void (*exchange)(void *end, const void *data, size_t size);
    /* The same, where only a part of it is to be measured: returns how long that took, ns. */
    int64_t (*part)(void *end, const void *data, size_t size);
    const unsigned char *(*answer)(void *end, size_t size);

    /* One way. Counts all messages until finish() is called on the other side; NULL: by receive, until the last one. */
    uint64_t (*drain)(void *end, size_t size);
    /* After a side's last send: sees to it that all goes out, though the program does something else. NULL: it does. */
    void (*finish)(void *end);

    void (*close)(void *end);
};

extern const struct bench_contender bench_raw_blocking, bench_raw_busy, bench_raw_each, bench_raw_packed;
extern const struct bench_contender bench_ring, bench_ring_batch, bench_ring_rarely, bench_futex, bench_copy;
extern const struct bench_contender bench_telex_block, bench_telex_adaptive, bench_telex_spin;
extern const struct bench_contender bench_telex_helper, bench_telex_run, bench_telex_many, bench_telex_beside, bench_telex_behind;
extern const struct bench_contender bench_telex_few_call, bench_telex_few_helper;
extern const struct bench_contender bench_telex_more, bench_telex_loan, bench_telex_small;
extern const struct bench_contender bench_telex_call_block, bench_telex_call_adaptive, bench_telex_call_spin;
extern const struct bench_contender bench_zmq_pair, bench_zmq_request, bench_zmq_push;
extern const struct bench_contender bench_nanomsg_pair;
extern const struct bench_contender bench_nng_pair, bench_nng_request;
extern const struct bench_contender bench_ucx, bench_iceoryx, bench_iceoryx_block;

/* Ends this process; the run has failed for the reason given. */
_Noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Two pipes, one each way: made by the passive side, opened by both, which wait for each other there. ret_fds[0] is to be read, ret_fds[1] to be
 * written.
 */
void bench_fifos_make(char address[BENCH_ADDRESS]);
void bench_fifos_open(const char *address, bool active, int ret_fds[2]);

/* A name that is this run's own, for sockets in the abstract namespace: nothing stays behind. */
const char *bench_unique(void);

/* ---- measuring ------------------------------------------------------------------------------------------- */

enum bench_shape {
    BENCH_TRIP,    /* one pair, one core each: there and back again, one at a time */
    BENCH_LOOSE,   /* the same, wherever the kernel puts them */
    BENCH_PAIRS,   /* two such pairs at once, wherever the kernel puts them */
    BENCH_ONE_WAY, /* one pair, one core each: as many as will go, in one direction */
    BENCH_LOOSE_WAY, /* the same, wherever the kernel puts them */
};

enum bench_tag { BENCH_NEAR, BENCH_FAR, BENCH_MIXED };

enum bench_figure { BENCH_P50, BENCH_P99, BENCH_MEAN, BENCH_MESSAGES, BENCH_BYTES, BENCH_FIGURES };

struct bench_run {
    bool failed;
    double probe[2];              /* directly before and after it */
    enum bench_tag tag;           /* by these */
    uint64_t count;               /* of round trips or messages */
    double figure[BENCH_FIGURES]; /* ns a round trip, or a second; those that the shape does not have are 0 */
};

struct bench_job {
    const struct bench_contender *contender;
    enum bench_shape shape;
    const char *medium;
    size_t size;
    int64_t duration; /* ns */
    const int *cores; /* the two to use */
};

/* Maps what the processes of a run share. Once, before all else. */
void bench_measure_init(void);

/* Whether it is measured how many go in one direction. */
bool bench_is_one_way(enum bench_shape shape);

/* Whether each process of the shape has a core of its own. */
bool bench_pinned(enum bench_shape shape);

/* One run in fresh processes. A failure is told on stderr. */
void bench_measure(const struct bench_job *job, struct bench_run *ret_run);

int64_t bench_now(void);
void bench_pin(int core);
bool bench_cores(int cores[2]); /* the first two allowed ones; false: there is one only */
double bench_busy(void);        /* how many cores are in use by others just now; takes half a second */

/* ns that a cache line takes from one core to the other and back: 12 ms of ping-pong (probe.c); 0: it did not work. */
double bench_probe(const int cores[2]);
enum bench_tag bench_tag_of(double before, double after);

/* ---- cells and what came of them ------------------------------------------------------------------------- */

struct bench_ratio {
    const struct bench_contender *of, *to;
    enum bench_figure figure;
    bool least;      /* the bound is the least that is good enough; else the most */
    double bound[2]; /* while the cores are near, and far, if it is another one then; 0: none, told for comparison */
};

struct bench_cell {
    const char *name;
    enum bench_shape shape;
    const char *medium;
    size_t size;
    const struct bench_contender *contenders[BENCH_CONTENDERS + 1]; /* up to NULL */
    struct bench_ratio ratios[BENCH_RATIOS + 1];                    /* up to one without `of` */
};

struct bench_span {
    double median, least, greatest;
    unsigned count; /* of what it was made; 0: there is none */
};

struct bench_result {
    const struct bench_cell *cell;
    unsigned rounds;
    struct bench_run runs[BENCH_CONTENDERS][BENCH_RUNS];
};

/* Over the runs that succeeded. */
struct bench_span bench_span_of(const struct bench_result *result, unsigned contender, enum bench_figure figure);

/* What a ratio came to, and what was wanted. */
struct bench_finding {
    struct bench_span is;
    double bound;
    enum bench_tag tag; /* the state of the cores in which it is so; mixed: in either, since the bound is the same */
};

enum { BENCH_FINDINGS = 2 };

/*
 * Each run of the one is held against that run of the other which is nearest in time and had the cores in the same
 * state. A run during which the cores moved does not count. Returns how many findings there are: two where the bound
 * depends on the state of the cores, and both states were met; else one.
 */
unsigned bench_find(const struct bench_result *result, const struct bench_ratio *ratio,
                    struct bench_finding ret_findings[BENCH_FINDINGS]);

bool bench_holds(const struct bench_ratio *ratio, const struct bench_finding *finding);

/* ---- telling --------------------------------------------------------------------------------------------- */

struct bench_session {
    unsigned rounds;
    int64_t duration;
    int cores[2];
    double busy; /* cores that others used, before we began */
};

/* Of the bounds. */
struct bench_score {
    unsigned held, missed, unmeasured;
};

void bench_table_begin(FILE *out, const struct bench_session *session);
void bench_table_cell(FILE *out, const struct bench_result *result);
void bench_table_end(FILE *out, const struct bench_score *score);

void bench_json_begin(FILE *out, const struct bench_session *session);
void bench_json_cell(FILE *out, const struct bench_result *result, bool first);
void bench_json_end(FILE *out, const struct bench_score *score);

#endif
