/* SPDX-License-Identifier: MIT */
/* A server inside a program's own poll loop: it echoes, while the program also reads its stdin. Ends with stdin. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <telex/telex.h>
#include <unistd.h>

static void echo(telex_server *server, telex_channel *channel, telex_message *request, void *user)
{
    (void)server;
    unsigned *answered = user;
    *answered += telex_reply(channel, request, request, 0, TELEX_NOW) == 0;
}

int main(int argc, char **argv)
{
    const telex_handlers handlers = {.size = sizeof handlers, .call = echo};
    unsigned answered = 0;
    telex_server *server;
    const char *address;
    if (telex_server_new(&handlers, NULL, &answered, &server) < 0 ||
        telex_server_listen(server, argc > 1 ? argv[1] : "tcp://127.0.0.1:0", NULL, &address) < 0) {
        fprintf(stderr, "%s\n", telex_reason(NULL));
        return 1;
    }
    fprintf(stderr, "listening on %s\n", address);

    struct pollfd fds[] = {{.fd = telex_server_fd(server), .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    for (char bytes[256];;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents != 0)
            telex_server_process(server); /* does what is ready, and returns */
        if (fds[1].revents != 0 && read(STDIN_FILENO, bytes, sizeof bytes) <= 0)
            break;
    }
    printf("%u calls answered\n", answered);
    return telex_server_close(server, telex_after(1000000000)) < 0;
}
