/* SPDX-License-Identifier: MIT */
/* Reading one JSON object whose values are plain. Strings are decoded where they lie: no escape is shorter than what it means. */
#include "json.h"

#include <string.h>

#include "text.h"

struct reader {
    char *at, *end;
    const char *wrong; /* the first thing that was */
};

static bool fail(struct reader *reader, const char *wrong)
{
    if (reader->wrong == NULL)
        reader->wrong = wrong;
    return false;
}

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) != NULL && *reader->at != '\0')
        reader->at++;
}

static bool expect(struct reader *reader, char wanted, const char *wrong)
{
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != wanted)
        return fail(reader, wrong);
    reader->at++;
    return true;
}

static bool read_hex(struct reader *reader, uint32_t *ret_value)
{
    uint32_t value = 0;
    if (reader->end - reader->at < 4)
        return fail(reader, "a string ends in the middle of \\u");
    for (int i = 0; i < 4; i++) {
        char digit = *reader->at++;
        uint32_t four = digit >= '0' && digit <= '9' ? (uint32_t)(digit - '0')
                        : (digit | 32) >= 'a' && (digit | 32) <= 'f' ? (uint32_t)((digit | 32) - 'a' + 10) : 16;
        if (four > 15)
            return fail(reader, "\\u wants four hexadecimal digits");
        value = value << 4 | four;
    }
    *ret_value = value;
    return true;
}

/* Behind \u. Half a pair is no character: U+FFFD. */
static bool read_character(struct reader *reader, uint32_t *ret_character)
{
    uint32_t high, low;
    if (!read_hex(reader, &high))
        return false;
    if (high >= 0xD800 && high < 0xDC00 && reader->end - reader->at >= 6 && reader->at[0] == '\\' && reader->at[1] == 'u') {
        char *back = reader->at;
        reader->at += 2;
        if (!read_hex(reader, &low))
            return false;
        if (low >= 0xDC00 && low < 0xE000) {
            *ret_character = 0x10000 + ((high - 0xD800) << 10 | (low - 0xDC00));
            return true;
        }
        reader->at = back;
    }
    *ret_character = high >= 0xD800 && high < 0xE000 ? 0xFFFD : high;
    return true;
}

static bool read_escape(struct reader *reader, char **to)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end)
        return fail(reader, "a string ends with a backslash");
    char escape = *reader->at++;
    if (escape == 'u') {
        uint32_t character;
        if (!read_character(reader, &character))
            return false;
        *to += tool_utf8_write(character, *to);
        return true;
    }
    const char *name = escape != '\0' ? strchr(names, escape) : NULL;
    if (name == NULL)
        return fail(reader, "an unknown escape in a string");
    *(*to)++ = meanings[name - names];
    return true;
}

static bool read_string(struct reader *reader, const char **ret_text, size_t *ret_length)
{
    if (!expect(reader, '"', "a string is missing"))
        return false;
    char *to = reader->at;
    *ret_text = to;
    while (reader->at < reader->end && *reader->at != '"') {
        if ((unsigned char)*reader->at < ' ')
            return fail(reader, "a control character in a string");
        if (*reader->at != '\\')
            *to++ = *reader->at++;
        else if (reader->at++, !read_escape(reader, &to))
            return false;
    }
    *ret_length = (size_t)(to - *ret_text);
    return expect(reader, '"', "a string does not end");
}

static bool read_value(struct reader *reader, struct tool_json_field *field)
{
    skip_space(reader);
    if (reader->at < reader->end && *reader->at == '"') {
        field->kind = TOOL_JSON_STRING;
        return read_string(reader, &field->text, &field->length);
    }
    field->text = reader->at;
    while (reader->at < reader->end && *reader->at != '\0' && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *reader->at) != NULL)
        reader->at++;
    field->length = (size_t)(reader->at - field->text);
    bool number = field->length > 0 && strchr("-0123456789", *field->text) != NULL;
    field->kind = number ? TOOL_JSON_NUMBER : TOOL_JSON_WORD;
    if (!number && !tool_json_is(field, "true") && !tool_json_is(field, "false") && !tool_json_is(field, "null"))
        return fail(reader, "a value that is no string, number, true, false or null");
    return true;
}

int tool_json_read(char *line, size_t length, struct tool_json_field *fields, unsigned most, const char **ret_wrong)
{
    struct reader reader = {.at = line, .end = line + length};
    unsigned count = 0;
    bool good = expect(&reader, '{', "no JSON object: it does not begin with {");
    skip_space(&reader);
    bool empty = good && reader.at < reader.end && *reader.at == '}';
    reader.at += empty;
    for (bool more = good && !empty; more && good;) {
        struct tool_json_field *field = &fields[count];
        good = count < most || fail(&reader, "too many fields");
        good = good && read_string(&reader, &field->name, &field->name_length) && expect(&reader, ':', "no : behind a name") && read_value(&reader, field);
        count += good;
        skip_space(&reader);
        more = reader.at < reader.end && *reader.at == ',';
        if (more)
            reader.at++;
        else
            good = good && expect(&reader, '}', "the object does not end, or a comma is missing");
    }
    skip_space(&reader);
    if (good && reader.at < reader.end)
        good = fail(&reader, "something stands behind the object");
    *ret_wrong = reader.wrong;
    return good ? (int)count : -1;
}

const struct tool_json_field *tool_json_find(const struct tool_json_field *fields, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (fields[i].name_length == strlen(name) && memcmp(fields[i].name, name, fields[i].name_length) == 0)
            return &fields[i];
    return NULL;
}

bool tool_json_number(const struct tool_json_field *field, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (field == NULL || field->kind != TOOL_JSON_NUMBER)
        return false;
    for (size_t i = 0; i < field->length; i++)
        if (field->text[i] < '0' || field->text[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(field->text[i] - '0'), &number))
            return false;
    *ret_number = number;
    return true;
}

bool tool_json_is(const struct tool_json_field *field, const char *text)
{
    return field != NULL && field->length == strlen(text) && memcmp(field->text, text, field->length) == 0;
}
