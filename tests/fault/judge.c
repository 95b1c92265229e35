/* SPDX-License-Identifier: MIT */
/*
 * Reads what both sides wrote down and says what does not fit: each message came once, whole, in the order of its lane, or its sender was told that
 * it may not have come.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "fault/log.h"
#include "telex/telex.h"

static char complaint[300];

static const char *object(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *object(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(complaint, sizeof complaint, format, list);
    va_end(list);
    return complaint;
}

struct way { /* one direction */
    const struct log_side *from, *to;
    unsigned sender, sent_count, received_count;
    unsigned slack; /* so many messages its receiver may have taken and not written down: it was killed in a call */
    bool unbroken;  /* no medium breaks in this plan */
};

static const struct log_received *arrival_of(const struct way *way, unsigned id)
{
    for (unsigned i = 0; i < way->received_count; i++)
        if (way->to->received[i].id == id)
            return &way->to->received[i];
    return NULL;
}

/* Everything that came was sent, came once, and in the order of its lane. */
static const char *arrivals(const struct way *way)
{
    int last[PLAN_LANES] = {-1, -1, -1};
    for (unsigned i = 0; i < way->received_count; i++) {
        const struct log_received *one = &way->to->received[i];
        int at = -1;
        for (unsigned j = 0; j < way->sent_count; j++)
            if (way->from->sent[j].id == one->id)
                at = (int)j;
        if (at < 0)
            return object("side %u never sent message %u", way->sender, one->id);
        const struct log_sent *sent = &way->from->sent[at];
        if (arrival_of(way, one->id) != one)
            return object("message %u of side %u came twice", one->id, way->sender);
        if (sent->lane != one->lane || (sent->number != 0 && sent->number != one->number))
            return object("message %u of side %u came as number %llu on lane %u", one->id, way->sender, (unsigned long long)one->number, one->lane);
        if (sent->number == 0 && sent->result != LOG_TRYING)
            return object("message %u of side %u came, though its send failed with %d", one->id, way->sender, sent->result);
        if (one->reply)
            continue; /* its call took it as soon as it came */
        if (at < last[one->lane])
            return object("message %u of side %u came after a later one of lane %u", one->id, way->sender, one->lane);
        last[one->lane] = at;
    }
    return NULL;
}

/* Whether what its sender was told of a message may be, given that it came or not. */
static const char *told(const struct way *way, const struct log_sent *sent, bool came, unsigned *missing)
{
    int known = sent->at_end >= 0 ? sent->at_end : sent->outcome;
    if ((sent->outcome == TELEX_TAKEN || sent->outcome == TELEX_WITHDRAWN) && sent->at_end >= 0 && sent->at_end != sent->outcome)
        return object("message %u of side %u: its outcome was %d and became %d", sent->id, way->sender, sent->outcome, sent->at_end);
    if (came && (known == TELEX_WITHDRAWN || sent->outcome == TELEX_WITHDRAWN) && !sent->call)
        return object("message %u of side %u was withdrawn, and came", sent->id, way->sender);
    /* A request whose caller gave up may be thrown away by the other side and counts as taken, so its outcome says nothing. */
    bool answered = sent->call && sent->result >= 0, returned = sent->sync && sent->result == 0;
    bool taken = answered || returned || (known == TELEX_TAKEN && !sent->call);
    if (!came && taken && !sent->reply && ++*missing > way->slack)
        return object("message %u of side %u is known to be taken, and never came", sent->id, way->sender);
    if (!came && way->unbroken && !sent->reply && sent->result == 0)
        return object("message %u of side %u never came", sent->id, way->sender);
    if (way->unbroken && sent->sync && sent->result < 0 && (known == TELEX_UNKNOWN || known == TELEX_OFFERED))
        return object("what became of message %u of side %u was not known at the end", sent->id, way->sender);
    return NULL;
}

static const char *departures(const struct way *way)
{
    uint64_t last = 0;
    unsigned missing = 0, explained = way->slack, numbered = 0;
    for (unsigned i = 0; i < way->sent_count; i++) {
        const struct log_sent *sent = &way->from->sent[i];
        if (sent->number == 0 && sent->result == 0)
            return object("message %u of side %u got no number", sent->id, way->sender);
        if (sent->number != 0 && sent->number <= last)
            return object("message %u of side %u got number %llu after %llu", sent->id, way->sender, (unsigned long long)sent->number, (unsigned long long)last);
        last = sent->number != 0 ? sent->number : last;
        numbered += sent->number != 0;
        bool came = arrival_of(way, sent->id) != NULL;
        const char *why = told(way, sent, came, &missing);
        if (why != NULL)
            return why;
        explained += sent->number != 0 && (came || sent->reply || sent->result < 0); /* a late reply is dropped, a failed message withdrawn */
    }
    if (!way->from->closed)
        return NULL;
    if (way->from->counted_sent != numbered)
        return object("side %u counted %llu sent messages, not %u", way->sender, (unsigned long long)way->from->counted_sent, numbered);
    if (numbered - way->from->untaken > explained)
        return object("side %u left %llu of %u messages untaken, but no more than %u came", way->sender, (unsigned long long)way->from->untaken, numbered, explained);
    if (way->unbroken && (way->from->untaken != 0 || way->from->close_result != 0))
        return object("side %u: close gave %d, with %llu untaken", way->sender, way->from->close_result, (unsigned long long)way->from->untaken);
    return NULL;
}

const char *judge(const struct plan *plan, const struct log *log, const bool *killed)
{
    bool unbroken = !plan->sides[0].breaks && !plan->sides[1].breaks;
    for (unsigned i = 0; i < 2; i++) {
        const struct log_side *side = &log->sides[i];
        if (side->fault[0] != '\0')
            return object("side %u: %.250s", i, side->fault);
        if (unbroken && !side->to_the_end)
            return object("side %u ended with %d, though nothing broke", i, side->ended);
    }
    for (unsigned i = 0; i < 2; i++) {
        const struct log_side *from = &log->sides[i], *to = &log->sides[!i];
        struct way way = {from, to, i, atomic_load(&from->sent_count), atomic_load(&to->received_count), 0, unbroken};
        way.slack = killed[!i] ? atomic_load(&to->taking[0]) + atomic_load(&to->taking[1]) : 0;
        const char *why = arrivals(&way);
        if (why == NULL)
            why = departures(&way);
        if (why != NULL)
            return why;
    }
    return NULL;
}
