/* SPDX-License-Identifier: MIT */
/* What both sides wrote down of a conversation: shared memory, so that it outlives a side that is killed. */
#ifndef TELEX_TESTS_FAULT_LOG_H
#define TELEX_TESTS_FAULT_LOG_H

#include <stdatomic.h>

#include "fault/plan.h"

enum { LOG_MESSAGES = 256, LOG_DECISIONS = 512, LOG_TRYING = -1000 };

struct log_sent { /* a message that a side sent, or tried to */
    unsigned id, lane;
    bool sync, call, reply;
    int result;          /* LOG_TRYING: the call has not returned; 1: the call failed at the other side, as planned */
    int outcome, at_end; /* of synchronous ones that were not taken in time: telex_outcome() at once, and before the close; -1: not asked */
    uint64_t number;     /* 0: it was given none */
};

struct log_received {
    unsigned id, lane;
    uint64_t number;
    bool reply;
};

struct log_side {
    struct log_sent sent[LOG_MESSAGES];
    struct log_received received[LOG_MESSAGES];
    atomic_uint sent_count, received_count;
    atomic_uint taking[2];    /* so many messages more may have been taken than are written down: a call that receives, that waits for a reply, is under way */
    bool open, closed;        /* it had a channel; and closed it */
    bool to_the_end;          /* all was said and heard */
    int ended;                /* why not */
    int close_result;
    uint64_t untaken, counted_sent; /* by close, by telex_counters_of() before it */
    atomic_uint decided[2];   /* decisions of its fault medium, about reads and writes */
    uint64_t decisions[2][LOG_DECISIONS];
    char fault[256];          /* what this side found wrong itself; "" nothing */
};

struct log {
    char address[256];
    atomic_bool nobody_dials; /* who dials has given up or is dead */
    struct log_side sides[2];
};

/* Runs one side, in a process of its own; it writes to `ready` when it can be dialed, or reads it until the other one can be. */
void side_run(const struct plan *plan, unsigned me, struct log *log, int ready);

/* Whether what is written down is consistent: NULL, or what is wrong (static memory). `killed`: the side was. */
const char *judge(const struct plan *plan, const struct log *log, const bool *killed);

#endif
