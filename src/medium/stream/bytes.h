/* SPDX-License-Identifier: MIT */
/*
 * What a byte-stream medium supplies: open, accept, read, write, a descriptor, and who the peer is. Everything above
 * bytes (framing, queues, rendezvous, limits) is the stream driver's, written once. All calls here never wait, but for `dial`.
 */
#ifndef TELEX_MEDIUM_STREAM_BYTES_H
#define TELEX_MEDIUM_STREAM_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "medium/address.h"
#include "medium/medium.h"

enum { TELEX_BYTES_DOZE_NS = 4000000 }; /* the kernel rounds up to its ticks, of 4 ms in most */
enum { TELEX_BYTES_DESCRIPTORS = 64 }; /* most descriptors that one read hands over, and one message carries */

struct telex_bytes; /* one open byte stream */

struct telex_bytes_ops {
    /*
     * Reads into `parts`: bytes read, 0 at the end of the stream, -EAGAIN, -ECONNRESET, other -errno. Descriptors that came along are appended
     * to fds[*count..] (at most TELEX_BYTES_DESCRIPTORS per read; owned, close-on-exec); NULL fds: any are closed. Descriptors the kernel had to drop: -EMFILE with a sentence.
     */
    ssize_t (*read)(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds, unsigned *count);
    /*
     * The same, but sleeps until bytes come, TELEX_BYTES_DOZE_NS at most: -EAGAIN then, -EINTR when a signal came. NULL: this medium cannot.
     * A thread that sleeps in the read itself runs little code after the wake-up; a core that was halted runs it with cold caches,
     * so that is worth a third of a blocking round trip (docs/performance.md).
     */
    ssize_t (*doze)(struct telex_bytes *bytes, const struct iovec *parts, int part_count, int *fds, unsigned *count);
    /* Writes from `parts`, with `fd_count` descriptors attached to the first byte: bytes written (> 0), -EAGAIN, -EPIPE, -ECONNRESET, other -errno. Raises no SIGPIPE. */
    ssize_t (*write)(struct telex_bytes *bytes, const struct iovec *parts, int part_count, const int *fds, unsigned fd_count);
    /* Nothing more will be written: the peer's reads end once it has read what was written. */
    int (*end)(struct telex_bytes *bytes);
    /*
     * Bytes written that have not left this host's buffers, or (unix) were not read by the peer yet. >= 0; -ECONNRESET: some were not, and nobody is left to read them; or
     * another -errno: it cannot be told.
     */
    int64_t (*unsent)(struct telex_bytes *bytes);
    /* Whether what write accepted survives this process by now, where that changes (pipe). NULL: as `delivered_when_written` says. */
    bool (*survives)(struct telex_bytes *bytes);
    /* What poll(2) should watch: readable for read, writable for write. */
    int (*descriptor)(struct telex_bytes *bytes);
    /* What read reads, where `descriptor` is another one. NULL: `descriptor`. */
    int (*inlet)(struct telex_bytes *bytes);
    /* What poll(2) should watch for write, where it is another one; -1: nothing can be written. NULL: `descriptor`. */
    int (*outlet)(struct telex_bytes *bytes);
    /* uid, gid, pid (-1 unknown) and address of the peer; strings live with the stream. */
    void (*peer)(struct telex_bytes *bytes, struct telex_medium_peer *ret_peer);
    /* Ends the stream at once and frees it. */
    void (*close)(struct telex_bytes *bytes);
};

struct telex_bytes { /* the first member of each medium's own struct */
    const struct telex_bytes_ops *ops;
    bool carries_descriptors;    /* unix */
    bool always_readable;        /* a plain file: read never answers -EAGAIN, and no poll tells anything */
    bool delivered_when_written; /* unix: what write accepted survives this process; tcp: only once `unsent` is 0 */
};

static inline int telex_bytes_inlet(struct telex_bytes *bytes)
{
    return bytes->ops->inlet != NULL ? bytes->ops->inlet(bytes) : bytes->ops->descriptor(bytes);
}

static inline int telex_bytes_outlet(struct telex_bytes *bytes)
{
    return bytes->ops->outlet != NULL ? bytes->ops->outlet(bytes) : bytes->ops->descriptor(bytes);
}

struct telex_bytes_port; /* a listening byte-stream endpoint */

struct telex_bytes_port_ops {
    int (*accept)(struct telex_bytes_port *port, struct telex_bytes **ret_bytes); /* 0, -EAGAIN, -EMFILE, -ENFILE, -ENOMEM; peers that went away meanwhile are skipped */
    int (*descriptor)(struct telex_bytes_port *port);
    const char *(*address)(struct telex_bytes_port *port); /* what peers can dial (without query), real port */
    void (*close)(struct telex_bytes_port *port);          /* removes its path, if it still is its own */
};

struct telex_bytes_port {
    const struct telex_bytes_port_ops *ops;
    bool single; /* (constant) as of struct telex_port */
};

struct telex_bytes_medium {
    /* Connects until `deadline` (absolute ns). 0, -ECONNREFUSED, -ETIMEDOUT (TELEX_NOW: -EAGAIN), -EINTR, -ENOENT, -EACCES, ...; with a sentence. */
    int (*dial)(const struct telex_address *address, int64_t deadline, struct telex_bytes **ret_bytes);
    int (*listen)(const struct telex_address *address, struct telex_bytes_port **ret_port);
};

extern const struct telex_bytes_medium telex_bytes_unix, telex_bytes_tcp, telex_bytes_pipe, telex_bytes_fd, telex_bytes_stdio, telex_bytes_fault;

#endif
