/* SPDX-License-Identifier: MIT */
/*
 * What fork() must not hand on. Every descriptor that telex holds is registered here; in a forked child an atfork
 * handler closes them all (so that the child does not keep its dead parent looking alive) and raises the generation, by
 * which every handle of the parent knows itself foreign (-ECHILD).
 */
#ifndef TELEX_OS_FORK_H
#define TELEX_OS_FORK_H

#include <stdatomic.h>
#include <stdbool.h>

/* Registers `fd` (>= 0; a negative value, an -errno, passes through). Returns `fd`, or -ENOMEM after closing it. Any thread. */
int telex_own(int fd);

/* Forgets `fd` without closing it: it is the program's now. */
void telex_disown(int fd);

/* Whether `fd` is telex's. */
bool telex_owns(int fd);

/* Closes an owned descriptor; negative ones are ignored. errno is kept. */
void telex_shut(int fd);

extern atomic_uint telex_forks; /* see telex_generation() */

/* Counts the forks between the process that loaded telex and this one. */
static inline unsigned telex_generation(void)
{
    /* Relaxed: it changes only in a child that has one thread yet, and the threads it makes see what came before them. */
    return atomic_load_explicit(&telex_forks, memory_order_relaxed);
}

#endif
