/* SPDX-License-Identifier: MIT */
#include "channel/helper.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "channel/channel.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "os/fork.h"

enum {
    TICK_NS = 2 * TELEX_GATHER_NS, /* what waits is so old at most when nobody sends any more, and the time that a wake-up takes */
    FEW = 4,              /* messages in a tick: that is no burst any more */
    EVENTS = 16,
    STACK = 128 * 1024,
};

/* Held while the thread is started or ended, so that there is one at most. Before the mutex below. */
static pthread_mutex_t turns = PTHREAD_MUTEX_INITIALIZER;

static struct {
    pthread_mutex_t mutex; /* guards the rest, but for what only turns change: running, thread, loop */
    struct telex_node working;
    unsigned joined;
    bool running, stopping, asleep;
    pthread_t thread;
    struct telex_loop loop;
} helper = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- one look at a channel ---- */

enum left { LEFT_NOTHING, LEFT_SOON, LEFT_TO_MEDIUM }; /* soon: look again after a tick; to the medium: when it takes or brings something */

/* Under link->out. Whether nothing waits; then nobody counts on the helper any more. */
static bool is_over(struct telex_link *link, int pushed, bool held)
{
    if (pushed == -EAGAIN || (pushed == 0 && held)) /* one more look after the last message */
        return false;
    atomic_store_explicit(&link->bursting, false, memory_order_relaxed); /* looked at again under the lock: see telex_stream_put_quickly() */
    link->helper_works = false;
    return true;
}

static enum left push(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    telex_lock(&link->out);
    bool held = atomic_load_explicit(&link->held, memory_order_relaxed); /* written under the lock */
    if (held && link->gathered <= FEW)
        atomic_store_explicit(&link->bursting, false, memory_order_relaxed);
    int pushed = link->ops->push(link);
    enum left left = is_over(link, pushed, held) ? LEFT_NOTHING : pushed == -EAGAIN ? LEFT_TO_MEDIUM : LEFT_SOON;
    channel->helped.pushes = atomic_load_explicit(&link->pushes, memory_order_relaxed);
    telex_unlock(&link->out);
    return left;
}

/* What the medium must do first: take more, or bring the peer's credit. 0: nobody may read on before the program receives. */
static uint32_t awaited(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    if (atomic_load_explicit(&link->blocked, memory_order_relaxed)) /* written under the lock, which this thread had just now */
        return POLLOUT;
    bool may = true;
    if (telex_lock_try(&link->in)) {
        may = telex_channel_may_pump(channel);
        telex_unlock(&link->in);
    }
    return may ? POLLIN : 0;
}

/* The program must receive first, and what it calls then moves the rest. */
static void give_up(telex_channel *channel)
{
    telex_lock(&channel->link->out);
    channel->link->helper_works = false;
    atomic_store_explicit(&channel->link->bursting, false, memory_order_relaxed); /* as in is_over() */
    telex_unlock(&channel->link->out);
}

static enum left look_at(telex_channel *channel)
{
    struct telex_link *link = channel->link;
    /* Relaxed: whoever pushes right now, or enters or leaves a call, is seen to have done so at the next look, a tick later. */
    unsigned pushes = atomic_load_explicit(&link->pushes, memory_order_relaxed);
    bool moves = pushes != channel->helped.pushes && channel->helped.watched == 0;
    if (moves || atomic_load_explicit(&link->entered[CHANNEL_SEND], memory_order_relaxed)) { /* then the sender does it, or waits for it */
        channel->helped.pushes = pushes;
        return LEFT_SOON;
    }
    enum left left = push(channel);
    if (left == LEFT_TO_MEDIUM) {
        telex_channel_look(channel); /* credit may lie unread */
        left = push(channel);
    }
    if (telex_channel_is_watched(channel))
        telex_channel_settle(channel);
    telex_channel_wake(channel, CHANNEL_SEND); /* there may be room now */
    return left;
}

static void watch(telex_channel *channel, uint32_t events)
{
    struct telex_helped *helped = &channel->helped;
    if (events == helped->watched)
        return;
    telex_lock(&channel->link->out); /* a direction that ends closes its descriptor under it */
    telex_link_watch(channel->link, helper.loop.epoll, helped->watched, events, channel);
    telex_unlock(&channel->link->out);
    helped->watched = events;
}

/* Looks at all. Whether any wants another look soon. */
static bool look_at_all(void)
{
    bool soon = false;
    for (struct telex_node *node = helper.working.next, *next; node != &helper.working; node = next) {
        next = node->next;
        telex_channel *channel = TELEX_OF(node, telex_channel, helped.node);
        enum left left = look_at(channel);
        watch(channel, left == LEFT_TO_MEDIUM ? awaited(channel) : 0);
        if (left == LEFT_TO_MEDIUM && channel->helped.watched == 0) {
            give_up(channel);
            left = LEFT_NOTHING;
        }
        soon = soon || left == LEFT_SOON;
        if (left == LEFT_NOTHING) {
            telex_list_remove(node);
            channel->helped.working = false;
        }
    }
    return soon;
}

/* ---- the thread ---- */

static void *help(void *with)
{
    (void)with;
    prctl(PR_SET_NAME, "telex-helper");
    prctl(PR_SET_TIMERSLACK, 1UL); /* else a tick is 50 us longer */
    pthread_mutex_lock(&helper.mutex);
    while (!helper.stopping) {
        bool soon = look_at_all();
        helper.asleep = !soon;
        pthread_mutex_unlock(&helper.mutex);
        struct pollfd fd = {.fd = helper.loop.epoll, .events = POLLIN};
        int ready = telex_poll(&fd, 1, soon ? telex_clock() + TICK_NS : TELEX_NEVER);
        pthread_mutex_lock(&helper.mutex);
        struct telex_loop_event events[EVENTS];
        if (ready > 0)
            telex_loop_ready(&helper.loop, events, EVENTS); /* the bell is cleared; the rest is seen by looking at all */
    }
    pthread_mutex_unlock(&helper.mutex);
    return NULL;
}

static int start_thread(void)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK > PTHREAD_STACK_MIN ? STACK : (size_t)PTHREAD_STACK_MIN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it: no handler of the program ever runs there */
    int error = pthread_create(&helper.thread, &attributes, help, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}

/* ---- fork: the child has no such thread, and none of its parent's channels ---- */

/*
 * Registered after those of os/fork.c, as a channel had its first descriptor before: prepare handlers run in reverse order, and so take the mutexes in the
 * order in which the helper's thread does.
 */
static void before_fork(void)
{
    pthread_mutex_lock(&turns);
    pthread_mutex_lock(&helper.mutex);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&helper.mutex);
    pthread_mutex_unlock(&turns);
}

static void after_fork_in_child(void)
{
    helper.running = helper.stopping = helper.asleep = false;
    helper.joined = 0;
    after_fork_in_parent();
}

static void register_handlers(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* ---- joining ---- */

/* In turn. */
static int start(void)
{
    telex_list_init(&helper.working);
    helper.stopping = helper.asleep = false;
    int r = telex_loop_init(&helper.loop);
    if (r < 0)
        return r;
    r = start_thread();
    if (r < 0) {
        telex_loop_deinit(&helper.loop);
        return telex_say(r, "no helper thread (option flush=helper): %s", strerror(-r));
    }
    helper.running = true;
    return 0;
}

int telex_helper_join(telex_channel *channel)
{
    static pthread_once_t registered = PTHREAD_ONCE_INIT;
    pthread_once(&registered, register_handlers);
    pthread_mutex_lock(&turns);
    int r = helper.running ? 0 : start();
    if (r == 0) {
        helper.joined++;
        channel->helped.joined = true;
    }
    pthread_mutex_unlock(&turns);
    return r;
}

/* In turn. */
static void end(void)
{
    pthread_mutex_lock(&helper.mutex);
    helper.stopping = true;
    telex_loop_ring(&helper.loop);
    pthread_mutex_unlock(&helper.mutex);
    pthread_join(helper.thread, NULL);
    telex_loop_deinit(&helper.loop);
    helper.running = false;
}

void telex_helper_leave(telex_channel *channel)
{
    struct telex_helped *helped = &channel->helped;
    if (!helped->joined)
        return;
    pthread_mutex_lock(&turns);
    pthread_mutex_lock(&helper.mutex);
    helped->joined = false;
    if (helped->working) {
        telex_list_remove(&helped->node);
        helped->working = false;
        watch(channel, 0);
    }
    pthread_mutex_unlock(&helper.mutex);
    if (--helper.joined == 0)
        end();
    pthread_mutex_unlock(&turns);
}

void telex_helper_call(telex_channel *channel)
{
    struct telex_helped *helped = &channel->helped;
    pthread_mutex_lock(&helper.mutex);
    if (helped->joined && !helped->working) {
        helped->working = true;
        helped->pushes = atomic_load_explicit(&channel->link->pushes, memory_order_relaxed);
        telex_list_append(&helper.working, &helped->node);
        if (helper.asleep)
            telex_loop_ring(&helper.loop);
        helper.asleep = false;
    }
    pthread_mutex_unlock(&helper.mutex);
}
