/* SPDX-License-Identifier: MIT */
/* What every link has, whatever carries it: its locks and the reason of its end. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "medium/medium.h"
#include "os/process.h"
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

/* ---- greeting ---- */

struct telex_greeting telex_link_greeting(const struct telex_settings *settings, bool descriptors)
{
    struct telex_greeting greeting = {
        .lowest = TELEX_WIRE_VERSION,
        .highest = TELEX_WIRE_VERSION,
        .features = descriptors && settings->descriptors > 0 ? TELEX_FEATURE_DESCRIPTORS : 0,
        .descriptors = settings->descriptors,
        .max = settings->max,
        .window = settings->window,
        .queue = settings->queue,
        .fixed = settings->fixed,
        .pid = getpid(),
    };
    memcpy(greeting.life, telex_life(), sizeof greeting.life);
    memcpy(greeting.program, settings->program, sizeof greeting.program);
    return greeting;
}

uint64_t telex_link_lesser(uint64_t ours, uint64_t theirs)
{
    if (ours == 0 && theirs == 0)
        return UINT64_MAX;
    return ours == 0 || (theirs != 0 && theirs < ours) ? theirs : ours;
}

int telex_link_agree(struct telex_link *link, const struct telex_greeting *ours, const struct telex_greeting *theirs, uint32_t *ret_bye)
{
    *ret_bye = TELEX_BYE_VERSION;
    int r = telex_greeting_agree(ours, theirs);
    if (r < 0)
        return r;
    *ret_bye = TELEX_BYE_REFUSED;
    if (ours->fixed != UINT64_MAX && theirs->fixed != UINT64_MAX && ours->fixed != theirs->fixed)
        return telex_say(-ECONNREFUSED, "one side wants messages of %llu bytes, the other of %llu (option size)",
                         (unsigned long long)ours->fixed, (unsigned long long)theirs->fixed);
    link->fixed = ours->fixed != UINT64_MAX ? ours->fixed : theirs->fixed;
    link->max = ours->max < theirs->max ? ours->max : theirs->max;
    if (link->fixed != UINT64_MAX && link->fixed > link->max)
        return telex_say(-ECONNREFUSED, "messages of %llu bytes are wanted (option size), but one side accepts at most %llu",
                         (unsigned long long)link->fixed, (unsigned long long)link->max);
    link->descriptors = ours->features & theirs->features & TELEX_FEATURE_DESCRIPTORS ? theirs->descriptors : 0;
    memcpy(link->life, theirs->life, sizeof link->life);
    link->pid = theirs->pid;
    memcpy(link->program, theirs->program, sizeof link->program);
    return 0;
}
