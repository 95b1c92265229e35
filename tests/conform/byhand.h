/* SPDX-License-Identifier: MIT */
/* Greetings and frames of wire=telex, written by hand: what a peer that lies would send. */
#ifndef TELEX_TESTS_BYHAND_H
#define TELEX_TESTS_BYHAND_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    unsigned char at[8192];
    size_t length;
};

void put(struct bytes *bytes, uint64_t number, size_t width); /* little-endian */
void put_greeting(struct bytes *bytes);
void put_header(struct bytes *bytes, uint64_t size, unsigned type, unsigned lane, unsigned flags, uint64_t number);
void put_message(struct bytes *bytes, unsigned lane, unsigned flags, uint64_t number, const char *text);

#endif
