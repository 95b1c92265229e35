/* SPDX-License-Identifier: MIT */
/* What both sides of a seeded conversation do and what their media do to them; all of it follows from the seed. */
#ifndef TELEX_TESTS_FAULT_PLAN_H
#define TELEX_TESTS_FAULT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    PLAN_STEPS = 20,
    PLAN_LANES = 3,
    PLAN_LONGEST = 200 << 10,
    PLAN_RUN = 5,           /* most messages of one send of many */
    PLAN_CALLS_DONE = 1000, /* id, plus lane: this side will call no more */
    PLAN_END = 1010,        /* id, plus lane: nothing follows on this lane */
    PLAN_REPLY = 2000,      /* id, plus that of the request */
};

enum plan_kind { PLAN_SEND, PLAN_SEND_MORE, PLAN_SEND_SYNC, PLAN_SEND_MANY, PLAN_CALL, PLAN_CALL_LATER, PLAN_FLUSH, PLAN_PROCESS, PLAN_KINDS };

struct plan_step {
    enum plan_kind kind;
    unsigned id;       /* of its first message; they go on from there */
    unsigned count;    /* of messages */
    unsigned lane;
    size_t length;     /* of the first one; the others are half of the one before */
    int64_t patience;  /* ns until its deadline; 0: TELEX_NOW */
    unsigned receives; /* so many tries to receive after it */
};

struct plan_side {
    char faults[96], options[96];
    bool breaks;          /* its medium cuts or kills, perhaps */
    bool threads;         /* one thread sends, another one receives */
    bool by_descriptor;   /* receives when telex_fd() says so */
    unsigned receives;    /* most messages that it takes at a time */
    unsigned step_count;
    struct plan_step steps[PLAN_STEPS];
};

struct plan {
    uint64_t seed;
    const char *scheme; /* of its medium */
    struct plan_side sides[2]; /* who dials, who listens */
};

enum plan_answer { PLAN_ANSWER, PLAN_ANSWER_SYNC, PLAN_FAIL };

void plan_make(uint64_t seed, struct plan *ret_plan);
void plan_print(const struct plan *plan, FILE *to);

/* How `side` answers the request `id`, and how long the answer is. */
enum plan_answer plan_answer_to(const struct plan *plan, unsigned side, unsigned id, size_t *ret_length);

/* The bytes of the message `id` of `side`; PLAN_LONGEST of them at least, static. */
const uint8_t *plan_bytes(unsigned side, unsigned id);

#endif
