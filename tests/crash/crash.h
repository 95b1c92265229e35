/* SPDX-License-Identifier: MIT */
/*
 * Death at every instruction. One process, the victim, goes through calls of the library while the test steps it by ptrace; the test itself is its peer. What
 * a SIGKILL would leave of the victim after an instruction is what the peer can see: the victim's memory, the page of decisions, what lies in the socket. So
 * after each instruction at which any of this has changed, the test makes a copy of itself (clone), which gets private copies of all of it in the same places,
 * a socket with the same bytes and then the end, and goes on, by the library's own code, from where the test just was: it must hear all that was sent and nothing
 * else, end in time, and leave nothing.
 *
 * While the test sleeps in a call, that is, in ppoll() or recv(), which crash.c defines for the library, the victim is stepped from within these. So the copy
 * wakes up inside the call, as a peer does.
 */
#ifndef TELEX_TESTS_CRASH_H
#define TELEX_TESTS_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "telex/telex.h"
#include "unit/testing.h"

#define SECONDS(n) telex_after((int64_t)(n) * 1000000000)

enum {
    LONGEST = 12000, /* bytes of a message */
    HELD = 2,        /* received messages that each side keeps */
    SURVIVORS = 2,   /* copies that run at a time */
    PATIENCE = 10,   /* seconds that a copy may take in all; it needs a thousandth */
};

struct plan { /* what both sides do */
    const char *name;
    void (*victim)(telex_channel *channel);
    void (*survivor)(telex_channel *channel);
    const char *options;
    uint32_t least, most; /* bytes of the victim's messages */
    uint32_t times;       /* as many instructions, and conversations; 0: 1 */
    uint32_t warm;        /* calls before the first one that is stepped, at least */
    unsigned flags;       /* of its sends */
    bool loans, calls;
    bool floods;      /* before it closes: more than the ring takes */
    bool descriptors; /* every other message of the victim has one */
    bool attaches;    /* the victim is stepped from the moment on when it waits for the answer to its greeting */
};

struct board { /* what the victim says of itself, in memory that all of them share; it is stopped whenever another one reads */
    bool steps;       /* the instructions that follow count */
    bool closing;     /* it has begun to close */
    uint32_t started; /* messages that it has begun to send */
    uint32_t sure;    /* the first so many lie in shared memory or were taken */
    uint32_t taking;  /* messages that it has begun to take */
    char why[256];    /* the first failure of anybody */
};

/* ---- crash.c ---- */

const char *crash_address(void);
bool crash_is_evidence(void);
void crash_begin(const struct plan *what);
extern struct totals { /* of all cases, in memory that their processes share */
    uint64_t instructions, states, stops, kills;
} *crash_totals;
void crash_note(const char *format, ...) __attribute__((format(printf, 1, 2))); /* for the long form's report */
void crash_end(void); /* asserts that nobody failed */

/* ---- words.c: messages that tell a whole one from a torn one ---- */

void crash_fill(uint8_t *bytes, uint32_t number, uint32_t length);
bool crash_is(const telex_message *message, uint32_t number); /* else says why not */
uint32_t crash_random(void);

/* Notes the first failure; returns false. */
bool crash_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- victim.c: what is stepped ---- */

void victim_attached(void); /* the end of what is stepped while it attaches */
void victim_warms_up(uint32_t calls); /* before the first one that is stepped */
void victim_sends(telex_channel *channel);
void victim_receives(telex_channel *channel); /* and answers */
void victim_does_both(telex_channel *channel);
void victim_closes(telex_channel *channel);
void victim_chats(telex_channel *channel); /* not stepped */

/* ---- survivor.c: what goes on ---- */

void survivor_receives(telex_channel *channel); /* and answers */
void survivor_dawdles(telex_channel *channel);
void survivor_peeks(telex_channel *channel);
void survivor_sends(telex_channel *channel);
void survivor_syncs(telex_channel *channel);
void survivor_calls(telex_channel *channel);
void survivor_closes(telex_channel *channel);
void survivor_does_both(telex_channel *channel);
void survivor_chats(telex_channel *channel);

struct remains { /* what must be gone after the end */
    int fds, socket, death;
    void *own, *theirs;
};
extern struct survivor { /* of this process, and, copied, of each copy */
    uint32_t heard, spoken;
    bool closed, hasty;
    pid_t killed;           /* in the test: whom a real SIGKILL awaits */
    unsigned variant;       /* the order in which it goes on */
    struct board at_death;
    struct remains remains;
    telex_message held[HELD];
} survivor;

/* Everything after the death: the channel is closed afterwards. false: something was wrong. */
bool survive(telex_channel *channel);
int crash_count_open(void);

/* ---- step.c: the tracer ---- */

extern struct board *board;
extern const struct plan *plan;
extern uint64_t crash_instructions, crash_states;
extern bool crash_is_copy; /* in a copy: the victim is dead */
extern bool crash_is_over; /* in the test: the victim has ended */

enum advance { CRASH_STEPPED, CRASH_SLEEPS, CRASH_OVER };

void duel_stand_ready(void); /* in the victim: stops until duel_meet() */
void duel_meet(pid_t victim);
void duel_let_greet(pid_t victim); /* lets it go on until it sleeps, and stops it there */
void duel_begin(pid_t victim, telex_channel *channel); /* it has stopped */
enum advance duel_advance(void); /* one instruction of the victim; in a copy, too, it returns CRASH_OVER */
bool duel_runs(void);
void duel_end(void); /* kills the victim if it still is there, and waits for all copies */
void duel_limit(uint64_t instructions);

/* ---- attach.c: death before and after each system call of an attachment ---- */

void crash_dials(void **state);
void crash_accepts(void **state);

/* ---- killed.c: real kills, at random moments, under load ---- */

void crash_killed_dialers(void **state);
void crash_killed_listeners(void **state);

#endif
