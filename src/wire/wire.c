/* SPDX-License-Identifier: MIT */
/* The wires, a line each. */
#include "wire/wire.h"

#include <string.h>

static const struct telex_wire *const wires[] = {&telex_wire_telex, &telex_wire_lines, &telex_wire_raw};

const struct telex_wire *telex_wire_named(const char *name)
{
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
        if (strcmp(wires[i]->name, name) == 0)
            return wires[i];
    return NULL;
}
