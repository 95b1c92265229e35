/* SPDX-License-Identifier: MIT */
/* The media that the suite runs over, a line each. */
#include "conform/conform.h"
#include "os/quiet.h"

enum {
    ADDRESS = SENDING | ENDING | PASSING | MEETING | SERVING, /* another address of the same medium */
    WAYS = SENDING | FULL | WAITING | READINESS | ENDING | GATHERING, /* another way to read and write the same */
};

const struct conform_medium conform_media[] = {
    {"shm", "shm://%s/shm", "", ON_TELEX, true, false, false, NO_PAIR, 0, EVERY_THEME},
    {"inproc", "inproc://test", "", ON_TELEX, true, false, true, NO_PAIR, 0, EVERY_THEME},
    {"unix", "unix://%s/socket", "", ON_ALL, true, false, false, NO_PAIR, 0, EVERY_THEME},
    {"block-unix", "unix://%s/socket", "wait=block", ON_ALL, true, false, false, NO_PAIR, 0, SENDING | RENDEZVOUS | CALLS | WAITING | READINESS | ENDING | GATHERING},
    {"helper-unix", "unix://%s/socket", "flush=helper", ON_ALL, true, false, false, NO_PAIR, 0, EVERY_THEME},
    {"abstract", "unix://@telex%s", "", ON_ALL, true, false, false, NO_PAIR, 0, ADDRESS},
    {"pipe", "pipe://%s/pipe", "", ON_ALL | NO_DESCRIPTORS, true, false, false, NO_PAIR, 0, EVERY_THEME},
    {"fd-socket", "fd:%d,%d", "", ON_ALL, true, false, false, PAIR_OF_SOCKETS, 0, EVERY_THEME},
    {"fd-pipes", "fd:%d,%d", "", ON_ALL, false, false, false, PAIR_OF_PIPES, 0, EVERY_THEME},
    {"fd-nowait", "fd:%d,%d", "", ON_ALL, false, false, false, PAIR_OF_PIPES, TELEX_SKILL_REOPEN, WAYS},
    {"fd-polled", "fd:%d,%d", "", ON_ALL, false, false, false, PAIR_OF_PIPES, TELEX_SKILL_REOPEN | TELEX_SKILL_NOWAIT | TELEX_SKILL_NOSIGNAL, WAYS},
    {"tcp", "tcp://127.0.0.1:0", "", ON_ALL, false, false, false, NO_PAIR, 0, EVERY_THEME},
    {"helper-tcp", "tcp://127.0.0.1:0", "flush=helper&wait=block", ON_ALL, false, false, false, NO_PAIR, 0, SENDING | FULL | RENDEZVOUS | CALLS | ENDING | GATHERING | LANES},
    {"tcp6", "tcp://[::1]:0", "", ON_ALL, false, false, false, NO_PAIR, 0, ADDRESS},
    {"fault-unix", "fault+unix://%s/socket", "fault=short:40,again:10,seed:11", ON_ALL, true, true, false, NO_PAIR, 0, EVERY_THEME},
    {"fault-tcp", "fault+tcp://127.0.0.1:0", "fault=short:40,again:10,seed:12", ON_ALL, false, true, false, NO_PAIR, 0, EVERY_THEME},
    {"fault-pipe", "fault+pipe://%s/pipe", "fault=short:40,again:10,seed:13", ON_ALL | NO_DESCRIPTORS, true, true, false, NO_PAIR, 0, EVERY_THEME},
    {"split-unix", "fault+unix://%s/socket", "fault=split:1", ON_ALL, true, true, false, NO_PAIR, 0, EVERY_THEME},
    {"delay-tcp", "fault+tcp://127.0.0.1:0", "fault=delay:300us", ON_ALL, false, true, false, NO_PAIR, 0, EVERY_THEME},
    {"fault-fd", "fault+fd:%d,%d", "fault=short:40,again:10,seed:13", ON_ALL, false, true, false, PAIR_OF_PIPES, 0, EVERY_THEME},
};

const size_t conform_medium_count = sizeof conform_media / sizeof *conform_media;
