/* SPDX-License-Identifier: MIT */
/* Named pipes in a test case's own directory. */
#ifndef TELEX_TESTS_FIFOS_H
#define TELEX_TESTS_FIFOS_H

#include <dirent.h>
#include <sys/stat.h>

#include "unit/scratch.h"
#include "unit/streams.h"

/* How many FIFOs lie in the case's directory. */
static inline int fifos_there(void)
{
    DIR *directory = opendir(testing_directory());
    int count = 0;
    for (struct dirent *each; (each = readdir(directory)) != NULL;)
        count += each->d_type == DT_FIFO;
    closedir(directory);
    return count;
}

/* "pipe://DIRECTORY/NAME SUFFIX"; good until the eighth call after it. */
static inline const char *pipe_address(const char *name, const char *suffix)
{
    static char texts[8][256];
    static unsigned next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "pipe://%s%s", scratch_path(name), suffix);
    return text;
}

static inline struct streams pipe_streams_unaccepted(void)
{
    struct streams streams = {0};
    if (streams_listen(pipe_address("a", ""), &streams.port) < 0 || streams_dial(pipe_address("a", ""), streams_soon(), &streams.dialed) < 0)
        fail_msg("%s", telex_said());
    return streams;
}

static inline struct streams pipe_streams(void)
{
    return streams_new(pipe_address("a", ""), "");
}

#endif
