/* SPDX-License-Identifier: MIT */
/* Standard input goes out message by message, while what arrives is printed or thrown away: send and talk. */
#ifndef TELEX_TOOL_EXCHANGE_H
#define TELEX_TOOL_EXCHANGE_H

#include <pthread.h>

#include "common.h"

/* Besides enum tool_status, for the functions below. */
enum {
    EXCHANGE_CLOSED = -1,  /* the peer closed in order; nothing was said about it */
    EXCHANGE_STOPPED = -2, /* a signal asked to stop */
};

struct tool_exchange { /* set by the user of these functions: */
    const struct tool_options *options;
    telex_channel *channel;
    int stop;    /* of tool_catch_signals(), or -1 */
    bool prints; /* what arrives; else it is thrown away */
    bool whole;  /* each read of standard input is a message; else each line is */
    struct tool_input input;
    int64_t patience; /* how long one message may take unless --deadline says otherwise */
    /* and by them: */
    uint64_t sent;
    pthread_t receiver;
    bool receiving;    /* the receiver is to be joined */
    int quit, over;    /* events: it should end; it has ended */
    int error, status; /* the receiver's, for after the join: why there is nothing more to receive, or to print */
    bool fault;        /* what failed is here, a message that cannot be said, standard input or output: the peer lives, and waits */
};

/* Begins to receive, in a thread of its own. TOOL_OK, or a status after saying why. */
int tool_exchange_begin(struct tool_exchange *exchange);

/* Sends one message. */
int tool_exchange_send(struct tool_exchange *exchange, const void *data, size_t length, bool more_follows);

/* Sends what standard input holds until it ends. */
int tool_exchange_send_input(struct tool_exchange *exchange);

/* Goes on receiving until `deadline`, which ends it with TOOL_DEADLINE, without a word. */
int tool_exchange_receive(struct tool_exchange *exchange, telex_time deadline);

/*
 * Closes the channel; says how many messages are not known to be taken. Returns the status to exit with: `status` if
 * that is not TOOL_OK.
 */
int tool_exchange_close(struct tool_exchange *exchange, int status);

#endif
