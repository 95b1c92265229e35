/* SPDX-License-Identifier: MIT */
/* Addresses: SCHEME://WHERE?option=value&..., fd:IN,OUT and stdio: into their parts, merged with a telex_options struct. No system calls. */
#ifndef TELEX_MEDIUM_ADDRESS_H
#define TELEX_MEDIUM_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "telex/telex.h"

struct telex_wire;

struct telex_settings { /* options with every default filled in */
    const struct telex_wire *wire;
    uint64_t max, fixed /* UINT64_MAX: variable */, buffer, window, queue, ring, arena;
    int64_t greeting, keepalive; /* ns */
    enum telex_wait wait;
    enum telex_full full;
    enum telex_flush flush;
    uint32_t mode, descriptors, pending, prefault, trust; /* the last two: TELEX_NO, TELEX_YES */
    char program[64];
    char fault[128];
};

enum { TELEX_ADDRESS_MAX = 1024 };

struct telex_address {
    char scheme[16];             /* "unix"; of fault+unix:// also "unix" */
    bool faulty;                 /* fault+... */
    char where[TELEX_ADDRESS_MAX]; /* what stands between :// (fd, stdio: a colon) and ?, percent-decoded: "/tmp/x", "@name", "127.0.0.1:7000", "3,4" */
    struct telex_settings settings;
};

/*
 * Reads `text` and `options` (may be NULL). -EINVAL with a sentence that names the part at fault: no scheme, unknown option (with the list of the known ones), bad value, too long, ...
 * Whether the scheme exists is table.c's business.
 */
int telex_address_parse(const char *text, const telex_options *options, struct telex_address *ret_address);

/* "HOST:PORT" or "[V6]:PORT" into host (brackets removed) and port; -EINVAL with a sentence. */
int telex_address_host_port(const char *where, char *ret_host, size_t host_size, uint16_t *ret_port);

/*
 * "IN,OUT" into two descriptor numbers, -1 for "-", which is none; "N" is "N,N". -EINVAL with a sentence, also where neither names one. What is open there is
 * not looked at.
 */
int telex_address_descriptors(const char *where, int *ret_in, int *ret_out);

/* Writes SCHEME://WHERE (fd and stdio: SCHEME:WHERE) so that parsing it gives `where` again (percent-encoded where needed); cut at `size`. Returns `ret_text`. */
char *telex_address_write(const char *scheme, const char *where, char *ret_text, size_t size);

#endif
