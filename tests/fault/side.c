/* SPDX-License-Identifier: MIT */
/* One side of a seeded conversation: does what the plan says, and writes down what came of it. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault/log.h"
#include "medium/fault/fault.h"
#include "telex/telex.h"

enum { ALL_LANES = (1 << PLAN_LANES) - 1 };

#define SECOND INT64_C(1000000000)

struct request {
    uint64_t number;
    unsigned id, lane;
};

struct side {
    const struct plan *plan;
    unsigned me;
    struct log_side *log;
    telex_channel *channel;
    pthread_mutex_t lock; /* guards requests, and what was received: both threads of a side take messages, one answers */
    struct request requests[LOG_MESSAGES];
    unsigned request_count;
    atomic_uint calls_done, ends; /* lanes on which the other side said so */
    atomic_int ended;             /* what a call on the channel ended it with */
};

static struct log_side *mine; /* for the watcher */

static void wrong(struct side *side, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct side *side, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    if (side->log->fault[0] == '\0')
        vsnprintf(side->log->fault, sizeof side->log->fault, format, list);
    va_end(list);
}

static void watch(const struct telex_fault_decision *decision)
{
    unsigned at = atomic_load(&mine->decided[decision->writes]);
    if (at >= LOG_DECISIONS)
        return;
    mine->decisions[decision->writes][at] = decision->length ^ decision->again ^ (uint64_t)decision->shortened << 32;
    atomic_store(&mine->decided[decision->writes], at + 1);
}

/* Of each failure: is there a sentence, is it one that may be, does it end the channel? */
static int heed(struct side *side, int result, const char *what)
{
    if (result >= 0)
        return result;
    if (telex_reason(side->channel)[0] == '\0')
        wrong(side, "%s gave %d without a sentence", what, result);
    if (result == -EPIPE || result == -ECONNRESET)
        atomic_store(&side->ended, result);
    else if (result != -EAGAIN && result != -ETIMEDOUT && (result != -EREMOTEIO || strcmp(telex_reason(side->channel), "as planned") != 0))
        wrong(side, "%s gave %d: %.150s", what, result, telex_reason(side->channel));
    return result;
}

/* ---- receiving ---- */

static void take(struct side *side, const telex_message *message, bool reply)
{
    struct log_side *log = side->log;
    pthread_mutex_lock(&side->lock); /* a call takes its reply while another thread receives */
    unsigned at = atomic_load(&log->received_count);
    if (at == LOG_MESSAGES)
        abort();
    log->received[at] = (struct log_received){.id = message->type, .lane = message->lane, .number = message->number, .reply = reply};
    atomic_store(&log->received_count, at + 1);
    if (message->length > PLAN_LONGEST || memcmp(message->data != NULL ? message->data : "", plan_bytes(!side->me, message->type), message->length) != 0)
        wrong(side, "message %u came with other bytes", message->type);
    if (message->type >= PLAN_CALLS_DONE && message->type < PLAN_END)
        atomic_fetch_or(&side->calls_done, 1U << message->lane);
    else if (message->type >= PLAN_END && message->type < PLAN_REPLY)
        atomic_fetch_or(&side->ends, 1U << message->lane);
    if (message->flags & TELEX_IS_CALL)
        side->requests[side->request_count++] = (struct request){message->number, message->type, message->lane};
    pthread_mutex_unlock(&side->lock);
}

static void receive(struct side *side, telex_time deadline)
{
    unsigned most = side->plan->sides[side->me].receives;
    telex_message messages[8] = {0};
    if (side->plan->sides[side->me].by_descriptor) {
        struct pollfd ready = {.fd = telex_fd(side->channel), .events = POLLIN};
        int64_t wait = deadline == TELEX_NOW ? 0 : (deadline - telex_now()) / 1000000 + 1;
        if (poll(&ready, 1, wait > 0 ? (int)wait : 0) == 0)
            return;
        deadline = TELEX_NOW;
    }
    atomic_store(&side->log->taking[0], most);
    int got = most == 1 ? telex_receive(side->channel, messages, deadline) : telex_receive_many(side->channel, messages, most, deadline);
    unsigned count = heed(side, got, "receive") < 0 ? 0 : most == 1 ? 1 : (unsigned)got;
    for (unsigned i = 0; i < count; i++) {
        take(side, &messages[i], false);
        telex_release(&messages[i]);
    }
    atomic_store(&side->log->taking[0], 0);
}

/* ---- sending ---- */

static struct log_sent *begin(struct side *side, const telex_message *message)
{
    unsigned at = atomic_load(&side->log->sent_count);
    struct log_sent *sent = &side->log->sent[at];
    *sent = (struct log_sent){.id = message->type, .lane = message->lane, .result = LOG_TRYING, .outcome = -1, .at_end = -1};
    atomic_store(&side->log->sent_count, at + 1);
    return sent;
}

static void finish(struct side *side, struct log_sent *sent, const telex_message *message, int result)
{
    sent->number = message->number;
    if ((sent->sync || sent->call) && result < 0 && sent->number != 0)
        sent->outcome = telex_outcome(side->channel, sent->number);
    sent->result = result;
}

static telex_message message_of(const struct side *side, unsigned id, unsigned lane, size_t length)
{
    telex_message message = telex_binary(plan_bytes(side->me, id), length);
    message.type = (uint16_t)id;
    message.lane = (uint8_t)lane;
    return message;
}

static void send_one(struct side *side, const struct plan_step *step, telex_time deadline)
{
    telex_message message = message_of(side, step->id, step->lane, step->length);
    struct log_sent *sent = begin(side, &message);
    sent->sync = step->kind == PLAN_SEND_SYNC;
    unsigned flags = sent->sync ? TELEX_SYNC : step->kind == PLAN_SEND_MORE ? TELEX_MORE : 0;
    finish(side, sent, &message, heed(side, telex_send(side->channel, &message, flags, deadline), "send"));
}

static void send_many(struct side *side, const struct plan_step *step, telex_time deadline)
{
    telex_message messages[PLAN_RUN];
    struct log_sent *sent[PLAN_RUN];
    for (unsigned i = 0; i < step->count; i++) {
        messages[i] = message_of(side, step->id + i, step->lane, step->length >> i);
        sent[i] = begin(side, &messages[i]);
    }
    int count = telex_send_many(side->channel, messages, step->count, deadline);
    int error = count < 0 ? count : -EAGAIN;
    heed(side, count, "send of many");
    for (unsigned i = 0; i < step->count; i++) {
        sent[i]->number = messages[i].number;
        sent[i]->result = (int)i < count ? 0 : error;
    }
}

static void take_reply(struct side *side, telex_message *reply, const struct log_sent *request)
{
    if (reply->type != PLAN_REPLY + request->id || reply->request != request->number)
        wrong(side, "request %u got the reply %u, to number %llu", request->id, reply->type, (unsigned long long)reply->request);
    take(side, reply, true);
    telex_release(reply);
}

static void call(struct side *side, const struct plan_step *step, telex_time deadline)
{
    telex_message request = message_of(side, step->id, step->lane, step->length), reply = {0};
    struct log_sent *sent = begin(side, &request);
    sent->call = true;
    atomic_store(&side->log->taking[1], 1);
    int result = step->kind == PLAN_CALL ? telex_call(side->channel, &request, &reply, deadline) : telex_call_start(side->channel, &request, deadline);
    result = heed(side, result, "call");
    if (step->kind == PLAN_CALL_LATER && result == 0) {
        sent->number = request.number;
        for (unsigned i = 0; i < 3 && !side->plan->sides[side->me].threads; i++)
            receive(side, TELEX_NOW);
        result = heed(side, telex_call_finish(side->channel, request.number, &reply, deadline), "finish");
        if (result == -EAGAIN || result == -ETIMEDOUT) {
            int cancelled = telex_call_cancel(side->channel, request.number);
            if (cancelled != 0)
                heed(side, cancelled, "cancel");
        }
    }
    if (result == -EREMOTEIO)
        result = 1; /* as planned: it was taken, and there is no reply */
    finish(side, sent, &request, result);
    if (result == 0)
        take_reply(side, &reply, sent);
    atomic_store(&side->log->taking[1], 0);
}

/* Answers what can be answered; true: all. */
static bool answer(struct side *side)
{
    for (;;) {
        pthread_mutex_lock(&side->lock);
        bool none = side->request_count == 0;
        struct request request = side->requests[0];
        pthread_mutex_unlock(&side->lock);
        if (none)
            return true;
        size_t length;
        enum plan_answer how = plan_answer_to(side->plan, side->me, request.id, &length);
        telex_message to = {.number = request.number, .lane = (uint8_t)request.lane, .flags = TELEX_IS_CALL};
        if (how == PLAN_FAIL) {
            heed(side, telex_fail(side->channel, &to, TELEX_FAILURE_FAILED, "as planned"), "fail");
        } else {
            telex_message reply = message_of(side, PLAN_REPLY + request.id, request.lane, length);
            unsigned before = atomic_load(&side->log->sent_count);
            struct log_sent *sent = begin(side, &reply);
            sent->reply = true;
            sent->sync = how == PLAN_ANSWER_SYNC;
            int result = heed(side, telex_reply(side->channel, &to, &reply, sent->sync ? TELEX_SYNC : 0, telex_after(SECOND / 200)), "reply");
            finish(side, sent, &reply, result);
            if (result < 0 && sent->number == 0 && side->ended == 0) { /* no effect: again, later */
                atomic_store(&side->log->sent_count, before);
                return false;
            }
        }
        pthread_mutex_lock(&side->lock);
        memmove(side->requests, side->requests + 1, --side->request_count * sizeof *side->requests);
        pthread_mutex_unlock(&side->lock);
    }
}

/* ---- the conversation ---- */

static bool alone(const struct side *side)
{
    return !side->plan->sides[side->me].threads;
}

/* Moves on while the sending thread has nothing to send. */
static void idle(struct side *side)
{
    if (alone(side)) {
        receive(side, telex_after(SECOND / 500));
        return;
    }
    if (telex_flush(side->channel, telex_after(SECOND / 1000)) == 0)
        poll(NULL, 0, 1);
}

static void do_step(struct side *side, const struct plan_step *step)
{
    telex_time deadline = step->patience == 0 ? TELEX_NOW : telex_after(step->patience);
    switch (step->kind) {
    case PLAN_SEND_MANY:
        send_many(side, step, deadline);
        break;
    case PLAN_CALL:
    case PLAN_CALL_LATER:
        call(side, step, deadline);
        break;
    case PLAN_FLUSH:
        heed(side, telex_flush(side->channel, deadline), "flush");
        break;
    case PLAN_PROCESS:
        if (alone(side))
            heed(side, telex_process(side->channel), "process");
        break;
    default:
        send_one(side, step, deadline);
    }
    for (unsigned i = 0; i < step->receives && alone(side) && side->ended == 0; i++)
        receive(side, i == 0 ? TELEX_NOW : telex_after(SECOND / 2000));
}

/* Says it on every lane, and waits until the other side has said it, too. */
static void exchange_marks(struct side *side, unsigned id, atomic_uint *theirs)
{
    for (unsigned lane = 0; lane < PLAN_LANES && side->ended == 0;) {
        telex_message mark = message_of(side, id + lane, lane, lane);
        unsigned before = atomic_load(&side->log->sent_count);
        struct log_sent *sent = begin(side, &mark);
        finish(side, sent, &mark, heed(side, telex_send(side->channel, &mark, 0, telex_after(SECOND / 1000)), "send"));
        if (sent->result == 0)
            lane++;
        else if (side->ended == 0) {
            atomic_store(&side->log->sent_count, before);
            answer(side);
            idle(side);
        }
    }
    while (side->ended == 0 && (!answer(side) || atomic_load(theirs) != ALL_LANES))
        idle(side);
}

static void *receive_all(void *with)
{
    struct side *side = with;
    int ended = 0;
    while (atomic_load(&side->ends) != ALL_LANES && ended == 0) {
        receive(side, telex_after(SECOND / 100));
        ended = atomic_load(&side->ended);
    }
    return NULL;
}

static void converse(struct side *side)
{
    const struct plan_side *plan = &side->plan->sides[side->me];
    pthread_t thread;
    if (!alone(side) && pthread_create(&thread, NULL, receive_all, side) != 0)
        abort();
    for (unsigned i = 0; i < plan->step_count && side->ended == 0; i++) {
        do_step(side, &plan->steps[i]);
        answer(side);
    }
    exchange_marks(side, PLAN_CALLS_DONE, &side->calls_done);
    exchange_marks(side, PLAN_END, &side->ends);
    if (!alone(side))
        pthread_join(thread, NULL);
    side->log->to_the_end = side->ended == 0;
    /* What had arrived before the end is handed out first. */
    for (int last = -1; side->ended != 0 && last != side->ended;) {
        last = side->ended;
        atomic_store(&side->ended, 0);
        while (side->ended == 0)
            receive(side, telex_after(SECOND));
    }
    side->log->ended = side->ended;
}

/* Asks what became of what was not taken in time. Whether that is known of all. */
static bool ask_outcomes(struct side *side)
{
    bool known = true;
    for (unsigned i = 0; i < atomic_load(&side->log->sent_count); i++) {
        struct log_sent *sent = &side->log->sent[i];
        if (sent->outcome >= 0)
            sent->at_end = telex_outcome(side->channel, sent->number);
        known = known && sent->at_end != TELEX_UNKNOWN;
    }
    return known;
}

static void close_up(struct side *side)
{
    struct log_side *log = side->log;
    /* The answer to a late withdrawal may come after the other side's last message. */
    for (telex_time until = telex_after(10 * SECOND); !ask_outcomes(side) && telex_now() < until;) {
        if (telex_process(side->channel) < 0) { /* its goodbye came: nothing follows that */
            ask_outcomes(side);
            break;
        }
        poll(NULL, 0, 1);
    }
    telex_counters counters = {.size = sizeof counters};
    telex_counters_of(side->channel, &counters);
    log->counted_sent = counters.sent;
    log->close_result = telex_close(side->channel, telex_after(20 * SECOND), &log->untaken);
    if (log->close_result == -ETIMEDOUT)
        wrong(side, "close did not end: %.150s", telex_reason(NULL));
    log->closed = true;
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    if (directory != NULL)
        closedir(directory);
    return count;
}

static int meet(struct side *side, struct log *log, int ready)
{
    const struct plan_side *plan = &side->plan->sides[side->me];
    char address[600], byte = 'r';
    if (side->me == 0) {
        if (read(ready, &byte, 1) != 1)
            return -ECONNREFUSED;
        snprintf(address, sizeof address, "fault+%s?%s&%s", log->address, plan->options, plan->faults);
        int result = telex_dial(address, NULL, telex_after(20 * SECOND), &side->channel);
        return result;
    }
    char where[300];
    if (strcmp(side->plan->scheme, "tcp") == 0)
        snprintf(where, sizeof where, "127.0.0.1:0");
    else
        snprintf(where, sizeof where, "%s/telex-fault-%d", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", (int)getpid());
    snprintf(address, sizeof address, "fault+%s://%s?%s&%s", side->plan->scheme, where, plan->options, plan->faults);
    telex_listener *listener;
    int result = telex_listen(address, NULL, &listener);
    if (result < 0)
        return result;
    const char *real = telex_listener_address(listener);
    snprintf(log->address, sizeof log->address, "%s", strncmp(real, "fault+", 6) == 0 ? real + 6 : real);
    if (write(ready, &byte, 1) != 1)
        abort();
    do
        result = telex_accept(listener, telex_after(SECOND / 50), &side->channel);
    while (result == -ETIMEDOUT && !atomic_load(&log->nobody_dials));
    telex_listener_close(listener);
    return result;
}

void side_run(const struct plan *plan, unsigned me, struct log *log, int ready)
{
    static struct side side;
    side = (struct side){.plan = plan, .me = me, .log = &log->sides[me], .lock = PTHREAD_MUTEX_INITIALIZER};
    mine = side.log;
    telex_fault_watch = watch;
    unsigned before = descriptors();
    side.log->ended = meet(&side, log, ready);
    if (side.log->ended == 0) {
        side.log->open = true;
        converse(&side);
        close_up(&side);
    } else if (telex_reason(NULL)[0] == '\0') {
        wrong(&side, "meeting gave %d without a sentence", side.log->ended);
    }
    if (me == 0)
        atomic_store(&log->nobody_dials, true);
    if (descriptors() != before)
        wrong(&side, "%d descriptors were left open", (int)(descriptors() - before));
}
