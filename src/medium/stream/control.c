/* SPDX-License-Identifier: MIT */
/*
 * Control frames: acting on the peer's, and telling it what was taken here and what it may send. What was taken is told
 * with the next message that leaves anyway, else when nothing is left to receive, at once for a synchronous message, and when half
 * the window has come together or the longest frame would no longer fit. Counts and limits are cumulative: a frame replaces all earlier ones of its kind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "medium/stream/stream.h"

struct stream_lane_in *telex_stream_lane_in(struct telex_stream *stream, unsigned lane)
{
    struct stream_lane_in *at = &stream->lane_in;
    while (at->lane != lane) {
        /* Relaxed: only [in] appends. */
        struct stream_lane_in *next = atomic_load_explicit(&at->next, memory_order_relaxed);
        if (next == NULL) {
            next = calloc(1, sizeof *next);
            if (next == NULL)
                return NULL;
            next->lane = lane;
            /* Release: whoever walks the list under [out] finds the node complete (acquire in the walks below). */
            atomic_store_explicit(&at->next, next, memory_order_release);
        }
        at = next;
    }
    return at;
}

static struct stream_lane_in *following(struct stream_lane_in *lane)
{
    return atomic_load_explicit(&lane->next, memory_order_acquire); /* pairs with the release in telex_stream_lane_in */
}

/* ---- telling ---- */

int telex_stream_owe(struct telex_stream *stream, const struct telex_frame *frame)
{
    if (stream->bye_written)
        return 0; /* nothing follows a goodbye */
    bool answer = frame->kind == TELEX_FRAME_OUTCOME || frame->kind == TELEX_FRAME_FAIL; /* the peer's doing; all else is as many as our own messages */
    if (answer && stream->owed_count >= STREAM_OWED)
        return telex_say(-EPROTO, "the peer asks for more answers than it reads");
    uint8_t bytes[TELEX_WIRE_CONTROL];
    size_t length = stream->link.wire->head(frame, bytes);
    struct stream_owed *owed = malloc(sizeof *owed + length);
    if (owed == NULL)
        return telex_say(-ENOMEM, "no memory for a control frame");
    owed->next = NULL;
    owed->length = length;
    memcpy(owed->bytes, bytes, length);
    telex_stream_slow_down(stream);
    *stream->owed_last = owed;
    stream->owed_last = &owed->next;
    stream->owed_count++;
    return 0;
}

bool telex_stream_unreported(struct telex_stream *stream)
{
    /* Relaxed: counts that only grow; one that is missed now is told the next time. */
    if (atomic_load_explicit(&stream->taken_messages, memory_order_relaxed) != stream->told_taken)
        return true;
    for (struct stream_lane_in *lane = &stream->lane_in; lane != NULL; lane = following(lane))
        if (atomic_load_explicit(&lane->taken, memory_order_relaxed) != lane->reported)
            return true;
    return false;
}

void telex_stream_untell(struct telex_stream *stream)
{
    for (struct stream_lane_in *lane = &stream->lane_in; lane != NULL; lane = following(lane))
        lane->reported = 0;
    stream->told_bytes = stream->told_messages = stream->told_taken = 0;
}

static size_t report_credit(struct telex_stream *stream, uint8_t *to, bool force)
{
    uint64_t bytes = atomic_load_explicit(&stream->credit_bytes, memory_order_relaxed);
    uint64_t messages = atomic_load_explicit(&stream->credit_messages, memory_order_relaxed);
    bool due = bytes - stream->told_bytes >= stream->link.window / 4 || messages != stream->told_messages;
    if (!due && !(force && bytes - stream->told_bytes >= stream->link.window / 16))
        return 0;
    stream->told_bytes = bytes;
    stream->told_messages = messages;
    struct telex_frame frame = {.kind = TELEX_FRAME_CREDIT, .bytes = bytes, .messages = messages};
    return stream->link.wire->head(&frame, to);
}

size_t telex_stream_reports(struct telex_stream *stream, uint8_t *to, size_t room, bool force, bool *ret_all)
{
    size_t length = 0;
    *ret_all = room >= TELEX_WIRE_HEAD;
    if (!*ret_all)
        return 0;
    length += report_credit(stream, to, force);
    uint64_t total = atomic_load_explicit(&stream->taken_messages, memory_order_relaxed);
    for (struct stream_lane_in *lane = &stream->lane_in; lane != NULL; lane = following(lane)) {
        uint64_t taken = atomic_load_explicit(&lane->taken, memory_order_relaxed);
        bool last = following(lane) == NULL; /* with nothing new of any lane, the last one's frame tells the total */
        if (taken == lane->reported && (!last || total == stream->told_taken))
            continue;
        if (room - length < TELEX_WIRE_HEAD) {
            *ret_all = false;
            break;
        }
        lane->reported = taken;
        stream->told_taken = total;
        struct telex_frame frame = {
            .kind = TELEX_FRAME_TAKEN,
            .number = taken,
            .total = total,
            .lane = (uint8_t)lane->lane,
        };
        length += stream->link.wire->head(&frame, to + length);
    }
    return length;
}

static void report_now(struct telex_stream *stream)
{
    telex_lock(&stream->link.out);
    if (telex_stream_unreported(stream) ||
        atomic_load_explicit(&stream->credit_messages, memory_order_relaxed) != stream->told_messages ||
        atomic_load_explicit(&stream->credit_bytes, memory_order_relaxed) - stream->told_bytes >= stream->link.window / 4) {
        stream->report_due = true;
        telex_stream_push(&stream->link);
    }
    telex_unlock(&stream->link.out);
}

void telex_stream_report(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    /* Relaxed: written in this direction only. */
    uint64_t taken = atomic_load_explicit(&stream->taken_messages, memory_order_relaxed);
    if (!stream->controls || taken == stream->asked_taken)
        return;
    stream->asked_taken = taken;
    report_now(stream);
}

void telex_stream_credit(struct telex_stream *stream)
{
    if (!stream->controls)
        return;
    uint64_t bytes = stream->taken_bytes + stream->link.window + stream->assembling_cost;
    uint64_t taken = atomic_load_explicit(&stream->taken_messages, memory_order_relaxed);
    uint64_t given_back = stream->taken_costly + stream->withdrawn_arrivals;
    uint64_t messages = stream->queue == UINT64_MAX ? UINT64_MAX : given_back + stream->queue;
    /* Relaxed: numbers that only grow, read under [out]; a late reader tells a smaller limit, and is asked again. */
    if (bytes > atomic_load_explicit(&stream->credit_bytes, memory_order_relaxed))
        atomic_store_explicit(&stream->credit_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&stream->credit_messages, messages, memory_order_relaxed);
    /*
     * Where messages are counted, the peer may wait for each of these: what it has sent up to its limit may lie here unread, and whoever took a message
     * may now wait for what the peer does after its next one. So a short queue is told at once, a long one by the thirty-second part, and all of it when
     * nothing at hand is left to take.
     */
    bool drained = given_back == stream->arrived_messages;
    bool many = stream->queue != UINT64_MAX && messages != stream->asked_messages &&
                (drained || messages - stream->asked_messages > stream->queue / 32);
    if (bytes < stream->asked_bytes + stream_telling_distance(stream) && !many)
        return;
    stream->asked_bytes = bytes > stream->asked_bytes ? bytes : stream->asked_bytes;
    stream->asked_messages = messages;
    stream->asked_taken = taken;
    report_now(stream);
}

static void tell_taken(struct telex_stream *stream, uint64_t number)
{
    struct telex_frame frame = {.kind = TELEX_FRAME_OUTCOME, .number = number, .code = TELEX_TAKEN};
    telex_lock(&stream->link.out);
    telex_stream_owe(stream, &frame);
    telex_unlock(&stream->link.out);
}

/* Whether the next message may pass all that the long way looks at: nothing is midway, nothing waits to be taken. */
static void allow_quick(struct telex_stream *stream)
{
    bool alone = stream->link.in_end == 0 && stream->filling == NULL && stream->piece_left == 0 && stream->assemblies == NULL && !stream->goodbye &&
                 !stream->eager && stream->queue == UINT64_MAX && stream->link.fixed == UINT64_MAX &&
                 stream->arrived_messages == stream->taken_costly + stream->withdrawn_arrivals;
    uint64_t most = stream->ours.max < STREAM_COALESCE ? stream->ours.max : STREAM_COALESCE;
    stream->quick_take_most = alone ? (size_t)most : 0;
}

void telex_stream_take(struct telex_link *link, const telex_message *message, uint64_t cost)
{
    struct telex_stream *stream = stream_of(link);
    if (!stream->controls)
        return;
    stream->taken_bytes += cost;
    stream->taken_costly += !(message->flags & TELEX_IS_REPLY);
    uint64_t taken = atomic_load_explicit(&stream->taken_messages, memory_order_relaxed) + 1;
    atomic_store_explicit(&stream->taken_messages, taken, memory_order_relaxed);
    struct stream_lane_in *lane = telex_stream_lane_in(stream, message->lane); /* made when the message arrived */
    if (message->number > lane->highest)
        lane->highest = message->number;
    uint64_t waiting = link->waiting;
    bool overtook = waiting != 0 && waiting <= lane->highest;
    atomic_store_explicit(&lane->taken, overtook ? waiting - 1 : lane->highest, memory_order_relaxed);
    telex_stream_credit(stream);
    if ((message->flags & TELEX_IS_SYNC) && overtook) /* the lane's number cannot tell of it, and its sender waits */
        tell_taken(stream, message->number);
    if ((message->flags & TELEX_IS_SYNC) || stream->eager) {
        stream->asked_taken = taken;
        report_now(stream);
    }
    allow_quick(stream);
}

int telex_stream_tell(struct telex_link *link, enum telex_arrival_kind kind, uint64_t number, uint32_t code, const char *sentence)
{
    struct telex_stream *stream = stream_of(link);
    if (!stream->controls)
        return telex_say(-EOPNOTSUPP, "wire=%s has no words for that", link->wire->name);
    if (link->out_end != 0)
        return link->out_end;
    size_t length = sentence != NULL ? strlen(sentence) : 0;
    while (length > TELEX_WIRE_SENTENCE || (length > 0 && ((unsigned char)sentence[length] & 0xC0) == 0x80))
        length--; /* cut between characters */
    if (kind == TELEX_ARRIVAL_CANCEL && (telex_stream_take_back(stream, number) || telex_stream_abandon(stream, number)))
        return 0; /* the request never left, or not wholly: there is nothing to cancel */
    struct telex_frame frame = {
        .kind = kind == TELEX_ARRIVAL_CANCEL ? TELEX_FRAME_CANCEL : TELEX_FRAME_FAIL,
        .number = number,
        .code = code,
        .sentence = sentence,
        .sentence_length = length,
    };
    int r = telex_stream_owe(stream, &frame);
    if (r == 0)
        telex_stream_push(link);
    return r;
}

/* ---- acting on the peer's; each runs under [in] and [out] ---- */

static int on_taken(struct telex_stream *stream, const struct telex_frame *frame)
{
    if (frame->number > stream->number || frame->total > stream->sent_messages)
        return telex_say(-EPROTO, "the peer says it took message %llu (%llu in all), but only %llu were sent",
                         (unsigned long long)frame->number, (unsigned long long)frame->total,
                         (unsigned long long)stream->sent_messages);
    struct stream_lane_out *lane = telex_stream_lane_out(stream, frame->lane);
    if (lane != NULL && frame->number > lane->taken)
        lane->taken = frame->number;
    if (frame->total > stream->peer_taken)
        stream->peer_taken = frame->total;
    return 0;
}

static int on_credit(struct telex_stream *stream, const struct telex_frame *frame)
{
    if (frame->bytes > stream->limit_bytes)
        stream->limit_bytes = frame->bytes;
    if (frame->messages > stream->limit_messages)
        stream->limit_messages = frame->messages;
    telex_stream_push(&stream->link);
    return 0;
}

static int on_outcome(struct telex_stream *stream, const struct telex_frame *frame)
{
    int outcome = telex_stream_outcome(&stream->link, frame->number);
    int said = frame->code == 1 ? TELEX_TAKEN : TELEX_WITHDRAWN;
    if (outcome == -ENOENT && stream->forgotten > 0 && frame->number <= stream->number) { /* so late that only the counts still need it */
        stream->forgotten--;
        stream->withdrawn += said == TELEX_WITHDRAWN;
    }
    /* Else nobody asked, or it is known: an answer to a message given up midway. */
    if (outcome == TELEX_UNKNOWN || (outcome == TELEX_OFFERED && said == TELEX_TAKEN)) {
        telex_stream_remember(stream, frame->number, stream->outcomes[frame->number % STREAM_OUTCOMES][0], said);
        stream->withdrawn += said == TELEX_WITHDRAWN;
    }
    return 0;
}

static int on_bye(struct telex_stream *stream, const struct telex_frame *frame)
{
    struct telex_link *link = &stream->link;
    if (frame->total > stream->sent_messages)
        return telex_say(-EPROTO, "the peer says goodbye and that it took %llu messages, but only %llu were sent",
                         (unsigned long long)frame->total, (unsigned long long)stream->sent_messages);
    if (frame->total > stream->peer_taken)
        stream->peer_taken = frame->total;
    stream->goodbye = stream->told = stream->ended = true; /* whether or not the stream ends, too: nothing may follow */
    stream->eager = true;
    static const int errors[] = {
        [TELEX_BYE_CLOSED] = -EPIPE,           [TELEX_BYE_VERSION] = -EPROTONOSUPPORT, [TELEX_BYE_LIMIT] = -ECONNREFUSED,
        [TELEX_BYE_REFUSED] = -ECONNREFUSED,   [TELEX_BYE_PROTOCOL] = -EPROTO,
    };
    stream->ended_error = frame->code < sizeof errors / sizeof *errors ? errors[frame->code] : -EPIPE;
    if (frame->sentence_length > 0)
        telex_say(-EPIPE, "the peer said: %.*s", (int)frame->sentence_length, frame->sentence);
    else
        telex_say(-EPIPE, "the peer closed the channel");
    telex_link_blame(link, -EPIPE);
    link->out_end = -EPIPE;
    telex_stream_forget(stream);
    return 0;
}

static int (*const acts[])(struct telex_stream *, const struct telex_frame *) = {
    [TELEX_FRAME_TAKEN] = on_taken,
    [TELEX_FRAME_CREDIT] = on_credit,
    [TELEX_FRAME_OUTCOME] = on_outcome,
    [TELEX_FRAME_BYE] = on_bye,
};

static const enum telex_arrival_kind arrivals[] = {
    [TELEX_FRAME_WITHDRAW] = TELEX_ARRIVAL_WITHDRAW,
    [TELEX_FRAME_CANCEL] = TELEX_ARRIVAL_CANCEL,
    [TELEX_FRAME_FAIL] = TELEX_ARRIVAL_FAIL,
};

/* WITHDRAW of a message that is still arriving: what there is of it is thrown away, here and now. */
static bool withdraw_midway(struct telex_stream *stream, uint64_t number)
{
    for (struct stream_assembly **at = &stream->assemblies; *at != NULL; at = &(*at)->next) {
        if ((*at)->message.number != number)
            continue;
        uint64_t cost = (*at)->cost;
        bool reply = ((*at)->message.flags & TELEX_IS_REPLY) != 0;
        telex_stream_withdraw_assembly(stream, at);
        if (reply) /* it cost nothing */
            telex_stream_answer(stream, number, TELEX_WITHDRAWN);
        else
            telex_stream_decide(&stream->link, number, TELEX_WITHDRAWN, cost);
        return true;
    }
    return false;
}

int telex_stream_control(struct telex_stream *stream, const struct telex_frame *frame, struct telex_arrival *ret_arrival)
{
    if (frame->kind == TELEX_FRAME_WITHDRAW && withdraw_midway(stream, frame->number))
        return 0;
    if (frame->kind < sizeof acts / sizeof *acts && acts[frame->kind] != NULL) {
        telex_lock(&stream->link.out);
        int r = acts[frame->kind](stream, frame);
        telex_unlock(&stream->link.out);
        stream->link.news++;
        return r;
    }
    *ret_arrival = (struct telex_arrival){
        .kind = arrivals[frame->kind],
        .code = frame->code,
        .message = {.number = frame->number, .request = frame->number},
        .sentence = frame->sentence,
        .sentence_length = frame->sentence_length,
    };
    return 1;
}
