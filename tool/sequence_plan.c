/* SPDX-License-Identifier: MIT */
/*
 * telex sequence: what stands where. Time goes down, one row for an event. The servers (one line for each address that was dialled) stand in the
 * middle, the clients left and right of them, the first nearest; where a connection is over, a later one takes its column.
 */
#include "sequence.h"

#include <stdlib.h>
#include <string.h>

#define PAUSE_NS INT64_C(200000000) /* a longer silence is shown */

enum { REPEAT_AFTER = 1500 /* pixels */, WIDTH_LEAST = 960 };

static const int heights[SEQUENCE_WHATS] = {
    [SEQUENCE_OPEN] = 66,   [SEQUENCE_HELLO] = 0,  [SEQUENCE_MESSAGE] = 34,   [SEQUENCE_CALL] = 34, [SEQUENCE_REPLY] = 34,
    [SEQUENCE_FAIL] = 34,   [SEQUENCE_CANCEL] = 34, [SEQUENCE_TAKEN] = 28,    [SEQUENCE_WITHDRAWN] = 28, [SEQUENCE_BYTES] = 34,
    [SEQUENCE_GOODBYE] = 30, [SEQUENCE_END] = 30,  [SEQUENCE_CLOSE] = 22,
};

int sequence_x(const struct sequence *sequence, unsigned column)
{
    return SEQUENCE_LEFT + (int)column * sequence->gap;
}

/* ---- columns ---- */

static bool find_lines(struct sequence *sequence)
{
    sequence->lines = calloc(sequence->connection_count, sizeof *sequence->lines);
    if (sequence->lines == NULL)
        return false;
    for (size_t i = 0; i < sequence->connection_count; i++) {
        struct sequence_connection *connection = &sequence->connections[i];
        const char *address = connection->address != NULL ? connection->address : "?";
        size_t line = 0;
        while (line < sequence->line_count && strcmp(sequence->lines[line].address, address) != 0)
            line++;
        if (line == sequence->line_count)
            sequence->lines[sequence->line_count++].address = address;
        if (connection->server != NULL)
            sequence->lines[line].program = connection->server;
        connection->line = (unsigned)line;
    }
    return true;
}

/* First the how many-th of the clients' columns, then where that is. */
static bool find_columns(struct sequence *sequence)
{
    size_t *until = calloc(sequence->connection_count, sizeof *until); /* the event after which a column is free */
    unsigned clients = 0, lines = (unsigned)sequence->line_count;
    if (until == NULL)
        return false;
    for (size_t i = 0; i < sequence->connection_count; i++) {
        struct sequence_connection *connection = &sequence->connections[i];
        unsigned column = 0;
        while (column < clients && until[column] > connection->first)
            column++;
        clients += column == clients;
        until[column] = connection->closed ? connection->last : SIZE_MAX;
        connection->column = column;
    }
    free(until);
    unsigned left = (clients + 1) / 2;
    for (size_t i = 0; i < sequence->connection_count; i++) {
        unsigned *column = &sequence->connections[i].column;
        *column = *column % 2 == 0 ? left - 1 - *column / 2 : left + lines + *column / 2;
    }
    for (unsigned line = 0; line < lines; line++)
        sequence->lines[line].column = left + line;
    sequence->column_count = clients + lines;
    sequence->gap = sequence->column_count <= 2 ? 600 : sequence->column_count == 3 ? 430 : 370;
    return true;
}

/* ---- calls and their answers, and other pairs ---- */

static bool answers(const struct sequence_event *event, const struct sequence_event *call)
{
    return call->what == SEQUENCE_CALL && call->partner == SIZE_MAX && call->number == event->request &&
           call->back == (event->what == SEQUENCE_CANCEL ? event->back : !event->back);
}

static bool settles(const struct sequence_event *event, const struct sequence_event *message)
{
    return message->sync && message->partner == SIZE_MAX && message->number == event->number && message->back == !event->back;
}

static void find_partner(struct sequence *sequence, size_t at)
{
    struct sequence_event *event = &sequence->events[at];
    bool answer = event->what == SEQUENCE_REPLY || event->what == SEQUENCE_FAIL || event->what == SEQUENCE_CANCEL;
    if (!answer && event->what != SEQUENCE_TAKEN && event->what != SEQUENCE_WITHDRAWN)
        return;
    for (size_t i = at; i-- > sequence->connections[event->connection].first;) {
        struct sequence_event *before = &sequence->events[i];
        if (before->connection != event->connection || !(answer ? answers(event, before) : settles(event, before)))
            continue;
        event->partner = i;
        if (before->partner == SIZE_MAX && (answer || before->what != SEQUENCE_CALL))
            before->partner = at;
        return;
    }
}

/* The bars in use at a line: of a client or of a server. */
static uint8_t *bars_at(const struct sequence *sequence, uint8_t *bars, size_t connection, bool server)
{
    return &bars[server ? sequence->connection_count + sequence->connections[connection].line : connection];
}

static void take_slot(struct sequence_event *call, uint8_t *bars)
{
    unsigned slot = 0;
    while (slot < SEQUENCE_SLOTS && *bars & 1 << slot)
        slot++;
    call->has_slot = slot < SEQUENCE_SLOTS;
    call->slot = slot;
    if (call->has_slot)
        *bars |= (uint8_t)(1 << slot);
}

static void give_slot(const struct sequence_event *call, uint8_t *bars)
{
    if (call->has_slot)
        *bars &= (uint8_t)~(1 << call->slot);
}

/* What was asked on a connection that is over gets no answer any more. */
static void end_calls(struct sequence *sequence, size_t at, uint8_t *bars)
{
    size_t connection = sequence->events[at].connection;
    for (size_t i = sequence->connections[connection].first; i < at; i++) {
        struct sequence_event *event = &sequence->events[i];
        if (event->connection == connection && event->what == SEQUENCE_CALL && event->partner == SIZE_MAX) {
            event->partner = at;
            give_slot(event, bars_at(sequence, bars, connection, !event->back));
        }
    }
}

static bool find_partners(struct sequence *sequence)
{
    uint8_t *bars = calloc(sequence->connection_count + sequence->line_count, 1);
    if (bars == NULL)
        return false;
    for (size_t i = 0; i < sequence->event_count; i++) {
        struct sequence_event *event = &sequence->events[i];
        uint8_t *client = bars_at(sequence, bars, event->connection, false), *server = bars_at(sequence, bars, event->connection, true);
        find_partner(sequence, i);
        if (event->what == SEQUENCE_CALL)
            take_slot(event, event->back ? client : server);
        event->client_busy = *client & 1;
        event->server_busy = *server & 1;
        if (event->partner < i && sequence->events[event->partner].what == SEQUENCE_CALL && event->what != SEQUENCE_TAKEN)
            give_slot(&sequence->events[event->partner], sequence->events[event->partner].back ? client : server);
        if (event->what == SEQUENCE_CLOSE)
            end_calls(sequence, i, bars);
    }
    free(bars);
    return true;
}

/* ---- rows ---- */

/* The end of a way that said goodbye, and in order, tells nothing new. */
static bool tells_nothing(const struct sequence *sequence, size_t at)
{
    const struct sequence_event *event = &sequence->events[at];
    if (event->what != SEQUENCE_END || event->label != NULL)
        return false;
    for (size_t i = at; i-- > sequence->connections[event->connection].first;) {
        const struct sequence_event *before = &sequence->events[i];
        if (before->connection == event->connection && before->what == SEQUENCE_GOODBYE && before->back == event->back)
            return true;
    }
    return false;
}

static void place_rows(struct sequence *sequence)
{
    int y = SEQUENCE_TOP, repeated = y;
    int64_t last = sequence->events[0].ns;
    for (size_t i = 0; i < sequence->event_count; i++) {
        struct sequence_event *event = &sequence->events[i];
        event->height = tells_nothing(sequence, i) ? 0 : heights[event->what];
        if (event->height == 0) {
            event->y = y;
            continue;
        }
        if (event->ns - last >= PAUSE_NS) {
            event->pause = event->ns - last;
            y += SEQUENCE_PAUSE_HEIGHT;
        }
        event->repeats = y - repeated > REPEAT_AFTER;
        if (event->repeats) {
            repeated = y;
            y += SEQUENCE_REPEAT_HEIGHT;
        }
        last = event->ns > last ? event->ns : last;
        y += event->height;
        event->y = y;
    }
    sequence->height = y + SEQUENCE_BOTTOM;
    sequence->width = SEQUENCE_LEFT + (int)(sequence->column_count - 1) * sequence->gap + SEQUENCE_RIGHT;
    if (sequence->width < WIDTH_LEAST)
        sequence->width = WIDTH_LEAST;
}

bool sequence_plan(struct sequence *sequence)
{
    if (!find_lines(sequence) || !find_columns(sequence) || !find_partners(sequence))
        return false;
    place_rows(sequence);
    return true;
}
