/* SPDX-License-Identifier: MIT */
/* The README's example, asking. */
#include <stdio.h>
#include <telex/telex.h>

int main(int argc, char **argv)
{
    telex_channel *channel;
    telex_message request = telex_text("world"), reply = {0};
    if (telex_dial(argc > 1 ? argv[1] : "unix://@telex-hello", NULL, telex_after(1000000000), &channel) < 0 ||
        telex_call(channel, &request, &reply, telex_after(1000000000)) < 0) {
        fprintf(stderr, "%s\n", telex_reason(NULL));
        return 1;
    }
    printf("%.*s\n", (int)reply.length, (char *)reply.data);
    telex_release(&reply);
    return telex_close(channel, telex_after(1000000000), NULL) < 0;
}
