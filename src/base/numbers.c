/* SPDX-License-Identifier: MIT */
#include "base/numbers.h"

#include <stdlib.h>

static struct telex_numbered **bucket_of(const struct telex_numbers *numbers, uint64_t number)
{
    if (numbers->buckets == NULL)
        return (struct telex_numbered **)&numbers->few[number % TELEX_NUMBERS_FEW];
    return &numbers->buckets[number & (numbers->size - 1)]; /* numbers that follow each other spread evenly */
}

static void grow(struct telex_numbers *numbers)
{
    size_t size = numbers->buckets != NULL ? 2 * numbers->size : 4 * TELEX_NUMBERS_FEW;
    struct telex_numbers grown = {.buckets = calloc(size, sizeof *grown.buckets), .size = size, .count = numbers->count};
    if (grown.buckets == NULL)
        return;
    struct telex_numbered **from = numbers->buckets != NULL ? numbers->buckets : numbers->few;
    for (size_t left = numbers->buckets != NULL ? numbers->size : TELEX_NUMBERS_FEW; left > 0; left--, from++)
        for (struct telex_numbered *node = *from, *next; node != NULL; node = next) {
            next = node->chain;
            struct telex_numbered **to = bucket_of(&grown, node->number);
            node->chain = *to;
            *to = node;
        }
    free(numbers->buckets);
    *numbers = grown;
}

void telex_numbers_add(struct telex_numbers *numbers, struct telex_numbered *node)
{
    if (numbers->count >= (numbers->buckets != NULL ? numbers->size : TELEX_NUMBERS_FEW))
        grow(numbers);
    struct telex_numbered **at = bucket_of(numbers, node->number);
    node->chain = *at;
    *at = node;
    numbers->count++;
}

struct telex_numbered *telex_numbers_find(const struct telex_numbers *numbers, uint64_t number)
{
    if (numbers->count == 0)
        return NULL;
    struct telex_numbered *node = *bucket_of(numbers, number);
    while (node != NULL && node->number != number)
        node = node->chain;
    return node;
}

void telex_numbers_remove(struct telex_numbers *numbers, struct telex_numbered *node)
{
    struct telex_numbered **at = bucket_of(numbers, node->number);
    while (*at != node)
        at = &(*at)->chain;
    *at = node->chain;
    numbers->count--;
}

void telex_numbers_deinit(struct telex_numbers *numbers)
{
    free(numbers->buckets);
    *numbers = (struct telex_numbers){0};
}
