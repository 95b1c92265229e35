/* SPDX-License-Identifier: MIT */
/* Messages that arrived while nobody received, in order; found by number, and the oldest of a lane at once. Guarded by link->in. */
#ifndef TELEX_CHANNEL_INBOX_H
#define TELEX_CHANNEL_INBOX_H

#include <stdbool.h>

#include "base/list.h"
#include "base/numbers.h"
#include "medium/medium.h"

struct inbox_entry {
    struct telex_node all, of_lane;
    struct telex_numbered numbered;
    telex_message message; /* owns its memory */
    uint64_t cost;
};

struct inbox_lane { /* never removed while the inbox lives */
    struct inbox_lane *next;
    unsigned lane;
    struct telex_node entries;
};

struct telex_inbox {
    struct telex_node entries;
    struct telex_numbers numbers;
    struct inbox_lane *lanes;
    uint64_t bytes;       /* what it keeps, about */
    unsigned descriptors; /* that came with them */
};

void telex_inbox_init(struct telex_inbox *inbox);
void telex_inbox_empty(struct telex_inbox *inbox); /* throws everything away */
void telex_inbox_deinit(struct telex_inbox *inbox);

/* Takes over the message, also when it fails; borrowed bytes are copied. 0 or -ENOMEM. */
int telex_inbox_add(struct telex_inbox *inbox, struct telex_arrival *arrival);

/* The first one, or the one with that number; NULL if there is none. */
struct inbox_entry *telex_inbox_first(const struct telex_inbox *inbox);
struct inbox_entry *telex_inbox_find(const struct telex_inbox *inbox, uint64_t number);

/* Takes `entry` out and frees it: its message is the caller's. */
void telex_inbox_remove(struct telex_inbox *inbox, struct inbox_entry *entry, telex_message *ret_message, uint64_t *ret_cost);

/* The number of the oldest message of the lane, 0 if there is none. */
uint64_t telex_inbox_oldest(const struct telex_inbox *inbox, unsigned lane);

#endif
