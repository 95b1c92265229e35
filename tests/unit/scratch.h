/* SPDX-License-Identifier: MIT */
/* A directory of a test case's own, which is also the runtime directory's parent; removed with all that is in it. */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char scratch[64];

static inline void scratch_begin(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/telex-unit-XXXXXX");
    assert_non_null(mkdtemp(scratch));
    setenv("XDG_RUNTIME_DIR", scratch, 1);
}

static inline int scratch_remove_one(const char *path, const struct stat *facts, int kind, struct FTW *where)
{
    (void)facts;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void scratch_end(void)
{
    nftw(scratch, scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* "SCRATCH/NAME"; good until the eighth call after it. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

#endif
