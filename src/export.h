/* SPDX-License-Identifier: MIT */
/*
 * Included before every source file of the library by its build: what telex.h declares is visible outside of
 * libtelex.so, everything else is not (-fvisibility=hidden). libtelex.map gives the visible names their version.
 */
#ifndef TELEX_EXPORT_H
#define TELEX_EXPORT_H

#pragma GCC visibility push(default)
#include "telex/telex.h"
#pragma GCC visibility pop

#endif
