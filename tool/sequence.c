/* SPDX-License-Identifier: MIT */
/* telex sequence: reads a log of telex tap --json, and draws it as a message sequence chart. */
#include "sequence.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common.h"
#include "json.h"
#include "text.h"

enum { FIELDS_MOST = 32, LABEL_MOST = 600 /* bytes */ };

static const struct {
    const char *name;
    bool directed, sized;
} whats[SEQUENCE_WHATS] = {
    [SEQUENCE_OPEN] = {"open", false, false},       [SEQUENCE_HELLO] = {"hello", true, false},
    [SEQUENCE_MESSAGE] = {"message", true, true},   [SEQUENCE_CALL] = {"call", true, true},
    [SEQUENCE_REPLY] = {"reply", true, true},       [SEQUENCE_FAIL] = {"fail", true, false},
    [SEQUENCE_CANCEL] = {"cancel", true, false},    [SEQUENCE_TAKEN] = {"taken", true, false},
    [SEQUENCE_WITHDRAWN] = {"withdrawn", true, false}, [SEQUENCE_BYTES] = {"bytes", true, true},
    [SEQUENCE_GOODBYE] = {"goodbye", true, false},  [SEQUENCE_END] = {"end", true, false},
    [SEQUENCE_CLOSE] = {"close", false, false},
};

struct reading {
    struct sequence *sequence;
    const char *name;
    uint64_t line;
    struct tool_json_field fields[FIELDS_MOST];
    int count;
};

__attribute__((format(printf, 2, 3))) static bool wrong(const struct reading *reading, const char *format, ...)
{
    char sentence[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    tool_say("%s:%" PRIu64 ": %s", reading->name, reading->line, sentence);
    return false;
}

static const struct tool_json_field *field(const struct reading *reading, const char *name)
{
    return tool_json_find(reading->fields, reading->count, name);
}

/* ---- text that can be shown ---- */

/* Controls, and what turns the direction of writing around, would not be seen, or be seen elsewhere. */
static bool shows(uint32_t character)
{
    return character >= ' ' && (character < 127 || character >= 0xA0) && (character < 0x200B || character > 0x200F) &&
           (character < 0x2028 || character > 0x202E) && (character < 0x2066 || character > 0x2069) && character != 0xFEFF &&
           (character & 0xFFFE) != 0xFFFE && character != 0xAD;
}

/* A fresh string that can be shown, of `most` bytes about; NULL: out of memory. */
static char *showable(const char *text, size_t length, size_t most, bool *ret_cut)
{
    char *shown = malloc(most + 16);
    size_t used = 0;
    while (shown != NULL && length > 0 && used < most) {
        uint32_t character = 0;
        size_t count = tool_utf8_character(text, length, &character);
        if (count > 0 && shows(character)) {
            memcpy(shown + used, text, count);
            used += count;
        } else if (count > 0 && (character == '\n' || character == '\r' || character == '\t')) {
            shown[used++] = '\\';
            shown[used++] = character == '\n' ? 'n' : character == '\r' ? 'r' : 't';
        } else if (count == 1) {
            used += (size_t)sprintf(shown + used, "\\x%02x", (unsigned)character);
        } else {
            used += tool_utf8_write(0xFFFD, shown + used);
        }
        count += count == 0;
        text += count;
        length -= count;
    }
    if (shown != NULL)
        shown[used] = '\0';
    *ret_cut = length > 0;
    return shown;
}

static char *showable_field(const struct tool_json_field *from)
{
    bool cut;
    return from != NULL && from->kind == TOOL_JSON_STRING && from->length > 0 ? showable(from->text, from->length, 120, &cut) : NULL;
}

/* ---- fields ---- */

/* 2026-11-25T09:15:51.123456789Z */
static bool read_time(const struct tool_json_field *from, int64_t *ret_ns)
{
    struct tm utc = {0};
    char text[40];
    if (from == NULL || from->kind != TOOL_JSON_STRING || from->length >= sizeof text)
        return false;
    memcpy(text, from->text, from->length);
    text[from->length] = '\0';
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (at == NULL)
        return false;
    int64_t ns = 0;
    if (*at == '.') {
        int64_t unit = 100000000;
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10)
            ns += unit * (*at - '0');
    }
    if (strcmp(at, "Z") != 0)
        return false;
    *ret_ns = (int64_t)timegm(&utc) * 1000000000 + ns;
    return true;
}

/* A number that may be missing (0). */
static bool read_number(const struct reading *reading, const char *name, uint64_t *ret_number)
{
    const struct tool_json_field *from = field(reading, name);
    *ret_number = 0;
    return from == NULL || tool_json_number(from, ret_number) || wrong(reading, "%s is no whole number", name);
}

static size_t connection_of(struct sequence *sequence, uint64_t number)
{
    for (size_t i = sequence->connection_count; i-- > 0;) /* most likely one of the last */
        if (sequence->connections[i].number == number)
            return i;
    if (sequence->connection_count == sequence->connection_room) {
        size_t room = 2 * sequence->connection_room + 16;
        struct sequence_connection *grown = reallocarray(sequence->connections, room, sizeof *grown);
        if (grown == NULL)
            return SIZE_MAX;
        sequence->connections = grown;
        sequence->connection_room = room;
    }
    sequence->connections[sequence->connection_count] = (struct sequence_connection){.number = number, .first = sequence->event_count};
    return sequence->connection_count++;
}

/* What is known of who talks; a name that comes later is better. */
static void read_names(const struct reading *reading, const struct sequence_event *event)
{
    struct sequence_connection *connection = &reading->sequence->connections[event->connection];
    char **who = event->back ? &connection->server : &connection->client;
    char *name = showable_field(field(reading, event->what == SEQUENCE_OPEN ? "peer" : "program"));
    uint64_t pid = 0;
    if (event->what == SEQUENCE_OPEN && connection->address == NULL)
        connection->address = showable_field(field(reading, "address"));
    if (name != NULL && tool_json_number(field(reading, "pid"), &pid) && pid > 0) {
        char *with;
        if (asprintf(&with, "%s (%" PRIu64 ")", name, pid) >= 0) {
            free(name);
            name = with;
        }
    }
    if (name != NULL) {
        free(*who);
        *who = name;
    }
}

static bool read_label(const struct reading *reading, struct sequence_event *event)
{
    static const char *const names[] = {"text", "hex", "sentence", "code"};
    const struct tool_json_field *from = NULL;
    uint64_t shown;
    for (size_t i = 0; i < sizeof names / sizeof *names && from == NULL; i++) {
        from = field(reading, names[i]);
        event->text = i == 0 && from != NULL;
    }
    if (from == NULL)
        return true;
    if (from->kind != TOOL_JSON_STRING)
        return wrong(reading, "text, hex, sentence and code are strings");
    event->label = showable(from->text, from->length, LABEL_MOST, &event->cut);
    if (event->label == NULL)
        return wrong(reading, "out of memory");
    event->label_length = strlen(event->label);
    event->cut = event->cut || tool_json_number(field(reading, "shown"), &shown);
    return true;
}

static bool read_event(const struct reading *reading, struct sequence_event *event)
{
    const struct tool_json_field *name = field(reading, "event"), *direction = field(reading, "direction");
    uint64_t connection;
    int what = 0;
    while (what < SEQUENCE_WHATS && !tool_json_is(name, whats[what].name))
        what++;
    if (name == NULL || what == SEQUENCE_WHATS)
        return wrong(reading, name == NULL ? "no event: is this a log of telex tap --json?" : "an unknown event");
    event->what = (enum sequence_what)what;
    event->back = tool_json_is(direction, "<");
    if (whats[what].directed && !event->back && !tool_json_is(direction, ">"))
        return wrong(reading, "%s: direction is neither > nor <", whats[what].name);
    if (!read_time(field(reading, "time"), &event->ns))
        return wrong(reading, "%s: no time like 2026-11-25T09:15:51.123456789Z", whats[what].name);
    if (!tool_json_number(field(reading, "connection"), &connection))
        return wrong(reading, "%s: no number of a connection", whats[what].name);
    if (whats[what].sized && field(reading, "size") == NULL)
        return wrong(reading, "%s: no size", whats[what].name);
    event->connection = connection_of(reading->sequence, connection);
    if (event->connection == SIZE_MAX)
        return wrong(reading, "out of memory");
    event->sync = tool_json_is(field(reading, "sync"), "true");
    event->partner = SIZE_MAX;
    return read_number(reading, "number", &event->number) && read_number(reading, "request", &event->request) &&
           read_number(reading, "type", &event->type) && read_number(reading, "lane", &event->lane) &&
           read_number(reading, "size", &event->size) && read_label(reading, event);
}

static bool read_line(struct reading *reading, char *line, size_t length)
{
    struct sequence *sequence = reading->sequence;
    const char *why;
    reading->count = tool_json_read(line, length, reading->fields, FIELDS_MOST, &why);
    if (reading->count < 0)
        return wrong(reading, "%s", why);
    if (sequence->event_count == sequence->event_room) {
        size_t room = 2 * sequence->event_room + 256;
        struct sequence_event *grown = reallocarray(sequence->events, room, sizeof *grown);
        if (grown == NULL)
            return wrong(reading, "out of memory");
        sequence->events = grown;
        sequence->event_room = room;
    }
    struct sequence_event *event = &sequence->events[sequence->event_count];
    *event = (struct sequence_event){0};
    if (!read_event(reading, event))
        return false;
    if (event->what == SEQUENCE_OPEN || event->what == SEQUENCE_HELLO)
        read_names(reading, event);
    struct sequence_connection *connection = &sequence->connections[event->connection];
    connection->last = sequence->event_count++;
    connection->closed = connection->closed || event->what == SEQUENCE_CLOSE;
    return true;
}

/* ---- the command ---- */

static int read_log(struct sequence *sequence, FILE *file, const char *name)
{
    struct reading reading = {.sequence = sequence, .name = name};
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    bool good = true;
    while (good && (length = getline(&line, &room, file)) >= 0) {
        reading.line++;
        if (length > 0 && line[length - 1] != '\n' && line[length - 1] != '}') { /* the tap was killed, or is still writing it */
            tool_say("%s:%" PRIu64 ": the last line does not end; it is left out", name, reading.line);
            break;
        }
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            length--;
        good = length == 0 || read_line(&reading, line, (size_t)length);
    }
    free(line);
    if (good && ferror(file)) {
        tool_say("%s: %s", name, strerror(errno));
        return TOOL_FAILURE;
    }
    if (good && sequence->event_count == 0) {
        tool_say("%s: nothing in it: is it the output of telex tap --json?", name);
        return TOOL_FAILURE;
    }
    return good ? TOOL_OK : TOOL_FAILURE;
}

static void sequence_free(struct sequence *sequence)
{
    for (size_t i = 0; i < sequence->event_count; i++)
        free(sequence->events[i].label);
    for (size_t i = 0; i < sequence->connection_count; i++) {
        free(sequence->connections[i].client);
        free(sequence->connections[i].server);
        free(sequence->connections[i].address);
    }
    free(sequence->events);
    free(sequence->connections);
    free(sequence->lines);
}

static int run(const struct tool_options *options)
{
    const char *name = options->operands[0];
    bool standard = strcmp(name, "-") == 0;
    FILE *file = standard ? stdin : fopen(name, "re");
    if (file == NULL) {
        tool_say("%s: %s", name, strerror(errno));
        return TOOL_FAILURE;
    }
    struct sequence sequence = {0};
    int status = read_log(&sequence, file, standard ? "standard input" : name);
    if (!standard)
        fclose(file);
    if (status == TOOL_OK && !sequence_plan(&sequence)) {
        tool_say("out of memory for %zu events", sequence.event_count);
        status = TOOL_FAILURE;
    }
    if (status == TOOL_OK)
        sequence_draw(&sequence);
    sequence_free(&sequence);
    return status;
}

const struct tool_command tool_sequence = {
    .name = "sequence",
    .synopsis = "LOG",
    .summary = "draws a log of telex tap --json as a chart",
    .help =
        "Draws LOG, which `telex tap --json` wrote (-: standard input), as a message sequence chart: one SVG with nothing outside\n"
        "it, on standard output, for any browser. Time goes down. Each address that was dialled is a line in the middle, each\n"
        "connection a line beside it, from its coming to its end. Arrows are messages with how they begin; what is cut is shown\n"
        "when a pointer rests on the arrow. A call is a bar until its reply (dashed), its failure (red) or its cancellation.\n"
        "A synchronous message has a thick arrow, and a dotted one back when it was taken. A red cross is a death. Silence of more\n"
        "than 200 ms is told. A chart of 10,000 events is long: 300,000 pixels.\n"
        "\n"
        "A line of LOG that the tap did not write is told as LOG:LINE, and ends it with 1.\n"
        "\n"
        "examples:\n"
        "  telex tap --json unix:///tmp/tap unix:///tmp/words >log     then talk through unix:///tmp/tap, and end it\n"
        "  telex sequence log >sequence.svg\n"
        "  telex sequence - <log | rsvg-convert -o sequence.png",
    .least = 1,
    .most = 1,
    .run = run,
    .operands = TOOL_OPERANDS_FILES,
};
