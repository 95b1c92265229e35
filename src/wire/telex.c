/* SPDX-License-Identifier: MIT */
/*
 * wire=telex: binary frames. docs/wire.md defines every byte. A frame is a header of 16 bytes (size of the rest, type, lane, flags, number)
 * and the rest: of data frames what only a first piece has (request, total length, TLVs) and the message's bytes; of control
 * frames, on lane 255, a short fixed body, in two kinds followed by a sentence.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/reason.h"
#include "base/utf8.h"
#include "wire/frame.h"
#include "wire/wire.h"

enum {
    FLAGS_RESERVED = 128,
    TLV_HEADER = 4,
    TLV_OPTIONAL = 0x8000,
    TLV_DESCRIPTORS = 1,
    PREFIX_MOST = 8 + 8 + 4 + TELEX_WIRE_EXTENSIONS,
    SKIPPED_MOST = 65536, /* bytes of an unknown optional frame */
};

static int check(const telex_message *message)
{
    if (message->lane >= TELEX_WIRE_CONTROL_LANE)
        return telex_say(-EINVAL, "lane %u; there are lanes 0 to %d", message->lane, TELEX_WIRE_CONTROL_LANE - 1);
    if (message->kind != TELEX_TEXT && message->kind != TELEX_BINARY)
        return telex_say(-EINVAL, "kind %u is neither TELEX_TEXT nor TELEX_BINARY", message->kind);
    return 0;
}

/* ---- data frames ---- */

static size_t data_head(const struct telex_frame *frame, uint8_t *to)
{
    uint8_t *at = to + TELEX_WIRE_HEADER;
    unsigned flags = frame->flags & ~(unsigned)TELEX_WIRE_EXTENSION;
    if (frame->first && (flags & TELEX_WIRE_REPLY)) {
        telex_put64(at, frame->request);
        at += 8;
    }
    if (frame->first && (flags & TELEX_WIRE_MORE)) {
        telex_put64(at, frame->total);
        at += 8;
    }
    if (frame->first && frame->descriptors > 0) {
        flags |= TELEX_WIRE_EXTENSION;
        telex_put32(at, TLV_HEADER + 4);
        telex_put16(at + 4, TLV_DESCRIPTORS);
        telex_put16(at + 6, 4);
        telex_put32(at + 8, frame->descriptors);
        at += 12;
    }
    size_t head = (size_t)(at - to);
    telex_frame_put(to, head - TELEX_WIRE_HEADER + frame->body, frame->type, frame->lane, flags, frame->number);
    return head;
}

static int read_extensions(const uint8_t *at, size_t length, struct telex_frame *frame)
{
    while (length > 0) {
        if (length < TLV_HEADER)
            return telex_say(-EPROTO, "an extension of message %llu is cut off", (unsigned long long)frame->number);
        unsigned type = telex_get16(at), size = telex_get16(at + 2);
        if (size > length - TLV_HEADER)
            return telex_say(-EPROTO, "extension %u of message %llu is longer than what is left", type & ~(unsigned)TLV_OPTIONAL,
                             (unsigned long long)frame->number);
        if ((type & ~(unsigned)TLV_OPTIONAL) == TLV_DESCRIPTORS) {
            if (size != 4 || frame->descriptors != 0 || telex_get32(at + TLV_HEADER) == 0)
                return telex_say(-EPROTO, "message %llu counts its descriptors wrongly", (unsigned long long)frame->number);
            frame->descriptors = telex_get32(at + TLV_HEADER);
        } else if (!(type & TLV_OPTIONAL)) {
            return telex_say(-EPROTO, "message %llu needs extension %u, which is not known here", (unsigned long long)frame->number, type);
        }
        at += TLV_HEADER + size;
        length -= TLV_HEADER + size;
    }
    return 0;
}

static int check_data(const struct telex_frame *frame, size_t size)
{
    if (size > TELEX_WIRE_PIECE + (frame->first ? (size_t)PREFIX_MOST : 0))
        return telex_say(-EPROTO, "a frame of %zu bytes; longer messages go in pieces of at most %d", size, TELEX_WIRE_PIECE);
    if (frame->flags & (FLAGS_RESERVED | TELEX_WIRE_OPTIONAL))
        return telex_say(-EPROTO, "a message frame with flags 0x%02x, of which some must be zero", frame->flags);
    if ((frame->flags & TELEX_WIRE_CALL) && (frame->flags & TELEX_WIRE_REPLY))
        return telex_say(-EPROTO, "a message that is both a call and a reply");
    if (frame->number == 0)
        return telex_say(-EPROTO, "a message with the number 0; numbers begin with 1");
    if (!frame->first && (frame->flags & TELEX_WIRE_EXTENSION))
        return telex_say(-EPROTO, "extensions in a later piece of message %llu", (unsigned long long)frame->number);
    return 0;
}

/* What only first pieces have, before the bytes. 0, -EAGAIN (more bytes are needed), -EPROTO. */
static int read_prefix(const uint8_t *bytes, size_t length, size_t size, struct telex_frame *frame)
{
    size_t fixed = (frame->flags & TELEX_WIRE_REPLY ? 8u : 0u) + (frame->flags & TELEX_WIRE_MORE ? 8u : 0u) +
                   (frame->flags & TELEX_WIRE_EXTENSION ? 4u : 0u);
    if (size < fixed)
        return telex_say(-EPROTO, "message frame %llu is too short for what its flags announce", (unsigned long long)frame->number);
    if (length < TELEX_WIRE_HEADER + fixed)
        return -EAGAIN;
    const uint8_t *at = bytes + TELEX_WIRE_HEADER;
    if (frame->flags & TELEX_WIRE_REPLY) {
        frame->request = telex_get64(at);
        at += 8;
        if (frame->request == 0)
            return telex_say(-EPROTO, "a reply to request 0; numbers begin with 1");
    }
    if (frame->flags & TELEX_WIRE_MORE) {
        frame->total = telex_get64(at);
        at += 8;
    }
    frame->head = TELEX_WIRE_HEADER + fixed;
    if (!(frame->flags & TELEX_WIRE_EXTENSION))
        return 0;
    size_t extensions = telex_get32(at);
    if (extensions > TELEX_WIRE_EXTENSIONS || extensions > size - fixed)
        return telex_say(-EPROTO, "message %llu announces %zu bytes of extensions", (unsigned long long)frame->number, extensions);
    if (length < frame->head + extensions)
        return -EAGAIN;
    frame->head += extensions;
    return read_extensions(at + 4, extensions, frame);
}

static int decode_data(struct telex_decoder *decoder, const uint8_t *bytes, size_t length, size_t size, struct telex_frame *frame)
{
    uint32_t bit = UINT32_C(1) << (frame->lane % 32), *word = &decoder->assembling[frame->lane / 32];
    frame->kind = TELEX_FRAME_DATA;
    frame->first = !(*word & bit);
    frame->head = TELEX_WIRE_HEADER;
    int r = check_data(frame, size);
    if (r == 0 && frame->first)
        r = read_prefix(bytes, length, size, frame);
    if (r < 0)
        return r;
    frame->body = size + TELEX_WIRE_HEADER - frame->head;
    bool more = (frame->flags & TELEX_WIRE_MORE) != 0;
    if (frame->body > TELEX_WIRE_PIECE)
        return telex_say(-EPROTO, "%zu message bytes in one frame; at most %d go in one", frame->body, TELEX_WIRE_PIECE);
    if ((more || !frame->first) && frame->body == 0)
        return telex_say(-EPROTO, "an empty piece of message %llu", (unsigned long long)frame->number);
    if (frame->first && more && frame->total <= frame->body)
        return telex_say(-EPROTO, "message %llu goes on after its %llu bytes", (unsigned long long)frame->number,
                         (unsigned long long)frame->total);
    *word = more ? *word | bit : *word & ~bit;
    return 0;
}

/* ---- control frames ---- */

enum { NUMBERED = 1, UNNUMBERED = 2, SENTENCE = 4 };

static const struct control {
    uint16_t type;
    uint8_t body;   /* bytes, before a sentence */
    uint8_t traits;
} controls[] = {
    [TELEX_FRAME_TAKEN] = {1, 16, NUMBERED | UNNUMBERED}, [TELEX_FRAME_CREDIT] = {2, 16, UNNUMBERED},
    [TELEX_FRAME_WITHDRAW] = {3, 0, NUMBERED},            [TELEX_FRAME_OUTCOME] = {4, 4, NUMBERED},
    [TELEX_FRAME_CANCEL] = {5, 0, NUMBERED},              [TELEX_FRAME_FAIL] = {6, 4, NUMBERED | SENTENCE},
    [TELEX_FRAME_BYE] = {7, 16, UNNUMBERED | SENTENCE},
};

static const enum telex_frame_kind kinds[] = { /* by type on the wire */
    TELEX_FRAME_SKIP, TELEX_FRAME_TAKEN,  TELEX_FRAME_CREDIT, TELEX_FRAME_WITHDRAW,
    TELEX_FRAME_OUTCOME, TELEX_FRAME_CANCEL, TELEX_FRAME_FAIL, TELEX_FRAME_BYE,
};

static size_t control_head(const struct telex_frame *frame, uint8_t *to)
{
    const struct control *control = &controls[frame->kind];
    uint8_t *body = to + TELEX_WIRE_HEADER;
    size_t size = control->body;
    memset(body, 0, size);
    switch (frame->kind) {
    case TELEX_FRAME_TAKEN:
        telex_put64(body, frame->total);
        body[8] = frame->lane;
        break;
    case TELEX_FRAME_CREDIT:
        telex_put64(body, frame->bytes);
        telex_put64(body + 8, frame->messages);
        break;
    case TELEX_FRAME_OUTCOME:
        telex_put32(body, frame->code);
        break;
    case TELEX_FRAME_FAIL:
        telex_put32(body, frame->code);
        break;
    case TELEX_FRAME_BYE:
        telex_put32(body, frame->code);
        telex_put64(body + 8, frame->total);
        break;
    default:
        break;
    }
    if ((control->traits & SENTENCE) && frame->sentence_length > 0) {
        size_t length = frame->sentence_length;
        while (length > TELEX_WIRE_SENTENCE || (length < frame->sentence_length && (frame->sentence[length] & 0xC0) == 0x80))
            length--; /* cut between characters */
        memcpy(body + size, frame->sentence, length);
        if (!telex_utf8_valid(body + size, length)) /* a sentence in another code: better half of it than a broken channel */
            for (size_t i = 0; i < length; i++)
                body[size + i] = body[size + i] < 0x80 ? body[size + i] : '?';
        size += length;
    }
    telex_frame_put(to, size, control->type, TELEX_WIRE_CONTROL_LANE, 0, control->traits & NUMBERED ? frame->number : 0);
    return TELEX_WIRE_HEADER + size;
}

static int check_control(const struct telex_frame *frame, const struct control *control, size_t size)
{
    bool sentence = (control->traits & SENTENCE) != 0;
    if (size < control->body || size > control->body + (sentence ? TELEX_WIRE_SENTENCE : 0u))
        return telex_say(-EPROTO, "a control frame of type %u with %zu bytes; it has %u%s", control->type, size, control->body,
                         sentence ? " and a sentence" : "");
    if (!(control->traits & (frame->number != 0 ? NUMBERED : UNNUMBERED)))
        return telex_say(-EPROTO, "a control frame of type %u with the number %llu", control->type, (unsigned long long)frame->number);
    return 0;
}

static int read_control(const uint8_t *body, size_t size, const struct control *control, struct telex_frame *frame)
{
    static const uint8_t zeros[8];
    switch (frame->kind) {
    case TELEX_FRAME_TAKEN:
        frame->total = telex_get64(body);
        frame->lane = body[8];
        if (frame->lane >= TELEX_WIRE_CONTROL_LANE || memcmp(body + 9, zeros, 7) != 0)
            return telex_say(-EPROTO, "a count of taken messages with a lane that does not exist or bytes that must be zero");
        break;
    case TELEX_FRAME_CREDIT:
        frame->bytes = telex_get64(body);
        frame->messages = telex_get64(body + 8);
        break;
    case TELEX_FRAME_OUTCOME:
        frame->code = telex_get32(body);
        if (frame->code != TELEX_TAKEN && frame->code != TELEX_WITHDRAWN)
            return telex_say(-EPROTO, "outcome %u of a withdrawal; there are 1 (taken) and 2 (withdrawn)", frame->code);
        break;
    case TELEX_FRAME_FAIL:
        frame->code = telex_get32(body);
        break;
    case TELEX_FRAME_BYE:
        frame->code = telex_get32(body);
        frame->total = telex_get64(body + 8);
        if (telex_get32(body + 4) != 0)
            return telex_say(-EPROTO, "a goodbye with bytes set that must be zero");
        break;
    default:
        break;
    }
    frame->sentence = (const char *)body + control->body;
    frame->sentence_length = size - control->body;
    if ((control->traits & SENTENCE) && !telex_utf8_valid(frame->sentence, frame->sentence_length))
        return telex_say(-EPROTO, "a sentence that is not valid UTF-8");
    return 0;
}

static int decode_control(const uint8_t *bytes, size_t length, size_t size, struct telex_frame *frame)
{
    unsigned type = frame->type;
    if (frame->flags & ~(unsigned)TELEX_WIRE_OPTIONAL)
        return telex_say(-EPROTO, "a control frame with flags 0x%02x, of which some must be zero", frame->flags);
    if (type == 0 || type >= sizeof kinds / sizeof *kinds) {
        if (!(frame->flags & TELEX_WIRE_OPTIONAL) || size > SKIPPED_MOST)
            return telex_say(-EPROTO, "a control frame of type %u with %zu bytes, which is not known here", type, size);
        frame->kind = TELEX_FRAME_SKIP;
        frame->head = TELEX_WIRE_HEADER;
        frame->body = size;
        return 0;
    }
    frame->kind = kinds[type];
    int r = check_control(frame, &controls[frame->kind], size);
    if (r < 0)
        return r;
    if (length < TELEX_WIRE_HEADER + size)
        return -EAGAIN;
    frame->head = TELEX_WIRE_HEADER + size;
    return read_control(bytes + TELEX_WIRE_HEADER, size, &controls[frame->kind], frame);
}

/* ---- both ---- */

static size_t head(const struct telex_frame *frame, uint8_t *to)
{
    return frame->kind == TELEX_FRAME_DATA ? data_head(frame, to) : control_head(frame, to);
}

/* Member by member and in place: an initialiser becomes a string instruction and a copy, which take several times as long as decoding. */
static void clear(struct telex_frame *frame)
{
    frame->kind = TELEX_FRAME_DATA;
    frame->head = frame->body = frame->tail = 0;
    frame->number = frame->request = frame->total = frame->bytes = frame->messages = 0;
    frame->code = frame->descriptors = 0;
    frame->type = frame->lane = frame->flags = 0;
    frame->first = false;
    frame->sentence = NULL;
    frame->sentence_length = 0;
}

static int decode(struct telex_decoder *decoder, const uint8_t *bytes, size_t length, bool full, struct telex_frame *ret_frame)
{
    (void)full; /* no frame part that must lie together is as long as a buffer */
    if (length < TELEX_WIRE_HEADER)
        return -EAGAIN;
    clear(ret_frame);
    struct telex_frame_header header = telex_frame_get(bytes);
    ret_frame->type = header.type;
    ret_frame->lane = header.lane;
    ret_frame->flags = header.flags;
    ret_frame->number = header.number;
    size_t size = header.size;
    return ret_frame->lane == TELEX_WIRE_CONTROL_LANE ? decode_control(bytes, length, size, ret_frame)
                                                      : decode_data(decoder, bytes, length, size, ret_frame);
}

const struct telex_wire telex_wire_telex = {
    .name = "telex",
    .can = TELEX_CAN_GREET | TELEX_CAN_BINARY | TELEX_CAN_TEXT | TELEX_CAN_LANES | TELEX_CAN_CALL | TELEX_CAN_EMPTY,
    .check = check,
    .decode = decode,
    .head = head,
    .tail = "",
};
