/* SPDX-License-Identifier: MIT */
/* The media that the suite runs over, a line each. */
#include "conform/conform.h"

const struct conform_medium conform_media[] = {
    {"unix", "unix://%s/socket", "", true, false},
    {"abstract", "unix://@telex%s", "", true, false},
    {"tcp", "tcp://127.0.0.1:0", "", false, false},
    {"tcp6", "tcp://[::1]:0", "", false, false},
    {"fault-unix", "fault+unix://%s/socket", "fault=short:40,again:10,seed:11", true, true},
    {"fault-tcp", "fault+tcp://127.0.0.1:0", "fault=short:40,again:10,seed:12", false, true},
    {"split-unix", "fault+unix://%s/socket", "fault=split:1", true, true},
    {"delay-tcp", "fault+tcp://127.0.0.1:0", "fault=delay:300us", false, true},
};

const size_t conform_medium_count = sizeof conform_media / sizeof *conform_media;
