/* SPDX-License-Identifier: MIT */
/* Paths in a test case's own directory. */
#ifndef TELEX_TESTS_SCRATCH_H
#define TELEX_TESTS_SCRATCH_H

#include <stdio.h>

#include "unit/testing.h"

/* "DIRECTORY/NAME"; good until the eighth call after it. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", testing_directory(), name);
    return path;
}

#endif
