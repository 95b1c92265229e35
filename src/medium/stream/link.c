/* SPDX-License-Identifier: MIT */
/* The life of a stream link: greeting, being let in or refused, goodbye, the end; and its table of operations. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "medium/stream/stream.h"
#include "os/fork.h"
#include "os/process.h"

/* ---- greeting ---- */

static void stage_greeting(struct telex_stream *stream)
{
    stream->staging_end += telex_greeting_encode(&stream->ours, stream->staging + stream->staging_end);
}

static int agree(struct telex_stream *stream, const struct telex_greeting *theirs, uint32_t *ret_bye)
{
    struct telex_link *link = &stream->link;
    int r = telex_link_agree(link, &stream->ours, theirs, ret_bye);
    if (r < 0)
        return r;
    if (link->descriptors > TELEX_BYTES_DESCRIPTORS)
        link->descriptors = TELEX_BYTES_DESCRIPTORS;
    stream->queue = telex_link_lesser(stream->ours.queue, theirs->queue);
    stream->limit_bytes = theirs->window;
    stream->reserve = theirs->window >= STREAM_RESERVES_FROM ? STREAM_BUFFER : 0;
    stream->limit_messages = stream->queue;
    atomic_store_explicit(&stream->credit_messages, stream->queue, memory_order_relaxed);
    stream->told_messages = stream->asked_messages = stream->queue;
    return 0;
}

static int refuse(struct telex_stream *stream, int error, uint32_t code)
{
    telex_link_blame(&stream->link, error);
    stream->link.ops->admit(&stream->link, code, telex_said());
    return telex_say(error, "%s", stream->link.reason); /* the goodbye may have failed, with a sentence of its own */
}

/*
 * A child of the peer's that it made by a bare clone may hold its end of the stream, and so the end would never be seen. Only the process that
 * opened the stream is watched, and only if it is the one that greets: a socket that was handed on lives on with whoever has it now.
 */
static void watch_death(struct telex_stream *stream)
{
    struct telex_medium_peer peer;
    int descriptor = stream->bytes->ops->descriptor(stream->bytes);
    if (stream->death >= 0) /* who started the process knows it better */
        return;
    stream->bytes->ops->peer(stream->bytes, &peer);
    if (peer.pid > 0 && peer.pid == stream->link.pid && peer.pid != getpid() && !telex_descriptors_are_scarce(descriptor))
        stream->death = telex_process_watch(peer.pid, descriptor);
}

static int greet(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    if (stream->greeted)
        return 0;
    int r = telex_stream_push(link);
    if (r < 0 && r != -EAGAIN && r != -EPIPE && r != -ECONNRESET) /* a broken link may still hold the peer's refusal */
        return r;
    struct telex_greeting theirs;
    size_t length;
    for (;;) {
        size_t there = stream->input_end - stream->input_at;
        r = there == 0 ? -EAGAIN : telex_greeting_decode(stream->input + stream->input_at, there, &theirs, &length);
        if (r == 0)
            break;
        if (r != -EAGAIN)
            return telex_link_blame(link, r);
        if (stream->ended)
            return telex_say(-ECONNRESET, "the peer closed before it greeted: does it speak wire=telex?");
        r = telex_stream_read(stream);
        if (r == -EAGAIN && telex_process_ended(stream->death))
            return telex_say(-ECONNRESET, "the peer ended before it greeted");
        if (r < 0)
            return r;
    }
    stream->input_at += length;
    stream->greeted = true;
    uint32_t code;
    r = agree(stream, &theirs, &code);
    if (r < 0)
        return refuse(stream, r, code);
    if (!stream->passive)
        stream->admitted = true;
    watch_death(stream);
    return 0;
}

static int admit(struct telex_link *link, uint32_t code, const char *sentence)
{
    struct telex_stream *stream = stream_of(link);
    if (stream->passive && !stream->admitted && stream->controls)
        stage_greeting(stream);
    stream->admitted = true;
    if (code != 0) {
        link->ops->finish(link, code, sentence, true);
        return 0;
    }
    return telex_stream_push(link);
}

/* ---- the end ---- */

static void finish(struct telex_link *link, uint32_t code, const char *sentence, bool now)
{
    struct telex_stream *stream = stream_of(link);
    if (now)
        telex_stream_forget(stream);
    if (!stream->finishing) {
        stream->finishing = true;
        telex_stream_slow_down(stream);
        stream->bye_code = code;
        stream->bye_sentence = sentence != NULL && sentence[0] != '\0' ? strndup(sentence, TELEX_WIRE_SENTENCE) : NULL;
    }
    telex_stream_push(link);
}

/* Whether the peer's system has everything, or (pipes, unix) the peer itself. */
static bool all_left(struct telex_stream *stream)
{
    int64_t left = stream->bytes->ops->unsent(stream->bytes);
    return left <= 0 && left != -ECONNRESET; /* a medium that cannot tell any more holds nothing back */
}

/* Whether nobody is left to read what was written: its end is closed, or the program that was started to read it is dead. */
static bool is_lost(struct telex_stream *stream)
{
    int64_t left = stream->bytes->ops->unsent(stream->bytes);
    return left == -ECONNRESET || (left > 0 && telex_process_ended(stream->death));
}

static bool survives(struct telex_stream *stream)
{
    const struct telex_bytes *bytes = stream->bytes;
    return (bytes->ops->survives != NULL ? bytes->ops->survives(stream->bytes) : bytes->delivered_when_written) || all_left(stream);
}

static int finished(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    bool known = stream->told || stream->peer_taken + stream->withdrawn >= stream->admitted_messages;
    if (!stream->controls) { /* such a peer does not count: read by its system is all that can be known */
        if (stream->ended_writing && is_lost(stream))
            return telex_link_blame(link, -ECONNRESET);
        known = !stream->broken && stream->ended_writing && all_left(stream);
    }
    if (stream->broken && !known) /* what the peer said last may lie unread: its goodbye with its counts */
        return stream->ended || link->in_end != 0 ? -ECONNRESET : -EAGAIN;
    if (stream->broken)
        return 0;
    if (!stream->ended_writing || !known)
        return -EAGAIN;
    return survives(stream) || is_lost(stream) ? 0 : -EAGAIN; /* lost: only the answer to a goodbye, and nobody waits for it */
}

static int delivered(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    int r = telex_stream_push(link);
    if (r == -EAGAIN)
        return r;
    if (stream->controls && stream->peer_taken + stream->withdrawn >= stream->admitted_messages)
        return 0; /* all was taken: also when the peer said goodbye since, or died */
    if (r < 0)
        return r;
    if (link->out_end != 0)
        return link->out_end;
    if (survives(stream))
        return 0;
    if (!stream->controls && is_lost(stream)) /* the read that would tell may wait for the program: nobody reads on while its inbox is full */
        return telex_link_blame(link, telex_say(-ECONNRESET, "the peer ended before it had read everything"));
    return -EAGAIN;
}

static void count(struct telex_link *link, telex_counters *counters)
{
    struct telex_stream *stream = stream_of(link);
    counters->sent = stream->admitted_messages;
    counters->sent_bytes = stream->admitted_bytes;
    counters->taken = stream->peer_taken;
    counters->received = atomic_load_explicit(&stream->quick_taken, memory_order_relaxed); /* written under [in] */
    counters->withdrawn = stream->withdrawn;
    counters->dropped = stream->dropped;
    counters->queued = stream->queued_messages;
    counters->queued_bytes = stream->queued_bytes;
    if (!stream->controls && stream->ended_writing && all_left(stream))
        counters->taken = counters->sent - counters->queued;
}

/* ---- waiting ---- */

/* Looks whether the peer has died, if bytes have not just told otherwise: this is asked after each call of a channel that is watched. */
static void look_for_death(struct telex_stream *stream)
{
    if (!stream->read_in_vain)
        return;
    stream->read_in_vain = false;
    telex_stream_look_for_death(stream);
}

static int arm(struct telex_link *link, unsigned directions)
{
    struct telex_stream *stream = stream_of(link);
    look_for_death(stream);
    if ((directions & TELEX_ARM_IN) && stream->greeted && telex_stream_has_work(stream))
        return -1;
    if ((directions & TELEX_ARM_IN) && stream->bytes->always_readable && !stream->ended)
        return -1;
    int events = 0;
    if (!stream->ended && ((directions & TELEX_ARM_IN) || stream->controls))
        events |= POLLIN;
    if (telex_stream_waits_for_medium(stream))
        events |= POLLOUT;
    return events;
}

static void rest(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    if (stream->input_at == stream->input_end && stream->filling == NULL) {
        free(stream->input);
        stream->input = NULL;
        stream->input_at = stream->input_end = 0;
    }
    if (stream->staging_at == stream->staging_end && stream->current == NULL) {
        free(stream->staging);
        stream->staging = NULL;
        stream->staging_at = stream->staging_end = 0;
    }
}

static int descriptor(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    return stream->bytes->ops->descriptor(stream->bytes);
}

static int outlet(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    return telex_bytes_outlet(stream->bytes);
}

static int death(struct telex_link *link)
{
    return stream_of(link)->death;
}

static void peer(struct telex_link *link, struct telex_medium_peer *ret_peer)
{
    struct telex_stream *stream = stream_of(link);
    stream->bytes->ops->peer(stream->bytes, ret_peer);
}

static void stream_free(struct telex_link *link)
{
    struct telex_stream *stream = stream_of(link);
    telex_stream_output_free(stream);
    telex_stream_input_free(stream);
    stream->bytes->ops->close(stream->bytes);
    telex_shut(stream->death);
    telex_link_deinit(link);
    free(stream);
}

const struct telex_link_ops telex_stream_ops = {
    .greet = greet,
    .admit = admit,
    .put = telex_stream_put,
    .put_quickly = telex_stream_put_quickly,
    .keep = telex_stream_keep,
    .push = telex_stream_push,
    .drop = telex_stream_drop,
    .withdraw = telex_stream_withdraw,
    .outcome = telex_stream_outcome,
    .tell = telex_stream_tell,
    .finish = finish,
    .finished = finished,
    .delivered = delivered,
    .count = count,
    .next = telex_stream_next,
    .take = telex_stream_take,
    .take_quickly = telex_stream_take_quickly,
    .spin = telex_stream_spin,
    .decide = telex_stream_decide,
    .report = telex_stream_report,
    .arm = arm,
    .doze = telex_stream_doze,
    .death = death,
    .rest = rest,
    .descriptor = descriptor,
    .outlet = outlet,
    .peer = peer,
    .free = stream_free,
};

/* Takes over `bytes`; also when it fails. */
int telex_stream_new(struct telex_bytes *bytes, const struct telex_settings *settings, bool passive, struct telex_link **ret_link)
{
    struct telex_stream *stream = calloc(1, sizeof *stream);
    uint8_t *staging = malloc(STREAM_BUFFER);
    if (stream == NULL || staging == NULL) {
        free(stream);
        free(staging);
        bytes->ops->close(bytes);
        return telex_say(-ENOMEM, "no memory for a channel");
    }
    telex_link_init(&stream->link, &telex_stream_ops, settings->wire);
    stream->death = -1;
    stream->bytes = bytes;
    stream->staging = staging;
    stream->passive = passive;
    stream->controls = (settings->wire->can & TELEX_CAN_GREET) != 0;
    stream->greeted = stream->admitted = !stream->controls;
    stream->buffer = settings->buffer;
    stream->link.quick = stream->controls;
    stream->generation = telex_generation();
    stream->link.helped = settings->flush == TELEX_FLUSH_HELPER;
    stream->ours = telex_link_greeting(settings, bytes->carries_descriptors);
    stream->link.max = settings->max;
    stream->link.fixed = settings->fixed;
    stream->link.window = settings->window;
    stream->queue = stream->limit_messages = UINT64_MAX;
    atomic_init(&stream->credit_bytes, settings->window);
    atomic_init(&stream->credit_messages, UINT64_MAX);
    stream->told_bytes = stream->asked_bytes = settings->window;
    stream->told_messages = stream->asked_messages = UINT64_MAX;
    stream->lane_out.last = &stream->lane_out.first;
    stream->turn = &stream->lane_out;
    stream->owed_last = &stream->owed;
    if (stream->controls && !passive)
        stage_greeting(stream);
    *ret_link = &stream->link;
    return 0;
}
