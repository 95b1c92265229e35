/* SPDX-License-Identifier: MIT */
/* telex call: one call, and its reply on standard output. */
#include <string.h>
#include <unistd.h>

#include "common.h"

#define GOODBYE_NS INT64_C(1000000000) /* the reply is there: nothing is lost if the peer takes longer to say goodbye */

/* The message: the second operand, or standard input (text: without the last newline). `input` keeps the bytes. */
static int read_request(const struct tool_options *options, struct tool_input *input, telex_message *ret_request)
{
    if (options->operand_count > 1 && strcmp(options->operands[1], "-") != 0) {
        *ret_request = tool_message(options, options->operands[1], strlen(options->operands[1]));
        return TOOL_OK;
    }
    /* No channel agrees on longer messages; the limit of the one to be dialled is not known yet. */
    int r = tool_input_read_all(input, UINT32_MAX);
    if (r < 0) {
        tool_say("standard input: %s", strerror(-r));
        return TOOL_FAILURE;
    }
    size_t length = input->length;
    if (!options->binary && length > 0 && input->bytes[input->start + length - 1] == '\n')
        length--;
    *ret_request = tool_message(options, input->bytes != NULL ? input->bytes + input->start : "", length);
    return TOOL_OK;
}

static int ask(const struct tool_options *options, telex_message *request)
{
    telex_channel *channel;
    telex_time deadline = tool_deadline(options, TOOL_PATIENCE);
    int status = tool_dial(options->operands[0], deadline, &channel);
    if (status != TOOL_OK)
        return status;
    telex_message reply = {0};
    int r = tool_ask(channel, request, &reply, deadline);
    status = r < 0 ? tool_fail(r, channel) : tool_print(options, &reply);
    telex_release(&reply);
    telex_close(channel, r == 0 ? telex_after(GOODBYE_NS) : TELEX_NOW, NULL);
    return status;
}

/*
 * Standard input is read before dialling: however long it takes, neither the server waits for it nor the deadline
 * passes.
 */
static int run(const struct tool_options *options)
{
    struct tool_input input = {.fd = STDIN_FILENO};
    telex_message request;
    int status = read_request(options, &input, &request);
    if (status == TOOL_OK)
        status = ask(options, &request);
    tool_input_deinit(&input);
    return status;
}

const struct tool_command tool_call = {
    .name = "call",
    .synopsis = "ADDRESS [MESSAGE | -]",
    .summary = "one call, prints the reply",
    .help =
        "Asks whoever serves ADDRESS, and prints the reply. Without MESSAGE, or where that is -, the message is all of standard\n"
        "input, for text without one newline at the end. Dialling, asking and waiting for the reply together may take as long as\n"
        "--deadline says (10 s).\n"
        "\n"
        "examples:\n"
        "  telex call unix:///tmp/words 'to be or not to be'\n"
        "  telex call --deadline 500ms tcp://127.0.0.1:7000 <question.txt\n"
        "  telex call --binary unix:///tmp/thumbnails - <photo.jpg >small.jpg",
    .least = 1,
    .most = 2,
    .run = run,
};
