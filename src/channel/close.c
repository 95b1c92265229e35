/* SPDX-License-Identifier: MIT */
/*
 * Closing: what is queued is sent, then goodbye, then the peer's counts are awaited. What still arrives is read and thrown away: on tcp
 * unread bytes would make the kernel answer close() with a reset, and throw away what it had accepted from us.
 */
#include <errno.h>

#include "channel/channel.h"
#include "os/fork.h"

void telex_channel_finish(telex_channel *channel, uint32_t code, const char *sentence, bool now)
{
    struct telex_link *link = channel->link;
    telex_channel_report(channel); /* which messages were taken: the goodbye tells only how many */
    telex_lock(&link->out);
    channel->closing = true;
    link->ops->finish(link, code, sentence, now);
    telex_unlock(&link->out);
}

int telex_channel_finished(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->in);
    telex_channel_discard(channel);
    telex_lock(&link->out);
    link->ops->push(link);
    int r = link->ops->finished(link);
    telex_unlock(&link->out);
    telex_unlock(&link->in);
    return r;
}

uint64_t telex_channel_untaken(telex_channel *channel)
{
    telex_counters counters = {0};
    telex_lock(&channel->link->out);
    channel->link->ops->count(channel->link, &counters);
    telex_unlock(&channel->link->out);
    uint64_t known = counters.taken + counters.withdrawn;
    return counters.sent > known ? counters.sent - known : 0;
}

static int try_finished(telex_channel *channel, void *with)
{
    (void)with;
    return telex_channel_finished(channel);
}

/* As flush: what the other host's kernel acknowledges shows on no descriptor. */
static int wait_until_finished(telex_channel *channel, telex_time deadline)
{
    for (;;) {
        telex_time until = telex_after(1000000);
        bool last = deadline == TELEX_NOW || until >= deadline;
        int r = telex_channel_wait(channel, CHANNEL_SEND, last ? deadline : until, try_finished, NULL);
        if (r != -ETIMEDOUT || last)
            return r;
    }
}

static int try_end(telex_channel *channel, void *with)
{
    (void)with;
    struct telex_link *link = channel->link;
    telex_channel_look(channel); /* the peer may be writing itself, and read on only when that is read; or be dead */
    telex_lock(&link->out);
    int r = link->out_end != 0 ? link->out_end : link->ops->push(link);
    telex_unlock(&link->out);
    return r;
}

int telex_end(telex_channel *channel, telex_time deadline)
{
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r < 0)
        return r;
    struct telex_link *link = channel->link;
    if (link->wire->can & TELEX_CAN_GREET)
        return telex_channel_leave(channel, CHANNEL_SEND, telex_say(-EOPNOTSUPP, "wire=%s closes both directions at once: telex_close()", link->wire->name));
    atomic_store_explicit(&channel->half, true, memory_order_relaxed); /* as in telex_channel_check() */
    telex_lock(&link->out);
    link->ops->finish(link, TELEX_BYE_CLOSED, NULL, false);
    telex_unlock(&link->out);
    r = telex_channel_wait(channel, CHANNEL_SEND, deadline, try_end, NULL);
    if (r == -ETIMEDOUT)
        telex_say(r, "not all that was sent had left by the deadline; the direction ends when it has");
    return telex_channel_leave(channel, CHANNEL_SEND, r < 0 ? telex_channel_ended(channel, r) : 0);
}

int telex_close(telex_channel *channel, telex_time deadline, uint64_t *ret_untaken)
{
    if (channel == NULL)
        return 0;
    int r = telex_channel_enter(channel, CHANNEL_SEND);
    if (r == -ECHILD)
        telex_channel_free(channel);
    if (r < 0)
        return r;
    r = telex_channel_enter(channel, CHANNEL_RECEIVE);
    if (r < 0)
        return telex_channel_leave(channel, CHANNEL_SEND, r);

    for (int direction = 0; direction < CHANNEL_DIRECTIONS; direction++)
        atomic_store(&channel->interrupted[direction], false);
    telex_channel_finish(channel, TELEX_BYE_CLOSED, NULL, false);
    r = wait_until_finished(channel, deadline);
    if (r < 0)
        telex_channel_finish(channel, TELEX_BYE_CLOSED, NULL, true);
    uint64_t untaken = telex_channel_untaken(channel);
    if (untaken == 0)
        r = 0;
    else if (r < 0)
        telex_say(r, "%llu messages are not known to be taken", (unsigned long long)untaken);
    if (ret_untaken != NULL)
        *ret_untaken = untaken;
    for (int direction = 0; direction < CHANNEL_DIRECTIONS; direction++)
        telex_unlock(&channel->busy[direction]);
    struct telex_child *child = channel->child;
    channel->child = NULL;
    telex_channel_free(channel); /* a program that reads until the end now finds it */
    if (child != NULL)
        telex_child_wait(child, deadline);
    telex_child_free(child);
    return r;
}
