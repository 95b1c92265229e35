/* SPDX-License-Identifier: MIT */
/* telex tap: what passes, written down: a line for people, or with --json an object a line, for telex sequence and other programs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tap.h"
#include "text.h"

enum { LINE_SHOWN_MOST = 256 }; /* bytes of a message in a line for people */

static const struct {
    const char *name;
    bool has_size;
} whats[TAP_WHATS] = {
    [TAP_OPEN] = {"open", false},       [TAP_HELLO] = {"hello", false},   [TAP_MESSAGE] = {"message", true},
    [TAP_CALL] = {"call", true},        [TAP_REPLY] = {"reply", true},    [TAP_FAIL] = {"fail", false},
    [TAP_CANCEL] = {"cancel", false},   [TAP_TAKEN] = {"taken", false},   [TAP_WITHDRAWN] = {"withdrawn", false},
    [TAP_BYTES] = {"bytes", true},      [TAP_GOODBYE] = {"goodbye", false}, [TAP_END] = {"end", false},
    [TAP_CLOSE] = {"close", false},
};

static const char *const failures[] = {"failed", "no handler", "failed", "limit", "refused", "cancelled"};
static const char *const goodbyes[] = {"", "no common version", "limit", "refused", "rules broken"};

static const char *name_of(const char *const *names, size_t count, uint32_t code)
{
    return names[code < count ? code : 0];
}

static const char *code_name(const struct tap_event *event)
{
    return event->what == TAP_FAIL ? name_of(failures, sizeof failures / sizeof *failures, event->code)
                                   : name_of(goodbyes, sizeof goodbyes / sizeof *goodbyes, event->code);
}

static bool is_text(const struct tap_event *event)
{
    return event->message.kind == TELEX_TEXT && tool_utf8_valid(event->message.data, event->shown);
}

static void put_hex(const void *data, size_t length)
{
    for (const uint8_t *at = data, *end = at + length; at < end; at++)
        printf("%02x", *at);
}

/* ---- objects ---- */

/* Valid UTF-8 is left as it is; of other bytes, which only sentences and names of strangers have, each becomes U+FFFD. */
static void put_string(const char *text, size_t length)
{
    putchar('"');
    while (length > 0) {
        uint32_t character = 0xFFFD;
        size_t count = tool_utf8_character(text, length, &character);
        if (count == 0)
            fputs("\xEF\xBF\xBD", stdout);
        else if (character == '"' || character == '\\')
            printf("\\%c", (int)character);
        else if (character < ' ' || character == 127)
            printf("\\u%04x", (unsigned)character);
        else
            fwrite(text, 1, count, stdout);
        count += count == 0;
        text += count;
        length -= count;
    }
    putchar('"');
}

static void put_field(const char *name, const char *text)
{
    printf(", \"%s\": ", name);
    put_string(text, strlen(text));
}

static void put_message(const struct tap_event *event)
{
    const telex_message *message = &event->message;
    if (event->what != TAP_BYTES) {
        printf(", \"kind\": \"%s\", \"type\": %u, \"lane\": %u", message->kind == TELEX_TEXT ? "text" : "binary", message->type, message->lane);
        if (message->number != 0)
            printf(", \"number\": %" PRIu64, message->number);
        if (message->request != 0)
            printf(", \"request\": %" PRIu64, message->request);
        printf(", \"sync\": %s", event->sync ? "true" : "false");
    }
    if (message->descriptor_count > 0)
        printf(", \"descriptors\": %u", message->descriptor_count);
    printf(", \"size\": %zu", message->length);
    if (is_text(event)) {
        fputs(", \"text\": ", stdout);
        put_string(message->data, event->shown);
    } else {
        fputs(", \"hex\": \"", stdout);
        put_hex(message->data, event->shown);
        putchar('"');
    }
    if (event->shown < message->length)
        printf(", \"shown\": %zu", event->shown);
}

static void put_object(const struct tap_connection *connection, const struct tap_event *event, const struct timespec *now)
{
    struct tm utc;
    char time[40];
    gmtime_r(&now->tv_sec, &utc);
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
    printf("{\"time\": \"%s.%09ldZ\", \"connection\": %u, \"event\": \"%s\"", time, now->tv_nsec, connection->number, whats[event->what].name);
    if (event->way >= 0)
        printf(", \"direction\": \"%s\"", event->way == TAP_TO ? ">" : "<");
    if (whats[event->what].has_size) {
        put_message(event);
    } else {
        if (event->message.number != 0)
            printf(", \"number\": %" PRIu64, event->message.number);
        if (event->message.request != 0)
            printf(", \"request\": %" PRIu64, event->message.request);
    }
    if (event->what == TAP_OPEN) {
        put_field("peer", event->program);
        put_field("address", connection->tap->shown);
        put_field("passes", connection->tap->bytes ? "bytes" : "messages");
    } else if (event->program != NULL) {
        put_field("program", event->program);
    }
    if (event->what == TAP_HELLO && event->pid >= 0)
        printf(", \"pid\": %" PRId64, event->pid);
    if ((event->what == TAP_FAIL || event->what == TAP_GOODBYE) && *code_name(event) != '\0')
        put_field("code", code_name(event));
    if (event->sentence != NULL)
        put_field("sentence", event->sentence);
    fputs("}\n", stdout);
}

/* ---- lines ---- */

/* For a terminal: control characters and what is no UTF-8 are written as \xHH, and a backslash twice, so that nothing else looks like them. */
static void put_harmless(const char *text, size_t length)
{
    while (length > 0) {
        uint32_t character = 0;
        size_t count = tool_utf8_character(text, length, &character);
        bool control = count == 0 || character < ' ' || (character >= 127 && character < 0xA0);
        if (character == '\n')
            fputs("\\n", stdout);
        else if (character == '\\')
            fputs("\\\\", stdout);
        else if (control)
            for (size_t i = 0; i < (count > 0 ? count : 1); i++)
                printf("\\x%02x", (uint8_t)text[i]);
        else
            fwrite(text, 1, count, stdout);
        count += count == 0;
        text += count;
        length -= count;
    }
}

static void put_content(const struct tap_event *event)
{
    bool text = is_text(event);
    size_t most = text ? LINE_SHOWN_MOST : LINE_SHOWN_MOST / 4;
    size_t shown = text ? tool_utf8_cut(event->message.data, event->shown, most) : event->shown < most ? event->shown : most;
    printf("  %-6s %8zu  ", event->message.kind == TELEX_TEXT ? "text" : "binary", event->message.length);
    if (text)
        put_harmless(event->message.data, shown);
    else
        put_hex(event->message.data, shown);
    if (shown < event->message.length)
        fputs(" ...", stdout);
}

/* What stands behind the name of the event. */
static void put_numbers(const struct tap_event *event)
{
    const telex_message *message = &event->message;
    char text[96] = "";
    uint64_t number = event->what == TAP_REPLY || event->what == TAP_FAIL || event->what == TAP_CANCEL ? message->request : message->number;
    int length = 0;
    if (number != 0)
        length = snprintf(text, sizeof text, "%" PRIu64, number);
    if (message->type != 0)
        length += snprintf(text + length, sizeof text - (size_t)length, " type %u", message->type);
    if (message->lane != 0)
        length += snprintf(text + length, sizeof text - (size_t)length, " lane %u", message->lane);
    if (event->sync)
        length += snprintf(text + length, sizeof text - (size_t)length, " sync");
    if (message->descriptor_count > 0)
        snprintf(text + length, sizeof text - (size_t)length, " fds %u", message->descriptor_count);
    printf("%-9s %-10s", whats[event->what].name, text);
}

static void put_line(const struct tap_connection *connection, const struct tap_event *event, const struct timespec *now)
{
    struct tm local;
    char time[40];
    localtime_r(&now->tv_sec, &local);
    strftime(time, sizeof time, "%H:%M:%S", &local);
    printf("%s.%06ld %4u %s ", time, now->tv_nsec / 1000, connection->number, event->way < 0 ? "-" : event->way == TAP_TO ? ">" : "<");
    put_numbers(event);
    if (whats[event->what].has_size)
        put_content(event);
    if (event->what == TAP_OPEN) {
        fputs("  ", stdout);
        put_harmless(event->program, strlen(event->program));
        fputs(*event->program != '\0' ? " to " : "to ", stdout);
        put_harmless(connection->tap->shown, strlen(connection->tap->shown));
    } else if (event->what == TAP_HELLO) {
        fputs("  ", stdout);
        put_harmless(event->program != NULL ? event->program : "?", event->program != NULL ? strlen(event->program) : 1);
        if (event->pid >= 0)
            printf(" (%" PRId64 ")", event->pid);
    }
    if ((event->what == TAP_FAIL || event->what == TAP_GOODBYE) && *code_name(event) != '\0')
        printf("  %s", code_name(event));
    if (event->sentence != NULL && *event->sentence != '\0') {
        fputs("  ", stdout);
        put_harmless(event->sentence, strlen(event->sentence));
    }
    putchar('\n');
}

void tap_log(struct tap_connection *connection, const struct tap_event *event)
{
    struct tap *tap = connection->tap;
    struct timespec now;
    pthread_mutex_lock(&tap->lock);
    clock_gettime(CLOCK_REALTIME, &now); /* under the lock: lines are in the order of their times */
    (tap->options->json ? put_object : put_line)(connection, event, &now);
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    int error = errno;
    pthread_mutex_unlock(&tap->lock);
    if (!written && tap_give_up(tap, TOOL_FAILURE))
        tool_say("standard output: %s", strerror(error));
}
