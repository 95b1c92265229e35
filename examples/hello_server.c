/* SPDX-License-Identifier: MIT */
/* The README's example, serving: answers each call with a greeting. Try: hello_server & hello_client */
#include <stdio.h>
#include <telex/telex.h>

static void greet(telex_server *server, telex_channel *channel, telex_message *request, void *user)
{
    (void)server, (void)user;
    char text[128];
    snprintf(text, sizeof text, "hello, %.*s", (int)(request->length < 100 ? request->length : 100), (char *)request->data);
    telex_message reply = telex_text(text);
    telex_reply(channel, request, &reply, 0, TELEX_NOW);
}

int main(int argc, char **argv)
{
    const telex_handlers handlers = {.size = sizeof handlers, .call = greet};
    telex_server *server;
    if (telex_server_new(&handlers, NULL, NULL, &server) < 0 ||
        telex_server_listen(server, argc > 1 ? argv[1] : "unix://@telex-hello", NULL, NULL) < 0) {
        fprintf(stderr, "%s\n", telex_reason(NULL));
        return 1;
    }
    return telex_server_run(server) < 0;
}
