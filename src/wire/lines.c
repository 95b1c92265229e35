/* SPDX-License-Identifier: MIT */
/* wire=lines: one message a line of text, so that nc, telnet or ten lines of any language can be the peer. LF ends a line, CRLF is accepted. */
#include <errno.h>
#include <string.h>

#include "base/reason.h"
#include "wire/wire.h"

static int check(const telex_message *message)
{
    const char *text = message->data;
    if (message->kind != TELEX_TEXT)
        return telex_say(-EOPNOTSUPP, "wire=lines carries text only; use wire=telex for binary messages");
    if (message->type != 0 || message->lane != 0)
        return telex_say(-EOPNOTSUPP, "wire=lines has no types and no lanes; use wire=telex");
    if (message->length > 0 && memchr(text, '\n', message->length) != NULL)
        return telex_say(-EINVAL, "a message with a newline in it cannot be a line; use wire=telex, or send each line on its own");
    if (message->length > 0 && text[message->length - 1] == '\r')
        return telex_say(-EINVAL, "a message that ends with a carriage return cannot be a line: the peer would take CR LF for its end");
    return 0;
}

/* The buffer is full and the line goes on: a piece of it. A final CR stays, for LF may follow. */
static int give_piece(struct telex_decoder *decoder, const uint8_t *bytes, size_t length, struct telex_frame *frame)
{
    frame->body = bytes[length - 1] == '\r' ? length - 1 : length;
    if (frame->body == 0)
        return -EAGAIN;
    frame->flags |= TELEX_WIRE_MORE;
    decoder->midway = decoder->begun = true;
    return 0;
}

/* What a peer begins with that was told another wire. */
static const uint8_t greeting[8] = {'t', 'e', 'l', 'e', 'x', '\r', '\n', 0x1A};

static int decode(struct telex_decoder *decoder, const uint8_t *bytes, size_t length, bool full, struct telex_frame *ret_frame)
{
    if (!decoder->begun && length >= sizeof greeting && memcmp(bytes, greeting, sizeof greeting) == 0)
        return telex_say(-EPROTO, "the peer speaks wire=telex, and this side wire=lines: both must say the same");
    size_t from = decoder->scanned <= length ? decoder->scanned : 0; /* searched bytes are not searched again */
    const uint8_t *newline = length > from ? memchr(bytes + from, '\n', length - from) : NULL;
    struct telex_frame frame = {.kind = TELEX_FRAME_DATA, .flags = TELEX_WIRE_TEXT, .first = !decoder->midway};
    if (newline == NULL) {
        decoder->scanned = length;
        if (!full)
            return -EAGAIN;
        int r = give_piece(decoder, bytes, length, &frame);
        if (r < 0)
            return r;
    } else {
        frame.body = (size_t)(newline - bytes);
        frame.tail = 1;
        if (frame.body > 0 && newline[-1] == '\r') {
            frame.body--;
            frame.tail++;
        }
        decoder->midway = false;
        decoder->begun = true;
    }
    decoder->scanned = 0;
    *ret_frame = frame;
    return 0;
}

static size_t head(const struct telex_frame *frame, uint8_t *to)
{
    (void)frame, (void)to;
    return 0;
}

const struct telex_wire telex_wire_lines = {
    .name = "lines",
    .can = TELEX_CAN_TEXT | TELEX_CAN_CALL | TELEX_CAN_EMPTY,
    .check = check,
    .decode = decode,
    .head = head,
    .tail = "\n",
    .tail_length = 1,
};
