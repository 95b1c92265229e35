/* SPDX-License-Identifier: MIT */
/* Standard input, in lines or whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

enum { READ_AT_ONCE = 65536 };

/* Makes room for `more` bytes behind those that are kept. */
static int make_room(struct tool_input *input, size_t more)
{
    if (input->capacity - input->start - input->length >= more)
        return 0;
    if (input->start > 0) {
        memmove(input->bytes, input->bytes + input->start, input->length);
        input->start = 0;
    }
    if (input->capacity - input->length >= more)
        return 0;
    size_t capacity = 2 * (input->length + more);
    char *bytes = realloc(input->bytes, capacity);
    if (bytes == NULL)
        return -ENOMEM;
    input->bytes = bytes;
    input->capacity = capacity;
    return 0;
}

int tool_input_read(struct tool_input *input)
{
    int r = make_room(input, READ_AT_ONCE);
    if (r < 0 || input->ended)
        return r;
    ssize_t count = read(input->fd, input->bytes + input->start + input->length, READ_AT_ONCE);
    if (count < 0)
        return -errno;
    input->ended = count == 0;
    input->length += (size_t)count;
    return 0;
}

int tool_input_read_all(struct tool_input *input, size_t most)
{
    while (!input->ended) {
        int r = tool_input_read(input);
        if (r < 0 && r != -EINTR)
            return r;
        if (input->length > most)
            return -EMSGSIZE;
    }
    return 0;
}

bool tool_input_line(struct tool_input *input, const char **ret_line, size_t *ret_length)
{
    if (input->length == 0)
        return false;
    const char *line = input->bytes + input->start, *end = memchr(line, '\n', input->length);
    if (end == NULL && !input->ended)
        return false;
    size_t length = end != NULL ? (size_t)(end - line) : input->length;
    size_t used = length + (end != NULL);
    input->start += used;
    input->length -= used;
    *ret_line = line;
    *ret_length = length;
    return true;
}

void tool_input_deinit(struct tool_input *input)
{
    free(input->bytes);
    *input = (struct tool_input){.fd = -1, .ended = true};
}
