/* SPDX-License-Identifier: MIT */
/* Draws pictures straight into memory of the medium: a loan, which a successful send consumes. Its address needs an arena for some pictures at a time. */
#include <stdio.h>
#include <string.h>
#include <telex/telex.h>

enum { PICTURES = 100, BYTES = 640 * 480 * 3 };

int main(int argc, char **argv)
{
    telex_channel *channel;
    if (telex_dial(argc > 1 ? argv[1] : "shm://telex-pictures?arena=16MiB", NULL, telex_after(1000000000), &channel) < 0) {
        fprintf(stderr, "%s\n", telex_reason(NULL));
        return 1;
    }
    for (int i = 0; i < PICTURES; i++) {
        telex_message picture = {0};
        if (telex_loan(channel, BYTES, &picture, telex_after(1000000000)) < 0) /* waits while all of the arena is on its way */
            break;
        memset(picture.data, i, picture.length);
        if (telex_send(channel, &picture, 0, telex_after(1000000000)) < 0) {
            telex_release(&picture);
            break;
        }
    }
    uint64_t untaken = 0;
    int r = telex_close(channel, telex_after(5000000000), &untaken);
    if (r < 0)
        fprintf(stderr, "%llu pictures were not taken: %s\n", (unsigned long long)untaken, telex_reason(NULL));
    return r < 0;
}
