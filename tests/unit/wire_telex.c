/* SPDX-License-Identifier: MIT */
/* wire=telex, frame by frame: examples as bytes both ways, cut at every byte; every refusal; pieces and lanes; extensions. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/reason.h"
#include "unit/hex.h"
#include "unit/testing.h"
#include "wire/wire.h"

static const struct telex_wire *const wire = &telex_wire_telex;

/* Decodes from memory of exactly `length` bytes, so that a sanitizer sees a step too far. A sentence in *ret_frame is checked by the caller before the next call. */
static int decode(struct telex_decoder *decoder, const uint8_t *bytes, size_t length, struct telex_frame *ret_frame)
{
    static uint8_t *copy;
    free(copy);
    copy = malloc(length > 0 ? length : 1);
    memcpy(copy, bytes, length);
    return wire->decode(decoder, copy, length, false, ret_frame);
}

static void release_copy(void)
{
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    decode(&decoder, (const uint8_t *)"", 0, &frame);
}

static void assert_frame(const struct telex_frame *got, const struct telex_frame *expected)
{
    assert_int_equal(got->kind, expected->kind);
    assert_int_equal(got->body, expected->body);
    assert_int_equal(got->tail, 0);
    assert_true(got->number == expected->number && got->request == expected->request && got->total == expected->total);
    assert_true(got->bytes == expected->bytes && got->messages == expected->messages);
    assert_int_equal(got->code, expected->code);
    assert_int_equal(got->descriptors, expected->descriptors);
    assert_int_equal(got->type, expected->type);
    assert_int_equal(got->lane, expected->lane);
    assert_int_equal(got->flags, expected->flags);
    assert_int_equal(got->first, expected->first);
    assert_int_equal(got->sentence_length, expected->sentence_length);
    if (expected->sentence_length > 0)
        assert_memory_equal(got->sentence, expected->sentence, expected->sentence_length);
}

/* ---- examples ---- */

#define DATA(body_bytes, ...) {.kind = TELEX_FRAME_DATA, .first = true, .body = (body_bytes), __VA_ARGS__}
#define SENTENCE(text) .sentence = (text), .sentence_length = sizeof(text) - 1

static const struct {
    struct telex_frame frame;
    const char *bytes; /* the head; of control frames the whole */
    uint16_t control;  /* of control frames: the type on the wire */
} examples[] = {
    {DATA(5, .number = 1, .flags = TELEX_WIRE_TEXT), "05000000 0000 00 01 0100000000000000", 0},
    {DATA(0, .number = 2), "00000000 0000 00 00 0200000000000000", 0},
    {DATA(3, .number = 0x0102030405060708, .type = 0xABCD, .lane = 254, .flags = TELEX_WIRE_SYNC),
     "03000000 CDAB FE 08 0807060504030201", 0},
    {DATA(4, .number = 3, .flags = TELEX_WIRE_TEXT | TELEX_WIRE_CALL), "04000000 0000 00 03 0300000000000000", 0},
    {DATA(4, .number = 9, .request = 3, .flags = TELEX_WIRE_TEXT | TELEX_WIRE_REPLY),
     "0C000000 0000 00 05 0900000000000000 0300000000000000", 0},
    {DATA(0, .number = 9, .request = UINT64_MAX, .flags = TELEX_WIRE_REPLY | TELEX_WIRE_SYNC),
     "08000000 0000 00 0C 0900000000000000 FFFFFFFFFFFFFFFF", 0},
    {DATA(65536, .number = 4, .total = 100000, .flags = TELEX_WIRE_MORE),
     "08000100 0000 00 10 0400000000000000 A086010000000000", 0},
    {DATA(65536, .number = 4, .request = 2, .total = 65537, .flags = TELEX_WIRE_MORE | TELEX_WIRE_REPLY),
     "10000100 0000 00 14 0400000000000000 0200000000000000 0100010000000000", 0},
    {DATA(1, .number = 5, .descriptors = 2, .flags = TELEX_WIRE_EXTENSION),
     "0D000000 0000 00 20 0500000000000000 08000000 0100 0400 02000000", 0},
    {DATA(65536, .number = 5, .request = 1, .total = 65540, .descriptors = 64,
          .flags = TELEX_WIRE_EXTENSION | TELEX_WIRE_MORE | TELEX_WIRE_REPLY | TELEX_WIRE_SYNC | TELEX_WIRE_TEXT),
     "1C000100 0000 00 3D 0500000000000000 0100000000000000 0400010000000000 08000000 0100 0400 40000000", 0},
    {{.kind = TELEX_FRAME_TAKEN, .number = 7, .total = 9, .lane = 3},
     "10000000 0100 FF 00 0700000000000000 0900000000000000 03 00000000000000", 1},
    {{.kind = TELEX_FRAME_TAKEN, .number = 0, .total = 1, .lane = 254},
     "10000000 0100 FF 00 0000000000000000 0100000000000000 FE 00000000000000", 1},
    {{.kind = TELEX_FRAME_CREDIT, .bytes = 1048576, .messages = UINT64_MAX},
     "10000000 0200 FF 00 0000000000000000 0000100000000000 FFFFFFFFFFFFFFFF", 2},
    {{.kind = TELEX_FRAME_WITHDRAW, .number = 8}, "00000000 0300 FF 00 0800000000000000", 3},
    {{.kind = TELEX_FRAME_OUTCOME, .number = 8, .code = TELEX_WITHDRAWN}, "04000000 0400 FF 00 0800000000000000 02000000", 4},
    {{.kind = TELEX_FRAME_CANCEL, .number = 3}, "00000000 0500 FF 00 0300000000000000", 5},
    {{.kind = TELEX_FRAME_FAIL, .number = 3, .code = TELEX_FAILURE_FAILED, SENTENCE("disk full")},
     "0D000000 0600 FF 00 0300000000000000 02000000 6469736B2066756C6C", 6},
    {{.kind = TELEX_FRAME_FAIL, .number = 3, .code = TELEX_FAILURE_NO_HANDLER}, "04000000 0600 FF 00 0300000000000000 01000000", 6},
    {{.kind = TELEX_FRAME_BYE, .total = 9}, "10000000 0700 FF 00 0000000000000000 00000000 00000000 0900000000000000", 7},
    {{.kind = TELEX_FRAME_BYE, .code = TELEX_BYE_LIMIT, SENTENCE("full")},
     "14000000 0700 FF 00 0000000000000000 02000000 00000000 0000000000000000 66756C6C", 7},
};

static void examples_encoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        uint8_t to[TELEX_WIRE_CONTROL];
        memset(to, 0xEE, sizeof to);
        size_t length = wire->head(&examples[i].frame, to);
        assert_hex(to, length, examples[i].bytes);
        assert_true(length <= (examples[i].control ? TELEX_WIRE_CONTROL : TELEX_WIRE_HEAD));
        assert_int_equal(to[length], 0xEE);
    }
}

/* The same bytes decoded, from every part of them: too few are -EAGAIN and change nothing, the rest of the body is not needed. */
static void examples_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        uint8_t bytes[256] = {0};
        size_t head = hex_bytes(examples[i].bytes, bytes, sizeof bytes);
        struct telex_decoder decoder = {0};
        struct telex_frame frame;
        for (size_t length = 0; length < head; length++) {
            assert_int_equal(decode(&decoder, bytes, length, &frame), -EAGAIN);
            assert_int_equal(decoder.assembling[0] | decoder.assembling[7], 0);
        }
        for (size_t length = head; length < head + 9; length++) {
            decoder = (struct telex_decoder){0};
            assert_int_equal(decode(&decoder, bytes, length, &frame), 0);
            struct telex_frame expected = examples[i].frame;
            if (examples[i].control != 0)
                expected.type = examples[i].control;
            if (examples[i].control != 0 && expected.kind != TELEX_FRAME_TAKEN)
                expected.lane = TELEX_WIRE_CONTROL_LANE;
            assert_int_equal(frame.head, head);
            assert_frame(&frame, &expected);
        }
    }
    release_copy();
}

/* ---- refusals ---- */

static const struct refusal {
    const char *bytes, *words;
    size_t needs; /* bytes after which it must be noticed; 0: all */
} refusals[] = {
    /* data frames */
    {"14100100 0000 00 00 0100000000000000", "message bytes in one frame", 16},
    {"15100100 0000 00 00 0100000000000000", "a frame of", 16},
    {"FFFFFFFF 0000 00 00 0100000000000000", "a frame of 4294967295 bytes", 16},
    {"01000100 0000 00 00 0100000000000000", "65537 message bytes in one frame", 16},
    {"09000100 0000 00 04 0100000000000000 0100000000000000", "65537 message bytes in one frame", 24},
    {"00000000 0000 00 80 0100000000000000", "flags 0x80", 16},
    {"00000000 0000 00 40 0100000000000000", "flags 0x40", 16},
    {"08000000 0000 00 06 0100000000000000", "both a call and a reply", 16},
    {"00000000 0000 00 00 0000000000000000", "number 0", 16},
    {"07000000 0000 00 04 0100000000000000", "too short", 16},
    {"0F000000 0000 00 14 0100000000000000", "too short", 16},
    {"03000000 0000 00 20 0100000000000000", "too short", 16},
    {"08000000 0000 00 04 0100000000000000 0000000000000000", "reply to request 0", 24},
    {"08000000 0000 00 10 0100000000000000 0900000000000000", "empty piece", 24},
    {"09000000 0000 00 10 0100000000000000 0000000000000000", "goes on after its 0 bytes", 24},
    {"09000000 0000 00 10 0100000000000000 0100000000000000", "goes on after its 1 bytes", 24},
    /* extensions */
    {"04000000 0000 00 20 0100000000000000 01000000", "announces 1 bytes of extensions", 20},
    {"14100000 0000 00 20 0100000000000000 01100000", "announces 4097 bytes of extensions", 20},
    {"04000000 0000 00 20 0100000000000000 FFFFFFFF", "announces 4294967295 bytes of extensions", 20},
    {"07000000 0000 00 20 0100000000000000 03000000 010004", "cut off", 0},
    {"08000000 0000 00 20 0100000000000000 04000000 0100 0400", "longer than what is left", 0},
    {"0B000000 0000 00 20 0100000000000000 07000000 0100 0400 010000", "longer than what is left", 0},
    {"0B000000 0000 00 20 0100000000000000 07000000 0100 0300 010000", "descriptors wrongly", 0},
    {"0C000000 0000 00 20 0100000000000000 08000000 0100 0400 00000000", "descriptors wrongly", 0},
    {"14000000 0000 00 20 0100000000000000 10000000 0100 0400 01000000 0180 0400 01000000", "descriptors wrongly", 0},
    {"08000000 0000 00 20 0100000000000000 04000000 0200 0000", "needs extension 2", 0},
    {"08000000 0000 00 20 0100000000000000 04000000 FF7F 0000", "needs extension 32767", 0},
    /* control frames */
    {"10000000 0100 FF 01 0700000000000000", "flags 0x01", 16},
    {"10000000 0100 FF 20 0700000000000000", "flags 0x20", 16},
    {"00000000 0000 FF 80 0700000000000000", "flags 0x80", 16},
    {"00000000 0000 FF 00 0000000000000000", "type 0 with 0 bytes, which is not known", 16},
    {"00000000 0800 FF 00 0000000000000000", "type 8 with 0 bytes, which is not known", 16},
    {"01000100 0800 FF 40 0000000000000000", "type 8 with 65537 bytes", 16},
    {"0F000000 0100 FF 00 0700000000000000", "type 1 with 15 bytes; it has 16", 16},
    {"11000000 0100 FF 00 0700000000000000", "type 1 with 17 bytes", 16},
    {"10000000 0100 FF 00 0700000000000000 0900000000000000 FF 00000000000000", "lane that does not exist", 0},
    {"10000000 0100 FF 00 0700000000000000 0900000000000000 00 00000000000001", "must be zero", 0},
    {"10000000 0100 FF 00 0700000000000000 0900000000000000 00 01000000000000", "must be zero", 0},
    {"0F000000 0200 FF 00 0000000000000000", "type 2 with 15 bytes", 16},
    {"FFFFFFFF 0200 FF 00 0000000000000000", "type 2 with 4294967295 bytes", 16},
    {"10000000 0200 FF 00 0100000000000000", "type 2 with the number 1", 16},
    {"01000000 0300 FF 00 0100000000000000", "type 3 with 1 bytes", 16},
    {"00000000 0300 FF 00 0000000000000000", "type 3 with the number 0", 16},
    {"00000000 0400 FF 00 0100000000000000", "type 4 with 0 bytes; it has 4", 16},
    {"05000000 0400 FF 00 0100000000000000", "type 4 with 5 bytes", 16},
    {"04000000 0400 FF 00 0000000000000000", "type 4 with the number 0", 16},
    {"04000000 0400 FF 00 0100000000000000 00000000", "outcome 0", 0},
    {"04000000 0400 FF 00 0100000000000000 03000000", "outcome 3", 0},
    {"04000000 0400 FF 00 0100000000000000 01000001", "outcome 16777217", 0},
    {"01000000 0500 FF 00 0100000000000000", "type 5 with 1 bytes", 16},
    {"00000000 0500 FF 00 0000000000000000", "type 5 with the number 0", 16},
    {"03000000 0600 FF 00 0100000000000000", "type 6 with 3 bytes; it has 4 and a sentence", 16},
    {"ED030000 0600 FF 00 0100000000000000", "type 6 with 1005 bytes", 16},
    {"04000000 0600 FF 00 0000000000000000", "type 6 with the number 0", 16},
    {"06000000 0600 FF 00 0100000000000000 01000000 C328", "not valid UTF-8", 0},
    {"05000000 0600 FF 00 0100000000000000 01000000 C3", "not valid UTF-8", 0},
    {"0F000000 0700 FF 00 0000000000000000", "type 7 with 15 bytes", 16},
    {"F9030000 0700 FF 00 0000000000000000", "type 7 with 1017 bytes", 16},
    {"10000000 0700 FF 00 0100000000000000", "type 7 with the number 1", 16},
    {"10000000 0700 FF 00 0000000000000000 00000000 01000000 0000000000000000", "must be zero", 0},
    {"11000000 0700 FF 00 0000000000000000 00000000 00000000 0000000000000000 80", "not valid UTF-8", 0},
};

static void refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *refusal = &refusals[i];
        uint8_t bytes[256] = {0};
        size_t all = hex_bytes(refusal->bytes, bytes, sizeof bytes), needs = refusal->needs != 0 ? refusal->needs : all;
        for (size_t length = 0; length < all + 4; length++) {
            struct telex_decoder decoder = {0}, untouched = {0};
            struct telex_frame frame;
            int r = decode(&decoder, bytes, length, &frame);
            if (r != (length < needs ? -EAGAIN : -EPROTO))
                fail_msg("%s, %zu bytes of it: %d", refusal->bytes, length, r);
            if (r == -EPROTO && strstr(telex_said(), refusal->words) == NULL)
                fail_msg("%s: %s", refusal->bytes, telex_said());
            assert_memory_equal(&decoder, &untouched, sizeof decoder);
        }
    }
    release_copy();
}

/* ---- what is skipped ---- */

static void unknown_optional_frames(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t body;
    } frames[] = {{"00000000 0800 FF 40 0000000000000000", 0},
                  {"00000000 0000 FF 40 0100000000000000", 0},
                  {"00000100 FFFF FF 40 FFFFFFFFFFFFFFFF", 65536}};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        uint8_t bytes[16];
        hex_bytes(frames[i].bytes, bytes, sizeof bytes);
        struct telex_decoder decoder = {0};
        struct telex_frame frame;
        assert_int_equal(decode(&decoder, bytes, 15, &frame), -EAGAIN);
        assert_int_equal(decode(&decoder, bytes, 16, &frame), 0);
        assert_int_equal(frame.kind, TELEX_FRAME_SKIP);
        assert_int_equal(frame.head, 16);
        assert_int_equal(frame.body, frames[i].body);
    }
    release_copy();
}

static void known_frames_may_be_optional(void **state)
{
    (void)state;
    uint8_t bytes[16];
    size_t length = hex_bytes("00000000 0500 FF 40 0300000000000000", bytes, sizeof bytes);
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    assert_int_equal(decode(&decoder, bytes, length, &frame), 0);
    assert_int_equal(frame.kind, TELEX_FRAME_CANCEL);
    assert_int_equal(frame.number, 3);
    release_copy();
}

static void unknown_optional_extensions(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t head, body;
        unsigned descriptors;
    } frames[] = {
        {"05000000 0000 00 20 0100000000000000 00000000 78", 20, 1, 0},
        {"08000000 0000 00 20 0100000000000000 04000000 0280 0000", 24, 0, 0},
        {"10000000 0000 00 20 0100000000000000 0C000000 FFFF 0800 0102030405060708", 32, 0, 0},
        {"17000000 0000 00 20 0100000000000000 12000000 0380 0200 AABB 0100 0400 03000000 0380 0000 78", 38, 1, 3},
        {"0D000000 0000 00 20 0100000000000000 08000000 0180 0400 01000000 78", 28, 1, 1},
    };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        uint8_t bytes[64];
        size_t all = hex_bytes(frames[i].bytes, bytes, sizeof bytes);
        for (size_t length = 0; length <= all; length++) {
            struct telex_decoder decoder = {0};
            struct telex_frame frame;
            int r = decode(&decoder, bytes, length, &frame);
            assert_int_equal(r, length < frames[i].head ? -EAGAIN : 0);
            if (r < 0)
                continue;
            assert_int_equal(frame.head, frames[i].head);
            assert_int_equal(frame.body, frames[i].body);
            assert_int_equal(frame.descriptors, frames[i].descriptors);
        }
    }
    release_copy();
}

/* 4,096 bytes of extensions are the most, beside 65,536 bytes of the message. */
static void longest_frame(void **state)
{
    (void)state;
    enum { PREFIX = 8 + 8 + 4 + TELEX_WIRE_EXTENSIONS, HEAD = TELEX_WIRE_HEADER + PREFIX };
    static uint8_t bytes[HEAD];
    telex_put32(bytes, PREFIX + TELEX_WIRE_PIECE);
    bytes[7] = TELEX_WIRE_REPLY | TELEX_WIRE_MORE | TELEX_WIRE_EXTENSION;
    bytes[8] = bytes[16] = 1;
    telex_put64(bytes + 24, TELEX_WIRE_PIECE + 1);
    telex_put32(bytes + 32, TELEX_WIRE_EXTENSIONS);
    telex_put16(bytes + 36, 0x9000);
    telex_put16(bytes + 38, TELEX_WIRE_EXTENSIONS - 4);
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    assert_int_equal(decode(&decoder, bytes, HEAD - 1, &frame), -EAGAIN);
    assert_int_equal(decode(&decoder, bytes, HEAD, &frame), 0);
    assert_int_equal(frame.head, HEAD);
    assert_int_equal(frame.body, TELEX_WIRE_PIECE);
    assert_true(frame.total == TELEX_WIRE_PIECE + 1);
    assert_true(HEAD + TELEX_WIRE_PIECE <= TELEX_WINDOW_LEAST);
    release_copy();
}

/* ---- pieces and lanes ---- */

static struct telex_frame piece(struct telex_decoder *decoder, unsigned lane, unsigned flags, uint64_t number, size_t body, bool first)
{
    struct telex_frame given = {.kind = TELEX_FRAME_DATA, .lane = (uint8_t)lane, .flags = (uint8_t)flags, .number = number,
                                .body = body, .total = 100, .first = first, .request = 6};
    struct telex_frame frame;
    uint8_t bytes[TELEX_WIRE_HEAD];
    size_t head = wire->head(&given, bytes);
    assert_int_equal(decode(decoder, bytes, head, &frame), 0);
    assert_int_equal(frame.head, head);
    assert_int_equal(frame.body, body);
    assert_int_equal(frame.first, first);
    assert_int_equal(frame.lane, lane);
    assert_int_equal(frame.flags, flags);
    return frame;
}

/* On each lane the frame after one with `more` is a later piece, whatever other lanes do meanwhile; later pieces carry no prefix. */
static void pieces_interleave(void **state)
{
    (void)state;
    struct telex_decoder decoder = {0};
    const unsigned more = TELEX_WIRE_MORE, reply = TELEX_WIRE_REPLY;
    for (unsigned lane = 0; lane < TELEX_WIRE_LANES; lane++) {
        struct telex_frame frame = piece(&decoder, lane, more | reply, lane + 1, 1, true);
        assert_int_equal(frame.head, 32);
        assert_true(frame.total == 100 && frame.request == 6);
    }
    for (unsigned lane = 0; lane < TELEX_WIRE_LANES; lane += 2)
        assert_int_equal(piece(&decoder, lane, more | reply, lane + 1, 98, false).head, 16);
    for (unsigned lane = 0; lane < TELEX_WIRE_LANES; lane += 2)
        assert_int_equal(piece(&decoder, lane, reply, lane + 1, 1, false).head, 16);
    for (unsigned lane = 0; lane < TELEX_WIRE_LANES; lane++)
        assert_int_equal(!!(decoder.assembling[lane / 32] & UINT32_C(1) << lane % 32), lane % 2);
    piece(&decoder, 0, 0, 1000, 0, true);
    piece(&decoder, 1, reply, 2, 99, false);
    piece(&decoder, 1, 0, 1001, 0, true);
    release_copy();
}

static void later_pieces_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *words;
    } later[] = {{"00000000 0000 00 00 0100000000000000", "empty piece"},
                 {"00000000 0000 00 10 0100000000000000", "empty piece"},
                 {"05000000 0000 00 20 0100000000000000", "extensions in a later piece"},
                 {"01000100 0000 00 00 0100000000000000", "a frame of 65537 bytes"},
                 {"01000100 0000 00 14 0100000000000000", "a frame of 65537 bytes"}};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        struct telex_decoder decoder = {0};
        piece(&decoder, 0, TELEX_WIRE_MORE, 1, 1, true);
        uint8_t bytes[16];
        hex_bytes(later[i].bytes, bytes, sizeof bytes);
        struct telex_frame frame;
        assert_int_equal(decode(&decoder, bytes, 16, &frame), -EPROTO);
        if (strstr(telex_said(), later[i].words) == NULL)
            fail_msg("%s: %s", later[i].bytes, telex_said());
        assert_int_equal(decoder.assembling[0], 1);
    }
    release_copy();
}

/* ---- what can be said ---- */

static void check(void **state)
{
    (void)state;
    telex_message message = telex_text("\n any bytes \r");
    assert_good(wire->check(&message));
    message.kind = TELEX_BINARY;
    message.type = 65535;
    message.lane = 254;
    message.length = 0;
    assert_good(wire->check(&message));
    message.lane = 255;
    assert_int_equal(wire->check(&message), -EINVAL);
    assert_non_null(strstr(telex_said(), "lane 255"));
    message.lane = 0;
    message.kind = 2;
    assert_int_equal(wire->check(&message), -EINVAL);
    assert_non_null(strstr(telex_said(), "kind 2"));
}

/* A sentence that is too long is cut between characters. */
static void long_sentences(void **state)
{
    (void)state;
    for (size_t before = 0; before < 3; before++) {
        char text[2 * TELEX_WIRE_SENTENCE];
        memset(text, 'x', before);
        size_t end = before;
        for (; end + 3 <= sizeof text; end += 3)
            memcpy(text + end, "\xE2\x82\xAC", 3);
        struct telex_frame given = {.kind = TELEX_FRAME_BYE, .sentence = text, .sentence_length = end}, frame;
        uint8_t bytes[TELEX_WIRE_CONTROL];
        size_t length = wire->head(&given, bytes);
        struct telex_decoder decoder = {0};
        assert_true(length <= TELEX_WIRE_HEADER + 16 + TELEX_WIRE_SENTENCE);
        assert_int_equal(decode(&decoder, bytes, length, &frame), 0);
        assert_true(frame.sentence_length > TELEX_WIRE_SENTENCE - 3 && frame.sentence_length <= TELEX_WIRE_SENTENCE);
        assert_memory_equal(frame.sentence, given.sentence, frame.sentence_length);
    }
    release_copy();
}

/* ---- docs/wire.md ---- */

/* The next line of `file` within a block that begins with ```hex; false at the block's end. *ret_heads: of data frames only the heads are shown. */
static bool next_line(FILE *file, char *line, int size, bool *inside, bool *ret_heads)
{
    while (fgets(line, size, file) != NULL) {
        if (strncmp(line, "```hex", 6) == 0) {
            *inside = true;
            *ret_heads = strstr(line, "heads") != NULL;
        } else if (*inside && strncmp(line, "```", 3) == 0) {
            *inside = false;
            return false;
        } else if (*inside) {
            return true;
        }
    }
    return false;
}

/* Appends the bytes at the start of the line; they end where three blanks, or the line, do. */
static size_t line_bytes(char *line, uint8_t *to, size_t room)
{
    line[strcspn(line, "\n")] = '\0';
    char *comment = strstr(line, "   ");
    if (comment != NULL)
        *comment = '\0';
    return hex_bytes(line, to, room);
}

static size_t same_greeting(const uint8_t *bytes, size_t length)
{
    struct telex_greeting greeting;
    uint8_t written[TELEX_GREETING_MAX];
    size_t whole = 0;
    assert_good(telex_greeting_decode(bytes, length, &greeting, &whole));
    assert_int_equal(telex_greeting_encode(&greeting, written), whole);
    assert_memory_equal(written, bytes, whole);
    return whole;
}

static size_t same_frame(struct telex_decoder *decoder, const uint8_t *bytes, size_t length, bool heads)
{
    struct telex_frame frame;
    uint8_t written[TELEX_WIRE_CONTROL];
    assert_good(decode(decoder, bytes, length, &frame));
    assert_int_equal(wire->head(&frame, written), frame.head);
    assert_memory_equal(written, bytes, frame.head);
    return frame.head + (heads ? 0 : frame.body);
}

/* Every example there is what this library reads and writes. */
static void documented(void **state)
{
    (void)state;
    const char *source = getenv("SOURCE");
    char path[512], line[256];
    snprintf(path, sizeof path, "%s/docs/wire.md", source != NULL ? source : ".");
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    unsigned blocks = 0;
    for (;;) {
        uint8_t bytes[1024];
        size_t length = 0, at = 0;
        bool inside = false, heads = false;
        while (next_line(file, line, sizeof line, &inside, &heads))
            length += line_bytes(line, bytes + length, sizeof bytes - length);
        if (length == 0)
            break;
        struct telex_decoder decoder = {0};
        if (memcmp(bytes, "telex", 5) == 0)
            at = same_greeting(bytes, length);
        while (at < length)
            at += same_frame(&decoder, bytes + at, length - at, heads);
        assert_int_equal(at, length);
        blocks++;
    }
    fclose(file);
    assert_true(blocks > 12);
    release_copy();
}

static void names(void **state)
{
    (void)state;
    assert_ptr_equal(telex_wire_named("telex"), &telex_wire_telex);
    assert_ptr_equal(telex_wire_named("lines"), &telex_wire_lines);
    assert_ptr_equal(telex_wire_named("raw"), &telex_wire_raw);
    assert_null(telex_wire_named(""));
    assert_null(telex_wire_named("Telex"));
    assert_null(telex_wire_named("telex "));
}

static const struct testing_case cases[] = {
    TESTING_CASE(examples_encoded),
    TESTING_CASE(examples_decoded),
    TESTING_CASE(refused),
    TESTING_CASE(unknown_optional_frames),
    TESTING_CASE(known_frames_may_be_optional),
    TESTING_CASE(unknown_optional_extensions),
    TESTING_CASE(longest_frame),
    TESTING_CASE(pieces_interleave),
    TESTING_CASE(later_pieces_refused),
    TESTING_CASE(check),
    TESTING_CASE(long_sentences),
    TESTING_CASE(documented),
    TESTING_CASE(names),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "wire_telex", cases, sizeof cases / sizeof *cases);
}
