/* SPDX-License-Identifier: MIT */
/* Serving: peers are let in or refused, their messages handed to the handlers, their ends told, their goodbyes seen through. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "server/server.h"

enum {
    EVENTS_IN_A_ROUND = 128,
    NEWCOMERS_IN_A_ROUND = 64,
    MESSAGES_IN_A_TURN = 64,    /* so that one busy peer does not keep the others waiting */
    LOOK_AGAIN_NS = 2000000,    /* what tcp has delivered shows on no descriptor: closing channels are looked at this often */
};

static const int64_t PATIENCE_NS = 1000000000; /* a refused or broken peer may read its goodbye for so long */

/* ---- the ready list ---- */

static void tell_ready(telex_channel *channel, bool ready)
{
    struct server_channel *at = channel->server;
    if (!ready)
        return; /* it stays in the list; its turn will find nothing to do */
    telex_server *server = at->server;
    pthread_mutex_lock(&server->ready_lock);
    if (!at->is_ready) {
        at->is_ready = true;
        at->ready_next = NULL;
        *server->ready_last = at;
        server->ready_last = &at->ready_next;
    }
    pthread_mutex_unlock(&server->ready_lock);
    telex_loop_ring(&server->loop);
}

/* Takes the whole list; each in it may be told ready anew from now on. */
static struct server_channel *take_ready(telex_server *server)
{
    pthread_mutex_lock(&server->ready_lock);
    struct server_channel *first = server->ready;
    server->ready = NULL;
    server->ready_last = &server->ready;
    pthread_mutex_unlock(&server->ready_lock);
    return first;
}

static void not_ready(struct server_channel *at)
{
    telex_lock(&at->channel->link->in);
    at->channel->watch.ready = false;
    telex_unlock(&at->channel->link->in);
    pthread_mutex_lock(&at->server->ready_lock);
    at->is_ready = false;
    pthread_mutex_unlock(&at->server->ready_lock);
}

/* ---- how many there are ---- */

static struct server_user *user_of(const telex_server *server, int64_t uid)
{
    struct telex_numbered *found = telex_numbers_find(&server->users, (uint64_t)uid);
    return found != NULL ? TELEX_OF(found, struct server_user, numbered) : NULL;
}

/* 0 or -ENOMEM. */
static int count_in(struct server_channel *at)
{
    telex_server *server = at->server;
    int64_t uid = at->channel->peer.uid;
    if (server->options.per_user > 0 && uid >= 0) {
        at->user = user_of(server, uid);
        if (at->user == NULL) {
            at->user = calloc(1, sizeof *at->user);
            if (at->user == NULL)
                return -ENOMEM;
            at->user->numbered.number = (uint64_t)uid;
            telex_numbers_add(&server->users, &at->user->numbered);
        }
        at->user->channels++;
    }
    server->open_count++;
    return 0;
}

static void count_out(struct server_channel *at)
{
    at->server->open_count--;
    struct server_user *user = at->user;
    at->user = NULL;
    if (user == NULL || --user->channels > 0)
        return;
    telex_numbers_remove(&at->server->users, &user->numbered);
    free(user);
}

/* ---- the end of a channel ---- */

static void link_in(struct server_channel **list, struct server_channel *at)
{
    at->next = *list;
    at->at = list;
    if (at->next != NULL)
        at->next->at = &at->next;
    *list = at;
}

static void unlink_from(struct server_channel *at)
{
    *at->at = at->next;
    if (at->next != NULL)
        at->next->at = at->at;
}

static void bury(struct server_channel *at)
{
    telex_server *server = at->server;
    server->untaken += telex_channel_untaken(at->channel);
    unlink_from(at);
    telex_channel_unwatch(at->channel);
    server->closing_count--;
    at->gone = true;
    at->next = server->graveyard;
    server->graveyard = at;
}

static void empty_graveyard(telex_server *server)
{
    struct server_channel **at = &server->graveyard;
    while (*at != NULL) {
        struct server_channel *dead = *at;
        pthread_mutex_lock(&server->ready_lock);
        bool listed = dead->is_ready; /* the next round's turn takes it off the list */
        pthread_mutex_unlock(&server->ready_lock);
        if (listed) {
            at = &dead->next;
            continue;
        }
        *at = dead->next;
        telex_channel_free(dead->channel);
        free(dead);
    }
}

static void step_closing(struct server_channel *at)
{
    int r = telex_channel_finished(at->channel);
    if (r == -EAGAIN && telex_clock() < at->closing_until) {
        telex_channel_settle(at->channel);
        return;
    }
    bury(at);
}

static void begin_closing(struct server_channel *at, int64_t patience)
{
    int64_t now = telex_clock();
    at->closing = true;
    unlink_from(at);
    link_in(&at->server->leaving, at);
    at->closing_until = patience > INT64_MAX - now ? INT64_MAX : now + patience;
    at->server->closing_count++;
    telex_channel_finish(at->channel, TELEX_BYE_CLOSED, NULL, false);
    step_closing(at);
}

void telex_server_end(struct server_channel *at, int why, int64_t patience)
{
    telex_server *server = at->server;
    if (at->told_open && server->handlers.close != NULL)
        server->handlers.close(server, at->channel, why, server->user);
    count_out(at);
    begin_closing(at, patience);
}

/* ---- messages ---- */

static void dispatch(struct server_channel *at, telex_message *message)
{
    telex_server *server = at->server;
    const telex_handlers *handlers = &server->handlers;
    if (!(message->flags & TELEX_IS_CALL)) {
        if (handlers->message != NULL)
            handlers->message(server, at->channel, message, server->user);
    } else if (handlers->call != NULL) {
        handlers->call(server, at->channel, message, server->user);
    } else {
        telex_fail(at->channel, message, TELEX_FAILURE_NO_HANDLER, "this server answers no calls");
    }
    if (!telex_memory_reusable(message->memory, 0))
        telex_release(message); /* now, not at the next message: descriptors that nobody claimed are closed, the medium has its memory back */
}

static void rest(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->in);
    telex_lock(&link->out);
    link->ops->rest(link);
    telex_unlock(&link->out);
    telex_unlock(&link->in);
}

static void serve_channel(struct server_channel *at)
{
    if (at->gone)
        return;
    if (at->closing) {
        step_closing(at);
        return;
    }
    int r = 0;
    for (int i = 0; i < MESSAGES_IN_A_TURN && r == 0 && at->dropped == 0 && !atomic_load(&at->server->stopping); i++) {
        r = telex_receive(at->channel, &at->server->scratch, TELEX_NOW);
        if (r == 0)
            dispatch(at, &at->server->scratch);
    }
    if (at->dropped != 0)
        telex_server_end(at, at->dropped, PATIENCE_NS * 5);
    else if (r == -EAGAIN)
        rest(at->channel);
    else if (r != 0 && r != -EBUSY)
        telex_server_end(at, r, PATIENCE_NS);
}

/* ---- newcomers ---- */

static bool over_limit(const telex_server *server, const telex_channel *channel, char *sentence, size_t size)
{
    if (server->open_count >= server->options.channels) {
        snprintf(sentence, size, "the server is full: it serves %llu channels at a time", (unsigned long long)server->options.channels);
        return true;
    }
    if (server->options.per_user == 0 || channel->peer.uid < 0)
        return false;
    const struct server_user *user = user_of(server, channel->peer.uid);
    if (user == NULL || user->channels < server->options.per_user)
        return false;
    snprintf(sentence, size, "the server is full for user %lld: it serves %llu channels of one user at a time",
             (long long)channel->peer.uid, (unsigned long long)server->options.per_user);
    return true;
}

static struct server_channel *add(telex_server *server, telex_channel *channel)
{
    struct server_channel *at = calloc(1, sizeof *at);
    if (at == NULL)
        return NULL;
    at->server = server;
    at->channel = channel;
    channel->server = at;
    unsigned can = channel->link->wire->can;
    channel->line_calls = server->handlers.call != NULL && (can & TELEX_CAN_CALL) && !(can & TELEX_CAN_LANES);
    if (telex_channel_watch(channel, server->loop.epoll, at, tell_ready) < 0) {
        free(at);
        return NULL;
    }
    link_in(&server->channels, at);
    return at;
}

static void refuse(struct server_channel *at, uint32_t code, const char *sentence)
{
    telex_channel_admit(at->channel, code, sentence);
    begin_closing(at, PATIENCE_NS);
}

static void welcome(telex_server *server, telex_channel *channel)
{
    char sentence[256];
    bool full = over_limit(server, channel, sentence, sizeof sentence);
    struct server_channel *at = add(server, channel);
    if (at == NULL) {
        telex_channel_free(channel);
        return;
    }
    if (full) {
        refuse(at, TELEX_BYE_LIMIT, sentence);
        return;
    }
    int r = count_in(at);
    bool counted = r == 0;
    if (r == 0 && server->handlers.open != NULL)
        r = server->handlers.open(server, channel, server->user);
    if (r < 0) {
        if (counted)
            count_out(at);
        if (r == -ESHUTDOWN)
            snprintf(sentence, sizeof sentence, "the server is shutting down");
        else
            snprintf(sentence, sizeof sentence, "the server refuses this peer: %s", strerror(-r));
        refuse(at, TELEX_BYE_REFUSED, sentence);
        return;
    }
    at->told_open = true;
    if (server->waiter.mode == TELEX_WAIT_BLOCK && channel->waiter[CHANNEL_RECEIVE].mode == TELEX_WAIT_ADAPTIVE)
        server->waiter.mode = TELEX_WAIT_ADAPTIVE; /* this server has one core, but its peers have others */
    telex_channel_admit(channel, 0, NULL);
    serve_channel(at); /* its first message may be there already */
    if (!at->gone)
        telex_channel_settle(channel);
}

static int accept_some(struct server_listener *at)
{
    int count = 0;
    telex_channel *channel;
    while (count < NEWCOMERS_IN_A_ROUND && telex_listener_next(at->listener, &channel) == 0) {
        welcome(at->server, channel);
        count++;
    }
    return count; /* what accepting fails with for now, out of descriptors say, makes the listener pause on its own */
}

/* ---- a round ---- */

static struct server_listener *listener_of(telex_server *server, const void *tag)
{
    struct server_listener *at = server->listeners;
    while (at != NULL && at != tag)
        at = at->next;
    return at;
}

static void settle(telex_server *server)
{
    pthread_mutex_lock(&server->ready_lock);
    bool more = server->ready != NULL;
    pthread_mutex_unlock(&server->ready_lock);
    if (more)
        telex_loop_ring(&server->loop);
    telex_loop_set_timer(&server->loop, server->closing_count > 0 ? telex_clock() + LOOK_AGAIN_NS : INT64_MAX);
}

/* Whether nobody is here any more, nor can come: all its addresses brought their one peer (fd:, stdio:). */
static bool is_through(const telex_server *server)
{
    if (server->listeners == NULL || server->open_count > 0 || server->closing_count > 0)
        return false;
    for (struct server_listener *at = server->listeners; at != NULL; at = at->next)
        if (!telex_listener_is_through(at->listener))
            return false;
    return true;
}

int telex_server_round(telex_server *server)
{
    struct telex_loop_event events[EVENTS_IN_A_ROUND];
    int count = telex_loop_ready(&server->loop, events, EVENTS_IN_A_ROUND), done = count;
    for (int i = 0; i < count; i++) {
        struct server_listener *listener = listener_of(server, events[i].tag);
        if (listener != NULL)
            accept_some(listener);
        else
            serve_channel(events[i].tag);
    }
    for (struct server_channel *at = take_ready(server), *next; at != NULL; at = next, done++) {
        next = at->ready_next;
        not_ready(at);
        serve_channel(at);
    }
    if (server->closing_count > 0)
        for (struct server_channel *at = server->leaving, *next; at != NULL; at = next) {
            next = at->next;
            step_closing(at);
        }
    empty_graveyard(server);
    if (done > 0 || server->closing_count > 0 || server->loop.timer_at != INT64_MAX)
        settle(server);
    if (is_through(server))
        telex_server_stop(server);
    return done;
}
