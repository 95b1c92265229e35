/* SPDX-License-Identifier: MIT */
/* telex send: each argument, or each line of standard input, is a message. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "exchange.h"

static int send_operands(struct tool_exchange *exchange)
{
    char **texts = exchange->options->operands + 1;
    int status = TOOL_OK;
    for (; *texts != NULL && status == TOOL_OK; texts++)
        status = tool_exchange_send(exchange, *texts, strlen(*texts), texts[1] != NULL);
    return status;
}

static int send_all_of_input(struct tool_exchange *exchange)
{
    int r = tool_input_read_all(&exchange->input, (size_t)telex_max(exchange->channel));
    if (r == -EMSGSIZE)
        tool_say("standard input: longer than the %lld bytes agreed for a message (option max=)",
                 (long long)telex_max(exchange->channel));
    else if (r < 0)
        tool_say("standard input: %s", strerror(-r));
    if (r < 0)
        return TOOL_FAILURE;
    const char *bytes = exchange->input.bytes != NULL ? exchange->input.bytes + exchange->input.start : "";
    return tool_exchange_send(exchange, bytes, exchange->input.length, false);
}

static int run(const struct tool_options *options)
{
    struct tool_exchange exchange = {
        .options = options, .stop = -1, .patience = TOOL_PATIENCE, .input = {.fd = STDIN_FILENO}};
    int status = tool_dial(options->operands[0], tool_deadline(options, TOOL_PATIENCE), &exchange.channel);
    if (status != TOOL_OK)
        return status;
    status = tool_exchange_begin(&exchange);
    if (status != TOOL_OK)
        return tool_exchange_close(&exchange, status);
    if (options->operand_count > 1)
        status = send_operands(&exchange);
    else if (options->binary)
        status = send_all_of_input(&exchange);
    else
        status = tool_exchange_send_input(&exchange);
    if (status == EXCHANGE_CLOSED) {
        tool_say("the peer closed the channel before everything was sent, after %" PRIu64 " message%s", exchange.sent, exchange.sent == 1 ? "" : "s");
        status = TOOL_FAILURE;
    }
    return tool_exchange_close(&exchange, status);
}

const struct tool_command tool_send = {
    .name = "send",
    .synopsis = "ADDRESS [MESSAGE...]",
    .summary = "dials and sends each argument, or each line of stdin",
    .help =
        "Dials ADDRESS and sends each MESSAGE; without any, each line of standard input, or with --binary all of standard input as\n"
        "one message. With --sync each is handed over by rendezvous: the next goes once the receiver has taken it.\n"
        "\n"
        "It ends with 0 once every message is known to be taken. Else it says how many are not, and exits with 3 where the\n"
        "deadline passed, with 1 where the peer is gone. Dialling, each message, and the goodbye may each take as long as\n"
        "--deadline says (10 s). What the peer sends is thrown away. On `wire=lines` and `wire=raw`, which know no\n"
        "acknowledgement, \"taken\" means: read by the peer's system.\n"
        "\n"
        "examples:\n"
        "  telex send unix:///tmp/log 'all is well'\n"
        "  tail -f /var/log/syslog | telex send tcp://collector:7000\n"
        "  telex send --binary --sync unix:///tmp/backup <archive.tar",
    .least = 1,
    .most = TOOL_UNLIMITED,
    .run = run,
};
