/* SPDX-License-Identifier: MIT */
#include "server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/event.h"
#include "os/fork.h"

enum { CHANNELS_DEFAULT = 65536 };

int telex_server_new(const telex_handlers *handlers, const telex_server_options *options, void *user, telex_server **ret_server)
{
    if (handlers == NULL || handlers->size == 0 || handlers->size > sizeof *handlers)
        return telex_say(-EINVAL, "telex_handlers.size must be set to sizeof(telex_handlers)");
    if (options != NULL && (options->size == 0 || options->size > sizeof *options))
        return telex_say(-EINVAL, "telex_server_options.size must be set to sizeof(telex_server_options)");
    telex_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return telex_say(-ENOMEM, "no memory for a server");
    memcpy(&server->handlers, handlers, handlers->size);
    if (options != NULL)
        memcpy(&server->options, options, options->size);
    if (server->options.channels == 0)
        server->options.channels = CHANNELS_DEFAULT;
    server->user = user;
    server->generation = telex_generation();
    server->ready_last = &server->ready;
    telex_waiter_init(&server->waiter, TELEX_WAIT_ADAPTIVE, -1);
    int r = telex_loop_init(&server->loop);
    if (r < 0) {
        free(server);
        return r;
    }
    pthread_mutex_init(&server->ready_lock, NULL);
    *ret_server = server;
    return 0;
}

static int foreign(void)
{
    return telex_say(-ECHILD, "this server is the parent process's");
}

int telex_server_listen(telex_server *server, const char *address, const telex_options *options, const char **ret_address)
{
    if (server->generation != telex_generation())
        return foreign();
    struct server_listener *at = calloc(1, sizeof *at);
    if (at == NULL)
        return telex_say(-ENOMEM, "no memory for a listener");
    at->server = server;
    int r = telex_listen(address, options, &at->listener);
    if (r == 0) {
        r = telex_loop_watch(&server->loop, telex_listener_fd(at->listener), POLLIN, at);
        if (r < 0)
            telex_listener_close(at->listener);
    }
    if (r < 0) {
        free(at);
        return r;
    }
    at->next = server->listeners;
    server->listeners = at;
    if (ret_address != NULL)
        *ret_address = telex_listener_address(at->listener);
    return 0;
}

/* ---- running ---- */

static int enter(telex_server *server)
{
    if (server->generation != telex_generation())
        return foreign();
    /* Acquire and release: one thread at a time, each sees what the last one did. */
    if (atomic_exchange_explicit(&server->busy, true, memory_order_acquire))
        return telex_say(-EBUSY, "another thread is serving with this server, or a handler called it");
    return 0;
}

static void leave(telex_server *server)
{
    atomic_store_explicit(&server->busy, false, memory_order_release);
}

int telex_server_process(telex_server *server)
{
    int r = enter(server);
    if (r < 0)
        return r;
    if (atomic_load(&server->stopping)) {
        leave(server);
        return -ESHUTDOWN;
    }
    telex_server_round(server);
    leave(server);
    return atomic_load(&server->stopping) ? -ESHUTDOWN : 0;
}

int telex_server_run(telex_server *server)
{
    int r = enter(server);
    if (r < 0)
        return r;
    struct telex_pause pause;
    telex_pause_begin(&pause, &server->waiter);
    while (!atomic_load(&server->stopping)) {
        if (telex_server_round(server) > 0) {
            telex_pause_won(&pause);
            telex_pause_begin(&pause, &server->waiter);
            continue;
        }
        if (telex_pause_again(&pause, telex_clock()))
            continue;
        if (atomic_load(&server->stopping)) /* again: the round may have cleared the bell that stop rang */
            break;
        struct pollfd fd = {.fd = server->loop.epoll, .events = POLLIN};
        telex_poll(&fd, 1, INT64_MAX); /* a signal is no reason to stop: telex_server_stop() is */
        telex_pause_begin(&pause, &server->waiter);
    }
    leave(server);
    return 0;
}

int telex_server_fd(telex_server *server)
{
    return server->generation != telex_generation() ? foreign() : server->loop.epoll;
}

void telex_server_stop(telex_server *server)
{
    if (server->generation != telex_generation())
        return; /* a forked child: the bell's number may be somebody else's by now */
    atomic_store(&server->stopping, true); /* before the ring: whoever it wakes finds it */
    telex_loop_ring(&server->loop);
}

/* ---- channels ---- */

int telex_server_drop(telex_server *server, telex_channel *channel)
{
    if (server->generation != telex_generation())
        return foreign();
    struct server_channel *at = channel->server;
    if (at == NULL || at->server != server || at->closing)
        return telex_say(-ENOENT, "the channel is not one of this server's");
    at->dropped = -ECANCELED;
    telex_lock(&channel->link->in);
    channel->watch.ready = true;
    channel->watch.tell(channel, true);
    telex_unlock(&channel->link->in);
    return 0;
}

int telex_server_send_all(telex_server *server, const telex_message *message, int (*match)(telex_channel *channel, void *user), void *user)
{
    if (server->generation != telex_generation())
        return foreign();
    int count = 0;
    for (struct server_channel *at = server->channels; at != NULL; at = at->next) {
        if (at->dropped != 0 || !at->told_open || (match != NULL && !match(at->channel, user)))
            continue;
        telex_message copy = *message;
        copy.memory = NULL; /* it stays the caller's */
        count += telex_send(at->channel, &copy, 0, TELEX_NOW) == 0;
    }
    return count;
}

size_t telex_server_count(const telex_server *server)
{
    return server->open_count;
}

/* ---- the end ---- */

static void close_listeners(telex_server *server)
{
    while (server->listeners != NULL) {
        struct server_listener *at = server->listeners;
        server->listeners = at->next;
        telex_listener_close(at->listener);
        free(at);
    }
}

static void wait_for_goodbyes(telex_server *server, telex_time deadline)
{
    while (server->closing_count > 0) {
        telex_server_round(server);
        if (server->closing_count == 0 || telex_clock() >= deadline)
            break;
        struct pollfd fd = {.fd = server->loop.epoll, .events = POLLIN};
        telex_poll(&fd, 1, deadline);
    }
}

int telex_server_close(telex_server *server, telex_time deadline)
{
    if (server == NULL)
        return 0;
    int r = enter(server);
    if (r == -ECHILD)
        free(server);
    if (r < 0)
        return r;
    close_listeners(server);
    int64_t now = telex_clock(), patience = deadline > now ? deadline - now : 0;
    for (struct server_channel *at = server->channels, *next; at != NULL; at = next) {
        next = at->next;
        telex_server_end(at, -ESHUTDOWN, patience);
    }
    wait_for_goodbyes(server, deadline);
    for (struct server_channel *at = server->leaving; at != NULL; at = at->next)
        at->closing_until = 0;
    telex_server_round(server); /* whoever did not finish is buried now */
    telex_server_round(server);
    uint64_t untaken = server->untaken;
    telex_release(&server->scratch);
    telex_numbers_deinit(&server->users);
    telex_loop_deinit(&server->loop);
    pthread_mutex_destroy(&server->ready_lock);
    free(server);
    return untaken == 0 ? 0 : telex_say(-ETIMEDOUT, "%llu messages are not known to be taken", (unsigned long long)untaken);
}
