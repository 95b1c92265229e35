/* SPDX-License-Identifier: MIT */
/* Reading and writing pipes that are not blocking (O_NONBLOCK): no call here waits, but to doze, and none raises SIGPIPE. Errors as bytes.h wants them. */
#ifndef TELEX_MEDIUM_STREAM_PIPES_H
#define TELEX_MEDIUM_STREAM_PIPES_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Bytes read, 0 where nobody has it open for writing (any more, or yet), -EAGAIN, or an error with a sentence. */
ssize_t telex_pipe_read(int fd, const struct iovec *parts, int part_count);

/* Sleeps until poll(2) has something to say of `fd`, TELEX_BYTES_DOZE_NS at most: 0, -EAGAIN: nothing; -EINTR; or another error. */
int telex_pipe_doze(int fd);

/* Bytes written, -EAGAIN, -EPIPE: nobody has it open for reading; or another error, with a sentence. SIGPIPE is not raised, and nobody else's is taken away. */
ssize_t telex_pipe_write(int fd, const struct iovec *parts, int part_count);

/* Bytes in the pipe that nobody has read; either end can ask. -errno with a sentence. */
int64_t telex_pipe_unread(int fd);

#endif
