/* SPDX-License-Identifier: MIT */
/* telex sequence: sequence.c reads the log, sequence_plan.c decides what stands where, sequence_svg.c draws it. */
#ifndef TELEX_TOOL_SEQUENCE_H
#define TELEX_TOOL_SEQUENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What telex tap writes down (tap_log.c). */
enum sequence_what {
    SEQUENCE_OPEN,
    SEQUENCE_HELLO,
    SEQUENCE_MESSAGE,
    SEQUENCE_CALL,
    SEQUENCE_REPLY,
    SEQUENCE_FAIL,
    SEQUENCE_CANCEL,
    SEQUENCE_TAKEN,
    SEQUENCE_WITHDRAWN,
    SEQUENCE_BYTES,
    SEQUENCE_GOODBYE,
    SEQUENCE_END,
    SEQUENCE_CLOSE,
    SEQUENCE_WHATS
};

enum { SEQUENCE_SLOTS = 8 }; /* calls that are shown as bars side by side at one line */

struct sequence_connection {
    uint64_t number;
    char *client, *server;   /* who: program (pid), or where the peer is; NULL: not known */
    char *address;           /* that was dialled; NULL: not known */
    size_t first, last;      /* events */
    unsigned column, line;   /* where the client stands; which of the chart's servers it talks to */
    bool closed;
};

struct sequence_event {
    enum sequence_what what;
    int64_t ns;              /* since 1970 */
    size_t connection;
    bool back;               /* from the server to the client */
    bool sync, text;
    uint64_t number, request, type, lane, size;
    char *label;             /* text of the message, or its bytes in hex, or a sentence: its beginning */
    size_t label_length;     /* valid UTF-8 without control characters */
    bool cut;                /* there is more than the label has */
    /* the plan: */
    int y, height;
    int64_t pause;           /* ns of silence before it that are shown as such; 0: none */
    size_t partner;          /* of a call its answer, of an answer its call, of taken its message; SIZE_MAX: none */
    unsigned slot;           /* of a call that has_slot: its bar */
    bool has_slot, repeats;  /* repeats: the names of the lines stand above it once more */
    bool client_busy, server_busy; /* there is a bar at the middle of that line */
};

struct sequence_line { /* a server: one for each address */
    const char *address, *program;
    unsigned column;
};

struct sequence {
    struct sequence_event *events;
    struct sequence_connection *connections;
    struct sequence_line *lines;
    size_t event_count, connection_count, line_count;
    size_t event_room, connection_room;
    unsigned column_count;
    int gap, height, width; /* pixels; gap: between two columns */
};

/* Fixed measures of the chart, pixels. */
enum {
    SEQUENCE_LEFT = 240,  /* the middle of the first column; times stand left of it */
    SEQUENCE_RIGHT = 150, /* behind the middle of the last one */
    SEQUENCE_TOP = 134,   /* title, and heads of the servers */
    SEQUENCE_BOTTOM = 84, /* what the arrows mean */
    SEQUENCE_HEAD_WIDTH = 212,
    SEQUENCE_HEAD_HEIGHT = 42,
    SEQUENCE_PAUSE_HEIGHT = 30,
    SEQUENCE_REPEAT_HEIGHT = 30,
};

/* The middle of a column. */
int sequence_x(const struct sequence *sequence, unsigned column);

/* Decides what stands where. False: out of memory. */
bool sequence_plan(struct sequence *sequence);

/* Writes the SVG to standard output. */
void sequence_draw(const struct sequence *sequence);

#endif
