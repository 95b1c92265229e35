/* SPDX-License-Identifier: MIT */
/* Sending: what may be said is checked here, before anything leaves; then asynchronous by the queue's policy, or synchronous until taken. */
#include <errno.h>

#include "base/utf8.h"
#include "channel/channel.h"
#include "os/clock.h"
#include "os/fork.h"

enum {
    BORROW_FROM = 4096,      /* longer messages are written from where they lie; what the medium does not take at once is copied, */
    LINGER_FROM = 65536,     /* and of still longer ones only what is left when the peer stops reading */
    LINGER_NS = 2000000,     /* without progress for so long the rest is copied, and the send returns */
    READ_EVERY = 32768,      /* bytes sent while credit runs low before the sender looks for more */
};

/* ---- what may be said ---- */

static int check_length(const struct telex_link *link, const telex_message *message)
{
    if (message->length > link->max)
        return telex_say(-EMSGSIZE, "the message has %zu bytes; at most %llu were agreed (option max)", message->length,
                         (unsigned long long)link->max);
    if (link->fixed != UINT64_MAX && message->length != link->fixed)
        return telex_say(-EMSGSIZE, "the message has %zu bytes; each must have %llu (option size)", message->length,
                         (unsigned long long)link->fixed);
    return 0;
}

int telex_channel_check(telex_channel *channel, const telex_message *message, const struct telex_put *how)
{
    const struct telex_link *link = channel->link;
    unsigned can = link->wire->can;
    if (how->flags & ~(unsigned)(TELEX_SYNC | TELEX_MORE))
        return telex_say(-EINVAL, "unknown send flags 0x%x", how->flags);
    if (message->data == NULL && message->length > 0)
        return telex_say(-EINVAL, "a message of %zu bytes without data", message->length);
    if ((how->flags & TELEX_SYNC) && !(can & TELEX_CAN_LANES))
        return telex_say(-EOPNOTSUPP, "wire=%s has no rendezvous; send asynchronously, or use wire=telex", link->wire->name);
    if ((how->call || how->request != 0) && !(can & TELEX_CAN_CALL))
        return telex_say(-EOPNOTSUPP, "wire=%s has no calls; use wire=telex or wire=lines", link->wire->name);
    if (message->descriptor_count > link->descriptors)
        return telex_say(-EOPNOTSUPP, "%u descriptors with a message; the peer and the medium accept %u", message->descriptor_count,
                         link->descriptors);
    if (message->descriptor_count > 0 && message->descriptors == NULL)
        return telex_say(-EINVAL, "the message counts %u descriptors but has none", message->descriptor_count);
    /* Relaxed: set by an earlier call of this direction. */
    if (atomic_load_explicit(&channel->half, memory_order_relaxed))
        return telex_say(-ESHUTDOWN, "telex_end() was called: nothing more can be sent");
    int r = link->wire->check(message);
    if (r == 0)
        r = check_length(link, message);
    if (r == 0 && message->kind == TELEX_TEXT && !telex_utf8_valid(message->data, message->length))
        r = telex_say(-EILSEQ, "the text is not valid UTF-8; send it as binary, or mend it");
    return r;
}

int telex_channel_ended(telex_channel *channel, int error)
{
    struct telex_link *link = channel->link;
    if (error == -EPIPE || error == -ECONNRESET) { /* the medium refused bytes; what the peer said last may lie unread */
        telex_lock(&link->in);
        telex_channel_pump(channel);
        telex_lock(&link->out);
        error = link->out_end != 0 ? link->out_end : error;
        telex_unlock(&link->out);
        telex_unlock(&link->in);
        telex_link_say_reason(link, error);
        error = telex_channel_end_of_child(channel, CHANNEL_SEND, error);
    } else if (error == -EPROTO) {
        telex_link_say_reason(link, error);
    }
    return error;
}

/* ---- asynchronous ---- */

struct putting {
    telex_message *message;
    struct telex_put *how;
    struct channel_call *call; /* registered together with the number, before a reply can come */
};

static int put_once(telex_channel *channel, struct putting *putting)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->out);
    int r = link->ops->put(link, putting->message, putting->how);
    if (r >= 0 && putting->call != NULL)
        telex_channel_add_call(channel, putting->call, putting->message->number);
    bool look = link->thirsty && channel->since_read >= READ_EVERY;
    channel->since_read = look ? 0 : channel->since_read + putting->message->length + TELEX_WIRE_HEADER + link->quick_sent_bytes;
    link->quick_sent_bytes = 0;
    bool calls_helper = link->wants_helper;
    link->helper_works = link->helper_works || calls_helper;
    link->wants_helper = false;
    telex_unlock(&link->out);
    if (calls_helper)
        telex_helper_call(channel);
    /* A receiving thread that holds the lock reads the credit itself. */
    if (look && telex_lock_try(&link->in)) {
        telex_channel_pump(channel);
        telex_unlock(&link->in);
    }
    return r;
}

static int try_put(telex_channel *channel, void *with)
{
    int r = put_once(channel, with);
    if (r != -EAGAIN)
        return r;
    telex_lock(&channel->link->in); /* room may come from credit that lies unread */
    telex_channel_pump(channel);
    telex_unlock(&channel->link->in);
    return put_once(channel, with);
}

static int drop_newest(telex_channel *channel)
{
    telex_lock(&channel->link->out);
    channel->dropped++;
    telex_unlock(&channel->link->out);
    return 0;
}

static int drop_oldest(telex_channel *channel, struct putting *putting)
{
    struct telex_link *link = channel->link;
    for (;;) {
        telex_lock(&link->out);
        int r = link->ops->drop(link, putting->message->lane);
        telex_unlock(&link->out);
        if (r < 0) /* all that waits has begun: then this is what is dropped */
            return drop_newest(channel);
        r = put_once(channel, putting);
        if (r != -EAGAIN)
            return r;
    }
}

/* The peer is reading a long message: better to write on from where it lies than to copy it. */
static int try_push(telex_channel *channel, void *with)
{
    (void)with;
    struct telex_link *link = channel->link;
    telex_lock(&link->out);
    int r = link->ops->push(link);
    telex_unlock(&link->out);
    if (r != -EAGAIN)
        return 0;
    if (telex_lock_try(&link->in)) {
        telex_channel_pump(channel);
        telex_unlock(&link->in);
    }
    return r;
}

static uint64_t waiting_bytes(telex_channel *channel)
{
    telex_counters counters = {0};
    telex_lock(&channel->link->out);
    channel->link->ops->count(channel->link, &counters);
    telex_unlock(&channel->link->out);
    return counters.queued_bytes;
}

static int keep(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->out);
    int r = link->ops->keep(link);
    telex_unlock(&link->out);
    return r;
}

static int linger(telex_channel *channel, telex_time deadline)
{
    for (uint64_t before = waiting_bytes(channel);;) {
        telex_time until = telex_after(LINGER_NS);
        int r = telex_channel_wait(channel, CHANNEL_SEND, until < deadline ? until : deadline, try_push, NULL);
        if (r == 0)
            return 0;
        uint64_t after = waiting_bytes(channel);
        if (r != -ETIMEDOUT || after == before || until >= deadline)
            return keep(channel);
        before = after;
    }
}

int telex_channel_put(telex_channel *channel, telex_message *message, struct telex_put *how, telex_time deadline,
                      struct channel_call *call)
{
    struct putting putting = {message, how, call};
    how->borrow = message->length > BORROW_FROM;
    how->patient = deadline != TELEX_NOW && channel->full == TELEX_FULL_WAIT;
    int r = put_once(channel, &putting);
    if (r == -EAGAIN && how->patient) { /* a peer that reads has room soon; for one that does not, the message waits here */
        telex_time until = telex_after(LINGER_NS);
        r = telex_channel_wait(channel, CHANNEL_SEND, until < deadline ? until : deadline, try_put, &putting);
        how->patient = false;
        r = r == -ETIMEDOUT ? put_once(channel, &putting) : r;
    }
    bool may_drop = !how->call && how->request == 0 && !(how->flags & TELEX_SYNC);
    if (r == -EAGAIN && channel->full == TELEX_FULL_DROP_NEWEST && may_drop)
        r = drop_newest(channel);
    else if (r == -EAGAIN && channel->full == TELEX_FULL_DROP_OLDEST && may_drop)
        r = drop_oldest(channel, &putting);
    else if (r == -EAGAIN && channel->full != TELEX_FULL_FAIL)
        r = telex_channel_wait(channel, CHANNEL_SEND, deadline, try_put, &putting);
    if (r == -ETIMEDOUT)
        telex_say(r, "the queue stayed full until the deadline: the peer does not take what it is sent");
    if (r != TELEX_PUT_BORROWED || (how->flags & TELEX_SYNC)) /* a rendezvous gives the bytes back when it ends */
        return r;
    bool lingers = message->length > LINGER_FROM && deadline != TELEX_NOW && channel->full == TELEX_FULL_WAIT;
    return lingers ? linger(channel, deadline) : keep(channel);
}

/* ---- synchronous ---- */

static int try_taken(telex_channel *channel, void *with)
{
    struct telex_link *link = channel->link;
    uint64_t number = *(const uint64_t *)with;
    telex_lock(&link->in);
    telex_channel_pump(channel);
    telex_lock(&link->out);
    link->ops->push(link);
    int outcome = link->ops->outcome(link, number);
    int end = link->out_end;
    telex_unlock(&link->out);
    telex_unlock(&link->in);
    if (outcome == TELEX_TAKEN)
        return 0;
    return end != 0 ? end : -EAGAIN;
}

static int withdraw(telex_channel *channel, uint64_t number)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->out);
    int outcome = link->ops->withdraw(link, number);
    telex_unlock(&link->out);
    return outcome;
}

int telex_channel_put_sync(telex_channel *channel, telex_message *message, struct telex_put *how, telex_time deadline)
{
    /* A receiver on a stream is never known to wait: with TELEX_NOW nothing is written, but the message gets its number and outcome. */
    how->flags = deadline == TELEX_NOW ? TELEX_SYNC | TELEX_MORE : TELEX_SYNC;
    int r = telex_channel_put(channel, message, how, deadline, NULL);
    if (r < 0)
        return r;
    uint64_t number = message->number;
    if (deadline == TELEX_NOW) {
        int outcome = withdraw(channel, number), kept = keep(channel); /* the receiving thread may have begun it meanwhile */
        return kept < 0 ? kept : outcome == TELEX_TAKEN ? 0 : -EAGAIN;
    }
    r = telex_channel_wait(channel, CHANNEL_SEND, deadline, try_taken, &number);
    if (r == -ETIMEDOUT || r == -EINTR) {
        int outcome = withdraw(channel, number);
        if (outcome == TELEX_TAKEN)
            r = 0;
        else if (r == -EINTR && outcome == TELEX_WITHDRAWN)
            telex_say(r, "interrupted; the message was withdrawn");
        else
            r = telex_say(-ETIMEDOUT, "the message was not taken by the deadline; %s",
                          outcome == TELEX_WITHDRAWN ? "it was withdrawn" : "whether it will be is not known yet: see telex_outcome()");
    }
    int kept = keep(channel);
    return r == 0 || kept == 0 ? r : kept;
}

/* ---- the calls ---- */

static __attribute__((noinline)) int send_slowly(telex_channel *channel, telex_message *message, unsigned flags, telex_time deadline)
{
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    struct telex_put how = {.flags = flags};
    r = telex_channel_check(channel, message, &how);
    if (r == 0) {
        r = flags & TELEX_SYNC ? telex_channel_put_sync(channel, message, &how, deadline)
                               : telex_channel_put(channel, message, &how, deadline, NULL);
        if (r < 0)
            r = telex_channel_ended(channel, r);
    }
    return telex_channel_leave(channel, CHANNEL_SEND, r);
}

/* As receive_quickly() in receive.c. */
static inline bool send_quickly(telex_channel *channel, telex_message *message, unsigned flags)
{
    struct telex_link *link = channel->link;
    return link->quick && link->ops->put_quickly(link, message, flags);
}

int telex_send(telex_channel *channel, telex_message *message, unsigned flags, telex_time deadline)
{
    return send_quickly(channel, message, flags) ? 0 : send_slowly(channel, message, flags, deadline);
}

/* In a call: as many as the short way takes. */
static unsigned send_run(telex_channel *channel, telex_message *messages, unsigned count)
{
    unsigned sent = 0;
    telex_channel_go_shortly(channel, CHANNEL_SEND, true);
    while (sent < count && send_quickly(channel, &messages[sent], sent + 1 < count ? TELEX_MORE : 0))
        sent++;
    telex_channel_go_shortly(channel, CHANNEL_SEND, false);
    return sent;
}

int telex_send_many(telex_channel *channel, telex_message *messages, unsigned count, telex_time deadline)
{
    if (count == 0)
        return telex_say(-EINVAL, "telex_send_many() of no messages");
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    unsigned sent = 0;
    for (r = 0; r == 0; sent += r == 0) {
        sent += send_run(channel, messages + sent, count - sent);
        if (sent == count)
            break;
        struct telex_put how = {.flags = sent + 1 < count ? TELEX_MORE : 0};
        r = telex_channel_check(channel, &messages[sent], &how);
        if (r == 0)
            r = telex_channel_put(channel, &messages[sent], &how, sent == 0 ? deadline : TELEX_NOW, NULL);
    }
    if (r < 0 && sent > 0)
        try_push(channel, NULL); /* those before said that more would follow */
    else if (r < 0)
        r = telex_channel_ended(channel, r);
    return telex_channel_leave(channel, CHANNEL_SEND, sent > 0 ? (int)sent : r);
}

static int try_delivered(telex_channel *channel, void *with)
{
    (void)with;
    struct telex_link *link = channel->link;
    telex_lock(&link->in); /* what waits for credit needs it read */
    telex_channel_pump(channel);
    telex_lock(&link->out);
    int r = link->ops->delivered(link);
    telex_unlock(&link->out);
    telex_unlock(&link->in);
    return r;
}

int telex_flush(telex_channel *channel, telex_time deadline)
{
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    /* No descriptor becomes readable when the other host acknowledges: look again each millisecond. */
    for (;;) {
        telex_time until = telex_after(1000000);
        bool last = deadline == TELEX_NOW || until >= deadline;
        r = telex_channel_wait(channel, CHANNEL_SEND, last ? deadline : until, try_delivered, NULL);
        if (r != -ETIMEDOUT || last)
            break;
    }
    if (r == -ETIMEDOUT)
        telex_say(r, "not all that was sent had left this host by the deadline");
    else if (r < 0)
        r = telex_channel_ended(channel, r);
    return telex_channel_leave(channel, CHANNEL_SEND, r);
}

int telex_outcome(telex_channel *channel, uint64_t number)
{
    struct telex_link *link = channel->link;
    if (channel->generation != telex_generation())
        return telex_channel_foreign(channel);
    telex_channel_look(channel); /* an answer may lie unread */
    telex_lock(&link->out);
    link->ops->push(link); /* a withdrawal may still wait for the medium */
    int r = link->ops->outcome(link, number);
    telex_unlock(&link->out);
    if (r < 0) {
        telex_say(r, "message %llu was not sent, or so long ago that its outcome is forgotten", (unsigned long long)number);
        telex_said_about(channel);
    }
    return r;
}
