/* SPDX-License-Identifier: MIT */
/*
 * Bytes as lines, read with as much room as the first byte says and in reads as long as the second one says: the messages are those that
 * a plain search for newlines finds.
 */
#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/wire.h"

struct reader {
    const uint8_t *bytes;
    size_t at, length, room, step;
    struct telex_decoder decoder;
};

/* The next frame, read as the driver reads: more bytes on -EAGAIN, `full` when there is no room for more. False at the end. */
static bool next(struct reader *reader, struct telex_frame *ret_frame)
{
    size_t left = reader->length - reader->at, there = 0;
    for (;;) {
        uint8_t *copy = fuzz_copy(reader->bytes + reader->at, there);
        int r = telex_wire_lines.decode(&reader->decoder, copy, there, there == reader->room, ret_frame);
        free(copy);
        bool greeting = reader->at == 0 && there >= 8 && memcmp(reader->bytes, "telex\r\n\x1a", 8) == 0;
        require(r == 0 || r == -EAGAIN || (r == -EPROTO && greeting));
        if (r == -EPROTO) {
            reader->at = reader->length; /* nothing follows */
            return false;
        }
        if (r == 0) {
            require(ret_frame->body + ret_frame->tail <= there && ret_frame->head == 0);
            reader->at += ret_frame->body + ret_frame->tail;
            return true;
        }
        if (there == left)
            return false;
        require(there < reader->room);
        size_t more = there + reader->step < reader->room ? there + reader->step : reader->room;
        there = more < left ? more : left;
    }
}

/* The line that begins at `from`: *ret_end is behind its text, the answer is behind its newline; 0: it has none. */
static size_t find_line(const uint8_t *bytes, size_t from, size_t length, size_t *ret_end)
{
    size_t at = from;
    while (at < length && bytes[at] != '\n')
        at++;
    if (at == length)
        return 0;
    *ret_end = at > from && bytes[at - 1] == '\r' ? at - 1 : at;
    return at + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length < 2)
        return 0;
    struct reader reader = {.bytes = bytes + 2, .length = length - 2, .room = 2u + bytes[0], .step = 1u + bytes[1]};
    struct telex_frame frame;
    size_t line = 0, filled = 0;
    bool first = true;
    for (size_t from = 0; next(&reader, &frame); from = reader.at) {
        bool more = frame.flags & TELEX_WIRE_MORE;
        require(frame.kind == TELEX_FRAME_DATA && (frame.flags & ~TELEX_WIRE_MORE) == TELEX_WIRE_TEXT);
        require(frame.first == first && reader.decoder.midway == more);
        require(more ? frame.body > 0 && frame.tail == 0 : frame.tail == 1 || frame.tail == 2);
        require(from == line + filled); /* pieces lie side by side */
        filled += frame.body;
        first = !more;
        if (more) {
            require(memchr(reader.bytes + from, '\n', frame.body) == NULL);
            continue;
        }
        size_t end = 0, after = find_line(reader.bytes, line, reader.length, &end);
        require(after == reader.at && end == line + filled);
        line = after;
        filled = 0;
    }
    require(memchr(reader.bytes + reader.at, '\n', reader.length - reader.at) == NULL);
    return 0;
}
