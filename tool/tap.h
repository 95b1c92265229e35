/* SPDX-License-Identifier: MIT */
/*
 * telex tap: what stands between a peer and an address. tap.c has the connections; tap_bytes.c passes bytes on as they are, while
 * tap_wire.c makes out the messages in them; tap_messages.c receives each message and sends it again, where there are no bytes to pass
 * on (shared memory) or the two sides differ; tap_log.c writes down what passes.
 *
 * A connection has two ways, each with a thread: that way's receiving on the side it comes from, and sending on the side it goes to.
 */
#ifndef TELEX_TOOL_TAP_H
#define TELEX_TOOL_TAP_H

#include <pthread.h>
#include <stdatomic.h>

#include "common.h"

/* The ways, and the sides that they come from. */
enum { TAP_TO = 0, TAP_FROM = 1, TAP_WAYS = 2 };

/* Most bytes of a message that are written down. */
enum { TAP_SHOWN_MOST = 65536 };

enum tap_what {
    TAP_OPEN,      /* a peer has come, and ADDRESS was dialled */
    TAP_HELLO,     /* who is on the side where this way begins */
    TAP_MESSAGE,
    TAP_CALL,
    TAP_REPLY,
    TAP_FAIL,      /* the answer to a call that failed */
    TAP_CANCEL,    /* nobody waits for the reply to `request` any more */
    TAP_TAKEN,     /* the synchronous message `number` of the other way was taken */
    TAP_WITHDRAWN, /* it never will be */
    TAP_BYTES,     /* wire=raw, or bytes that are no messages */
    TAP_GOODBYE,
    TAP_END,       /* nothing more comes this way; `sentence` tells why, if that was not in order */
    TAP_CLOSE,     /* the connection is over */
    TAP_WHATS
};

struct tap_event {
    enum tap_what what;
    int way;             /* TAP_TO, TAP_FROM; -1: neither */
    telex_message message; /* data: its first `shown` bytes */
    size_t shown;
    bool sync;
    uint32_t code;       /* of TAP_FAIL and TAP_GOODBYE */
    const char *sentence; /* NULL: none */
    const char *program; /* of TAP_HELLO, NULL: not known; of TAP_OPEN: where the peer is */
    int64_t pid;         /* of TAP_HELLO; -1: not known */
};

struct tap;
struct tap_connection;

/* What one way's thread has in hand. */
struct tap_way {
    struct tap_connection *connection;
    int way;
    telex_channel *from, *to;
    int wake;               /* an eventfd: look again */
    pthread_mutex_t sending; /* of tap_messages.c: who is in a sending call on `to` */
    atomic_bool ended;      /* nothing more comes: its peer has ended its direction in order */
    struct tap_calls *calls; /* of tap_messages.c */
    struct tap_wire *wire;  /* of tap_bytes.c */
};

struct tap_connection {
    struct tap *tap;
    struct tap_connection *next, **at;
    unsigned number;
    telex_channel *channels[TAP_WAYS]; /* TAP_TO: the peer that came; TAP_FROM: ADDRESS */
    struct tap_way ways[TAP_WAYS];
    atomic_bool over;      /* both ways end at once */
    atomic_bool broken;    /* not in order */
    _Atomic(int64_t) quiet_until; /* one way has ended, and its wire has no goodbye: when the other one counts as ended, too */
    pthread_t thread;
};

enum tap_wire_kind { TAP_WIRE_TELEX, TAP_WIRE_LINES, TAP_WIRE_RAW };

struct tap {
    const struct tool_options *options;
    const char *address; /* as dialled: bytes with wire=raw */
    const char *shown;   /* as the user said it */
    bool bytes;          /* pass bytes as they are */
    enum tap_wire_kind wire;
    int stop;
    pthread_mutex_t lock; /* of the list and the output */
    pthread_cond_t gone;  /* a connection has */
    struct tap_connection *connections;
    unsigned count, number;
    bool stopping;
    atomic_int status; /* not TOOL_OK: it cannot go on, and ends with this */
};

/* tap_log.c: writes one event down. Any thread. */
void tap_log(struct tap_connection *connection, const struct tap_event *event);

/* tap.c: the whole tap ends, with `status`. Whether nobody asked for that before; then the caller says why. Any thread. */
bool tap_give_up(struct tap *tap, int status);

/* tap.c: both ways end, at once; a reason other than an end in order makes it `broken`. */
void tap_end(struct tap_connection *connection, bool broken);

/*
 * tap.c: nobody is left to send to on this way. What that side has still said, its goodbye and what it took among it, has to be passed on before
 * the connection ends: the other way ends it.
 */
void tap_gone(struct tap_way *way);

/* tap.c: sleeps until something came on the way, it was woken, or `deadline`. */
void tap_wait(struct tap_way *way, telex_time deadline);
void tap_wake(struct tap_way *way);

static inline struct tap_way *tap_other(struct tap_way *way)
{
    return &way->connection->ways[1 - way->way];
}

/* tap_bytes.c, tap_messages.c: the threads' work. prepare: TOOL_OK, or a status. */
int tap_bytes_prepare(struct tap_connection *connection);
void tap_bytes_pass(struct tap_way *way);
void tap_bytes_free(struct tap_connection *connection);
int tap_messages_prepare(struct tap_connection *connection);
void tap_messages_pass(struct tap_way *way);
void tap_messages_free(struct tap_connection *connection);

/* tap_wire.c: makes out messages in the bytes of one way. */
struct tap_wire *tap_wire_new(struct tap_way *way, enum tap_wire_kind kind);

/*
 * Looks at `length` bytes that came, and logs what they tell. What is to be passed on now is at *ret_data: of a greeting nothing before it is
 * whole, and then without the offer to take descriptors, which do not pass.
 */
size_t tap_wire_look(struct tap_wire *wire, const void *data, size_t length, const void **ret_data);

/* What was held back of a greeting, when no more comes. */
size_t tap_wire_rest(struct tap_wire *wire, const void **ret_data);

/* Whether this way said goodbye, or its wire has no goodbyes. */
bool tap_wire_said_goodbye(const struct tap_wire *wire);

/* Nothing more comes: what is unfinished is told. */
void tap_wire_end(struct tap_wire *wire);
void tap_wire_free(struct tap_wire *wire);

#endif
