/* SPDX-License-Identifier: MIT */
/*
 * What arrives: reading, decoding, assembling. A small message stays where it was read and is lent from there; a long one is read
 * straight into memory of its own. Every length is checked against what was agreed before memory is taken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "medium/stream/stream.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/process.h"

/* ---- reading ---- */

static int read_ended(struct telex_stream *stream, ssize_t result)
{
    struct telex_link *link = &stream->link;
    stream->ended = true;
    if (stream->goodbye)
        return 0;
    bool unfinished = stream->input_at < stream->input_end || stream->filling != NULL || stream->assemblies != NULL;
    if (result < 0 && result != -ECONNRESET && result != -EPIPE)
        telex_say((int)result, "%s%s", result == -EMFILE ? "" : "reading from the peer failed: ",
                  result == -EMFILE ? "descriptors were lost on the way: this process is at its limit of open files"
                                    : strerror((int)-result));
    else if (stream->controls || result < 0)
        telex_say(-ECONNRESET, "the peer ended without a goodbye: it died, or the link broke");
    else if (unfinished)
        telex_say(-ECONNRESET, TELEX_LINK_CUT);
    else
        telex_say(-EPIPE, "the peer closed the channel");
    stream->ended_error = stream->controls || result < 0 || unfinished ? -ECONNRESET : -EPIPE;
    telex_link_blame(link, stream->ended_error);
    if (!stream->controls && result == 0 && !stream->dead)
        return 0; /* a peer that only shut down its writing still gets what is sent to it */
    bool locked = !stream->greeted; /* greeting reads under both locks */
    if (!locked)
        telex_lock(&link->out);
    if (link->out_end == 0 || link->out_end == -EPIPE)
        link->out_end = stream->ended_error;
    stream->broken = stream->controls || result < 0; /* what a dead peer read of lines and raw bytes, the medium may still tell */
    telex_stream_forget(stream);
    stream->staging_at = stream->staging_end = 0;
    if (!locked)
        telex_unlock(&link->out);
    link->news++;
    return 0;
}

static uint64_t readable(struct telex_stream *stream)
{
    int left = 0;
    return ioctl(telex_bytes_inlet(stream->bytes), FIONREAD, &left) < 0 ? 0 : (uint64_t)left;
}

void telex_stream_look_for_death(struct telex_stream *stream)
{
    if (stream->dead || !telex_process_ended(stream->death))
        return;
    stream->dead = true;
    stream->left_by_dead = readable(stream);
}

/*
 * After a read in vain: who never sleeps, for it spins or comes by again later, learns of the death here only. The look costs as much as the read, so it is
 * taken now and then. Whether it was news.
 */
static bool finds_it_dead(struct telex_stream *stream)
{
    if (stream->death < 0 || stream->dead)
        return false;
    int64_t now = telex_clock_roughly();
    if (now - stream->looked < STREAM_LOOK_NS)
        return false;
    stream->looked = now;
    telex_stream_look_for_death(stream);
    return stream->dead;
}

/* Whether nothing is left of what the dead peer wrote. A read that brings nothing does not tell: a medium may hold back what is there (fault). */
static bool is_read_out(struct telex_stream *stream)
{
    uint64_t left = stream->left_by_dead > 0 ? readable(stream) : 0; /* may be more: of a child that has the peer's descriptor */
    if (left < stream->left_by_dead)
        stream->left_by_dead = left;
    return stream->left_by_dead == 0;
}

static int make_room(struct telex_stream *stream)
{
    if (stream->input == NULL) {
        stream->input = malloc(STREAM_BUFFER);
        if (stream->input == NULL)
            return telex_say(-ENOMEM, "no memory for the buffer that messages arrive in");
    }
    if (stream->input_at == stream->input_end) {
        stream->input_at = stream->input_end = 0;
    } else if (stream->input_at > 0 && STREAM_BUFFER - stream->input_end < STREAM_DIRECT + TELEX_WIRE_EXTENSIONS) {
        memmove(stream->input, stream->input + stream->input_at, stream->input_end - stream->input_at);
        stream->input_end -= stream->input_at;
        stream->input_at = 0;
    }
    return 0;
}

static int read_by(struct telex_stream *stream, ssize_t (*read)(struct telex_bytes *, const struct iovec *, int, int *, unsigned *))
{
    if (stream->ended)
        return 0;
    int r = make_room(stream);
    if (r < 0)
        return r;
    struct iovec parts[2];
    int count = 0;
    size_t direct = 0;
    struct stream_assembly *filling = stream->filling;
    if (filling != NULL && stream->input_at == stream->input_end && stream->piece_left > 0) {
        direct = stream->piece_left;
        parts[count++] = (struct iovec){filling->memory->bytes + filling->filled, direct};
    }
    size_t room = STREAM_BUFFER - stream->input_end;
    if ((stream->input_large || direct > 0) && room > STREAM_AHEAD)
        room = STREAM_AHEAD;
    parts[count++] = (struct iovec){stream->input + stream->input_end, room};

    bool accepts = stream->ours.descriptors > 0 && stream->bytes->carries_descriptors && stream->controls;
    if (stream->held_count + TELEX_BYTES_DESCRIPTORS > STREAM_DESCRIPTORS)
        return telex_say(-EPROTO, "the peer sends descriptors without the messages that they belong to");
    ssize_t got = read(stream->bytes, parts, count, accepts ? stream->held : NULL, &stream->held_count);
    if (got == -EAGAIN || got == -EINTR)
        return (int)got;
    if (got <= 0)
        return read_ended(stream, got);
    size_t into = (size_t)got < direct ? (size_t)got : direct;
    if (into > 0) {
        filling->filled += into;
        stream->piece_left -= into;
    }
    stream->input_end += (size_t)got - into;
    stream->left_by_dead -= (uint64_t)got < stream->left_by_dead ? (uint64_t)got : stream->left_by_dead;
    if (stream->death >= 0 && ++stream->reads % STREAM_LOOK == 0)
        telex_stream_look_for_death(stream);
    return 0;
}

int telex_stream_read(struct telex_stream *stream)
{
    return read_by(stream, stream->bytes->ops->read);
}

int telex_stream_doze(struct telex_link *link, unsigned directions)
{
    struct telex_stream *stream = stream_of(link);
    (void)directions; /* whatever it waits for, it is bytes that tell */
    if (stream->bytes->ops->doze == NULL || stream->ended || link->in_end != 0 || telex_stream_has_work(stream))
        return -EOPNOTSUPP;
    int r = read_by(stream, stream->bytes->ops->doze);
    if (r < 0 && r != -EAGAIN && r != -EINTR)
        return telex_link_break(link, r);
    return r == -EINTR ? r : 0;
}

/* ---- assembling ---- */

static void assembly_free(struct stream_assembly *assembly)
{
    telex_memory_release(assembly->memory);
    free(assembly);
}

static void unlink_assembly(struct telex_stream *stream, struct stream_assembly **at)
{
    struct stream_assembly *assembly = *at;
    *at = assembly->next;
    stream->assembling_total[(assembly->message.flags & TELEX_IS_REPLY) != 0] -= assembly->message.length;
    stream->assembling_cost -= assembly->cost;
    unsigned lane = assembly->message.lane;
    stream->decoder.assembling[lane / 32] &= ~(UINT32_C(1) << (lane % 32));
}

void telex_stream_withdraw_assembly(struct telex_stream *stream, struct stream_assembly **at)
{
    struct stream_assembly *assembly = *at; /* between pieces: a control frame was decoded, so `filling` is NULL */
    unlink_assembly(stream, at);
    assembly_free(assembly);
}

void telex_stream_input_free(struct telex_stream *stream)
{
    while (stream->assemblies != NULL) {
        struct stream_assembly *assembly = stream->assemblies;
        stream->assemblies = assembly->next;
        assembly_free(assembly);
    }
    for (unsigned i = 0; i < stream->held_count; i++)
        telex_shut(stream->held[i]);
    stream->held_count = 0;
    free(stream->input);
    stream->input = NULL;
    struct stream_lane_in *lane = atomic_load_explicit(&stream->lane_in.next, memory_order_relaxed), *next;
    for (; lane != NULL; lane = next) {
        next = atomic_load_explicit(&lane->next, memory_order_relaxed);
        free(lane);
    }
}

static struct stream_assembly **assembly_of(struct telex_stream *stream, unsigned lane)
{
    struct stream_assembly **at = &stream->assemblies;
    while (*at != NULL && (*at)->message.lane != lane)
        at = &(*at)->next;
    return at;
}

/* ---- data frames ---- */

static telex_message message_of(const struct telex_frame *frame)
{
    unsigned flags = (frame->flags & TELEX_WIRE_CALL ? TELEX_IS_CALL : 0u) | (frame->flags & TELEX_WIRE_REPLY ? TELEX_IS_REPLY : 0u) |
                     (frame->flags & TELEX_WIRE_SYNC ? TELEX_IS_SYNC : 0u);
    return (telex_message){
        .number = frame->number,
        .request = frame->request,
        .type = frame->type,
        .kind = frame->flags & TELEX_WIRE_TEXT ? TELEX_TEXT : TELEX_BINARY,
        .lane = frame->lane,
        .flags = (uint8_t)flags,
    };
}

/* Whether the first piece of a message keeps to what was agreed. */
static int check_first(struct telex_stream *stream, const struct telex_frame *frame, uint64_t length)
{
    if (length > stream->ours.max)
        return telex_say(-EPROTO, "the peer sends a message of %llu bytes; at most %llu are accepted here (option max)",
                         (unsigned long long)length, (unsigned long long)stream->ours.max);
    if (!stream->controls) /* the length of a line is known at its end only */
        return 0;
    if (stream->link.fixed != UINT64_MAX && length != stream->link.fixed)
        return telex_say(-EPROTO, "the peer sends a message of %llu bytes; each has %llu (option size)",
                         (unsigned long long)length, (unsigned long long)stream->link.fixed);
    if (frame->descriptors > stream->ours.descriptors)
        return telex_say(-EPROTO, "the peer sends %u descriptors with a message; at most %u are accepted here (option descriptors)",
                         frame->descriptors, stream->ours.descriptors);
    if (frame->descriptors > stream->held_count)
        return telex_say(-EPROTO, "the peer announces %u descriptors with a message, but %u came", frame->descriptors,
                         stream->held_count);
    struct stream_lane_in *lane = telex_stream_lane_in(stream, frame->lane);
    if (lane == NULL)
        return telex_say(-ENOMEM, "no memory for lane %u", frame->lane);
    if (frame->number <= lane->last)
        return telex_say(-EPROTO, "the peer numbers a message %llu after %llu on lane %u: numbers must rise",
                         (unsigned long long)frame->number, (unsigned long long)lane->last, frame->lane);
    lane->last = frame->number;
    return 0;
}

static uint64_t cost_of(const struct telex_frame *frame)
{
    return stream_costs(frame->flags) ? frame->head + frame->body : 0;
}

/* Counts a frame against the credit that the peer has. */
static int check_credit(struct telex_stream *stream, const struct telex_frame *frame)
{
    if (!stream->controls || !stream_costs(frame->flags))
        return 0;
    stream->arrived_bytes += frame->head + frame->body;
    stream->arrived_messages += frame->first;
    if (stream->arrived_bytes > atomic_load_explicit(&stream->credit_bytes, memory_order_relaxed) ||
        stream->arrived_messages > atomic_load_explicit(&stream->credit_messages, memory_order_relaxed))
        return telex_say(-EPROTO, "the peer sends more than its credit allows (%llu bytes, %llu messages so far)",
                         (unsigned long long)stream->arrived_bytes, (unsigned long long)stream->arrived_messages);
    return 0;
}

/* The oldest `count` descriptors that came belong to the message in `memory`. */
static int give_held(struct telex_stream *stream, struct telex_memory *memory, unsigned count)
{
    if (count == 0)
        return 0;
    if (telex_memory_attach(memory, stream->held, count) < 0)
        return telex_say(-ENOMEM, "no memory for the descriptors of a message");
    stream->held_count -= count;
    memmove(stream->held, stream->held + count, stream->held_count * sizeof *stream->held);
    return 0;
}

/* The message owns `memory`, and the descriptors in it. */
static void set_memory(telex_message *message, struct telex_memory *memory)
{
    message->memory = memory;
    message->data = memory->bytes;
    message->descriptors = memory->descriptors;
    message->descriptor_count = (uint8_t)memory->descriptor_count;
}

/* A whole message lies in the input buffer: lent from there; with descriptors it gets memory of its own to hold them. */
static int lend(struct telex_stream *stream, const struct telex_frame *frame, struct telex_arrival *arrival)
{
    arrival->kind = TELEX_ARRIVAL_MESSAGE;
    arrival->message = message_of(frame);
    arrival->message.data = stream->input + stream->input_at + frame->head;
    arrival->message.length = frame->body;
    arrival->cost = cost_of(frame);
    if (frame->descriptors > 0) {
        struct telex_memory *memory = telex_memory_new(frame->body);
        if (memory == NULL || give_held(stream, memory, frame->descriptors) < 0) {
            telex_memory_release(memory);
            return telex_say(-ENOMEM, "no memory for a message of %zu bytes", frame->body);
        }
        memcpy(memory->bytes, arrival->message.data, frame->body);
        set_memory(&arrival->message, memory);
    }
    stream->input_at += frame->head + frame->body + frame->tail;
    stream->input_large = stream->controls && frame->body > STREAM_DIRECT;
    return 0;
}

/* The message begins that will be put together of this and further pieces or reads. */
static int begin_assembly(struct telex_stream *stream, const struct telex_frame *frame, uint64_t length,
                          struct stream_assembly **ret_assembly)
{
    bool pieces = stream->controls && (frame->flags & TELEX_WIRE_MORE);
    uint64_t *total = &stream->assembling_total[(frame->flags & TELEX_WIRE_REPLY) != 0];
    if (pieces && *total > 0 && *total + length > stream->ours.max)
        return telex_say(-EPROTO, "the peer sends long messages on several lanes at once, together over %llu bytes",
                         (unsigned long long)stream->ours.max);
    struct stream_assembly *assembly = calloc(1, sizeof *assembly);
    struct telex_memory *memory = telex_memory_new(length);
    if (assembly == NULL || memory == NULL || give_held(stream, memory, frame->descriptors) < 0) {
        free(assembly);
        telex_memory_release(memory);
        return telex_say(-ENOMEM, "no memory for a message of %llu bytes", (unsigned long long)length);
    }
    assembly->message = message_of(frame);
    assembly->message.length = length;
    assembly->memory = memory;
    assembly->next = stream->assemblies;
    stream->assemblies = assembly;
    *total += length;
    *ret_assembly = assembly;
    return 0;
}

/* A later piece must go on with what the first one said. Lines learn the length as they come, the others know it. */
static int check_piece(struct telex_stream *stream, struct stream_assembly *assembly, const struct telex_frame *frame)
{
    uint64_t together = assembly->filled + frame->body;
    if (!stream->controls) {
        if (together > stream->ours.max)
            return telex_say(-EPROTO, "the peer sends a line of more than %llu bytes (option max)",
                             (unsigned long long)stream->ours.max);
        struct telex_memory *grown = assembly->memory;
        if (together > grown->capacity)
            grown = telex_memory_grow(grown, together * 2 < stream->ours.max ? together * 2 : stream->ours.max);
        if (grown == NULL)
            return telex_say(-ENOMEM, "no memory for a line of %llu bytes", (unsigned long long)together);
        assembly->memory = grown;
        stream->assembling_total[0] += together - assembly->message.length;
        assembly->message.length = together;
        return 0;
    }
    telex_message same = message_of(frame);
    const telex_message *first = &assembly->message;
    if (same.number != first->number || same.type != first->type || same.kind != first->kind || same.flags != first->flags)
        return telex_say(-EPROTO, "the peer mixes pieces of messages %llu and %llu on lane %u",
                         (unsigned long long)first->number, (unsigned long long)same.number, frame->lane);
    bool last = !(frame->flags & TELEX_WIRE_MORE);
    if (together > first->length || (last && together != first->length) || (!last && together == first->length))
        return telex_say(-EPROTO, "the pieces of message %llu do not add up to the %zu bytes that the peer announced",
                         (unsigned long long)first->number, first->length);
    return 0;
}

/* A message of one frame that will lie in the input buffer whole, if not yet. */
static bool fits_input(const struct telex_frame *frame)
{
    return frame->first && !(frame->flags & TELEX_WIRE_MORE) && frame->body <= STREAM_DIRECT;
}

/* 1: an arrival; 0: go on; -EAGAIN: its bytes are not all there. */
static int on_data(struct telex_stream *stream, const struct telex_frame *frame, struct telex_arrival *arrival)
{
    size_t there = stream->input_end - stream->input_at, whole = frame->head + frame->body + frame->tail;
    if (there < whole && fits_input(frame)) {
        if (frame->body > stream->ours.max) /* refused before its bytes are waited for */
            return check_first(stream, frame, frame->body);
        return -EAGAIN;
    }
    bool more = (frame->flags & TELEX_WIRE_MORE) != 0;
    uint64_t length = more && stream->controls ? frame->total : frame->body;
    int r = check_credit(stream, frame);
    if (r == 0 && frame->first)
        r = check_first(stream, frame, length);
    if (r < 0)
        return r;
    if (frame->first && !more && there >= whole) {
        r = lend(stream, frame, arrival);
        return r < 0 ? r : 1;
    }
    struct stream_assembly *assembly = *assembly_of(stream, frame->lane);
    if (frame->first)
        r = begin_assembly(stream, frame, length, &assembly);
    if (r == 0 && assembly == NULL) /* the decoder knows which lanes are midway, so it cannot be */
        r = telex_say(-EPROTO, "the peer continues a message on lane %u that never began", frame->lane);
    if (r == 0)
        r = check_piece(stream, assembly, frame);
    if (r < 0)
        return r;
    assembly->cost += cost_of(frame);
    stream->assembling_cost += cost_of(frame);
    stream->filling = assembly;
    stream->piece_left = frame->body;
    stream->piece_last = !more;
    stream->tail_left = frame->tail;
    stream->input_at += frame->head;
    stream->input_large = stream->controls;
    telex_stream_credit(stream);
    return 0;
}

static int finish_assembly(struct telex_stream *stream, struct telex_arrival *arrival)
{
    struct stream_assembly **at = assembly_of(stream, stream->filling->message.lane), *assembly = *at;
    unlink_assembly(stream, at);
    arrival->kind = TELEX_ARRIVAL_MESSAGE;
    arrival->message = assembly->message;
    arrival->cost = assembly->cost;
    set_memory(&arrival->message, assembly->memory);
    stream->filling = NULL;
    free(assembly);
    return 1;
}

/* Moves what the input buffer has of the present piece to its place. 1: an arrival; 0: the piece is through; -EAGAIN: more bytes are needed. */
static int continue_piece(struct telex_stream *stream, struct telex_arrival *arrival)
{
    size_t there = stream->input_end - stream->input_at;
    size_t move = there < stream->piece_left ? there : stream->piece_left;
    if (stream->filling != NULL && move > 0) {
        memcpy(stream->filling->memory->bytes + stream->filling->filled, stream->input + stream->input_at, move);
        stream->filling->filled += move;
    }
    stream->input_at += move;
    stream->piece_left -= move;
    if (stream->piece_left > 0)
        return -EAGAIN;
    there -= move;
    move = there < stream->tail_left ? there : stream->tail_left;
    stream->input_at += move;
    stream->tail_left -= move;
    if (stream->tail_left > 0)
        return -EAGAIN;
    if (stream->filling != NULL && stream->piece_last)
        return finish_assembly(stream, arrival);
    stream->filling = NULL;
    return 0;
}

/* ---- what comes next ---- */

static int on_frame(struct telex_stream *stream, const struct telex_frame *frame, struct telex_arrival *arrival)
{
    if (stream->goodbye)
        return telex_say(-EPROTO, "the peer goes on after its goodbye");
    if (frame->kind == TELEX_FRAME_DATA)
        return on_data(stream, frame, arrival);
    stream->input_at += frame->head;
    if (frame->kind == TELEX_FRAME_SKIP) {
        stream->piece_left = frame->body;
        return 0;
    }
    return telex_stream_control(stream, frame, arrival);
}

/* One step with what is there. 1: an arrival; 0: go on; -EAGAIN: more bytes are needed; or the peer broke the rules. */
static int step(struct telex_stream *stream, struct telex_arrival *arrival)
{
    if (stream->filling != NULL || stream->piece_left > 0)
        return continue_piece(stream, arrival);
    size_t there = stream->input_end - stream->input_at;
    if (there == 0)
        return -EAGAIN;
    struct telex_frame frame;
    bool full = there == STREAM_BUFFER;
    int r = stream->link.wire->decode(&stream->decoder, stream->input + stream->input_at, there, full, &frame);
    if (r < 0)
        return r;
    if (!(stream->link.wire->can & TELEX_CAN_EMPTY) && frame.body > stream->ours.max)
        frame.body = stream->ours.max; /* raw: what came is cut anywhere */
    if (!stream->controls)
        frame.number = frame.first ? ++stream->arrived_number : stream->arrived_number;
    return on_frame(stream, &frame, arrival);
}

int telex_stream_next(struct telex_link *link, struct telex_arrival *ret_arrival)
{
    struct telex_stream *stream = stream_of(link);
    stream->quick_take_most = 0; /* until what comes was taken: telex_stream_take() */
    if (link->in_end != 0)
        return link->in_end;
    for (int reads = 0;;) {
        int r = step(stream, ret_arrival);
        if (r == 1)
            return 0;
        if (link->in_end != 0)
            return link->in_end;
        if (r == 0)
            continue;
        if (r != -EAGAIN)
            return telex_link_break(link, r);
        if (stream->ended || stream->goodbye) { /* nothing but the end follows a goodbye: it need not be waited for */
            link->in_end = stream->ended_error;
            return link->in_end;
        }
        if (++reads > STREAM_READS)
            return -EAGAIN;
        r = stream->dead && stream->left_by_dead == 0 ? -EAGAIN : telex_stream_read(stream);
        if (r == -EAGAIN && stream->dead && is_read_out(stream)) {
            read_ended(stream, 0);
            continue;
        }
        stream->read_in_vain = r == -EAGAIN;
        if (r == -EAGAIN) {
            if (finds_it_dead(stream))
                continue;
            return r;
        }
        if (r < 0)
            return telex_link_break(link, r);
    }
}

/* Whether a step would do anything with what is there. */
bool telex_stream_has_work(const struct telex_stream *stream)
{
    size_t there = stream->input_end - stream->input_at;
    if (stream->link.in_end != 0 || stream->ended || stream->dead)
        return true;
    if (there == 0 || stream->filling != NULL || stream->piece_left > 0)
        return there > 0;
    struct telex_decoder decoder = stream->decoder; /* a copy: only looking */
    struct telex_frame frame;
    int r = stream->link.wire->decode(&decoder, stream->input + stream->input_at, there, there == STREAM_BUFFER, &frame);
    if (r == 0 && frame.kind == TELEX_FRAME_DATA && fits_input(&frame) && frame.body <= stream->ours.max)
        return there >= frame.head + frame.body + frame.tail;
    return r != -EAGAIN;
}
