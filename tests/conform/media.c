/* SPDX-License-Identifier: MIT */
/* The media that the suite runs over, a line each. */
#include "conform/conform.h"

const struct conform_medium conform_media[] = {
    {"shm", "shm://%s/shm", "", ON_TELEX, true, false, false},
    {"inproc", "inproc://test", "", ON_TELEX, true, false, true},
    {"unix", "unix://%s/socket", "", ON_ALL, true, false, false},
    {"block-unix", "unix://%s/socket", "wait=block", ON_ALL, true, false, false},
    {"helper-unix", "unix://%s/socket", "flush=helper", ON_ALL, true, false, false},
    {"abstract", "unix://@telex%s", "", ON_ALL, true, false, false},
    {"pipe", "pipe://%s/pipe", "", ON_ALL | NO_DESCRIPTORS, true, false, false},
    {"tcp", "tcp://127.0.0.1:0", "", ON_ALL, false, false, false},
    {"helper-tcp", "tcp://127.0.0.1:0", "flush=helper&wait=block", ON_ALL, false, false, false},
    {"tcp6", "tcp://[::1]:0", "", ON_ALL, false, false, false},
    {"fault-unix", "fault+unix://%s/socket", "fault=short:40,again:10,seed:11", ON_ALL, true, true, false},
    {"fault-tcp", "fault+tcp://127.0.0.1:0", "fault=short:40,again:10,seed:12", ON_ALL, false, true, false},
    {"fault-pipe", "fault+pipe://%s/pipe", "fault=short:40,again:10,seed:13", ON_ALL | NO_DESCRIPTORS, true, true, false},
    {"split-unix", "fault+unix://%s/socket", "fault=split:1", ON_ALL, true, true, false},
    {"delay-tcp", "fault+tcp://127.0.0.1:0", "fault=delay:300us", ON_ALL, false, true, false},
};

const size_t conform_medium_count = sizeof conform_media / sizeof *conform_media;
