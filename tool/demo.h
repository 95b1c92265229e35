/* SPDX-License-Identifier: MIT */
/*
 * telex demo: a coordinator hands pieces of real text to worker processes, which answer with how many words they hold.
 * demo.c is the table of media and of results, demo_text.c the text, demo_coordinator.c and demo_worker.c the two
 * sides of the conversation.
 *
 * The conversation: the worker dials and says {0, its pid}; then each message that it receives is a piece of text,
 * answered by {the number of that message, the words in it}, until the coordinator closes. In synchronous mode each
 * message of both is handed over by rendezvous.
 */
#ifndef TELEX_TOOL_DEMO_H
#define TELEX_TOOL_DEMO_H

#include <sys/stat.h>
#include <sys/types.h>

#include "common.h"

struct demo_word { /* what a worker says; both ends run on one machine, from one executable */
    uint64_t number, value;
};

struct demo_piece {
    const char *data;
    size_t length;
};

struct demo_text {
    char **files; /* NULL ends them */
    size_t file_count;
    char **bytes;       /* of each file */
    struct stat *about; /* of each file, when it was read */
    size_t *read;       /* bytes of each file */
    struct demo_piece *pieces;
    size_t piece_count;
    uint64_t length, words; /* words: as wc says */
    bool any_byte;          /* this wc takes bytes that cannot be printed for parts of words */
};

/*
 * Reads the files (count 0: all of /usr/share/common-licenses), has wc count them, cuts them. TOOL_OK, or TOOL_FAILURE
 * after saying why.
 */
int demo_text_init(struct demo_text *text, char **files, size_t count);
void demo_text_deinit(struct demo_text *text);

/* The words in a piece, by the rule of `LC_ALL=C wc -w`. */
uint64_t demo_count_words(const char *data, size_t length, bool any_byte);

struct demo_run { /* one run of one crew over the text */
    const struct tool_options *options;
    const struct demo_text *text;
    const char *label;   /* for the progress bar */
    const char *address; /* to listen at */
    bool sync;
    bool kill; /* a worker half way */
    unsigned workers;
    size_t passes;            /* over the text */
    int stop;                 /* of tool_catch_signals() */
    uint64_t words;           /* results */
    uint64_t messages, again; /* again: pieces that a dead worker held, given to another */
    unsigned deaths;
    int64_t ns, median_ns;
};

/* TOOL_OK, or TOOL_FAILURE after saying why. */
int demo_coordinate(struct demo_run *run);

#endif
