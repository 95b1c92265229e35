/* SPDX-License-Identifier: MIT */
/*
 * telex tap: makes out the messages in bytes that pass (docs/wire.md). It only watches: whatever it does not understand passes all the
 * same, and is written down as bytes from there on. What it keeps is bounded: a greeting, a control frame, and of each lane the first bytes of a message.
 */
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "tap_wire.h"

enum {
    GREETING_LEAST = 72,
    GREETING_MOST = 4096,
    GREETING_LENGTH_AT = 12,
    GREETING_FEATURES_AT = 16, /* u32 of features, then u32 of descriptors */
    HEADER = 16,
    PREFIX_MOST = 8 + 8 + 4 + 4096, /* reply, more, extension */
    CONTROL_MOST = 1032,
    LANE_CONTROL = 255,
    ITEM_PROGRAM = 5,
    ITEM_PROCESS = 6,
    EXTENSION_DESCRIPTORS = 1,
};

enum { FLAG_TEXT = 1, FLAG_CALL = 2, FLAG_REPLY = 4, FLAG_SYNC = 8, FLAG_MORE = 16, FLAG_EXTENSION = 32 };

static const uint8_t magic[8] = {0x74, 0x65, 0x6C, 0x65, 0x78, 0x0D, 0x0A, 0x1A};

static uint64_t number_at(const uint8_t *at, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number |= (uint64_t)at[i] << 8 * i;
    return number;
}

struct tap_wire *tap_wire_new(struct tap_way *way, enum tap_wire_kind kind)
{
    struct tap_wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL)
        return NULL;
    wire->way = way;
    wire->kind = kind;
    wire->state = kind == TAP_WIRE_TELEX ? TAP_AT_GREETING : kind == TAP_WIRE_LINES ? TAP_AT_LINE : TAP_AT_BYTES;
    return wire;
}

void tap_wire_free(struct tap_wire *wire)
{
    if (wire == NULL)
        return;
    for (int lane = 0; lane < TAP_LANES; lane++) {
        if (wire->lanes[lane] != NULL)
            free(wire->lanes[lane]->bytes);
        free(wire->lanes[lane]);
    }
    free(wire->passing);
    free(wire);
}

static void log_event(struct tap_wire *wire, struct tap_event event)
{
    event.way = wire->way->way;
    tap_log(wire->way->connection, &event);
}

static void log_bytes(struct tap_wire *wire, const void *data, size_t length)
{
    struct tap_event event = {.what = TAP_BYTES, .message = telex_binary(data, length), .shown = length < TAP_SHOWN_MOST ? length : TAP_SHOWN_MOST};
    if (length > 0)
        log_event(wire, event);
}

/* ---- what is put together: a message, a line ---- */

static struct tap_assembly *assembly_of(struct tap_wire *wire, unsigned lane)
{
    if (wire->lanes[lane] == NULL)
        wire->lanes[lane] = calloc(1, sizeof *wire->lanes[lane]);
    return wire->lanes[lane];
}

/* Out of memory, less is shown. */
static void append(struct tap_assembly *assembly, const uint8_t *data, size_t length)
{
    size_t room = TAP_SHOWN_MOST - assembly->kept, kept = length < room ? length : room;
    if (assembly->kept == assembly->length && kept > 0) {
        if (assembly->kept + kept > assembly->capacity) {
            size_t capacity = 2 * (assembly->kept + kept);
            uint8_t *grown = realloc(assembly->bytes, capacity);
            kept = grown != NULL ? kept : 0;
            assembly->bytes = grown != NULL ? grown : assembly->bytes;
            assembly->capacity = grown != NULL ? capacity : assembly->capacity;
        }
        if (kept > 0)
            memcpy(assembly->bytes + assembly->kept, data, kept);
        assembly->kept += kept;
    }
    assembly->length += length;
}

/* The kept bytes of text end where a character does. */
static size_t whole_characters(const struct tap_assembly *assembly)
{
    size_t kept = assembly->kept;
    if (kept == assembly->length)
        return kept;
    for (size_t back = 1; back <= 4 && back <= kept; back++)
        if ((assembly->bytes[kept - back] & 0xC0) != 0x80) /* the last lead byte: is its character whole? */
            return (assembly->bytes[kept - back] >= 0xF0 ? 4u : assembly->bytes[kept - back] >= 0xE0 ? 3u : assembly->bytes[kept - back] >= 0xC0 ? 2u : 1u) <= back ? kept : kept - back;
    return kept;
}

static void log_message(struct tap_wire *wire, struct tap_assembly *assembly, unsigned lane)
{
    unsigned flags = assembly->flags;
    struct tap_event event = {
        .what = flags & FLAG_CALL ? TAP_CALL : flags & FLAG_REPLY ? TAP_REPLY : TAP_MESSAGE,
        .message = telex_binary(assembly->bytes != NULL ? (const void *)assembly->bytes : "", assembly->length),
        .shown = flags & FLAG_TEXT ? whole_characters(assembly) : assembly->kept,
        .sync = flags & FLAG_SYNC,
    };
    event.message.kind = flags & FLAG_TEXT ? TELEX_TEXT : TELEX_BINARY;
    event.message.lane = (uint8_t)lane;
    event.message.type = assembly->type;
    event.message.number = assembly->number;
    event.message.request = assembly->request;
    event.message.descriptor_count = assembly->descriptors;
    if (event.sync)
        tap_wire_await(wire, lane, assembly->number);
    log_event(wire, event);
    assembly->kept = assembly->length = 0;
    assembly->begun = false;
}

/* ---- synchronous messages: known taken when the other way says so ---- */

/* Both ways' threads look here; what cannot be kept is not told. */
void tap_wire_await(struct tap_wire *wire, unsigned lane, uint64_t number)
{
    pthread_mutex_lock(&wire->way->sending);
    if (wire->awaited_count < TAP_AWAITED_MOST)
        wire->awaited[wire->awaited_count++] = (struct tap_awaited){.number = number, .lane = lane};
    pthread_mutex_unlock(&wire->way->sending);
}

/* The other way's messages up to `number` of `lane` are settled as `what`; lane -1: just that number. */
static void settle(struct tap_wire *wire, int lane, uint64_t number, enum tap_what what)
{
    struct tap_wire *other = tap_other(wire->way)->wire;
    for (;;) {
        uint64_t settled = 0;
        pthread_mutex_lock(&other->way->sending);
        for (unsigned i = 0; i < other->awaited_count && settled == 0; i++) {
            struct tap_awaited *at = &other->awaited[i];
            if (lane < 0 ? at->number != number : (at->lane != (unsigned)lane || at->number > number))
                continue;
            settled = at->number;
            memmove(at, at + 1, (--other->awaited_count - i) * sizeof *at);
        }
        pthread_mutex_unlock(&other->way->sending);
        if (settled == 0)
            return;
        log_event(wire, (struct tap_event){.what = what, .message.number = settled});
    }
}

/* ---- control frames ---- */

static void log_with_sentence(struct tap_wire *wire, struct tap_event event, const uint8_t *sentence, size_t length)
{
    char text[CONTROL_MOST + 1];
    memcpy(text, sentence, length);
    text[length] = '\0';
    event.sentence = length > 0 ? text : NULL;
    log_event(wire, event);
}

static void on_taken(struct tap_wire *wire, const uint8_t *body, size_t length)
{
    if (length == 16)
        settle(wire, body[8], wire->frame.number, TAP_TAKEN);
}

static void on_outcome(struct tap_wire *wire, const uint8_t *body, size_t length)
{
    if (length == 4)
        settle(wire, -1, wire->frame.number, number_at(body, 4) == 1 ? TAP_TAKEN : TAP_WITHDRAWN);
}

static void on_cancel(struct tap_wire *wire, const uint8_t *body, size_t length)
{
    (void)body, (void)length;
    log_event(wire, (struct tap_event){.what = TAP_CANCEL, .message.request = wire->frame.number});
}

static void on_fail(struct tap_wire *wire, const uint8_t *body, size_t length)
{
    if (length >= 4)
        log_with_sentence(wire, (struct tap_event){.what = TAP_FAIL, .message.request = wire->frame.number, .code = (uint32_t)number_at(body, 4)},
                          body + 4, length - 4);
}

static void on_bye(struct tap_wire *wire, const uint8_t *body, size_t length)
{
    if (length < 16)
        return;
    wire->goodbye = true;
    log_with_sentence(wire, (struct tap_event){.what = TAP_GOODBYE, .code = (uint32_t)number_at(body, 4)}, body + 16, length - 16);
}

static void (*const controls[])(struct tap_wire *wire, const uint8_t *body, size_t length) = {
    [1] = on_taken, [4] = on_outcome, [5] = on_cancel, [6] = on_fail, [7] = on_bye,
};

/* ---- frames ---- */

/* How many bytes stand before those of the message, as far as is known; they are in `held` behind the header. */
static size_t prefix_of(const struct tap_wire *wire)
{
    unsigned flags = wire->frame.flags;
    size_t length = 0;
    if (!wire->frame.first)
        return 0;
    if (flags & FLAG_REPLY)
        length += 8;
    if (flags & FLAG_MORE)
        length += 8;
    if (flags & FLAG_EXTENSION) {
        length += 4;
        if (wire->held_length >= HEADER + length)
            length += (size_t)number_at(wire->held + HEADER + length - 4, 4);
    }
    return length;
}

static uint8_t descriptors_in(const uint8_t *items, size_t length)
{
    while (length >= 4) {
        size_t size = (size_t)number_at(items + 2, 2);
        if (size > length - 4)
            break;
        if ((number_at(items, 2) & 0x7FFF) == EXTENSION_DESCRIPTORS && size == 4)
            return (uint8_t)number_at(items + 4, 4);
        items += 4 + size;
        length -= 4 + size;
    }
    return 0;
}

static bool read_header(struct tap_wire *wire)
{
    const uint8_t *at = wire->held;
    wire->frame.left = (uint32_t)number_at(at, 4);
    wire->frame.type = (uint16_t)number_at(at + 4, 2);
    wire->frame.lane = at[6];
    wire->frame.flags = at[7];
    wire->frame.number = number_at(at + 8, 8);
    if (wire->frame.lane == LANE_CONTROL)
        return true;
    struct tap_assembly *assembly = assembly_of(wire, wire->frame.lane);
    wire->frame.first = assembly != NULL && !assembly->begun;
    return assembly != NULL && wire->frame.left >= prefix_of(wire);
}

/* The first frame of a message: what is said once. */
static void begin_message(struct tap_wire *wire)
{
    struct tap_assembly *assembly = wire->lanes[wire->frame.lane];
    const uint8_t *at = wire->held + HEADER;
    *assembly = (struct tap_assembly){.bytes = assembly->bytes, .capacity = assembly->capacity, .begun = true, .flags = wire->frame.flags, .type = wire->frame.type, .number = wire->frame.number};
    if (wire->frame.flags & FLAG_REPLY) {
        assembly->request = number_at(at, 8);
        at += 8;
    }
    if (wire->frame.flags & FLAG_MORE)
        at += 8;
    if (wire->frame.flags & FLAG_EXTENSION)
        assembly->descriptors = descriptors_in(at + 4, (size_t)number_at(at, 4));
}

/* Everything of the frame has been looked at. */
static void end_frame(struct tap_wire *wire)
{
    if (wire->frame.lane == LANE_CONTROL) {
        size_t length = wire->held_length - HEADER;
        if (wire->frame.type < sizeof controls / sizeof *controls && controls[wire->frame.type] != NULL && length <= CONTROL_MOST)
            controls[wire->frame.type](wire, wire->held + HEADER, length);
    } else if (!(wire->frame.flags & FLAG_MORE)) {
        log_message(wire, wire->lanes[wire->frame.lane], wire->frame.lane);
    }
    wire->held_length = 0;
    wire->state = TAP_AT_HEADER;
}

/* Moves up to `length` bytes into `held`, until it has `wanted`. How many. */
static size_t hold(struct tap_wire *wire, const uint8_t *data, size_t length, size_t wanted)
{
    size_t count = wanted - wire->held_length < length ? wanted - wire->held_length : length;
    memcpy(wire->held + wire->held_length, data, count);
    wire->held_length += count;
    return count;
}

/* Of a control frame all of it, if it can be one that is known; of a message what stands before its bytes. */
static size_t at_prefix(struct tap_wire *wire, const uint8_t *data, size_t length)
{
    size_t before = wire->held_length, whole = wire->frame.left + (before - HEADER);
    bool control = wire->frame.lane == LANE_CONTROL;
    size_t wanted = control ? (whole <= CONTROL_MOST ? whole : 0) : prefix_of(wire);
    if (wanted > whole || wanted > PREFIX_MOST) {
        wire->state = TAP_AT_BYTES;
        return 0;
    }
    size_t count = hold(wire, data, length, HEADER + wanted);
    wire->frame.left -= (uint32_t)count;
    if (wire->held_length < HEADER + wanted || (!control && prefix_of(wire) > wanted))
        return count;
    if (!control && wire->frame.first)
        begin_message(wire);
    wire->state = TAP_AT_BODY;
    if (wire->frame.left == 0)
        end_frame(wire);
    return count;
}

static size_t at_header(struct tap_wire *wire, const uint8_t *data, size_t length)
{
    size_t count = hold(wire, data, length, HEADER);
    if (wire->held_length < HEADER)
        return count;
    if (!read_header(wire)) {
        wire->state = TAP_AT_BYTES;
        return count;
    }
    wire->state = TAP_AT_PREFIX;
    return count + at_prefix(wire, data + count, length - count); /* a frame may be over with its header */
}

static size_t at_body(struct tap_wire *wire, const uint8_t *data, size_t length)
{
    size_t count = length < wire->frame.left ? length : wire->frame.left;
    if (wire->frame.lane != LANE_CONTROL)
        append(wire->lanes[wire->frame.lane], data, count);
    wire->frame.left -= (uint32_t)count;
    if (wire->frame.left == 0)
        end_frame(wire);
    return count;
}

/* ---- the greeting ---- */

static void read_greeting(struct tap_wire *wire, size_t length)
{
    char name[256] = "";
    struct tap_event event = {.what = TAP_HELLO, .pid = -1};
    for (size_t at = GREETING_LEAST; at + 4 <= length;) {
        size_t size = (size_t)number_at(wire->held + at + 2, 2);
        unsigned type = (unsigned)number_at(wire->held + at, 2) & 0x7FFF;
        const uint8_t *value = wire->held + at + 4;
        at += 4 + size;
        if (at > length)
            break;
        if (type == ITEM_PROGRAM && size < sizeof name) {
            memcpy(name, value, size);
            name[size] = '\0';
            event.program = name;
        }
        if (type == ITEM_PROCESS && size == 8)
            event.pid = (int64_t)number_at(value, 8);
    }
    log_event(wire, event);
}

static size_t at_greeting(struct tap_wire *wire, const uint8_t *data, size_t length)
{
    size_t known = wire->held_length < GREETING_LEAST ? GREETING_LEAST : (size_t)number_at(wire->held + GREETING_LENGTH_AT, 4);
    size_t count = hold(wire, data, length, known);
    size_t looked = wire->held_length < sizeof magic ? wire->held_length : sizeof magic;
    if (memcmp(wire->held, magic, looked) != 0) {
        wire->state = TAP_AT_BYTES;
    } else if (wire->held_length >= GREETING_LEAST) {
        size_t whole = (size_t)number_at(wire->held + GREETING_LENGTH_AT, 4);
        if (whole < GREETING_LEAST || whole > GREETING_MOST) {
            wire->state = TAP_AT_BYTES;
        } else if (wire->held_length == whole) {
            read_greeting(wire, whole);
            memset(wire->held + GREETING_FEATURES_AT, 0, 8); /* descriptors cannot pass here: neither side shall send any */
            wire->state = TAP_AT_HEADER;
        }
    }
    return count;
}

/* ---- lines ---- */

static size_t at_line(struct tap_wire *wire, const uint8_t *data, size_t length)
{
    struct tap_assembly *line = assembly_of(wire, 0);
    if (line == NULL) {
        wire->state = TAP_AT_BYTES;
        return 0;
    }
    const uint8_t *end = memchr(data, '\n', length);
    size_t count = end != NULL ? (size_t)(end - data) : length;
    append(line, data, count);
    if (end == NULL)
        return count;
    if (line->length > 0 && line->kept == line->length && line->bytes[line->length - 1] == '\r')
        line->kept = --line->length;
    line->flags = FLAG_TEXT;
    log_message(wire, line, 0);
    return count + 1;
}

/* ---- all of it ---- */

size_t tap_wire_look(struct tap_wire *wire, const void *data, size_t length, const void **ret_data)
{
    static size_t (*const steps[])(struct tap_wire *wire, const uint8_t *data, size_t length) = {
        [TAP_AT_GREETING] = at_greeting, [TAP_AT_HEADER] = at_header, [TAP_AT_PREFIX] = at_prefix, [TAP_AT_BODY] = at_body, [TAP_AT_LINE] = at_line,
    };
    const uint8_t *at = data, *end = at + length;
    size_t greeted = 0;
    bool greeting = wire->state == TAP_AT_GREETING;
    while (greeting && at < end && wire->state == TAP_AT_GREETING)
        at += at_greeting(wire, at, (size_t)(end - at));
    if (greeting && wire->state == TAP_AT_GREETING)
        return 0;
    if (greeting) { /* what was held is passed on together with what came behind it */
        greeted = wire->held_length;
        size_t behind = (size_t)(end - at);
        free(wire->passing);
        wire->passing = malloc(greeted + behind + 1);
        if (wire->passing == NULL)
            return 0;
        memcpy(wire->passing, wire->held, greeted);
        memcpy(wire->passing + greeted, at, behind);
        if (wire->state == TAP_AT_BYTES)
            log_bytes(wire, wire->held, greeted);
        wire->held_length = 0;
        *ret_data = wire->passing;
        length = greeted + behind;
    } else {
        *ret_data = data;
    }
    while (at < end && wire->state != TAP_AT_BYTES)
        at += steps[wire->state](wire, at, (size_t)(end - at));
    log_bytes(wire, at, (size_t)(end - at));
    return length;
}

size_t tap_wire_rest(struct tap_wire *wire, const void **ret_data)
{
    if (wire->state != TAP_AT_GREETING)
        return 0;
    log_bytes(wire, wire->held, wire->held_length);
    wire->state = TAP_AT_BYTES;
    *ret_data = wire->held;
    return wire->held_length;
}

bool tap_wire_said_goodbye(const struct tap_wire *wire)
{
    return wire->goodbye || wire->kind != TAP_WIRE_TELEX;
}

void tap_wire_end(struct tap_wire *wire)
{
    struct tap_assembly *line = wire->lanes[0];
    if (wire->state != TAP_AT_LINE || line == NULL || line->length == 0)
        return;
    line->flags = FLAG_TEXT;
    log_bytes(wire, line->bytes, line->kept); /* a line without its end is no message */
}
