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

struct lending {
    size_t length;
    telex_message loan;
};

static int loan_once(telex_channel *channel, struct lending *lending)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->out);
    int r = link->ops->loan(link, lending->length, &lending->loan);
    telex_unlock(&link->out);
    return r;
}

static int try_loan(telex_channel *channel, void *with)
{
    int r = loan_once(channel, with);
    if (r != -EAGAIN)
        return r;
    telex_lock(&channel->link->in); /* that memory came back, or the peer's end, may lie unread */
    telex_channel_pump(channel);
    telex_unlock(&channel->link->in);
    return loan_once(channel, with);
}

static int heap_loan(size_t length, telex_message *ret_loan)
{
    struct telex_memory *memory = telex_memory_new(length);
    if (memory == NULL)
        return telex_say(-ENOMEM, "no memory for a loan of %zu bytes", length);
    memory->loan = true;
    *ret_loan = (telex_message){.data = memory->bytes, .length = length, .memory = memory};
    return 0;
}

/* The common case by itself, as telex_send() has it: this thread owns the link's lock, and there is memory. */
static bool loan_quickly(telex_channel *channel, size_t length, telex_message *ret_loan)
{
    struct telex_link *link = channel->link;
    if (link->ops->loan == NULL || length > link->max || atomic_load_explicit(&link->entered[CHANNEL_SEND], memory_order_relaxed) ||
        !telex_lock_quickly(&link->out))
        return false;
    int r = link->ops->loan(link, length, ret_loan);
    telex_unlock(&link->out);
    return r == 0;
}

int telex_loan(telex_channel *channel, size_t length, telex_message *ret_message, telex_time deadline)
{
    telex_message loan;
    if (loan_quickly(channel, length, &loan)) {
        telex_channel_set_message(ret_message, &loan);
        return 0;
    }
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    struct lending lending = {.length = length};
    if (length > channel->link->max)
        r = telex_say(-EMSGSIZE, "a loan of %zu bytes; messages on this channel have at most %llu", length,
                      (unsigned long long)channel->link->max);
    else if (channel->link->ops->loan != NULL)
        r = telex_channel_wait(channel, CHANNEL_SEND, deadline, try_loan, &lending);
    else
        r = -ENOBUFS; /* the medium has no memory of its own */
    if (r == -ENOBUFS)
        r = heap_loan(length, &lending.loan);
    if (r == 0)
        telex_channel_set_message(ret_message, &lending.loan);
    else if (r == -ETIMEDOUT)
        telex_say(r, "no memory of the medium came back by the deadline: the peer does not take what it is sent");
    else
        r = telex_channel_ended(channel, r);
    return telex_channel_leave(channel, CHANNEL_SEND, r);
}
