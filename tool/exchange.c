/* SPDX-License-Identifier: MIT */
/*
 * Standard input goes out message by message, while what arrives is printed or thrown away. A channel has one sending
 * and one receiving thread, and so has this: a send that waits, for room or for the other side to take the message,
 * must not keep this side from taking what the other one sends, or two that send to each other would wait for ever.
 */
#include "exchange.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- the receiver ---- */

static void ring(int event)
{
    uint64_t one = 1;
    if (write(event, &one, sizeof one) < 0) {
        /* full: it is readable already */
    }
}

/* Takes what has arrived. Whether there is more to come. */
static bool take_arrivals(struct tool_exchange *exchange, telex_message *message)
{
    int r = 0;
    while (r == 0 && exchange->status == TOOL_OK) {
        r = telex_receive(exchange->channel, message, TELEX_NOW);
        if (r == 0 && (exchange->prints || (message->flags & TELEX_IS_CALL)))
            exchange->status = tool_take(exchange->options, exchange->channel, message);
    }
    if (r != -EAGAIN && r != -EINTR)
        exchange->error = r;
    return exchange->status == TOOL_OK && exchange->error == 0;
}

static void *receive(void *user)
{
    struct tool_exchange *exchange = user;
    telex_message message = {0};
    struct pollfd fds[] = {{.fd = telex_fd(exchange->channel), .events = POLLIN},
                           {.fd = exchange->quit, .events = POLLIN}};
    do
        tool_poll(fds, 2, TELEX_NEVER);
    while (fds[1].revents == 0 && (fds[0].revents == 0 || take_arrivals(exchange, &message)));
    telex_release(&message);
    ring(exchange->over);
    return NULL;
}

int tool_exchange_begin(struct tool_exchange *exchange)
{
    exchange->quit = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    exchange->over = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (exchange->quit < 0 || exchange->over < 0) {
        tool_say("no descriptors for events: %s", strerror(errno));
        return TOOL_FAILURE;
    }
    int r = telex_fd(exchange->channel); /* now, while an error can be told */
    if (r < 0)
        return tool_fail(r, exchange->channel);
    sigset_t all, kept; /* signals are for the sending thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    r = pthread_create(&exchange->receiver, NULL, receive, exchange);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    exchange->receiving = r == 0;
    if (r == 0)
        return TOOL_OK;
    tool_say("no thread to receive with: %s", strerror(r));
    return TOOL_FAILURE;
}

static void join(struct tool_exchange *exchange)
{
    if (!exchange->receiving)
        return;
    ring(exchange->quit);
    pthread_join(exchange->receiver, NULL);
    exchange->receiving = false;
}

/* The receiver has ended by itself: the status to end with. */
static int receiver_ended(struct tool_exchange *exchange)
{
    join(exchange);
    exchange->fault |= exchange->status != TOOL_OK;
    if (exchange->status != TOOL_OK)
        return exchange->status;
    if (exchange->error == -EPIPE && !tool_peer_refused(exchange->channel))
        return EXCHANGE_CLOSED;
    return tool_fail(exchange->error, exchange->channel);
}

/* Sleeps until standard input can be read (`input`), or `deadline`. */
static int wait_for(struct tool_exchange *exchange, bool input, telex_time deadline, bool *ret_input)
{
    struct pollfd fds[] = {
        {.fd = exchange->over, .events = POLLIN},
        {.fd = exchange->stop, .events = POLLIN},
        {.fd = input ? exchange->input.fd : -1, .events = POLLIN},
    };
    int count = tool_poll(fds, 3, deadline);
    *ret_input = count > 0 && fds[2].revents != 0;
    if (tool_stopping())
        return EXCHANGE_STOPPED;
    return count > 0 && fds[0].revents != 0 ? receiver_ended(exchange) : TOOL_OK;
}

/* ---- sending ---- */

static int late(struct tool_exchange *exchange)
{
    tool_say("message %" PRIu64 " was not %s by the deadline: the peer does not take what it is sent", exchange->sent + 1,
             exchange->options->sync ? "taken" : "sent");
    return TOOL_DEADLINE;
}

int tool_exchange_send(struct tool_exchange *exchange, const void *data, size_t length, bool more_follows)
{
    unsigned flags = exchange->options->sync ? TELEX_SYNC : more_follows ? TELEX_MORE : 0;
    telex_time deadline = tool_deadline(exchange->options, exchange->patience);
    telex_message message = tool_message(exchange->options, data, length);
    tool_interrupts(exchange->channel);
    int r = tool_send_message(exchange->channel, &message, flags, deadline);
    tool_interrupts(NULL);
    exchange->sent += r == 0;
    if (r == 0)
        return TOOL_OK;
    if (r == -EINTR)
        return EXCHANGE_STOPPED;
    if (r == -EPIPE && !tool_peer_refused(exchange->channel))
        return EXCHANGE_CLOSED;
    if (r == -ETIMEDOUT)
        return late(exchange);
    bool unsayable = r == -EMSGSIZE || r == -EINVAL || r == -EILSEQ;
    exchange->fault |= unsayable || r == -EOPNOTSUPP;
    if (!unsayable && r != -EAGAIN)
        return tool_fail(r, exchange->channel);
    tool_say("message %" PRIu64 ": %s", exchange->sent + 1, telex_reason(exchange->channel)); /* the others are fine */
    return TOOL_FAILURE;
}

/* What the queue's policy (option full=) dropped was not sent, whatever telex_send() returned. */
static int count_dropped(const struct tool_exchange *exchange, int status)
{
    telex_counters counters = {.size = sizeof counters};
    if (telex_counters_of(exchange->channel, &counters) < 0 || counters.dropped == 0)
        return status;
    tool_say("%" PRIu64 " of %" PRIu64 " messages were dropped (option full=)", counters.dropped, exchange->sent);
    return status == TOOL_OK ? TOOL_FAILURE : status;
}

/* The next message in the buffer. */
static bool next_message(struct tool_exchange *exchange, const char **ret_data, size_t *ret_length)
{
    struct tool_input *input = &exchange->input;
    if (!exchange->whole)
        return tool_input_line(input, ret_data, ret_length);
    if (input->length == 0)
        return false;
    *ret_data = input->bytes + input->start;
    *ret_length = input->length;
    input->start = input->length = 0;
    return true;
}

static int send_buffered(struct tool_exchange *exchange)
{
    const char *data, *next;
    size_t length, next_length;
    int status = TOOL_OK;
    bool have = next_message(exchange, &data, &length);
    while (have && status == TOOL_OK) {
        bool more = next_message(exchange, &next, &next_length);
        status = tool_exchange_send(exchange, data, length, more);
        have = more;
        data = next;
        length = next_length;
    }
    return status;
}

static int read_input(struct tool_exchange *exchange)
{
    int r = tool_input_read(&exchange->input);
    if (r == -EINTR || r == -EAGAIN)
        return TOOL_OK;
    if (r < 0) {
        exchange->fault = true;
        tool_say("standard input: %s", strerror(-r));
        return TOOL_FAILURE;
    }
    int status = send_buffered(exchange);
    int64_t most = telex_max(exchange->channel);
    if (status == TOOL_OK && most > 0 && exchange->input.length > (uint64_t)most) {
        exchange->fault = true;
        tool_say("standard input: a line longer than the %" PRId64 " bytes agreed for a message (option max=)", most);
        return TOOL_FAILURE;
    }
    return status;
}

int tool_exchange_send_input(struct tool_exchange *exchange)
{
    int status = TOOL_OK;
    while (status == TOOL_OK && !exchange->input.ended) {
        bool input;
        status = wait_for(exchange, true, TELEX_NEVER, &input);
        if (status == TOOL_OK && input)
            status = read_input(exchange);
    }
    return status;
}

int tool_exchange_receive(struct tool_exchange *exchange, telex_time deadline)
{
    int status = TOOL_OK;
    while (status == TOOL_OK) {
        bool input;
        status = wait_for(exchange, false, deadline, &input);
        if (status == TOOL_OK && telex_now() >= deadline)
            return TOOL_DEADLINE;
    }
    return status;
}

int tool_exchange_close(struct tool_exchange *exchange, int status)
{
    uint64_t untaken = 0;
    telex_time deadline = status == TOOL_DEADLINE ? TELEX_NOW : tool_deadline(exchange->options, TOOL_PATIENCE);
    join(exchange);
    status = count_dropped(exchange, status);
    int r = telex_close(exchange->channel, deadline, &untaken);
    exchange->channel = NULL;
    tool_input_deinit(&exchange->input);
    close(exchange->quit);
    close(exchange->over);
    if (untaken == 0)
        return status;
    uint64_t tried = untaken > exchange->sent ? untaken : exchange->sent; /* a rendezvous in vain was not sent, and is not known to be taken */
    tool_say("%" PRIu64 " of %" PRIu64 " messages are not known to be taken", untaken, tried);
    if (status != TOOL_OK)
        return status;
    return r == -ETIMEDOUT || r == -EAGAIN ? TOOL_DEADLINE : TOOL_FAILURE;
}
