/* SPDX-License-Identifier: MIT */
/* A server inside libuv's loop: libuv polls telex_server_fd(), a timer of the program's runs beside it. Ends after the seconds given (10). */
#include <stdio.h>
#include <stdlib.h>
#include <telex/telex.h>
#include <uv.h>

static void echo(telex_server *server, telex_channel *channel, telex_message *request, void *user)
{
    (void)server, (void)user;
    telex_reply(channel, request, request, 0, TELEX_NOW);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    telex_server_process(poll->data);
}

static void on_time(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

int main(int argc, char **argv)
{
    const telex_handlers handlers = {.size = sizeof handlers, .call = echo};
    telex_server *server;
    const char *address;
    if (telex_server_new(&handlers, NULL, NULL, &server) < 0 ||
        telex_server_listen(server, argc > 1 ? argv[1] : "tcp://127.0.0.1:0", NULL, &address) < 0) {
        fprintf(stderr, "%s\n", telex_reason(NULL));
        return 1;
    }
    fprintf(stderr, "listening on %s\n", address);

    uv_loop_t *loop = uv_default_loop();
    uv_poll_t poll = {.data = server};
    uv_timer_t timer;
    uv_poll_init(loop, &poll, telex_server_fd(server));
    uv_poll_start(&poll, UV_READABLE, on_readable);
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_time, (uint64_t)(argc > 2 ? atoi(argv[2]) : 10) * 1000, 0);
    uv_run(loop, UV_RUN_DEFAULT);

    uv_close((uv_handle_t *)&poll, NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return telex_server_close(server, telex_after(1000000000)) < 0;
}
