/* SPDX-License-Identifier: MIT */
/* Unix sockets, for media that attach over one, or find one. */
#ifndef TELEX_MEDIUM_STREAM_UNIX_H
#define TELEX_MEDIUM_STREAM_UNIX_H

#include "medium/stream/bytes.h"

/*
 * As the functions of struct telex_bytes_medium, at the socket `name` ("/PATH" or "@NAME", which is abstract); sentences name the address. Streams of
 * both take descriptors if `takes_descriptors`.
 */
int telex_unix_dial(const struct telex_address *address, const char *name, bool takes_descriptors, int64_t deadline, struct telex_bytes **ret_bytes);
int telex_unix_listen(const struct telex_address *address, const char *name, bool takes_descriptors, struct telex_bytes_port **ret_port);

/* A stream over a connected socket that is nobody else's. Takes `fd` (owned) over, also when it fails. */
int telex_unix_over(int fd, bool takes_descriptors, struct telex_bytes **ret_bytes);

/* Of any connected Unix stream socket: as struct telex_bytes_ops says. `flags`: MSG_DONTWAIT, or 0 for one that was made dozing. `fds` NULL: descriptors that come are closed. */
ssize_t telex_unix_read(int fd, const struct iovec *parts, int part_count, int *fds, unsigned *count, int flags);
ssize_t telex_unix_write(int fd, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count);
void telex_unix_peer(int fd, struct telex_medium_peer *ret_peer);

#endif
