/* SPDX-License-Identifier: MIT */
/* telex tap: what is known of the bytes of one way. */
#ifndef TELEX_TOOL_TAP_WIRE_H
#define TELEX_TOOL_TAP_WIRE_H

#include "tap.h"

enum { TAP_LANES = 255, TAP_AWAITED_MOST = 64, TAP_HELD_MOST = 16 + 8 + 8 + 4 + 4096 };

enum tap_state { TAP_AT_GREETING, TAP_AT_HEADER, TAP_AT_PREFIX, TAP_AT_BODY, TAP_AT_LINE, TAP_AT_BYTES /* to the end */ };

/* A message of which pieces have come. */
struct tap_assembly {
    uint8_t *bytes; /* the first `kept` of `length` */
    size_t kept, length, capacity;
    uint64_t number, request;
    uint16_t type;
    uint8_t flags, descriptors;
    bool begun;
};

struct tap_awaited {
    uint64_t number;
    unsigned lane;
};

struct tap_wire {
    struct tap_way *way;
    enum tap_wire_kind kind;
    enum tap_state state;
    bool goodbye;
    uint8_t held[TAP_HELD_MOST]; /* the greeting; the header of a frame and what stands before the message's bytes */
    size_t held_length;
    struct {
        uint32_t left; /* bytes of the frame that have not been looked at */
        uint16_t type;
        uint8_t lane, flags;
        uint64_t number;
        bool first; /* piece of its message */
    } frame;
    struct tap_assembly *lanes[TAP_LANES];
    struct tap_awaited awaited[TAP_AWAITED_MOST]; /* synchronous messages that passed and are not known taken; under way->sending */
    unsigned awaited_count;
    uint8_t *passing; /* the greeting, and what came with it */
};

void tap_wire_await(struct tap_wire *wire, unsigned lane, uint64_t number);

#endif
