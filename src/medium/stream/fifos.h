/* SPDX-License-Identifier: MIT */
/* Where pipe:// has its FIFOs: the listener's, and next to it those of clients until both sides have them open. */
#ifndef TELEX_MEDIUM_STREAM_FIFOS_H
#define TELEX_MEDIUM_STREAM_FIFOS_H

#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>

#include "medium/address.h"
#include "medium/stream/hello.h"

enum telex_fifo {
    TELEX_FIFO_UP,   /* from the client to the listener */
    TELEX_FIFO_DOWN, /* from the listener to the client */
    TELEX_FIFO_NEW,  /* a listener's own, before it has its name */
};

struct telex_fifos { /* a listener's place */
    int directory;   /* owned */
    char name[NAME_MAX + 1];
};

/* Opens the directory of PATH. 0, -EINVAL, -ENOENT, ...; with a sentence. */
int telex_fifos_open(const struct telex_address *address, struct telex_fifos *ret_fifos);
void telex_fifos_close(struct telex_fifos *fifos);

/* The name of a FIFO with that token: names are put together here, no other one is ever opened. */
void telex_fifo_name(const struct telex_fifos *fifos, const char *token, enum telex_fifo which, char ret_name[NAME_MAX + 1]);

/*
 * Opens a FIFO of the directory without waiting and without following links: an owned descriptor, *ret_facts what the kernel says of it. -ENXIO: `flags` is O_WRONLY, and
 * nobody reads. -EPERM: it is none that the process's user alone can use (root: any one user), or no FIFO at all. No sentence.
 */
int telex_fifo_open_private(const struct telex_fifos *fifos, const char *name, int flags, struct stat *ret_facts);

void telex_fifo_remove(const struct telex_fifos *fifos, const char *token, enum telex_fifo which);

/* Removes what clients (and listeners) left that were killed while they connected: FIFOs that nobody holds, at least `age` seconds old. */
void telex_fifos_sweep(const struct telex_fifos *fifos, int64_t age);

/* The process that holds a lock on the FIFO, as the kernel says: that of who writes it, if it runs telex. -1: none, or this one. */
int64_t telex_fifo_writer(int fd);

/* Says that this process writes it; nothing depends on that but telex_fifo_writer(). Lasts until the process closes any descriptor of the FIFO. */
void telex_fifo_sign(int fd);

#endif
