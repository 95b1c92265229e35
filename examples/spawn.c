/* SPDX-License-Identifier: MIT */
/* spawn starts itself once more as a worker, asks it, and tells how it ended. `spawn worker` is that worker: it answers calls and sends messages back. */
#include <stdio.h>
#include <string.h>

#include "telex/telex.h"

static int work(void)
{
    telex_channel *parent;
    if (telex_inherit(NULL, telex_after(5000000000), &parent) < 0) {
        fprintf(stderr, "spawn worker: %s\n", telex_reason(NULL));
        return 1;
    }
    telex_message message = {0};
    while (telex_receive(parent, &message, telex_after(2000000000)) == 0) {
        if (message.flags & TELEX_IS_CALL)
            telex_reply(parent, &message, &message, 0, TELEX_NEVER);
        else
            telex_send(parent, &message, 0, TELEX_NEVER);
    }
    telex_release(&message);
    telex_close(parent, telex_after(1000000000), NULL);
    return 0;
}

static int ask(const char *self)
{
    const char *const argv[] = {self, "worker", NULL};
    telex_channel *worker;
    if (telex_spawn(argv, NULL, NULL, telex_after(5000000000), &worker) < 0) {
        fprintf(stderr, "spawn: %s\n", telex_reason(NULL));
        return 1;
    }
    telex_message request = telex_text("how are you?"), reply = {0};
    int r = telex_call(worker, &request, &reply, telex_after(5000000000));
    if (r == 0)
        printf("the worker says: %.*s\n", (int)reply.length, (char *)reply.data);
    else
        fprintf(stderr, "spawn: %s\n", telex_reason(worker));
    telex_release(&reply);
    telex_close(worker, telex_after(5000000000), NULL);
    return r != 0;
}

int main(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "worker") == 0 ? work() : ask(argv[0]);
}
