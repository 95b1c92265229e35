/* SPDX-License-Identifier: MIT */
/* A server that echoes, in a process of its own, an honest client of it that must be served all the time, and bytes written by hand to harm it. */
#ifndef TELEX_TESTS_VICTIM_H
#define TELEX_TESTS_VICTIM_H

#include "conform/byhand.h"
#include "conform/conform.h"

struct victim {
    pid_t server;
    int in; /* from the server: why each channel ended */
    char address[512], raw[512];
    telex_channel *steady;
};

void victim_open(struct victim *victim, const struct conform_setup *setup, const char *options);
void victim_close(struct victim *victim); /* asserts that it still serves, and that it stops in order */
void victim_serves(struct victim *victim);

/* The next channel that ended there did so with `why` and a sentence that has `part` in it. */
void victim_says(struct victim *victim, int why, const char *part);
size_t resident_pages(pid_t process);

/* The same address with wire=raw instead of its wire. */
void raw_address(const char *address, char *ret_raw, size_t size);

/* Dials the victim, with wire=raw, and sends it these bytes. */
telex_channel *shout(struct victim *victim, const struct bytes *bytes);

/* The victim ends this channel; what it says before that is read. */
void expect_end(telex_channel *raw);

#endif
