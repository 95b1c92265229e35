/* SPDX-License-Identifier: MIT */
/* Facts about this process and machine, as the kernel tells them. */
#ifndef TELEX_OS_PROCESS_H
#define TELEX_OS_PROCESS_H

#include <stddef.h>
#include <stdint.h>

/* How many cores this thread and process `other` (-1: nobody) may run on between them; at least 1. */
unsigned telex_cores(int64_t other);
uint64_t telex_memory_available(void);          /* bytes that could be had now without taking them from anybody; UINT64_MAX: the kernel does not say */
int telex_random(void *bytes, size_t length);   /* 0 or -errno (getrandom) */
const unsigned char *telex_life(void);          /* 16 random bytes, one value for each life of a process (anew after fork) */
const char *telex_program(void);                /* the executable's short name; static memory */

#endif
