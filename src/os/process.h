/* SPDX-License-Identifier: MIT */
/* Facts about this process and machine, as the kernel tells them. */
#ifndef TELEX_OS_PROCESS_H
#define TELEX_OS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many cores this thread and process `other` (-1: nobody) may run on between them; at least 1. */
unsigned telex_cores(int64_t other);
uint64_t telex_memory_available(void);          /* bytes that could be had now without taking them from anybody; UINT64_MAX: the kernel does not say */

/*
 * A descriptor (telex_shut() gives it back) that becomes readable when process `pid` ends; where `socket` (-1: none) is a Unix socket, the process that was at its
 * other end when it was connected, whoever has that number by now. -errno: it cannot be told.
 */
int telex_process_watch(int64_t pid, int socket);
bool telex_process_ended(int watch);            /* false also where `watch` is none */

/* Whether descriptors that are of use, but not needed, should not be opened any more; `latest`: one that was opened just now. */
bool telex_descriptors_are_scarce(int latest);

int telex_random(void *bytes, size_t length);   /* 0 or -errno (getrandom) */
const unsigned char *telex_life(void);          /* 16 random bytes, one value for each life of a process (anew after fork) */
const char *telex_program(void);                /* the executable's short name; static memory */

#endif
