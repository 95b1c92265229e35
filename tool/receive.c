/* SPDX-License-Identifier: MIT */
/* telex receive: dials and prints what the peer sends. */
#include <errno.h>
#include <inttypes.h>

#include "common.h"

#define GOODBYE_NS INT64_C(1000000000)

/* The peer has closed: fine, unless more messages were asked for. */
static int closed(const struct tool_options *options, const telex_channel *channel, uint64_t count)
{
    if (tool_peer_refused(channel))
        return tool_fail(-EPIPE, channel);
    if (count >= options->count)
        return TOOL_OK;
    tool_say("the peer closed the channel after %" PRIu64 " of %" PRIu64 " messages", count, options->count);
    return TOOL_FAILURE;
}

static int receive(const struct tool_options *options, telex_channel *channel)
{
    telex_message message = {0};
    int status = TOOL_OK, r = 0;
    uint64_t count = 0;
    while (status == TOOL_OK && !tool_stopping() && (options->count == 0 || count < options->count)) {
        r = telex_receive(channel, &message, tool_deadline(options, INT64_MAX));
        if (r == -EINTR)
            continue;
        if (r < 0)
            break;
        count += !(message.flags & TELEX_IS_CALL);
        status = tool_take(options, channel, &message);
    }
    telex_release(&message);
    if (r == 0 || r == -EINTR || status != TOOL_OK)
        return status;
    return r == -EPIPE ? closed(options, channel, count) : tool_fail(r, channel);
}

static int run(const struct tool_options *options)
{
    telex_channel *channel;
    int status = tool_dial(options->operands[0], tool_deadline(options, TOOL_PATIENCE), &channel);
    if (status != TOOL_OK)
        return status;
    if (tool_catch_signals() < 0)
        status = TOOL_FAILURE;
    tool_interrupts(channel);
    if (status == TOOL_OK)
        status = receive(options, channel);
    tool_interrupts(NULL);
    telex_close(channel, telex_after(GOODBYE_NS), NULL);
    return status;
}

const struct tool_command tool_receive = {
    .name = "receive",
    .synopsis = "ADDRESS [-n N]",
    .summary = "dials and prints what the peer sends",
    .help =
        "Dials ADDRESS and prints what the peer sends, until that closes, or N messages have come. When the peer closes earlier it\n"
        "exits with 1. With --deadline it ends with 3 when no message has come for so long. SIGINT and SIGTERM end it with 0.\n"
        "\n"
        "examples:\n"
        "  telex receive unix:///tmp/news\n"
        "  telex receive -n 1 --deadline 5s tcp://127.0.0.1:7000",
    .takes = TOOL_TAKES_COUNT,
    .least = 1,
    .most = 1,
    .run = run,
};
