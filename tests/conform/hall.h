/* SPDX-License-Identifier: MIT */
/* A server in a process of its own (or a thread, where the medium knows no others), and its clients, which are the case. */
#ifndef TELEX_TESTS_HALL_H
#define TELEX_TESTS_HALL_H

#include "conform/conform.h"

struct hall {
    pid_t server; /* 0: it is a thread */
    pthread_t thread;
    bool stopped;
    int out, in; /* to and from the server's process */
    char addresses[2][512];
};

struct hall_side {
    const struct conform_setup *setup;
    const char *options;
    telex_handlers handlers;
    telex_server_options limits;
    int out, in;
    bool foreign_loop;
    unsigned files; /* most descriptors that the server's process may open; 0: as many as ever */
};

void hall_open(struct hall *hall, struct hall_side given);
void hall_stop(struct hall *hall);
void hall_close(struct hall *hall);

/* The case hears the word that a handler says. */
void said(struct hall *hall, char word);
void say(char word); /* in a handler */

/* A client of the hall at its address 0 (the medium's) or 1 (tcp). */
telex_channel *enter(struct hall *hall, int address);

/* Calls, and asserts that the reply is the same text; and the handler that answers so. */
void echoes(telex_channel *channel, const char *text);
void echo_call(telex_server *server, telex_channel *channel, telex_message *request, void *user);

/* Of the processor, used by the process so far. */
unsigned long ticks_of(pid_t process);

#endif
