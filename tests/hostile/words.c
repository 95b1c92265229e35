/* SPDX-License-Identifier: MIT */
#include "hostile/hostile.h"
const struct theme hostile_words = {NULL, 0};
