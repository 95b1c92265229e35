/* SPDX-License-Identifier: MIT */
/* The media, a line each. No other file names them. */
#include <errno.h>
#include <string.h>

#include "medium/medium.h"
#include "medium/shm/shm.h"
#include "medium/stream/stream.h"

static const struct telex_medium media[] = {
    {"shm", telex_shm_dial, telex_shm_listen, NULL},
    {"inproc", telex_shm_dial, telex_shm_listen, "local"},
    {"unix", telex_stream_dial, telex_stream_listen, &telex_bytes_unix},
    {"pipe", telex_stream_dial, telex_stream_listen, &telex_bytes_pipe},
    {"tcp", telex_stream_dial, telex_stream_listen, &telex_bytes_tcp},
    {"fd", telex_stream_dial, telex_stream_listen, &telex_bytes_fd},
    {"stdio", telex_stream_dial, telex_stream_listen, &telex_bytes_stdio},
};

/* fault+SCHEME://: any byte-stream medium, with its bytes delayed, split, cut (tests). */
static const struct telex_medium faulty = {"fault", telex_stream_dial, telex_stream_listen, &telex_bytes_fault};

const struct telex_medium *telex_medium_of(const struct telex_address *address)
{
    for (size_t i = 0; i < sizeof media / sizeof *media; i++)
        if (strcmp(address->scheme, media[i].scheme) == 0)
            return address->faulty && media[i].dial == telex_stream_dial ? &faulty : &media[i];

    char known[128] = "";
    for (size_t i = 0; i < sizeof media / sizeof *media; i++) {
        strncat(known, i > 0 ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, media[i].scheme, sizeof known - strlen(known) - 1);
        strncat(known, media[i].driver == &telex_bytes_fd || media[i].driver == &telex_bytes_stdio ? ":" : "://", sizeof known - strlen(known) - 1);
    }
    telex_say(-EINVAL, "no medium is called \"%s\"; there are: %s", address->scheme, known);
    return NULL;
}
