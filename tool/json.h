/* SPDX-License-Identifier: MIT */
/* Reading one JSON object whose values are plain: what telex tap --json writes on a line. */
#ifndef TELEX_TOOL_JSON_H
#define TELEX_TOOL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tool_json_kind { TOOL_JSON_STRING, TOOL_JSON_NUMBER, TOOL_JSON_WORD /* true, false, null */ };

struct tool_json_field {
    const char *name, *text; /* as they are meant, escapes undone; not zero-terminated */
    size_t name_length, length;
    enum tool_json_kind kind;
};

/*
 * Reads the object in `line`, which is overwritten: the fields point into it. How many fields, at most `most`; or -1 and in
 * *ret_wrong what is wrong, static memory.
 */
int tool_json_read(char *line, size_t length, struct tool_json_field *fields, unsigned most, const char **ret_wrong);

/* The field of that name, NULL if there is none. */
const struct tool_json_field *tool_json_find(const struct tool_json_field *fields, int count, const char *name);

/* Whether the field is a number that is whole, not negative, and fits. */
bool tool_json_number(const struct tool_json_field *field, uint64_t *ret_number);

bool tool_json_is(const struct tool_json_field *field, const char *text);

#endif
