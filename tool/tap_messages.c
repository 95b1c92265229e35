/* SPDX-License-Identifier: MIT */
/*
 * telex tap: each message is received and sent again, for media without bytes to pass on, and where the two sides differ.
 *
 * A way's thread receives on the side where it begins and sends on the other one. The reply to a call comes back the other way, but telex hands
 * it to a sending call on the side that was asked, which is this way's. So whoever can get hold of `sending` collects what replies there
 * are; the other way's thread, which sends on the side that asked, passes them on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "text.h"

enum {
    KEPT_MOST = 4096, /* bytes of a message whose memory the next one may use */
    CANCELLED_LOOKS = 64, /* requests that are looked at in a round for whether they were cancelled */
};

/* A call on its way: asked by number `asked` on the side where the way begins, `started` on the other one. */
struct tap_calling {
    struct tap_calling *next;
    telex_message request; /* number and lane only: enough to answer it */
    uint64_t started;
    int result;            /* of telex_call_finish() */
    telex_message reply;
    char *sentence;
};

struct tap_calls {
    pthread_mutex_t lock; /* of all this */
    struct tap_calling *outstanding, *answered, **answered_last;
};

int tap_messages_prepare(struct tap_connection *connection)
{
    for (int way = 0; way < TAP_WAYS; way++) {
        struct tap_calls *calls = calloc(1, sizeof *calls);
        if (calls == NULL) {
            tool_say("out of memory for connection %u", connection->number);
            return TOOL_FAILURE;
        }
        pthread_mutex_init(&calls->lock, NULL);
        calls->answered_last = &calls->answered;
        connection->ways[way].calls = calls;
    }
    return TOOL_OK;
}

static void calling_free(struct tap_calling *calling)
{
    telex_release(&calling->reply);
    free(calling->sentence);
    free(calling);
}

void tap_messages_free(struct tap_connection *connection)
{
    for (int way = 0; way < TAP_WAYS; way++) {
        struct tap_calls *calls = connection->ways[way].calls;
        for (int list = 0; calls != NULL && list < 2; list++)
            for (struct tap_calling *at = list == 0 ? calls->outstanding : calls->answered, *next; at != NULL; at = next) {
                next = at->next;
                calling_free(at);
            }
        if (calls != NULL)
            pthread_mutex_destroy(&calls->lock);
        free(calls);
    }
}

/* ---- what is written down ---- */

static void log_message(struct tap_way *way, enum tap_what what, const telex_message *message, uint64_t request)
{
    struct tap_event event = {.what = what, .way = way->way, .message = *message, .sync = message->flags & TELEX_IS_SYNC};
    event.message.request = request;
    event.shown = message->kind == TELEX_TEXT ? tool_utf8_cut(message->data, message->length, TAP_SHOWN_MOST)
                  : message->length < TAP_SHOWN_MOST ? message->length : TAP_SHOWN_MOST;
    tap_log(way->connection, &event);
}

/* ---- calls ---- */

static bool is_failure(int error)
{
    return error == -ENOSYS || error == -EREMOTEIO || error == -EDQUOT || error == -EACCES || error == -ECANCELED;
}

/* Under the lock of `calls`. */
static void answered(struct tap_calls *calls, struct tap_calling *calling)
{
    calling->next = NULL;
    *calls->answered_last = calling;
    calls->answered_last = &calling->next;
}

/* The call at `at` is outstanding no longer. */
static void settle_call(struct tap_calls *calls, struct tap_calling **at, int result, const telex_message *reply, char *sentence)
{
    struct tap_calling *calling = *at;
    *at = calling->next;
    calling->result = result;
    calling->reply = *reply;
    calling->sentence = sentence;
    answered(calls, calling);
}

/*
 * One call has failed with `error`, and only its number was not told: it is the one that is outstanding here and unknown there. The others that
 * have finished are found on the way.
 */
static void find_failed(struct tap_way *way, int error, char *sentence)
{
    for (struct tap_calling **at = &way->calls->outstanding; *at != NULL;) {
        telex_message reply = {0};
        int r = telex_call_finish(way->to, (*at)->started, &reply, TELEX_NOW);
        if (r == -ENOENT) {
            settle_call(way->calls, at, error, &reply, sentence);
            sentence = NULL;
        } else if (r == 0 || is_failure(r)) {
            settle_call(way->calls, at, r, &reply, r < 0 ? strdup(telex_reason(way->to)) : NULL);
        } else {
            at = &(*at)->next;
        }
    }
    free(sentence);
}

/* Takes over what has been answered. Under `sending`. Whether there was anything. */
static bool collect_replies(struct tap_way *way)
{
    struct tap_calls *calls = way->calls;
    bool any = false;
    pthread_mutex_lock(&calls->lock);
    while (calls->outstanding != NULL) {
        telex_message reply = {0};
        int r = telex_call_finish(way->to, 0, &reply, TELEX_NOW);
        if (r != 0 && !is_failure(r))
            break;
        any = true;
        if (r != 0) {
            find_failed(way, r, strdup(telex_reason(way->to)));
            continue;
        }
        struct tap_calling **at = &calls->outstanding;
        while (*at != NULL && (*at)->started != reply.request)
            at = &(*at)->next;
        if (*at != NULL)
            settle_call(calls, at, r, &reply, NULL);
        else
            telex_release(&reply); /* it was given up */
    }
    pthread_mutex_unlock(&calls->lock);
    return any;
}

/* Whether there is anybody left to ask. What cannot be asked there (no calls on that wire, a length that it does not take) fails here. */
static bool ask(struct tap_way *way, const telex_message *message)
{
    struct tap_calling *calling = calloc(1, sizeof *calling);
    telex_message request = *message;
    int r = -EINTR;
    request.flags = 0;
    request.memory = NULL; /* it stays the receiver's */
    if (calling == NULL) {
        tool_say("connection %u: out of memory", way->connection->number);
        return false;
    }
    calling->request = (telex_message){.number = message->number, .lane = message->lane};
    while (r == -EINTR && !atomic_load(&way->connection->over))
        r = telex_call_start(way->to, &request, TELEX_NEVER);
    if (r == -EPIPE || r == -ECONNRESET || r == -EPROTO || r == -EINTR) {
        free(calling);
        return false;
    }
    calling->started = request.number;
    pthread_mutex_lock(&way->calls->lock);
    if (r == 0) {
        calling->next = way->calls->outstanding;
        way->calls->outstanding = calling;
    } else {
        calling->result = -EREMOTEIO;
        calling->sentence = strdup(telex_reason(way->to));
        answered(way->calls, calling);
        tap_wake(tap_other(way));
    }
    pthread_mutex_unlock(&way->calls->lock);
    return true;
}

static unsigned failure_of(int error)
{
    return error == -ENOSYS ? TELEX_FAILURE_NO_HANDLER : error == -EDQUOT ? TELEX_FAILURE_LIMIT : error == -EACCES ? TELEX_FAILURE_REFUSED
           : error == -ECANCELED ? TELEX_FAILURE_CANCELLED : TELEX_FAILURE_FAILED;
}

/* This way's own: passes on the replies to what the other way asked. */
static void pass_replies(struct tap_way *way)
{
    struct tap_calls *calls = tap_other(way)->calls;
    for (;;) {
        pthread_mutex_lock(&calls->lock);
        struct tap_calling *calling = calls->answered;
        if (calling != NULL) {
            calls->answered = calling->next;
            if (calls->answered == NULL)
                calls->answered_last = &calls->answered;
        }
        pthread_mutex_unlock(&calls->lock);
        if (calling == NULL)
            return;
        int r = calling->result;
        if (r == 0) {
            log_message(way, TAP_REPLY, &calling->reply, calling->request.number);
            unsigned flags = calling->reply.flags & TELEX_IS_SYNC ? TELEX_SYNC : 0;
            pthread_mutex_lock(&way->sending);
            do
                r = telex_reply(way->to, &calling->request, &calling->reply, flags, TELEX_NEVER);
            while (r == -EINTR && !atomic_load(&way->connection->over));
            if (r == -EMSGSIZE || r == -EINVAL || r == -EOPNOTSUPP)
                telex_fail(way->to, &calling->request, TELEX_FAILURE_FAILED, telex_reason(way->to));
            pthread_mutex_unlock(&way->sending);
        } else {
            tap_log(way->connection, &(struct tap_event){.what = TAP_FAIL, .way = way->way, .message.request = calling->request.number, .code = failure_of(r), .sentence = calling->sentence});
            pthread_mutex_lock(&way->sending);
            telex_fail(way->to, &calling->request, failure_of(r), calling->sentence);
            pthread_mutex_unlock(&way->sending);
        }
        calling_free(calling);
    }
}

/* Gives up what was cancelled on the side where the way begins. */
static void pass_cancellations(struct tap_way *way)
{
    struct tap_calls *calls = way->calls;
    unsigned looks = 0;
    struct tap_calling *cancelled = NULL;
    pthread_mutex_lock(&calls->lock);
    for (struct tap_calling **at = &calls->outstanding; *at != NULL && looks < CANCELLED_LOOKS; looks++) {
        struct tap_calling *calling = *at;
        if (telex_cancelled(way->from, &calling->request) != 1) {
            at = &calling->next;
            continue;
        }
        *at = calling->next;
        calling->next = cancelled;
        cancelled = calling;
    }
    pthread_mutex_unlock(&calls->lock);
    for (struct tap_calling *next; cancelled != NULL; cancelled = next) {
        next = cancelled->next;
        tap_log(way->connection, &(struct tap_event){.what = TAP_CANCEL, .way = way->way, .message.request = cancelled->request.number});
        pthread_mutex_lock(&way->sending);
        telex_call_cancel(way->to, cancelled->started);
        pthread_mutex_unlock(&way->sending);
        pthread_mutex_lock(&tap_other(way)->sending);
        telex_fail(way->from, &cancelled->request, TELEX_FAILURE_CANCELLED, "");
        pthread_mutex_unlock(&tap_other(way)->sending);
        calling_free(cancelled);
    }
}

/* ---- messages ---- */

/* Like tool_send_message(): interrupted only by the end of the connection. */
static int send_on(struct tap_way *way, telex_message *message, unsigned flags)
{
    int r = -EINTR;
    while (r == -EINTR && !atomic_load(&way->connection->over)) {
        message->number = 0;
        r = telex_send(way->to, message, flags, TELEX_NEVER);
        if (r == -EINTR && (flags & TELEX_SYNC) && message->number != 0)
            return telex_outcome(way->to, message->number) == TELEX_TAKEN ? 0 : r; /* only an end interrupts: it is not sent twice */
    }
    return r;
}

/* Whether there is anybody left to pass it on to. */
static bool pass_message(struct tap_way *way, telex_message *message)
{
    bool is_sync = message->flags & TELEX_IS_SYNC;
    log_message(way, message->flags & TELEX_IS_CALL ? TAP_CALL : TAP_MESSAGE, message, 0);
    pthread_mutex_lock(&way->sending);
    bool passed = true, collected;
    if (message->flags & TELEX_IS_CALL) {
        passed = ask(way, message);
    } else {
        uint64_t number = message->number;
        telex_message copy = *message;
        copy.flags = 0;
        copy.memory = NULL; /* it stays the receiver's */
        int r = send_on(way, &copy, is_sync ? TELEX_SYNC : 0);
        if (r == 0 && is_sync)
            tap_log(way->connection, &(struct tap_event){.what = TAP_TAKEN, .way = 1 - way->way, .message.number = number});
        passed = r == 0 || (r != -EPIPE && r != -ECONNRESET && r != -EPROTO && r != -EINTR);
        if (r < 0 && passed)
            tool_say("connection %u: a message does not pass: %s", way->connection->number, telex_reason(way->to));
    }
    collected = collect_replies(way);
    pthread_mutex_unlock(&way->sending);
    if (collected)
        tap_wake(tap_other(way));
    return passed;
}

/* What came the other way may have been replies to this connection's calls, or room for them. */
static void look_for_replies(struct tap_way *way)
{
    struct tap_way *other = tap_other(way);
    if (pthread_mutex_trylock(&other->sending) == 0) { /* else whoever has it collects */
        collect_replies(other);
        pthread_mutex_unlock(&other->sending);
    }
    pass_replies(way);
}

static void way_ended(struct tap_way *way, int error)
{
    struct tap_connection *connection = way->connection;
    bool in_order = error == -EPIPE;
    const char *sentence = telex_reason(way->from);
    if (in_order)
        tap_log(connection, &(struct tap_event){.what = TAP_GOODBYE, .way = way->way, .sentence = tool_peer_refused(way->from) ? sentence : NULL});
    tap_log(connection, &(struct tap_event){.what = TAP_END, .way = way->way, .sentence = in_order ? NULL : sentence});
    atomic_store(&way->ended, true);
    tap_end(connection, !in_order);
}

void tap_messages_pass(struct tap_way *way)
{
    struct tap_connection *connection = way->connection;
    telex_message message = {0};
    while (!atomic_load(&connection->over)) {
        int r = telex_receive(way->from, &message, TELEX_NOW);
        if (r == 0 && !pass_message(way, &message)) {
            tap_gone(way);
            break;
        }
        if (r == 0 && (message.descriptor_count > 0 || message.length > KEPT_MOST))
            telex_release(&message); /* the medium has its memory back, and nobody else a descriptor open */
        look_for_replies(way);
        if (r == 0 || r == -EINTR || r == -EBUSY)
            continue;
        pass_cancellations(way); /* before the goodbye that may have come with them */
        if (r != -EAGAIN) {
            way_ended(way, r);
            break;
        }
        tap_wait(way, TELEX_NEVER);
    }
    telex_release(&message);
}
