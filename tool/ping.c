/* SPDX-License-Identifier: MIT */
/* telex ping: how long a question and its answer take. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { COUNT_DEFAULT = 1000, SIZE_DEFAULT = 64, COUNT_MOST = 100000000 };

/* One round trip: a call, or with --sync a rendezvous and the echo of it. */
static int round_trip(const struct tool_options *options, telex_channel *channel, telex_message *ping,
                      telex_message *ret_pong)
{
    telex_time deadline = tool_deadline(options, TOOL_PATIENCE);
    if (!options->sync)
        return tool_ask(channel, ping, ret_pong, deadline);
    int r = tool_send_message(channel, ping, TELEX_SYNC, deadline);
    return r < 0 ? r : tool_receive_message(channel, ret_pong, deadline);
}

static bool same(const telex_message *ping, const telex_message *pong)
{
    return pong->length == ping->length && (ping->length == 0 || memcmp(pong->data, ping->data, ping->length) == 0);
}

/* Makes round trips until there are `count`, or a signal asks to stop. */
static int measure(const struct tool_options *options, telex_channel *channel, telex_message *ping, int64_t *times,
                   uint64_t count, uint64_t *ret_done)
{
    telex_message pong = {0};
    int status = TOOL_OK;
    uint64_t done = 0;
    while (done < count && status == TOOL_OK && !tool_stopping()) {
        telex_time start = telex_now();
        int r = round_trip(options, channel, ping, &pong);
        times[done] = telex_now() - start;
        if (r == -EINTR && tool_stopping())
            break;
        if (r < 0) {
            status = tool_fail(r, channel);
        } else if (!same(ping, &pong)) {
            tool_say("the peer answers something else than it was asked: is it telex serve --echo?");
            status = TOOL_FAILURE;
        } else {
            done++;
        }
    }
    telex_release(&pong);
    *ret_done = done;
    return status;
}

static int by_time(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* The least time that is not shorter than `percent` of all (nearest rank). */
static int64_t percentile(const int64_t *times, uint64_t count, uint64_t percent)
{
    uint64_t rank = (count * percent + 99) / 100;
    return times[rank > 0 ? rank - 1 : 0];
}

static void report(const struct tool_options *options, size_t size, int64_t *times, uint64_t count)
{
    qsort(times, count, sizeof *times, by_time);
    int64_t least = times[0], median = percentile(times, count, 50), p99 = percentile(times, count, 99),
            most = times[count - 1];
    if (options->json)
        printf("{\"n\": %" PRIu64 ", \"size\": %zu, \"min_ns\": %" PRId64 ", \"median_ns\": %" PRId64
               ", \"p99_ns\": %" PRId64 ", \"max_ns\": %" PRId64 "}\n",
               count, size, least, median, p99, most);
    else
        printf("%" PRIu64 " round trip%s of %zu bytes with %s: min %.1f us, median %.1f us, p99 %.1f us, max %.1f us\n",
               count, count == 1 ? "" : "s", size, options->operands[0], (double)least / 1e3, (double)median / 1e3, (double)p99 / 1e3,
               (double)most / 1e3);
}

static int ping(const struct tool_options *options, telex_channel *channel, size_t size, uint64_t count)
{
    int64_t *times = calloc(count, sizeof *times);
    char *bytes = malloc(size + 1);
    int status = TOOL_FAILURE;
    if (times == NULL || bytes == NULL) {
        tool_say("not enough memory for %" PRIu64 " times and %zu bytes", count, size);
    } else {
        memset(bytes, '.', size); /* good as text and on wire=lines, too */
        telex_message message = tool_message(options, bytes, size);
        uint64_t done;
        status = measure(options, channel, &message, times, count, &done);
        if (status == TOOL_OK && done > 0) {
            report(options, size, times, done);
        } else if (status == TOOL_OK) {
            tool_say("stopped before the first round trip was done");
            status = TOOL_FAILURE;
        }
    }
    free(bytes);
    free(times);
    return status;
}

static int run(const struct tool_options *options)
{
    uint64_t count = options->count > 0 ? options->count : COUNT_DEFAULT;
    size_t size = options->size != UINT64_MAX ? (size_t)options->size : SIZE_DEFAULT;
    if (count > COUNT_MOST)
        return tool_usage("-n %" PRIu64 ": at most %d round trips", count, COUNT_MOST);
    telex_channel *channel;
    int status = tool_dial(options->operands[0], tool_deadline(options, TOOL_PATIENCE), &channel);
    if (status != TOOL_OK)
        return status;
    if (tool_catch_signals() < 0)
        status = TOOL_FAILURE;
    tool_interrupts(channel);
    if (status == TOOL_OK)
        status = ping(options, channel, size, count);
    tool_interrupts(NULL);
    telex_close(channel, TELEX_NOW, NULL);
    return status;
}

const struct tool_command tool_ping = {
    .name = "ping",
    .synopsis = "ADDRESS [-n N] [-s BYTES] [--json]",
    .summary = "round trips: min, median, p99, max",
    .help =
        "Measures round trips to a `telex serve --echo`: N calls (1,000) of BYTES bytes (64), one after the other. With --sync a\n"
        "round trip is a message handed over by rendezvous and its echo.\n"
        "\n"
        "It prints the least, the median, the 99th percentile (nearest rank) and the most time; with --json one object with the\n"
        "numbers n, size, min_ns, median_ns, p99_ns and max_ns, and nothing else. A signal ends it early with what was measured\n"
        "until then. Each round trip may take as long as --deadline says (10 s).\n"
        "\n"
        "examples:\n"
        "  telex ping unix:///tmp/echo\n"
        "  telex ping shm://echo\n"
        "  telex ping -n 10000 -s 1KiB --json tcp://127.0.0.1:7000",
    .takes = TOOL_TAKES_COUNT | TOOL_TAKES_SIZE | TOOL_TAKES_JSON,
    .least = 1,
    .most = 1,
    .run = run,
};
