/* SPDX-License-Identifier: MIT */
/*
 * The helper: the one thread of this library in a process, there as long as a channel is that asked for it (flush=helper). It moves what waits on such channels,
 * so that a burst of small messages leaves gathered and none of them gets old.
 *
 * Sender and helper. A put that leaves something waiting raises link->wants_helper; the sender then, without a lock of the link, calls the helper,
 * which looks at the channel every TICK until nothing waits and nothing comes any more. While a sender fills and writes whole buffers by
 * itself, the helper only sees that it does (link->pushes), and takes no lock.
 *
 * Order of locks: the helper's mutex before those of a link. Who calls it, joins or leaves holds none of a link.
 */
#ifndef TELEX_CHANNEL_HELPER_H
#define TELEX_CHANNEL_HELPER_H

#include <stdbool.h>

#include "base/list.h"

struct telex_channel;

struct telex_helped { /* what the helper knows of a channel; guarded by its mutex */
    struct telex_node node; /* in the list of those at which it works */
    bool joined, working;
    unsigned pushes;        /* of link->pushes, at the last look */
    uint32_t watched;       /* what its epoll watches the link for: the medium takes no more now */
};

/* Starts the thread if there is none. 0, -EAGAIN, -ENOMEM, -EMFILE with a sentence. */
int telex_helper_join(struct telex_channel *channel);

/* Forgets the channel; with the last one the thread ends, and this waits for it. Fine also for one that never joined. */
void telex_helper_leave(struct telex_channel *channel);

/* Something waits on the channel. */
void telex_helper_call(struct telex_channel *channel);

#endif
