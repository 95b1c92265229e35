/* SPDX-License-Identifier: MIT */
/* The victim of the attacks on words: worker_run() in a process of its own, until SIGTERM. */
#ifndef TELEX_TESTS_WORKER_H
#define TELEX_TESTS_WORKER_H

#include "hostile/hostile.h"

struct worker_side {
    const char *path, *options;
    bool listens;
    bool copies; /* by its options nothing is received in place */
    int out;     /* a byte when it is ready, then a struct told for each channel */
    uint64_t seed;
    unsigned life; /* of a channel, ms; 0: 3000 */
};

void worker_run(void *with);

#endif
