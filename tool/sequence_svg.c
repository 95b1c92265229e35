/* SPDX-License-Identifier: MIT */
/* telex sequence: the chart as SVG. One file with nothing outside it; every text in it was made showable by sequence.c, and is escaped here. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sequence.h"
#include "text.h"

enum {
    LETTER = 7,      /* pixels, of the 11.5 px monospace that labels have */
    BAR = 8,         /* width of a bar, and one more bar stands so far right */
    LABEL_MARGIN = 58, /* of a gap: not for labels */
};

static const char style[] =
    "text{font-family:'DejaVu Sans',Verdana,Arial,sans-serif;font-size:12px;fill:#1e293b}\n"
    ".label,.label tspan{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:11.5px}\n"
    ".label{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}\n"
    ".what{font-weight:bold}.side{fill:#64748b}\n"
    ".title{font-size:17px;font-weight:bold}.small{font-size:11px;fill:#64748b}.time{font-size:11px;fill:#64748b;text-anchor:end}\n"
    ".name{font-size:12.5px;font-weight:bold;text-anchor:middle}.under{font-size:11px;fill:#64748b;text-anchor:middle}\n"
    ".head{fill:#f1f5f9;stroke:#475569;stroke-width:1.2}.served{fill:#e0e7ff;stroke:#4338ca;stroke-width:1.2}\n"
    ".line{stroke:#94a3b8;stroke-width:1.2;stroke-dasharray:5 4}.stop{stroke:#475569;stroke-width:2.5}\n"
    "path,line{fill:none}\n"
    ".message{stroke:#334155;stroke-width:1.4}.message.point{stroke-width:1.6}\n"
    ".sync{stroke:#1d4ed8;stroke-width:2.4}.sync.point{fill:#1d4ed8;stroke-width:1}\n"
    ".taken{stroke:#1d4ed8;stroke-width:1.1;stroke-dasharray:2 3}.taken.point{stroke-dasharray:none}\n"
    ".call{stroke:#047857;stroke-width:1.6}.call.point{fill:#047857;stroke-width:1}\n"
    ".reply{stroke:#047857;stroke-width:1.6;stroke-dasharray:7 4}.reply.point{stroke-dasharray:none}\n"
    ".fail{stroke:#dc2626;stroke-width:1.6;stroke-dasharray:7 4}.fail.point{stroke-dasharray:none}\n"
    ".cancel{stroke:#c2410c;stroke-width:1.4;stroke-dasharray:2 3}.cancel.point{stroke-dasharray:none}\n"
    ".goodbye{stroke:#94a3b8;stroke-width:1.2}\n"
    ".bar{fill:#d1fae5;stroke:#047857;stroke-width:1}.open{fill:#fff;stroke-dasharray:3 2}\n"
    ".dead{stroke:#dc2626;stroke-width:3}\n"
    "text.call,text.reply{fill:#065f46;stroke:#fff}text.sync,text.taken{fill:#1e3a8a;stroke:#fff}text.fail,text.dead{fill:#b91c1c;stroke:#fff}\n"
    "text.cancel{fill:#c2410c;stroke:#fff}text.goodbye{fill:#64748b;stroke:#fff}text.message{fill:#1e293b;stroke:#fff}\n"
    "text.label{stroke-width:4px;stroke-dasharray:none}\n"
    ".pause{stroke:#cbd5e1;stroke-width:1;stroke-dasharray:1 4}.paused{font-size:11px;fill:#64748b;text-anchor:middle;font-style:italic}\n";

/* How the events look: class, word, point of the arrow. */
enum point { POINT_OPEN, POINT_FULL, POINT_CROSS };

static const struct look {
    const char *name, *word;
    enum point point;
} looks[SEQUENCE_WHATS] = {
    [SEQUENCE_MESSAGE] = {"message", "", POINT_OPEN},     [SEQUENCE_CALL] = {"call", "call ", POINT_FULL},
    [SEQUENCE_REPLY] = {"reply", "reply ", POINT_OPEN},   [SEQUENCE_FAIL] = {"fail", "failed ", POINT_CROSS},
    [SEQUENCE_CANCEL] = {"cancel", "cancelled ", POINT_OPEN}, [SEQUENCE_TAKEN] = {"taken", "taken ", POINT_OPEN},
    [SEQUENCE_WITHDRAWN] = {"cancel", "withdrawn ", POINT_OPEN}, [SEQUENCE_BYTES] = {"message", "", POINT_OPEN},
    [SEQUENCE_GOODBYE] = {"goodbye", "goodbye", POINT_OPEN}, [SEQUENCE_END] = {"goodbye", "end of stream", POINT_OPEN},
};

static const struct look synchronous = {"sync", "sync ", POINT_FULL};

static const struct look *look_of(const struct sequence_event *event)
{
    return event->what == SEQUENCE_MESSAGE && event->sync ? &synchronous : &looks[event->what];
}

/* ---- text ---- */

static void put(const char *text, size_t length)
{
    for (const char *end = text + length; text < end; text++)
        switch (*text) {
        case '&':
            fputs("&amp;", stdout);
            break;
        case '<':
            fputs("&lt;", stdout);
            break;
        case '>':
            fputs("&gt;", stdout);
            break;
        case '"':
            fputs("&quot;", stdout);
            break;
        default:
            putchar(*text);
        }
}

/* Columns of a terminal, roughly: what is wide in Asian writing, and pictures, take two. */
static unsigned width_of(uint32_t character)
{
    if (character >= 0x300 && character < 0x370)
        return 0;
    return (character >= 0x1100 && character < 0x1160) || (character >= 0x2E80 && character < 0xA4D0) || (character >= 0xAC00 && character < 0xD7A4) ||
                   (character >= 0xF900 && character < 0xFB00) || (character >= 0xFE30 && character < 0xFE70) || (character >= 0xFF00 && character < 0xFF61) ||
                   character >= 0x1F000
               ? 2 : 1;
}

/* How many bytes of `text` take at most `most` columns; *ret_width: how many they take. */
static size_t fitting(const char *text, size_t length, unsigned most, unsigned *ret_width)
{
    unsigned width = 0;
    size_t at = 0;
    while (at < length) {
        uint32_t character = '?';
        size_t count = tool_utf8_character(text + at, length - at, &character);
        unsigned wide = width_of(character);
        if (width + wide > most)
            break;
        width += wide;
        at += count > 0 ? count : 1;
    }
    *ret_width = width;
    return at;
}

/* At most `most` columns; what does not fit ends with an ellipsis. */
static void put_fitting(const char *text, unsigned most)
{
    unsigned width;
    size_t length = strlen(text), fits = fitting(text, length, most, &width);
    if (fits < length)
        fits = fitting(text, length, most - 1, &width);
    put(text, fits);
    if (fits < length)
        fputs("…", stdout);
}

static void put_duration(char *to, size_t size, int64_t ns)
{
    ns = ns > 0 ? ns : 0; /* somebody may have set the clock */
    if (ns < 1000000)
        snprintf(to, size, "%.0f µs", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(to, size, ns < 10000000 ? "%.2f ms" : "%.1f ms", (double)ns / 1e6);
    else
        snprintf(to, size, "%.2f s", (double)ns / 1e9);
}

static void put_size(char *to, size_t size, uint64_t bytes)
{
    if (bytes < 1000)
        snprintf(to, size, "%" PRIu64 " B", bytes);
    else if (bytes < 1000000)
        snprintf(to, size, "%.1f kB", (double)bytes / 1e3);
    else
        snprintf(to, size, "%.1f MB", (double)bytes / 1e6);
}

/* ---- heads and lines ---- */

static void draw_head(int x, int y, const char *class, const char *name, const char *under)
{
    printf("<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", class, x - SEQUENCE_HEAD_WIDTH / 2, y, SEQUENCE_HEAD_WIDTH, SEQUENCE_HEAD_HEIGHT);
    printf("<text class=\"name\" x=\"%d\" y=\"%d\">", x, y + 18);
    put_fitting(name, 24);
    printf("</text><text class=\"under\" x=\"%d\" y=\"%d\">", x, y + 34);
    put_fitting(under, 29);
    fputs("</text>\n", stdout);
}

static const char *client_name(const struct sequence_connection *connection)
{
    return connection->client != NULL ? connection->client : "client";
}

static int client_top(const struct sequence *sequence, const struct sequence_connection *connection)
{
    const struct sequence_event *first = &sequence->events[connection->first];
    return first->what == SEQUENCE_OPEN ? first->y - SEQUENCE_HEAD_HEIGHT - 6 : SEQUENCE_TOP - SEQUENCE_HEAD_HEIGHT - 6;
}

static int client_bottom(const struct sequence *sequence, const struct sequence_connection *connection)
{
    return connection->closed ? sequence->events[connection->last].y - 6 : sequence->height - SEQUENCE_BOTTOM + 12;
}

static void draw_lines(const struct sequence *sequence)
{
    for (size_t i = 0; i < sequence->line_count; i++)
        printf("<line class=\"line\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", sequence_x(sequence, sequence->lines[i].column), SEQUENCE_TOP - 6,
               sequence_x(sequence, sequence->lines[i].column), sequence->height - SEQUENCE_BOTTOM + 12);
    for (size_t i = 0; i < sequence->connection_count; i++) {
        const struct sequence_connection *connection = &sequence->connections[i];
        int x = sequence_x(sequence, connection->column), bottom = client_bottom(sequence, connection);
        printf("<line class=\"line\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", x, client_top(sequence, connection) + SEQUENCE_HEAD_HEIGHT, x, bottom);
        if (connection->closed)
            printf("<line class=\"stop\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", x - 9, bottom, x + 9, bottom);
    }
}

static void draw_heads(const struct sequence *sequence)
{
    for (size_t i = 0; i < sequence->line_count; i++) {
        const struct sequence_line *line = &sequence->lines[i];
        draw_head(sequence_x(sequence, line->column), SEQUENCE_TOP - SEQUENCE_HEAD_HEIGHT - 6, "served", line->program != NULL ? line->program : "server", line->address);
    }
    for (size_t i = 0; i < sequence->connection_count; i++) {
        const struct sequence_connection *connection = &sequence->connections[i];
        char under[64];
        snprintf(under, sizeof under, "connection %" PRIu64, connection->number);
        draw_head(sequence_x(sequence, connection->column), client_top(sequence, connection), "head", client_name(connection), under);
    }
}

static void repeat_name(int x, int y, const char *name)
{
    printf("<rect x=\"%d\" y=\"%d\" width=\"200\" height=\"18\" fill=\"#fff\"/><text class=\"under\" x=\"%d\" y=\"%d\">", x - 100, y - 13, x, y);
    put_fitting(name, 28);
    fputs("</text>\n", stdout);
}

/* Far from the heads, who is who. */
static void repeat_names(const struct sequence *sequence, size_t at)
{
    const struct sequence_event *event = &sequence->events[at];
    int y = event->y - event->height - 10;
    for (size_t i = 0; i < sequence->line_count; i++)
        repeat_name(sequence_x(sequence, sequence->lines[i].column), y, sequence->lines[i].program != NULL ? sequence->lines[i].program : sequence->lines[i].address);
    for (size_t i = 0; i < sequence->connection_count; i++) {
        const struct sequence_connection *connection = &sequence->connections[i];
        if (connection->first < at && !(connection->closed && connection->last < at))
            repeat_name(sequence_x(sequence, connection->column), y, client_name(connection));
    }
}

/* ---- bars: from a call to its answer, at the side that was asked ---- */

static int asked_x(const struct sequence *sequence, const struct sequence_event *call)
{
    const struct sequence_connection *connection = &sequence->connections[call->connection];
    return sequence_x(sequence, call->back ? connection->column : sequence->lines[connection->line].column) + (call->has_slot ? (int)call->slot * BAR : 0);
}

static void draw_bars(const struct sequence *sequence)
{
    for (size_t i = 0; i < sequence->event_count; i++) {
        const struct sequence_event *call = &sequence->events[i];
        if (call->what != SEQUENCE_CALL || !call->has_slot)
            continue;
        const struct sequence_event *answer = call->partner != SIZE_MAX ? &sequence->events[call->partner] : NULL;
        bool answered = answer != NULL && answer->what != SEQUENCE_CLOSE;
        int from = call->y - 11, to = answer != NULL ? answer->y - (answered ? 5 : 8) : sequence->height - SEQUENCE_BOTTOM + 8;
        printf("<rect class=\"bar%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", answered ? "" : " open", asked_x(sequence, call) - BAR / 2, from, BAR,
               to > from ? to - from : 1);
    }
}

/* ---- arrows ---- */

static void draw_point(const char *name, enum point point, int x, int y, int way)
{
    if (point == POINT_CROSS)
        printf("<path class=\"%s point\" d=\"M%d %dl-9 -9m0 9l9 -9\"/>\n", name, x - way * 12 + (way > 0 ? 4 : 5), y + 4);
    else
        printf("<path class=\"%s point\" d=\"M%d %dL%d %dL%d %d%s\"/>\n", name, x - way * 9, y - 5, x, y, x - way * 9, y + 5, point == POINT_FULL ? "Z" : "");
}

static bool has_size(const struct sequence_event *event)
{
    return event->what == SEQUENCE_MESSAGE || event->what == SEQUENCE_CALL || event->what == SEQUENCE_REPLY || event->what == SEQUENCE_BYTES;
}

/* What stands behind the text: type, lane, length of what is not shown whole, time since the call or message that it belongs to. */
static unsigned put_side(const struct sequence *sequence, const struct sequence_event *event, bool sized, char *to, size_t size)
{
    char value[24];
    int used = 0;
    to[0] = '\0';
    if (sized) {
        put_size(value, sizeof value, event->size);
        used += snprintf(to, size, " %s", value);
    }
    if (event->type != 0)
        used += snprintf(to + used, size - (size_t)used, " type %" PRIu64, event->type);
    if (event->lane != 0)
        used += snprintf(to + used, size - (size_t)used, " lane %" PRIu64, event->lane);
    if (event->partner != SIZE_MAX && &sequence->events[event->partner] < event) {
        put_duration(value, sizeof value, event->ns - sequence->events[event->partner].ns);
        used += snprintf(to + used, size - (size_t)used, " after %s", value);
    }
    return (unsigned)used;
}

/* The words of an arrow, in at most `most` columns. */
static void put_label(const struct sequence *sequence, const struct sequence_event *event, const struct look *look, unsigned most)
{
    char head[48], side[128];
    const char *text = event->label != NULL ? event->label : "";
    bool answer = event->what == SEQUENCE_REPLY || event->what == SEQUENCE_FAIL || event->what == SEQUENCE_CANCEL, sized = has_size(event) && !event->text;
    uint64_t number = answer ? event->request : event->number;
    unsigned used = (unsigned)(number != 0 ? snprintf(head, sizeof head, "%s%" PRIu64, look->word, number) : snprintf(head, sizeof head, "%s", look->word));
    unsigned beside = put_side(sequence, event, sized, side, sizeof side), width, needed = used + beside + 1;
    size_t fits = fitting(text, event->label_length, most > needed ? most - needed : 0, &width);
    bool cut = event->cut || fits < event->label_length;
    if (cut) {
        beside = put_side(sequence, event, has_size(event), side, sizeof side);
        needed = used + beside + 2;
        fits = fitting(text, event->label_length, most > needed ? most - needed : 0, &width);
    }
    printf("<tspan class=\"what\">%s</tspan>%s", head, used > 0 && *text != '\0' ? " " : "");
    put(text, fits);
    printf("%s<tspan class=\"side\">%s</tspan>", cut ? "…" : "", side);
}

/* What a pointer that rests on the arrow gets to see. */
static void put_title(const struct sequence_event *event, const struct look *look)
{
    fputs("<title>", stdout);
    printf("%s%" PRIu64 ", %" PRIu64 " bytes", look->word, event->number != 0 ? event->number : event->request, event->size);
    if (event->label != NULL) {
        fputs(": ", stdout);
        put(event->label, event->label_length);
        fputs(event->cut ? "…" : "", stdout);
    }
    fputs("</title>\n", stdout);
}

/* Left or right of the client's line, where no other line stands. */
static void draw_label(const struct sequence *sequence, const struct sequence_event *event, const struct look *look, int client, int server, int y)
{
    int middle = client + (server > client ? 1 : -1) * sequence->gap / 2 + (server < client ? 8 : 0);
    printf("<text class=\"label %s\" x=\"%d\" y=\"%d\" text-anchor=\"middle\" xml:space=\"preserve\">", look->name, middle, y);
    put_label(sequence, event, look, (unsigned)(sequence->gap - LABEL_MARGIN) / LETTER);
    fputs("</text>\n", stdout);
}

static void draw_arrow(const struct sequence *sequence, const struct sequence_event *event)
{
    const struct sequence_connection *connection = &sequence->connections[event->connection];
    const struct look *look = look_of(event);
    int client = sequence_x(sequence, connection->column), server = sequence_x(sequence, sequence->lines[connection->line].column);
    int way = server > client ? 1 : -1, y = event->y - 8;
    const struct sequence_event *call = event->what == SEQUENCE_CALL ? event : event->partner != SIZE_MAX ? &sequence->events[event->partner] : NULL;
    bool at_bar = call != NULL && call->what == SEQUENCE_CALL && call->has_slot;
    int client_x = client + way * (event->client_busy ? BAR / 2 : 0), server_x = server - way * (event->server_busy ? BAR / 2 : 0);
    if (at_bar && call->back)
        client_x = asked_x(sequence, call) + way * BAR / 2;
    else if (at_bar)
        server_x = asked_x(sequence, call) - way * BAR / 2;
    int from = event->back ? server_x : client_x, to = event->back ? client_x : server_x, towards = to > from ? 1 : -1;
    fputs("<g>", stdout);
    put_title(event, look);
    printf("<line class=\"%s\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", look->name, from, y, to - towards * (look->point == POINT_FULL ? 6 : 1), y);
    draw_point(look->name, look->point, to, y, towards);
    draw_label(sequence, event, look, client, server, y - 6);
    fputs("</g>\n", stdout);
}

/* A death, or that nobody was there: a cross at the line of that side, and why. */
static void draw_death(const struct sequence *sequence, const struct sequence_event *event)
{
    static const struct look dead = {"dead", "", POINT_CROSS};
    const struct sequence_connection *connection = &sequence->connections[event->connection];
    int client = sequence_x(sequence, connection->column), server = sequence_x(sequence, sequence->lines[connection->line].column);
    int x = event->back ? server : client, y = event->y - 12;
    printf("<path class=\"dead\" d=\"M%d %dl16 16m0 -16l-16 16\"/>\n", x - 8, y - 8);
    draw_label(sequence, event, &dead, client, server, y + 4);
}

static void draw_time(const struct sequence *sequence, const struct sequence_event *event)
{
    double ms = (double)(event->ns - sequence->events[0].ns) / 1e6;
    printf("<text class=\"time\" x=\"108\" y=\"%d\">", event->y - 5);
    if (ms < 100000)
        printf("%.3f ms</text>\n", ms);
    else
        printf("%.3f s</text>\n", ms / 1e3);
}

static void draw_pause(const struct sequence *sequence, const struct sequence_event *event)
{
    int y = event->y - event->height - (event->repeats ? SEQUENCE_REPEAT_HEIGHT : 0) - SEQUENCE_PAUSE_HEIGHT / 2 + 2;
    char duration[32];
    put_duration(duration, sizeof duration, event->pause);
    printf("<line class=\"pause\" x1=\"24\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", y, sequence->width - 24, y);
    printf("<rect x=\"12\" y=\"%d\" width=\"112\" height=\"16\" fill=\"#fff\"/><text class=\"paused\" x=\"68\" y=\"%d\">silence, %s</text>\n", y - 8, y + 4, duration);
}

static void draw_events(const struct sequence *sequence)
{
    for (size_t i = 0; i < sequence->event_count; i++) {
        const struct sequence_event *event = &sequence->events[i];
        if (event->height == 0)
            continue;
        if (event->pause != 0)
            draw_pause(sequence, event);
        if (event->repeats)
            repeat_names(sequence, i);
        draw_time(sequence, event);
        if (event->what == SEQUENCE_END && event->label != NULL)
            draw_death(sequence, event);
        else if (event->what != SEQUENCE_OPEN && event->what != SEQUENCE_CLOSE)
            draw_arrow(sequence, event);
    }
}

/* ---- around it ---- */

static void draw_title(const struct sequence *sequence)
{
    int64_t first = sequence->events[0].ns, last = sequence->events[sequence->event_count - 1].ns;
    time_t seconds = (time_t)(first / 1000000000);
    char date[40], duration[32];
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &utc);
    put_duration(duration, sizeof duration, last > first ? last - first : 0);
    printf("<text class=\"title\" x=\"24\" y=\"34\">%zu connection%s, %zu events in %s</text>\n", sequence->connection_count, sequence->connection_count == 1 ? "" : "s",
           sequence->event_count, duration);
    printf("<text class=\"small\" x=\"24\" y=\"54\">from %s.%06" PRId64 " UTC on, times counted from there</text>\n", date, first / 1000 % 1000000);
}

static void draw_legend(const struct sequence *sequence)
{
    static const struct {
        const struct look *look;
        const char *text;
    } entries[] = {
        {&looks[SEQUENCE_MESSAGE], "message"}, {&synchronous, "synchronous message"}, {&looks[SEQUENCE_TAKEN], "it was taken"},
        {&looks[SEQUENCE_CALL], "call"}, {&looks[SEQUENCE_REPLY], "reply"}, {&looks[SEQUENCE_FAIL], "failure"},
    };
    static const int at[] = {24, 156, 374, 534, 640, 752};
    int y = sequence->height - 28;
    printf("<line x1=\"24\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#e2e8f0\"/>\n", y - 24, sequence->width - 24, y - 24);
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        const struct look *look = entries[i].look;
        printf("<line class=\"%s\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", look->name, at[i], y, at[i] + 40 - (look->point == POINT_FULL ? 6 : 1), y);
        draw_point(look->name, look->point, at[i] + 40, y, 1);
        printf("<text class=\"small\" x=\"%d\" y=\"%d\">%s</text>\n", at[i] + 50, y + 4, entries[i].text);
    }
}

void sequence_draw(const struct sequence *sequence)
{
    printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
           "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n<style>\n%s</style>\n"
           "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
           sequence->width, sequence->height, sequence->width, sequence->height, style);
    draw_title(sequence);
    draw_lines(sequence);
    draw_bars(sequence);
    draw_events(sequence);
    draw_heads(sequence);
    draw_legend(sequence);
    fputs("</svg>\n", stdout);
}
