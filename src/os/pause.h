/* SPDX-License-Identifier: MIT */
/* What a loop says that waits for another core: it saves power, and leaves more of a core that two threads share to the other one. */
#ifndef TELEX_OS_PAUSE_H
#define TELEX_OS_PAUSE_H

static inline void telex_pause(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

#endif
