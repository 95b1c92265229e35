/* SPDX-License-Identifier: MIT */
/*
 * What becomes of sent messages, and taking synchronous ones back. Over a stream the decision is the receiver's: until a message's last piece
 * has begun the sender may still take it back alone; after that it asks, and the outcome is unknown until an answer comes.
 */
#include <errno.h>
#include <stdlib.h>

#include "medium/stream/stream.h"

void telex_stream_remember(struct telex_stream *stream, uint64_t number, unsigned lane, int outcome)
{
    if (stream->outcomes == NULL)
        stream->outcomes = calloc(STREAM_OUTCOMES, sizeof *stream->outcomes);
    if (stream->outcomes == NULL || number + STREAM_OUTCOMES <= stream->number)
        return; /* without memory outcomes are just not known */
    uint8_t *slot = stream->outcomes[number % STREAM_OUTCOMES];
    if (outcome == TELEX_OFFERED && slot[1] == TELEX_UNKNOWN && number > STREAM_OUTCOMES)
        stream->forgotten++;
    slot[0] = (uint8_t)lane;
    slot[1] = (uint8_t)outcome;
}

int telex_stream_outcome(struct telex_link *link, uint64_t number)
{
    struct telex_stream *stream = stream_of(link);
    if (number == 0 || number > stream->number || number + STREAM_OUTCOMES <= stream->number || stream->outcomes == NULL)
        return -ENOENT;
    const uint8_t *slot = stream->outcomes[number % STREAM_OUTCOMES];
    if (slot[1] == TELEX_WITHDRAWN || slot[1] == TELEX_TAKEN)
        return slot[1];
    for (const struct stream_lane_out *lane = &stream->lane_out; lane != NULL; lane = lane->next)
        if (lane->lane == slot[0] && lane->taken >= number)
            return TELEX_TAKEN;
    return slot[1];
}

static struct stream_parcel **find(struct telex_stream *stream, uint64_t number, struct stream_lane_out **ret_lane)
{
    for (struct stream_lane_out *lane = &stream->lane_out; lane != NULL; lane = lane->next)
        for (struct stream_parcel **at = &lane->first; *at != NULL; at = &(*at)->next)
            if ((*at)->frame.number == number) {
                *ret_lane = lane;
                return at;
            }
    return NULL;
}

static int withdrawn(struct telex_stream *stream, uint64_t number, unsigned lane)
{
    telex_stream_remember(stream, number, lane, TELEX_WITHDRAWN);
    stream->withdrawn++;
    return TELEX_WITHDRAWN;
}

bool telex_stream_take_back(struct telex_stream *stream, uint64_t number)
{
    struct stream_lane_out *lane;
    struct stream_parcel **at = find(stream, number, &lane);
    if (at == NULL || (*at)->begun)
        return false;
    telex_stream_unqueue(stream, lane, at);
    withdrawn(stream, number, lane->lane);
    return true;
}

bool telex_stream_abandon(struct telex_stream *stream, uint64_t number)
{
    struct stream_lane_out *lane;
    struct stream_parcel **at = find(stream, number, &lane);
    if (at == NULL || (*at)->sent == (*at)->length)
        return false;
    withdrawn(stream, number, lane->lane);
    (*at)->abandoned = true;
    telex_stream_push(&stream->link);
    return true;
}

int telex_stream_withdraw(struct telex_link *link, uint64_t number)
{
    struct telex_stream *stream = stream_of(link);
    int outcome = telex_stream_outcome(link, number);
    if (outcome != TELEX_OFFERED)
        return outcome;
    if (telex_stream_take_back(stream, number) || telex_stream_abandon(stream, number))
        return TELEX_WITHDRAWN;
    telex_stream_remember(stream, number, stream->outcomes[number % STREAM_OUTCOMES][0], TELEX_UNKNOWN);
    struct telex_frame frame = {.kind = TELEX_FRAME_WITHDRAW, .number = number};
    telex_stream_owe(stream, &frame);
    telex_stream_push(link);
    return TELEX_UNKNOWN;
}

void telex_stream_answer(struct telex_stream *stream, uint64_t number, int outcome)
{
    struct telex_link *link = &stream->link;
    telex_lock(&link->out);
    struct telex_frame frame = {.kind = TELEX_FRAME_OUTCOME, .number = number, .code = (uint32_t)outcome};
    int r = telex_stream_owe(stream, &frame);
    telex_stream_push(link);
    telex_unlock(&link->out);
    if (r < 0)
        telex_link_break(link, r); /* an answer that is lost would leave the peer in doubt for ever */
}

void telex_stream_decide(struct telex_link *link, uint64_t number, int outcome, uint64_t cost)
{
    struct telex_stream *stream = stream_of(link);
    if (outcome == TELEX_WITHDRAWN) { /* its room is free again, but it does not count as taken */
        stream->taken_bytes += cost;
        stream->withdrawn_arrivals++;
        telex_stream_credit(stream);
    }
    telex_stream_answer(stream, number, outcome);
}
