/* SPDX-License-Identifier: MIT */
/* Host names and literals into addresses to connect or bind to, within a deadline and without a thread. */
#ifndef TELEX_MEDIUM_STREAM_RESOLVE_H
#define TELEX_MEDIUM_STREAM_RESOLVE_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

enum { TELEX_RESOLVED_MAX = 16 };

union telex_host {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct telex_resolved { /* in the order in which to try them */
    unsigned count;
    union telex_host hosts[TELEX_RESOLVED_MAX];
};

socklen_t telex_host_length(const union telex_host *host);

/*
 * "127.0.0.1", "::1", "fe80::1%eth0", or a name (by /etc/hosts and DNS). 0; -ENOENT (no such host), -EINVAL (cannot be a name), -EAGAIN (the
 * name servers cannot tell just now, or TELEX_NOW), -ETIMEDOUT, -EINTR, -ENOMEM; with a sentence.
 */
int telex_resolve(const char *host, uint16_t port, int64_t deadline, struct telex_resolved *ret_resolved);

#endif
