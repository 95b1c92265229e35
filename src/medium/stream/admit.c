/* SPDX-License-Identifier: MIT */
/*
 * Admitting messages: a lone small one is encoded on the stack and written at once, with the news of what was taken here; small ones of a run (TELEX_MORE,
 * or a burst that the helper gathers) join the staging buffer, from where a whole buffer leaves in one write; everything else goes into its lane's
 * queue, from where output.c writes it. A full queue admits nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "medium/stream/stream.h"
#include "os/clock.h"

enum {
    TAKEN_BEFORE_TOLD = 16,  /* messages, while nobody sleeps */
    BURST_GAP_NS = 10000,    /* from one message of a burst to the next: some writes of a lone one take as long */
    BURST_FIRST = 4,         /* messages of a burst that go at once; from then on they are gathered */
};

static struct telex_frame frame_of(const telex_message *message, const struct telex_put *how)
{
    unsigned flags = (message->kind == TELEX_TEXT ? TELEX_WIRE_TEXT : 0u) | (how->call ? TELEX_WIRE_CALL : 0u) |
                     (how->request != 0 ? TELEX_WIRE_REPLY : 0u) | (how->flags & TELEX_SYNC ? TELEX_WIRE_SYNC : 0u);
    return (struct telex_frame){
        .kind = TELEX_FRAME_DATA,
        .request = how->request,
        .type = message->type,
        .lane = message->lane,
        .flags = (uint8_t)flags,
    };
}

/* Replies have a bound of their own: they must not wait behind messages that wait for a program that waits for the reply. */
static bool is_full(const struct telex_stream *stream, bool reply)
{
    uint64_t bytes = reply ? stream->queued_reply_bytes : stream->queued_bytes - stream->queued_reply_bytes;
    uint64_t messages = reply ? stream->queued_replies : stream->queued_messages - stream->queued_replies;
    if (bytes >= stream->buffer || messages * sizeof(struct stream_parcel) >= stream->buffer)
        return true;
    return !reply && stream->queue != UINT64_MAX && stream->costly_messages + stream->unbegun >= stream->limit_messages;
}

/* Whether a message of one small frame can be written at once, with nothing before it. */
static bool goes_direct(const struct telex_stream *stream, const telex_message *message, const struct telex_put *how)
{
    return message->length <= STREAM_COALESCE && message->descriptor_count == 0 &&
           telex_stream_idle(stream) && stream->admitted && !stream->finishing &&
           (!stream->controls || how->request != 0 ||
            (stream->costly_bytes + TELEX_WIRE_HEAD + message->length <= stream->limit_bytes &&
             stream->costly_messages < stream->limit_messages));
}

/* Who sleeps before its next message would tell what was taken by a write of its own: better with this one. Else every now and then will do. */
bool telex_stream_reports_are_due(struct telex_stream *stream)
{
    if (atomic_load_explicit(&stream->link.lively, memory_order_relaxed) &&
        atomic_load_explicit(&stream->taken_messages, memory_order_relaxed) - stream->told_taken < TAKEN_BEFORE_TOLD)
        return false;
    return telex_stream_unreported(stream);
}

/* Writes a small message as one frame to `to`. Returns its bytes without the tail, which is of no account. */
static size_t encode(struct telex_stream *stream, const telex_message *message, struct telex_frame *frame, uint8_t *to)
{
    const struct telex_wire *wire = stream->link.wire;
    frame->first = true;
    frame->body = frame->total = message->length;
    size_t head = wire->head(frame, to);
    if (message->length > 0)
        memcpy(to + head, message->data, message->length);
    memcpy(to + head + message->length, wire->tail, wire->tail_length);
    return head + message->length;
}

/* Writes a lone small message, and what was taken since the last time, from the stack. 0, -EAGAIN (nothing was written), or the error. */
static int write_direct(struct telex_stream *stream, const telex_message *message, struct telex_frame *frame)
{
    uint8_t bytes[TELEX_WIRE_HEAD + STREAM_COALESCE + 256];
    size_t data = encode(stream, message, frame, bytes), length = data + stream->link.wire->tail_length;
    if (stream->controls && telex_stream_reports_are_due(stream))
        length += telex_stream_reports(stream, bytes + length, sizeof bytes - length, false, &(bool){false});
    struct iovec part = {bytes, length};
    ssize_t written = stream->bytes->ops->write(stream->bytes, &part, 1, NULL, 0);
    if (written == -EAGAIN) {
        telex_stream_untell(stream);
        return -EAGAIN;
    }
    if (written < 0)
        return telex_stream_write_failed(stream, written);
    stream_count_begun(stream, data, stream_costs(frame->flags));
    if ((size_t)written == length)
        return 0;
    return telex_stream_stage_rest(stream, bytes + written, length - (size_t)written);
}

/* ---- small messages of a run ---- */

/* Whether this one comes so soon after others that the helper gathers them from now on; a loop of sends is meant, whatever the messages are. */
static bool is_burst(struct telex_stream *stream, const struct telex_put *how)
{
    struct telex_link *link = &stream->link;
    if (!link->helped || how->call || how->request != 0 || (how->flags & TELEX_SYNC))
        return false;
    if (atomic_load_explicit(&link->bursting, memory_order_relaxed))
        return true;
    int64_t now = telex_clock();
    stream->burst = now - stream->last_put < BURST_GAP_NS ? stream->burst + 1 : 0;
    stream->last_put = now;
    if (stream->burst < BURST_FIRST)
        return false;
    stream->burst = 0;
    atomic_store_explicit(&link->bursting, true, memory_order_relaxed); /* read under the lock wherever it matters */
    return true;
}

/* Nothing at all waits but what lies in the staging buffer. Up to where it may grow by data frames that cost credit; 0: it may not. */
static size_t joins_until(const struct telex_stream *stream)
{
    size_t room = stream->buffer < STREAM_BUFFER ? (size_t)stream->buffer : STREAM_BUFFER;
    uint64_t credit = stream->controls ? stream->limit_bytes - stream->costly_bytes : UINT64_MAX;
    if (stream->queued_messages > 0 || stream->current != NULL || stream->owed != NULL || !stream->admitted || stream->finishing || stream->link.out_end != 0 ||
        stream->costly_messages >= stream->limit_messages || atomic_load_explicit(&stream->link.blocked, memory_order_relaxed))
        return 0;
    return credit < STREAM_BUFFER && stream->staging_end + (size_t)credit < room ? stream->staging_end + (size_t)credit : room;
}

/* Nobody will want it back, and there is room; a full buffer is written first. */
static bool joins(struct telex_stream *stream, const telex_message *message, const struct telex_put *how)
{
    size_t bytes = TELEX_WIRE_HEAD + message->length + stream->link.wire->tail_length;
    if ((how->flags & TELEX_SYNC) || message->length > STREAM_COALESCE || message->descriptor_count > 0)
        return false;
    if (stream->staging != NULL && stream->staging_end + bytes > STREAM_BUFFER)
        telex_stream_push(&stream->link);
    return telex_stream_make_staging(stream) && stream->staging_end + bytes <= joins_until(stream);
}

/* What follows may go the short way; telex_stream_push(), and whatever else changes what waits, ends that. */
static void allow_quick(struct telex_stream *stream, bool joined)
{
    struct telex_link *link = &stream->link;
    bool plain = link->quick && link->fixed == UINT64_MAX && stream->limit_messages == UINT64_MAX && stream->outcomes != NULL;
    stream->quick_until = plain && joined ? joins_until(stream) : 0;
    stream->alone_until = plain && !joined && !link->helped && !link->thirsty ? stream->limit_bytes - link->window / 2 : 0;
    stream->quick_put_most = link->max < STREAM_COALESCE ? (size_t)link->max : STREAM_COALESCE;
}

static int join(struct telex_stream *stream, const telex_message *message, struct telex_frame *frame)
{
    size_t data = encode(stream, message, frame, stream->staging + stream->staging_end);
    stream->staging_end += data + stream->link.wire->tail_length;
    stream_count_begun(stream, data, stream_costs(frame->flags));
    if (stream->link.helped && stream->link.gathered == 0)
        stream->link.gathered_since = telex_clock();
    stream->link.gathered++;
    return 0;
}

/* Copies the program's bytes of `parcel` that did not leave yet, so that it stands on its own. */
static int own_bytes(struct telex_stream *stream, struct stream_parcel *parcel)
{
    size_t from = parcel->sent - (stream->current == parcel ? stream->current_left : 0);
    struct telex_memory *memory = telex_memory_new(parcel->length - from);
    if (memory == NULL)
        return telex_say(-ENOMEM, "no memory to queue a message of %zu bytes", parcel->length);
    if (parcel->length > from)
        memcpy(memory->bytes, parcel->data + from, parcel->length - from);
    parcel->memory = memory;
    parcel->data = memory->bytes;
    parcel->gone = from;
    return 0;
}

static int enqueue(struct telex_stream *stream, telex_message *message, const struct telex_put *how, const struct telex_frame *frame,
                   struct stream_parcel **ret_parcel)
{
    struct stream_lane_out *lane = telex_stream_lane_out(stream, message->lane);
    struct stream_parcel *parcel = calloc(1, sizeof *parcel);
    if (lane == NULL || parcel == NULL) {
        free(parcel);
        return telex_say(-ENOMEM, "no memory to queue a message");
    }
    parcel->frame = *frame;
    parcel->data = message->data != NULL ? message->data : (const uint8_t *)"";
    parcel->length = message->length;
    parcel->sync = (how->flags & TELEX_SYNC) != 0;
    struct telex_memory *memory = message->memory;
    int r = telex_descriptors_copy(message, &parcel->descriptors);
    parcel->descriptor_count = parcel->descriptors != NULL ? message->descriptor_count : 0;
    if (r == 0 && memory != NULL && memory->loan)
        parcel->memory = memory;
    else if (r == 0 && (!how->borrow || stream->borrowed != NULL))
        r = own_bytes(stream, parcel);
    else if (r == 0)
        stream->borrowed = parcel;
    if (r < 0) {
        telex_stream_parcel_free(parcel);
        return r;
    }
    telex_stream_slow_down(stream);
    *lane->last = parcel;
    lane->last = &parcel->next;
    telex_stream_count_queued(stream, parcel, 1);
    stream->queued_bytes += parcel->length;
    if (how->request != 0)
        stream->queued_reply_bytes += parcel->length;
    *ret_parcel = parcel;
    return 0;
}

/* The message has been admitted: it gets its place in the counts, and a loan changes hands. */
static void admitted(struct telex_stream *stream, telex_message *message, bool consumed)
{
    stream->admitted_messages++;
    stream->admitted_bytes += message->length;
    struct telex_memory *memory = message->memory;
    bool loan = memory != NULL && memory->loan;
    if (loan && !consumed)
        telex_memory_release(memory);
    if (loan || (memory != NULL && consumed))
        *message = (telex_message){.number = message->number, .type = message->type, .lane = message->lane, .kind = message->kind};
}

int telex_stream_put(struct telex_link *link, telex_message *message, const struct telex_put *how)
{
    struct telex_stream *stream = stream_of(link);
    if (link->out_end != 0)
        return link->out_end;
    bool reply = how->request != 0;
    if (is_full(stream, reply)) {
        telex_stream_push(link);
        if (link->out_end != 0 || is_full(stream, reply))
            return link->out_end != 0 ? link->out_end : -EAGAIN;
    }

    struct telex_frame frame = frame_of(message, how);
    uint64_t number = frame.number = stream->number + 1;
    int r = -EAGAIN;
    bool more = (how->flags & TELEX_MORE) != 0 || is_burst(stream, how), joined = false;
    if (!more && goes_direct(stream, message, how))
        r = write_direct(stream, message, &frame);
    else if ((joined = joins(stream, message, how)))
        r = join(stream, message, &frame);
    struct stream_parcel *parcel = NULL;
    if (r == -EAGAIN && link->out_end == 0)
        r = enqueue(stream, message, how, &frame, &parcel);
    if (r < 0)
        return link->out_end != 0 ? link->out_end : r;
    message->number = stream->number = number;
    telex_stream_remember(stream, number, message->lane, TELEX_OFFERED);
    link->thirsty = stream->controls && (stream->limit_bytes - stream->costly_bytes < stream->link.window / 2 || parcel != NULL);
    admitted(stream, message, parcel != NULL && parcel->memory != NULL && parcel->memory == message->memory);
    if (parcel == NULL && !joined) {
        if (telex_stream_idle(stream)) /* the medium took all of it */
            allow_quick(stream, false);
        return 0;
    }
    bool old = joined && link->helped && telex_clock() - link->gathered_since >= TELEX_GATHER_NS;
    bool hold = more && !old && (joined || stream->queued_bytes < STREAM_BUFFER / 2 || (how->flags & TELEX_SYNC));
    if (hold)
        atomic_store_explicit(&link->held, true, memory_order_relaxed); /* a hint: see telex_link_waits */
    else
        telex_stream_push(link); /* an error here shows at the next call: this message was admitted */
    if (hold && joined)
        allow_quick(stream, true);
    link->wants_helper = link->helped && !link->helper_works && !telex_stream_idle(stream) && link->out_end == 0;
    return stream->borrowed != NULL ? TELEX_PUT_BORROWED : 0;
}

int telex_stream_keep(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    struct stream_parcel *parcel = stream->borrowed;
    if (parcel == NULL)
        return 0;
    stream->borrowed = NULL;
    int r = own_bytes(stream, parcel);
    if (r < 0) { /* part of it may have left: nothing can be taken back */
        telex_link_blame(link, r);
        telex_stream_write_failed(stream, r);
    }
    return r;
}

int telex_stream_drop(struct telex_link *link, unsigned lane_number)
{
    struct telex_stream *stream = stream_of(link);
    struct stream_lane_out *lane = telex_stream_lane_out(stream, lane_number);
    if (lane == NULL)
        return -ENOENT;
    for (struct stream_parcel **at = &lane->first; *at != NULL; at = &(*at)->next) {
        struct stream_parcel *parcel = *at;
        if (parcel->begun || parcel->sync || (parcel->frame.flags & (TELEX_WIRE_CALL | TELEX_WIRE_REPLY)))
            continue;
        telex_stream_remember(stream, parcel->frame.number, lane_number, TELEX_WITHDRAWN);
        stream->admitted_bytes -= parcel->length;
        telex_stream_unqueue(stream, lane, at);
        stream->dropped++;
        stream->admitted_messages--;
        return 0;
    }
    return -ENOENT;
}
