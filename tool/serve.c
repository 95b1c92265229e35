/* SPDX-License-Identifier: MIT */
/* telex serve: answers calls, by an echo or by running a command for each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "serve_command.h"

struct serving {
    const struct tool_options *options;
    telex_server *server;
    struct tool_jobs *jobs; /* NULL: --echo */
    bool stopping, told_message, told_slow, told_loss; /* told_...: said once */
};

static int on_open(telex_server *server, telex_channel *channel, void *user)
{
    (void)server;
    (void)channel;
    const struct serving *serving = user;
    return serving->stopping ? -ESHUTDOWN : 0;
}

/* Says each kind of trouble once: a peer should not be able to fill the log. */
static void complain(const struct serving *serving, bool *told, const char *sentence)
{
    if (!*told && !serving->options->quiet)
        tool_say("%s (said once)", sentence);
    *told = true;
}

static void on_close(telex_server *server, telex_channel *channel, int why, void *user)
{
    (void)server;
    struct serving *serving = user;
    char sentence[1024];
    if (tool_describe_loss(channel, why, sentence, sizeof sentence))
        complain(serving, &serving->told_loss, sentence);
    if (serving->jobs != NULL)
        tool_jobs_forget(serving->jobs, channel);
}

static telex_message copy_of(const telex_message *message)
{
    telex_message copy = telex_binary(message->data, message->length);
    copy.kind = message->kind;
    copy.type = message->type;
    copy.lane = message->lane;
    return copy;
}

static void on_message(telex_server *server, telex_channel *channel, telex_message *message, void *user)
{
    struct serving *serving = user;
    if (serving->jobs != NULL) {
        complain(serving, &serving->told_message,
                 "a message that is no call was dropped: telex call asks, telex listen takes messages");
        return;
    }
    telex_message copy = copy_of(message);
    int r = telex_send(channel, &copy, 0, TELEX_NOW);
    if (r == 0 || r == -EPIPE || r == -ECONNRESET)
        return;
    complain(serving, &serving->told_slow, "a peer that does not read its echoes was dropped");
    telex_server_drop(server, channel);
}

static void on_call(telex_server *server, telex_channel *channel, telex_message *request, void *user)
{
    struct serving *serving = user;
    if (serving->jobs != NULL) {
        tool_jobs_ask(serving->jobs, server, channel, request);
        return;
    }
    telex_message copy = copy_of(request);
    int r = telex_reply(channel, request, &copy, 0, TELEX_NOW);
    if (r < 0 &&
        telex_fail(channel, request, TELEX_FAILURE_LIMIT, "the caller does not read its replies") == -EOPNOTSUPP)
        telex_server_drop(server, channel);
}

/* One round: what the server, the commands or a signal have. */
static int serve_once(struct serving *serving, struct pollfd *fds, int stop, telex_time deadline)
{
    unsigned count = 0;
    telex_time next = TELEX_NEVER;
    fds[count++] = (struct pollfd){.fd = telex_server_fd(serving->server), .events = POLLIN};
    fds[count++] = (struct pollfd){.fd = stop, .events = POLLIN};
    if (serving->jobs != NULL)
        count += tool_jobs_wait_for(serving->jobs, fds + count, &next);
    tool_poll(fds, count, next < deadline ? next : deadline);
    int r = telex_server_process(serving->server);
    if (serving->jobs != NULL)
        tool_jobs_step(serving->jobs);
    return r;
}

/* Serves until a signal comes, then sees through what was begun. */
static int serve(struct serving *serving, int stop)
{
    struct pollfd *fds = calloc(2 + (serving->jobs != NULL ? tool_jobs_width(serving->jobs) : 0), sizeof *fds);
    if (fds == NULL) {
        tool_say("out of memory");
        return TOOL_FAILURE;
    }
    int r = 0;
    while (r == 0 && !tool_stopping())
        r = serve_once(serving, fds, stop, TELEX_NEVER);
    int status = r < 0 && r != -ESHUTDOWN ? tool_fail(r, NULL) : TOOL_OK; /* -ESHUTDOWN: the one peer that could come (fd:, stdio:) has gone */
    if (r == 0)
        tool_server_drain(serving->server);
    serving->stopping = true;
    telex_time deadline = tool_deadline(serving->options, TOOL_DRAIN);
    if (serving->jobs != NULL) {
        tool_jobs_stop(serving->jobs);
        tool_jobs_step(serving->jobs);
        uint64_t first;
        if (read(stop, &first, sizeof first) < 0)
            stop = -1; /* it cannot be; then a second signal is noticed a little later */
        while (r == 0 && !tool_jobs_idle(serving->jobs) && telex_now() < deadline && !tool_hurried())
            r = serve_once(serving, fds, stop, deadline);
        tool_jobs_free(serving->jobs);
        serving->jobs = NULL;
    }
    free(fds);
    telex_time least = telex_after(100000000); /* for goodbyes, where commands used up the time */
    telex_server_close(serving->server, deadline > least ? deadline : least);
    serving->server = NULL;
    return status;
}

static int run(const struct tool_options *options)
{
    bool command = options->command != NULL && options->command[0] != NULL;
    if (options->echo == command)
        return tool_usage("serve: say either --echo or, after --, the COMMAND that answers");
    int stop = command ? tool_catch_signals_twice() : tool_catch_signals();
    if (stop < 0)
        return TOOL_FAILURE;
    struct serving serving = {.options = options, .jobs = command ? tool_jobs_new(options) : NULL};
    telex_handlers handlers = {
        .size = sizeof handlers, .open = on_open, .message = on_message, .call = on_call, .close = on_close};
    int status = TOOL_OK, r = telex_server_new(&handlers, NULL, &serving, &serving.server);
    if (r < 0) {
        status = tool_fail(r, NULL);
    } else if (command && serving.jobs == NULL) {
        tool_say("out of memory");
        status = TOOL_FAILURE;
    }
    for (int i = 0; i < options->operand_count && status == TOOL_OK; i++)
        status = tool_server_listen(options, serving.server, options->operands[i]);
    if (status == TOOL_OK)
        status = serve(&serving, stop);
    tool_jobs_free(serving.jobs);
    telex_server_close(serving.server, TELEX_NOW);
    if (tool_hurried())
        tool_end_by_signal();
    return status;
}

const struct tool_command tool_serve = {
    .name = "serve",
    .synopsis = "ADDRESS... (--echo | -- COMMAND [ARG...])",
    .summary = "answers calls: echoes, or runs COMMAND per call",
    .help =
        "Answers calls at each ADDRESS.\n"
        "\n"
        "With --echo each call is answered with what was asked, and each message that is no call is sent back.\n"
        "\n"
        "With COMMAND that command is run for each call, with the request on its standard input and the reply from its standard\n"
        "output, of which one newline at the end is taken off, unless --binary is given. Its standard error is that of telex.\n"
        "Up to twice as many as there are cores (at least 4) run at a time, others wait; calls past 1,024 waiting ones, or\n"
        "64 MiB, are refused. The call fails when the command ends with a status other than 0 or by a signal, when its answer is\n"
        "longer than the caller accepts or is no valid text, and when it takes longer than --deadline says. A call that is\n"
        "cancelled, because its caller's deadline passed, because it said so or because it is gone, ends the command: SIGTERM\n"
        "goes to its process group, and SIGKILL a second later. Messages that are no calls are dropped, with a note.\n"
        "\n"
        "With `wire=lines` each line is a call. That wire has no word for a failure: the channel is closed instead.\n"
        "\n"
        "Once ready, it says `listening on ADDRESS` on standard error, a line for each address, with the real port. It serves\n"
        "until SIGINT, SIGTERM or SIGHUP (unless it was started ignoring that, as by nohup(1)). Then it takes no more calls, lets\n"
        "commands that run come to their end within --deadline (5 s), sends their replies, says goodbye, and exits with 0. The\n"
        "same signal again within half a second is the same wish (timeout(1) signals a process and then its group); a later one\n"
        "ends it at once, commands and all.\n"
        "\n"
        "examples:\n"
        "  telex serve shm://echo unix:///tmp/echo --echo\n"
        "  telex serve unix:///tmp/words tcp://127.0.0.1:7000 -- wc -w\n"
        "  telex serve 'tcp://127.0.0.1:7000?wire=lines' -- sed 's/.*/\\U&/'    ask with: echo hello | nc -N 127.0.0.1 7000",
    .takes = TOOL_TAKES_ECHO | TOOL_TAKES_COMMAND,
    .least = 1,
    .most = TOOL_UNLIMITED,
    .run = run,
};
