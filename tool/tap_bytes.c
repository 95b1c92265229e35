/* SPDX-License-Identifier: MIT */
/*
 * telex tap: bytes pass as they are. So everything that the two sides agree on (limits, credit, who took what, who gave up what) stays
 * between them: a rendezvous through the tap is one with the far side.
 */
#include <errno.h>
#include <string.h>

#include "tap.h"

/* How long the other way may be silent once one has ended on a wire without goodbyes, where nobody knows whether an answer is still to come. */
#define QUIET_NS INT64_C(1000000000)

int tap_bytes_prepare(struct tap_connection *connection)
{
    for (int way = 0; way < TAP_WAYS; way++) {
        connection->ways[way].wire = tap_wire_new(&connection->ways[way], connection->tap->wire);
        if (connection->ways[way].wire == NULL) {
            tool_say("out of memory for connection %u", connection->number);
            return TOOL_FAILURE;
        }
    }
    return TOOL_OK;
}

void tap_bytes_free(struct tap_connection *connection)
{
    for (int way = 0; way < TAP_WAYS; way++)
        tap_wire_free(connection->ways[way].wire);
}

static bool pass_on(struct tap_way *way, const void *data, size_t length)
{
    telex_message chunk = telex_binary(data, length);
    int r = length > 0 ? -EINTR : 0;
    while (r == -EINTR && !atomic_load(&way->connection->over))
        r = telex_send(way->to, &chunk, 0, TELEX_NEVER);
    return r == 0;
}

static int64_t quiet_time(const struct tap *tap)
{
    return tap->options->deadline != 0 ? tap->options->deadline : QUIET_NS;
}

/*
 * Nothing more comes this way. Where its wire says goodbye and it did not, the peer is dead, and the other side must see that: without a goodbye,
 * at once. Else the other way goes on: until it ends, or, on wires without goodbyes, until it has been silent for a while.
 */
static void way_ended(struct tap_way *way, int error)
{
    struct tap_connection *connection = way->connection;
    bool in_order = error == -EPIPE && tap_wire_said_goodbye(way->wire);
    const char *sentence = in_order ? NULL : error == -EPIPE ? "it ended without a goodbye" : telex_reason(way->from);
    const void *rest;
    size_t length = tap_wire_rest(way->wire, &rest);
    pass_on(way, rest, length);
    tap_wire_end(way->wire);
    tap_log(connection, &(struct tap_event){.what = TAP_END, .way = way->way, .sentence = sentence});
    atomic_store(&way->ended, true);
    if (!in_order || atomic_load(&tap_other(way)->ended)) {
        tap_end(connection, !in_order);
        return;
    }
    if (connection->tap->wire != TAP_WIRE_TELEX)
        atomic_store(&connection->quiet_until, quiet_time(connection->tap) == INT64_MAX ? TELEX_NEVER : telex_after(quiet_time(connection->tap)));
    tap_wake(tap_other(way));
}

static bool was_quiet(struct tap_way *way)
{
    int64_t until = atomic_load(&way->connection->quiet_until);
    return until != 0 && telex_now() >= until;
}

void tap_bytes_pass(struct tap_way *way)
{
    struct tap_connection *connection = way->connection;
    telex_message message = {0};
    int r = 0;
    while (!atomic_load(&connection->over)) {
        r = telex_receive(way->from, &message, TELEX_NOW);
        if (r == 0) {
            const void *data;
            size_t length = tap_wire_look(way->wire, message.data, message.length, &data);
            if (!pass_on(way, data, length)) {
                tap_gone(way);
                break;
            }
            if (atomic_load(&connection->quiet_until) != 0 && quiet_time(connection->tap) != INT64_MAX)
                atomic_store(&connection->quiet_until, telex_after(quiet_time(connection->tap)));
        } else if (r == -EAGAIN || r == -EINTR) {
            int64_t until = atomic_load(&connection->quiet_until);
            if (was_quiet(way))
                tap_end(connection, false);
            else if (r == -EAGAIN)
                tap_wait(way, until != 0 ? until : TELEX_NEVER);
        } else {
            way_ended(way, r);
            break;
        }
    }
    telex_release(&message);
}
