/* SPDX-License-Identifier: MIT */
/*
 * Calls: requests and the one reply to each, matched by number (on lines: by order, one at a time). Calls and requests are
 * guarded by link->out, under which also a request gets its number: so its call is there before a reply can come.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/channel.h"
#include "os/fork.h"

enum {
    SPARE_REPLY_MOST = 16384, /* bytes that a channel keeps for the next reply */
    REQUESTS_MOST = 65536,    /* unanswered ones of one peer */
    REPLIES_MOST = 1024,      /* of other calls, or of none, in one try: a flood of them must not hold the call past its deadline */
};

static bool by_order(const telex_channel *channel)
{
    return !(channel->link->wire->can & TELEX_CAN_LANES);
}

static struct channel_call *find(telex_channel *channel, uint64_t number)
{
    struct telex_numbered *found = telex_numbers_find(&channel->calls.numbers, number);
    return found != NULL ? TELEX_OF(found, struct channel_call, numbered) : NULL;
}

static struct channel_call *first_of(const struct telex_node *list)
{
    struct telex_node *first = telex_list_first(list);
    return first != NULL ? TELEX_OF(first, struct channel_call, node) : NULL;
}

/* The call is nobody's any more but the caller's. */
static void unlink_call(telex_channel *channel, struct channel_call *call)
{
    telex_numbers_remove(&channel->calls.numbers, &call->numbered);
    telex_list_remove(&call->node);
}

/* It has its reply, or will get none: whoever asks for any gets the first that finished. */
static void call_finished(telex_channel *channel, struct channel_call *call)
{
    telex_list_remove(&call->node);
    telex_list_append(&channel->calls.finished, &call->node);
}

void telex_channel_add_call(telex_channel *channel, struct channel_call *call, uint64_t number)
{
    call->numbered.number = number;
    telex_numbers_add(&channel->calls.numbers, &call->numbered);
    telex_list_append(&channel->calls.waiting, &call->node);
}

void telex_channel_calls_init(telex_channel *channel)
{
    telex_list_init(&channel->calls.waiting);
    telex_list_init(&channel->calls.finished);
    telex_list_init(&channel->requests);
}

static void call_free(struct channel_call *call)
{
    telex_memory_release(call->reply.memory);
    free(call->sentence);
    free(call);
}

/* One used call and one used request wait for the next of their kind: most programs have one at a time, and so need no memory for it. */
static void *reuse(void *_Atomic *spare, size_t size)
{
    /* Acquire and release pair: whoever takes the memory sees it as it was put. */
    void *memory = atomic_exchange_explicit(spare, NULL, memory_order_acquire);
    return memory != NULL ? memset(memory, 0, size) : calloc(1, size);
}

static void give_back(void *_Atomic *spare, void *memory)
{
    free(atomic_exchange_explicit(spare, memory, memory_order_acq_rel));
}

void telex_channel_calls_free(telex_channel *channel)
{
    struct telex_node *lists[] = {&channel->calls.waiting, &channel->calls.finished};
    for (int i = 0; i < 2; i++)
        for (struct channel_call *call; (call = first_of(lists[i])) != NULL;) {
            telex_list_remove(&call->node);
            call_free(call);
        }
    for (struct telex_node *node; (node = telex_list_first(&channel->requests)) != NULL;) {
        telex_list_remove(node);
        free(TELEX_OF(node, struct channel_request, node));
    }
    telex_numbers_deinit(&channel->calls.numbers);
    telex_numbers_deinit(&channel->request_numbers);
    give_back(&channel->spare_call, NULL);
    give_back(&channel->spare_request, NULL);
    telex_memory_release(atomic_exchange_explicit(&channel->spare_reply, NULL, memory_order_acquire));
}

/* ---- what arrives ---- */

bool telex_channel_expects_line(telex_channel *channel)
{
    if (!by_order(channel))
        return false;
    telex_lock(&channel->link->out);
    bool expected = first_of(&channel->calls.waiting) != NULL || channel->discard > 0;
    telex_unlock(&channel->link->out);
    return expected;
}

static int own_bytes(telex_channel *channel, telex_message *message)
{
    if (message->memory != NULL)
        return 0;
    struct telex_memory *memory = atomic_exchange_explicit(&channel->spare_reply, NULL, memory_order_acquire); /* as in reuse */
    if (memory == NULL || memory->capacity < message->length) {
        telex_memory_release(memory);
        memory = telex_memory_new(message->length);
    }
    if (memory == NULL)
        return telex_say(-ENOMEM, "no memory for a reply of %zu bytes", message->length);
    if (message->length > 0)
        memcpy(memory->bytes, message->data, message->length);
    message->memory = memory;
    message->data = memory->bytes;
    return 0;
}

/* The call that this reply answers, NULL if nobody waits for it any more. */
static struct channel_call *answered(telex_channel *channel, const telex_message *reply)
{
    if (!by_order(channel))
        return find(channel, reply->request);
    if (channel->discard > 0) {
        channel->discard--;
        return NULL;
    }
    return first_of(&channel->calls.waiting);
}

void telex_channel_on_reply(telex_channel *channel, struct telex_arrival *arrival)
{
    struct telex_link *link = channel->link;
    telex_message *reply = &arrival->message;
    telex_channel_take(channel, reply, arrival->cost); /* into the hands of its call, or dropped: done with in either case */
    telex_lock(&link->out);
    struct channel_call *call = answered(channel, reply);
    if (call == NULL || call->result != -EAGAIN) {
        channel->late++;
        telex_memory_release(reply->memory);
    } else {
        call->result = own_bytes(channel, reply);
        reply->flags |= TELEX_IS_REPLY;
        reply->request = call->numbered.number;
        if (call->result == 0)
            call->reply = *reply;
        call_finished(channel, call);
        channel->received++;
        channel->received_bytes += reply->length;
    }
    telex_unlock(&link->out);
    link->news++;
}

void telex_channel_on_fail(telex_channel *channel, const struct telex_arrival *arrival)
{
    static const int errors[] = {
        [0] = -EREMOTEIO,
        [TELEX_FAILURE_NO_HANDLER] = -ENOSYS,
        [TELEX_FAILURE_FAILED] = -EREMOTEIO,
        [TELEX_FAILURE_LIMIT] = -EDQUOT,
        [TELEX_FAILURE_REFUSED] = -EACCES,
        [TELEX_FAILURE_CANCELLED] = -ECANCELED,
    };
    telex_lock(&channel->link->out);
    struct channel_call *call = find(channel, arrival->message.request);
    if (call != NULL && call->result == -EAGAIN) {
        call_finished(channel, call);
        call->result = errors[arrival->code < sizeof errors / sizeof *errors ? arrival->code : 0];
        call->sentence = arrival->sentence_length > 0 ? strndup(arrival->sentence, arrival->sentence_length) : NULL;
    } else {
        channel->late++;
    }
    telex_unlock(&channel->link->out);
    channel->link->news++;
}

static struct channel_request *find_request(telex_channel *channel, uint64_t number)
{
    struct telex_numbered *found = telex_numbers_find(&channel->request_numbers, number);
    return found != NULL ? TELEX_OF(found, struct channel_request, numbered) : NULL;
}

void telex_channel_on_cancel(telex_channel *channel, uint64_t number)
{
    telex_lock(&channel->link->out);
    struct channel_request *request = find_request(channel, number);
    if (request != NULL)
        request->cancelled = true;
    telex_unlock(&channel->link->out);
}

/* ---- asking ---- */

static int start(telex_channel *channel, telex_message *request, telex_time deadline)
{
    struct telex_put how = {.call = true};
    int r = telex_channel_check(channel, request, &how);
    if (r < 0)
        return r;
    if (by_order(channel)) {
        telex_lock(&channel->link->out);
        bool outstanding = channel->calls.numbers.count > 0;
        telex_unlock(&channel->link->out);
        if (outstanding)
            return telex_say(-EBUSY, "wire=%s allows one call at a time, and one is outstanding", channel->link->wire->name);
    }
    struct channel_call *call = reuse(&channel->spare_call, sizeof *call);
    if (call == NULL)
        return telex_say(-ENOMEM, "no memory for a call");
    call->result = -EAGAIN;
    r = telex_channel_put(channel, request, &how, deadline, call);
    if (r < 0) {
        telex_lock(&channel->link->out);
        if (call->numbered.number != 0) /* admitted, and then no memory to keep what had not left */
            unlink_call(channel, call);
        telex_unlock(&channel->link->out);
        call_free(call);
        return telex_channel_ended(channel, r);
    }
    return 0;
}

struct fetching {
    uint64_t number; /* 0: any */
    telex_message *ret_reply;
    bool looked; /* not the first try */
};

/* The reply changes hands; the memory of the one before may hold the next. */
static void hand_over(telex_channel *channel, telex_message *to, const telex_message *reply)
{
    struct telex_memory *before = to->memory;
    *to = *reply;
    if (telex_memory_reusable(before, 0) && before->capacity <= SPARE_REPLY_MOST)
        before = atomic_exchange_explicit(&channel->spare_reply, before, memory_order_acq_rel);
    telex_memory_release(before);
}

/* Takes the finished call that is asked for, or the first, out of the lists. -ENOENT: there is none to wait for; -EAGAIN: none has finished. */
static int fetch_finished(telex_channel *channel, uint64_t number, struct channel_call **ret_call)
{
    struct channel_call *call = number != 0 ? find(channel, number) : first_of(&channel->calls.finished);
    if (call == NULL)
        return number == 0 && channel->calls.numbers.count > 0 ? -EAGAIN : -ENOENT;
    if (call->result == -EAGAIN)
        return -EAGAIN;
    unlink_call(channel, call);
    *ret_call = call;
    return 0;
}

static int try_finish(telex_channel *channel, void *with)
{
    struct fetching *fetching = with;
    struct telex_link *link = channel->link;
    struct channel_call *call = NULL;
    int end = 1, r = -EAGAIN; /* end: 1: more may lie unread; 0: nothing does; else how the direction ended */
    unsigned replies = 0;
    for (bool read = fetching->looked; r == -EAGAIN && end > 0 && replies < REPLIES_MOST; read = true) { /* look, then read and look again */
        if (read) {
            replies++;
            telex_lock(&link->in);
            end = telex_channel_pump_reply(channel);
            telex_unlock(&link->in);
            end = end == -EAGAIN ? 0 : end;
        }
        telex_lock(&link->out);
        if (read && telex_link_waits(link))
            link->ops->push(link);
        r = fetch_finished(channel, fetching->number, &call);
        telex_unlock(&link->out);
    }
    fetching->looked = true;
    if (r == -EAGAIN && end < 0)
        return telex_channel_in_ended(channel, end); /* no reply can come any more */
    if (r < 0)
        return r == -ENOENT ? telex_say(r, "request %llu is not outstanding", (unsigned long long)fetching->number) : r;
    r = call->result;
    if (r == 0)
        hand_over(channel, fetching->ret_reply, &call->reply);
    else
        telex_say(r, "%s", call->sentence != NULL ? call->sentence : "the peer could not answer, and did not say why");
    free(call->sentence);
    give_back(&channel->spare_call, call); /* the reply has changed hands, or there was none */
    return r;
}

static int finish(telex_channel *channel, uint64_t number, telex_message *ret_reply, telex_time deadline)
{
    struct fetching fetching = {.number = number, .ret_reply = ret_reply};
    int r = telex_channel_wait(channel, CHANNEL_SEND, deadline, try_finish, &fetching);
    return r == -ETIMEDOUT ? telex_say(r, "no reply came by the deadline") : r;
}

/* Gives the call up and tells the peer. Whether there was one. */
static bool give_up(telex_channel *channel, uint64_t number)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->out);
    struct channel_call *call = find(channel, number);
    if (call != NULL) {
        unlink_call(channel, call);
        if (by_order(channel) && call->result == -EAGAIN)
            channel->discard++; /* its reply will come, and must not be taken for another's */
        else if (call->result == -EAGAIN)
            link->ops->tell(link, TELEX_ARRIVAL_CANCEL, number, 0, NULL);
        call_free(call);
    }
    telex_unlock(&link->out);
    return call != NULL;
}

static int cancel(telex_channel *channel, uint64_t number)
{
    return give_up(channel, number) ? 0 : telex_say(-ENOENT, "request %llu is not outstanding", (unsigned long long)number);
}

int telex_call(telex_channel *channel, telex_message *request, telex_message *ret_reply, telex_time deadline)
{
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    r = start(channel, request, deadline);
    if (r == 0) {
        uint64_t number = request->number;
        r = finish(channel, number, ret_reply, deadline);
        if (r < 0)
            give_up(channel, number); /* unless it failed by the peer's word, and is gone already */
    }
    return telex_channel_leave(channel, CHANNEL_SEND, r);
}

int telex_call_start(telex_channel *channel, telex_message *request, telex_time deadline)
{
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    return r < 0 ? r : telex_channel_leave(channel, CHANNEL_SEND, start(channel, request, deadline));
}

int telex_call_finish(telex_channel *channel, uint64_t number, telex_message *ret_reply, telex_time deadline)
{
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    return r < 0 ? r : telex_channel_leave(channel, CHANNEL_SEND, finish(channel, number, ret_reply, deadline));
}

int telex_call_cancel(telex_channel *channel, uint64_t number)
{
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    return r < 0 ? r : telex_channel_leave(channel, CHANNEL_SEND, cancel(channel, number));
}

/* ---- answering ---- */

int telex_channel_add_request(telex_channel *channel, const telex_message *message)
{
    /* Relaxed: raised by this thread only. */
    if (atomic_load_explicit(&channel->request_count, memory_order_relaxed) >= REQUESTS_MOST)
        return telex_say(-EPROTO, "the peer has %d requests here that are not answered yet; no more are kept", REQUESTS_MOST);
    struct channel_request *request = reuse(&channel->spare_request, sizeof *request);
    if (request == NULL)
        return telex_say(-ENOMEM, "no memory for a request");
    telex_lock(&channel->link->out);
    *request = (struct channel_request){.numbered.number = message->number};
    telex_numbers_add(&channel->request_numbers, &request->numbered);
    telex_list_append(&channel->requests, &request->node);
    /* Relaxed, here and below: see telex_channel_holds_back. */
    atomic_fetch_add_explicit(&channel->request_count, 1, memory_order_relaxed);
    telex_unlock(&channel->link->out);
    return 0;
}

static int not_outstanding(uint64_t number)
{
    return telex_say(-ENOENT, "request %llu is not outstanding: it was answered before, or never came", (unsigned long long)number);
}

static bool has_request(telex_channel *channel, uint64_t number)
{
    telex_lock(&channel->link->out);
    bool has = find_request(channel, number) != NULL;
    telex_unlock(&channel->link->out);
    return has;
}

static void request_done(telex_channel *channel, uint64_t number)
{
    telex_lock(&channel->link->out);
    struct channel_request *request = find_request(channel, number);
    if (request != NULL) {
        telex_numbers_remove(&channel->request_numbers, &request->numbered);
        telex_list_remove(&request->node);
        give_back(&channel->spare_request, request);
        atomic_fetch_sub_explicit(&channel->request_count, 1, memory_order_relaxed);
    }
    telex_unlock(&channel->link->out);
    if (channel->line_calls)
        telex_channel_wake(channel, CHANNEL_RECEIVE); /* the next line may come */
}

/* A reply is a send that answers: until it is admitted the request stays outstanding. */
static int reply_by(telex_channel *channel, uint64_t number, telex_message *reply, unsigned flags, telex_time deadline)
{
    struct telex_put how = {.flags = flags, .request = number};
    int r = has_request(channel, number) ? telex_channel_check(channel, reply, &how) : not_outstanding(number);
    if (r == 0)
        r = flags & TELEX_SYNC ? telex_channel_put_sync(channel, reply, &how, deadline)
                               : telex_channel_put(channel, reply, &how, deadline, NULL);
    if (r == 0)
        request_done(channel, number);
    return r < 0 ? telex_channel_ended(channel, r) : r;
}

int telex_reply(telex_channel *channel, const telex_message *request, telex_message *reply, unsigned flags, telex_time deadline)
{
    uint64_t number = request->number;
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    uint8_t lane = reply->lane;
    reply->lane = request->lane;
    r = reply_by(channel, number, reply, flags, deadline);
    if (r < 0)
        reply->lane = lane;
    return telex_channel_leave(channel, CHANNEL_SEND, r);
}

int telex_fail(telex_channel *channel, const telex_message *request, unsigned failure, const char *sentence)
{
    struct telex_link *link = channel->link;
    if (failure < TELEX_FAILURE_NO_HANDLER || failure > TELEX_FAILURE_CANCELLED)
        return telex_say(-EINVAL, "%u is no enum telex_failure", failure);
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    if (!has_request(channel, request->number)) {
        r = not_outstanding(request->number);
    } else {
        telex_lock(&link->out);
        r = link->ops->tell(link, TELEX_ARRIVAL_FAIL, request->number, failure, sentence);
        bool flooded = r == -EPROTO && link->out_end == 0;
        telex_unlock(&link->out);
        if (flooded) { /* it asks and asks, and does not read the answers */
            telex_lock(&link->in);
            telex_link_break(link, r);
            telex_unlock(&link->in);
        }
        if (r == 0)
            request_done(channel, request->number);
        else if (!flooded)
            r = telex_channel_ended(channel, r);
    }
    return telex_channel_leave(channel, CHANNEL_SEND, r);
}

int telex_cancelled(telex_channel *channel, const telex_message *request)
{
    if (channel->generation != telex_generation())
        return telex_channel_foreign(channel);
    telex_channel_look(channel); /* the cancellation may lie unread */
    telex_lock(&channel->link->out);
    const struct channel_request *at = find_request(channel, request->number);
    int r = at == NULL ? -ENOENT : at->cancelled;
    telex_unlock(&channel->link->out);
    return r == -ENOENT ? telex_say(r, "request %llu is not outstanding", (unsigned long long)request->number) : r;
}
