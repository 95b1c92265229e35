/* SPDX-License-Identifier: MIT */
/* Reads pictures where they lie: over shared memory nothing copies them. Ends when the producer closes. Try: loan_consumer & loan_producer */
#include <errno.h>
#include <stdio.h>
#include <telex/telex.h>

int main(int argc, char **argv)
{
    telex_listener *listener;
    telex_channel *channel;
    if (telex_listen(argc > 1 ? argv[1] : "shm://telex-pictures?arena=16MiB", NULL, &listener) < 0 ||
        telex_accept(listener, telex_after(10000000000), &channel) < 0) {
        fprintf(stderr, "%s\n", telex_reason(NULL));
        return 1;
    }
    telex_message picture = {0};
    unsigned long pictures = 0, light = 0;
    int r;
    while ((r = telex_receive(channel, &picture, TELEX_NEVER)) == 0) {
        const unsigned char *pixels = picture.data; /* to be read, not written: they are the producer's memory */
        for (size_t i = 0; i < picture.length; i++)
            light += pixels[i];
        pictures++;
        telex_release(&picture); /* now the producer may use that memory again; until then it is the consumer's */
    }
    if (r != -EPIPE)
        fprintf(stderr, "%s\n", telex_reason(channel));
    printf("%lu pictures, %lu of light\n", pictures, light);
    telex_close(channel, telex_after(1000000000), NULL);
    telex_listener_close(listener);
    return r != -EPIPE;
}
