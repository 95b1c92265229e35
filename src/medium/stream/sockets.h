/* SPDX-License-Identifier: MIT */
/* What stream sockets of every family have in common: accepting, reading, writing, ending, with errors as bytes.h wants them. */
#ifndef TELEX_MEDIUM_STREAM_SOCKETS_H
#define TELEX_MEDIUM_STREAM_SOCKETS_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* A new stream socket that does not block: owned descriptor or -errno with a sentence. */
int telex_socket_new(int family);

/* The next peer in the listening socket's queue: owned descriptor, -EAGAIN, or an error of bytes.h. */
int telex_socket_accept(int listening);

/*
 * Makes reads without MSG_DONTWAIT sleep for TELEX_BYTES_DOZE_NS at most. The time-out also makes a signal end them, whatever its
 * handler's SA_RESTART (signal(7)). All other calls here say MSG_DONTWAIT.
 */
int telex_socket_make_dozing(int fd);

/* flags: MSG_DONTWAIT, or 0 to doze. */
ssize_t telex_socket_read(int fd, const struct iovec *parts, int part_count, int flags);

/* `control`, `control_length`: what sendmsg(2) sends besides, or NULL and 0. */
ssize_t telex_socket_write(int fd, const struct iovec *parts, int part_count, void *control, size_t control_length);

/* The result for errno after a read or write failed: an errno of bytes.h; with a sentence, but for -EAGAIN. */
int telex_socket_failed(void);

int telex_socket_end(int fd);
int64_t telex_socket_unsent(int fd);

#endif
