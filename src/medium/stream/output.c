/* SPDX-License-Identifier: MIT */
/*
 * What leaves: queues by lane, pieces, writing. What admit.c could not write at once waits here. In the order on the wire stand
 * first the staging buffer (whole frames, or the end of one), then the rest of the body of `current`; only when both are through does anything else begin. Between pieces control frames
 * go first, then the lanes take turns, a piece each: so neither control nor a reply on its own lane sticks behind a long queue.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "medium/stream/stream.h"
#include "os/fork.h"

static void set_blocked(struct telex_stream *stream, bool blocked)
{
    /* Relaxed: a hint to the receiving thread, which takes `out` before it acts on it. */
    atomic_store_explicit(&stream->link.blocked, blocked, memory_order_relaxed);
}

bool telex_stream_idle(const struct telex_stream *stream)
{
    return stream->staging_at == stream->staging_end && stream->current == NULL && stream->queued_messages == 0 &&
           stream->owed == NULL;
}

struct stream_lane_out *telex_stream_lane_out(struct telex_stream *stream, unsigned lane)
{
    struct stream_lane_out *at = &stream->lane_out;
    while (at->lane != lane) {
        if (at->next == NULL) {
            struct stream_lane_out *made = calloc(1, sizeof *made);
            if (made == NULL)
                return NULL;
            made->lane = lane;
            made->last = &made->first;
            at->next = made;
        }
        at = at->next;
    }
    return at;
}

void telex_stream_parcel_free(struct stream_parcel *parcel)
{
    telex_memory_release(parcel->memory);
    telex_descriptors_free(parcel->descriptors, parcel->descriptor_count);
    free(parcel);
}

void telex_stream_count_queued(struct telex_stream *stream, const struct stream_parcel *parcel, int by)
{
    bool costs = stream_costs(parcel->frame.flags);
    stream->queued_messages += by;
    stream->queued_replies += costs ? 0 : by;
    stream->unbegun += costs && !parcel->begun ? by : 0;
}

/* Takes the parcel at *at out of its lane's queue and frees it; what was not begun no longer counts as waiting. */
void telex_stream_unqueue(struct telex_stream *stream, struct stream_lane_out *lane, struct stream_parcel **at)
{
    struct stream_parcel *parcel = *at;
    *at = parcel->next;
    if (lane->last == &parcel->next)
        lane->last = at;
    telex_stream_count_queued(stream, parcel, -1);
    stream->queued_bytes -= parcel->length - parcel->sent;
    if (!stream_costs(parcel->frame.flags))
        stream->queued_reply_bytes -= parcel->length - parcel->sent;
    if (parcel->begun && parcel->length > TELEX_WIRE_PIECE)
        stream->begun_total[!stream_costs(parcel->frame.flags)] -= parcel->length;
    if (stream->borrowed == parcel)
        stream->borrowed = NULL;
    if (stream->passing == parcel)
        stream->passing = NULL;
    telex_stream_parcel_free(parcel);
}

void telex_stream_forget(struct telex_stream *stream)
{
    telex_stream_slow_down(stream);
    /* A frame that has begun is finished, or whatever follows would be read as part of it; of its message no further piece leaves. */
    struct stream_parcel *kept = stream->broken ? NULL : stream->current;
    if (kept != NULL)
        kept->abandoned = true;
    else
        stream->current = NULL;
    stream->current_left = kept != NULL ? stream->current_left : 0;
    for (struct stream_lane_out *lane = &stream->lane_out; lane != NULL; lane = lane->next)
        for (struct stream_parcel **at = &lane->first; *at != NULL;) {
            if (*at == kept)
                at = &(*at)->next;
            else
                telex_stream_unqueue(stream, lane, at);
        }
    while (stream->owed != NULL) {
        struct stream_owed *owed = stream->owed;
        stream->owed = owed->next;
        free(owed);
    }
    stream->owed_last = &stream->owed;
    stream->owed_count = 0;
}

void telex_stream_output_free(struct telex_stream *stream)
{
    stream->broken = true;
    telex_stream_forget(stream);
    for (struct stream_lane_out *lane = stream->lane_out.next, *next; lane != NULL; lane = next) {
        next = lane->next;
        free(lane);
    }
    free(stream->staging);
    free(stream->outcomes);
    free(stream->bye_sentence);
}

enum { PIECES_IN_A_WRITE = 17 }; /* a message of 1 MiB, and the rest of a piece before it */

bool telex_stream_make_staging(struct telex_stream *stream)
{
    if (stream->staging == NULL)
        stream->staging = malloc(STREAM_BUFFER);
    return stream->staging != NULL;
}

static size_t staging_room(const struct telex_stream *stream)
{
    return STREAM_BUFFER - stream->staging_end;
}

/* ---- filling the staging buffer with what goes next ---- */

static void stage_owed(struct telex_stream *stream)
{
    while (stream->owed != NULL && stream->owed->length <= staging_room(stream)) {
        struct stream_owed *owed = stream->owed;
        memcpy(stream->staging + stream->staging_end, owed->bytes, owed->length);
        stream->staging_end += owed->length;
        stream->owed = owed->next;
        if (stream->owed == NULL)
            stream->owed_last = &stream->owed;
        stream->owed_count--;
        free(owed);
    }
}

/* Bytes of the piece of `parcel` that comes `ahead` bytes after the next one, and whether it is the last one. */
static size_t next_piece(const struct telex_stream *stream, const struct stream_parcel *parcel, size_t ahead, bool *ret_last)
{
    size_t left = parcel->length - parcel->sent - ahead;
    size_t piece = stream->controls && left > TELEX_WIRE_PIECE ? TELEX_WIRE_PIECE : left;
    *ret_last = piece == left;
    return piece;
}

/* A message longer than a piece begins only while all that are midway fit the length agreed on: so the receiver's assembling is bounded. */
static bool may_begin(const struct telex_stream *stream, const struct stream_parcel *parcel)
{
    uint64_t midway = stream->begun_total[!stream_costs(parcel->frame.flags)]; /* a reply must not wait for a message that waits for credit */
    return parcel->begun || parcel->length <= TELEX_WIRE_PIECE || midway == 0 || midway + parcel->length <= stream->link.max;
}

/*
 * The head of the piece that comes `ahead` bytes of the message (and `cost` bytes of frames) after the next one, written to `to`; *ret_piece and
 * *ret_last tell of its body. 0: the peer's credit does not allow it.
 */
static size_t piece_head(struct telex_stream *stream, struct stream_parcel *parcel, size_t ahead, uint64_t cost, uint8_t *to,
                         size_t *ret_piece, bool *ret_last)
{
    size_t piece = next_piece(stream, parcel, ahead, ret_last);
    struct telex_frame frame = parcel->frame;
    frame.first = !parcel->begun && ahead == 0;
    frame.body = piece;
    frame.total = parcel->length;
    frame.descriptors = frame.first ? parcel->descriptor_count : 0;
    if (!*ret_last)
        frame.flags |= TELEX_WIRE_MORE;
    if (frame.descriptors > 0)
        frame.flags |= TELEX_WIRE_EXTENSION;
    size_t head = stream->link.wire->head(&frame, to);
    *ret_piece = piece;
    uint64_t reserve = piece > STREAM_COALESCE ? stream->reserve : 0;
    if (stream->controls && stream_costs(frame.flags) &&
        (stream->costly_bytes + cost + head + piece + reserve > stream->limit_bytes ||
         (frame.first && stream->costly_messages >= stream->limit_messages)))
        return 0;
    return head;
}

/* The piece with this head is going out now: everything that counts bytes and messages learns it. */
static void piece_begins(struct telex_stream *stream, struct stream_parcel *parcel, size_t head, size_t piece)
{
    bool costs = stream_costs(parcel->frame.flags);
    stream->costly_bytes += costs ? head + piece : 0;
    if (!parcel->begun) {
        stream->sent_messages++;
        stream->costly_messages += costs;
        stream->unbegun -= costs;
        if (parcel->length > TELEX_WIRE_PIECE)
            stream->begun_total[!costs] += parcel->length;
    }
    parcel->begun = true;
    parcel->sent += piece;
    stream->queued_bytes -= piece;
    stream->queued_reply_bytes -= costs ? 0 : piece;
}

/* Ends a parcel whose last byte was staged or written. */
static void parcel_done(struct telex_stream *stream, struct stream_parcel *parcel)
{
    struct stream_lane_out *lane = telex_stream_lane_out(stream, parcel->frame.lane);
    telex_stream_unqueue(stream, lane, &lane->first);
}

static void stage_tail(struct telex_stream *stream)
{
    memcpy(stream->staging + stream->staging_end, stream->link.wire->tail, stream->link.wire->tail_length);
    stream->staging_end += stream->link.wire->tail_length;
}

/* A parcel withdrawn between its pieces: the peer is told, the rest never leaves. */
static void give_up(struct telex_stream *stream, struct stream_parcel *parcel)
{
    struct telex_frame frame = {.kind = TELEX_FRAME_WITHDRAW, .number = parcel->frame.number};
    telex_stream_owe(stream, &frame);
    parcel_done(stream, parcel);
}

enum staged { STAGED_NONE, STAGED_SOME, STAGED_WRITE_FIRST };

/* Stages the next piece of the first parcel of `lane`; WRITE_FIRST: the buffer must be written before anything else can follow. */
static enum staged stage_lane(struct telex_stream *stream, struct stream_lane_out *lane)
{
    struct stream_parcel *parcel = lane->first;
    if (parcel == NULL || !may_begin(stream, parcel))
        return STAGED_NONE;
    if (parcel->abandoned) {
        give_up(stream, parcel);
        return STAGED_SOME;
    }
    bool last;
    size_t piece, tail = stream->link.wire->tail_length;
    bool passes = parcel->descriptor_count > 0 && !parcel->begun;
    if (passes && stream->staging_end > stream->staging_at)
        return STAGED_WRITE_FIRST; /* descriptors travel with the first byte of a write: it must be their frame's */
    if (staging_room(stream) < TELEX_WIRE_HEAD + STREAM_COALESCE + tail)
        return STAGED_WRITE_FIRST;
    size_t head = piece_head(stream, parcel, 0, 0, stream->staging + stream->staging_end, &piece, &last);
    if (head == 0 && stream->controls)
        return STAGED_NONE;
    const uint8_t *body = parcel->data + (parcel->sent - parcel->gone);
    piece_begins(stream, parcel, head, piece);
    stream->staging_end += head;
    if (passes)
        stream->passing = parcel;
    if (piece > STREAM_COALESCE || passes) {
        stream->current = parcel;
        stream->current_left = piece;
        return STAGED_WRITE_FIRST;
    }
    memcpy(stream->staging + stream->staging_end, body, piece);
    stream->staging_end += piece;
    if (last) {
        stage_tail(stream);
        parcel_done(stream, parcel);
    }
    return STAGED_SOME;
}

static void stage_bye(struct telex_stream *stream)
{
    if (!stream->finishing || stream->bye_written || !stream->controls || staging_room(stream) < 2 * TELEX_WIRE_CONTROL)
        return;
    bool all;
    stream->staging_end +=
        telex_stream_reports(stream, stream->staging + stream->staging_end, staging_room(stream) - TELEX_WIRE_CONTROL, true, &all);
    if (!all)
        return; /* the rest once this is written */
    struct telex_frame frame = {
        .kind = TELEX_FRAME_BYE,
        .code = stream->bye_code,
        .total = atomic_load_explicit(&stream->taken_messages, memory_order_relaxed), /* a count; nothing is ordered by it */
        .sentence = stream->bye_sentence,
        .sentence_length = stream->bye_sentence != NULL ? strlen(stream->bye_sentence) : 0,
    };
    stream->staging_end += stream->link.wire->head(&frame, stream->staging + stream->staging_end);
    stream->bye_written = true;
}

/* Stages what may go now, until the buffer is full, a long piece follows it, or nothing is left. */
static void stage(struct telex_stream *stream)
{
    if (stream->staging_at == stream->staging_end)
        stream->staging_at = stream->staging_end = 0;
    if (!stream->admitted || stream->bye_written)
        return; /* the passive side speaks only once it lets the peer in; after a goodbye nobody does */
    for (;;) {
        stage_owed(stream);
        if (stream->report_due && stream->owed == NULL) { /* an outcome always precedes the count that covers its number */
            bool all;
            stream->staging_end += telex_stream_reports(stream, stream->staging + stream->staging_end, staging_room(stream), true, &all);
            stream->report_due = !all; /* the rest once this is written */
        }
        enum staged staged = STAGED_NONE;
        struct stream_lane_out *start = stream->turn, *lane = start;
        do {
            staged = stage_lane(stream, lane);
            lane = lane->next != NULL ? lane->next : &stream->lane_out;
        } while (staged == STAGED_NONE && lane != start);
        if (staged == STAGED_SOME || stream->current != NULL)
            stream->turn = lane;
        if (staged != STAGED_SOME)
            break;
    }
    if (stream->current == NULL && stream->queued_messages == 0 && stream->owed == NULL)
        stage_bye(stream);
}

/* ---- writing ---- */

int telex_stream_write_failed(struct telex_stream *stream, ssize_t error)
{
    if (stream->link.out_end == 0) {
        stream->link.out_end = error == -EPIPE ? -EPIPE : error == -ECONNRESET ? -ECONNRESET : (int)error;
        if (error != -EPIPE && error != -ECONNRESET)
            telex_link_blame(&stream->link, telex_say((int)error, "writing to the peer failed: %s", strerror((int)-error)));
    }
    stream->broken = true;
    telex_stream_forget(stream);
    stream->staging_at = stream->staging_end = 0;
    return stream->link.out_end;
}

int telex_stream_stage_rest(struct telex_stream *stream, const uint8_t *bytes, size_t length)
{
    if (!telex_stream_make_staging(stream)) /* a frame cut off midway cannot be mended: the channel is lost */
        return telex_stream_write_failed(stream, -ENOMEM);
    telex_stream_slow_down(stream);
    memcpy(stream->staging, bytes, length);
    stream->staging_at = 0;
    stream->staging_end = length;
    set_blocked(stream, true);
    return 0;
}

/* ---- several pieces in one write ---- */

/*
 * Pieces of the present message that may follow its present one in the same write, where nothing else waits to come between
 * them. None of them counts as begun until a byte of it was written. One write of a megabyte instead of sixteen is worth a third of
 * tcp's throughput.
 */
struct train {
    int count;
    struct {
        uint8_t head[TELEX_WIRE_HEAD];
        size_t head_length, piece;
    } cars[PIECES_IN_A_WRITE - 1];
};

static int couple(struct telex_stream *stream, struct train *train, struct iovec *parts)
{
    struct stream_parcel *parcel = stream->current;
    train->count = 0;
    if (parcel == NULL || !stream->controls || parcel->abandoned || stream->queued_messages != 1 || stream->owed != NULL ||
        stream->report_due)
        return 0;
    size_t ahead = 0;
    uint64_t cost = 0;
    int used = 0;
    for (bool last = false; train->count < PIECES_IN_A_WRITE - 1 && !last && parcel->sent + ahead < parcel->length;) {
        size_t piece, head = piece_head(stream, parcel, ahead, cost, train->cars[train->count].head, &piece, &last);
        if (head == 0)
            break;
        parts[used++] = (struct iovec){train->cars[train->count].head, head};
        parts[used++] = (struct iovec){(uint8_t *)parcel->data + (parcel->sent + ahead - parcel->gone), piece};
        train->cars[train->count].head_length = head;
        train->cars[train->count++].piece = piece;
        ahead += piece;
        cost += head + piece;
    }
    return used;
}

static void wrote(struct telex_stream *stream, size_t written);

/* `written` bytes went beyond the piece that was being written: those of the train have begun, and one may be cut. */
static void wrote_train(struct telex_stream *stream, const struct train *train, size_t written)
{
    struct stream_parcel *parcel = stream->current;
    size_t first = stream->staging_end - stream->staging_at + stream->current_left;
    for (int i = 0; i < train->count && written > first; i++) {
        written -= first;
        size_t head = train->cars[i].head_length;
        piece_begins(stream, parcel, head, train->cars[i].piece);
        memcpy(stream->staging, train->cars[i].head, head);
        stream->staging_at = 0;
        stream->staging_end = head;
        stream->current_left = train->cars[i].piece;
        first = head + train->cars[i].piece;
    }
    wrote(stream, written);
}

/* What a write of `written` bytes finished. */
static void wrote(struct telex_stream *stream, size_t written)
{
    size_t staged = stream->staging_end - stream->staging_at;
    if (stream->passing != NULL) {
        struct stream_parcel *parcel = stream->passing;
        for (unsigned i = 0; i < parcel->descriptor_count; i++)
            telex_shut(parcel->descriptors[i]);
        parcel->descriptor_count = 0;
        stream->passing = NULL;
    }
    if (written < staged) {
        stream->staging_at += written;
        return;
    }
    stream->staging_at = stream->staging_end = 0;
    stream->current_left -= written - staged;
    struct stream_parcel *parcel = stream->current;
    if (parcel == NULL || stream->current_left > 0)
        return;
    stream->current = NULL;
    if (parcel->sent == parcel->length) {
        stage_tail(stream);
        parcel_done(stream, parcel);
    }
}

static ssize_t write_once(struct telex_stream *stream, struct train *train)
{
    struct iovec parts[2 * PIECES_IN_A_WRITE];
    int count = 0;
    if (stream->staging_end > stream->staging_at)
        parts[count++] = (struct iovec){stream->staging + stream->staging_at, stream->staging_end - stream->staging_at};
    if (stream->current != NULL) {
        struct stream_parcel *parcel = stream->current;
        parts[count++] = (struct iovec){
            (uint8_t *)parcel->data + (parcel->sent - stream->current_left - parcel->gone), stream->current_left};
    }
    struct stream_parcel *passing = stream->passing;
    count += couple(stream, train, parts + count);
    return stream->bytes->ops->write(stream->bytes, parts, count, passing != NULL ? passing->descriptors : NULL,
                                     passing != NULL ? passing->descriptor_count : 0);
}

static void end_writing(struct telex_stream *stream)
{
    bool wanted = stream->finishing && !stream->ended_writing && (stream->bye_written || !stream->controls);
    if (!wanted || !telex_stream_idle(stream))
        return;
    stream->ended_writing = true;
    stream->bytes->ops->end(stream->bytes);
}

int telex_stream_push(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    if (stream->broken)
        return link->out_end;
    set_blocked(stream, false);
    telex_stream_slow_down(stream);
    link->gathered = 0;
    atomic_store_explicit(&link->held, false, memory_order_relaxed); /* as blocked */
    if (telex_stream_idle(stream) && !stream->report_due && (!stream->finishing || stream->ended_writing))
        return 0;
    if (!telex_stream_make_staging(stream))
        return telex_say(-ENOMEM, "no memory for the buffer that messages leave through");
    for (;;) {
        if (stream->current == NULL)
            stage(stream);
        if (stream->staging_at == stream->staging_end && stream->current == NULL)
            break;
        struct train train;
        ssize_t written = write_once(stream, &train);
        if (written == -EAGAIN) {
            set_blocked(stream, true);
            return -EAGAIN;
        }
        if (written < 0)
            return telex_stream_write_failed(stream, written);
        /* Relaxed: the helper looks whether it is needed at all; it takes the lock to act. */
        atomic_store_explicit(&link->pushes, atomic_load_explicit(&link->pushes, memory_order_relaxed) + 1, memory_order_relaxed);
        wrote_train(stream, &train, (size_t)written);
    }
    end_writing(stream);
    return stream->queued_messages > 0 ? -EAGAIN : 0;
}

bool telex_stream_waits_for_medium(struct telex_stream *stream)
{
    return stream->link.blocked && (stream->staging_end > stream->staging_at || stream->current != NULL);
}
