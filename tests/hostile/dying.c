/* SPDX-License-Identifier: MIT */
#include "hostile/hostile.h"
const struct theme hostile_dying = {NULL, 0};
