/* SPDX-License-Identifier: MIT */
/*
 * The hostile suite: peers of shared memory that lie with every word that they may write, flood the bell, are stopped or die with their socket in other
 * hands. The victims use the library; the attackers (attacker.h) do not.
 */
#ifndef TELEX_TESTS_HOSTILE_H
#define TELEX_TESTS_HOSTILE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hostile/attacker.h"
#include "telex/telex.h"
#include "unit/testing.h"

#define SECONDS(n) telex_after((int64_t)(n)*1000000000)
#define MILLISECONDS(n) telex_after((int64_t)(n)*1000000)

/* options may be "". */
void shm_address(const char *path, const char *options, char *ret_address, size_t size);

/* ---- a server that echoes calls, in a process of its own, and an honest client of it ---- */

struct host {
    pid_t server;
    int in; /* from the server: why each channel ended */
    char path[200], address[400];
    telex_channel *steady;
    size_t descriptors, mappings; /* before anybody attacks */
};

void host_open(struct host *host, const char *options);
void host_close(struct host *host);  /* asserts that it still serves, and that it stops in order */
void host_serves(struct host *host); /* the honest client gets its answer */
void host_forgets(struct host *host); /* what attackers brought is gone: descriptors, mappings */

/* The next channel that ended there did so with one of two errors (0: any) and a sentence that has `part` in it (NULL: any, but not none). */
void host_says(struct host *host, int why, const char *part);

/* ---- victims in processes of their own tell how it went ---- */

struct told { /* of one channel */
    int result;        /* what ended it */
    int64_t late_ns;   /* the worst: how long after its deadline a call returned */
    int64_t until;     /* when it ends at the latest */
    uint64_t calls, received;
    char late_call[16], last_call[16]; /* the latest one; the one that saw the end */
    char wrong[64];    /* what must not have happened; "" */
    char sentence[256];
};

void hear_told(int in, struct told *ret_told);
void tell(int out, const struct told *told);

/* How late a call may be: a guard against hanging, no more. */
int64_t slack_ns(void);

unsigned slow(void);      /* how many times longer things take under sanitizers */
/* How long to attack words at random: TELEX_ATTACK_SECONDS; else under the address sanitizer 10, an hour with TELEX_EVIDENCE; else 4, a minute. */
double attack_seconds(void);

struct theme {
    const struct testing_case *cases;
    size_t count;
};

extern const struct theme hostile_attach, hostile_lies, hostile_words, hostile_floods, hostile_dying;

#endif
