/* SPDX-License-Identifier: MIT */
/*
 * The short way of small plain messages. Those that follow each other go out through the staging buffer and come in from the input buffer: each costs a
 * share of a system call that moves hundreds, and these few instructions. A lone one is written at once, and read by whoever tries before it sleeps.
 * Nothing is decided here: what is not plain, or not in order, or not alone, goes the long way (admit.c, input.c), which does the same to the same counts.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "medium/stream/stream.h"
#include "os/clock.h"
#include "os/fork.h"
#include "wire/frame.h"

enum {
    LOOK_EVERY = 16,      /* messages between two looks at the clock, which costs about as much as a message */
    READS_IN_A_SPIN = 16, /* some 3 us: others who want the lock wait for so long, and so late is a deadline noticed */
};

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

/* A plain message's frame at `to`, with the next number. */
static inline void put_frame(struct telex_stream *stream, telex_message *message, uint8_t *to)
{
    message->number = stream->number + 1;
    telex_frame_put(to, message->length, message->type, message->lane, 0, message->number);
    telex_copy_few(to + TELEX_WIRE_HEADER, message->data, message->length);
}

/* It has left, or will: as telex_stream_put() counts it. */
static inline void count_admitted(struct telex_stream *stream, const telex_message *message)
{
    size_t bytes = TELEX_WIRE_HEADER + message->length;
    stream->number = message->number;
    remember(stream, message->number, message->lane);
    stream_count_begun(stream, bytes, true);
    stream->admitted_messages++;
    stream->admitted_bytes += message->length;
    stream->link.quick_sent_bytes += bytes;
}

static inline bool gather(struct telex_stream *stream, telex_message *message)
{
    struct telex_link *link = &stream->link;
    size_t end = stream->staging_end + TELEX_WIRE_HEADER + message->length;
    bool fits = end <= stream->quick_until && message->length <= stream->quick_put_most && link->helped == link->helper_works && !is_old(link);
    if (!__builtin_expect(fits, 1))
        return false;
    put_frame(stream, message, stream->staging + stream->staging_end);
    stream->staging_end = end;
    count_admitted(stream, message);
    link->gathered++;
    atomic_store_explicit(&link->held, true, memory_order_relaxed); /* a hint: see telex_link_waits */
    return true;
}

static bool write_alone(struct telex_stream *stream, telex_message *message)
{
    uint8_t bytes[TELEX_WIRE_HEADER + STREAM_COALESCE];
    size_t length = TELEX_WIRE_HEADER + message->length;
    if (stream->costly_bytes + length > stream->alone_until || message->length > stream->quick_put_most || telex_stream_reports_are_due(stream))
        return false;
    uint64_t before = message->number;
    put_frame(stream, message, bytes);
    struct iovec part = {bytes, length};
    ssize_t written = stream->bytes->ops->write(stream->bytes, &part, 1, NULL, 0);
    if (written < 0) {
        message->number = before;
        if (written != -EAGAIN)
            telex_stream_write_failed(stream, written); /* a socket tells only once */
        return false;
    }
    count_admitted(stream, message);
    if ((size_t)written < length)
        telex_stream_stage_rest(stream, bytes + written, length - (size_t)written);
    return true;
}

bool telex_stream_put_quickly(struct telex_link *link, telex_message *message, unsigned flags)
{
    struct telex_stream *stream = stream_of(link);
    if (!telex_link_is_plain(message, flags) || !telex_link_is_undisturbed(link, 0) || stream->generation != telex_generation())
        return false;
    telex_lock(&link->out);
    bool gathers = (flags & TELEX_MORE) || atomic_load_explicit(&link->bursting, memory_order_relaxed); /* written under the lock */
    bool put = gathers ? gather(stream, message) : write_alone(stream, message);
    telex_unlock(&link->out);
    return put;
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

/* Whether reading on is all that there is to do: then a message may come that the quick way takes. */
static inline bool may_come(const struct telex_stream *stream)
{
    return stream->input_at == stream->input_end && stream->quick_take_most > 0 && !stream->ended && !stream->dead;
}

enum telex_taken telex_stream_take_quickly(struct telex_link *link, telex_message *ret_message)
{
    struct telex_stream *stream = stream_of(link);
    if (!telex_link_is_undisturbed(link, 1) || telex_link_waits(link) || stream->generation != telex_generation())
        return TELEX_TAKEN_SLOWLY;
    telex_lock(&link->in);
    enum telex_taken taken = take(stream, ret_message) ? TELEX_TAKEN_NOW : may_come(stream) ? TELEX_TAKEN_LATER : TELEX_TAKEN_SLOWLY;
    telex_unlock(&link->in);
    return taken;
}

bool telex_stream_spin(struct telex_link *link, unsigned directions)
{
    struct telex_stream *stream = stream_of(link);
    if (directions != TELEX_ARM_IN || telex_link_waits(link))
        return true; /* whoever waits to send has more to try than to read */
    telex_lock(&link->in);
    bool news = !may_come(stream);
    for (unsigned i = 0; i < READS_IN_A_SPIN && !news; i++)
        news = telex_stream_read(stream) != -EAGAIN;
    telex_unlock(&link->in);
    return news;
}
