/* SPDX-License-Identifier: MIT */
/* Unix sockets by name, for media that attach over one. */
#ifndef TELEX_MEDIUM_STREAM_UNIX_H
#define TELEX_MEDIUM_STREAM_UNIX_H

#include "medium/stream/bytes.h"

/*
 * As the functions of struct telex_bytes_medium, at the socket `name` ("/PATH" or "@NAME", which is abstract); sentences name the address. Streams of
 * both take descriptors if `takes_descriptors`.
 */
int telex_unix_dial(const struct telex_address *address, const char *name, bool takes_descriptors, int64_t deadline, struct telex_bytes **ret_bytes);
int telex_unix_listen(const struct telex_address *address, const char *name, bool takes_descriptors, struct telex_bytes_port **ret_port);

#endif
