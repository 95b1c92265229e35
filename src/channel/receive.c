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

/* ---- the inbox ---- */

/* Takes over the message; borrowed bytes are copied. */
static int inbox_add(telex_channel *channel, struct telex_arrival *arrival)
{
    telex_message *message = &arrival->message;
    struct channel_entry *entry = malloc(sizeof *entry);
    struct telex_memory *memory = message->memory;
    if (entry != NULL && memory == NULL) {
        memory = telex_memory_new(message->length);
        if (memory != NULL && message->length > 0)
            memcpy(memory->bytes, message->data, message->length);
    }
    if (entry == NULL || memory == NULL) {
        free(entry);
        telex_memory_release(message->memory);
        return telex_say(-ENOMEM, "no memory for a message of %zu bytes that arrived", message->length);
    }
    message->memory = memory;
    message->data = memory->bytes;
    *entry = (struct channel_entry){.message = *message, .cost = arrival->cost};
    *channel->inbox_last = entry;
    channel->inbox_last = &entry->next;
    channel->inbox_bytes += message->length + sizeof *entry;
    return 0;
}

static void inbox_remove(telex_channel *channel, struct channel_entry **at)
{
    struct channel_entry *entry = *at;
    *at = entry->next;
    if (channel->inbox_last == &entry->next)
        channel->inbox_last = at;
    channel->inbox_bytes -= entry->message.length + sizeof *entry;
    free(entry);
}

void telex_channel_inbox_free(telex_channel *channel)
{
    while (channel->inbox != NULL) {
        telex_memory_release(channel->inbox->message.memory);
        inbox_remove(channel, &channel->inbox);
    }
}

static struct channel_entry **inbox_find(telex_channel *channel, uint64_t number)
{
    struct channel_entry **at = &channel->inbox;
    while (*at != NULL && (*at)->message.number != number)
        at = &(*at)->next;
    return at;
}

/* A message that is no longer in the inbox, or never was, counts as taken. */
void telex_channel_take(telex_channel *channel, const telex_message *message, uint64_t cost)
{
    struct telex_link *link = channel->link;
    struct channel_entry *oldest = channel->inbox;
    while (oldest != NULL && oldest->message.lane != message->lane)
        oldest = oldest->next;
    link->waiting = oldest != NULL ? oldest->message.number : 0;
    link->ops->take(link, message, cost);
}

bool telex_channel_may_pump(const telex_channel *channel)
{
    /* A wire with control frames bounds the inbox by credit; else whoever waits must not read on for ever. */
    return (channel->link->wire->can & TELEX_CAN_GREET) || channel->inbox_bytes < channel->link->window;
}

bool telex_channel_holds_back(const telex_channel *channel)
{
    /* Relaxed: raised by this direction; lowered by a reply, after which the replier settles readiness and wakes the receiver. */
    return channel->line_calls && atomic_load_explicit(&channel->request_count, memory_order_relaxed) > 0;
}

/* ---- where arrivals go ---- */

static void on_withdraw(telex_channel *channel, uint64_t number)
{
    struct telex_link *link = channel->link;
    struct channel_entry **at = inbox_find(channel, number);
    if (*at == NULL) { /* receive has returned it */
        link->ops->decide(link, number, TELEX_TAKEN, 0);
        return;
    }
    uint64_t cost = (*at)->cost;
    telex_memory_release((*at)->message.memory);
    inbox_remove(channel, at);
    link->ops->decide(link, number, TELEX_WITHDRAWN, cost);
}

/* A cancelled request that nobody has taken yet need not reach the program: it counts as taken. */
static void on_cancel(telex_channel *channel, uint64_t number)
{
    struct channel_entry **at = inbox_find(channel, number);
    if (*at == NULL) {
        telex_channel_on_cancel(channel, number);
        return;
    }
    struct channel_entry entry = **at;
    inbox_remove(channel, at);
    telex_channel_take(channel, &entry.message, entry.cost);
    telex_memory_release(entry.message.memory);
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
        telex_channel_on_reply(channel, arrival);
        return FETCHED_REPLY;
    }
    if (channel->line_calls)
        arrival->message.flags |= TELEX_IS_CALL;
    return FETCHED_MESSAGE;
}

static int pump(telex_channel *channel, bool until_reply)
{
    int r = -EAGAIN;
    bool grown = false;
    while (telex_channel_may_pump(channel)) {
        struct telex_arrival arrival;
        r = fetch(channel, &arrival);
        if (r == FETCHED_MESSAGE && inbox_add(channel, &arrival) == 0)
            grown = true;
        else if (r == FETCHED_MESSAGE)
            r = telex_link_break(channel->link, -ENOMEM);
        if (r < 0 || (until_reply && r == FETCHED_REPLY))
            break;
    }
    telex_channel_spread_news(channel);
    bool news = grown || (r < 0 && r != -EAGAIN);
    if (news) /* whoever is about to sleep must see it: see wait.c */
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
    if (pthread_mutex_trylock(&channel->link->in) != 0)
        return; /* whoever holds it is reading */
    telex_channel_pump(channel);
    pthread_mutex_unlock(&channel->link->in);
    if (telex_channel_is_watched(channel))
        telex_channel_settle(channel);
}

void telex_channel_discard(telex_channel *channel)
{
    telex_channel_inbox_free(channel);
    for (struct telex_arrival arrival;;) {
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
    return error;
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
    int r = hand_over(ret_message, message);
    if (r == 0 && (message->flags & TELEX_IS_CALL))
        r = telex_channel_add_request(channel, message);
    if (r < 0)
        return telex_link_break(link, r);
    telex_channel_take(channel, ret_message, cost);
    channel->received++;
    channel->received_bytes += message->length;
    return 0;
}

static int from_inbox(telex_channel *channel, telex_message *ret_message)
{
    struct channel_entry entry = *channel->inbox;
    inbox_remove(channel, &channel->inbox);
    return deliver(channel, &entry.message, entry.cost, ret_message);
}

/* A synchronous message may only be taken once all bytes at hand were decoded: a withdrawal may be among them. */
static int sync_from_inbox(telex_channel *channel, telex_message *ret_message)
{
    int r = telex_channel_pump(channel);
    if (channel->inbox != NULL)
        return from_inbox(channel, ret_message);
    return r;
}

static int receive_locked(telex_channel *channel, telex_message *ret_message)
{
    if (telex_channel_holds_back(channel))
        return -EAGAIN;
    if (channel->inbox != NULL)
        return channel->inbox->message.flags & TELEX_IS_SYNC ? sync_from_inbox(channel, ret_message)
                                                             : from_inbox(channel, ret_message);
    for (;;) {
        struct telex_arrival arrival;
        int r = fetch(channel, &arrival);
        if (r < 0)
            return r;
        if (r != FETCHED_MESSAGE)
            continue;
        if (!(arrival.message.flags & TELEX_IS_SYNC))
            return deliver(channel, &arrival.message, arrival.cost, ret_message);
        r = inbox_add(channel, &arrival);
        if (r < 0)
            return telex_link_break(channel->link, r);
        r = sync_from_inbox(channel, ret_message);
        if (r != -EAGAIN)
            return r;
    }
}

static int try_receive(telex_channel *channel, void *ret_message)
{
    struct telex_link *link = channel->link;
    if (telex_link_waits(link)) {
        pthread_mutex_lock(&link->out);
        link->ops->push(link);
        pthread_mutex_unlock(&link->out);
        telex_channel_wake(channel, CHANNEL_SEND);
    }
    pthread_mutex_lock(&link->in);
    int r = receive_locked(channel, ret_message);
    telex_channel_spread_news(channel);
    pthread_mutex_unlock(&link->in);
    return r;
}

static void report(telex_channel *channel)
{
    pthread_mutex_lock(&channel->link->in);
    channel->link->ops->report(channel->link);
    pthread_mutex_unlock(&channel->link->in);
}

static int receive_one(telex_channel *channel, telex_message *ret_message, telex_time deadline)
{
    int r = telex_channel_wait(channel, CHANNEL_RECEIVE, deadline, try_receive, ret_message);
    if (r < 0) /* also at the end: the program may do something else now, and the peer waits to hear */
        report(channel);
    if (r == -ETIMEDOUT)
        telex_say(r, "no message came by the deadline");
    return r < 0 ? telex_channel_in_ended(channel, r) : r;
}

int telex_receive(telex_channel *channel, telex_message *ret_message, telex_time deadline)
{
    int r = telex_channel_enter(channel, CHANNEL_RECEIVE);
    if (r < 0)
        return r;
    r = receive_one(channel, ret_message, deadline);
    return telex_channel_leave(channel, CHANNEL_RECEIVE, r);
}

int telex_receive_many(telex_channel *channel, telex_message *ret_messages, unsigned count, telex_time deadline)
{
    if (count == 0)
        return telex_say(-EINVAL, "telex_receive_many() of no messages");
    int r = telex_channel_enter(channel, CHANNEL_RECEIVE);
    if (r < 0)
        return r;
    r = receive_one(channel, ret_messages, deadline);
    unsigned received = r == 0;
    while (r == 0 && received < count) {
        r = try_receive(channel, &ret_messages[received]);
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
    pthread_mutex_lock(&link->in);
    r = telex_channel_pump(channel);
    pthread_mutex_lock(&link->out);
    link->ops->push(link);
    pthread_mutex_unlock(&link->out);
    bool more = channel->inbox != NULL;
    if (!more)
        link->ops->report(link);
    pthread_mutex_unlock(&link->in);
    telex_channel_wake(channel, CHANNEL_SEND);
    if (r == -EAGAIN || more)
        r = 0;
    return telex_channel_leave(channel, CHANNEL_RECEIVE, r < 0 ? telex_channel_in_ended(channel, r) : 0);
}
