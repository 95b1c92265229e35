/* SPDX-License-Identifier: MIT */
/* Streams over descriptors that are open already, for who made them himself. */
#ifndef TELEX_MEDIUM_STREAM_FD_H
#define TELEX_MEDIUM_STREAM_FD_H

#include "medium/stream/bytes.h"

/* A stream over two pipes' ends that are nobody else's and do not wait (O_NONBLOCK). Takes both (owned) over, also when it fails. */
int telex_fd_over(int in, int out, struct telex_bytes **ret_bytes);

#endif
