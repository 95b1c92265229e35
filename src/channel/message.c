/* SPDX-License-Identifier: MIT */
/* Messages in the program's hands. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/channel.h"
#include "os/fork.h"

telex_message telex_text(const char *text)
{
    return (telex_message){.data = (void *)text, .length = strlen(text), .kind = TELEX_TEXT};
}

telex_message telex_binary(const void *data, size_t length)
{
    return (telex_message){.data = (void *)data, .length = length, .kind = TELEX_BINARY};
}

char *telex_string(const telex_message *message)
{
    char *string = malloc(message->length + 1);
    if (string == NULL)
        return NULL;
    if (message->length > 0)
        memcpy(string, message->data, message->length);
    string[message->length] = '\0';
    return string;
}

int telex_claim(telex_message *message, unsigned index)
{
    struct telex_memory *memory = message->memory;
    if (memory == NULL || index >= memory->descriptor_count)
        return telex_say(-EINVAL, "the message has no descriptor number %u", index);
    int claimed = memory->descriptors[index];
    if (claimed < 0)
        return telex_say(-ENOENT, "descriptor number %u of the message was claimed before", index);
    memory->descriptors[index] = -1;
    telex_disown(claimed);
    return claimed;
}

void telex_release(telex_message *message)
{
    if (message == NULL)
        return;
    telex_memory_release(message->memory);
    *message = (telex_message){0};
}

void telex_channel_set_message(telex_message *to, telex_message *from)
{
    telex_memory_release(to->memory);
    *to = *from;
}

int telex_loan(telex_channel *channel, size_t length, telex_message *ret_message, telex_time deadline)
{
    (void)deadline; /* heap memory is there or not; no waiting would bring it */
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    struct telex_memory *memory = NULL;
    if (length > channel->link->max)
        r = telex_say(-EMSGSIZE, "a loan of %zu bytes; messages on this channel have at most %llu", length,
                      (unsigned long long)channel->link->max);
    else if ((memory = telex_memory_new(length)) == NULL)
        r = telex_say(-ENOMEM, "no memory for a loan of %zu bytes", length);
    if (r == 0) {
        memory->loan = true;
        telex_message loan = {.data = memory->bytes, .length = length, .memory = memory};
        telex_channel_set_message(ret_message, &loan);
    }
    return telex_channel_leave(channel, CHANNEL_SEND, r);
}
