/* SPDX-License-Identifier: MIT */
/* wire=lines: lines and CR LF, cut at every byte; long lines in pieces; what cannot be said. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/reason.h"
#include "unit/testing.h"
#include "wire/wire.h"

static const struct telex_wire *const wire = &telex_wire_lines;

/* Decodes from memory of exactly `length` bytes, so that a sanitizer sees a step too far. */
static int decode(struct telex_decoder *decoder, const char *bytes, size_t length, bool full, struct telex_frame *ret_frame)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    memcpy(copy, bytes, length);
    int r = wire->decode(decoder, copy, length, full, ret_frame);
    free(copy);
    if (r == 0) {
        assert_int_equal(ret_frame->kind, TELEX_FRAME_DATA);
        assert_int_equal(ret_frame->head, 0);
        assert_int_equal(ret_frame->flags & ~TELEX_WIRE_MORE, TELEX_WIRE_TEXT);
        assert_true(ret_frame->body + ret_frame->tail <= length);
        assert_int_equal(ret_frame->lane | ret_frame->type, 0);
    }
    return r;
}

static void line(const char *bytes, size_t body, size_t tail)
{
    size_t whole = body + tail;
    for (size_t length = 0; length < whole; length++) {
        struct telex_decoder decoder = {0};
        struct telex_frame frame;
        assert_int_equal(decode(&decoder, bytes, length, false, &frame), -EAGAIN);
        assert_int_equal(decode(&decoder, bytes, length, false, &frame), -EAGAIN); /* nothing new came */
        assert_int_equal(decode(&decoder, bytes, whole, false, &frame), 0);
        assert_int_equal(frame.body, body);
    }
    for (size_t more = 0; whole + more <= strlen(bytes); more++) {
        struct telex_decoder decoder = {0};
        struct telex_frame frame;
        assert_int_equal(decode(&decoder, bytes, whole + more, more % 2, &frame), 0);
        assert_int_equal(frame.body, body);
        assert_int_equal(frame.tail, tail);
        assert_int_equal(frame.flags, TELEX_WIRE_TEXT);
        assert_true(frame.first);
        assert_false(decoder.midway);
        assert_int_equal(decoder.scanned, 0);
    }
}

static void lines(void **state)
{
    (void)state;
    line("hello\nworld\n", 5, 1);
    line("hello\r\nworld", 5, 2);
    line("\n\n", 0, 1);
    line("\r\n\n", 0, 2);
    line("\r\r\n", 1, 2);
    line("a\rb\n", 3, 1);
    line("a\r\rb\r\n", 4, 2);
}

/* The rest after a line is decoded as if the line had never been. */
static void one_after_another(void **state)
{
    (void)state;
    static const char bytes[] = "one\ntwo\r\n\nfour\n";
    static const size_t bodies[] = {3, 3, 0, 4};
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(decode(&decoder, bytes + at, sizeof bytes - 1 - at, false, &frame), 0);
        assert_int_equal(frame.body, bodies[i]);
        at += frame.body + frame.tail;
    }
    assert_int_equal(at, sizeof bytes - 1);
    assert_int_equal(decode(&decoder, bytes + at, 0, false, &frame), -EAGAIN);
}

/* What was searched is not searched again; fewer bytes than were searched are searched anew. */
static void searched_once(void **state)
{
    (void)state;
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    assert_int_equal(decode(&decoder, "abc", 3, false, &frame), -EAGAIN);
    assert_int_equal(decoder.scanned, 3);
    assert_int_equal(decode(&decoder, "abcd", 4, false, &frame), -EAGAIN);
    assert_int_equal(decoder.scanned, 4);
    assert_int_equal(decode(&decoder, "ab\n", 3, false, &frame), 0);
    assert_int_equal(frame.body, 2);
}

/* A line that is longer than the room of the reader comes in pieces, whatever that room is, with its CRs where they belong. */
static void pieces(void **state)
{
    (void)state;
    static const char *const texts[] = {"a long line without end\n", "a long line\r\n", "with\rin\r\rside\r\r\n", "\r\r\r\r\r\n", "12345678\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t room = 2; room < 12; room++) {
            char together[64];
            size_t at = 0, length = strlen(texts[i]), filled = 0, count = 0;
            struct telex_decoder decoder = {0};
            struct telex_frame frame = {0};
            while (at < length) {
                size_t there = length - at < room ? length - at : room;
                assert_int_equal(decode(&decoder, texts[i] + at, there, there == room, &frame), 0);
                assert_int_equal(frame.first, count++ == 0);
                assert_int_equal(!!(frame.flags & TELEX_WIRE_MORE), frame.tail == 0);
                assert_int_equal(decoder.midway, frame.tail == 0);
                memcpy(together + filled, texts[i] + at, frame.body);
                filled += frame.body;
                at += frame.body + frame.tail;
            }
            size_t expected = length - 1 - (texts[i][length - 2] == '\r');
            assert_int_equal(filled, expected);
            assert_memory_equal(together, texts[i], expected);
            assert_int_equal(frame.flags, TELEX_WIRE_TEXT);
        }
}

static void empty_last_piece(void **state)
{
    (void)state;
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    assert_int_equal(decode(&decoder, "abc", 3, true, &frame), 0);
    assert_int_equal(frame.body, 3);
    assert_int_equal(decode(&decoder, "\n", 1, false, &frame), 0);
    assert_int_equal(frame.body, 0);
    assert_int_equal(frame.tail, 1);
    assert_false(frame.first);
    assert_int_equal(frame.flags, TELEX_WIRE_TEXT);
    assert_int_equal(decode(&decoder, "abc\r", 4, true, &frame), 0); /* LF may follow */
    assert_true(frame.first);
    assert_int_equal(frame.body, 3);
    assert_int_equal(decode(&decoder, "\r\n", 2, false, &frame), 0);
    assert_int_equal(frame.body, 0);
    assert_int_equal(frame.tail, 2);
    assert_int_equal(decode(&decoder, "\r", 1, true, &frame), -EAGAIN); /* nothing to give out of a room of one byte */
}

static void check(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
    } texts[] = {{"", 0},           {"a line", 0},     {"\rcarriage\rreturns", 0}, {"\n", -EINVAL}, {"a\nb", -EINVAL},
                 {"ends\n", -EINVAL}, {"ends\r", -EINVAL}, {"\r", -EINVAL}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        telex_message message = telex_text(texts[i].text);
        assert_int_equal(wire->check(&message), texts[i].result);
    }
    telex_message message = telex_binary("bytes", 5);
    assert_int_equal(wire->check(&message), -EOPNOTSUPP);
    message = telex_binary(NULL, 0);
    message.kind = TELEX_TEXT;
    assert_good(wire->check(&message));
    message.lane = 1;
    assert_int_equal(wire->check(&message), -EOPNOTSUPP);
    message.lane = 0;
    message.type = 1;
    assert_int_equal(wire->check(&message), -EOPNOTSUPP);
}

static void written(void **state)
{
    (void)state;
    struct telex_frame frame = {.kind = TELEX_FRAME_DATA, .flags = TELEX_WIRE_TEXT, .body = 5, .number = 1, .first = true};
    uint8_t to[TELEX_WIRE_HEAD];
    assert_int_equal(wire->head(&frame, to), 0);
    assert_int_equal(wire->tail_length, 1);
    assert_string_equal(wire->tail, "\n");
}

/* Only at the very beginning: later, even where a long line is cut, it is text like other text. */
static void greetings_are_refused(void **state)
{
    (void)state;
    static const char greeting[] = "telex\r\n\x1a";
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    assert_int_equal(telex_wire_lines.decode(&decoder, (const uint8_t *)greeting, 8, false, &frame), -EPROTO);
    assert_non_null(strstr(telex_said(), "wire=telex"));
    decoder = (struct telex_decoder){0};
    assert_int_equal(telex_wire_lines.decode(&decoder, (const uint8_t *)"hello\n", 6, false, &frame), 0);
    assert_int_equal(telex_wire_lines.decode(&decoder, (const uint8_t *)greeting, 8, false, &frame), 0);
    assert_int_equal(frame.body, 5);
    decoder = (struct telex_decoder){0};
    assert_int_equal(telex_wire_lines.decode(&decoder, (const uint8_t *)"long", 4, true, &frame), 0);
    assert_int_equal(telex_wire_lines.decode(&decoder, (const uint8_t *)greeting, 8, false, &frame), 0);
    assert_int_equal(frame.body, 5);
}

static const struct testing_case cases[] = {
    TESTING_CASE(lines),
    TESTING_CASE(one_after_another),
    TESTING_CASE(searched_once),
    TESTING_CASE(pieces),
    TESTING_CASE(empty_last_piece),
    TESTING_CASE(check),
    TESTING_CASE(written),
    TESTING_CASE(greetings_are_refused),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "wire_lines", cases, sizeof cases / sizeof *cases);
}
