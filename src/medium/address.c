/* SPDX-License-Identifier: MIT */
/* Addresses and options. A table says of each option what it is called, where it is kept, and what it may be. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/reason.h"
#include "base/units.h"
#include "base/utf8.h"
#include "medium/address.h"
#include "os/process.h"
#include "wire/wire.h"

enum {
    NAME_MAX_LENGTH = 32, /* of an option's name */
    VALUE_MAX = 512,      /* of an option's value */
};

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

struct choice {
    const char *name;
    unsigned value;
};

/* clang-format off */
static const struct choice waits[] = {
    {"adaptive", TELEX_WAIT_ADAPTIVE},
    {"spin", TELEX_WAIT_SPIN},
    {"block", TELEX_WAIT_BLOCK},
    {NULL, 0},
};
static const struct choice fulls[] = {
    {"wait", TELEX_FULL_WAIT},
    {"fail", TELEX_FULL_FAIL},
    {"drop-newest", TELEX_FULL_DROP_NEWEST},
    {"drop-oldest", TELEX_FULL_DROP_OLDEST},
    {NULL, 0},
};
static const struct choice answers[] = {{"no", TELEX_NO}, {"yes", TELEX_YES}, {NULL, 0}};
static const struct choice flushes[] = {{"call", TELEX_FLUSH_CALL}, {"helper", TELEX_FLUSH_HELPER}, {NULL, 0}};

enum kind { SIZE, COUNT, OCTAL, DURATION, CHOICE, TEXT, WIRE };

struct option {
    const char *name;     /* in the query */
    enum kind kind;
    size_t at, width;     /* in struct telex_settings, and with the same width in telex_options; 0: nothing is kept */
    size_t from;          /* in telex_options */
    uint64_t least, most; /* of numbers; texts: `most` bytes */
    uint64_t otherwise;   /* the default */
    const struct choice *choices;
};

#define PLACES(member, source) \
    offsetof(struct telex_settings, member), sizeof(((struct telex_settings *)NULL)->member), offsetof(telex_options, source)

static const struct option table[] = {
    {"wire",        WIRE,     PLACES(wire, wire),               0, 0, 0, NULL},
    {"max",         SIZE,     PLACES(max, max),                 1, UINT32_MAX, 16 * MIB, NULL},
    {"size",        SIZE,     PLACES(fixed, fixed),             0, UINT32_MAX, 0, NULL},
    {"buffer",      SIZE,     PLACES(buffer, buffer),           1, TIB, MIB, NULL},
    {"window",      SIZE,     PLACES(window, window),           TELEX_WINDOW_LEAST, TIB, MIB, NULL},
    {"queue",       COUNT,    PLACES(queue, queue),             0, UINT32_MAX, 0, NULL},
    {"ring",        SIZE,     PLACES(ring, ring),               4096, UINT64_C(1) << 32, 64 * KIB, NULL},
    {"arena",       SIZE,     PLACES(arena, arena),             1, UINT64_C(1) << 34, 256 * KIB, NULL},
    {"prefault",    CHOICE,   PLACES(prefault, prefault),       TELEX_NO, TELEX_YES, TELEX_NO, answers},
    {"trust",       CHOICE,   PLACES(trust, trust),             TELEX_NO, TELEX_YES, TELEX_YES, answers},
    {"greeting",    DURATION, PLACES(greeting, greeting),       1, INT64_MAX / 2, UINT64_C(10000000000), NULL},
    {"keepalive",   DURATION, PLACES(keepalive, keepalive),     UINT64_C(4000000000), UINT64_C(64800000000000), UINT64_C(40000000000), NULL},
    {"wait",        CHOICE,   PLACES(wait, wait),               TELEX_WAIT_ADAPTIVE, TELEX_WAIT_BLOCK, TELEX_WAIT_ADAPTIVE, waits},
    {"full",        CHOICE,   PLACES(full, full),               TELEX_FULL_WAIT, TELEX_FULL_DROP_OLDEST, TELEX_FULL_WAIT, fulls},
    {"mode",        OCTAL,    PLACES(mode, mode),               0, 0777, 0600, NULL},
    {"descriptors", COUNT,    PLACES(descriptors, descriptors), 0, 64, 0, NULL},
    {"pending",     COUNT,    PLACES(pending, pending),         1, MIB, 1024, NULL},
    {"program",     TEXT,     PLACES(program, program),         0, 0, 0, NULL},
    {"fault",       TEXT,     PLACES(fault, fault),             0, 0, 0, NULL},
    {"flush",       CHOICE,   PLACES(flush, flush),             TELEX_FLUSH_CALL, TELEX_FLUSH_HELPER, TELEX_FLUSH_CALL, flushes},
};
/* clang-format on */

enum { OPTIONS = sizeof table / sizeof *table };

_Static_assert(OPTIONS <= 32, "`seen` has a bit for each option");
_Static_assert(sizeof(enum telex_wait) == sizeof(uint32_t) && sizeof(enum telex_full) == sizeof(uint32_t) && sizeof(enum telex_flush) == sizeof(uint32_t),
               "as in telex_options");

/* ---- percent-encoding ---- */

static int hex(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Decodes `length` bytes at `text`; `what` names them in sentences. */
static int decode(const char *what, const char *text, size_t length, char *ret_text, size_t size)
{
    size_t written = 0;
    for (size_t at = 0; at < length; at++) {
        int byte = (unsigned char)text[at];
        if (byte == '%') {
            int high = length - at > 2 ? hex(text[at + 1]) : -1, low = length - at > 2 ? hex(text[at + 2]) : -1;
            if (high < 0 || low < 0)
                return telex_say(-EINVAL,
                                 "%s \"%.*s\": a %% is followed by two hexadecimal digits (%%25 is the sign itself)",
                                 what, length > 100 ? 100 : (int)length, text);
            byte = high * 16 + low;
            at += 2;
        }
        if (byte == '\0')
            return telex_say(-EINVAL, "%s: it cannot contain a zero byte (%%00)", what);
        if (written + 1 >= size)
            return telex_say(-EINVAL, "%s \"%.60s...\" is too long: at most %zu bytes", what, text, size - 1);
        ret_text[written++] = (char)byte;
    }
    ret_text[written] = '\0';
    return 0;
}

/* Schemes that name what this process has, and no place where it could be found: no slashes follow their colon. */
static const char *const short_schemes[] = {"fd", "stdio"};

static bool is_short(const char *scheme, size_t length)
{
    for (size_t i = 0; i < sizeof short_schemes / sizeof *short_schemes; i++)
        if (strlen(short_schemes[i]) == length && memcmp(short_schemes[i], scheme, length) == 0)
            return true;
    return false;
}

char *telex_address_write(const char *scheme, const char *where, char *ret_text, size_t size)
{
    int length = snprintf(ret_text, size, is_short(scheme, strlen(scheme)) ? "%s:" : "%s://", scheme);
    size_t at = length < 0 ? 0 : (size_t)length;
    for (; *where != '\0' && at + 4 <= size; where++) {
        unsigned char byte = (unsigned char)*where;
        if (byte <= ' ' || byte == 0x7F || byte == '%' || byte == '?')
            at += (size_t)snprintf(ret_text + at, size - at, "%%%02X", byte);
        else
            ret_text[at++] = (char)byte;
        ret_text[at] = '\0';
    }
    return ret_text;
}

/* ---- values ---- */

static void store(const struct option *option, uint64_t value, struct telex_settings *settings)
{
    char *to = (char *)settings + option->at;
    uint32_t narrow = (uint32_t)value;
    if (option->width == sizeof narrow)
        memcpy(to, &narrow, sizeof narrow);
    else if (option->width == sizeof value)
        memcpy(to, &value, sizeof value);
}

static const char *show(enum kind kind, uint64_t value, char *text, size_t size)
{
    if (kind == OCTAL)
        snprintf(text, size, "%04" PRIo64, value);
    else
        snprintf(text, size, "%" PRIu64 "%s", value, kind == DURATION ? "ns" : "");
    return text;
}

static int store_number(const struct option *option, uint64_t value, struct telex_settings *settings)
{
    char given[32], least[32], most[32];
    if (value < option->least || value > option->most)
        return telex_say(-EINVAL, "option %s=%s: possible are %s to %s", option->name,
                         show(option->kind, value, given, sizeof given),
                         show(option->kind, option->least, least, sizeof least),
                         show(option->kind, option->most, most, sizeof most));
    store(option, value, settings);
    return 0;
}

static int store_wire(const char *value, struct telex_settings *settings)
{
    const struct telex_wire *wire = telex_wire_named(value);
    if (wire == NULL)
        return telex_say(-EINVAL, "option wire=%.64s: no wire is called so; there are telex, lines and raw", value);
    settings->wire = wire;
    return 0;
}

static int store_text(const struct option *option, const char *value, struct telex_settings *settings)
{
    size_t length = strlen(value);
    if (length >= option->width)
        return telex_say(-EINVAL, "option %s=%.64s...: at most %zu bytes", option->name, value, option->width - 1);
    if (!telex_utf8_valid(value, length))
        return telex_say(-EINVAL, "option %s: it must be UTF-8", option->name);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)value[i] < ' ' || value[i] == 0x7F)
            return telex_say(-EINVAL, "option %s: it contains a control character", option->name);
    memcpy((char *)settings + option->at, value, length + 1);
    return 0;
}

static int read_choice(const struct option *option, const char *text, uint64_t *ret_value)
{
    char known[128] = "";
    for (const struct choice *choice = option->choices; choice->name != NULL; choice++) {
        if (strcmp(choice->name, text) == 0) {
            *ret_value = choice->value;
            return 0;
        }
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", known[0] != '\0' ? ", " : "",
                 choice->name);
    }
    return telex_say(-EINVAL, "option %s=%.64s: this version knows %s", option->name, text, known);
}

static int read_digits(const char *text, int base, uint64_t *ret_value)
{
    const char *digits = base == 8 ? "01234567" : "0123456789";
    size_t length = strlen(text);
    if (length == 0 || length > 18 || strspn(text, digits) != length) /* 18: no overflow in either base */
        return -EINVAL;
    *ret_value = strtoull(text, NULL, base);
    return 0;
}

static int read_number(const struct option *option, const char *text, uint64_t *ret_value)
{
    static const char *const wanted[] = {[SIZE] = "a size, such as 4096, 64KiB or 1MiB",
                                         [COUNT] = "a whole number",
                                         [OCTAL] = "permission bits in octal, such as 0660",
                                         [DURATION] = "a time with its unit, such as 500ms or 10s"};
    int error;
    if (option->kind == SIZE)
        error = telex_parse_size(text, ret_value);
    else if (option->kind == DURATION)
        error = telex_parse_duration(text, (int64_t *)ret_value);
    else
        error = read_digits(text, option->kind == OCTAL ? 8 : 10, ret_value);
    if (error < 0)
        return telex_say(-EINVAL, "option %s=%.64s: it wants %s", option->name, text, wanted[option->kind]);
    return 0;
}

static int take_text(const struct option *option, const char *text, struct telex_settings *settings)
{
    if (option->kind == WIRE)
        return store_wire(text, settings);
    if (option->kind == TEXT)
        return store_text(option, text, settings);
    uint64_t value;
    int error = option->kind == CHOICE ? read_choice(option, text, &value) : read_number(option, text, &value);
    return error < 0 ? error : store_number(option, value, settings);
}

/* ---- where the options come from ---- */

static void take_defaults(struct telex_settings *settings)
{
    for (const struct option *option = table; option < table + OPTIONS; option++)
        if (option->kind != TEXT && option->kind != WIRE)
            store(option, option->otherwise, settings);
    settings->wire = &telex_wire_telex;
    const char *program = telex_program();
    snprintf(settings->program, sizeof settings->program, "%s", program);
    /* The name goes into greetings and lists: whatever a file may be called, what is said there is a line of UTF-8. */
    bool fine = telex_utf8_valid(settings->program, strlen(settings->program));
    for (char *at = settings->program; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7F || ((unsigned char)*at >= 0x80 && !fine))
            *at = '?';
}

/* Copies what the program's version of the struct has; what this version does not know must be zero. */
static int copy_options(const telex_options *options, telex_options *ret_copy)
{
    size_t size = options->size;
    if (size < sizeof options->size || size > 65536)
        return telex_say(-EINVAL, "telex_options.size is %zu; set it to sizeof(telex_options)", size);
    for (size_t at = sizeof *ret_copy; at < size; at++)
        if (((const unsigned char *)options)[at] != 0)
            return telex_say(-EINVAL, "telex_options has members that this version (%d.%d) does not know",
                             TELEX_VERSION_MAJOR, TELEX_VERSION_MINOR);
    memset(ret_copy, 0, sizeof *ret_copy);
    memcpy(ret_copy, options, size < sizeof *ret_copy ? size : sizeof *ret_copy);
    bool room = true;
    for (size_t i = 0; i < sizeof ret_copy->room / sizeof *ret_copy->room; i++)
        room = room && ret_copy->room[i] == 0;
    return room ? 0 : telex_say(-EINVAL, "telex_options: `room` must be zero");
}

static int take_struct(const telex_options *options, struct telex_settings *settings)
{
    telex_options copy;
    int error = copy_options(options, &copy);
    for (const struct option *option = table; error == 0 && option < table + OPTIONS; option++) {
        const char *from = (const char *)&copy + option->from;
        if (option->width == 0)
            continue;
        if (option->kind == TEXT || option->kind == WIRE) {
            const char *text;
            memcpy(&text, from, sizeof text);
            error = text == NULL ? 0 : take_text(option, text, settings);
            continue;
        }
        uint64_t value = 0;
        uint32_t narrow;
        if (option->width == sizeof narrow) {
            memcpy(&narrow, from, sizeof narrow);
            value = narrow;
        } else {
            memcpy(&value, from, sizeof value);
        }
        error = value == 0 ? 0 : store_number(option, value, settings);
    }
    return error;
}

static const struct option *find(const char *name, size_t length)
{
    for (const struct option *option = table; option < table + OPTIONS; option++)
        if (strlen(option->name) == length && memcmp(option->name, name, length) == 0)
            return option;
    char known[256] = "";
    for (const struct option *option = table; option < table + OPTIONS; option++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", option == table ? "" : ", ",
                 option->name);
    telex_say(-EINVAL, "no option is called \"%.*s\"; there are %s",
              length > NAME_MAX_LENGTH ? NAME_MAX_LENGTH : (int)length, name, known);
    return NULL;
}

static int take_query(const char *query, struct telex_settings *settings)
{
    uint32_t seen = 0;
    for (const char *part = query; part != NULL;) {
        size_t length = strcspn(part, "&"), name = strcspn(part, "=&");
        if (part[name] != '=')
            return telex_say(-EINVAL, "option \"%.*s\": it wants NAME=VALUE", length > 100 ? 100 : (int)length, part);
        const struct option *option = find(part, name);
        if (option == NULL)
            return -EINVAL;
        uint32_t bit = UINT32_C(1) << (option - table);
        if ((seen & bit) != 0)
            return telex_say(-EINVAL, "option %s is given twice", option->name);
        seen |= bit;
        char what[NAME_MAX_LENGTH + 16], value[VALUE_MAX];
        snprintf(what, sizeof what, "option %s", option->name);
        int error = decode(what, part + name + 1, length - name - 1, value, sizeof value);
        if (error == 0)
            error = take_text(option, value, settings);
        if (error < 0)
            return error;
        part = part[length] == '&' ? part + length + 1 : NULL;
    }
    return 0;
}

/* What no single option can tell. */
static int finish(struct telex_address *address)
{
    struct telex_settings *settings = &address->settings;
    if (settings->fault[0] != '\0' && !address->faulty)
        return telex_say(-EINVAL, "option fault= is for tests: write the scheme as fault+%s://", address->scheme);
    if (settings->fixed > settings->max)
        return telex_say(-EINVAL, "option size=%" PRIu64 " is longer than max=%" PRIu64 ": raise max", settings->fixed,
                         settings->max);
    if (settings->fixed == 0)
        settings->fixed = UINT64_MAX;
    return 0;
}

static int take_scheme(const char *text, struct telex_address *address, const char **ret_rest)
{
    if (text[0] >= 'A' && text[0] <= 'Z')
        return telex_say(-EINVAL, "\"%.100s\": schemes are written in small letters", text);
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
    address->faulty = strncmp(text, "fault+", 6) == 0;
    const char *name = address->faulty ? text + 6 : text;
    size_t name_length = address->faulty ? length - 6 : length;
    bool slashes = strncmp(text + length, "://", 3) == 0;
    if (is_short(name, name_length) && text[length] == ':') {
        if (slashes)
            return telex_say(-EINVAL, "\"%.100s\": no slashes follow %.*s:; it is written fd:IN,OUT or stdio:", text, (int)name_length, name);
        *ret_rest = text + length + 1;
    } else if (length == 0 || !slashes) {
        return telex_say(
            -EINVAL,
            "\"%.100s\" is no address: it wants SCHEME://WHERE, such as unix:///tmp/name or tcp://127.0.0.1:7000, or fd:IN,OUT or stdio:",
            text);
    } else {
        *ret_rest = text + length + 3;
    }
    text = name;
    length = name_length;
    if (length == 0 || length >= sizeof address->scheme)
        return telex_say(-EINVAL, "no medium is called \"%.*s\"", length > 100 ? 100 : (int)length, text);
    memcpy(address->scheme, text, length);
    return 0;
}

int telex_address_parse(const char *text, const telex_options *options, struct telex_address *ret_address)
{
    struct telex_address address = {0};
    const char *rest = text;
    if (text == NULL)
        return telex_say(-EINVAL, "the address is NULL");
    int error = take_scheme(text, &address, &rest);
    if (error < 0)
        return error;
    size_t length = strcspn(rest, "?");
    error = decode("address", rest, length, address.where, sizeof address.where);
    if (error == 0) {
        take_defaults(&address.settings);
        error = options == NULL ? 0 : take_struct(options, &address.settings);
    }
    if (error == 0 && rest[length] == '?')
        error = take_query(rest + length + 1, &address.settings);
    if (error == 0)
        error = finish(&address);
    if (error == 0)
        *ret_address = address;
    return error;
}

static int read_descriptor(const char *text, size_t length, int *ret_fd)
{
    char digits[16];
    uint64_t number;
    if (length == 1 && text[0] == '-') {
        *ret_fd = -1;
        return 0;
    }
    if (length >= sizeof digits)
        return -EINVAL;
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (read_digits(digits, 10, &number) < 0 || number > INT32_MAX)
        return -EINVAL;
    *ret_fd = (int)number;
    return 0;
}

int telex_address_descriptors(const char *where, int *ret_in, int *ret_out)
{
    size_t length = strcspn(where, ",");
    int in, out;
    int r = read_descriptor(where, length, &in);
    out = in;
    if (r == 0 && where[length] == ',')
        r = read_descriptor(where + length + 1, strlen(where + length + 1), &out);
    if (r < 0)
        return telex_say(-EINVAL, "\"fd:%.100s\": it wants the numbers of two open descriptors, to read from and to write to (fd:3,4), of one that does both "
                         "(fd:3), or - for none (fd:3,-)", where);
    if (in < 0 && out < 0)
        return telex_say(-EINVAL, "\"fd:%.100s\": it names no descriptor at all", where);
    *ret_in = in;
    *ret_out = out;
    return 0;
}

int telex_address_host_port(const char *where, char *ret_host, size_t host_size, uint16_t *ret_port)
{
    const char *host = where, *colon = strrchr(where, ':');
    if (where[0] == '[') {
        const char *bracket = strchr(where, ']');
        host++;
        colon = bracket != NULL && bracket[1] == ':' ? bracket + 1 : NULL;
    }
    if (colon == NULL)
        return telex_say(-EINVAL, "\"%.100s\": it wants HOST:PORT, or [ADDRESS]:PORT for IPv6", where);
    size_t length = (size_t)(colon - host) - (where[0] == '[');
    if (where[0] != '[' && memchr(host, ':', length) != NULL)
        return telex_say(-EINVAL, "\"%.100s\": an IPv6 address stands in brackets: [::1]:7000", where);
    uint64_t port;
    if (read_digits(colon + 1, 10, &port) < 0 || port > UINT16_MAX)
        return telex_say(-EINVAL, "port \"%.32s\" of \"%.100s\": a number from 0 to 65535 is wanted", colon + 1, where);
    if (length >= host_size)
        return telex_say(-EINVAL, "host \"%.60s...\" is too long: at most %zu bytes", host, host_size - 1);
    memcpy(ret_host, host, length);
    ret_host[length] = '\0';
    if (where[0] == '[' && strchr(ret_host, ':') == NULL)
        return telex_say(-EINVAL, "\"%.100s\": only an IPv6 address stands in brackets", where);
    if (where[0] == '[' && ret_host[strspn(ret_host, "0123456789abcdefABCDEF:.")] != '\0' && strchr(ret_host, '%') == NULL)
        return telex_say(-EINVAL, "\"%.100s\": what stands in the brackets is no IPv6 address", where);
    *ret_port = (uint16_t)port;
    return 0;
}
