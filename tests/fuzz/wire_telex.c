/* SPDX-License-Identifier: MIT */
/*
 * Bytes as a stream of frames. Whatever they are: nothing is claimed beyond the limits, every part of a frame gives the same answer as the
 * whole, or asks for more, and what was decoded is written as the same bytes.
 */
#include <errno.h>

#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "wire/wire.h"

enum { HEAD_MOST = TELEX_WIRE_HEADER + 8 + 8 + 4 + TELEX_WIRE_EXTENSIONS };

static void check_data(const struct telex_frame *frame, const struct telex_decoder *before, const struct telex_decoder *after)
{
    bool more = frame->flags & TELEX_WIRE_MORE, reply = frame->flags & TELEX_WIRE_REPLY;
    uint32_t bit = UINT32_C(1) << frame->lane % 32;
    require(frame->lane < TELEX_WIRE_LANES && frame->number > 0);
    require(!(frame->flags & (TELEX_WIRE_OPTIONAL | 128)));
    require(!reply || !(frame->flags & TELEX_WIRE_CALL));
    require(frame->first == !(before->assembling[frame->lane / 32] & bit));
    require(more == !!(after->assembling[frame->lane / 32] & bit));
    require(frame->head >= TELEX_WIRE_HEADER && frame->head <= HEAD_MOST);
    require(frame->body <= TELEX_WIRE_PIECE && frame->tail == 0);
    require(frame->body > 0 || (frame->first && !more));
    require((frame->request > 0) == (frame->first && reply));
    require(frame->first && more ? frame->total > frame->body : frame->total == 0);
    require(frame->first || frame->descriptors == 0);
    require(frame->descriptors == 0 || frame->flags & TELEX_WIRE_EXTENSION);
}

static void check_control(const struct telex_frame *frame)
{
    require(frame->head >= TELEX_WIRE_HEADER && frame->head <= TELEX_WIRE_CONTROL && frame->body == 0);
    bool numbered = frame->kind != TELEX_FRAME_CREDIT && frame->kind != TELEX_FRAME_BYE;
    require((frame->number > 0) == numbered || frame->kind == TELEX_FRAME_TAKEN);
    require(frame->kind != TELEX_FRAME_TAKEN || frame->lane < TELEX_WIRE_LANES);
    require(frame->kind != TELEX_FRAME_OUTCOME || frame->code == TELEX_TAKEN || frame->code == TELEX_WITHDRAWN);
    require(frame->sentence_length <= TELEX_WIRE_SENTENCE && telex_utf8_valid(frame->sentence, frame->sentence_length));
}

/* Frames that this version can write are written as they came; the optional flag and unknown extensions are not. */
static void check_written(const struct telex_frame *frame, const uint8_t *bytes)
{
    if (frame->kind == TELEX_FRAME_SKIP)
        return;
    size_t prefix = (frame->flags & TELEX_WIRE_REPLY ? 8u : 0u) + (frame->flags & TELEX_WIRE_MORE ? 8u : 0u);
    static const uint8_t plain[] = {8, 0, 0, 0, 1, 0, 4, 0};
    if (frame->kind == TELEX_FRAME_DATA && (frame->flags & TELEX_WIRE_EXTENSION) &&
        (frame->head != TELEX_WIRE_HEADER + prefix + 12 || memcmp(bytes + TELEX_WIRE_HEADER + prefix, plain, sizeof plain) != 0))
        return;
    uint8_t written[TELEX_WIRE_CONTROL];
    size_t length = telex_wire_telex.head(frame, written);
    require(length == frame->head);
    require(length <= (frame->kind == TELEX_FRAME_DATA ? TELEX_WIRE_HEAD : TELEX_WIRE_CONTROL));
    if (frame->kind != TELEX_FRAME_DATA && (bytes[7] & TELEX_WIRE_OPTIONAL))
        written[7] |= TELEX_WIRE_OPTIONAL;
    require(memcmp(written, bytes, length) == 0);
}

/* A part of the frame asks for more, or gives the answer `r` and, but for where the sentence lies, the same frame. */
static void check_part(const struct telex_decoder *before, const uint8_t *bytes, size_t length, int r, const struct telex_frame *whole)
{
    struct telex_decoder decoder = *before;
    struct telex_frame frame;
    uint8_t *part = fuzz_copy(bytes, length);
    int got = telex_wire_telex.decode(&decoder, part, length, false, &frame);
    free(part);
    require(got == r || (got == -EAGAIN && memcmp(&decoder, before, sizeof decoder) == 0));
    if (got != 0)
        return;
    require(length >= frame.head);
    require(frame.kind == whole->kind && frame.head == whole->head && frame.body == whole->body && frame.first == whole->first);
    require(frame.number == whole->number && frame.request == whole->request && frame.total == whole->total);
    require(frame.bytes == whole->bytes && frame.messages == whole->messages && frame.code == whole->code);
    require(frame.descriptors == whole->descriptors && frame.type == whole->type && frame.lane == whole->lane);
    require(frame.flags == whole->flags && frame.sentence_length == whole->sentence_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct telex_decoder decoder = {0};
    for (size_t frames = 0; frames < 64; frames++) {
        struct telex_decoder before = decoder;
        struct telex_frame frame;
        int r = telex_wire_telex.decode(&decoder, bytes, length, false, &frame);
        require(r == 0 || r == -EAGAIN || r == -EPROTO);
        require(r != -EAGAIN || length < HEAD_MOST);
        require(r == 0 || memcmp(&decoder, &before, sizeof decoder) == 0);
        size_t parts = r == 0 ? frame.head : length < HEAD_MOST ? length : HEAD_MOST;
        for (size_t part = 0; part <= parts; part += part < 128 ? 1 : 61)
            check_part(&before, bytes, part, r, &frame);
        if (r != 0)
            break;
        require(frame.head <= length);
        if (frame.kind == TELEX_FRAME_DATA)
            check_data(&frame, &before, &decoder);
        else if (frame.kind == TELEX_FRAME_SKIP)
            require(frame.head == TELEX_WIRE_HEADER && frame.body <= 65536);
        else
            check_control(&frame);
        check_written(&frame, bytes);
        if (frame.kind == TELEX_FRAME_WITHDRAW) /* as the driver does with one that is midway */
            decoder.assembling[frame.number % 8] &= ~(UINT32_C(1) << frame.number % 31);
        size_t step = frame.head + frame.body;
        if (step > length)
            break;
        bytes += step;
        length -= step;
    }
    return 0;
}
