/* SPDX-License-Identifier: MIT */
/* A program that this process started: its end is told by a pidfd, so neither a signal handler nor anybody's wait(2) is in the way. */
#ifndef TELEX_OS_CHILD_H
#define TELEX_OS_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct telex_child_start {
    const char *const *argv;        /* argv[0] without a slash is looked up in PATH */
    const char *const *environment; /* NULL ends it */
    const char *directory;          /* NULL: this process's */
    int standard[3];                /* what its descriptors 0, 1, 2 are here; -1: /dev/null */
    int kept;                       /* a descriptor that it gets under the same number; -1: none */
};

struct telex_child;

/*
 * Starts the program, with an empty signal mask and SIGPIPE as it is by default. 0, or -errno with a sentence: also when the program cannot be executed
 * (-ENOENT, -EACCES, -ENOEXEC, ...). The owner ends with telex_child_free().
 */
int telex_child_new(const struct telex_child_start *start, struct telex_child **ret_child);

int64_t telex_child_process(const struct telex_child *child);

/* Readable once the program has ended; the child's own. -1: it has ended already, and somebody else was told how. */
int telex_child_watch(const struct telex_child *child);

/* Waits for the program's end until `deadline` (absolute ns). 0: it has ended; -EAGAIN (deadline <= 0), -ETIMEDOUT, -EINTR. Any thread. */
int telex_child_wait(struct telex_child *child, int64_t deadline);

/* After its end: as of wait(2); -1: not known, for the program itself waited for it, or ignores SIGCHLD. */
int telex_child_status(struct telex_child *child);

/* "NAME (process N) exited with status 3", "... was killed by signal 9 (Killed)", "... has not ended". */
void telex_child_describe(struct telex_child *child, char *ret_text, size_t size);

void telex_child_kill(struct telex_child *child);

/*
 * Forgets it; NULL is fine. A program that goes on is left alone, and waited for by whoever calls telex_child_tidy() or this function after its end. In a
 * forked child only memory is given back.
 */
void telex_child_free(struct telex_child *child);

/* Waits for those that have ended since they were freed. */
void telex_child_tidy(void);

#endif
