/* SPDX-License-Identifier: MIT */
/* telex(1): the table of subcommands. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

const struct tool_command *const tool_commands[] = {
    &tool_serve,
    &tool_call,
    &tool_listen,
    &tool_send,
    &tool_receive,
    &tool_talk,
    &tool_spawn,
    &tool_ping,
    &tool_tap,
    &tool_sequence,
    &tool_demo,
    &tool_list,
    &tool_demo_worker,
    &tool_manual,
    &tool_completion,
    NULL,
};

static void print_help(FILE *to)
{
    fprintf(
        to,
        "usage: telex SUBCOMMAND [ARGUMENT...]\n\n"
        "Processes that cooperate talk to each other. An ADDRESS is shm://NAME, unix:///PATH, unix://@NAME,\n"
        "pipe:///PATH, tcp://HOST:PORT, fd:IN,OUT or stdio:, with options as a query:\n"
        "'tcp://127.0.0.1:7000?wire=lines&max=1MiB'.\n\n");
    for (const struct tool_command *const *command = tool_commands; *command != NULL; command++)
        if ((*command)->synopsis != NULL)
            fprintf(to, "  %-8s %s\n", (*command)->name, (*command)->summary);
    fprintf(to, "\nexamples:\n"
                "  telex serve unix:///tmp/words -- wc -w       answer calls by running a program;\n"
                "  telex call unix:///tmp/words 'to be or not'  in another terminal: ask, and print the answer\n"
                "  telex listen tcp://127.0.0.1:7000            print what peers send\n"
                "  seq 1000 | telex send tcp://127.0.0.1:7000   send each line\n\n"
                "telex SUBCOMMAND --help tells more, telex(1) everything.\n");
}

/*
 * Started with standard streams closed, the first socket would become one of them. Reading a stdin and writing to a stdout that were closed
 * must fail: there is nothing to send, or it is lost.
 */
static bool open_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_WRONLY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (!open_standard_streams())
        return TOOL_FAILURE;
    signal(SIGPIPE, SIG_IGN); /* whoever read our notes may go; whoever reads our data is noticed by the write that fails */
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return tool_finish(TOOL_OK);
    }
    if (strcmp(name, "--version") == 0) {
        printf("telex %s\n", telex_version());
        return tool_finish(TOOL_OK);
    }
    for (const struct tool_command *const *command = tool_commands; *command != NULL; command++) {
        if (strcmp(name, (*command)->name) != 0)
            continue;
        struct tool_options options;
        int status = tool_parse(*command, argc - 1, argv + 1, &options);
        return status >= 0 ? status : tool_finish((*command)->run(&options));
    }
    if (argc > 1)
        return tool_usage("%s: no such subcommand; see telex --help", name);
    print_help(stderr);
    return TOOL_USAGE;
}
