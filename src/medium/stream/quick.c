/* SPDX-License-Identifier: MIT */
/*
 * The short way of small plain messages that follow each other: out into the staging buffer, in from the input buffer. What they cost then is a share
 * of a system call that moves hundreds, and these few instructions. Nothing is decided here: what is not plain, or not in order, or not alone, goes the long
 * way (admit.c, input.c), which does the same to the same counts.
 */
#include <string.h>

#include "base/bytes.h"
#include "medium/stream/stream.h"
#include "os/clock.h"
#include "wire/frame.h"

enum { LOOK_EVERY = 16 }; /* messages between two looks at the clock, which costs about as much as a message */

/* As telex_stream_remember() of a message that was offered. */
static inline void remember(struct telex_stream *stream, uint64_t number, unsigned lane)
{
    uint8_t *slot = stream->outcomes[number % STREAM_OUTCOMES];
    if (__builtin_expect(slot[1] == TELEX_UNKNOWN, 0) && number > STREAM_OUTCOMES)
        stream->forgotten++;
    slot[0] = (uint8_t)lane;
    slot[1] = TELEX_OFFERED;
}

/* Looked at now and then: whether what was gathered should go now. */
static inline bool is_old(const struct telex_link *link)
{
    return __builtin_expect(link->gathered % LOOK_EVERY == LOOK_EVERY - 1, 0) && link->helped && telex_clock() - link->gathered_since >= TELEX_GATHER_NS;
}

bool telex_stream_put_quickly(struct telex_link *link, telex_message *message, unsigned flags)
{
    struct telex_stream *stream = stream_of(link);
    /* Relaxed: the hint is looked at again under the lock by way of helper_works, which is lowered together with it. */
    bool gathers = (flags & TELEX_MORE) || atomic_load_explicit(&link->bursting, memory_order_relaxed);
    if (!gathers || !telex_link_is_plain(message, flags) || !telex_link_is_undisturbed(link, 0))
        return false;
    telex_lock(&link->out);
    size_t length = message->length, bytes = TELEX_WIRE_HEADER + length, end = stream->staging_end + bytes;
    bool fits = end <= stream->quick_until && length <= stream->quick_put_most && link->helped == link->helper_works && !is_old(link);
    if (__builtin_expect(fits, 1)) {
        uint8_t *to = stream->staging + stream->staging_end;
        uint64_t number = ++stream->number;
        message->number = number;
        telex_frame_put(to, length, message->type, message->lane, 0, number);
        telex_copy_few(to + TELEX_WIRE_HEADER, message->data, length);
        stream->staging_end = end;
        remember(stream, number, message->lane);
        stream_count_begun(stream, bytes, true);
        stream->admitted_messages++;
        stream->admitted_bytes += length;
        link->quick_sent_bytes += bytes;
        link->gathered++;
        atomic_store_explicit(&link->held, true, memory_order_relaxed); /* a hint: see telex_link_waits */
    }
    telex_unlock(&link->out);
    return fits;
}

static inline bool take(struct telex_stream *stream, telex_message *ret_message)
{
    size_t there = stream->input_end - stream->input_at;
    if (there < TELEX_WIRE_HEADER)
        return false;
    const uint8_t *from = stream->input + stream->input_at;
    struct telex_frame_header header = telex_frame_get(from);
    size_t length = header.size, bytes = TELEX_WIRE_HEADER + length;
    struct stream_lane_in *lane = &stream->lane_in;
    struct telex_memory *memory = ret_message->memory;
    if (stream->quick_take_most == 0 || header.lane != 0 || header.flags != 0 || length > stream->quick_take_most || bytes > there || header.number <= lane->last ||
        stream->arrived_bytes + bytes > atomic_load_explicit(&stream->credit_bytes, memory_order_relaxed) || !telex_memory_reusable(memory, length))
        return false;
    telex_copy_few(memory->bytes, from + TELEX_WIRE_HEADER, length);
    stream->input_at += bytes;
    stream->arrived_bytes += bytes;
    stream->arrived_messages++;
    stream->taken_bytes += bytes;
    stream->taken_costly++;
    stream->link.quick_received_bytes += length;
    lane->last = lane->highest = header.number;
    /* Relaxed, as in telex_stream_take(): counts that the other side reads under [out]. */
    atomic_store_explicit(&lane->taken, header.number, memory_order_relaxed);
    atomic_store_explicit(&stream->quick_taken, atomic_load_explicit(&stream->quick_taken, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_store_explicit(&stream->taken_messages, atomic_load_explicit(&stream->taken_messages, memory_order_relaxed) + 1, memory_order_relaxed);
    *ret_message = (telex_message){
        .data = memory->bytes,
        .length = length,
        .number = header.number,
        .type = header.type,
        .kind = TELEX_BINARY,
        .memory = memory,
    };
    if (__builtin_expect(stream->taken_bytes + stream->link.window >= stream->asked_bytes + stream_telling_distance(stream), 0))
        telex_stream_credit(stream);
    else
        atomic_store_explicit(&stream->credit_bytes, stream->taken_bytes + stream->link.window, memory_order_relaxed);
    return true;
}

enum telex_taken telex_stream_take_quickly(struct telex_link *link, telex_message *ret_message)
{
    struct telex_stream *stream = stream_of(link);
    if (!telex_link_is_undisturbed(link, 1) || telex_link_waits(link))
        return TELEX_TAKEN_SLOWLY;
    telex_lock(&link->in);
    enum telex_taken taken = take(stream, ret_message) ? TELEX_TAKEN_NOW : TELEX_TAKEN_SLOWLY;
    telex_unlock(&link->in);
    return taken;
}
