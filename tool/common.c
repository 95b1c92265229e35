/* SPDX-License-Identifier: MIT */
/*
 * What the subcommands share: sentences and exit statuses, deadlines, addresses, signals, messages as they are
 * printed.
 */
#include "common.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- sentences and statuses ---- */

static void say(const char *format, va_list arguments)
{
    char sentence[2048];
    vsnprintf(sentence, sizeof sentence, format, arguments);
    for (char *at = sentence; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            *at = '?';
    fprintf(stderr, "telex: %s\n", sentence);
}

void tool_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

int tool_usage(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return TOOL_USAGE;
}

static const struct {
    int error;
    enum tool_status status;
} statuses[] = {
    {-ETIMEDOUT, TOOL_DEADLINE}, {-EACCES, TOOL_REFUSED},    {-ENOSYS, TOOL_REFUSED},     {-EREMOTEIO, TOOL_REFUSED}, {-EDQUOT, TOOL_REFUSED},
    {-ECANCELED, TOOL_REFUSED},  {-EPROTO, TOOL_REFUSED},    {-EPROTONOSUPPORT, TOOL_REFUSED},
};

/* A goodbye with a sentence is a refusal (a limit, a rule), whatever call it ended. */
static bool refuses(const char *reason)
{
    return strncmp(reason, "the peer said: ", 15) == 0;
}

bool tool_peer_refused(const telex_channel *channel)
{
    return refuses(telex_reason(channel));
}

static int status_of(int error, const char *reason)
{
    if (refuses(reason))
        return TOOL_REFUSED;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].error == error)
            return statuses[i].status;
    return TOOL_FAILURE;
}

int tool_fail(int error, const telex_channel *channel)
{
    const char *reason = telex_reason(channel);
    tool_say("%s", *reason != '\0' ? reason : strerror(-error));
    return status_of(error, reason);
}

int tool_fail_address(int error, const char *address)
{
    const char *reason = telex_reason(NULL);
    if (*reason == '\0')
        tool_say("%s: %s", address, strerror(-error));
    else
        tool_say("%s", reason);
    return error == -EINVAL ? TOOL_USAGE : error == -EACCES ? TOOL_FAILURE : status_of(error, reason);
}

/* ---- deadlines and addresses ---- */

telex_time tool_deadline(const struct tool_options *options, int64_t otherwise)
{
    int64_t ns = options->deadline != 0 ? options->deadline : otherwise;
    return ns == INT64_MAX ? TELEX_NEVER : telex_after(ns);
}

int tool_poll(struct pollfd *fds, unsigned count, telex_time deadline)
{
    if (deadline == TELEX_NEVER)
        return ppoll(fds, count, NULL, NULL);
    int64_t left = deadline - telex_now();
    struct timespec timeout = {.tv_sec = left > 0 ? left / 1000000000 : 0, .tv_nsec = left > 0 ? left % 1000000000 : 0};
    return ppoll(fds, count, &timeout, NULL);
}

int tool_dial(const char *address, telex_time deadline, telex_channel **ret_channel)
{
    int r = telex_dial(address, NULL, deadline, ret_channel);
    return r < 0 ? tool_fail_address(r, address) : TOOL_OK;
}

void tool_listening(const struct tool_options *options, const char *address)
{
    if (!options->quiet)
        fprintf(stderr, "listening on %s\n", address);
}

int tool_server_listen(const struct tool_options *options, telex_server *server, const char *address)
{
    const char *real;
    int r = telex_server_listen(server, address, NULL, &real);
    if (r < 0)
        return tool_fail_address(r, address);
    tool_listening(options, real);
    return TOOL_OK;
}

bool tool_describe_loss(telex_channel *channel, int why, char *ret_sentence, size_t size)
{
    const char *reason = telex_reason(channel);
    if (why != -EPROTO && (why != -ECONNRESET || strstr(reason, "in the middle of") == NULL))
        return false;
    telex_peer peer = {.size = sizeof peer, .address = "", .pid = -1};
    telex_peer_of(channel, &peer);
    char who[320];
    if (peer.pid > 0)
        snprintf(who, sizeof who, "process %" PRId64, peer.pid);
    else
        snprintf(who, sizeof who, "the peer%s%s", peer.address[0] != '\0' ? " " : "", peer.address);
    snprintf(ret_sentence, size, "%s is not heard any more: %s", who, reason);
    return true;
}

void tool_server_drain(telex_server *server)
{
    telex_time until = telex_after(1000000000);
    struct pollfd fd = {.fd = telex_server_fd(server), .events = POLLIN};
    while (telex_now() < until && tool_poll(&fd, 1, TELEX_NOW) > 0)
        if (telex_server_process(server) < 0)
            break;
}

/* ---- signals ---- */

/* `timeout` and service managers signal a process and then its group: the same wish twice, and no second one. */
#define SAME_WISH_NS INT64_C(500000000)

static volatile sig_atomic_t stop_signal, hurry;
static volatile telex_time stop_since; /* written by the first signal, read by later ones; all handlers block each other */
static bool hurries; /* written before signals are caught */
static int stop_event = -1;
/*
 * Sequentially consistent, with itself only: the handler reads it between any two steps of the thread that writes it.
 */
static _Atomic(telex_channel *) interrupted;

static void end_by(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

static void on_stop(int signal)
{
    int kept = errno;
    uint64_t one = 1;
    telex_time now = telex_now();
    if (stop_signal != 0 && now - stop_since < SAME_WISH_NS)
        return;
    if (stop_signal != 0 && !hurries) {
        end_by(signal); /* blocked until this handler returns */
        return;
    }
    hurry = stop_signal != 0;
    stop_since = now;
    stop_signal = signal;
    if (write(stop_event, &one, sizeof one) < 0) {
        /* full: it is readable already */
    }
    telex_channel *channel = atomic_load(&interrupted);
    if (channel != NULL)
        telex_interrupt(channel);
    errno = kept;
}

int tool_catch_signals(void)
{
    if (stop_event < 0)
        stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_event < 0) {
        int error = -errno;
        tool_say("no descriptor to wait for signals: %s", strerror(-error));
        return error;
    }
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_stop}, before;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(&action.sa_mask, numbers[i]);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i] != SIGHUP || sigaction(SIGHUP, NULL, &before) < 0 || before.sa_handler != SIG_IGN) /* nohup(1) */
            sigaction(numbers[i], &action, NULL);
    return stop_event;
}

int tool_catch_signals_twice(void)
{
    hurries = true;
    return tool_catch_signals();
}

bool tool_hurried(void)
{
    return hurry != 0;
}

void tool_end_by_signal(void)
{
    end_by(stop_signal);
}

int tool_stopping(void)
{
    return stop_signal;
}

void tool_interrupts(telex_channel *channel)
{
    atomic_store(&interrupted, channel);
    if (channel != NULL && stop_signal != 0)
        telex_interrupt(channel);
}

/* ---- messages ---- */

/* A rendezvous was interrupted: waits until it is known whether it took place all the same, and tells. */
static bool was_taken(telex_channel *channel, uint64_t number, telex_time deadline)
{
    for (;;) {
        int outcome = number == 0 ? TELEX_WITHDRAWN : telex_outcome(channel, number);
        bool open = outcome == TELEX_UNKNOWN || outcome == TELEX_OFFERED;
        if (!open || telex_now() >= deadline || tool_stopping())
            return outcome == TELEX_TAKEN;
        tool_poll(NULL, 0, telex_after(1000000));
        telex_process(channel); /* -EBUSY where another thread receives, which does it as well */
    }
}

int tool_send_message(telex_channel *channel, telex_message *message, unsigned flags, telex_time deadline)
{
    for (;;) {
        message->number = 0;
        int r = telex_send(channel, message, flags, deadline);
        if (r != -EINTR && r != -ETIMEDOUT)
            return r;
        if ((flags & TELEX_SYNC) && was_taken(channel, message->number, deadline))
            return 0;
        if (tool_stopping())
            return -EINTR;
        if (telex_now() >= deadline)
            return r;
    }
}

int tool_ask(telex_channel *channel, telex_message *request, telex_message *ret_reply, telex_time deadline)
{
    int r;
    do
        r = telex_call_start(channel, request, deadline);
    while (r == -EINTR && !tool_stopping());
    if (r < 0)
        return r;
    do
        r = telex_call_finish(channel, request->number, ret_reply, deadline);
    while (r == -EINTR && !tool_stopping());
    if (r == -EINTR || r == -ETIMEDOUT)
        telex_call_cancel(channel, request->number);
    return r;
}

int tool_receive_message(telex_channel *channel, telex_message *ret_message, telex_time deadline)
{
    int r;
    do
        r = telex_receive(channel, ret_message, deadline);
    while (r == -EINTR && !tool_stopping());
    return r;
}

telex_message tool_message(const struct tool_options *options, const void *data, size_t length)
{
    telex_message message = telex_binary(data, length);
    message.kind = options->binary ? TELEX_BINARY : TELEX_TEXT;
    return message;
}

static int unwritable(void)
{
    if (errno != EPIPE) /* its reader has seen enough, and knows */
        tool_say("standard output: %s", strerror(errno));
    return TOOL_FAILURE;
}

int tool_print(const struct tool_options *options, const telex_message *message)
{
    if (message->length > 0)
        fwrite(message->data, 1, message->length, stdout);
    if (!options->binary)
        putchar('\n');
    return fflush(stdout) == 0 && !ferror(stdout) ? TOOL_OK : unwritable();
}

int tool_take(const struct tool_options *options, telex_channel *channel, const telex_message *message)
{
    if (!(message->flags & TELEX_IS_CALL))
        return tool_print(options, message);
    telex_fail(channel, message, TELEX_FAILURE_NO_HANDLER,
               "nobody here answers calls: this is telex listen, receive, send or talk");
    return TOOL_OK;
}

int tool_finish(int status)
{
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    return written || status != TOOL_OK ? status : unwritable();
}
