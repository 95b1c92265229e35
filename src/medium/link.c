/* SPDX-License-Identifier: MIT */
/* What every link has, whatever carries it: its locks and the reason of its end. */
#include <stdio.h>
#include <string.h>

#include "medium/medium.h"
#include "wire/wire.h"

void telex_link_init(struct telex_link *link, const struct telex_link_ops *ops, const struct telex_wire *wire)
{
    link->ops = ops;
    link->wire = wire;
    link->fixed = UINT64_MAX;
    link->pid = -1;
    telex_lock_init(&link->in);
    telex_lock_init(&link->out);
    pthread_mutex_init(&link->reason_lock, NULL);
}

void telex_link_deinit(struct telex_link *link)
{
    telex_lock_deinit(&link->in);
    telex_lock_deinit(&link->out);
    pthread_mutex_destroy(&link->reason_lock);
}

int telex_link_blame(struct telex_link *link, int error)
{
    pthread_mutex_lock(&link->reason_lock);
    if (link->reason[0] == '\0')
        snprintf(link->reason, sizeof link->reason, "%s", telex_said());
    pthread_mutex_unlock(&link->reason_lock);
    return error;
}

int telex_link_say_reason(struct telex_link *link, int error)
{
    pthread_mutex_lock(&link->reason_lock);
    telex_say(error, "%s", link->reason[0] != '\0' ? link->reason : "the peer reads no more");
    pthread_mutex_unlock(&link->reason_lock);
    return error;
}

int telex_link_break(struct telex_link *link, int error)
{
    pthread_mutex_lock(&link->reason_lock); /* also over a goodbye that the peer went on after */
    snprintf(link->reason, sizeof link->reason, "%s", telex_said());
    pthread_mutex_unlock(&link->reason_lock);
    link->in_end = error;
    telex_lock(&link->out);
    link->ops->finish(link, TELEX_BYE_PROTOCOL, telex_said(), true);
    link->out_end = error;
    telex_unlock(&link->out);
    link->news++;
    return error;
}
