/* SPDX-License-Identifier: MIT */
/* The media that the suite runs over, a line each. */
#include "conform/conform.h"
#include "os/quiet.h"

const struct conform_medium conform_media[] = {
    {"shm", "shm://%s/shm", "", ON_TELEX, true, false, false, NO_PAIR, 0},
    {"inproc", "inproc://test", "", ON_TELEX, true, false, true, NO_PAIR, 0},
    {"unix", "unix://%s/socket", "", ON_ALL, true, false, false, NO_PAIR, 0},
    {"block-unix", "unix://%s/socket", "wait=block", ON_ALL, true, false, false, NO_PAIR, 0},
    {"helper-unix", "unix://%s/socket", "flush=helper", ON_ALL, true, false, false, NO_PAIR, 0},
    {"abstract", "unix://@telex%s", "", ON_ALL, true, false, false, NO_PAIR, 0},
    {"pipe", "pipe://%s/pipe", "", ON_ALL | NO_DESCRIPTORS, true, false, false, NO_PAIR, 0},
    {"fd-socket", "fd:%d,%d", "", ON_ALL, true, false, false, PAIR_OF_SOCKETS, 0},
    {"fd-pipes", "fd:%d,%d", "", ON_ALL, false, false, false, PAIR_OF_PIPES, 0},
    {"fd-nowait", "fd:%d,%d", "", ON_ALL, false, false, false, PAIR_OF_PIPES, TELEX_SKILL_REOPEN},
    {"fd-polled", "fd:%d,%d", "", ON_ALL, false, false, false, PAIR_OF_PIPES, TELEX_SKILL_REOPEN | TELEX_SKILL_NOWAIT | TELEX_SKILL_NOSIGNAL},
    {"tcp", "tcp://127.0.0.1:0", "", ON_ALL, false, false, false, NO_PAIR, 0},
    {"helper-tcp", "tcp://127.0.0.1:0", "flush=helper&wait=block", ON_ALL, false, false, false, NO_PAIR, 0},
    {"tcp6", "tcp://[::1]:0", "", ON_ALL, false, false, false, NO_PAIR, 0},
    {"fault-unix", "fault+unix://%s/socket", "fault=short:40,again:10,seed:11", ON_ALL, true, true, false, NO_PAIR, 0},
    {"fault-tcp", "fault+tcp://127.0.0.1:0", "fault=short:40,again:10,seed:12", ON_ALL, false, true, false, NO_PAIR, 0},
    {"fault-pipe", "fault+pipe://%s/pipe", "fault=short:40,again:10,seed:13", ON_ALL | NO_DESCRIPTORS, true, true, false, NO_PAIR, 0},
    {"split-unix", "fault+unix://%s/socket", "fault=split:1", ON_ALL, true, true, false, NO_PAIR, 0},
    {"delay-tcp", "fault+tcp://127.0.0.1:0", "fault=delay:300us", ON_ALL, false, true, false, NO_PAIR, 0},
    {"fault-fd", "fault+fd:%d,%d", "fault=short:40,again:10,seed:13", ON_ALL, false, true, false, PAIR_OF_PIPES, 0},
};

const size_t conform_medium_count = sizeof conform_media / sizeof *conform_media;
