/* SPDX-License-Identifier: MIT */
/*
 * A wire: how messages are written on a byte stream. A pure codec (bytes to frames and back): no I/O, no allocation, no knowledge
 * of queues or credit. docs/wire.md is the format's definition for every language.
 */
#ifndef TELEX_WIRE_WIRE_H
#define TELEX_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "telex/telex.h"

enum {
    TELEX_WIRE_HEADER = 16,        /* bytes of every frame's header on wire=telex */
    TELEX_WIRE_PIECE = 65536,      /* most message bytes in one frame */
    TELEX_WIRE_EXTENSIONS = 4096,  /* most bytes of TLVs in one frame */
    TELEX_WIRE_HEAD = 64,          /* most bytes that `head` writes for a data frame */
    TELEX_WIRE_LONGEST = TELEX_WIRE_HEADER + 8 + 8 + 4 + TELEX_WIRE_EXTENSIONS + TELEX_WIRE_PIECE, /* bytes of the longest data frame */
    TELEX_WIRE_CONTROL = 1088,     /* most bytes of an encoded control frame */
    TELEX_WIRE_SENTENCE = 1000,    /* most bytes of a sentence in fail and bye */
    TELEX_WIRE_LANES = 255,        /* lanes for messages: 0 to 254 */
    TELEX_WIRE_CONTROL_LANE = 255,
};

enum telex_frame_kind {
    TELEX_FRAME_DATA,     /* a message or a piece of one */
    TELEX_FRAME_TAKEN,    /* `number` and all before it on `lane` are taken; `total` messages in all */
    TELEX_FRAME_CREDIT,   /* you may send up to `bytes` in all, and `messages` in all */
    TELEX_FRAME_WITHDRAW, /* do not take `number` */
    TELEX_FRAME_OUTCOME,  /* `number` was `code`: TELEX_TAKEN or TELEX_WITHDRAWN */
    TELEX_FRAME_CANCEL,   /* nobody waits for the reply to `number` any more */
    TELEX_FRAME_FAIL,     /* request `number` gets no reply: `code` (enum telex_failure), sentence */
    TELEX_FRAME_BYE,      /* the last frame: `code` (enum telex_bye), `total` messages taken in all, sentence */
    TELEX_FRAME_SKIP,     /* unknown but optional: skip `body` bytes */
};

enum telex_wire_flags { /* of a data frame, as on the wire */
    TELEX_WIRE_TEXT = 1,
    TELEX_WIRE_CALL = 2,
    TELEX_WIRE_REPLY = 4,
    TELEX_WIRE_SYNC = 8,
    TELEX_WIRE_MORE = 16,      /* more pieces of this message follow */
    TELEX_WIRE_EXTENSION = 32, /* TLVs stand before the bytes */
    TELEX_WIRE_OPTIONAL = 64,  /* who does not know the type may skip the frame */
};

enum telex_bye {
    TELEX_BYE_CLOSED = 0,   /* in order */
    TELEX_BYE_VERSION = 1,  /* no version in common */
    TELEX_BYE_LIMIT = 2,    /* the server is full */
    TELEX_BYE_REFUSED = 3,  /* the program or the agreed sizes refuse this peer */
    TELEX_BYE_PROTOCOL = 4, /* the other side broke the rules; the sentence says which */
};

struct telex_frame {
    enum telex_frame_kind kind;
    size_t head;        /* decoded: bytes before the body (of control frames: all bytes) */
    size_t body;        /* data: message bytes in this frame; skip: bytes to skip */
    size_t tail;        /* decoded: bytes to skip after the body */
    uint64_t number;
    uint64_t request;   /* data, reply, first piece */
    uint64_t total;     /* data: the whole message's length, first piece of several; taken, bye: count */
    uint64_t bytes, messages; /* credit, cumulative */
    uint32_t code;      /* outcome, fail, bye */
    uint32_t descriptors; /* data, first piece: how many travel with it */
    uint16_t type;
    uint8_t lane;
    uint8_t flags;      /* enum telex_wire_flags */
    bool first;         /* data: the first (or only) piece */
    const char *sentence; /* fail, bye: points into the decoded bytes or the caller's text; valid UTF-8 */
    size_t sentence_length;
};

/* What a decoder keeps between frames of one direction; zeroed at the start. */
struct telex_decoder {
    uint32_t assembling[8]; /* telex: a bit for each lane whose message has begun but not ended; the driver clears it on a withdrawal */
    size_t scanned;         /* lines: bytes already searched for a newline */
    bool midway;            /* lines: a piece of an unfinished line was given out */
    bool begun;             /* lines: something was given out: what comes is no greeting */
};

enum telex_wire_can {
    TELEX_CAN_GREET = 1,       /* begins with a greeting (telex_greeting_*) and has control frames */
    TELEX_CAN_BINARY = 2,
    TELEX_CAN_TEXT = 4,
    TELEX_CAN_LANES = 8,       /* lanes, types, numbers, rendezvous, descriptors, many calls */
    TELEX_CAN_CALL = 16,       /* at least one call at a time */
    TELEX_CAN_EMPTY = 32,      /* empty messages */
};

struct telex_wire {
    const char *name;
    unsigned can;

    /* Whether `message` can be said at all on this wire: 0, or -EINVAL, -EOPNOTSUPP with a sentence. Not UTF-8, not limits: those are checked above. */
    int (*check)(const telex_message *message);

    /*
     * Reads one frame from the front of `bytes`. 0: *ret_frame is set; of data frames head, body and tail tell the layout, of which only
     * the head need lie within `length` (lines, raw: all); control frames lie there whole. `full`: there is no room for more
     * bytes (lines: gives out a piece, with TELEX_WIRE_MORE). -EAGAIN: more bytes are needed. -EPROTO with a sentence: the stream is broken for good.
     */
    int (*decode)(struct telex_decoder *decoder, const uint8_t *bytes, size_t length, bool full, struct telex_frame *ret_frame);

    /* Writes what comes before the body of a data frame, or the whole control frame. Returns how many bytes (at most TELEX_WIRE_HEAD, TELEX_WIRE_CONTROL). */
    size_t (*head)(const struct telex_frame *frame, uint8_t *to);

    /* What comes after the body of a message's last data frame (lines: the newline); "" and 0 for none. */
    const char *tail;
    size_t tail_length;
};

extern const struct telex_wire telex_wire_telex, telex_wire_lines, telex_wire_raw;

/* The wire of this name, NULL if there is none. */
const struct telex_wire *telex_wire_named(const char *name);

/* ---- the greeting of wire=telex ---- */

enum {
    TELEX_GREETING_FIXED = 72,  /* bytes before the TLVs */
    TELEX_GREETING_MAX = 4096,  /* bytes at most */
    TELEX_WIRE_VERSION = 1,     /* the version that this library speaks */
    TELEX_FEATURE_DESCRIPTORS = 1,
    TELEX_WINDOW_LEAST = 131072, /* room for the longest frame, whatever was granted before */
};

struct telex_greeting {
    uint16_t lowest, highest;     /* versions spoken */
    uint32_t features;            /* TELEX_FEATURE_... */
    uint32_t descriptors;         /* most descriptors accepted with one message */
    uint64_t max;                 /* longest message accepted */
    uint64_t window;              /* bytes of data frames (headers included) that may come before the first credit */
    uint64_t queue;               /* most untaken messages in each direction, 0: unbounded */
    uint64_t fixed;               /* every message has this length; UINT64_MAX: variable */
    unsigned char life[16];
    int64_t pid;                  /* -1: not told */
    char program[64];             /* zero-terminated UTF-8 */
};

/* Writes a greeting; returns its length, at most TELEX_GREETING_MAX. */
size_t telex_greeting_encode(const struct telex_greeting *greeting, uint8_t *to);

/* Reads one: 0 and *ret_length, -EAGAIN (more bytes needed; wrong bytes are found at once, not after the rest), -EPROTO with a sentence. */
int telex_greeting_decode(const uint8_t *bytes, size_t length, struct telex_greeting *ret_greeting, size_t *ret_length);

/* The version to speak, or -EPROTONOSUPPORT with a sentence that names both ranges. */
int telex_greeting_agree(const struct telex_greeting *ours, const struct telex_greeting *theirs);

#endif
