/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite: the same promises over every medium and wire. A case is a conversation of two real processes: the case's own, which dials,
 * and a child of it, which listens. media.c lists the media; a new one is a line there.
 */
#ifndef TELEX_TESTS_CONFORM_H
#define TELEX_TESTS_CONFORM_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "telex/telex.h"
#include "unit/testing.h"

enum conform_wires { ON_TELEX = 1, ON_LINES = 2, ON_RAW = 4, ON_MESSAGES = ON_TELEX | ON_LINES, ON_ALL = 7, NO_DESCRIPTORS = 8 };

enum conform_media {
    ANY_MEDIUM = 0,
    LOCAL_ONLY = 1, /* needs what only media of one host have: who the peer is, paths */
    NO_FAULTS = 2,  /* too much for a medium that splits and delays every byte, or about sockets themselves */
    LONG_FORM = 4,  /* not in the short form */
    PROCESSES = 16, /* the peer dies, forks, is stopped, or serves: it must be a process of its own */
    MANY_PEERS = 64, /* needs an address that can be dialed again and again; fd: has the channel that was made */
    BYTE_STREAMS = 8, /* one side writes bytes of its own making, as wire=raw can */
    WITH_DESCRIPTORS = 32, /* descriptors travel */
};

/* In the order of the table in conform.c. */
enum conform_themes {
    SENDING = 1 << 0, FULL = 1 << 1, RENDEZVOUS = 1 << 2, CALLS = 1 << 3, WAITING = 1 << 4, READINESS = 1 << 5, ENDING = 1 << 6, PASSING = 1 << 7,
    MEETING = 1 << 8, SERVING = 1 << 9, HOSTILE = 1 << 10, FLOODING = 1 << 11, NEGLECT = 1 << 12, CROWD = 1 << 13, GATHERING = 1 << 14, LANES = 1 << 15,
    EVERY_THEME = (1 << 16) - 1,
};

enum conform_pair { NO_PAIR, PAIR_OF_SOCKETS, PAIR_OF_PIPES };

struct conform_medium {
    const char *name;
    const char *address; /* printf format; its one %s is the case's private directory */
    const char *query;   /* options it always needs, "" for none */
    unsigned wires;      /* enum conform_wires; NO_DESCRIPTORS: none travel, though it is local */
    bool local, faulty;
    bool threads;        /* the peer is a thread of the case's process, not a child */
    enum conform_pair pair; /* what the case makes before it forks; `address` has two %d for a side's descriptors then */
    unsigned denied;     /* enum telex_skill that the library has to do without */
    unsigned themes;     /* enum conform_themes: those where it could differ from a medium that runs them all; in the long form it runs all, too */
};

extern const struct conform_medium conform_media[];
extern const size_t conform_medium_count;

struct conform_case {
    const char *name;
    void (*run)(void **state); /* *state: struct conform_setup */
    unsigned wires, media;
    unsigned seconds; /* 0: 20 */
};

struct conform_theme {
    const struct conform_case *cases;
    size_t count;
};

extern const struct conform_theme conform_sending, conform_full, conform_rendezvous, conform_calls, conform_waiting,
    conform_readiness, conform_ending, conform_passing, conform_meeting, conform_serving, conform_hostile,
    conform_flooding, conform_neglect, conform_crowd, conform_gathering, conform_lanes;

struct conform_setup { /* where a case runs */
    const struct conform_medium *medium;
    const char *wire;
    unsigned on; /* enum conform_wires: one of them */
};

/* Whether an outcome is always known there while the peer lives: sender and receiver decide in a word that they share. */
static inline bool decides(const struct conform_setup *setup)
{
    return !(setup->medium->wires & ON_RAW);
}

static inline bool carries_descriptors(const struct conform_medium *medium)
{
    return medium->local && !(medium->wires & NO_DESCRIPTORS);
}

/* ---- a conversation of two processes ---- */

struct talk {
    const struct conform_setup *setup;
    telex_channel *channel;
    char address[512]; /* what is dialed */
    pid_t peer;        /* in the case's process; 0: it is a thread */
    pthread_t thread;
    int out, in;       /* pipes to the other process, for steps */
};

typedef void conform_peer(struct talk *talk);

/* The address to listen at, with the medium's options, the wire and `options` ("max=1MiB&...", may be ""). */
void conform_address(const struct conform_setup *setup, const char *options, char *ret_address, size_t size);

/* The address to dial: what the listener says, with the same options. */
void conform_dialable(const char *listened_at, const char *real, char *ret_address, size_t size);

/* Starts the peer process, which listens, accepts and runs `peer` on its channel; dials it. */
void talk_begin(struct talk *talk, const struct conform_setup *setup, const char *options, conform_peer *peer);

/* Closes the channel if there still is one, and asserts that the peer ended well. */
void talk_end(struct talk *talk);

int unsent_here(void); /* bytes that this host's tcp still holds of all connections of this process */

/* Steps: one process waits for what the other one says. */
void talk_say(struct talk *talk, char word);
void talk_hear(struct talk *talk, char word);
void talk_hear_moving(struct talk *talk, char word); /* goes on moving what waits on the channel meanwhile */

/* ---- small helpers ---- */

#define SECONDS(n) telex_after((int64_t)(n)*1000000000)
#define MILLISECONDS(n) telex_after((int64_t)(n)*1000000)

/* A message of the kind that the wire carries. */
telex_message message_of(const struct talk *talk, const void *bytes, size_t length);

/* `length` printable bytes that depend on `seed`; static memory of its own for each seed modulo 4. */
const char *pattern(unsigned seed, size_t length);
void forget_patterns(void); /* a thread that ends gives them back */

/* Receives and asserts that it is pattern(seed, length). */
void expect_pattern(struct talk *talk, unsigned seed, size_t length);
void send_pattern(struct talk *talk, unsigned seed, size_t length);

void expect_text(struct talk *talk, const char *text);
void send_text(struct talk *talk, const char *text);

/* Asserts that the call gave `expected`, and says what came instead and why. */
void gives(int result, int expected, const telex_channel *channel, const char *what);
#define assert_gives(call, expected, channel) gives((call), (expected), (channel), #call)

/* Asserts that the sentence about the last failure has `part` in it. */
void because(const telex_channel *channel, const char *part);

void nap(unsigned milliseconds);
bool is_short(void);    /* the short form, for sanitizers */
bool is_evidence(void); /* the long form */

#endif
