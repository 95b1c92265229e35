/* SPDX-License-Identifier: MIT */
/*
 * A server's inside. server.c makes, runs and closes it; serve.c lets peers in, hands their messages to the handlers and ends them.
 *
 * A channel is open (its handlers are called), then closing (goodbye is on its way, the program no longer knows it), then gone.
 * Channels with work that their descriptor does not show stand in the ready list, which other threads may add to (a
 * reply from a worker thread): so it has a lock; everything else belongs to the server's thread.
 */
#ifndef TELEX_SERVER_SERVER_H
#define TELEX_SERVER_SERVER_H

#include "channel/channel.h"
#include "channel/listener.h"
#include "loop/loop.h"

struct server_channel { /* found through telex_channel.server */
    struct server_channel *next, **at; /* at: what points here */
    struct server_channel *ready_next; /* [ready_lock] */
    bool is_ready;                     /* [ready_lock] */
    telex_server *server;
    telex_channel *channel;
    struct server_user *user;          /* NULL: the medium does not know it */
    bool closing, gone, told_open;
    int dropped;                       /* 0, or what its close handler is to get */
    int64_t closing_until;
};

struct server_user {
    struct telex_numbered numbered; /* uid */
    uint64_t channels;              /* open ones */
};

struct server_listener {
    struct server_listener *next;
    telex_server *server;
    telex_listener *listener;
};

struct telex_server {
    telex_handlers handlers;
    telex_server_options options;
    void *user;
    unsigned generation;
    atomic_bool busy, stopping;
    struct telex_loop loop;
    struct telex_waiter waiter;
    struct server_listener *listeners;
    struct server_channel *channels;   /* open */
    struct server_channel *leaving;    /* closing */
    struct telex_numbers users;        /* struct server_user of each uid that has channels */
    struct server_channel *graveyard;  /* freed once no event of this round can name them */
    size_t open_count, closing_count;
    uint64_t untaken;                  /* of channels that ended before all was known taken, while closing the server */
    pthread_mutex_t ready_lock;
    struct server_channel *ready, **ready_last;
    telex_message scratch;             /* its memory is reused from message to message */
};

/* One round of what is ready. How many things there were to do. */
int telex_server_round(telex_server *server);

/* Ends an open channel: its close handler is called, its goodbye begins. */
void telex_server_end(struct server_channel *at, int why, int64_t patience);

#endif
