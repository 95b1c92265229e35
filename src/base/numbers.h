/* SPDX-License-Identifier: MIT */
/*
 * A table of things by number: calls, requests, messages that wait. The node stands in the thing itself; the table owns only its buckets, the
 * first few of which lie in it, so that whoever has few things at a time needs no memory.
 */
#ifndef TELEX_BASE_NUMBERS_H
#define TELEX_BASE_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

struct telex_numbered {
    struct telex_numbered *chain;
    uint64_t number;
};

enum { TELEX_NUMBERS_FEW = 4 };

struct telex_numbers { /* all zero: empty */
    struct telex_numbered **buckets; /* NULL: `few` */
    size_t size, count;              /* size: a power of two, of `buckets` */
    struct telex_numbered *few[TELEX_NUMBERS_FEW];
};

/* Adds a node whose number is set and not in the table. It cannot fail: without memory for more buckets the chains grow longer. */
void telex_numbers_add(struct telex_numbers *numbers, struct telex_numbered *node);

/* The node with that number, or NULL. */
struct telex_numbered *telex_numbers_find(const struct telex_numbers *numbers, uint64_t number);

/* Takes out a node that is in the table. */
void telex_numbers_remove(struct telex_numbers *numbers, struct telex_numbered *node);

/* Gives back the buckets; what is in the table is its owner's. */
void telex_numbers_deinit(struct telex_numbers *numbers);

#endif
