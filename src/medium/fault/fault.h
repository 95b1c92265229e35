/* SPDX-License-Identifier: MIT */
/* What tests may watch of the fault medium: its decisions. */
#ifndef TELEX_MEDIUM_FAULT_FAULT_H
#define TELEX_MEDIUM_FAULT_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What chance says about read or write number `number` (from 0) of a stream. Three numbers are drawn for each, whatever is asked for and whatever is used of
 * them: so the decision about the n-th one follows from the seed alone, not from how much was there or how often somebody looked.
 */
struct telex_fault_decision {
    bool writes;
    uint64_t number;
    unsigned again, shortened; /* 0 to 99: the fault happens if its percentage is higher */
    uint64_t length;           /* a shortened one moves 1 + length % what it could */
};

/* Called with each decision, if a test has set it; before the first stream is opened. */
extern void (*telex_fault_watch)(const struct telex_fault_decision *decision);

#endif
