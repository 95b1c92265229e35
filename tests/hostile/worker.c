/* SPDX-License-Identifier: MIT */
/* A victim that uses a channel in every way, by one thread or two, until it ends, and looks at each call: was it in time, was its answer one that may be? */
#include "hostile/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/utf8.h"

enum { HELD_MOST = 6, LONG_MOST = 150000, LIFE_MS = 3000 };

struct worker {
    telex_channel *channel;
    bool copies; /* what is received is its own, whatever the sender does */
    uint64_t seed;
    telex_time deadline, started;
    struct told told;
    uint64_t last;      /* number sent */
    telex_message held[HELD_MOST];
    uint32_t sums[HELD_MOST];
    unsigned next;
    const char *bytes;  /* LONG_MOST of them */
};

static volatile sig_atomic_t stopped;

static void on_term(int number)
{
    (void)number;
    stopped = 1;
}

/* ---- each call is looked at ---- */

static telex_time before(struct worker *self)
{
    uint64_t choice = any(&self->seed) % 8;
    self->deadline = choice == 0 ? TELEX_NOW : telex_after((int64_t)(any(&self->seed) % (choice == 1 ? 30000000 : 2000000)));
    self->started = telex_after(0);
    return self->deadline;
}

static void wrong(struct worker *self, const char *what, int result)
{
    if (self->told.wrong[0] == '\0')
        snprintf(self->told.wrong, sizeof self->told.wrong, "%s (%d)", what, result);
}

static int after(struct worker *self, const char *call, int result)
{
    static const int may_be[] = {-EAGAIN, -ETIMEDOUT, -ENOENT,  -ENOSYS, -EREMOTEIO,  -EDQUOT, -EACCES,
                                 -ECANCELED, -EBUSY,  -EPIPE, -ECONNRESET, -EPROTO, -EMSGSIZE};
    telex_time due = self->deadline > self->started ? self->deadline : self->started;
    int64_t late = telex_after(0) - due;
    self->told.calls++;
    if (late > self->told.late_ns) {
        self->told.late_ns = late;
        snprintf(self->told.late_call, sizeof self->told.late_call, "%s", call);
    }
    bool known = result >= 0;
    for (size_t i = 0; i < sizeof may_be / sizeof *may_be; i++)
        known = known || result == may_be[i];
    if (!known)
        wrong(self, call, result);
    if (result == -EPIPE || result == -ECONNRESET || result == -EPROTO || !known) {
        self->told.result = result;
        snprintf(self->told.last_call, sizeof self->told.last_call, "%s", call);
        if (result < 0 && telex_reason(self->channel)[0] == '\0')
            wrong(self, "it ended without a sentence", result);
    }
    return result;
}

static bool over(const struct worker *self)
{
    return self->told.result != 0;
}

/* ---- sending ---- */

static telex_message some_message(struct worker *self)
{
    static const size_t most[] = {1, 64, 600, 5000, LONG_MOST};
    size_t length = any(&self->seed) % most[any(&self->seed) % 8 % 5];
    telex_message message = telex_binary(self->bytes, length);
    message.kind = any(&self->seed) % 2 ? TELEX_TEXT : TELEX_BINARY;
    message.lane = (uint8_t)(any(&self->seed) % 4);
    return message;
}

static void send_some(struct worker *self, unsigned flags)
{
    telex_message message = some_message(self);
    after(self, flags & TELEX_SYNC ? "send sync" : "send", telex_send(self->channel, &message, flags, before(self)));
    self->last = message.number;
}

static void send_plain(struct worker *self)
{
    send_some(self, 0);
}

static void send_sync(struct worker *self)
{
    send_some(self, TELEX_SYNC);
}

static void send_batch(struct worker *self)
{
    for (int i = 0; i < 5 && !over(self); i++)
        send_some(self, TELEX_MORE);
    send_some(self, 0);
}

static void call(struct worker *self)
{
    telex_message request = some_message(self), reply = {0};
    if (after(self, "call", telex_call(self->channel, &request, &reply, before(self))) == 0 && reply.kind == TELEX_TEXT && self->copies &&
        !telex_utf8_valid(reply.data, reply.length))
        wrong(self, "a reply that is no text", 0);
    telex_release(&reply);
}

static void call_several(struct worker *self)
{
    telex_message request = some_message(self), reply = {0};
    uint64_t first = 0;
    for (int i = 0; i < 4 && !over(self); i++) {
        if (after(self, "call start", telex_call_start(self->channel, &request, before(self))) == 0 && first == 0)
            first = request.number;
    }
    for (int i = 0; i < 3 && !over(self); i++)
        after(self, "call finish", telex_call_finish(self->channel, 0, &reply, before(self)));
    before(self);
    after(self, "call cancel", telex_call_cancel(self->channel, first));
    telex_release(&reply);
}

static void loan(struct worker *self)
{
    telex_message message = {0};
    if (after(self, "loan", telex_loan(self->channel, any(&self->seed) % 40000, &message, before(self))) < 0)
        return;
    memset(message.data, 'x', message.length);
    message.length = message.length > 0 ? any(&self->seed) % message.length : 0;
    if (any(&self->seed) % 4 != 0)
        after(self, "send loan", telex_send(self->channel, &message, any(&self->seed) % 4 == 0 ? TELEX_SYNC : 0, before(self)));
    telex_release(&message);
}

static void ask(struct worker *self)
{
    before(self);
    for (uint64_t back = 0; back < 8 && back < self->last; back++)
        after(self, "outcome", telex_outcome(self->channel, self->last - back));
    telex_counters counters = {.size = sizeof counters};
    after(self, "counters", telex_counters_of(self->channel, &counters));
    if (counters.taken > counters.sent + counters.withdrawn)
        wrong(self, "more taken than sent", 0);
}

static void flush(struct worker *self)
{
    after(self, "flush", telex_flush(self->channel, before(self)));
}

static void (*const ways_to_send[])(struct worker *) = {send_plain, send_plain, send_plain, send_sync, send_batch, call, call_several, loan, ask, flush};

static void send_once(struct worker *self)
{
    ways_to_send[any(&self->seed) % (sizeof ways_to_send / sizeof *ways_to_send)](self);
}

/* ---- receiving ---- */

static uint32_t sum(const telex_message *message)
{
    uint32_t sum = 0;
    const unsigned char *bytes = message->data;
    for (size_t i = 0; i < message->length; i++)
        sum = sum * 31 + bytes[i];
    return sum;
}

static void look_again(struct worker *self, unsigned at)
{
    telex_message *message = &self->held[at];
    if (message->memory == NULL)
        return;
    if (self->copies && sum(message) != self->sums[at])
        wrong(self, "a message that changes", 0);
    if (self->copies && message->kind == TELEX_TEXT && !telex_utf8_valid(message->data, message->length))
        wrong(self, "text that is no text", 0);
}

/* Looks at a message when it comes and, unless it is reused before, when it is released. */
static void got(struct worker *self, unsigned at)
{
    telex_message *message = &self->held[at];
    self->told.received++;
    self->sums[at] = sum(message);
    look_again(self, at);
    if (message->flags & TELEX_IS_CALL) {
        telex_message answer = telex_text("answer");
        before(self);
        after(self, "reply", telex_reply(self->channel, message, &answer, 0, self->deadline));
    }
    if (any(&self->seed) % 2)
        return;
    look_again(self, at);
    telex_release(message);
}

static void receive_one(struct worker *self)
{
    unsigned at = self->next++ % HELD_MOST;
    look_again(self, at);
    if (after(self, "receive", telex_receive(self->channel, &self->held[at], before(self))) == 0)
        got(self, at);
}

static void receive_many(struct worker *self)
{
    for (unsigned i = 0; i < HELD_MOST; i++)
        telex_release(&self->held[i]);
    int r = after(self, "receive many", telex_receive_many(self->channel, self->held, HELD_MOST, before(self)));
    for (int i = 0; i < r; i++)
        got(self, (unsigned)i);
}

static void poll_and_process(struct worker *self)
{
    struct pollfd fd = {.fd = telex_fd(self->channel), .events = POLLIN};
    if (fd.fd < 0) {
        wrong(self, "fd", fd.fd);
        return;
    }
    poll(&fd, 1, 1);
    self->deadline = TELEX_NOW;
    self->started = telex_after(0);
    after(self, "process", telex_process(self->channel));
}

static void (*const ways_to_receive[])(struct worker *) = {receive_one, receive_one, receive_one, receive_many, poll_and_process};

static void receive_once(struct worker *self)
{
    ways_to_receive[any(&self->seed) % 64 == 0 ? 4 : any(&self->seed) % 4](self);
}

/* ---- a channel ---- */

static void *receive_all(void *with)
{
    struct worker *self = with;
    while (!over(self) && telex_after(0) < self->told.until)
        receive_once(self);
    return NULL;
}

static void merge(struct told *told, const struct told *other)
{
    if (told->result == 0)
        told->result = other->result;
    if (other->late_ns > told->late_ns) {
        told->late_ns = other->late_ns;
        memcpy(told->late_call, other->late_call, sizeof told->late_call);
    }
    if (told->wrong[0] == '\0')
        memcpy(told->wrong, other->wrong, sizeof told->wrong);
    told->calls += other->calls;
    told->received += other->received;
}

static void work(telex_channel *channel, const struct worker_side *side, uint64_t *seed, struct told *ret_told)
{
    static char bytes[LONG_MOST];
    memset(bytes, 'a', sizeof bytes);
    struct worker workers[2] = {{.channel = channel, .copies = side->copies, .bytes = bytes}};
    workers[0].told.until = telex_after(INT64_C(1000000) * (side->life > 0 ? side->life : LIFE_MS));
    workers[0].seed = any(seed) | 1;
    workers[1] = workers[0];
    workers[1].seed = any(seed) | 1;
    bool two = any(seed) % 4 != 0;
    pthread_t thread;
    if (two && pthread_create(&thread, NULL, receive_all, &workers[1]) != 0)
        abort();
    while (!over(&workers[0]) && telex_after(0) < workers[0].told.until) {
        send_once(&workers[0]);
        if (!two && !over(&workers[0]))
            receive_once(&workers[0]);
    }
    if (two)
        pthread_join(thread, NULL);
    snprintf(workers[0].told.sentence, sizeof workers[0].told.sentence, "%s", telex_reason(channel));
    for (int i = 0; i < 2; i++) /* some before the close, some after */
        for (unsigned at = 0; at < HELD_MOST / 2; at++)
            telex_release(&workers[i].held[at]);
    workers[0].deadline = MILLISECONDS(20);
    workers[0].started = telex_after(0);
    int result = workers[0].told.result;
    int closed = telex_close(channel, workers[0].deadline, NULL);
    after(&workers[0], "close", closed < 0 ? -EAGAIN : 0); /* the handle is gone: it has no sentence any more */
    workers[0].told.result = result;
    for (int i = 0; i < 2; i++)
        for (unsigned at = HELD_MOST / 2; at < HELD_MOST; at++)
            telex_release(&workers[i].held[at]);
    merge(&workers[0].told, &workers[1].told);
    *ret_told = workers[0].told;
}

void worker_run(void *with)
{
    const struct worker_side *side = with;
    char address[400];
    telex_listener *listener = NULL;
    uint64_t seed = side->seed;
    shm_address(side->path, side->options, address, sizeof address);
    signal(SIGTERM, on_term);
    if (side->listens)
        assert_good(telex_listen(address, NULL, &listener));
    if (write(side->out, "r", 1) != 1)
        abort();
    size_t descriptors = open_descriptors(0), mappings = shared_mappings(0);
    while (!stopped) {
        telex_channel *channel = NULL;
        int r = side->listens ? telex_accept(listener, MILLISECONDS(100), &channel) : telex_dial(address, NULL, MILLISECONDS(1000), &channel);
        if (r < 0)
            continue;
        struct told told;
        work(channel, side, &seed, &told);
        tell(side->out, &told);
    }
    assert_int_equal(open_descriptors(0), descriptors);
    assert_int_equal(shared_mappings(0), mappings);
    telex_listener_close(listener);
}
