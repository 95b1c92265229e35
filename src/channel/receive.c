/* SPDX-License-Identifier: MIT */
/*
 * Receiving. While somebody receives, a message goes from the link straight into the program's hands. What arrives while a
 * sender reads (for credit, an outcome, a reply) waits in the inbox; replies go to their calls in either case.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "channel/channel.h"
#include "os/fork.h"

enum {
    OTHERS_MOST = 1024,     /* arrivals in one call that are not for the program: a flood of them must not hold it past its deadline */
    DESCRIPTORS_MOST = 256, /* in the inbox: then nobody reads on but who receives */
};

/* ---- the inbox ---- */

/* A message that is no longer in the inbox, or never was, counts as taken. */
void telex_channel_take(telex_channel *channel, const telex_message *message, uint64_t cost)
{
    struct telex_link *link = channel->link;
    link->waiting = telex_inbox_oldest(&channel->inbox, message->lane);
    link->ops->take(link, message, cost);
}

/* Whether the program may have the message: a synchronous one may have been withdrawn. Then it is dropped here. */
static bool may_take(telex_channel *channel, const telex_message *message, uint64_t cost)
{
    struct telex_link *link = channel->link;
    if (!(message->flags & TELEX_IS_SYNC) || link->ops->claim == NULL)
        return true;
    if (link->ops->claim(link, message, cost))
        return true;
    telex_memory_release(message->memory);
    return false;
}

bool telex_channel_may_pump(const telex_channel *channel)
{
    /* A wire with control frames bounds the bytes in the inbox by credit; else whoever waits must not read on for ever. Nothing else bounds descriptors. */
    if (channel->inbox.descriptors >= DESCRIPTORS_MOST)
        return false;
    return (channel->link->wire->can & TELEX_CAN_GREET) || channel->inbox.bytes < channel->link->window;
}

bool telex_channel_holds_back(const telex_channel *channel)
{
    /* Relaxed: raised by this direction; lowered by a reply, after which the replier settles readiness and wakes the receiver. */
    return channel->line_calls && atomic_load_explicit(&channel->request_count, memory_order_relaxed) > 0;
}

/* ---- where arrivals go ---- */

/* Takes an entry out; afterwards a sender that could not read on for a full inbox may. */
static void remove_entry(telex_channel *channel, struct inbox_entry *entry, telex_message *ret_message, uint64_t *ret_cost)
{
    bool could = telex_channel_may_pump(channel);
    telex_inbox_remove(&channel->inbox, entry, ret_message, ret_cost);
    if (!could && telex_channel_may_pump(channel))
        telex_channel_wake(channel, CHANNEL_SEND);
}

static void on_withdraw(telex_channel *channel, uint64_t number)
{
    struct telex_link *link = channel->link;
    struct inbox_entry *entry = telex_inbox_find(&channel->inbox, number);
    if (entry == NULL) { /* receive has returned it */
        link->ops->decide(link, number, TELEX_TAKEN, 0);
        return;
    }
    telex_message message;
    uint64_t cost;
    remove_entry(channel, entry, &message, &cost);
    telex_memory_release(message.memory);
    link->ops->decide(link, number, TELEX_WITHDRAWN, cost);
}

/* A cancelled request that nobody has taken yet need not reach the program: it counts as taken. */
static void on_cancel(telex_channel *channel, uint64_t number)
{
    struct inbox_entry *entry = telex_inbox_find(&channel->inbox, number);
    if (entry == NULL) {
        telex_channel_on_cancel(channel, number);
        return;
    }
    if (!(entry->message.flags & TELEX_IS_CALL))
        return; /* no request, so there is nothing to cancel */
    telex_message message;
    uint64_t cost;
    remove_entry(channel, entry, &message, &cost);
    telex_channel_take(channel, &message, cost);
    telex_memory_release(message.memory);
}

static int check_text(const telex_message *message)
{
    if (message->kind != TELEX_TEXT || telex_utf8_valid(message->data, message->length))
        return 0;
    return telex_say(-EPROTO, "the peer sends a text message (number %llu) that is not valid UTF-8",
                     (unsigned long long)message->number);
}

enum fetched { FETCHED_MESSAGE = 0, FETCHED_OTHER = 1, FETCHED_REPLY = 2 };

/* Fetches one arrival and brings it where it belongs: enum fetched (a message is the program's, in *arrival; a call may be waiting for a reply), or -errno. */
static int fetch(telex_channel *channel, struct telex_arrival *arrival)
{
    struct telex_link *link = channel->link;
    int r = link->ops->next(link, arrival);
    if (r < 0)
        return r;
    switch (arrival->kind) {
    case TELEX_ARRIVAL_WITHDRAW:
        on_withdraw(channel, arrival->message.number);
        return FETCHED_OTHER;
    case TELEX_ARRIVAL_CANCEL:
        on_cancel(channel, arrival->message.number);
        return FETCHED_OTHER;
    case TELEX_ARRIVAL_FAIL:
        telex_channel_on_fail(channel, arrival);
        return FETCHED_REPLY;
    case TELEX_ARRIVAL_MESSAGE:
        break;
    }
    r = check_text(&arrival->message);
    if (r < 0) {
        telex_memory_release(arrival->message.memory);
        return telex_link_break(link, r);
    }
    if ((arrival->message.flags & TELEX_IS_REPLY) || telex_channel_expects_line(channel)) {
        if (!may_take(channel, &arrival->message, arrival->cost))
            return FETCHED_OTHER;
        telex_channel_on_reply(channel, arrival);
        return FETCHED_REPLY;
    }
    if (channel->line_calls)
        arrival->message.flags |= TELEX_IS_CALL;
    return FETCHED_MESSAGE;
}

/* Whether whole frames lie read in the link, where no descriptor shows them. */
static bool lies_unread(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->out);
    bool unread = link->ops->arm(link, TELEX_ARM_IN) < 0;
    telex_unlock(&link->out);
    return unread;
}

static int pump(telex_channel *channel, bool until_reply)
{
    int r = -EAGAIN;
    bool grown = false;
    for (unsigned others = 0; others < OTHERS_MOST && telex_channel_may_pump(channel);) {
        struct telex_arrival arrival;
        r = fetch(channel, &arrival);
        if (r == FETCHED_MESSAGE && telex_inbox_add(&channel->inbox, &arrival) == 0)
            grown = true;
        else if (r == FETCHED_MESSAGE)
            r = telex_link_break(channel->link, -ENOMEM);
        if (r < 0 || (until_reply && r == FETCHED_REPLY))
            break;
        others += r != FETCHED_MESSAGE;
    }
    telex_channel_spread_news(channel);
    bool news = grown || (r < 0 && r != -EAGAIN);
    /* Whoever is about to sleep must see it: see wait.c. Who sleeps already may be polling for bytes that were read here and left undecoded. */
    if (news || (r > 0 && lies_unread(channel)))
        telex_channel_wake(channel, CHANNEL_RECEIVE);
    if (news && telex_channel_is_watched(channel) && !channel->watch.ready && !telex_channel_holds_back(channel)) {
        channel->watch.ready = true; /* a sender that waits has read it: telex_fd must not wait for the end of that call */
        channel->watch.tell(channel, true);
    }
    return r;
}

int telex_channel_pump(telex_channel *channel)
{
    int r = pump(channel, false);
    return r > 0 ? -EAGAIN : r;
}

int telex_channel_pump_reply(telex_channel *channel)
{
    int r = pump(channel, true);
    return r == FETCHED_REPLY ? 1 : r >= 0 ? -EAGAIN : r;
}

void telex_channel_look(telex_channel *channel)
{
    if (!telex_lock_try(&channel->link->in))
        return; /* whoever holds it is reading */
    telex_channel_pump(channel);
    telex_unlock(&channel->link->in);
    if (telex_channel_is_watched(channel))
        telex_channel_settle(channel);
}

void telex_channel_discard(telex_channel *channel)
{
    telex_inbox_empty(&channel->inbox);
    struct telex_arrival arrival;
    for (unsigned others = 0; others < OTHERS_MOST; others++) {
        int r = fetch(channel, &arrival);
        if (r < 0)
            break;
        if (r == FETCHED_MESSAGE)
            telex_memory_release(arrival.message.memory);
    }
    telex_channel_spread_news(channel);
}

/* ---- receiving ---- */

int telex_channel_in_ended(telex_channel *channel, int error)
{
    if (error == -ECONNREFUSED || error == -EPROTONOSUPPORT)
        error = -EPIPE; /* let in first and refused later: for the program that is an end in order */
    if (error == -EPIPE || error == -ECONNRESET || error == -EPROTO || error == -ENOMEM)
        telex_link_say_reason(channel->link, error);
    return telex_channel_end_of_child(channel, CHANNEL_RECEIVE, error);
}

/* Hands the bytes over: its own memory is passed on, borrowed bytes are copied into the memory that the program's struct holds already. */
static int hand_over(telex_message *to, const telex_message *from)
{
    struct telex_memory *memory = to->memory;
    if (from->memory != NULL) {
        telex_memory_release(memory);
        *to = *from;
        return 0;
    }
    if (!telex_memory_reusable(memory, from->length)) {
        struct telex_memory *fresh = telex_memory_new(from->length);
        if (fresh == NULL)
            return telex_say(-ENOMEM, "no memory for a message of %zu bytes", from->length);
        telex_memory_release(memory);
        memory = fresh;
    }
    memcpy(memory->bytes, from->data, from->length);
    *to = *from;
    to->memory = memory;
    to->data = memory->bytes;
    return 0;
}

static int deliver(telex_channel *channel, const telex_message *message, uint64_t cost, telex_message *ret_message)
{
    struct telex_link *link = channel->link;
    int r = message->flags & TELEX_IS_CALL ? telex_channel_add_request(channel, message) : 0;
    if (r == 0)
        r = hand_over(ret_message, message);
    if (r < 0) {
        telex_memory_release(message->memory);
        return telex_link_break(link, r);
    }
    telex_channel_take(channel, ret_message, cost);
    channel->received++;
    channel->received_bytes += message->length;
    return 0;
}

enum { WITHDRAWN = 1 };

/* 0, WITHDRAWN (it was none any more), or -errno. */
static int from_inbox(telex_channel *channel, telex_message *ret_message)
{
    telex_message message;
    uint64_t cost;
    remove_entry(channel, telex_inbox_first(&channel->inbox), &message, &cost);
    if (!may_take(channel, &message, cost))
        return WITHDRAWN;
    return deliver(channel, &message, cost, ret_message);
}

/* A synchronous message may only be taken once all bytes at hand were decoded: a withdrawal may be among them. */
static int sync_from_inbox(telex_channel *channel, telex_message *ret_message)
{
    int r = pump(channel, false);
    if (r > 0) /* more is at hand */
        return -EAGAIN;
    return telex_inbox_first(&channel->inbox) != NULL ? from_inbox(channel, ret_message) : r;
}

static int receive_locked(telex_channel *channel, telex_message *ret_message)
{
    if (telex_channel_holds_back(channel))
        return -EAGAIN;
    bool decides = channel->link->ops->claim != NULL; /* no other bytes say whether a synchronous message may be taken */
    const struct inbox_entry *first;
    while ((first = telex_inbox_first(&channel->inbox)) != NULL) {
        int r = (first->message.flags & TELEX_IS_SYNC) && !decides ? sync_from_inbox(channel, ret_message) : from_inbox(channel, ret_message);
        if (r != WITHDRAWN)
            return r;
    }
    for (unsigned others = 0; others < OTHERS_MOST;) {
        struct telex_arrival arrival;
        int r = fetch(channel, &arrival);
        if (r < 0)
            return r;
        others++;
        if (r != FETCHED_MESSAGE || !may_take(channel, &arrival.message, arrival.cost))
            continue;
        if (!(arrival.message.flags & TELEX_IS_SYNC) || decides)
            return deliver(channel, &arrival.message, arrival.cost, ret_message);
        r = telex_inbox_add(&channel->inbox, &arrival);
        if (r < 0)
            return telex_link_break(channel->link, r);
        r = sync_from_inbox(channel, ret_message);
        if (r != -EAGAIN)
            return r;
    }
    return -EAGAIN;
}

static int try_receive(telex_channel *channel, void *ret_message)
{
    struct telex_link *link = channel->link;
    if (telex_link_waits(link)) {
        telex_lock(&link->out);
        link->ops->push(link);
        telex_unlock(&link->out);
        telex_channel_wake(channel, CHANNEL_SEND);
    }
    telex_lock(&link->in);
    int r = receive_locked(channel, ret_message);
    telex_channel_spread_news(channel);
    telex_unlock(&link->in);
    return r;
}

void telex_channel_report(telex_channel *channel)
{
    telex_lock(&channel->link->in);
    channel->link->ops->report(channel->link);
    telex_unlock(&channel->link->in);
}

static int receive_one(telex_channel *channel, telex_message *ret_message, telex_time deadline)
{
    int r = telex_channel_wait(channel, CHANNEL_RECEIVE, deadline, try_receive, ret_message);
    if (r < 0) /* also at the end: the program may do something else now, and the peer waits to hear */
        telex_channel_report(channel);
    if (r == -ETIMEDOUT)
        telex_say(r, "no message came by the deadline");
    return r < 0 ? telex_channel_in_ended(channel, r) : r;
}

/* A wait that begins here: whether it may try first, and then something came soon. */
static bool comes_soon(telex_channel *channel)
{
    struct telex_waiter *waiter = &channel->waiter[CHANNEL_RECEIVE];
    if (!telex_waiter_tries(waiter) || atomic_load_explicit(&channel->interrupted[CHANNEL_RECEIVE], memory_order_relaxed) ||
        !channel->link->ops->spin(channel->link, TELEX_ARM_IN))
        return false;
    telex_waiter_won(waiter);
    atomic_store_explicit(&channel->link->lively, true, memory_order_relaxed); /* as where a wait is won */
    return true;
}

/*
 * The common case by itself, where a message costs less than ten locked instructions: this thread owns the link's lock, nothing else is under way, and a
 * plain message is there or comes while this tries. Everything else goes the long way; so nothing is decided here but that.
 */
static inline bool receive_quickly(telex_channel *channel, telex_message *ret_message, telex_time deadline)
{
    struct telex_link *link = channel->link;
    if (!link->quick)
        return false;
    enum telex_taken taken = link->ops->take_quickly(link, ret_message);
    if (__builtin_expect(taken == TELEX_TAKEN_NOW, 1))
        return true;
    if (taken != TELEX_TAKEN_LATER || deadline == TELEX_NOW || telex_channel_enter_shortly(channel, CHANNEL_RECEIVE) < 0)
        return false;
    bool took = comes_soon(channel) && link->ops->take_quickly(link, ret_message) == TELEX_TAKEN_NOW;
    telex_unlock(&channel->busy[CHANNEL_RECEIVE]);
    return took;
}

static __attribute__((noinline)) int receive_slowly(telex_channel *channel, telex_message *ret_message, telex_time deadline)
{
    int r = telex_channel_enter(channel, CHANNEL_RECEIVE);
    if (r < 0)
        return r;
    r = receive_one(channel, ret_message, deadline);
    return telex_channel_leave(channel, CHANNEL_RECEIVE, r);
}

int telex_receive(telex_channel *channel, telex_message *ret_message, telex_time deadline)
{
    return receive_quickly(channel, ret_message, deadline) ? 0 : receive_slowly(channel, ret_message, deadline);
}

/* In a call: as many as the short way takes. */
static unsigned receive_run(telex_channel *channel, telex_message *ret_messages, unsigned count)
{
    struct telex_link *link = channel->link;
    unsigned received = 0;
    if (!link->quick)
        return 0;
    telex_channel_go_shortly(channel, CHANNEL_RECEIVE, true);
    while (received < count && link->ops->take_quickly(link, &ret_messages[received]) == TELEX_TAKEN_NOW)
        received++;
    telex_channel_go_shortly(channel, CHANNEL_RECEIVE, false);
    return received;
}

int telex_receive_many(telex_channel *channel, telex_message *ret_messages, unsigned count, telex_time deadline)
{
    if (count == 0)
        return telex_say(-EINVAL, "telex_receive_many() of no messages");
    int r = telex_channel_enter(channel, CHANNEL_RECEIVE);
    if (r < 0)
        return r;
    unsigned received = 0;
    while (r == 0 && received < count) {
        received += receive_run(channel, ret_messages + received, count - received);
        if (received == count)
            break;
        r = received == 0 ? receive_one(channel, ret_messages, deadline) : try_receive(channel, &ret_messages[received]);
        received += r == 0;
    }
    return telex_channel_leave(channel, CHANNEL_RECEIVE, received > 0 ? (int)received : r);
}

int telex_process(telex_channel *channel)
{
    int r = telex_channel_enter(channel, CHANNEL_RECEIVE);
    if (r < 0)
        return r;
    struct telex_link *link = channel->link;
    telex_lock(&link->in);
    r = telex_channel_pump(channel);
    telex_lock(&link->out);
    link->ops->push(link);
    telex_unlock(&link->out);
    bool more = telex_inbox_first(&channel->inbox) != NULL;
    if (!more)
        link->ops->report(link);
    telex_unlock(&link->in);
    telex_channel_wake(channel, CHANNEL_SEND);
    if (r == -EAGAIN || more)
        r = 0;
    return telex_channel_leave(channel, CHANNEL_RECEIVE, r < 0 ? telex_channel_in_ended(channel, r) : 0);
}
