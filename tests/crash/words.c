/* SPDX-License-Identifier: MIT */
/* Messages whose every byte follows from their number and length. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "crash/crash.h"

void crash_fill(uint8_t *bytes, uint32_t number, uint32_t length)
{
    uint32_t head[2] = {number, length};
    memcpy(bytes, head, sizeof head);
    for (uint32_t i = sizeof head; i < length; i++)
        bytes[i] = (uint8_t)(number * 131 + i * 29 + (i >> 8));
}

bool crash_is(const telex_message *message, uint32_t number)
{
    static uint8_t wanted[LONGEST];
    uint32_t head[2] = {0, 0};
    if (message->length < sizeof head || message->length > LONGEST)
        return crash_fail("a message of %zu bytes where number %u was due", message->length, number);
    memcpy(head, message->data, sizeof head);
    if (head[0] != number || head[1] != message->length)
        return crash_fail("message %u of %u bytes came as one of %zu bytes, where number %u was due", head[0], head[1], message->length, number);
    crash_fill(wanted, number, head[1]);
    if (memcmp(wanted, message->data, head[1]) != 0)
        return crash_fail("message %u of %u bytes is torn", number, head[1]);
    return true;
}

uint32_t crash_random(void)
{
    static uint64_t seed = 20240229;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

bool crash_fail(const char *format, ...)
{
    va_list arguments;
    if (board->why[0] != '\0')
        return false;
    va_start(arguments, format);
    vsnprintf(board->why, sizeof board->why, format, arguments);
    va_end(arguments);
    return false;
}
