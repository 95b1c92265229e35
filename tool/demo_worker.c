/* SPDX-License-Identifier: MIT */
/* A worker of telex demo: a process of its own that counts the words of what it is handed. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

enum { OTHER, SPACE, PRINTABLE };

static int class_of(unsigned char byte)
{
    if (byte == ' ' || (byte >= '\t' && byte <= '\r'))
        return SPACE;
    return byte > ' ' && byte < 127 ? PRINTABLE : OTHER;
}

/*
 * Words lie between white space. In the C locale wc of coreutils 9.1 ignores what cannot be printed, all bytes from
 * 128 on among it, so that such bytes alone are no word; other releases let any byte but white space make one
 * (`any_byte`).
 */
uint64_t demo_count_words(const char *data, size_t length, bool any_byte)
{
    char classes[256];
    for (int i = 0; i < 256; i++) {
        int class = class_of((unsigned char)i);
        classes[i] = (char)(class == OTHER && any_byte ? PRINTABLE : class);
    }
    uint64_t words = 0;
    bool in_word = false;
    for (size_t i = 0; i < length; i++) {
        int class = classes[(unsigned char)data[i]];
        words += class == PRINTABLE && !in_word;
        in_word = class == PRINTABLE || (in_word && class == OTHER);
    }
    return words;
}

static int say(telex_channel *channel, uint64_t number, uint64_t value, unsigned flags)
{
    struct demo_word word = {number, value};
    telex_message message = telex_binary(&word, sizeof word);
    return tool_send_message(channel, &message, flags, TELEX_NEVER);
}

static int run(const struct tool_options *options)
{
    bool any_byte = strcmp(options->operands[1], "any-byte") == 0;
    unsigned flags = options->sync ? TELEX_SYNC : 0;
    telex_channel *channel;
    int status = tool_dial(options->operands[0], tool_deadline(options, TOOL_PATIENCE), &channel);
    if (status != TOOL_OK)
        return status;
    signal(SIGINT, SIG_IGN); /* from the terminal: the coordinator's business, which closes the channel */
    telex_message piece = {0};
    int r = say(channel, 0, (uint64_t)getpid(), flags);
    while (r == 0) {
        r = telex_receive(channel, &piece, TELEX_NEVER);
        if (r == -EINTR) /* stopped and continued */
            r = 0;
        else if (r == 0)
            r = say(channel, piece.number, demo_count_words(piece.data, piece.length, any_byte), flags);
    }
    telex_release(&piece);
    status = r == -EPIPE || r == -ECONNRESET ? TOOL_OK : tool_fail(r, channel);
    telex_close(channel, telex_after(1000000000), NULL);
    return status;
}

const struct tool_command tool_demo_worker = {
    .name = "demo-worker",
    .synopsis = NULL,
    .summary = NULL,
    .help = "",
    .least = 2,
    .most = 2,
    .run = run,
};
