/* SPDX-License-Identifier: MIT */
/* telex listen: accepts peers and prints what they send. */
#include <errno.h>

#include "common.h"

struct listening {
    const struct tool_options *options;
    uint64_t count;
    telex_time last; /* when the last message came, for --deadline */
    int status;
};

static bool has_enough(const struct listening *listening)
{
    return listening->status != TOOL_OK ||
           (listening->options->count > 0 && listening->count >= listening->options->count);
}

/* After the last message that is to be printed nothing more is taken from its sender, who is told so. */
static void on_message(telex_server *server, telex_channel *channel, telex_message *message, void *user)
{
    struct listening *listening = user;
    if (has_enough(listening)) {
        tool_say("a message of another peer came in the same moment as the last one, and is not printed");
        telex_server_drop(server, channel);
        return;
    }
    listening->status = tool_print(listening->options, message);
    listening->count++;
    listening->last = telex_now();
    if (has_enough(listening)) {
        telex_server_drop(server, channel);
        telex_server_stop(server);
    }
}

static void on_close(telex_server *server, telex_channel *channel, int why, void *user)
{
    (void)server;
    const struct listening *listening = user;
    char sentence[1024];
    if (!listening->options->quiet && tool_describe_loss(channel, why, sentence, sizeof sentence))
        tool_say("%s", sentence);
}

static void serve(struct listening *listening, telex_server *server, int stop)
{
    const struct tool_options *options = listening->options;
    while (!tool_stopping()) {
        int r = telex_server_process(server);
        if (r == -ESHUTDOWN)
            return;
        if (r < 0) {
            listening->status = tool_fail(r, NULL);
            return;
        }
        telex_time deadline = options->deadline == 0 || options->deadline == INT64_MAX
                                  ? TELEX_NEVER
                                  : listening->last + options->deadline;
        if (telex_now() >= deadline) {
            tool_say("no message came by the deadline");
            listening->status = TOOL_DEADLINE;
            return;
        }
        struct pollfd fds[] = {{.fd = telex_server_fd(server), .events = POLLIN}, {.fd = stop, .events = POLLIN}};
        tool_poll(fds, 2, deadline);
    }
    tool_server_drain(server);
}

static int run(const struct tool_options *options)
{
    struct listening listening = {.options = options, .last = telex_now()};
    telex_handlers handlers = {.size = sizeof handlers, .message = on_message, .close = on_close};
    telex_server *server;
    int stop = tool_catch_signals();
    if (stop < 0)
        return TOOL_FAILURE;
    int r = telex_server_new(&handlers, NULL, &listening, &server);
    if (r < 0)
        return tool_fail(r, NULL);
    for (int i = 0; i < options->operand_count && listening.status == TOOL_OK; i++)
        listening.status = tool_server_listen(options, server, options->operands[i]);
    if (listening.status == TOOL_OK)
        serve(&listening, server, stop);
    telex_server_close(server, tool_deadline(options, TOOL_DRAIN));
    return listening.status;
}

const struct tool_command tool_listen = {
    .name = "listen",
    .synopsis = "ADDRESS... [-n N]",
    .summary = "accepts peers, prints what they send",
    .help =
        "Listens at each ADDRESS and prints what peers send, in the order of each of them.\n"
        "\n"
        "It ends after N messages; what was sent and not taken is told to the sender. Else it ends at SIGINT or SIGTERM, after\n"
        "printing what has arrived until then. With --deadline it ends with 3 when no message has come for so long. It says\n"
        "`listening on ADDRESS` on standard error, with the real port, once it is ready. Calls are refused: `telex serve`\n"
        "answers them.\n"
        "\n"
        "examples:\n"
        "  telex listen unix:///tmp/log >>log\n"
        "  telex listen -n 1 tcp://127.0.0.1:0\n"
        "  telex listen 'tcp://127.0.0.1:7000?wire=lines'    peers may be nc, telnet, any script",
    .takes = TOOL_TAKES_COUNT,
    .least = 1,
    .most = TOOL_UNLIMITED,
    .run = run,
};
