/* SPDX-License-Identifier: MIT */
/* Facts about this process and machine, as the kernel tells them. */
#ifndef TELEX_OS_PROCESS_H
#define TELEX_OS_PROCESS_H

#include <stddef.h>

unsigned telex_cores(void);                     /* how many cores this thread may run on; at least 1 */
int telex_random(void *bytes, size_t length);   /* 0 or -errno (getrandom) */
const unsigned char *telex_life(void);          /* 16 random bytes, one value for each life of a process (anew after fork) */
const char *telex_program(void);                /* the executable's short name; static memory */

#endif
