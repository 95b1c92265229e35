/* SPDX-License-Identifier: MIT */
/* What unit-spawn is when it is started once more, with --as NAME: programs at the other end of a channel, good ones and others. */
#ifndef TELEX_TESTS_PROGRAMS_H
#define TELEX_TESTS_PROGRAMS_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "telex/telex.h"

#define SECONDS_FROM_NOW(n) telex_after((n) * INT64_C(1000000000))
#define SOON SECONDS_FROM_NOW(15)

static telex_channel *inherited(void)
{
    telex_channel *channel;
    if (telex_inherit(NULL, SOON, &channel) < 0) {
        fprintf(stderr, "%s\n", telex_reason(NULL));
        _exit(99);
    }
    return channel;
}

static int echo(void)
{
    telex_options options = {.size = sizeof options, .descriptors = 2};
    telex_channel *parent, *again;
    if (telex_inherit(&options, SOON, &parent) < 0)
        return 99;
    if (getenv("TELEX_CHANNEL") != NULL || telex_inherit(NULL, SOON, &again) != -ENOENT)
        return 98; /* it is taken once */
    telex_message message = {0};
    while (telex_receive(parent, &message, SOON) == 0)
        if (telex_reply(parent, &message, &message, 0, SOON) < 0)
            return 97;
    telex_release(&message);
    telex_close(parent, SOON, NULL);
    return 0;
}

static int close_and_exit(void)
{
    telex_close(inherited(), SOON, NULL);
    return 3;
}

static int exit_at_once(void)
{
    inherited();
    _exit(3);
}

static int die(void)
{
    inherited();
    kill(getpid(), SIGKILL);
    return 0;
}

static int pass_on(void) /* a child by a bare clone keeps all descriptors */
{
    inherited();
    if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0) {
        poll(NULL, 0, 8000);
        _exit(0);
    }
    _exit(2);
}

static int write_garbage(void)
{
    const char *at = getenv("TELEX_CHANNEL");
    int fd = at != NULL && strncmp(at, "fd:", 3) == 0 ? atoi(at + 3) : -1;
    if (write(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28) != 28)
        return 97;
    poll(NULL, 0, 20000);
    return 0;
}

static int tell_the_end(void) /* how the channel to its parent ended, to its standard output */
{
    telex_message message = {0};
    telex_channel *parent = inherited();
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    int r = telex_receive(parent, &message, SOON);
    printf("%d %s\n", r, telex_reason(parent));
    telex_close(parent, TELEX_NOW, NULL);
    return 0;
}

static int tell_signals(void)
{
    sigset_t mask;
    struct sigaction action;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    sigaction(SIGPIPE, NULL, &action);
    bool any = false;
    for (int i = 1; i < 32; i++)
        any = any || sigismember(&mask, i) == 1;
    printf("%s %s %s\n", any ? "blocked" : "open", action.sa_handler == SIG_DFL ? "default" : "ignored", getenv("TELEX_CHANNEL") != NULL ? "channel" : "none");
    return 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} programs[] = {
    {"echo", echo}, {"close_and_exit", close_and_exit}, {"exit_at_once", exit_at_once}, {"die", die}, {"pass_on", pass_on},
    {"write_garbage", write_garbage}, {"tell_the_end", tell_the_end}, {"tell_signals", tell_signals},
};

#endif
