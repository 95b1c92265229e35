/* SPDX-License-Identifier: MIT */
/* What both sides of pipe:// share: pipe.c has the stream and dials, pipe_port.c listens. */
#ifndef TELEX_MEDIUM_STREAM_PIPE_H
#define TELEX_MEDIUM_STREAM_PIPE_H

#include "medium/stream/bytes.h"
#include "medium/stream/fifos.h"

struct telex_pipe_ends { /* what a stream begins with; -1: it has none */
    int in, out;         /* read only and write only, both owned */
    int64_t pid, uid, gid; /* of the peer */
};

/* The listener's side of a stream. Takes the descriptors over, also when it fails. */
int telex_pipe_new(const struct telex_pipe_ends *ends, struct telex_bytes **ret_bytes);

int telex_pipe_listen(const struct telex_address *address, struct telex_bytes_port **ret_port);

/* 128 random bits in hexadecimal. 0 or -errno with a sentence. */
int telex_pipe_token(char ret_token[TELEX_HELLO_TOKEN + 1]);

#endif
