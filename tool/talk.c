/* SPDX-License-Identifier: MIT */
/* telex talk: lines go out, messages that arrive are printed. */
#include <errno.h>
#include <unistd.h>

#include "exchange.h"

/* Waits at ADDRESS for one peer. */
static int wait_for_peer(const struct tool_options *options, int stop, telex_channel **ret_channel)
{
    telex_listener *listener;
    int r = telex_listen(options->operands[0], NULL, &listener);
    if (r < 0)
        return tool_fail_address(r, options->operands[0]);
    tool_listening(options, telex_listener_address(listener));
    telex_time deadline = tool_deadline(options, INT64_MAX);
    int status = EXCHANGE_STOPPED;
    while (!tool_stopping()) {
        r = telex_accept(listener, TELEX_NOW, ret_channel);
        if (r == -EAGAIN && telex_now() >= deadline)
            r = -ETIMEDOUT;
        if (r != -EAGAIN && r != -EINTR) {
            if (r == -ETIMEDOUT)
                tool_say("nobody came by the deadline");
            status = r == -ETIMEDOUT ? TOOL_DEADLINE : r < 0 ? tool_fail(r, NULL) : TOOL_OK;
            break;
        }
        struct pollfd fds[] = {{.fd = telex_listener_fd(listener), .events = POLLIN}, {.fd = stop, .events = POLLIN}};
        tool_poll(fds, 2, deadline);
    }
    telex_listener_close(listener);
    return status;
}

/*
 * After the last line the peer may still have something to say; at a terminal, the end of input is the end of the
 * talk.
 */
static int hear_out(struct tool_exchange *exchange)
{
    if (isatty(exchange->input.fd))
        return TOOL_OK;
    int status = tool_exchange_receive(exchange, tool_deadline(exchange->options, INT64_MAX));
    if (status == TOOL_DEADLINE)
        tool_say("the peer did not close the channel by the deadline");
    return status;
}

static int run(const struct tool_options *options)
{
    int stop = tool_catch_signals();
    if (stop < 0)
        return TOOL_FAILURE;
    struct tool_exchange exchange = {.options = options,
                                     .stop = stop,
                                     .prints = true,
                                     .whole = options->binary,
                                     .patience = INT64_MAX,
                                     .input = {.fd = STDIN_FILENO}};
    int status = options->listen
                     ? wait_for_peer(options, stop, &exchange.channel)
                     : tool_dial(options->operands[0], tool_deadline(options, TOOL_PATIENCE), &exchange.channel);
    if (status != TOOL_OK)
        return status == EXCHANGE_STOPPED ? TOOL_OK : status;
    status = tool_exchange_begin(&exchange);
    if (status == TOOL_OK)
        status = tool_exchange_send_input(&exchange);
    if (status == TOOL_OK)
        status = hear_out(&exchange);
    return tool_exchange_close(&exchange, status == EXCHANGE_CLOSED || status == EXCHANGE_STOPPED ? TOOL_OK : status);
}

const struct tool_command tool_talk = {
    .name = "talk",
    .synopsis = "ADDRESS [--listen]",
    .summary = "two-way, line by line",
    .help =
        "Dials ADDRESS, sends each line of standard input, and prints what arrives. With --listen it waits at ADDRESS for one peer\n"
        "instead.\n"
        "\n"
        "It ends when the peer closes, at SIGINT or SIGTERM, and, at a terminal, at the end of input. Where standard input is no\n"
        "terminal, its end is not yet the end: what the peer still says is printed until it closes, or until --deadline has\n"
        "passed, which is exit status 3. With --binary each read of standard input is a message.\n"
        "\n"
        "examples:\n"
        "  telex talk --listen unix:///tmp/chat        in one terminal\n"
        "  telex talk unix:///tmp/chat                 in another one\n"
        "  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | telex talk --binary 'tcp://localhost:80?wire=raw'",
    .takes = TOOL_TAKES_LISTEN,
    .least = 1,
    .most = 1,
    .run = run,
};
