/* SPDX-License-Identifier: MIT */
/*
 * One conversation. channel.c makes it, send.c, receive.c and call.c speak, wait.c waits, ready.c tells poll loops, helper.c moves what was gathered,
 * close.c ends it.
 *
 * Two directions, a thread each at most (`busy`). Both may need the link's two sides: a sender that waits for credit reads, a
 * receiver writes what was taken. The locks are the link's (medium.h): `in` guards the inbox, `out` the calls and requests.
 * Of two threads that sleep, one holds the baton and polls the link for both; the other sleeps on its bell only.
 */
#ifndef TELEX_CHANNEL_CHANNEL_H
#define TELEX_CHANNEL_CHANNEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/numbers.h"
#include "channel/helper.h"
#include "channel/inbox.h"
#include "channel/waiter.h"
#include "medium/medium.h"
#include "os/child.h"
#include "wire/wire.h"

enum channel_direction { CHANNEL_SEND = 0, CHANNEL_RECEIVE = 1, CHANNEL_DIRECTIONS = 2 };

struct channel_call { /* a request of ours that has no reply yet, or whose reply was not fetched yet */
    struct telex_node node;         /* in calls.waiting or calls.finished */
    struct telex_numbered numbered; /* number 0: not in the lists yet */
    int result; /* -EAGAIN: none yet; 0: reply; else the failure */
    telex_message reply;
    char *sentence;
};

struct channel_calls {
    struct telex_numbers numbers;
    struct telex_node waiting, finished; /* in order */
};

struct channel_request { /* a request of the peer that was taken and not answered */
    struct telex_numbered numbered;
    struct telex_node node;
    bool cancelled;
};

/* Who is told when the readiness of a channel changes: telex_fd's own epoll, or a server. */
struct channel_watch {
    atomic_int epoll; /* watches the link's descriptor there; -1: nobody looks. Written under link->in */
    void *tag;        /* epoll_data.ptr of the link's descriptor */
    uint32_t events;  /* watched now */
    bool ready;       /* told: the channel has work without its descriptor being readable */
    void (*tell)(struct telex_channel *channel, bool ready);
    int bell;         /* telex_fd: eventfd inside `epoll`, readable while `ready`; else -1 */
};

struct telex_channel {
    struct telex_link *link;
    unsigned generation;
    enum telex_full full;
    struct telex_lock busy[CHANNEL_DIRECTIONS];           /* held by the thread that is in a call of this direction */
    _Atomic uint64_t user_thread[CHANNEL_DIRECTIONS];     /* who last used the direction; 0: nobody yet */

    /* ---- link->in ---- */
    struct telex_inbox inbox;
    unsigned seen_news, seen_disarmed;
    uint64_t received, received_bytes, late; /* replies are counted under both locks */

    /* ---- link->out ---- */
    uint64_t discard; /* lines: replies that will come to calls nobody waits for any more */
    struct channel_calls calls;
    struct telex_numbers request_numbers;
    struct telex_node requests;
    void *_Atomic spare_call, *_Atomic spare_request; /* see call.c */
    struct telex_memory *_Atomic spare_reply;
    _Atomic unsigned request_count; /* written under out; read under in, to hold back the next line while one is unanswered */
    uint64_t dropped;               /* by full=drop-newest */
    uint64_t since_read;            /* bytes sent since the link was last read on behalf of the sender */
    bool line_calls;                /* each line is a request (a server with a call handler; set before the first message) */
    bool closing;

    /* ---- waiting: see wait.c ---- */
    atomic_uint events;                         /* raised whenever something changed that the other direction may wait for */
    atomic_bool asleep[CHANNEL_DIRECTIONS];
    atomic_bool interrupted[CHANNEL_DIRECTIONS];
    atomic_int bell[CHANNEL_DIRECTIONS];        /* eventfds, made at the first sleep; -1 before */
    atomic_int baton;                           /* who polls the link: a direction, or -1 */
    struct telex_waiter waiter[CHANNEL_DIRECTIONS];

    struct telex_helped helped;                 /* flush=helper */
    struct channel_watch watch;                 /* link->in and link->out */
    struct telex_medium_peer peer;
    struct telex_child *child;                  /* of telex_spawn(): the program at the other end; else NULL */
    atomic_bool child_told[CHANNEL_DIRECTIONS]; /* the direction's end was told together with the program's */
    atomic_bool half;                           /* telex_end() was called: nothing is sent any more */
    void *user;
    void *server;                               /* the server's own, if it is one's */
};

/* channel.c */
int telex_channel_new(struct telex_link *link, const struct telex_settings *settings, telex_channel **ret_channel); /* takes over link, also when it fails */
int telex_channel_open(struct telex_link *link, const struct telex_settings *settings, telex_time deadline, bool passive, telex_channel **ret_channel); /* greets first; the same */
void telex_channel_free(telex_channel *channel);
int telex_channel_admit(telex_channel *channel, uint32_t code, const char *sentence);
int telex_channel_foreign(telex_channel *channel); /* -ECHILD, with its sentence */
int telex_channel_enter(telex_channel *channel, enum channel_direction direction); /* 0, -ECHILD, -EBUSY */
int telex_channel_enter_shortly(telex_channel *channel, enum channel_direction direction); /* the same for a call that takes the short way only, and ends with telex_unlock(busy) */
/* Within a call: whether it now takes the short way, again and again. So nobody else can enter, or close, meanwhile. */
static inline void telex_channel_go_shortly(telex_channel *channel, enum channel_direction direction, bool shortly)
{
    atomic_store_explicit(&channel->link->entered[direction], !shortly, memory_order_relaxed); /* as in telex_channel_enter() */
}
int telex_channel_leave(telex_channel *channel, enum channel_direction direction, int result); /* settles readiness, binds the sentence; returns result */

/* receive.c [in] */
int telex_channel_in_ended(telex_channel *channel, int error); /* how the direction ended, as programs are told it, and said again for this thread */
int telex_channel_pump(telex_channel *channel);  /* moves all that has arrived into inbox and calls: -EAGAIN, or how the direction ended */
int telex_channel_pump_reply(telex_channel *channel); /* the same, but stops with 1 after a reply: the look for more would be a system call in vain */
void telex_channel_report(telex_channel *channel); /* no lock: tells what was taken */
void telex_channel_look(telex_channel *channel); /* no lock: pumps, unless somebody else is at it; any thread, in no direction */
void telex_channel_discard(telex_channel *channel); /* the same, throwing messages away */
bool telex_channel_may_pump(const telex_channel *channel);
bool telex_channel_holds_back(const telex_channel *channel); /* lines: a request is unanswered, the next must wait */

void telex_channel_take(telex_channel *channel, const telex_message *message, uint64_t cost); /* [in] into the hands of the program or a call */

/* call.c */
void telex_channel_on_reply(telex_channel *channel, struct telex_arrival *arrival); /* [in] takes over the message */
bool telex_channel_expects_line(telex_channel *channel);                              /* [in] the next line is a reply */
void telex_channel_on_fail(telex_channel *channel, const struct telex_arrival *arrival);
void telex_channel_on_cancel(telex_channel *channel, uint64_t number);
int telex_channel_add_request(telex_channel *channel, const telex_message *message); /* takes `out` */
void telex_channel_calls_init(telex_channel *channel);
void telex_channel_calls_free(telex_channel *channel);
void telex_channel_add_call(telex_channel *channel, struct channel_call *call, uint64_t number); /* [out] */
void telex_channel_set_message(telex_message *to, telex_message *from); /* moves, releasing what `to` held */

/* send.c */
int telex_channel_check(telex_channel *channel, const telex_message *message, const struct telex_put *how);
int telex_channel_put(telex_channel *channel, telex_message *message, struct telex_put *how, telex_time deadline, struct channel_call *call);
int telex_channel_put_sync(telex_channel *channel, telex_message *message, struct telex_put *how, telex_time deadline);
int telex_channel_ended(telex_channel *channel, int error); /* what a failed send means: the peer may have said goodbye */

/* wait.c */
typedef int channel_try(telex_channel *channel, void *with); /* -EAGAIN: not yet */
int telex_channel_wait(telex_channel *channel, enum channel_direction direction, telex_time deadline, channel_try *try, void *with);
void telex_channel_wake(telex_channel *channel, enum channel_direction direction); /* something it may wait for has changed; any thread */
void telex_channel_spread_news(telex_channel *channel); /* [in] wakes the sender if the link had news for it */

/* ready.c */
static inline bool telex_channel_is_watched(const telex_channel *channel)
{
    /* Relaxed: a look without a lock. Whoever changed something did so under a lock that the first settle takes, too: it comes after, and so sees this, or that settle sees the change. */
    return atomic_load_explicit(&channel->watch.epoll, memory_order_relaxed) >= 0;
}
void telex_channel_settle(telex_channel *channel);
int telex_channel_watch(telex_channel *channel, int epoll, void *tag, void (*tell)(telex_channel *, bool)); /* 0 or -errno; settle afterwards */
void telex_channel_unwatch(telex_channel *channel);

/* spawn.c */
int telex_channel_end_of_child(telex_channel *channel, enum channel_direction direction, int error); /* how the direction ended, with the program's end where there is one: for this thread; may wait for it a little */

/* close.c */
void telex_channel_finish(telex_channel *channel, uint32_t code, const char *sentence, bool now);
int telex_channel_finished(telex_channel *channel); /* one step of closing: 0, -EAGAIN, -ECONNRESET */
uint64_t telex_channel_untaken(telex_channel *channel);

#endif
