/* SPDX-License-Identifier: MIT */
#include "conform/byhand.h"

#include <endian.h>
#include <string.h>

void put(struct bytes *bytes, uint64_t number, size_t width)
{
    uint64_t little = htole64(number);
    memcpy(bytes->at + bytes->length, &little, width);
    bytes->length += width;
}

void put_greeting(struct bytes *bytes)
{
    memcpy(bytes->at + bytes->length, "telex\r\n\x1a", 8);
    bytes->length += 8;
    put(bytes, 1, 2); /* lowest and highest version */
    put(bytes, 1, 2);
    put(bytes, 72, 4);         /* length */
    put(bytes, 0, 4);          /* features */
    put(bytes, 0, 4);          /* descriptors */
    put(bytes, 16777216, 8);   /* max */
    put(bytes, 1048576, 8);    /* window */
    put(bytes, 0, 8);          /* queue */
    put(bytes, UINT64_MAX, 8); /* fixed: variable */
    put(bytes, 1, 8);          /* life */
    put(bytes, 2, 8);
}

void put_header(struct bytes *bytes, uint64_t size, unsigned type, unsigned lane, unsigned flags, uint64_t number)
{
    put(bytes, size, 4);
    put(bytes, type, 2);
    put(bytes, lane, 1);
    put(bytes, flags, 1);
    put(bytes, number, 8);
}

void put_message(struct bytes *bytes, unsigned lane, unsigned flags, uint64_t number, const char *text)
{
    put_header(bytes, strlen(text), 0, lane, flags, number);
    memcpy(bytes->at + bytes->length, text, strlen(text));
    bytes->length += strlen(text);
}
