/* SPDX-License-Identifier: MIT */
/*
 * The hello that a client of pipe:// writes into the listener's FIFO: fixed in size, far below PIPE_BUF, so that it is never mixed with another one. Every
 * place has its own letters, and no hello can begin within another one: so what a stranger writes there, whole or cut, costs at
 * most itself. docs/pipe.md.
 */
#ifndef TELEX_MEDIUM_STREAM_HELLO_H
#define TELEX_MEDIUM_STREAM_HELLO_H

#include <stddef.h>

enum {
    TELEX_HELLO_SIZE = 46,
    TELEX_HELLO_TOKEN = 32, /* hexadecimal digits: 128 random bits */
};

/* `token`: TELEX_HELLO_TOKEN lower-case hexadecimal digits. */
void telex_hello_encode(const char *token, char ret_hello[TELEX_HELLO_SIZE]);

/*
 * How many bytes at the front can be no hello, nor its beginning. What follows them is one, or begins one; it is whole where TELEX_HELLO_SIZE bytes are
 * left. `length`: at most TELEX_HELLO_SIZE.
 */
size_t telex_hello_skip(const char *bytes, size_t length);

/* Copies the token of a whole hello, ended by a zero byte. */
void telex_hello_token(const char hello[TELEX_HELLO_SIZE], char ret_token[TELEX_HELLO_TOKEN + 1]);

#endif
