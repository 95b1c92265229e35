/* SPDX-License-Identifier: MIT */
/* telex spawn: starts a program and talks to it; its exit status becomes this one's. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exchange.h"

enum { BY_SIGNAL = 128, NOT_FOUND = 127, NOT_EXECUTABLE = 126 }; /* as in shells */

static int fail_to_start(int error)
{
    int status = tool_fail(error, NULL);
    return error == -EINVAL ? TOOL_USAGE : error == -ENOENT ? NOT_FOUND : error == -EACCES || error == -ENOEXEC ? NOT_EXECUTABLE : status;
}

/* A signal that asks us to stop is the program's, too: at a terminal it got it with us, from elsewhere it did not. */
static void pass_on_signal(telex_channel *channel)
{
    telex_peer peer = {.size = sizeof peer};
    if (tool_stopping() != 0 && telex_peer_of(channel, &peer) == 0 && peer.pid > 0)
        kill((pid_t)peer.pid, tool_stopping());
}

/* The status to exit with: the program's. */
static int status_of_program(const struct tool_options *options, telex_channel *channel)
{
    int status, r;
    telex_time deadline = tool_deadline(options, INT64_MAX);
    do
        r = telex_exit_status(channel, deadline, &status);
    while (r == -EINTR && !tool_hurried());
    if (r < 0)
        return tool_fail(r, channel);
    return WIFSIGNALED(status) ? BY_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static void end_input(telex_channel *channel)
{
    tool_interrupts(channel); /* -EPIPE and the like: the program reads no more, and the receiver tells why */
    telex_end(channel, TELEX_NEVER);
    tool_interrupts(NULL);
}

/* Whether the program has to be waited for: its end is why there is no more to say, or it was told to end. Else it lives, and the status is final. */
static int talk(struct tool_exchange *exchange, bool ends, bool *ret_over)
{
    int status = tool_exchange_begin(exchange);
    if (status == TOOL_OK)
        status = tool_exchange_send_input(exchange);
    bool gives_up = exchange->fault && ends && exchange->receiving; /* it would wait for the rest of its input, and we for its end */
    if ((status == TOOL_OK || gives_up) && ends)
        end_input(exchange->channel);
    int end = status;
    if (status == TOOL_OK || status == EXCHANGE_CLOSED || gives_up) /* it may read no more, and still have something to say */
        end = tool_exchange_receive(exchange, tool_deadline(exchange->options, INT64_MAX));
    if (end == TOOL_DEADLINE)
        tool_say("the program did not close the channel by the deadline");
    *ret_over = end != TOOL_DEADLINE && end != TOOL_USAGE && (!exchange->fault || end == EXCHANGE_CLOSED || end == EXCHANGE_STOPPED);
    return gives_up && end != EXCHANGE_STOPPED ? status : end;
}

static int run(const struct tool_options *options)
{
    const telex_options lines = {.size = sizeof lines, .wire = "lines"};
    const telex_spawn_options how = {.size = sizeof how, .query = options->operands[0]};
    if (options->command == NULL || options->command[0] == NULL)
        return tool_usage("spawn: -- COMMAND is missing: what is to be started?");
    int stop = tool_catch_signals();
    if (stop < 0)
        return TOOL_FAILURE;
    struct tool_exchange exchange = {.options = options,
                                     .stop = stop,
                                     .prints = true,
                                     .whole = options->binary,
                                     .patience = INT64_MAX,
                                     .input = {.fd = STDIN_FILENO}};
    telex_options wire = lines;
    telex_time deadline = tool_deadline(options, TOOL_PATIENCE);
    int r = telex_spawn((const char *const *)options->command, &how, &wire, deadline, &exchange.channel);
    if (r < 0)
        return fail_to_start(r);
    telex_peer peer = {.size = sizeof peer};
    bool ends = telex_peer_of(exchange.channel, &peer) == 0 && peer.program[0] == '\0'; /* no greeting: lines or raw */
    bool over;
    int status = talk(&exchange, ends, &over);
    if (status == EXCHANGE_STOPPED)
        pass_on_signal(exchange.channel);
    int of_program = over ? status_of_program(options, exchange.channel) : status;
    tool_exchange_close(&exchange, of_program != TOOL_OK ? of_program : TOOL_OK);
    return of_program != TOOL_OK || status == EXCHANGE_CLOSED || status == EXCHANGE_STOPPED ? of_program : status;
}

const struct tool_command tool_spawn = {
    .name = "spawn",
    .synopsis = "[OPTION=VALUE&...] -- COMMAND [ARG...]",
    .summary = "starts a program and talks to it",
    .help = "Starts COMMAND with a channel to it, sends each line of standard input and prints what the program sends,\n"
            "until it ends. Its exit status is then that of telex, or 128 and the number of the signal that killed it.\n"
            "With wire=lines, which is the default, and wire=raw the program's standard input and output are the\n"
            "channel. With wire=telex the program speaks telex itself: telex_inherit(). Other options are those of\n"
            "addresses. With --binary each read of standard input is a message.\n\n"
            "examples:\n"
            "  echo '6 * 7' | telex spawn -- bc\n"
            "  printf 'b\\na\\n' | telex spawn -- sort\n"
            "  telex spawn wire=telex -- ./worker          it calls telex_inherit()",
    .takes = TOOL_TAKES_COMMAND,
    .least = 0,
    .most = 1,
    .run = run,
    .operands = TOOL_OPERANDS_OPTIONS,
};
